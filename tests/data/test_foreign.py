"""Files of other programs: made by their own writers (tests/files/foreign), or with rows as their sources describe."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlvr.data.completions import read_texts
from rlvr.data.foreign.files import Foreign, read_foreign, reader_of
from rlvr.data.foreign.inspect_ai import _member
from rlvr.data.foreign.matching import Matcher, completions_of, own_id, problems_in
from rlvr.data.foreign.record import Record, gold_of, verdict_among, verdict_of
from rlvr.data.sources import jsonl_rows
from rlvr.types import Problem, UserError

FILES = Path(__file__).parents[1] / "files" / "foreign"


def read(path: Path) -> Foreign:
    found = read_foreign(path)
    assert found is not None
    return found


def copied(name: str, to: Path) -> Path:
    to.parent.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copyfile(FILES / name, to))


def jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def brief(record: Record) -> tuple[Any, ...]:
    return (own_id(record), record.sample, record.text, record.gold, record.step, record.truncated, record.tokens,
            record.correct)


# ---------------------------------------------------------------- made by their own writers


def test_lm_eval_rows_come_once_per_filter_and_count_once(tmp_path: Path) -> None:
    """Strict says 2, none, 5 and flexible 2, 3, 4, where 2, 4 and 6 are right."""
    found = read(copied("lm_eval.jsonl", tmp_path / "samples_sums_2026-11-29T14-48-56.537962.jsonl"))
    assert found.family == "lm-evaluation-harness"
    assert [brief(record) for record in found.records] == [
        ("sums/0", 0, r"#### 2 so \boxed{2}", "2", None, False, None, True),
        ("sums/1", 0, r"\boxed{3}", "4", None, False, None, False),
        ("sums/2", 0, r"#### 5, or \boxed{4}", "6", None, False, None, False),
    ]
    assert found.records[0].question == "Question: What is 1 + 1?\nAnswer:"


def test_lm_eval_metrics_of_several_answers_are_no_verdict(tmp_path: Path) -> None:
    records = read(copied("lm_eval_repeats.jsonl", tmp_path / "samples_sums_2026-11-29T14-49-12.098720.jsonl")).records
    assert [(own_id(record), record.sample, record.text) for record in records[:3]] == [
        ("sums/0", 0, r"#### 2 so \boxed{2}"), ("sums/0", 1, r"\boxed{3}"), ("sums/1", 0, r"#### 5, or \boxed{4}")]
    assert len(records) == 6 and {record.correct for record in records} == {None}


def test_lm_eval_one_filter_that_says_right_is_enough(tmp_path: Path) -> None:
    row = {"doc_id": 3, "doc": {}, "target": "7", "arguments": [["Q", {}]], "resps": [["7"]], "filtered_resps": ["7"]}
    path = jsonl(tmp_path / "samples_x.jsonl", [row | {"exact_match": 0.0, "filter": "strict"},
                                                row | {"exact_match": 1.0, "filter": "flexible"}])
    assert [(one.correct, one.question) for one in read(path).records] == [(True, "Q")]
    with pytest.raises(UserError, match=r"samples_y.jsonl:1: found no generated answers in resps, as of a task that"):
        read(jsonl(tmp_path / "samples_y.jsonl", [row | {"resps": [[[-1.2, False]]]}]))
    del row["target"]
    (without,) = read(jsonl(tmp_path / "samples_z.jsonl", [row])).records
    assert (without.gold, without.text) == (None, "7")


def test_lighteval_details(tmp_path: Path) -> None:
    found = read(copied("lighteval.parquet", tmp_path / "details_lighteval|sums|0_2026-11-29T15-03-21.851978.parquet"))
    assert found.family == "lighteval"
    assert [brief(record) for record in found.records[:3]] == [
        ("lighteval|sums|0/0", 0, r"\boxed{2}", "2", None, False, 7, None),
        ("lighteval|sums|0/0", 1, r"\boxed{3}", "2", None, False, 9, None),
        ("lighteval|sums|0/1", 0, r"It is \boxed{4}", "4", None, False, 7, None),
    ]
    old = pa.table({"full_prompt": ["Q"], "predictions": ["['5', '6']"], "gold": ["['5']"], "metrics": [{"qem": 1.0}]})
    pq.write_table(old, tmp_path / "details_harness|gsm8k|5_2024-01-02T03-04-05.6.parquet")
    records = read(tmp_path / "details_harness|gsm8k|5_2024-01-02T03-04-05.6.parquet").records
    assert [brief(record)[:4] for record in records] == [
        ("harness|gsm8k|5/0", 0, "5", "5"), ("harness|gsm8k|5/0", 1, "6", "5")]


def test_inspect_logs_of_both_formats(tmp_path: Path) -> None:
    found = read(FILES / "inspect_ai.eval")
    assert found.family == "inspect-ai" and len(found.records) == 6
    first, long, *_, again, _, last = found.records
    assert brief(first) == ("sums/a", 0, r"\boxed{2}", "2", None, False, 9, True)
    assert long.text.startswith("A long way round: 1 + 1 is 2. ") and long.text.endswith(r"so \boxed{2}")
    assert brief(again) == ("sums/a", 1, r"\boxed{7}", "2", None, True, 9, False)  # cut at the token limit
    assert brief(last) == ("sums/c", 1, "ANSWER: 6", "6", None, False, 9, True)
    # A .json log holds the same samples in a list.
    import zipfile

    path = FILES / "inspect_ai.eval"
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        names = [name for name in archive.namelist() if name.startswith("samples/")]
        log = _member(archive, file, "header.json") | {"samples": [_member(archive, file, name) for name in names]}
    log["samples"][0]["error"] = {"message": "the sandbox died"}
    (tmp_path / "log.json").write_text(json.dumps(log))
    records = read(tmp_path / "log.json").records
    assert [brief(record) for record in records] == [brief(record) for record in found.records]
    assert [record.lost for record in records] == [True] + [False] * 5


def test_trl_completions_of_every_step(tmp_path: Path) -> None:
    for step in (1, 2):
        copied(f"trl_{step}.parquet", tmp_path / "out" / "completions" / f"completions_{step:05d}.parquet")
    found = read(tmp_path / "out")
    assert found.family == "TRL" and [file.name[-9:] for file in found.files] == ["1.parquet", "2.parquet"]
    assert [record.step for record in found.records] == [1] * 8 + [2] * 8
    second = found.records[8]
    assert (second.question, second.text, second.gold) == (
        "5 4 9 6 -> 13 :", "6 - 5 = 1 ; 9 * 1 = 9 ; 9 + 4 = 13", "13")
    assert [record.correct for record in found.records[8:12]] == [True, False, False, False]
    assert len({own_id(record) for record in found.records}) == 4
    chat = [{"role": "user", "content": "Q"}], [{"role": "assistant", "content": "A"}]
    pq.write_table(pa.table({
        "step": [5], "prompt": [chat[0]], "completion": [chat[1]], "format_reward": [0.5], "accuracy_reward": [1.0],
        "advantage": [0.2],
    }), tmp_path / "chat.parquet")
    (record,) = read(tmp_path / "chat.parquet").records
    assert (record.question, record.text, record.correct, record.gold) == ("Q", "A", True, None)


# ---------------------------------------------------------------- from their sources


def test_verl_dumps(tmp_path: Path) -> None:
    """verl/trainer/ppo/ray_trainer.py, _dump_generations, at 3d9df733; `acc` is of its DAPO reward."""
    asked = "system\nYou are helpful.\nuser\nWhat is 1 + 1?\nassistant\n"
    for step in (10, 0, 9):
        jsonl(tmp_path / "val" / f"{step}.jsonl", [
            {"input": asked, "output": r"\boxed{2}", "gts": "2", "score": 0.4, "step": step, "acc": True},
            {"input": asked, "output": "no", "gts": "2", "score": -1.0, "step": step, "acc": False},
        ])
    found = read(tmp_path / "val")
    assert found.family == "verl" and [file.stem for file in found.files] == ["0", "9", "10"]
    assert [(record.step, record.correct, record.gold) for record in found.records[:2]] == [(0, True, "2"),
                                                                                           (0, False, "2")]
    shaped = {"input": asked, "output": "3", "gts": "2", "score": 0.1, "step": 4}
    (record,) = read(jsonl(tmp_path / "shaped.jsonl", [shaped])).records
    assert record.correct is None and own_id(record) == own_id(found.records[0])
    # verl/trainer/main_generation.py adds the column `responses` to the Parquet file of the prompts.
    pq.write_table(pa.table({
        "data_source": ["aime"], "prompt": [[{"role": "user", "content": "What is 1 + 1?"}]],
        "reward_model": [{"style": "rule", "ground_truth": "2"}], "extra_info": [{"index": 7}],
        "responses": [[r"\boxed{2}", r"\boxed{3}"]],
    }), tmp_path / "generated.parquet")
    assert [brief(record)[:4] for record in read(tmp_path / "generated.parquet").records] == [
        ("aime/7", 0, r"\boxed{2}", "2"), ("aime/7", 1, r"\boxed{3}", "2")]


def test_openrlhf_outputs_have_no_gold(tmp_path: Path) -> None:
    """openrlhf/cli/batch_inference.py at 0551ff62: {"input", "output"}, and `reward` of a reward model."""
    found = read(jsonl(tmp_path / "out.jsonl", [{"input": "Q", "output": "A", "reward": 1.0}]))
    assert found.family == "OpenRLHF"
    assert [(one.question, one.text, one.correct) for one in found.records] == [("Q", "A", None)]
    with pytest.raises(UserError, match=r"out.jsonl:1: no gold answer in the file; name the problems with --data"):
        problems_in(found.records, verifier="math")


def test_prime_rl_rollouts_and_traces(tmp_path: Path) -> None:
    """verifiers/utils/save_utils.py at 00d83204 (state_to_output) and verifiers/v1/trace.py at 00eee6c6."""
    row = {"example_id": 3, "prompt": [{"role": "system", "content": "Box it."}, {"role": "user", "content": "1 + 1?"}],
           "completion": [{"role": "assistant", "content": r"\boxed{2}"}], "answer": "2", "reward": 1.0, "info": {},
           "is_truncated": False, "task": "math", "token_usage": {"input_tokens": 9.0, "output_tokens": 4.0}}
    cut = row | {"is_truncated": True, "reward": 0.0}
    failed = row | {"completion": None, "error": {"error": "TimeoutError"}, "reward": 0.0}
    found = read(jsonl(tmp_path / "rollouts" / "step_20" / "eval_rollouts.jsonl", [row, cut, failed]))
    assert found.family == "prime-rl"
    assert [brief(record) for record in found.records[:2]] == [
        ("math/3", None, r"\boxed{2}", "2", 20, False, 4, True),
        ("math/3", None, r"\boxed{2}", "2", 20, True, 4, False)]
    assert [record.lost for record in found.records] == [False, False, True]
    assert found.records[0].question == "Box it.\n1 + 1?"
    trace = {"id": "x", "task": {"type": "MathTask", "data": {"idx": 5, "prompt": "1 + 1?", "answer": "2"}},
             "nodes": [{"message": {"role": "user", "content": "1 + 1?"}},
                       {"message": {"role": "assistant", "content": [{"type": "text", "text": r"\boxed{3}"}]}}],
             "calls": [{"finish_reason": "length"}], "rewards": {"correct": {"score": 0.0, "weight": 1.0}},
             "errors": []}
    (record,) = read(jsonl(tmp_path / "step_1" / "train_rollouts.jsonl.gz", [trace])).records
    assert brief(record) == ("MathTask/5", None, r"\boxed{3}", "2", 1, True, None, False)


# ---------------------------------------------------------------- damaged


LOG = {"version": 2, "status": "success", "eval": {"task": "sums"}}
SAMPLE = {"id": "a", "epoch": 1, "input": "Q", "target": "2", "output": {"choices": [{"message": {"content": "x"}}]}}
TRACE = {"task": {"data": {}}, "nodes": [], "rewards": {}}


@pytest.mark.parametrize(("name", "content"), [
    ("log.json", LOG | {"samples": 5}), ("log.json", LOG | {"samples": {"a": 1}}), ("log.json", LOG | {"samples": [7]}),
    ("log.json", LOG | {"samples": [SAMPLE | {"output": {"choices": [None]}}]}),
    ("log.json", LOG | {"samples": [SAMPLE | {"output": {"choices": 3}}]}),
    ("log.json", LOG | {"samples": [{key: value for key, value in SAMPLE.items() if key != "id"}]}),
    ("log.json", LOG | {"samples": [SAMPLE | {"epoch": "x"}]}),
    ("trace.jsonl", TRACE | {"nodes": [5]}), ("trace.jsonl", TRACE | {"nodes": 5}),
    ("trace.jsonl", TRACE | {"calls": 5}), ("trace.jsonl", TRACE | {"rewards": {"a": {}}}),
    ("samples_x.jsonl", {"doc_id": [], "doc": {}, "target": "7", "resps": [["7"]], "filtered_resps": []}),
    ("samples_x.jsonl", {"doc_id": 1, "doc": {}, "target": "7", "resps": [["7"]], "filtered_resps": [], "metrics": 3}),
    ("rows.jsonl.gz", b"\x1f\x8b\x08 no gzip"),
    ("rows.jsonl.gz", gzip.compress(b'{"input": "a"}\n' * 9, mtime=0)[:-9]),  # without the time: it names the test
])
def test_a_damaged_file_is_one_line(tmp_path: Path, name: str, content: Any) -> None:
    """Bug: an odd value, or half a gzip file, was a traceback."""
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    with pytest.raises(UserError, match=rf"^[^\n]*{name}[^\n]*$"):
        if read_foreign(path) is None:
            read_texts(path)


def test_a_line_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bug: a MiB of gzip filled the memory."""
    monkeypatch.setattr("rlvr.data.sources.LINE_BYTES", 100)
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"input": "' + b"a" * 100))
    with pytest.raises(UserError, match="found a line of more than 0 MiB"):
        list(jsonl_rows(path))


