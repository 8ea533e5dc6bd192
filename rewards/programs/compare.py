"""Whether what a program returned or printed is what was expected. Exact base types on both sides, in our process.

Values follow Python's `==` with three liberties that reference graders take too: a list and a tuple with equal items
are equal (JSON knows no tuples), NaN equals NaN, and where a float is expected |a - b| <= atol + 1e-7 |b| suffices,
with atol = 1e-6 unless the tests give another, which then holds where an integer is expected too, without the relative
part: 999999998 is not 999999999.
Output is compared line by line, blanks at both ends of a line and blank lines at both ends of the output aside; in a
line that differs, word by word, where numerals are equal by value, and within 1e-6 (relative above 1) if the expected
one has a point.

The time for all this is linear in the size of what came back: sets are compared by digests of their items, since a
candidate can choose items whose hashes collide (frozensets of frozensets, for which one `==` takes hours in C, where
nothing can stop it). A `Clock` ends whatever takes long all the same.
"""

from __future__ import annotations

import hashlib
import math
import re
import time
from decimal import Decimal
from fractions import Fraction
from typing import Any

from rlvr.rewards.programs.wire import MAX_DEPTH, TooDeep, unpack

ATOL, RTOL = 1e-6, 1e-7
SECONDS = 3.0
"""A comparison that takes longer is of a value made to take long: 8 MiB of honest lists take one."""
_NUMERAL = re.compile(r"[+-]?(?:\d{1,10000}(\.\d{0,60})?|\.\d{1,60})(?:[eE][+-]?\d{1,3})?", re.ASCII)
_SETS = {"s": set, "z": frozenset}


class TooLong(Exception):
    """The comparison ran out of time."""


class Clock:
    """Time for one comparison."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._end = time.monotonic() + seconds

    def check(self) -> None:
        if time.monotonic() > self._end:
            raise TooLong


class Bag:
    """The items of a set that came back, never hashed by Python."""

    def __init__(self, kind: type, items: list[Any]) -> None:
        self.kind, self.items = kind, items


class Pairs:
    """Keys and values of a dict that came back, never hashed by Python."""

    def __init__(self, pairs: list[tuple[Any, Any]]) -> None:
        self.pairs = pairs


def received(data: Any, clock: Clock, depth: int = 0) -> Any:
    """The value that `pack` packed, with a Bag for each set and Pairs for each dict; ValueError as `unpack`."""
    if depth > MAX_DEPTH:
        raise TooDeep(f"nested deeper than {MAX_DEPTH}")
    if isinstance(data, list):
        clock.check()
        return [received(item, clock, depth + 1) for item in data]
    if not isinstance(data, dict) or "o" in data:
        return data if not isinstance(data, dict) else unpack(data)
    ((tag, content),) = data.items()
    if tag in ("t", "q"):
        clock.check()
        items = [received(item, clock, depth + 1) for item in content]
        return tuple(items) if tag == "t" else Bag(list, items)  # a deque equals no list
    if tag == "n":
        return tuple(received(item, clock, depth + 1) for item in content[2:])
    if tag in _SETS:
        return Bag(_SETS[tag], [received(item, clock, depth + 1) for item in content])
    if tag in ("d", "C"):
        pairs = content if tag == "d" else content[1:]
        return Pairs([(received(key, clock, depth + 1), received(item, clock, depth + 1))
                      for key, item in (pair if isinstance(pair, list) else pair["t"] for pair in pairs)])
    if tag == "A":
        return received(content[0], clock, depth + 1)
    if tag in ("k", "l", "L"):
        return unpack({"o": 0, "type": {"k": "dict_keys", "l": "slice", "L": "ListNode"}[tag]})
    return unpack(data)


def same_value(value: Any, expected: Any, atol: float | None = None, clock: Clock | None = None) -> bool:
    """See the module's docstring. Nesting is bounded by `wire.MAX_DEPTH`; objects of other classes equal nothing."""
    clock = clock or Clock()
    if isinstance(expected, list | tuple):
        clock.check()
        return isinstance(value, list | tuple) and len(value) == len(expected) and all(
            same_value(a, b, atol, clock) for a, b in zip(value, expected, strict=True))
    if isinstance(expected, dict):
        return _same_dict(value, expected, atol, clock)
    if isinstance(value, Bag):
        if isinstance(expected, set | frozenset):
            return value.kind is not list and {_digest(item, clock) for item in value.items} == {
                _digest(item, clock) for item in expected}
        return value.kind is list and type(expected).__name__ == "deque" and same_value(
            value.items, list(expected), atol, clock)
    if isinstance(value, int | float) and isinstance(expected, int | float):
        if atol is None and isinstance(expected, float):
            atol = ATOL
        return value == expected or (atol is not None and _close(value, expected, atol))
    if isinstance(expected, complex) and isinstance(value, int | float | complex):
        try:
            return abs(value - expected) <= (ATOL if atol is None else atol) + RTOL * abs(expected)
        except OverflowError:  # an integer beyond all floats
            return False
    return not isinstance(value, Pairs) and value == expected


