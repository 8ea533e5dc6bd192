"""The part of a recipe that a stand-alone probe needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rlvr.config.data import DataSpec
from rlvr.config.probes import ProbeSection
from rlvr.config.recipe import Recipe
from rlvr.config.sections import JudgeSection, ModelSpec
from rlvr.types import Decoding


@dataclass(frozen=True, slots=True)
class ProbeData:
    """What the boundary is measured on."""

    probe: DataSpec


@dataclass(frozen=True, slots=True)
class ProbeRecipe:
    """The part of a recipe that a probe needs; for every key see `rlvr.config.recipe.Recipe`."""

    name: str
    data: ProbeData
    probes: ProbeSection
    model: ModelSpec | None = None
    """The base. null: the samples were drawn elsewhere."""
    seed: int = 0
    judge: JudgeSection = field(default_factory=JudgeSection)

    @property
    def probe_decoding(self) -> Decoding:
        return Decoding(self.probes.temperature, self.probes.top_p, self.probes.max_new_tokens)


@dataclass(frozen=True)
class ProbeRequest:
    """A recipe and the models to measure with it."""

    recipe: Recipe | ProbeRecipe
    models: dict[int, str]
    """Step -> `lab`, hub id or directory, by step; empty: the base alone. Step 0, the base, is not among them."""
    decoding_given: bool
    """Whether temperature, top_p and token limit were stated and are not mere defaults."""
    schedule: Mapping[str, Any] | None = None
    """What the run that the models come from chose for its `probes.budget`; None without one."""
