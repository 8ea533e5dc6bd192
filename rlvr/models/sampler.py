"""Seeded sampling: every draw is a pure function of (seed, stream, problem id, sample index, token position).

`SeededSampling` is a logits processor that picks the token itself, by inverse transform on one counter-based
uniform per row and position, and leaves `generate` (in greedy mode) nothing to choose. So sampling touches no
global random state, two ranks never draw the same sample, and another number of processes, another batch
composition or a resumed run draws the same ones up to float rounding. The trainer's rollouts and the probes
share this code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from transformers import GenerationConfig, ProcessorMixin

from rlvr.interfaces import SampleRequest
from rlvr.models.prompts import eos_ids, prompt_inputs, tokenizer_of
from rlvr.models.seeded import SeededSampling, row_key, seeded_generation
from rlvr.models.shards import is_sharded
from rlvr.types import Completion, Decoding

_TOKEN_FIELDS = frozenset({"input_ids", "token_type_ids", "mm_token_type_ids"})


def _left_padded(inputs: Sequence[Mapping[str, torch.Tensor]], pad: int) -> dict[str, torch.Tensor]:
    """One batch of prompts: token fields padded on the left, the pictures of all rows one after the other."""
    lengths = [row["input_ids"].size(1) for row in inputs]
    width = max(lengths)
    batch: dict[str, torch.Tensor] = {}
    for name in dict.fromkeys(name for row in inputs for name in row):
        if name not in _TOKEN_FIELDS:
            batch[name] = torch.cat([row[name] for row in inputs if name in row])
            continue
        batch[name] = torch.full((len(inputs), width), pad if name == "input_ids" else 0)
        for i, row in enumerate(inputs):
            if name in row:  # a row without pictures may lack the types of its tokens: text is type 0
                batch[name][i, width - lengths[i] :] = row[name][0]
    batch["attention_mask"] = (torch.arange(width) >= width - torch.tensor(lengths)[:, None]).long()
    return batch


def _keep_step(model: Any, token: int) -> None:
    """Make as many forward passes as the slowest of the other ranks, which gather this rank's parts in each of theirs.
    Its own completion ends after one token and is dropped."""
    config = GenerationConfig(max_new_tokens=1, eos_token_id=[token], pad_token_id=token)
    ids = torch.full((1, 1), token, device=model.device)
    with seeded_generation(model, SeededSampling([0], temperature=0.0, top_p=1.0)):
        model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=config, synced_gpus=True)


class TransformersSampler:
    """Samples from a transformers model in this process: a loaded checkpoint or the live model of a trainer.

    Args:
        model: anything with `generate` and `generation_config`.
        tokenizer: its tokenizer, or the processor of a vision model; padding side and pad token are handled here
            and not changed.
        unwrap: context manager that yields the model to generate with (gathers ZeRO-3 shards, ...);
            by default the model as it is.
        chat_template: overrides the tokenizer's for chat prompts.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        unwrap: Callable[[], AbstractContextManager[Any]] | None = None,
        chat_template: str | None = None,
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._unwrap = unwrap or (lambda: nullcontext(model))
        self._chat_template = chat_template

    def sample(
        self, requests: Sequence[SampleRequest], decoding: Decoding, *, seed: int, stream: str
    ) -> list[Completion]:
        """See `rlvr.interfaces.Sampler`. One `generate` call for all requests: the caller sizes the batch.

        All ranks call it together, also without requests of their own: a model in parts is gathered by all.
        """
        with self._unwrap() as model:
            was_training = model.training
            model.eval()
            try:
                return self._sample(model, requests, decoding, seed, stream)
            finally:
                model.train(was_training)

    @torch.no_grad()
    def _sample(
        self, model: Any, requests: Sequence[SampleRequest], decoding: Decoding, seed: int, stream: str
    ) -> list[Completion]:
        stops, tokenizer = eos_ids(model, self._tokenizer), tokenizer_of(self._tokenizer)
        in_step = is_sharded(model)
        if not requests:
            if in_step:
                _keep_step(model, stops[0])
            return []
        prompts = {r.problem.id: r.problem for r in requests}
        inputs = {k: prompt_inputs(self._tokenizer, p, self._chat_template) for k, p in prompts.items()}
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else stops[0]
        batch = _left_padded([inputs[request.problem.id] for request in requests], pad)
        width = batch["input_ids"].size(1)
        keys = [row_key(seed, stream, r.problem.id, r.sample) for r in requests]
        sampling = SeededSampling(keys, temperature=decoding.temperature, top_p=decoding.top_p)
        config = GenerationConfig(
            max_new_tokens=decoding.max_new_tokens, eos_token_id=stops, pad_token_id=pad,
            # A drawn picture token would stand for a picture that is not there; TRL suppresses it in training too.
            suppress_tokens=[model.config.image_token_id] if isinstance(self._tokenizer, ProcessorMixin) else None,
        )
        with seeded_generation(model, sampling):
            output = model.generate(
                **{name: value.to(model.device) for name, value in batch.items()}, generation_config=config,
                synced_gpus=in_step,
            )
        tokens_NT = output[:, width:].cpu()
        is_stop_NT = torch.isin(tokens_NT, torch.tensor(stops))
        stopped_N = is_stop_NT.any(1)
        lengths_N = torch.where(stopped_N, is_stop_NT.int().argmax(1) + 1, tokens_NT.size(1))
        mask_NT = torch.arange(tokens_NT.size(1)) < lengths_N[:, None]
        entropy_NT = torch.stack(sampling.entropies, dim=1).cpu().masked_fill(~mask_NT, 0.0)
        entropy_N = entropy_NT.sum(1) / lengths_N
        texts = tokenizer.batch_decode(
            [row[:n].tolist() for row, n in zip(tokens_NT, lengths_N.tolist(), strict=True)],
            skip_special_tokens=True,
        )
        return [
            Completion(
                problem_id=request.problem.id,
                sample=request.sample,
                text=text,
                num_tokens=int(lengths_N[row]),
                truncated=not bool(stopped_N[row]),
                entropy=float(entropy_N[row]),
            )
            for row, (request, text) in enumerate(zip(requests, texts, strict=True))
        ]
