"""pass@k of a fixed number of samples against exhaustive truth."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest

from rlvr.statistics.pass_at_k import pass_at_k


def test_every_small_case_is_the_share_of_subsets_with_a_success():
    """Catches any wrong index in the binomials: all (n, c, k) up to n = 7, by listing the k-subsets."""
    for n in range(1, 8):
        for c in range(n + 1):
            for k in range(1, n + 1):
                subsets = list(combinations(range(n), k))
                hits = sum(any(sample < c for sample in subset) for subset in subsets)
                assert pass_at_k(n, c, k) == hits / len(subsets), (n, c, k)


def test_one_success_gives_k_over_n_exactly():
    """Catches products and logarithms that lose the last digit."""
    assert pass_at_k(1024, 1, 256) == 0.25
    assert pass_at_k(10**9, 1, 1) == 1e-9


@pytest.mark.parametrize(("n", "c", "k"), [(10**6, 3, 1000), (5000, 2500, 2), (4096, 17, 2048), (10**5, 40, 30)])
def test_large_n_is_correctly_rounded(n: int, c: int, k: int):
    """Catches overflow and cancellation: the product form in rational arithmetic is the truth."""
    unsolved = Fraction(1)
    for i in range(min(c, k)):
        unsolved *= Fraction(n - max(c, k) - i, n - i)
    assert pass_at_k(n, c, k) == float(1 - unsolved)


def test_unbiased_for_every_success_probability():
    """Catches an estimator that is right per subset but not on average, such as 1 - (1 - c/n)^k."""
    n = 12
    for p in (0.01, 0.1, 0.5, 0.9):
        for k in (1, 3, 12):
            mean = math.fsum(
                math.comb(n, c) * p**c * (1 - p) ** (n - c) * pass_at_k(n, c, k) for c in range(n + 1)
            )
            assert mean == pytest.approx(1 - (1 - p) ** k, abs=1e-14)


def test_no_success_is_0_and_few_failures_are_1():
    assert pass_at_k(100, 0, 100) == 0.0
    assert pass_at_k(100, 51, 50) == 1.0
    assert pass_at_k(8, 4, 4) == 69 / 70


def test_arrays_broadcast():
    """Catches a vectorised path that differs from the scalar one."""
    values = pass_at_k(4, np.array([[0], [1], [3]]), np.array([1, 2]))
    np.testing.assert_array_equal(values, [[0.0, 0.0], [0.25, 0.5], [0.75, 1.0]])
    assert pass_at_k(4, np.array([], dtype=int), 2).shape == (0,)


@pytest.mark.parametrize(
    ("n", "c", "k", "message"),
    [(8, 1, 9, "k=9 with n=8"), (8, 1, 0, "k=0"), (8, 9, 1, "c=9 correct of n=8"), (8, -1, 1, "c=-1")],
)
def test_impossible_counts_are_refused(n: int, c: int, k: int, message: str):
    """Catches the silent 1.0 that a short-circuit on n - c < k returns for k > n."""
    with pytest.raises(ValueError, match=message):
        pass_at_k(n, c, k)
    with pytest.raises(ValueError, match=message):
        pass_at_k(n, np.array([c]), k)


def test_fractional_counts_are_refused():
    with pytest.raises(TypeError):
        pass_at_k(8, 1.5, 2)  # pyright: ignore[reportCallIssue, reportArgumentType]
