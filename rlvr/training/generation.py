"""How a step's rollouts come about: seeded sampling, the greedy baseline, dynamic sampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from accelerate.utils import gather_object
from trl.trainer.grpo_trainer import GRPOTrainer

from rlvr.interfaces import Algorithm
from rlvr.models.seeded import SeededSampling, row_key, seeded_generation
from rlvr.models.vllm_sampler import EngineSampler, drawn
from rlvr.training.dynamic_sampling import Group, Refill
from rlvr.training.prompt_stream import PromptStream
from rlvr.training.reward_functions import AccuracyReward, Judged
from rlvr.types import Decoding


@dataclass(slots=True)
class Progress:
    """What a resumed run must know, over all ranks."""

    prompt_position: int = 0
    """Prompts taken from the stream so far."""
    generated_rollouts: int = 0
    generated_tokens: int = 0
    """Discarded groups and greedy baselines included."""
    used_rollouts: int = 0
    used_tokens: int = 0
    """Those of the loss."""
    entropy_coef: float = 0.0
    """Weight of the entropy bonus, which moves when the algorithm sets a target."""
    entropy: float | None = None
    """Mean token entropy of the last update; None before the first."""


class RolloutGeneration(GRPOTrainer):
    """The generating half of `RLVRTrainer`, which sets the attributes declared here."""

    args: Any  # GRPOConfig, model and accelerator as TRL sets them; its own annotations are wider than what they hold
    model: Any
    accelerator: Any
    processing_class: Any
    num_generations: int
    max_completion_length: int
    algorithm: Algorithm[Any]
    rollout_seed: int
    progress: Progress
    prompts_per_step: int
    stream: PromptStream
    _reward: AccuracyReward
    _rows: list[dict[str, Any]]
    """This rank's rows, in the order they are generated."""
    _rewards_NF: torch.Tensor
    """Rewards of all ranks, as TRL gathers them."""
    _baseline_NF: torch.Tensor | None = None
    _greedy = False
    _greedy_tokens = 0
    _round = 0
    """Generation batch within the step."""
    _chosen: list[Group] | None = None
    """Groups of all ranks that dynamic sampling hands to TRL's next pass."""

    def _generate(self, prompts: list[Any]) -> Any:
        """TRL's generation, or what dynamic sampling has generated and chosen before."""
        if self._chosen is None:
            if self.rollout_func is None:
                return super()._generate(prompts)
            rollout_func = self.rollout_func
            self.rollout_func = self._filled(rollout_func)
            try:
                return super()._generate(prompts)
            finally:
                self.rollout_func = rollout_func
        share = len(self._chosen) // self.accelerator.num_processes
        first = self.accelerator.process_index * share
        rows = [row for group in self._chosen[first : first + share] for row in group.columns]
        ids, completion_ids, tool_mask, completions, logps, extra = (list(column) for column in zip(*rows, strict=True))
        return (
            ids, completion_ids, None if tool_mask[0] is None else tool_mask, completions,
            None if logps[0] is None else logps, {key: [e[key] for e in extra] for key in extra[0]}, None, [],
        )

    def _generate_single_turn(self, prompt_ids: Any, *args: Any, **kwargs: Any) -> Any:
        """TRL's generation with our seeded choice of tokens, or with vLLM our seeds. An empty completion, which
        stops before its first token, becomes a single EOS: there is something to learn from stopping at once."""
        keys = [0] * len(prompt_ids) if self._greedy else self._row_keys()
        temperature, top_p = (0.0, 1.0) if self._greedy else (self.temperature, self.top_p)
        if self.use_vllm:
            decoding = Decoding(temperature=temperature, top_p=top_p, max_new_tokens=self.max_completion_length)
            with drawn(self.vllm_generation, decoding, keys):
                completion_ids, logps = super()._generate_single_turn(prompt_ids, *args, **kwargs)
        else:
            sampling = SeededSampling(keys, temperature=temperature, top_p=top_p)
            with seeded_generation(self.accelerator.unwrap_model(self.model), sampling):
                completion_ids, _ = super()._generate_single_turn(prompt_ids, *args, **kwargs)
            logps_NT = torch.stack(sampling.logps, dim=1).tolist()
            logps = [row[: len(ids)] for row, ids in zip(logps_NT, completion_ids, strict=True)]
        self._fill_empty(completion_ids, logps)
        return completion_ids, logps

    def _filled(self, rollout_func: Any) -> Any:
        """A user's rollout function with its empty completions filled."""

        def filled(*args: Any) -> dict[str, Any]:
            output = rollout_func(*args)
            self._fill_empty(output["completion_ids"], output["logprobs"])
            return output

        return filled

    def _fill_empty(self, completion_ids: list[list[int]], logps: list[list[float]] | None) -> None:
        """In place. TRL cannot hold a completion of no tokens."""
        for i, ids in enumerate(completion_ids):
            if not ids:
                completion_ids[i] = [self.eos_token_ids[0]]
                if logps is not None:
                    logps[i] = [float("nan")]  # not drawn, so its probability under the sampler is unknown

    def _row_keys(self) -> list[int]:
        """The key of each of this rank's rollouts, see `rlvr.models.seeded.row_key`."""
        offset = self.accelerator.process_index * len(self._rows)
        stream = f"train/{self.state.global_step}" + (f"/{self._round}" if self._round else "")
        return [
            row_key(self.rollout_seed, stream, row["problem_id"], (offset + i) % self.num_generations)
            for i, row in enumerate(self._rows)
        ]

    def engine_sampler(self) -> EngineSampler:
        """A sampler over the vLLM engine, with the weights as they are when it is called."""
        return EngineSampler(self, super()._generate_single_turn)

    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any) -> torch.Tensor:
        """TRL's gathered rewards (N, F), kept: this is the only place they are visible before normalisation."""
        if self._chosen is not None:
            return self._rewards_NF
        self._rewards_NF = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        if self.model.training and self.algorithm.needs.greedy_baseline:
            self._baseline_NF = self._greedy_rewards(inputs[:: self.num_generations], prompts[:: self.num_generations])
        return self._rewards_NF

    def _greedy_rewards(self, inputs: list[Any], prompts: list[Any]) -> torch.Tensor:
        """Gathered rewards of one greedy completion per prompt, repeated for its rollouts, (N, F)."""
        judged, self._reward.judged = self._reward.judged, Judged()
        self._greedy = True
        try:
            completion_ids, _ = self._generate_single_turn(*self._tokenize_prompts(prompts), 1)
        finally:
            self._greedy = False
        texts = self.processing_class.batch_decode(completion_ids, skip_special_tokens=True)
        if not isinstance(prompts[0], str):
            texts = [[{"role": "assistant", "content": text}] for text in texts]
        rewards_PF = super()._calculate_rewards(inputs, prompts, texts, completion_ids)
        judged.seconds += self._reward.judged.seconds
        self._reward.judged = judged  # the other metrics are about the rollouts that are trained on
        cut = sum(ids[-1] not in self._reward.eos_ids for ids in completion_ids) / len(completion_ids)
        lengths = gather_object([(sum(map(len, completion_ids)), cut)])
        self._greedy_tokens += sum(tokens for tokens, _ in lengths)
        log = self._metrics["train"]
        log["train/greedy_accuracy"].append(rewards_PF[:, 0].nanmean().item())
        log["train/greedy_truncated_frac"].append(sum(share for _, share in lengths) / len(lengths))
        return rewards_PF.repeat_interleave(self.num_generations, dim=0)

    def _draw_groups(self) -> Refill:
        """Generate and judge batches of prompts until enough groups are mixed. All ranks draw as many batches and
        hold the same groups, in the order of the prompt stream."""
        refill = Refill(self.prompts_per_step, self.algorithm.group_filter)
        share = self.prompts_per_step // self.accelerator.num_processes
        while not refill.done:
            start = self.progress.prompt_position + self.accelerator.process_index * share
            self.progress.prompt_position += self.prompts_per_step
            self._round = refill.batches
            self._rows = [row for row in self.stream.take(start, share) for _ in range(self.num_generations)]
            refill.add(gather_object(self._generate_groups([dict(row) for row in self._rows])))
        return refill

    def _generate_groups(self, inputs: list[dict[str, Any]]) -> list[Group]:
        """This rank's groups: generated and judged, no log-probabilities yet."""
        prompts = [row["prompt"] for row in inputs]
        ids, completion_ids, tool_mask, completions, logps, extra, _, _ = super()._generate(prompts)
        n, size = len(inputs), self.num_generations
        missing = [None] * n
        columns = list(zip(
            ids, completion_ids, tool_mask or missing, completions, logps or missing,
            [{key: values[i] for key, values in extra.items()} for i in range(n)], strict=True,
        ))
        self._calculate_rewards(inputs, prompts, completions, completion_ids)
        local = slice(self.accelerator.process_index * n, (self.accelerator.process_index + 1) * n)
        rewards_nF = self._rewards_NF[local].cpu()
        baseline_nF = None if self._baseline_NF is None else self._baseline_NF[local].cpu()
        return [
            Group(
                inputs[i], columns[i : i + size], rewards_nF[i : i + size],
                None if baseline_nF is None else baseline_nF[i],
            )
            for i in range(0, n, size)
        ]

    def _choose(self, refill: Refill) -> tuple[list[dict[str, Any]], torch.Tensor]:
        """Hand the chosen groups to TRL's next pass; this rank's rows, and which of all rollouts are trained on."""
        groups, used = refill.chosen()
        size, device = self.num_generations, self.accelerator.device
        self._chosen = groups
        self._rewards_NF = torch.cat([group.rewards_GF for group in groups]).to(device)
        if self._baseline_NF is not None:
            self._baseline_NF = torch.stack(
                [group.baseline_F for group in groups if group.baseline_F is not None]
            ).repeat_interleave(size, dim=0).to(device)
        share = len(groups) // self.accelerator.num_processes
        first = self.accelerator.process_index * share
        rows = [dict(group.row) for group in groups[first : first + share] for _ in range(size)]
        return rows, torch.tensor(used, device=device).repeat_interleave(size)
