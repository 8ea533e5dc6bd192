"""Countdown: combine given integers by + - * so that the last result is the target.

A completion is a sequence of tokens joined by single spaces, for example, from 3 5 7 4 to the target 18:

    3 * 5 = 15 ; 15 + 7 = 22 ; 22 - 4 = 18

The text must match exactly: no blank is stripped or merged, no zero or sign is forgiven. The lab sums the model's
probability of every correct token sequence and calls the sum p(correct); that is the truth only if no other text is
judged correct, so tokens and text must correspond one to one.
"""

from __future__ import annotations

import re
from itertools import combinations
from operator import add, mul, sub

from rlvr.interfaces import Verifier
from rlvr.types import Problem, Reason, Verdict

OPERATORS = {"+": add, "-": sub, "*": mul}
MAX_VALUE = 199
"""Largest result of a step unless `extra["max_value"]` says otherwise."""

_NUMBER = re.compile(r"0|[1-9][0-9]{0,999}")
_SPELT = {str(value): value for value in range(1000)}
_MAX_CHARS = 4096


class CountdownVerifier(Verifier):
    """Gold: the target, in decimal. `extra`: "numbers" (list of non-negative ints) and optionally "max_value".

    Correct: exactly len(numbers) - 1 steps `a op b = c`, joined by " ; "; a and b are given numbers or earlier
    results, each used once; c is a op b and lies in 0..max_value; the last c is the target.
    """

    name = "countdown"
    version = "1"
    answer_alone = False

    def verify(self, problem: Problem, text: str) -> Verdict:
        """`extracted` is the last result, where the text has the right form."""
        if _complaint(problem) is not None:
            return Verdict(None, Reason.GOLD_ERROR)
        if not text:
            return Verdict(False, Reason.EMPTY)
        if len(text) > _MAX_CHARS:
            return Verdict(False, Reason.TOO_LONG)
        available = list(problem.extra["numbers"])
        max_value = problem.extra.get("max_value", MAX_VALUE)
        tokens = text.split(" ")
        if len(tokens) != 6 * (len(available) - 1) - 1 or any(sign != ";" for sign in tokens[5::6]):
            return Verdict(False, Reason.UNPARSABLE)
        result = -1
        for at in range(0, len(tokens), 6):
            left, sign, right, equals, result = tokens[at : at + 5]
            left, right, result = _value(left), _value(right), _value(result)
            if left is None or right is None or result is None or sign not in OPERATORS or equals != "=":
                return Verdict(False, Reason.UNPARSABLE)
            try:
                available.remove(left)
                available.remove(right)
            except ValueError:  # not given, or used before
                return Verdict(False, Reason.UNPARSABLE)
            if OPERATORS[sign](left, right) != result or result > max_value:
                return Verdict(False, Reason.FALSE_EQUATION, str(result)[:200])
            available.append(result)
        correct = result == int(problem.gold)
        return Verdict(correct, Reason.EXACT_NUMBER if correct else Reason.WRONG_ANSWER, str(result), tier="exact")

    def check_gold(self, problem: Problem) -> str | None:
        """The form of gold and numbers, and whether the target can be reached at all."""
        complaint = _complaint(problem)
        if complaint is not None:
            return complaint
        if _derivation(problem) is None:
            return f"the target {problem.gold} cannot be reached from the numbers {list(problem.extra['numbers'])}"
        return None

    def gold_completion(self, problem: Problem) -> str:
        """The first derivation that a search over all pairs finds; ValueError if there is none."""
        steps = _derivation(problem)
        if steps is None:
            raise ValueError(f"problem {problem.id} has no solution")
        return " ; ".join(steps)


def _value(token: str) -> int | None:
    """The integer a token spells, None if it is no number in its one decimal spelling."""
    value = _SPELT.get(token)
    return int(token) if value is None and _NUMBER.fullmatch(token) else value


def _complaint(problem: Problem) -> str | None:
    numbers = problem.extra.get("numbers")
    max_value = problem.extra.get("max_value", MAX_VALUE)
    if not isinstance(numbers, (list, tuple)) or len(numbers) < 2:
        return f"extra['numbers'] is {numbers!r}, expected a list of at least two integers"
    for number in (*numbers, max_value):
        if type(number) is not int or number < 0:
            return f"numbers {numbers!r} and max_value {max_value!r}: expected integers that are not negative"
    gold = _value(problem.gold)
    if gold is None or gold > max_value:
        return f"the gold answer is {problem.gold!r}, expected an integer from 0 to {max_value} in decimal"
    return None


def _derivation(problem: Problem) -> list[str] | None:
    return _search(tuple(sorted(problem.extra["numbers"])), int(problem.gold),
                   problem.extra.get("max_value", MAX_VALUE), set())


def _search(numbers: tuple[int, ...], target: int, max_value: int, failed: set[tuple[int, ...]]) -> list[str] | None:
    """Steps from `numbers` (sorted) to `target`, or None; `failed` holds the multisets known to lead nowhere."""
    if len(numbers) == 1:
        return [] if numbers[0] == target else None
    if numbers in failed:
        return None
    for i, j in combinations(range(len(numbers)), 2):
        rest = numbers[:i] + numbers[i + 1 : j] + numbers[j + 1 :]
        small, large = numbers[i], numbers[j]
        for sign, operation in OPERATORS.items():
            result = operation(large, small)
            if 0 <= result <= max_value:
                steps = _search(tuple(sorted((*rest, result))), target, max_value, failed)
                if steps is not None:
                    return [f"{large} {sign} {small} = {result}", *steps]
    failed.add(numbers)
    return None
