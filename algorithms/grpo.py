"""GRPO: group relative policy optimization (2402.03300)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rlvr.algorithms._groups import group_stats, judged
from rlvr.algorithms._tokens import per_token
from rlvr.interfaces import Algorithm, Credit, LossConfig, NotNegative, RolloutBatch


@dataclass(frozen=True)
class GRPOConfig(LossConfig):
    """The paper's setting, but with the mean over tokens instead of sequences, and without KL.

    The paper's own loss is `aggregation: seq-mean-token-mean, kl_loss_coef: 0.04`.
    Dr. GRPO (2503.20783) is `scale_by_std: false, aggregation: seq-mean-token-sum-norm`.
    """

    scale_by_std: bool = True
    """true: divide by the group's standard deviation. false: very hard and very easy prompts weigh less than others."""
    std_eps: NotNegative = 1e-6
    """Added to that standard deviation."""


class GRPO(Algorithm[GRPOConfig]):
    """A_i = (r_i - mean_g) / (std_g + eps) on every token of rollout i; std with n - 1.

    With c of G correct and p = c / G: A+ = (1 - p) / s, A- = -p / s, s = sqrt(p (1 - p) G / (G - 1)).
    Zero for a group of equal rewards (all right, all wrong) or with fewer than two judged rollouts; its tokens still
    count in a token mean, so the gradient shrinks as more prompts are solved always or never.
    """

    Config = GRPOConfig
    min_group_size = 2

    def advantages(self, batch: RolloutBatch) -> Credit:
        judged_N = judged(batch)
        group = group_stats(batch.rewards_N, batch.group_N, judged_N)
        advantage_N = batch.rewards_N - group.mean_N
        if self.config.scale_by_std:
            advantage_N = advantage_N / (group.std_N + self.config.std_eps)
        advantage_N = torch.where(judged_N & ~group.tied_N, advantage_N, torch.zeros_like(advantage_N))
        return Credit(per_token(advantage_N, batch.mask_NT))
