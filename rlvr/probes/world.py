"""The processes that share a probe."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class World(Protocol):
    """The processes that share a probe; rank 0 writes the files."""

    rank: int
    size: int

    def gather(self, items: list[T]) -> list[T]:
        """Items of all ranks in rank order, on every rank."""
        ...


class Solo:
    """A world of one process."""

    rank = 0
    size = 1

    def gather(self, items: list[T]) -> list[T]:
        return items


class DistributedWorld:
    """All processes of the current `torch.distributed` group."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank = rank
        self.size = size

    def gather(self, items: list[Any]) -> list[Any]:
        from accelerate.utils import gather_object

        return gather_object(items) if self.size > 1 else items


def all_processes() -> World:
    """Those of `torch.distributed` if it is initialized, else this process alone."""
    import torch

    if not torch.distributed.is_initialized():
        return Solo()
    return DistributedWorld(torch.distributed.get_rank(), torch.distributed.get_world_size())
