"""Intervals over seeds and problems: one arm (an algorithm trained with S seeds), or the difference of two arms.

Model: x_sp = mean + seed_s + problem_p + rest_sp, with x_sp the unbiased pass@k of problem p after training with seed
s; the rest holds what a seed does to single problems and the sampling noise. Two targets:

* population: other seeds and other problems of the kind.
  Var(mean) = var(problem)/P + var(seed)/S + var(rest)/(S P).
* benchmark: other seeds, exactly these problems. The means per seed are independent draws: Student's t over seeds,
  Welch's for a difference.

Treating S x P values as independent, or resampling problems of one seed, leaves the seeds out: with three seeds an
algorithm that "wins" on 500 problems may just have had the better seed. One seed gives no interval at all.

Population: the variance of the seed-averaged values over problems, divided by P, holds the first and third term; the
second is (MS_seed - MS_rest) / (S P) from the two-way analysis of variance, at least 0. Degrees of freedom by
Satterthwaite (1946, Biometrics Bulletin 2:110), rounded down.

Suffixes: S seeds of an arm, P problems.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from rlvr.statistics.intervals import effective_trials, paired_counts, pass_at_k_vector, t_quantile, wilson, z_quantile
from rlvr.statistics.plan import SamplingPlan
from rlvr.types import Counts, Estimate, UserError

FloatArray = npt.NDArray[np.float64]
Target = Literal["population", "benchmark"]


def seed_matrix(counts_by_seed: Sequence[Sequence[Counts]], plan: SamplingPlan, k: int) -> FloatArray:
    """(S, P) unbiased pass@k of every seed and problem, problems in the order of the first seed.

    Raises UserError without seeds, or when two seeds do not hold the same problems; ValueError for counts at which
    `plan` never stops.
    """
    if not counts_by_seed:
        raise UserError("seed_matrix: no seeds; expected the counts of at least one")
    first = counts_by_seed[0]
    return np.stack([pass_at_k_vector(paired_counts(first, counts), plan, k) for counts in counts_by_seed])


def arm_ci(x_SP: npt.ArrayLike, *, target: Target = "population", confidence: float = 0.95) -> Estimate:
    """Mean of one arm over seeds and problems, values in [0, 1], with its interval in [0, 1].

    Population: Wilson's interval at the effective number of trials, Student's t for z, and never narrower than the
    benchmark interval: two seeds that agree by chance would else look like no seed noise (coverage 88%).
    NaN bounds for a single seed, all NaN without values. Raises ValueError for values outside [0, 1] or an array that
    is not (S, P).
    """
    x_SP = _checked(x_SP)
    if x_SP.size == 0:
        return Estimate(math.nan)
    mean = float(x_SP.mean())
    if len(x_SP) == 1:
        return Estimate(mean)
    means_S = x_SP.mean(axis=1)
    half = t_quantile(len(means_S) - 1, confidence) * float(means_S.std(ddof=1)) / math.sqrt(len(means_S))
    benchmark = Estimate(mean, max(mean - half, 0.0), min(mean + half, 1.0))
    if target == "benchmark":
        return benchmark
    x_P = x_SP.mean(axis=0)
    z = z_quantile(confidence)
    trials = effective_trials(x_P, z)
    center = (mean * trials + z * z / 2) / (trials + z * z)
    of_problems = center * (1.0 - center) / trials
    of_seeds, seed_square = _seed_variance(x_SP)
    df = _degrees_of_freedom([(of_problems, of_problems, x_P.size - 1), (of_seeds, seed_square, len(x_SP) - 1)])
    trials = center * (1.0 - center) / (of_problems + of_seeds)
    low, high = wilson(mean, trials, t_quantile(df, confidence))
    return Estimate(mean, min(max(low, 0.0), benchmark.low), max(min(high, 1.0), benchmark.high))


def arm_mean_ci(x_SP: npt.ArrayLike) -> Estimate:
    """Mean over seeds and problems of a quantity without bounds (entropy, length), with its 95% population interval.

    Student's t with the variances of the model above, never narrower than over the seeds alone. NaN bounds for a
    single seed or a single problem; all NaN without values or when all are NaN. Raises ValueError when some are.
    """
    x_SP = _two_axes(x_SP)
    if x_SP.size == 0 or np.isnan(x_SP).all():
        return Estimate(math.nan)
    if not np.isfinite(x_SP).all():
        raise ValueError("arm_mean_ci: some values are not finite; expected a number per seed and problem")
    mean, (seeds, problems) = float(x_SP.mean()), x_SP.shape
    if min(seeds, problems) == 1:
        return Estimate(mean)
    of_problems = float(x_SP.mean(axis=0).var(ddof=1)) / problems
    of_seeds, seed_square = _seed_variance(x_SP)
    df = _degrees_of_freedom([(of_problems, of_problems, problems - 1), (of_seeds, seed_square, seeds - 1)])
    half = max(
        t_quantile(df, 0.95) * math.sqrt(of_problems + of_seeds),
        t_quantile(seeds - 1, 0.95) * math.sqrt(float(x_SP.mean(axis=1).var(ddof=1)) / seeds),
    )
    return Estimate(mean, mean - half, mean + half)


def arm_difference_ci(
    a_SP: npt.ArrayLike, b_SP: npt.ArrayLike, *, target: Target = "population", confidence: float = 0.95
) -> Estimate:
    """Mean of arm a minus mean of arm b: problems paired (same columns), seeds independent, S may differ.

    The population interval includes two pseudo-problems (+1 and -1) as `population_diff_ci` does; cut to [-1, 1]. NaN
    bounds when an arm has a single seed, all NaN without problems. Raises ValueError for values outside [0, 1] or
    unequal numbers of problems.
    """
    a_SP, b_SP = _checked(a_SP), _checked(b_SP)
    if a_SP.shape[1] != b_SP.shape[1]:
        raise ValueError(f"arm_difference_ci: {a_SP.shape[1]} and {b_SP.shape[1]} problems; expected the same problems")
    if a_SP.size == 0 or b_SP.size == 0:
        return Estimate(math.nan)
    value = float(a_SP.mean() - b_SP.mean())
    if min(len(a_SP), len(b_SP)) == 1:
        return Estimate(value)
    if target == "benchmark":
        center, of_problems, parts = value, 0.0, []
        for x_SP in (a_SP, b_SP):
            variance = float(x_SP.mean(axis=1).var(ddof=1)) / len(x_SP)
            parts.append((variance, variance, len(x_SP) - 1))
    else:
        difference = np.append(a_SP.mean(axis=0) - b_SP.mean(axis=0), [1.0, -1.0])
        center = float(difference.mean())
        of_problems = float(difference.var(ddof=1)) / difference.size
        parts = [(of_problems, of_problems, difference.size - 1)]
        parts += [(*_seed_variance(x_SP), len(x_SP) - 1) for x_SP in (a_SP, b_SP)]
    half = t_quantile(_degrees_of_freedom(parts), confidence) * math.sqrt(sum(variance for variance, _, _ in parts))
    return Estimate(value, max(center - half, -1.0), min(center + half, 1.0))


def _seed_variance(x_SP: FloatArray) -> tuple[float, float]:
    """(var(seed) / S, MS_seed / (S P)): the first is what the seeds add, at least 0; 0, 0 if they add nothing."""
    seeds, problems = x_SP.shape
    means_S = x_SP.mean(axis=1, keepdims=True)
    rest_SP = x_SP - means_S - x_SP.mean(axis=0, keepdims=True) + x_SP.mean()
    whole = float(means_S.var(ddof=1)) / seeds  # MS_seed / (S P)
    rest = float((rest_SP**2).sum()) / ((seeds - 1) * max(problems - 1, 1)) / (seeds * problems)
    return (whole - rest, whole) if whole > rest else (0.0, 0.0)


def _degrees_of_freedom(parts: Sequence[tuple[float, float, int]]) -> int:
    """Satterthwaite: (sum of variances)^2 / sum of mean square^2 / df, over (variance, mean square, df); at least 1."""
    total = sum(variance for variance, _, _ in parts)
    spread = sum(square**2 / df for _, square, df in parts if df > 0)
    if spread == 0.0:
        return max(max(df for _, _, df in parts), 1)
    return max(1, min(math.floor(total**2 / spread), sum(df for _, _, df in parts)))


def _two_axes(x_SP: npt.ArrayLike) -> FloatArray:
    x_SP = np.asarray(x_SP, dtype=np.float64)
    if x_SP.ndim != 2:
        raise ValueError(f"array of shape {x_SP.shape}; expected (seeds, problems)")
    return x_SP


def _checked(x_SP: npt.ArrayLike) -> FloatArray:
    x_SP = _two_axes(x_SP)
    if not np.all((x_SP >= 0.0) & (x_SP <= 1.0)):
        raise ValueError("a value outside [0, 1]; expected pass@k of every seed and problem")
    return x_SP
