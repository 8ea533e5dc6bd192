"""Answers that are compared without computer algebra: numbers, lists of numbers, ratios, times of day, numerals."""

from __future__ import annotations

import re

from rlvr.rewards.math.guards import numeral
from rlvr.rewards.math.numbers import read_number, read_sequence, same_number, same_sequence
from rlvr.rewards.math.outcome import REASONS, Outcome
from rlvr.rewards.math.words import FONTS, number_in_words
from rlvr.types import Reason

CLOCK = re.compile(r"(\d{1,2}) ?: ?(\d\d)(?: ?(?:\\text ?\{)? ?([aApP])\.? ?[mM]\.? ?\}?)?")
RATIO = re.compile(r"(\d+(?: ?: ?\d+)+)")
_TO = re.compile(r"(?<=\d)\s*to\s*(?=\d)")


def as_numbers(gold: str, answer: str) -> Outcome | None:
    """Decides where both are numbers, sequences of numbers or ratios, and where one is a numeral or a time of day."""
    in_base, answer_in_base = numeral(gold), numeral(answer)
    if in_base is not None or answer_in_base is not None:
        if in_base is None and answer_in_base is not None and answer_in_base[1] == 10:
            return as_numbers(gold, answer_in_base[0])
        return Outcome(Reason.EXACT_NUMBER if in_base == answer_in_base else Reason.BASE, "exact")
    clock, ratio = CLOCK.fullmatch(gold), RATIO.fullmatch(gold)
    if clock is not None or ratio is not None:
        return _as_ratio(gold, answer, clock)
    number, answer_number = read_number(gold), read_number(answer)
    if (number is None) != (answer_number is None):  # five for 5
        spelled = number_in_words(gold if number is None else answer)
        if spelled is not None:
            number, answer_number = number or read_number(spelled), answer_number or read_number(spelled)
    if number is not None and answer_number is not None:
        return Outcome(Reason.EXACT_NUMBER if same_number(number, answer_number) else Reason.WRONG_ANSWER, "exact")
    sequence, answer_sequence = read_sequence(gold), read_sequence(answer)
    if sequence is None or answer_sequence is None:
        return None
    same = same_sequence(sequence, answer_sequence)
    if same is None:
        return None
    return Outcome(Reason.EXACT_NUMBER if same == "same" else REASONS[same], "exact")


def _as_ratio(gold: str, answer: str, clock: re.Match[str] | None) -> Outcome | None:
    """Times of day are compared as written (am and pm if both say it), ratios by cross multiplication."""
    if clock is not None:
        other = CLOCK.fullmatch(answer)
        same = other is not None and (int(clock[1]), clock[2]) == (int(other[1]), other[2]) and (
            not clock[3] or not other[3] or clock[3].lower() == other[3].lower())
        return Outcome(Reason.EXACT_NUMBER if same else Reason.WRONG_ANSWER, "exact")
    answer = _TO.sub(":", FONTS.sub(r" \1 ", answer)).strip()
    if not RATIO.fullmatch(answer):
        return None
    terms, others = ([int(term) for term in text.split(":")] for text in (gold, answer))
    same = len(terms) == len(others) and all(a * others[0] == b * terms[0] for a, b in zip(terms, others, strict=True))
    return Outcome(Reason.EXACT_NUMBER if same else Reason.WRONG_ANSWER, "exact")
