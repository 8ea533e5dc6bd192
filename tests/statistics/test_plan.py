"""Sequential plans against full enumeration, exact expectations and independent reference numbers."""

from __future__ import annotations

import dataclasses
import json
import math
import random
from collections import Counter
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from rlvr.statistics.pass_at_k import pass_at_k
from rlvr.statistics.plan import PLANS, RETIRED, SamplingPlan
from rlvr.types import UserError
from tests.support.plan_variance import variance_beta

DATA = Path(__file__).parents[1] / "files" / "passk"
ONE_AT_A_TIME = tuple(range(1, 21))
ALL_PLANS = PLANS | RETIRED
POWERS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
SMALL_PLANS = [
    SamplingPlan((16,)),
    SamplingPlan((8, 16), (1,)),
    SamplingPlan((3, 6, 10, 16), (2, 2, 1)),
    SamplingPlan((4, 8, 12, 16), (4, 3, 1)),
    SamplingPlan((2, 3, 7, 13), (1, 2, 5)),  # rising thresholds
    SamplingPlan((2, 5, 9), (7, 3)),  # a threshold out of reach: never stops there
    SamplingPlan(tuple(range(1, 13)), (2,) * 11),
]


def walk(plan: SamplingPlan) -> dict[tuple[int, int], Counter[int]]:
    """Endpoint -> {number of leading failures: sequences}, by drawing every 0/1 sequence one sample at a time."""
    endpoints: dict[tuple[int, int], Counter[int]] = {}
    stack = [(0, 0, 0, plan.next_round(0, 0))]  # samples, successes, leading failures, left in this round
    while stack:
        n, c, leading, left = stack.pop()
        if left == 0:
            left = plan.next_round(n, c)
            if left == 0:
                endpoints.setdefault((n, c), Counter())[leading] += 1
                continue
        stack.append((n + 1, c + 1, leading, left - 1))
        stack.append((n + 1, c, leading + (c == 0), left - 1))
    return endpoints


def end_probabilities(plan: SamplingPlan, p: np.ndarray) -> dict[tuple[int, int], np.ndarray]:
    """Endpoint -> its probability at each p, sample by sample: no binomials, no path counts."""
    ends: dict[tuple[int, int], np.ndarray] = {}
    alive = {0: np.ones_like(p)}
    for n in range(1, plan.max_samples + 1):
        after: dict[int, np.ndarray] = {}
        for c, mass in alive.items():
            after[c] = after.get(c, 0.0) + mass * (1 - p)
            after[c + 1] = after.get(c + 1, 0.0) + mass * p
        if n in plan.checkpoints:
            ends |= {(n, c): mass for c, mass in after.items() if plan.next_round(n, c) == 0}
            after = {c: mass for c, mass in after.items() if (n, c) not in ends}
        alive = after
    return ends


def powers_up_to(k: int) -> list[int]:
    return [power for power in POWERS if power <= k]


def test_shipped_plans_are_the_specified_ones():
    """Catches an edited plan: stored counts of earlier runs could no longer be read."""
    assert {name: (plan.checkpoints, plan.stop_at) for name, plan in ALL_PLANS.items()} == {
        "fixed": ((256,), ()),
        "exact": ((16, 32, 64, 128, 256), (12, 12, 5, 3)),
        "balanced": ((12, 24, 48, 96, 192, 256), (5, 4, 2, 2, 1)),
        "cheap": ((8, 16, 32, 64, 128, 256), (2, 2, 2, 1, 1)),
        "three-round": ((32, 96, 256), (2, 1)),
        "reference-512": ((16, 32, 64, 128, 256, 512), (8, 6, 5, 4, 3)),
    }
    assert (PLANS["balanced"].first_round, PLANS["balanced"].max_samples) == (12, 256)


