"""The recipe's `probes.budget` before the run: what it is a share of, whether anything fits, and the forecast.

The schedule itself is chosen when the base has been measured (`Prober` in rlvr.probes.prober). Here it is forecast:
from a stored probe of the same base, or else for three assumed difficulties of the problems.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr.config.algorithm import build_algorithm
from rlvr.config.recipe import Recipe
from rlvr.config.steps import plan_of_steps
from rlvr.models.loading import source
from rlvr.probes.baseline import default_store, newest_probe
from rlvr.probes.settings import verifier_versions
from rlvr.statistics.plan import PLANS
from rlvr.statistics.schedule import (
    DIFFICULTIES,
    FEWEST,
    RESERVE,
    Budget,
    Schedule,
    choose,
    fit,
    mixed_of_beta,
    nearest,
    plans_for,
)
from rlvr.types import Problem

if TYPE_CHECKING:
    from rlvr.interfaces import Algorithm


def budget_of(recipe: Recipe, part: float = 1.0) -> Budget | None:
    """What the recipe's probes may take; None without a limit. `part`: the part of it that is a probe set's."""
    if recipe.probes.budget is None or not recipe.probes.enabled:
        return None
    rollouts = plan_of_steps(recipe.train, 1).total_rollouts
    per_trained = part * recipe.probes.budget / (1 - recipe.probes.budget)  # tokens of probes per token of training
    if part == 1:
        return Budget(recipe.probes.budget, recipe.train.steps, rollouts, recipe.train.max_new_tokens)
    return Budget(per_trained / (1 + per_trained), recipe.train.steps, rollouts, recipe.train.max_new_tokens,
                  recipe.probes.budget)


def parts_of_budget(sizes: Mapping[str, int | None]) -> dict[str, float]:
    """Name of each probe set, with its number of problems -> its part of the budget, in proportion to the numbers; an
    equal part for each where a number is unknown."""
    total = sum(size or 0 for size in sizes.values())
    known = total > 0 and all(sizes.values())
    return {name: (size or 0) / total if known else 1 / len(sizes) for name, size in sizes.items()}


def check_budget(recipe: Recipe, problems: Sequence[Problem], part: float = 1.0) -> None:
    """Raise UserError for a budget that is too small for a single probe.

    With a stored probe of the base its costs decide. Without one, only a budget is refused that would be too small even
    if every problem were solved in its first round, by completions as long as those of the training (or the probes' own
    limit, if that is lower).
    """
    budget = budget_of(recipe, part)
    if budget is None or not problems:
        return
    rows = stored_base(recipe, problems)
    if rows is not None:
        _chosen(recipe, budget, rows)
        return
    length = min(1.0, recipe.probes.max_new_tokens / recipe.train.max_new_tokens)
    rounds = {name: plan.first_round * length for name, plan in _plans(recipe).items()}
    fit(budget.share, steps=budget.steps, every=budget.steps, problems=min(len(problems), FEWEST),
        cost_per_problem=rounds, training=budget.rollouts, reserve=1.0, of_all_sets=budget.of_all_sets)


def stored_base(recipe: Recipe, problems: Sequence[Problem]) -> list[dict[str, Any]] | None:
    """Rows of a stored probe of the recipe's base on these problems; None if it was not measured yet.

    Found by the base's name, as weights are not read before the run: good enough for a forecast.
    """
    decoding, plan = recipe.probe_decoding, PLANS[recipe.probes.base_plan]
    store = default_store() if recipe.probes.baselines is None else Path(recipe.probes.baselines)
    stored = newest_probe(
        store, source(recipe.model.path), [problem.id for problem in problems], verifiers=verifier_versions(problems),
        decoding=[decoding.temperature, decoding.top_p, decoding.max_new_tokens],
        plan=[list(plan.checkpoints), list(plan.stop_at)],
    )
    return None if stored is None else stored["problems"]


def budget_lines(recipe: Recipe, budget: Budget, problems: Sequence[Problem], size: int | None) -> list[str]:
    """The forecast in lines; `size`: the number of problems where they were not looked up, None if unknown."""
    probes = recipe.probes
    lines = [f"at most {100 * budget.share:.3g}% of the generated tokens; not counted: the base's probe (plan "
             f"{probes.base_plan}), paid once and shared by all runs from this base"]
    rows = stored_base(recipe, problems) if problems else None
    if rows is not None:
        found = _chosen(recipe, budget, rows)
        training = found.cost / found.share - found.cost
        rates, group = [(row["c"] + 0.5) / (row["n"] + 1) for row in rows], recipe.train.group_size
        mixed = sum(1 - p**group - (1 - p) ** group for p in rates) / len(rates)
        words = f"about {found.cost:,.0f} tokens, {_shares(recipe, found, training, mixed)}"
        base = sum(row["tokens"] for row in rows)
        return [*lines, f"by the stored probe of this base ({base:,} tokens, already paid): "
                        f"{_in_words(found, budget, len(rows))}, {words}"]
    total = len(problems) or size
    if total is None:
        return [*lines, "as many problems as the source has: set data.probe.size for a forecast"]
    lines.append("no stored probe of this base yet: assuming that a probe completion is as long as one of the training")
    for name, (a, b) in DIFFICULTIES.items():
        costs = {plan: one.expected_samples_beta(a, b) for plan, one in _plans(recipe).items()}
        found = nearest(budget.share, steps=budget.steps, every=probes.every, problems=total, cost_per_problem=costs,
                        training=budget.rollouts)
        words = (f"{_in_words(found, budget, total)}, about {found.cost:,.0f} samples, "
                 f"{_shares(recipe, found, budget.rollouts, mixed_of_beta(a, b, recipe.train.group_size))}")
        if found.most > budget.share:
            words = f"nothing fits, one probe of {found.problems} problems takes up to {found.most:.1%} of all"
        lines.append(f"if problems are {name}: {words}")
    return lines


def _chosen(recipe: Recipe, budget: Budget, rows: Sequence[Mapping[str, Any]]) -> Schedule:
    probes = recipe.probes
    return choose(budget, rows, every=probes.every, name=probes.plan, plan=PLANS[probes.plan], largest_k=max(probes.ks))


def _plans(recipe: Recipe) -> dict[str, Any]:
    return plans_for(recipe.probes.plan, PLANS[recipe.probes.plan], max(recipe.probes.ks))


def _in_words(found: Schedule, budget: Budget, total: int) -> str:
    times = math.ceil(budget.steps / found.every)
    which = f"all {total}" if found.problems == total else f"{found.problems} of {total}"
    return f"every {found.every} updates ({times} in all), plan {found.plan}, {which} problems"


def _shares(recipe: Recipe, found: Schedule, training: float, mixed: float) -> str:
    """The forecast share, and what it becomes by what the algorithm generates beyond the rollouts it trains on."""
    words = f"{100 * found.share:.1f} to {found.most:.1%} of all"
    times = generated_per_used(build_algorithm(recipe), recipe.train.group_size, mixed)
    if times == 1.0:
        return words
    low, high = (part * found.cost / (part * found.cost + times * training) for part in (1.0, RESERVE))
    return f"{words}; {100 * low:.1f} to {high:.1%} if {times:.3g} times as much is generated as trained on"


def generated_per_used(algorithm: Algorithm[Any], group_size: int, mixed: float) -> float:
    """Rollouts generated per rollout trained on, where the share `mixed` of groups has right and wrong rollouts.

    A greedy baseline adds one per group. Dynamic sampling draws whole batches until enough groups are mixed, at most
    as many as the algorithm allows.
    """
    needs, factor = algorithm.needs, 1.0
    if needs.group_filter:
        most = algorithm.group_filter.max_batches or math.inf
        factor = min(math.ceil(1 / max(mixed, 1e-6) - 1e-9), most)
    return factor + (1 / group_size if needs.greedy_baseline else 0)
