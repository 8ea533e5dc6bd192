"""Variance of pass@k under a plan when success probabilities follow a Beta distribution: for tests and benchmarks."""

from __future__ import annotations

import numpy as np
from scipy.special import betaln

from rlvr.statistics.plan import SamplingPlan


def variance_beta(plan: SamplingPlan, a: float, b: float, k: int) -> tuple[float, float]:
    """(within, between): variance of the estimate of pass@k when success probabilities follow Beta(a, b), exactly.

    within = E T_k^2 - E q^2k is sampling noise, between = E q^2k - (E q^k)^2 the spread of the problems' true pass@k.
    """
    mean_square = float(plan._endpoint_probabilities_beta_F(a, b) @ plan.unsolved_F(k) ** 2)
    fail_k, fail_2k = (float(np.exp(betaln(a, b + power) - betaln(a, b))) for power in (k, 2 * k))
    return mean_square - fail_2k, fail_2k - fail_k**2
