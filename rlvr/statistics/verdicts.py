"""Has the boundary shrunk? A verdict at every probe of a run, with an error rate that holds over all of them.

A 95% interval at each of 15 probes gives up to 32% false "shrunk" alarms per run. Here the error is spent over the
looks (Lan and DeMets 1983, Biometrika 70:659): with alpha(t) the error that looks 1..t may use up, the critical value
b_t solves

    P(Z_1 <= b_1, ..., Z_{t-1} <= b_{t-1}, Z_t > b_t) = alpha(t) - alpha(t-1).

Z_t is the standardized shrinkage@k (base pass@k - pass@k at look t). The looks share the base probe and the problems,
so Z is strongly correlated; its joint law is estimated from the differences per problem (a Gaussian multiplier
bootstrap, Chernozhukov et al. 2013, Annals of Statistics 41:2786) and b_t found from fixed pseudo-random draws: the
same looks give the same verdicts, and a new look never changes an earlier one.

Every look has its own parameter (a model may shrink and recover), so this controls the family of looks: with
probability at least 1 - alpha no look at which the boundary had not shrunk is ever called shrunk. It is no
confidence sequence for one fixed number, and it assumes nothing of how training moves between looks.

Measured at alpha = 0.05 (balanced plan, Beta fits to published curves): a false "shrunk" in 0 to 4% of runs of 20 looks
at 100 and 500 problems, for both targets; a loss of 7 points of pass@256 is found within 15 looks in 55% of runs at 100
problems and 99% at 500 (population; benchmark 70% and 99%, at k = 64 already 88% at 100).

Suffixes: T looks (probes after the base), P problems, M draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from rlvr.statistics.intervals import PSEUDO_PROBLEMS, benchmark_variance, paired_counts, pass_at_k_vector
from rlvr.statistics.plan import SamplingPlan
from rlvr.types import Counts, UserError

FloatArray = npt.NDArray[np.float64]

DRAWS = 50_000
"""Draws behind the critical values: the family-wise error they stand for is off by about 0.001 (one sd) at 0.05."""


class BoundaryVerdict(StrEnum):
    """What can be said of shrinkage@k at one look, holding over all looks of the run."""

    SHRUNK = "shrunk"
    """The lower bound is above 0. Has precedence: a loss shown to be small is still a loss."""
    NOT_SHRUNK = "not shrunk"
    """The upper bound is below the margin."""
    UNDECIDED = "undecided"
    """Neither: more problems or, on a fixed benchmark, more samples are needed."""


@dataclass(frozen=True, slots=True)
class Look:
    """The sequential verdict at one probe. Numbers are pass@k differences in [-1, 1]."""

    shrinkage: float
    """base pass@k - pass@k, the mean over problems; positive when the boundary shrank."""
    low: float
    """Lower bounds of all looks hold together with probability 1 - alpha. -inf when no error is left to spend."""
    high: float
    """Upper bounds of all looks hold together with probability 1 - alpha. inf when no error is left to spend."""
    critical: float
    """b_t: half the width of low..high in standard errors."""
    spent: float
    """alpha(t): one-sided error used up to this look."""
    verdict: BoundaryVerdict


def spent_alpha(look: int, planned_looks: int | None, alpha: float) -> float:
    """Error that looks 1..`look` may use up together.

    Planned number of looks T: alpha * min(look / T, 1). Linear spending keeps most of it for late looks, where
    shrinkage is to be expected. Unknown T (None): alpha * (6 / pi^2) * sum_{s <= look} 1/s^2, which never exceeds
    alpha and costs power.
    """
    if look < 1:
        raise ValueError(f"spent_alpha: look={look}; expected 1 for the first probe after the base, 2, ...")
    if planned_looks is None:
        return alpha * 6 / math.pi**2 * sum(1 / s**2 for s in range(1, look + 1))
    return alpha * min(look / planned_looks, 1.0)


def shrinkage_looks(
    base_counts: Sequence[Counts],
    base_plan: SamplingPlan,
    probes: Sequence[Sequence[Counts]],
    plan: SamplingPlan,
    k: int,
    *,
    planned_looks: int | None,
    target: Literal["population", "benchmark"] = "population",
    alpha: float = 0.05,
    margin: float = 0.05,
) -> list[Look]:
    """Verdicts on shrinkage@k at every probe so far, in the order of `probes` (the base is no look).

    Args:
        base_counts, base_plan: the probe of step 0; paired with every look by problem id.
        probes, plan: counts of each later probe, oldest first.
        k: at most the max_samples of both plans.
        planned_looks: probes the run was meant to have, fixed before the first; None when unknown. Looks beyond the
            plan have no error left to spend: they are undecided with infinite bounds.
        target: "population" (problems like these) or "benchmark" (exactly these problems: narrower; prefer
            k <= max_samples / 2, see `benchmark_variance`).
        alpha: chance per run of a false "shrunk", and equally of a false "not shrunk".
        margin: largest loss of pass@k that still counts as "not shrunk", in (0, 1].

    Raises: UserError when a probe does not hold the base's problems, or for alpha, margin or planned_looks out of
        range; ValueError as `pass_at_k_vector` does.
    """
    _check(planned_looks, alpha, margin)
    if not base_counts:
        raise UserError("shrinkage_looks: no problems; expected the counts of at least one problem")
    ordered = [paired_counts(base_counts, counts) for counts in probes]
    if not ordered:
        return []
    base_P = pass_at_k_vector(base_counts, base_plan, k)
    difference_TP = np.stack([base_P - pass_at_k_vector(counts, plan, k) for counts in ordered])
    value_T = difference_TP.mean(axis=1)
    if target == "population":
        center_T, covariance_TT, df = _population_law(difference_TP)
    else:
        noise_T = [benchmark_variance(counts, plan, k) for counts in ordered]
        center_T, df = value_T, None
        covariance_TT = benchmark_variance(base_counts, base_plan, k) + np.diag(noise_T)
    critical_T = critical_values(covariance_TT, df, planned_looks=planned_looks, alpha=alpha)
    half_T = critical_T * np.sqrt(np.diag(covariance_TT))
    end_T = np.where(np.isfinite(half_T), 1.0, np.inf)  # no difference of two pass@k is beyond 1
    low_T, high_T = np.maximum(center_T - half_T, -end_T), np.minimum(center_T + half_T, end_T)
    return [
        Look(
            shrinkage=float(value_T[t]),
            low=float(low_T[t]),
            high=float(high_T[t]),
            critical=float(critical_T[t]),
            spent=spent_alpha(t + 1, planned_looks, alpha),
            verdict=_verdict(float(low_T[t]), float(high_T[t]), margin),
        )
        for t in range(len(ordered))
    ]


def holm_verdicts(
    newest: Sequence[Callable[[float], Look]], *, alpha: float = 0.05, margin: float = 0.05
) -> list[BoundaryVerdict]:
    """Verdicts on several families of looks together, such as those of several probe sets and k.

    Holm's (1979) procedure on sequential tests: `newest[i](level)` is the newest look of family i with `level` as the
    chance of a false verdict in that family. Of m families all that say "shrunk" at alpha / m are called shrunk; with r
    of them found, the others are asked again at alpha / (m - r), until none is added. So the chance of any false
    "shrunk" among all families is at most alpha, whatever their dependence, and equally of any false "not shrunk".
    """
    shrunk = _step_down(newest, lambda look: look.low > 0.0, alpha)
    within = _step_down(newest, lambda look: look.high < margin, alpha)
    return [BoundaryVerdict.SHRUNK if i in shrunk else BoundaryVerdict.NOT_SHRUNK if i in within
            else BoundaryVerdict.UNDECIDED for i in range(len(newest))]


def _step_down(newest: Sequence[Callable[[float], Look]], claim: Callable[[Look], bool], alpha: float) -> set[int]:
    """Numbers of the families whose claim survives Holm's procedure."""
    found: set[int] = set()
    while len(found) < len(newest):
        level = alpha / (len(newest) - len(found))
        more = {i for i in range(len(newest)) if i not in found and claim(newest[i](level))}
        if not more:
            break
        found |= more
    return found


