"""The part of a recipe that a probe without training needs; the recipe of a training adds to it.

What measures, judges, forecasts or reports a probe takes a recipe with one probe set. One with several (`data.probe` as
a mapping) is as many recipes, `of_sets`: that of the run with the set's problems as `data.probe`, and with the keys of
`probes` that the set replaces.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from rlvr.config.checks import check_probes
from rlvr.config.data import OWN, DataSpec, ProbeData, by_name, path_of
from rlvr.config.fields import Name, Seed
from rlvr.config.probes import ProbeSection
from rlvr.config.sections import JudgeSection, ModelSpec
from rlvr.config.strict import to_tree
from rlvr.types import Decoding, UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRecipe:
    """What to measure, on which problems, and how."""

    name: Name
    """Letters, digits, `.`, `_`, `-`: directories are named after it."""
    model: ModelSpec | None
    """The base model. null: the samples were drawn elsewhere."""
    data: ProbeData
    """Where the problems come from."""
    probes: ProbeSection
    """How the boundary is measured."""
    seed: Seed = 0
    """Seed of all random numbers, from 0 to 2**32 - 1. A sample depends on (seed, step, problem, sample) alone."""
    judge: JudgeSection = field(default_factory=JudgeSection)
    """The worker processes that run verifiers."""

    @property
    def probe_decoding(self) -> Decoding:
        return Decoding(self.probes.temperature, self.probes.top_p, self.probes.max_new_tokens)


R = TypeVar("R", bound=ProbeRecipe)


def of_sets(recipe: R) -> dict[str, R]:
    """Name of each probe set -> its recipe, the first set first; {"": recipe} for one set, which has no name.

    Conditions (`probes.arms`) and `train.stop_on` stay with the first.
    """
    if isinstance(recipe.data.probe, DataSpec):
        return {"": recipe}
    first = next(iter(recipe.data.probe))
    return {name: _of_set(recipe, spec, first=name == first) for name, spec in recipe.data.probe.items()}


def own_set(recipe: R) -> R:
    """The recipe with the run's own probe set alone, of several the first."""
    return next(iter(of_sets(recipe).values()))


def sole_set(recipe: R, what: str) -> R:
    """The recipe itself if it has one probe set. UserError if it has several, of which `what` takes one."""
    if not isinstance(recipe.data.probe, DataSpec):
        names = list(recipe.data.probe)
        raise UserError(f"found {len(names)} probe sets ({', '.join(names)}), expected one for {what}; choose one with "
                        "data.probe='{source: ..., ...}'", where="data.probe")
    return recipe


def _of_set(recipe: R, spec: DataSpec, *, first: bool) -> R:
    own = {key: value for key in OWN if (value := getattr(spec, key)) is not None}
    data = DataSpec(**{field.name: getattr(spec, field.name) for field in dataclasses.fields(DataSpec)})
    others: dict[str, Any] = {}
    if not first:
        own["arms"] = {}
        if train := getattr(recipe, "train", None):
            others["train"] = dataclasses.replace(train, stop_on=None)
    return dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, probe=data),
                               probes=dataclasses.replace(recipe.probes, **own), **others)


def trees_of_sets(tree: Mapping[str, Any], recipes: Mapping[str, ProbeRecipe]) -> dict[str, dict[str, Any]]:
    """Name -> what recipe.json of the set's own directory says: `tree`, that of the run, with the set's data and
    probes."""
    parts = {name: to_tree(recipe) for name, recipe in recipes.items()}
    return {name: {**tree, **{key: part[key] for key in ("data", "probes", "train") if key in part}, "set": name}
            for name, part in parts.items()}


@contextmanager
def told_of_set(name: str, spec: DataSpec) -> Iterator[None]:
    """An error about a key of `probes` in this block names the set, and the set's own key where it has one."""
    try:
        yield
    except UserError as error:
        if not name or not error.where.startswith("probes."):
            raise
        key, path = error.where.removeprefix("probes."), path_of("data.probe", name)
        if getattr(spec, key, None) is not None and key in OWN:
            raise UserError(str(error).removeprefix(f"{error.where}: "), where=f"{path}.{key}") from None
        raise error.within(path) from None


def data_of_sets(recipe: ProbeRecipe) -> Mapping[str, DataSpec]:
    """Name -> data section of each probe set."""
    return by_name(recipe.data.probe)


@dataclass(frozen=True)
class ProbeRequest:
    """A recipe and the models to measure with it."""

    recipe: ProbeRecipe
    models: dict[int, str]
    """Step -> `lab`, hub id or directory, by step; empty: the base alone. Step 0, the base, is not among them."""
    decoding_given: bool
    """Whether temperature, top_p and token limit were stated and are not mere defaults."""
    own_problems: bool = False
    """Whether the problems are those in the files of samples, and not those of `recipe.data`."""
    schedule: Mapping[str, Any] | None = None
    """What the run that the models come from chose for its `probes.budget`; None without one."""


def validate_probe(recipe: ProbeRecipe) -> None:
    """Check what the types of single fields do not say. Raises UserError with path, found, expected and the way out."""
    for name, one in of_sets(recipe).items():
        with told_of_set(name, data_of_sets(recipe)[name]):
            check_probes(one.probes, one.data, name)
