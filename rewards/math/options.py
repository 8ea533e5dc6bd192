r"""The letter of an option before its value: `\textbf{(C)}\ 12`, `C. x = 42`, `\text{Choice D}`.

With a gold answer that is a letter the letter counts, with any other the value; where both give both, both count.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from rlvr.rewards.math.latex import variables

_FONT = r"\\(?:text|mathrm|mathbf|textbf|mbox|textit|bf|rm|operatorname)"
_FORMS = (
    re.compile(rf"{_FONT}\s*\{{\s*(?:\(\s*([A-J])\s*\)|([A-J])\s*[).:])\s*([^{{}}]*)\}}\s*[:.]?\s*(.*)"),
    re.compile(rf"\(?\s*{_FONT}\s*\{{\s*([A-J])\s*\}}\s*[).:]()()\s*(.*)"),
    re.compile(rf"{_FONT}\s*\{{\s*(?:[Cc]hoice|[Oo]ption|[Aa]nswer)\s*:?\s*(?:\(([A-J])\)|([A-J]))()()\s*\.?\s*\}}"),
    re.compile(r"\(([A-J])\)()()(?!\s*(?:[-+*/^_!=,]|[A-Za-z]{1,2}(?![A-Za-z])))\s*(.*)"),
    re.compile(r"([A-J])\s*(?:\)\.?|[.:])()()\s+(.*)"),
    re.compile(r"([A-J])\s*\)()()\s*(.*)"),
)
_PLAIN_LETTER = re.compile(rf"(?:{_FONT}\s*\{{\s*)?\(?\s*([A-J])\s*\)?[.):]?\s*\}}?")
_OTHER_OPTION = re.compile(rf"\(\s*(?:{_FONT}\s*\{{)?\s*[A-J]\s*\}}?\s*\)|(?<![A-Za-z\\])[A-J]\s*[.):]\s")
_HEDGE = re.compile(r"(?<![A-Za-z\\])(?:or|and|not|no|wrong|incorrect|false|maybe|isn|isnt|either|neither|unless|"
                    r"except|but|nor|perhaps|possibly|probably|if|then)(?![A-Za-z])|\?|\\(?:ne|not|neq|lor|vee|land|wedge)(?![A-Za-z])",
                    re.IGNORECASE)


class Option(NamedTuple):
    """`value` is what follows the letter, "" for nothing. `marked`: the letter cannot be a factor."""

    letter: str
    value: str
    marked: bool


def read_option(text: str) -> Option | None:
    """The letter and the value of a normalized answer; None where it does not begin with an option's letter."""
    for number, form in enumerate(_FORMS):
        match = form.fullmatch(text)
        if match is not None:
            value = " ".join(filter(None, (match[3].strip(), match[4].strip()))).strip(" .")
            letter = match[1] or match[2]
            if match[3].strip() and re.search("[A-Za-z]{2}", match[3]):
                value = rf"\text{{{match[3].strip()}}} {match[4].strip()}".strip()
            return Option(letter, value, number != 3)
    return None


def letter_of(text: str) -> str | None:
    r"""The letter of an answer that is nothing else: `C`, `(C)`, `\textbf{(C)}`."""
    match = _PLAIN_LETTER.fullmatch(text)
    return match[1] if match else None


def one_option(option: Option) -> bool:
    """Whether what follows the letter names no other option and takes nothing back."""
    return not (_HEDGE.search(option.value) or _OTHER_OPTION.search(option.value) or letter_of(option.value))


def by_option(gold: str, answer: str) -> tuple[str, str] | bool | None:
    """The values to compare where one answer has the letter of an option; a verdict where the letters decide it.

    None: neither has, or the letter is a variable.
    """
    wanted, given = read_option(gold), read_option(answer)
    gold_letter = letter_of(gold)
    if gold_letter is not None:
        if given is None or letter_of(answer) is not None:
            return None
        return given.letter == gold_letter and one_option(given)
    if wanted is not None and wanted.value:
        letter = letter_of(answer)
        if letter is not None:
            return letter == wanted.letter
        if given is None:
            return wanted.value, answer
        if given.letter != wanted.letter or not one_option(given):
            return False
        return (wanted.value, given.value) if given.value else True
    if given is None or not given.value or (not given.marked and given.letter in variables(gold)):
        return None
    return (gold, given.value) if one_option(given) else False