def critical_values(
    covariance_TT: FloatArray, df: int | None, *, planned_looks: int | None, alpha: float, draws: int = DRAWS
) -> FloatArray:
    """(T,) b_t for looks whose estimates have this (positive definite) covariance; see the module's formula.

    The law is multivariate t with `df` degrees of freedom, normal for None. b_t depends on looks 1..t alone; it is
    inf where alpha(t) - alpha(t-1) is less than one draw.
    """
    scale_T = np.sqrt(np.diag(covariance_TT))
    # The Cholesky factor of the first t looks is a corner of the whole one: a new look changes no earlier draw.
    factor_TT = np.linalg.cholesky(covariance_TT / np.outer(scale_T, scale_T))
    looks = len(scale_T)
    normal_MT = np.stack([_normal_draws(draws, t) for t in range(looks)], axis=1)
    widen_M = np.ones(draws) if df is None else _t_scale_draws(draws, df)
    alive_M = np.ones(draws, dtype=bool)
    critical_T = np.full(looks, np.inf)
    for t in range(looks):
        z_M = (normal_MT[:, : t + 1] @ factor_TT[t, : t + 1]) * widen_M
        alive = z_M[alive_M]
        crossing = math.floor(spent_alpha(t + 1, planned_looks, alpha) * draws) - (draws - alive.size)
        if crossing < 1:
            continue
        # b_t is the largest value that does not cross: exactly `crossing` of the alive draws lie above it.
        critical_T[t] = np.partition(alive, alive.size - crossing - 1)[alive.size - crossing - 1]
        alive_M &= z_M <= critical_T[t]
    return critical_T


