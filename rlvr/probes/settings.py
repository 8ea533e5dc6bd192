"""A recipe's probes as the callback that measures them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr.config.probe_recipe import ProbeRecipe
from rlvr.config.registry import resolve
from rlvr.types import Problem

if TYPE_CHECKING:
    from rlvr.probes.callback import BoundaryProbeCallback, Truth


def probe_callback(
    recipe: ProbeRecipe, problems: Sequence[Problem], judge: Any, run_dir: Path, **live: Any
) -> BoundaryProbeCallback:
    """The recipe's probes of `problems`; `live` are the callback's further arguments (`every`, `truth`, ...)."""
    from rlvr.probes.callback import BoundaryProbeCallback

    return BoundaryProbeCallback(problems, judge=judge, run_dir=run_dir, **probe_settings(recipe, problems) | live)


def probe_settings(recipe: ProbeRecipe, problems: Sequence[Problem]) -> dict[str, Any]:
    """What a recipe says of a probe, as arguments of its callback."""
    probes = recipe.probes
    return {
        "plan": probes.plan,
        "base_plan": probes.base_plan,
        "decoding": recipe.probe_decoding,
        "ks": probes.ks,
        "seed": recipe.seed,
        "batch_size": probes.batch_size,
        "baselines": probes.baselines,
        "versions": verifier_versions(problems),
        "answer_keys": {p.verifier: resolve("verifiers", p.verifier).answer_key for p in problems},
    }


def truth_for(recipe: ProbeRecipe, tokenizer: Any) -> Truth | None:
    """Exact success probabilities, for the lab's problems and models with the lab's vocabulary."""
    if recipe.data.probe.source != "lab":
        return None
    from rlvr.lab.exact import exact_success
    from rlvr.lab.model import is_lab_tokenizer

    return exact_success if is_lab_tokenizer(tokenizer) else None


def verifier_versions(problems: Sequence[Problem]) -> dict[str, str]:
    """Version of every verifier the problems name."""
    return {name: resolve("verifiers", name).version for name in sorted({p.verifier for p in problems})}
