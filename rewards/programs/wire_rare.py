"""The rarer plain values that cross the wall of a jail: see `rlvr.rewards.programs.wire`, which is their only user.

`{"r": [start, stop, step]}` range, `{"l": [start, stop, step]}` slice, `{"T": [name, ...]}` date, time, datetime or
timedelta, `{"e": name}` a built-in type, Ellipsis or NotImplemented, `{"a": hex}` bytearray, `{"k": [name, ...]}` keys,
values or items of a dict, `{"C": [name, [key, value], ...]}` Counter, OrderedDict or defaultdict, `{"n": [name, fields,
...]}` namedtuple, `{"L": [class, nodes, ...]}` the linked nodes of LeetCode, `{"A": [...]}` numpy arrays and scalars as
lists and numbers. Runs inside the jail too: standard library only.
"""

from __future__ import annotations

import builtins
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable, Iterable
from typing import Any

from rlvr.rewards.programs.leetcode import LINKS, node_class

EXACT_DIGITS = 20_000
"""Of a Decimal, and hexadecimal ones of a Fraction's numerator or denominator: to compare them takes their greatest
common divisor, in quadratic time."""
NAMED = 100
"""Different namedtuples that are made again; further ones come back as tuples, since each takes a tenth of a ms."""

_TIMES = {"date": ("year", "month", "day"), "time": ("hour", "minute", "second", "microsecond"),
          "datetime": ("year", "month", "day", "hour", "minute", "second", "microsecond"),
          "timedelta": ("days", "seconds", "microseconds")}
_VIEWS: dict[type, str] = {type({}.keys()): "keys", type({}.values()): "values", type({}.items()): "items"}
_DICTS: dict[type, str] = {Counter: "Counter", OrderedDict: "OrderedDict", defaultdict: "defaultdict"}
_named: dict[tuple[str, ...], type] = {}

Unpack = Callable[[Any], Any]
Check = Callable[[list[Any]], list[Any]]


class TooDeep(ValueError):
    """A value is nested deeper than MAX_DEPTH, or made so that to build it takes hours."""


def deep_parts(value: Any, kind: type) -> tuple[str, list[Any], Iterable[Any]] | None:
    """Tag, plain head and parts (values of any kind) of a container; None for one that is not of the rarer kinds."""
    if kind is slice:
        return "l", [], (value.start, value.stop, value.step)
    if kind in _DICTS:
        return "C", [_DICTS[kind]], list(dict.items(value))
    if kind in _VIEWS:
        return "k", [_VIEWS[kind]], list(value)
    fields = getattr(kind, "_fields", None) if issubclass(kind, tuple) and kind is not tuple else None
    if isinstance(fields, tuple) and all(type(name) is str for name in fields) and len(fields) == tuple.__len__(value):
        return "n", [kind.__name__, list(fields)], tuple.__iter__(value)
    if kind.__name__ in LINKS and all(hasattr(value, link) for link in ("val", *LINKS[kind.__name__])):
        nodes = _nodes(value, LINKS[kind.__name__], kind)
        return "L", [kind.__name__, [links for _, links in nodes]], [node for node, _ in nodes]
    return None


def _nodes(root: Any, links: tuple[str, ...], kind: type) -> list[tuple[Any, list[int]]]:
    """The value of each node that can be reached from `root` and the places of its neighbours, -1 for none."""
    order, place = [root], {id(root): 0}
    found = []
    for node in order:
        neighbours = []
        for link in links:
            other = getattr(node, link, None)
            if type(other) is not kind:
                neighbours.append(-1)
                continue
            if id(other) not in place:
                place[id(other)] = len(order)
                order.append(other)
            neighbours.append(place[id(other)])
        found.append((getattr(node, "val", None), neighbours))
    return found


def rare(value: Any, kind: type) -> Any:
    """A value without parts of other kinds, as data; None for one of another kind."""
    if issubclass(kind, (bytes, bytearray)):
        return {"a" if issubclass(kind, bytearray) else "b": bytes(value).hex()}
    if issubclass(kind, complex):
        value = complex.__complex__(value) if hasattr(complex, "__complex__") else value
        return {"c": [value.real, value.imag]}
    if kind is range:
        return {"r": [hex(value.start), hex(value.stop), hex(value.step)]}
    if value is ... or value is NotImplemented:
        return {"e": repr(value)}
    if kind is type and getattr(builtins, value.__name__, None) is value:
        return {"e": value.__name__}
    where = (kind.__module__, kind.__name__)
    if where == ("fractions", "Fraction"):
        return {"F": [hex(value.numerator), hex(value.denominator)]}
    if where == ("decimal", "Decimal"):
        return {"D": str(value)}
    if where[0] == "datetime" and where[1] in _TIMES and getattr(value, "tzinfo", None) is None:
        return {"T": [where[1], *(int(getattr(value, name)) for name in _TIMES[where[1]])]}
    if where[0] == "numpy" and hasattr(value, "tolist"):
        return {"A": [_listed(value.tolist())]}
    return None


