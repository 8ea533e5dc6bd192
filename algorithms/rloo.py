"""RLOO: REINFORCE with a leave-one-out baseline (2402.14740)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rlvr.algorithms._groups import group_stats, judged
from rlvr.algorithms._tokens import kl_penalty, per_token
from rlvr.interfaces import Algorithm, Credit, KLRewardConfig, RolloutBatch


@dataclass(frozen=True)
class RLOOConfig(KLRewardConfig):
    """The token-level form (clipped token ratios, mean over tokens), without KL.

    The paper treats a completion as one action: `aggregation: seq-mean-token-sum` with one update per rollout.
    """


class RLOO(Algorithm[RLOOConfig]):
    """A_i = r_i - mean of the group's other rewards = G / (G - 1) * (r_i - mean_g) on every token of rollout i.

    r_i is the reward minus kl_coef * sum_t k1. With c of G correct: A+ = (G - c) / (G - 1), A- = -c / (G - 1).
    Zero for a group of equal rewards or with fewer than two judged rollouts. Nothing is divided by a standard
    deviation, so |A| and the gradient shrink as the group's rewards agree.
    """

    Config = RLOOConfig
    min_group_size = 2

    def advantages(self, batch: RolloutBatch) -> Credit:
        judged_N = judged(batch)
        reward_N = batch.rewards_N - kl_penalty(batch, self.config.kl_coef).sum(1)
        group = group_stats(reward_N, batch.group_N, judged_N)
        advantage_N = group.count_N / (group.count_N - 1).clamp(min=1) * (reward_N - group.mean_N)
        advantage_N = torch.where(judged_N & ~group.tied_N, advantage_N, torch.zeros_like(advantage_N))
        return Credit(per_token(advantage_N, batch.mask_NT))
