"""Schedules of probes within a budget. Run: python -m pytest tests/statistics/test_schedule.py"""

from __future__ import annotations

import random
from collections import Counter
from typing import cast

import numpy as np
import pytest

from rlvr.statistics.plan import PLANS, SamplingPlan
from rlvr.statistics.schedule import Budget, Schedule, choose, expected_tokens, fit, plans_for, stratified, systematic
from rlvr.types import Counts, UserError

COSTS = {"balanced": 100.0, "cheap": 50.0}


def asked(budget: float, training: float = 100_000) -> Schedule:
    return fit(budget, steps=60, every=15, problems=100, cost_per_problem=COSTS, training=training, reserve=1.0)


def test_what_must_fit_is_the_forecast_and_its_reserve() -> None:
    """A single probe of 100 problems by `balanced` is 10,000 of 110,000, 9.1%; 1.35 times as much are 11.9%."""
    found = fit(0.12, steps=60, every=15, problems=100, cost_per_problem=COSTS, training=100_000)
    assert (found.every, found.plan) == (60, "balanced")
    assert (found.share, found.most) == (pytest.approx(10_000 / 110_000), pytest.approx(13_500 / 113_500))
    assert fit(0.118, steps=60, every=15, problems=100, cost_per_problem=COSTS, training=100_000).plan == "cheap"


@pytest.mark.parametrize(("budget", "expected"), [
    (0.50, (15, "balanced", 100, 40_000 / 140_000)),  # as asked for
    (0.20, (30, "balanced", 100, 20_000 / 120_000)),  # every second probe
    (0.10, (60, "balanced", 100, 10_000 / 110_000)),  # the last step alone
    (0.05, (60, "cheap", 100, 5_000 / 105_000)),  # a cheaper plan
    (0.03, (60, "cheap", 50, 2_500 / 102_500)),  # fewer problems
    (0.02, (60, "cheap", 32, 1_600 / 101_600)),  # as few as say anything
])
def test_interval_then_plan_then_problems_give_way(budget: float, expected: tuple[int, str, int, float]) -> None:
    found = asked(budget)
    assert (found.every, found.plan, found.problems) == expected[:3]
    assert found.share == pytest.approx(expected[3])


def test_a_budget_that_nothing_fits_is_refused_with_what_would() -> None:
    """1,600 of 101,600 is 1.57%; 1% needs 1,600 * 99 = 158,400 of training: 60 * 1.584 = 95.04 steps."""
    with pytest.raises(UserError, match=r"found 0\.01, but a single probe of 32 problems already takes up to 1\.6% .*"
                                        r"raise it to 0\.016, train for at least 96 steps"):
        asked(0.01)
    assert asked(0.016).problems == 32
    enough = fit(0.01, steps=96, every=15, problems=100, cost_per_problem=COSTS, training=160_000, reserve=1)
    assert enough.problems == 32
    with pytest.raises(UserError, match="at least 96 steps"):
        fit(0.01, steps=95, every=15, problems=100, cost_per_problem=COSTS, training=95 / 60 * 100_000, reserve=1)
    with pytest.raises(UserError, match="a single probe of 20 problems"):  # fewer were never asked for
        fit(0.01, steps=60, every=15, problems=20, cost_per_problem=COSTS, training=1000)


def test_an_interval_that_does_not_divide_the_steps_ends_at_the_last() -> None:
    found = fit(1.0, steps=50, every=20, problems=10, cost_per_problem={"cheap": 50.0}, training=1500)
    assert found.share == pytest.approx(0.5)  # steps 20, 40 and 50: 3 * 10 * 50
    assert fit(1.0, steps=50, every=80, problems=10, cost_per_problem=COSTS, training=1).every == 50


def test_a_plan_gives_way_only_to_one_that_can_estimate_the_largest_k() -> None:
    assert list(plans_for("reference-512", PLANS["reference-512"], 256)) == ["reference-512", "balanced", "cheap"]
    assert list(plans_for("reference-512", PLANS["reference-512"], 512)) == ["reference-512"]
    own = SamplingPlan((4, 8), (1,))
    assert plans_for("checkpoints=[4, 8] stop_at=[1]", own, 8) == {"checkpoints=[4, 8] stop_at=[1]": own}


def row(n: int, c: int, tokens: int, length: float) -> dict[str, object]:
    return {"problem_id": f"{n}/{c}", "n": n, "c": c, "tokens": tokens, "length": length}


def test_costs_are_tokens_at_the_rates_and_lengths_of_the_base() -> None:
    """`fixed` draws 256 whatever happens: 256 * 10 and 256 * 30 tokens. A problem that is always solved stops `cheap`
    after 8 samples, one that never is after 256."""
    rows = [row(512, 0, 5120, 10.0), row(10**6, 10**6, 30 * 10**6, 30.0)]
    assert expected_tokens(rows, PLANS["fixed"]) == pytest.approx(256 * 20)
    assert expected_tokens(rows[1:], PLANS["cheap"]) == pytest.approx(8 * 30, rel=1e-3)
    rate = 0.5 / 513
    assert expected_tokens(rows[:1], PLANS["cheap"]) == pytest.approx(10 * PLANS["cheap"].expected_samples(rate))
    # A training completion is as long as the base's, 10 and at most 16 tokens: 13 on average, 1,300 in all.
    found = choose(Budget(0.9999, 10, 100, 16), rows, every=10, name="fixed", plan=PLANS["fixed"], largest_k=256)
    assert (found.every, found.plan, found.problems, found.cost) == (10, "fixed", 2, pytest.approx(256 * 40))
    assert found.share == pytest.approx(256 * 40 / (256 * 40 + 1300))


def test_a_subset_is_spread_over_the_base_accuracies() -> None:
    counts = [Counts(f"{i:03d}", 100, (37 * i) % 100) for i in range(100)]  # accuracies 0 .. 99 %, each once
    chosen = stratified(counts, 25, seed=1)
    assert chosen == sorted(chosen) and len(set(chosen)) == 25
    accuracies = sorted(next(c.c for c in counts if c.problem_id == i) for i in chosen)
    assert all(a // 4 == place for place, a in enumerate(accuracies))  # one of every four neighbours
    assert stratified(counts, 25, seed=1) == chosen
    drawn = {i for seed in range(60) for i in stratified(counts, 25, seed)}
    assert len(drawn) == 100  # every problem has a chance
    assert stratified(counts, 100, seed=1) == [c.problem_id for c in counts]


class Start:
    """A random number that is known."""

    def __init__(self, share: float) -> None:
        self.share = share

    def random(self) -> float:
        return self.share


@pytest.mark.parametrize(("total", "size", "cells"), [(10, 4, 5), (12, 4, 3), (7, 5, 7), (100, 32, 25)])
def test_means_over_a_subset_are_unbiased(total: int, size: int, cells: int) -> None:
    """By enumeration: the subset changes only where the start crosses a multiple of 1 / cells, so the middles of these
    cells are all there is, equally likely. Weights would be needed if a problem's chance were not size / total."""
    subsets = [systematic(total, size, cast(random.Random, Start((i + 0.5) / cells))) for i in range(cells)]
    assert all(len(set(subset)) == size and max(subset) < total for subset in subsets)
    times = Counter(place for subset in subsets for place in subset)
    assert [times[place] for place in range(total)] == [pytest.approx(cells * size / total)] * total
    base, now = (np.random.default_rng(seed).random(total) ** 3 for seed in (1, 2))
    for values in (now, base, base - now):
        assert np.mean([values[subset].mean() for subset in subsets]) == pytest.approx(values.mean(), rel=1e-12)
