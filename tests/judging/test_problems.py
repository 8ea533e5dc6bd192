"""The problems of a recipe, prepared: loaded, compared with each other, their gold answers judged."""

from __future__ import annotations

import json
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rlvr.config.recipe import Recipe, load_recipe
from rlvr.judging.problems import load_probe_set, load_problem_sets, with_usable_golds
from rlvr.runs.waiting import told
from rlvr.types import UserError
from tests.config.test_presets import REJECTS_B
from tests.support.small_run import write_recipe


def recipe(folder: Path, train: str, probe: str, *overrides: str) -> Recipe:
    """Trains on problems whose golds are the letters of `train`, two a step, and probes those of `probe`."""
    for name, golds in (("train", train), ("probe", probe)):
        lines = [json.dumps({"problem": f"{name} {i}?", "answer": gold}) for i, gold in enumerate(golds)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    path, *settings = write_recipe(folder)
    data = [f"data.{name}.{setting}" for name in ("train", "probe")
            for setting in (f"source={folder / name}.jsonl", "size=null", "split=train", "verifier=exact_string")]
    return load_recipe(path, [*settings, *data, "train.prompts_per_step=2", *overrides])


def golds(problems: Any) -> str:
    return "".join(problem.gold for problem in problems)


def test_rejected_golds_are_left_out_and_counted(tmp_path: Path) -> None:
    asked = recipe(tmp_path, "abcb", "ba", "data.train.drop_bad_golds=true", "data.probe.drop_bad_golds=true")
    loaded = load_problem_sets(asked)
    assert (golds(loaded.train), golds(loaded.probe), loaded.shared, loaded.rejected) == ("abcb", "ba", 0, 0)
    kept = with_usable_golds(asked, loaded, REJECTS_B)
    assert (golds(kept.train), golds(kept.probe), kept.rejected) == ("ac", "a", 3)
    probed = with_usable_golds(asked, load_probe_set(asked), REJECTS_B)
    assert (probed.train, golds(probed.probe), probed.rejected) == ([], "a", 1)


def test_a_long_check_of_gold_answers_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bug: thousands of programs were judged for minutes without a word."""
    monkeypatch.setattr("rlvr.judging.golds.told", partial(told, patience=0.05))
    asked = recipe(tmp_path, "ac", "a")
    judge: Any = SimpleNamespace(check_golds=lambda problems: time.sleep(0.3) or REJECTS_B.check_golds(problems))
    with_usable_golds(asked, load_problem_sets(asked), judge)
    assert capsys.readouterr().err.startswith("judging 3 gold answers, before anything is trained")


def test_without_probes_their_problems_are_not_loaded(tmp_path: Path) -> None:
    asked = recipe(tmp_path, "ac", "b", "probes.enabled=false")
    kept = with_usable_golds(asked, load_problem_sets(asked), REJECTS_B)
    assert (golds(kept.train), kept.probe) == ("ac", [])


def test_too_few_problems_are_refused_also_when_bad_golds_make_them_few(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.train: 1 problems cannot fill a step"):
        load_problem_sets(recipe(tmp_path, "a", "c"))
    asked = recipe(tmp_path, "ab", "c", "data.train.drop_bad_golds=true")
    with pytest.raises(UserError, match=r"data\.train: 1 problems cannot fill a step"):
        with_usable_golds(asked, load_problem_sets(asked), REJECTS_B)


def test_problems_in_both_sets_are_refused_or_counted(tmp_path: Path) -> None:
    shared = f"data.probe.source={tmp_path / 'train.jsonl'}"
    with pytest.raises(UserError, match="allow_overlap"):
        load_problem_sets(recipe(tmp_path, "ac", "c", shared))
    assert load_problem_sets(recipe(tmp_path, "ac", "c", shared, "data.allow_overlap=true")).shared == 2
