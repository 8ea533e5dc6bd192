"""What the most likely tokens alone say of the entropy of a token's distribution: bounds that always hold.

An endpoint reports the log-probabilities of its k most likely tokens at temperature 1. The others share what mass is
left, and none of them is more likely than the k-th. At temperature T a token's weight is q = p^a with a = 1/T. Let A be
the sum of -q log q over the k tokens, Z that of q, and S the weight of the others, of which each has at most q_k. Then

    entropy = log(Z + S) + (A + R) / (Z + S),  where R, the others' sum of -q log q, has
    S log(1/q_k) <= R <= S log(m/S) for m other tokens,

and S lies between that of a rest in as few tokens as possible, r q_k / p_k, and that of an even rest, m (r/m)^a. Both
bounds rise with S: log(1/q_k) is at least A/Z, as no q in A is below q_k.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def entropy_bounds(logps: Sequence[float], temperature: float, vocabulary: int) -> tuple[float, float]:
    """Bounds, in nats, of the entropy of softmax(log p / temperature).

    Args:
        logps: log-probabilities at temperature 1 of the most likely tokens, in any order; at least one.
        temperature: 0 (greedy) is read at 1, as samplers here do.
        vocabulary: number of tokens there are, or more: it widens the upper bound by little.

    Both bounds are equal when all tokens are given.
    """
    a = 1.0 / (temperature or 1.0)
    # Relative to the most likely token, which changes no entropy: at a low temperature the weights themselves are 0.
    top = max(logps)
    weights = [math.exp(a * (logp - top)) for logp in logps]
    z = math.fsum(weights)
    given = math.fsum(q * a * (top - logp) for q, logp in zip(weights, logps, strict=True) if q > 0)
    others = vocabulary - len(logps)
    p_k, q_k = math.exp(min(logps)), min(weights)
    rest = min(max(1.0 - math.fsum(math.exp(logp) for logp in logps), 0.0), others * p_k)  # more is rounding
    whole = math.log(z) + given / z
    if others <= 0 or rest <= 1e-15:
        return whole, whole
    few, even = rest * q_k / p_k, others * math.exp(a * (math.log(rest / others) - top))
    least, most = min(few, even), max(few, even)
    if q_k == 0 or most == 0:  # too small for a float
        return whole, whole
    low = math.log(z + least) + (given + least * -math.log(q_k)) / (z + least)
    high = math.log(z + most) + (given + most * math.log(others / most)) / (z + most)
    return max(low, 0.0), max(high, low)
