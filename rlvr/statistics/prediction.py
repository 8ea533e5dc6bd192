"""pass@k beyond the samples drawn: a Beta fitted to the counts, and its predictions.

If success probabilities follow Beta(a, b), a problem's counts have likelihood B(a + c, b + n - c) / B(a, b) times a
number of paths that the parameters do not enter: maximum likelihood holds under every plan that stops on (n, c).
Then E pass@k = 1 - B(a, b + k) / B(a, b) for every k (Kazdan et al. 2025, arXiv 2510.05197).

The interval carries the uncertainty of a and b only, not that of the Beta shape. Beyond the data the shape decides:
a Beta lets every problem be solved in the end, and cannot know of problems that never are. So predictions have a
type of their own, and nothing that takes an `Estimate` takes them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import betaln, digamma, zeta

from rlvr.statistics.intervals import z_quantile
from rlvr.types import Counts, UserError

FloatArray = npt.NDArray[np.float64]

LOG_LIMIT = math.log(1e6)
"""A parameter beyond 1e-6..1e6 means that the likelihood has no maximum: the fit is undefined."""


@dataclass(frozen=True)
class BetaFit:
    """Maximum likelihood Beta(a, b) of the success probabilities."""

    a: float
    b: float
    covariance: FloatArray
    """(2, 2) of (log a, log b): inverse of the observed information."""

    def pass_at_k(self, k: int) -> float:
        """1 - B(a, b + k) / B(a, b): mean pass@k under the fit, in (0, 1)."""
        return -math.expm1(self._log_unsolved(k))

    def _log_unsolved(self, k: int) -> float:
        return float(betaln(self.a, self.b + k) - betaln(self.a, self.b))

    def _log_unsolved_slope(self, k: int) -> FloatArray:
        """(2,) derivative of log(1 - pass@k) by (log a, log b)."""
        by_a = digamma(self.a + self.b) - digamma(self.a + self.b + k)
        by_b = by_a + digamma(self.b + k) - digamma(self.b)
        return np.array([self.a * by_a, self.b * by_b])


@dataclass(frozen=True, slots=True)
class Prediction:
    """pass@k for a k that was not measured, with the interval of the fit."""

    k: int
    value: float
    low: float
    high: float
    """Bounds in [0, 1]; they assume that the Beta shape is right."""
    measured_k: int
    """Largest k that the samples do measure."""


def fit_beta(counts: Sequence[Counts]) -> BetaFit | None:
    """Maximum likelihood Beta from counts of any plan, by a trust-region Newton method on (log a, log b).

    None: the likelihood has no maximum. That is so when no sample or every sample is correct, or when problems differ
    no more than chance (a single p fits best). Raises UserError without problems or for impossible counts.
    """
    if not counts:
        raise UserError("fit_beta: no problems; expected the counts of at least one problem")
    if any(not 0 <= one.c <= one.n or one.n < 1 for one in counts):
        raise UserError("fit_beta: a problem without samples or with c outside 0..n; expected judged samples")
    times = Counter((one.n, one.c) for one in counts)
    n_U, c_U = (np.array(column, dtype=np.float64) for column in zip(*times, strict=True))
    times_U = np.array(list(times.values()), dtype=np.float64)

    @lru_cache(maxsize=1)  # scipy asks for the Hessian where it has asked for the value and the gradient
    def at(log_a: float, log_b: float) -> tuple[float, FloatArray, FloatArray]:
        # Past the limit there is no fit; clipped there, exp cannot overflow.
        logs = np.clip([log_a, log_b], -2 * LOG_LIMIT, 2 * LOG_LIMIT)
        value, slope, curvature = _log_likelihood(logs, n_U, c_U, times_U)
        return -value, -slope, -curvature

    def loss(logs: FloatArray) -> tuple[float, FloatArray, FloatArray]:
        return at(*logs.tolist())

    logs = minimize(lambda x: loss(x)[:2], np.log([0.5, 0.5]), method="trust-exact", jac=True,
                    hess=lambda x: loss(x)[2], options={"gtol": 1e-8 * len(counts), "max_trust_radius": 4.0}).x
    _, slope, information = loss(logs)
    least, most = np.linalg.eigvalsh(information)
    if np.abs(logs).max() > LOG_LIMIT or least <= 1e-10 * most:  # runs off to infinity, or flat along a ridge
        return None
    logs = logs - np.linalg.solve(information, slope)  # one more Newton step: full precision
    covariance = np.asarray(np.linalg.inv(loss(logs)[2]), dtype=np.float64)
    return BetaFit(float(np.exp(logs[0])), float(np.exp(logs[1])), covariance)


def predict_pass_at_k(fit: BetaFit, k: int, measured_k: int) -> Prediction:
    """Mean pass@k under the fit, with a 95% delta-method interval on the scale of log(1 - pass@k).

    Args:
        k: must exceed `measured_k`: up to there pass@k can be measured.
        measured_k: max_samples of the plan that drew the counts.

    Raises: UserError for k <= measured_k.
    """
    if k <= measured_k:
        raise UserError(f"pass@{k} can be measured with up to {measured_k} samples per problem; expected a larger k "
                        "for a prediction, or use `pass_at_k_vector`")
    slope = fit._log_unsolved_slope(k)
    half = z_quantile(0.95) * math.sqrt(float(slope @ fit.covariance @ slope))
    log_unsolved = fit._log_unsolved(k)
    low, high = (-math.expm1(min(log_unsolved + sign * half, 0.0)) for sign in (1, -1))
    return Prediction(k=k, value=fit.pass_at_k(k), low=low, high=high, measured_k=measured_k)


def _log_likelihood(
    logs: FloatArray, n_U: FloatArray, c_U: FloatArray, times_U: FloatArray
) -> tuple[float, FloatArray, FloatArray]:
    """Log-likelihood sum of log B(a + c, b + n - c) / B(a, b) at (log a, log b), its gradient (2,), Hessian (2, 2)."""
    a, b = np.exp(logs)
    value = float(times_U @ (betaln(a + c_U, b + n_U - c_U) - betaln(a, b)))
    by_a, by_b, by_sum = (
        float(times_U @ (digamma(x + added_U) - digamma(x)))
        for x, added_U in ((a, c_U), (b, n_U - c_U), (a + b, n_U)))
    by_aa, by_bb, by_ss = (
        float(times_U @ (zeta(2, x + added_U) - zeta(2, x)))  # the trigamma function
        for x, added_U in ((a, c_U), (b, n_U - c_U), (a + b, n_U)))
    slope = np.array([a * (by_a - by_sum), b * (by_b - by_sum)])
    curvature = np.array([[a * a * (by_aa - by_ss), -a * b * by_ss], [-a * b * by_ss, b * b * (by_bb - by_ss)]])
    return value, slope, curvature + np.diag(slope)