def _same_dict(value: Any, expected: dict[Any, Any], atol: float | None, clock: Clock) -> bool:
    if isinstance(value, dict):
        value = Pairs(list(value.items()))
    if not isinstance(value, Pairs) or len(value.pairs) != len(expected):
        return False
    found = {_digest(key, clock): item for key, item in value.pairs}
    wanted = {_digest(key, clock): item for key, item in expected.items()}
    return found.keys() == wanted.keys() and all(same_value(found[key], wanted[key], atol, clock) for key in wanted)


def _digest(value: Any, clock: Clock) -> Any:
    """What stands for an item of a set or a key of a dict: equal for equal items, and not to be made to collide."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int) and -(2**60) < value < 2**60:
        return int(value)
    clock.check()
    text = _spelt(value, clock)
    if text[0] == "i" and len(text) < 16:  # 1.0 is 1
        return int(text[1:], 16)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=20).digest()


def _spelt(value: Any, clock: Clock) -> str:
    """One text for all values that are equal to Python."""
    if isinstance(value, bool | int):
        return f"i{int(value):x}"
    if isinstance(value, float):
        if value.is_integer():
            return f"i{int(value):x}"
        return f"r{value.as_integer_ratio()}" if math.isfinite(value) else f"f{value}"
    if isinstance(value, complex):
        return _spelt(value.real, clock) if value.imag == 0 else f"c{value.real!r},{value.imag!r}"
    if isinstance(value, Fraction):
        whole = value.denominator == 1
        return f"i{value.numerator:x}" if whole else f"r{(value.numerator, value.denominator)}"
    if isinstance(value, Decimal) and value.is_finite() and abs(value.adjusted()) < 400:
        return _spelt(Fraction(value), clock)
    if isinstance(value, tuple | list):
        clock.check()
        return f"t{[_digest(item, clock) for item in value]}"
    if isinstance(value, (Bag, set | frozenset)):
        items = value.items if isinstance(value, Bag) else value
        return f"s{sorted({repr(_digest(item, clock)) for item in items})}"
    return f"{type(value).__name__} {value}"


def _close(value: float, expected: float, atol: float) -> bool:
    rtol = RTOL if isinstance(expected, float) else 0.0
    try:
        value, expected = float(value), float(expected)
    except OverflowError:  # an integer beyond all floats
        return False
    if not (math.isfinite(value) and math.isfinite(expected)):
        return math.isnan(value) and math.isnan(expected)
    return abs(value - expected) <= atol + rtol * abs(expected)


def same_output(output: str, expected: str) -> bool:
    """See the module's docstring."""
    lines, others = _lines(output), _lines(expected)
    return len(lines) == len(others) and all(
        line == other or _same_words(line.split(), other.split()) for line, other in zip(lines, others, strict=True))


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.strip().split("\n")]


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
