"""Sets of numbers as answers: intervals in every notation, inequalities, set builders, and unions of them. A row is
`gold <- answer`. Run: python -m pytest tests/rewards/test_math_sets.py
"""


from __future__ import annotations

import pytest

from rlvr.rewards.math_answer import MathVerifier
from rlvr.types import Problem
from tests.support.math_pairs import judged

RIGHT = r"""
(-2,2) <- -2<x<2
(-2,2) <- x\in(-2,2)
x\in(-2,2) <- -2<x<2
x\in(-2,2) <- (-2,2)
x\in(-2,2) <- ]-2,2[
(-2,2) <- ]-2,2[
(-2,2) <- x\in ]-2,2[
(-2,2) <- x \in \left]-2,2\right[
(-2,2) <- \left]-2;2\right[
(-2,2) <- ]-2;2[
(-2,2) <- |x|<2
(-2,2) <- \{x \mid -2 < x < 2\}
(-2,2) <- \{x \in \mathbb{R} : -2 < x < 2\}
[-2,2] <- -2≤x≤2
[-2,2] <- -2 \leqslant x \leqslant 2
[-2,2] <- -2 \le x \le 2
[-2,2) <- -2 \le x < 2
[-2,2) <- [-2,2[
[-2,2) <- x \in [-2,2[
(-2,2] <- ]-2,2]
(-2,2] <- x \in ]-2,2]
(-2,2] <- 2 \ge x > -2
(-2,2) <- 2 > x > -2
(-\infty,1)\cup(3,\infty) <- ]-\infty,1[ \cup ]3,+\infty[
(-\infty,1)\cup(3,\infty) <- x \in ]-\infty,1[ \cup ]3,+\infty[
(-\infty,1)\cup(3,\infty) <- x<1 \text{ or } x>3
(-\infty,1)\cup(3,\infty) <- x \in (-\infty,1)\cup(3,\infty)
(-\infty,1]\cup[3,\infty) <- ]-\infty,1] \cup [3,\infty[
(-\infty,1]\cup[3,\infty) <- ]-\infty;1] \cup [3;+\infty[
(-\infty,1) <- ]-\infty,1[
(-\infty,1) <- x<1
(0,\infty) <- ]0,+\infty[
(0,\infty) <- x>0
-2<x<2 <- (-2,2)
-2<x<2 <- ]-2,2[
-2<x<2 <- x \in (-2,2)
-2<x<2 <- x \in ]-2,2[
-2<x<2 <- |x|<2
-2<x<2 <- 2>x>-2
|x|<2 <- -2<x<2
|x|<2 <- (-2,2)
x\in[0,1) <- 0\le x<1
x\in[0,1) <- [0,1[
x \in (-\infty,1)\cup(3,\infty) <- x<1 \text{ or } x>3
x\in(-2,2) <- |x|<2
x\in(-2,2) <- \{x : -2<x<2\}
(0,\frac{\pi}{2}) <- 0<x<\frac{\pi}{2}
(0,\frac{\pi}{2}) <- 0<\theta<\frac{\pi}{2}
(0,\frac{\pi}{2}) <- ]0,\frac{\pi}{2}[
(-\sqrt{3},\sqrt{3}) <- -\sqrt3<x<\sqrt3
(-\sqrt{3},\sqrt{3}) <- |x|<\sqrt{3}
(1,2)\cup(3,4) <- 1<x<2 \text{ or } 3<x<4
(1,2)\cup(3,4) <- ]1,2[\cup]3,4[
(1,2)\cup(3,4) <- x\in ]1,2[\cup]3,4[
(1,2)\cup(2,3) <- 1<x<3, x \ne 2
(-2,2) <- x \in \mathopen{]}-2,2\mathclose{[}
(1,3] <- x>1 \text{ and } x \le 3
(0,1)\cup(1,\infty) <- x>0, x\ne 1
(-\infty,0)\cup(0,\infty) <- x\in\mathbb{R}, x\ne 0
[-1,0)\cup(0,1] <- -1\le x\le 1, x\neq 0
[0,\frac{\pi}{2})\cup(\frac{\pi}{2},\pi] <- 0\le x\le\pi, x\neq\frac{\pi}{2}
(-2,2) <- \{x \in \mathbb{R} \mid |x|<2\}
[2,5] <- [2;5]
[1,2]\cup[3,4] <- [1;2]\cup[3;4]
(-2,2) <- x \in (-2;2)
"""
WRONG = r"""
(-2,2) <- -2\le x<2
(-2,2) <- -2<x\le2
(-2,2) <- [-2,2[
(-2,2) <- ]-2,2]
(-2,2) <- -2<x<3
(-2,2) <- ]-2,3[
(-2,2) <- |x|\le2
(-2,2) <- |x|>2
(-2,2) <- x<2
x\in(-2,2) <- [-2,2]
x\in(-2,2) <- -2\le x<2
x\in(-2,2) <- ]-2,2]
x\in(-2,2) <- -2,2
x\in(-2,2) <- \{-2,2\}
x\in(-2,2) <- (2,-2)
(-2,2) <- x=-2, x=2
(1,2) <- x=1,x=2
(1,2) <- x=1 \text{ or } x=2
(1,2)\cup(3,4) <- 1<x<2, 3<x<4
(1,2)\cup(3,4) <- 1<x<4
(-\infty,1)\cup(3,\infty) <- ]-\infty,1] \cup ]3,+\infty[
(-\infty,1)\cup(3,\infty) <- x<1 \text{ and } x>3
(-\infty,1)\cup(3,\infty) <- 3<x<1
(2,1) <- 1<x<2
(2,1) <- 2<x<1
(2,1) <- 2>x>1
(3,-3) <- -3<x<3
(1,2) <- x\in\{1,2\}
(1,3] <- x>1 \text{ or } x \le 3
(0,1)\cup(1,\infty) <- x>0
(0,1)\cup(1,\infty) <- x>0, x\ne 2
[-1,0)\cup(0,1] <- -1\le x\le 1
(-\infty,1)\cup(3,\infty) <- x<1, x>3, x \ne 3
x\in(1,2) <- 1 \text{ and } 2
(a,b) <- a<x<c
[1,2] <- \{1;2\}
(1,2) <- 1<2
(1,2) <- 1<x,2
(-2,2) <- ]-2,2[ \cup \{2\}
[1,2] <- ]1,2[
x\in[1,2] <- (1,2)
x\in(-2,2) <- y\in(-2,3)
"""


