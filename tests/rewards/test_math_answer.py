r"""The math verifier on hand-picked rows (tests/files/math_cases.jsonl), generated mutations, bombs and bad golds.

The rows in the data file name in `why` what each of them guards against. About half were distilled from measured
errors of public graders (math-verify, hendrycks string match, the Qwen evaluation code) on GSM8K, MATH, AIME, AMC,
Minerva and OlympiadBench; the completions are synthetic. Run: python -m pytest tests/rewards/test_math_answer.py
"""

from __future__ import annotations

import dataclasses
import json
import random
import re
import signal
import threading
import time
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import pytest
import sympy

from rlvr.judging.judge import Judge
from rlvr.rewards.math import symbolic, values
from rlvr.rewards.math.normalize import normalize
from rlvr.rewards.math.numbers import Plain, read_number, same_number
from rlvr.rewards.math_answer import MathVerifier
from rlvr.types import Problem, Reason, Verdict

CASES = [json.loads(line) for line in (Path(__file__).parents[1] / "files/math_cases.jsonl").read_text().splitlines()]
EXPECTED = {"correct": True, "wrong": False, "not judged": None}


def math(gold: str) -> Problem:
    return Problem(id=f"math/{gold[:40]}", prompt="?", gold=gold, verifier="math")


@pytest.fixture(scope="module")
def verifier() -> MathVerifier:
    return MathVerifier()


def number(text: str) -> Plain:
    found = read_number(text)
    assert found is not None, text
    return found


def boxed(judge: Judge, gold: str, answers: list[str]) -> dict[str, Verdict]:
    verdicts = judge.judge([math(gold)] * len(answers), [rf"So \boxed{{{answer}}}." for answer in answers])
    return dict(zip(answers, verdicts, strict=True))


def test_every_row_is_judged_as_it_should_and_for_the_right_reason(judge: Judge) -> None:
    verdicts = judge.judge([math(row["gold"]) for row in CASES], [row["completion"] for row in CASES])
    found = [(row["why"], row["expected"], row["reason"]) for row in CASES]
    judged = [(row["why"], {value: key for key, value in EXPECTED.items()}[verdict.correct], str(verdict.reason))
              for row, verdict in zip(CASES, verdicts, strict=True)]
    assert [pair for pair in zip(judged, found, strict=True) if pair[0] != pair[1]] == []


WRONG_FOR_N = r"""
M  K  N.001  N.0000001  \sqrt{K}  N\frac{1}{2}  Ni + 1  N + x  7xN  \infty - \infty + N
N, M  M, N  N;M  [N, M]  (N, M)  \{N, M\}  N \pm 1  N|M  N?M  N\\M  M \quad N  \begin{cases}N\\M\end{cases}
N \text{ or } M  M \text{ or } N  N \text{ and } M  \text{N or M}  x=M \text{ or } x=N  x=M, x=N  n \in \{N,M\}
M=N  N=M  x=M=N  M \approx N  M \equiv N  M \to N  2x+z=N  -x=N
x < N  x \ge N  x \ne N  \text{not } N  N \text{ maybe}  \text{N is wrong, } M
N_8  Nx+x  \frac{N}{K}  M\%  M^\circ  M \text{ cm}  NM.5
"""
RIGHT_FOR_N = r"""
N.  N.0  +N  0N  $N$  \(N\)  {N}  \mathbf{N}  \text{N}  \left(N\right)  \displaystyle N  \boxed{N}  Ne0  N \times 10^0
x=N  S = N  f(x)=N  m+n=N  AB = N  x = \frac{D}{2} = N  \frac{D}{2}  K - K + N  \approx N
N \text{ units}  N\text{ cm}^2  N \mathrm{~km}/\mathrm{h}  N\%  N^\circ  N°  \$N  N dollars
"""


