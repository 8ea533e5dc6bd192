r"""Final answers about pictures (Geometry3K, MathVista, MathVision): numbers, options of multiple choice, words.

The text side is all a verdict needs, so the picture never gets here and cannot change it. Extraction and judgement are
those of `math`: the last `\boxed{}`, two answers are not one, a letter counts only where the gold answer is one.
Beside that it knows

* **rounding**: where the question asks for it ("to the nearest tenth", "2 decimal places") or the row says so
  (`extra["precision"]`, MathVista's column), an exact or longer answer is right if it rounds to the gold answer;
* **options** (`extra["choices"]`): the letter or the text of the right one, as `B`, `(B)`, `\text{B. 12 cm}` or `12`;
* **words** (`extra["answer_type"]` is "text", and yes, no, true, false): compared as words, not as products of letters.
"""

from __future__ import annotations

import dataclasses
import math
import re
from decimal import ROUND_HALF_UP, Decimal

from rlvr.rewards.boxed import final_answer
from rlvr.rewards.math.guards import MAX_CHARS, bad_form, bomb
from rlvr.rewards.math.latex import squeezed
from rlvr.rewards.math.normalize import normalize
from rlvr.rewards.math.numbers import read_number
from rlvr.rewards.math.outcome import Outcome
from rlvr.rewards.math.quantities import is_constant
from rlvr.rewards.math.units import without_unit
from rlvr.rewards.math_answer import MathVerifier, question_of
from rlvr.types import Problem, Reason, Verdict

_PLACES = {"integer": 0, "whole number": 0, "one": 0, "unit": 0, "degree": 0, "tenth": 1, "hundredth": 2,
           "thousandth": 3}
_NEAREST = re.compile(rf"nearest ({'|'.join(_PLACES)})s?\b", re.IGNORECASE)
_DECIMALS = re.compile(r"\b(\d|one|two|three|four) decimal (?:places?|digits?)", re.IGNORECASE)
_COUNTS = {"one": 1, "two": 2, "three": 3, "four": 4}
_MAX_PLACES = 9
_FONT = re.compile(r"\\(?:text|mathrm|mathbf|textbf|mbox|textrm)\s*\{([^{}]*)\}")
_SPACE = re.compile(r"\\(?:[ ,;:!]|q?quad(?![A-Za-z]))|~")
_LABEL = re.compile(r"(?:the )?(?:(?:final|correct) )?(?:answer|choice|option)(?: is)?\s*:?\s+(?=\(?[A-Z]\b)",
                    re.IGNORECASE)
_LETTER = re.compile(r"\(?\s*([A-Z])\s*(?:\)\.?|\.|:)?(?:\s+(.+))?", re.DOTALL)
_SHORT_WORDS = frozenset({"yes", "no", "true", "false"})


