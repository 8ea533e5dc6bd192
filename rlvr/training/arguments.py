"""Translates a recipe into the arguments of TRL and PEFT."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from rlvr.config.foreign_keys import TRL
from rlvr.config.recipe import Recipe
from rlvr.config.rewards import RewardSection
from rlvr.config.sections import TrainSection
from rlvr.config.steps import plan_of_steps
from rlvr.config.wording import describe, did_you_mean, first_line
from rlvr.models.loading import adapter_of
from rlvr.runs.run_dir import RunDir
from rlvr.training.processes import world_size
from rlvr.training.starting_model import load_arguments
from rlvr.types import UserError

if TYPE_CHECKING:
    from rlvr.training.reward_functions import ShapedReward


def common_arguments(recipe: Recipe, run_dir: RunDir) -> dict[str, Any]:
    """Arguments of transformers' Trainer that RL and distillation share."""
    train = recipe.train
    return {
        "output_dir": str(run_dir.checkpoints),
        "seed": recipe.seed,
        "max_steps": train.steps,
        "learning_rate": train.learning_rate,
        "lr_scheduler_type": _schedule(train),
        "warmup_steps": train.warmup_steps,
        "weight_decay": train.weight_decay,
        "use_cpu": not cuda(),
        "dataloader_pin_memory": cuda(),
        "save_strategy": "steps",
        "save_steps": train.save_every,
        "save_total_limit": train.keep_checkpoints,
        "save_only_model": train.save_only_model,
        "logging_steps": train.log_every,
        "logging_nan_inf_filter": False,  # a loss that is not finite must not be logged as one that is
        "disable_tqdm": True,
        "report_to": [],
    }


def _schedule(train: TrainSection) -> str:
    """The name in transformers, whose `constant` has no warm-up, whatever `warmup_steps` says."""
    return "constant_with_warmup" if train.lr_schedule == "constant" and train.warmup_steps else train.lr_schedule


def training_arguments(recipe: Recipe, run_dir: RunDir) -> Any:
    """The `RLVRConfig` of a recipe. The trainer sets the fields that the algorithm owns: loss type, clip range, KL.

    Raises: UserError for a field of `train.trl` that TRL does not have or does not take.
    """
    from transformers import Trainer

    from rlvr.training.trl_settings import RLVRConfig

    check_names(recipe.train)
    if recipe.train.ref_sync is not None and adapter_of(recipe.model.path):
        raise UserError(f"found {recipe.train.ref_sync}, expected null with a model of adapters; merge them into their "
                        "base first, or remove it", where="train.ref_sync")
    own, further = own_arguments(recipe, run_dir), recipe.train.trl
    assert not own.keys() & further.keys(), "rlvr/config/foreign_keys.py lacks a field that rlvr sets"
    try:
        args = RLVRConfig(**own, **further)
    except (TypeError, ValueError, ImportError) as error:
        if not further:
            raise
        where = f"train.trl ({', '.join(further)})"
        raise UserError(f"TRL does not take it: {first_line(error)}", where=where) from error
    try:
        Trainer.get_optimizer_cls_and_kwargs(args)
    except (ImportError, ValueError, RuntimeError) as error:
        raise UserError(f"found {recipe.train.optim!r}, which cannot be used here: {first_line(error)}",
                        where="train.optim") from error
    return args


def check_names(train: TrainSection) -> None:
    """Raises UserError for a field of `train.trl` or an optimizer that there is not."""
    from transformers.training_args import OptimizerNames
    from trl.trainer.grpo_config import GRPOConfig

    known = {field.name: field.default for field in dataclasses.fields(GRPOConfig) if field.name not in TRL}
    for name, value in train.trl.items():
        if name not in known:
            raise UserError(f"TRL's GRPOConfig has no such field{did_you_mean(name, sorted(known))}",
                            where=f"train.trl.{name}")
        wanted = {bool: "true or false", int: "a number", float: "a number"}.get(type(known[name]), "")
        if wanted and (not isinstance(value, bool | int | float) or isinstance(value, bool) != (wanted[0] == "t")):
            raise UserError(f"found {describe(value)}, expected {wanted}", where=f"train.trl.{name}")
    optimizers = [name.value for name in OptimizerNames]
    if train.optim not in optimizers:
        raise UserError(f"unknown optimizer {train.optim!r}{did_you_mean(train.optim, optimizers)}",
                        where="train.optim")


