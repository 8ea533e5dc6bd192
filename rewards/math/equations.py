r"""Answers with names: `x = 5`, `x \in S`, `S = \frac{1}{2} = 0.5`, `x = 1, x = 2`, `(x, y) = (2, 3)`.

What the answer names is left aside where the gold answer is a bare value, unless the names contradict it: `x = 1, x =
2` is not the point (1, 2), and `y = 1, y = 2` is not `x = 1, y = 2`.
"""

from __future__ import annotations

import re

from rlvr.rewards.math.latex import split_top, squeezed
from rlvr.rewards.math.numbers import read_sequence
from rlvr.rewards.math.quantities import is_constant, is_name
from rlvr.rewards.math.structure import indexed, names_of, shuffled
from rlvr.rewards.math.units import without_unit
from rlvr.rewards.math.words import FONTS


def sides_of(text: str) -> list[str]:
    r"""`x = 5` and `x \in S` cut at the relation; one part where there is none, or where it is a list of equations."""
    several = read_sequence(text)
    if several is not None and not several.brackets:
        return [text]
    return split_top(text, frozenset({"=", "\\in"}))


def value_side(gold: str) -> str:
    """The value of a gold answer that names it, `5` of `x = 5` and of `5 = x`; other text as it is."""
    sides = sides_of(gold)
    if len(sides) == 2 and is_constant(sides[0]) and is_name(sides[1]):
        return sides[0]
    return sides[-1] if is_name(sides[0]) else gold


def values_in(gold: str) -> list[str]:
    """The values of a gold answer, each part of a list, a set, a tuple or an interval by itself."""
    value = without_unit(value_side(gold)).removesuffix("\\%").strip()
    sequence = read_sequence(value)
    return [value] if sequence is None else [inner for part in sequence.parts for inner in values_in(part)]


def turned(gold: str) -> str:
    """`5 = x` as `x = 5`."""
    sides = split_top(gold, frozenset({"="}))
    if len(sides) == 2 and is_constant(sides[0]) and is_name(sides[1]) and not is_constant(sides[1]):
        return f"{sides[1]}={sides[0]}"
    return gold


def out_of_order(side: str) -> bool:
    """Whether it is a tuple of coordinates in another order than the usual one: (y, x)."""
    names = read_sequence(side) if side[:1] == "(" else None
    return names is not None and shuffled(list(names.parts))


def plain_name(side: str) -> str:
    return squeezed(FONTS.sub(r" \1 ", side))


def without_common_names(gold: str, answer: str) -> tuple[str, str] | None:
    """`x = 1, x = 2` -> `1, 2` on either side; None where the names contradict each other or the form of the other."""
    (gold_name, gold_values), (name, values) = _common_name(gold), _common_name(answer)
    if not gold_name and not name:
        return gold, answer
    if gold_name and name:
        same = gold_name == name or re.sub("_.*", "", gold_name) == re.sub("_.*", "", name)
        return (gold_values, values) if same else None
    named, other, values = (gold, answer, gold_values) if gold_name else (answer, gold, values)
    sequence = read_sequence(other)
    several = read_sequence(named)
    if sequence is not None and several is not None and not (gold_name or name).startswith("(") and (
            sequence.brackets or (len(names_of(sequence)) > 1 and not indexed(sequence))):
        return None  # a point, or values of several names
    if sequence is not None and indexed(sequence):
        other = ", ".join(part.partition("=")[2].strip() for part in sequence.parts)
    return (values, other) if gold_name else (other, values)


def _common_name(text: str) -> tuple[str, str]:
    """The name that all equations of a list give a value to, and the values; for other text "" and the text."""
    sequence = read_sequence(text) if "=" in text else None
    if sequence is None or sequence.brackets:
        return "", text
    equations = [split_top(part, frozenset({"="})) for part in sequence.parts]
    if any(len(sides) != 2 for sides in equations) or len({squeezed(sides[0]) for sides in equations}) > 1:
        return "", text
    name = equations[0][0]
    return (squeezed(name), ", ".join(value for _, value in equations)) if is_name(name) else ("", text)
