"""Seeded sampling: every draw is a pure function of (seed, stream, problem id, sample index, token position).

`SeededSampling` is a logits processor that picks the token itself, by inverse transform on one counter-based
uniform per row and position, and leaves `generate` (in greedy mode) nothing to choose. So sampling touches no
global random state, two ranks never draw the same sample, and another number of processes, another batch
composition or a resumed run draws the same ones up to float rounding. The trainer's rollouts and the probes
share it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, ProcessorMixin

from rlvr.data.images import decode, filled
from rlvr.interfaces import SampleRequest
from rlvr.types import Completion, Decoding, Problem, UserError

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def row_key(seed: int, stream: str, problem_id: str, sample: int) -> int:
    """64-bit key of one sample; equal keys draw equal uniforms."""
    text = f"{seed}\x1f{stream}\x1f{problem_id}\x1f{sample}".encode()
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "little")


def uniforms(keys_N: np.ndarray, position: int) -> np.ndarray:
    """One float64 in [0, 1) per row for this token position: splitmix64 of key + position (Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        z = keys_N + np.uint64(position + 1) * _GOLDEN
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53


def pick_tokens(logp_NV: torch.Tensor, u_N: torch.Tensor, top_p: float) -> torch.Tensor:
    """Inverse-transform draw from each row's distribution, cut to its nucleus.

    The nucleus is the smallest set of most likely tokens whose mass reaches `top_p`, the crossing token included.

    Args:
        logp_NV: log-probabilities (normalised), any float dtype.
        u_N: float64 uniforms in [0, 1).
        top_p: in (0, 1]; 1 keeps the whole vocabulary.

    Returns: int64 token ids of shape (N,).
    """
    if top_p >= 1.0:
        cdf_NV = logp_NV.exp().double().cumsum(-1)
        total_N1 = cdf_NV[:, -1:]
        order_NV = None
    else:
        sorted_NV, order_NV = logp_NV.sort(dim=-1, descending=True, stable=True)
        mass_NV = sorted_NV.exp().double()
        before_NV = mass_NV.cumsum(-1) - mass_NV
        cdf_NV = mass_NV.masked_fill(before_NV >= top_p, 0.0).cumsum(-1)
        total_N1 = cdf_NV[:, -1:]
    index_N1 = torch.searchsorted(cdf_NV, u_N[:, None] * total_N1, right=True)
    # u < 1, but u * total can round up to total: stay on the last token that carries mass.
    last_N1 = (cdf_NV < total_N1).sum(-1, keepdim=True)
    index_N1 = torch.minimum(index_N1, last_N1)
    return (index_N1 if order_NV is None else order_NV.gather(-1, index_N1)).squeeze(-1)


class SeededSampling(LogitsProcessor):
    """Chooses every token of one `generate` call (run with do_sample=False) and records what it saw.

    Attributes:
        logps: list over positions of (N,) log-probabilities of the chosen tokens under the tempered
            distribution, before top-p.
        entropies: list over positions of (N,) entropies in nats of that distribution.
    """

    def __init__(self, keys: Sequence[int], *, temperature: float, top_p: float) -> None:
        self._keys_N = np.array(keys, dtype=np.uint64)
        self._temperature = temperature
        self._top_p = top_p
        self.logps: list[torch.Tensor] = []
        self.entropies: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        greedy = self._temperature == 0.0
        logp_NV = (scores.float() if greedy else scores.float() / self._temperature).log_softmax(-1)
        if greedy:
            tokens_N = logp_NV.argmax(-1)
        else:
            u_N = torch.from_numpy(uniforms(self._keys_N, len(self.logps))).to(scores.device)
            tokens_N = pick_tokens(logp_NV, u_N, self._top_p)
        self.logps.append(logp_NV.gather(-1, tokens_N[:, None]).squeeze(-1))
        self.entropies.append(torch.special.entr(logp_NV.exp()).sum(-1))
        return torch.full_like(scores, -torch.inf).scatter(-1, tokens_N[:, None], 0.0)


@contextmanager
def seeded_generation(model: Any, sampling: SeededSampling) -> Iterator[None]:
    """Within the block `model.generate` lets `sampling` choose the tokens; lengths, stop ids and ids that may not be
    drawn stay the caller's."""
    original: Callable[..., Any] = model.generate

    def generate(*args: Any, generation_config: GenerationConfig, **kwargs: Any) -> Any:
        config = GenerationConfig(
            max_new_tokens=generation_config.max_new_tokens,
            eos_token_id=generation_config.eos_token_id,
            pad_token_id=generation_config.pad_token_id,
            suppress_tokens=generation_config.suppress_tokens,
            do_sample=False,
            disable_compile=True,
        )
        # transformers fills what is not set from what the model declares, such as Qwen2.5-Instruct's
        # repetition_penalty, and the draws would be another distribution's than the decoding says.
        declared, model.generation_config = model.generation_config, GenerationConfig()
        try:
            return original(
                *args, generation_config=config, logits_processor=LogitsProcessorList([sampling]), **kwargs
            )
        finally:
            model.generation_config = declared

    model.generate = generate
    try:
        yield
    finally:
        del model.generate


def eos_ids(model: Any, tokenizer: Any) -> list[int]:
    """Every id that ends a completion: the tokenizer's EOS and all the model's generation config declares."""
    declared = model.generation_config.eos_token_id
    declared = [] if declared is None else [declared] if isinstance(declared, int) else list(declared)
    return list(dict.fromkeys([tokenizer_of(tokenizer).eos_token_id, *declared]))


def tokenizer_of(processing_class: Any) -> Any:
    """The tokenizer inside a processor, or the tokenizer itself."""
    return processing_class.tokenizer if isinstance(processing_class, ProcessorMixin) else processing_class


def prompt_ids(tokenizer: Any, problem: Problem, chat_template: str | None = None) -> list[int]:
    """Token ids of the prompt, rendered exactly as the trainer renders it; with a processor, a picture's too."""
    if isinstance(tokenizer, ProcessorMixin):
        return prompt_inputs(tokenizer, problem, chat_template)["input_ids"][0].tolist()
    if problem.images:
        raise UserError(f"problem {problem.id!r} has a picture, and the model was loaded without an image processor")
    if isinstance(problem.prompt, str):
        return list(tokenizer(text=problem.prompt)["input_ids"])
    rendered = tokenizer.apply_chat_template(
        conversation=[dict(m) for m in problem.prompt],
        chat_template=chat_template,
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
    )
    return list(rendered["input_ids"])


def prompt_inputs(processing_class: Any, problem: Problem, chat_template: str | None = None) -> dict[str, torch.Tensor]:
    """What a model reads of one prompt: token fields of shape (1, L), and pictures as its processor lays them out."""
    if not isinstance(processing_class, ProcessorMixin):
        return {"input_ids": torch.tensor([prompt_ids(processing_class, problem, chat_template)])}
    processor: Any = processing_class
    if isinstance(problem.prompt, str):
        found = processor(text=[problem.prompt], return_tensors="pt")
    else:
        found = processor.apply_chat_template(
            conversation=[filled(problem.prompt, [decode(image) for image in problem.images])],
            chat_template=chat_template,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
    return {name: value for name, value in found.items() if name != "attention_mask"}


def prompt_fingerprint(processing_class: Any, problem: Problem) -> Any:
    """JSON data that changes whenever what a model reads of the prompt does. Decodes no picture."""
    if not problem.images:
        return prompt_ids(processing_class, problem)
    assert not isinstance(problem.prompt, str)
    text = processing_class.apply_chat_template(
        conversation=filled(problem.prompt, [None] * len(problem.images)), add_generation_prompt=True, tokenize=False
    )
    settings = processing_class.image_processor.to_json_string()
    return [tokenizer_of(processing_class)(text=text)["input_ids"], settings,
            [blake2b(image, digest_size=16).hexdigest() for image in problem.images]]


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


class TransformersSampler:
    """Samples from a transformers model in this process: a loaded checkpoint or the live model of a trainer.

    Args:
        model: anything with `generate` and `generation_config`.
        tokenizer: its tokenizer, or the processor of a model that sees; padding side and pad token are handled here
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
        """See `rlvr.interfaces.Sampler`. One `generate` call for all requests: the caller sizes the batch."""
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
        if not requests:
            return []
        stops, tokenizer = eos_ids(model, self._tokenizer), tokenizer_of(self._tokenizer)
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
                **{name: value.to(model.device) for name, value in batch.items()}, generation_config=config
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
