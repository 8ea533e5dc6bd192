"""RS-GRPO: risk-seeking policy gradient, between the mean and the maximum of the rewards (2509.24261)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rlvr.algorithms._groups import group_stats, judged
from rlvr.algorithms._tokens import per_token
from rlvr.interfaces import Algorithm, Credit, LossConfig, RolloutBatch
from rlvr.types import UserError


@dataclass(frozen=True)
class RSGRPOConfig(LossConfig):
    """The clipped token loss without KL, and the authors' recommended risk."""

    risk: float = 2.0
    """b, above 0. Towards 0 the objective becomes the mean reward; the larger, the closer it is to the best reward."""

    def __post_init__(self) -> None:
        if not 0 < self.risk <= 20:  # exp(20) still differs from 0 after a division by exp(40) in float32
            raise UserError(f"rs_grpo: risk is {self.risk}, expected a number above 0 and up to 20, such as 2")


class RSGRPO(Algorithm[RSGRPOConfig]):
    """A_i = (exp(b r_i) / mean_g exp(b r) - 1) / b, not divided by a standard deviation.

    The gradient of (1/b) log E exp(b r) as the authors' code estimates it. With c of G right, rewards 0 and 1,
    p = c / G and t = e^b - 1: A+ = (t / b) (1 - p) / (1 + p t), A- = -(t / b) p / (1 + p t): rare right answers weigh
    more than in the mean, frequent ones less. Zero for a group of equal rewards.
    """

    Config = RSGRPOConfig
    min_group_size = 2

    def advantages(self, batch: RolloutBatch) -> Credit:
        judged_N, risk = judged(batch), self.config.risk
        highest_N = group_stats(batch.rewards_N, batch.group_N, judged_N).highest_N  # or large rewards would overflow
        tilted_N = torch.where(judged_N, (risk * (batch.rewards_N - highest_N)).exp(), torch.zeros_like(highest_N))
        group = group_stats(tilted_N, batch.group_N, judged_N)
        advantage_N = (tilted_N / group.mean_N - 1) / risk
        advantage_N = torch.where(judged_N & ~group.tied_N, advantage_N, torch.zeros_like(advantage_N))
        return Credit(per_token(advantage_N, batch.mask_NT))
