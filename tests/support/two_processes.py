"""Run by test_two_processes.py, alone and under `accelerate launch`: one SGD step of size 1 on given rollouts.

Usage: python -m tests.support.two_processes OUTPUT AGGREGATION. Rank 0 writes the step (start - end = gradient) and
what all ranks sampled; the rollouts are a function of prompt and place in its group, so any split sees the same ones.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object

from rlvr.algorithms.grpo import GRPO, GRPOConfig
from rlvr.lab.model import build_tokenizer
from rlvr.training.processes import leave
from rlvr.training.trainer import RLVRTrainer
from tests.support.tiny import ParityJudge, config, tiny_model, train_problems

GROUP = 4


def rollouts(prompts: list[Any], trainer: Any) -> dict[str, Any]:
    tokenizer = build_tokenizer()
    completions = []
    for i, prompt in enumerate(prompts):
        rng = random.Random(f"{prompt}/{i % GROUP}")
        completions.append([rng.randrange(100) for _ in range(rng.randint(1, 7))] + [tokenizer.eos_token_id])
    return {"prompt_ids": [tokenizer(p)["input_ids"] for p in prompts], "completion_ids": completions, "logprobs": None}


def main(output: str, aggregation: Any) -> None:
    model, start = tiny_model(), tiny_model()
    world = int(os.environ.get("WORLD_SIZE", "1"))
    given = RLVRTrainer(
        model,
        algorithm=GRPO(GRPOConfig(aggregation=aggregation, entropy_coef=0.1)),
        problems=train_problems(),
        judge=ParityJudge(),
        args=config(
            Path(tempfile.mkdtemp()), per_device_train_batch_size=8 // world, max_steps=1, optim="sgd",
            learning_rate=1.0, max_grad_norm=1e9, weight_decay=0.0, ddp_find_unused_parameters=False,
        ),
        processing_class=build_tokenizer(),
        rollout_func=rollouts,
    )
    given.train()
    sampled = RLVRTrainer(
        tiny_model(),
        algorithm=GRPO(GRPOConfig()),
        problems=train_problems(),
        judge=ParityJudge(),
        args=config(
            Path(tempfile.mkdtemp()), per_device_train_batch_size=8 // world, max_steps=1,
            ddp_find_unused_parameters=False,
        ),
        processing_class=build_tokenizer(),
    )
    sampled.train()
    prompts, texts = sampled._logs["prompt"], sampled._logs["completion"]
    ranks = gather_object([given.accelerator.process_index])
    if given.accelerator.is_main_process:
        end = given.accelerator.unwrap_model(model).state_dict()
        step = {name: value - end[name] for name, value in start.state_dict().items()}
        torch.save({"gradient": step, "prompts": list(prompts), "texts": list(texts), "ranks": ranks}, output)


if __name__ == "__main__":
    main(*sys.argv[1:])
    leave(0)
