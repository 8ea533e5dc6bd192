"""The order in which a run sees its training prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import islice
from typing import Any

import torch
from datasets import Dataset

from rlvr.config.mixture import sources_in_turn
from rlvr.models.seeded import row_key
from rlvr.types import Problem


class PromptStream:
    """An endless seeded sequence of prompts, addressed by position.

    Every epoch has a new permutation. Its tail is dropped if it does not fill a step, so no step holds a problem twice.
    A position alone decides its prompt, so a resumed run and any number of processes see the same ones.

    Args:
        mixture: several sources: name, with which the ids of its problems begin, -> share of the prompts. Each source
            has epochs of its own; whose turn it is says `rlvr.config.mixture`.

    Raises: ValueError if there are fewer problems than prompts per step.
    """

    def __init__(
        self, problems: Sequence[Problem], *, prompts_per_step: int, seed: int,
        mixture: Mapping[str, Fraction] | None = None,
    ) -> None:
        self.rows: list[dict[str, Any]] = [
            {"prompt": p.prompt if isinstance(p.prompt, str) else [dict(m) for m in p.prompt], "problem_id": p.id}
            for p in problems
        ]
        self.prompts_per_step = prompts_per_step
        shares = mixture or {"": Fraction(1)}
        self._sources = [_Source(name, [i for i, p in enumerate(problems) if not name or p.id.startswith(f"{name}/")],
                                 seed) for name in shares]
        self._turns = sources_in_turn(list(shares.values()))
        self._order: list[tuple[int, str]] = []
        self._reach(0)

    def index(self, position: int) -> int:
        """Number of the problem at this position."""
        self._reach(position)
        return self._order[position][0]

    def source(self, position: int) -> str:
        """Name of the source at this position; empty without a mixture."""
        self._reach(position)
        return self._order[position][1]

    def _reach(self, position: int) -> None:
        while len(self._order) <= position:
            turns = list(islice(self._turns, self.prompts_per_step))
            step = {i: iter(self._sources[i].take(turns.count(i))) for i in set(turns)}
            self._order += [(next(step[i]), self._sources[i].name) for i in turns]

    def take(self, start: int, count: int) -> list[dict[str, Any]]:
        """`count` fresh copies of the rows from position `start` on."""
        return [dict(self.rows[self.index(i)]) for i in range(start, start + count)]

    def dataset(self, count: int) -> Dataset:
        """The first `count` rows, as the trainer's data set. Prompts with images are left empty, because Arrow wants
        one type for all parts of all messages; `rollouts.with_pictures` fills them in."""
        rows = [row if _is_text(row["prompt"]) else {**row, "prompt": []} for row in self.rows]
        return Dataset.from_list(rows).select([self.index(i) for i in range(count)])


class _Source:
    """The problems of one source, in the order of its epochs."""

    def __init__(self, name: str, numbers: list[int], seed: int) -> None:
        self.name, self.numbers, self.seed = name, numbers, seed
        self._epoch, self._left = 0, self._shuffled(0)

    def take(self, count: int) -> list[int]:
        """Numbers of its next problems, for one step."""
        if len(self.numbers) < count:
            of = f" of {self.name}" if self.name else ""
            raise ValueError(f"{len(self.numbers)} training problems{of} cannot fill a step of {count} prompts")
        if len(self._left) < count:
            self._epoch += 1
            self._left = self._shuffled(self._epoch)
        taken, self._left = self._left[:count], self._left[count:]
        return taken

    def _shuffled(self, epoch: int) -> list[int]:
        stream = f"prompts/{self.name}" if self.name else "prompts"
        generator = torch.Generator().manual_seed(row_key(self.seed, stream, "epoch", epoch) % 2**63)
        return [self.numbers[i] for i in torch.randperm(len(self.numbers), generator=generator).tolist()]


def _is_text(prompt: str | list[dict[str, Any]]) -> bool:
    return isinstance(prompt, str) or all(isinstance(message["content"], str) for message in prompt)
