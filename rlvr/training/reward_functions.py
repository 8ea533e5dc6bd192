"""The verdicts as TRL sees them: one reward function, 1.0, 0.0 or None."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from rlvr.interfaces import CompletionJudge
from rlvr.types import Problem, Reason, Verdict

TruncationPolicy = Literal["as_is", "wrong", "mask"]


@dataclass
class Judged:
    """What the judge said of the rollouts of a step, and how long that took."""

    reasons: Counter[Reason] = field(default_factory=Counter)
    times_ms: list[float] = field(default_factory=list)
    """Milliseconds that each verdict took a worker, also where it came from the cache."""
    seconds: float = 0.0
    """Wall-clock that the training waited for verdicts."""


class AccuracyReward:
    """TRL reward function: 1.0 correct, 0.0 wrong, None not judged; keeps what the metrics need.

    A truncated completion is judged like any other under policy "as_is", and is wrong without being judged
    under "wrong"; under "mask" it is judged and the trainer drops its tokens from the loss.
    """

    __name__ = "accuracy"

    def __init__(self, judge: CompletionJudge, problems: Mapping[str, Problem], truncated: TruncationPolicy) -> None:
        self.judge = judge
        self.problems = problems
        self.truncated = truncated
        self.eos_ids: frozenset[int] = frozenset()
        self.judged = Judged()

    def __call__(
        self,
        *,
        completions: list[Any],
        completion_ids: list[list[int]],
        problem_id: list[str],
        **_: Any,
    ) -> list[float | None]:
        texts = [c if isinstance(c, str) else c[-1]["content"] for c in completions]
        whole = [
            i for i, ids in enumerate(completion_ids) if self.truncated != "wrong" or ids[-1] in self.eos_ids
        ]
        verdicts = dict.fromkeys(range(len(texts)), Verdict(False, Reason.TRUNCATED))
        started = time.perf_counter()
        answers = self.judge.judge([self.problems[problem_id[i]] for i in whole], [texts[i] for i in whole])
        self.judged.seconds += time.perf_counter() - started
        self.judged.times_ms += [verdict.ms for verdict in answers]
        verdicts.update(zip(whole, answers, strict=True))
        self.judged.reasons.update(verdict.reason for verdict in verdicts.values())
        return [None if v.correct is None else float(v.correct) for v in verdicts.values()]


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
