"""The order in which a run sees its training prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from datasets import Dataset

from rlvr.models.seeded import row_key
from rlvr.types import Problem


class PromptStream:
    """An endless seeded sequence of prompts, addressed by position.

    Every epoch has a new permutation. Its tail is dropped if it does not fill a step, so no step holds a problem twice.
    A position alone decides its prompt, so a resumed run and any number of processes see the same ones.

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
        """Number of the problem at this position."""
        epoch, place = divmod(position, self.per_epoch)
        if epoch not in self._orders:
            generator = torch.Generator().manual_seed(row_key(self.seed, "prompts", "epoch", epoch) % 2**63)
            self._orders[epoch] = torch.randperm(len(self.rows), generator=generator)[: self.per_epoch].tolist()
        return self._orders[epoch][place]

    def take(self, start: int, count: int) -> list[dict[str, Any]]:
        """`count` fresh copies of the rows from position `start` on."""
        return [dict(self.rows[self.index(i)]) for i in range(start, start + count)]

    def dataset(self, count: int) -> Dataset:
        """The first `count` rows, as the trainer's data set. Prompts with images are left empty, because Arrow wants
        one type for all parts of all messages; `rollouts.with_pictures` fills them in."""
        rows = [row if _is_text(row["prompt"]) else {**row, "prompt": []} for row in self.rows]
        return Dataset.from_list(rows).select([self.index(i) for i in range(count)])


def _is_text(prompt: str | list[dict[str, Any]]) -> bool:
    return isinstance(prompt, str) or all(isinstance(message["content"], str) for message in prompt)
