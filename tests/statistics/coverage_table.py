"""Simulated coverage of the 95% intervals, as a markdown table. Run: `python tests/statistics/coverage_table.py`
(minutes).

Success probabilities follow Beta distributions fitted to published pass@1 and pass@256; a base model and its
RL-trained model share a problem through a Gaussian copula. Every problem is sampled under the balanced plan. Each
run draws new problems and new samples; an interval for the population must hold the population's pass@k, one for
the benchmark the pass@k of just these problems. Arms of an algorithm comparison are trained with S seeds; there the
log-odds of a problem vary by seed (sd 0.1 or 0.3, all problems together) and by seed and problem (sd 0.5).
Monte Carlo error of an entry: about 0.8 points at 95%. The table of 400 runs is in tests/statistics/coverage_table.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from rlvr.statistics.intervals import (
    benchmark_ci,
    benchmark_diff_ci,
    pass_at_k_vector,
    population_ci,
    population_diff_ci,
)
from rlvr.statistics.plan import PLANS, SamplingPlan
from rlvr.statistics.seeds import arm_ci, arm_difference_ci
from rlvr.types import Counts, Estimate

FITS = {"Omni base": (0.218, 1.96), "MATH base": (0.581, 1.10), "MATH RL": (0.371, 0.124), "Omni RL": (0.140, 0.400)}
PAIRS = {"Omni": ("Omni base", "Omni RL"), "MATH": ("MATH base", "MATH RL")}
POOL = 200_000
FloatArray = npt.NDArray[np.float64]


def draw_failures(p: FloatArray, plan: SamplingPlan, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Failures at the endpoint for problems of success probability p (any shape), round by round."""
    correct, failures = np.zeros(p.shape, np.int64), np.full(p.shape, -1, np.int64)
    before = 0
    for checkpoint, threshold in zip(plan.checkpoints, (*plan.stop_at, 0), strict=True):
        going = failures < 0
        correct = correct + np.where(going, rng.binomial(checkpoint - before, p), 0)
        failures = np.where(going & (correct >= threshold), checkpoint - correct, failures)
        before = checkpoint
    return failures


def pool_of_pairs(
    base: tuple[float, float], trained: tuple[float, float], correlation: float, rng: np.random.Generator
) -> FloatArray:
    """(2, POOL) success probabilities with the two Beta margins, ranks joined by a Gaussian copula."""
    first = rng.standard_normal(POOL)
    second = correlation * first + np.sqrt(1 - correlation**2) * rng.standard_normal(POOL)
    margins = (np.sort(rng.beta(*base, POOL)), np.sort(rng.beta(*trained, POOL)))
    return np.stack([m[np.argsort(np.argsort(z))] for m, z in zip(margins, (first, second), strict=True)])


def pass_at(p: FloatArray, k: int) -> FloatArray:
    """Mean over problems (last axis) of 1 - (1-p)^k."""
    return 1 - ((1 - p) ** k).mean(axis=-1)


@lru_cache(maxsize=4)
def counts_by_endpoint(plan: SamplingPlan, problems: int) -> list[list[Counts]]:
    """[problem][failures] -> Counts, made once: a draw of endpoints becomes a list by look-up."""
    stops = [(n, n - f) for f, n in enumerate(plan.samples_F.tolist())]
    return [[Counts(str(i), n, c) for n, c in stops] for i in range(problems)]


def draw_counts(p_RP: FloatArray, plan: SamplingPlan, rng: np.random.Generator) -> list[list[Counts]]:
    """One list of counts per run (row of success probabilities)."""
    table = counts_by_endpoint(plan, p_RP.shape[1])
    failures_RP = draw_failures(p_RP, plan, rng).tolist()
    return [[row[f] for row, f in zip(table, failures_P, strict=True)] for failures_P in failures_RP]


def covered(estimates: Sequence[Estimate], truth: npt.ArrayLike) -> float:
    """Percentage of intervals that hold their truth (one for all, or one each)."""
    low, high = np.array([e.low for e in estimates]), np.array([e.high for e in estimates])
    return 100 * float(np.mean((low <= np.asarray(truth) + 1e-12) & (np.asarray(truth) <= high + 1e-12)))


def one_probe(fit: str, problems: int, ks: Sequence[int], runs: int, seed: int) -> dict[int, tuple[float, float]]:
    """k -> coverage (%) of the population and the benchmark interval of pass@k."""
    rng, plan = np.random.default_rng([seed, problems]), PLANS["balanced"]
    pool = rng.beta(*FITS[fit], POOL)
    p = rng.choice(pool, (runs, problems))
    drawn = draw_counts(p, plan, rng)
    return {
        k: (
            covered([population_ci(pass_at_k_vector(counts, plan, k)) for counts in drawn], pass_at(pool, k)),
            covered([benchmark_ci(counts, plan, k) for counts in drawn], pass_at(p, k)),
        )
        for k in ks
    }


