"""Dynamic sampling: groups are drawn until enough of them have both right and wrong rollouts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from rlvr.interfaces import GroupFilter
from rlvr.types import UserError


@dataclass(slots=True)
class Group:
    """All rollouts of one prompt: what TRL's generation gave, and their rewards."""

    row: dict[str, Any]
    columns: list[tuple[Any, ...]]
    """Per rollout the values of TRL's `_generate`, in its order."""
    rewards_GF: torch.Tensor
    baseline_F: torch.Tensor | None
    """Rewards of the greedy completion, for algorithms that need it."""

    @property
    def solved(self) -> torch.Tensor:
        """Accuracies of the judged rollouts."""
        accuracy_G = self.rewards_GF[:, 0]
        return accuracy_G[~accuracy_G.isnan()]

    @property
    def mixed(self) -> bool:
        """Whether some judged rollouts are correct and some are wrong: decided on accuracy, the first reward."""
        return bool((self.solved == 1).any() and (self.solved != 1).any())


class Refill:
    """Dynamic sampling of one step: groups in stream order until `wanted` of them are mixed."""

    def __init__(self, wanted: int, rule: GroupFilter) -> None:
        self.wanted = wanted
        self.rule = rule
        self.batches = 0
        self.groups: list[Group] = []

    def add(self, groups: Sequence[Group]) -> None:
        """One generation batch of all ranks, in stream order."""
        self.batches += 1
        self.groups += groups

    @property
    def kept(self) -> list[Group]:
        return [group for group in self.groups if group.mixed]

    @property
    def done(self) -> bool:
        """Whether to train now. Raises UserError when the limit is reached and the rule is to stop."""
        kept = len(self.kept)
        if kept >= self.wanted:
            return True
        if self.batches < self.rule.max_batches or self.rule.max_batches == 0:
            return False
        if self.rule.when_exhausted == "fewer":
            return True
        right, wrong = self.all_right, self.all_wrong
        raise UserError(
            f"dynamic sampling: {self.batches} generation batches of {self.wanted} prompts gave {kept} mixed groups, "
            f"expected {self.wanted} ({right} were all right, {wrong} all wrong): choose problems of another "
            "difficulty, raise algorithm.max_num_gen_batches (0: no limit), or set algorithm.when_exhausted: fewer"
        )

    @property
    def all_right(self) -> int:
        return sum(len(g.solved) > 0 and bool((g.solved == 1).all()) for g in self.groups)

    @property
    def all_wrong(self) -> int:
        return sum(len(g.solved) > 0 and bool((g.solved != 1).all()) for g in self.groups)

    def chosen(self) -> tuple[list[Group], list[bool]]:
        """`wanted` groups and whether each is trained on. Surplus mixed groups are dropped; where there are too few,
        others fill up the shape of the batch and stay out of the loss."""
        kept = self.kept[: self.wanted]
        filler = [group for group in self.groups if not group.mixed][: self.wanted - len(kept)]
        return kept + filler, [True] * len(kept) + [False] * len(filler)
