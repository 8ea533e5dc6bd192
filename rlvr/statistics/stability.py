"""Stability of solving: G-Pass@k_tau, mG-Pass@k and pass^k, unbiased from the counts of a sequential probe.

All are chances that at least j of k samples are correct: pass@k asks for one (j = 1), pass^k for all (j = k),
G-Pass@k_tau for a share tau (j = ceil(tau k); Liu et al. 2024, arXiv 2412.13147). Under a plan that stops early such a
chance has an unbiased estimate in [0, 1] if and only if the plan never stops before sample k with the event still
open. k <= the plan's first round is always fine (k <= 12 for `balanced`); beyond it small j may be, and everything
else is refused with a UserError. The estimates use every sample of the problem, not the first round alone.

Suffix P: one entry per problem. Give the vectors to `population_ci` for a mean with its interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rlvr.statistics.intervals import failures_P
from rlvr.statistics.plan import SamplingPlan
from rlvr.types import Counts

FloatArray = npt.NDArray[np.float64]


def g_pass_vector(counts: Sequence[Counts], plan: SamplingPlan, k: int, tau: float) -> FloatArray:
    """(P,) unbiased G-Pass@k_tau = P(at least ceil(tau k) of k samples are correct) of every problem, in [0, 1].

    tau in (0, 1]: the share of k samples that must be correct. Raises ValueError for another tau and for counts at
    which `plan` never stops; UserError where no such estimate exists under `plan`.
    """
    return plan.at_least_F(k, needed(k, tau))[failures_P(counts, plan)]


def mg_pass_vector(counts: Sequence[Counts], plan: SamplingPlan, k: int) -> FloatArray:
    """(P,) unbiased mG-Pass@k: (2/k) sum of P(at least j of k correct) over j = ceil(k/2)+1 .. k.

    About the average of G-Pass@k_tau over tau in [1/2, 1]; in [0, 1]. Errors as above, and ValueError for k = 1.
    """
    if k < 2:
        raise ValueError(f"mg_pass_vector: k={k}; expected at least 2 samples")
    f_P = failures_P(counts, plan)
    js = range(math.ceil(k / 2) + 1, k + 1)
    return 2 / k * np.sum([plan.at_least_F(k, j)[f_P] for j in js], axis=0, initial=0.0)


def needed(k: int, tau: float) -> int:
    """ceil(tau k), with tau = j / k read as j in spite of rounding. Raises ValueError for tau outside (0, 1]."""
    if not 0.0 < tau <= 1.0:
        raise ValueError(f"G-Pass@{k}: tau={tau}; expected a share of correct samples in (0, 1]")
    return max(1, math.ceil(tau * k - 1e-9))
