"""Which problems can base and run solve at k samples: the four-cell table and the metrics made from it.

Solved at k means: at least one of k samples is correct. With k the max_samples of both plans a problem is solved or
not (1 or 0) under every plan, and cells are whole numbers. For smaller k (or a base measured with more samples than
the run) stopping early leaves it open which k samples to look at; then each problem counts with its unbiased chance,
and as the samples of base and run are independent given the problem, products of chances are unbiased: cells are
unbiased estimates of the expected cells, not whole. Counting c > 0 instead would credit the side that drew more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rlvr.statistics.intervals import paired_counts, pass_at_k_vector
from rlvr.statistics.paired_tests import mcnemar_exact
from rlvr.statistics.plan import SamplingPlan
from rlvr.types import Counts


@dataclass(frozen=True)
class SolvableTable:
    """Expected numbers of problems by who solves them at k; the four cells sum to the number of problems.

    The ratios are NaN when their denominator is 0. For whole cells they are the published ones (Wu et al. 2025,
    arXiv 2507.14843, empirical support); for estimated cells they are consistent, not unbiased.
    """

    k: int
    both: float
    only_base: float
    """Lost by training ("empirical shrinkage")."""
    only_run: float
    """Gained by training ("empirical expansion")."""
    neither: float
    whole: bool
    """True when every problem is solved or not solved at k, so that cells and id lists are facts of the samples."""
    only_base_ids: tuple[str, ...]
    only_run_ids: tuple[str, ...]
    """Ids of these two cells in the base's order. A problem whose chance of being solved at k lies between 0 and 1
    counts as solved here when that chance is above 1/2, so the lists of a table that is not whole need not add up
    to its cells."""

    @property
    def srr(self) -> float:
        """Support retention rate, both / solved by base, in [0, 1]; higher is better."""
        return _ratio(self.both, self.both + self.only_base)

    @property
    def ndr(self) -> float:
        """Net discovery rate, only run / solved by run, in [0, 1]; higher is better."""
        return _ratio(self.only_run, self.both + self.only_run)

    @property
    def nscr(self) -> float:
        """Net support change rate, (only run - only base) / solved by either, in [-1, 1]; negative: shrank."""
        return _ratio(self.only_run - self.only_base, self.both + self.only_run + self.only_base)

    @property
    def p_value(self) -> float:
        """Exact McNemar test of `only_base` against `only_run`. NaN unless the table is whole."""
        return mcnemar_exact(round(self.only_base), round(self.only_run)) if self.whole else math.nan


def solvable_table(
    base_counts: Sequence[Counts], base_plan: SamplingPlan, counts: Sequence[Counts], plan: SamplingPlan, k: int
) -> SolvableTable:
    """The table at k, paired by problem id. Use k = max_samples of both plans for whole cells and a p-value.

    Raises UserError when base and run are not the same problems, or for k beyond what a plan can estimate.
    """
    counts = paired_counts(base_counts, counts)
    base_P, run_P = pass_at_k_vector(base_counts, base_plan, k), pass_at_k_vector(counts, plan, k)

    def ids(base: bool, run: bool) -> tuple[str, ...]:
        return tuple(one.problem_id for one, x, y in zip(base_counts, base_P, run_P, strict=True)
                     if (x > 0.5) == base and (y > 0.5) == run)

    return SolvableTable(
        k=k,
        both=float(base_P @ run_P),
        only_base=float(base_P @ (1 - run_P)),
        only_run=float((1 - base_P) @ run_P),
        neither=float((1 - base_P) @ (1 - run_P)),
        whole=bool(np.isin(base_P, (0.0, 1.0)).all() and np.isin(run_P, (0.0, 1.0)).all()),
        only_base_ids=ids(True, False),
        only_run_ids=ids(False, True),
    )


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole != 0 else math.nan
