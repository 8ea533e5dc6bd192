"""Intervals over seeds and problems: by hand, limits that are known, and simulated coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rlvr.statistics.intervals import population_ci, population_diff_ci, t_quantile
from rlvr.statistics.plan import SamplingPlan
from rlvr.statistics.seeds import _seed_variance, arm_ci, arm_difference_ci, seed_matrix
from rlvr.types import Counts, Estimate, UserError
from tests.statistics.coverage_table import two_arms

FOUR = SamplingPlan((4,))


def bounds(estimate: Estimate) -> tuple[float, float, float]:
    return estimate.value, estimate.low, estimate.high


def test_matrix_pairs_problems_by_id():
    x = seed_matrix([[Counts("a", 4, 1), Counts("b", 4, 4)], [Counts("b", 4, 0), Counts("a", 4, 3)]], FOUR, 1)
    assert x.tolist() == [[0.25, 1.0], [0.75, 0.0]]


def test_benchmark_intervals_by_hand():
    """Seed means .2, .3, .4: .3 -+ 4.302653 * .1 / sqrt(3) = .248414. Other arm .5, .6: variance .005/2 = .0025; Welch:
    sum .00333333 + .0025, df = .00583333^2 / (.00333333^2/2 + .0025^2/1) = 2.88 -> 2."""
    a, b = [[0.1, 0.3], [0.2, 0.4], [0.3, 0.5]], [[0.4, 0.6], [0.5, 0.7]]
    assert bounds(arm_ci(a, target="benchmark")) == pytest.approx((0.3, 0.3 - 0.248414, 0.3 + 0.248414), abs=1e-6)
    half = 4.302653 * math.sqrt(0.1**2 / 3 + 0.005 / 2)
    difference = arm_difference_ci(b, a, target="benchmark")
    assert bounds(difference) == pytest.approx((0.25, 0.25 - half, 0.25 + half), abs=1e-6)


def test_seed_variance_by_hand():
    """Rows (0, .2), (.4, .8): means .1, .6, variance .125, /2 = .0625 = MS_seed / (S P). Columns .2, .5, grand .35;
    residuals .05, -.05, -.05, .05: sum of squares .01 / (1 * 1) / 4 = .0025. Seeds add .06. Equal means add nothing."""
    assert _seed_variance(np.array([[0.0, 0.2], [0.4, 0.8]])) == pytest.approx((0.06, 0.0625), abs=1e-12)
    assert _seed_variance(np.array([[0.0, 0.4], [0.4, 0.0]])) == (0.0, 0.0)


def test_population_difference_by_hand():
    """a as above plus .1, b constant .1 over both seeds. Differences of means .2, .5 with +1, -1: mean .175, sum of
    squares 2.29 - 4 * .030625 = 2.1675, /3 /4 = .180625; seeds of a add .06 (MS .0625, 1 df), b nothing (1 df).
    df = .240625^2 / (.180625^2 / 3 + .0625^2 / 1) = 3.92 -> 3, t = 3.182446."""
    a, b = [[0.1, 0.3], [0.5, 0.9]], [[0.1, 0.1], [0.1, 0.1]]
    half = 3.182446 * math.sqrt(0.240625)
    difference = arm_difference_ci(a, b)
    assert bounds(difference) == pytest.approx((0.35, max(0.175 - half, -1), min(0.175 + half, 1)), abs=1e-6)
    narrow = arm_difference_ci(a, b, confidence=0.5)
    half = t_quantile(3, 0.5) * math.sqrt(0.240625)
    assert bounds(narrow) == pytest.approx((0.35, 0.175 - half, 0.175 + half), abs=1e-9)


def test_seeds_that_add_nothing_leave_the_paired_interval():
    """Catches seed noise counted twice: with identical seeds the interval is that of the problems."""
    rng = np.random.default_rng(0)
    a, b = rng.uniform(size=(2, 40))
    paired = population_diff_ci(a, b)
    assert bounds(arm_difference_ci([a] * 3, [b] * 2)) == pytest.approx(bounds(paired), abs=1e-12)


def test_arm_at_the_edges_keeps_an_interval():
    all_solved = arm_ci(np.ones((3, 50)))
    assert (all_solved.value, all_solved.high) == (1.0, 1.0)
    assert 0.9 < all_solved.low < 0.96
    assert bounds(arm_ci(np.zeros((3, 50))))[:2] == (0.0, 0.0)


def test_population_interval_holds_the_benchmark_s():
    """Catches a population interval that trusts two seeds: means .4 and .5 on many alike problems, t of 1 df."""
    x = np.repeat([[0.4], [0.5]], 400, axis=1)
    assert bounds(arm_ci(x, target="benchmark")) == pytest.approx((0.45, 0.0, 1.0))  # .45 -+ 12.7062 * .05
    assert bounds(arm_ci(x)) == pytest.approx((0.45, 0.0, 1.0))


def test_arm_on_alike_seeds_is_the_wilson_interval_of_the_problems():
    x = np.random.default_rng(1).uniform(size=60)
    wilson, arm = population_ci(x), arm_ci([x] * 3)
    ratio = t_quantile(59, 0.95) / 1.959964
    assert (arm.high - arm.low) / (wilson.high - wilson.low) == pytest.approx(ratio, rel=0.01)


def test_one_seed_knows_nothing_of_seeds():
    for target in ("population", "benchmark"):
        one = arm_ci([[0.5, 0.7]], target=target)
        assert one.value == 0.6
        assert math.isnan(one.low)
        two = arm_difference_ci([[0.5, 0.7]], [[0.1, 0.1], [0.2, 0.2]], target=target)
        assert two.value == pytest.approx(0.45)
        assert math.isnan(two.high)
    assert math.isnan(arm_ci(np.zeros((3, 0))).value)
    assert math.isnan(arm_difference_ci(np.zeros((3, 0)), np.zeros((2, 0))).value)


@pytest.mark.parametrize(("seeds", "problems", "k"), [(3, 100, 1), (5, 500, 64)])
def test_coverage_over_seeds_and_problems(seeds: int, problems: int, k: int):
    """200 comparisons with real seed effects: 91% to 100%, where leaving the seeds out must fail by far."""
    arm, arm_fixed, difference, difference_fixed, ignored = two_arms(seeds, problems, 0.3, k, runs=200, seed=1)
    for coverage in (arm, arm_fixed, difference, difference_fixed):
        assert 91 <= coverage <= 100
    assert ignored < 85


def test_impossible_arguments_are_refused():
    with pytest.raises(ValueError, match="2 and 1 problems"):
        arm_difference_ci([[0.1, 0.2]], [[0.1]])
    with pytest.raises(ValueError, match=r"expected \(seeds, problems\)"):
        arm_ci([0.1, 0.2])
    with pytest.raises(ValueError, match=r"outside \[0, 1\]"):
        arm_ci([[0.1, 1.2]])
    with pytest.raises(UserError, match="no seeds"):
        seed_matrix([], FOUR, 1)
    with pytest.raises(UserError, match="not the same problems"):
        seed_matrix([[Counts("a", 4, 1)], [Counts("b", 4, 1)]], FOUR, 1)
