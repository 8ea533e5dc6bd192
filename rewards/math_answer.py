r"""Final answers of mathematics problems: the last `\boxed{}` against a reference answer in LaTeX.

Built for pass@k at large k, where false positives count k times: a box is required (rlvr.rewards.boxed), two
answers are not one, and whatever is doubtful is wrong. In this order, each decides only what it can:

1. the same text after normalization (`identical`), or the same words where the gold answer is words;
2. exact numbers, lists and tuples of numbers (`exact_number`), numerals in a base;
3. forms that are refused (rlvr.rewards.math.guards) and equations that are false in themselves, such as 205 = 204;
4. computer algebra (`symbolic`, rlvr.rewards.math.symbolic).

Equality of value suffices: unreduced fractions, expanded products and surds in another form are right. Percent,
currency and degree signs and units may be there or not, but may not contradict each other (known_units). `x = 5` and
`x \in S` are read as 5 and S.
"""

from __future__ import annotations

import re
from functools import lru_cache
from importlib.metadata import version as installed
from itertools import pairwise
from typing import NamedTuple

from rlvr.interfaces import Verifier
from rlvr.rewards.boxed import decisive_box, final_answer
from rlvr.rewards.math.approximate import approximates
from rlvr.rewards.math.guards import MAX_CHARS, bad_form, bomb, is_constant, is_name, numeral, other_case, other_points
from rlvr.rewards.math.inequalities import as_intervals, is_interval
from rlvr.rewards.math.known_units import in_dollars, other_unit
from rlvr.rewards.math.latex import normalize, split_top, squeezed
from rlvr.rewards.math.numbers import plus_and_minus, read_number, read_sequence, same_number, same_sequence
from rlvr.rewards.math.structure import compare_parts, set_for_tuple, shuffled
from rlvr.rewards.math.units import without_counted_word, without_unit
from rlvr.types import Problem, Reason, Verdict

_KEY_BITS = 10_000
"""Python writes no integer of more than 4,300 digits."""
_PARSERS = ("math-verify", "latex2sympy2_extended", "sympy")

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_FONTS = re.compile(r"\\(?:text|mathrm|mathbf|textbf|textit|mbox|operatorname|textrm|mathsf)\s*\{([^{}]*)\}")
_WORDS = re.compile(r"[A-Za-z(][A-Za-z0-9 ,.'()&-]*")
_BARE_WORDS = re.compile(r"(?=.{4})[A-Za-z]{2,}(?:[ '-]+[A-Za-z]+)*")
_CHOICE = re.compile(r"\(?([A-Z])\)?")
_CLOCK = re.compile(r"(\d{1,2}) ?: ?(\d\d)(?: ?(?:\\text ?\{)? ?([aApP])\.? ?[mM]\.? ?\}?)?")
_ABOUT = re.compile(r"(?<![A-Za-z\\])(?:approximately|approx|roughly)(?![A-Za-z])", re.IGNORECASE)
_RATIO = re.compile(r"(\d+(?: ?: ?\d+)+)")


_REASONS = {"same": Reason.SYMBOLIC, "multiset": Reason.MULTISET, "other": Reason.WRONG_ANSWER}


class Outcome(NamedTuple):
    """`reason` decides: identical, exact_number and symbolic are correct, the others wrong."""

    reason: Reason
    tier: str

    @property
    def correct(self) -> bool:
        return self.reason in (Reason.IDENTICAL, Reason.EXACT_NUMBER, Reason.SYMBOLIC)


