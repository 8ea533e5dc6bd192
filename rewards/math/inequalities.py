r"""Sets of real numbers as unions of intervals: `x \ge 2` is `[2,\infty)`, `|x| < 2` is `(-2,2)`. Text to text.

Read are inequalities of one variable, moduli, set builders (`\{x \mid x > 1\}`), `\mathbb{R} \setminus \{0\}` and
`x \ne 0, x \ne 1`. The parser of the computer algebra path knows none of these, nor does it turn `3 > x > 1` around.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from itertools import pairwise, product
from typing import NamedTuple

from rlvr.rewards.math.latex import closes_at, split_top, variables
from rlvr.rewards.math.numbers import read_number, read_sequence
from rlvr.rewards.math.quantities import is_constant

Value = Callable[[str], float | None]
"""The value of a constant, None where it has none."""

_RELATIONS = {"<": "<", ">": ">", r"\le": "<=", r"\ge": ">=", r"\ne": "!="}
_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "!=": "!="}
_NAME = re.compile(r"(?:[A-Za-z]|\\[a-z]+)(?:_\{?\w\}?)?")
_OR = re.compile(r"\s*,?\s*(?:\\(?:text|mathrm)\s*\{\s*or\s*\}|\\l?or(?![A-Za-z])|\\vee(?![A-Za-z])|"
                 r"(?<![A-Za-z\\])or(?![A-Za-z]))\s*")
_AND = re.compile(r"\s*(?:,|,?\s*\\(?:text|mathrm)\s*\{\s*,?\s*and\s*\}|\\l?and(?![A-Za-z])|\\wedge(?![A-Za-z])|"
                  r"(?<![A-Za-z\\])and(?![A-Za-z]))\s*")
_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|.", re.DOTALL)
_BUILDER = re.compile(r"\\\{\s*([A-Za-z])\s*(?:\\in\s*\\mathbb\{R\}\s*)?(?:\||:)\s*(.*)\\\}")
_MODULUS = re.compile(r"\|\s*([A-Za-z])\s*(?:([-+])\s*([^|]+?))?\s*\|\s*(<|>|\\le|\\ge)\s*([^<>=|,]+)")
_WITHOUT = re.compile(r"(?:[A-Za-z]\s*\\in\s*)?(?:\\mathbb\{R\}|\(-\\infty ?, ?\\infty ?\))\s*"
                      r"(?:\\setminus|-|\\)\s*\\\{(.+)\\\}|"
                      r"(?:\\text\s*\{\s*)?all real numbers except(?: for)?\s*\}?\s*(?:x\s*=\s*)?([^{}]+)\}?")
_HALF = re.compile(r"\\mathbb\{R\}\s*(?:\^\s*(?:\{\s*\+\s*\}|\+)|_\s*(?:\{\s*(?:\+|>\s*0|(\\ge\s*0))\s*\}|\+))")
_NOT_PLUS_MINUS = re.compile(r"\\ne\s*\\pm\s*([^,\\]+)$")
_ALL = re.compile(r"\\mathbb\{R\}|(?:\\text\s*\{\s*)?all real numbers\s*\}?|"
                  r"[A-Za-z]\s*\\in\s*(?:\\mathbb\{R\}|\(-\\infty ?, ?\+?\\infty ?\))")
_MEMBER = re.compile(r"([A-Za-z]|\\[a-z]+)\s*\\in(?![A-Za-z])\s*([(\[].*)")
_SET_SIGNS = re.compile(r"[<>]|\\(?:le|ge|ne|in|cup|mathbb)(?![A-Za-z])")
_DESCRIBES = re.compile(r"[<>|]|\\\{|\\(?:le|ge|ne|in|mathbb)(?![A-Za-z])|all real")
"""What every description of a set that is read here has, and most answers have not."""
_MAX_PARTS = 8


class Region(NamedTuple):
    """The name of the variable, "" where none is said, and the intervals."""

    name: str
    union: str


def as_intervals(gold: str, answer: str, value: Value, asked: str = "") -> tuple[str, str] | bool | None:
    """Both as unions of intervals where one is another description of a set and the other is one too or an interval.

    False: one is a set, the other a list of values or a point. `(1, 2)` alone is an interval where its ends are in
    order, unless `asked`, the question and its gold answer as it was given, is about points, pairs or vectors.
    """
    if not _DESCRIBES.search(gold) and not _DESCRIBES.search(answer):
        return None
    of_gold, of_answer = read_region(gold, value), read_region(answer, value)
    if of_gold is None and of_answer is None:
        return None
    if of_gold is not None and of_answer is not None:
        same_name = of_gold.name == of_answer.name or "" in (of_gold.name, of_answer.name)
        return (of_gold.union, of_answer.union) if same_name else None
    if of_gold is not None:
        if answer[:1] in ("(", "["):
            return of_gold.union, answer
        return False if _is_list(answer) else None
    assert of_answer is not None
    if is_interval(gold):
        return gold, of_answer.union
    if not _in_order(gold, value):
        return None
    return (_POINT.search(asked) is None or answer.endswith(gold)) and (gold, of_answer.union)


def _is_list(text: str) -> bool:
    sequence = read_sequence(text)
    return sequence is not None and not sequence.brackets and not _SET_SIGNS.search(text)


def _in_order(text: str, value: Value) -> bool:
    """Whether it is a pair of constants, the smaller one first."""
    if text[:1] != "(" or closes_at(text) != len(text) - 1:
        return False
    ends = [_end(end, value) for end in split_top(text[1:-1], frozenset({","}))]
    return len(ends) == 2 and None not in ends and ends[0] < ends[1]  # pyright: ignore[reportOptionalOperand]


_POINT = re.compile(r"(?i)\b(?:points?|ordered pairs?|pairs?|coordinates?|vertex|vertices|vectors?|cent(?:er|re)|"
                    r"foc(?:us|i)|tuples?)\b|\(\s*[a-zA-Z]\s*,\s*[a-zA-Z]\s*\)|(?-i:\b[A-CE-HK-QT-Z]\s*=\s*\([^()=]*\)\s*$)")
"""The last one: a gold answer P = (3, 5), with a letter that is usual for no domain, interval, range or set. In the
question A = (0, 2) may well be an interval."""


def read_region(text: str, value: Value) -> Region | None:
    r"""A set that is not written as intervals; None for other text.

    The variable stands alone on its side, between values without it: `2x > 6` is left to computer algebra.
    """
    if _ALL.fullmatch(text):
        return Region("", r"(-\infty,\infty)")
    half = _HALF.fullmatch(text)
    if half is not None:
        return Region("", r"[0,\infty)" if half[1] else r"(0,\infty)")
    text = _NOT_PLUS_MINUS.sub(r"\\ne -\1, \1", text)
    without = _WITHOUT.fullmatch(text)
    if without is not None:
        union = _all_but([part for each in split_top(without[1] or without[2], frozenset({",", ";"}))
                          for part in _AND.split(each)])
        return union and Region("", union)
    builder = _BUILDER.fullmatch(text)
    if builder is not None:
        inside = read_region(builder[2].strip(), value)
        return None if inside is None or inside.name != builder[1] else Region("", inside.union)
    member = _MEMBER.fullmatch(text)
    if member is not None and _is_union(member[2]):
        return Region(member[1], member[2])
    modulus = _MODULUS.fullmatch(text)
    if modulus is not None:
        return _modulus(modulus)
    left_out = _left_out(text)
    if left_out is not None:
        return left_out
    found = [_all_of(part, value) for part in _OR.split(text)]
    if not all(found):
        return None
    names = {name for name, _ in filter(None, found)}
    union = r" \cup ".join(part for _, part in filter(None, found))
    return Region(names.pop(), union) if len(names) == 1 else None


def _all_of(text: str, value: Value) -> tuple[str, str] | None:
    r"""What `1 < x < 3, x \ne 2` and `x > 1 \text{ and } x < 3` have in common."""
    parts = _AND.split(text)
    found = [_real(part) or _one(part) for part in parts]
    if len(parts) == 1:
        return _one(text)
    names = {each[0] for each in found if each}
    if not all(found) or len(names) != 1 or len(parts) > _MAX_PARTS or (
            "," in text and not any("!=" in _relations(part) or _real(part) for part in parts)):
        return None  # x < 1, x > 3 may mean both
    common = r"(-\infty,\infty)"
    for each in found:
        common = _common(common, each[1], value) if each and common else ""
    return (names.pop(), common) if common else None


def _real(text: str) -> tuple[str, str] | None:
    match = re.fullmatch(r"([A-Za-z])\s*\\in\s*\\mathbb\{R\}", text)
    return match and (match[1], r"(-\infty,\infty)")


def _common(union: str, other: str, value: Value) -> str:
    """The intersection of two unions of intervals; "" where it is empty, or has ends that are no constants."""
    found: list[str] = []
    for one, two in product(_intervals(union, value), _intervals(other, value)):
        low, high = max(one[0], two[0]), min(one[1], two[1])
        if low[0] < high[0]:
            found.append(f"{'(' if low[1] else '['}{low[2]},{high[2]}{']' if high[1] else ')'}")
    return r" \cup ".join(found)


def _intervals(union: str, value: Value) -> list[tuple[tuple[float, int, str], tuple[float, int, str]]]:
    """Both ends of each interval: value, text, and in between a number that is larger the more it takes away at a low
    end, the less at a high one. None of them where one has an end without a value."""
    found = []
    for part in split_top(union, frozenset({r"\cup"})):
        low, high = split_top(part[1:-1], frozenset({","}))
        at, to = _end(low, value), _end(high, value)
        if at is None or to is None:
            return []
        found.append(((at, int(part[0] == "("), low), (to, int(part[-1] == "]"), high)))
    return found


def _end(text: str, value: Value) -> float | None:
    if text.lstrip("+") == r"\infty":
        return math.inf
    if text == r"-\infty":
        return -math.inf
    number = read_number(text)
    return float(number.value) if number else value(text) if is_constant(text) else None


def _left_out(text: str) -> Region | None:
    r"""`x \ne 0, x \ne 1` and `x \ne 0, 1`: all reals but some."""
    parts = _AND.split(text)
    first = split_top(parts[0], frozenset({r"\ne"}))
    if len(parts) < 2 or len(first) != 2 or not _NAME.fullmatch(first[0]):
        return None
    values = []
    for part in parts:
        sides = split_top(part, frozenset({r"\ne"}))
        if len(sides) > 2 or (len(sides) == 2 and sides[0] != first[0]):
            return None
        values.append(sides[-1])
    union = _all_but(values)
    return union and Region(first[0], union)


def _all_but(points: list[str]) -> str | None:
    numbers = [read_number(point) for point in points]
    if any(variables(point) or not point for point in points) or (len(points) > 1 and not all(numbers)):
        return None
    values = [number.value if number else 0 for number in numbers]
    ordered = [point for _, point in sorted(zip(values, points, strict=True))]
    ends = [r"-\infty", *ordered, r"\infty"]
    return r" \cup ".join(f"({left},{right})" for left, right in pairwise(ends))


def _modulus(match: re.Match[str]) -> Region | None:
    name, sign, centre, relation, radius = match.groups()
    if variables(radius) or (centre and variables(centre)):
        return None
    at, by = read_number(centre or "0"), read_number(radius)
    if at is not None and by is not None:
        middle = at.value if sign == "-" else -at.value
        if by.value <= 0:
            return None
        low, high = str(middle - by.value), str(middle + by.value)
    elif centre is None:
        low, high = f"-{radius.strip()}", radius.strip()
    else:
        return None
    left, right = ("[", "]") if "e" in relation else ("(", ")")
    if relation in ("<", r"\le"):
        return Region(name, f"{left}{low},{high}{right}")
    return Region(name, rf"(-\infty,{low}{right} \cup {left}{high},\infty)")


def _relations(text: str) -> list[str]:
    return [_RELATIONS[token] for token in _TOKEN.findall(text) if token in _RELATIONS]


def _one(text: str) -> tuple[str, str] | None:
    relations = _relations(text)
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
    return len(split_top(side, frozenset({",", ";", "=", r"\in", r"\cup", r"\pm", "|"}))) > 1 or side[:1] in "[" + "{"


def is_interval(text: str) -> bool:
    r"""Whether it is an interval or a union of some, and cannot be a point: `(1,2)` alone can."""
    return _is_union(text) and bool(r"\cup" in text or "[" in text or "]" in text or r"\infty" in text)


def _is_union(text: str) -> bool:
    return all(part[:1] in ("(", "[") and part[-1:] in (")", "]") and closes_at(part) == len(part) - 1 and
               len(split_top(part[1:-1], frozenset({","}))) == 2 for part in split_top(text, frozenset({r"\cup"})))
