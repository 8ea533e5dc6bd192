"""Which prompts are trained on, and which of their groups: the prompt stream and dynamic sampling's bookkeeping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from datasets import Dataset

from rlvr.interfaces import GroupFilter
from rlvr.models.sampler import row_key
from rlvr.types import Problem, UserError


class PromptStream:
    """An endless seeded sequence of prompts, addressed by position.

    A fresh permutation per epoch, the tail that does not fill a step dropped, so that no step holds a problem twice.
    A position alone decides its prompt: a resumed run and any number of processes see the same ones.

    Raises: ValueError if there are fewer problems than prompts per step.
    """

    def __init__(self, problems: Sequence[Problem], *, prompts_per_step: int, seed: int) -> None:
        if len(problems) < prompts_per_step:
            raise ValueError(f"{len(problems)} training problems cannot fill a step of {prompts_per_step} prompts")
        self.rows: list[dict[str, Any]] = [
            {"prompt": p.prompt if isinstance(p.prompt, str) else [dict(m) for m in p.prompt], "problem_id": p.id}
            for p in problems
        ]
        self.per_epoch = len(problems) // prompts_per_step * prompts_per_step
        self.seed = seed
        self._orders: dict[int, list[int]] = {}

    def index(self, position: int) -> int:
        """Which problem stands at this position."""
        epoch, place = divmod(position, self.per_epoch)
        if epoch not in self._orders:
            generator = torch.Generator().manual_seed(row_key(self.seed, "prompts", "epoch", epoch) % 2**63)
            self._orders[epoch] = torch.randperm(len(self.rows), generator=generator)[: self.per_epoch].tolist()
        return self._orders[epoch][place]

    def take(self, start: int, count: int) -> list[dict[str, Any]]:
        """`count` fresh copies of the rows from position `start` on."""
        return [dict(self.rows[self.index(i)]) for i in range(start, start + count)]

    def dataset(self, count: int) -> Dataset:
        """The first `count` rows, as the trainer's data set. Of prompts with pictures it has the names alone: Arrow
        gives all parts of all messages one type, and the trainer looks the prompt up anyway."""
        rows = [row if _is_text(row["prompt"]) else {**row, "prompt": []} for row in self.rows]
        return Dataset.from_list(rows).select([self.index(i) for i in range(count)])


def _is_text(prompt: str | list[dict[str, Any]]) -> bool:
    return isinstance(prompt, str) or all(isinstance(message["content"], str) for message in prompt)


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