def test_next_round_walks_the_balanced_plan():
    """Catches a threshold compared with > instead of >=, or read at the wrong checkpoint."""
    plan = PLANS["balanced"]
    assert [plan.next_round(n, 0) for n in (0, *plan.checkpoints)] == [12, 12, 24, 48, 96, 64, 0]
    assert (plan.next_round(12, 4), plan.next_round(12, 5)) == (12, 0)
    assert (plan.next_round(24, 3), plan.next_round(24, 4)) == (24, 0)
    assert (plan.next_round(96, 1), plan.next_round(96, 2), plan.next_round(192, 1)) == (96, 0, 0)


def test_balanced_weights_match_the_reference_table():
    """Catches any error in the path counts: all 257 endpoints, nine k."""
    reference = json.loads((DATA / "weights_balanced.json").read_text())
    plan = SamplingPlan(reference["checkpoints"], reference["stop_at"])
    assert plan == PLANS["balanced"]
    assert len(reference["rows"]) == 257
    for n, c, *values in reference["rows"]:
        for k, value in zip(reference["ks"], values, strict=True):
            assert plan.estimate(n, c, k) == pytest.approx(value, rel=1e-14, abs=1e-16), (n, c, k)


@pytest.mark.parametrize("plan", SMALL_PLANS, ids=lambda plan: str(plan.checkpoints))
def test_estimates_equal_full_enumeration(plan: SamplingPlan):
    """Catches paths that were counted though they stop early, and missing or invented endpoints."""
    endpoints = walk(plan)
    assert sorted(n - c for n, c in endpoints) == list(range(plan.max_samples + 1))  # one endpoint per f
    for (n, c), leading in endpoints.items():
        total = sum(leading.values())
        for k in range(1, plan.max_samples + 1):
            k_fail = sum(ways for failures, ways in leading.items() if failures >= k)
            assert plan.estimate(n, c, k) == float(1 - Fraction(k_fail, total)), (n, c, k)


def test_random_plans_equal_full_enumeration():
    """Catches errors that need an odd mix of rounds and thresholds."""
    draw = random.Random(5)
    for _ in range(60):
        checkpoints = sorted(draw.sample(range(1, 11), draw.randint(1, 5)))
        plan = SamplingPlan(tuple(checkpoints), tuple(draw.randint(1, 5) for _ in checkpoints[1:]))
        for (n, c), leading in walk(plan).items():
            for k in range(1, plan.max_samples + 1):
                k_fail = sum(ways for failures, ways in leading.items() if failures >= k)
                assert plan.estimate(n, c, k) == float(1 - Fraction(k_fail, sum(leading.values()))), (plan, n, c, k)


@pytest.mark.parametrize("name", PLANS)
def test_shipped_plans_are_unbiased_and_their_moments_exact(name: str):
    """Catches bias, and wrong variances or costs, by expectations taken sample by sample."""
    plan = PLANS[name]
    p_grid = np.array([0.0, 1e-4, 1e-3, 0.01, 0.05, 0.1, 0.3, 0.5, 0.9, 0.999, 1.0])
    ends = end_probabilities(plan, p_grid)
    assert len(ends) == plan.max_samples + 1
    weights = np.stack(list(ends.values()))
    for k in powers_up_to(plan.max_samples):
        estimates = np.array([plan.estimate(n, c, k) for n, c in ends])
        truth = 1 - (1 - p_grid) ** k
        assert np.abs(estimates @ weights - truth).max() < 1e-12, k
        variances = ((estimates[:, None] - truth) ** 2 * weights).sum(axis=0)
        np.testing.assert_allclose([plan.variance(p, k) for p in p_grid], variances, rtol=1e-9, atol=1e-14)
    samples = np.array([n for n, _ in ends]) @ weights
    np.testing.assert_allclose([plan.expected_samples(p) for p in p_grid], samples, rtol=1e-11)


@pytest.mark.parametrize("name", PLANS)
def test_estimates_lie_in_0_1_and_rise_with_k(name: str):
    plan = PLANS[name]
    table = np.stack([plan.pass_at_k_F(k) for k in range(1, plan.max_samples + 1)])
    assert table.min() >= 0.0
    assert table.max() == 1.0
    assert np.diff(table, axis=0).min() >= 0.0


