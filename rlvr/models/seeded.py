"""Seeded draws: each a function of (seed, stream, problem id, sample index) and the position alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from torch.nn.functional import pad
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from rlvr.models.prefix import repeated_prefix
from rlvr.types import NonFiniteError

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

    The nucleus is the smallest set of most likely tokens whose mass reaches `top_p`, the crossing token included. Of
    equally likely tokens the first count as more likely.

    Args:
        logp_NV: log-probabilities (normalised), any float dtype.
        u_N: float64 uniforms in [0, 1).
        top_p: in (0, 1]; 1 keeps the whole vocabulary.

    Returns: int64 token ids of shape (N,).
    """
    if top_p >= 1.0:
        return _inverse(logp_NV.exp().double(), u_N)
    if logp_NV.size(-1) <= LIKELIEST:
        return _from_nucleus(logp_NV, u_N, top_p)[0]
    # To sort 50,000 words took a quarter of the time of sampling from a model of 135 M parameters.
    ids_NK = logp_NV.topk(LIKELIEST, dim=-1, sorted=False).indices.sort(dim=-1).values
    index_N, whole_N = _from_nucleus(logp_NV.gather(-1, ids_NK), u_N, top_p)
    tokens_N = ids_NK.gather(-1, index_N[:, None]).squeeze(-1)
    if not whole_N.all():
        tokens_N[~whole_N] = _from_nucleus(logp_NV[~whole_N], u_N[~whole_N], top_p)[0]
    return tokens_N


LIKELIEST = 256
"""How many tokens are looked at first for a nucleus."""


def _from_nucleus(logp_NK: torch.Tensor, u_N: torch.Tensor, top_p: float) -> tuple[torch.Tensor, torch.Tensor]:
    """(index of the draw, whether the nucleus ends among these tokens), both (N,). A nucleus that ends among tokens as
    likely as the last of these does not count: others may be as likely."""
    sorted_NK, order_NK = logp_NK.sort(dim=-1, descending=True, stable=True)
    mass_NK = sorted_NK.exp().double()
    inside_NK = mass_NK.cumsum(-1) - mass_NK < top_p
    index_N = _inverse(mass_NK.masked_fill(~inside_NK, 0.0), u_N)
    least_N1 = sorted_NK.gather(-1, inside_NK.sum(-1, keepdim=True) - 1)
    return order_NK.gather(-1, index_N[:, None]).squeeze(-1), (least_N1 > sorted_NK[:, -1:]).squeeze(-1)


def _inverse(mass_NV: torch.Tensor, u_N: torch.Tensor) -> torch.Tensor:
    """Where the cumulated mass of each row exceeds `u_N` of its total, (N,)."""
    cdf_NV = mass_NV.cumsum(-1)
    total_N1 = cdf_NV[:, -1:]
    index_N1 = torch.searchsorted(cdf_NV, u_N[:, None] * total_N1, right=True)
    # u < 1, but u * total can round up to total: stay on the last token that carries mass.
    last_N1 = (cdf_NV < total_N1).sum(-1, keepdim=True)
    return torch.minimum(index_N1, last_N1).squeeze(-1)