class MathVerifier(Verifier):
    r"""Gold: the bare reference answer in LaTeX (`\frac{1}{2}`, `\text{Evelyn}`, `1,-2`), without `\boxed` or `$`.

    Tolerance: a decimal that stands for a value without a finite decimal (`0.3333333` for \frac13, `1.41421356237` for
    \sqrt2), or for a gold answer with a decimal point, may be off by a millionth, relative below 1 and absolute above.
    A unit that contradicts the gold answer's own is wrong; one that either of them leaves out is not missed.

    The constructor imports sympy and math-verify and warms them up (about a second).
    """

    name = "math"
    version = "+".join(["5", *(f"{package}-{installed(package)}" for package in _PARSERS)])

    def __init__(self) -> None:
        from rlvr.rewards.math import symbolic  # sympy: not for those who only ask for the version

        self.symbolic = symbolic
        symbolic.warm_up()

    def verify(self, problem: Problem, text: str) -> Verdict:
        """`tier` names the path that decided: extract, text, exact, guard or symbolic."""
        gold = _normalized(problem.gold)
        if not gold or _CONTROL.search(gold):
            return Verdict(None, Reason.GOLD_ERROR)
        answer = final_answer(text)
        if isinstance(answer, Reason):
            return Verdict(False, answer, tier="extract")
        counted = without_counted_word(answer, question_of(problem))
        outcome = self._outcome(problem.gold, counted, MAX_CHARS + 2 * len(problem.gold))
        return Verdict(outcome.correct, outcome.reason, answer[:200], tier=outcome.tier)

    def check_gold(self, problem: Problem) -> str | None:
        """Complains of an empty gold answer, of one that is not a bare answer, and of one that the parser misreads."""
        complaint = self._complaint(problem.gold)
        return complaint and f"the gold answer {problem.gold[:100]!r} cannot be judged by: {complaint}"

    @classmethod
    def decisive(cls, text: str) -> str:
        return decisive_box(text)

    @classmethod
    def answer_key(cls, answer: str) -> str:
        """Words in one case, numbers as reduced fractions without a unit, other text in one spelling."""
        text = normalize(answer)
        words = _words(text)
        if words is not None:
            return words
        number = read_number(text)
        if number is None:
            return squeezed(text)
        if max(number.value.numerator.bit_length(), number.value.denominator.bit_length()) > _KEY_BITS:
            return squeezed(text)
        return f"{number.value}" + r"\%" * number.percent

    def gold_completion(self, problem: Problem) -> str:
        return rf"The final answer is $\boxed{{{problem.gold}}}$."

    def _complaint(self, raw_gold: str) -> str | None:
        gold = _normalized(raw_gold)
        if not gold:
            return "it is empty"
        if _CONTROL.search(gold) or "\\boxed" in raw_gold:
            return "it has control characters or a box in it"
        if final_answer(rf"\boxed{{{raw_gold}}}") != raw_gold.strip():
            return "its braces do not match"
        if _words(gold) or numeral(gold) or read_number(gold) or _RATIO.fullmatch(gold) or _CLOCK.fullmatch(gold):
            return None
        if _ABOUT.search(gold):
            return "it says itself that it is not exact; leave the word out"
        if bomb("", gold):
            return "it is too large to evaluate, so only an answer written the same way would count"
        sequence = read_sequence(gold)
        if sequence is not None and (same_sequence(sequence, sequence) == "same"
                                     or all(map(_CHOICE.fullmatch, sequence.parts))):
            return None
        return self.symbolic.misreading(without_unit(plus_and_minus(_value_side(gold))))

    def _outcome(self, raw_gold: str, raw_answer: str, max_chars: int) -> Outcome:
        if len(raw_answer) > max_chars:
            return Outcome(Reason.TOO_LONG, "guard")
        if _CONTROL.search(raw_answer):
            return Outcome(Reason.BAD_CHARS, "guard")
        answer = normalize(raw_answer)
        if not answer:
            return Outcome(Reason.EMPTY, "extract")
        gold = _normalized(raw_gold)  # leaves no dollar sign
        if other_unit(gold, answer, dollars=(in_dollars(raw_gold), in_dollars(raw_answer))):
            return Outcome(Reason.WRONG_ANSWER, "guard")
        return self._compare(gold, answer)

    def _compare(self, gold: str, answer: str) -> Outcome:
        """Both normalized; gold is not empty."""
        if not answer:
            return Outcome(Reason.UNPARSABLE, "guard")
        if squeezed(gold) == squeezed(answer) and _words(gold) is None:  # in words blanks count: no table, notable
            return Outcome(Reason.IDENTICAL, "text")
        gold, answer = _without_common_names(gold, answer)
        if other_unit(gold, answer) or set_for_tuple(gold, answer):
            return Outcome(Reason.WRONG_ANSWER, "guard")
        outcome = _as_text(gold, answer) or _as_numbers(gold, answer)
        if outcome is not None:
            return outcome
        intervals = _as_intervals(gold, answer)
        if intervals is not None:
            return self._compare(*intervals)
        reason = bomb(gold, answer) or bomb("", gold) or bad_form(gold, answer)
        if reason is not None:
            return Outcome(reason, "guard")
        signs = plus_and_minus(gold), plus_and_minus(answer)
        if signs != (gold, answer):
            return self._compare(*signs)
        close = approximates(gold, answer, self._same, self.symbolic.constant)
        if close is not None:
            return Outcome(Reason.SYMBOLIC if close else Reason.FALSE_EQUATION, "symbolic")
        return (self._as_equation(gold, answer) or self._as_sequences(gold, answer)
                or self._as_algebra(gold, answer))

    def _same(self, gold: str, answer: str) -> bool:
        return self._compare(gold, answer).correct

    def _as_equation(self, gold: str, answer: str) -> Outcome | None:
        """Refuses false equations; compares the right-hand sides where the left ones are mere names."""
        gold_sides, sides = _sides(gold), _sides(answer)
        if (len(gold_sides) == 1) != (len(sides) == 1) and _shuffled((gold_sides if len(sides) == 1 else sides)[0]):
            return Outcome(Reason.WRONG_ANSWER, "guard")
        constants = [side for side in sides if is_constant(side)] if len(sides) > 1 else []
        for left, right in pairwise(constants):
            if not self._compare(left, right).correct:
                return Outcome(Reason.FALSE_EQUATION, "guard")
        if len(gold_sides) == 1:
            if len(sides) == 1:
                return None
            if not (is_name(sides[0]) or is_constant(sides[0])) or (
                    _CHOICE.fullmatch(gold) and _CHOICE.fullmatch(sides[0])):  # B = A
                return Outcome(Reason.WRONG_ANSWER, "guard")
            if constants and not is_constant(without_unit(sides[-1])):  # 17 = x^2: a number is no name
                return Outcome(Reason.WRONG_ANSWER, "guard")
            return self._compare(gold, sides[-1])
        if is_name(gold_sides[0]) and (len(sides) == 1 or _plain_name(gold_sides[0]) == _plain_name(sides[0])):
            return self._compare(gold_sides[-1], sides[-1])
        return None

    def _as_sequences(self, gold: str, answer: str) -> Outcome | None:
        sequence, answer_sequence = read_sequence(gold), read_sequence(answer)
        if sequence is None or answer_sequence is None or r"\pm" in gold + answer:
            return None
        found = compare_parts(sequence, answer_sequence, self._same)
        return found and Outcome(_REASONS[found], "symbolic")

    def _as_algebra(self, gold: str, answer: str) -> Outcome:
        gold, answer = without_unit(gold), without_unit(answer)
        if squeezed(gold) == squeezed(answer):
            return Outcome(Reason.IDENTICAL, "text")
        if other_case(gold, answer) or other_points(gold, answer) or gold.count("'") != answer.count("'"):
            return Outcome(Reason.WRONG_ANSWER, "guard")
        equal = self.symbolic.equal(gold, answer)
        if equal is None:
            return Outcome(Reason.UNPARSABLE, "symbolic")
        if equal and not _same_count(gold, answer):
            return Outcome(Reason.MULTISET, "symbolic")
        return Outcome(Reason.SYMBOLIC if equal else Reason.WRONG_ANSWER, "symbolic")


