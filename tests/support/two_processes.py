"""Run by test_two_processes.py in its own process and under `accelerate launch`: SGD steps of size 1 on given rollouts,
sampled rollouts, a probe, and processes that wait for each other.

Usage: python -m tests.support.two_processes FOLDER. Rank 0 writes FOLDER/result.pt (per aggregation the step, start -
end = gradient; the prompts and texts that all ranks sampled) and FOLDER/probe, the samples of a probe. The given
rollouts are a function of prompt and place in its group, so any split sees the same ones.
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
from rlvr.config.sections import PromptChoice
from rlvr.lab.model import build_tokenizer
from rlvr.runs.run_dir import RunDir
from rlvr.training.kept_rollouts import KeptRollouts
from rlvr.training.micro_batches import parts
from rlvr.training.processes import leave
from rlvr.training.trainer import RLVRTrainer
from tests.support.probe_processes import probe
from tests.support.slow_ranks import waited_for
from tests.support.tiny import ParityJudge, config, tiny_model, train_problems

AGGREGATIONS = ("token-mean", "seq-mean-token-mean", "seq-mean-token-sum-norm")
BY_TOKENS = ("seq-mean-token-mean", "seq-mean-token-sum-norm")
"""These cut micro-batches by tokens on several processes, and exchange rollouts; the second without padding."""
GROUP = 4


def rollouts(prompts: list[Any], trainer: Any) -> dict[str, Any]:
    tokenizer = build_tokenizer()
    completions = []
    for i, prompt in enumerate(prompts):
        rng = random.Random(f"{prompt}/{i % GROUP}")
        completions.append([rng.randrange(100) for _ in range(rng.randint(1, 7))] + [tokenizer.eos_token_id])
    return {"prompt_ids": [tokenizer(p)["input_ids"] for p in prompts], "completion_ids": completions, "logprobs": None}


def trained(
    model: Any, algorithm: GRPO, *, rollout_func: Any = None, on_credit: Any = None,
    prompt_choice: PromptChoice | None = None, **settings: Any
) -> RLVRTrainer:
    """A trainer after one step on 16 rollouts, or more, whatever the number of processes."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    sizes = {"per_device_train_batch_size": 8 // world}
    trainer = RLVRTrainer(
        model,
        algorithm=algorithm,
        problems=train_problems(),
        judge=ParityJudge(),
        args=config(
            Path(tempfile.mkdtemp()), ddp_find_unused_parameters=False, **({"max_steps": 1} | sizes | settings),
        ),
        prompt_choice=prompt_choice,
        processing_class=build_tokenizer(),
        rollout_func=rollout_func,
        on_credit=on_credit,
    )
    trainer.train()
    return trainer


def gradient(aggregation: Any) -> dict[str, torch.Tensor]:
    """Parameter -> its gradient on the given rollouts."""
    model, start = tiny_model(), tiny_model()
    world = int(os.environ.get("WORLD_SIZE", "1"))
    by_tokens = {"per_device_train_batch_size": 16 // world, "gradient_accumulation_steps": 1,
                 "steps_per_generation": 1, "micro_batch_tokens": 24, "padding_free": aggregation == BY_TOKENS[-1]}
    trainer = trained(
        model, GRPO(GRPOConfig(aggregation=aggregation, entropy_coef=0.1)), rollout_func=rollouts,
        optim="sgd", learning_rate=1.0, max_grad_norm=1e9, weight_decay=0.0,
        **(by_tokens if world > 1 and aggregation in BY_TOKENS else {}),
    )
    if world > 1:
        check_cut(trainer, aggregation in BY_TOKENS)
    end = trainer.accelerator.unwrap_model(model).state_dict()
    return {name: value - end[name] for name, value in start.state_dict().items()}


def check_cut(trainer: Any, by_tokens: bool) -> None:
    """All ranks have as many micro-batches, and about as many tokens, where they are cut by tokens."""
    assert trainer._buffered_inputs is not None
    own = [part for inputs in trainer._buffered_inputs for part in parts(inputs)]
    counts = gather_object([len(own)])
    tokens = gather_object([sum(int(part["prompt_mask"].sum() + part["completion_mask"].sum()) for part in own)])
    assert len(set(counts)) == 1 and (counts[0] > 2 if by_tokens else counts[0] == 2), counts
    assert not by_tokens or max(tokens) - min(tokens) <= 8, tokens


def main(folder: Path) -> None:
    gradients = {aggregation: gradient(aggregation) for aggregation in AGGREGATIONS}
    kept = KeptRollouts(RunDir(folder), 5, {problem.id: problem for problem in train_problems()}, seed=3)
    sampled = trained(tiny_model(), GRPO(GRPOConfig()), on_credit=kept)
    prompts, texts = sampled._logs["prompt"], sampled._logs["completion"]
    chosen = trained(tiny_model(), GRPO(GRPOConfig()), prompt_choice=PromptChoice(k=8, uniform=0.0), max_steps=3)
    histories = gather_object([chosen.progress.history])
    ranks = gather_object([sampled.accelerator.process_index])
    if sampled.accelerator.is_main_process:
        torch.save({"gradients": gradients, "prompts": list(prompts), "texts": list(texts), "ranks": ranks,
                    "histories": histories},
                   folder / "result.pt")
    probe(8, "cheap", 64, folder / "probe")
    if len(ranks) > 1:
        waited = waited_for(folder / "slow")
        if sampled.accelerator.is_main_process:
            (folder / "waited").write_text("\n".join(waited))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    leave(0)
