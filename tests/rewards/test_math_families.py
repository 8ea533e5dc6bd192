r"""Families of answers that the math verifier once judged wrongly: `gold <- answer` pairs, each family on its own.

Found by writing some 4,200 cases by hand and deciding each by the mathematics.
Run: python -m pytest tests/rewards/test_math_families.py
"""

from __future__ import annotations

import re
import time

import pytest

from rlvr.rewards.math_answer import MathVerifier
from rlvr.types import Problem, Reason
from tests.support.math_pairs import judged

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
    "braces for round brackets and back": r"""
(1,2) <- \{1,2\}
(0,1) <- \{0,1\}
(1,2,3) <- \{1,2,3\}
\{1,2\} <- (1,2)
x\in\{1,2\} <- x\in(1,2)
(1,2) <- x\in\{1,2\}
\{x,y\} <- (x,y)
(x,y) <- \{x,y\}
[1,2] <- \{1,2\}
1<x<2 <- \{1,2\}
1<x<2 <- x\in\{1,2\}
\{1,2\} <- 1<x<2
(0,1)\cup(2,3) <- \{0,1\}\cup\{2,3\}
\{0,1\}\cup\{2,3\} <- (0,1)\cup(2,3)
\{(1,2),(3,4)\} <- ((1,2),(3,4))
\{(1,2),(3,4)\} <- \{\{1,2\},\{3,4\}\}
(1,2),(3,4) <- \{1,2\},\{3,4\}
\{\{1,2\},3\} <- \{(1,2),3\}
(a,b)=(1,2) <- \{1,2\}
(1,2) <- \{1;2\}
(1,2) <- S=\{1,2\}
\{\sqrt2,1\} <- (\sqrt2,1)
""",
    "values in the order of names that are not the tuple's": r"""
(2,3) <- f(2)=2, f(1)=3
(1,2) <- x_2=1,x_1=2
(1,2) <- (x_2,x_1)=(1,2)
(1,2) <- y=1,x=2
(2,3) <- y=2,x=3
(2,3) <- (y=2,x=3)
(2,3) <- (y,x)=(2,3)
(x,y)=(2,3) <- (y,x)=(2,3)
(y,x)=(2,3) <- (2,3)
y=1,x=2 <- (1,2)
1,2 <- y=1,x=2
""",
    "a factor or a sign in words": r"""
3 <- 3\text{ thousands}
3 <- 3\text{ millions}
3 <- 3 million
3 <- 3\text{ dozen}
3 <- 3\text{ gross}
3 <- 3\text{ score}
3 <- 3\text{ M}
3 <- 3\text{ mil}
3 <- 3\text{ lakh}
3 <- 3\text{ crore}
3 <- 3\text{ negative}
12 <- 12\text{ dozen}
3 <- 3\mathrm{M}
3 <- 3 dozen
3 <- 3\text{ B}
3 <- 3\text{ bn}
3 <- 3\text{ mn}
""",
    "another unit than the gold answer's own": r"""
5\text{ ft}, 6\text{ in} <- 5\text{ ft}, 6\text{ m}
\$5 <- 5\text{ pounds}
5\text{ cents} <- 5\text{ dollars}
5\text{ m} <- 5\text{ minutes}
5\text{ km} <- 5\text{ miles}
5\text{ ft} <- 5\text{ ft}^2
72^\circ F <- 72^\circ C
5\text{ kW} <- 5\text{ MW}
5\text{ cm} <- 5\text{ m}
30\text{ minutes} <- 30\text{ seconds}
10\text{ km/h} <- 10\text{ m/s}
20\text{ kg} <- 20\text{ lbs}
2\text{ cm}^3 <- 2\text{ liters}
\$5 <- 5\text{ cents}
5\text{ dollars} <- 5\text{ euros}
90^\circ <- 90^\circ C
5\text{ cm} <- \text{5 m}
5 cm <- 5 mm
5 cm <- x = 5 \text{ mm}
x = 5\text{ cm} <- 5\text{ mm}
5\text{ cm}, 6\text{ cm} <- 5\text{ m}, 6\text{ m}
\sqrt2\text{ cm} <- \sqrt2\text{ m}
\frac{\pi}{2}\text{ cm} <- \frac{\pi}{2}\text{ m}
5\% <- 5\text{ cm}
5\text{ cents} <- \$5
5\text{ m} <- 5\text{ square meters}
€5 <- 5\text{ dollars}
""",
    "radians and degrees": r"""
30^\circ <- 30\text{ radians}
60^\circ <- 60\text{ radians}
60^\circ <- 60\text{ rad}
\frac{\pi}{3} <- \frac{\pi}{3}^\circ
\frac{\pi}{3} <- \frac{\pi}{3}\text{ degrees}
2\text{ radians} <- 2^\circ
""",
    "sums": r"""
\begin{pmatrix}1\\2\end{pmatrix}=\sum_{k=1}^n k <- \sum_{k=1}^n k
\sqrt{-1}=\begin{pmatrix}1\\2\end{pmatrix} <- 5
e^{i\pi}+\sum_{i=0}^{n-1} i^2 <- \int_0^x t dt
\sum_{k=1}^n k <- \frac{n(n-1)}{2}
\sum_{k=1}^n k <- \frac{n(n-1)}{2}
\sum_{k=1}^n k <- n
\sum_{k=1}^n k <- \sum_{k=1}^n k^2
\sum_{k=1}^n k <- \sum_{k=1}^{n+1} k
\prod_{k=1}^n k <- (n+1)!
\sum_{k=0}^{n} x^k <- \sum_{k=0}^{n} x^{k+1}
\sum_{k=1}^n \frac{1}{k} <- \sum_{k=1}^n \frac{1}{k^2}
\sum_{k=1}^n \frac{1}{k} <- \ln n
""",
    "capitals in another order": r"""
ABC <- CBA
AB <- BA
ABC <- ACB
ABCD <- ABDC
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
    "lists of one kind": r"""