# ---------------------------------------------------------------- recognising


def test_what_is_of_no_family_is_left_to_the_plain_reader(tmp_path: Path) -> None:
    assert reader_of(jsonl(tmp_path / "own.jsonl", [{"problem_id": "a", "sample": 0, "text": "x"}])) is None
    assert reader_of(jsonl(tmp_path / "chat.jsonl", [{"input": "a", "output": "b", "id": 1}])) is None
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no")
    (tmp_path / "broken.eval").write_bytes(b"no zip")
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "empty.jsonl").write_text("")
    for name in ("broken.parquet", "broken.eval", "list.json", "empty.jsonl"):
        assert reader_of(tmp_path / name) is None


def test_a_folder_of_two_programs_or_of_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("{}")
    with pytest.raises(UserError, match="found no file of completions in this folder"):
        read(tmp_path)
    copied("inspect_ai.eval", tmp_path / "a.eval")
    copied("trl_1.parquet", tmp_path / "b.parquet")
    with pytest.raises(UserError, match=r"found files of inspect-ai \(a.eval\) and TRL \(b.parquet\)"):
        read(tmp_path)


def test_values_as_verifiers_read_them() -> None:
    golds = {"2 and 2. #### 1,004": "1,004", r"So $x = \boxed{\frac{1}{2}}$.": r"\frac{1}{2}", " 7 ": "7", "": None}
    assert {text: gold_of(text) for text in golds} == golds
    assert [gold_of(value) for value in (7, 7.0, 0.5, ["7"], [1, 2], None, True, float("nan"))] == [
        "7", "7", "0.5", "7", None, None, None, None]
    assert [verdict_of(value) for value in (True, 1, 1.0, 0.0, -1, 0.1, "C", "I", "P", None)] == [
        True, True, True, False, False, None, True, False, None, None]
    assert verdict_among({"a": 0.0, "b": 1.0}, ["b"]) is True and verdict_among({"a": 0.0, "b": 1.0}, []) is None