def spelled(templates: str, n: int) -> list[str]:
    """The answers of a table, two or more blanks apart, with N = n, M = n + 1, K = 10n + 5 and D = 2n."""
    values = {"N": n, "M": n + 1, "K": 10 * n + 5, "D": 2 * n}
    answers = re.split(r"\s{2,}|\n", templates.strip())
    return [re.sub("[NMKD]", lambda match: str(values[match[0]]), answer) for answer in answers]


@pytest.mark.parametrize("n", [7, -3, 1234, 1])
def test_no_wrong_answer_passes_for_an_integer(judge: Judge, n: int) -> None:
    """0 false positives: neighbours, hedges of all spellings, false chains, variables, inequalities, other bases."""
    verdicts = boxed(judge, str(n), spelled(WRONG_FOR_N, n))
    assert len(verdicts) == 50
    assert [answer for answer, verdict in verdicts.items() if verdict.correct is not False] == []


@pytest.mark.parametrize("n", [7, 1234, 10080])
def test_every_spelling_of_an_integer_passes(judge: Judge, n: int) -> None:
    """False negatives: forms that public graders were seen to reject."""
    groups = [f"{n:,}".replace(",", comma) for comma in (",", "{,}", r"\,", r",\!", " ")]
    fullwidth = "".join(chr(ord(digit) + 0xFEE0) for digit in str(n))
    verdicts = boxed(judge, str(n), list({*spelled(RIGHT_FOR_N, n), *groups, fullwidth}))
    assert [answer for answer, verdict in verdicts.items() if verdict.correct is not True] == []


OTHER_SPELLINGS = r"""
3\sqrt{13}  \sqrt{117}
\sqrt{51}  √51
2\pi  2π
(1,2)  \left( 1, 2 \right)
1,-2  -2, 1
1,-2  x=1 \text{ or } x=-2
3 \pm 2\sqrt{2}  3-2\sqrt2, 3+2\sqrt2
x \in [-2,7]  [-2, 7]
k \geqslant 2  k ≥ 2
\text{east}  East
\text{Yes}  yes
f(x)=x+1  f(x) = 1 + x
y = 2x + 3  2x - y + 3 = 0
\frac{11+9a}{20}  \frac{9a}{20}+\frac{11}{20}
1+2i  2i+1
\left\lfloor \frac{n}{2} \right\rfloor  \lfloor n/2 \rfloor
m  1 \cdot m
0.4  \frac{2}{5}
10^{4}, 10^{3}  1000, 10000
(1,2), (3,4)  (3,4), (1,2)
1:2  2:4
3:30  3:30 \text{ PM}
\begin{pmatrix} -1/3 \\ 2 \end{pmatrix}  \begin{pmatrix} -\frac13 \\ 2 \end{pmatrix}
"""


def test_other_structures_pass_in_every_spelling(judge: Judge) -> None:
    pairs = [line.split("  ") for line in OTHER_SPELLINGS.strip().splitlines()]
    verdicts = judge.judge([math(gold) for gold, _ in pairs], [rf"\boxed{{{answer}}}" for _, answer in pairs])
    assert [pair for pair, verdict in zip(pairs, verdicts, strict=True) if verdict.correct is not True] == []


BOMBS = r"""
9^{9^{9^9}}  9^9^9  10^{10^{10}}  ((9!)!)!  9!!!!  3986729!  2^{1000000007}  x^{99999}  9^{9!}  (10^6)!  (1+x)^{2000}
\binom{10^9}{5}  \binom{100000}{50000}  \sum_{k=1}^{10^9} k  \prod_{i=1}^{10^6} i  \int_0^1 e^{x^x} dx
\lim_{n \to \infty} n
"""