@pytest.mark.parametrize("plan", [*PLANS.values(), *SMALL_PLANS], ids=lambda plan: str(plan.checkpoints))
def test_pass_at_n_max_is_solved_or_not_under_every_plan(plan: SamplingPlan):
    """Theory, corollary 3: at k = N the estimate is 1{c >= 1}, with the variance of fixed sampling."""
    last = plan.max_samples
    for f, n in enumerate(plan.samples_F.tolist()):
        assert plan.estimate(n, n - f, last) == float(n - f >= 1)
    for p in (0.001, 0.01, 0.2):
        assert plan.variance(p, last) == pytest.approx((1 - p) ** last * (1 - (1 - p) ** last), rel=1e-10)


def test_fixed_plan_is_the_classic_estimator():
    plan = PLANS["fixed"]
    for c in (0, 1, 5, 100, 256):
        for k in powers_up_to(256):
            assert plan.estimate(256, c, k) == pass_at_k(256, c, k)


def test_stopping_at_the_first_success_uses_the_first_round_for_pass_at_1():
    """Corollary 4: with m = 1, pass@1 is c / r_1 after round 1 and 0 later."""
    plan = SamplingPlan((8, 16, 40), (1, 1))
    assert [plan.estimate(8, c, 1) for c in range(1, 9)] == [c / 8 for c in range(1, 9)]
    assert plan.estimate(16, 8, 1) == 0.0  # the first 8 failed, though half of all are right
    assert plan.estimate(40, 24, 1) == 0.0
    one_by_one = SamplingPlan(ONE_AT_A_TIME, (1,) * 19)
    assert one_by_one.estimate(1, 1, 1) == 1.0
    assert all(one_by_one.estimate(n, 1, 1) == 0.0 for n in range(2, 21))


@pytest.mark.parametrize("m", [2, 3, 5])
def test_one_at_a_time_is_haldanes_estimator(m: int):
    """Corollary 4: stop at m successes, one sample at a time: pass@1 is (m - 1) / (n - 1)."""
    plan = SamplingPlan(ONE_AT_A_TIME, (m,) * 19)
    for n in range(m, 20):
        assert plan.estimate(n, m, 1) == pytest.approx((m - 1) / (n - 1), rel=1e-15)


def test_stopping_later_never_raises_the_variance():
    """Corollary 5, with a chain of plans that each stop no later than the one before."""
    rounds = (12, 24, 48, 96, 192, 256)
    chain = [PLANS["fixed"], SamplingPlan(rounds, (9, 9, 9, 9, 9)), PLANS["balanced"], SamplingPlan(rounds, (1,) * 5)]
    for k in powers_up_to(256):
        for p in (0.001, 0.01, 0.1, 0.5):
            variances = [plan.variance(p, k) for plan in chain]
            assert all(late <= early * (1 + 1e-9) + 1e-15 for late, early in pairwise(variances))


