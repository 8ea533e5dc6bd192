"""What a forward pass over a micro-batch takes, from TRL's tensors of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

_MULTIMODAL_KEYS = (
    "pixel_values",
    "image_grid_thw",
    "num_images",
    "pixel_attention_mask",
    "spatial_shapes",
    "num_tiles",
    "image_sizes",
    "token_type_ids",
    "mm_token_type_ids",
    "image_position_ids",
)
"""What `_get_per_token_logps_and_entropies` takes beside tokens; TRL puts them into the micro-batch as needed."""


def sequences(tensors: Mapping[str, Any]) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Prompts and completions in one row each, left- and right-padded: ids, attention mask, response tokens T."""
    completion_ids = tensors["completion_ids"]
    return (
        torch.cat([tensors["prompt_ids"], completion_ids], dim=1),
        torch.cat([tensors["prompt_mask"], tensors["completion_mask"]], dim=1),
        completion_ids.size(1),
    )


def multimodal(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """The pictures of a micro-batch, if it has any."""
    return {key: tensors[key] for key in _MULTIMODAL_KEYS if key in tensors}
