"""DAPO: GRPO's advantage with clip-higher, dynamic sampling, token mean and overlong shaping (2503.14476)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from rlvr.algorithms.grpo import GRPO, GRPOConfig
from rlvr.interfaces import Algorithm, Count, Credit, GroupFilter, Needs, NotNegative, RolloutBatch


@dataclass(frozen=True)
class DAPOConfig(GRPOConfig):
    """Overlong shaping is off, as it changes the reward. The paper uses `overlong_buffer: 4096` of 20480 tokens."""

    clip_high: NotNegative = 0.28
    """The ratio is clipped at 1 + clip_high. A clip_high above clip_low leaves unlikely tokens room to grow."""
    dynamic_sampling: bool = True
    """true: replace groups that are all correct or all wrong by new ones. The accuracy decides, not the reward."""
    max_num_gen_batches: Count = 10
    """Largest number of generation batches per step, to find enough mixed groups; 0: no limit."""
    when_exhausted: Literal["error", "fewer"] = "error"
    """At that limit: stop the run with an error, or train on the mixed groups there are."""
    overlong_buffer: Count = 0
    """The penalty grows from 0 to overlong_penalty over this many tokens before the generation limit; 0: no penalty."""
    overlong_penalty: NotNegative = 1.0
    """Penalty at the limit; 1 takes a correct completion (+1) half-way to a wrong one (-1)."""


class DAPO(Algorithm[DAPOConfig]):
    """A_i = (s_i - mean_g) / (std_g + eps), as GRPO, on the score s_i = +-1 + extras + penalty(L_i).

    +-1 stands for accuracy 1/0 and extras for what rewards_N holds beyond it.
    penalty(L) = -overlong_penalty * clamp((L - (max_length - overlong_buffer)) / overlong_buffer, 0, 1).
    Overlong filtering, an ablation of the paper, is `train.truncated: mask` and not done here.
    Groups of equal accuracy should not arrive here; if they do, equal scores give 0, but shaped ones do not.
    """

    Config = DAPOConfig
    min_group_size = 2

    @property
    def needs(self) -> Needs:
        return replace(super().needs, group_filter=self.config.dynamic_sampling)

    @property
    def group_filter(self) -> GroupFilter:
        return GroupFilter(self.config.max_num_gen_batches, self.config.when_exhausted)

    def advantages(self, batch: RolloutBatch) -> Credit:
        score_N = batch.rewards_N + batch.accuracy_N - 1
        buffer = self.config.overlong_buffer
        if buffer > 0:
            lengths_N = batch.mask_NT.bool().sum(1) if batch.lengths_N is None else batch.lengths_N
            limit = batch.mask_NT.shape[1] if batch.max_length is None else batch.max_length
            excess_N = (lengths_N.to(score_N.dtype) - (limit - buffer)) / buffer
            score_N = score_N - self.config.overlong_penalty * excess_N.clamp(0, 1)
        return GRPO(self.config).advantages(replace(batch, rewards_N=score_N))
