"""What a reader of another program's file gives: one record per completion, and how its values are read."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rlvr.rewards.boxed import final_answer
from rlvr.types import UserError

Kind = Literal["jsonl", "json", "parquet", "zip"]


@dataclass(frozen=True, slots=True)
class Glance:
    """What is seen of a file before it is read, and what it is recognised by."""

    path: Path
    kind: Kind
    fields: frozenset[str]
    """Keys of the first row (jsonl) or of the object (json), columns (parquet), names of the members (zip)."""


@dataclass(frozen=True, slots=True)
class Record:
    """One completion in a file of another program."""

    at: str
    """Its place, for error messages."""
    text: str
    question: str
    """What was asked, as the file has it: the bare question, or the whole prompt with few-shot examples and chat
    template. Empty where the file does not say."""
    problem_id: str | None = None
    """The file's own id of the problem; None where it has none."""
    gold: str | None = None
    """The reference answer; None where the file has none."""
    sample: int | None = None
    """Number among the completions of the problem; None: in the order of the file."""
    step: int | None = None
    """Training step of the model; None where the file does not say."""
    truncated: bool = False
    tokens: int | None = None
    lost: bool = False
    """Ended in an error of the program or its environment, so that there is no completion of the model."""
    correct: bool | None = None
    """The verdict of the program that wrote the file; None where it gave none for this one completion."""


@dataclass(frozen=True, slots=True)
class Reader:
    """How the files of one family are known and read."""

    name: str
    recognise: Callable[[Glance], bool]
    read: Callable[[Path], Iterator[Record]]
    """Raises UserError, with the place, for a row that is not what the family writes."""


def text_of(value: Any) -> str:
    """The text of a prompt or completion: plain text, a chat message, or a list of messages or parts."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return text_of(value.get("content", value.get("text")))
    if isinstance(value, list):
        return "\n".join(filter(None, map(text_of, value)))
    return ""


def answer_of(messages: Any) -> str:
    """The text of a completion; of a list of messages, what the assistant says in it."""
    if isinstance(messages, list) and all(isinstance(one, Mapping) and "role" in one for one in messages):
        return text_of([one for one in messages if one["role"] == "assistant"])
    return text_of(messages)


def gold_of(value: Any) -> str | None:
    r"""The reference answer as verifiers read it: of a worked solution what follows `####`, or its last \boxed{}.

    None for nothing, for several answers and for what is neither text nor number.
    """
    if isinstance(value, list | tuple) and len(value) == 1:
        return gold_of(value[0])
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if not isinstance(value, str):
        return str(int(value)) if value == int(value) else repr(value)
    text = value.rpartition("####")[2].strip()
    boxed = final_answer(text) if "\\boxed" in text else text
    return boxed if isinstance(boxed, str) and boxed else text or None


def verdict_of(value: Any) -> bool | None:
    """Right or wrong; None for a score that is neither, such as a reward with a bonus for form in it."""
    if isinstance(value, str):
        return {"C": True, "I": False}.get(value)  # of inspect-ai; its P (partly) and N (no answer) are neither
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return {1.0: True, 0.0: False, -1.0: False}.get(float(value))
    return None


def verdict_among(scores: Mapping[str, Any], names: Sequence[str]) -> bool | None:
    """The verdict of the first of `names` that is among the scores; without any, of the only score."""
    known = [name for name in names if name in scores] or (list(scores) if len(scores) == 1 else [])
    return verdict_of(scores[known[0]]) if known else None


def count_of(value: Any) -> int | None:
    """A whole number from 0 to 10^12; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return None
    return int(value) if 0 <= value <= 10**12 and value == int(value) else None


def field(row: Mapping[str, Any], name: str, at: str) -> Any:
    """Raises UserError where a row lacks a field that the first row of its file has."""
    if name not in row:
        raise UserError(f"{at}: no field {name!r}, which the first row has (found: {', '.join(row)}); the file is "
                        "damaged, or of two kinds")
    return row[name]


def mapping(value: Any) -> Mapping[str, Any]:
    """A mapping that may be stored as JSON text; empty for anything else."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return value if isinstance(value, Mapping) else {}