def question_of(problem: Problem) -> str:
    """The text of the prompt, or of what the user says in it."""
    return problem.prompt if isinstance(problem.prompt, str) else " ".join(
        part if isinstance(part, str) else str(part.get("text", ""))
        for message in problem.prompt if message["role"] == "user"
        for part in ([message["content"]] if isinstance(message["content"], str) else message["content"])
    )


def _as_intervals(gold: str, answer: str) -> tuple[str, str] | None:
    """Both as unions of intervals where one is an inequality and the other is one too or an interval; else None."""
    of_gold, of_answer = as_intervals(gold), as_intervals(answer)
    if of_gold is None and of_answer is None:
        return None
    if of_gold is not None and of_answer is not None:
        return (of_gold[1], of_answer[1]) if of_gold[0] == of_answer[0] else None
    if of_gold is not None:
        return (of_gold[1], answer) if answer[:1] in ("(", "[") else None
    assert of_answer is not None
    return (gold, of_answer[1]) if is_interval(gold) else None


def _same_count(gold: str, answer: str) -> bool:
    """Whether two lists are of one length. A tuple, an interval or a plus-minus is not counted: it may mean a list."""
    if any("\\pm" in text or text[0] in "([" for text in (gold, answer)):
        return True
    counts = [len(sequence.parts) if (sequence := read_sequence(text)) else 1 for text in (gold, answer)]
    return counts[0] == counts[1]


@lru_cache(maxsize=4096)
def _normalized(gold: str) -> str:
    return normalize(gold)


def _sides(text: str) -> list[str]:
    r"""`x = 5` and `x \in S` cut at the relation; one part where there is none, or where it is a list of equations."""
    several = read_sequence(text)
    if several is not None and not several.brackets:
        return [text]
    return split_top(text, frozenset({"=", "\\in"}))