\{1,2\} <- \{2,1\}
\{1,2\} <- 1,2
1,2 <- \{1,2\}
(1,2) <- 1,2
1,2 <- (1,2)
\{(1,2),(3,4)\} <- (3,4),(1,2)
""",
    "names in the usual order": r"""
(1,2) <- (x,y) = (1,2)
(5,2) <- (m,n)=(5,2)
(3,1) <- (p,q)=(3,1)
(1,2,3) <- (a,b,c)=(1,2,3)
(2,3) <- h=2,k=3
(2,3) <- P=(2,3)
(2,3) <- (f(1),f(2))=(2,3)
(1,2) <- (x_0,y_0)=(1,2)
(1,2) <- (\alpha,\beta)=(1,2)
(1,2) <- (u,v)=(1,2)
(3,5) <- (n,k)=(3,5)
(1,2) <- (x_1,x_2)=(1,2)
(3,\pi) <- (r,\theta)=(3,\pi)
(3,1,2) <- (\rho,\theta,\phi)=(3,1,2)
5 <- (f(1))=5
(0,1) <- x \in (0,1)
(2,3),(4,5) <- (x,y)=(2,3),(4,5)
(2,3),(4,5) <- \{(2,3),(4,5)\}
1,2 <- x=1,2
1,2 <- x\in\{1,2\}
(1,2) <- (1;2)
(45^{\circ}, 60^{\circ}),(135^{\circ}, 60^{\circ}) <- (45, 60),(135, 60)
2,3 <- f(1)=2, f(2)=3
(3,5) <- AB=3, BC=5
(1,2) <- x=1,y=2
(1,2) <- (x,y)=(1,2)
x=1,y=2 <- (1,2)
(1,2) <- a=1, b=2
(3,\frac{\pi}{2}) <- r=3,\theta=\frac{\pi}{2}
(1,2) <- x_1=1,x_2=2
y=1,x=2 <- x=2,y=1
y=1,x=2 <- y=1,x=2
""",
    "units in another spelling": r"""
