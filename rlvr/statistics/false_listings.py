"""How many problems of a ledger to expect among the lost and the gained if training had changed nothing.

A single problem is called lost or gained when chance explains it with at most 5%. Among hundreds of problems a few are
then listed by chance alone; only what goes beyond these numbers is evidence.

Both numbers are expectations over the posterior of each problem's success probability: Beta(a + c, b + n - c) from the
ledger's prior and the base's counts.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy.special import betaincinv

from rlvr.statistics.ledger import LOSS_LEVEL, luck
from rlvr.statistics.plan import SamplingPlan
from rlvr.types import Counts

QUANTILES = 200
"""Equal slices of the posterior, each stood for by its median."""


def lost_by_chance(base: Iterable[Counts], probes: int, max_samples: int, prior: tuple[float, float]) -> float:
    """Expected number of problems that the base solved and that are called lost now, though nothing changed.

    A problem is lost now when its newest m probes found nothing, m the fewest whose failures chance explains with at
    most `LOSS_LEVEL`; the chance of that is `luck` itself.

    Args:
        probes: number of probes after the base, each with up to `max_samples` samples of a problem.
    """
    total = 0.0
    for one in base:
        chances = (luck(one.n, one.c, m * max_samples, prior) for m in range(1, probes + 1)) if one.c else ()
        total += next((chance for chance in chances if chance <= LOSS_LEVEL), 0.0)
    return total


def gained_by_chance(base: Iterable[Counts], probes: int, plan: SamplingPlan, prior: tuple[float, float]) -> float:
    """Expected number of problems that the base never solved and that are called gained now, though nothing changed.

    A problem is gained when the first probe that solves it shows counts at which the base would have missed it with a
    chance of at most `LOSS_LEVEL`, and the newest probe solves it.
    """
    unsolved = [one.n for one in base if one.c == 0]
    return sum(unsolved.count(n) * _gained(n, probes, plan, prior) for n in set(unsolved))


def _gained(n: int, probes: int, plan: SamplingPlan, prior: tuple[float, float]) -> float:
    a, b = prior
    p_Q = betaincinv(a, b + n, (np.arange(QUANTILES) + 0.5) / QUANTILES)
    convincing_F = np.array([
        c > 0 and luck(samples, c, n, prior) <= LOSS_LEVEL
        for samples, c in ((samples, samples - f) for f, samples in enumerate(plan.samples_F.tolist()))
    ])
    first_Q = np.array([plan.endpoint_probabilities_F(p) @ convincing_F for p in p_Q.tolist()])
    nothing_Q = (1.0 - p_Q) ** plan.max_samples
    # The newest probe solves it for the first time, or an earlier one does and the newest one again.
    later_Q = nothing_Q ** (probes - 1)
    earlier_Q = sum((nothing_Q**t for t in range(probes - 1)), np.zeros(QUANTILES)) * (1.0 - nothing_Q)
    return float(np.mean(first_Q * (later_Q + earlier_Q)))
