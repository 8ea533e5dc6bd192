"""Dataset rows to problems: columns, templates, ids, and the words of every refusal. `pytest
tests/data/test_problems.py`."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from rlvr.config.data import DataSpec, check_spec
from rlvr.data.load import load_problems
from rlvr.data.problem_sets import check_overlap, problem_set_hash, question
from rlvr.types import Problem, UserError

ROWS = [{"problem": "1+1?", "answer": "2"}, {"problem": "2+2?", "answer": "4"}]


@pytest.fixture
def jsonl(tmp_path: Path):
    def write(rows: list[Any] | str, name: str = "sums.jsonl") -> str:
        path = tmp_path / name
        text = rows if isinstance(rows, str) else "".join(json.dumps(row) + "\n" for row in rows)
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def load(source: str, **fields: Any) -> list[Problem]:
    return load_problems(DataSpec(source, **fields), where="data.train")


def error(source: str, **fields: Any) -> str:
    with pytest.raises(UserError) as caught:
        load(source, **fields)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_jsonl_with_the_default_columns(jsonl):
    assert load(jsonl(ROWS)) == [
        Problem(id="sums/0", prompt="1+1?", gold="2", verifier="math"),
        Problem(id="sums/1", prompt="2+2?", gold="4", verifier="math"),
    ]


def test_columns_pattern_template_and_extra(jsonl):
    """GSM8K's shape: the answer is what follows the last ####; braces of TeX are not format fields."""
    rows = [{"question": r"What is \frac{1}{2} of 8?", "answer": "#### 5 is wrong\n#### 4", "key": 7, "tests": [1]}]
    (problem,) = load(jsonl(rows), prompt="question", gold_pattern="#### (.+)", id="key", extra=("tests",),
                      verifier="unit_tests", template=r"{prompt} Put it in \boxed{}.")
    assert problem.prompt == r"What is \frac{1}{2} of 8? Put it in \boxed{}."
    assert (problem.id, problem.gold, problem.verifier) == ("7", "4", "unit_tests")
    assert dict(problem.extra) == {"tests": [1]}


@pytest.mark.parametrize(("value", "gold"), [
    (" x ", "x"), (27, "27"), (27.0, "27"), (0.5, "0.5"), (-3.0, "-3"), (1e300, "1e+300"), (["2"], "2"),
    ([2.0], "2"), ("0", "0"), (0, "0"),
])
def test_gold_is_text(jsonl, value, gold):
    """A whole number stored as 27.0 is the answer 27, and a gold of 0 is a gold."""
    assert load(jsonl([{"problem": "p", "answer": value}]))[0].gold == gold


def test_gold_may_be_left_to_the_verifier(jsonl):
    assert load(jsonl([{"problem": "p", "tests": "t"}]), gold=None, extra=("tests",))[0].gold == ""


def test_chat_prompts(jsonl):
    source = jsonl(ROWS)
    (first, _) = load(source, chat=True, system="Think.", template="Q: {prompt}")
    assert first.prompt == ({"role": "system", "content": "Think."}, {"role": "user", "content": "Q: 1+1?"})
    assert question(first, "Q: {prompt}") == "1+1?"


def test_prompt_column_of_messages(jsonl):
    messages = [{"role": "user", "content": "1+1?"}]
    source = jsonl([{"problem": messages, "answer": 2}])
    assert load(source, chat=True)[0].prompt == tuple(messages)
    assert "line" not in error(source) and "holds chat messages, which needs data.train.chat: true" in error(source)
    assert "and no data.train.template" in error(source, chat=True, template="Q {prompt}")


def test_size_takes_the_first_rows_and_blank_lines_do_not_count(jsonl):
    source = jsonl('{"problem": "a", "answer": 1}\n\n{"problem": "b", "answer": 2}\nnot reached\n')
    assert [problem.id for problem in load(source, size=2)] == ["sums/0", "sums/1"]


