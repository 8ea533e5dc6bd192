r"""Families of answers that the math verifier once judged wrongly: `gold <- answer` pairs, each family on its own.

Found by writing some 4,200 cases by hand and deciding each by the mathematics.
Run: python -m pytest tests/test_math_families.py
"""

from __future__ import annotations

import re
import time

import pytest

from rlvr.rewards.math_answer import MathVerifier
from rlvr.types import Problem, Reason

WRONG = {
    "an integer beside a number was added to it, as in a mixed number": r"""
5 <- 2(3)
5 <- (2)(3)
7 <- (3)4
9 <- 2(3)(4)
\frac{5}{2} <- (2)\frac{1}{2}
\frac{15}{2} <- 4\frac{7}{2}
16 <- \binom{5}{2}\binom{4}{2}
801 <- 9\binom{12}{5}
3 <- 2e^0
5 <- 2{3}
5 <- {2}{3}
5 <- 2\{3\}
""",
    "tuples and intervals of other things than numbers": r"""
(3, \frac{\pi}{2}) <- [3,\frac{\pi}{2}]
(3,\sqrt2) <- [3,\sqrt2]
(4,\sqrt2) <- [3,\sqrt2]
\pm 5 <- (-5,5)
(1,\infty) <- 1,\infty
8 <- [8,8]
\sqrt2,\sqrt2,1 <- \sqrt2,1,1
\{1\pm\sqrt{5},-2\} <- \{1\pm\sqrt{5}, -2, 1\pm\sqrt{5}\}
""",
    "values of named unknowns in another order": r"""
x=1,y=-2 <- (-2,1)
x=1,y=-2 <- -2,1
a=3,b=\sqrt2 <- \sqrt2,3
m=2, n=3 <- (3,2)
""",
    "constants that differ beyond fifteen digits": r"""
\frac{1}{2^{2023}} <- \frac{1}{2^{2022}}
2^{1009} <- (2^{1009})+0.001
1-\frac{1}{2^{100}} <- 1-\frac{1}{2^{101}}
\frac{2^{90}+1}{2^{90}} <- \frac{2^{91}+1}{2^{91}}
""",
    "what is about equal to something else": r"""
5 <- 5 \approx 6
8 <- 8 \approx 8.4
\frac{17}{3} <- \frac{17}{3} \approx 6.5
\sqrt5 <- \sqrt5 \approx 2.33
2.24 <- \sqrt{6} \approx 2.24
""",
    "letters in the other case": r"""
\gamma m v <- \gamma M v
\sigma^2 <- \Sigma^2
\frac{\omega}{2} <- \frac{\Omega}{2}
\pi <- \Pi
x^2+1 <- X^2+1
-i <- -I_2
""",
    "derivatives and primes": r"""
\frac{dy}{dx}=2x <- \frac{dx}{dy}=2x
\frac{\partial f}{\partial x} <- \frac{\partial f}{\partial y}
f'(x)=2x <- f''(x)=2x
f'(x)=2x <- f(x)=2x
8 <- 8''
y^{\prime}+r y-r x(t)=0 <- 0
0 <- y^{\prime}+r y-r x(t)=0
""",
    "angles and vectors by other points": r"""
\angle ABC <- \angle ACB
\overrightarrow{AB} <- \overrightarrow{BA}
""",
    "what is not printed, goes on or is qualified": r"""
8 <- \phantom{8}
42 <- 42...
42 <- 42\ldots
8 <- 8 \text{ doubled}
8 <- 8 \text{ percent off}
204 <- 204_a
""",
    "a small percentage is not the number": r"""
0.25 <- 0.25\%
\frac{1}{3} <- \frac{1}{3}\%
""",
    "words and options": r"""
\text{Evelyn} <- \text{Eve lyn}
A <- B=A
""",
    "the square root of a square": r"""
x <- \sqrt{x^2}
\sqrt{x^2} <- x
""",
}
RIGHT = {
    "products": r"""
6 <- 2(3)
60 <- \binom{5}{2}\binom{4}{2}
14 <- 4\frac{7}{2}
5\frac{1}{2} <- \frac{11}{2}
10 <- {5 \choose 2}
10 <- \tbinom52
\binom{n}{2}2^n <- 2^n\binom{n}{2}
\sin^2 x <- \sin x\cdot\sin x
""",
    "lists part by part": r"""
x=1,y=2 <- x=1 \text{ and } y=2
x=1,y=2 <- y=2,x=1
a=3,b=\sqrt2 <- b=\sqrt2, a=3
x=1,y=-2 <- (1,-2)
1,-2 <- x_1=-2,\ x_2=1
1,-2 <- x=1 \lor x=-2
1,-2 <- 1\text{, }-2
(3,\sqrt2) <- \left(3, 2^{1/2}\right)
\sqrt2,1,1 <- 1,\sqrt2,1
\text{2 and 3} <- 3, 2
\text{B and D} <- D, B
""",
    "an exact value with its rounding": r"""
\frac{17}{3} <- \frac{17}{3} \approx 5.67
\sqrt5 <- x=\sqrt5\approx 2.236
2.24 <- \sqrt5 \approx 2.24
2.24 <- x \approx 2.24
""",
    "letters that may differ": r"""
x^2+C <- x^2+c
x^{3/2} <- x\sqrt{x}
\sqrt{x^3} <- x^{1.5}
\cos\theta+i\sin\theta <- e^{i\theta}
\angle ABC <- \angle CBA
f'(x)=2x <- f^{\prime}(x) = 2x
\frac{dy}{dx}=2x <- \frac{dy}{dx}=x\cdot 2
\sqrt{3+2\sqrt2} <- 1+\sqrt2
""",
    "spellings": r"""
\frac{3}{4} <- \mathbf{\frac{3}{4}}
\frac{3}{4} <- \nicefrac{3}{4}
\frac{1}{3} <- 0.(3)
2.5 <- 2{.}5
12345 <- 12{\,}345
50\% <- 50 \text{\%}
5 <- 5 \frac{\text{m}}{\text{s}}
90^\circ <- 90\textdegree
3:30 <- 3{:}30
\text{3:45 PM} <- 3:45 \text{ p.m.}
1:2 <- \text{1:2}
1:2 <- 1\colon 2
52_8 <- (52)_8
52_8 <- 52_{(8)}
2\mathrm{A}_{16} <- 2A_{16}
\text{Monday} <- "Monday"
\text{(C)} <- \text{C.}
\mathbb{R} <- \mathbb R
\emptyset <- \{ \}
x=5 <- \text{x}=5
x=5 <- \text{x = 5}
\sqrt[3]{5} <- \sqrt[3]5
\sqrt[3]{5} <- ∛5
\ln 2 <- \log_e 2
\left\lfloor \frac{n}{2} \right\rfloor <- ⌊n/2⌋
(-\infty,2)\cup(3,\infty) <- (3,\infty)\bigcup(-\infty,2)
\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix} <- \begin{pmatrix} 1 & 2 \\[4pt] 3 & 4 \end{pmatrix}
\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix} <- \begin{pmatrix} 1 & 2 \cr 3 & 4 \end{pmatrix}
x \equiv 3 \pmod 7 <- x \equiv 3 \pmod{7}
""",
}


