"""How `RLVRTrainer` draws completions: from the model or from vLLM, each from its own seed, and greedily."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from accelerate.utils import gather_object

from rlvr.models.seeded import SeededSampling, seeded_generation
from rlvr.models.vllm_sampler import drawn
from rlvr.training.gathered import unsharded
from rlvr.training.rollouts import fill_empty
from rlvr.training.step import Step
from rlvr.types import Decoding

Completions = tuple[list[list[int]], list[list[float]] | None]
"""Token ids and the log-probabilities under which they were drawn."""


def from_model(
    trainer: Any, generate: Callable[[], Any], sampling: SeededSampling, prompt_ids: Sequence[Sequence[int]]
) -> Completions:
    """Completions of the training model; `generate` is TRL's. With `rollout_batch_tokens` some at a time."""
    budget, rows = getattr(trainer.args, "rollout_batch_tokens", None), None
    if budget is not None:
        longest = torch.tensor([max(map(len, prompt_ids))], device=trainer.accelerator.device)
        # The longest of all ranks: sharded models generate in step, so all ranks must generate as often.
        width = int(trainer.accelerator.gather(longest).max()) + trainer.max_completion_length
        rows = max(1, budget // width)
    model = trainer.accelerator.unwrap_model(trainer.model)
    with unsharded(trainer.model), seeded_generation(model, sampling, rows=rows):
        completion_ids, _ = generate()
    logps_NT = torch.stack(sampling.logps, dim=1).tolist()
    logps = [row[: len(ids)] for row, ids in zip(logps_NT, completion_ids, strict=True)]
    fill_empty(completion_ids, logps, trainer.eos_token_ids[0])
    return completion_ids, logps


def from_engine(
    trainer: Any, generate: Callable[[], Any], keys: list[int], temperature: float, top_p: float
) -> Completions:
    """Completions of vLLM."""
    decoding = Decoding(temperature=temperature, top_p=top_p, max_new_tokens=trainer.max_completion_length)
    with drawn(trainer.vllm_generation, decoding, keys):
        completion_ids, logps = generate()
    fill_empty(completion_ids, logps, trainer.eos_token_ids[0])
    return completion_ids, logps


def greedy_rewards(
    trainer: Any, calculate: Callable[..., torch.Tensor], step: Step, inputs: list[Any], prompts: list[Any]
) -> torch.Tensor:
    """Rewards of one greedy completion per prompt of all ranks, repeated for its rollouts, (N, F).

    Args:
        calculate: TRL's `_calculate_rewards`.
        inputs, prompts: one of each group of this rank.
    """
    completion_ids, _ = trainer.draw([0] * len(prompts), 0.0, 1.0, *trainer._tokenize_prompts(prompts), 1)
    texts = trainer.processing_class.batch_decode(completion_ids, skip_special_tokens=True)
    if not isinstance(prompts[0], str):
        texts = [[{"role": "assistant", "content": text}] for text in texts]
    rewards_PF = calculate(inputs, prompts, texts, completion_ids)
    step.judged.seconds += trainer.reward.take_judged().seconds  # the other metrics are about the rollouts alone
    cut = sum(ids[-1] not in trainer.reward.eos_ids for ids in completion_ids) / len(completion_ids)
    ranks = gather_object([(sum(map(len, completion_ids)), cut)])
    step.greedy_tokens += sum(tokens for tokens, _ in ranks)
    trainer.record({
        "train/greedy_accuracy": rewards_PF[:, 0].nanmean().item(),
        "train/greedy_truncated_frac": sum(share for _, share in ranks) / len(ranks),
    })
    return rewards_PF.repeat_interleave(trainer.num_generations, dim=0)
