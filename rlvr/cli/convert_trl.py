"""Settings of TRL's GRPO script (GRPOConfig, ModelConfig, ScriptArguments) as a recipe."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from rlvr.cli.convert import Converted, check_types
from rlvr.config.foreign_keys import TRL
from rlvr.types import UserError

DEFAULTS = {
    "learning_rate": 1e-6, "lr_scheduler_type": "linear", "weight_decay": 0.0, "gradient_checkpointing": True,
    "max_completion_length": 512, "per_device_train_batch_size": 8, "num_generations": 8, "save_steps": 500,
    "logging_steps": 10, "epsilon": 0.2,
}
"""TRL's own, which hold where a file is silent, and differ from a recipe's or decide about others."""
SCRIPT = {
    "model_name_or_path": "model.path", "model_revision": "model.revision", "dtype": "model.dtype",
    "torch_dtype": "model.dtype", "attn_implementation": "model.attn_implementation",
    "dataset_name": "data.train.source", "dataset_config": "data.train.config",
    "dataset_train_split": "data.train.split", "lora_r": "model.lora.r", "lora_alpha": "model.lora.alpha",
    "lora_dropout": "model.lora.dropout", "lora_target_modules": "model.lora.target_modules",
    "lora_modules_to_save": "model.lora.modules_to_save", "use_rslora": "model.lora.rslora",
    "use_dora": "model.lora.dora", "chat_template_path": "model.chat_template",
}
"""Of ModelConfig and ScriptArguments."""
AGGREGATIONS = {"dapo": "token-mean", "bnpo": "token-mean", "grpo": "seq-mean-token-mean",
                "dr_grpo": "seq-mean-token-sum-norm"}
COLUMNS = {"data.train.prompt": "prompt", "data.train.gold": "solution"}
REWARDS = ("a reward of right and wrong is a verifier, data.train.verifier (for accuracy_reward: math, the default); "
           "others are terms of train.rewards")
BY_HAND = {
    "generation_batch_size", "steps_per_generation", "gradient_accumulation_steps", "epsilon", "epsilon_high",
    "loss_type", "scale_rewards", "beta", "use_vllm", "mask_truncated_completions", "report_to", "use_peft",
    "load_in_4bit", "load_in_8bit", "max_steps", "num_train_epochs", "lr_scheduler_type", "optim", "output_dir",
    "vllm_server_host", "vllm_server_port", "use_adaptive_entropy", "importance_sampling_level", "save_strategy",
    "logging_strategy", "model_init_kwargs", "warmup_steps", "save_total_limit", "vllm_importance_sampling_correction",
}
COUNTS = {"generation_batch_size", "steps_per_generation", "gradient_accumulation_steps", "num_generations",
          "num_iterations", "per_device_train_batch_size"}
NUMBERS = {"max_steps", "save_total_limit", "warmup_steps", "num_train_epochs"}
NAMES = {"loss_type"}


def from_trl(given: Mapping[str, Any], processes: int) -> Converted:
    """The recipe's settings. Raises UserError for a name that TRL does not have, and for a value of another type."""
    check_types(given, counts=COUNTS, numbers=NUMBERS, names=NAMES)
    from trl.trainer.grpo_config import GRPOConfig

    fields = {field.name for field in dataclasses.fields(GRPOConfig)}
    found, settings = Converted(), {**DEFAULTS, **given}
    found.set("algorithm.name", "grpo")
    found.set("algorithm.std_eps", 1e-4)  # TRL's, beside the standard deviation of a group
    peft = bool(given.get("use_peft"))
    engine = bool(given.get("use_vllm"))
    for name, value in settings.items():
        if name in BY_HAND or value is None:
            continue
        if name in SCRIPT:
            if SCRIPT[name].startswith("model.lora") and not peft:
                found.left_out.append((name, value, "use_peft is not set"))
            else:
                found.set(SCRIPT[name], value)
        elif name in TRL:
            here = TRL[name]
            if here.key is None or here.key == "train.rewards" or name.startswith(("eval", "do_")) or (
                    here.key.startswith(("train.vllm.", "train.rollout_correction")) and not engine):
                found.left_out.append((name, value, here.note or "only with use_vllm"))
            else:
                found.set(here.key, value)
        elif name in fields:
            found.set(f"train.trl.{name}", value)
        else:
            found.left_out.append((name, value, REWARDS if name in ("reward_funcs", "reward_model_name_or_path") else
                                   "no field of GRPOConfig, ModelConfig or ScriptArguments that is known here"))
    if "dataset_name" in given:
        for key, column in COLUMNS.items():
            found.set(key, column)
        found.chosen.append("data.train.prompt and data.train.gold: the columns that TRL and its accuracy_reward read; "
                            "if prompts are lists of messages, add chat: true")
    _batch(found, settings, processes)
    _loss(found, settings)
    _rest(found, given, peft=peft, engine=engine)
    return found


