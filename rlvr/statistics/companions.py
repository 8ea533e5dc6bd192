"""Companions of pass@k, computed from the same counts: stability, coverage, accuracies, solvable sets, a prediction.

One JSON-able dictionary per probe, the field `companions` of boundary.jsonl. Each part has a module of its own
(`stability`, `accuracy_distribution`, `solvable`, `prediction`, `guess`). None: unknown or undefined.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rlvr.statistics.accuracy_distribution import accuracy_histogram, fit_mixture
from rlvr.statistics.guess import GuessBaseline, corrected_pass_at_k
from rlvr.statistics.intervals import mean_ci, population_ci
from rlvr.statistics.plan import SamplingPlan
from rlvr.statistics.prediction import fit_beta, predict_pass_at_k
from rlvr.statistics.solvable import solvable_table
from rlvr.statistics.stability import g_pass_vector, mg_pass_vector
from rlvr.types import Counts, Estimate

STABILITY_K = 8
"""k of G-Pass@k and pass^k; less under a plan with a smaller first round, where no other k has unbiased estimates."""
TAUS = (0.25, 0.5, 0.75, 1.0)
COVER_TAUS = (0.01, 0.02, 0.05, *(i / 20 for i in range(2, 20)), 0.98, 0.99)
"""Where Cover@tau is recorded. Below 1 / max_samples the data cannot tell p from 0."""
BEYOND = (2, 4, 8)
"""pass@k is predicted at these multiples of the largest measured k."""
ANSWER_METRICS = ("answer_entropy", "answer_agreement", "distinct_at_8")


def companions(
    counts: Sequence[Counts],
    plan: SamplingPlan,
    base: tuple[Sequence[Counts], SamplingPlan] | None,
    k: int,
) -> dict[str, Any]:
    """Companion metrics of one probe.

    Args:
        base: counts and plan of the base probe; None for the base itself, which has no solvable sets to compare.
        k: of the solvable sets and of the accuracy histogram (accuracies among k samples); in both plans' range.
    """
    size = min(STABILITY_K, plan.first_round)
    fit, beta = fit_mixture(counts), fit_beta(counts)
    histogram = accuracy_histogram(counts, plan, k)
    return {
        "stability": {
            "k": size,
            "g_pass": {f"{tau:g}": as_json(population_ci(g_pass_vector(counts, plan, size, tau))) for tau in TAUS},
            "mg_pass": as_json(population_ci(mg_pass_vector(counts, plan, size))) if size > 1 else None,
        },
        "cover": {"tau": list(COVER_TAUS), "share": [fit.cover(tau) for tau in COVER_TAUS]},
        "histogram": {"n": histogram.n, "problems": list(histogram.problems), "observed": histogram.observed},
        "solvable": None if base is None else _solvable(base[0], base[1], counts, plan, k),
        "prediction": None if beta is None else {
            "a": beta.a,
            "b": beta.b,
            "measured_k": plan.max_samples,
            "points": [
                {"k": p.k, "value": p.value, "low": p.low, "high": p.high}
                for p in (predict_pass_at_k(beta, times * plan.max_samples, plan.max_samples) for times in BEYOND)
            ],
        },
    }


def answer_estimates(problem_rows: Sequence[Mapping[str, Any]]) -> dict[str, Estimate]:
    """Means over problems of `ANSWER_METRICS`, each over the problems where it is known (rows of probes.jsonl).

    NaN without any: verdicts without readable answers, or rows older than the metric.
    """
    known = {name: [row[name] for row in problem_rows if row.get(name) is not None] for name in ANSWER_METRICS}
    return {name: mean_ci(values) for name, values in known.items()}


def guess_controls(
    baseline: GuessBaseline | None, counts: Sequence[Counts], plan: SamplingPlan, ks: Sequence[int]
) -> dict[str, Any] | None:
    """pass@k with the luck of guessing taken out, per k; None where no guess baseline applies.

    `pass_at_k` and `corrected` are means over the problems that are not guessable at k, so the two can be compared.
    """
    if baseline is None:
        return None
    table = {}
    for k in ks:
        one = corrected_pass_at_k(counts, plan, k, baseline)
        table[str(k)] = {
            "pass_at_k": null(one.pass_at_k),
            "baseline": null(one.baseline),
            "corrected": null(one.corrected),
            "kept": len(one.kept_ids),
            "guessable": len(one.guessable_ids),
        }
    return table


def as_json(estimate: Estimate) -> dict[str, float | None]:
    return {part: null(value) for part, value in estimate.as_dict().items()}


def null(value: float) -> float | None:
    return None if math.isnan(value) else value


def _solvable(
    base_counts: Sequence[Counts], base_plan: SamplingPlan, counts: Sequence[Counts], plan: SamplingPlan, k: int
) -> dict[str, Any]:
    table = solvable_table(base_counts, base_plan, counts, plan, k)
    return {
        "k": k,
        "both": table.both,
        "only_base": table.only_base,
        "only_run": table.only_run,
        "neither": table.neither,
        "whole": table.whole,
        "srr": null(table.srr),
        "ndr": null(table.ndr),
        "nscr": null(table.nscr),
        "p_value": null(table.p_value),
        "only_base_ids": list(table.only_base_ids),
        "only_run_ids": list(table.only_run_ids),
    }
