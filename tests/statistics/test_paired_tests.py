"""McNemar, its intervals and Holm on published tables and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from rlvr.statistics.intervals import population_diff_ci
from rlvr.statistics.paired_tests import holm, mcnemar_exact

# Solved problems in Table 4 (AIME24, n = 1024) and Table 5 (LiveCodeBench 400-450, n = 128) of arXiv 2504.13837v2.
AIME_BASE = {0, 1, 4, 6, 7, 8, 9, 11, 12, 14, 15, 16, 17, 18, 19, *range(22, 30)}
AIME_RL = {0, 1, 6, 7, 8, 9, 12, 14, 15, 16, 18, *range(22, 30)}
LCB_BASE = {400, 402, 403, 407, 409, 412, 413, 417, 418, 419, 422, 423, 427, 432, 433, 436, 438, 439, 440, 444, 445,
            448, 449}
LCB_RL = LCB_BASE - {409, 432, 436, 448} | {430}


@pytest.mark.parametrize(
    ("only_base", "only_rl", "p_value"),
    [
        (len(AIME_BASE - AIME_RL), len(AIME_RL - AIME_BASE), 0.125),  # 4, 0: 2 * 1/16
        (len(LCB_BASE - LCB_RL), len(LCB_RL - LCB_BASE), 0.375),  # 4, 1: 2 * (1 + 5) / 32
        (18, 5, 2 * (1 + 23 + 253 + 1771 + 8855 + 33649) / 2**23),  # MATH500, k = 128, version 5: 0.011
        (19, 3, 2 * (1 + 22 + 231 + 1540) / 2**22),  # an independent rerun of it: 0.0009
        (3, 19, 2 * (1 + 22 + 231 + 1540) / 2**22),
        (2, 2, 1.0),
        (0, 0, 1.0),
    ],
)
def test_mcnemar_on_published_tables(only_base: int, only_rl: int, p_value: float):
    assert mcnemar_exact(only_base, only_rl) == pytest.approx(p_value, rel=1e-15)


def test_published_p_values_as_printed():
    assert mcnemar_exact(4, 0) == 0.125
    assert round(mcnemar_exact(19, 3), 4) == 0.0009
    assert round(mcnemar_exact(18, 5), 3) == 0.011


def test_paired_interval_of_shares_by_hand():
    """462 both, 19 base only, 3 RL only, 16 neither; with one pseudo-problem each way the mean is -16/502, the sum of
    squares 24, so the variance (24 - 256/502)/501 and the half width 1.964711 sqrt(.04688619/502) = .0189875."""
    base_P = np.repeat([1.0, 1.0, 0.0, 0.0], [462, 19, 3, 16])
    run_P = np.repeat([1.0, 0.0, 1.0, 0.0], [462, 19, 3, 16])
    estimate = population_diff_ci(run_P, base_P)
    assert estimate.value == pytest.approx(-0.032, abs=1e-15)
    assert (estimate.low, estimate.high) == pytest.approx((-16 / 502 - 0.0189875, -16 / 502 + 0.0189875), abs=1e-6)


def test_holm_by_hand():
    """.01, .04, .03, .005: sorted .005*4, .01*3, .03*2, .04*1 -> .02, .03, .06, max(.06, .04)."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02], abs=1e-15)
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_impossible_arguments_are_refused():
    with pytest.raises(ValueError, match="-1 and 2"):
        mcnemar_exact(-1, 2)
    with pytest.raises(ValueError, match="p-value nan"):
        holm([0.1, float("nan")])
