"""A report's data, read and computed once: the run, its other conditions, and the metrics that stand beside pass@k."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rlvr.report.companions import by_step
from rlvr.report.conditions import Condition, load_conditions, with_own
from rlvr.report.guess_filter import WithoutGuesses, without_guesses
from rlvr.report.load import Run, load_run
from rlvr.runs.run_dir import RunDir


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
    sets: Mapping[str, Report]
    """Name -> report of each probe set, of a run with several; the first is the run's own and this report, without its
    sets. {} for a run with one set."""


def load_report(run_dir: Path) -> Report:
    """Read a run directory, the conditions and the further probe sets in it, each once.

    Raises UserError as `load_run` does, and for direct answers of unequal numbers of samples.
    """
    run = load_run(run_dir)
    measured = tuple(load_conditions(run))
    own = Report(
        run=run,
        measured=measured,
        conditions=tuple(with_own(run, measured)),
        filters=tuple(without_guesses(run, one) for one in measured if one.direct_answer),
        metrics=by_step(run),
        sets={},
    )
    names = list((run.recipe.get("data") or {}).get("probe") or {})
    homes = {name: home for name, home in RunDir(run_dir).sets.items() if _measured(home)}
    if not homes:
        return own
    further = {name: load_report(homes[name].path) for name in names if name in homes}
    return replace(own, sets={names[0]: own, **further})


def _measured(home: RunDir) -> bool:
    """Whether the base of a set is measured; at the beginning of a run it may not be yet."""
    return home.boundary.is_file() and home.boundary.stat().st_size > 0
