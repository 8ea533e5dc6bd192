"""Fits the probes of a run into a token budget: first longer intervals, then a cheaper plan, then fewer problems.

The base model's own probe is not counted: it is stored and shared by all runs that start from that base, and a
schedule must not depend on whether somebody measured it before. Of the training, only the completions it trains on are
counted as certain; greedy baselines and dynamic sampling come on top and make the true share smaller. So all arms that
train on equally many rollouts from one base measure by one schedule, on one subset, and can be compared.

A subset is a systematic sample over the problems sorted by base accuracy. Every problem has the same chance to be in
it, so plain means over the subset, and paired differences to the base on the subset, are unbiased for all problems and
need no weights. Intervals treat the subset as an independent sample. As it is spread over the accuracies, it varies
less than one, so the intervals are on the safe side.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlvr.statistics.plan import PLANS, SamplingPlan
from rlvr.types import Counts, UserError

CHEAPER = {"fixed": ("balanced", "cheap"), "reference-512": ("balanced", "cheap"), "balanced": ("cheap",)}
"""What may replace a plan to stay within the budget, the dearer one first."""
FEWEST = 32
"""Below this number of problems no interval of pass@256 says anything."""
RESERVE = 1.35
"""What a trained model's probe may take, in units of what it would take if the model still answered as the base does.
Problems that training makes harder draw more samples than those that it makes easier save: 141 probes of lab
runs, after 15 to 300 steps, took 0.59 to 1.51 times as much, median 1.18, 95% at most 1.34. To stop a probe that takes
too much would bias it."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What the probes of a run may cost, and what of the run is known beforehand."""

    share: float
    """Largest share of generated tokens, probes / (probes + training), in (0, 1); the base's probe left out."""
    steps: int
    """Optimizer steps of the run."""
    rollouts: int
    """Completions that the whole run trains on."""
    max_new_tokens: int
    """Longest of them, in tokens."""
    of_all_sets: float | None = None
    """Of a run with several probe sets: the share that all of them may take together; `share` is one set's part."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """When, how and on how many problems the trained model is probed."""

    every: int
    plan: str
    problems: int
    cost: float
    """Forecast of all probes after the base together, if the model answers as the base does; in the costs' unit."""
    share: float
    """cost / (cost + what the training is certain to generate)."""
    most: float
    """The share if the probes take `RESERVE` times as much; this must not exceed the budget."""


def nearest(
    budget: float, *, steps: int, every: int, problems: int, cost_per_problem: Mapping[str, float], training: float,
    reserve: float = RESERVE,
) -> Schedule:
    """The schedule nearest to what was asked for that fits the budget; if none does, the one that takes least.

    The interval doubles until only the last step is probed; then the plan gets cheaper; then the problems are halved
    down to 32.

    Args:
        every, problems: what was asked for, an upper bound of what is chosen.
        cost_per_problem: plan -> expected cost of one problem in one probe; the plan asked for first, then cheaper
            ones. In tokens, or in samples where a probe sample is taken to cost what a training sample costs.
        training: what the training will generate at least, in the same unit.
        reserve: how many times the forecast must fit.
    """
    schedules = list(_ladder(steps, every, problems, cost_per_problem, training, reserve))
    fitting = (schedule for schedule in schedules if schedule.most <= budget)
    return next(fitting, None) or min(schedules, key=lambda schedule: schedule.most)


def fit(
    budget: float, *, steps: int, every: int, problems: int, cost_per_problem: Mapping[str, float], training: float,
    reserve: float = RESERVE, of_all_sets: float | None = None,
) -> Schedule:
    """As `nearest`. Raises UserError with settings that would fit if even the cheapest schedule takes more.

    `of_all_sets`: the budget of several probe sets, of which `budget` is one set's part.
    """
    schedule = nearest(budget, steps=steps, every=every, problems=problems, cost_per_problem=cost_per_problem,
                       training=training, reserve=reserve)
    if schedule.most <= budget:
        return schedule
    enough = math.ceil(steps * reserve * schedule.cost * (1 - budget) / (budget * training))
    whose = "" if of_all_sets is None else f", of which one set has {budget:.3g}"
    raise UserError(
        f"probes.budget: found {of_all_sets or budget:g}{whose}, but a single probe of {schedule.problems} problems "
        f"already takes up to {schedule.most:.1%} of what this run generates; raise {'that part' if whose else 'it'} "
        f"to {math.ceil(1000 * schedule.most) / 1000:g}, train for at least {enough:,} steps, or switch the probes off "
        "(probes.enabled=false)"
    )