5\text{ ft}, 6\text{ in} <- 5\text{ feet}, 6\text{ inches}
3\text{ m} <- 3.0 \text{ meters}
3\text{ in} <- 3\text{ inches}
8\text{ ft} <- 8 \text{ feet}
20\text{ mph} <- 20\text{ mi/h}
20\text{ mph} <- 20\text{ miles/hour}
9.8\text{ m/s}^2 <- 9.8\,\mathrm{m\,s^{-2}}
9.8\text{ m/s}^2 <- 9.8\text{ meters per second squared}
9.8\text{ m/s}^2 <- 9.8 \text{ m}/\text{s}^2
9.8\text{ m/s}^2 <- 9.8\ \mathrm{m/s^2}
18\text{ cm}^3 <- 18\text{ cubic centimeters}
18\text{ cm}^3 <- 18\text{ cc}
18\text{ cm}^3 <- 18\text{ mL}
18\text{ cm}^2 <- 18\text{cm}^{2}
3\text{ hours} <- 3\text{ hours of work}
\$18.90 <- 18.90\text{ dollars}
\$18.90 <- \text{\$}18.90
\$18 <- \$18 \text{ per hour}
\$18 <- 18\text{ USD}
\$18 <- 18\text{ dollars per hour}
50\% <- 50\text{ percent}
50\% <- 0.5
50\% <- \frac{1}{2}
5\text{ miles} <- 5\text{ mi}
5\text{ days} <- 5\text{ day}
20\text{ minutes} <- 20\text{ min}
1\text{ hour} <- 1\text{ hr}
72^\circ F <- 72\text{ degrees Fahrenheit}
72^\circ F <- 72^\circ\mathrm{F}
72^\circ F <- 72\text{ degrees}
60^\circ <- 60\text{ deg}
\frac{\pi}{3} <- \theta=\frac{\pi}{3}
\frac{\pi}{3} <- \frac{\pi}{3}\text{ rad}
16\pi\text{ cm}^2 <- 16\pi\text{ square centimeters}
16\pi <- 16\pi\text{ cm}^2
5\text{ J} <- 5\text{ joules}
5\text{ kW} <- 5\text{ kilowatts}
300\text{ K} <- 300\text{ kelvin}
5 <- 5\text{ units}
5\text{ cm} <- 5\text{ units}
3 <- 3\text{ pairs}
20 <- 20\text{ years old}
85 <- 85\text{ points}
90^\circ <- 90^\circ.
90^{\circ}, 60^{\circ} <- 60^\circ, 90^\circ
90^{\circ}, 60^{\circ} <- 60, 90
5\text{ cm} <- 5\text{ centimeters}
5\text{ cm} <- 5\mathrm{cm}
5\text{ cm} <- 5\,\mathrm{cm}
5\text{ cm} <- 5\text{ centimetres}
5\text{ cm} <- 5
5 <- 5\text{ cm}
3\text{ hours} <- 3\text{ hrs}
3\text{ hours} <- 3\text{ h}
10\text{ km/h} <- 10\text{ kilometers per hour}
10\text{ mph} <- 10\text{ miles per hour}
10\text{ m/s} <- 10 \mathrm{~m} \cdot \mathrm{s}^{-1}
15\text{ cm}^2 <- 15\text{ square centimeters}
15\text{ cm}^2 <- 15\text{ sq. cm}
15\text{ cm}^2 <- 15\text{ cm squared}
15\text{ cm}^2 <- 15\text{ square units}
864 \mbox{ inches}^2 <- 864\text{ in}^2
15\text{ square feet} <- 15\text{ ft}^2
\$5 <- 5\text{ dollars}
\$5 <- 5
\$5 <- \$5.00
5\text{ dollars} <- \$5
5.4 \text{ cents} <- 5.4
5\text{ apples} <- 5\text{ pieces of fruit}
90^\circ <- 90\text{ degrees}
90^\circ <- 90
90 <- 90^\circ
25^\circ\text{C} <- 25^\circ C
25^\circ C <- 25\text{ degrees Celsius}
25^\circ C <- 25^\circ
\frac{270}7\text{ degrees} <- \frac{270}{7}^\circ
1 <- 1^\circ
\frac{\pi}{3} <- \frac{\pi}{3}\text{ radians}
\frac{\pi}{3}\text{ rad} <- \frac{\pi}{3}
\frac{n(n+1)}{2} <- \frac{n^2+n}{2}
\sqrt2 <- 1.41421356237
\frac13 <- 0.3333333
""",
    "sums up to a variable": r"""
