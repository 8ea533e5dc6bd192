"""What the progress line tells a person: the time left, and that a run learns nothing."""

from __future__ import annotations

from typing import Any

import pytest
from transformers import TrainerState

from rlvr.training.progress_line import ProgressLine


def started(step: int = 0) -> tuple[ProgressLine, Any]:
    line, state = ProgressLine(), TrainerState(max_steps=60, global_step=step, is_world_process_zero=True)
    anything: Any = None
    line.on_train_begin(anything, state, anything)
    return line, state


def log(line: ProgressLine, state: Any, step: int, zero_signal: float) -> None:
    state.global_step = step
    anything: Any = None
    line.on_log(anything, state, anything,
                {"train/reward": 0.0, "train/zero_signal_frac": zero_signal, "train/truncated_frac": 0.75})


def test_the_probe_of_the_base_is_no_step_in_the_time_left() -> None:
    line, state = started()
    anything: Any = None
    for clock in ("start_t", "last_print_t"):  # the base's probe took half a minute
        setattr(line.bar, clock, getattr(line.bar, clock) - 30)
    assert line.bar.format_dict["elapsed"] >= 30
    line.on_step_begin(anything, state, anything)
    assert line.bar.format_dict["elapsed"] < 5
    for clock in ("start_t", "last_print_t"):  # a step that takes as long does count
        setattr(line.bar, clock, getattr(line.bar, clock) - 30)
    line.on_step_begin(anything, state, anything)
    assert line.bar.format_dict["elapsed"] >= 30
    line.close()


def test_five_steps_without_signal_are_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    line, state = started(step=10)  # a resumed run
    for step in range(11, 20):
        log(line, state, step, 1.0)
        assert ("warning" in capsys.readouterr().err) == (step == 15)
    log(line, state, 20, 0.9)
    for step in range(21, 25):
        log(line, state, step, 1.0)
    assert "warning" not in capsys.readouterr().err
    log(line, state, 25, 1.0)
    assert (
        "warning: steps 21 to 25 taught nothing: all rollouts of each prompt got the same credit (mean reward 0.000, "
        "75% cut at the token limit)" in capsys.readouterr().err
    )
    line.close()


def test_other_ranks_say_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    line, state = ProgressLine(), TrainerState(max_steps=60)
    for step in range(1, 9):
        log(line, state, step, 1.0)
    assert capsys.readouterr().err == ""
