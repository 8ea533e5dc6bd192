"""NSR, PSR and W-REINFORCE: learning from wrong completions, from right ones, or from both (2506.01347)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rlvr.algorithms._groups import judged
from rlvr.algorithms._tokens import per_token
from rlvr.interfaces import Algorithm, Credit, LossConfig, RolloutBatch
from rlvr.types import UserError


@dataclass(frozen=True)
class NSRConfig(LossConfig):
    """Negative sample reinforcement: lower the probability of wrong completions and leave the correct ones out."""

    positive_weight: float = 0.0
    """Advantage of a right completion; 0 takes right completions out of the batch."""
    negative_weight: float = 1.0
    """Minus the advantage of a wrong completion; 0 takes wrong completions out of the batch."""

    def __post_init__(self) -> None:
        if min(self.positive_weight, self.negative_weight) < 0 or self.positive_weight == self.negative_weight == 0:
            raise UserError(
                f"positive_weight={self.positive_weight}, negative_weight={self.negative_weight}: "
                "expected two weights of 0 or more, not both 0"
            )


@dataclass(frozen=True)
class PSRConfig(NSRConfig):
    """Positive sample reinforcement: raise the probability of correct completions. It narrows the policy fast and
    lowers pass@k at large k."""

    positive_weight: float = 1.0
    negative_weight: float = 0.0


@dataclass(frozen=True)
class WReinforceConfig(NSRConfig):
    """W-REINFORCE: both, the correct completions with a small weight."""

    positive_weight: float = 0.1


class NSR(Algorithm[NSRConfig]):
    """NSR: learn from wrong completions alone (2506.01347).

    A_i = +positive_weight if completion i is right, -negative_weight if it is wrong, on every token.
    By accuracy, not by shaped reward. As in the authors' code, a class of weight 0 leaves the batch: its tokens count
    in no denominator, so the gradient does not shrink with the share of the other class. No groups, any group size.
    Rollouts that were not judged leave too. A batch without the kept class has no tokens and no gradient.
    """

    Config = NSRConfig

    def advantages(self, batch: RolloutBatch) -> Credit:
        weight_N = torch.full_like(batch.rewards_N, -self.config.negative_weight)
        weight_N[batch.accuracy_N == 1] = self.config.positive_weight
        kept_NT = batch.mask_NT.bool() & (judged(batch) & (weight_N != 0)).unsqueeze(1)
        return Credit(per_token(weight_N, kept_NT), loss_mask_NT=kept_NT.to(batch.mask_NT.dtype))


class PSR(NSR):
    """PSR: learn from right completions alone (2506.01347).

    NSR's rule with the wrong completions left out: A = +positive_weight on right ones.
    """

    Config = PSRConfig


class WReinforce(NSR):
    """W-REINFORCE: learn from wrong completions, and weakly from right ones (2506.01347).

    NSR's rule with both classes: A = +0.1 on right completions, -1 on wrong ones.
    """

    Config = WReinforceConfig
