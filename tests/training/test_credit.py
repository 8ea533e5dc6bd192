"""From gathered rollouts to credit, without a trainer: hand-computed numbers."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from rlvr.algorithms.rloo import RLOO, RLOOConfig
from rlvr.interfaces import Credit, RolloutBatch
from rlvr.training.credit import (
    assign_credit,
    check_credit,
    count_windows,
    credit_tensors,
    rollout_batch,
    stopped,
    write_window_counts,
)
from rlvr.training.reward_functions import ShapedReward
from rlvr.types import NonFiniteError, UserError

MASK = torch.tensor([[1, 1, 0], [1, 1, 1], [1, 0, 0], [1, 1, 1]])
STOPPED = torch.tensor([True, False, True, True])
REWARDS = torch.tensor([[1.0], [0.0], [0.0], [0.0]])


def batch(**changes: Any) -> RolloutBatch:
    """Two groups of two rollouts of up to three tokens; the second rollout was cut."""
    given: dict[str, Any] = {"mask_NT": MASK, "stopped_N": STOPPED, "rewards_NF": REWARDS, "group_size": 2,
                             "max_length": 3, "seed": 0}
    return rollout_batch(**(given | changes))


def test_a_rollout_stopped_if_its_last_generated_token_is_an_eos() -> None:
    ids = torch.tensor([[5, 9, 9], [9, 5, 6], [8, 9, 9]])  # 8 and 9 end a completion; 9 is the padding too
    mask = torch.tensor([[1, 1, 0], [1, 1, 1], [1, 0, 0]])
    assert stopped(ids, mask, [8, 9]).tolist() == [True, False, True]
    mask = torch.tensor([[1, 0, 1], [1, 1, 0], [1, 0, 0]])  # tool output in the middle is no generated token
    assert stopped(ids, mask, [9]).tolist() == [True, False, False]


def test_the_batch_names_groups_lengths_and_what_was_cut() -> None:
    found = batch()
    assert found.group_N.tolist() == [0, 0, 1, 1]
    assert found.lengths_N is not None and found.lengths_N.tolist() == [2, 3, 1, 3]
    assert found.truncated_N is not None and found.truncated_N.tolist() == [False, True, False, False]
    assert found.mask_NT.dtype == torch.float32 and torch.equal(found.mask_NT, MASK.float())
    assert found.old_logps_NT is None and found.baseline_N is None


def test_what_is_masked_leaves_the_loss_and_stays_in_the_statistics() -> None:
    masked = batch(truncated="mask", used_N=torch.tensor([True, True, False, False]))
    assert masked.mask_NT.sum(1).tolist() == [2, 0, 0, 0]  # the second is cut, the last two are not trained on
    assert masked.lengths_N is not None and masked.lengths_N.tolist() == [2, 3, 1, 3]
    assert masked.accuracy_N.tolist() == [1, 0, 0, 0]


def test_shaped_rewards_join_the_accuracy() -> None:
    terms = [ShapedReward("short", lambda text, tokens: 0.0, weight=0.5),
             ShapedReward("tags", lambda text, tokens: 0.0, weight=0.25, only_if_correct=False)]
    rewards = torch.tensor([[1.0, 1.0, 1.0], [0.0, 1.0, 1.0], [float("nan"), 1.0, 1.0], [1.0, -1.0, 0.0]])
    found = batch(rewards_NF=rewards, baseline_NF=rewards[[3, 3, 0, 0]], terms=terms)
    assert found.rewards_N[[0, 1, 3]].tolist() == [1.75, 0.25, 0.5] and found.rewards_N[2].isnan()
    assert found.accuracy_N[[0, 1, 3]].tolist() == [1, 0, 1]
    assert found.baseline_N is not None and found.baseline_N.tolist() == [0.5, 0.5, 1.75, 1.75]


def test_the_credit_is_the_algorithms() -> None:
    # RLOO of two: reward minus that of the other rollout, on every generated token.
    credit = assign_credit(RLOO(RLOOConfig()), batch())
    assert credit.advantages_NT.tolist() == [[1, 1, 0], [-1, -1, -1], [0, 0, 0], [0, 0, 0]]

    class PerRollout(RLOO):
        def advantages(self, batch: RolloutBatch) -> Credit:
            return Credit(super().advantages(batch).advantages_NT[:, 0])

    with pytest.raises(UserError, match=r"PerRollout.advantages: found a tensor of shape \(4,\), expected one credit"):
        assign_credit(PerRollout(RLOOConfig()), batch())


def test_a_rank_gets_its_rows_at_its_width() -> None:
    tokens = torch.arange(12.0).view(4, 3)
    credit = Credit(tokens, returns_NT=-tokens, nll_mask_NT=tokens > 9, extras_NT={"twice": 2 * tokens})
    second = torch.ones(2, 2, dtype=torch.long)  # rank 1 of 2, whose longest completion has two tokens
    found = credit_tensors(batch(), credit, second, 1)
    assert found["advantages"].tolist() == [[6, 7], [9, 10]] and found["returns"].tolist() == [[-6, -7], [-9, -10]]
    assert found["extra/twice"].tolist() == [[12, 14], [18, 20]]
    assert found["loss_mask"].tolist() == [[1, 0], [1, 1]] and found["nll_mask"].tolist() == [[0, 0], [0, 1]]
    assert found["loss_mask"].dtype == found["nll_mask"].dtype == torch.long
    replaced = credit_tensors(batch(), Credit(tokens, loss_mask_NT=torch.zeros(4, 3)), second, 0)
    assert replaced["loss_mask"].sum() == 0 and replaced.keys() == {"advantages", "loss_mask"}


def test_windows_count_tokens_and_sequences() -> None:
    masks = [[[1, 1, 0], [0, 0, 0]], [[1, 1, 1], [1, 0, 0]], [[0, 0, 0], [0, 0, 0]], [[1, 0, 0], [1, 1, 0]]]
    slices: list[dict[str, Any]] = [{"loss_mask": torch.tensor(mask)} for mask in masks]
    # two updates of two micro-batches: 2 + 4 and 0 + 3 tokens; 1 + 2 and 0 + 2 sequences with tokens, of 4 each
    assert count_windows(slices, 2).tolist() == [[6, 3, 4, 0], [3, 2, 4, 0]]
    for piece in slices:
        piece["nll_mask"] = piece["loss_mask"]
    assert count_windows(slices, 4).tolist() == [[9, 5, 8, 9]]
    write_window_counts(slices, 2, lambda counts: 2 * counts)  # as if two ranks counted the same
    assert [piece["window_counts"].tolist() for piece in slices] == [[12, 6, 8, 12]] * 2 + [[6, 4, 8, 6]] * 2


def test_all_tensors_of_the_credit_are_looked_at() -> None:
    good, bad = torch.zeros(3, 2), torch.tensor([[0.0, 0.0], [float("inf"), float("nan")], [0.0, float("nan")]])
    check_credit(Credit(good, returns_NT=good, extras_NT={"x": good}), "A")
    for credit, name in ((Credit(bad), "advantages_NT"), (Credit(good, returns_NT=bad), "returns_NT"),
                         (Credit(good, extras_NT={"x": bad}), r"extras_NT\['x'\]")):
        with pytest.raises(NonFiniteError, match=f"A.advantages: {name} is NaN or infinite for 2 of 3 .* number 1;"):
            check_credit(credit, "A")
