"""Companions of pass@k as table cells: metrics by probe step, solvable sets, the guess control.

Read from boundary.jsonl. Runs that are older than these metrics have them recomputed from their counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rlvr.report.changes import named_plan
from rlvr.report.load import ProbePoint, Run
from rlvr.report.words import MISSING, number
from rlvr.runs.run_dir import null_to_nan
from rlvr.statistics.companions import companions
from rlvr.statistics.plan import SamplingPlan
from rlvr.types import Counts, Estimate


def by_step(run: Run) -> dict[int, Mapping[str, Any]]:
    """Probe step -> companion metrics, as in boundary.jsonl; the steps without counts or a known plan left out."""
    metrics: dict[int, Mapping[str, Any]] = {}
    base = _counts(run, run.base)
    for probe in run.probes:
        if probe.companions:
            metrics[probe.step] = probe.companions
        elif (now := _counts(run, probe)) is not None and base is not None:
            k = min(run.k_max, now[1].max_samples, base[1].max_samples)
            metrics[probe.step] = companions(*now, None if probe is run.base else base, k)
    return metrics


@dataclass(frozen=True)
class SolvableRow:
    """The four-cell table of one probe as words; a dash where a number is undefined."""

    step: int
    k: int
    cells: tuple[str, str, str, str]
    """Solved at k by both, by the base alone, by the probe alone, by neither: expected numbers of problems."""
    srr: str
    ndr: str
    nscr: str
    p_value: str


def solvable_rows(metrics: Mapping[int, Mapping[str, Any]]) -> list[SolvableRow]:
    rows = []
    for step, row in metrics.items():
        table = row["solvable"]
        if table is None:
            continue
        digits = 0 if table["whole"] else 1
        p_value = null_to_nan(table["p_value"])
        rows.append(SolvableRow(
            step=step, k=table["k"],
            cells=tuple(f"{table[name]:.{digits}f}" for name in ("both", "only_base", "only_run", "neither")),  # pyright: ignore[reportArgumentType]
            srr=_percent(table["srr"]), ndr=_percent(table["ndr"]), nscr=_percent(table["nscr"], signed=True),
            p_value=MISSING if math.isnan(p_value) else f"{p_value:.2g}",
        ))  # fmt: skip
    return rows


def guess_rows(run: Run) -> list[tuple[int, str, str, str, str, int, int]]:
    """(k, base, base corrected, probe, probe corrected, problems kept, guessable) at a few k; [] without a baseline.

    The base's columns alone where nothing was measured after it.
    """
    last = run.last or run.base
    if not run.base.guess or not last.guess:
        return []
    rows = []
    for k in (k for k in (1, 16, 64, 256) if str(k) in run.base.guess and str(k) in last.guess):
        before, now = run.base.guess[str(k)], last.guess[str(k)]
        rows.append((k, _percent(before["pass_at_k"]), _percent(before["corrected"]), _percent(now["pass_at_k"]),
                     _percent(now["corrected"]), now["kept"], now["guessable"]))
    return rows


def _counts(run: Run, probe: ProbePoint) -> tuple[list[Counts], SamplingPlan] | None:
    plan, rows = named_plan(probe.plan), run.rows.get(probe.step)
    return ([Counts(i, row.n, row.c) for i, row in rows.items()], plan) if plan and rows else None


def estimate_of(entry: Mapping[str, Any]) -> Estimate:
    """A stored value with its bounds."""
    return Estimate(*(null_to_nan(entry[part]) for part in ("value", "low", "high")))


def _percent(value: float | None, *, signed: bool = False) -> str:
    known = null_to_nan(value)
    return MISSING if math.isnan(known) else f"{number(known, signed=signed)}%"
