"""Several probe sets of one run side by side: a row each, with verdicts that hold over all sets and k together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

from rlvr.report.changes import monitored_change, named_plan
from rlvr.report.conditions import ARROW
from rlvr.report.load import Run
from rlvr.report.words import MISSING, number, verdict_text, with_interval
from rlvr.statistics.boundary_row import ALPHA, MARGIN
from rlvr.statistics.verdicts import BoundaryVerdict, Look, holm_verdicts, shrinkage_looks
from rlvr.types import Counts

HEADS = ("probe set", "problems", "step", "pass@1", "k", "pass@k", "change of pass@k", "verdict of the set alone",
         "verdicts over all sets and k")


def together(runs: Mapping[str, Run]) -> dict[tuple[str, int], BoundaryVerdict]:
    """(set, k) -> verdict on shrinkage@k at the set's last probe, by Holm's procedure over all of them."""
    places = [(name, k) for name, run in runs.items() if run.last for k in sorted(run.last.verdicts)]
    found = holm_verdicts([_newest(runs[name], k) for name, k in places], alpha=ALPHA, margin=MARGIN)
    return dict(zip(places, found, strict=True))


def _newest(run: Run, k: int) -> Callable[[float], Look]:
    """The newest look of a run on shrinkage@k, as a function of the error that the run may spend."""
    base_plan, plan = named_plan(run.base.plan), named_plan(run.probes[-1].plan)
    assert base_plan is not None and plan is not None  # verdicts were made with them
    base, *later = ([Counts(problem, row.n, row.c) for problem, row in run.rows[probe.step].items()]
                    for probe in run.probes)

    @lru_cache
    def look(alpha: float) -> Look:
        return shrinkage_looks(base, base_plan, later, plan, k, planned_looks=run.probes[-1].planned_looks,
                               alpha=alpha, margin=MARGIN)[-1]

    return look


def table(runs: Mapping[str, Run]) -> list[list[str]]:
    """A row per set under `HEADS`, as words: base before trained model."""
    verdicts, rows = together(runs), []
    for name, run in runs.items():
        k, last = run.k_max, run.last
        probes = [run.base, *([last] if last else [])]
        one, large = (f" {ARROW} ".join(number(probe.get(f"pass@{size}").value) for probe in probes) for size in (1, k))
        row = [name, str(run.base.problems or MISSING), str(probes[-1].step), one, str(k), large]
        if last is None:
            rows.append([*row, *[MISSING] * 3])
            continue
        by_verdict: dict[str, list[str]] = {}
        for (of, size), verdict in verdicts.items():
            if of == name:
                by_verdict.setdefault(verdict_text(last, verdict), []).append(str(size))
        joint = "; ".join(f"{words} (k = {', '.join(sizes)})" for words, sizes in by_verdict.items())
        alone = verdict_text(last, last.verdicts[k].verdict) if k in last.verdicts else MISSING
        rows.append([*row, with_interval(monitored_change(run, last, k), signed=True), alone, joint or MISSING])
    return rows


def explained(runs: Mapping[str, Run]) -> str:
    """What the verdicts of the table hold over, in one sentence."""
    count = sum(len(run.last.verdicts) for run in runs.values() if run.last)
    return (f"Percent and points. The verdict of a set alone is at its largest k and holds over all its probes. The "
            f"last column is Holm's correction over the {count} verdicts of all sets and k: with a chance of "
            f"{100 - 100 * ALPHA:g}% none of them is falsely called shrunk. Go by it when you look for a set that "
            "shrank.")
