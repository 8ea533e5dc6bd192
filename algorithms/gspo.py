"""GSPO: group sequence policy optimization, one importance ratio per completion (2507.18071)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rlvr.algorithms._config import refuse_unused
from rlvr.algorithms._ratio import MAX_LOG_RATIO, surrogate
from rlvr.algorithms._tokens import kept
from rlvr.algorithms.grpo import GRPO, GRPOConfig
from rlvr.interfaces import Aggregation, NotNegative, TokenBatch


@dataclass(frozen=True)
class GSPOConfig(GRPOConfig):
    """The paper's clip range and mean over sequences."""

    clip_low: NotNegative = 3e-4
    """The sequence ratio is clipped at 1 - clip_low. It moves far less than a token's ratio."""
    clip_high: NotNegative = 4e-4
    """The sequence ratio is clipped at 1 + clip_high."""
    aggregation: Aggregation = "seq-mean-token-mean"
    """How token losses become one number. The paper uses seq-mean-token-mean."""

    def __post_init__(self) -> None:
        refuse_unused(self, "gspo", "dual_clip")


class GSPO(GRPO):
    """GRPO's advantage A; loss max(-A * s, -A * clip(s)) with s_i = exp(mean over t of logp - old_logp).

    On token t the ratio is s_i * exp(logp - sg(logp)), sg stopping the gradient: its value is s_i, and the mean over
    tokens of the gradients is that of s_i. A completion is clipped as a whole. The mean runs over the loss mask.
    With one update per rollout s is 1 and no clip acts.
    """

    Config = GSPOConfig

    def token_loss(self, tokens: TokenBatch) -> torch.Tensor:
        logps_BT, old_logps_BT = kept(tokens.logps_BT, tokens.mask_BT), kept(tokens.old_logps_BT, tokens.mask_BT)
        length_B1 = tokens.mask_BT.bool().sum(1, keepdim=True).clamp(min=1)
        log_ratio_B1 = (logps_BT - old_logps_BT).sum(1, keepdim=True) / length_B1
        log_ratio_BT = log_ratio_B1.detach() + logps_BT - logps_BT.detach()
        ratio_BT = log_ratio_BT.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()
        return surrogate(ratio_BT, tokens.advantages_BT, self.config.clip_low, self.config.clip_high)
