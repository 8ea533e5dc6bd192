"""CISPO: the importance weight is clipped, not the update, so that no token loses its gradient (2506.13585)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rlvr.algorithms._config import refuse_unused
from rlvr.algorithms._ratio import log_ratio
from rlvr.algorithms.grpo import GRPO, GRPOConfig
from rlvr.interfaces import NotNegative, TokenBatch


@dataclass(frozen=True)
class CISPOConfig(GRPOConfig):
    """No lower clip, as in the paper. The paper gives no number for the upper clip; 5 is TRL's."""

    clip_low: NotNegative = 1.0
    """The weight is clipped at 1 - clip_low; 1 or more: never from below."""
    clip_high: NotNegative = 4.0
    """The weight is clipped at 1 + clip_high."""

    def __post_init__(self) -> None:
        refuse_unused(self, "cispo", "dual_clip")


class CISPO(GRPO):
    """GRPO's advantage A; loss of a token -sg(clip(ratio, 1 - clip_low, 1 + clip_high)) * A * logp.

    sg stops the gradient, which is -clip(ratio) * A for every token. With one update per rollout the ratio is 1 and
    the gradient is GRPO's.
    """

    Config = CISPOConfig

    def token_loss(self, tokens: TokenBatch) -> torch.Tensor:
        weight_BT = log_ratio(tokens).exp().clamp(1 - self.config.clip_low, 1 + self.config.clip_high).detach()
        return -weight_BT * tokens.advantages_BT * tokens.logps_BT
