"""Whether what a program returned or printed is what was expected. Exact base types on both sides, in our process.

Values follow Python's `==` with three liberties that reference graders take too: a list and a tuple with equal items
are equal (JSON knows no tuples), NaN equals NaN, and where a float is expected |a - b| <= atol + 1e-7 |b| suffices,
with atol = 1e-6 unless the tests give another, which then holds for integers too (as evalplus has it).
Output is compared line by line, blanks at the ends of lines and blank lines at the end aside; in a line that differs,
word by word, where numerals are equal by value, and within 1e-6 (relative above 1) if the expected one has a point.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Any

ATOL, RTOL = 1e-6, 1e-7
_NUMERAL = re.compile(r"[+-]?(?:\d{1,60}(\.\d{0,60})?|\.\d{1,60})(?:[eE][+-]?\d{1,3})?", re.ASCII)


def same_value(value: Any, expected: Any, atol: float | None = None) -> bool:
    """See the module's docstring. Nesting is bounded by `_wire.MAX_DEPTH`; objects of other classes equal nothing."""
    if isinstance(expected, list | tuple):
        return isinstance(value, list | tuple) and len(value) == len(expected) and all(
            same_value(a, b, atol) for a, b in zip(value, expected, strict=True))
    if isinstance(expected, dict):
        return isinstance(value, dict) and value.keys() == expected.keys() and all(
            same_value(value[key], expected[key], atol) for key in expected)
    if isinstance(value, int | float) and isinstance(expected, int | float):
        if atol is None and isinstance(expected, float):
            atol = ATOL
        return value == expected or (atol is not None and _close(value, expected, atol))
    if isinstance(expected, complex) and isinstance(value, int | float | complex):
        try:
            return abs(value - expected) <= (ATOL if atol is None else atol) + RTOL * abs(expected)
        except OverflowError:  # an integer beyond all floats
            return False
    return value == expected


def _close(value: float, expected: float, atol: float) -> bool:
    try:
        value, expected = float(value), float(expected)
    except OverflowError:  # an integer beyond all floats
        return False
    if not (math.isfinite(value) and math.isfinite(expected)):
        return math.isnan(value) and math.isnan(expected)
    return abs(value - expected) <= atol + RTOL * abs(expected)


def same_output(output: str, expected: str) -> bool:
    """See the module's docstring."""
    lines, others = _lines(output), _lines(expected)
    return len(lines) == len(others) and all(
        line == other or _same_words(line.split(), other.split()) for line, other in zip(lines, others, strict=True))


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().split("\n")]


def _same_words(words: list[str], others: list[str]) -> bool:
    return len(words) == len(others) and all(
        word == other or _same_number(word, other) for word, other in zip(words, others, strict=True))


def _same_number(word: str, expected: str) -> bool:
    found, wanted = _NUMERAL.fullmatch(word), _NUMERAL.fullmatch(expected)
    if found is None or wanted is None:
        return False
    value, target = Decimal(word), Decimal(expected)
    if wanted[1] is None:
        return value == target
    return abs(value - target) <= Decimal("1e-6") * max(Decimal(1), abs(target))
