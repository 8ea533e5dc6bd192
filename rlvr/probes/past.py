"""The probes that a run directory already holds: what a new one is compared with. A resumed run has them too."""

from __future__ import annotations

from typing import Any

import numpy as np

from rlvr.runs.run_dir import RunDir
from rlvr.statistics.boundary_row import Measurement
from rlvr.statistics.plan import SamplingPlan
from rlvr.types import Counts


def finished(run: RunDir) -> list[dict[str, Any]]:
    """The boundary row of every finished probe."""
    return run.read_jsonl(run.boundary)


def base_of(run: RunDir, plan: SamplingPlan) -> Measurement:
    """The measurement of step 0, drawn with `plan`."""
    rows = [row for row in run.read_jsonl(run.probes) if row["step"] == 0]
    exact = [row["exact_p"] for row in rows]
    return Measurement([counts_of(row) for row in rows], plan, None if None in exact else np.array(exact))


def between_base_and(step: int, run: RunDir, plan: SamplingPlan) -> dict[int, Measurement]:
    """Step -> measurement of the finished probes after the base and before `step`, oldest first, drawn with `plan`."""
    steps = sorted({row["step"] for row in finished(run) if 0 < row["step"] < step})
    counts: dict[int, list[Counts]] = {each: [] for each in steps}
    for row in run.read_jsonl(run.probes) if steps else ():
        if row["step"] in counts:
            counts[row["step"]].append(counts_of(row))
    return {each: Measurement(counts[each], plan) for each in steps}


def planned_looks(run: RunDir, default: int | None) -> int | None:
    """What the first verdict of the run was planned with, `default` if there is none yet. Another number later would
    change the error that is already spent."""
    for row in finished(run):
        if row.get("sequential"):  # rows of runs that began before verdicts were kept have none
            return row["sequential"]["planned_looks"]
    return default


def tokens_probed(run: RunDir, *, with_base: bool) -> int:
    """Tokens that the finished probes generated."""
    return sum(row["tokens"] for row in finished(run) if with_base or row["step"] > 0)


def counts_of(row: dict[str, Any]) -> Counts:
    """The counts in a row of probes.jsonl."""
    return Counts(problem_id=row["problem_id"], n=row["n"], c=row["c"], c_first=row["c_first"])
