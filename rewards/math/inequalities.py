r"""Inequalities of one variable as intervals: `x \ge 2` is `[2,\infty)`, `1 < x \le 3` is `(1,3]`. Text to text.

The parser of the computer algebra path does not turn an interval into an inequality, nor `3 > x > 1` around.
"""

from __future__ import annotations

import re

from rlvr.rewards.math.latex import split_top, variables

_RELATIONS = {"<": "<", ">": ">", r"\le": "<=", r"\ge": ">=", r"\ne": "!="}
_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "!=": "!="}
_NAME = re.compile(r"(?:[A-Za-z]|\\[a-z]+)(?:_\{?\w\}?)?")
_OR = re.compile(r"\s*,?\s*(?:\\(?:text|mathrm)\s*\{\s*or\s*\}|\\lor(?![A-Za-z])|(?<![A-Za-z\\])or(?![A-Za-z]))\s*")
_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|.", re.DOTALL)


def as_intervals(text: str) -> tuple[str, str] | None:
    r"""(variable, union of intervals) of a normalized inequality, or of several joined by "or"; None for other text.

    The variable stands alone on its side, between values without it: `2x > 6` is left to computer algebra.
    """
    found = [_one(part) for part in _OR.split(text)]
    if not all(found):
        return None
    names = {name for name, _ in filter(None, found)}
    return (names.pop(), r" \cup ".join(part for _, part in filter(None, found))) if len(names) == 1 else None


def _one(text: str) -> tuple[str, str] | None:
    relations = [_RELATIONS[token] for token in _TOKEN.findall(text) if token in _RELATIONS]
    sides = split_top(text, frozenset(_RELATIONS))
    if len(sides) != len(relations) + 1 or len(sides) not in (2, 3) or not all(sides):
        return None
    at = [number for number, side in enumerate(sides) if _NAME.fullmatch(side) and side not in (r"\pi", r"\infty")]
    others = [side for number, side in enumerate(sides) if number not in at[:1]]
    if len(at) != 1 or (at[0] != len(sides) // 2 and len(sides) == 3) or any(map(_takes_part, others)):
        return None
    name = sides[at[0]]
    if any(variables(name) & variables(other) for other in others):
        return None
    if len(sides) == 2:
        value, relation = others[0], relations[0] if at[0] == 0 else _FLIPPED[relations[0]]
        return name, {"<": rf"(-\infty,{value})", "<=": rf"(-\infty,{value}]", ">": rf"({value},\infty)",
                      ">=": rf"[{value},\infty)", "!=": rf"(-\infty,{value}) \cup ({value},\infty)"}[relation]
    if relations[0][0] != relations[1][0] or "!=" in relations:
        return None
    (low, high), (first, second) = others, relations
    if first[0] == ">":
        low, high, first, second = high, low, _FLIPPED[second], _FLIPPED[first]
    left = "[" if first == "<=" and low != r"-\infty" else "("
    return name, f"{left}{low},{high}{']' if second == '<=' and high != chr(92) + 'infty' else ')'}"


def _takes_part(side: str) -> bool:
    """Whether what should be one value is a list, a set or another relation."""
    return len(split_top(side, frozenset({",", ";", "=", r"\in", r"\cup", r"\pm"}))) > 1 or side[:1] in "[" + "{"


def is_interval(text: str) -> bool:
    r"""Whether it is an interval or a union of some, and cannot be a point: `(1,2)` alone can."""
    parts = split_top(text, frozenset({r"\cup"}))
    return all(part[:1] in ("(", "[") and part[-1:] in (")", "]") and len(split_top(part[1:-1], frozenset({","}))) == 2
               for part in parts) and bool(len(parts) > 1 or "[" in text or "]" in text or r"\infty" in text)
