"""pass@k of training prompts: by hand, unbiased, and the prediction against the truth it was drawn from."""

from __future__ import annotations

import numpy as np
import pytest

from rlvr.statistics.rollout_boundary import predicted_pass_at_k, rollout_pass_at_k


def test_by_hand() -> None:
    # Groups of 4 with 0, 1 and 4 right: pass@2 = 0, 1 - C(3,2)/C(4,2) = 1/2, 1; pass@4 = 0, 1, 1.
    assert rollout_pass_at_k([0, 1, 4], 4) == {2: pytest.approx(0.5), 4: pytest.approx(2 / 3)}
    assert list(rollout_pass_at_k([1, 2], 6)) == [2, 4, 6] and list(rollout_pass_at_k([1], 3)) == [2, 3]
    assert rollout_pass_at_k([], 8) == {} == rollout_pass_at_k([1, 0], 1)


def test_unbiased_and_the_interval_covers_what_the_shape_allows() -> None:
    """Success probabilities of Beta(0.4, 1.2), for which E pass@256 = 1 - B(a, b + 256) / B(a, b) = 0.8943."""
    random, truth = np.random.default_rng(1), 0.8942516
    found, covered = [], 0
    for _ in range(60):
        correct = random.binomial(8, random.beta(0.4, 1.2, 64))
        found.append(rollout_pass_at_k(correct.tolist(), 8)[8])
        predicted = predicted_pass_at_k(correct.tolist(), 8)
        assert predicted is not None and predicted.low <= predicted.value <= predicted.high
        covered += predicted.low <= truth <= predicted.high
    # E pass@8 = 1 - prod (1.2 + i) / (1.6 + i), i < 8.
    expected = 1 - np.prod([(1.2 + i) / (1.6 + i) for i in range(8)])
    assert np.mean(found) == pytest.approx(expected, abs=3 * np.std(found) / 60**0.5)
    assert covered >= 51  # 95% of 60 is 57; 51 is four standard deviations below


def test_no_prediction_where_the_counts_say_nothing() -> None:
    assert predicted_pass_at_k([0, 0, 0], 8) is None and predicted_pass_at_k([8, 8], 8) is None
    assert predicted_pass_at_k([4, 0, 8], 256) is None and predicted_pass_at_k([], 8) is None
