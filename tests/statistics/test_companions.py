"""The companion metrics of a probe row: each number a second way, and unknown kept apart from 0."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from rlvr.statistics.companions import answer_estimates, companions, guess_controls
from rlvr.statistics.guess import GuessBaseline
from rlvr.statistics.plan import PLANS, SamplingPlan
from rlvr.types import Counts
from tests.statistics.coverage_table import draw_counts

TEN = SamplingPlan((10,))


def ten(*correct: int) -> list[Counts]:
    return [Counts(str(i), 10, c) for i, c in enumerate(correct)]


def test_companions_by_hand_under_a_fixed_plan():
    """10 samples of each problem, c = 10, 5, 0, 0. With c = 5, 8 of the 10 leave out 2, so at least 3 of 5
    remain; 4 or more: 1 - C(5,2)/C(10,2) = 35/45. The base solved problems 0, 2 and 3."""
    row = companions(ten(10, 5, 0, 0), TEN, (ten(10, 0, 1, 2), TEN), 10)
    g_pass = row["stability"]["g_pass"]
    assert row["stability"]["k"] == 8
    assert [g_pass[tau]["value"] for tau in ("0.25", "0.5", "1")] == pytest.approx([2 / 4, (1 + 35 / 45) / 4, 1 / 4])
    assert row["histogram"] == {"n": 10, "observed": True, "problems": [2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1]}
    assert {k: v for k, v in row["solvable"].items() if not k.endswith("ids")} == {
        "k": 10, "both": 1, "only_base": 2, "only_run": 1, "neither": 0, "whole": True, "srr": 1 / 3, "ndr": 0.5,
        "nscr": -0.25, "p_value": 1.0}
    assert (row["solvable"]["only_base_ids"], row["solvable"]["only_run_ids"]) == (["2", "3"], ["1"])
    share = dict(zip(row["cover"]["tau"], row["cover"]["share"], strict=True))
    assert share[0.99] <= share[0.5] <= share[0.01] <= 1.0 and abs(share[0.9] - 1 / 4) < 0.2
    assert json.loads(json.dumps(row, allow_nan=False)) == row


def test_unknown_is_none_and_never_zero():
    """Nothing solved: no ratio has a denominator, no Beta a maximum; the base has nobody to compare itself with."""
    nothing = companions(ten(0, 0), TEN, (ten(0, 0), TEN), 10)
    assert [nothing["solvable"][name] for name in ("srr", "ndr", "nscr")] == [None, None, None]
    assert nothing["solvable"]["neither"] == 2 and nothing["prediction"] is None
    assert companions(ten(1, 2), TEN, None, 10)["solvable"] is None
    one = companions([Counts("a", 1, 1), Counts("b", 1, 0)], SamplingPlan((1,)), None, 1)
    assert (one["stability"]["k"], one["stability"]["mg_pass"]) == (1, None)
    assert one["stability"]["g_pass"]["1"]["value"] == 0.5


def test_predictions_lie_beyond_what_was_measured_and_near_the_truth():
    """Beta(0.5, 2): pass@k = 1 - B(a, b+k)/B(a, b)."""
    rng = np.random.default_rng(0)
    p_P = rng.beta(0.5, 2.0, 2000)
    (counts,) = draw_counts(p_P[None], PLANS["balanced"], rng)
    row = companions(counts, PLANS["balanced"], None, 256)["prediction"]
    assert row["measured_k"] == 256 and [p["k"] for p in row["points"]] == [512, 1024, 2048]
    for point in row["points"]:
        truth = 1 - math.exp(math.lgamma(2 + point["k"]) + math.lgamma(2.5) - math.lgamma(2.0)
                             - math.lgamma(2.5 + point["k"]))
        assert point["low"] < point["value"] < point["high"] and abs(point["value"] - truth) < 0.01


def test_answer_metrics_are_means_over_the_problems_that_have_them():
    rows = [{"answer_entropy": 1.0, "answer_agreement": 0.5, "distinct_at_8": None},
            {"answer_entropy": 2.0, "answer_agreement": None, "distinct_at_8": None}, {}]
    found = answer_estimates(rows)
    assert (found["answer_entropy"].value, found["answer_agreement"].value) == (1.5, 0.5)
    assert math.isnan(found["distinct_at_8"].value)


def test_guess_controls_by_hand():
    """Problem 0 guessed with g = 0.1, problem 1 with 0.6: guessable already at k = 1 (b > 1/2). Of 10 samples 5 are
    right: pass@1 = .5, b = .1, without luck 1 - .5/.9 = 4/9. At k = 8 both are guessable: 1 - .9^8 = .57."""
    table = guess_controls(GuessBaseline({"0": 0.1, "1": 0.6}), ten(5, 9), TEN, (1, 8))
    assert table is not None
    assert table["1"] == {"pass_at_k": 0.5, "baseline": pytest.approx(0.1), "corrected": pytest.approx(4 / 9),
                          "kept": 1, "guessable": 1}
    assert table["8"] == {"pass_at_k": None, "baseline": None, "corrected": None, "kept": 0, "guessable": 2}
    assert guess_controls(None, ten(5, 9), TEN, (1, 8)) is None
