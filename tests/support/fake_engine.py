"""A vLLM engine without vLLM: TRL's own driver (`VLLMGeneration`) over a stand-in for `vllm.LLM` that samples a tiny
model, each request from the seed in its sampling parameters.

It proves what we hand to the engine and what we make of its answers, not vLLM.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import trl.trainer.grpo_trainer
from transformers import GenerationConfig
from trl.generation import vllm_generation

from rlvr.models.seeded import SeededSampling, seeded_generation


@dataclass
class SamplingParams:
    """The fields of vLLM's that TRL sets."""

    n: int
    temperature: float
    top_p: float
    top_k: int
    min_p: float
    max_tokens: int
    repetition_penalty: float
    logprobs: int
    seed: int | None = None

    def clone(self) -> SamplingParams:
        return replace(self)


@dataclass
class LLM:
    """Samples from `model`, which is what the trainer last synchronised."""

    model: Any
    eos: int
    calls: list[list[SamplingParams]] = field(default_factory=list)
    slept: list[str] = field(default_factory=list)

    def generate(self, prompts: list[Any], *, sampling_params: Any, use_tqdm: bool) -> list[Any]:
        assert isinstance(sampling_params, list), "no request without a seed of its own"
        assert len(sampling_params) == len(prompts)
        self.calls.append(sampling_params)
        return [self._one(row["prompt_token_ids"], each) for row, each in zip(prompts, sampling_params, strict=True)]

    def _one(self, prompt: list[int], params: SamplingParams) -> Any:
        assert params.seed is not None
        sampling = SeededSampling([params.seed], temperature=params.temperature, top_p=params.top_p)
        config = GenerationConfig(max_new_tokens=params.max_tokens, eos_token_id=[self.eos], pad_token_id=self.eos)
        with torch.no_grad(), seeded_generation(self.model, sampling):
            out = self.model.generate(
                input_ids=torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
                generation_config=config,
            )
        ids = out[0, len(prompt) :].tolist()
        logprobs = [
            {token: SimpleNamespace(rank=1, logprob=logp.item())}
            for token, logp in zip(ids, sampling.logps, strict=True)
        ]
        return SimpleNamespace(prompt_token_ids=prompt, outputs=[SimpleNamespace(token_ids=ids, logprobs=logprobs)])

    def wake_up(self, tags: list[str]) -> None:
        self.slept.append(f"wake {tags[0]}")

    def sleep(self, level: int) -> None:
        self.slept.append(f"sleep {level}")

    def reset_prefix_cache(self) -> None:
        """Nothing is cached."""


class Engine(vllm_generation.VLLMGeneration):
    """TRL's driver in mode `colocate`, with the stand-in for vLLM and a count of weight synchronisations."""

    syncs = 0

    def _init_vllm(self) -> None:
        tokenizer: Any = self.processing_class
        self.llm = LLM(copy.deepcopy(self.model), tokenizer.eos_token_id)
        self._llm_weights_sleeping = self.enable_sleep_mode

    def sync_weights(self) -> None:
        self.syncs += 1
        self._llm_weights_sleeping = False
        own = {name: value for name, value in self.model.state_dict().items() if name in self.llm.model.state_dict()}
        self.llm.model.load_state_dict(own)


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on trainers with `use_vllm` get this engine."""
    monkeypatch.setattr(vllm_generation, "SamplingParams", SamplingParams, raising=False)
    monkeypatch.setattr(trl.trainer.grpo_trainer, "VLLMGeneration", Engine)
