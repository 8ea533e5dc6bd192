"""The problems of a recipe, made ready in one place: loaded, compared with each other, their gold answers judged.

Training, `rlvr check`, `rlvr probe` and `rlvr lab distill` all begin here. What depends on a tokenizer, such as the
length of a prompt, is checked where the tokenizer is loaded (rlvr.models.prompts).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from rlvr.config.probe_recipe import ProbeRecipe
from rlvr.config.recipe import Recipe
from rlvr.data.load import load_problems
from rlvr.data.problem_sets import check_overlap
from rlvr.judging.golds import GoldJudge, Section, usable
from rlvr.types import Problem, UserError


@dataclass(frozen=True)
class ProblemSets:
    """What is trained on and what the boundary is measured on; either may be empty."""

    train: list[Problem] = field(default_factory=list)
    probe: list[Problem] = field(default_factory=list)
    shared: int = 0
    """Probe problems that are also trained on (`data.allow_overlap`)."""
    rejected: int = 0
    """Problems that were left out because their verifier rejects their gold answer (`drop_bad_golds`)."""
    too_long: int = 0
    """Training problems that were left out because of their long prompts (`data.prompts_too_long`)."""


def load_problem_sets(recipe: Recipe) -> ProblemSets:
    """The problems of a training and, if its probes are enabled, those of its probes.

    Raises: UserError for a source that cannot be read, a probe problem that is also trained on, and fewer problems than
        a step takes.
    """
    train = load_problems(recipe.data.train, where="data.train")
    probe = load_problems(recipe.data.probe, where="data.probe") if recipe.probes.enabled else []
    shared = check_overlap(train, probe, train_template=recipe.data.train.template,
                           probe_template=recipe.data.probe.template, allow=recipe.data.allow_overlap)
    _check_enough(recipe, train)
    return ProblemSets(train, probe, shared)


def load_probe_set(recipe: ProbeRecipe) -> ProblemSets:
    """The problems of a recipe's probes alone. Raises UserError for a source that cannot be read."""
    return ProblemSets(probe=load_problems(recipe.data.probe, where="data.probe"))


def with_usable_golds(recipe: ProbeRecipe, problems: ProblemSets, judge: GoldJudge) -> ProblemSets:
    """Without the problems whose verifier rejects their gold answer: those of training, then those of the probes.

    Raises: UserError for a section with such problems unless its `drop_bad_golds` is set, for a section of which
        nothing is left, and for fewer training problems left than a step takes.
    """
    sections = [Section("data.probe", recipe.data.probe, problems.probe)]
    if problems.train:
        assert isinstance(recipe, Recipe)
        sections.insert(0, Section("data.train", recipe.data.train, problems.train))
    *train, probe = usable(judge, sections)
    kept = dataclasses.replace(
        problems, train=train[0] if train else [], probe=probe,
        rejected=len(problems.train) + len(problems.probe) - sum(map(len, train)) - len(probe),
    )
    if isinstance(recipe, Recipe) and kept.train:
        _check_enough(recipe, kept.train)
    return kept


def with_short_prompts(recipe: Recipe, problems: ProblemSets, short: list[Problem]) -> ProblemSets:
    """With the training problems `short` alone, where the others' prompts are too long (`data.prompts_too_long`).

    Raises: UserError for fewer problems left than a step takes.
    """
    if len(short) < len(problems.train):
        _check_enough(recipe, short)
    return dataclasses.replace(problems, train=short, too_long=len(problems.train) - len(short))


def _check_enough(recipe: Recipe, train: list[Problem]) -> None:
    if len(train) < recipe.train.prompts_per_step:
        raise UserError(
            f"data.train: {len(train)} problems cannot fill a step of train.prompts_per_step = "
            f"{recipe.train.prompts_per_step}; use more data or fewer prompts per step"
        )
