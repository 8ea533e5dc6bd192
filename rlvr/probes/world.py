"""The processes that share a probe, and how they wait for each other."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from rlvr.types import UserError

T = TypeVar("T")
LONGEST_NAP = 1.0
"""Seconds between two looks at whether the others have come."""
_meetings = itertools.count(1)


def meet() -> None:
    """Wait until every process has come here, however long one of them judges, reads or waits for a lock.

    In a collective they would wait no longer than `train.ddp_timeout`, and then end the run. Here each looks now and
    then into the store through which they met at the start. If one dies its launcher ends the others. Alone: nothing.
    """
    import torch

    if not torch.distributed.is_initialized() or torch.distributed.get_world_size() == 1:
        return
    store, size = torch.distributed.distributed_c10d._get_default_store(), torch.distributed.get_world_size()
    wanted, nap = next(_meetings) * size, 0.001
    store.add("rlvr/came", 1)
    while store.add("rlvr/came", 0) < wanted:
        time.sleep(nap)
        nap = min(nap * 1.5, LONGEST_NAP)


class World(Protocol):
    """The processes that share a probe; rank 0 writes the files."""

    rank: int
    size: int

    def gather(self, items: list[T]) -> list[T]:
        """Items of all ranks in rank order, on every rank. It waits as `meet` does."""
        ...

    def first(self, action: Callable[[], T]) -> T:
        """Rank 0 alone runs `action`, however long it takes, and the others wait; its result or its UserError, on every
        rank."""
        ...

    def each(self, action: Callable[[], T]) -> list[T]:
        """Every rank runs `action`; all results in rank order or the first UserError, on every rank."""
        ...


def share(items: Sequence[T], world: World) -> Sequence[T]:
    """The items that are this rank's part of a batch: consecutive, in rank order, as many as others have or one less or
    more."""
    first, last = (len(items) * rank // world.size for rank in (world.rank, world.rank + 1))
    return items[first:last]


class Solo:
    """A world of one process."""

    rank = 0
    size = 1

    def gather(self, items: list[T]) -> list[T]:
        return items

    def first(self, action: Callable[[], T]) -> T:
        return action()

    def each(self, action: Callable[[], T]) -> list[T]:
        return [action()]


class DistributedWorld:
    """All processes of the current `torch.distributed` group."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank = rank
        self.size = size

    def gather(self, items: list[Any]) -> list[Any]:
        from accelerate.utils import gather_object

        meet()
        return gather_object(items) if self.size > 1 else items

    def first(self, action: Callable[[], T]) -> T:
        return self._results(action if self.rank == 0 else None)[0]

    def each(self, action: Callable[[], T]) -> list[T]:
        return self._results(action)

    def _results(self, action: Callable[[], T] | None) -> list[T]:
        outcome: list[tuple[Any, UserError | None]] = []
        if action is not None:
            try:
                outcome = [(action(), None)]
            except UserError as error:
                outcome = [(None, error)]
        outcomes = self.gather(outcome)
        for _, error in outcomes:
            if error is not None:
                raise error
        return [result for result, _ in outcomes]


def all_processes() -> World:
    """Those of `torch.distributed` if it is initialized, else this process alone."""
    import torch

    if not torch.distributed.is_initialized():
        return Solo()
    return DistributedWorld(torch.distributed.get_rank(), torch.distributed.get_world_size())


def launched() -> World:
    """All processes of `accelerate launch` (torchrun, ...), connected; this process alone where there are no others."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        import torch
        from accelerate import PartialState

        PartialState(cpu=not torch.cuda.is_available())
    return all_processes()
