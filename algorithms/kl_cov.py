"""KL-Cov: GRPO with a penalty on the tokens that would lower the entropy most (2505.22617)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from rlvr.algorithms._config import refuse_unused
from rlvr.algorithms._groups import judged
from rlvr.algorithms._ratio import log_ratio
from rlvr.algorithms._tokens import covariance, old_logps
from rlvr.algorithms.grpo import GRPO, GRPOConfig
from rlvr.interfaces import Algorithm, Credit, NotNegative, RolloutBatch, TokenBatch
from rlvr.types import UserError


@dataclass(frozen=True)
class KLCovConfig(GRPOConfig):
    """The authors' setting for 7B models. Nothing is clipped, so setting a clip range is an error."""

    share: float = 2e-3
    """Tokens with the penalty, as a share of all tokens of the step; at least one."""
    penalty_coef: NotNegative = 1.0
    """Weight of the penalty |logp - old_logp| in the loss of these tokens."""

    def __post_init__(self) -> None:
        refuse_unused(self, "kl_cov", "clip_low", "clip_high", "dual_clip")
        if not 0 < self.share <= 1:
            raise UserError(f"kl_cov: share is {self.share}, expected 0 < share <= 1")


class KLCov(Algorithm[KLCovConfig]):
    """GRPO's advantage A; loss -A * ratio, plus penalty_coef * |logp - old_logp| on the tokens of highest cov.

    cov = (A - mean A) * (logp - mean logp), means over all tokens of judged rollouts of the step, logp of the policy
    that starts it. Only tokens of positive cov get the penalty, so a step without signal has none.

    With one update per rollout the ratio is 1 and the penalty has no gradient: this is then GRPO. It acts from the
    second update on.
    """

    Config = KLCovConfig
    min_group_size = 2
    reads_old_logps = True

    def advantages(self, batch: RolloutBatch) -> Credit:
        credit = GRPO(self.config).advantages(batch)
        mask_NT = batch.mask_NT.bool() & judged(batch).unsqueeze(1)
        held_NT = highest(credit.advantages_NT, old_logps(batch, self), mask_NT, share=self.config.share)
        return replace(credit, extras_NT={"held": held_NT.to(credit.advantages_NT.dtype)})

    def token_loss(self, tokens: TokenBatch) -> torch.Tensor:
        log_ratio_BT = log_ratio(tokens)
        penalty_BT = self.config.penalty_coef * log_ratio_BT.abs()
        return -tokens.advantages_BT * log_ratio_BT.exp() + tokens.extras_BT["held"] * penalty_BT


def highest(
    advantages_NT: torch.Tensor, logps_NT: torch.Tensor, mask_NT: torch.Tensor, *, share: float
) -> torch.Tensor:
    """True on the max(1, share of all tokens) tokens of highest covariance, if it is positive; ties: earlier rows."""
    cov_NT = covariance(advantages_NT, logps_NT, mask_NT)
    count = max(1, int(share * int(mask_NT.bool().sum())))
    chosen = cov_NT.flatten().argsort(descending=True, stable=True)[:count]
    held = torch.zeros_like(cov_NT, dtype=torch.bool).flatten()
    held[chosen] = True
    return held.view_as(cov_NT) & (cov_NT > 0)
