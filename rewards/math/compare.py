"""One answer against one gold answer: the steps, in order, each of which decides only what it can.

First the spelling of both is brought together, then text, numbers, intervals, forms that are refused, equations and
lists are looked at, and what is left goes to computer algebra.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise
from types import ModuleType

from rlvr.rewards.math.approximate import approximates
from rlvr.rewards.math.conditions import without_conditions
from rlvr.rewards.math.equations import (
    out_of_order,
    plain_name,
    sides_of,
    turned,
    without_common_names,
)
from rlvr.rewards.math.exact import CLOCK, as_numbers
from rlvr.rewards.math.guards import bad_form, bomb, other_case, other_points, unreadable, with_floors
from rlvr.rewards.math.inequalities import as_intervals
from rlvr.rewards.math.known_units import in_dollars, other_unit
from rlvr.rewards.math.latex import split_top, squeezed
from rlvr.rewards.math.letters import in_same_argument, in_same_letters
from rlvr.rewards.math.normalize import normalize
from rlvr.rewards.math.numbers import plus_and_minus, read_sequence
from rlvr.rewards.math.options import by_option
from rlvr.rewards.math.outcome import REASONS, WRONG, Outcome
from rlvr.rewards.math.quantities import is_constant, is_name, is_quantity
from rlvr.rewards.math.solutions import as_tuples, same_chain, without_chains
from rlvr.rewards.math.structure import as_vectors, compare_parts, indexed, names_of, set_for_tuple
from rlvr.rewards.math.units import spelled_out, without_decoration, without_unit
from rlvr.rewards.math.words import CHOICE, as_text, words
from rlvr.types import Reason

CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


_PLAIN_NUMBER = re.compile(r"-?\d{1,15}(?:\.\d{1,15})?")

normalized = lru_cache(maxsize=4096)(normalize)
"""Gold answers come again with every completion, and so do most answers."""


class Comparison:
    """`symbolic` is the module rlvr.rewards.math.symbolic, which takes a second to import."""

    def __init__(self, symbolic: ModuleType) -> None:
        self.symbolic = symbolic

    def outcome(self, raw_gold: str, raw_answer: str, max_chars: int, question: str = "") -> Outcome:
        """Compares two answers as they were written."""
        if len(raw_answer) > max_chars:
            return Outcome(Reason.TOO_LONG, "guard")
        if CONTROL.search(raw_answer):
            return Outcome(Reason.BAD_CHARS, "guard")
        if _PLAIN_NUMBER.fullmatch(raw_gold) and _PLAIN_NUMBER.fullmatch(raw_answer) and raw_gold != raw_answer:
            return as_numbers(raw_gold, raw_answer) or WRONG  # most answers there are, in a tenth of the time
        answer = normalized(raw_answer)
        if not answer:
            return Outcome(Reason.EMPTY, "extract")
        gold = normalized(raw_gold)  # leaves no dollar sign
        if squeezed(gold) == squeezed(answer) and words(gold) is None and not other_unit(
                gold, answer, dollars=(in_dollars(raw_gold), in_dollars(raw_answer))):
            return Outcome(Reason.IDENTICAL, "text")  # in words blanks count: no table, notable
        values = by_option(gold, answer)
        if isinstance(values, bool):
            return Outcome(Reason.IDENTICAL, "text") if values else WRONG
        gold, answer = values or (gold, answer)
        answer = spelled_out(gold, answer)
        if other_unit(gold, answer, dollars=(in_dollars(raw_gold), in_dollars(raw_answer))):
            return WRONG
        answer = _last_of_deduction(gold, answer)
        if not CLOCK.fullmatch(gold):  # there AM and PM are no decoration
            gold, answer = without_decoration(gold, answer, question)
        gold, answer = without_conditions(*with_floors(turned(gold), answer))
        if gold == answer or bomb(gold, answer) is None:
            gold, answer = in_same_argument(*in_same_letters(gold, answer), question)
        return self.compare(gold, answer, f"{question} {gold}")

    def compare(self, gold: str, answer: str, asked: str = "") -> Outcome:
        """Both normalized, in the same letters; gold is not empty. `asked`: see `as_intervals`."""
        if not answer:
            return Outcome(Reason.UNPARSABLE, "guard")
        if squeezed(gold) == squeezed(answer) and words(gold) is None:
            return Outcome(Reason.IDENTICAL, "text")
        brought = _in_one_form(gold, answer)
        if brought is None or other_unit(*brought) or set_for_tuple(*brought):
            return WRONG
        gold, answer = brought
        outcome = as_text(gold, answer) or as_numbers(gold, answer)
        if outcome is not None:
            return outcome
        intervals = as_intervals(gold, answer, self.symbolic.constant, asked)
        if intervals is not None:
            return self.compare(*intervals) if intervals else WRONG
        value = _value_of_quantity(gold, answer)
        if value is not None:
            return self.compare(gold, value)
        reason = bomb(gold, answer) or bomb("", gold) or bad_form(gold, answer)
        if reason is not None:
            return Outcome(reason, "guard")
        signs = plus_and_minus(gold), plus_and_minus(answer)
        if signs != (gold, answer):
            return self.compare(*signs)
        close = approximates(gold, answer, self.same, self.symbolic.constant)
        if close is not None:
            return Outcome(Reason.SYMBOLIC if close else Reason.FALSE_EQUATION, "symbolic")
        return (self._as_equation(gold, answer, asked) or self._as_sequences(gold, answer)
                or self._as_ratio(gold, answer) or self._as_algebra(gold, answer))

    def same(self, gold: str, answer: str) -> bool:
        return self.compare(gold, answer).correct

    def _as_equation(self, gold: str, answer: str, asked: str) -> Outcome | None:
        """Refuses false equations; compares the right-hand sides where the left ones are mere names."""
        gold_sides, sides = sides_of(gold), sides_of(answer)
        if (len(gold_sides) == 1) != (len(sides) == 1) and out_of_order((gold_sides if len(sides) == 1 else sides)[0]):
            return WRONG
        chain = same_chain(gold, answer)
        if chain is not None:
            return Outcome(Reason.SYMBOLIC, "symbolic") if chain else WRONG
        constants = [side for side in sides if is_constant(side)] if len(sides) > 1 else []
        for left, right in pairwise(constants):
            if not self.compare(left, right).correct:
                return Outcome(Reason.FALSE_EQUATION, "guard")
        if len(gold_sides) == 1:
            if len(sides) == 1:
                return None
            if not (is_quantity(sides[0]) or is_constant(sides[0])) or (
                    CHOICE.fullmatch(gold) and CHOICE.fullmatch(sides[0])):  # B = A
                return WRONG
            if not (is_constant(gold) or is_name(sides[0]) or is_constant(sides[0])):  # x^2 = 7 gives no expression
                return WRONG
            if constants and not is_constant(without_unit(sides[-1])):  # 17 = x^2: a number is no name
                return WRONG
            return self.compare(gold, sides[-1])
        if is_name(gold_sides[0]) and (len(sides) == 1 or plain_name(gold_sides[0]) == plain_name(sides[0])):
            return self.compare(gold_sides[-1], sides[-1], asked)
        return None

    def _as_sequences(self, gold: str, answer: str) -> Outcome | None:
        sequence, answer_sequence = read_sequence(gold), read_sequence(answer)
        if sequence is None or answer_sequence is None or r"\pm" in gold + answer:
            return None
        found = compare_parts(sequence, answer_sequence, self.same)
        return found and Outcome(REASONS[found], "symbolic")

    def _as_ratio(self, gold: str, answer: str) -> Outcome | None:
        r"""`\sqrt3 : 3` and `1 : \sqrt3`: ratios of two constants."""
        terms, others = gold.split(":"), answer.split(":")
        if len(terms) != 2 or len(others) != 2 or not all(is_constant(term.strip()) for term in (*terms, *others)):
            return None
        (a, b), (c, d) = terms, others
        return self._as_algebra(rf"\frac{{{a}}}{{{b}}}", rf"\frac{{{c}}}{{{d}}}")

    def _as_algebra(self, gold: str, answer: str) -> Outcome:
        gold, answer = without_unit(gold), without_unit(answer)
        if squeezed(gold) == squeezed(answer):
            return Outcome(Reason.IDENTICAL, "text")
        if other_case(gold, answer) or other_points(gold, answer) or gold.count("'") != answer.count("'"):
            return WRONG
        reason = unreadable(gold, answer)
        if reason is not None:
            return Outcome(reason, "guard")
        equal = self.symbolic.equal(gold, answer)
        if equal is None:
            return Outcome(Reason.UNPARSABLE, "symbolic")
        if equal and not _same_count(gold, answer):
            return Outcome(Reason.MULTISET, "symbolic")
        return Outcome(Reason.SYMBOLIC if equal else Reason.WRONG_ANSWER, "symbolic")


def _value_of_quantity(gold: str, answer: str) -> str | None:
    r"""The value of `\sum_{i=1}^n a_i = 7` and `\Pr[A \cup B] = 7`, where the gold answer is a constant."""
    sides = sides_of(answer)
    if len(sides) != 2 or not is_constant(gold) or len(sides_of(gold)) != 1 or out_of_order(sides[0]):
        return None
    return sides[1] if is_quantity(sides[0]) and not is_constant(sides[0]) else None


def _last_of_deduction(gold: str, answer: str) -> str:
    r"""`m+n = 13` of `\frac{m}{n} = \frac{6}{7} \Rightarrow m+n = 13`, where the gold answer is a constant.

    Only an equation is a result: what stands left of a bare value may be another answer, as in `8 \Rightarrow 9`.
    """
    steps = split_top(answer, _ARROWS)
    if len(steps) < 2 or not is_constant(gold) or "=" not in steps[-1] or "," in answer or _OR.search(answer):
        return answer
    names = [squeezed(split_top(step, frozenset({"="}))[0]) for step in steps]
    return steps[-1] if names[-1] not in names[:-1] and all(steps) else answer


_ARROWS = frozenset({r"\Rightarrow", r"\implies", r"\Longrightarrow"})
_OR = re.compile(r"(?<![A-Za-z\\])or(?![A-Za-z])|\\lor(?![A-Za-z])")


def _in_one_form(gold: str, answer: str) -> tuple[str, str] | None:
    """Named solutions as tuples or bare values, on both sides; None where the form contradicts the gold answer's."""
    if gold[:1] == "(" and _brackets(gold) == "()" and _OR.search(answer) and _brackets(answer) == "":
        return None  # 1 or 2 is no point
    if answer[:2] == r"\{" and "=" in gold and (several := read_sequence(gold)) and (
            len(names_of(several)) > 1 and not indexed(several)):
        return None  # a set says not which is which
    if (r"\begin" in gold) != (r"\begin" in answer):
        gold, answer = as_vectors(gold, answer)
    if "=" not in gold and "=" not in answer:
        return gold, answer
    if read_sequence(gold) is not None or "=" in gold:
        answer = without_chains(answer) if read_sequence(gold) is not None or gold.count("=") > 1 else answer
        gold = without_chains(gold) if gold.count("=") > 1 else gold
    tuples = as_tuples(gold, answer)
    if isinstance(tuples, bool):
        return None
    return without_common_names(*(tuples or (gold, answer)))


def _brackets(text: str) -> str | None:
    sequence = read_sequence(text)
    return None if sequence is None else sequence.brackets


def _same_count(gold: str, answer: str) -> bool:
    """Whether two lists are of one length. A tuple, an interval or a plus-minus is not counted: it may mean a list."""
    if any("\\pm" in text or text[0] in "([" for text in (gold, answer)):
        return True
    counts = [len(sequence.parts) if (sequence := read_sequence(text)) else 1 for text in (gold, answer)]
    return counts[0] == counts[1]