def test_bombs_end_at_once(judge: Judge) -> None:
    """Bug: one prompt with 256 bombs blocks a worker for twenty minutes. None of these reaches the algebra system."""
    bombs = [
        *re.split(r"\s{2,}|\n", BOMBS.strip()),
        "(" * 3000 + "1" + ")" * 3000,
        r"\sqrt{" * 60 + "2" + "}" * 60,
        "9" * 100_000,
        "1+" * 5000 + "1",
        r"\{" + ",".join(map(str, range(3000))) + r"\}",
    ]
    judge.stats()
    verdicts = boxed(judge, "5", bombs)
    assert [bomb[:40] for bomb, verdict in verdicts.items() if verdict.correct is not False] == []
    assert {verdict.tier for verdict in verdicts.values()} == {"guard"}
    assert judge.stats().max_ms < 250


@pytest.mark.parametrize(
    ("text", "correct"),
    [
        ("a" * 200_000 + r"\boxed{8}", True),
        ("{" * 100_000 + r"\boxed{8}", True),
        (r"\boxed{" * 30_000, False),
        (r"\boxed{" * 30_000 + "8" + "}" * 30_000, False),
        (r"\boxed" + " " * 200_000 + "{8}", True),
        ("<think>" * 30_000 + "</think>" + r"\boxed{8}", True),
        (r"\[ " * 60_000 + r"\boxed{8}", True),
        ("\\" * 200_001 + "boxed{8}", True),
        (r"\boxed{8}" * 20_000, True),
    ],
)
def test_extraction_is_linear(verifier: MathVerifier, text: str, correct: bool) -> None:
    """Bug: a completion of a few hundred kilobytes costs minutes in a backtracking pattern."""
    begun = time.process_time()
    assert verifier.verify(math("8"), text).correct is correct
    assert time.process_time() - begun < 2.0


def test_exact_numbers_agree_with_the_algebra_system(verifier: MathVerifier) -> None:
    """Zero change of verdict by the fast path: 150 random pairs of number spellings through both."""
    rng = random.Random(3)

    def spelling(value: Fraction) -> str:
        sign, top, bottom = "-" if value < 0 else "", abs(value.numerator), value.denominator
        forms = [rf"{sign}\frac{{{top}}}{{{bottom}}}", f"{sign}{top}/{bottom}"]
        forms.append(rf"\frac{{{sign}{3 * top}}}{{{3 * bottom}}}")
        if bottom == 1:
            forms += [f"{sign}{top}", f"{sign}{top}.0", f"{sign}{top:,}", rf"{sign}{top} \times 10^{{0}}"]
        if (1000 * value).denominator == 1:
            forms += [f"{float(value):.3f}", rf"{float(10 * value)} \times 10^{{-1}}"]
        if bottom > 1 and top > bottom:
            forms.append(rf"{sign}{top // bottom}\frac{{{top % bottom}}}{{{bottom}}}")
        return normalize(rng.choice(forms))

    values = [Fraction(rng.choice([0, 1, 2, 7, 12, -5, 1500]), rng.choice([1, 1, 2, 3, 8, 7])) for _ in range(150)]
    for value in values:
        other = rng.choice([value, value, -value, value + 1, value * 10, rng.choice(values)])
        gold, answer = spelling(value), spelling(other)
        assert (number(gold).value, number(answer).value) == (value, other)
        same = same_number(number(gold), number(answer))
        assert same is symbolic.equal(gold, answer) is (value == other), (gold, answer)


def test_rounding_is_forgiven_only_where_the_value_cannot_be_written_out() -> None:
    def same(gold: str, answer: str) -> bool:
        return same_number(number(gold), number(answer))

    assert same(r"\frac{1}{3}", "0.333333") and not same(r"\frac{1}{3}", "0.3333")
    assert not same("8", "8.0000001") and not same("0", "0.0000001")
    assert not same(r"1\times 10^{-9}", r"2\times 10^{-9}") and not same("0.000000001", "0.000000002")
    assert same("50\\%", "0.5") and same(r"\frac{1}{2}", "50\\%") and same("50", "50\\%") and not same("50\\%", "5")


