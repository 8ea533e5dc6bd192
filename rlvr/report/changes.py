"""What changed between the base and a probe: differences paired by problem, and where the two curves cross.

A change is the later value minus the base's everywhere in a report: below 0 the boundary shrank. boundary.jsonl records
its negative, the shrinkage, at the k that the verdict is about; at every other k the change is computed here from the
stored counts, with the same statistics.
"""

from __future__ import annotations

import json
import math
import re
from itertools import pairwise

from rlvr.report.load import ProbePoint, Run
from rlvr.statistics.intervals import pass_at_k_vector, population_diff_ci
from rlvr.statistics.plan import PLANS, RETIRED, SamplingPlan
from rlvr.types import Counts, Estimate, UserError


def change(run: Run, probe: ProbePoint, k: int) -> Estimate:
    """pass@k of `probe` minus pass@k of the base, paired by problem, with the 95% interval of this probe alone.

    The bounds are NaN when neither boundary.jsonl records this k nor the counts and plans allow an interval.
    """
    recorded = probe.get(f"shrinkage@{k}")
    if not math.isnan(recorded.value):
        return negative(recorded)
    before, after = pass_at_k_by_problem(run, run.base, k), pass_at_k_by_problem(run, probe, k)
    if not before or before.keys() != after.keys():
        return Estimate(probe.get(f"pass@{k}").value - run.base.get(f"pass@{k}").value)
    return population_diff_ci([after[problem] for problem in before], list(before.values()))


def monitored_change(run: Run, probe: ProbePoint, k: int) -> Estimate:
    """The change with the bounds that its verdict rests on; with those of `change` where the run kept no verdict."""
    return negative(probe.verdicts[k].bounds) if k in probe.verdicts else change(run, probe, k)


def exact_change(run: Run, probe: ProbePoint, k: int) -> float:
    """The true change of pass@k; NaN where it is unknown, as it is outside the lab."""
    name = f"pass@{k}"
    return probe.exact.get(name, math.nan) - run.base.exact.get(name, math.nan)


def negative(estimate: Estimate) -> Estimate:
    return Estimate(-estimate.value, -estimate.high, -estimate.low)


def named_plan(name: str) -> SamplingPlan | None:
    """The plan that boundary.jsonl calls `name`, or whose numbers it spells out. None if it does neither."""
    known = PLANS | RETIRED
    if name in known:
        return known[name]
    spelt = re.fullmatch(r"checkpoints=(\[[\d, ]+\]) stop_at=(\[[\d, ]*\])", name)
    return SamplingPlan(tuple(json.loads(spelt[1])), tuple(json.loads(spelt[2]))) if spelt else None


def plan_text(name: str) -> str:
    """How many samples of a problem a plan draws; its name where it has one."""
    plan = named_plan(name)
    if plan is None:
        return f"plan {name}"
    if not plan.stop_at:
        return f"{plan.max_samples} completion{'s' if plan.max_samples != 1 else ''} of each problem"
    if name in PLANS or name in RETIRED:
        return f"plan {name}, n up to {plan.max_samples}"
    *early, most = plan.checkpoints
    rule = ", ".join(f"{enough} right of {n}" for enough, n in zip(plan.stop_at, early, strict=True))
    return f"up to {most} completions of each problem, fewer once {rule}"


def crossing(base: ProbePoint, probe: ProbePoint, *, exact: bool = False) -> float | None:
    """The k at which the probe's pass@k falls below the base's; None if it never does after being above.

    Straight lines in log2(k) between the measured k; the last such k if there are several. With `exact`,
    on the true curves.
    """
    before, after = (p.exact if exact else {name: e.value for name, e in p.estimates.items()} for p in (base, probe))
    names = [name for name in before if name.startswith("pass@") and name in after]
    gaps = sorted((math.log2(int(name.removeprefix("pass@"))), after[name] - before[name]) for name in names)
    last = None
    for (x, gap), (next_x, next_gap) in pairwise([g for g in gaps if g[1] != 0 and not math.isnan(g[1])]):
        if gap > 0 > next_gap:
            last = 2 ** (x + (next_x - x) * gap / (gap - next_gap))
    return last


def significant_crossing(run: Run, probe: ProbePoint) -> float | None:
    """`crossing`, if the 95% interval of the change lies above 0 at some k below it and below 0 at some k above it.

    None otherwise: such a crossing may be noise.
    """
    at = crossing(run.base, probe)
    if at is None:
        return None
    changes = {k: change(run, probe, k) for k in run.ks}
    above = any(k < at and e.low > 0 for k, e in changes.items())
    return at if above and any(k > at and e.high < 0 for k, e in changes.items()) else None


def tries_text(k: float) -> str:
    """A k interpolated between the measured ones, to two digits."""
    return f"{float(f'{k:.2g}'):g}"


def level_at(probe: ProbePoint, k: float) -> float:
    """pass@k read off the drawn curve, between the measured k."""
    points = [(size, probe.get(f"pass@{size}").value) for size in probe.ks]
    for (low, value), (high, next_value) in pairwise(points):
        if low <= k <= high:
            return value + (next_value - value) * math.log2(k / low) / math.log2(high / low)
    raise ValueError(f"k={k} is outside the measured curve {probe.ks}")


def pass_at_k_by_problem(run: Run, probe: ProbePoint, k: int) -> dict[str, float]:
    """Problem id -> unbiased pass@k; empty when the plan is unknown or cannot estimate this k."""
    plan = named_plan(probe.plan)
    if plan is None or k > plan.max_samples:
        return {}
    counts = [Counts(problem, row.n, row.c) for problem, row in run.rows.get(probe.step, {}).items()]
    try:
        values = pass_at_k_vector(counts, plan, k)
    except ValueError as error:
        raise UserError(f"{run.path / 'probes.jsonl'}, step {probe.step}: {error}") from None
    return {count.problem_id: float(value) for count, value in zip(counts, values, strict=True)}
