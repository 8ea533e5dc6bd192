"""DS-GRPO: differential smoothing, more credit for right answers that are unlikely (2511.19942)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from rlvr.algorithms._groups import judged
from rlvr.algorithms._tokens import kept, old_logps, per_token
from rlvr.algorithms.grpo import GRPO, GRPOConfig
from rlvr.interfaces import Algorithm, Credit, RolloutBatch
from rlvr.types import UserError


@dataclass(frozen=True)
class DSGRPOConfig(GRPOConfig):
    """GRPO's settings, and the strength of the smoothing. The paper tunes it by task; these defaults are ours, for
    answers of tens of tokens. log pi is a sum over tokens, so longer answers want smaller ones."""

    smooth_right: float = 0.01
    """gamma_p, at least 0: how much more an unlikely right answer gets."""
    smooth_wrong: float = 0.01
    """gamma_n, at least 0: how much less a wrong answer gets the less likely it is."""

    def __post_init__(self) -> None:
        if min(self.smooth_right, self.smooth_wrong) < 0:
            raise UserError(f"ds_grpo: smooth_right={self.smooth_right}, smooth_wrong={self.smooth_wrong}: expected "
                            "two numbers of 0 or more; 0 and 0 is GRPO")


class DSGRPO(Algorithm[DSGRPOConfig]):
    """A_i = A_i of GRPO - gamma_p log pi_old(y_i) if y_i is right, + gamma_n log pi_old(y_i) if it is wrong.

    An entropy bonus on right answers and a penalty on wrong ones: eq. 6 of the paper as a reproduction's code has it.
    log pi_old is the sum over the answer's tokens under the policy that starts the step, without gradient. Groups that
    are all right or all wrong get the smoothing alone.
    """

    Config = DSGRPOConfig
    min_group_size = 2
    reads_old_logps = True

    def advantages(self, batch: RolloutBatch) -> Credit:
        logp_N = kept(old_logps(batch, self), batch.mask_NT).sum(1)
        smoothing_N = torch.where(batch.accuracy_N == 1, -self.config.smooth_right * logp_N,
                                  self.config.smooth_wrong * logp_N)
        smoothing_N = torch.where(judged(batch), smoothing_N, torch.zeros_like(smoothing_N))
        credit = GRPO(self.config).advantages(batch)
        return replace(credit, advantages_NT=credit.advantages_NT + per_token(smoothing_N, batch.mask_NT))
