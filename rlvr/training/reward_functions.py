"""Verdicts and shaped rewards as reward functions of TRL."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from rlvr.interfaces import CompletionJudge
from rlvr.probes.world import meet
from rlvr.types import Problem, Reason, Verdict

TruncationPolicy = Literal["as_is", "wrong", "mask"]


@dataclass
class Judged:
    """The reasons of a step's verdicts, and how long they took."""

    reasons: Counter[Reason] = field(default_factory=Counter)
    times_ms: list[float] = field(default_factory=list)
    """Milliseconds that each verdict took in its worker; one from the cache keeps the time it took then."""
    seconds: float = 0.0
    """Wall-clock that the training waited for verdicts."""

    def add(self, other: Judged) -> None:
        """Count further verdicts of the step."""
        self.reasons.update(other.reasons)
        self.times_ms += other.times_ms
        self.seconds += other.seconds


class AccuracyReward:
    """TRL reward function: 1.0 correct, 0.0 wrong, None not judged.

    A truncated completion is judged like any other under policy "as_is", and is wrong without being judged
    under "wrong"; under "mask" it is judged and the trainer drops its tokens from the loss.
    """

    __name__ = "accuracy"

    def __init__(self, judge: CompletionJudge, problems: Mapping[str, Problem], truncated: TruncationPolicy) -> None:
        self.judge = judge
        self.problems = problems
        self.truncated = truncated
        self.eos_ids: frozenset[int] = frozenset()
        """Set by the trainer: ids that end a completion."""
        self.answers: list[tuple[str, Verdict]] = []
        """Of the last call: each completion's text and the verdict on it."""
        self._judged = Judged()

    def take_judged(self) -> Judged:
        """What was judged since the last call."""
        judged, self._judged = self._judged, Judged()
        return judged

    def __call__(
        self,
        *,
        completions: list[Any],
        completion_ids: list[list[int]],
        problem_id: list[str],
        **_: Any,
    ) -> list[float | None]:
        texts = [c if isinstance(c, str) else c[-1]["content"] for c in completions]
        asked = [
            i for i, ids in enumerate(completion_ids) if self.truncated != "wrong" or ids[-1] in self.eos_ids
        ]
        verdicts = dict.fromkeys(range(len(texts)), Verdict(False, Reason.TRUNCATED))
        started = time.perf_counter()
        answers = self.judge.judge([self.problems[problem_id[i]] for i in asked], [texts[i] for i in asked])
        self._judged.seconds += time.perf_counter() - started
        self._judged.times_ms += [verdict.ms for verdict in answers]
        verdicts.update(zip(asked, answers, strict=True))
        self._judged.reasons.update(verdict.reason for verdict in verdicts.values())
        self.answers = list(zip(texts, verdicts.values(), strict=True))
        meet()  # TRL gathers the rewards next, and a rank may wait for its verifiers for hours
        return [None if v.correct is None else float(v.correct) for v in verdicts.values()]


@dataclass(frozen=True, slots=True)
class ShapedReward:
    """One term of the shaped reward, logged as `train/<name>_reward`."""

    name: str
    score: Callable[[str, int], float]
    """Scores a completion, given its text and its number of tokens."""
    weight: float
    """0: the term is logged and not added."""
    only_if_correct: bool = True
    """Whether the term is added for correct completions alone, be it a bonus or a penalty."""


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
