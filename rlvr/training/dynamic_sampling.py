"""Dynamic sampling: groups are drawn until enough of them have both right and wrong rollouts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from rlvr.interfaces import GroupFilter
from rlvr.training.rollouts import Rollout
from rlvr.types import UserError


@dataclass(slots=True)
class Group:
    """All rollouts of one prompt and their rewards."""

    row: dict[str, Any]
    rollouts: list[Rollout]
    rewards_GF: torch.Tensor
    """One column per reward function; the first is the accuracy."""
    baseline_F: torch.Tensor | None = None
    """Rewards of the greedy completion, for algorithms that need it."""

    @property
    def tokens(self) -> int:
        """Generated tokens."""
        return sum(len(rollout.completion_ids) for rollout in self.rollouts)

    @property
    def solved(self) -> torch.Tensor:
        """Accuracies of the judged rollouts."""
        accuracy_G = self.rewards_GF[:, 0]
        return accuracy_G[~accuracy_G.isnan()]

    @property
    def mixed(self) -> bool:
        """Whether some judged rollouts are correct and some are wrong. Shaped rewards do not matter here."""
        return bool((self.solved == 1).any() and (self.solved != 1).any())


def groups_of(
    rows: Sequence[dict[str, Any]],
    rollouts: Sequence[Rollout],
    rewards_nF: torch.Tensor,
    baseline_nF: torch.Tensor | None,
    size: int,
) -> list[Group]:
    """One rank's rollouts, in groups of `size` rows that answer one prompt."""
    rewards_nF = rewards_nF.cpu()
    baseline_nF = None if baseline_nF is None else baseline_nF.cpu()
    return [
        Group(rows[i], list(rollouts[i : i + size]), rewards_nF[i : i + size],
              None if baseline_nF is None else baseline_nF[i])
        for i in range(0, len(rows), size)
    ]


class Refill:
    """Dynamic sampling of one step: groups in the order of the prompt stream until `wanted` of them are mixed."""

    def __init__(self, wanted: int, rule: GroupFilter) -> None:
        self.wanted = wanted
        self.rule = rule
        self.batches = 0
        self.groups: list[Group] = []

    def add(self, groups: Sequence[Group]) -> None:
        """Take one generation batch of all ranks, in the order of the stream."""
        self.batches += 1
        self.groups += groups

    @property
    def kept(self) -> list[Group]:
        """The mixed groups."""
        return [group for group in self.groups if group.mixed]

    @property
    def done(self) -> bool:
        """Whether to train now. Raises UserError when the limit is reached and the algorithm asks to stop there."""
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
        """Groups whose judged rollouts are all correct."""
        return sum(len(g.solved) > 0 and bool((g.solved == 1).all()) for g in self.groups)

    @property
    def all_wrong(self) -> int:
        """Groups whose judged rollouts are all wrong."""
        return sum(len(g.solved) > 0 and bool((g.solved != 1).all()) for g in self.groups)

    def chosen(self) -> tuple[list[Group], list[bool]]:
        """`wanted` groups and whether each is trained on. Surplus mixed groups are dropped; where there are too few,
        other groups fill up the batch and stay out of the loss."""
        kept = self.kept[: self.wanted]
        filler = [group for group in self.groups if not group.mixed][: self.wanted - len(kept)]
        return kept + filler, [True] * len(kept) + [False] * len(filler)