# ---------------------------------------------------------------- which problem it is


PROBLEMS = [Problem("p/0", "What is 1 + 1?", "2", "math"), Problem("p/1", "What is 2 + 2?", "4", "math"),
            Problem("p/2", "And 2 + 2?", "4", "math"), Problem("p/3", "d 2 + 2?", "4", "math")]


def record(question: str = "", **more: Any) -> Record:
    return Record("f.jsonl:1", "x", question, **more)


@pytest.mark.parametrize(("asked", "expected"), [
    (record("what is 1 + 1?"), "p/0"),
    (record("Q: What is 1 + 1?\nA: 2\n\nQ: What  is 2 + 2?\nA:"), "p/1"),  # after a worked example
    (record("user: And 2 + 2?\nassistant:"), "p/2"),  # not p/3, which is its tail
    (record("Never asked", problem_id="p/1"), "p/1"),
    (record("What is 1 + 1?", problem_id="p/1"), "p/0"),  # an index there may be another problem's name here
    (record("Never asked", problem_id="17"), None),
])  # fmt: skip
def test_a_problem_is_found_by_its_question(asked: Record, expected: str | None) -> None:
    assert Matcher(PROBLEMS).id_of(asked) == expected


def test_a_template_around_the_question_does_not_hide_it() -> None:
    problems = [Problem("a", "Solve: What is 1 + 1? Box it.", "2", "math")]
    assert Matcher(problems, "Solve: {prompt} Box it.").id_of(record("Question: What is 1 + 1?")) == "a"


