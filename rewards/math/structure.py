r"""Lists, sets, tuples and intervals of anything, part by part: brackets, order and multiplicity count.

The algebra system is not asked about the whole: it reads `(3, \frac{\pi}{2})` and `[3, \frac{\pi}{2}]` alike as an
empty interval, lists as sets, and `x = 1, y = 2` as the values 1 and 2 in any order.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Literal

from rlvr.rewards.math.latex import closes_at, split_top, squeezed
from rlvr.rewards.math.numbers import Sequence
from rlvr.rewards.math.quantities import is_name

MAX_PARTS = 40
"""Each part of a list may have to be compared with each of the other."""


# rho before theta: (rho, theta, phi) are coordinates
_GREEK = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "rho", "theta", "iota", "kappa", "lambda", "mu",
          "nu", "xi", "pi", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega")
_COLUMN = re.compile(r"\\begin\s*\{([pb]matrix)\}((?:(?!\\begin).)*)\\end\s*\{\1\}")
_NAME = re.compile(r"\\(?:var)?([a-z]+)|[A-Za-z]+")


def set_for_tuple(gold: str, answer: str) -> bool:
    r"""Whether one lists elements in braces and the other in round or square brackets: \{1,2\} is neither a point nor
    an interval."""
    return {_kind(gold), _kind(answer)} == {"set", "tuple"}


def as_vectors(gold: str, answer: str) -> tuple[str, str]:
    """A column or row of numbers in the brackets of a matrix as a tuple, where the other one is a tuple."""
    texts = gold, answer
    if not any(_kind(text) == "tuple" and text[0] + text[-1] == "()" for text in texts):
        return texts
    return _as_tuple(gold), _as_tuple(answer)


def _as_tuple(text: str) -> str:
    column = _COLUMN.fullmatch(text)
    if column is None or ("&" in column[2] and "\\\\" in column[2].strip().removesuffix("\\\\")):
        return text
    parts = [part.strip() for part in re.split(r"&|\\\\", column[2])]
    return f"({', '.join(part for part in parts if part)})"


def _kind(text: str) -> str:
    if not text.startswith(("(", "[", r"\{")) or closes_at(text) != len(text) - (2 if text[-2:] == r"\}" else 1):
        return ""
    braces = text.startswith(r"\{")
    inner = text[2:-2] if braces else text[1:-1]
    if len(split_top(inner, frozenset({",", ";"}))) < 2:
        return ""
    return "set" if braces else "tuple"


def in_usual_order(names: list[str]) -> bool:
    r"""Whether values stand where a tuple has them: x before y, x_1 before x_2, AB before BC, r before \theta."""
    places = [place(name) for name in names]
    return None not in places and all(
        one < other for one, other in pairwise(place for place in places if place is not None))


def shuffled(names: list[str]) -> bool:
    """Whether they are coordinates in another order than the usual one, (y, x); (n, k) may be the question's own."""
    bases = {re.sub(r"_.*|[{} ]", "", name) for name in names}
    coordinates = len(bases) == 1 or any(bases <= set(group) for group in ("xyz", "abcd"))
    return coordinates and not in_usual_order(names)


def place(name: str) -> tuple[bool, str, int] | None:
    """Where a name stands among coordinates: letters of the alphabet first, by index; None for what is no name."""
    base, _, index = re.sub(r"\((\d+)\)$", r"_\1", re.sub(r"[{} ]", "", name)).partition("_")
    letter = _NAME.fullmatch(base)
    if letter is None or (index and not index.isdecimal()) or (letter[1] and letter[1] not in _GREEK):
        return None
    at = int(index) if index else -1
    return (True, f"{_GREEK.index(letter[1]):02}", at) if letter[1] else (False, base.lower(), at)


def compare_parts(
    gold: Sequence, answer: Sequence, same: Callable[[str, str], bool]
) -> Literal["same", "other", "multiset"] | None:
    """`same` judges two parts (gold first). None: too many parts to tell.

    "multiset": the same elements, but not the same number of times each.
    """
    if max(len(gold.parts), len(answer.parts)) > MAX_PARTS:
        return None
    pairs_up = len(gold.parts) == len(answer.parts)
    if gold.brackets or answer.brackets:
        one_without = "" in (gold.brackets, answer.brackets) and "()" in (gold.brackets, answer.brackets)
        unbounded = any(r"\infty" in part for part in gold.parts)  # an interval, no point
        if not pairs_up or not (gold.brackets == answer.brackets or (one_without and not unbounded)):
            return "other"
    names, answer_names = (names_of(sequence) for sequence in (gold, answer))
    one_named = bool(names) != bool(answer_names)
    by_place = one_named and not indexed(gold if names else answer)  # x = 1, y = 2 and 1, 2: in order
    if one_named and (by_place or gold.brackets or answer.brackets):
        bare_list = not names and not gold.brackets
        if shuffled(answer_names) if bare_list else not in_usual_order(names or answer_names):
            return "other"
    if gold.brackets or answer.brackets or by_place:
        return "same" if pairs_up and all(map(same, gold.parts, answer.parts)) else "other"
    table = {(part, other): same(part, other) for part in gold.parts for other in answer.parts}
    if pairs_up and _matches(gold.parts, list(answer.parts), table):
        return "same"
    covered = all(any(table[part, other] for other in answer.parts) for part in gold.parts)
    covers = all(any(table[part, other] for part in gold.parts) for other in answer.parts)
    return "multiset" if covered and covers else "other"


def names_of(sequence: Sequence) -> list[str]:
    """The names, if every part is an equation that gives another name a value; else none."""
    sides = [split_top(part, frozenset({"="})) for part in sequence.parts]
    names = [squeezed(each[0]) for each in sides if len(each) == 2 and is_name(each[0])]
    return names if len(set(names)) == len(sides) else []


def indexed(sequence: Sequence) -> bool:
    """Whether all parts are one name with an index, as in x_1 = 1, x_2 = 3: their order means nothing."""
    return len({part.partition("_")[0].strip() for part in sequence.parts}) == 1 and "_" in sequence.parts[0]


def _matches(parts: tuple[str, ...], left: list[str], table: dict[tuple[str, str], bool]) -> bool:
    """Whether the parts pair up, each with another one."""
    for part in parts:
        match = next((other for other in left if table[part, other]), None)
        if match is None:
            return False
        left.remove(match)
    return True
