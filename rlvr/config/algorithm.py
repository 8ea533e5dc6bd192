"""The algorithm that a recipe names, with the settings of its section."""

from __future__ import annotations

import dataclasses
from typing import Any

from rlvr.config.fields import fields_of
from rlvr.config.recipe import Recipe
from rlvr.config.registry import resolve
from rlvr.config.strict import from_dict
from rlvr.interfaces import Algorithm
from rlvr.types import UserError


def algorithm_config(recipe: Recipe) -> Any:
    """The algorithm's own Config, read as strictly as the recipe (imports the algorithm, hence torch)."""
    config = _algorithm_class(recipe).Config
    keys = {key: value for key, value in recipe.algorithm.items() if key != "name"}
    return from_dict(config, keys, "algorithm", whole=Recipe)


def build_algorithm(recipe: Recipe) -> Algorithm[Any]:
    """The algorithm with its config, checked against the recipe's group size and on a tiny batch (imports torch)."""
    algorithm = _algorithm_class(recipe)(algorithm_config(recipe))
    least = algorithm.needs.min_group_size
    if recipe.train.group_size < least:
        raise UserError(f"found {recipe.train.group_size}, expected at least {least} for algorithm "
                        f"{recipe.algorithm_name!r}: it compares the rollouts of one prompt", where="train.group_size")
    if recipe.train.ref_sync is not None and not algorithm.needs.ref_logps:
        raise UserError(f"found {recipe.train.ref_sync}, expected null for algorithm {recipe.algorithm_name!r} as it "
                        "is set: it has no KL to a reference; set algorithm.kl_loss_coef or remove train.ref_sync",
                        where="train.ref_sync")
    if recipe.train.choose_prompts is not None and algorithm.needs.group_filter:
        raise UserError(f"found a section, expected null for algorithm {recipe.algorithm_name!r} as it is set: its "
                        "dynamic sampling draws the prompts; remove one of the two", where="train.choose_prompts")
    from rlvr.algorithms.checks import check_shapes_and_finiteness, check_token_loss

    try:  # takes milliseconds; without it a broken plug-in fails at its first step, after the base probe
        check_shapes_and_finiteness(algorithm)
        check_token_loss(algorithm)
    except AssertionError as error:
        raise UserError(f"{recipe.algorithm_name!r} fails on a small made-up batch: {' '.join(str(error).split())}; "
                        "test it with rlvr.algorithms.checks.check_algorithm", where="algorithm.name") from error
    return algorithm


def _algorithm_class(recipe: Recipe) -> type[Algorithm[Any]]:
    """The class that `algorithm.name` names. UserError for one that lacks what every algorithm must have."""
    algorithm, where = resolve("algorithms", recipe.algorithm_name), f"algorithm.name: {recipe.algorithm_name!r}"
    if not issubclass(algorithm, Algorithm):
        raise UserError(f"{where} is not an algorithm: expected a subclass of rlvr.interfaces.Algorithm, as in "
                        f"class {algorithm.__name__}(Algorithm[Config])")
    if algorithm.__abstractmethods__:
        raise UserError(f"{where} is not complete: it has no method {', '.join(sorted(algorithm.__abstractmethods__))}")
    config = getattr(algorithm, "Config", None)
    if not (isinstance(config, type) and dataclasses.is_dataclass(config)):
        raise UserError(f"{where} has no Config: expected a dataclass of its settings in the class body, as in "
                        "Config = MyConfig; it may be empty")
    try:
        fields_of(config)
    except NameError as error:
        raise UserError(f"{where}: the types of its Config cannot be read: {error}; import what they name outside of "
                        "`if TYPE_CHECKING`") from error
    return algorithm


SLOW_CRITIC = 10
"""A critic whose learning rate is this many times smaller than the policy's gets a note."""


def critic_note(algorithm: Algorithm[Any], policy_rate: float) -> str:
    """One line on a critic that learns far more slowly than the policy; empty where there is nothing to say."""
    rate = algorithm.critic.learning_rate
    if not algorithm.needs.values or rate * SLOW_CRITIC > policy_rate:
        return ""
    return (f"note: the critic's learning rate is {rate:g}, the policy's {policy_rate:g}: while the values hardly "
            "change, the advantage is just the reward; give the critic at least the policy's rate")
