"""Where the key is that a user means who writes it in the wrong section, or by the name that TRL or verl has for it."""

from __future__ import annotations

import dataclasses
from typing import Any

from rlvr.config.fields import fields_of, members

FOREIGN = {
    "advantage_estimator": "algorithm.name", "adv_estimator": "algorithm.name", "beta": "algorithm.kl_loss_coef",
    "cliprange": "algorithm.clip_high", "dataset": "data.train.source", "dataset_name": "data.train.source",
    "delta": "algorithm.dual_clip", "epsilon": "algorithm.clip_low", "epsilon_high": "algorithm.clip_high",
    "gradient_accumulation_steps": "train.micro_batch_size", "kl_coef": "algorithm.kl_coef",
    "logging_steps": "train.log_every", "loss_type": "algorithm.aggregation", "lr": "train.learning_rate",
    "lr_scheduler_type": "train.lr_schedule", "mask_truncated_completions": "train.truncated",
    "max_completion_length": "train.max_new_tokens", "max_prompt_length": "train.max_prompt_tokens",
    "max_response_length": "train.max_new_tokens", "max_steps": "train.steps", "max_tokens": "train.max_new_tokens",
    "model_name_or_path": "model.path", "num_generations": "train.group_size", "num_iterations":
    "train.updates_per_rollout", "num_train_epochs": "train.steps", "output_dir": "run_dir",
    "per_device_train_batch_size": "train.micro_batch_size", "ppo_max_token_len_per_gpu":
    "train.micro_batch_tokens", "use_remove_padding": "train.padding_free", "ppo_epochs": "train.updates_per_rollout",
    "report_to": "tracking.wandb", "rollout_n": "train.group_size", "run_name": "name", "save_steps":
    "train.save_every", "save_total_limit": "train.keep_checkpoints", "scale_rewards": "algorithm.scale_by_std",
    "torch_dtype": "model.dtype", "train_batch_size": "train.prompts_per_step", "use_vllm": "train.vllm",
    "clip_high": "algorithm.clip_high", "clip_low": "algorithm.clip_low", "dual_clip": "algorithm.dual_clip",
    "aggregation": "algorithm.aggregation", "kl_loss_coef": "algorithm.kl_loss_coef",
    "entropy_coef": "algorithm.entropy_coef",
    "vllm_gpu_memory_utilization": "train.vllm.gpu_memory_utilization", "vllm_mode": "train.vllm.mode",
    "warmup_ratio": "train.warmup_steps",
}
"""Keys of TRL's and verl's settings, and those of most algorithms -> the key of a recipe that does the same or comes
closest."""


def paths_of(root: type, path: str, section: str) -> dict[str, list[str]]:
    """Key -> dotted paths of it below the dataclass `root`, which is at `path`: those of `section` left out, those
    below it first. The names that other trainers have are among the keys."""
    found: dict[str, list[str]] = {}
    sections: list[tuple[str, Any]] = [(path, root)]
    for where, each in sections:
        for name, hint in fields_of(each).items():
            inside = f"{where}.{name}" if where else name
            if where != section:
                found.setdefault(name, []).append(inside)
            sections += [(inside, member) for member in members(hint) if dataclasses.is_dataclass(member)]
    for paths in found.values():
        paths.sort(key=lambda one: not one.startswith(f"{section}." if section else ""))
    top = fields_of(root)
    foreign = {name: [target] for name, target in FOREIGN.items()
               if target.split(".")[0] in top and target != f"{section}.{name}"}
    return foreign | found