def _batch(found: Converted, settings: Mapping[str, Any], processes: int) -> None:
    """prompts_per_step and updates_per_rollout: GRPOConfig.__post_init__'s arithmetic."""
    micro, accumulation = settings["per_device_train_batch_size"], settings.get("gradient_accumulation_steps", 1)
    per_update, group = micro * processes * accumulation, settings["num_generations"]
    batch = settings.get("generation_batch_size") or micro * processes * (
        settings.get("steps_per_generation") or accumulation)
    if batch % group or batch % per_update:
        raise UserError(f"a generation batch of {batch} rollouts does not divide into groups of {group} and updates of "
                        f"{per_update}; give the number of processes by --processes")
    found.set("train.prompts_per_step", batch // group)
    found.set("train.updates_per_rollout", batch // per_update)
    if settings.get("max_steps", -1) > 0:
        found.set("train.steps", int(settings["max_steps"]))
    if "num_train_epochs" in settings:
        found.left_out.append(("num_train_epochs", settings["num_train_epochs"], TRL["num_train_epochs"].note))


def _loss(found: Converted, settings: Mapping[str, Any]) -> None:
    found.set("algorithm.clip_low", settings["epsilon"])
    found.set("algorithm.clip_high", settings.get("epsilon_high") or settings["epsilon"])
    kind, scale = settings.get("loss_type", "dapo"), settings.get("scale_rewards", "group")
    if kind in AGGREGATIONS:
        found.set("algorithm.aggregation", AGGREGATIONS[kind])
    elif kind == "cispo":
        found.tree["algorithm"] = {"name": "cispo"}
    else:
        found.left_out.append(("loss_type", kind, "no algorithm here has this loss"))
    if scale in ("group", "none", True, False) and kind != "cispo":
        found.set("algorithm.scale_by_std", scale in ("group", True))
    elif kind != "cispo":
        found.left_out.append(("scale_rewards", scale, TRL["scale_rewards"].note))
    if settings.get("importance_sampling_level", "token") != "token":
        found.left_out.append(("importance_sampling_level", settings["importance_sampling_level"],
                               TRL["importance_sampling_level"].note))
    if settings.get("beta"):
        found.set("algorithm.kl_loss_coef", settings["beta"])
    if settings.get("use_adaptive_entropy"):
        found.set("algorithm.entropy_target", settings.get("entropy_target", 0.2))
    elif found.get("algorithm.entropy_target") is not None:
        found.left_out.append(("entropy_target", found.tree["algorithm"].pop("entropy_target"),
                               "use_adaptive_entropy is not set"))


def _rest(found: Converted, given: Mapping[str, Any], *, peft: bool, engine: bool) -> None:
    if given.get("mask_truncated_completions"):
        found.set("train.truncated", "mask")
    schedule = given.get("lr_scheduler_type", "linear")
    if schedule in ("constant", "linear", "cosine"):
        found.set("train.lr_schedule", schedule)
    else:
        found.left_out.append(("lr_scheduler_type", schedule, "constant, linear or cosine"))
    warmup = given.get("warmup_steps", 0)
    if isinstance(warmup, float) and 0 < warmup < 1:
        warmup *= found.get("train.steps", 0)
    found.set("train.warmup_steps", int(warmup))
    if "save_total_limit" in given:
        found.set("train.keep_checkpoints", max(2, given["save_total_limit"] or 2))
    if given.get("optim"):
        found.set("train.optim", given["optim"])
    for name in ("load_in_4bit", "load_in_8bit"):
        if given.get(name) and not peft:
            found.left_out.append((name, True, "use_peft is not set, and quantized weights cannot be trained"))
    for name in ("vllm_server_host", "vllm_server_port", "vllm_importance_sampling_correction"):
        if name in given and not engine:
            found.left_out.append((name, given[name], "only with use_vllm"))
    if given.get("output_dir"):
        found.set("run_dir", given["output_dir"])
    if given.get("report_to") not in (None, "none", "wandb", [], ["wandb"], ["none"]):
        found.left_out.append(("report_to", given["report_to"], TRL["report_to"].note))
    if given.get("model_init_kwargs"):
        found.left_out.append(("model_init_kwargs", given["model_init_kwargs"], TRL["model_init_kwargs"].note))
    for name in ("save_strategy", "logging_strategy"):
        if given.get(name, "steps") != "steps":
            found.left_out.append((name, given[name], TRL[name].note))
    if peft:
        found.tree.setdefault("model", {}).setdefault("lora", {}).setdefault("r", 16)
        for name, bits in (("load_in_4bit", "4bit"), ("load_in_8bit", "8bit")):
            if given.get(name):
                found.set("model.quantization", bits)
    if engine:
        vllm = found.tree["train"].setdefault("vllm", {})
        vllm.setdefault("mode", "colocate")
        if vllm["mode"] == "server" and "server_base_url" not in vllm:
            host, port = given.get("vllm_server_host", "0.0.0.0"), given.get("vllm_server_port", 8000)
            vllm["server_base_url"] = f"http://{host}:{port}"
        if given.get("vllm_importance_sampling_correction", True):
            own = found.tree["train"].get("rollout_correction")
            corrected = {"mode": "sequence_mask", "cap": 3.0} | (own if isinstance(own, dict) else {})
            found.set("train.rollout_correction", corrected)
        else:
            found.tree["train"].pop("rollout_correction", None)
