"""Which checkpoints stay: the newest, and those of the best probes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rlvr.cli.main import main
from rlvr.runs.kept_checkpoints import RULES, delete_others, kept_by_rule, verdict_on
from rlvr.runs.run_dir import RunDir
from tests.support.small_run import write_recipe


def row(step: int, pass_1: float | None, delta_se: float, verdict: str) -> dict[str, Any]:
    return {
        "step": step,
        "estimates": {"boundary/pass@1": {"value": pass_1}, "boundary/delta_se": {"value": delta_se}},
        "sequential": {"verdicts": {"boundary/shrinkage@64": {"verdict": "not shrunk"},
                                    "boundary/shrinkage@256": {"verdict": verdict}}} if step else None,
    }


ROWS = [row(0, 0.9, 0.1, ""), row(10, 0.2, 0.5, "not shrunk"), row(20, 0.4, 0.3, "not shrunk"),
        row(30, 0.4, 0.2, "undecided"), row(40, 0.3, 0.4, "shrunk"), row(50, None, 0.6, "shrunk")]
ALL = ("pass@1", "delta_se", "not shrunk")


def test_each_rule_by_hand() -> None:
    steps = [10, 20, 30, 40, 50]
    assert kept_by_rule(ROWS, steps, ALL) == {"pass@1": 20, "delta_se": 30, "not shrunk": 20}
    assert kept_by_rule(ROWS, [10, 40, 50], ALL) == {"pass@1": 40, "delta_se": 40, "not shrunk": 10}
    assert kept_by_rule(ROWS, [0, 50], ALL) == {"delta_se": 50}  # the base is no checkpoint; no pass@1, all shrunk
    assert kept_by_rule(ROWS, [25], ALL) == {} == kept_by_rule([], steps, ALL)
    assert kept_by_rule(ROWS, steps, ["pass@1"]) == {"pass@1": 20}
    assert verdict_on(ROWS[4]) == "shrunk" and verdict_on(ROWS[4], 64) == "not shrunk"
    assert verdict_on(ROWS[4], 128) is None is verdict_on(ROWS[0])


def steps_of(run: RunDir) -> list[int]:
    return [step for step, _ in run.complete_checkpoints()]


def test_the_newest_always_stay_and_a_save_in_progress_too(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    for step in (10, 20, 30, 40, 50, 60):
        run.checkpoint(step).mkdir(parents=True)
        (run.checkpoint(step) / "weights").write_text("w")
        if step < 60:
            run.mark_complete(run.checkpoint(step))
    run.append_jsonl(run.boundary, ROWS)
    assert [path.name for path in delete_others(run, newest=2, rules=ALL)] == ["checkpoint-10"]
    assert steps_of(run) == [20, 30, 40, 50] and run.checkpoint(60).is_dir()
    delete_others(run, newest=2, rules=["delta_se"])
    assert steps_of(run) == [30, 40, 50]
    delete_others(run, newest=2, rules=())
    assert steps_of(run) == [40, 50] and run.latest_checkpoint() == run.checkpoint(50)
    assert delete_others(run, newest=2, rules=()) == []


def test_the_only_one_beyond_the_newest_may_be_the_best(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    for step in (20, 30, 40):
        run.checkpoint(step).mkdir(parents=True)
        run.mark_complete(run.checkpoint(step))
    run.append_jsonl(run.boundary, ROWS)
    assert delete_others(run, newest=2, rules=["pass@1"]) == [] and steps_of(run) == [20, 30, 40]


def test_a_training_keeps_what_its_recipe_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RULES, "pass@1", lambda rows: rows[0] if rows else None)  # the probe of step 2
    arguments = [*write_recipe(tmp_path), "train.save_every=1", "probes.keep=[pass@1]", "data.probe.size=2",
                 "probes.plan=cheap", "probes.base_plan=cheap", "probes.arms={}", "tracking.wandb=disabled"]
    assert main(["train", *arguments]) == 0
    assert steps_of(RunDir(tmp_path / "run")) == [2, 3, 4]