def own_arguments(recipe: Recipe, run_dir: RunDir) -> dict[str, Any]:
    """The fields of `RLVRConfig` that a recipe sets by keys of its own."""
    train = recipe.train
    steps = plan_of_steps(recipe.train, world_size())
    return {
        **common_arguments(recipe, run_dir),
        "save_total_limit": None,  # `CheckpointMarker` deletes old ones
        "per_device_train_batch_size": steps.micro_batch_rows,
        "micro_batch_tokens": train.micro_batch_tokens,
        "micro_batch_rows": train.micro_batch_size,
        "padding_free": train.padding_free,
        "rollout_batch_tokens": train.rollout_batch_tokens,
        "gradient_accumulation_steps": steps.gradient_accumulation,
        "steps_per_generation": steps.gradient_accumulation * train.updates_per_rollout,
        "num_iterations": train.epochs_per_rollout,
        "num_generations": train.group_size,
        "max_completion_length": train.max_new_tokens,
        "temperature": train.temperature,
        "top_p": 1.0,
        "top_k": 0,
        "optim": train.optim,
        "adam_beta1": train.adam_beta1,
        "adam_beta2": train.adam_beta2,
        "max_grad_norm": train.max_grad_norm,
        "gradient_checkpointing": train.gradient_checkpointing,
        "bf16": train.bf16,
        "ddp_timeout": train.ddp_timeout,
        "ddp_find_unused_parameters": False,
        "disable_dropout": True,
        "trust_remote_code": recipe.model.trust_remote_code,
        "model_init_kwargs": None if adapter_of(recipe.model.path) else load_arguments(recipe.model),
        **_vllm_arguments(train),
    }


def _vllm_arguments(train: TrainSection) -> dict[str, Any]:
    vllm, correction = train.vllm, train.rollout_correction
    if vllm is None:
        return {}
    arguments: dict[str, Any] = {
        "use_vllm": True,
        "vllm_mode": vllm.mode,
        "vllm_server_base_url": vllm.server_base_url,
        "vllm_gpu_memory_utilization": vllm.gpu_memory_utilization,
        "vllm_tensor_parallel_size": vllm.tensor_parallel_size,
        "vllm_max_model_length": vllm.max_model_length,
        "vllm_enable_sleep_mode": vllm.enable_sleep_mode,
        "vllm_importance_sampling_correction": correction is not None,
    }
    if correction is not None:
        arguments |= {
            "vllm_importance_sampling_mode": correction.mode,
            "vllm_importance_sampling_clip_max": correction.cap,
            "vllm_importance_sampling_clip_min": correction.floor or None,
        }
    return arguments


def peft_config(recipe: Recipe) -> Any:
    """The `LoraConfig` of a recipe, None without `model.lora`."""
    lora = recipe.model.lora
    if lora is None:
        return None
    from peft import LoraConfig

    modules = lora.target_modules if isinstance(lora.target_modules, str) else list(lora.target_modules)
    alpha: Any = lora.alpha  # PEFT annotates an int and divides it by r
    return LoraConfig(
        r=lora.r, lora_alpha=alpha, lora_dropout=lora.dropout, target_modules=modules, task_type="CAUSAL_LM",
        exclude_modules=list(lora.exclude_modules) or None, modules_to_save=list(lora.modules_to_save) or None,
        use_dora=lora.dora, use_rslora=lora.rslora,
    )


def shaped_rewards(rewards: RewardSection) -> list[ShapedReward]:
    """The shaped rewards of a recipe, in the order in which they are logged."""
    from rlvr.rewards.format import Boxed, Length, Think, ThinkAnswer
    from rlvr.training.reward_functions import ShapedReward

    scores: list[tuple[str, Any, Any]] = []
    if (tags := rewards.think_answer) is not None:
        scores.append(("think_answer", tags, ThinkAnswer(tags.prefilled)))
    if (tags := rewards.think) is not None:
        scores.append(("think", tags, Think(tags.prefilled)))
    if rewards.boxed is not None:
        scores.append(("boxed", rewards.boxed, Boxed()))
    if (length := rewards.length) is not None:
        scores.append(("length", length, Length(length.free, length.worst)))
    return [ShapedReward(name, score, term.weight, term.only_if_correct) for name, term, score in scores]


def cuda() -> bool:
    """Whether there is a GPU to train on."""
    import torch

    return torch.cuda.is_available()
