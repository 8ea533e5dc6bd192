"""GPG: group policy gradient, without ratio, clip or standard deviation (2504.02546)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rlvr.algorithms._config import refuse_unused
from rlvr.algorithms._groups import group_stats, judged
from rlvr.algorithms._tokens import per_token
from rlvr.interfaces import Algorithm, Credit, LossConfig, RolloutBatch, TokenBatch


@dataclass(frozen=True)
class GPGConfig(LossConfig):
    """The paper's setting with F = 1. There is no ratio and so no clip: use one update per rollout batch."""

    def __post_init__(self) -> None:
        refuse_unused(self, "gpg", "clip_low", "clip_high", "dual_clip")


class GPG(Algorithm[GPGConfig]):
    """A_i = alpha * (r_i - mean_g), alpha = judged rollouts / rollouts with a reward other than 0; loss -A * logp.

    alpha makes up for rollouts without signal when rewards are rare. Zero for a group of equal rewards, or with fewer
    than two judged rollouts, and for a batch without any reward.
    """

    Config = GPGConfig
    min_group_size = 2

    def advantages(self, batch: RolloutBatch) -> Credit:
        judged_N = judged(batch)
        group = group_stats(batch.rewards_N, batch.group_N, judged_N)
        alpha = judged_N.sum() / (judged_N & (batch.rewards_N != 0)).sum().clamp(min=1).to(batch.rewards_N.dtype)
        advantage_N = alpha * (batch.rewards_N - group.mean_N)
        advantage_N = torch.where(judged_N & ~group.tied_N, advantage_N, torch.zeros_like(advantage_N))
        return Credit(per_token(advantage_N, batch.mask_NT))

    def token_loss(self, tokens: TokenBatch) -> torch.Tensor:
        return -tokens.advantages_BT * tokens.logps_BT