def choose(
    budget: Budget, rows: Sequence[Mapping[str, Any]], *, every: int, name: str, plan: SamplingPlan, largest_k: int
) -> Schedule:
    """The schedule for a base whose probe is known; costs are in tokens.

    Args:
        rows: of the base's probe, one per problem: problem_id, n, c, tokens, length.
        every, name, plan: what was asked for; `plans_for` adds what may replace the plan.

    A problem is forecast at the base's success rate (c + 1/2) / (n + 1) and tokens per sample; a training completion
    is taken to be as long as the base's completions of the probe problems, up to the training's own limit.

    Raises: UserError as `fit` does.
    """
    length = sum(min(row["length"], budget.max_new_tokens) for row in rows) / len(rows)
    costs = {each: expected_tokens(rows, one) for each, one in plans_for(name, plan, largest_k).items()}
    return fit(budget.share, steps=budget.steps, every=every, problems=len(rows), cost_per_problem=costs,
               training=budget.rollouts * length, of_all_sets=budget.of_all_sets)


def plans_for(name: str, plan: SamplingPlan, largest_k: int) -> dict[str, SamplingPlan]:
    """The plan asked for, then the cheaper ones that can estimate pass@largest_k."""
    cheaper = {each: PLANS[each] for each in CHEAPER.get(name, ()) if PLANS[each].max_samples >= largest_k}
    return {name: plan, **cheaper}


def expected_tokens(rows: Sequence[Mapping[str, Any]], plan: SamplingPlan) -> float:
    """Mean tokens per problem of `plan` for a model that answers as the base did in the probe with these rows."""
    return sum(
        plan.expected_samples((row["c"] + 0.5) / (row["n"] + 1)) * row["tokens"] / row["n"] for row in rows
    ) / len(rows)


def stratified(base_counts: Sequence[Counts], size: int, seed: int | str) -> list[str]:
    """Ids of `size` problems, spread evenly over the base's accuracies, in the order of `base_counts`.

    A systematic sample of the problems sorted by base accuracy, with a random start: every problem has the same chance,
    so means over the subset are unbiased for all, and its mix of easy and hard ones hardly varies.
    """
    ordered = sorted(base_counts, key=lambda counts: (counts.c / counts.n, counts.problem_id))
    chosen = {ordered[i].problem_id for i in systematic(len(ordered), size, random.Random(f"{seed}/probe subset"))}
    return [counts.problem_id for counts in base_counts if counts.problem_id in chosen]


def systematic(total: int, size: int, rng: random.Random) -> list[int]:
    """`size` of the places 0..total-1, total / size apart from a random start; each has the chance size / total."""
    step = total / size
    start = rng.random() * step
    return [int(start + i * step) for i in range(size)]


def in_words(schedule: Mapping[str, Any]) -> str:
    """A recorded schedule (the `schedule` of the base's row in boundary.jsonl) as one line."""
    whole = schedule["problems"] == schedule["of"]
    which = (f"all {schedule['of']} problems" if whole else
             f"{schedule['problems']} of {schedule['of']} problems (spread over the base's accuracies)")
    share = f"{100 * schedule['share']:.1f} to {schedule['most']:.1%}"
    return (f"probes within {100 * schedule['budget']:.3g}% of the generated tokens: every {schedule['every']} steps, "
            f"plan {schedule['plan']}, {which}; forecast {share}, the base's probe left out")


def _ladder(
    steps: int, every: int, problems: int, cost_per_problem: Mapping[str, float], training: float, reserve: float
) -> Iterator[Schedule]:
    intervals = [min(every, steps)]
    while intervals[-1] < steps:
        intervals.append(min(2 * intervals[-1], steps))
    sizes = [problems]
    while sizes[-1] > FEWEST:
        sizes.append(max(sizes[-1] // 2, FEWEST))
    plan, *cheaper = cost_per_problem
    rungs = [(interval, plan, problems) for interval in intervals]
    rungs += [(steps, name, problems) for name in cheaper]
    rungs += [(steps, (plan, *cheaper)[-1], size) for size in sizes[1:]]
    for interval, name, size in rungs:
        cost = math.ceil(steps / interval) * size * cost_per_problem[name]
        most = reserve * cost
        yield Schedule(interval, name, size, cost, cost / (cost + training), most / (most + training))


DIFFICULTIES = {
    "easy (trained model on MATH500)": (0.371, 0.124),
    "medium (7B base model on MATH500)": (0.581, 1.10),
    "hard (7B base model on Omni-MATH)": (0.218, 1.96),
}
"""Beta distributions of the success probability that fit published mean pass@1 and pass@256 (2504.13837)."""


def mixed_of_beta(a: float, b: float, group_size: int) -> float:
    """Share of mixed groups if success probabilities are Beta(a, b): 1 - E[p^G] - E[(1 - p)^G]."""
    return 1 - sum(math.prod((x + i) / (a + b + i) for i in range(group_size)) for x in (a, b))
