"""Exact McNemar test of solved problems, p-values of intervals, and Holm's correction for several claims.

A two-by-two table of problems solved by a and by b is judged on the discordant ones alone: the problems that only one
of the two solves (McNemar 1947, Psychometrika 12:153). It applies to solved / not solved at one k, with as many
samples on both sides; see `rlvr.statistics.solvable.solvable_table`, which makes such tables from counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from rlvr.types import Estimate


def mcnemar_exact(only_a: int, only_b: int) -> float:
    """Two-sided exact p-value that problems solved by one side alone are as often a's as b's.

    min(1, 2 P(Bin(only_a + only_b, 1/2) <= min(only_a, only_b))); 1.0 without discordant problems. Exact integers
    until the last division.
    """
    if only_a < 0 or only_b < 0:
        raise ValueError(f"mcnemar_exact: {only_a} and {only_b} problems; expected counts of at least 0")
    discordant = only_a + only_b
    tail = sum(math.comb(discordant, i) for i in range(min(only_a, only_b) + 1))
    return min(1.0, 2 * tail / 2**discordant)


def interval_p_value(interval: Callable[[float], Estimate]) -> float:
    """Two-sided p-value that a difference is 0: the smallest alpha whose interval of confidence 1 - alpha excludes 0.

    `interval` maps a confidence in (0, 1) to nested intervals, as `arm_difference_ci` makes them, so test and interval
    never disagree. By bisection, to a relative precision of 1e-6; at least 1e-9, NaN when the bounds are unknown.
    """
    def excludes_zero(log_alpha: float) -> bool:
        bounds = interval(1.0 - math.exp(log_alpha))
        return bounds.low > 0 or bounds.high < 0

    if math.isnan(interval(0.5).low):
        return math.nan
    low, high = math.log(1e-9), math.log1p(-1e-9)
    if excludes_zero(low):
        return 1e-9
    if not excludes_zero(high):
        return 1.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (low, middle) if excludes_zero(middle) else (middle, high)
    return math.exp(high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) adjusted p-values, in the order given: reject those at or below alpha.

    adjusted_(i) = max_{j <= i} min(1, (m - j + 1) p_(j)) for p_(1) <= ... <= p_(m): the chance of any false rejection
    is at most alpha whatever the dependence between the tests. Raises ValueError for a p-value outside [0, 1] or NaN.
    """
    for p in p_values:
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"holm: p-value {p}; expected a number in [0, 1]")
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted
