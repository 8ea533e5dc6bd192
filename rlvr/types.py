"""The words every part of rlvr shares: problem, completion, verdict, estimate. Plain data, no torch.

Everything here is frozen: a problem or a verdict never changes after it was made, so it can be
hashed, cached, pickled to a worker process and written to disk without surprises.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

Message = Mapping[str, Any]
"""One chat message, `{"role": ..., "content": ...}`, as chat templates take it."""

DEFAULT_KS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""The k of pass@k, unless a recipe or an argument says otherwise."""


def hidden(letter: str) -> bool:
    """Whether a character is a control character, breaks a line or turns the direction of text: what may not stand in
    a message of one line, nor in a name or path."""
    return (unicodedata.category(letter) in ("Cc", "Zl", "Zp", "Cs") or "\u202a" <= letter <= "\u202e"
            or "\u2066" <= letter <= "\u2069")


def in_one_line(text: str) -> str:
    """The text with hidden characters as escapes, as in \\x1b."""
    return text if text.isprintable() else "".join(
        ascii(letter)[1:-1] if hidden(letter) else letter for letter in text)


class UserError(ValueError):
    """A mistake the user can fix: a bad recipe, dataset, checkpoint or plug-in.

    The text is one line, `where: message`: the place, what was found, what was expected and the way out. Command-line
    entry points print it without a traceback and exit with code 2.
    """

    def __init__(self, message: str, *, where: str = "") -> None:
        super().__init__(in_one_line(f"{where}: {message}" if where else message))
        self.where = where
        """The outermost place: a dotted recipe key, a file, `shared`, `arm 'ppo'`; empty where the message names it."""

    def within(self, where: str) -> UserError:
        """The same error seen from further out: `where` is put in front. `raise error.within(str(file)) from None`"""
        return UserError(str(self), where=where)


class UnsoundError(ArithmeticError):
    """A training that went wrong, so that every later number would be: no mistake in the input. Command-line entry
    points print its one line and exit with code 1."""


class NonFiniteError(UnsoundError):
    """NaN or infinity."""


class EndpointError(RuntimeError):
    """A server that draws samples failed again and again, which says nothing about the model. Command-line entry points
    print its one line and exit with code 1."""


class Reason(StrEnum):
    """Why a verdict is what it is. A closed set: each value is logged as the rate `verdict/<reason>`."""

    # correct
    IDENTICAL = "identical"
    EXACT_NUMBER = "exact_number"
    SYMBOLIC = "symbolic"
    TESTS_PASSED = "tests_passed"
    # wrong
    WRONG_ANSWER = "wrong_answer"
    HEDGE = "hedge"
    FALSE_EQUATION = "false_equation"
    BASE = "base"
    MULTISET = "multiset"
    # no answer could be read: wrong as well
    NO_BOX = "no_box"
    UNBALANCED = "unbalanced"
    EMPTY = "empty"
    UNFINISHED_THINK = "unfinished_think"
    TOO_LONG = "too_long"
    TOO_DEEP = "too_deep"
    BAD_CHARS = "bad_chars"
    UNPARSABLE = "unparsable"
    TRUNCATED = "truncated"
    # the completion's own misbehaviour: wrong
    TIMEOUT = "timeout"
    CRASHED = "crashed"
    OUTPUT_LIMIT = "output_limit"
    HUGE = "huge"
    # our side failed: not judged (Verdict.correct is None), never a reward of 0
    GOLD_ERROR = "gold_error"
    HARNESS_ERROR = "harness_error"


NOT_JUDGED = frozenset({Reason.GOLD_ERROR, Reason.HARNESS_ERROR})


@dataclass(frozen=True, slots=True)
class Problem:
    """One verifiable task.

    Example: `Problem(id="gsm8k/17", prompt="Janet's ducks ...", gold="18", verifier="math")`
    """

    id: str
    """Unique within its dataset; the name under which counts are stored."""
    prompt: str | tuple[Message, ...]
    """Plain text, or chat messages that the tokenizer's chat template renders."""
    gold: str
    """The reference answer in the form its verifier reads. Never shown to the model."""
    verifier: str
    """Registry name (`math`, `countdown`, ...) or `package.module:Class`."""
    extra: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """What a verifier needs beside the gold answer (unit tests, the numbers of a countdown task)."""
    images: tuple[bytes, ...] = ()
    """Pictures as the bytes of image files, in the order of the `{"type": "image"}` parts of the messages. Verifiers
    do not get them: a verdict is about the text."""

    def __post_init__(self) -> None:
        for name in ("id", "gold", "verifier"):
            if not isinstance(getattr(self, name), str):
                value = getattr(self, name)
                raise UserError(f"Problem {self.id!r}: {name} is {value!r} ({type(value).__name__}), expected text")

    def __reduce__(self) -> tuple[Any, ...]:
        return (Problem, (self.id, self.prompt, self.gold, self.verifier, dict(self.extra), self.images))


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reader (`reader` in a recipe's data section) makes of a dataset row that plain columns cannot describe."""

    prompt: str
    """The question, before the recipe's template."""
    gold: str
    """The reference answer; empty where the verifier works from `extra` alone."""
    extra: Mapping[str, Any]
    """`Problem.extra`: unit tests and the like."""


@dataclass(frozen=True, slots=True)
class Completion:
    """One sampled answer to one problem."""

    problem_id: str
    sample: int
    """Index of this sample among the problem's samples of one probe or step: 0, 1, 2, ..."""
    text: str
    """Decoded without special tokens."""
    num_tokens: int | None
    """Generated tokens, the end-of-sequence token included; None when nobody counted them."""
    truncated: bool
    """True when generation hit its token limit before the end-of-sequence token."""
    entropy: float = float("nan")
    """Mean over the completion's tokens of the entropy (nats) of the distribution sampled from,
    after temperature and before top-p. NaN when the sampler cannot know it."""
    entropy_error: float = 0.0
    """The entropy is known to within plus or minus this many nats; 0: exactly."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verifier says of one completion."""

    correct: bool | None
    """True, False, or None: not judged (our failure, not the model's). None is not wrong."""
    reason: Reason
    extracted: str | None = None
    """The answer the verifier read from the completion, at most 200 characters; None if there was none."""
    ms: float = 0.0
    """Wall-clock milliseconds spent on this verdict."""
    tier: str = ""
    """Which path decided: e.g. "exact", "symbolic", "sandbox:bwrap"."""
    version: str = ""
    """Version of the verifier, so that stored verdicts can be told apart after a change."""
    detail: str = ""
    """For people: what happened beyond the reason, at most 500 characters, such as the test that failed and the
    exception in it. Empty where the reason says it all."""

    def __post_init__(self) -> None:
        if (self.correct is None) != (self.reason in NOT_JUDGED):
            raise ValueError(f"Verdict(correct={self.correct}, reason={self.reason!s}): only {sorted(NOT_JUDGED)} "
                             "mean 'not judged' (correct=None), and they mean nothing else")


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its 95% interval. NaN value: undefined (no data). NaN bounds: no interval is known."""

    value: float
    low: float = float("nan")
    high: float = float("nan")

    def as_dict(self) -> dict[str, float]:
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True, slots=True)
class Decoding:
    """How completions are sampled. Part of every stored probe: other decoding, other boundary."""

    temperature: float = 1.0
    """0 means greedy."""
    top_p: float = 1.0
    """Nucleus mass in (0, 1]; 1 samples from the whole distribution."""
    max_new_tokens: int = 512


@dataclass(frozen=True, slots=True)
class Counts:
    """What a probe knows of one problem: all statistics are recomputed from these."""

    problem_id: str
    n: int
    """Samples drawn and judged."""
    c: int
    """Correct ones among them, 0 <= c <= n."""
    c_first: int = 0
    """Correct ones in the plan's first round (a plain i.i.d. batch of fixed size)."""
