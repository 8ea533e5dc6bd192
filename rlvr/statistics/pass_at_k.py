"""pass@k from a fixed number of samples per problem.

For samples drawn in rounds that stop early, this formula is biased: use `rlvr.statistics.plan.SamplingPlan.estimate`.
"""

from __future__ import annotations

import math
import operator
from typing import overload

import numpy as np
import numpy.typing as npt


@overload
def pass_at_k(n: int, c: int, k: int) -> float: ...
@overload
def pass_at_k(
    n: int | npt.NDArray[np.integer], c: npt.NDArray[np.integer], k: int | npt.NDArray[np.integer]
) -> npt.NDArray[np.float64]: ...
def pass_at_k(
    n: int | npt.NDArray[np.integer], c: int | npt.NDArray[np.integer], k: int | npt.NDArray[np.integer]
) -> float | npt.NDArray[np.float64]:
    """Unbiased pass@k, `1 - C(n-c, k) / C(n, k)`: Chen et al. 2021 (2107.03374), equation 1.

    Args:
        n: samples drawn, a number fixed before sampling.
        c: correct ones among them, 0 <= c <= n.
        k: 1 <= k <= n.

    Returns:
        Share of the k-subsets of the n samples that hold a correct one, in [0, 1], correctly rounded for every
        n. Arrays broadcast, and a float64 array comes back.

    Raises:
        ValueError: k > n (no unbiased estimate exists), or impossible counts.
        TypeError: a count that is not an integer.
    """
    if np.ndim(n) == np.ndim(c) == np.ndim(k) == 0:
        return _pass_at_k(n, c, k)
    return np.vectorize(_pass_at_k, otypes=[np.float64])(n, c, k)


def _pass_at_k(n: object, c: object, k: object) -> float:
    n, c, k = operator.index(n), operator.index(c), operator.index(k)  # pyright: ignore[reportArgumentType]
    if not 0 <= c <= n:
        raise ValueError(f"pass_at_k: c={c} correct of n={n} samples; expected 0 <= c <= n")
    if not 1 <= k <= n:
        raise ValueError(f"pass_at_k: k={k} with n={n} samples; expected 1 <= k <= n, so draw at least k samples")
    # C(n-c, k) / C(n, k) == C(n-k, c) / C(n, c); integers, so one rounding at the very end.
    few, many = min(c, k), max(c, k)
    total = math.comb(n, few)
    return (total - math.comb(n - many, few)) / total
