"""Clip-Cov: GRPO without gradient on a few of the tokens that would lower the entropy most (2505.22617)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from rlvr.algorithms._config import refuse_unused
from rlvr.algorithms._groups import judged
from rlvr.algorithms._random import generator
from rlvr.algorithms._ratio import log_ratio, surrogate
from rlvr.algorithms._tokens import covariance, old_logps
from rlvr.algorithms.grpo import GRPO, GRPOConfig
from rlvr.interfaces import Algorithm, Credit, RolloutBatch, TokenBatch
from rlvr.types import UserError


@dataclass(frozen=True)
class ClipCovConfig(GRPOConfig):
    """The authors' setting."""

    share: float = 2e-4
    """Tokens without gradient, as a share of all tokens of the step; at least one if there are any in the band."""
    cov_low: float = 1.0
    """Lower end of the band of covariances that they are drawn from."""
    cov_high: float = 5.0
    """Upper end of that band."""

    def __post_init__(self) -> None:
        refuse_unused(self, "clip_cov", "dual_clip")
        if not 0 < self.share <= 1 or self.cov_low >= self.cov_high:
            raise UserError(
                f"clip_cov: share={self.share}, cov_low={self.cov_low}, cov_high={self.cov_high}: "
                "expected 0 < share <= 1 and cov_low < cov_high"
            )


class ClipCov(Algorithm[ClipCovConfig]):
    """GRPO's advantage A and clipped loss; loss 0 on a random share of the tokens with cov_low < cov < cov_high.

    cov = (A - mean A) * (logp - mean logp), means over all tokens of judged rollouts of the step, logp of the policy
    that starts it. A likely token with a high A (or an unlikely one with a low A) has a high cov and narrows the
    policy. Tokens without gradient still count in the denominators. If the band is empty, no token is drawn.
    """

    Config = ClipCovConfig
    min_group_size = 2
    reads_old_logps = True

    def advantages(self, batch: RolloutBatch) -> Credit:
        config = self.config
        credit = GRPO(config).advantages(batch)
        mask_NT = batch.mask_NT.bool() & judged(batch).unsqueeze(1)
        silent_NT = draw_from_band(credit.advantages_NT, old_logps(batch, self), mask_NT, share=config.share,
                                   low=config.cov_low, high=config.cov_high, seed=batch.seed)
        return replace(credit, extras_NT={"silent": silent_NT.to(credit.advantages_NT.dtype)})

    def token_loss(self, tokens: TokenBatch) -> torch.Tensor:
        loss_BT = surrogate(log_ratio(tokens).exp(), tokens.advantages_BT, self.config.clip_low, self.config.clip_high)
        return torch.where(tokens.extras_BT["silent"] != 0, torch.zeros_like(loss_BT), loss_BT)


def draw_from_band(
    advantages_NT: torch.Tensor,
    logps_NT: torch.Tensor,
    mask_NT: torch.Tensor,
    *,
    share: float,
    low: float,
    high: float,
    seed: int,
) -> torch.Tensor:
    """True on max(1, share of all tokens) random tokens with low < cov < high, or on all of those if fewer.

    The draw is a function of `seed` and of the covariances in rising order, so it does not depend on the order of the
    rows (tokens of equal cov keep theirs), on padding or on the device.
    """
    cov_NT = covariance(advantages_NT, logps_NT, mask_NT)
    band = ((cov_NT > low) & (cov_NT < high) & mask_NT.bool()).flatten().nonzero().squeeze(1)
    band = band[cov_NT.flatten()[band].argsort(stable=True)]
    count = max(1, int(share * int(mask_NT.bool().sum())))
    chosen = torch.randperm(len(band), generator=generator(seed))[:count].to(band.device)
    drawn = torch.zeros_like(cov_NT, dtype=torch.bool).flatten()
    drawn[band[chosen]] = True
    return drawn.view_as(cov_NT)
