"""Pass@k training: the analytic advantage of the best of k completions (2508.10751)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from rlvr.algorithms._groups import group_stats, judged
from rlvr.algorithms._tokens import per_token
from rlvr.interfaces import Algorithm, Credit, LossConfig, Needs, NotNegative, RolloutBatch
from rlvr.types import UserError


@dataclass(frozen=True)
class PassKConfig(LossConfig):
    """GRPO's loss with the advantage of pass@4."""

    k: int = 4
    """The k of pass@k: one of k completions must be correct. 1 is GRPO with the biased standard deviation."""
    std_eps: NotNegative = 1e-6
    """Added to the standard deviation."""

    def __post_init__(self) -> None:
        if self.k < 1:
            raise UserError(f"passk: k is {self.k}, expected 1 or more")


class PassK(Algorithm[PassKConfig]):
    """A+ = (1 - rho) / (s + eps), A- = (1 - rho - C(G-c-1, k-1) / C(G-1, k-1)) / (s + eps), c of G right.

    rho = 1 - C(G-c, k) / C(G, k) is the group's unbiased pass@k, s = sqrt(rho (1 - rho)): the advantages of all sets
    of k completions, averaged over the sets that hold completion i. By accuracy, not by shaped reward.
    Zero for all right, for all wrong, and once fewer than k are wrong (every set then holds a right one): a group has
    to be larger than k. Zero too for a group with fewer than k judged rollouts; rollouts that were not judged do not
    count in G.
    """

    Config = PassKConfig

    @property
    def needs(self) -> Needs:
        return replace(super().needs, min_group_size=self.config.k + 1)

    def advantages(self, batch: RolloutBatch) -> Credit:
        k = self.config.k
        judged_N = judged(batch)
        group = group_stats(batch.accuracy_N, batch.group_N, judged_N)
        wrong_N = (group.count_N * (1 - group.mean_N)).round()
        failed_N = share_of_sets(wrong_N, group.count_N, k)  # 1 - rho
        failed_with_i_N = share_of_sets(wrong_N - 1, group.count_N - 1, k - 1)  # of the sets that hold a wrong i
        advantage_N = torch.where(batch.accuracy_N == 1, failed_N, failed_N - failed_with_i_N)
        advantage_N = advantage_N / ((failed_N * (1 - failed_N)).sqrt() + self.config.std_eps)
        advantage_N = torch.where(judged_N, advantage_N, torch.zeros_like(advantage_N))
        return Credit(per_token(advantage_N, batch.mask_NT))


def share_of_sets(part_N: torch.Tensor, whole_N: torch.Tensor, size: int) -> torch.Tensor:
    """C(part, size) / C(whole, size): the share of sets of `size` that lie in the part, 0 if there is no such set."""
    share_N = torch.ones_like(part_N)
    for j in range(size):
        share_N = share_N * (part_N - j) / (whole_N - j).clamp(min=1)
    return share_N
