"""The row of boundary.jsonl: every statistic of one probe, computed from its stored counts."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rlvr.statistics.companions import answer_estimates, as_json, companions, guess_controls
from rlvr.statistics.guess import GuessBaseline
from rlvr.statistics.intervals import (
    Contrast,
    benchmark_ci,
    delta_se,
    mean_ci,
    pass_at_k_vector,
    population_ci,
    shrinkage,
)
from rlvr.statistics.ledger import LOSS_LEVEL, Ledger, build_ledger, newly_solved
from rlvr.statistics.plan import SamplingPlan
from rlvr.statistics.verdicts import shrinkage_looks
from rlvr.types import Counts, Decoding, Estimate

ZERO = Estimate(0.0, 0.0, 0.0)
ALPHA = 0.05
"""Chance per run that a probe is called `shrunk` though the boundary did not shrink (and equally `not shrunk`)."""
MARGIN = 0.05
"""Largest loss of pass@k that still counts as `not shrunk`: five points."""


@dataclass(frozen=True)
class Measurement:
    """Counts of one probe with the plan that drew them, and the truth where it is known."""

    counts: list[Counts]
    plan: SamplingPlan
    exact_p: np.ndarray | None = None
    """(P,) exact success probabilities in the order of `counts`."""

    @property
    def ids(self) -> set[str]:
        return {one.problem_id for one in self.counts}

    def of(self, ids: Collection[str]) -> Measurement:
        """The part of these problems."""
        kept = [index for index, one in enumerate(self.counts) if one.problem_id in ids]
        exact_p = None if self.exact_p is None else self.exact_p[kept]
        return Measurement([self.counts[index] for index in kept], self.plan, exact_p)


def headline_k(ks: Sequence[int]) -> int:
    """The k of delta_se: 256, or the largest k measured if that is smaller."""
    return 256 if 256 in ks else max(ks)


def shrinkage_ks(ks: Sequence[int]) -> list[int]:
    """The k of shrinkage@k: those of 64, 128, 256 that are measured, else the largest."""
    return [k for k in (64, 128, 256) if k in ks] or [max(ks)]


def boundary_row(
    *,
    step: int,
    now: Measurement,
    base: Measurement,
    problem_rows: Sequence[dict[str, Any]],
    ks: Sequence[int],
    decoding: Decoding | None,
    plan_name: str,
    verifier: str,
    samples: int,
    tokens: int | None,
    seconds: float,
    token_share: float | None,
    budget_share: float | None = None,
    earlier: Mapping[int, Measurement] | None = None,
    planned_looks: int | None = None,
    guess: GuessBaseline | None = None,
) -> dict[str, Any]:
    """One JSON-able row: population intervals ("estimates"), intervals for exactly these problems ("benchmark"),
    exact values in the lab ("exact"), verdicts that hold over all looks ("sequential"), problems lost and gained
    beyond what bad luck explains ("lost", "gained", "ledger": see `rlvr.statistics.ledger`), companions of pass@k
    ("companions", see `rlvr.statistics.companions`) and pass@k without lucky guesses ("guess"). NaN and infinite bounds
    become None; decoding and tokens are None where nobody recorded them.

    Args:
        earlier: step -> measurement of every probe between the base and this one.
        planned_looks: probes after the base that the run is meant to have; None when unknown.
        guess: guess rates frozen from the base's samples; None where they do not apply.
    """
    base = base.of(now.ids)  # a problem with an answer that could not be judged is in some probes only
    course = _of_common_problems({0: base, **(earlier or {}), step: now})
    population, benchmark = _estimates(now, base, ks, problem_rows, is_base=step == 0)
    return {
        "step": step,
        "kind": "base" if step == 0 else "probe",
        "plan": plan_name,
        "first_round": now.plan.first_round,
        "decoding": None if decoding is None else asdict(decoding),
        "problems": len(now.counts),
        "samples": samples,
        "tokens": tokens,
        "seconds": round(seconds, 3),
        "token_share": token_share,
        "budget_share": budget_share,
        "verifier": verifier,
        "estimates": {k: as_json(v) for k, v in population.items()},
        "benchmark": {k: as_json(v) for k, v in benchmark.items()},
        "exact": _exact(now, base, ks),
        "sequential": None if step == 0 else sequential_verdicts(
            course[0], [probe for at, probe in course.items() if at > 0], ks, planned_looks),
        **_ledger_fields(None if step == 0 else ledger_of(course)),
        "companions": companions(
            now.counts, now.plan, None if step == 0 else (base.counts, base.plan), headline_k(ks)
        ),
        "guess": guess_controls(guess, now.counts, now.plan, ks),
    }


def _of_common_problems(probes: Mapping[int, Measurement]) -> dict[int, Measurement]:
    """The part of every probe that all of them hold, for what rests on the whole course of the run."""
    common = set.intersection(*(probe.ids for probe in probes.values()))
    return {step: probe.of(common) for step, probe in probes.items()}


def _estimates(
    now: Measurement, base: Measurement, ks: Sequence[int], problem_rows: Sequence[dict[str, Any]], *, is_base: bool
) -> tuple[dict[str, Estimate], dict[str, Estimate]]:
    """Metric -> estimate, with population intervals and (pass@k and its differences only) benchmark intervals."""
    population: dict[str, Estimate] = {}
    benchmark: dict[str, Estimate] = {}
    for k in ks:
        population[f"boundary/pass@{k}"] = population_ci(pass_at_k_vector(now.counts, now.plan, k))
        benchmark[f"boundary/pass@{k}"] = benchmark_ci(now.counts, now.plan, k)
    contrasts = {"boundary/delta_se": delta_se(base.counts, base.plan, now.counts, now.plan, headline_k(ks))}
    for k in shrinkage_ks(ks):
        contrasts[f"boundary/shrinkage@{k}"] = (
            Contrast(ZERO, ZERO) if is_base else shrinkage(base.counts, base.plan, now.counts, now.plan, k)
        )
    for key, contrast in contrasts.items():
        population[key], benchmark[key] = contrast.population, contrast.benchmark
    for name in ("entropy", "length", "format_rate", "distinct_answers"):
        values = [math.nan if r[name] is None else r[name] for r in problem_rows]
        population[f"boundary/{name}"] = mean_ci(values)
    population |= {f"boundary/{name}": estimate for name, estimate in answer_estimates(problem_rows).items()}
    return population, benchmark


def _ledger_fields(ledger: Ledger | None) -> dict[str, Any]:
    """The fields of a row about single problems; None for the base, which has nothing to compare with."""
    if ledger is None:
        return {"lost": [], "gained": [], "ledger": None}
    return {
        "lost": [p.problem_id for p in ledger.problems.values() if p.lost_now],
        "gained": newly_solved(ledger),
        "ledger": {
            "unsolved_now": ledger.unsolved_now,
            "unsolved_by_luck": ledger.unsolved_by_luck,
            "level": LOSS_LEVEL,
            "prior": list(ledger.prior),
        },
    }


def ledger_of(probes: Mapping[int, Measurement]) -> Ledger:
    """The ledger over step -> measurement; the smallest step is the base."""
    rows = [
        {"step": step, "problem_id": one.problem_id, "n": one.n, "c": one.c}
        for step, probe in probes.items() for one in probe.counts
    ]
    return build_ledger(rows, probes[max(probes)].plan.max_samples)


def sequential_verdicts(
    base: Measurement, looks: Sequence[Measurement], ks: Sequence[int], planned_looks: int | None
) -> dict[str, Any]:
    """The verdict of the newest look on shrinkage@k, for every k of `shrinkage_ks`; population target.

    `looks` are all probes after the base, oldest first, drawn with one plan. See `rlvr.statistics.verdicts`. A bound
    of None is infinite: no error is left to spend at this look.
    """
    plan = looks[-1].plan
    newest = {
        k: shrinkage_looks(base.counts, base.plan, [look.counts for look in looks], plan, k,
                           planned_looks=planned_looks, alpha=ALPHA, margin=MARGIN)[-1]
        for k in shrinkage_ks(ks)
    }
    return {
        "look": len(looks),
        "planned_looks": planned_looks,
        "alpha": ALPHA,
        "margin": MARGIN,
        "verdicts": {
            f"boundary/shrinkage@{k}": {
                "verdict": str(look.verdict),
                "value": look.shrinkage,
                "low": look.low if math.isfinite(look.low) else None,
                "high": look.high if math.isfinite(look.high) else None,
                "spent": look.spent,
            }
            for k, look in newest.items()
        },
    }


def _exact(now: Measurement, base: Measurement, ks: Sequence[int]) -> dict[str, float] | None:
    if now.exact_p is None or base.exact_p is None:
        return None

    def exact_pass(p_P: np.ndarray, k: int) -> float:
        return float(np.mean(-np.expm1(k * np.log1p(-np.minimum(p_P, 1.0 - 1e-15)))))

    values = {f"boundary/pass@{k}": exact_pass(now.exact_p, k) for k in ks}
    values["boundary/delta_se"] = exact_pass(base.exact_p, headline_k(ks)) - exact_pass(now.exact_p, 1)
    for k in shrinkage_ks(ks):
        values[f"boundary/shrinkage@{k}"] = exact_pass(base.exact_p, k) - exact_pass(now.exact_p, k)
    return values
