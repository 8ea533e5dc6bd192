"""Which rollouts share a forward pass: micro-batches of similar lengths within a budget of tokens, dealt to the ranks.

`plan` is arithmetic on lengths; `take_rows` and `gather_rows` carry it out on the tensors of an update. A micro-batch
of rows that are padded to the longest costs rows x longest; packed without padding it costs their sum. Axes: N rollouts
of an update over all ranks, n those of one rank.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from trl.trainer.utils import split_pixel_values_by_grid, unsplit_pixel_values_by_grid

PARTS = "micro_batches"
"""Key of the micro-batches of an update that was cut."""
LEFT_PADDED = ("prompt_ids", "prompt_mask")
LOSS_MASKS = ("loss_mask", "nll_mask")


def plan(
    lengths_N: Sequence[int], *, tokens: int, rows: int, ranks: int = 1, at_least: int = 1, packed: bool = False
) -> list[list[list[int]]]:
    """The micro-batches of every rank: `plan(...)[rank]` lists them, each a list of rows.

    Rows of length 0 are in none. All ranks get as many micro-batches, because sharded models run in step; the last may
    be empty where rows are few. Micro-batches that run at the same time cost about the same.

    Args:
        lengths_N: tokens of each row, prompt and completion.
        tokens: largest cost of a micro-batch. A longer row is one of its own.
        rows: largest number of rows of one.
        at_least: micro-batches per rank.
        packed: whether rows lie end to end instead of being padded.
    """
    all_lengths = np.asarray(lengths_N, dtype=np.int64)
    by_length = np.argsort(-all_lengths, kind="stable")[: np.count_nonzero(all_lengths)]
    # In one piece of memory each: of 100,000 rows the numbers of a list lie too far apart for the caches.
    order, lengths = by_length.data, all_lengths[by_length].data
    before = np.concatenate([[0], all_lengths[by_length].cumsum()]).data
    wanted = max(-(-len(_cuts(lengths, before, tokens, rows, packed)) // ranks), at_least) * ranks
    low, high = max(lengths, default=0), tokens  # the smallest budget that needs no more of them: they become even
    while low < high:
        middle = (low + high) // 2
        if len(_cuts(lengths, before, middle, rows, packed)) <= wanted:
            high = middle
        else:
            low = middle + 1
    starts = _cuts(lengths, before, high, rows, packed)
    spans = _halved([*pairwise([*starts, len(order)])], wanted)

    def cost(span: tuple[int, int]) -> int:
        start, end = span
        return before[end] - before[start] if packed else (end - start) * lengths[start]

    bins = [order[start:end].tolist() for start, end in sorted(spans, key=cost, reverse=True)]
    bins += [[]] * (wanted - len(bins))
    dealt: list[list[list[int]]] = [[] for _ in range(ranks)]
    for start in range(0, wanted, ranks):  # to and fro, so that no rank always has the larger one
        turn = bins[start : start + ranks]
        for rank, members in enumerate(turn if start // ranks % 2 == 0 else reversed(turn)):
            dealt[rank].append(members)
    return dealt


def _cuts(lengths: Sequence[int], before: Sequence[int], tokens: int, rows: int, packed: bool) -> list[int]:
    """Where micro-batches start in rows that are sorted by length, longest first. It takes a step per micro-batch, not
    per row: the search for a budget asks often.

    Args:
        before: sum of the lengths before each row, and of all.
    """
    starts: list[int] = []
    row = 0
    while row < len(lengths):
        starts.append(row)
        fit = bisect_right(before, before[row] + tokens) - 1 - row if packed else tokens // lengths[row]
        row += max(1, min(rows, fit))
    return starts


def _halved(spans: list[tuple[int, int]], wanted: int) -> list[tuple[int, int]]:
    """As many micro-batches as wanted, or one per row: those with the most rows become two. As (start, end)."""
    heap = [(start - end, start) for start, end in spans]
    heapq.heapify(heap)
    while heap and len(heap) < wanted and heap[0][0] < -1:
        size, start = heap[0]
        half = -size // 2
        heapq.heapreplace(heap, (-half, start))
        heapq.heappush(heap, (size + half, start + half))
    return sorted((start, start - size) for size, start in heap)


def parts(inputs: dict[str, Any]) -> list[dict[str, Any]]:
    """The micro-batches in what TRL takes for one: itself, or those that the rollouts of an update were cut into."""
    return inputs.get(PARTS, [inputs])


def row_lengths(window: Mapping[str, Any]) -> torch.Tensor:
    """Tokens of each row, (n,); 0 for rows without a token in the loss: they need no forward pass."""
    lengths_n = window["prompt_mask"].sum(1) + window["completion_mask"].sum(1)
    counts_n = torch.stack([window[name].sum(1) for name in LOSS_MASKS if name in window]).sum(0)
    return lengths_n * (counts_n > 0)


def take_rows(window: Mapping[str, Any], rows: Sequence[int]) -> dict[str, Any]:
    """Some rows of an update as a micro-batch of their own, pictures included. Without rows: the first one, without a
    token in the loss, because all ranks of a sharded model run as many forward passes."""
    split: Mapping[str, Any] = split_pixel_values_by_grid(dict(window))
    keep = list(rows) or [0]

    def of_rows(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return value[keep] if value.dim() else value
        return [value[row] for row in keep] if isinstance(value, list) else value

    taken = unsplit_pixel_values_by_grid({name: of_rows(value) for name, value in split.items()})
    if not rows:
        taken |= {name: torch.zeros_like(taken[name]) for name in LOSS_MASKS if name in taken}
    return taken


def gather_rows(
    window: Mapping[str, Any],
    rows: Sequence[int],
    *,
    gather: Callable[[torch.Tensor], torch.Tensor],
    pad: Callable[..., torch.Tensor],
) -> dict[str, Any]:
    """Those of all ranks' rows that this rank trains on, in this order. One tensor after the other, so that no more
    than one is held of all ranks.

    Args:
        rows: numbers of rows over all ranks, in the order of the ranks.
        gather, pad: `gather` and `pad_across_processes` of an accelerator.
    """

    def of_all_ranks(name: str, value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or not value.dim():
            return value
        wide = pad(value, dim=1, pad_first=name in LEFT_PADDED) if value.dim() > 1 else value
        return gather(wide.contiguous())[list(rows)]

    return {name: of_all_ranks(name, value) for name, value in window.items()}