def _population_law(difference_TP: FloatArray) -> tuple[FloatArray, FloatArray, int]:
    """(center_T, covariance_TT, df) of the mean differences over the population of problems.

    As in `population_diff_ci`, two pseudo-problems (+1 and -1) keep the variance of a look from vanishing when few
    problems move. Between looks they count as independent, which lowers the correlation: the safe side.
    """
    total = difference_TP.shape[1] + PSEUDO_PROBLEMS
    center_T = difference_TP.sum(axis=1) / total
    products_TT = difference_TP @ difference_TP.T - total * np.outer(center_T, center_T)
    products_TT[np.diag_indices_from(products_TT)] += PSEUDO_PROBLEMS
    return center_T, products_TT / ((total - 1) * total), total - 1


def _verdict(low: float, high: float, margin: float) -> BoundaryVerdict:
    if low > 0.0:
        return BoundaryVerdict.SHRUNK
    return BoundaryVerdict.NOT_SHRUNK if high < margin else BoundaryVerdict.UNDECIDED


def _check(planned_looks: int | None, alpha: float, margin: float) -> None:
    if planned_looks is not None and planned_looks < 1:
        raise UserError(f"planned_looks is {planned_looks}; expected the number of probes after the base, or None")
    if not 0.0 < alpha < 0.5:
        raise UserError(f"alpha is {alpha}; expected a chance of a false alarm in (0, 0.5), such as 0.05")
    if not 0.0 < margin <= 1.0:
        raise UserError(f"margin is {margin}; expected a loss of pass@k in (0, 1], such as 0.05 for five points")


@lru_cache(maxsize=64)
def _normal_draws(draws: int, look: int) -> FloatArray:
    return np.random.default_rng([20_248, look]).standard_normal(draws)


@lru_cache(maxsize=8)
def _t_scale_draws(draws: int, df: int) -> FloatArray:
    """sqrt(df / chi^2): turns normal draws into multivariate t."""
    return np.sqrt(df / np.random.default_rng([20_249, df]).chisquare(df, draws))
