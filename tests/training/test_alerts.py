"""What is told at once: the boundary shrank, nothing is learned, the training stopped early."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rlvr.config.recipe import load_recipe, resolved
from rlvr.runs.run_dir import RunDir
from rlvr.training.alerts import SILENT_STEPS, Alerts
from rlvr.training.tracking import tracked
from rlvr.types import Estimate
from tests.support.small_run import write_recipe

ROSE, FLAT = Estimate(0.08, 0.03, 0.13), Estimate(0.01, -0.03, 0.05)


def probe(step: int, verdict: str, look: int, planned: int = 3) -> dict[str, Any]:
    told = {"verdict": verdict, "value": 0.07, "low": 0.021, "high": 0.11}
    return {"step": step, "sequential": {"look": look, "planned_looks": planned, "verdicts": {
        "boundary/shrinkage@64": told | {"verdict": "undecided"}, "boundary/shrinkage@256": told}}}


def test_shrunk_is_told_when_the_verdict_turns_and_not_again() -> None:
    alerts = Alerts()
    assert not list(alerts.on_probe({"step": 0, "sequential": None}, None))
    assert not list(alerts.on_probe(probe(10, "undecided", 1), ROSE))
    (alert,) = alerts.on_probe(probe(20, "shrunk", 2), ROSE)
    assert alert.title == "the boundary shrank at k = 256"
    assert alert.text == "step 20: pass@256 is below the base's by 7.0 points, at least 2.1"
    assert not list(alerts.on_probe(probe(30, "shrunk", 3), ROSE))
    assert not list(Alerts([probe(20, "shrunk", 2)]).on_probe(probe(30, "shrunk", 3), ROSE))  # told before a resume


def test_a_pass_at_1_that_did_not_rise_is_told_at_the_last_probe() -> None:
    assert not list(Alerts().on_probe(probe(20, "undecided", 2), FLAT))
    (alert,) = Alerts().on_probe(probe(30, "undecided", 3), FLAT)
    assert alert.title == "pass@1 did not rise"
    assert "+1.0 points since the base, 95% interval [-3.0, +5.0]" in alert.text
    assert not list(Alerts().on_probe(probe(30, "undecided", 3), ROSE))


def test_steps_without_a_gradient_are_told_once_each_time() -> None:
    alerts = Alerts()

    def after(share: float, rows: int) -> list[str]:
        return [alert.title for step in range(rows)
                for alert in alerts.on_metrics({"step": step, "train/zero_signal_frac": share})]

    assert after(1.0, SILENT_STEPS - 1) == [] and after(0.9, 1) == []
    assert after(1.0, SILENT_STEPS + 5) == ["nothing is learned"]
    assert not list(alerts.on_metrics({"step": 99, "train/accuracy": 1.0}))


def test_an_early_end_is_told_and_the_run_is_marked_as_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    ended: list[int] = []
    path, *changes = write_recipe(tmp_path)
    recipe = load_recipe(path, changes)
    run_dir = RunDir.create(tmp_path / "run")
    run_dir.write_recipe(resolved(recipe), lab=True)
    with pytest.raises(RuntimeError, match="out of memory"), tracked(recipe, run_dir) as (_, trackers):
        assert trackers is not None
        wandb_run: Any = trackers.trackers[0]
        monkeypatch.setattr(wandb_run.run, "alert", lambda *alert: told.append(alert))  # an offline run drops it
        finish = wandb_run.run.finish
        monkeypatch.setattr(wandb_run.run, "finish", lambda exit_code: (ended.append(exit_code), finish(exit_code)))
        for step in range(1, SILENT_STEPS + 1):
            wandb_run.log_metrics({"step": step, "train/zero_signal_frac": 1.0})
        raise RuntimeError("out of memory")
    assert [alert[0] for alert in told] == ["nothing is learned", "the training stopped early"]
    assert told[1][1:] == ("after step 10: RuntimeError: out of memory", "ERROR")
    assert ended == [1]
