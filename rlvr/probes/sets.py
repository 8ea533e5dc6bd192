"""Several probe sets in one run (`data.probe` as a mapping): each is measured like the one of any run.

The first set is the run's own: its files lie in the run directory, as those of a run with one set. Every other has a
run directory of its own, RUN/sets/NAME, with recipe, problems, counts, samples and estimates, and resumes like a run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic

from rlvr.config.probe_recipe import R, of_sets, trees_of_sets
from rlvr.data.problem_sets import problem_rows
from rlvr.probes.budget_checks import parts_of_budget
from rlvr.runs.run_dir import RunDir
from rlvr.types import Problem


@dataclass(frozen=True)
class ProbeSet(Generic[R]):
    """One probe set of a run."""

    name: str
    """Empty where the recipe has one set without a name."""
    recipe: R
    """The run's, with this set alone."""
    problems: list[Problem]
    run: RunDir
    beside: tuple[RunDir, ...]
    """Where the other sets of the run are."""
    part: float
    """Its part of `probes.budget`."""


def sets_of(recipe: R, problems: Mapping[str, list[Problem]], run: RunDir) -> list[ProbeSet[R]]:
    """The probe sets of a recipe, the run's own first; `problems` by name, after bad golds were left out."""
    recipes = of_sets(recipe)
    homes = {name: run.probe_set(name) if place else run for place, name in enumerate(recipes)}
    parts = parts_of_budget({name: len(problems[name]) for name in recipes})
    return [ProbeSet(name, one, problems[name], homes[name],
                     tuple(home for other, home in homes.items() if other != name), parts[name])
            for name, one in recipes.items()]


def open_sets(sets: Sequence[ProbeSet[Any]], tree: Mapping[str, Any], *, lab: bool) -> None:
    """Make the run directories of the sets after the first, or compare their recipes with those there. `tree` is the
    recipe of the run, whose own directory is open already. On one process."""
    trees = trees_of_sets(tree, {each.name: each.recipe for each in sets})
    for each in sets[1:]:
        home = RunDir.create(each.run.path, resume=True, quiet=True)  # the run itself was new, or is resumed
        home.write_start(trees[each.name], problem_rows(each.problems), lab=lab)
