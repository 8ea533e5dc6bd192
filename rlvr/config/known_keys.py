"""Where the key is that a user means who writes it in the wrong section, or by the name that TRL or verl has for it."""

from __future__ import annotations

import dataclasses
from typing import Any

from rlvr.config.fields import fields_of, members
from rlvr.config.foreign_keys import TRL, UNKNOWN_TO_RECIPES

FOREIGN = {
    **{name: here.key for name, here in TRL.items() if here.key is not None and here.key != name},
    "advantage_estimator": "algorithm.name", "adv_estimator": "algorithm.name", "cliprange": "algorithm.clip_high",
    "dataset": "data.train.source", "dataset_name": "data.train.source", "kl_coef": "algorithm.kl_coef",
    "lr": "train.learning_rate", "max_prompt_length": "train.max_prompt_tokens",
    "max_response_length": "train.max_new_tokens", "max_tokens": "train.max_new_tokens",
    "model_name_or_path": "model.path", "ppo_epochs": "train.epochs_per_rollout", "rollout_n": "train.group_size",
    "torch_dtype": "model.dtype", "train_batch_size": "train.prompts_per_step", "clip_high": "algorithm.clip_high",
    "clip_low": "algorithm.clip_low", "dual_clip": "algorithm.dual_clip", "aggregation": "algorithm.aggregation",
    "kl_loss_coef": "algorithm.kl_loss_coef", "load_in_4bit": "model.quantization",
    "load_in_8bit": "model.quantization", "use_dora": "model.lora.dora", "use_rslora": "model.lora.rslora",
    "ppo_max_token_len_per_gpu": "train.micro_batch_tokens", "use_remove_padding": "train.padding_free",
    "rope_scaling": "model.config", "rope_parameters": "model.config", "enable_thinking": "model.chat_template_kwargs",
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


def why_none(path: str) -> str:
    """Why a recipe has no key of this name, which other trainers have; empty where nothing is known of it."""
    section, _, name = path.rpartition(".")
    return UNKNOWN_TO_RECIPES.get(f"{section.partition('.')[0]}.{name}") or UNKNOWN_TO_RECIPES.get(name, "")
