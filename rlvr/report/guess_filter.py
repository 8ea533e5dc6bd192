"""pass@k without the problems that the base model guesses when it is asked for the answer at once."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

from rlvr.report.changes import pass_at_k_by_problem
from rlvr.report.conditions import Condition
from rlvr.report.load import Run
from rlvr.statistics.direct_answer import guessable_ids
from rlvr.statistics.intervals import population_ci, population_diff_ci
from rlvr.types import Counts, Estimate, UserError


@dataclass(frozen=True)
class WithoutGuesses:
    """The run's own probes on the problems that the base does not guess."""

    name: str
    """Of the condition with the direct answers."""
    guessable: tuple[str, ...]
    problems: int
    """Before the filter."""
    tries: int
    below: float
    how: str
    """Decoding and prompt of the direct answers."""
    rows: tuple[tuple[int, Estimate, Estimate, Estimate], ...]
    """(k, base, last probe, last probe minus base) on the kept problems; NaN where there is no later probe."""


def without_guesses(run: Run, condition: Condition) -> WithoutGuesses:
    """Filter the run's problems by a direct-answer condition. Raises UserError where its counts differ in size."""
    counts = [Counts(problem, row.n, row.c) for problem, row in condition.run.rows[0].items()]
    below = float(condition.spec["guessable_below"])
    try:
        guessable = guessable_ids(counts, below)
    except UserError as error:
        raise UserError(f"{condition.run.path}: {error}") from None
    kept = [one.problem_id for one in counts if one.problem_id not in set(guessable)]
    ks = dict.fromkeys(k for k in (1, 16, run.k_max) if k in run.ks)
    return WithoutGuesses(condition.name, tuple(guessable), len(counts), counts[0].n, below, condition.described,
                          tuple((k, *_on(run, kept, k)) for k in ks))


def _on(run: Run, ids: Collection[str], k: int) -> tuple[Estimate, Estimate, Estimate]:
    """pass@k of the base, of the last probe and its change on some problems; NaN where counts are missing."""
    unknown = Estimate(math.nan)
    before = pass_at_k_by_problem(run, run.base, k)
    now = pass_at_k_by_problem(run, run.last, k) if run.last else {}
    if not ids or not set(ids) <= before.keys():
        return unknown, unknown, unknown
    base = [before[problem] for problem in ids]
    if not set(ids) <= now.keys():
        return population_ci(base), unknown, unknown
    later = [now[problem] for problem in ids]
    return population_ci(base), population_ci(later), population_diff_ci(later, base)
