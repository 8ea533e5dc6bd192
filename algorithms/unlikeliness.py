"""Unlikeliness reward: GRPO that pays right completions more, the less likely they were (2506.02355)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rlvr.algorithms._groups import judged
from rlvr.algorithms._tokens import kept, old_logps
from rlvr.algorithms.grpo import GRPO, GRPOConfig
from rlvr.interfaces import Algorithm, Credit, RolloutBatch
from rlvr.types import UserError


@dataclass(frozen=True)
class UnlikelinessConfig(GRPOConfig):
    """GRPO with the authors' rank penalty. They also made two updates per rollout batch."""

    rank_penalty: float = 0.25
    """Share of its reward that the likeliest completion of a group loses, almost; 0 is GRPO."""

    def __post_init__(self) -> None:
        if not 0 <= self.rank_penalty <= 1:
            raise UserError(f"unlikeliness: rank_penalty is {self.rank_penalty}, expected 0 to 1")


class Unlikeliness(Algorithm[UnlikelinessConfig]):
    """A_i as in GRPO, on the reward r_i * (1 - rank_penalty * rank_i / G).

    rank_i counts the judged rollouts of the group, right or wrong, whose mean token log-probability (policy that
    starts the step) is lower than that of i; G counts the judged ones. Equally likely rollouts share a rank.
    All-right groups keep a signal: the likelier completions are pushed down. All-wrong groups have none.
    """

    Config = UnlikelinessConfig
    min_group_size = 2
    reads_old_logps = True

    def advantages(self, batch: RolloutBatch) -> Credit:
        judged_N = judged(batch)
        likelihood_N = kept(old_logps(batch, self), batch.mask_NT).sum(1) / batch.mask_NT.bool().sum(1).clamp(min=1)
        peers_NN = (batch.group_N.unsqueeze(1) == batch.group_N) & judged_N
        rank_N = (peers_NN & (likelihood_N < likelihood_N.unsqueeze(1))).sum(1)
        share_N = rank_N.to(batch.rewards_N.dtype) / peers_NN.sum(1).clamp(min=1)
        rewards_N = batch.rewards_N * (1 - self.config.rank_penalty * share_N)
        return GRPO(self.config).advantages(replace(batch, rewards_N=rewards_N))
