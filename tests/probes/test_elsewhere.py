"""`rlvr probe --from` on files of other programs: their problems, their verdicts, unequal numbers of samples."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from rlvr.cli.main import main
from rlvr.probes.elsewhere import disagreement
from rlvr.runs.run_dir import RunDir
from tests.cli.test_bad_input import failure
from tests.data.test_foreign import FILES, jsonl
from tests.support.small_run import rows

ONE = ("judge.workers=1",)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLVR_CACHE", str(tmp_path / "cache"))


def verl_rows(step: int, texts: dict[str, list[str]]) -> list[dict[str, Any]]:
    """`texts`: gold -> completions of the problem with it, the first of which verl calls right."""
    return [{"input": f"user\nSay {gold}\nassistant\n", "output": text, "gts": gold, "score": float(i == 0),
             "step": step}
            for gold, said in texts.items() for i, text in enumerate(said)]


def test_a_folder_of_verl_becomes_a_run_with_its_own_problems(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Step 0 is the base. Right here: 2 of 3 and 1 of 2 samples, then 0 of 2 and 1 of 2."""
    base = {"3": [r"\boxed{3}", r"\boxed{3}", "no"], "4": ["4", r"\boxed{4}"]}
    jsonl(tmp_path / "val" / "0.jsonl", verl_rows(0, base))
    jsonl(tmp_path / "val" / "20.jsonl", verl_rows(20, {"3": ["3", "5"], "4": [r"\boxed{4}", "5"]}))
    out = RunDir(tmp_path / "out")
    assert main(["probe", "--from", str(tmp_path / "val"), *ONE, "-o", str(out.path)]) == 0
    said = capsys.readouterr().err
    assert "9 completions in 2 files of verl" in said
    assert "has 2 completions, 'question-" in said and "up to k = 2" in said and "needs 4 of 5 completions" in said
    before, after = rows(out.boundary)
    value = [{k.removeprefix("boundary/"): v["value"] for k, v in row["estimates"].items()} for row in (before, after)]
    # The first two of each: the base is right on 2 of 2 and 1 of 2, step 20 on 0 of 2 and 1 of 2.
    assert (value[0]["pass@1"], value[0]["pass@2"]) == (0.75, 1.0) and "pass@4" not in value[0]
    assert (value[1]["pass@1"], value[1]["pass@2"]) == (0.25, 0.5)
    # verl called the first of each right: of the base's "3" both agree, of its "4" none; at step 20 "3" is no box.
    assert [{key: row[key] for key in row if key != "examples"} for row in rows(out.other_verdicts)] == [
        {"step": 0, "compared": 4, "both_right": 1, "only_theirs": 1, "only_ours": 2, "both_wrong": 0},
        {"step": 20, "compared": 4, "both_right": 1, "only_theirs": 1, "only_ours": 0, "both_wrong": 2},
    ]
    (example,) = rows(out.other_verdicts)[1]["examples"]
    assert (example["theirs"], example["reason"], example["end"]) == (True, "no_box", "3")
    assert "ours differs on 3 (75.0%)" in said
    page = out.report.read_text()
    assert 'id="other-verdicts"' in page and "right there, wrong here" in page
    assert "of 4 completions that the file judges itself, our verdict differs on 25.0%" in (
        out.path / "report.md").read_text()
    assert [row["gold"] for row in rows(out.problems)] == ["3", "4"]
    first = out.other_verdicts.read_bytes()
    assert main(["probe", "--from", str(tmp_path / "val"), *ONE, "-o", str(out.path), "--resume"]) == 0
    assert out.other_verdicts.read_bytes() == first


def test_one_step_of_the_rollouts_of_a_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for step in (1, 2):
        shutil.copyfile(FILES / f"trl_{step}.parquet", tmp_path / f"completions_{step:05d}.parquet")
    whole = ("--from", str(tmp_path), *ONE)
    line = failure(capsys, "probe", *whole, "-o", str(tmp_path / "no"))
    assert "step 1 has 2 problems, step 2 has 2 and shares 0 of them" in line and "--step" in line
    assert "found steps 1 to 2" in failure(capsys, "probe", *whole, "--step", "9", "-o", str(tmp_path / "no"))
    # The lab's verifier needs the numbers of the task, so the problems come from the data, found by their questions.
    lab = ("--data", "lab", "data.probe.size=4")
    assert main(["probe", *whole, "--step", "2", *lab, "-o", str(tmp_path / "out")]) == 0
    (row,) = rows(RunDir(tmp_path / "out").boundary)
    assert (row["problems"], row["samples"]) == (2, 8)
    # The run that wrote them counted one right answer in eight, with the same verifier.
    assert row["estimates"]["boundary/pass@1"]["value"] == 1 / 8
    assert rows(RunDir(tmp_path / "out").other_verdicts)[0]["compared"] == 8
    assert rows(RunDir(tmp_path / "out").other_verdicts)[0]["both_right"] == 1


def test_rows_of_ones_own_may_name_question_and_gold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = [{"problem_id": "a", "sample": i, "text": rf"\boxed{{{i}}}", "gold": "1", "prompt": "?", "correct": i == 0}
           for i in range(2)]
    path = jsonl(tmp_path / "own.jsonl", own)
    assert main(["probe", "--from", str(path), *ONE, "-o", str(tmp_path / "out")]) == 0
    (compared,) = rows(RunDir(tmp_path / "out").other_verdicts)
    assert (compared["only_theirs"], compared["only_ours"]) == (1, 1)
    assert rows(RunDir(tmp_path / "out").problems) == [{"id": "a", "prompt": "?", "gold": "1", "verifier": "math"}]
    capsys.readouterr()
    bare = jsonl(tmp_path / "bare.jsonl", [{key: row[key] for key in ("problem_id", "sample", "text")} for row in own])
    for arguments, part in (
        (("--from", str(bare)), "bare.jsonl:1: no gold answer in the file; name the problems with --data"),
        (("--from", str(path), "data.probe.size=1"), "data.probe.size: found without --data"),
        (("--from", str(path), "--step", "1"), "--step 1: "),
        (("lab", "--data", "lab", "--step", "1"), "--step 1: found without --from"),
        (("--from", str(tmp_path / "none")), "no such file or folder"),
    ):
        assert part in failure(capsys, "probe", *arguments, "-o", str(tmp_path / "no"))
    assert not (tmp_path / "no").exists()


def test_how_two_judges_differ() -> None:
    ours = [{"problem_id": "a", "sample": i, "correct": right, "reason": "x", "extracted": None, "text": "y" * 300}
            for i, right in enumerate((True, False, True, None, False))]
    theirs = {("a", 0): False, ("a", 1): False, ("a", 3): True, ("a", 4): True, ("b", 0): True}
    row = disagreement(theirs, ours)
    assert [row[key] for key in ("compared", "both_right", "only_theirs", "only_ours", "both_wrong")] == [3, 0, 1, 1, 1]
    assert [(one["sample"], one["theirs"], len(one["end"])) for one in row["examples"]] == [(4, True, 200),
                                                                                            (0, False, 200)]
    many = disagreement({("a", i): True for i in range(20)}, [ours[1] | {"sample": i} for i in range(20)])
    assert many["only_theirs"] == 20 and len(many["examples"]) == 5 and json.dumps(many)
