"""The section `train.rewards`: terms of the shaped reward beside the accuracy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxedReward:
    r"""1 for exactly one `\boxed{}` with something in it after any thinking, else 0."""

    weight: float = 0.0
    """What the term is multiplied with before it joins the accuracy; 0: logged only."""
    only_if_correct: bool = True
    """true: a wrong answer gets neither bonus nor penalty. false: form earns a reward of its own, which a model may
    collect instead of solving problems, and short wrong answers beat long ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TagReward(BoxedReward):
    """1 for the tags of its kind, each once, in order and around something, else 0."""

    prefilled: bool = False
    """Whether the prompt (its template) already ends with `<think>`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthReward(BoxedReward):
    """0 up to `free` tokens, then falling in a straight line to -1 at `worst` tokens."""

    free: int
    """Tokens without penalty, at least 0. Below the length of good answers, thinking itself is punished."""
    worst: int
    """Tokens from which on the penalty is whole, above `free`."""


@dataclass(frozen=True, slots=True)
class RewardSection:
    """Terms of the shaped reward beside the accuracy. Probes and dynamic sampling see the accuracy alone."""

    think_answer: TagReward | None = None
    """`<think>...</think> <answer>...</answer>` and nothing else."""
    think: TagReward | None = None
    """`<think>...</think>` and then text."""
    boxed: BoxedReward | None = None
    length: LengthReward | None = None