@pytest.mark.parametrize("name", PLANS)
def test_unbiased_square_averages_to_the_variance(name: str):
    """T_k^2 - T_2k, which `benchmark_variance` rests on: its expectation is the exact within-problem variance.

    No endpoint is negative, so an error bar always has a square root.
    """
    plan = PLANS[name]
    for k in powers_up_to(plan.max_samples // 2):
        squares = plan.unsolved_F(k) ** 2 - plan.unsolved_F(2 * k)
        assert min(squares) >= -1e-15
        for p in (0.0, 0.002, 0.03, 0.4, 1.0):
            assert plan.endpoint_probabilities_F(p) @ squares == pytest.approx(plan.variance(p, k), abs=1e-13)


def test_worst_variance_is_the_largest_over_p():
    """Known maxima: p(1-p)/n at p = 1/2 for k = 1, q^N (1 - q^N) = 1/4 for k = N; else a finer grid."""
    assert PLANS["fixed"].worst_variance(1) == pytest.approx(0.25 / 256, rel=1e-12)
    assert PLANS["balanced"].worst_variance(256) == pytest.approx(0.25, rel=1e-9)
    fine = max(PLANS["balanced"].variance(p, 1) for p in np.linspace(0, 1, 2001).tolist())
    assert PLANS["balanced"].worst_variance(1) == pytest.approx(fine, rel=0.01)


def test_expected_samples_match_the_published_table():
    """Catches a wrong cost model: four plans on four distributions, to the rounding of the fits."""
    reference = json.loads((DATA / "expected_samples.json").read_text())
    for name, row in reference["expected_samples"].items():
        for fit, samples in row.items():
            assert ALL_PLANS[name].expected_samples_beta(*reference["fits"][fit]) == pytest.approx(samples, rel=0.004)
    assert PLANS["balanced"].expected_samples_beta(0.218, 1.96) == pytest.approx(139.1, abs=0.05)
    assert PLANS["fixed"].expected_samples_beta(0.218, 1.96) == pytest.approx(256.0, rel=1e-12)


def test_expected_samples_of_stopping_at_the_first_success_follow_the_pass_at_k_curve():
    """Corollary 2: E[n] = sum over rounds r_j (1 - pass@N_{j-1}); under Beta(a, b) a product of ratios."""
    plan, a, b = SamplingPlan((8, 32, 100), (1, 1)), 0.3, 1.7

    def all_fail(k: int) -> float:
        return math.prod((b + i) / (a + b + i) for i in range(k))

    assert plan.expected_samples_beta(a, b) == pytest.approx(8 + 24 * all_fail(8) + 68 * all_fail(32), rel=1e-12)
    assert plan.expected_samples(0.1) == pytest.approx(8 + 24 * 0.9**8 + 68 * 0.9**32, rel=1e-12)


def test_plans_are_frozen_hashable_and_take_lists():
    """Catches a cache keyed by something mutable, and lists from YAML that cannot be hashed."""
    plan = SamplingPlan([4, 8], [2])  # pyright: ignore[reportArgumentType]
    assert plan == SamplingPlan((4, 8), (2,))
    assert len({plan, SamplingPlan((4, 8), (2,))}) == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan.checkpoints = (1,)  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(ValueError, match="read-only"):
        plan.unsolved_F(1)[0] = 1.0
    assert plan.unsolved_F(1) is SamplingPlan((4, 8), (2,)).unsolved_F(1)


@pytest.mark.parametrize(
    ("checkpoints", "stop_at", "message"),
    [
        ((), (), "checkpoints is empty"),
        ((0, 8), (1,), "strictly increasing"),
        ((8, 8), (1,), "strictly increasing"),
        ((16, 8), (1,), "strictly increasing"),
        ((8, 16), (), "0 thresholds for 2 checkpoints; expected 1"),
        ((8, 16), (2, 1), "2 thresholds for 2 checkpoints; expected 1"),
        ((8, 16, 32), (2, 0), "without a success before the last checkpoint biases pass@k"),
        ((8, 16.0), (1,), "checkpoints is .* expected a list of integers"),
        ((8, 16), "1", "stop_at is '1'; expected a list of integers"),
        (256, (), "checkpoints is 256; expected a list of integers"),
    ],
)
def test_plans_that_cannot_be_right_are_refused(checkpoints, stop_at, message: str):
    """Catches futility stops (no proper unbiased estimator exists) and malformed plans."""
    with pytest.raises(UserError, match=message):
        SamplingPlan(checkpoints, stop_at)


def test_deciding_inside_a_round_is_refused():
    """Acting on the samples that finish first lets stopping depend on their length: biased."""
    plan = PLANS["balanced"]
    with pytest.raises(ValueError, match="n=13 is inside a round"):
        plan.next_round(13, 5)
    with pytest.raises(ValueError, match="c=13 correct of n=12"):
        plan.next_round(12, 13)
    with pytest.raises(ValueError, match="c=-1 correct"):
        plan.next_round(12, -1)


@pytest.mark.parametrize("k", [0, 257, 512])
def test_k_beyond_the_plan_is_refused(k: int):
    """Beyond N no unbiased estimator of any kind exists."""
    with pytest.raises(UserError, match=r"expected k in 1\.\.256"):
        PLANS["balanced"].estimate(12, 5, k)


@pytest.mark.parametrize(
    ("n", "c", "message"),
    [
        (24, 3, "with 21 failures it stops at n=48"),  # goes on
        (24, 17, "with 7 failures it stops at n=12"),  # would have stopped before
        (13, 8, "with 5 failures it stops at n=12"),  # inside a round
        (257, 0, "it has too many"),
        (12, 13, "c=13 correct of n=12"),
        (12, -1, "c=-1 correct"),
    ],
)
def test_counts_the_plan_cannot_end_with_are_refused(n: int, c: int, message: str):
    """Catches an unfinished probe, or counts of another plan, that would get some number nevertheless."""
    with pytest.raises(ValueError, match=message):
        PLANS["balanced"].estimate(n, c, 1)


def test_probabilities_and_beta_parameters_are_checked():
    with pytest.raises(ValueError, match=r"p=1\.5"):
        PLANS["balanced"].expected_samples(1.5)
    with pytest.raises(ValueError, match=r"Beta\(0, 1\)"):
        PLANS["balanced"].expected_samples_beta(0, 1)


@pytest.mark.parametrize("name", PLANS)
def test_variance_under_a_beta_is_the_average_over_p(name: str):
    """Catches within and between swapped or a wrong power: midpoint quadrature in the Beta's own quantiles."""
    plan, a, b = PLANS[name], 2.0, 3.0
    p_grid = (np.arange(2000) + 0.5) / 2000
    density = p_grid ** (a - 1) * (1 - p_grid) ** (b - 1)
    density /= density.sum()
    for k in (1, 8, 64):
        within, between = variance_beta(plan, a, b, k)
        solved = 1 - (1 - p_grid) ** k
        assert within == pytest.approx(float(density @ [plan.variance(p, k) for p in p_grid.tolist()]), abs=2e-6)
        assert between == pytest.approx(float(density @ solved**2 - (density @ solved) ** 2), abs=2e-6)


def test_variance_under_a_beta_matches_published_figures():
    """By hand: at k = N the estimate is 0 or 1, within = E q^256 - E q^512, and Beta(1, b) gives E q^k = b / (b + k).
    From the project's theory notes: at P = 100 on the Omni base, pass@256 has a within-problem SE of 2.15 points."""
    within, between = variance_beta(PLANS["fixed"], 1.0, 2.0, 256)
    assert within == pytest.approx(2 / 258 - 2 / 514, rel=1e-9)
    assert between == pytest.approx(2 / 514 - (2 / 258) ** 2, rel=1e-9)
    for name in ("fixed", "balanced", "cheap"):  # same estimator at k = N under every plan
        within, _ = variance_beta(PLANS[name], 0.218, 1.96, 256)
        assert math.sqrt(within / 100) == pytest.approx(0.0215, abs=5e-5)


@pytest.mark.parametrize("name", PLANS)
def test_every_k_of_every_shipped_plan_is_unbiased(name: str):
    """All k from 1 to N, not only powers of two; probabilities of endpoints found sample by sample."""
    plan = PLANS[name]
    p_grid = np.array([1e-4, 0.003, 0.02, 0.1, 0.35, 0.8])
    ends = end_probabilities(plan, p_grid)
    failures = [n - c for n, c in ends]
    weights = np.stack(list(ends.values()))
    for k in range(1, plan.max_samples + 1):
        bias = plan.pass_at_k_F(k)[failures] @ weights - (1 - (1 - p_grid) ** k)
        assert np.abs(bias).max() < 1e-12, k
