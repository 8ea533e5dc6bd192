"""Solvable sets on published index lists, and unbiased cells where stopping early leaves membership open."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rlvr.statistics.plan import PLANS, SamplingPlan
from rlvr.statistics.solvable import solvable_table
from rlvr.types import Counts, UserError
from tests.statistics.coverage_table import draw_counts
from tests.statistics.test_paired_tests import AIME_BASE, AIME_RL

FOUR = SamplingPlan((4,))


def solved(indices: set[int], problems: int, plan: SamplingPlan) -> list[Counts]:
    n = plan.max_samples
    return [Counts(str(i), n, int(i in indices)) for i in range(problems)]


def test_published_aime_table():
    """Table 4 of arXiv 2504.13837v2 (k = 1024): 63.3 / 13.3 / 0 / 23.3%, base only 4, 11, 17, 19; 19/23 retained."""
    plan = SamplingPlan((1024,))
    table = solvable_table(solved(AIME_BASE, 30, plan), plan, solved(AIME_RL, 30, plan)[::-1], plan, 1024)
    cells = (table.both, table.only_base, table.only_run, table.neither)
    assert [round(100 * cell / 30, 1) for cell in cells] == [63.3, 13.3, 0.0, 23.3]
    assert table.only_base_ids == ("4", "11", "17", "19")
    assert table.only_run_ids == ()
    assert table.whole
    assert table.p_value == 0.125
    assert (table.srr, table.ndr, table.nscr) == pytest.approx((19 / 23, 0, -4 / 23), abs=1e-15)


def test_published_math500_ratios():
    """MATH500 at k = 128: 462 both, 18 base only, 5 RL only, 15 neither: SRR .963 (.9625), NDR .011, NSCR -.027."""
    plan = SamplingPlan((128,))
    base, run = set(range(480)), {*range(462), *range(480, 485)}
    table = solvable_table(solved(base, 500, plan), plan, solved(run, 500, plan), plan, 128)
    assert (table.both, table.only_base, table.only_run, table.neither) == (462, 18, 5, 15)
    assert (table.srr, table.ndr, table.nscr) == pytest.approx((462 / 480, 5 / 467, -13 / 485), abs=1e-15)
    assert round(table.p_value, 3) == 0.011


def test_below_the_largest_k_problems_count_with_their_chance():
    """4 samples, k = 2: pass@2 is 1 - C(3,2)/C(4,2) = 1/2 for c = 1 and 5/6 for c = 2. Base 1/2, 0; run 5/6, 1/2."""
    base, run = [Counts("a", 4, 1), Counts("b", 4, 0)], [Counts("b", 4, 1), Counts("a", 4, 2)]
    table = solvable_table(base, FOUR, run, FOUR, 2)
    cells = (table.both, table.only_base, table.only_run, table.neither)
    assert cells == pytest.approx((5 / 12, 1 / 12, 11 / 12, 7 / 12))
    assert not table.whole
    assert math.isnan(table.p_value)
    assert (table.only_base_ids, table.only_run_ids) == ((), ("a",))


def test_a_base_measured_with_more_samples_gets_no_credit_for_them():
    """Nothing changed, base with up to 512 samples: cells at 256 agree on average; c > 0 shows a false loss."""
    rng = np.random.default_rng(0)
    p = np.repeat(rng.beta(0.2, 2.0, 300)[None], 60, axis=0)
    base_plan, plan = PLANS["reference-512"], PLANS["balanced"]
    pairs = list(zip(draw_counts(p, base_plan, rng), draw_counts(p, plan, rng), strict=True))
    tables = [solvable_table(a, base_plan, b, plan, 256) for a, b in pairs]
    q256 = (1 - p[0]) ** 256
    for cell, truth in (("both", ((1 - q256) ** 2).sum()), ("only_base", (q256 * (1 - q256)).sum()),
                        ("only_run", (q256 * (1 - q256)).sum()), ("neither", (q256**2).sum())):
        values = [getattr(table, cell) for table in tables]
        assert np.mean(values) == pytest.approx(truth, abs=4 * float(np.std(values, ddof=1)) / math.sqrt(60)), cell
    naive_lost = np.mean([sum(x.c > 0 and y.c == 0 for x, y in zip(a, b, strict=True)) for a, b in pairs])
    naive_gained = np.mean([sum(x.c == 0 and y.c > 0 for x, y in zip(a, b, strict=True)) for a, b in pairs])
    assert naive_lost - naive_gained > 5
    assert abs(np.mean([table.nscr for table in tables])) < 0.01


def test_nothing_solved_leaves_the_ratios_undefined():
    table = solvable_table([Counts("a", 4, 0)], FOUR, [Counts("a", 4, 0)], FOUR, 4)
    assert math.isnan(table.srr)
    assert math.isnan(table.nscr)
    assert (table.neither, table.p_value) == (1.0, 1.0)


def test_other_problems_and_too_large_k_are_refused():
    with pytest.raises(UserError, match="not the same problems"):
        solvable_table([Counts("a", 4, 0)], FOUR, [Counts("b", 4, 0)], FOUR, 4)
    with pytest.raises(UserError, match=r"expected k in 1\.\.4"):
        solvable_table([Counts("a", 4, 0)], FOUR, [Counts("a", 4, 0)], FOUR, 5)