def two_probes(
    pair: str, correlation: float, problems: int, ks: Sequence[tuple[int, int]], runs: int, seed: int
) -> dict[tuple[int, int], tuple[float, float]]:
    """(k of base, k of trained) -> coverage (%) of the population and the benchmark interval of the difference."""
    rng, plan = np.random.default_rng([seed, problems]), PLANS["balanced"]
    base, trained = PAIRS[pair]
    pool = pool_of_pairs(FITS[base], FITS[trained], correlation, rng)
    chosen = rng.integers(0, POOL, (runs, problems))
    p = pool[:, chosen]
    drawn = [draw_counts(p_RP, plan, rng) for p_RP in p]
    result = {}
    for k_base, k in ks:
        population = [
            population_diff_ci(pass_at_k_vector(a, plan, k_base), pass_at_k_vector(b, plan, k))
            for a, b in zip(*drawn, strict=True)
        ]
        benchmark = [benchmark_diff_ci(a, plan, k_base, b, plan, k) for a, b in zip(*drawn, strict=True)]
        result[k_base, k] = (
            covered(population, pass_at(pool[0], k_base) - pass_at(pool[1], k)),
            covered(benchmark, pass_at(p[0], k_base) - pass_at(p[1], k)),
        )
    return result


def two_arms(
    seeds: int, problems: int, seed_sd: float, k: int, runs: int, seed: int
) -> tuple[float, float, float, float, float]:
    """Coverage (%) for two arms of S seeds on the same problems, the second better by 0.3 in log-odds.

    (arm population, arm benchmark, difference population, difference benchmark, difference by a paired interval of the
    seed means that forgets that there are few seeds).
    """
    rng, plan = np.random.default_rng([seed, seeds, problems]), PLANS["balanced"]
    rest_sd = 0.5
    problem_RP = -2 + 2.5 * rng.standard_normal((runs, problems))
    # 199 equally likely values of what a new seed does to a problem, and of the problems
    normal = np.array([NormalDist().inv_cdf((i + 0.5) / 199) for i in range(199)])
    new_seed = normal * np.hypot(seed_sd, rest_sd)
    arms, of_population, of_benchmark = [], [], []
    for shift in (0.0, 0.3):
        log_odds = (
            problem_RP[:, None, :] + shift + seed_sd * rng.standard_normal((runs, seeds, 1))
            + rest_sd * rng.standard_normal((runs, seeds, problems))
        )
        arms.append(plan.pass_at_k_F(k)[draw_failures(1 / (1 + np.exp(-log_odds)), plan, rng)])
        # by interpolation: pass@k averaged over new seeds as a function of the problem's log-odds
        grid = np.linspace(-20, 16, 1500)
        solved = (1 - (1 + np.exp(grid[:, None] + shift + new_seed)) ** -float(k)).mean(axis=1)
        of_benchmark.append(np.interp(problem_RP, grid, solved).mean(axis=1))
        of_population.append(float(np.interp(-2 + 2.5 * normal, grid, solved).mean()))
    pairs = list(zip(arms[1], arms[0], strict=True))
    population, benchmark = of_population[1] - of_population[0], of_benchmark[1] - of_benchmark[0]
    return (
        covered([arm_ci(x) for x in arms[0]], of_population[0]),
        covered([arm_ci(x, target="benchmark") for x in arms[0]], of_benchmark[0]),
        covered([arm_difference_ci(b, a) for b, a in pairs], population),
        covered([arm_difference_ci(b, a, target="benchmark") for b, a in pairs], benchmark),
        covered([population_diff_ci(b.mean(axis=0), a.mean(axis=0)) for b, a in pairs], population),
    )


def print_table(runs: int, write: Callable[[str], object]) -> None:
    """One row per distribution and k; columns by number of problems."""
    sizes, ks = (30, 100, 500), (1, 64, 128, 256)
    write(f"| {runs} runs | k | " + " | ".join(f"{kind}, P={size}" for kind in ("population", "benchmark")
                                              for size in sizes) + " |\n|---|---|" + "---|" * 2 * len(sizes) + "\n")
    for fit in FITS:
        cells = [one_probe(fit, size, ks, runs, seed=1) for size in sizes]
        for k in ks:
            row = [f"{cell[k][kind]:.1f}" for kind in (0, 1) for cell in cells]
            write(f"| pass@k, {fit} | {k} | {' | '.join(row)} |\n")
    pairs_of_k = [*((k, k) for k in ks), (256, 1)]
    for pair in PAIRS:
        for correlation in (0.6, 0.9):
            cells = [two_probes(pair, correlation, size, pairs_of_k, runs, seed=2) for size in sizes]
            for key in pairs_of_k:
                row = [f"{cell[key][kind]:.1f}" for kind in (0, 1) for cell in cells]
                name = str(key[0]) if key[0] == key[1] else f"{key[0]} - {key[1]}"
                write(f"| base - RL, {pair}, copula {correlation} | {name} | {' | '.join(row)} |\n")
    print_arms(runs, sizes, write)


def print_arms(runs: int, sizes: Sequence[int], write: Callable[[str], object]) -> None:
    """Rows for arms trained with several seeds."""
    for seeds in (2, 3, 5):
        for seed_sd in (0.1, 0.3):
            for k in (1, 64):
                cells = [two_arms(seeds, size, seed_sd, k, runs, seed=3) for size in sizes]
                for name, columns in (("one arm", (0, 1)), ("two arms", (2, 3)), ("(two arms, seeds ignored)", (4,))):
                    row = [f"{cell[kind]:.1f}" for kind in columns for cell in cells] + ["-"] * 3 * (2 - len(columns))
                    write(f"| {name}, {seeds} seeds, seed sd {seed_sd} | {k} | {' | '.join(row)} |\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=800, help="simulated probes per entry")
    print_table(parser.parse_args().runs, sys.stdout.write)
