"""Recipe keys that earlier versions had or lacked.

A run that was started with a removed one still opens, and resumes if it held what is now fixed. One that was started
before a key was added resumes if that has its default.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

REMOVED: dict[str, Any] = {
    "train.loss": "rlvr",
    **{f"{section}.{key}": fixed for section in ("probes.arms.*", "arm")
       for key, fixed in (("entropy_tolerance", 0.01), ("entropy_samples", 4), ("max_temperature", 3.0))},
}
"""Dotted key (* stands for a name) -> the value that every run has today."""


ADDED: dict[str, Any] = {
    "data.prompts_too_long": "error",
    "model.chat_template_kwargs": {},
    "model.config": {},
    "model.lora.dora": False,
    "model.lora.exclude_modules": [],
    "model.lora.modules_to_save": [],
    "model.lora.rslora": False,
    "model.quantization": None,
    "model.trust_remote_code": False,
    "probes.endpoint.base_url": [],
    "probes.endpoint.key_env": "OPENAI_API_KEY",
    "probes.endpoint.retries": 8,
    "probes.endpoint.timeout": 3600.0,
    "probes.endpoint.tokenizer": None,
    "probes.endpoint.top_logprobs": 20,
    "probes.engine": "transformers",
    "probes.keep": ["pass@1", "delta_se", "not shrunk"],
    "probes.vllm.data_parallel": 1,
    "probes.vllm.gpu_memory": 0.9,
    "probes.vllm.max_model_length": None,
    "probes.vllm.options": {},
    "probes.vllm.tensor_parallel": 1,
    "train.choose_prompts": None,
    "train.ref_sync": None,
    "train.rehearse": None,
    "train.anchor": None,
    "train.ddp_timeout": 1800,
    "train.epochs_per_rollout": 1,
    "train.micro_batch_tokens": None,
    "train.optim": "adamw_torch_fused",
    "train.padding_free": False,
    "train.probe_elsewhere": False,
    "train.rollout_batch_tokens": None,
    "train.save_only_model": False,
    "train.stop_on": None,
    "train.trl": {},
}
"""Dotted key that runs of 0.1.0 do not have -> what they did, which is its default."""


def is_removed(key: str) -> bool:
    return any(fnmatchcase(key, pattern) for pattern in REMOVED)


def is_fixed(key: str, value: Any) -> bool:
    """Whether a key was removed and held what every run has today."""
    return any(fnmatchcase(key, pattern) and value == fixed for pattern, fixed in REMOVED.items())


def without_removed(tree: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """A stored recipe as this version reads it: without the keys that it no longer has."""
    kept: dict[str, Any] = {}
    for name, value in tree.items():
        key = f"{path}.{name}" if path else name
        if not is_removed(key):
            kept[name] = without_removed(value, key) if isinstance(value, Mapping) else value
    return kept
