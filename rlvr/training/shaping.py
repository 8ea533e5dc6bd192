"""Shaped reward: terms for form and length beside the binary accuracy, which stays the first reward function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, slots=True)
class ShapedReward:
    """One term of the shaped reward, logged as `train/<name>_reward`."""

    name: str
    score: Callable[[str, int], float]
    """Of one completion: its text and the number of its tokens."""
    weight: float
    """0: logged only."""
    only_if_correct: bool = True
    """Whether a wrong completion gets nothing of it, neither bonus nor penalty."""


class TermReward:
    """A `ShapedReward` as TRL's reward function."""

    def __init__(self, term: ShapedReward) -> None:
        self.term = term
        self.__name__ = f"{term.name}_reward"

    def __call__(
        self, *, completions: list[Any], completion_ids: list[list[int]], **_: Any
    ) -> list[float | None]:
        texts = [c if isinstance(c, str) else c[-1]["content"] for c in completions]
        return [self.term.score(text, len(ids)) for text, ids in zip(texts, completion_ids, strict=True)]


def shaped_reward(rewards_NF: torch.Tensor, terms: Sequence[ShapedReward]) -> torch.Tensor:
    """Accuracy plus the weighted terms, (N,); NaN where the first column, the accuracy, was not judged."""
    accuracy_N = rewards_NF[:, 0]
    total_N = accuracy_N.clone()
    for column, term in enumerate(terms, start=1):
        counts_N = accuracy_N == 1 if term.only_if_correct else torch.ones_like(accuracy_N, dtype=torch.bool)
        total_N += term.weight * torch.where(counts_N, rewards_NF[:, column], 0.0)
    return total_N


def shaping_metrics(rewards_NF: torch.Tensor, terms: Sequence[ShapedReward]) -> dict[str, float]:
    """Mean of each term over all rollouts, before weight and gate."""
    return {f"train/{term.name}_reward": rewards_NF[:, i].mean().item() for i, term in enumerate(terms, start=1)}
