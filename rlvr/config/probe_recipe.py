"""The part of a recipe that a probe without training needs; the recipe of a training adds to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rlvr.config.checks import check_probes
from rlvr.config.data import ProbeData
from rlvr.config.fields import Name, Seed
from rlvr.config.probes import ProbeSection
from rlvr.config.sections import JudgeSection, ModelSpec
from rlvr.types import Decoding


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
    check_probes(recipe.probes, recipe.data)
