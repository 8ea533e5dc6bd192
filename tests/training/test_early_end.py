"""A training that ends early names its last checkpoint and the command that goes on: after Ctrl-C, after NaN."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from transformers import TrainerControl, TrainerState

from rlvr.algorithms.grpo import GRPO
from rlvr.cli.main import main
from rlvr.config.recipe import load_recipe
from rlvr.interfaces import Credit, RolloutBatch
from rlvr.probes.callback import ProbeCallback
from rlvr.runs.run_dir import RunDir
from rlvr.train import ends_run
from rlvr.types import UserError
from tests.runs.test_owner import HOLD
from tests.support.small_run import RECIPE, rows, write_recipe


def ends(monkeypatch: pytest.MonkeyPatch, at_step: int, what: Any) -> None:
    """The algorithm does `what` to its credit at a step."""
    original, calls = GRPO.advantages, [0]

    def advantages(self: GRPO, batch: RolloutBatch) -> Credit:
        credit = original(self, batch)
        if batch.lengths_N is not None and len(batch.lengths_N) == 64:  # a step, and not the check of the recipe
            calls[0] += 1
            if calls[0] == at_step:
                what(credit)
        return credit

    monkeypatch.setattr(GRPO, "advantages", advantages)


def interrupt(credit: Credit) -> None:
    raise KeyboardInterrupt


def spoil(credit: Credit) -> None:
    credit.advantages_NT[5, 0] = float("nan")


@pytest.mark.parametrize(("what", "code", "start"), [
    (interrupt, 130, "interrupted; "),
    (spoil, 1, "error: step 3, rank 0: GRPO.advantages: advantages_NT is NaN or infinite for 1 of 64 rollouts"),
])
def test_the_last_line_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    what: Any, code: int, start: str,
) -> None:
    ends(monkeypatch, 3, what)
    arguments = [*write_recipe(tmp_path), "probes.enabled=false", "tracking.wandb=disabled"]
    assert main(["train", *arguments]) == code
    line = capsys.readouterr().err.strip().splitlines()[-1]
    checkpoint = tmp_path / "run/checkpoints/checkpoint-2"
    command = f"rlvr train {' '.join(arguments)} --resume"
    assert line.startswith(start)
    assert line.endswith(f"; the last checkpoint is {checkpoint}; to go on from it: {command}")
    assert [row["step"] for row in rows(tmp_path / "run/metrics.jsonl")] == [1, 2]
    monkeypatch.undo()
    assert main(["train", *arguments, "--resume"]) == 0
    assert [row["step"] for row in rows(tmp_path / "run/metrics.jsonl")] == [1, 2, 3, 4]


def test_a_full_disk_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bug: a bare OSError. Whichever library wrote, its error says that there is no space."""
    def full(credit: Credit) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "samples/some.gz")

    ends(monkeypatch, 1, full)
    assert main(["train", *write_recipe(tmp_path), "probes.enabled=false", "tracking.wandb=disabled"]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("error: samples/some.gz: no space left on the device; nothing written before is lost")


def test_a_training_keeps_out_of_a_directory_that_another_process_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "run")], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"owned\n"
        try:
            assert main(["train", *write_recipe(tmp_path), "probes.enabled=false", "tracking.wandb=disabled"]) == 2
        finally:
            other.kill()
    assert f"in use by process {other.pid} on " in capsys.readouterr().err
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_before_the_first_checkpoint_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ends(monkeypatch, 1, interrupt)
    assert main(["train", *write_recipe(tmp_path), "probes.enabled=false", "tracking.wandb=disabled"]) == 130
    assert capsys.readouterr().err.strip().splitlines()[-1] == f"interrupted; {tmp_path}/run has no checkpoint yet"


def test_a_probe_that_finds_the_boundary_shrunk_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a checkpoint of that step, though none was due, and a resume knows that nothing is left."""
    asked = []

    def verdict_on(row: Any, k: int) -> str | None:
        asked.append((row["step"], k))
        return "shrunk" if row["step"] else None

    monkeypatch.setattr("rlvr.runs.kept_checkpoints.verdict_on", verdict_on)
    arguments = [*write_recipe(tmp_path), "train.stop_on.shrunk=128", "train.save_every=4", "data.probe.size=2",
                 "probes.plan=cheap", "probes.base_plan=cheap", "probes.arms={}", "tracking.wandb=disabled"]
    assert main(["train", *arguments]) == 0
    run = RunDir(tmp_path / "run")
    assert [row["step"] for row in rows(run.metrics)] == [1, 2] and asked == [(2, 128)]
    assert [row["step"] for row in rows(run.boundary)] == [0, 2]
    assert [step for step, _ in run.complete_checkpoints()] == [2]
    capsys.readouterr()
    assert main(["train", *arguments, "--resume"]) == 0
    assert "train.stop_on: the run ended at step 2; nothing is left to train" in capsys.readouterr().err
    assert [row["step"] for row in rows(run.metrics)] == [1, 2]


def test_only_the_verdict_that_is_waited_for_ends_the_run(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    recipe = load_recipe(tmp_path / "recipe.yaml", ["train.stop_on.shrunk=128"])
    for verdict, ends in (("shrunk", True), ("undecided", False), ("not shrunk", False)):
        verdicts = {"boundary/shrinkage@128": {"verdict": verdict}, "boundary/shrinkage@256": {"verdict": "shrunk"}}
        assert ends_run(recipe, {"step": 2, "sequential": {"verdicts": verdicts}}) is ends


def test_a_probe_without_the_verdict_lets_the_training_go_on() -> None:
    prober: Any = SimpleNamespace(every=2, measures=lambda step: True, measure=lambda step, _: {"step": step},
                                  world=lambda: SimpleNamespace(gather=lambda values: values))
    callback, arguments = ProbeCallback(prober, stop=lambda row: row["step"] == 4), None
    for step, stops in ((2, False), (3, False), (4, True)):
        control = TrainerControl()
        callback.on_step_end(arguments, TrainerState(global_step=step, max_steps=8),  # pyright: ignore
                             control, processing_class="a tokenizer")
        assert control.should_training_stop is control.should_save is stops


def test_stop_on_takes_a_k_that_has_a_verdict(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    for settings, message in ((["train.stop_on.shrunk=32"], "expected a k that has a verdict: 64, 128, 256"),
                              (["train.stop_on.shrunk=256", "probes.enabled=false"], "null without probes"),
                              (["train.stop_on.shrunk=256", "train.probe_elsewhere=true"],
                               "null with train.probe_elsewhere, as a watcher's verdicts do not reach")):
        with pytest.raises(UserError, match=message):
            load_recipe(tmp_path / "recipe.yaml", settings)
