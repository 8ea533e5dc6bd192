"""How much wrong answers accepted by the verifier can add to pass@k, bounded by an audit.

A verifier that accepts a wrong answer with chance e gives a problem that cannot be solved a pass@k of 1 - (1-e)^k:
2.5 points at e = 0.01% and 22.6 points at e = 0.1% for k = 256. The audit that bounds e runs the verifier on answers
known to be wrong; e is a chance per wrong sample, not the share of wrong ones among the accepted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.special import betaincinv

from rlvr.types import Estimate


@dataclass(frozen=True, slots=True)
class FalsePositiveAudit:
    """Result of judging answers that are known to be wrong."""

    wrong_answers: int
    """Answers judged, at least 1: drawn from what the model gives, independently."""
    accepted: int
    """Those the verifier called correct."""
    rate: Estimate
    """Chance that a wrong answer is accepted; `low` is 0, `high` the one-sided bound."""

    def floor(self, k: int) -> float:
        """Largest pass@k of an unsolvable problem that the audit leaves possible: 1 - (1 - high)^k, in [0, 1]."""
        return false_positive_floor(self.rate.high, k)

    def worst_case(self, pass_at_k: float, k: int) -> float:
        """Smallest true mean pass@k that explains a measured mean: (x - floor) / (1 - floor), clipped to [0, 1].

        A sample passes when it solves or is wrongly accepted: fails with (1 - s)(1 - e), so the share left is exact
        for every mixture of problems when e is the same for all.
        """
        if not 0.0 <= pass_at_k <= 1.0:
            raise ValueError(f"worst_case: pass@{k} is {pass_at_k}; expected a mean in [0, 1]")
        left = 1.0 - self.floor(k)
        return max(0.0, 1.0 - (1.0 - pass_at_k) / left) if left > 0.0 else 0.0


def audit(wrong_answers: int, accepted: int) -> FalsePositiveAudit:
    """The audit with the one-sided 95% Clopper-Pearson (1934) upper bound of the false positive rate.

    `high` solves P(Bin(wrong_answers, high) <= accepted) = 5%: it covers at least 95% for every true rate. 1.0 when all
    were accepted. Raises ValueError for impossible counts.
    """
    if not 0 <= accepted <= wrong_answers or wrong_answers < 1:
        raise ValueError(f"audit: {accepted} accepted of {wrong_answers} wrong answers; expected 0 <= accepted <= "
                         "answers and at least one answer")
    return FalsePositiveAudit(
        wrong_answers=wrong_answers,
        accepted=accepted,
        rate=Estimate(accepted / wrong_answers, 0.0, clopper_pearson_upper(accepted, wrong_answers, 0.95)),
    )


def clopper_pearson_upper(hits: int, trials: int, confidence: float) -> float:
    """u with P(Bin(trials, u) <= hits) = 1 - confidence; 1.0 for hits = trials."""
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence={confidence}; expected a number strictly between 0 and 1, such as 0.95")
    return 1.0 if hits == trials else float(betaincinv(hits + 1, trials - hits, confidence))


def false_positive_floor(rate: float, k: int) -> float:
    """pass@k of a problem that is never solved when a wrong sample is accepted with chance `rate`: 1 - (1 - rate)^k."""
    if not 0.0 <= rate <= 1.0 or k < 1:
        raise ValueError(f"false_positive_floor: rate {rate}, k {k}; expected a rate in [0, 1] and k of at least 1")
    return 1.0 if rate == 1.0 else -math.expm1(k * math.log1p(-rate))
