"""Plain values as tagged JSON: the only form in which anything crosses the wall of a jail, in either direction.

Also runs inside the jail, so it imports the standard library only. Never pickle: unpickling what a candidate wrote
would run the candidate's code outside. What comes back from `unpack` is built of exact base types, so that no `==`
of a candidate's class decides anything.

JSON itself carries None, bool, float, str, list and integers up to 2**53; the rest is an object with one tag:
`{"i": hex}` int, `{"t": [...]}` tuple, `{"s": [...]}` set, `{"z": [...]}` frozenset, `{"d": [[key, value], ...]}`
dict, `{"b": hex}` bytes, `{"c": [real, imaginary]}` complex, `{"q": [...]}` deque, `{"F": [n, d]}` Fraction,
`{"D": text}` Decimal, `{"o": number, "type": name}` an object that stays where it is.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from typing import Any

MAX_FRAME = 8 * 2**20
"""Bytes of one message. Larger ones are not read: the reason is `huge`."""
MAX_DEPTH = 150
"""Nesting of a value. Deeper ones are refused before a recursive routine meets them."""
JSON_INT = 2**53
FRACTION_DIGITS = 20_000
"""Hexadecimal digits of a numerator or denominator: Fraction takes their greatest common divisor, in quadratic time."""
COLLISIONS = 100
"""Values of equal hash in one set or dict: each costs as many comparisons, and k * (2**61 - 1) all have the hash 0."""

_SEQUENCES: tuple[tuple[str, type], ...] = (("t", tuple), ("s", set), ("z", frozenset), ("q", deque))


class TooDeep(ValueError):
    """A value is nested deeper than MAX_DEPTH, or made so that to build it takes hours."""


class Opaque:
    """Stands for an object that could not leave the jail. Equal to nothing but itself."""

    def __init__(self, number: int, name: str) -> None:
        self.number, self.name = number, name


def pack(value: Any, keep: Callable[[Any], int] | None = None, depth: int = 0) -> Any:
    """`value` as data for `json.dumps`. Subclasses of base types (Counter, IntEnum) go as the base type.

    `keep` is called with an object of any other type and returns the number under which it can be asked for; without
    it such an object is a TypeError. Raises TooDeep.
    """
    if depth > MAX_DEPTH:
        raise TooDeep(f"nested deeper than {MAX_DEPTH}")
    kind = type(value)
    if value is None or kind is bool or kind is float or kind is str:
        return value
    if issubclass(kind, int):
        value = int.__index__(value)
        return value if -JSON_INT <= value <= JSON_INT else {"i": hex(value)}
    if kind is list:
        return [pack(item, keep, depth + 1) for item in value]
    if issubclass(kind, dict):
        return {"d": [[pack(k, keep, depth + 1), pack(v, keep, depth + 1)] for k, v in dict.items(value)]}
    if issubclass(kind, list):
        return [pack(item, keep, depth + 1) for item in list.__iter__(value)]
    for tag, sequence in _SEQUENCES:
        if issubclass(kind, sequence):
            return {tag: [pack(item, keep, depth + 1) for item in sequence.__iter__(value)]}
    if issubclass(kind, str):
        return str.__str__(value)
    if issubclass(kind, float):
        return float.__float__(value)
    return _pack_rare(value, kind, keep)


def _pack_rare(value: Any, kind: type, keep: Callable[[Any], int] | None) -> Any:
    if issubclass(kind, (bytes, bytearray)):
        return {"b": bytes(value).hex()}
    if issubclass(kind, complex):
        return {"c": [value.real, value.imag]}
    if (kind.__module__, kind.__name__) == ("fractions", "Fraction"):
        return {"F": [hex(value.numerator), hex(value.denominator)]}
    if (kind.__module__, kind.__name__) == ("decimal", "Decimal"):
        return {"D": str(value)}
    if keep is None:
        raise TypeError(f"a value of type {kind.__name__} cannot be sent")
    return {"o": keep(value), "type": kind.__name__[:100]}


def unpack(data: Any, remote: Callable[[int, str], Any] = Opaque, depth: int = 0) -> Any:
    """The value that `pack` packed. ValueError, TypeError or a relative of theirs if `data` is nothing of the kind."""
    if depth > MAX_DEPTH:
        raise TooDeep(f"nested deeper than {MAX_DEPTH}")
    if isinstance(data, list):
        return [unpack(item, remote, depth + 1) for item in data]
    if not isinstance(data, dict):
        return data
    if "o" in data:
        return remote(int(data["o"]), str(data.get("type", "")))
    ((tag, content),) = data.items()
    if tag == "d":
        keys = _hashable([unpack(key, remote, depth + 1) for key, _ in content])
        return {key: unpack(item, remote, depth + 1) for key, (_, item) in zip(keys, content, strict=True)}
    for name, sequence in _SEQUENCES:
        if tag == name:
            items = [unpack(item, remote, depth + 1) for item in content]
            return sequence(_hashable(items) if name in ("s", "z") else items)
    if tag == "i":
        return int(content, 16)
    if tag == "b":
        return bytes.fromhex(content)
    if tag == "c":
        return complex(*content)
    if tag == "F":
        from fractions import Fraction

        if max(map(len, content)) > FRACTION_DIGITS:
            raise TooDeep("a fraction with too many digits")
        return Fraction(int(content[0], 16), int(content[1], 16))
    if tag == "D":
        from decimal import Decimal

        number = Decimal(content)
        if number.is_snan():
            raise ValueError("a signalling NaN: to compare it is an exception")
        return number
    raise ValueError(f"unknown tag {tag!r}")


def _hashable(items: list[Any]) -> list[Any]:
    """`items`, of which a set can be built in linear time; TooDeep where they were chosen to collide."""
    if len(items) > COLLISIONS and len(items) - len(set(map(hash, items))) > COLLISIONS:
        raise TooDeep("values whose hashes collide")
    return items


def dump(message: Any, _dumps: Callable[..., str] = json.dumps) -> bytes:
    """One message as a frame: four bytes of length, then JSON in ASCII."""
    body = _dumps(message).encode("ascii")
    return len(body).to_bytes(4, "big") + body


def load(body: bytes, _loads: Callable[..., Any] = json.loads) -> Any:
    """The message in a frame's body. ValueError if it is none, hopelessly nested ones included."""
    try:
        return _loads(body)
    except RecursionError as error:
        raise TooDeep("nested JSON") from error
