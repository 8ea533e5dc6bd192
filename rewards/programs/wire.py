"""Plain values as tagged JSON: the only form in which anything crosses the wall of a jail, in either direction.

Also runs inside the jail, so it imports the standard library only. Never pickle: unpickling what a candidate wrote
would run the candidate's code outside. What comes back from `unpack` is built of exact standard types, so that no `==`
of a candidate's class decides anything.

JSON itself carries None, bool, float, str, list and integers up to 2**53; the rest is an object with one tag:
`{"i": hex}` int, `{"t": [...]}` tuple, `{"s": [...]}` set, `{"z": [...]}` frozenset, `{"d": [[key, value], ...]}`
dict, `{"b": hex}` bytes, `{"c": [real, imaginary]}` complex, `{"q": [...]}` deque, `{"F": [n, d]}` Fraction,
`{"D": text}` Decimal, `{"o": number, "type": name}` an object that stays where it is; one that can be awaited has
"await" too, true for a coroutine. The rarer types, from ranges and dates to the linked nodes of LeetCode, are in
`rlvr.rewards.programs.wire_rare`.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from types import CoroutineType
from typing import Any

from rlvr.rewards.programs.wire_rare import MAKERS, TooDeep, deep_parts, rare

MAX_FRAME = 8 * 2**20
"""Bytes of one message. Larger ones are not read: the reason is `huge`."""
MAX_DEPTH = 150
"""Nesting of a value. Deeper ones are refused before a recursive routine meets them."""
JSON_INT = 2**53
COLLISIONS = 100
"""Values of equal hash in one set or dict: each costs as many comparisons, and k * (2**61 - 1) all have the hash 0."""

_SEQUENCES: tuple[tuple[str, type], ...] = (("t", tuple), ("s", set), ("z", frozenset), ("q", deque))
_BY_TAG = dict(_SEQUENCES)


class Opaque:
    """Stands for an object that could not leave the jail. Equal to nothing but itself."""

    def __init__(self, number: int, name: str, coroutine: bool = False) -> None:
        self.number, self.name = number, name


Keep = Callable[[Any], int]


def pack(value: Any, keep: Keep | None = None, depth: int = 0) -> Any:
    """`value` as data for `json.dumps`. Subclasses of base types (IntEnum, your own list) go as the base type.

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
    parts = deep_parts(value, kind)
    if parts is not None:
        return {parts[0]: [*parts[1], *(pack(part, keep, depth + 1) for part in parts[2])]}
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
    found = rare(value, kind)
    if found is not None:
        return found
    if keep is None:
        raise TypeError(f"a value of type {kind.__name__} cannot be sent")
    found = {"o": keep(value), "type": kind.__name__[:100]}
    return {**found, "await": kind is CoroutineType} if hasattr(kind, "__await__") else found


def unpack(data: Any, remote: Callable[..., Any] = Opaque, depth: int = 0) -> Any:
    """The value that `pack` packed. ValueError, TypeError or a relative of theirs if `data` is nothing of the kind."""
    if depth > MAX_DEPTH:
        raise TooDeep(f"nested deeper than {MAX_DEPTH}")
    if isinstance(data, list):
        return [unpack(item, remote, depth + 1) for item in data]
    if not isinstance(data, dict):
        return data
    if "o" in data:
        return remote(int(data["o"]), str(data.get("type", "")), *([data["await"] is True] if "await" in data else []))
    ((tag, content),) = data.items()
    if tag == "d":
        keys = _hashable([unpack(key, remote, depth + 1) for key, _ in content])
        return {key: unpack(item, remote, depth + 1) for key, (_, item) in zip(keys, content, strict=True)}
    if tag in _BY_TAG:
        items = [unpack(item, remote, depth + 1) for item in content]
        return _BY_TAG[tag](_hashable(items) if tag in ("s", "z") else items)
    if tag == "i":
        return int(content, 16)
    if tag in MAKERS:
        return MAKERS[tag](content, lambda part: unpack(part, remote, depth + 1), _hashable)
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