def test_normalization_is_idempotent() -> None:
    """Bug: gold and answer meet in different spellings because one was normalized once more."""
    texts = [row["gold"] for row in CASES] + [row["completion"][-200:] for row in CASES]
    assert [text for text in texts if normalize(normalize(text)) != normalize(text)] == []


def test_token_soup_never_breaks_the_verifier(judge: Judge) -> None:
    """Whatever a model writes is a verdict, not a failure of ours."""
    rng = random.Random(0)
    tokens = re.split(" ", r"\frac \sqrt { } ( ) [ ] \{ \} 1 23 4.5 x y + - = , ; \cdot \pm \in \text{or} _ ^ % "
                      r"\le | ! \left \right \\ & e E")
    answers = [" ".join(rng.choices(tokens, k=rng.randint(1, 12))) for _ in range(250)]
    golds = [rng.choice(["5", r"\frac{1}{2}", "x=5", "(1,2)", r"x^2+1", r"\{1,2\}", "52_8"]) for _ in answers]
    verdicts = judge.judge([math(gold) for gold in golds], [rf"\boxed{{{answer}}}" for answer in answers])
    assert all(verdict.correct is not None and verdict.reason is not Reason.CRASHED for verdict in verdicts)
    assert sum(verdict.correct is True for verdict in verdicts) <= 12, "a few are right by luck, such as 5 = 5"


@pytest.mark.parametrize(
    ("gold", "complaint"),
    [
        ("", "is empty"),
        (" $ $ ", "is empty"),
        ("np.arcsin(10/13)", "cannot be parsed"),
        ("t(0,4]", "cannot be parsed"),
        (r"so \boxed{5}", "a box in it"),
        ("5\x07", "control characters"),
        (r"\frac{1}{0}", "undefined"),
        (r"m(\gamma^{2}-1)", "undefined"),  # read as the gamma function at a pole
        ("5}", "braces do not match"),
    ],
)
def test_gold_answers_that_cannot_be_judged_by_are_named(judge: Judge, gold: str, complaint: str) -> None:
    """Bug: a fifth of a benchmark is graded against something else than its gold answers."""
    [found] = judge.check_golds([math(gold)])
    assert found is not None and complaint in found


@pytest.mark.parametrize("gold", [
    r"\frac{1}{0}", "1/0", "0/0", r"\ln 0", r"\tan 90^\circ", r"\tan\frac{\pi}{2}", "0^{-1}", r"\frac{2}{1-1}",
    r"\infty-\infty", r"\frac{5}{0} + 3", "(1/0, 2)", "2, 1/0", "[0, 1/0)", r"\frac{x}{0}", r"x=\frac{1}{0}",
    r"\frac{1}{0}\text{ cm}", r"\frac{0}{0}\%", r"\begin{pmatrix}1/0\\2\end{pmatrix}", "nan", "NaN", "None", "null",
    "N/A", "?", "-", "...", "[]", "()", r"\text{}", r"\sqrt{}", r"\frac{1}{}",
])
def test_a_gold_answer_without_a_value_accepts_nothing(judge: Judge, gold: str) -> None:
    """Bug: it counted as `identical` to itself where nobody had asked `check_golds`."""
    for answer in (gold, "1", r"\infty"):
        [verdict] = judge.judge([math(gold)], [rf"\boxed{{{answer}}}"])
        assert (verdict.correct, verdict.reason) == (None, Reason.GOLD_ERROR) and verdict.detail
    [found] = judge.check_golds([math(gold)])
    assert found is not None and "cannot be judged by" in found


@pytest.mark.parametrize("gold", [r"\infty", r"-\infty", r"(-\infty, 0)", r"\text{None}", r"\text{undefined}", r"\{\}",
                                  r"\emptyset", "0^0", r"\frac{0}{5}", "x", "NA", r"{}^{10}C_3", r"\ln 1"])