\sum_{k=1}^n k <- \frac{n(n+1)}{2}
\sum_{k=1}^n k <- \sum_{k=1}^n k
\sum_{k=1}^n k <- \frac{n(n+1)}{2}
\sum_{k=1}^n k <- \sum_{j=1}^n j
\sum_{k=1}^n k^2 <- \frac{n(n+1)(2n+1)}{6}
\prod_{k=1}^n k <- n!
\sum_{k=0}^{n} x^k <- \sum_{k=0}^{n} x^k
\sum_{k=1}^n \sin(k^2) <- \sum_{k=1}^n \sin(k^2)
\sum_{k=1}^n \frac{1}{k} <- \sum_{k=1}^n \frac{1}{k}
\sum_{k=0}^\infty x^k <- \sum_{k=0}^\infty x^k
\sum_{k=0}^{n}\binom{n}{k} <- 2^n
""",
    "letters side by side": r"""
ab <- ba
ABC <- ABC
AB <- \text{AB}
A B <- AB
""",
}


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
    (r"\sum_{k=1}^n k", None), ("5 (approximately)", "not exact"), ("5 or 6", None),
    ("I don't know", None), ("The answer is five because I say so", None),
])
def test_gold_answers(verifier: MathVerifier, gold: str, complaint: str | None) -> None:
    found = verifier.check_gold(Problem(id="m", prompt="?", gold=gold, verifier="math"))
    assert found is None if complaint is None else re.search(complaint, found or "")


@pytest.mark.parametrize(("question", "answer", "correct"), [
    ("How many squares at least should be marked?", r"7\text{ squares}", True),
    ("How many squares at least should be marked?", r"7\text{ at least}", False),
    ("How many rooks at most can be placed?", r"7\text{ rooks}", True),
    ("How many rooks at most can be placed?", r"7\text{ rooks at most}", False),
])
def test_a_bound_is_no_unit_though_the_question_asks_for_it(
    verifier: MathVerifier, question: str, answer: str, correct: bool
) -> None:
    """Bug: "squares at least" were the things that BeyondAIME counts."""
    assert verifier.verify(Problem("m", question, "7", "math"), rf"\boxed{{{answer}}}").correct is correct


@pytest.mark.parametrize(("question", "answer", "correct"), [
    ("How many dozens of eggs will she eat?", r"7\text{ dozen}", True),
    ("How many dozen eggs will she eat?", r"7\text{ dozen eggs}", True),
    ("How many dozen eggs will she eat?", r"8\text{ dozen eggs}", False),
    ("Eggs come by the dozen. How many eggs will she eat?", r"7\text{ dozen}", False),
])
def test_dozens_count_where_the_question_asks_for_them(
    verifier: MathVerifier, question: str, answer: str, correct: bool
) -> None:
    """GSM8K counts in dozens; elsewhere 7 dozen is 84."""
    for prompt in (question, ({"role": "user", "content": question},)):
        problem = Problem(id="m", prompt=prompt, gold="7", verifier="math")
        assert verifier.verify(problem, rf"\boxed{{{answer}}}").correct is correct


def test_a_fault_of_ours_is_not_the_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bug: any TypeError, ours as well, was "cannot be compared": a wrong answer in place of a harness error."""
    from rlvr.rewards.math import symbolic, values

    def fail(*_: object, **__: object) -> bool:
        raise TypeError("no comparison of these")

    with monkeypatch.context() as patch:
        patch.setattr(symbolic, "verify", fail)  # as a library would
        assert symbolic.equal("x^2+1", "x^2+1") is None
    monkeypatch.setattr(values, "RELATIVE", None)  # as a slip in our own line would
    with pytest.raises(TypeError, match="NoneType"):
        symbolic.equal("x^2+1", "x^2+2")
