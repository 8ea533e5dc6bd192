"""Each distinct prompt of a batch is computed once, and its cache is repeated over its samples.

The samples of a problem and the rollouts of a group begin with one prompt. `generate` would compute it once per row;
here the distinct rows go through the model first, without their last token, and `generate` goes on from their caches
with that token alone. The draws are the same up to float rounding.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import torch
from transformers import DynamicCache, GenerationConfig
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer, LinearAttentionLayer

logger = logging.getLogger(__name__)

TEXT = frozenset({"input_ids", "attention_mask"})
"""What a batch of prompts without pictures consists of."""
_told: set[str] = set()


def repeated_prefix(model: Any, generate: Callable[..., Any], inputs: Mapping[str, Any], pad: int | None
                    ) -> dict[str, Any]:
    """`past_key_values` for `generate(**inputs)`: all prompt tokens but the last, for every row; {} if that cannot be.

    It cannot be for prompts with pictures and for models that keep another cache than transformers' own; that is logged
    once. Else every call makes one pass over the model, whatever the prompts: the processes of a sharded model make
    their passes together, and have pictures in all prompts or in none.

    Args:
        model: in eval mode; `generate` is its own.
        inputs: `input_ids` and `attention_mask`, (N, L), padded on the left.
    """
    if not inputs.keys() <= TEXT or len(inputs) < len(TEXT):
        return _not_once("a batch with more than text (pictures)")
    if not _repeatable(DynamicCache(config=model.config.get_text_config(decoder=True))):
        return _not_once(f"{type(model).__name__} keeps a cache that cannot be repeated")
    ids_NL, mask_NL = inputs["input_ids"], inputs["attention_mask"]
    first_P, prompt_N = _distinct(ids_NL, mask_NL)
    width = ids_NL.size(1)
    before = slice(0, max(width - 1, 1))
    cache = generate(
        input_ids=ids_NL[first_P, before], attention_mask=mask_NL[first_P, before],
        generation_config=GenerationConfig(
            max_new_tokens=1, do_sample=False, pad_token_id=pad, return_dict_in_generate=True, disable_compile=True
        ),
    ).get("past_key_values")
    if not _repeatable(cache):
        return _not_once(f"{type(model).__name__} returned no cache that can be repeated")
    if width == 1:  # a prompt of one token has nothing before its last
        return {}
    if len(first_P) < len(prompt_N):
        cache.reorder_cache(torch.tensor(prompt_N, device=ids_NL.device))
    return {"past_key_values": cache}


def _distinct(ids_NL: torch.Tensor, mask_NL: torch.Tensor) -> tuple[list[int], list[int]]:
    """(the first row of each distinct prompt, the number of each row's prompt among these)."""
    numbers: dict[bytes, int] = {}
    first_P, prompt_N = [], []
    rows = zip(ids_NL.cpu().numpy(), mask_NL.cpu().numpy().astype(bool), strict=True)
    for i, (ids_L, mask_L) in enumerate(rows):
        number = numbers.setdefault(ids_L.tobytes() + mask_L.tobytes(), len(first_P))
        if number == len(first_P):
            first_P.append(i)
        prompt_N.append(number)
    return first_P, prompt_N


def _repeatable(cache: Any) -> bool:
    """Whether `reorder_cache` copies the rows of this cache completely and `generate` takes it as `past_key_values`."""
    kinds = {type(layer) for layer in cache.layers} if isinstance(cache, DynamicCache) else set()
    return bool(kinds & {DynamicLayer, DynamicSlidingWindowLayer}) and kinds <= {
        DynamicLayer, DynamicSlidingWindowLayer, LinearAttentionLayer}


def _not_once(why: str) -> dict[str, Any]:
    if why not in _told:
        _told.add(why)
        logger.warning("prompts are computed once per sample, not once per prompt: %s", why)
    return {}