@pytest.mark.parametrize("mark", ["\x85", "\u2028", "\u2029"])
def test_only_a_newline_ends_a_row(jsonl, mark):
    rows = [{"problem": f"a{mark}b", "answer": 1}, {"problem": "c", "answer": 2}]
    source = jsonl("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    assert [problem.prompt for problem in load(source)] == [f"a{mark}b", "c"]


def test_shuffle_and_skip_split_a_source_that_has_none(jsonl):
    source = jsonl([{"problem": str(i), "answer": i} for i in range(10)])
    train, probe = load(source, shuffle=7, size=6), load(source, shuffle=7, skip=6)
    assert {p.prompt for p in train} | {p.prompt for p in probe} == {str(i) for i in range(10)}
    assert (len(train), len(probe)) == (6, 4) and [p.id for p in train] != [f"sums/{i}" for i in range(6)]
    assert all(p.id == f"sums/{p.gold}" for p in [*train, *probe])  # ids are row numbers of the file
    assert load(source, shuffle=7, size=6) == train and load(source, shuffle=8, size=6) != train
    assert [p.prompt for p in load(source, skip=8)] == ["8", "9"]
    assert "data.train.size: found 3, but the source has 2 rows after the 8 skipped" in error(source, skip=8, size=3)
    assert "found no rows in" in error(source, skip=10) and "after the 10 skipped" in error(source, skip=10)


def test_parquet(tmp_path: Path):
    path = tmp_path / "sums.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([*ROWS, {"problem": "x", "answer": None}]), path)
    assert load(str(path), size=2)[1] == Problem(id="sums/1", prompt="2+2?", gold="4", verifier="math")
    assert f"{path}: row 2: no gold answer in column 'answer' (data.train.gold): found None" in error(str(path))
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([{"problem": "p" * 1000, "answer": "1"}]), path)
    whole = path.read_bytes()
    for damaged in (b"no parquet", whole[:-9], whole[:60] + b"\xff" * 30 + whole[90:]):
        path.write_bytes(damaged)
        assert f"{path}: not a whole Parquet file" in error(str(path))


def test_a_relative_path_is_taken_from_the_current_directory(jsonl, tmp_path: Path, monkeypatch):
    jsonl(ROWS)
    monkeypatch.chdir(tmp_path)
    assert len(load("sums.jsonl")) == 2
    assert f"data.train.source: no file 'sum.jsonl' in {tmp_path}; expected a .jsonl or .parquet" in error("sum.jsonl")


