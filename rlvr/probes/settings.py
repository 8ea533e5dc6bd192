"""How the boundary is measured: the settings of a Prober, and those that a recipe asks for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rlvr.config.probe_recipe import ProbeRecipe, data_of_sets
from rlvr.config.registry import resolve
from rlvr.statistics.plan import PLANS, SamplingPlan
from rlvr.statistics.schedule import Budget
from rlvr.types import DEFAULT_KS, Decoding, Problem, UserError

if TYPE_CHECKING:
    from rlvr.probes.models import Truth


@dataclass(frozen=True, kw_only=True)
class ProbeSettings:
    """What all probes of a run have in common. Raises UserError for a k that a plan cannot estimate."""

    plan: str | SamplingPlan = "balanced"
    """A name in `rlvr.statistics.plan.PLANS`, or a plan: when a problem stops being sampled."""
    base_plan: str | SamplingPlan = "reference-512"
    """The plan of step 0, the base."""
    decoding: Decoding = field(default_factory=lambda: Decoding(temperature=0.6, top_p=0.95))
    ks: Sequence[int] = DEFAULT_KS
    """The k of pass@k; at most the largest number of samples of either plan."""
    seed: int = 0
    """With step, problem id and sample index it determines every draw."""
    batch_size: int = 256
    """Completions per generation batch over all processes."""
    every: int = 1
    """Optimizer steps between the probes of a training; the first is at step 0 (the base), the last at the end."""
    planned_looks: int | None = None
    """Probes after the base over which the verdicts `shrunk | not shrunk | undecided` must hold. None: in a training
    from its steps and `every`, elsewhere unknown (the error is then spent more slowly). A resumed run keeps the number
    it began with."""
    budget: Budget | None = None
    """What the probes after the base may take. `every`, `plan` and the problems are then upper bounds: once the base is
    measured, `rlvr.statistics.schedule.choose` makes them cheaper until they fit. The run keeps to that schedule, which
    the base's row in boundary.jsonl records. Of the base, the run keeps the rows of the problems that are probed again
    (its samples file and the baseline store hold them all), so every number of the run is of one set of problems."""
    baselines: str | Path | None = None
    """Folder of the base measurements that runs share; None: `$RLVR_CACHE/baselines`."""
    versions: Mapping[str, str] | None = None
    """Verifier name -> version, part of the key of a base measurement; None: those of the problems' verifiers."""
    model_config: Mapping[str, Any] = field(default_factory=dict)
    """What a recipe changes in the model's config: the weights do not show it, so it is part of the key of a base
    measurement."""
    answer_keys: Mapping[str, Callable[[str], str]] = field(default_factory=dict)
    """Verifier name -> canonical form of an answer (`Verifier.answer_key`), for the guess rates. Answers of verifiers
    that are missing here are compared as stripped text."""

    def __post_init__(self) -> None:
        for plan in (self.plan, self.base_plan):
            named_plan(plan).plan.unsolved_F(max(self.ks))


class NamedPlan(NamedTuple):
    """A sampling plan and the name that the run directory records."""

    name: str
    plan: SamplingPlan


def named_plan(plan: str | SamplingPlan) -> NamedPlan:
    """The plan of this name; a plan that has none is named by its numbers."""
    if isinstance(plan, str):
        return NamedPlan(plan, PLANS[plan])
    for name, known in PLANS.items():
        if plan == known:
            return NamedPlan(name, plan)
    return NamedPlan(f"checkpoints={list(plan.checkpoints)} stop_at={list(plan.stop_at)}", plan)


def probe_settings(recipe: ProbeRecipe, problems: Sequence[Problem], **others: Any) -> ProbeSettings:
    """What a recipe says of its probes, which measure `problems`; `others` are fields to set instead."""
    probes = recipe.probes
    settings = ProbeSettings(
        plan=probes.plan,
        base_plan=probes.base_plan,
        decoding=recipe.probe_decoding,
        ks=probes.ks,
        seed=recipe.seed,
        batch_size=probes.batch_size,
        baselines=probes.baselines,
        model_config={} if recipe.model is None else recipe.model.config,
        answer_keys={p.verifier: resolve("verifiers", p.verifier).answer_key for p in problems},
    )
    return dataclasses.replace(settings, **others)


def verifier_versions(problems: Sequence[Problem]) -> dict[str, str]:
    """Version of every verifier that the problems name. A judge of the caller's own may know names that the registry
    does not: those are "unversioned"."""
    versions = {}
    for name in sorted({problem.verifier for problem in problems} - {""}):
        try:
            versions[name] = resolve("verifiers", name).version
        except UserError:
            versions[name] = "unversioned"
    return versions


def truth_for(recipe: ProbeRecipe, tokenizer: Any) -> Truth | None:
    """Exact success probabilities, for the lab's problems and models with the lab's vocabulary. Of several probe sets
    all have to be the lab's."""
    if any(data.source != "lab" for data in data_of_sets(recipe).values()):
        return None
    from rlvr.lab.exact import exact_success
    from rlvr.lab.model import is_lab_tokenizer

    return exact_success if is_lab_tokenizer(tokenizer) else None
