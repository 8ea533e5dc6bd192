"""Sequential verdicts: critical values that can be computed by hand, and false alarms by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rlvr.statistics.intervals import benchmark_diff_ci, pass_at_k_vector, population_diff_ci, t_quantile
from rlvr.statistics.plan import PLANS, SamplingPlan
from rlvr.statistics.verdicts import BoundaryVerdict, critical_values, shrinkage_looks, spent_alpha
from rlvr.types import Counts, UserError
from tests.statistics.coverage_table import FITS, POOL, draw_counts, pool_of_pairs

Z = 1.959963984540054
FOUR = SamplingPlan((4,))


def four(*correct: int) -> list[Counts]:
    return [Counts(str(i), 4, c) for i, c in enumerate(correct)]


def test_spent_error_by_hand():
    """Linear to alpha at the planned look, nothing after; unknown horizon .05 * 6/pi^2 * (1 + 1/4) = .0379954."""
    assert [spent_alpha(t, 4, 0.04) for t in (1, 2, 4, 5)] == pytest.approx([0.01, 0.02, 0.04, 0.04], abs=1e-15)
    assert spent_alpha(2, None, 0.05) == pytest.approx(0.0379954, abs=1e-7)
    assert 0.0499 < spent_alpha(1000, None, 0.05) < 0.05


def test_critical_values_of_two_looks_by_hand():
    """alpha .05 over 2 looks. b_1: P(Z > b) = .025, 1.960. Independent looks: .975 P(Z > b_2) = .025, b_2 = 1.9492.
    One and the same look twice: P(b_2 < Z <= b_1) = .025, b_2 = 1.6449. Tolerance: 4 sd of 400,000 draws."""

    def two(correlation: float) -> list[float]:
        covariance = np.array([[4.0, 6 * correlation], [6 * correlation, 9.0]])  # scales must not matter
        return critical_values(covariance, None, planned_looks=2, alpha=0.05, draws=400_000).tolist()

    assert two(0.0) == pytest.approx([Z, 1.9492], abs=0.017)
    assert two(1 - 1e-9) == pytest.approx([Z, 1.6449], abs=0.017)


def test_few_problems_widen_the_critical_value_to_student_s():
    """One look with 3 degrees of freedom at one-sided .05: t = 2.3534."""
    (value,) = critical_values(np.eye(1), 3, planned_looks=1, alpha=0.05, draws=400_000)
    assert value == pytest.approx(2.3534, abs=0.025)
    assert t_quantile(3, 0.9) == pytest.approx(2.3534, abs=1e-4)


def test_exactly_the_spent_share_of_draws_crosses():
    """Catches an off-by-one in the quantile: 20 looks of correlation .6 leave floor(.05 M) draws crossed in the end."""
    covariance = np.full((20, 20), 0.6) + 0.4 * np.eye(20)
    b = critical_values(covariance, None, planned_looks=20, alpha=0.05)
    z = np.random.default_rng(5).multivariate_normal(np.zeros(20), covariance, 100_000, method="cholesky")
    crossed_by = np.maximum.accumulate(z > b, axis=1).mean(axis=0)  # fresh draws: the spending curve, 4 sd of both
    noise = math.sqrt(0.05 * 0.95 * (1 / 50_000 + 1 / 100_000))
    assert crossed_by == pytest.approx([0.0025 * t for t in range(1, 21)], abs=4 * noise)
    assert b[0] > b[-1] > 1.645


def test_looks_beyond_the_plan_have_nothing_left_to_spend():
    b = critical_values(np.eye(3), None, planned_looks=2, alpha=0.05)
    assert np.isfinite(b[:2]).all()
    assert math.isinf(b[2])
    looks = shrinkage_looks(four(4, 4, 4), FOUR, [four(0, 0, 0)] * 2, FOUR, 4, planned_looks=1)
    assert (looks[1].verdict, looks[1].low, looks[1].high) == (BoundaryVerdict.UNDECIDED, -math.inf, math.inf)


def test_bounds_lie_within_what_a_difference_can_be():
    """Bug: "pass@256 by -93.8 points [-100.5, -81.4]"."""
    high, low = four(*[4] * 15, 2), four(*[0] * 15, 1)
    (look,) = shrinkage_looks(high, FOUR, [low], FOUR, 1, planned_looks=1)
    assert look.shrinkage == pytest.approx(15.25 / 16) and look.high == 1.0 and 0 < look.low < look.shrinkage
    (look,) = shrinkage_looks(low, FOUR, [high], FOUR, 1, planned_looks=1)
    assert look.low == -1.0 and look.shrinkage < look.high < 0


def test_a_later_look_never_changes_an_earlier_one():
    """Catches verdicts that depend on the future: the first three looks of five equal the looks of three."""
    rng = np.random.default_rng(0)
    base = four(*rng.integers(0, 5, 40))
    probes = [four(*rng.integers(0, 4, 40)) for _ in range(5)]
    for target in ("population", "benchmark"):
        looks = shrinkage_looks(base, FOUR, probes, FOUR, 2, planned_looks=5, target=target)
        assert looks[:3] == shrinkage_looks(base, FOUR, probes[:3], FOUR, 2, planned_looks=5, target=target)
    assert shrinkage_looks(base, FOUR, [], FOUR, 2, planned_looks=5) == []


def test_one_planned_look_is_the_paired_interval():
    """Catches another centre or standard error than `population_diff_ci` (one-sided 5% = two-sided 90%) and
    `benchmark_diff_ci`; the critical value is simulated, hence 2%."""
    rng = np.random.default_rng(1)
    base, now = four(*rng.integers(1, 5, 60)), four(*rng.integers(0, 5, 60))
    for k in (1, 2, 4):
        (look,) = shrinkage_looks(base, FOUR, [now[::-1]], FOUR, k, planned_looks=1)
        a, b = pass_at_k_vector(base, FOUR, k), pass_at_k_vector(now, FOUR, k)
        paired = population_diff_ci(a, b, confidence=0.9)
        assert look.shrinkage == pytest.approx(paired.value, abs=1e-15)
        assert (look.low + look.high) / 2 == pytest.approx((paired.low + paired.high) / 2, abs=1e-12)
        student = t_quantile(61, 0.9)
        assert look.critical == pytest.approx(student, rel=0.02)
        assert (look.high - look.low) / look.critical == pytest.approx((paired.high - paired.low) / student, rel=1e-12)
        (look,) = shrinkage_looks(base, FOUR, [now], FOUR, k, planned_looks=1, target="benchmark")
        fixed = benchmark_diff_ci(base, FOUR, k, now, FOUR, k, confidence=0.9)
        assert (look.low, look.high) == pytest.approx((fixed.low, fixed.high), abs=0.004)


def test_verdicts():
    """Clear cases: everything lost, nothing moved on 400 problems, and too few problems to tell."""
    lost, same, few = four(*[4] * 400), four(*[0] * 400), four(4, 4, 0)
    (look,) = shrinkage_looks(lost, FOUR, [same], FOUR, 4, planned_looks=1)
    assert (look.shrinkage, look.verdict) == (1.0, BoundaryVerdict.SHRUNK)
    (look,) = shrinkage_looks(lost, FOUR, [lost], FOUR, 4, planned_looks=1)
    assert (look.shrinkage, look.verdict) == (0.0, BoundaryVerdict.NOT_SHRUNK)
    # standard error sqrt(2 / (401 * 402)) = .003522 and b = 1.649: just above and just below a margin of .0058
    for margin, verdict in ((0.0060, BoundaryVerdict.NOT_SHRUNK), (0.0056, BoundaryVerdict.UNDECIDED)):
        (look,) = shrinkage_looks(lost, FOUR, [lost], FOUR, 4, planned_looks=1, margin=margin)
        assert look.verdict == verdict
    (look,) = shrinkage_looks(few, FOUR, [few], FOUR, 4, planned_looks=1)
    assert look.verdict == BoundaryVerdict.UNDECIDED


@pytest.mark.parametrize(("fit", "correlation", "k"), [("Omni base", 0.9, 64), ("MATH base", 0.6, 128)])
def test_false_alarms_over_20_looks_stay_below_nominal(fit: str, correlation: float, k: int):
    """100 problems, success probabilities that moved but not on average, 20 looks: at most 5% of runs may ever say
    "shrunk". An interval per look without correction must fail here, else the simulation shows nothing."""
    rng, runs, plan = np.random.default_rng(3), 200, PLANS["balanced"]
    pool = pool_of_pairs(FITS[fit], FITS[fit], correlation, rng)
    chosen = rng.integers(0, POOL, (runs, 100))
    base = draw_counts(pool[0][chosen], PLANS["reference-512"], rng)
    looks = [draw_counts(pool[1][chosen], plan, rng) for _ in range(20)]
    alarms = uncorrected = 0
    for run in range(runs):
        verdicts = shrinkage_looks(
            base[run], PLANS["reference-512"], [look[run] for look in looks], plan, k, planned_looks=20
        )
        alarms += any(one.verdict == BoundaryVerdict.SHRUNK for one in verdicts)
        uncorrected += any((one.low + one.high) / 2 > 1.645 * (one.high - one.low) / 2 / one.critical
                           for one in verdicts)
    assert alarms / runs <= 0.05
    assert uncorrected / runs >= 0.08


def test_arguments_out_of_range_are_refused():
    base = four(4, 0)
    with pytest.raises(UserError, match="planned_looks is 0"):
        shrinkage_looks(base, FOUR, [base], FOUR, 1, planned_looks=0)
    with pytest.raises(UserError, match=r"alpha is 0\.5"):
        shrinkage_looks(base, FOUR, [base], FOUR, 1, planned_looks=1, alpha=0.5)
    with pytest.raises(UserError, match="margin is 0"):
        shrinkage_looks(base, FOUR, [base], FOUR, 1, planned_looks=1, margin=0.0)
    with pytest.raises(UserError, match="not the same problems"):
        shrinkage_looks(base, FOUR, [base[:1]], FOUR, 1, planned_looks=1)
    with pytest.raises(UserError, match="no problems"):
        shrinkage_looks([], FOUR, [[]], FOUR, 1, planned_looks=1)
    with pytest.raises(ValueError, match="look=0"):
        spent_alpha(0, 4, 0.05)
