"""The recipe of a distillation on the lab (rlvr.training.distillation): what it puts in place of a training's."""

from __future__ import annotations

import dataclasses

from rlvr.config.data import LAB, DataSpec
from rlvr.config.probe_recipe import sole_set
from rlvr.config.recipe import Recipe
from rlvr.types import UserError

CANDIDATES = 2048
"""Training problems to choose from: half of those that the quickstart's RL trains on."""
RARELY = 0.05
"""A problem is taught if the base's exact success probability is below this: 1,005 of the 2,048 are. Taught only those
below 0.02, the model forgets: after 300 steps exact pass@256 on `test` was 94.2%, where the base has 98.0%."""
BATCH_SIZE = 64
LEARNING_RATE = 3e-4
WARMUP_STEPS = 20


def distilled(recipe: Recipe) -> Recipe:
    """`recipe` with what distillation does in place of what reinforcement learning would do: what recipe.json says.

    Raises UserError unless the recipe trains the lab's base and probes the lab's problems of another split than those
    that are taught, and for a budget or arms of the probes.
    """
    sole_set(recipe, "a distillation")
    for where, value in (("model.path", recipe.model.path), ("data.probe.source", recipe.data.probe_set.source)):
        if value != LAB:
            raise UserError(f"{where}: found {value!r}, expected 'lab': only there a solver knows all right answers")
    if recipe.data.probe_set.split == "train":
        raise UserError("data.probe.split: found 'train', whose problems are taught; expected 'test' or 'hard'")
    if not recipe.probes.enabled:
        raise UserError("probes.enabled: found false, expected true: the boundary is what distillation is run for")
    if recipe.probes.budget is not None:
        raise UserError(f"probes.budget: found {recipe.probes.budget:g}, a share of the generated tokens, and "
                        "distillation generates none; set it to null and choose probes.every, plan and problems")
    if recipe.probes.arms:
        raise UserError(f"probes.arms: found {', '.join(recipe.probes.arms)}, but a distillation measures none; remove "
                        "them here and give them to `rlvr probe RUN` afterwards")
    steps = recipe.train.steps
    return dataclasses.replace(
        recipe,
        algorithm={"name": "distillation", "base_success_below": RARELY, "answers_per_step": BATCH_SIZE},
        data=dataclasses.replace(recipe.data, train=DataSpec(source=LAB, split="train", size=CANDIDATES)),
        train=dataclasses.replace(
            recipe.train, learning_rate=LEARNING_RATE, lr_schedule="cosine",
            warmup_steps=min(WARMUP_STEPS, steps // 10), weight_decay=0.0,
        ),
    )