def test_what_looks_like_no_value_and_is_one(judge: Judge, gold: str) -> None:
    [verdict] = judge.judge([math(gold)], [rf"\boxed{{{gold}}}"])
    assert verdict.correct is True and judge.check_golds([math(gold)]) == [None]


@pytest.mark.parametrize(("text", "reason"), [
    (r"\boxed{7} no, \boxed{8", Reason.UNBALANCED), (r"\boxed{7}, wait: \boxed{\frac{7}{1}", Reason.UNBALANCED),
    (r"\boxed{7} so \boxed", Reason.UNBALANCED), ("\\boxed{7} so \\boxed \n", Reason.UNBALANCED),
    (r"\boxed{7} so \box", Reason.UNBALANCED), (r"\boxed{7} so \boxed{8\}", Reason.WRONG_ANSWER),
    (r"\boxed{8} so \boxed{7\}", Reason.IDENTICAL), (r"\boxed{7} and \boxed{}", Reason.EMPTY),
    (r"\boxed{ so that is \boxed{7}.", Reason.IDENTICAL), (r"\boxed{8 \boxed{7}", Reason.IDENTICAL),
    (r"\boxed{7} in a \boxed.", Reason.IDENTICAL), (r"\boxed{7} cut in a fraction \frac{1}{", Reason.IDENTICAL),
])
def test_a_last_box_that_was_cut_off_is_no_answer(verifier: MathVerifier, text: str, reason: Reason) -> None:
    """Bug: a completion that was cut while it changed its answer counted with the old one."""
    assert verifier.verify(math("7"), text).reason is reason


USABLE = r"""
6m  7.6 Z  \frac{37}{4} m  \frac{1}{m} t  \frac{1}{\sqrt{2}}c   2k
4.5e33  2.88e-19  1.70e4  -1./3  .35625  62.5%  \$32,\!348  864 \mbox{ inches}^2
\frac{270}7\text{ degrees}  5.4 \text{ cents}  69$,$84  (-\infty, 0]  \left[ \frac{\pi^2}{8}, \frac{5 \pi^2}{4} \right]
1 \pm \sqrt{19}  \{1\pm\sqrt{5},-2\}
"""


def test_gold_answers_of_all_kinds_are_usable(judge: Judge) -> None:
    golds = {row["gold"] for row in CASES if row["gold"] and "hbar" not in row["gold"]}
    golds |= set(re.split(r"\s{2,}|\n", USABLE.strip()))
    complaints = dict(zip(golds, judge.check_golds([math(gold) for gold in golds]), strict=True))
    assert {gold: complaint for gold, complaint in complaints.items() if complaint} == {}


def test_it_needs_neither_the_main_thread_nor_the_alarm(verifier: MathVerifier) -> None:
    """Bug: math-verify's time-outs raise off the main thread (silently 0 in one trainer) and cancel alarms."""
    verdicts: list[Verdict] = []
    thread = threading.Thread(target=lambda: verdicts.append(verifier.verify(math("(x+1)^2"), r"\boxed{1+2x+x^2}")))
    thread.start()
    thread.join()
    assert verdicts[0].reason is Reason.SYMBOLIC
    signal.alarm(600)
    try:
        assert verifier.verify(math("(x+1)^3"), r"\boxed{1+3x+3x^2+x^3}").correct is True
        assert signal.alarm(0) > 590
    finally:
        signal.alarm(0)


def test_the_version_names_the_parser() -> None:
    """Bug: stored verdicts of another math-verify are taken for this one's."""
    from importlib.metadata import version

    assert f"math-verify-{version('math-verify')}" in MathVerifier.version
    assert f"sympy-{version('sympy')}" in MathVerifier.version


