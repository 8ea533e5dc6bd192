"""Intervals against hand-computed cases, limits that are known, and simulated coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rlvr.statistics.intervals import (
    _log_convex_bound,
    benchmark_ci,
    benchmark_diff_ci,
    benchmark_variance,
    delta_se,
    mean_ci,
    pass_at_k_vector,
    population_ci,
    population_diff_ci,
    shrinkage,
    t_quantile,
)
from rlvr.statistics.plan import PLANS, SamplingPlan
from rlvr.types import Counts, Estimate, UserError
from tests.statistics.coverage_table import one_probe, two_probes

FOUR = SamplingPlan((4,))
Z = 1.959963984540054


def four(*correct: int) -> list[Counts]:
    """Problems a, b, c, ... with 4 samples each."""
    return [Counts(name, 4, c) for name, c in zip("abcdefgh", correct, strict=False)]


def bounds(estimate: Estimate) -> tuple[float, float, float]:
    return estimate.value, estimate.low, estimate.high


def test_vector_is_the_plan_s_estimate_of_each_problem():
    plan = PLANS["balanced"]
    counts = [Counts("a", 12, 7), Counts("b", 256, 0), Counts("c", 24, 4)]
    for k in (1, 8, 256):
        assert pass_at_k_vector(counts, plan, k).tolist() == [plan.estimate(one.n, one.c, k) for one in counts]
    assert pass_at_k_vector([], plan, 1).shape == (0,)


@pytest.mark.parametrize(("n", "c"), [(24, 3), (300, 2), (12, 13), (12, -1)])
def test_counts_of_another_plan_are_refused_by_problem_name(n: int, c: int):
    """Catches a wrong plan read silently as other numbers, or a negative index that wraps around."""
    with pytest.raises(ValueError, match="problem 'b': "):
        pass_at_k_vector([Counts("a", 12, 7), Counts("b", n, c)], PLANS["balanced"], 1)


def test_population_interval_by_hand():
    """3 of 10 solved. Centre (3 + z^2/2) / (10 + z^2) = .355507, pseudo .229122; s^2 = .233333;
    ratio (2.333333 + .229122) / (2.1 + .229122) = 1.100181, so n = 9.089413; Wilson .359415 -+ .256742."""
    assert bounds(population_ci([1, 1, 1] + [0] * 7)) == pytest.approx((0.3, 0.102673, 0.616157), abs=2e-6)


def test_population_interval_at_the_edges():
    """Catches 0/0 and zero width: all wrong or all right counts as P yes/no trials, equal values as P(P+1)."""
    z2 = Z * Z
    assert bounds(population_ci([0.0] * 100)) == pytest.approx((0.0, 0.0, z2 / (100 + z2)), abs=1e-12)
    assert bounds(population_ci([1.0] * 100)) == pytest.approx((1.0, 100 / (100 + z2), 1.0), abs=1e-12)
    half = Z * math.sqrt(0.25 / 930 + z2 / (4 * 930**2)) / (1 + z2 / 930)
    assert bounds(population_ci([0.5] * 30)) == pytest.approx((0.5, 0.5 - half, 0.5 + half), abs=1e-12)
    assert math.isnan(population_ci([]).value)
    assert population_ci([1.0]).low == pytest.approx(1 / (1 + z2))


def test_rounding_keeps_the_bounds_in_order():
    """Catches an upper bound of .9999999999999999 for a mean of 1, and a lower bound of -1e-17."""
    for problems in range(1, 200):
        for solved in (0.0, 1.0):
            estimate = population_ci([solved] * problems)
            assert 0.0 <= estimate.low <= solved <= estimate.high <= 1.0


def test_a_hair_below_1_does_not_make_the_interval_collapse():
    """Catches plain n = m(1-m)/SE^2, which claims [.9995, 1] here because one problem of 100 has .99."""
    assert population_ci([1.0] * 100).low < population_ci([1.0] * 99 + [0.99]).low < 0.98


def test_population_interval_is_plain_wilson_for_many_problems():
    x = np.linspace(0.2, 0.9, 20_000)
    mean = x.mean()
    trials = mean * (1 - mean) / (x.var(ddof=1) / x.size)
    center = (mean + Z * Z / (2 * trials)) / (1 + Z * Z / trials)
    half = Z / (1 + Z * Z / trials) * math.sqrt(mean * (1 - mean) / trials + (Z / (2 * trials)) ** 2)
    assert bounds(population_ci(x)) == pytest.approx((mean, center - half, center + half), abs=1e-6)
    wider = population_ci(x, confidence=0.99)
    assert (wider.high - wider.low) / (2 * half) == pytest.approx(2.5758293 / Z, rel=1e-3)


def test_benchmark_variance_by_hand():
    """4 samples, 2 right, k = 1: T^2 - T_2 = 1/4 - 1/6 = 1/12 per problem; worst p(1-p)/4 = 1/16.
    Two problems: (2/12 + 2/16) / 4 = .0729167."""
    assert benchmark_variance(four(2, 2), FOUR, 1) == pytest.approx(0.0729166667, abs=1e-9)
    assert bounds(benchmark_ci(four(2, 2), FOUR, 1)) == (0.5, 0.0, 1.0)  # .5 -+ .529, cut
    half = Z * math.sqrt((4 / 12 + 2 / 16) / 16)
    assert bounds(benchmark_ci(four(2, 2, 2, 2), FOUR, 1)) == pytest.approx((0.5, 0.5 - half, 0.5 + half))


def test_benchmark_variance_beyond_half_the_plan_uses_the_log_convex_bound():
    """k = 4 = N, counts 0 and 2 of 4: T = 1, 0; M(4) = 1/2, M(1) = (1 + 1/2)/2 = 3/4;
    bound M(8) >= 1/2 (2/3)^(4/3) = .291194; within .208806; worst q^4(1-q^4) = 1/4; (2 x .208806 + 1/2) / 4."""
    assert benchmark_variance(four(0, 2), FOUR, 4) == pytest.approx(0.2294033, abs=1e-6)
    # k = 3 > N/2: T_3 = 1, 0; k // 4 = 0 and M(0) = 1; M(6) >= M(3)^2 = 1/4; within 1/4
    worst = FOUR.worst_variance(3)
    assert benchmark_variance(four(0, 2), FOUR, 3) == pytest.approx((2 * 0.25 + 2 * worst) / 4, rel=1e-12)


def test_the_bound_lies_below_the_exact_moment():
    """Catches a wrong exponent: with exact moments of any mixture, M(2k) is at least the bound, and equal to it when
    all problems are alike."""
    draw = np.random.default_rng(3)
    for _ in range(200):
        q = 1 - draw.beta(draw.uniform(0.05, 2), draw.uniform(0.05, 3), 5)
        for k in (1, 3, 64, 256):
            quarter, once, twice = (float((q**power).mean()) for power in (k // 4, k, 2 * k))
            assert _log_convex_bound(once, quarter, k) <= twice * (1 + 1e-12)
    assert _log_convex_bound(0.9**256, 0.9**64, 256) == pytest.approx(0.9**512, rel=1e-9)
    assert _log_convex_bound(0.0, 0.3, 256) == 0.0


def test_solved_benchmark_keeps_an_error_bar():
    """Catches a zero-width interval when all problems are solved: two pseudo-problems of variance 1/4 remain."""
    counts = [Counts(str(i), 12, 12) for i in range(100)]
    assert bounds(benchmark_ci(counts, PLANS["balanced"], 256)) == pytest.approx(
        (1.0, 1 - Z * math.sqrt(2 * 0.25) / 100, 1.0), rel=1e-6
    )


def test_a_longer_plan_makes_the_error_bar_at_256_tighter():
    """reference-512 has an unbiased variance at k = 256; the 256-sample plans only a bound."""
    unsolved = [Counts(f"u{i}", 256, 0) for i in range(30)]
    solved = [Counts(f"s{i}", 256, 1) for i in range(30)]
    longer = [Counts(one.problem_id, 512, 2 * one.c) for one in unsolved + solved]
    assert benchmark_variance(unsolved + solved, PLANS["balanced"], 256) > benchmark_variance(
        longer, PLANS["reference-512"], 256
    )


def test_population_difference_by_hand():
    """d = 1, 0, 0 with pseudo-problems +1, -1: mean .2, s^2 = (3 - 5 x .04)/4 = .7, t_4 = 2.776445,
    half 2.776445 sqrt(.7/5) = 1.038850; the value stays the plain mean 1/3, the bounds are cut to [-1, 1]."""
    estimate = population_diff_ci([1, 1, 0], [0, 1, 0])
    assert bounds(estimate) == pytest.approx((1 / 3, 0.2 - 1.038850, 1.0), abs=1e-5)
    # nothing moves: mean 0, s^2 = 2/(P+1), half t_{P+1} sqrt(2/((P+1)(P+2)))
    half = 1.983731 * math.sqrt(2 / (101 * 102))
    assert bounds(population_diff_ci([0.5] * 100, [0.5] * 100)) == pytest.approx((0.0, -half, half), abs=1e-6)
    assert math.isnan(population_diff_ci([], []).value)


def test_benchmark_difference_adds_the_variances_of_both_plans():
    """Catches a shared plan or k, and a missing term: 4 samples at k = 1 against 2 samples at k = 2."""
    two = SamplingPlan((2,))
    b_counts = [Counts("b", 2, 0), Counts("a", 2, 1)]  # another order
    difference = benchmark_diff_ci(four(2, 3), FOUR, 1, b_counts, two, 2)
    variance = benchmark_variance(four(2, 3), FOUR, 1) + benchmark_variance(b_counts, two, 2)
    assert bounds(difference) == pytest.approx((0.625 - 0.5, 0.125 - Z * math.sqrt(variance), 1.0))


def test_delta_se_and_shrinkage_by_hand():
    """Base, 4 samples: a 1 right, b 0, c 4; run: a 0, b 2, c 3, in another order.
    pass@2: base .5, 0, 1 and run 0, 5/6, 1; pass@1 of the run 0, .5, .75."""
    base, run = four(1, 0, 4), four(0, 2, 3)[::-1]
    gap = delta_se(base, FOUR, run, FOUR, k=2)
    assert gap.population.value == pytest.approx((0.5 - 0.5 + 0.25) / 3)
    assert gap.benchmark.value == pytest.approx((0.5 - 0.5 + 0.25) / 3)
    shrunk = shrinkage(base, FOUR, run, FOUR, 2)
    assert shrunk.population.value == pytest.approx((0.5 - 5 / 6 + 0) / 3)
    # population: the paired interval of d = .5, -.5, .25, whatever the order of the files
    expected = population_diff_ci([0.5, 0.0, 1.0], [0.0, 0.5, 0.75])
    assert bounds(gap.population) == pytest.approx(bounds(expected))
    wide, narrow = (benchmark_diff_ci(base, FOUR, 2, run, FOUR, 1, confidence=level) for level in (0.9, 0.5))
    assert narrow.high < wide.high


def test_delta_se_takes_the_base_from_its_own_plan():
    """A base measured with reference-512 against a run measured with balanced; k = 256 is the default."""
    base = [Counts("a", 512, 0), Counts("b", 16, 12), Counts("c", 512, 2)]
    run = [Counts("a", 256, 0), Counts("b", 12, 9), Counts("c", 256, 0)]
    gap = delta_se(base, PLANS["reference-512"], run, PLANS["balanced"])
    pass_256 = PLANS["reference-512"].estimate(512, 2, 256)
    assert gap.population.value == pytest.approx((0 + 1 + pass_256 - 0.75) / 3)
    # 2 of 512 right, but one path is ruled out: 3 successes by 256 would have stopped, 2 never do
    assert pass_256 == pytest.approx(1 - math.comb(256, 2) / math.comb(512, 2))


def test_other_problems_than_the_base_s_are_refused_by_name():
    """Catches pairing by position: names of both sides, and how many more there are."""
    with pytest.raises(UserError, match="only in the base c, only in the run none"):
        delta_se(four(1, 1, 1), FOUR, four(1, 1), FOUR, k=2)
    with pytest.raises(UserError, match="only in the base a, only in the run z"):
        shrinkage(four(1), FOUR, [Counts("z", 4, 1)], FOUR, 2)
    with pytest.raises(UserError, match="only in the run a, b, c, d, e and 3 more"):
        shrinkage([], FOUR, four(*[1] * 8), FOUR, 2)
    with pytest.raises(UserError, match="occur twice in one probe: a;"):
        benchmark_diff_ci(four(1, 2), FOUR, 1, [Counts("a", 4, 1), Counts("a", 4, 2)], FOUR, 1)


def test_mean_interval_by_hand():
    """1..4: mean 2.5, s = 1.290994, t_3 = 3.182446, half t s / 2 = 2.054260."""
    assert bounds(mean_ci([1, 2, 3, 4])) == pytest.approx((2.5, 0.445740, 4.554260), abs=1e-5)


def test_mean_interval_says_nan_only_where_nothing_is_known():
    assert mean_ci([3.0]).value == 3.0
    assert math.isnan(mean_ci([3.0]).low)
    assert math.isnan(mean_ci([]).value)
    assert math.isnan(mean_ci([math.nan, math.nan]).value)
    with pytest.raises(ValueError, match="1 of 2 values are not finite"):
        mean_ci([1.0, math.nan])


@pytest.mark.parametrize(
    ("df", "confidence", "expected"),
    [(1, 0.95, 12.706205), (2, 0.95, 4.302653), (3, 0.95, 3.182446), (4, 0.99, 4.604095), (5, 0.95, 2.570582),
     (10, 0.9, 1.812461), (29, 0.95, 2.045230), (30, 0.95, 2.042272), (501, 0.95, 1.964710), (10**5, 0.95, 1.959988)],
)
def test_student_quantiles_match_printed_tables(df: int, confidence: float, expected: float):
    """Catches an index in the odd or the even series."""
    assert t_quantile(df, confidence) == pytest.approx(expected, abs=2e-6)


def test_impossible_arguments_are_refused():
    with pytest.raises(ValueError, match="expected all in \\[0, 1\\]"):
        population_ci([0.5, 1.2])
    with pytest.raises(ValueError, match="expected all in \\[0, 1\\]"):
        population_ci([0.5, math.nan])
    with pytest.raises(ValueError, match="3 and 2 problems"):
        population_diff_ci([0, 0, 0], [0, 0])
    with pytest.raises(ValueError, match="outside \\[0, 1\\]"):
        population_diff_ci([3.0], [0.0])
    for confidence in (0.0, 1.0, 95):
        with pytest.raises(ValueError, match=f"confidence={confidence}"):
            population_ci([0.5], confidence=confidence)
        with pytest.raises(ValueError, match=f"confidence={confidence}"):
            mean_ci([0.5, 0.7], confidence=confidence)


@pytest.mark.parametrize("fit", ["Omni base", "MATH RL"])
def test_coverage_of_one_probe(fit: str):
    """Catches intervals of the wrong width or target: 100 problems, balanced plan, 500 seeded probes (error 1 point).

    At k = 256 the benchmark interval uses a bound, so it covers more.
    """
    for k, (population, benchmark) in one_probe(fit, 100, (1, 64, 128, 256), runs=500, seed=7).items():
        assert 92.0 <= population <= 98.5, (k, population)
        assert 92.0 <= benchmark <= (99.9 if k == 256 else 98.6), (k, benchmark)


def test_coverage_of_a_paired_difference():
    """As above for base minus trained; few problems move at large k, where the interval may cover more."""
    for key, (population, benchmark) in two_probes("Omni", 0.6, 100, [(1, 1), (64, 64), (256, 1)], 500, 7).items():
        assert 93.0 <= population <= 98.5, (key, population)
        assert 93.0 <= benchmark <= (100.0 if key[0] == 256 else 98.6), (key, benchmark)
