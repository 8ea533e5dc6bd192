"""Which model on the line between a base and its trained model keeps the boundary? A choice that counts its looks.

Each of m merges is tested for "shrinkage@k is at least the tolerance". Choosing among m tests at 5% each would err more
often than 5%, so they are tested in an order that is fixed before any of them is measured: the merge closest to the
base first, as it has lost least, and no further than the first that cannot be shown to be within the tolerance. Then at
most 5% of dials name any merge as within that is not (fixed sequence, Maurer, Hothorn and Lehmacher 1995; Wiens 2003),
whichever of them is chosen afterwards. Gains of pass@1 have intervals that hold for all m merges together (Bonferroni),
so that of the chosen one is not flattered by the choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from rlvr.statistics.boundary_row import Measurement
from rlvr.statistics.intervals import (
    benchmark_ci,
    benchmark_diff_ci,
    paired_counts,
    pass_at_k_vector,
    population_ci,
    population_diff_ci,
)
from rlvr.types import Estimate

Target = Literal["population", "benchmark"]
LEVEL = 0.05
"""Chance per dial that some merge is called within the tolerance and is not."""


@dataclass(frozen=True)
class DialPoint:
    """One merge, measured. All numbers are fractions."""

    share: float
    """0 the base, 1 the trained model."""
    pass_1: Estimate
    """With its own 95% interval, as `pass_k`."""
    pass_k: Estimate
    gain: Estimate
    """pass@1 minus the base's; the intervals of all merges of the dial hold together with 95%."""
    shrinkage: Estimate
    """Base pass@k minus pass@k, with its own two-sided 95% interval."""
    bound: float
    """One-sided 95% upper bound of the shrinkage: what the tolerance is compared with."""
    within: bool
    """Whether this merge and all that are closer to the base have a bound of at most the tolerance."""


@dataclass(frozen=True)
class Choice:
    """The merges in rising order of their share, and the one that was chosen."""

    points: tuple[DialPoint, ...]
    chosen: DialPoint | None
    """The one with the highest pass@1 among those within the tolerance, of equal ones the closest to the base; None if
    no merge is shown to be within it."""


def choose(
    base: Measurement, merges: Mapping[float, Measurement], *, k: int, tolerance: float, target: Target = "population"
) -> Choice:
    """Compare every merge with the base and choose one.

    Args:
        base: its probe; paired with every merge by problem id.
        merges: share of the way -> the probe of the merge there.
        k: of the boundary to keep; at most the max_samples of all plans.
        tolerance: largest shrinkage@k that is accepted, a fraction.
        target: "population" (problems like these) or "benchmark" (exactly these problems: narrower intervals).

    Raises: UserError when base and merge are not the same problems.
    """
    points: list[DialPoint] = []
    for share, merge in sorted(merges.items()):
        ids = base.ids & merge.ids  # a problem with an answer that could not be judged is in some probes only
        point = _point(share, base.of(ids), merge.of(ids), k, target, together=len(merges))
        within = point.bound <= tolerance and all(closer.within for closer in points)
        points.append(replace(point, within=within))
    candidates = [point for point in points if point.within]
    chosen = max(candidates, key=lambda point: (point.pass_1.value, -point.share), default=None)
    return Choice(tuple(points), chosen)


def _point(share: float, base: Measurement, merge: Measurement, k: int, target: Target, *, together: int) -> DialPoint:
    counts = paired_counts(base.counts, merge.counts)

    def level(at: int) -> Estimate:
        if target == "benchmark":
            return benchmark_ci(counts, merge.plan, at)
        return population_ci(pass_at_k_vector(counts, merge.plan, at))

    def minus_base(at: int, confidence: float) -> Estimate:
        if target == "benchmark":
            return benchmark_diff_ci(counts, merge.plan, at, base.counts, base.plan, at, confidence=confidence)
        return population_diff_ci(pass_at_k_vector(counts, merge.plan, at),
                                  pass_at_k_vector(base.counts, base.plan, at), confidence=confidence)

    change = minus_base(k, 1 - LEVEL)
    return DialPoint(
        share=share, pass_1=level(1), pass_k=level(k),
        gain=minus_base(1, 1 - LEVEL / together),
        shrinkage=Estimate(-change.value, -change.high, -change.low),
        bound=-minus_base(k, 1 - 2 * LEVEL).low,  # the lower end of a two-sided 90% interval is a one-sided 95% bound
        within=False,
    )

