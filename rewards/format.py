r"""Rewards for the form of a completion: think/answer tags, a single box, length. Shaped rewards, never the accuracy.

Rule-based form rewards are easily gamed: an empty `<think></think>`, a second `<answer>` block or text after the last
tag pass the anchored expressions in common use. So here every tag must occur exactly once and in order, what it
encloses must not be blank, and nothing but white space may stand outside. The trainer adds a term with a small weight,
by default only to correct completions; the verdict, the probes and dynamic sampling never see it.

Each class is one term: fields are its settings, calling it scores one completion. Text is decoded without special
tokens, so a model whose tokenizer declares `<think>` special cannot earn a tag reward.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from rlvr.rewards.boxed import END_THINK, THINK, final_answer
from rlvr.types import Reason

ANSWER, END_ANSWER = "<answer>", "</answer>"


@dataclass(frozen=True, slots=True)
class ThinkAnswer:
    """1 for `<think>...</think> <answer>...</answer>` and nothing else, 0 for anything else."""

    prefilled: bool = False
    """Whether the prompt already ends with `<think>`, so that the completion must not open it again."""

    def __call__(self, text: str, num_tokens: int) -> float:
        parts = _sections((THINK * self.prefilled) + text, (THINK, END_THINK, ANSWER, END_ANSWER))
        if parts is None:
            return 0.0
        before, thought, between, answer, after = parts
        return float(bool(thought and answer) and not (before or between or after))


@dataclass(frozen=True, slots=True)
class Think:
    """1 for `<think>...</think>` followed by text, 0 for anything else."""

    prefilled: bool = False
    """Whether the prompt already ends with `<think>`, so that the completion must not open it again."""

    def __call__(self, text: str, num_tokens: int) -> float:
        parts = _sections((THINK * self.prefilled) + text, (THINK, END_THINK))
        if parts is None:
            return 0.0
        before, thought, answer = parts
        return float(bool(thought and answer) and not before)


@dataclass(frozen=True, slots=True)
class Boxed:
    r"""1 if the text after any thinking holds exactly one `\boxed{}`, closed and not blank; 0 for anything else."""

    def __call__(self, text: str, num_tokens: int) -> float:
        answer = final_answer(text)
        if isinstance(answer, Reason) or not _visible(answer):
            return 0.0
        return float(text.rpartition(END_THINK)[2].count("\\boxed") == 1)


@dataclass(frozen=True, slots=True)
class Length:
    """0 up to `free` generated tokens, then falling in a straight line to -1 at `worst` and beyond."""

    free: int
    worst: int

    def __post_init__(self) -> None:
        if not 0 <= self.free < self.worst:
            raise ValueError(f"free is {self.free} and worst {self.worst} tokens, expected 0 <= free < worst")

    def __call__(self, text: str, num_tokens: int) -> float:
        over = (num_tokens - self.free) / (self.worst - self.free)
        return -min(max(over, 0.0), 1.0)


def _sections(text: str, tags: tuple[str, ...]) -> list[str] | None:
    """The stripped texts before, between and after `tags`; None unless each occurs exactly once, in this order."""
    if any(text.count(tag) != 1 for tag in tags):
        return None
    sections = []
    for tag in tags:
        before, found, text = text.partition(tag)
        if not found:
            return None
        sections.append(_visible(before))
    return [*sections, _visible(text)]


_BLANK = "\u115f\u1160\u2800\u3164\uffa0"
"""Letters that are printed as nothing: Hangul fillers, the empty Braille pattern."""


def _visible(text: str) -> str:
    """`text` without characters that print nothing, such as a zero-width space, and stripped."""
    return "".join(char for char in text if unicodedata.category(char) != "Cf" and char not in _BLANK).strip()
