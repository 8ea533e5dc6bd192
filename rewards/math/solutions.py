r"""Solutions with names as tuples: `x=2, y=3 \text{ or } x=3, y=2` is `(2,3), (3,2)`; `x=y=z=1` is `(1,1,1)`."""

from __future__ import annotations

import re

from rlvr.rewards.math.latex import split_top, squeezed
from rlvr.rewards.math.numbers import read_sequence
from rlvr.rewards.math.quantities import is_constant, is_name
from rlvr.rewards.math.structure import in_usual_order, place

_SEPARATOR = re.compile(r"\s*[,;]?\s*\\(?:text|mathrm|mbox)\s*\{\s*,?\s*(?:and|or)\s*\}\s*|"
                        r"(?<![A-Za-z\\])(?:and|or)(?![A-Za-z])|;")
_EQUALS = frozenset({"="})
_LETTER = re.compile(r"(?:[A-Za-z]|\\[a-z]+)(?:\s*_\s*(?:\{\w+\}|\w))?")


def as_tuples(gold: str, answer: str) -> tuple[str, str] | bool | None:
    """Both as lists of tuples where one has several solutions of several names; False where they cannot be the same."""
    if "=" not in gold + answer:
        return None
    named, answered = _solutions(gold), _solutions(answer)
    if named is None and answered is None:
        return None
    if named is not None and answered is not None:
        if max(len(named[1]), len(answered[1])) < 2:
            return None
        return (_listed(named[1]), _listed(answered[1])) if named[0] == answered[0] else False
    names, values = named or answered or ([], [])
    other = answer if named is not None else gold
    parts = read_sequence(other)
    if len(values) < 2:  # one solution against a tuple or a list: by the rules for lists of equations
        return None
    if not in_usual_order(names):
        return None
    if parts is None or parts.brackets or not all(part[:1] == "(" for part in parts.parts):
        return False if "=" not in other else None
    return (_listed(values), other) if named is not None else (other, _listed(values))


def _listed(solutions: list[tuple[str, ...]]) -> str:
    return ", ".join(f"({', '.join(values)})" for values in solutions)


def _solutions(text: str) -> tuple[list[str], list[tuple[str, ...]]] | None:
    """The names in their usual order, and the values of each solution; None where not all parts are equations."""
    parts = [part for each in _SEPARATOR.split(text) for part in split_top(each, frozenset({","})) if part]
    found: list[dict[str, str]] = [{}]
    for part in parts:
        sides = split_top(part, _EQUALS)
        if len(sides) != 2 or not _LETTER.fullmatch(sides[0]) or not sides[1]:
            return None
        name = squeezed(sides[0])
        if name in found[-1]:
            found.append({})
        found[-1][name] = sides[1]
    names = sorted(found[0], key=lambda name: place(name) or (True, name, 0))
    if len(names) < 2 or any(set(each) != set(names) for each in found):
        return None
    return names, [tuple(each[name] for name in names) for each in found]


def without_chains(text: str) -> str:
    """`x = y = z = 1` as `x = 1, y = 1, z = 1`; other text as it is."""
    sides = split_top(text, _EQUALS)
    if len(sides) < 3 or not all(_LETTER.fullmatch(side) for side in sides[:-1]) or not is_constant(sides[-1]):
        return text
    return ", ".join(f"{name}={sides[-1]}" for name in sides[:-1])


def same_chain(gold: str, answer: str) -> bool | None:
    """Whether two chains of mere names say the same: a = b = c and c = a = b. None: these are none."""
    chains = [split_top(text, _EQUALS) for text in (gold, answer)]
    if any(len(chain) < 3 or not all(is_name(side) and _LETTER.fullmatch(side) for side in chain) for chain in chains):
        return None
    return sorted(chains[0]) == sorted(chains[1])
