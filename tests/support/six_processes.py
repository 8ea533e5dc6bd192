"""Run by test_distributed.py in its own process and under `accelerate launch`: each algorithm trains a tiny model,
whole or with adapters.

Usage: python -m tests.support.six_processes MODEL_FOLDER OUTPUT. Rank 0 writes {case: {parameter: tensor}}.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState

from rlvr.config.registry import resolve
from rlvr.interfaces import Algorithm
from rlvr.lab.model import build_tokenizer
from rlvr.training.processes import leave
from rlvr.training.trainer import RLVRTrainer
from tests.support.tiny import ParityJudge, config, train_problems

KINDS = ("full", "lora")
SETTINGS: dict[str, dict[str, Any]] = {
    "grpo": {},
    "ppo": {"critic_learning_rate": 1e-2},
    "rloo": {},
    "reinforce_pp": {"kl_coef": 0.01},
    "remax": {},
    "dapo": {"max_num_gen_batches": 0},
}


def algorithm(name: str) -> Algorithm[Any]:
    found: Any = resolve("algorithms", name)
    return found(found.Config(**SETTINGS[name]))


def train(name: str, kind: str, model_folder: str) -> dict[str, torch.Tensor]:
    """Three steps of plain SGD, so that a difference in a gradient is not blown up; all parameters that learnt."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    sizes: dict[str, Any] = {"per_device_train_batch_size": 8 // world}
    if kind == "full" and world > 1:  # the ranks exchange rollouts, and cut them by tokens
        sizes = {"per_device_train_batch_size": 16 // world, "gradient_accumulation_steps": 1,
                 "steps_per_generation": 1, "micro_batch_tokens": 50}
    peft_config = None
    if kind == "lora":
        from peft import LoraConfig

        peft_config = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    trainer = RLVRTrainer(
        model_folder,
        algorithm=algorithm(name),
        problems=train_problems(64),
        judge=ParityJudge(),
        args=config(
            Path(tempfile.mkdtemp()), **sizes, optim="sgd", learning_rate=0.1,
            max_grad_norm=1e9, weight_decay=0.0, ddp_find_unused_parameters=False,
            model_init_kwargs={"dtype": "float32"},
        ),
        processing_class=build_tokenizer(),
        peft_config=peft_config,
    )
    trainer.train()
    with trainer.unwrapped() as model:
        return {n: p.detach().cpu().clone() for n, p in model.named_parameters() if p.requires_grad}


def main(model_folder: str, output: str) -> None:
    result = {f"{name}-{kind}": train(name, kind, model_folder) for kind in KINDS for name in SETTINGS}
    if PartialState().is_main_process:
        torch.save(result, output)


if __name__ == "__main__":
    main(*sys.argv[1:])
    leave(0)
