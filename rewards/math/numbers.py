r"""Exact comparison of answers that are plain numbers, or lists and tuples of plain numbers.

Covers every gold answer of GSM8K, AIME and AMC and two thirds of MATH, is a hundred times faster than a computer
algebra system, and is exact where that one rounds to six decimals (where 2.88e-19 equals 3.88e-19). Numbers are read
as fractions: 1,234  -3.50  \frac{3}{4}  3/4  1\frac{1}{2}  4.5\times 10^{33}  2^{10}, each with %, ^\circ or a unit.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from rlvr.rewards.math.latex import split_top
from rlvr.rewards.math.units import without_unit

TOLERANCE = Fraction(1, 10**6)
"""Where a decimal meets a value it may have been rounded from: 0.333333 is 1/3, but 8.0000001 is not 8.

Relative below 1, absolute above, so that tiny numbers stay apart."""
MAX_DIGITS = 20_000

_DIGITS = r"(?:\d{1,3}(?:,\d{3})+|\d{1,3}(?: \d{3})+|\d+)"
_GROUPED = re.compile(r"[-+]?[1-9]\d{0,2}(?:,\d{3})*,0\d\d(?:,\d{3})*")
"""A number with thousand separators that is no list: 1,020. (1,234 may be one, and is read both ways.)"""
_DECIMAL = rf"(?:{_DIGITS}(?:\.\d*)?|\.\d+)"
_SIMPLE = re.compile(rf"({_DIGITS})?(?:(\.)(\d*))?")
_SIGN = re.compile(r"[-+ ]*")
_FRACTION = re.compile(rf"\\frac\s*(?:\{{\s*([-+]?)\s*({_DECIMAL})\s*\}}|()(\d))\s*(?:\{{\s*({_DECIMAL})\s*\}}|(\d))")
_SLASHED = re.compile(rf"({_DECIMAL})\s*/\s*({_DECIMAL})")
_POWER = re.compile(rf"(?:({_DECIMAL})\s*(?:\\times|\\cdot|\*|x)\s*)?(\d+)\s*\^\s*(?:\{{\s*([-+]?\s*\d+)\s*\}}|(\d))")
_MIXED = re.compile(r"(\d+)\s*(?=\\frac)|(\d+)\s+(?=\d+\s*/)")
_SUFFIX = re.compile(r"\s*(?:(\\%)|\^\\circ\s*[CF]?|€|£)$")


@dataclass(frozen=True, slots=True)
class Plain:
    """A number as it was written."""

    value: Fraction
    decimal: bool
    """Written with a decimal point: possibly rounded."""
    percent: bool
    """A percent sign follows; `value` is the number before it."""


def read_number(text: str) -> Plain | None:
    """The number that a normalized answer is, a unit left aside; None if it is anything else."""
    text = without_unit(text).strip("€£ ")
    percent = False
    while suffix := _SUFFIX.search(text):
        if percent and suffix[1]:
            return None
        percent = percent or suffix[1] is not None
        text = text[: suffix.start()].strip()
    sign = _SIGN.match(text)
    assert sign is not None
    text = text[sign.end() :]
    if not text or len(text) > MAX_DIGITS:
        return None
    found = _read_unsigned(text)
    if found is None:
        return None
    value = -found if sign[0].count("-") % 2 else found
    return Plain(value, "." in text, percent)


def _read_unsigned(text: str) -> Fraction | None:
    whole = _MIXED.match(text)
    if whole is not None:
        part = _read_unsigned(text[whole.end() :])
        return None if part is None or not 0 <= part < 1 else int(whole[1] or whole[2]) + part
    if _SIMPLE.fullmatch(text):
        return _simple(text)
    match = _FRACTION.fullmatch(text)
    if match is not None:
        top, bottom = _simple(match[2] or match[4]), _simple(match[5] or match[6])
        return None if not bottom or top is None else (-top if match[1] == "-" else top) / bottom
    match = _SLASHED.fullmatch(text)
    if match is not None:
        top, bottom = _simple(match[1]), _simple(match[2])
        return None if not bottom or top is None else top / bottom
    match = _POWER.fullmatch(text)
    if match is not None:
        factor, base = _simple(match[1] or "1"), int(match[2])
        exponent = int((match[3] or match[4]).replace(" ", ""))
        if factor is None or len(match[2]) * abs(exponent) > MAX_DIGITS or (base == 0 and exponent <= 0):
            return None
        return factor * Fraction(base) ** exponent
    return None


def _simple(text: str) -> Fraction | None:
    digits = text.replace(",", "").replace(" ", "")
    whole, _, decimals = digits.partition(".")
    if (not whole and not decimals) or len(digits) > 4000:  # int() refuses more than 4300 digits
        return None
    return Fraction(int((whole or "0") + decimals), 10 ** len(decimals))


def same_number(gold: Plain, answer: Plain) -> bool:
    """Equal values. A percent sign on one side only may mean a hundredth or be a unit: 50% is 1/2, and is 50."""
    decimal = gold.decimal or (answer.decimal and not _terminates(gold.value))
    if gold.percent == answer.percent:
        return _equal(gold.value, answer.value, decimal)
    if answer.percent and 0 < abs(gold.value) < 1:  # 0.25% is not 0.25: such a gold answer is no number of percent
        return _equal(gold.value, answer.value / 100, decimal)
    of_gold, of_answer = (number.value / 100 if number.percent else number.value for number in (gold, answer))
    return _equal(gold.value, answer.value, decimal) or _equal(of_gold, of_answer, decimal)


def _terminates(value: Fraction) -> bool:
    """Whether the value can be written exactly as a decimal."""
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    return rest == 1


def _equal(gold: Fraction, answer: Fraction, decimal: bool) -> bool:
    return gold == answer or (decimal and abs(gold - answer) <= TOLERANCE * min(1, abs(gold)))


@dataclass(frozen=True, slots=True)
class Sequence:
    """Several answers: a list or set in any order (`brackets` empty), or a tuple or interval in its brackets."""

    brackets: str
    parts: tuple[str, ...]


_CONJUNCTION = re.compile(
    r",?\s*(?:\\(?:text|mathrm|mbox)\s*\{\s*,?\s*(?:and|or)\s*\}|\\?\b(?:and|or)\b)\s*")


def read_sequence(text: str) -> Sequence | None:
    r"""The parts of `1, 2`, `1 \text{ and } 2`, `\{1, 2\}`, `(1, 2)`, `[1, 2)`; None if it is no such thing."""
    brackets = ""
    if text.startswith(r"\{") and text.endswith(r"\}"):
        inner = text[2:-2]
    elif text[:1] in ("(", "[") and text[-1:] in (")", "]"):
        brackets, inner = text[0] + text[-1], text[1:-1]
    else:
        inner = text
    inner = _CONJUNCTION.sub(",", inner)
    if brackets and _unbalanced(inner):
        return read_sequence_of_tuples(_CONJUNCTION.sub(",", text))
    parts = split_top(inner, frozenset({",", ";"}))
    if len(parts) < 2 or not all(parts) or (not brackets and _GROUPED.fullmatch(text)):
        return None
    return Sequence(brackets, tuple(parts))


def read_sequence_of_tuples(text: str) -> Sequence | None:
    """`(1, 2), (3, 4)`: a list whose parts are tuples."""
    parts = split_top(text, frozenset({",", ";"}))
    return Sequence("", tuple(parts)) if len(parts) > 1 and all(parts) else None


def plus_and_minus(text: str) -> str:
    r"""`1 \pm x` -> `1 + x, 1 - x` in each part of a list; a part with brackets around two signs is left alone."""
    if "\\pm" not in text and "\\mp" not in text:
        return text
    sequence = read_sequence(text)
    parts = list(sequence.parts) if sequence is not None and not sequence.brackets else [text]
    if any(part[:1] in ("(", "[") and len(re.findall(r"\\(?:pm|mp)", part)) > 1 for part in parts):
        return text
    values: list[str] = []
    for part in parts:  # a part without signs is one value; one that is there twice stays so
        values += dict.fromkeys(re.sub(r"\\mp(?![A-Za-z])", lower, re.sub(r"\\pm(?![A-Za-z])", upper, part))
                                for upper, lower in (("+", "-"), ("-", "+")))
    return ", ".join(value.strip().removeprefix("+").strip() for value in values)


def _unbalanced(inner: str) -> bool:
    depth = 0
    for char in inner:
        depth += (char in "([") - (char in ")]")
        if depth < 0:
            return True
    return False


def same_sequence(gold: Sequence, answer: Sequence) -> Literal["same", "other", "multiset"] | None:
    """Exact comparison where all parts are numbers (or tuples of numbers); None where that cannot tell.

    "multiset": the same elements, but not the same number of times each.
    """
    gold_values, answer_values = _values(gold), _values(answer)
    if gold_values is None or answer_values is None:
        return None
    if gold.brackets != answer.brackets:
        return "other" if gold.brackets and answer.brackets else None
    if len(gold_values) == len(answer_values):
        if gold.brackets:
            return "same" if all(map(_same_value, gold_values, answer_values)) else "other"
        left = list(answer_values)
        for value in gold_values:
            match = next((other for other in left if _same_value(value, other)), None)
            if match is None:
                break
            left.remove(match)
        else:
            return "same"
    subset = all(any(_same_value(value, other) for value in gold_values) for other in answer_values)
    superset = all(any(_same_value(value, other) for other in answer_values) for value in gold_values)
    return "multiset" if subset and superset and not gold.brackets else "other"


_Value = Plain | tuple[str, tuple[Plain, ...]]


def _values(sequence: Sequence) -> list[_Value] | None:
    values: list[_Value] = []
    for part in sequence.parts:
        value: _Value | None = read_number(part)
        if value is None and not sequence.brackets:
            inner = read_sequence(part)
            numbers = [read_number(element) for element in inner.parts] if inner and inner.brackets else [None]
            if inner is not None and all(numbers):
                value = (inner.brackets, tuple(number for number in numbers if number is not None))
        if value is None:
            return None
        values.append(value)
    return values


def _same_value(gold: _Value, answer: _Value) -> bool:
    if isinstance(gold, Plain) and isinstance(answer, Plain):
        return same_number(gold, answer)
    if isinstance(gold, tuple) and isinstance(answer, tuple):
        return (gold[0] == answer[0] and len(gold[1]) == len(answer[1])
                and all(map(same_number, gold[1], answer[1])))
    return False
