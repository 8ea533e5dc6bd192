"""Whatever is in the box, the verdict is right or wrong, soon; and an answer of another value is never right."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import strategies as st

from rlvr.rewards.math_answer import MathVerifier
from rlvr.types import Problem
from tests.fuzz.driver import fuzz

PIECES = [
    r"\frac{",
    r"\sqrt{",
    r"\text{",
    "}",
    "{",
    "(",
    ")",
    "[",
    "]",
    "^",
    "_",
    "x",
    "y",
    "n",
    "1",
    "2",
    "7",
    ".",
    ",",
    "+",
    "-",
    "*",
    "/",
    "=",
    r"\pi",
    r"\cdot",
    r"\times",
    r"\pm",
    r"\infty",
    r"\sin",
    r"\cup",
    r"\le",
    "<",
    r"\%",
    r"^\circ",
    r"\ ",
    " and ",
    " or ",
    r"\begin{pmatrix}",
    r"\end{pmatrix}",
    r"\\",
    "&",
    r"\sum_{k=1}^{9}",
    r"\int_0^1",
    "!",
    "99999999999",
    r"\left(",
    r"\right)",
    r"\text{ cm}",
    r"\$",
    "i",
    "e",
    "\u200b",
    "½",
    "²",
    "\u2212",
    "\u0664",
]
GOLDS = [
    "8",
    r"\frac{1}{2}",
    "-3",
    r"2\sqrt{3}",
    r"\pi",
    "(1,2)",
    "1,-2",
    "x^2+1",
    r"[0,1)",
    r"\text{even}",
    "5:30",
    r"90^\circ",
    "12.5",
    r"\begin{pmatrix}1\\2\end{pmatrix}",
    "10\\%",
    "C",
    r"\frac{x}{x+1}",
    "n!+1",
    r"y=\sin x",
]
WORDS = [
    "sevenths",
    "point five",
    "less three",
    "in binary",
    "guess",
    "thousand",
    "dozen",
    "halves",
    "squared",
    "percent",
    "or so",
    "plus one",
    "minus",
    "times two",
    "negative",
    "not",
    "mod 7",
    "factorial",
    "cubed",
    "over two",
]
VERIFIER = MathVerifier()

soup = st.lists(st.sampled_from(PIECES), max_size=25).map("".join)
FORMS = [
    r"\frac{{{0}}}{{{1}}}", r"\sqrt{{{0}}}", "({0})^{{{1}}}", "{0}+{1}", "{0}-{1}", r"{0}\cdot {1}", "({0})({1})",
    r"\sin({0})", r"\ln({0})", r"\tan({0})", "({0})!", "|{0}|", r"\lfloor {0} \rfloor", r"\binom{{{0}}}{{{1}}}",
    r"\begin{{pmatrix}}{0}\\{1}\end{{pmatrix}}", r"\sum_{{k=1}}^{{{0}}} {1}", r"\int_0^{{{0}}} {1} \, dx", "{0}={1}",
    "({0},{1})", r"\{{{0},{1}\}}", r"{0} \le {1}",
]
atoms = st.sampled_from(["x", "y", "n", "0", "1", "2", "7", "-1", r"\pi", "e", "i", r"\infty", "0.5", "99999999999"])
trees = st.recursive(
    atoms,
    lambda inner: st.tuples(st.sampled_from(FORMS), inner, inner).map(lambda parts: parts[0].format(*parts[1:])),
    max_leaves=6,
)
"""Answers whose braces match, which come as far as computer algebra."""
numbers = st.one_of(
    st.integers(-999, 999).map(Fraction), st.fractions(max_denominator=40).filter(lambda q: abs(q) < 999)
)


def written(value: Fraction) -> st.SearchStrategy[str]:
    """Ways of writing a number."""
    n, d = value.numerator, value.denominator
    ways = [rf"\frac{{{n}}}{{{d}}}", rf"{n}/{d}", rf"\dfrac{{{n}}}{{{d}}}", rf"({n})/({d})", rf"-\frac{{{-n}}}{{{d}}}"]
    if d == 1:
        ways += [
            str(n),
            f"{n}.0",
            f"({n})",
            rf"\text{{{n}}}",
            f"{n}.",
            f"+{n}" if n >= 0 else f"\u2212{-n}",
            rf"{n} \text{{ cm}}",
        ]
    return st.sampled_from(ways)


def judged(gold: str, answer: str) -> bool | None:
    return VERIFIER.verify(Problem("p", "What is it?", gold, "math"), rf"So \boxed{{{answer}}}.").correct


def test_any_box_is_judged(seconds: float) -> None:
    def check(value: tuple[str, str]) -> None:
        gold, answer = value
        assert judged(gold, answer) in (True, False)

    answers = st.one_of(soup, st.text(max_size=30), trees, trees)
    fuzz(st.tuples(st.sampled_from(GOLDS), answers), check, seconds / 3)


def test_another_number_is_wrong_and_the_same_is_right(seconds: float) -> None:
    pairs = st.tuples(numbers, numbers).flatmap(
        lambda two: st.tuples(st.just(two[0] == two[1]), written(two[0]), written(two[1]))
    )
    same = numbers.flatmap(lambda value: st.tuples(st.just(True), written(value), written(value)))

    def check(value: tuple[bool, str, str]) -> None:
        equal, gold, answer = value
        if VERIFIER.check_gold(Problem("p", "What is it?", gold, "math")) is None:
            assert judged(gold, answer) is equal, (gold, answer)

    fuzz(st.one_of(pairs, same), check, seconds / 3)


def test_words_that_change_the_value_are_wrong(seconds: float) -> None:
    def check(value: tuple[int, str, str]) -> None:
        number, word, form = value
        answer = form.format(n=number, w=word)
        if word != "percent":
            assert judged(str(number), answer) is False, answer

    forms = st.sampled_from(
        [r"{n}\text{{ {w}}}", r"{n} \text{{{w}}}", r"{n}\ \mathrm{{{w}}}", "{n} {w}", r"\text{{{n} {w}}}"]
    )
    fuzz(st.tuples(st.integers(2, 99), st.sampled_from(WORDS), forms), check, seconds / 3)
