"""A report's data, read and computed once: the run, its other conditions, and the metrics that stand beside pass@k."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr.report.companions import by_step
from rlvr.report.conditions import Condition, load_conditions, with_own
from rlvr.report.guess_filter import WithoutGuesses, without_guesses
from rlvr.report.load import Run, load_run


@dataclass(frozen=True)
class Report:
    """What the page, the exports and the terminal show of one run directory."""

    run: Run
    measured: tuple[Condition, ...]
    """Every condition beside the probe's own, direct answers included, by name."""
    conditions: tuple[Condition, ...]
    """The probe's own condition and those to compare it with; empty without any of those."""
    filters: tuple[WithoutGuesses, ...]
    """One per direct-answer condition."""
    metrics: Mapping[int, Mapping[str, Any]]
    """Probe step -> companion metrics (`rlvr.statistics.companions`)."""


def load_report(run_dir: Path) -> Report:
    """Read a run directory and the conditions in it, each once.

    Raises UserError as `load_run` does, and for direct answers of unequal numbers of samples.
    """
    run = load_run(run_dir)
    measured = tuple(load_conditions(run))
    return Report(
        run=run,
        measured=measured,
        conditions=tuple(with_own(run, measured)),
        filters=tuple(without_guesses(run, one) for one in measured if one.direct_answer),
        metrics=by_step(run),
    )
