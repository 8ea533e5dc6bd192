"""From counts (n, c) per problem to numbers with intervals: pass@k, differences to the base model, plain means.

Two targets, two intervals:

* population: "problems like these". The spread between problems is part of the uncertainty.
* benchmark: "exactly these problems". Only the sampling noise within each problem counts, so it is narrower.

Neither needs an extra term for sequential sampling. A bootstrap over the samples of a problem would ignore the
stopping rule, and plain t or bootstrap intervals over problems cover 80-91% instead of 95% near 0 and 1.

Suffix P: one entry per problem. `confidence` is the nominal coverage, in (0, 1). Without problems, value and bounds
are NaN.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from rlvr.statistics.plan import SamplingPlan
from rlvr.types import Counts, Estimate, UserError

FloatArray = npt.NDArray[np.float64]

NO_DATA = Estimate(math.nan)
PSEUDO_PROBLEMS = 2
"""Imaginary problems of the largest possible variance added to an error bar, which keep it from vanishing."""


@dataclass(frozen=True, slots=True)
class Contrast:
    """One difference of pass@k between two probes of the same problems, with both of its intervals."""

    population: Estimate
    benchmark: Estimate


def pass_at_k_vector(counts: Sequence[Counts], plan: SamplingPlan, k: int) -> FloatArray:
    """(P,) unbiased pass@k of every problem, in the order of `counts`.

    Raises ValueError for k > plan.max_samples and, naming the problem, for counts at which `plan` never stops.
    """
    return plan.pass_at_k_F(k)[failures_P(counts, plan)]


def population_ci(x_P: npt.ArrayLike, *, confidence: float = 0.95) -> Estimate:
    """Mean of per-problem values in [0, 1], with a Wilson interval for the mean over the population of problems.

    Wilson's formula (1927) with the effective number of trials n = m(1-m) / SE^2, where m is the mean and
    SE^2 = s^2 / P. The ratio s^2 / m(1-m) behind n includes one pseudo-problem of ratio 1 (yes/no outcomes):
    it changes n by about 1/P, and at m = 0, m = 1 or s = 0, where the ratio is undefined or useless, it leads to
    n = P for values that are all 0 or all 1, and n = P(P + 1) for equal values near 1/2.

    Raises ValueError for a value outside [0, 1].
    """
    x_P = np.asarray(x_P, dtype=np.float64)
    if x_P.size == 0:
        return NO_DATA
    if not np.all((x_P >= 0.0) & (x_P <= 1.0)):
        raise ValueError(f"population_ci: values from {x_P.min()} to {x_P.max()}; expected all in [0, 1]")
    mean, z = float(x_P.mean()), z_quantile(confidence)
    low, high = wilson(mean, effective_trials(x_P, z), z)
    # At m = 0 and m = 1 one bound equals the mean; rounding must not push it to the other side.
    return Estimate(mean, min(max(low, 0.0), mean), max(min(high, 1.0), mean))


def effective_trials(x_P: FloatArray, z: float) -> float:
    """Yes/no trials that would know the population mean as well as these values in [0, 1]; see `population_ci`."""
    problems, mean = x_P.size, float(x_P.mean())
    center = (mean * problems + z * z / 2) / (problems + z * z)
    pseudo = center * (1.0 - center)
    spread = float(x_P.var(ddof=1)) if problems > 1 else 0.0
    return problems * (problems * mean * (1.0 - mean) + pseudo) / (problems * spread + pseudo)


def benchmark_variance(counts: Sequence[Counts], plan: SamplingPlan, k: int) -> float:
    """Estimated variance of the mean pass@k over exactly these problems; two pseudo-problems included.

    With T_k = 1 - pass@k, T_k^2 - T_2k is unbiased for the variance within a problem as long as 2k <= N. For larger
    k no unbiased estimate exists; the mean M(k) of (1-p)^k is log-convex in k (Hoelder), so
    M(2k) >= M(k) (M(k) / M(l))^(k / (k-l)) with l = k/4 bounds the variance E T_k^2 - M(2k) from above: at k = N the
    interval is about 1.5 times as wide as it could be. Prefer k <= N/2 for a headline.

    To the sum over problems, two times the plan's largest variance of pass@k at any p is added.
    NaN without problems.
    """
    if not counts:
        return math.nan
    f_P = failures_P(counts, plan)
    unsolved_P = plan.unsolved_F(k)[f_P]
    mean_square = float(np.mean(unsolved_P**2))
    if 2 * k <= plan.max_samples:
        both_unsolved = float(plan.unsolved_F(2 * k)[f_P].mean())
    else:
        both_unsolved = _log_convex_bound(float(unsolved_P.mean()), _mean_unsolved(plan, f_P, k // 4), k)
    problems = len(counts)
    return (problems * (mean_square - both_unsolved) + PSEUDO_PROBLEMS * plan.worst_variance(k)) / problems**2


def benchmark_ci(counts: Sequence[Counts], plan: SamplingPlan, k: int, *, confidence: float = 0.95) -> Estimate:
    """Mean pass@k over exactly these problems: normal interval from `benchmark_variance`, cut to [0, 1]."""
    if not counts:
        return NO_DATA
    mean = float(pass_at_k_vector(counts, plan, k).mean())
    half = z_quantile(confidence) * math.sqrt(benchmark_variance(counts, plan, k))
    return Estimate(mean, max(mean - half, 0.0), min(mean + half, 1.0))


def population_diff_ci(a_P: npt.ArrayLike, b_P: npt.ArrayLike, *, confidence: float = 0.95) -> Estimate:
    """Mean of a - b over problems, paired, for the population of problems; a and b in [0, 1].

    The value is the plain mean. The interval is a paired t interval of the P differences and two pseudo-problems, one
    that gained everything (+1) and one that lost everything (-1), cut to [-1, 1]: it stays honest when few problems
    move, where plain t covers too little (Agresti and Min 2005 do so for matched pairs of yes/no outcomes).

    Raises ValueError for vectors of unequal length or values outside [0, 1].
    """
    a_P, b_P = np.asarray(a_P, dtype=np.float64), np.asarray(b_P, dtype=np.float64)
    if a_P.shape != b_P.shape:
        raise ValueError(f"population_diff_ci: {a_P.size} and {b_P.size} problems; expected the same problems")
    if a_P.size == 0:
        return NO_DATA
    if not np.all((a_P >= 0.0) & (a_P <= 1.0) & (b_P >= 0.0) & (b_P <= 1.0)):
        raise ValueError("population_diff_ci: a value outside [0, 1]; expected pass@k values")
    difference_P = a_P - b_P
    around = _t_interval(np.append(difference_P, [1.0, -1.0]), confidence)
    return Estimate(float(difference_P.mean()), max(around.low, -1.0), min(around.high, 1.0))


def benchmark_diff_ci(
    a_counts: Sequence[Counts],
    a_plan: SamplingPlan,
    a_k: int,
    b_counts: Sequence[Counts],
    b_plan: SamplingPlan,
    b_k: int,
    *,
    confidence: float = 0.95,
) -> Estimate:
    """Mean pass@a_k of a minus mean pass@b_k of b over exactly these problems; plans may differ.

    The samples of a and b are independent, so the two `benchmark_variance`s add. Cut to [-1, 1].
    Raises UserError when a and b are not the same problems.
    """
    b_counts = paired_counts(a_counts, b_counts)
    if not a_counts:
        return NO_DATA
    difference = float((pass_at_k_vector(a_counts, a_plan, a_k) - pass_at_k_vector(b_counts, b_plan, b_k)).mean())
    variance = benchmark_variance(a_counts, a_plan, a_k) + benchmark_variance(b_counts, b_plan, b_k)
    half = z_quantile(confidence) * math.sqrt(variance)
    return Estimate(difference, max(difference - half, -1.0), min(difference + half, 1.0))


def delta_se(
    base_counts: Sequence[Counts],
    base_plan: SamplingPlan,
    counts: Sequence[Counts],
    plan: SamplingPlan,
    k: int = 256,
) -> Contrast:
    """Sampling-efficiency gap, base pass@k - pass@1 (2504.13837): how far pass@1 is from the base boundary.

    Paired by problem, in any order; lower is better, range [-1, 1]. Raises UserError, naming ids, when base and run
    are not the same problems.
    """
    return _contrast(base_counts, base_plan, k, counts, plan, 1)


def shrinkage(
    base_counts: Sequence[Counts],
    base_plan: SamplingPlan,
    counts: Sequence[Counts],
    plan: SamplingPlan,
    k: int,
) -> Contrast:
    """base pass@k - pass@k, paired by problem: positive when the boundary shrank, range [-1, 1].

    Raises UserError, naming ids, when base and run are not the same problems.
    """
    return _contrast(base_counts, base_plan, k, counts, plan, k)


def mean_ci(values_P: npt.ArrayLike, *, confidence: float = 0.95) -> Estimate:
    """Mean of one finite number per problem (entropy, length, ...) with its t interval over problems.

    The bounds are NaN for a single problem. All values NaN (the sampler cannot know the quantity) count as no data;
    some of them NaN or infinite raises ValueError, since dropping problems would change what is averaged.
    """
    values_P = np.asarray(values_P, dtype=np.float64)
    if values_P.size == 0 or np.isnan(values_P).all():
        return NO_DATA
    if not np.isfinite(values_P).all():
        bad = int(np.count_nonzero(~np.isfinite(values_P)))
        raise ValueError(f"mean_ci: {bad} of {values_P.size} values are not finite; expected a number per problem")
    if values_P.size == 1:
        return Estimate(float(values_P[0]))
    return _t_interval(values_P, confidence)


def _contrast(
    base_counts: Sequence[Counts],
    base_plan: SamplingPlan,
    base_k: int,
    counts: Sequence[Counts],
    plan: SamplingPlan,
    k: int,
) -> Contrast:
    counts = paired_counts(base_counts, counts)
    return Contrast(
        population=population_diff_ci(
            pass_at_k_vector(base_counts, base_plan, base_k), pass_at_k_vector(counts, plan, k)
        ),
        benchmark=benchmark_diff_ci(base_counts, base_plan, base_k, counts, plan, k),
    )


def failures_P(counts: Sequence[Counts], plan: SamplingPlan) -> npt.NDArray[np.int64]:
    """(P,) failures n - c of each problem, the index into the plan's `_F` tables.

    Raises ValueError, naming the problem, for counts at which `plan` never stops.
    """
    n_P = np.array([one.n for one in counts], dtype=np.int64)
    c_P = np.array([one.c for one in counts], dtype=np.int64)
    f_P = n_P - c_P
    valid_P = (f_P >= 0) & (f_P <= plan.max_samples)
    valid_P &= plan.samples_F[np.where(valid_P, f_P, 0)] == n_P
    if not valid_P.all():
        bad = counts[int(np.argmin(valid_P))]
        try:
            plan.failures(bad.n, bad.c)
        except ValueError as error:
            raise ValueError(f"problem {bad.problem_id!r}: {error}") from None
    return f_P


def paired_counts(base_counts: Sequence[Counts], counts: Sequence[Counts]) -> list[Counts]:
    """`counts` in the order of `base_counts`. Raises UserError, naming ids, unless both hold the same problems."""
    by_id = {one.problem_id: one for one in counts}
    base_ids = [one.problem_id for one in base_counts]
    if len(by_id) == len(counts) == len(base_ids) and by_id.keys() == set(base_ids):
        return [by_id[problem_id] for problem_id in base_ids]
    times = Counter(base_ids), Counter(one.problem_id for one in counts)
    twice = [problem_id for per_probe in times for problem_id, times_ in per_probe.items() if times_ > 1]
    if twice:
        raise UserError(f"problem ids occur twice in one probe: {_some(twice)}; expected one count per problem")
    raise UserError(f"base and run are not the same problems: only in the base {_some(times[0].keys() - times[1])}, "
                    f"only in the run {_some(times[1].keys() - times[0])}; probe both on one problem set")


def _some(ids: Iterable[str], at_most: int = 5) -> str:
    ids = sorted(ids)
    if not ids:
        return "none"
    return ", ".join(ids[:at_most]) + (f" and {len(ids) - at_most} more" if len(ids) > at_most else "")


def _mean_unsolved(plan: SamplingPlan, f_P: npt.NDArray[np.int64], k: int) -> float:
    return float(plan.unsolved_F(k)[f_P].mean()) if k else 1.0


def _log_convex_bound(at_k: float, at_quarter: float, k: int) -> float:
    """Lower bound of M(2k) from M(k) and M(k // 4), M log-convex."""
    if at_k == 0.0:
        return 0.0
    return at_k * (at_k / at_quarter) ** (k / (k - k // 4))


def wilson(mean: float, trials: float, z: float) -> tuple[float, float]:
    """Wilson's (1927) bounds for a share `mean` of `trials` (need not be whole), z standard errors wide; not cut."""
    center = mean + z * z / (2 * trials)
    half = z * math.sqrt(mean * (1.0 - mean) / trials + (z / (2 * trials)) ** 2)
    return (center - half) / (1 + z * z / trials), (center + half) / (1 + z * z / trials)


def _t_interval(values: FloatArray, confidence: float) -> Estimate:
    mean = float(values.mean())
    half = t_quantile(values.size - 1, confidence) * float(values.std(ddof=1)) / math.sqrt(values.size)
    return Estimate(mean, mean - half, mean + half)


def z_quantile(confidence: float) -> float:
    """z with P(|Z| <= z) = confidence for a standard normal Z."""
    _check_confidence(confidence)
    return NormalDist().inv_cdf((1.0 + confidence) / 2)


@lru_cache(maxsize=256)
def t_quantile(df: int, confidence: float) -> float:
    """t with P(|T| <= t) = confidence for Student's T with df degrees of freedom."""
    _check_confidence(confidence)
    return float(stdtrit(df, (1.0 + confidence) / 2))


def _check_confidence(confidence: float) -> None:
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence={confidence}; expected a number strictly between 0 and 1, such as 0.95")
