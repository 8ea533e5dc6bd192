"""Expected numbers of problems called lost and gained when nothing changed: by hand, and by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from rlvr.statistics.false_listings import gained_by_chance, lost_by_chance
from rlvr.statistics.ledger import build_ledger, luck, newly_solved
from rlvr.statistics.plan import PLANS, SamplingPlan
from rlvr.types import Counts
from tests.statistics.coverage_table import draw_counts


def test_lost_by_hand():
    """Prior Beta(1, 1), 1 of 4 right: m failing probes of 4 have the chance B(2, 4 + 4m) / B(2, 4) = 20 / ((5 + 4m)
    (4 + 4m)): .278, .128, .074 and, after the fourth probe, 20/420 = .048. Without a right sample nothing can be lost.
    """
    prior, rare = (1.0, 1.0), Counts("a", 4, 1)
    assert lost_by_chance([rare], 3, 4, prior) == 0.0
    assert lost_by_chance([rare, Counts("b", 4, 0)], 4, 4, prior) == pytest.approx(1 / 21)
    assert lost_by_chance([rare], 5, 4, prior) == pytest.approx(1 / 21)  # the newest four are what counts
    assert lost_by_chance([Counts("c", 4, 4)], 1, 4, prior) == luck(4, 4, 4, prior) < 0.05


def test_gained_by_hand():
    """Base 0 of 40 with prior Beta(1, 1): p follows Beta(1, 41), E p = 1/42. One right sample of one convinces: luck is
    B(2, 41) / B(2, 1) = 2 / (42 * 41). After two probes E [p * p + (1 - p) p] = E p as well: solved by the first and
    again, or by the second for the first time."""
    assert luck(1, 1, 40, (1.0, 1.0)) == pytest.approx(2 / (42 * 41))
    base = [Counts("a", 40, 0), Counts("b", 40, 3)]
    one = gained_by_chance(base, 1, SamplingPlan((1,)), (1.0, 1.0))
    assert one == pytest.approx(1 / 42, rel=0.01)
    assert gained_by_chance(base, 2, SamplingPlan((1,)), (1.0, 1.0)) == pytest.approx(one, rel=1e-9)


def test_expectations_are_what_happens_when_nothing_changes():
    """120 runs of 150 problems, base measured with up to 512 samples, then three probes of the same model."""
    rng, runs, plan = np.random.default_rng(5), 120, PLANS["balanced"]
    p = rng.beta(0.218, 1.96, (runs, 150))
    bases = draw_counts(p, PLANS["reference-512"], rng)
    probes = [draw_counts(p, plan, rng) for _ in range(3)]
    listed, expected = np.zeros((runs, 2)), np.zeros((runs, 2))
    for run in range(runs):
        rows = [{"step": step, "problem_id": one.problem_id, "n": one.n, "c": one.c}
                for step, counts in enumerate((bases[run], *(probe[run] for probe in probes))) for one in counts]
        ledger = build_ledger(rows, plan.max_samples)
        solved = {one.problem_id for one in bases[run] if one.c}
        listed[run] = (sum(h.lost_now and i in solved for i, h in ledger.problems.items()), len(newly_solved(ledger)))
        expected[run] = (lost_by_chance(bases[run], 3, plan.max_samples, ledger.prior),
                         gained_by_chance(bases[run], 3, plan, ledger.prior))
    noise = 2.6 * listed.std(axis=0) / np.sqrt(runs)
    assert listed.mean(axis=0).min() > 0.2  # a few are listed in every run, though nothing changed
    assert np.all(np.abs(listed.mean(axis=0) - expected.mean(axis=0)) < noise), (listed.mean(axis=0), expected.mean(0))