def _shuffled(side: str) -> bool:
    """Whether it is a tuple of coordinates in another order than the usual one: (y, x)."""
    names = read_sequence(side) if side[:1] == "(" else None
    return names is not None and shuffled(list(names.parts))


def _without_common_names(gold: str, answer: str) -> tuple[str, str]:
    """`x = 1, x = 2` -> `1, 2` on either side; two different names stay, so that they differ."""
    (gold_name, gold_values), (name, values) = _common_name(gold), _common_name(answer)
    return (gold, answer) if gold_name and name and gold_name != name else (gold_values, values)


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


def _plain_name(side: str) -> str:
    return squeezed(_FONTS.sub(r" \1 ", side))


def _value_side(gold: str) -> str:
    sides = _sides(gold)
    return sides[-1] if is_name(sides[0]) else gold


def _words(text: str, *, where_words_are_due: bool = False) -> str | None:
    r"""The words of `\text{Evelyn}`, `(C)` or `no solution`, in one case and spacing; None if it is mathematics.

    Short bare words such as `yes` may be products of variables, so they count only where words are due.
    """
    without_fonts = _FONTS.sub(r" \1 ", text.strip("\"“”`' ")).strip(" .")
    if where_words_are_due or (without_fonts != text and not _FONTS.sub("", text).strip(" .,")):
        if not _WORDS.fullmatch(without_fonts):
            return None
    elif not (_BARE_WORDS.fullmatch(text) or _CHOICE.fullmatch(text)):
        return None
    choice = _CHOICE.fullmatch(without_fonts)
    return choice[1] if choice else " ".join(without_fonts.casefold().strip(" .'()").split())


def _as_text(gold: str, answer: str) -> Outcome | None:
    gold_words = _words(gold)
    if gold_words is None and re.fullmatch("[A-Za-z]{2,3}", gold) and _words(answer) == gold.casefold():
        return Outcome(Reason.IDENTICAL, "text")  # Yes and \text{Yes}
    if gold_words is None:
        return None
    answer_words = _words(answer, where_words_are_due=True)
    if answer_words is None and _CHOICE.fullmatch(gold):
        return None  # a single capital may as well be a variable
    return Outcome(Reason.IDENTICAL if answer_words == gold_words else Reason.WRONG_ANSWER, "text")


def _as_numbers(gold: str, answer: str) -> Outcome | None:
    """Decides where both are numbers, sequences of numbers or ratios, and where one is a numeral or a time of day."""
    in_base, answer_in_base = numeral(gold), numeral(answer)
    if in_base is not None or answer_in_base is not None:
        if in_base is None and answer_in_base is not None and answer_in_base[1] == 10:
            return _as_numbers(gold, answer_in_base[0])
        return Outcome(Reason.EXACT_NUMBER if in_base == answer_in_base else Reason.BASE, "exact")
    clock, ratio = _CLOCK.fullmatch(gold), _RATIO.fullmatch(gold)
    if clock is not None or ratio is not None:
        return _as_ratio(gold, answer, clock)
    number, answer_number = read_number(gold), read_number(answer)
    if number is not None and answer_number is not None:
        return Outcome(Reason.EXACT_NUMBER if same_number(number, answer_number) else Reason.WRONG_ANSWER, "exact")
    sequence, answer_sequence = read_sequence(gold), read_sequence(answer)
    if sequence is None or answer_sequence is None:
        return None
    same = same_sequence(sequence, answer_sequence)
    if same is None:
        return None
    return Outcome(Reason.EXACT_NUMBER if same == "same" else _REASONS[same], "exact")


def _as_ratio(gold: str, answer: str, clock: re.Match[str] | None) -> Outcome | None:
    """Times of day are compared as written (am and pm if both say it), ratios by cross multiplication."""
    if clock is not None:
        other = _CLOCK.fullmatch(answer)
        same = other is not None and (int(clock[1]), clock[2]) == (int(other[1]), other[2]) and (
            not clock[3] or not other[3] or clock[3].lower() == other[3].lower())
        return Outcome(Reason.EXACT_NUMBER if same else Reason.WRONG_ANSWER, "exact")
    if not _RATIO.fullmatch(answer):
        return None
    terms, others = ([int(term) for term in text.split(":")] for text in (gold, answer))
    same = len(terms) == len(others) and all(a * others[0] == b * terms[0] for a, b in zip(terms, others, strict=True))
    return Outcome(Reason.EXACT_NUMBER if same else Reason.WRONG_ANSWER, "exact")
