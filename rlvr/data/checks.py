"""What the problems of a recipe must satisfy before its model loads; their gold answers: rlvr.judging.golds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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


def check_prompt_lengths(tokenizer: Any, problems: Sequence[Problem], limit: int) -> None:
    """Raises UserError for the longest prompt if it exceeds the limit: a cut problem is another problem."""
    from rlvr.models.sampler import prompt_ids

    lengths = {}
    for problem in problems:
        try:
            lengths[problem.id] = len(prompt_ids(tokenizer, problem))
        except Exception as error:  # tokenizers and chat templates raise what they like
            raise UserError(f"problem {problem.id!r}: the tokenizer of model.path cannot render its prompt "
                            f"({str(error).splitlines()[0]}); use a model and a template that fit the data") from error
    longest = max(lengths, key=lengths.__getitem__, default=None)
    if longest is not None and lengths[longest] > limit:
        over = sum(n > limit for n in lengths.values())
        raise UserError(
            f"train.max_prompt_tokens: found {limit}, but problem {longest!r} has {lengths[longest]} prompt tokens "
            f"({over} of {len(problems)} problems are longer); raise the limit or drop them from the data"
        )
