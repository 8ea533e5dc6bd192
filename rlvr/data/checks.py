"""What the problems of a recipe must satisfy before its model loads; their gold answers: rlvr.judging.golds."""

from __future__ import annotations

from collections.abc import Sequence

from rlvr.config.recipe import Recipe
from rlvr.data.problem_sets import check_overlap
from rlvr.types import Problem, UserError


def overlap(recipe: Recipe, train: Sequence[Problem], probe: Sequence[Problem]) -> int:
    """Number of probe problems that are also trained on. Raises UserError unless there are none or they are allowed."""
    return check_overlap(
        train, probe, train_template=recipe.data.train.template, probe_template=recipe.data.probe.template,
        allow=recipe.data.allow_overlap,
    )


def check_enough(recipe: Recipe, train_problems: Sequence[Problem]) -> None:
    """Raises UserError for fewer problems than a step takes."""
    if len(train_problems) < recipe.train.prompts_per_step:
        raise UserError(
            f"data.train: {len(train_problems)} problems cannot fill a step of train.prompts_per_step = "
            f"{recipe.train.prompts_per_step}; use more data or fewer prompts per step"
        )


