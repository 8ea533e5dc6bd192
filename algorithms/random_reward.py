"""Random reward: GRPO on coin flips, a control for any reported gain (2506.10947)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from rlvr.algorithms._groups import judged
from rlvr.algorithms._random import generator
from rlvr.algorithms.grpo import GRPO, GRPOConfig
from rlvr.interfaces import Algorithm, Credit, RolloutBatch
from rlvr.types import UserError


@dataclass(frozen=True)
class RandomRewardConfig(GRPOConfig):
    """Fair coins. Whatever a run with it gains, it did not learn from the verifier."""

    rate: float = 0.5
    """Probability of a reward of 1."""

    def __post_init__(self) -> None:
        if not 0 < self.rate < 1:
            raise UserError(f"random_reward: rate is {self.rate}, expected 0 < rate < 1: with 0 or 1 all rewards are "
                            "equal")


class RandomReward(Algorithm[RandomRewardConfig]):
    """A_i as in GRPO on r_i ~ Bernoulli(rate), whatever the verifier says.

    The expected gradient is zero with one update per rollout; with several, the clip biases it towards what the
    policy already prefers, which the authors take for the cause of the gains they saw.
    Rollouts that were not judged get no credit, so that as many count as in a real run.

    The draw depends on `batch.seed` and on a rollout's place when rows are sorted by group id, rows of one group in
    their order in the batch: it is the same on all ranks, on any device, and however groups are interleaved.
    """

    Config = RandomRewardConfig
    min_group_size = 2

    def advantages(self, batch: RolloutBatch) -> Credit:
        draws_N = torch.rand(len(batch.group_N), generator=generator(batch.seed), dtype=torch.float64)
        rewards_N = torch.zeros_like(batch.rewards_N)
        rewards_N[batch.group_N.argsort(stable=True)] = (draws_N < self.config.rate).to(rewards_N)
        rewards_N = rewards_N.masked_fill(~judged(batch), torch.nan)
        return GRPO(self.config).advantages(replace(batch, rewards_N=rewards_N))