def test_others_and_lost_ones_are_left_out_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    records = [record("What is 1 + 1?", sample=2), record("What is 1 + 1?", sample=1, lost=True),
               record("What is 1 + 1?", sample=0, correct=True), record("Another")]
    (sampler,) = completions_of(Foreign("x", [], records), Path("f"), PROBLEMS[:1], default_step=0,
                                matcher=Matcher(PROBLEMS[:1])).values()
    assert sampler.size == 2 and sampler.verdicts == {("p/0", 0): True}  # sample 2 is now sample 1
    said = capsys.readouterr().err
    assert "1 of 4 completions are of problems that the data does not hold" in said
    assert "1 of 4 samples ended in an error" in said
    with pytest.raises(UserError, match="none of its 1 completions is of a problem of the data"):
        completions_of(Foreign("x", [], [records[3]]), Path("f"), PROBLEMS, default_step=0, matcher=Matcher(PROBLEMS))


def test_a_sample_given_twice_and_two_golds_are_refused() -> None:
    twice = [record("Q", sample=0, gold="1"), record("Q", sample=0, gold="1")]
    with pytest.raises(UserError, match=r"sample 0 of problem 'question-[0-9a-f]{12}' again.*two evaluations"):
        completions_of(Foreign("x", [], twice), Path("f"), problems_in(twice, verifier="math"), default_step=0)
    with pytest.raises(UserError, match=r"the id of the problem is 'a\\x1b\[2J', expected text in one line"):
        problems_in([record("Q", problem_id="a\x1b[2J", gold="1")], verifier="math")
    with pytest.raises(UserError, match=r"the gold answer of .* is '2', earlier '1'"):
        problems_in([twice[0], record("Q", gold="2")], verifier="math")
