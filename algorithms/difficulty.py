"""Difficulty-weighted GRPO: more credit for right answers to hard problems (GRPO-LEAD, 2504.09696)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from rlvr.algorithms._groups import group_stats, judged
from rlvr.algorithms.grpo import GRPO, GRPOConfig
from rlvr.interfaces import Algorithm, Credit, Positive, RolloutBatch, Share


@dataclass(frozen=True)
class DifficultyConfig(GRPOConfig):
    """GRPO's settings, and the paper's logistic weight."""

    easy: Positive = 0.4
    """Weight where all rollouts are right, above 0."""
    hard: Positive = 1.5
    """Weight where none is."""
    middle: Share = 0.75
    """Accuracy of the group at which the weight is half-way between the two."""
    steepness: Positive = 10.0
    """How fast it changes there."""


class Difficulty(Algorithm[DifficultyConfig]):
    """A_i = w(p) A_i of GRPO where it is positive, w(1 - p) A_i where it is negative, p the accuracy of the group.

    w(p) = easy + (hard - easy) / (1 + exp(steepness (p - middle))): right answers count most where few are right, wrong
    ones where few are wrong. The weighting of GRPO-LEAD as a reproduction's code has it; its reward of short answers
    and its penalty of wrong ones are left out.
    """

    Config = DifficultyConfig
    min_group_size = 2

    def advantages(self, batch: RolloutBatch) -> Credit:
        judged_N = judged(batch)
        solved_N = group_stats(batch.accuracy_N, batch.group_N, judged_N).mean_N
        credit = GRPO(self.config).advantages(batch)
        right_NT = credit.advantages_NT > 0
        weight_NT = torch.where(right_NT, self._weight(solved_N).unsqueeze(1), self._weight(1 - solved_N).unsqueeze(1))
        return replace(credit, advantages_NT=credit.advantages_NT * weight_NT)

    def _weight(self, solved_N: torch.Tensor) -> torch.Tensor:
        config = self.config
        return config.easy + (config.hard - config.easy) * torch.sigmoid(config.steepness * (config.middle - solved_N))
