r"""Answers in words: `\text{Evelyn}`, `no solution`, `\text{twenty-five}`, `\text{June 20}`, `\text{Yes, it is}`."""

from __future__ import annotations

import re

from rlvr.rewards.math.outcome import WRONG, Outcome
from rlvr.rewards.math.units import is_unit
from rlvr.types import Reason

FONTS = re.compile(r"\\(?:text|mathrm|mathbf|textbf|textit|mbox|operatorname|textrm|mathsf)\s*\{([^{}]*)\}")
CHOICE = re.compile(r"\(?([A-Z])\)?")
_WORDS = re.compile(r"[A-Za-z(][A-Za-z0-9 ,.'()&-]*")
_DATE_FIRST = re.compile(r"\d{1,2}(?:st|nd|rd|th)?(?: of)? [A-Z][a-z]+")
_BARE_WORDS = re.compile(r"(?=.{4})[A-Za-z]{2,}(?:[ '-]+[A-Za-z]+)*")

_MONTH = r"(january|february|march|april|may|june|july|august|september|october|november|december)"
_DAY_FIRST = re.compile(rf"(\d{{1,2}})(?:st|nd|rd|th)?(?: of)? {_MONTH}\b")
_DAY_LAST = re.compile(rf"{_MONTH} (?:the )?(\d{{1,2}})(?:st|nd|rd|th)?\b")
_YES = re.compile(r"yes,? (?:it|he|she|they|this|that|there|we|you) (?:is|are|does|do|can|will|was|were|has|have)")
_NO = re.compile(r"no,? (?:it|he|she|they|this|that|there|we|you) "
                 r"(?:(?:is|are|does|do|can|will|was|were|has|have|could) ?not|(?:is|are|does|do|ca|wo|was|were)n't)")
_SUBJECT = re.compile(r"([a-z]+) (?:wins|won|is correct|is right|is the winner)")
_ARTICLE = re.compile(r"^(?:a|an|the) (?=[a-z])")
_CIRCLED = re.compile(r"[①-⑳]")
_CIRCLED_LIST = re.compile(r"(?:[①-⑳]|[,;{} ]|\\text|\\(?:text)?(?:and)|and)*[①-⑳](?:[①-⑳]|[,;{} ]|\\text|and)*")


def words(text: str, *, where_words_are_due: bool = False) -> str | None:
    r"""The words of `\text{Evelyn}`, `(C)` or `no solution`, in one case and spacing; None if it is mathematics.

    Short bare words such as `yes` may be products of variables, so they count only where words are due.
    """
    if text[-1:] == "'" != text[:1]:  # B' is no quotation
        return None
    without_fonts = FONTS.sub(r" \1 ", text.strip("\"“”`' ")).strip(" .")
    if where_words_are_due or (without_fonts != text and not FONTS.sub("", text).strip(" .,()")):
        if not (_WORDS.fullmatch(without_fonts) or _DATE_FIRST.fullmatch(without_fonts.strip())):
            return None
    elif not (_BARE_WORDS.fullmatch(text) or CHOICE.fullmatch(text)):
        return None
    choice = CHOICE.fullmatch("".join(without_fonts.split()))
    return choice[1] if choice else " ".join(without_fonts.casefold().strip(" .'()").split())


def as_text(gold: str, answer: str) -> Outcome | None:
    """Decides where the gold answer is words, or a list of circled numbers."""
    if _CIRCLED.search(gold):
        return _as_circled(gold, answer)
    gold_words = words(gold)
    if gold_words is None and re.fullmatch("[A-Za-z]{2,3}", gold) and words(answer) == gold.casefold():
        return Outcome(Reason.IDENTICAL, "text")  # Yes and \text{Yes}
    if gold_words is None or number_of_words(gold_words, with_unit=False) is not None:
        return None
    answer_words = "no solution" if answer == r"\emptyset" else words(answer, where_words_are_due=True)
    if answer_words is None and CHOICE.fullmatch(gold):
        return None  # a single capital may as well be a variable
    same = answer_words is not None and (answer_words == gold_words or
                                         _usual(answer_words, gold_words) == _usual(gold_words, gold_words))
    return Outcome(Reason.IDENTICAL if same else Reason.WRONG_ANSWER, "text")


def _usual(text: str, gold: str) -> str:
    """One form for what says the same: no article, the month before the day, `impossible` for `not possible`."""
    text = _ARTICLE.sub("", text.replace("not possible", "impossible").replace("no solutions", "no solution"))
    text = _DAY_LAST.sub(r"\1 \2", _DAY_FIRST.sub(r"\2 \1", text))
    if gold in ("yes", "no"):
        text = "yes" if _YES.fullmatch(text) else "no" if _NO.fullmatch(text) else text
    subject = _SUBJECT.fullmatch(text)
    return subject[1] if subject else text


def _as_circled(gold: str, answer: str) -> Outcome:
    same = _CIRCLED_LIST.fullmatch(answer) is not None and (
        sorted(_CIRCLED.findall(gold)) == sorted(_CIRCLED.findall(answer)))
    return Outcome(Reason.IDENTICAL, "text") if same else WRONG


_SMALL = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen"""
_ONES = {word: value for value, word in enumerate(_SMALL.split())}
_TENS = {"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90}
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9}


def number_in_words(text: str) -> str | None:
    r"""The digits of a normalized answer such as `\text{twenty-five}` or `five apples`; None for any other."""
    plain = FONTS.sub(r" \1 ", text).strip(" .")
    return number_of_words(" ".join(plain.casefold().split())) if re.fullmatch(r"[A-Za-z .-]+", plain) else None


def number_of_words(text: str, *, with_unit: bool = True) -> str | None:
    """`one hundred and five dollars` -> 105. A unit or a counted thing may follow if `with_unit`, nothing else."""
    sign = re.match(r"(?:minus|negative) ", text)
    tokens = text[sign.end() if sign else 0 :].replace("-", " ").split()
    total = group = 0
    last = 10**12
    seen = 0
    for token in tokens:
        if token in _ONES and (last >= 100 or (last in range(20, 100) and 0 < _ONES[token] < 10)):
            last = _ONES[token]
            group += last
        elif token in _TENS and last >= 100:
            last = _TENS[token]
            group += last
        elif token == "hundred" and 0 < group < 10 and last < 10:
            group *= 100
            last = 100
        elif token in _SCALES and group and (total == 0 or _SCALES[token] < 10**6):
            total += group * _SCALES[token]
            group, last = 0, 10**12
        elif token == "and" and last == 100:
            pass
        else:
            break
        seen += 1
    rest = " ".join(tokens[seen:])
    if not seen or tokens[seen - 1] == "and" or (rest and not (with_unit and is_unit(rest))):
        return None
    return f"{'-' if sign else ''}{total + group}"
