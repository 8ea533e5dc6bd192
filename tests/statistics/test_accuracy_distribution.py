"""Maximum likelihood over distributions of p: cases with a known answer, and bias by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rlvr.statistics.accuracy_distribution import Mixture, accuracy_histogram, fit_mixture
from rlvr.statistics.plan import PLANS, SamplingPlan
from rlvr.types import Counts, UserError
from tests.statistics.coverage_table import FITS, draw_counts


def repeated(*rows: tuple[int, int, int]) -> list[Counts]:
    """(n, c, problems) -> counts."""
    return [Counts(f"{n}/{c}/{i}", n, c) for n, c, problems in rows for i in range(problems)]


def test_one_kind_of_count_gives_one_atom_at_its_share():
    """64 of 256 everywhere: the likelihood is largest with all mass at p = 1/4."""
    fit = fit_mixture(repeated((256, 64, 400)), gap=0.01)
    assert fit.gap <= 0.01
    assert fit.weights_G.sum() == pytest.approx(1.0, abs=1e-12)
    assert fit.grid_G @ fit.weights_G == pytest.approx(0.25, abs=0.003)
    assert (fit.cover(0.2), fit.cover(0.3)) == pytest.approx((1.0, 0.0), abs=0.01)


def test_the_gap_bounds_what_the_likelihood_lacks():
    """One sample each, 3 of 10 correct: any distribution of mean .3 is optimal, with 3 log .3 + 7 log .7."""
    fit = fit_mixture(repeated((1, 1, 3), (1, 0, 7)), gap=1e-6)
    assert fit.pass_at_k(1) == pytest.approx(0.3, abs=1e-3)
    mean = float(fit.grid_G @ fit.weights_G)
    reached = 3 * math.log(mean) + 7 * math.log(1 - mean)
    best = 3 * math.log(0.3) + 7 * math.log(0.7)
    assert best - 1e-6 <= reached <= best + 1e-12
    loose = fit_mixture(repeated((1, 1, 3), (1, 0, 7)), gap=0.2)
    mean = float(loose.grid_G @ loose.weights_G)
    assert best - loose.gap <= 3 * math.log(mean) + 7 * math.log(1 - mean)


def test_the_log_likelihood_is_as_large_as_any_two_atoms_reach():
    """Catches EM that stops early or divides by the wrong total: brute force over pairs of atoms cannot beat it."""
    counts = repeated((12, 11, 5), (24, 5, 4), (256, 0, 6), (48, 2, 3))
    fit = fit_mixture(counts, gap=1e-3)

    def log_likelihood(p, w) -> float:
        return sum(math.log(sum(wi * pi**x.c * (1 - pi) ** (x.n - x.c) for pi, wi in zip(p, w, strict=True)))
                   for x in counts)

    grid = np.sin(np.linspace(0.02, 1.2, 25)) ** 2
    two_atoms = max(log_likelihood((p, q), (w, 1 - w)) for p in grid for q in grid if p < q for w in (0.3, 0.4, 0.5))
    assert log_likelihood(fit.grid_G, fit.weights_G) > two_atoms - 0.001


def test_cover_by_hand():
    fit = Mixture(np.array([0.0, 0.2, 0.5, 1.0]), np.array([0.1, 0.2, 0.3, 0.4]), 0.0)
    assert [fit.cover(tau) for tau in (0.1, 0.2, 0.21, 0.5, 1.0)] == pytest.approx([0.9, 0.9, 0.7, 0.7, 0.4])
    assert fit.pass_at_k(2) == pytest.approx(0.2 * 0.36 + 0.3 * 0.75 + 0.4)
    for tau in (0.0, 1.1, math.nan):
        with pytest.raises(ValueError, match="success probability in"):
            fit.cover(tau)


def test_cover_is_nearly_unbiased_where_plug_in_is_not():
    """MATH base under the cheap plan, tau = 1/2: c/n is off by 5 points and more, the fit by at most 1.5 on average,
    RMSE at most 4.5 (the notes measured 3.5 at 500 problems)."""
    rng, plan = np.random.default_rng(1), PLANS["cheap"]
    p = rng.beta(*FITS["MATH base"], (30, 500))
    drawn, truth = draw_counts(p, plan, rng), (p >= 0.5).mean(axis=1)
    errors = np.array([fit_mixture(counts).cover(0.5) for counts in drawn]) - truth
    plug_in = np.array([np.mean([x.c / x.n >= 0.5 for x in counts]) for counts in drawn]) - truth
    assert abs(errors.mean()) < 0.015
    assert np.sqrt((errors**2).mean()) < 0.045
    assert plug_in.mean() > 0.045


def test_histogram_of_a_fixed_plan_is_counted():
    """10 samples: 0 | 1 in (0, .1] | 2, 2 in (.1, .2] | 9 in (.8, .9] | 10. With 20 samples, 19 is in (.9, 1)."""
    ten = SamplingPlan((10,))
    histogram = accuracy_histogram(repeated((10, 0, 3), (10, 1, 1), (10, 2, 2), (10, 9, 1), (10, 10, 4)), ten)
    assert histogram.problems == (3, 1, 2, 0, 0, 0, 0, 0, 0, 1, 0, 4)
    assert (histogram.n, histogram.observed) == (10, True)
    histogram = accuracy_histogram(repeated((20, 19, 1), (20, 18, 1)), SamplingPlan((20,)))
    assert histogram.problems == (0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0)


def test_histogram_of_a_sequential_plan_is_what_a_fixed_number_would_show():
    """2,000 problems of p in {0, .15, .95}: expected bins of 128 samples by the binomial law; c/n is far off."""
    rng = np.random.default_rng(2)
    p = np.repeat([0.0, 0.15, 0.95], [600, 800, 600])
    counts = draw_counts(p[None], PLANS["balanced"], rng)[0]
    histogram = accuracy_histogram(counts, PLANS["balanced"], 128)
    assert not histogram.observed
    assert sum(histogram.problems) == pytest.approx(2000, abs=1e-6)
    expected = np.zeros(12)
    for share, problems in ((0.0, 600), (0.15, 800), (0.95, 600)):
        for c in range(129):
            bin_ = 0 if c == 0 else 11 if c == 128 else math.ceil(10 * c / 128)
            expected[bin_] += problems * math.comb(128, c) * share**c * (1 - share) ** (128 - c)
    assert histogram.problems == pytest.approx(expected.tolist(), abs=100)
    bent = [math.ceil(10 * x.c / x.n) for x in counts]
    assert abs(bent.count(2) - expected[2]) > 150


def test_impossible_counts_are_refused():
    with pytest.raises(UserError, match="no problems"):
        fit_mixture([])
    with pytest.raises(UserError, match="without samples"):
        fit_mixture([Counts("a", 0, 0)])
    with pytest.raises(ValueError, match="problem 'a'"):
        accuracy_histogram([Counts("a", 13, 2)], PLANS["balanced"])
    with pytest.raises(ValueError, match="n=0"):
        accuracy_histogram([Counts("a", 12, 12)], PLANS["balanced"], 0)
