"""A training that ends early names its last checkpoint and the command that goes on: after Ctrl-C, after NaN."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rlvr.algorithms.grpo import GRPO
from rlvr.cli.main import main
from rlvr.interfaces import Credit, RolloutBatch
from tests.support.small_run import rows, write_recipe


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


def test_before_the_first_checkpoint_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ends(monkeypatch, 1, interrupt)
    assert main(["train", *write_recipe(tmp_path), "probes.enabled=false", "tracking.wandb=disabled"]) == 130
    assert capsys.readouterr().err.strip().splitlines()[-1] == f"interrupted; {tmp_path}/run has no checkpoint yet"
