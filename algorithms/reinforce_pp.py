"""REINFORCE++: REINFORCE with advantages normalised over the whole batch (2501.03262)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch

from rlvr.algorithms._groups import group_stats, judged
from rlvr.algorithms._tokens import kl_penalty, on_last_token, per_token, sum_to_go, whiten
from rlvr.interfaces import Algorithm, Credit, KLRewardConfig, Needs, RolloutBatch, Share
from rlvr.types import UserError


@dataclass(frozen=True)
class ReinforcePPConfig(KLRewardConfig):
    """The base variant without KL. The paper's -baseline variant adds `kl_loss_kind: k2` with a small kl_loss_coef."""

    variant: Literal["base", "baseline"] = "base"
    """base: no groups, any group size. baseline: first subtract the mean reward of the group."""
    gamma: Share = 1.0
    """Discount per token in the base variant. Below 1, little reward reaches the start of a long completion."""

    def __post_init__(self) -> None:
        if self.variant not in ("base", "baseline"):
            raise UserError(f"reinforce_pp: variant is {self.variant!r}, expected 'base' or 'baseline'")
        if self.variant == "baseline" and self.gamma != 1:
            raise UserError(f"reinforce_pp: gamma={self.gamma} has no effect with variant 'baseline'; remove it")


class ReinforcePP(Algorithm[ReinforcePPConfig]):
    """A = (x - mean) / sqrt(var + 1e-8), mean and var over all tokens of the batch (var with n - 1).

    base: x[i, t] = sum over s >= t of gamma^(s - t) * (r_i on the last token - kl_coef * k1[i, s]). Long completions
    weigh more in mean and var; all-correct groups get positive and all-wrong groups negative credit.
    baseline: x[i, t] = r_i - kl_coef * sum_s k1[i, s] - mean_g. The second centering is over tokens, so groups of
    equal rewards share a small common offset when lengths differ.

    A batch of equal rewards gives 0. One success among wrong rollouts gets about 1 / sqrt(its share of the tokens).
    Rollouts that were not judged get 0 and do not count in mean and var.
    """

    Config = ReinforcePPConfig

    @property
    def needs(self) -> Needs:
        return replace(super().needs, min_group_size=2 if self.config.variant == "baseline" else 1)

    def advantages(self, batch: RolloutBatch) -> Credit:
        judged_N = judged(batch)
        mask_NT = batch.mask_NT.bool() & judged_N.unsqueeze(1)
        kl_NT = kl_penalty(batch, self.config.kl_coef)
        if self.config.variant == "base":
            reward_NT = on_last_token(batch.rewards_N, mask_NT) - kl_NT
            return Credit(whiten(sum_to_go(reward_NT, mask_NT, self.config.gamma), mask_NT))
        reward_N = batch.rewards_N - kl_NT.sum(1)
        group = group_stats(reward_N, batch.group_N, judged_N)
        centered_N = torch.where(group.tied_N, torch.zeros_like(reward_N), reward_N - group.mean_N)
        return Credit(whiten(per_token(centered_N, mask_NT), mask_NT))
