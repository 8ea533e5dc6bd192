"""Which rollouts count, and statistics per prompt: by group id, never by position."""

from __future__ import annotations

from typing import NamedTuple

import torch

from rlvr.interfaces import RolloutBatch
from rlvr.types import UserError


class GroupStats(NamedTuple):
    """Statistics of each rollout's group over its judged members, given back per rollout, (N,)."""

    count_N: torch.Tensor
    """Judged members, in the dtype of the values: int64 would divide in torch's default dtype."""
    mean_N: torch.Tensor
    """0 for a group without judged members."""
    std_N: torch.Tensor
    """Unbiased (count - 1); 0 for fewer than two judged members."""
    highest_N: torch.Tensor
    """-inf for a group without judged members."""
    tied_N: torch.Tensor
    """True where all judged members have the same value (also for one or none): such a group carries no signal."""


def judged(batch: RolloutBatch) -> torch.Tensor:
    """True for rollouts with a reward, (N,). Raises UserError on an infinite reward, which no statistic survives."""
    if batch.rewards_N.isinf().any():
        raise UserError("rewards_N holds inf; a reward is finite, or NaN for 'not judged': mend the reward function")
    return ~(batch.rewards_N.isnan() | batch.accuracy_N.isnan())


def group_stats(values_N: torch.Tensor, group_N: torch.Tensor, judged_N: torch.Tensor) -> GroupStats:
    """Count, mean, std and tie of every group. `values_N` is ignored (and may be NaN) where `judged_N` is False."""
    ids, index_N = group_N.unique(return_inverse=True)
    values_N = torch.where(judged_N, values_N, torch.zeros_like(values_N))

    def group_sum(x_N: torch.Tensor) -> torch.Tensor:
        return x_N.new_zeros(len(ids)).index_add(0, index_N, x_N)

    def group_max(x_N: torch.Tensor) -> torch.Tensor:
        x_N = x_N.masked_fill(~judged_N, -torch.inf)
        return x_N.new_full((len(ids),), -torch.inf).scatter_reduce(0, index_N, x_N, "amax")

    count_P = group_sum(judged_N.to(values_N.dtype))
    mean_P = group_sum(values_N) / count_P.clamp(min=1)
    deviation_N = torch.where(judged_N, values_N - mean_P[index_N], torch.zeros_like(values_N))
    std_P = (group_sum(deviation_N.square()) / (count_P - 1).clamp(min=1)).sqrt()
    # Compared on the values themselves: the float mean of eight rewards of 0.9 is not 0.9, so their std is not 0.
    highest_P = group_max(values_N)
    tied_P = (count_P < 2) | (highest_P == -group_max(-values_N))
    return GroupStats(count_P[index_N], mean_P[index_N], std_P[index_N], highest_P[index_N], tied_P[index_N])

