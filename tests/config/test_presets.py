"""Public benchmarks by name: what a preset fills, and rows of each schema through it (tests/files/recorded_rows.jsonl).

Run: python -m pytest tests/config/test_presets.py -rs
With RLVR_TEST_DATA=DIR the benchmark files of limit-of-RLVR (gsm8k_test.jsonl, math500.jsonl, ...) in DIR are read too.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rlvr.cli.catalog import details, overview
from rlvr.cli.main import main
from rlvr.config.data import DataSpec, check_spec
from rlvr.config.presets import PRESETS, expand
from rlvr.config.recipe import load_recipe
from rlvr.config.strict import from_dict
from rlvr.data.load import load_problems
from rlvr.judging.golds import Section, usable
from rlvr.judging.judge import GoldComplaint, Judge
from rlvr.types import Problem, UserError

RECORDED = [json.loads(line) for line in
            (Path(__file__).parents[1] / "files/recorded_rows.jsonl").read_text().splitlines()]
"""Rows with all columns of the hub dataset, and their golds. kind: recorded, or by hand in the dataset's schema."""
ROWS = {each["preset"]: (each["row"], each["gold"]) for each in RECORDED}
MATH_ROW = ROWS["math"][0]


def spec_of(name: str, **given: Any) -> DataSpec:
    return from_dict(DataSpec, expand({"preset": name, **given}, "data.probe"))


def from_row(name: str, tmp_path: Path, row: dict[str, Any] | None = None, **given: Any) -> Problem:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(row or ROWS[name][0]) + "\n")
    (problem,) = load_problems(spec_of(name, source=str(file), **given), where="data.train")
    return problem


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda each: f"{each['preset']}-{each['kind']}")
def test_a_row_of_each_schema_becomes_a_problem_whose_gold_passes(
    judge: Judge, recorded: dict[str, Any], tmp_path: Path
) -> None:
    name, row, gold = recorded["preset"], recorded["row"], recorded["gold"]
    if "PICTURE" in json.dumps(row):
        Image.new("RGB", (4, 4)).save(tmp_path / "PICTURE", format="PNG")
    problem = from_row(name, tmp_path, row)
    assert problem.gold == gold and problem.prompt
    assert problem.verifier == PRESETS[name].fields["verifier"]
    assert len(problem.images) == ("PICTURE" in json.dumps(row))
    check_spec(spec_of(name), "data.train")
    assert judge.check_golds([problem]) == [None]


