"""How success probabilities are spread over problems: nonparametric maximum likelihood, Cover@tau, histograms.

The chance that a problem ends at (n, c) is a count of paths times p^c (1-p)^(n-c), so a rule that stops on (n, c)
drops out of the likelihood: maximum likelihood over all distributions of p (Kiefer and Wolfowitz 1956; on a grid by
EM, Laird 1978) is valid under every plan. The share c/n is not: stopping after successes pushes it up, Cover@tau by
up to 8 points under `cheap`, 4 under `balanced`.

No estimator of Cover@tau is unbiased under any plan, a fixed number of samples included (it is no polynomial in p).
By simulation at 500 problems (four Beta fits, tau .05 to .8) this one is off by at most 1.2 points on average, RMSE
3.6; driving EM on to the very maximum, a few spikes, gives 6.1. Where an unbiased number is needed, use G-Pass@k_tau,
its smooth form (`rlvr.statistics.stability`). pass@k = int_0^1 k (1-t)^(k-1) Cover@t dt (Dragoi et al. 2025, arXiv
2510.08325).

Suffixes: G grid points of p, U distinct counts, B histogram bins.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln, xlog1py, xlogy

from rlvr.statistics.intervals import failures_P
from rlvr.statistics.plan import SamplingPlan
from rlvr.types import Counts, UserError

FloatArray = npt.NDArray[np.float64]

GRID_STEPS = 200
"""Grid p = sin^2(pi i / 400), i = 0..200: a quarter of the standard deviation of c/n at n = 256 apart, at every p."""
ITERATIONS = 20_000
GAP = 1.0
"""EM stops this close (nats, all problems together) to the largest log-likelihood: what the data cannot tell apart."""


@dataclass(frozen=True)
class Mixture:
    """A distribution of success probabilities on a grid."""

    grid_G: FloatArray
    weights_G: FloatArray
    """Non-negative, sum 1."""
    gap: float
    """Upper bound of what the log-likelihood of all problems (nats) still lacks to its maximum on this grid."""

    def cover(self, tau: float) -> float:
        """Cover@tau: share of problems with success probability of at least tau, in [0, 1].

        tau in (0, 1]; the data cannot tell p = 0 from p far below 1 / max_samples, so a tau down there is arbitrary.
        Raises ValueError for tau outside (0, 1].
        """
        if not 0.0 < tau <= 1.0:
            raise ValueError(f"cover: tau={tau}; expected a success probability in (0, 1]")
        return min(1.0, float(self.weights_G[self.grid_G >= tau - 1e-12].sum()))

    def pass_at_k(self, k: int) -> float:
        """Mean of 1 - (1-p)^k under the fit: a check against the unbiased estimate, not a replacement for it."""
        return 1.0 - float(self.weights_G @ (1.0 - self.grid_G) ** k)


def fit_mixture(counts: Sequence[Counts], *, gap: float = GAP) -> Mixture:
    """A distribution of success probabilities within `gap` nats of maximum likelihood, from counts of any plan.

    EM from equal weights on the grid; problems may have been sampled under different plans. Raises UserError without
    problems or for a count without samples.
    """
    if not counts:
        raise UserError("fit_mixture: no problems; expected the counts of at least one problem")
    if any(not 0 <= one.c <= one.n or one.n < 1 for one in counts):
        raise UserError("fit_mixture: a problem without samples or with c outside 0..n; expected judged samples")
    times = Counter((one.n, one.c) for one in counts)
    n_U, c_U = (np.array(column, dtype=np.float64) for column in zip(*times, strict=True))
    times_U = np.array(list(times.values()), dtype=np.float64)
    grid_G = np.sin(np.pi * np.arange(GRID_STEPS + 1) / (2 * GRID_STEPS)) ** 2
    likelihood_UG = _likelihood(n_U, c_U, grid_G)
    weights_G = np.full(grid_G.size, 1.0 / grid_G.size)
    lacking = math.inf
    for _ in range(ITERATIONS):
        # D(p) = sum_i L_i(p) / L_i(fit); the log-likelihood lacks at most max_p D(p) - P (Lindsay 1983).
        score_G = (times_U / (likelihood_UG @ weights_G)) @ likelihood_UG
        lacking = float(score_G.max()) - len(counts)
        if lacking <= gap:
            break
        weights_G = weights_G * score_G / len(counts)
    return Mixture(grid_G, weights_G / weights_G.sum(), max(lacking, 0.0))


@dataclass(frozen=True, slots=True)
class AccuracyHistogram:
    """Expected numbers of problems by accuracy c/n among n samples, in twelve bins.

    Bins: {0}, (0, .1], (.1, .2], ..., (.8, .9], (.9, 1), {1} (Figures 5 and 13 of arXiv 2504.13837).
    """

    n: int
    problems: tuple[float, ...]
    """Twelve numbers that sum to the number of problems."""
    observed: bool
    """True: counted, every problem had n samples. False: what the maximum likelihood fit says n samples would show."""


def accuracy_histogram(counts: Sequence[Counts], plan: SamplingPlan, n: int | None = None) -> AccuracyHistogram:
    """Histogram of accuracies as a probe with a fixed number n of samples shows it (None: plan.max_samples).

    Under a fixed plan with that n it is counted. Under a plan that stops early c/n is bent by the stopping, so the
    histogram is the expected one under `fit_mixture`, `observed=False`.

    Raises ValueError, naming the problem, for counts at which `plan` never stops; UserError without problems.
    """
    f_P = failures_P(counts, plan)
    n = plan.max_samples if n is None else n
    if n < 1:
        raise ValueError(f"accuracy_histogram: n={n}; expected at least one sample")
    if len(plan.checkpoints) == 1 and plan.max_samples == n and counts:
        share_C = np.bincount(n - f_P, minlength=n + 1).astype(np.float64)
    else:
        fit = fit_mixture(counts)
        c_C = np.arange(n + 1, dtype=np.float64)
        chance_CG = _likelihood(np.full(n + 1, float(n)), c_C, fit.grid_G, normalized=True)
        share_C = len(counts) * (chance_CG @ fit.weights_G)
    # bin of c: 0 alone, then ceil(10 c / n) with integers, and c = n alone
    bin_C = [0 if c == 0 else 11 if c == n else -(-10 * c // n) for c in range(n + 1)]
    return AccuracyHistogram(
        n=n,
        problems=tuple(np.bincount(bin_C, weights=share_C, minlength=12).tolist()),
        observed=len(plan.checkpoints) == 1 and plan.max_samples == n,
    )


def _likelihood(n_U: FloatArray, c_U: FloatArray, grid_G: FloatArray, *, normalized: bool = False) -> FloatArray:
    """(U, G) p^c (1-p)^(n-c), each row scaled to a maximum of 1, or the binomial probability if `normalized`."""
    log_UG = xlogy(c_U[:, None], grid_G) + xlog1py((n_U - c_U)[:, None], -grid_G)
    if normalized:
        return np.exp(log_UG + (gammaln(n_U + 1) - gammaln(c_U + 1) - gammaln(n_U - c_U + 1))[:, None])
    return np.exp(log_UG - log_UG.max(axis=1, keepdims=True))
