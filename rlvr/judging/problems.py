"""The problems of a recipe, made ready in one place: loaded, compared with each other, their gold answers judged.

Training, `rlvr check`, `rlvr probe` and `rlvr lab distill` all begin here. What depends on a tokenizer, such as the
length of a prompt, is checked where the tokenizer is loaded (rlvr.models.prompts).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from rlvr.config.data import by_name, path_of
from rlvr.config.mixture import most_per_step
from rlvr.config.probe_recipe import ProbeRecipe, data_of_sets
from rlvr.config.recipe import Recipe
from rlvr.data.load import load_problems
from rlvr.data.problem_sets import check_overlap
from rlvr.judging.golds import GoldJudge, Section, usable
from rlvr.types import Problem, UserError


@dataclass(frozen=True)
class ProblemSets:
    """What is trained on and what the boundary is measured on; either may be empty."""

    sources: Mapping[str, list[Problem]] = field(default_factory=dict)
    """Name -> its problems to train on, each with an id that begins with the name; of `data.train` without names one
    source, named ""."""
    sets: Mapping[str, list[Problem]] = field(default_factory=dict)
    """Name -> the problems of a probe set, the run's own first; of `data.probe` without names one, named ""."""
    shared: int = 0
    """Probe problems that are also trained on (`data.allow_overlap`)."""
    rejected: int = 0
    """Problems that were left out because their verifier rejects their gold answer (`drop_bad_golds`)."""
    too_long: int = 0
    """Training problems that were left out because of their long prompts (`data.prompts_too_long`)."""

    @property
    def train(self) -> list[Problem]:
        """Of all sources."""
        return [problem for problems in self.sources.values() for problem in problems]

    @property
    def probe(self) -> list[Problem]:
        """Of all probe sets."""
        return [problem for problems in self.sets.values() for problem in problems]


def load_problem_sets(recipe: Recipe) -> ProblemSets:
    """The problems of a training and, if its probes are enabled, those of its probes.

    Raises: UserError for a source that cannot be read, a probe problem that is also trained on, and fewer problems than
        a step takes.
    """
    sources = {}
    for name, spec in by_name(recipe.data.train).items():
        found = load_problems(spec, where=path_of("data.train", name))
        sources[name] = [dataclasses.replace(each, id=f"{name}/{each.id}") for each in found] if name else found
    sets = load_probe_set(recipe).sets if recipe.probes.enabled else {}
    shared = sum(
        check_overlap(train, probe, train_template=by_name(recipe.data.train)[source].template,
                      probe_template=data_of_sets(recipe)[name].template, allow=recipe.data.allow_overlap)
        for name, probe in sets.items() for source, train in sources.items())
    _check_enough(recipe, sources)
    return ProblemSets(sources, sets, shared)


def load_probe_set(recipe: ProbeRecipe) -> ProblemSets:
    """The problems of a recipe's probes alone. Raises UserError for a source that cannot be read."""
    return ProblemSets(sets={name: load_problems(spec, where=path_of("data.probe", name))
                             for name, spec in data_of_sets(recipe).items()})


def with_usable_golds(recipe: ProbeRecipe, problems: ProblemSets, judge: GoldJudge) -> ProblemSets:
    """Without the problems whose verifier rejects their gold answer: those of training, then those of the probes.

    Raises: UserError for a section with such problems unless its `drop_bad_golds` is set, for a section of which
        nothing is left, and for fewer training problems left than a step takes.
    """
    sections = [Section(path_of("data.probe", name), data_of_sets(recipe)[name], found)
                for name, found in problems.sets.items()]
    if problems.sources:
        assert isinstance(recipe, Recipe)
        specs = by_name(recipe.data.train)
        sections = [*(Section(path_of("data.train", name), specs[name], found)
                      for name, found in problems.sources.items()), *sections]
    kept = usable(judge, sections)
    sources = dict(zip(problems.sources, kept, strict=False))
    sets = dict(zip(problems.sets, kept[len(sources):], strict=True))
    if isinstance(recipe, Recipe) and sources:
        _check_enough(recipe, sources)
    rejected = sum(len(section.problems) for section in sections) - sum(map(len, kept))
    return dataclasses.replace(problems, sources=sources, sets=sets, rejected=rejected)


def with_short_prompts(recipe: Recipe, problems: ProblemSets, short: Collection[Problem]) -> ProblemSets:
    """With the training problems `short` alone, where the others' prompts are too long (`data.prompts_too_long`).

    Raises: UserError for fewer problems left than a step takes.
    """
    too_long = len(problems.train) - len(short)
    if not too_long:
        return problems
    ids = {problem.id for problem in short}
    sources = {name: [each for each in found if each.id in ids] for name, found in problems.sources.items()}
    _check_enough(recipe, sources)
    return dataclasses.replace(problems, sources=sources, too_long=too_long)


def _check_enough(recipe: Recipe, sources: Mapping[str, list[Problem]]) -> None:
    for name, need in most_per_step(recipe.data.train, recipe.train.prompts_per_step).items():
        if name in sources and len(sources[name]) < need:
            whole = f"train.prompts_per_step = {recipe.train.prompts_per_step}"
            raise UserError(
                f"{path_of('data.train', name)}: {len(sources[name])} problems cannot fill a step of "
                f"{f'its {need} prompts of {whole}' if name else whole}; use more data or fewer prompts per step"
            )