@pytest.mark.parametrize("name", ["math_beyond", "aime26", "hmmt26", "beyond_aime"])
def test_rows_of_the_newest_pass_an_audit(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Real rows of the datasets, but for math_beyond, of which none was within reach."""
    recorded = [each for each in RECORDED if each["preset"] == name]
    assert {each["kind"] for each in recorded} == {"by hand" if name == "math_beyond" else "recorded"}
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(each["row"]) + "\n" for each in recorded))
    assert main(["audit", "--data", name, f"source={file}", "--workers", "1", "-o", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "audit.json").read_text())
    assert (found["verifier"], found["problems"], found["golds_accepted"]) == ("math", len(recorded), len(recorded))
    assert found["false_positives"]["accepted"] == 0 < 50 * len(recorded) < found["false_positives"]["wrong_answers"]


def test_which_presets_are_read_at_no_fixed_commit() -> None:
    commits = {name: preset.fields.get("revision") for name, preset in PRESETS.items()}
    assert {name for name, commit in commits.items() if commit is None} == {"omni_math_rule", "code_r1", "mathvision"}
    assert all(re.fullmatch("[0-9a-f]{40}", commit) for commit in commits.values() if commit)


def test_every_preset_has_a_row_and_every_recorded_row_its_origin() -> None:
    assert {each["preset"] for each in RECORDED} == set(PRESETS)
    for each in RECORDED:
        assert each["kind"] in ("recorded", "by hand") and each["source"] and each["licence"]


def test_questions_of_code_name_what_is_called(tmp_path: Path) -> None:
    """Bug: the model cannot know the function's name, so nothing ever passes."""
    assert "class Solution:" in str(from_row("livecodebench_v6", tmp_path).prompt)
    stdin = from_row("livecodebench", tmp_path)
    assert str(stdin.prompt).endswith("\n\nRead the input from standard input and print the answer to standard output.")
    assert (stdin.id, stdin.extra["tests"]["kind"]) == ("1873_A", "stdin")
    assert [case["output"] for case in stdin.extra["tests"]["cases"]][1:] == ["YES\n", "NO\nYES\n"], "private ones too"
    mbpp = from_row("mbpp_plus", tmp_path)
    assert "assert set(similar_elements(" in str(mbpp.prompt) and mbpp.id == "2"
    assert "def unique(l: list):" in str(from_row("humaneval_plus", tmp_path).prompt)
    assert from_row("code_r1", tmp_path).prompt == "Add the numbers."
    chat = from_row("code_r1", tmp_path, chat=True, system="S", template="T {prompt}")
    assert chat.prompt == ({"role": "system", "content": "S"}, {"role": "user", "content": "T Add the numbers."})


def test_what_the_hub_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pinned revision, and for LiveCodeBench the five files of release v5 instead of its script."""
    import datasets

    asked: list[Any] = []

    def load_dataset(*names: Any, **options: Any) -> datasets.Dataset:
        asked.append((names, options))
        return datasets.Dataset.from_list([ROWS["livecodebench" if options.get("data_files") else "gsm8k"][0]])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    (problem,) = load_problems(spec_of("gsm8k", split="train"), where="data.train")
    assert (problem.id, problem.gold) == ("openai/gsm8k/main/train/0", "4")
    (problem,) = load_problems(spec_of("livecodebench"), where="data.train")
    assert problem.id == "1873_A" and len(problem.extra["tests"]["cases"]) == 3
    commit = "0fe84c3912ea0c4d4a78037083943e8f0c4dd505"
    assert asked == [
        (("openai/gsm8k", "main"), {"split": "train", "revision": "740312add88f781978c0658806c59bc2815b9866"}),
        (("json",), {"split": "train", "data_files": [
            f"hf://datasets/livecodebench/code_generation_lite@{commit}/test{n}.jsonl" for n in ("", 2, 3, 4, 5)]}),
    ]


def test_the_recipe_wins_over_the_preset(tmp_path: Path) -> None:
    assert spec_of("gsm8k", config=None, revision="abc", size=3) == DataSpec(
        "openai/gsm8k", split="test", revision="abc", config=None, size=3, prompt="question",
        gold_pattern=r"####\s*(.+)", verifier="math")
    assert expand({"source": "x.jsonl"}, "data.train") == {"source": "x.jsonl"}
    with pytest.raises(UserError, match=r"^data.train.preset: found 'gsm', expected .*; did you mean 'gsm8k'\?"):
        expand({"preset": "gsm"}, "data.train")
    with pytest.raises(UserError, match=r"found 'minerva', but the source .* is a local file"):
        check_spec(spec_of("math500", source="x.jsonl", split="minerva"), "data.train")


def test_a_recipe_names_a_preset_and_the_command_line_changes_it(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "recipes/math/gsm8k_grpo_1.5b.yaml").read_text()
    file = tmp_path / "r.yaml"
    assert "preset: gsm8k" in text
    file.write_text(text)
    probe = load_recipe(file).data.probe_set
    assert (probe.source, probe.split, probe.prompt) == ("openai/gsm8k", "test", "question")
    probe = load_recipe(file, ["data.probe.preset=math500", "data.probe.size=7"]).data.probe_set
    assert (probe.source, probe.prompt, probe.size) == ("HuggingFaceH4/MATH-500", "problem", 7)
    assert probe.gold_pattern is None


def test_a_preset_trains_on_a_training_split(tmp_path: Path) -> None:
    """Bug: `train: {preset: gsm8k}` trains on the test problems."""
    for name in PRESETS:
        try:
            split = from_dict(DataSpec, expand({"preset": name}, "data.train")).split
        except UserError as error:
            assert "data.train.split: not set, and" in str(error) and "for evaluation" in str(error)
            given = expand({"preset": name, "split": "x"}, "data.train")
        else:
            assert split == "train"
            given = expand({"preset": name, "split": "x"}, "data.train")
        assert from_dict(DataSpec, given).split == "x"
    assert spec_of("gsm8k").split == "test"
    local = expand({"preset": "aime24", "source": "x.jsonl"}, "data.train")
    assert "split" not in local, "a local file is read whole"


def test_a_preset_in_a_section_given_on_the_command_line() -> None:
    """Bug: `data.train={preset: gsm8k, chat: true}` says that preset is an unknown key."""
    recipe = "math/gsm8k_grpo_1.5b.yaml"
    given = ["data.train={preset: gsm8k, chat: true, size: 512, template: 'Q: {prompt}'}"]
    train = load_recipe(recipe, given).data.train_set
    assert (train.source, train.split, train.chat, train.template) == ("openai/gsm8k", "train", True, "Q: {prompt}")
    with pytest.raises(UserError, match=r"command line: data.train.sise: unknown key; did you mean 'size'"):
        load_recipe(recipe, ["data.train={preset: gsm8k, sise: 512}"])
    with pytest.raises(UserError, match=r"data.train.preset: found 'gsm', expected .*; did you mean 'gsm8k'\?"):
        load_recipe(recipe, ["data.train={preset: gsm}"])
    with pytest.raises(UserError, match=r"data.train.preset: found \['gsm8k'\], expected the name of a benchmark"):
        load_recipe(recipe, ["data.train={preset: [gsm8k]}"])


@pytest.mark.parametrize(("given", "fragment"), [
    ({"gold_boxed": True, "gold": None}, "data.train.gold_boxed: found true"),
    ({"gold_boxed": True, "gold_pattern": "(.)"}, "beside data.train.gold_pattern; remove one"),
    ({"reader": "mbpp_plus", "gold": "code"}, "data.train.gold: found 'code' beside data.train.reader 'mbpp_plus'"),
    ({"reader": "mbp_plus"}, "unknown name 'mbp_plus' in readers: did you mean 'mbpp_plus'"),
    ({"source": "org/x", "files": ("a.csv",)}, "data.train.files: found a.csv, expected .jsonl or .parquet"),
    ({"files": ("a.jsonl",)}, "data.train.files: found ('a.jsonl',), but the source 'x.jsonl' is a local file"),
])
def test_contradicting_settings(given: dict[str, Any], fragment: str) -> None:
    with pytest.raises(UserError) as caught:
        check_spec(DataSpec(**{"source": "x.jsonl", **given}), "data.train")
    assert fragment in str(caught.value)


@pytest.mark.parametrize(("solution", "gold"), [
    (r"so $\boxed 2$.", "2"), (r"so $\fbox{\frac{1}{2}}$", r"\frac{1}{2}"), (r"\boxed{1}, no, \boxed{3}", "3"),
    (r"the area is $\boxed{\text{(A)}}$", r"\text{(A)}"),
])
def test_the_last_box_of_a_solution(tmp_path: Path, solution: str, gold: str) -> None:
    assert from_row("math", tmp_path, {**MATH_ROW, "solution": solution}).gold == gold


def test_rows_without_a_gold_answer_stop_the_run_or_are_dropped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "rows.jsonl"
    rows = [MATH_ROW, {**MATH_ROW, "solution": "no box"}, {**MATH_ROW, "problem": "q", "solution": r"\boxed{5}"}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(UserError, match=r"rows.jsonl:2: no answer in column 'solution': .* set data.train.drop_bad_g"):
        load_problems(spec_of("math", source=str(file)), where="data.train")
    with caplog.at_level(logging.WARNING):
        problems = load_problems(spec_of("math", source=str(file), drop_bad_golds=True, size=3), where="data.train")
    assert [problem.id for problem in problems] == ["rows/0", "rows/2"]
    assert "data.train: 1 of 3 rows have no readable gold answer and are left out" in caplog.text


def test_a_row_that_a_reader_cannot_read_has_its_place(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"rows.jsonl:1: no column 'prompt' for data.train.reader 'humaneval_plus'"):
        from_row("humaneval_plus", tmp_path, {"task_id": 1})
    with pytest.raises(UserError, match=r"rows.jsonl:1: .* cannot read the row: no function of the reference solution"):
        from_row("mbpp_plus", tmp_path, {**ROWS["mbpp_plus"][0], "test_list": ["assert True"]})


class RejectsB:
    """Stands for a judge; the gold "b" is bad."""

    def check_golds(self, problems: Sequence[Problem]) -> list[GoldComplaint | None]:
        return [GoldComplaint("it is bad") if problem.gold == "b" else None for problem in problems]


REJECTS_B: Any = RejectsB()


def test_bad_golds_are_counted_named_and_dropped_on_request(caplog: pytest.LogCaptureFixture) -> None:
    problems = [Problem(str(i), "p", gold, "math") for i, gold in enumerate("abbbb")]
    keep, drop = DataSpec("x.jsonl"), DataSpec("x.jsonl", drop_bad_golds=True)
    with pytest.raises(UserError) as caught:
        usable(REJECTS_B, [Section("data.train", drop, problems[:1]), Section("data.probe", keep, problems)])
    assert str(caught.value) == (
        "data.probe: verifier 'math' rejects its gold answer in 4 of 5 problems: '1': it is bad; '2': it is bad; '3': "
        "it is bad; and 1 more; fix the rows, choose another verifier, or leave them out with "
        "data.probe.drop_bad_golds=true; `rlvr audit` lists all")
    with caplog.at_level(logging.WARNING):
        kept = usable(REJECTS_B, [Section("data.train", drop, problems), Section("data.probe", keep, problems[:1])])
    assert kept == [problems[:1], problems[:1]]
    assert "data.train: 4 of 5 problems are left out (drop_bad_golds): '1': it is bad" in caplog.text
    with pytest.raises(UserError, match="nothing is left without them"):
        usable(REJECTS_B, [Section("data.train", drop, problems[1:])])


def test_the_list_shows_presets_and_what_they_stand_for() -> None:
    text = overview()
    for name, preset in PRESETS.items():
        assert f"{name} " in text and preset.about in text
    assert "source: openai/gsm8k" in details("gsm8k") and "config: main" in details("gsm8k")
    assert "mbpp_plus" in text.split("readers")[1]


BENCHMARKS = {  # file -> preset, keys that differ there, rows, golds known to be broken
    "gsm8k_test": ("gsm8k", {}, 1319, 0),
    "math500": ("math500", {}, 500, 0),
    "aime24": ("aime24", {}, 30, 0),
    "amc23": ("amc23", {}, 40, 0),
    "minerva_math": ("minerva", {"prompt": "problem", "gold": "solution", "gold_boxed": True}, 272, 3),
    "olympiadbench": ("olympiadbench", {}, 675, 2),
    "aime26": ("aime26", {}, 30, 0),
    "hmmt26": ("hmmt26", {}, 33, 0),
    "beyond_aime": ("beyond_aime", {}, 100, 0),
}


@pytest.mark.skipif("RLVR_TEST_DATA" not in os.environ, reason="set RLVR_TEST_DATA to a folder of benchmark files")
@pytest.mark.parametrize("file", BENCHMARKS)
def test_real_benchmark_files(file: str) -> None:
    """Gold accepts gold, but for those listed as broken."""
    preset, given, rows, broken = BENCHMARKS[file]
    path = Path(os.environ["RLVR_TEST_DATA"]) / f"{file}.jsonl"
    problems = load_problems(spec_of(preset, source=str(path), **given), where="data.probe")
    assert len(problems) == rows
    with Judge(workers=2, timeout=20.0) as judge:
        assert sum(complaint is not None for complaint in judge.check_golds(problems)) <= broken
