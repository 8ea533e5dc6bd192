"""visual_answer: numbers with the question's rounding, options, words; and rows of the three benchmarks."""

from __future__ import annotations

from typing import Any

import pytest

from rlvr.rewards.math_answer import MathVerifier
from rlvr.rewards.visual_answer import VisualVerifier
from rlvr.types import Problem, Reason

VERIFIER = VisualVerifier()


def verdict(gold: str, answer: str, question: str = "Find x.", **extra: Any) -> tuple[bool | None, Reason]:
    prompt = ({"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]},)
    problem = Problem("p", prompt, gold, "visual_answer", extra)
    found = VERIFIER.verify(problem, rf"<think>\boxed{{0}}</think> so \boxed{{{answer}}}")
    assert VERIFIER.check_gold(problem) is None or found.correct is None
    return found.correct, found.reason


@pytest.mark.parametrize(
    ("gold", "answer", "correct"),
    [
        (r"2 \sqrt { 3 }", r"2\sqrt{3}", True),  # Geometry3K's spacing
        (r"\frac { 5 } { 2 }", "2.5", True),
        ("48", r"48^\circ", True),
        ("48", r"48 \text{ cm}", True),
        ("48", "84", False),
        ("48", "B", False),  # a letter where the gold answer is none
        (r"2 \sqrt { 3 }", "3.46", False),  # no rounding was asked for
        ("48", r"48 \text{ or } 84", False),
        ("B", "(B)", True),  # multiple choice without its options
        ("B", "A", False),
        ("yes", r"\text{Yes}", True),
        ("yes", "Yes", True),
        ("no", "on", False),  # as products of letters they would be equal
    ],
)
def test_plain_answers(gold: str, answer: str, correct: bool) -> None:
    assert verdict(gold, answer)[0] is correct


@pytest.mark.parametrize(
    ("gold", "answer", "question", "correct"),
    [
        ("5.3", "5.29", "Round to the nearest tenth.", True),
        ("5.3", r"2\sqrt{7}", "Round to the nearest tenth.", True),  # 5.2915...
        ("5.3", "5.25", "Round to the nearest tenth.", True),
        ("5.3", "5.24", "Round to the nearest tenth.", False),
        ("5.3", "5", "Round to the nearest tenth.", False),
        ("5.3", r"\sqrt{28} \text{ or } 6", "Round to the nearest tenth.", False),
        ("5.3", "x", "Round to the nearest tenth.", False),
        ("5.3", r"5.29\%", "Round to the nearest tenth.", False),
        ("5.3", r"9^{99999999}", "Round to the nearest tenth.", False),
        ("5.29", "5.2915", "Give 2 decimal places.", True),
        ("5.29", "5.2915", "Give two decimal places.", True),
        ("5.29", "5.296", "Give 2 decimal places.", False),
        (r"2 \sqrt { 7 }", "5.3", "Round to the nearest tenth, if necessary.", True),
        ("5.29", "5.2915", "Find x.", False),
    ],
)
def test_rounding_only_where_it_is_asked_for(gold: str, answer: str, question: str, correct: bool) -> None:
    assert verdict(gold, answer, question)[0] is correct


def test_precision_of_the_row() -> None:
    assert verdict("1.2", "1.24", precision=1.0) == (True, Reason.EXACT_NUMBER)
    assert verdict("1.2", "1.24", precision=2.0)[0] is False
    assert verdict("1.2", "1.24", precision=None)[0] is False


@pytest.mark.parametrize(
    ("gold", "answer", "correct"),
    [
        ("B", "B", True), ("B", "(B)", True), ("B", r"\text{B}", True), ("B", "B.", True), ("B", "b", False),
        ("B", "12 cm", True), ("B", "12", True), ("B", r"\text{(B) 12 cm}", True),
        ("B", "(B) 24 cm", False),  # the letter of one, the text of another
        ("B", r"(B)\ \text{12 cm}", True), ("B", r"\text{Answer: B}", True), ("B", r"\text{(B)}~12", True),
        ("B", r"\textbf{(B)}\quad 12\text{ cm}", True), ("B", "The answer is B", True),
        ("B", r"\text{Option (B)}", True),
        ("B", r"(B)\ \text{24 cm}", False), ("B", r"\text{Answer: A}", False), ("B", r"\text{Answer: A or B}", False),
        ("B", r"(A)\ \text{12 cm}", False), ("B", r"\text{not B}", False), ("B", r"\text{Answer: B or A}", False),
        ("B", "A", False), ("B", "24 cm", False), ("B", "A, B", False), ("B", r"\text{A or B}", False),
        ("B", "F", False), ("B", "7", False),
        ("12 cm", "B", True), ("12 cm", "12 cm", True), ("12 cm", "A", False),  # MathVista gives the text
    ],
)
def test_options(gold: str, answer: str, correct: bool) -> None:
    found, reason = verdict(gold, answer, choices=["24 cm", "12 cm", "6 cm", "none of these"])
    assert found is correct, reason


@pytest.mark.parametrize(("answer", "correct"), [
    (r"(A)\ \text{red}", True), (r"\text{(A) red}", True), (r"\text{A: red}", True), ("A. red", True), ("red", True),
    (r"(A)\ \text{blue}", False), (r"(B)\ \text{red}", False), (r"(A)\ \text{red or blue}", False),
    (r"(A)\ \text{not red}", False),
])
def test_an_option_in_words_after_its_letter(answer: str, correct: bool) -> None:
    assert verdict("A", answer, choices=["red", "blue"])[0] is correct


def test_the_text_of_an_option_comes_before_its_letter() -> None:
    assert verdict("A", "A", choices=["B", "A", "C"])[0] is True
    assert verdict("A", "B", choices=["B", "A", "C"])[0] is False


def test_golds_that_cannot_be_judged() -> None:
    def complaint(gold: str, *choices: str) -> str | None:
        return VERIFIER.check_gold(Problem("p", "q", gold, "visual_answer", {"choices": list(choices)}))

    assert "neither one of its options" in (complaint("E", "1", "2") or "")
    assert "two options read '1'" in (complaint("A", "1", "1") or "")
    assert complaint("A", "1", "2") is None and complaint("7") is None and complaint("") is not None
    assert verdict("E", "1", choices=["1", "2"]) == (None, Reason.GOLD_ERROR)


def test_it_refuses_what_math_refuses() -> None:
    for text, reason in [("48", Reason.NO_BOX), (r"\boxed{48", Reason.UNBALANCED), (r"<think>\boxed{48}",
                         Reason.UNFINISHED_THINK), (r"\boxed{48=49}", Reason.FALSE_EQUATION)]:
        for extra in ({}, {"choices": ["48", "50"]}):
            found = VERIFIER.verify(Problem("p", "Round to the nearest tenth.", "48", "visual_answer", extra), text)
            assert (found.correct, found.reason) == (False, reason)


def test_version_follows_the_math_verifier() -> None:
    assert MathVerifier.version in VisualVerifier.version and VisualVerifier.version != MathVerifier.version