@pytest.fixture(scope="module")
def verifier() -> MathVerifier:
    return MathVerifier()


def judged(verifier: MathVerifier, pairs: str) -> dict[str, bool | None]:
    verdicts = {}
    for pair in pairs.strip().splitlines():
        gold, answer = pair.split(" <- ")
        problem = Problem(id="m", prompt="?", gold=gold, verifier="math")
        verdicts[pair] = verifier.verify(problem, rf"So $\boxed{{{answer}}}$.").correct
    return verdicts


@pytest.mark.parametrize("family", WRONG)
def test_wrong_answers_are_refused(verifier: MathVerifier, family: str) -> None:
    assert [pair for pair, correct in judged(verifier, WRONG[family]).items() if correct is not False] == []


@pytest.mark.parametrize("family", RIGHT)
def test_right_answers_are_accepted(verifier: MathVerifier, family: str) -> None:
    assert [pair for pair, correct in judged(verifier, RIGHT[family]).items() if correct is not True] == []


@pytest.mark.parametrize(("gold", "answer"), [
    ("5", r"((((99^{99})^{99})^{99})^{99})^{99}"), ("5", "e^{e^{e^{e^{e}}}}"), ("5", "|" * 40 + "6" + "|" * 40),
    ("9^{9^9}", "6"), ("10^{10^{10}}", "x"), ("2^{1000000007}-1", "7"),
])
def test_more_bombs_end_at_once(verifier: MathVerifier, gold: str, answer: str) -> None:
    """Bug: ten seconds of a worker each; a gold answer of that kind held it up for every other answer."""
    begun = time.process_time()
    verdict = verifier.verify(Problem(id="m", prompt="?", gold=gold, verifier="math"), rf"\boxed{{{answer}}}")
    assert verdict.correct is False
    assert verdict.reason in (Reason.HUGE, Reason.TOO_DEEP)
    assert time.process_time() - begun < 0.25


@pytest.mark.parametrize(("gold", "complaint"), [
    (r"\mathbb{R}", None), (r"-\infty", None), (r"\text{B and D}", None), ("9^{9^9}", "too large to evaluate"),
])
def test_gold_answers(verifier: MathVerifier, gold: str, complaint: str | None) -> None:
    found = verifier.check_gold(Problem(id="m", prompt="?", gold=gold, verifier="math"))
    assert found is None if complaint is None else re.search(complaint, found or "")
