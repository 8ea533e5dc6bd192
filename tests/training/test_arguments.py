"""A recipe as the arguments of TRL and PEFT: every field of GRPOConfig is ours by name or passes by `train.trl`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from trl.trainer.grpo_config import GRPOConfig

from rlvr.algorithms.grpo import GRPO
from rlvr.algorithms.grpo import GRPOConfig as Settings
from rlvr.config.fields import below
from rlvr.config.foreign_keys import TRL, Here
from rlvr.config.recipe import Recipe, load_recipe
from rlvr.config.registry import resolve
from rlvr.config.sections import RolloutCorrection, VllmSpec
from rlvr.runs.run_dir import RunDir
from rlvr.training.arguments import check_names, own_arguments, peft_config, training_arguments
from rlvr.training.trl_settings import give_loss_settings
from rlvr.types import UserError

FIELDS = {field.name: field for field in dataclasses.fields(GRPOConfig)}
LAB = "recipes/quickstart/lab_grpo.yaml"


class Written(dict[str, Any]):
    """Notes the attributes that are set on it."""

    max_grad_norm = 0.0

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value


def set_by_rlvr(folder: Path) -> set[str]:
    """The fields that code sets, with everything switched on."""
    recipe = load_recipe(LAB)
    engine = dataclasses.replace(recipe.train, vllm=VllmSpec(), rollout_correction=RolloutCorrection())
    written = Written()
    give_loss_settings(GRPO(Settings()), written)  # type: ignore[arg-type]
    return {*own_arguments(dataclasses.replace(recipe, train=engine), RunDir(folder)), *written}


def test_a_field_is_ours_or_passes(tmp_path: Path) -> None:
    """What rlvr sets is in the table, so `train.trl` refuses it; nothing else of TRL is refused by accident."""
    ours = set_by_rlvr(tmp_path)
    assert "beta" in ours and "vllm_importance_sampling_mode" in ours and len(ours) > 40  # else this tests nothing
    assert ours & FIELDS.keys() <= TRL.keys() <= FIELDS.keys()
    passing = {name: field.default for name, field in FIELDS.items() if name not in TRL}
    recipe = load_recipe(LAB)
    trl = {name: value for name, value in passing.items() if value is not dataclasses.MISSING}
    args = training_arguments(dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, trl=trl)),
                              RunDir(tmp_path))
    assert {"adam_epsilon", "torch_compile", "cast_lm_head_to_fp32", "sync_ref_model"} <= trl.keys()
    assert args.adam_epsilon == 1e-8 and args.max_steps == recipe.train.steps


@pytest.mark.parametrize(("name", "here"), [(name, here) for name, here in TRL.items() if here.key is not None])
def test_a_counterpart_is_a_key_of_a_recipe(name: str, here: Here) -> None:
    assert here.key is not None
    section, *path = here.key.split(".")
    if section == "algorithm":
        settings = [{field.name for field in dataclasses.fields(resolve("algorithms", algorithm).Config)}
                    for algorithm in ("grpo", "dapo")]
        assert path == ["name"] or path[0] in settings[0] | settings[1], name
        return
    hint: Any = Recipe
    for key in (section, *path):
        hint = below(hint, key)
        assert hint is not Any, f"{name}: {here.key}"


def test_fields_pass_with_their_values(tmp_path: Path) -> None:
    args = training_arguments(load_recipe(LAB, ["train.trl={adam_epsilon: 1.0e-6, cast_lm_head_to_fp32: true}",
                                                "train.optim=adafactor", "train.ddp_timeout=77",
                                                "train.epochs_per_rollout=2", "train.save_every=30", "probes.every=30",
                                                "train.save_only_model=true", "train.adam_beta1=0.8",
                                                "train.adam_beta2=0.9", "train.weight_decay=0.02", "seed=5",
                                                "train.gradient_checkpointing=false", "train.max_grad_norm=0.5",
                                                "model.trust_remote_code=true", "train.warmup_steps=3",
                                                "train.keep_checkpoints=7", "train.log_every=2"]),
                              RunDir(tmp_path))
    assert (args.adam_epsilon, args.cast_lm_head_to_fp32, args.ddp_timeout) == (1e-6, True, 77)
    assert (args.optim, args.num_iterations, args.save_only_model) == ("adafactor", 2, True)
    assert (args.adam_beta1, args.adam_beta2, args.weight_decay, args.max_grad_norm) == (0.8, 0.9, 0.02, 0.5)
    assert (args.gradient_checkpointing, args.trust_remote_code, args.seed) == (False, True, 5)
    assert (args.warmup_steps, args.logging_steps, args.save_steps) == (3, 2, 30)


@pytest.mark.parametrize(("override", "message"), [
    ("train.trl.adam_epsilom=1", "^train.trl.adam_epsilom: TRL's GRPOConfig has no such field; did you mean 'adam_eps"),
    ("train.trl.torch_compile=maybe", "^train.trl.torch_compile: found 'maybe' .text., expected true or false"),
    ("train.trl.adam_epsilon=true", "^train.trl.adam_epsilon: found true .true/false., expected a number"),
    ("train.optim=adamw_8bits", "^train.optim: unknown optimizer 'adamw_8bits'; did you mean 'adamw_8bit'?"),
])
def test_names_that_there_are_not(override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_names(load_recipe(LAB, [override]).train)


@pytest.mark.parametrize(("override", "message"), [
    ("train.trl.hub_strategy=x", "^train.trl .hub_strategy.: TRL does not take it: x is not a valid HubStrategy"),
    ("train.optim=galore_adamw", "^train.optim: found 'galore_adamw', which cannot be used here: "),
])
def test_values_that_trl_does_not_take(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        training_arguments(load_recipe(LAB, [override]), RunDir(tmp_path))


def test_adapters_as_the_recipe_says() -> None:
    found = peft_config(load_recipe(LAB, ["model.lora={r: 4, dora: true, rslora: true, modules_to_save: [lm_head], "
                                          "exclude_modules: [down_proj], target_modules: [q_proj, down_proj]}"]))
    assert (found.r, found.use_dora, found.use_rslora) == (4, True, True)
    assert found.modules_to_save == ["lm_head"] and found.exclude_modules == {"down_proj"}
    plain = peft_config(load_recipe(LAB, ["model.lora={}"]))
    assert (plain.use_dora, plain.modules_to_save, plain.exclude_modules) == (False, None, None)
