"""The choice of a merge: fixed order, tolerance, highest pass@1, intervals that hold together."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from scipy.stats import t

from rlvr.statistics.boundary_row import Measurement
from rlvr.statistics.dial import Target, choose
from rlvr.statistics.intervals import benchmark_ci
from rlvr.statistics.plan import SamplingPlan
from rlvr.types import Counts

PLAN = SamplingPlan((4,))


def measured(right: Sequence[int]) -> Measurement:
    """Problem i has `right[i]` right of 4 samples."""
    return Measurement([Counts(str(i), 4, c, c) for i, c in enumerate(right)], PLAN)


BASE = measured([1] * 200)  # pass@1 = 1/4, pass@4 = 1


def test_bounds_by_hand() -> None:
    choice = choose(BASE, {0.5: measured([2] * 190 + [0] * 10)}, k=4, tolerance=0.1)
    (point,) = choice.points
    # 10 of 200 problems lost: differences 190 zeros, 10 ones, and the pseudo-problems +1, -1.
    mean, variance = 10 / 202, (12 - 202 * (10 / 202) ** 2) / 201
    half = (variance / 202) ** 0.5
    assert (point.pass_1.value, point.pass_k.value) == pytest.approx((0.475, 0.95))
    assert point.shrinkage.value == pytest.approx(0.05)
    assert point.bound == pytest.approx(mean + t.ppf(0.95, 201) * half)
    assert point.shrinkage.high == pytest.approx(mean + t.ppf(0.975, 201) * half)
    assert point.gain.value == pytest.approx(2 / 4 * 190 / 200 - 1 / 4)
    assert point.within and choice.chosen is point  # 0.0773


def test_the_highest_pass_at_1_of_those_within_is_chosen() -> None:
    lost = {0.25: 2, 0.5: 6, 0.75: 30}
    merges = {share: measured([1 + i] * (200 - n) + [0] * n) for i, (share, n) in enumerate(lost.items(), start=1)}
    choice = choose(BASE, merges, k=4, tolerance=0.06)
    assert [point.within for point in choice.points] == [True, True, False]
    assert choice.chosen is choice.points[1]
    assert choose(BASE, merges, k=4, tolerance=0.01).chosen is None


def test_no_merge_is_tested_beyond_the_first_that_fails() -> None:
    """Bug: testing each merge at 5% would accept the far one, and err more often than 5% over all."""
    merges = {0.25: measured([2] * 150 + [0] * 50), 0.5: measured([3] * 200)}
    choice = choose(BASE, merges, k=4, tolerance=0.1)
    assert choice.points[1].bound < 0.1 and not choice.points[1].within and choice.chosen is None


def test_gains_hold_for_all_merges_together() -> None:
    merge = measured([2, 1] * 100)
    alone, three = (choose(BASE, {(i + 1) / 10: merge for i in range(n)}, k=4, tolerance=0.5).points[0]
                    for n in (1, 3))
    ratio = (three.gain.high - three.gain.low) / (alone.gain.high - alone.gain.low)
    assert ratio == pytest.approx(t.ppf(1 - 0.05 / 6, 201) / t.ppf(1 - 0.05 / 2, 201))
    assert three.bound == alone.bound


def test_exactly_these_problems_are_narrower() -> None:
    merges = {0.5: measured([2] * 180 + [1] * 20)}
    population, benchmark = (choose(BASE, merges, k=1, tolerance=0.5, target=target).points[0]
                             for target in ("population", "benchmark"))
    assert benchmark.gain.value == population.gain.value
    assert benchmark.pass_1.value == pytest.approx((180 * 0.5 + 20 * 0.25) / 200)
    assert benchmark.bound != population.bound
    assert benchmark.pass_1 == benchmark_ci(measured([2] * 180 + [1] * 20).counts, PLAN, 1) != population.pass_1
    lost = {0.5: measured([2] * 190 + [0] * 10)}
    assert choose(BASE, lost, k=4, tolerance=0.5, target="benchmark").points[0].shrinkage.value == pytest.approx(0.05)


def test_the_tolerance_is_compared_with_the_one_sided_bound() -> None:
    merges = {0.5: measured([2] * 190 + [0] * 10)}
    (point,) = choose(BASE, merges, k=4, tolerance=0.1).points
    assert point.bound < point.shrinkage.high
    assert choose(BASE, merges, k=4, tolerance=point.bound).points[0].within  # at most
    assert choose(BASE, merges, k=4, tolerance=(point.bound + point.shrinkage.high) / 2).points[0].within


def test_merges_may_come_in_any_order_and_need_not_gain_by_their_share() -> None:
    merges = {0.75: measured([3] * 200), 0.25: measured([2] * 200), 0.5: measured([3] * 200), 1.0: BASE}
    choice = choose(BASE, merges, k=4, tolerance=0.1)
    assert [point.share for point in choice.points] == [0.25, 0.5, 0.75, 1.0]
    assert all(point.within for point in choice.points)
    assert choice.chosen is not None and choice.chosen.share == 0.5  # of the two best ones the closer to the base


def test_problems_that_one_probe_lacks_are_left_out() -> None:
    merge = Measurement(measured([2, 2, 2, 2]).counts[1:], PLAN)
    base = Measurement(measured([0, 1, 1]).counts, PLAN)
    (point,) = choose(base, {0.5: merge}, k=4, tolerance=0.5).points  # problems 1 and 2
    assert point.gain.value == 0.25 and point.pass_1.value == 0.5


@pytest.mark.parametrize("target", ["population", "benchmark"])
def test_each_probe_is_read_by_its_own_plan(target: Target) -> None:
    base = Measurement([Counts(str(i), 2, 1, 1) for i in range(20)], SamplingPlan((2,)))
    (point,) = choose(base, {0.5: measured([1] * 20)}, k=2, tolerance=0.5, target=target).points
    assert point.gain.value == 0.25 - 0.5
    assert point.shrinkage.value == pytest.approx(1 - (1 - 3 / 6))  # 1 - C(3, 2) / C(4, 2)
