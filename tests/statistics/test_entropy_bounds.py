"""Bounds of an entropy from the most likely tokens: they hold for any rest, and meet where nothing is left."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rlvr.statistics.entropy_bounds import entropy_bounds


def entropy(p_V: np.ndarray, temperature: float) -> float:
    q_V = p_V ** (1 / temperature)
    q_V /= q_V.sum()
    return float(-(q_V[q_V > 0] * np.log(q_V[q_V > 0])).sum())


@pytest.mark.parametrize("temperature", [0.3, 0.6, 1.0, 1.5])
def test_the_entropy_lies_between_the_bounds(temperature: float) -> None:
    rng = np.random.default_rng(0)
    widths = []
    for trial in range(400):
        size = int(rng.integers(3, 200))
        p_V = np.sort(rng.dirichlet(np.full(size, rng.choice([0.02, 0.1, 1.0, 20.0]))))[::-1]
        k = int(rng.integers(1, min(size, 20) + 1))
        if p_V[k - 1] < 1e-300:
            continue
        low, high = entropy_bounds(np.log(p_V[:k]).tolist(), temperature, size)
        truth = entropy(p_V, temperature)
        assert low - 1e-7 <= truth <= high + 1e-7, trial  # the mass of the rest is a difference: it is rounded
        loose = entropy_bounds(np.log(p_V[:k]).tolist(), temperature, 2 * size)
        assert loose[0] <= truth + 1e-7 and loose[1] >= high - 1e-7
        widths.append(high - low)
    assert len(widths) > 300 and np.median(widths) < 1.0


def test_by_hand() -> None:
    # p = 1/2 1/4 and 1/4 for two others: of 1/4 0 (entropy 1.5 ln 2) up to 1/8 1/8 (1.75 ln 2)
    low, high = entropy_bounds([math.log(0.5), math.log(0.25)], 1.0, 4)
    assert (low, high) == pytest.approx((1.5 * math.log(2), 1.75 * math.log(2)), rel=1e-12)
    # at temperature 1/2 the weights are squared: 1/4 1/16, and 1/16 0 up to 1/64 1/64
    low, high = entropy_bounds([math.log(0.5), math.log(0.25)], 0.5, 4)
    assert low == pytest.approx(entropy(np.array([0.5, 0.25, 0.125, 0.125]), 0.5), abs=0.15)
    assert low <= entropy(np.array([0.5, 0.25, 0.25]), 0.5) <= high


def test_all_tokens_give_the_entropy_itself() -> None:
    p_V = np.array([0.7, 0.2, 0.1])
    for temperature in (0.5, 1.0, 2.0):
        low, high = entropy_bounds(np.log(p_V).tolist(), temperature, 3)
        assert low == high == pytest.approx(entropy(p_V, temperature), rel=1e-12)
    assert entropy_bounds([0.0], 0.6, 1000) == (0.0, 0.0)
    assert entropy_bounds(np.log(p_V).tolist(), 0.0, 3)[0] == pytest.approx(entropy(p_V, 1.0), rel=1e-12)


def test_weights_too_small_for_a_float() -> None:
    """Bug: a temperature of 0.05, or a token that vLLM masks (-9999), was a division by zero."""
    assert entropy_bounds([-0.001, -50.0], 0.05, 1000) == (0.0, 0.0)  # weights e^-0.02 and e^-1000
    p_V = np.array([0.7, 0.29999])
    low, high = entropy_bounds([*np.log(p_V).tolist(), -9999.0], 1.0, 1000)  # the others are no likelier than that
    assert low == high == pytest.approx(entropy(p_V, 1.0), rel=1e-12)
    rng = np.random.default_rng(0)
    for temperature in (0.001, 0.01, 0.05):
        p_V = np.sort(rng.dirichlet(np.full(300, 0.3)))[::-1]
        low, high = entropy_bounds(np.log(p_V[:8]).tolist(), temperature, 300)
        log_q_V = (np.log(p_V[:8]) - np.log(p_V[0])) / temperature
        truth = float(np.log(np.exp(log_q_V).sum()) - (np.exp(log_q_V) * log_q_V).sum() / np.exp(log_q_V).sum())
        assert low - 1e-9 <= truth <= high + 1e-9 and high - low < 0.1