def _listed(value: Any) -> Any:
    """What numpy makes of an array: numbers, text, or lists of them; anything else is text."""
    if isinstance(value, list):
        return [_listed(item) for item in value]
    if isinstance(value, complex):
        return {"c": [value.real, value.imag]}
    if isinstance(value, int) and not -(2**53) <= value <= 2**53:
        return {"i": hex(value)}
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _time(content: list[Any]) -> Any:
    import datetime

    if content[0] not in _TIMES:
        raise ValueError(f"no time: {str(content[0])[:20]}")
    return getattr(datetime, content[0])(*[int(part) for part in content[1:]])


def _view(content: list[Any], unpack: Unpack, check: Check) -> Any:
    name, *items = content
    if name == "values":
        return dict(enumerate([unpack(item) for item in items])).values()
    found = [unpack(item) for item in items]
    if name == "items":
        check([key for key, _ in found])
        return dict(found).items()
    return dict.fromkeys(check(found)).keys()


def _dict(content: list[Any], unpack: Unpack, check: Check) -> Any:
    pairs = [unpack(pair) for pair in content[1:]]
    check([key for key, _ in pairs])
    if content[0] == "defaultdict":
        return defaultdict(None, pairs)
    return OrderedDict(pairs) if content[0] == "OrderedDict" else Counter(dict(pairs))


def _namedtuple(content: list[Any], unpack: Unpack) -> Any:
    name, fields, *values = content
    key = (str(name), *map(str, fields))
    if key not in _named and len(_named) < NAMED:
        _named[key] = namedtuple(key[0] if key[0].isidentifier() else "Tuple", key[1:], rename=True)
    found = [unpack(value) for value in values]
    return _named[key](*found) if key in _named else tuple(found)


def _linked(content: list[Any], unpack: Unpack) -> Any:
    name, table, *values = content
    links = LINKS[name]
    cls = node_class(name)
    nodes = [cls.__new__(cls) for _ in values]
    for node, value, neighbours in zip(nodes, values, table, strict=True):
        node.val = unpack(value)
        for link, place in zip(links, neighbours, strict=True):
            setattr(node, link, nodes[place] if place >= 0 else None)
    return nodes[0]


def _singleton(name: str) -> Any:
    if name in ("Ellipsis", "NotImplemented"):
        return ... if name == "Ellipsis" else NotImplemented
    found = getattr(builtins, name, None)
    if not isinstance(found, type):
        raise ValueError(f"no built-in type: {name[:40]}")
    return found


def _fraction(content: list[str]) -> Any:
    from fractions import Fraction

    if max(map(len, content)) > EXACT_DIGITS:
        raise TooDeep("a fraction with too many digits")
    return Fraction(int(content[0], 16), int(content[1], 16))


def _decimal(content: str) -> Any:
    from decimal import Decimal

    if len(content) > EXACT_DIGITS:
        raise TooDeep("a decimal with too many digits")
    number = Decimal(content)
    if number.is_snan():
        raise ValueError("a signalling NaN: to compare it is an exception")
    return number


def update(argument: Any, after: Any) -> Any:
    """Make a mutable value equal to `after` in place, and the lists and dicts in it too. Returns it, or `after` where
    that cannot be done in place."""
    if type(argument) is not type(after):
        return after
    if isinstance(argument, list):
        argument[:] = [update(*pair) for pair in zip(argument, after, strict=False)] + after[len(argument) :]
    elif isinstance(argument, dict):
        new = {key: update(argument[key], value) if key in argument else value for key, value in after.items()}
        argument.clear()
        argument.update(new)
    elif isinstance(argument, set):
        argument.clear()
        argument.update(after)
    elif isinstance(argument, deque):
        argument.clear()
        argument.extend(after)
    elif isinstance(argument, bytearray):
        argument[:] = after
    elif type(argument).__name__ in LINKS:
        vars(argument).update(vars(after))
    else:
        return after
    return argument


MAKERS: dict[str, Callable[[Any, Unpack, Check], Any]] = {
    "a": lambda content, unpack, check: bytearray.fromhex(content),
    "b": lambda content, unpack, check: bytes.fromhex(content),
    "c": lambda content, unpack, check: complex(*content),
    "e": lambda content, unpack, check: _singleton(content),
    "l": lambda content, unpack, check: slice(*[unpack(part) for part in content]),
    "r": lambda content, unpack, check: range(*[int(part, 16) for part in content]),
    "A": lambda content, unpack, check: unpack(content[0]),
    "C": _dict,
    "D": lambda content, unpack, check: _decimal(content),
    "F": lambda content, unpack, check: _fraction(content),
    "L": lambda content, unpack, check: _linked(content, unpack),
    "T": lambda content, unpack, check: _time(content),
    "k": _view,
    "n": lambda content, unpack, check: _namedtuple(content, unpack),
}
"""By tag: the content, what unpacks a part of it, and what refuses keys chosen to collide -> the value."""
