"""PPO with a learned value function: GAE (1506.02438), clipped objective (1707.06347)."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Annotated

import torch
from annotated_types import Ge

from rlvr.algorithms._groups import judged
from rlvr.algorithms._tokens import kept, kl_penalty, next_token, on_last_token, sum_to_go, whiten
from rlvr.interfaces import (
    Algorithm,
    Count,
    Credit,
    CriticSpec,
    KLRewardConfig,
    LossSpec,
    Needs,
    NotNegative,
    Positive,
    RolloutBatch,
    Share,
)
from rlvr.types import UserError


@dataclass(frozen=True)
class PPOConfig(KLRewardConfig):
    """With gamma = lam = 1 and without KL the advantage is reward minus value, whitened.

    VC-PPO (2503.01491) is `lam: 0.95, lam_value: 1.0, critic_pretraining_steps: 50`. VAPO (2504.05118) adds
    `length_adaptive_alpha: 0.05, positive_nll_coef: 0.1, clip_high: 0.28` and `critic_learning_rate: 2.0e-6`.
    """

    gamma: Share = 1.0
    """Discount per token."""
    lam: Share = 1.0
    """GAE lambda of the advantages. 1 is unbiased; with 0.95, credit fades to 0.95^100 = 0.006 within 100 tokens."""
    lam_value: Share | None = None
    """GAE lambda of the value targets; null: same as lam. 1 gives the plain discounted return."""
    length_adaptive_alpha: Positive | None = None
    """alpha: lam becomes 1 - 1 / max(alpha * L, 1) for a completion of L tokens; null: off."""
    whiten: bool = True
    """true: scale the advantages to mean 0 and variance 1 over all tokens of the batch."""
    value_clip: Positive | None = 0.5
    """In the value loss, values are clipped to within this distance of the old ones; null: no clip."""
    critic_learning_rate: float = 1e-5
    """Learning rate of the value model; the default is ten times the policy's. If it is too low, the advantage is just
    the reward."""
    critic_lr_warmup_steps: Count = 0
    """Updates over which that learning rate rises from 0."""
    critic_pretraining_steps: Count = 0
    """Updates at the start in which only the value model learns; with lam_value 1 its targets are plain returns."""
    critic_updates_per_rollout: Annotated[int, Ge(1)] = 1
    """Critic updates for every update of the policy, on the same rollouts. verl did 8 until April 2025."""
    critic_max_grad_norm: NotNegative = 1.0
    """Gradients of the value model are scaled down to this norm; 0: never."""
    positive_nll_coef: NotNegative = 0.0
    """Weight of the negative log-likelihood of correct completions, averaged over their tokens (VAPO: 0.1)."""

    def __post_init__(self) -> None:
        if not 0 <= self.critic_learning_rate <= 1:
            raise UserError(f"ppo: critic_learning_rate is {self.critic_learning_rate}, expected a number from 0 to 1")


class PPO(Algorithm[PPOConfig]):
    """delta[t] = r[t] + gamma * V[t+1] - V[t];  A[t] = delta[t] + gamma * lam * A[t+1];  returns = A + V; A whitened.

    r[t] is -kl_coef * k1[t], plus the reward on the last token. Every rollout ends there, truncated ones too (V = 0
    beyond), and t + 1 means the next generated token: tool output in between is stepped over. Whitening: mean and
    variance (n - 1) over all tokens, 1e-8 inside the root; returns stay as they are.

    Any group size. gamma = lam = 1: A[t] = R - V[t] before whitening, returns = R.
    Rollouts that were not judged get no credit and leave the loss mask, so that the critic does not learn from them.
    """

    Config = PPOConfig

    @property
    def needs(self) -> Needs:
        return replace(super().needs, values=True)

    @property
    def loss(self) -> LossSpec:
        return replace(super().loss, nll_coef=self.config.positive_nll_coef)

    @property
    def critic(self) -> CriticSpec:
        own = {knob.name: getattr(self.config, f"critic_{knob.name}") for knob in fields(CriticSpec)
               if knob.name != "value_clip"}
        return CriticSpec(value_clip=self.config.value_clip, **own)

    def advantages(self, batch: RolloutBatch) -> Credit:
        if batch.values_NT is None:
            raise ValueError("PPO needs values_NT in the RolloutBatch; see Algorithm.needs")
        config = self.config
        mask_NT = batch.mask_NT.bool() & judged(batch).unsqueeze(1)
        values_NT = kept(batch.values_NT, mask_NT)
        reward_NT = on_last_token(batch.rewards_N, mask_NT) - kl_penalty(batch, config.kl_coef)
        delta_NT = reward_NT + config.gamma * next_token(values_NT, mask_NT) - values_NT

        lam: float | torch.Tensor = config.lam
        if config.length_adaptive_alpha is not None:
            lengths_N = mask_NT.sum(1).to(values_NT.dtype)
            lam = 1 - 1 / (config.length_adaptive_alpha * lengths_N).clamp(min=1)
        advantages_NT = sum_to_go(delta_NT, mask_NT, config.gamma * lam)

        targets_NT = advantages_NT
        if config.lam_value is not None:
            targets_NT = sum_to_go(delta_NT, mask_NT, config.gamma * config.lam_value)
        returns_NT = targets_NT + values_NT
        if config.whiten:
            advantages_NT = whiten(advantages_NT, mask_NT)
        correct_NT = mask_NT & (batch.accuracy_N == 1).unsqueeze(1)
        nll_mask_NT = correct_NT.to(batch.mask_NT.dtype) if config.positive_nll_coef else None
        return Credit(advantages_NT, returns_NT, mask_NT.to(batch.mask_NT.dtype), nll_mask_NT)
