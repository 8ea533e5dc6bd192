"""How values, exceptions and unknown names appear in messages of one line."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

MOST_SHOWN = 10
"""Names in a message: a line of forty hides the one that was meant."""


def short(value: Any) -> str:
    """The value as Python writes it, at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def first_line(error: BaseException) -> str:
    """What the exception says, without a traceback's further lines; its type if it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def describe(value: Any) -> str:
    """A found value and its type in a user's words, at most some 70 characters."""
    if value is None:
        return "null"
    kind = type(value).__name__
    if isinstance(value, bool):
        return f"{str(value).lower()} (true/false)"
    if isinstance(value, int) and value.bit_length() > 10_000:
        return f"a number of {value.bit_length():,} bits (whole number)"  # Python refuses to write it out
    kinds = {int: "whole number", float: "number", str: "text", list: "list", tuple: "list"}
    return f"{short(value)} ({'section' if isinstance(value, Mapping) else kinds.get(type(value), kind)})"


def did_you_mean(name: str, known: Sequence[str], elsewhere: Mapping[str, Sequence[str]] | None = None) -> str:
    """The way out of an unknown name, to be put right behind it: the closest known one and the list of all, or of a
    long one those that are most alike.

    `elsewhere`: name -> where it is known too, as dotted paths; an exact match there is what was meant.
    """
    elsewhere = elsewhere or {}
    close: Sequence[str] = elsewhere.get(name) or difflib.get_close_matches(name, known, n=1)
    if not close:
        near = difflib.get_close_matches(name, elsewhere, n=1)
        close = elsewhere[near[0]] if near else ()
    guess = f"; did you mean {' or '.join(map(repr, close[:3]))}?" if close else ""
    if len(known) <= MOST_SHOWN:
        return f"{guess} (known: {', '.join(known)})"
    alike = set(difflib.get_close_matches(name, known, n=MOST_SHOWN, cutoff=0.0))
    shown = [each for each in known if each in alike]
    return f"{guess} (known: {', '.join(shown)} and {len(known) - len(shown)} more)"
