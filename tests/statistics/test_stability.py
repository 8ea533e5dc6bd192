"""Chances of j correct among k samples: by hand, by exact expectation, and where theory says they exist."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rlvr.statistics.plan import PLANS, RETIRED, SamplingPlan
from rlvr.statistics.stability import g_pass_vector, mg_pass_vector, needed
from rlvr.types import Counts, UserError

ALL_PLANS = PLANS | RETIRED
FOUR = SamplingPlan((4,))


def at_least(p: float, k: int, j: int) -> float:
    return sum(math.comb(k, i) * p**i * (1 - p) ** (k - i) for i in range(j, k + 1))


def test_fixed_plan_by_hand():
    """3 correct of 4. Two of them: C(3,2)/C(4,2) = 1/2 both right, never none. Three: 1/4 all right, 1 at least 2."""
    counts = [Counts("a", 4, 3)]
    assert g_pass_vector(counts, FOUR, 2, 1.0).tolist() == [0.5]
    assert g_pass_vector(counts, FOUR, 2, 0.5).tolist() == [1.0]
    assert g_pass_vector(counts, FOUR, 3, 1.0).tolist() == [0.25]
    assert g_pass_vector(counts, FOUR, 3, 2 / 3).tolist() == [1.0]
    # mG-Pass@4: 2/4 (P(>= 3) + P(>= 4)) = 1/2 (1 + 0); mG-Pass@2: 2/2 P(>= 2) = 1/2
    assert mg_pass_vector(counts, FOUR, 4).tolist() == [0.5]
    assert mg_pass_vector(counts, FOUR, 2).tolist() == [0.5]


def test_needed_is_the_ceiling_in_spite_of_rounding():
    assert [needed(8, tau) for tau in (0.01, 0.125, 0.25, 0.5, 0.51, 1.0)] == [1, 1, 2, 4, 5, 8]
    assert needed(10, 0.1 + 0.2) == 3  # .30000000000000004
    for tau in (0.0, 1.01, math.nan):
        with pytest.raises(ValueError, match="share of correct samples in"):
            needed(8, tau)


@pytest.mark.parametrize("name", ALL_PLANS)
def test_first_round_chances_are_unbiased_at_every_p(name: str):
    """Catches paths counted from the wrong side or stopped wrongly: exact expectation over endpoints."""
    plan = ALL_PLANS[name]
    for k, j in ((1, 1), (2, 2), (5, 2), (8, 4), (8, 5), (8, 8)):
        values_F = plan.at_least_F(k, j)
        assert values_F.min() >= 0.0
        assert values_F.max() <= 1.0
        for p in (0.0, 0.003, 0.1, 0.5, 0.9, 1.0):
            assert plan.endpoint_probabilities_F(p) @ values_F == pytest.approx(at_least(p, k, j), abs=1e-12)
    assert plan.at_least_F(8, 1).tolist() == plan.pass_at_k_F(8).tolist()


# From the project's theory notes: the j up to which P(Bin(k, p) >= j) has an unbiased estimate in [0, 1].
LARGEST_J = {
    "exact": {16: 16, 32: 12, 64: 12, 128: 5, 256: 3},
    "balanced": {12: 12, 16: 5, 32: 4, 64: 2, 128: 2},
    "cheap": {8: 8},
}


@pytest.mark.parametrize(("name", "k", "j"), [(n, k, j) for n, row in LARGEST_J.items() for k, j in row.items()])
def test_beyond_the_first_round_they_exist_up_to_the_known_j(name: str, k: int, j: int):
    plan = ALL_PLANS[name]
    for p in (0.01, 0.2, 0.7):
        assert plan.endpoint_probabilities_F(p) @ plan.at_least_F(k, j) == pytest.approx(at_least(p, k, j), abs=1e-12)
    if j < k:
        with pytest.raises(UserError, match="no unbiased estimate"):
            plan.at_least_F(k, j + 1)


def test_an_event_that_is_decided_early_needs_no_k_samples():
    """Plan 2, 4 with stop at 2 of 2. k = 4, j = 2: (2, 2) has decided it. j = 3: (2, 2) has not: refused."""
    plan = SamplingPlan((2, 4), (2,))
    assert plan.at_least_F(4, 2)[0] == 1.0
    with pytest.raises(UserError, match="stop after 2 samples with 2 correct"):
        plan.at_least_F(4, 3)
    assert g_pass_vector([Counts("a", 2, 2)], plan, 2, 1.0).tolist() == [1.0]
    # (4, 2) is reached as 1100 (no: stopped), 1010, 1001, 0110, 0101, 0011: pass^2 is 0 of 5
    assert g_pass_vector([Counts("a", 4, 2)], plan, 2, 1.0).tolist() == [0.0]
    # (4, 3): 1011, 0111 are left of four orders; two of the first three correct in both
    assert g_pass_vector([Counts("a", 4, 3)], plan, 3, 2 / 3).tolist() == [1.0]
    # (4, 2): of 1010, 1001, 0110, 0101, 0011 two of the first three are correct in 1010 and 0110
    assert g_pass_vector([Counts("a", 4, 2)], plan, 3, 2 / 3).tolist() == [0.4]


def test_plug_in_would_be_biased():
    """(c/n)^8 under the cheap plan at p = .5 is eight times too large; the estimate is not."""
    plan = PLANS["cheap"]
    ends = plan.endpoint_probabilities_F(0.5)
    n = plan.samples_F
    plug_in = float(ends @ ((n - np.arange(len(n))) / n) ** 8)
    assert plug_in > 8 * 0.5**8
    assert ends @ plan.at_least_F(8, 8) == pytest.approx(0.5**8, abs=1e-12)


def test_impossible_arguments_are_refused():
    with pytest.raises(ValueError, match="j=0 of k=3"):
        FOUR.at_least_F(3, 0)
    with pytest.raises(ValueError, match="j=4 of k=3"):
        FOUR.at_least_F(3, 4)
    with pytest.raises(UserError, match=r"expected k in 1\.\.4"):
        g_pass_vector([Counts("a", 4, 3)], FOUR, 5, 0.5)
    with pytest.raises(ValueError, match="at least 2 samples"):
        mg_pass_vector([Counts("a", 4, 3)], FOUR, 1)
