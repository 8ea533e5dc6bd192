"""ReMax: REINFORCE with the reward of the greedy completion as baseline (2310.10505)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from rlvr.algorithms._groups import judged
from rlvr.algorithms._tokens import kept, kl_penalty, per_token, sum_to_go, tokens_to_go
from rlvr.interfaces import Algorithm, Credit, KLRewardConfig, Needs, RolloutBatch, Share
from rlvr.types import UserError


@dataclass(frozen=True)
class ReMaxConfig(KLRewardConfig):
    """With clipped ratios and without KL.

    The authors' code: one rollout per prompt, `kl_coef: 0.05, kl_credit: one-step, gamma: 0.99`.
    """

    kl_credit: Literal["to-go", "one-step"] = "to-go"
    """to-go: a token pays for the KL of all tokens from it on. one-step (authors' code): for its own KL alone."""
    gamma: Share = 1.0
    """Discount per token of the reward difference, with the last token discounted too, as in the authors' code."""

    def __post_init__(self) -> None:
        if self.kl_credit not in ("to-go", "one-step"):
            raise UserError(f"remax: kl_credit is {self.kl_credit!r}, expected 'to-go' or 'one-step'")


class ReMax(Algorithm[ReMaxConfig]):
    """A[i, t] = gamma^(L_i - t) * (r_i - b_g) - kl_coef * k1 to go, t = 0 .. L_i - 1.

    b_g is the reward of the prompt's greedy completion under the same policy. Any group size. For 0/1 rewards all
    rollouts of a prompt share one sign: A is 0 or 1 if the greedy completion is wrong, 0 or -1 if it is right.
    Zero where the rollout or the greedy completion was not judged.
    """

    Config = ReMaxConfig

    @property
    def needs(self) -> Needs:
        return replace(super().needs, greedy_baseline=True)

    def advantages(self, batch: RolloutBatch) -> Credit:
        if batch.baseline_N is None:
            raise ValueError("ReMax needs baseline_N in the RolloutBatch; see Algorithm.needs")
        judged_N = judged(batch) & ~batch.baseline_N.isnan()
        mask_NT = batch.mask_NT.bool() & judged_N.unsqueeze(1)
        kl_NT = kl_penalty(batch, self.config.kl_coef)
        if self.config.kl_credit == "to-go":
            kl_NT = sum_to_go(kl_NT, mask_NT)
        discount_NT = self.config.gamma ** tokens_to_go(mask_NT).to(kl_NT.dtype)
        return Credit(kept(discount_NT * per_token(batch.rewards_N - batch.baseline_N, mask_NT) - kl_NT, mask_NT))
