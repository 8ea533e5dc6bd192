r"""Lists, sets, tuples and intervals of anything, part by part: brackets, order and multiplicity count.

The algebra system is not asked about the whole: it reads `(3, \frac{\pi}{2})` and `[3, \frac{\pi}{2}]` alike as an
empty interval, lists as sets, and `x = 1, y = 2` as the values 1 and 2 in any order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from rlvr.rewards._guards import is_name
from rlvr.rewards._latex import split_top, squeezed
from rlvr.rewards._numbers import Sequence

MAX_PARTS = 40
"""Each part of a list may have to be compared with each of the other."""


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
    named, answer_named = (_named(sequence) for sequence in (gold, answer))
    by_place = named != answer_named and (named or not _indexed(answer))  # x = 1, y = 2 and 1, 2: in order
    if gold.brackets or answer.brackets or by_place:
        return "same" if pairs_up and all(map(same, gold.parts, answer.parts)) else "other"
    table = {(part, other): same(part, other) for part in gold.parts for other in answer.parts}
    if pairs_up and _matches(gold.parts, list(answer.parts), table):
        return "same"
    covered = all(any(table[part, other] for other in answer.parts) for part in gold.parts)
    covers = all(any(table[part, other] for part in gold.parts) for other in answer.parts)
    return "multiset" if covered and covers else "other"


def _named(sequence: Sequence) -> bool:
    """Whether every part is an equation that gives another name a value."""
    sides = [split_top(part, frozenset({"="})) for part in sequence.parts]
    return all(len(each) == 2 and is_name(each[0]) for each in sides) and len(
        {squeezed(each[0]) for each in sides}) == len(sides)


def _indexed(sequence: Sequence) -> bool:
    """x_1 = 1, x_2 = 3: solutions with numbers, which say nothing of their order."""
    return len({part.partition("_")[0].strip() for part in sequence.parts}) == 1 and "_" in sequence.parts[0]


def _matches(parts: tuple[str, ...], left: list[str], table: dict[tuple[str, str], bool]) -> bool:
    """Whether the parts pair up, each with another one."""
    for part in parts:
        match = next((other for other in left if table[part, other]), None)
        if match is None:
            return False
        left.remove(match)
    return True
