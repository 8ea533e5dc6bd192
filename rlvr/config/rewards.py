"""The section `train.rewards`: terms of the shaped reward beside the accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from rlvr.config.fields import MOST, AtLeastOne, NotNegative, Says


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxedReward:
    r"""1 for exactly one `\boxed{}` with something in it after any thinking, else 0."""

    weight: NotNegative = 0.0
    """Factor of the term before it is added to the accuracy. 0: it is logged only."""
    only_if_correct: bool = True
    """true: wrong answers get neither bonus nor penalty. false: good form is rewarded by itself; a model may then
    collect that reward instead of solving problems, and short wrong answers beat long ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TagReward(BoxedReward):
    """1 if each tag occurs once, in order and with text inside, else 0."""

    prefilled: bool = False
    """true: the prompt (its template) already ends with `<think>`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthReward(BoxedReward):
    """0 up to `free` tokens, then falling in a straight line to -1 at `worst` tokens."""

    free: Annotated[int, Field(ge=0, le=MOST), Says("at least 0 tokens")]
    """Tokens without penalty. If good answers are longer than this, thinking itself is punished."""
    worst: AtLeastOne
    """Tokens from which on the penalty is -1; above `free`."""


@dataclass(frozen=True, slots=True)
class RewardSection:
    """Terms of the shaped reward beside the accuracy. Probes and dynamic sampling look at the accuracy alone."""

    think_answer: TagReward | None = None
    """`<think>...</think> <answer>...</answer>` and nothing else."""
    think: TagReward | None = None
    """`<think>...</think>` and then text."""
    boxed: BoxedReward | None = None
    r"""Exactly one `\boxed{}` with something in it."""
    length: LengthReward | None = None
    """A penalty for long answers."""
