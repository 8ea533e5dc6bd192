"""Beta fits: known maxima, coverage of the predicted pass@k, and what has no fit."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rlvr.statistics.plan import PLANS
from rlvr.statistics.prediction import BetaFit, _log_likelihood, fit_beta, predict_pass_at_k
from rlvr.types import Counts, UserError
from tests.statistics.coverage_table import FITS, draw_counts


def counts_of(*rows: tuple[int, int, int]) -> list[Counts]:
    return [Counts(f"{n}/{c}/{i}", n, c) for n, c, problems in rows for i in range(problems)]


def test_likelihood_and_derivatives_by_hand():
    """Two problems, (3, 1) and (2, 0), a = .7, b = 1.9: log [a b (b+1) / s(s+1)(s+2)] + log [b (b+1) / s(s+1)]."""
    a, b = 0.7, 1.9
    s = a + b
    by_hand = math.log(a * b * (b + 1) / (s * (s + 1) * (s + 2))) + math.log(b * (b + 1) / (s * (s + 1)))
    n, c, times = np.array([3, 2]), np.array([1, 0]), np.ones(2)
    at = np.log([a, b])
    value, slope, curvature = _log_likelihood(at, n, c, times)
    assert value == pytest.approx(by_hand, rel=1e-14)
    for i, unit in enumerate(np.eye(2) * 1e-5):
        up, down = _log_likelihood(at + unit, n, c, times), _log_likelihood(at - unit, n, c, times)
        assert slope[i] == pytest.approx((up[0] - down[0]) / 2e-5, rel=1e-8)
        assert curvature[i] == pytest.approx((up[1] - down[1]) / 2e-5, rel=1e-7)


def test_two_samples_have_a_fit_in_closed_form():
    """n = 2: the three outcomes have free probabilities but one constraint, so shares 0.5, 0.2, 0.3 are met exactly:
    P(1) = 2ab / s(s+1) = .2, mean a/s = .4; then s + 1 = 2 * .4 * .6 s / .2 = 2.4 s, s = 1/1.4, a = .285714."""
    fit = fit_beta(counts_of((2, 0, 50), (2, 1, 20), (2, 2, 30)))
    assert fit is not None
    assert (fit.a, fit.b) == pytest.approx((0.4 / 1.4, 0.6 / 1.4), rel=1e-6)
    assert fit.pass_at_k(1) == pytest.approx(0.4, rel=1e-6)
    assert fit.pass_at_k(2) == pytest.approx(0.5, rel=1e-6)


def test_pass_at_k_under_a_beta_by_hand():
    """Beta(1, 2): E q^k = 2 / (2 + k)."""
    fit = BetaFit(1.0, 2.0, np.zeros((2, 2)))
    assert [fit.pass_at_k(k) for k in (1, 4, 998)] == pytest.approx([1 / 3, 2 / 3, 0.998], rel=1e-12)
    prediction = predict_pass_at_k(fit, 998, 256)
    assert (prediction.value, prediction.low, prediction.high) == pytest.approx((0.998,) * 3, rel=1e-12)
    assert (prediction.k, prediction.measured_k) == (998, 256)
    # log q(k) = log 2 - log(2 + k): slopes -a sum 1/(3 + i) and b (1/2 - 1/(k + 2)) for k = 2: -7/12, 1/2
    slope = fit._log_unsolved_slope(2)
    assert slope.tolist() == pytest.approx([-(1 / 3 + 1 / 4), 2 * (1 / 2 + 1 / 3 - 1 / 3 - 1 / 4)], rel=1e-12)


def test_predictions_under_a_sequential_plan_cover_the_truth():
    """Omni base, 300 problems, balanced plan, 200 probes: pass@1024 lies in the 95% interval in 91% to 99%, and the
    stopping does not bend a and b."""
    rng, (a, b) = np.random.default_rng(0), FITS["Omni base"]
    truth = BetaFit(a, b, np.zeros((2, 2))).pass_at_k(1024)
    fits = [fit_beta(c) for c in draw_counts(rng.beta(a, b, (200, 300)), PLANS["balanced"], rng)]
    predictions = [predict_pass_at_k(fit, 1024, 256) for fit in fits if fit is not None]
    assert len(predictions) == 200
    assert 0.91 <= np.mean([p.low <= truth <= p.high for p in predictions]) <= 0.99
    assert np.mean([p.value for p in predictions]) == pytest.approx(truth, abs=0.006)
    assert np.mean([math.log(fit.a / a) for fit in fits if fit is not None]) == pytest.approx(0.0, abs=0.02)


@pytest.mark.parametrize(
    "rows",
    [
        [(16, 0, 30)],  # nothing solved
        [(16, 16, 30)],  # everything right
        [(16, 8, 30)],  # no spread at all: a single p
    ],
)
def test_no_maximum_is_none(rows: list[tuple[int, int, int]]):
    assert fit_beta(counts_of(*rows)) is None


def test_a_fit_that_says_nothing_predicts_from_0_to_1() -> None:
    """Bug: exp of a wide interval overflowed and ended a training whose step had few, uneven groups."""
    found = predict_pass_at_k(BetaFit(2.0, 0.5, np.eye(2) * 1e8), 256, 8)
    assert (found.low, found.high) == (0.0, 1.0) and 0 < found.value < 1


def test_measurable_k_and_impossible_counts_are_refused():
    fit = BetaFit(1.0, 2.0, np.zeros((2, 2)))
    with pytest.raises(UserError, match=r"pass@256 can be measured"):
        predict_pass_at_k(fit, 256, 256)
    with pytest.raises(UserError, match="no problems"):
        fit_beta([])
    with pytest.raises(UserError, match="c outside"):
        fit_beta([Counts("a", 3, 4)])
