"""Guess rates and corrected pass@k by hand, and against a simulated guesser whose solving is known."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

from rlvr.rewards.math_answer import MathVerifier
from rlvr.statistics.guess import (
    FailedSamples,
    GuessBaseline,
    answer_type,
    baseline_of_samples,
    corrected_pass_at_k,
    guess_baseline,
)
from rlvr.statistics.intervals import pass_at_k_vector
from rlvr.statistics.plan import PLANS, SamplingPlan
from rlvr.types import Counts, UserError
from tests.statistics.coverage_table import draw_counts

FOUR = SamplingPlan((4,))


def test_rates_by_hand():
    """Golds 3, 5, 3, 700. Problem a (3) gets b's share of "3" alone: 2 of 8 (c has the same gold, d another type).
    b (5): mean of a's 1/4 and c's 0/2. c (3): 2/8. d: no donor. e (7) never failed: mean of 0, 1/8 and 1/2."""
    wrong = [
        FailedSamples("a", "3", 4, {"5": 1, "9": 2}),
        FailedSamples("b", "5", 8, {" 3 ": 2, "7": 1}),
        FailedSamples("c", "3", 2, {"7": 1}),
        FailedSamples("d", "700", 6, {"3": 6}),
        FailedSamples("e", "7", 0, {}),
    ]
    rates = guess_baseline(wrong).rates
    assert [rates[i] for i in "abce"] == pytest.approx([2 / 8, (1 / 4 + 0) / 2, 2 / 8, (0 + 1 / 8 + 1 / 2) / 3])
    assert math.isnan(rates["d"])


def sample(problem: str, extracted: str | None, correct: bool) -> dict[str, object]:
    return {"problem_id": problem, "extracted": extracted, "correct": correct}


def test_rates_from_the_samples_of_the_base():
    """a (gold 3) never answers; b (gold 5) says 3 in one of its 4 wrong samples, one of which has no answer. Right
    answers donate nothing. c never failed."""
    samples = [sample("b", " 3", False), sample("b", "9", False), sample("b", None, False), sample("b", "9", False),
               sample("b", "5", True), sample("a", None, False), sample("c", "3", True)]
    baseline = baseline_of_samples(samples, {"a": "3", "b": "5", "c": "7"})
    assert baseline is not None
    assert baseline.rates == {"a": 0.25, "b": 0.0, "c": 0.0}


def test_no_rates_where_the_answer_alone_does_not_decide():
    """Countdown: the last result can be the target and the derivation false; guessing the number would not do."""
    derivations = [sample("a", "24", True), sample("a", "24", False), sample("b", "7", False)]
    assert baseline_of_samples(derivations, {"a": "24", "b": "8"}) is None
    assert baseline_of_samples([sample("a", None, False)], {"a": "1"}) is None
    rare = [*[sample("a", "24", True)] * 100, sample("a", "24", False)]  # one time-out in 101 changes nothing
    assert baseline_of_samples(rare, {"a": "24"}) is not None


def test_golds_and_answers_are_compared_in_the_form_of_their_verifier():
    """b says 0.5 and \\dfrac{1}{2} in 2 of 4 wrong samples: both are guesses of a's 1/2; c has no key: its own text."""
    samples = [sample("b", "0.5", False), sample("b", r"\dfrac{1}{2}", False), sample("b", "7", False),
               sample("b", None, False), sample("a", None, False)]
    golds = {"a": "$1/2$", "b": r"\frac{1}{4}", "c": "1/2"}
    keys = dict.fromkeys("ab", MathVerifier.answer_key)
    by_text, by_key = baseline_of_samples(samples, golds), baseline_of_samples(samples, golds, keys)
    assert by_text is not None and by_key is not None
    assert (by_text.rate("a"), by_key.rate("a")) == (0.0, 0.5)
    raw = baseline_of_samples(samples, golds, {"a": MathVerifier.answer_key})
    assert raw is not None and raw.rate("a") == 0.0


@pytest.mark.parametrize(
    ("answers", "key"),
    [
        (["1/2", "0.50", "$0.5$", r"\frac{1}{2}", r"\dfrac12", "½"], "1/2"),
        (["1,000", "1{,}000", "1000.0", r"1000 \text{ cm}"], "1000"),
        (["50%", r"50\%"], r"50\%"),
        (["(C)", "C", r"\text{C}"], "C"),
        (["Evelyn", r"\text{ evelyn }"], "evelyn"),
        (["(1, 2)", r"\left(1,2\right)"], "(1,2)"),
        (["10^{9999}"], "10^{9999}"),  # more digits than Python writes
        (["5x + 1", " 5x+1."], "5x+1"),
    ],
)
def test_one_key_per_answer_of_the_math_verifier(answers: list[str], key: str):
    assert {MathVerifier.answer_key(answer) for answer in answers} == {key}


def test_equality_can_be_a_canonical_form():
    wrong = [FailedSamples("a", "1/2", 4, {}), FailedSamples("b", "1/4", 4, {"2/4": 1})]
    assert guess_baseline(wrong).rate("a") == 0.0
    assert guess_baseline(wrong, key=lambda x: str(Fraction(x))).rate("a") == 0.25


def test_a_wrong_answer_that_equals_its_own_gold_donates_nothing_there():
    """The verifier called b's "3 " wrong; c's gold is 3 as well, so neither b nor c is a donor for the other."""
    wrong = [FailedSamples("a", "4", 2, {"3": 1}), FailedSamples("b", "3", 2, {"3 ": 2}),
             FailedSamples("c", "3", 1, {})]
    assert [guess_baseline(wrong).rate(i) for i in "abc"] == [0.0, 0.5, 0.5]


