"""MaxRL: maximum likelihood reinforcement learning, the advantage divided by the group's mean (2602.02710)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rlvr.algorithms._groups import group_stats, judged
from rlvr.algorithms._tokens import per_token
from rlvr.interfaces import Algorithm, Credit, LossConfig, RolloutBatch


@dataclass(frozen=True)
class MaxRLConfig(LossConfig):
    """The clipped token loss without KL. The group size sets how close the objective is to log-likelihood."""


class MaxRL(Algorithm[MaxRLConfig]):
    """A_i = (a_i - mean_g) / mean_g, a the accuracy: with c of G right, A+ = (G - c) / c and A- = -1.

    The gradient of log pass@1 instead of pass@1, truncated at order G: a mixture of the gradients of pass@k for
    k = 1 .. G with weights 1 / k. Derived for outcomes 0 and 1, so shaped rewards are not read.
    Zero for all right, for all wrong (mean 0) and for groups with fewer than two judged rollouts.
    """

    Config = MaxRLConfig
    min_group_size = 2

    def advantages(self, batch: RolloutBatch) -> Credit:
        judged_N = judged(batch)
        group = group_stats(batch.accuracy_N, batch.group_N, judged_N)
        advantage_N = (batch.accuracy_N - group.mean_N) / group.mean_N
        advantage_N = torch.where(judged_N & ~group.tied_N, advantage_N, torch.zeros_like(advantage_N))
        return Credit(per_token(advantage_N, batch.mask_NT))
