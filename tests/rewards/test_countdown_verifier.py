"""The countdown verifier against hand-made rows, every short token sequence, and the lab's independent solver.

Run: python -m pytest tests/rewards/test_countdown_verifier.py
"""

from __future__ import annotations

from itertools import product

import pytest

from rlvr.lab.countdown import derivations, problems
from rlvr.rewards.countdown import CountdownVerifier
from rlvr.types import Problem, Reason

VERIFIER = CountdownVerifier()


def countdown(numbers: object, gold: str, **extra: object) -> Problem:
    return Problem(id="c", prompt="", gold=gold, verifier="countdown", extra={"numbers": numbers, **extra})


ROWS = [
    # from 3 5 7 4 to 18
    ("3 * 5 = 15 ; 15 + 7 = 22 ; 22 - 4 = 18", Reason.EXACT_NUMBER),
    ("7 - 4 = 3 ; 3 + 3 = 6 ; 6 + 5 = 11", Reason.WRONG_ANSWER),
    ("3 * 5 = 15 ; 15 + 7 = 22 ; 22 - 4 = 17", Reason.FALSE_EQUATION),
    ("3 * 5 = 14 ; 14 + 4 = 18 ; 18 + 7 = 25", Reason.FALSE_EQUATION),
    ("3 - 5 = 2 ; 7 + 4 = 11 ; 11 + 2 = 13", Reason.FALSE_EQUATION),
    ("3 * 5 = 15 ; 15 + 7 = 22 ; 22 * 22 = 484", Reason.UNPARSABLE),  # 22 is there only once
    ("3 * 5 = 15 ; 3 + 15 = 18 ; 7 - 4 = 3", Reason.UNPARSABLE),  # 3 is used up
    ("9 + 9 = 18 ; 3 * 5 = 15 ; 7 - 4 = 3", Reason.UNPARSABLE),  # 9 was not given
    ("3 * 5 = 15 ; 15 + 3 = 18", Reason.UNPARSABLE),  # a step too few
    ("3 * 5 = 15 ; 15 + 7 = 22 ; 22 - 4 = 18 ; 18 + 18 = 36", Reason.UNPARSABLE),  # one too many
    ("3 * 5 = 15 ; 15 + 7 = 22 ; 22 - 4 = 18 ;", Reason.UNPARSABLE),
    (" 3 * 5 = 15 ; 15 + 7 = 22 ; 22 - 4 = 18", Reason.UNPARSABLE),
    ("3 * 5 = 15 ; 15 + 7 = 22 ; 22 - 4 = 18\n", Reason.UNPARSABLE),
    ("3 * 5 = 15 ; 15 + 7 = 22 ; 22 - 4  = 18", Reason.UNPARSABLE),
    ("3*5=15 ; 15+7=22 ; 22-4=18", Reason.UNPARSABLE),
    ("3 * 5 = 15 , 15 + 7 = 22 , 22 - 4 = 18", Reason.UNPARSABLE),
    ("3 * 5 = 015 ; 15 + 7 = 22 ; 22 - 4 = 18", Reason.UNPARSABLE),
    ("+3 * 5 = 15 ; 15 + 7 = 22 ; 22 - 4 = 18", Reason.UNPARSABLE),
    ("٣ * 5 = 15 ; 15 + 7 = 22 ; 22 - 4 = 18", Reason.UNPARSABLE),  # an Arabic-Indic 3: int() would take it
    ("3 * 5 = 15 ; 15 + 7 = 22 ; 22 / 4 = 18", Reason.UNPARSABLE),
    ("", Reason.EMPTY),
    ("3 * 5 = " * 2000, Reason.TOO_LONG),
]


@pytest.mark.parametrize(("text", "reason"), ROWS)
def test_each_rule_has_its_reason(text: str, reason: Reason) -> None:
    verdict = VERIFIER.verify(countdown([3, 5, 7, 4], "18"), text)
    assert verdict.reason is reason
    assert verdict.correct is (reason is Reason.EXACT_NUMBER)


def test_results_stay_in_range() -> None:
    """Bug: the range that the lab's vocabulary can spell is not enforced, or off by one."""
    text = "10 * 10 = 100 ; 100 + 99 = 199"
    assert VERIFIER.verify(countdown([10, 10, 99], "199"), text).correct is True
    assert VERIFIER.verify(countdown([10, 10, 99], "198", max_value=198), text).reason is Reason.FALSE_EQUATION
    over = "10 * 10 = 100 ; 100 + 100 = 200"
    assert VERIFIER.verify(countdown([10, 10, 100], "100"), over).reason is Reason.FALSE_EQUATION
    huge = f"{'9' * 900} * 5 = 1 ; 1 + 1 = 2"
    assert VERIFIER.verify(countdown([5, 1, 1], "2"), huge).reason is Reason.UNPARSABLE


@pytest.mark.parametrize(("numbers", "target"), [([1, 1, 2], 4), ([1, 2, 2], 0), ([0, 1, 3], 3)])
def test_of_all_two_step_texts_exactly_the_solvers_are_right(numbers: list[int], target: int) -> None:
    """Truth by enumeration: all 140,625 sequences of two steps over 0..4. Bug: a text that is right and not counted in
    the lab's exact success probability, or counted and judged wrong."""
    task = countdown(numbers, str(target), max_value=4)
    steps = [f"{a} {sign} {b} = {c}" for a, sign, b, c in product(range(5), "+-*", range(5), range(5))]
    right = [text for text in map(" ; ".join, product(steps, steps)) if VERIFIER.verify(task, text).correct]
    assert sorted(right) == derivations(numbers, target, 4)
    assert right


def test_the_labs_derivations_are_right_for_their_target_only() -> None:
    for task in problems("test", 40):
        numbers, limit = task.extra["numbers"], task.extra["max_value"]
        texts = derivations(numbers, int(task.gold), limit)
        assert [VERIFIER.verify(task, text).reason for text in texts] == [Reason.EXACT_NUMBER] * len(texts)
        other = countdown(numbers, str((int(task.gold) + 1) % limit), max_value=limit)
        assert {VERIFIER.verify(other, text).reason for text in texts} == {Reason.WRONG_ANSWER}


def test_the_gold_completion_is_right() -> None:
    for task in problems("train", 200):
        assert VERIFIER.check_gold(task) is None
        text = VERIFIER.gold_completion(task)
        assert VERIFIER.verify(task, text).correct is True
        assert text in derivations(task.extra["numbers"], int(task.gold), task.extra["max_value"])


@pytest.mark.parametrize(
    ("numbers", "gold", "complaint"),
    [
        ([1, 1], "3", "cannot be reached"),
        ([3, 5], "07", "expected an integer from 0 to 199"),
        ([3, 5], "200", "expected an integer from 0 to 199"),
        ([3, 5], "-2", "expected an integer from 0 to 199"),
        ([3, 5], "", "expected an integer from 0 to 199"),
        ([3, -5], "2", "not negative"),
        ([3, 5.0], "8", "expected integers"),
        ([3, True], "4", "expected integers"),
        ([3], "3", "at least two"),
        ("35", "8", "at least two"),
        (None, "8", "at least two"),
    ],
)
def test_bad_golds_are_named_and_never_judged(numbers: object, gold: str, complaint: str) -> None:
    """Bug: a data error that turns into wrong answers."""
    task = countdown(numbers, gold)
    assert complaint in (VERIFIER.check_gold(task) or "")
    if complaint != "cannot be reached":
        verdict = VERIFIER.verify(task, "3 + 5 = 8")
        assert (verdict.correct, verdict.reason) == (None, Reason.GOLD_ERROR)