class VisualVerifier(MathVerifier):
    """Gold: a bare answer as for `math`, an option's letter or text, or words.

    `extra`, all optional: "choices" (list of options), "precision" (decimal places asked for), "answer_type".
    """

    name = "visual_answer"
    version = f"1/{MathVerifier.version}"

    def verify(self, problem: Problem, text: str) -> Verdict:
        """`tier` names the path that decided: extract, choice, rounded or one of `math`'s."""
        self.warm_up()
        options = _options(problem)
        if not options:
            verdict = MathVerifier.verify(self, _as_words(problem), text)
            places = None if verdict.correct is not False or verdict.extracted is None else _places(problem)
            if places is not None and self._rounds_to(problem.gold, text, places):
                return dataclasses.replace(verdict, correct=True, reason=Reason.EXACT_NUMBER, tier="rounded")
            return verdict
        right = _index_of_gold(problem.gold, options)
        if right is None:
            return Verdict(None, Reason.GOLD_ERROR)
        answer = final_answer(text)
        if isinstance(answer, Reason):
            return Verdict(False, answer, tier="extract")
        outcome = self._chosen(options, right, answer)
        return Verdict(outcome.correct, outcome.reason, answer[:200], tier=outcome.tier)

    def check_gold(self, problem: Problem) -> str | None:
        """That of `math`; where there are options, that the gold answer is one of them and no other is like it."""
        options = _options(problem)
        if not options:
            return MathVerifier.check_gold(self, _as_words(problem))
        right = _index_of_gold(problem.gold, options)
        if right is None:
            return f"the gold answer {problem.gold[:100]!r} is neither one of its options nor the letter of one"
        if sum(_same_text(option, options[right]) for option in options) > 1:
            return f"two options read {options[right][:100]!r}: the text of an answer does not tell which is meant"
        return None

    def _chosen(self, options: list[str], right: int, answer: str) -> Outcome:
        if len(answer) > MAX_CHARS + max(map(len, options)):
            return Outcome(Reason.TOO_LONG, "guard")
        plain = _LABEL.sub("", " ".join(_SPACE.sub(" ", _FONT.sub(r" \1 ", answer)).split()))
        same = [i for i, option in enumerate(options) if _same_text(option, plain)]
        if same:  # an option's own text comes before its letter: the options may be letters in another order
            return Outcome(Reason.IDENTICAL if right in same else Reason.WRONG_ANSWER, "choice")
        letter = _LETTER.fullmatch(plain)
        if letter is not None and (index := ord(letter[1]) - ord("A")) < len(options):
            agrees = letter[2] is None or self._judged(options[index], letter[2]).correct
            return Outcome(Reason.IDENTICAL if agrees and index == right else Reason.WRONG_ANSWER, "choice")
        outcome = self._judged(options[right], answer)
        twins = [i for i, option in enumerate(options) if i != right and self._judged(option, answer).correct]
        return Outcome(Reason.HEDGE, "choice") if outcome.correct and twins else outcome

    def _judged(self, gold: str, answer: str) -> Outcome:
        """`math`'s judgement of a bare answer."""
        gold = normalize(gold)
        if not gold:
            return Outcome(Reason.WRONG_ANSWER, "choice")
        return self.comparison.outcome(gold, answer, MAX_CHARS + 2 * len(gold))

    def _rounds_to(self, raw_gold: str, text: str, places: int) -> bool:
        raw_answer = final_answer(text)
        if isinstance(raw_answer, Reason):
            return False
        gold, answer = self._number(raw_gold, raw_gold), self._number(raw_answer, raw_gold)
        return gold is not None and answer is not None and _rounded(gold, places) == _rounded(answer, places)

    def _number(self, raw: str, raw_gold: str) -> Decimal | None:
        """The value of a number or a constant expression."""
        gold, text = normalize(raw_gold), normalize(raw)
        number = read_number(text)
        if number is not None:
            return None if number.percent else Decimal(number.value.numerator) / Decimal(number.value.denominator)
        text = without_unit(text)
        if len(text) > MAX_CHARS or bomb(gold, text) or bad_form(gold, text) or not is_constant(text):
            return None
        value = self.comparison.symbolic.constant(text)
        return None if value is None else Decimal(value)


def _options(problem: Problem) -> list[str]:
    return [str(option) for option in problem.extra.get("choices") or ()]


def _as_words(problem: Problem) -> Problem:
    r"""The problem with its gold answer in `\text{}` where that is words."""
    word = problem.gold.strip()
    words = problem.extra.get("answer_type") == "text" or word.casefold() in _SHORT_WORDS
    if not words or "\\" in word or not re.fullmatch(r"[A-Za-z][A-Za-z0-9 ,.'()&-]*", word):
        return problem
    return dataclasses.replace(problem, gold=rf"\text{{{word}}}")


def _index_of_gold(gold: str, options: list[str]) -> int | None:
    for i, option in enumerate(options):
        if _same_text(option, gold):
            return i
    letter = re.fullmatch(r"\(?([A-Z])\)?", gold.strip())
    index = ord(letter[1]) - ord("A") if letter else len(options)
    return index if index < len(options) else None


def _same_text(option: str, text: str) -> bool:
    left, right = (" ".join(each.split()) for each in (option, text))
    return left.casefold() == right.casefold() or squeezed(normalize(left)) == squeezed(normalize(right)) != ""


def _places(problem: Problem) -> int | None:
    """Decimal places that the row or the question asks for; None: the answer is exact."""
    precision = problem.extra.get("precision")
    if isinstance(precision, int | float) and not isinstance(precision, bool) and math.isfinite(precision):
        return int(precision) if 0 <= precision <= _MAX_PLACES else None
    question = question_of(problem)
    if found := _NEAREST.search(question):
        return _PLACES[found[1].lower()]
    if found := _DECIMALS.search(question):
        return _COUNTS.get(found[1].lower()) or int(found[1])
    return None


def _rounded(value: Decimal, places: int) -> Decimal | None:
    """None for a value too large to round."""
    if abs(value) >= Decimal(10) ** 15:
        return None
    return value.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP)