def test_corrected_by_hand():
    """4 samples, k = 2. a: c = 1, T = C(3,2)/C(4,2) = 1/2, g = .2, b = .36: 1 - .5/.64. b: c = 2, T = 1/6, g NaN -> 0.
    c: g = .3, b = .51 > 1/2: guessable, and listed first so that a filter by position fails."""
    baseline = GuessBaseline({"a": 0.2, "b": math.nan, "c": 0.3})
    counts = [Counts("c", 4, 4), Counts("a", 4, 1), Counts("b", 4, 2)]
    result = corrected_pass_at_k(counts, FOUR, 2, baseline)
    assert result.corrected == pytest.approx(((1 - 0.5 / 0.64) + 5 / 6) / 2, rel=1e-12)
    assert (result.pass_at_k, result.baseline) == pytest.approx(((1 / 2 + 5 / 6) / 2, 0.18), rel=1e-12)
    assert (result.kept_ids, result.guessable_ids) == (("a", "b"), ("c",))
    assert [baseline.guessable("c", k) for k in (1, 2)] == [False, True]
    assert [baseline.guessable("a", k) for k in (3, 4)] == [False, True]  # b = .488, .5904
    assert baseline.baseline(["a"], 3).tolist() == pytest.approx([1 - 0.512])


def test_the_mean_is_clipped_never_a_problem():
    """One guessed problem fails all its samples: its corrected value 1 - 1/.64 < 0 must enter the mean as it is."""
    baseline = GuessBaseline({"a": 0.2, "b": 0.0})
    result = corrected_pass_at_k([Counts("a", 4, 0), Counts("b", 4, 4)], FOUR, 2, baseline)
    assert result.corrected == pytest.approx((1 - 1 / 0.64 + 1) / 2, rel=1e-12)
    assert corrected_pass_at_k([Counts("a", 4, 0)], FOUR, 2, baseline).corrected == 0.0
    assert math.isnan(corrected_pass_at_k([Counts("a", 4, 0)], FOUR, 4, baseline).corrected)  # b(4) = .59


def test_a_known_guesser_is_taken_out_without_bias():
    """300 problems, solving s ~ Beta(.3, 2), else a guess from one law over 0..9 and "other": corrected pass@16 under
    the balanced plan averages to the mean of 1 - (1-s)^16, which the raw one misses by far."""
    rng, plan, k, problems, runs = np.random.default_rng(0), PLANS["balanced"], 16, 300, 20
    law = np.array([0.025, 0.02, 0.015, 0.01, 0.01, 0.005, 0.005, 0.004, 0.003, 0.003])
    raw, corrected, truth = [], [], []
    for _ in range(runs):
        s, gold = rng.beta(0.3, 2.0, problems), rng.integers(0, 10, problems)
        counts = draw_counts((s + (1 - s) * law[gold])[None], plan, rng)[0]
        wrong = []
        for i, one in enumerate(counts):
            weights = np.append(law, 1 - law.sum())
            weights[gold[i]] = 0.0  # what is wrong cannot be the gold answer
            drawn = rng.multinomial(one.n - one.c, weights / weights.sum())[:10]
            answers = Counter({str(a): int(times) for a, times in enumerate(drawn) if times})
            wrong.append(FailedSamples(one.problem_id, str(gold[i]), one.n - one.c, answers))
        baseline = guess_baseline(wrong)
        result = corrected_pass_at_k(counts, plan, k, baseline)
        assert not result.guessable_ids
        raw.append(pass_at_k_vector(counts, plan, k).mean())
        corrected.append(result.corrected)
        truth.append(np.mean(1 - (1 - s) ** k))
    assert np.mean(raw) - np.mean(truth) > 0.05
    assert np.mean(corrected) == pytest.approx(float(np.mean(truth)), abs=0.012)


@pytest.mark.parametrize(
    ("gold", "expected"),
    [
        ("7", "integer <= 10"), ("-10", "integer <= 10"), ("11", "integer <= 100"), ("$100$", "integer <= 100"),
        ("101", "integer > 100"), ("12,345", "integer > 100"), ("1{,}000", "integer > 100"),
        ("0.5", "number"), ("3/4", "number"), ("\\frac{3}{4}", "number"), ("-\\dfrac{1}{12}", "number"),
        ("50.5\\%", "number"),
        ("B", "choice"), ("(C)", "choice"), ("\\text{D}", "choice"),
        ("(1,2)", "collection"), ("\\{1, 2, 3\\}", "collection"), ("1, 2", "collection"),
        ("[0, \\infty)", "collection"),
        ("x^2+1", "expression"), ("2\\sqrt{3}", "expression"), ("\\pi", "expression"),
    ],
)
def test_answer_types(gold: str, expected: str):
    assert answer_type(gold) == expected


def test_impossible_arguments_are_refused():
    with pytest.raises(UserError, match="occurs twice"):
        guess_baseline([FailedSamples("a", "3", 0, {}), FailedSamples("a", "3", 0, {})])
    with pytest.raises(UserError, match="3 wrong answers from 2 failed samples"):
        guess_baseline([FailedSamples("a", "3", 2, {"4": 3})])
    with pytest.raises(UserError, match="'b' is unknown"):
        corrected_pass_at_k([Counts("b", 4, 1)], FOUR, 2, GuessBaseline({"a": 0.1}))