@pytest.mark.parametrize("text", [
    r"so \boxed{8}", r"<think>\boxed{9}</think> \boxed{ \frac{1}{2} } and more", r"\boxed{\boxed{3}}", r"\boxed{8\ }",
    "nothing", r"\boxed{}", r"\boxed{8", "<think> \\boxed{8}", r"a \boxed 8", r"\boxed{1} \boxed{", "", r"\boxed{a\}b}",
])
def test_what_decides_is_judged_as_the_whole(verifier: MathVerifier, text: str) -> None:
    """Bug: verdicts are shared between completions that would be judged differently."""
    short = verifier.decisive(text + "\n" * 50)
    assert len(short) < 50 or text.endswith("\\ }"), "a box that cannot stand alone is left as it is"
    for gold in ("8", r"\frac{1}{2}", "3"):
        whole, part = verifier.verify(math(gold), text), verifier.verify(math(gold), short)
        assert whole == part


def test_a_repeated_answer_is_judged_once(judge: Judge) -> None:
    """256 samples that end in the same box are one verdict; other problems and other answers are not."""
    one, two = (dataclasses.replace(math(gold), id=f"repeated/{gold}") for gold in "12")
    texts = [f"way {n}: \\boxed{{{n % 3}}}" for n in range(60)]
    judge.stats()
    verdicts = judge.judge([one] * 60 + [two], [*texts, texts[1]])
    assert [verdict.correct for verdict in verdicts] == [n % 3 == 1 for n in range(60)] + [False]
    assert judge.stats().computed == 4
    judge.judge([one], ["quite another way \\boxed{1}"])
    assert judge.stats().computed == 0


@pytest.mark.parametrize(("gold", "answer", "correct"), [
    ("x^2+2x+1", "17=x^2+2x+1", False), ("2x", "S=5=2x", False), ("2x", "S=2x", True),
    (r"\frac{1}{2}", r"0.5=\frac12", True), ("5", r"5 = 5 \text{ cm}", True), ("5", "d = 5 = 5 km", True),
    ("x^2", "x^2=17", False), (r"2.2 \tau", r"17=2.2 \tau", False),
])
def test_a_number_is_no_expression(verifier: MathVerifier, gold: str, answer: str, correct: bool) -> None:
    """Bug: a constant before the right expression, `17 = x^2 + 2x + 1`, was taken for its name."""
    assert verifier.verify(math(gold), rf"\boxed{{{answer}}}").correct is correct


def test_a_fault_of_ours_is_no_answer_without_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bug: a TypeError or AttributeError of our own lines was read as sympy's "has no value", so that whatever they
    were to compare counted as equal or as wrong."""
    letter: Any = sympy.Symbol("x")
    assert values.value_of(sympy.log(letter), {"x": 0.0}) is None  # no number, and nobody's fault
    for broken in ({}, None):
        with pytest.raises((KeyError, TypeError)):
            values.value_of(letter, cast(Any, broken))
    for no_expression in (None, "x"):
        with pytest.raises(AttributeError):
            values.value_of(no_expression, {})
        with pytest.raises(AttributeError):
            values._exactly(no_expression, {})
    monkeypatch.setattr(symbolic, "parse", lambda text: None)  # a release of math-verify that renamed an argument
    symbolic._parse.cache_clear()
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        symbolic._parse("17x")


def test_the_first_verdict_loads_the_algebra_on_no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is it loaded before, as who only asks how a gold answer is written waits a second for it."""
    def load() -> None:
        begun = time.process_time()
        while time.process_time() < begun + 0.3:
            pass
        loaded.append(True)

    loaded: list[bool] = []
    monkeypatch.setattr("rlvr.rewards.math.symbolic.warm_up", load)
    monkeypatch.setattr("rlvr.rewards.math_answer.CPU_SECONDS", 0.1)
    asked = math("4")
    for first in (lambda v: v.verify(asked, r"\boxed{4}").correct, lambda v: v.check_gold(asked) is None):
        verifier = MathVerifier()
        assert verifier.gold_completion(asked) and not loaded
        assert first(verifier) is True and loaded.pop()