@pytest.mark.parametrize("pair", RIGHT.strip().splitlines())
def test_one_set_in_another_notation_is_right(verifier: MathVerifier, pair: str) -> None:
    assert judged(verifier, pair) == {pair: True}


@pytest.mark.parametrize("pair", WRONG.strip().splitlines())
def test_another_set_is_wrong(verifier: MathVerifier, pair: str) -> None:
    assert judged(verifier, pair) == {pair: False}


@pytest.mark.parametrize(("question", "gold", "right"), [
    ("Find the point where the two lines meet.", "(1,2)", False),
    ("Find the ordered pair $(x, y)$.", "(1,2)", False),
    ("What are the coordinates of the vertex?", "(1,2)", False),
    ("For which $x$ is $x^2 < 3x - 2$?", "(1,2)", True),
    ("Let $A=(0,2)$ and $B=(1,5)$ be intervals. Find $A\\cap B$.", "(1,2)", True),
    ("", "(1,2)", True), ("", "(x,y)=(1,2)", False), ("", "P=(1,2)", False),
])
def test_an_inequality_is_no_point(verifier: MathVerifier, question: str, gold: str, right: bool) -> None:
    """The gold answer (1, 2) may be a point or an interval; where question or gold answer are about points it is one.
    """
    for answer in ("1<x<2", r"\{x \mid 1 < x < 2\}"):
        problem = Problem("m", question, gold, "math")
        assert verifier.verify(problem, rf"\boxed{{{answer}}}").correct is right


def test_what_can_be_no_point_is_an_interval_whatever_the_question_asks_for(verifier: MathVerifier) -> None:
    problem = Problem("m", "At which points does $f$ increase?", r"(1,\infty)", "math")
    assert verifier.verify(problem, r"\boxed{x>1}").correct is True
