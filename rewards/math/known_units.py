r"""Units that contradict each other: `5 \text{ m}` for `5 \text{ cm}`, cents for dollars, radians for degrees.

Compared only where both answers have a unit and every word of it is known here; other words (`apples`, `cm long`) are
decoration, and so is a unit that one of the two leaves out. Nothing is converted: `50 \text{ mm}` is not read as 5 cm.
"""

from __future__ import annotations

import re
from functools import lru_cache

from rlvr.rewards.math.latex import split_top
from rlvr.rewards.math.unit_table import SHORT, UNITS, canonical
from rlvr.rewards.math.units import FONT, PERCENT, split_unit

Unit = tuple[tuple[str, int], ...]
"""Powers of its factors, sorted by name: km/h is (("hour", -1), ("km", 1))."""

_CURRENCIES = frozenset({"dollar", "cent", "euro", "pound", "rupee", "yen", "peso"})
_TEMPERATURES = frozenset({"celsius", "fahrenheit"})
_TOKEN = re.compile(r"[A-Za-z]+|[°£€/]|-?\d+|\S")
_SIGNS = re.compile(rf"\^\\circ\s*(?:(?:{FONT}\s*)?\{{?\s*([CF])\s*\}}?)?$")
_POWERS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}
_POWERS_AFTER = {"squared": 2, "cubed": 3}


def in_dollars(raw: str) -> bool:
    r"""Whether an answer, not normalized yet, has a printed dollar sign, as `\$5` has."""
    return r"\$" in raw


def other_unit(gold: str, answer: str, dollars: tuple[bool, bool] = (False, False)) -> bool:
    r"""Whether the units of two normalized answers contradict each other.

    `dollars`: whether there was a dollar sign in each. Without a unit a gold answer with \pi in it is no number of
    degrees. Of units that are not known, only one and the same to another power contradicts: cups^2 and cups^3.
    """
    parts, others = (split_top(text, frozenset({","})) if "," in text else [text] for text in (gold, answer))
    units, answer_units = ({_unit(part, sign) for part in each} - {()}
                           for each, sign in zip((parts, others), dollars, strict=True))
    if not answer_units:
        return False
    if not units:
        return r"\pi" in gold and answer_units == {(("degree", 1),)}
    if len(units) > 1 or len(answer_units) > 1:
        return units != answer_units
    [unit], [other] = units, answer_units
    if None in (unit, other):
        return _other_power(gold, answer)
    assert unit is not None and other is not None
    if _CURRENCIES.issuperset(name for name, _ in unit):  # 5 dollars an hour, where the gold answer is 5 dollars
        other = tuple(factor for factor in other if factor[1] > 0)
    if unit == other or not other or not unit:
        return False
    return not (unit[0][0] in _TEMPERATURES and other == (("degree", 1),))


@lru_cache(maxsize=4096)
def _unit(text: str, dollars: bool = False) -> Unit | None:
    """The unit at the end of a normalized answer: () where there is none, None where it is not known."""
    if not dollars and text[-1:].isdigit() and not text.startswith(("£", "€")) and "^" not in text:
        return ()
    powers: dict[str, int] = {"dollar": 1} if dollars else {}
    if PERCENT.search(text) or text.endswith(r"\%"):
        powers["percent"] = 1
    elif sign := _SIGNS.search(text):
        powers[{"C": "celsius", "F": "fahrenheit", None: "degree"}[sign[1]]] = 1
    elif text.startswith(("£", "€")) or text.endswith(("£", "€")):
        powers["pound" if "£" in text else "euro"] = 1
    else:
        found = _powers(split_unit(text)[1])
        if found is None:
            return None
        powers |= found
    return tuple(sorted((name, power) for name, power in powers.items() if power))


def _powers(phrase: str) -> dict[str, int] | None:
    words = phrase.replace("^", " ").replace("(", " ").replace(")", " ")
    words = re.sub(r"\bdegrees?\s+(?:[Cc]elsius|C\b)", "celsius", words)
    words = re.sub(r"\bdegrees?\s+(?:[Ff]ahrenheit|F\b)", "fahrenheit", words)
    words = re.sub(r"[A-Za-z]+", lambda word: SHORT.get(canonical(word[0]), word[0]), words)
    powers: dict[str, int] = {}
    sign, due, last = 1, 1, ""
    for token in _TOKEN.findall(words):
        name = canonical(token)
        if token in ("/", "per"):
            sign = -1
        elif token in _POWERS:
            due = _POWERS[token]
        elif last and (token in _POWERS_AFTER or token.lstrip("-").isdecimal()):
            powers[last] += sign * ((_POWERS_AFTER.get(token) or int(token)) - 1)
        elif name in UNITS:
            last = UNITS[name]
            powers[last] = powers.get(last, 0) + sign * due
            due = 1
        elif token != "^":
            return None
    return powers


def _other_power(gold: str, answer: str) -> bool:
    units = [re.sub(r"[^A-Za-z0-9-]", "", split_unit(text)[1]) for text in (gold, answer)]
    letters = [re.sub(r"[^A-Za-z]", "", unit) for unit in units]
    return units[0] != units[1] and letters[0] == letters[1] != ""
