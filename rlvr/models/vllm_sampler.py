"""Sampling with the vLLM engine that a trainer holds: seeded rollouts, and probes at their own decoding.

TRL drives the engine: it synchronises the weights, puts it to sleep and wakes it, splits prompts over tensor-parallel
ranks and talks to a server. What is ours is the seed of each request, the decoding of a probe, and the entropies, which
the engine does not report. The trainer passes in the two private methods of TRL that this needs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from accelerate.utils import gather_object

from rlvr.data.images import decode, filled
from rlvr.interfaces import SampleRequest
from rlvr.models.prompts import tokenizer_of
from rlvr.models.seeded import row_key
from rlvr.types import Completion, Decoding

ENTROPY_SAMPLES = 4
"""Samples per problem whose entropy is computed: each costs a forward pass of the training model, and their mean over
problems is known far more precisely than that over problems like these."""


@contextmanager
def drawn(engine: Any, decoding: Decoding, keys: Sequence[int], *, fillers: int = 0) -> Iterator[None]:
    """Within the block `engine.generate` draws with `decoding`, request i from a generator seeded with `keys[i]`.

    Args:
        engine: `trl.generation.vllm_generation.VLLMGeneration`. One that talks to a server takes no seed per request:
            there the server's own generator draws, and a repeated run draws other samples.
        keys: of this rank's requests, in their order; see `rlvr.models.seeded.row_key`.
        fillers: requests after these that only keep the ranks in step; in this process they stop after one token.
    """
    saved = engine.temperature, engine.top_p, engine.max_completion_length
    engine.temperature, engine.top_p = decoding.temperature, decoding.top_p
    engine.max_completion_length = decoding.max_new_tokens
    llm = engine.llm if engine.mode == "colocate" else None
    if llm is not None:
        own: list[tuple[int, int | None]] = [(key % 2**63, None) for key in keys]
        llm.generate = _seeded(engine, llm.generate, [*own, *[(0, 1)] * fillers])
    try:
        yield
    finally:
        engine.temperature, engine.top_p, engine.max_completion_length = saved
        if llm is not None:
            del llm.generate


def _seeded(engine: Any, generate: Callable[..., Any], requests: list[tuple[int, int | None]]) -> Callable[..., Any]:
    """`LLM.generate` with sampling parameters of its own, (seed, token limit or None), for every request."""

    def seeded(prompts: Sequence[Any], *, sampling_params: Any, **kwargs: Any) -> Any:
        everyone = requests
        if engine.tensor_parallel_size > 1:  # each rank of a tensor-parallel group runs the requests of all of them
            shares: list[Any] = [None] * engine.tensor_parallel_size
            torch.distributed.all_gather_object(shares, requests, group=engine.tp_group)
            everyone = [request for share in shares for request in share]
        if len(everyone) != len(prompts):
            raise RuntimeError(f"{len(prompts)} prompts for {len(everyone)} seeds: the engine was called otherwise "
                               "than this version of TRL calls it")
        parameters = []
        for seed, limit in everyone:
            parameters.append(sampling_params.clone())
            parameters[-1].seed = seed
            parameters[-1].max_tokens = limit or sampling_params.max_tokens
        return generate(prompts, sampling_params=parameters, **kwargs)

    return seeded


class EngineSampler:
    """`rlvr.interfaces.Sampler` over the vLLM engine of a trainer, with the weights as they are now.

    All ranks must call `sample` together, also without requests of their own: weights are synchronised and, with a
    server, prompts gathered by all of them. The entropy of a completion is that of the training model, computed for
    the first `ENTROPY_SAMPLES` samples of each problem and NaN for the others and for problems with pictures.

    Args:
        trainer: with `use_vllm`.
        generate: TRL's own `_generate_single_turn`, bound to the trainer.
        tokenize: its `_tokenize_prompts`: ids, images and the fields of the processor for a list of prompts.
    """

    def __init__(
        self,
        trainer: Any,
        *,
        generate: Callable[..., tuple[list[list[int]], Any]],
        tokenize: Callable[[list[Any]], tuple[list[list[int]], Any, dict[str, Any]]],
    ) -> None:
        self._trainer = trainer
        self._generate = generate
        self._tokenize = tokenize

    def sample(
        self, requests: Sequence[SampleRequest], decoding: Decoding, *, seed: int, stream: str
    ) -> list[Completion]:
        """See `rlvr.interfaces.Sampler`."""
        trainer, tokenizer = self._trainer, tokenizer_of(self._trainer.processing_class)
        width = max(gather_object([len(requests)]))
        if not width:
            return []
        prompt_ids, images, fields = [], None, {}
        if requests:
            prompt_ids, images, fields = self._tokenize([_prompt(request) for request in requests])
        fillers = width - len(requests)
        filler = [tokenizer.eos_token_id]
        keys = [row_key(seed, stream, request.problem.id, request.sample) for request in requests]
        with drawn(trainer.vllm_generation, decoding, keys, fillers=fillers):
            completion_ids, _ = self._generate(
                [*prompt_ids, *[filler] * fillers], None if images is None else [*images, *[None] * fillers], fields, 1
            )
        completion_ids = completion_ids[: len(requests)]
        entropies = self._entropies(requests, prompt_ids, completion_ids, decoding.temperature)
        stops = frozenset(trainer.eos_token_ids)
        texts = [tokenizer.decode(ids, skip_special_tokens=True) for ids in completion_ids]
        return [
            Completion(
                problem_id=request.problem.id,
                sample=request.sample,
                text=text,
                num_tokens=len(ids),
                truncated=not ids or ids[-1] not in stops,
                entropy=entropy,
            )
            for request, text, ids, entropy in zip(requests, texts, completion_ids, entropies, strict=True)
        ]

    @torch.no_grad()
    def _entropies(
        self,
        requests: Sequence[SampleRequest],
        prompt_ids: Sequence[list[int]],
        completion_ids: Sequence[list[int]],
        temperature: float,
    ) -> list[float]:
        trainer = self._trainer
        chosen = [i for i, request in enumerate(requests)
                  if request.sample < ENTROPY_SAMPLES and completion_ids[i] and not request.problem.images]
        entropies = [math.nan] * len(requests)
        # A sharded model gathers its weights in every pass, so all ranks make as many; one row each, because the
        # logits of a whole vocabulary at 8,000 positions are gigabytes.
        for turn in range(max(gather_object([len(chosen)]))):
            i = chosen[turn] if turn < len(chosen) else None
            prompt, completion = ([0], [0]) if i is None else (prompt_ids[i], completion_ids[i])
            ids = torch.tensor([[*prompt, *completion]], device=trainer.accelerator.device)
            with trainer.accelerator.autocast():
                logits_TV = trainer.model(
                    input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False,
                    logits_to_keep=len(completion) + 1,
                ).logits[0, :-1]
            if i is not None:
                entropies[i] = _mean_entropy(logits_TV, temperature)
        return entropies


def _mean_entropy(logits_TV: torch.Tensor, temperature: float) -> float:
    """Mean over tokens of the entropy of softmax(logits / temperature), nats; greedy sampling reads them at 1."""
    total = 0.0
    for chunk in logits_TV.split(512):
        logp = (chunk.float() / (temperature or 1.0)).log_softmax(-1)
        total += torch.special.entr(logp.exp()).sum().item()
    return total / len(logits_TV)


def _prompt(request: SampleRequest) -> Any:
    """The prompt as the trainer's tokenizer takes it."""
    prompt, images = request.problem.prompt, request.problem.images
    if isinstance(prompt, str):
        return prompt
    return filled(prompt, [decode(image) for image in images]) if images else [dict(message) for message in prompt]