@pytest.mark.parametrize(("rows", "fields", "fragment"), [
    ('{"problem": "a", "answer": 1}\n{"problem": \n', {}, ":2: not JSON (Expecting value"),
    ('{"problem": "a", "answer": 1}\n[1]\n', {}, ":2: found [1], expected one JSON object per line"),
    ("", {}, "data.train.source: found no rows in"),
    ("\n", {}, "data.train.source: found no rows in"),
    ([{"problems": "a", "answer": 1}], {}, ":1: no column 'problem'; did you mean 'problems'? set "
                                           "data.train.prompt to one of: problems, answer"),
    ([{"problem": "a"}], {}, ":1: no column 'answer'; set data.train.gold to one of: problem"),
    ([*ROWS, {"problem": "a", "answer": None}], {},
     ":3: no gold answer in column 'answer' (data.train.gold): found None"),
    ([{"problem": "a", "answer": " "}], {}, ":1: no gold answer in column 'answer' (data.train.gold): found ' '"),
    ('{"problem": "a", "answer": NaN}\n', {}, ":1: no gold answer in column 'answer' (data.train.gold): found nan"),
    ([{"problem": "a", "answer": []}], {}, ":1: no gold answer in column 'answer'"),
    ([{"problem": "a", "answer": ["1", "2"]}], {},
     ":1: found ['1', '2'] in column 'answer' (data.train.gold), expected"),
    ([{"problem": "a", "answer": True}], {}, ":1: found True in column 'answer' (data.train.gold), expected text"),
    ([{"problem": "", "answer": 1}], {}, ":1: found '' in column 'problem' (data.train.prompt), expected text"),
    ([{"problem": None, "answer": 1}], {}, ":1: found None in column 'problem'"),
    (ROWS, {"gold_pattern": "#### (.+)"},
     ":1: no answer in column 'answer': data.train.gold_pattern '#### (.+)' does not match '2'; fix the pattern"),
    ([{"problem": "a", "answer": "#### "}], {"gold_pattern": "####(.*)"}, "does not match '####'"),
    (ROWS, {"id": "answers"}, ":1: no column 'answers'; did you mean 'answer'? set data.train.id"),
    (ROWS, {"extra": ("tests",)}, ":1: no column 'tests'; set data.train.extra to one of: problem"),
    ([{**ROWS[0], "k": None}], {"id": "k"}, ":1: no id in column 'k' (data.train.id); fill it"),
    ([{**ROWS[0], "k": "a\x1b[2J"}], {"id": "k"}, r":1: id 'a\x1b[2J' in column 'k' (data.train.id), expected text in"),
    (ROWS, {"size": 3}, "data.train.size: found 3, but the source has 2 rows; lower it"),
    ("[" * 100_000 + "\n", {}, ":1: not JSON (nested too deeply), expected one JSON object per line"),
    ('{"problem": "a", "answer": 1, "answer": 2}\n', {}, ":1: the key 'answer' occurs twice; remove one"),
    ('{"problem": "a", "answer": 1, "tests": {"a": 1, "b": 2, "a": 3}}\n', {}, ":1: the key 'a' occurs twice"),
    ('{"problem": "a", "answer": 1e400}\n', {}, ":1: no gold answer in column 'answer' (data.train.gold): found inf"),
    ('{"problem": "a \\ud800 b", "answer": 1}\n', {},
     ":1: column 'problem' (data.train.prompt) holds '\\ud800', half of a surrogate pair, which is no character"),
    ([{"problem": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "\\boxed{1}"}], "answer": 1}],
     {"chat": True}, ":1: the messages in column 'problem' end with the assistant's; expected the user's as the last"),
])
def test_bad_rows(jsonl, rows, fields, fragment):
    source = jsonl(rows)
    message = error(source, **fields)
    assert fragment in message
    if fragment.startswith(":"):
        assert message.startswith(f"{source}{fragment[:3]}"), "the place of the row comes first"


def test_messages_in_text_parts_are_the_text(jsonl):
    """Bug: such a prompt was rendered in a probe, and in training it was empty."""
    parts = [{"type": "text", "text": "2+"}, {"type": "text", "text": "2?"}]
    whole, split = load(jsonl([{"problem": [{"role": "user", "content": content}], "answer": 4}
                               for content in ("2+2?", parts)]), chat=True)
    assert split.prompt == whole.prompt == ({"role": "user", "content": "2+2?"},)


def test_duplicate_ids(jsonl):
    source = jsonl([{**ROWS[0], "k": 1}, {**ROWS[1], "k": 2}, {**ROWS[1], "k": "1"}])
    assert f"{source}:3: id '1' again, first in {source}:1; ids must be unique" in error(source, id="k")
    assert "choose another column for data.train.id, or remove it" in error(source, id="k")


@pytest.mark.parametrize(("fields", "fragment"), [
    ({"template": "no place"}, "data.probe.template: found 0 times {prompt} in 'no place', expected it once"),
    ({"template": "{prompt} {prompt}"}, "data.probe.template: found 2 times {prompt}"),
    ({"system": "s"}, "data.probe.system: found a system message with chat: false; set chat: true"),
    ({"source": "lab", "size": 4, "skip": 1}, "data.probe.skip: found 1, but the source 'lab' is the lab"),
    ({"gold_pattern": "("}, "data.probe.gold_pattern: '(' is not a regular expression"),
    ({"gold_pattern": "#### .+"}, "data.probe.gold_pattern: found no group in '#### .+', expected (...) around"),
    ({"split": "test"},
     "data.probe.split: found 'test', but the source 'x.jsonl' is a local file, which does not use it"),
    ({"revision": "abc"}, "data.probe.revision: found 'abc', but the source 'x.jsonl' is a local file"),
    ({"source": "lab"}, "data.probe.size: not set, expected a number: the lab makes problems without end"),
    ({"source": "lab", "size": 4, "gold": None}, "data.probe.gold: found None, but the source 'lab' is the lab"),
])
def test_contradicting_settings(fields, fragment):
    with pytest.raises(UserError) as caught:
        check_spec(DataSpec(**{"source": "x.jsonl", **fields}), "data.probe")
    assert fragment in str(caught.value)