class SeededSampling(LogitsProcessor):
    """Chooses every token of one `generate` call (run with do_sample=False) and records what it saw.

    Attributes:
        keys_N: of the rows.
        logps: list over positions of (N,) log-probabilities of the chosen tokens under the tempered
            distribution, before top-p.
        entropies: list over positions of (N,) entropies in nats of that distribution.
    """

    def __init__(self, keys: Sequence[int], *, temperature: float, top_p: float) -> None:
        self.keys_N = np.array(keys, dtype=np.uint64)
        self._temperature = temperature
        self._top_p = top_p
        self.logps: list[torch.Tensor] = []
        self.entropies: list[torch.Tensor] = []

    def of(self, keys: Sequence[int]) -> SeededSampling:
        """The same decoding for other rows."""
        return SeededSampling(keys, temperature=self._temperature, top_p=self._top_p)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        greedy = self._temperature == 0.0
        logp_NV = (scores.float() if greedy else scores.float() / self._temperature).log_softmax(-1)
        entropy_N = torch.special.entr(logp_NV.exp()).sum(-1)
        # A logit of -inf is a token that must not be drawn; NaN, +inf or -inf everywhere make the entropy NaN.
        if entropy_N.isnan().any():
            raise NonFiniteError(f"the model's logits are NaN or infinite at token {len(self.logps) + 1} of a "
                                 "completion: its weights are damaged, or its dtype overflows")
        if greedy:
            tokens_N = logp_NV.argmax(-1)
        else:
            u_N = torch.from_numpy(uniforms(self.keys_N, len(self.logps))).to(scores.device)
            tokens_N = pick_tokens(logp_NV, u_N, self._top_p)
        self.logps.append(logp_NV.gather(-1, tokens_N[:, None]).squeeze(-1))
        self.entropies.append(entropy_N)
        return torch.full_like(scores, -torch.inf).scatter(-1, tokens_N[:, None], 0.0)


@contextmanager
def seeded_generation(model: Any, sampling: SeededSampling, *, rows: int | None = None) -> Iterator[None]:
    """Within the block `model.generate` lets `sampling` choose the tokens and computes each distinct prompt once;
    lengths, stop ids and ids that may not be drawn stay the caller's.

    Args:
        rows: prompts that are generated at a time; None: all. The draws do not depend on it. Prompts with pictures are
            generated all at once.
    """
    original: Callable[..., Any] = model.generate
    own = vars(model).get("generate")  # FSDP2 hangs one of its own on the model

    def generate(
        *args: Any, generation_config: GenerationConfig, synced_gpus: bool | None = None, **kwargs: Any
    ) -> Any:
        passes = partial(original, synced_gpus=synced_gpus)
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
            if rows is not None and kwargs.keys() == {"input_ids", "attention_mask"}:
                return _in_parts(model, passes, config, sampling, rows, kwargs)
            prefix = repeated_prefix(model, passes, kwargs, config.pad_token_id)
            return passes(
                *args, generation_config=config, logits_processor=LogitsProcessorList([sampling]), **kwargs, **prefix
            )
        finally:
            model.generation_config = declared

    model.generate = generate
    try:
        yield
    finally:
        if own is None:
            del model.generate
        else:
            model.generate = own


def _in_parts(
    model: Any, generate: Callable[..., torch.Tensor], config: GenerationConfig, sampling: SeededSampling, rows: int,
    prompts: dict[str, torch.Tensor],
) -> torch.Tensor:
    """What one `generate` gives for left-padded prompts, from several with `rows` prompts each."""
    ids_NP, mask_NP, parts = prompts["input_ids"], prompts["attention_mask"], []
    for first in range(0, len(ids_NP), rows):
        chosen = slice(first, first + rows)
        start = int(mask_NP[chosen].argmax(1).min())  # columns before it are padding in this part
        inputs = {"input_ids": ids_NP[chosen, start:], "attention_mask": mask_NP[chosen, start:]}
        prefix = repeated_prefix(model, generate, inputs, config.pad_token_id)
        own = sampling.of(sampling.keys_N[chosen].tolist())
        output = generate(generation_config=config, logits_processor=LogitsProcessorList([own]), **inputs, **prefix)
        completions_nT = output[:, ids_NP.size(1) - start :]
        parts.append((completions_nT, torch.stack(own.logps, dim=1), torch.stack(own.entropies, dim=1)))
    longest = max(completions_nT.size(1) for completions_nT, _, _ in parts)

    def joined(tensors: Sequence[torch.Tensor], fill: Any) -> torch.Tensor:
        return torch.cat([pad(x_nT, (0, longest - x_nT.size(1)), value=fill) for x_nT in tensors])

    completions, logps, entropies = zip(*parts, strict=True)
    sampling.logps += joined(logps, 0.0).unbind(1)
    sampling.entropies += joined(entropies, 0.0).unbind(1)
    return torch.cat([ids_NP, joined(completions, config.pad_token_id)], dim=1)
