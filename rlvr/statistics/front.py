"""How much pass@1 does a way of training give for how much pass@k? The front of its models, and one number for it.

A model is a point (pass@1, pass@k). It is on the front of several if none of the others is at least as good in both and
better in one. Numbers are fractions; `base` is the point of the base model, which costs nothing and belongs to every
front.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rlvr.statistics.paired_tests import interval_p_value
from rlvr.types import Estimate

Point = tuple[float, float]


def front(points: Sequence[Point]) -> list[int]:
    """Indices of the points that no other dominates, in rising order of pass@1; of equal points the first."""
    kept: list[int] = []
    highest = float("-inf")
    for i in sorted(range(len(points)), key=lambda i: (-points[i][0], -points[i][1], i)):
        if points[i][1] > highest:
            kept.append(i)
            highest = points[i][1]
    return kept[::-1]


def hypervolume(points: Sequence[Point], base: Point, depth: float) -> float:
    """Area that the points dominate, above the base's pass@1 and above its pass@k minus `depth`.

    The one number of a front (Zitzler and Thiele 1998): the base alone has 0, and every point that is better in pass@1
    and loses less than `depth` adds the part of its rectangle that no other covers.
    """
    left, floor = base[0], base[1] - depth
    area = 0.0
    for i in front(points):
        one, many = points[i]
        if one > left and many > floor:
            # Pass@k falls along the front, so the strip from the last point to this one is as high as this one.
            area += (one - left) * (many - floor)
            left = one
    return area


def best_within(points: Sequence[Point], base: Point, tolerance: float) -> int | None:
    """Index of the point with the largest pass@1 among those that lose at most `tolerance` of the base's pass@k; of
    equal ones that with the larger pass@k. None if every one loses more, or none has more pass@1 than the base."""
    within = [i for i, (one, many) in enumerate(points)
              if base[1] - many <= tolerance + 1e-12 and one > base[0]]  # 2 points are not more than 2 by rounding
    return max(within, key=lambda i: points[i], default=None)


def chosen_difference(
    interval: Callable[[float], Estimate], tried: int, *, confidence: float = 0.95
) -> tuple[Estimate, float]:
    """Interval and p-value of a difference that was chosen among `tried` ones, by whatever rule.

    `interval` gives the one of a difference named beforehand, at any confidence. Bonferroni: the intervals of all
    `tried` differences hold together, and so does that of the chosen one.
    """
    return interval(1 - (1 - confidence) / tried), min(1.0, tried * interval_p_value(interval))