def test_lab_problems():
    problems = load("lab", split="test", size=3)
    assert [problem.id for problem in problems] == [f"countdown/test/{index}" for index in range(3)]
    assert {problem.verifier for problem in problems} == {"countdown"}
    assert {problem.verifier for problem in load("lab", size=2, verifier="pkg.mod:Mine")} == {"pkg.mod:Mine"}
    assert check_overlap(load("lab", size=64), load("lab", split="test", size=64)) == 0
    assert "data.train.split: lab split 'tset' does not exist" in error("lab", split="tset", size=3)


# ------------------------------------------------------------------------------------------------ hub


def test_hub_dataset(monkeypatch):
    import datasets

    asked: list[Any] = []

    def load_dataset(*names: Any, **options: Any) -> datasets.Dataset:
        asked.append((names, options))
        return datasets.Dataset.from_list([{**row, "unused": "u"} for row in ROWS])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    problems = load("org/sums", config="main", split="test", revision="abc", size=1)
    assert problems == [Problem(id="org/sums/main/test/0", prompt="1+1?", gold="2", verifier="math")]
    assert asked == [(("org/sums", "main"), {"split": "test", "revision": "abc"})]
    assert error("org/sums", prompt="unuse").startswith(
        "org/sums: row 0: no column 'unuse'; did you mean 'unused'? set data.train.prompt to one of: problem, ")


def test_hub_failure_is_one_line(monkeypatch):
    import datasets

    def load_dataset(*names: Any, **options: Any) -> None:
        raise ConnectionError("Couldn't reach 'org/sums' on the Hub\nwith more lines")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert error("org/sums") == (
        "data.train.source: cannot load the hub dataset 'org/sums' (config None, split train, revision None): "
        "Couldn't reach 'org/sums' on the Hub; check the names and the network, or download it and give the path of a "
        ".jsonl or .parquet file")


def test_a_real_repository_through_the_real_loader(tmp_path: Path, monkeypatch):
    """`datasets` itself on a folder laid out as a hub repository: each wrong name is one line, before any model."""
    import datasets.config

    folder = tmp_path / "org/sums"
    for config in ("easy", "hard"):
        (folder / config).mkdir(parents=True)
        for split, rows in (("train", ROWS), ("test", ROWS[:1])):
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / config / f"{split}-0.parquet")
    (folder / "README.md").write_text("---\nconfigs:\n" + "".join(
        f"- config_name: {config}\n  data_files:\n" + "".join(
            f"  - {{split: {split}, path: {config}/{split}-0.parquet}}\n" for split in ("train", "test"))
        for config in ("easy", "hard")) + "---\n")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    monkeypatch.chdir(tmp_path)
    assert load("org/sums", config="hard", split="test") == [
        Problem(id="org/sums/hard/test/0", prompt="1+1?", gold="2", verifier="math")]
    assert load("org/sums", config="easy", split="train", size=2)[1].prompt == "2+2?"
    for fields, cause in (
        ({"config": "hard", "split": "tset"}, 'Unknown split "tset". Should be one of'),
        ({"config": "middle"}, "BuilderConfig 'middle' not found. Available: ['easy', 'hard']"),
        ({}, "Config name is missing."),
    ):
        assert cause in error("org/sums", **fields)
        assert "data.train.source: cannot load the hub dataset 'org/sums'" in error("org/sums", **fields)
    assert "org/sums: row 0: no column 'answr'; did you mean 'answer'?" in error(
        "org/sums", config="hard", gold="answr")


def test_check_names_a_wrong_revision_in_one_line(monkeypatch, capsys):
    """As the hub client raises it, through `rlvr check`, with the place in the recipe and exit code 2."""
    import datasets.exceptions

    from rlvr.cli.main import main

    def load_dataset(*names: Any, **options: Any) -> None:
        assert options["revision"] == "0000000"
        raise datasets.exceptions.DatasetNotFoundError("Revision '0000000' doesn't exist for dataset 'openai/gsm8k' on "
                                                       "the Hub.\nmore")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert main(["check", "recipes/math/gsm8k_grpo_1.5b.yaml", "data.train.revision=0000000"]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and "data.train.source: cannot load the hub dataset 'openai/gsm8k'" in message
    assert "revision 0000000): Revision '0000000' doesn't exist" in message


# ------------------------------------------------------------------------------------------------ overlap and hash


def problems_of(*prompts: str, prefix: str = "p") -> list[Problem]:
    return [Problem(f"{prefix}/{index}", prompt, "1", "math") for index, prompt in enumerate(prompts)]


def test_overlap_ignores_case_space_and_width(caplog):
    train, probe = problems_of("What is 2 + 2?", "Other"), problems_of("new", "what is\n 2  + \uff12?", prefix="q")
    with pytest.raises(UserError) as caught:
        check_overlap(train, probe)
    assert str(caught.value).startswith("data: 1 of 2 probe problems are also in data.train (first: 'q/1' is 'p/0')")
    assert "use disjoint splits, or set data.allow_overlap=true" in str(caught.value)
    assert check_overlap(train, probe, allow=True) == 1
    assert "1 of 2 probe problems are also trained on" in caplog.text
    assert check_overlap(train, problems_of("What is 2 + 3?")) == 0


def test_overlap_is_seen_through_different_templates_and_chat():
    """One benchmark in both sections, plain in one and as chat in the other, is still the same benchmark."""
    train = [Problem("t", "Q: 1+1? A:", "2", "math")]
    probe = [Problem("p", ({"role": "system", "content": "s"}, {"role": "user", "content": "1+1?"}), "2", "math")]
    assert check_overlap(train, probe, train_template="Q: {prompt} A:", allow=True) == 1
    assert check_overlap(train, probe, allow=True) == 0, "without the template the texts do differ"


def test_problem_set_hash_depends_on_content_and_not_on_order():
    first, second = Problem("a", "p", "1", "math", {"x": 1, "y": 2}), Problem("b", "q", "2", "math")
    base = problem_set_hash([first, second])
    assert base == problem_set_hash([second, dataclasses.replace(first, extra={"y": 2, "x": 1})])
    # Fixed for ever: stored baselines are found by it.
    assert base == "563525c7ff3f3b70dfa265579f4337733c0ed795bfc1384c3be88304ea3528df"
    changes: list[dict[str, Any]] = [{"id": "c"}, {"prompt": "r"}, {"gold": "3"}, {"verifier": "v"},
                                     {"extra": {"x": 2}}, {"prompt": ({"role": "user", "content": "p"},)}]
    hashes = {problem_set_hash([dataclasses.replace(first, **change), second]) for change in changes}
    assert len({base, problem_set_hash([first]), *hashes}) == len(changes) + 2


def test_problem_set_hash_of_bytes_and_images():
    """The default repr of an image holds its address: a hash of that would differ at every start."""
    def hash_of(value: Any) -> str:
        return problem_set_hash([Problem("a", "p", "1", "math", {"images": [value]})])

    class Image:  # what is used of a PIL image
        def __init__(self, size: tuple[int, int], color: int) -> None:
            self.size, self.color = size, color

        def tobytes(self) -> bytes:
            return bytes([self.color]) * (self.size[0] * self.size[1])

    assert hash_of(Image((2, 3), 0)) == hash_of(Image((2, 3), 0))
    different = [Image((2, 3), 0), Image((3, 2), 0), Image((2, 3), 9), b"x", np.zeros((2, 3)), np.zeros((3, 2))]
    assert len({hash_of(value) for value in different}) == len(different)
    with pytest.raises(UserError, match=r"a problem holds <object object .*expected JSON data, bytes, images"):
        hash_of(object())


def test_nan_gold_is_not_the_text_nan(jsonl):
    assert math.isnan(json.loads("NaN"))  # what json.loads makes of it, and why _gold must look
    assert load(jsonl([{"problem": "p", "answer": "nan"}]))[0].gold == "nan"
