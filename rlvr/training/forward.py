"""Forward passes in training that give what the sampler saw: their inputs, positions, and no dropout."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
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


def has_learned_positions(model: Any) -> bool:
    """Whether left padding changes what the model computes unless it is told the positions, as with GPT-2. Rotary
    positions are relative: they need no telling."""
    model = model.get_base_model() if hasattr(model, "get_base_model") else model
    takes_positions = "position_ids" in inspect.signature(type(model).forward).parameters
    return takes_positions and not any("rotary" in type(module).__name__.lower() for module in model.modules())


def with_positions(model: Any) -> Callable[..., Any]:
    """The model, told that the first token of each row that is no padding has position 0."""

    def forward(*, attention_mask: torch.Tensor, **inputs: Any) -> Any:
        positions = (attention_mask.cumsum(1) - 1).clamp(min=0)
        return model(attention_mask=attention_mask, position_ids=positions, **inputs)

    return forward


def switch_off_dropout(model: Any) -> None:
    """Set every rate of dropout to 0, also those that are plain numbers of a module or of the config and reach
    functions. Sampling has none, and the log-probabilities of training are compared with those of sampling."""
    configs = {id(config): config for module in model.modules() if (config := getattr(module, "config", None))}
    for holder in (*model.modules(), *configs.values()):
        for name, value in list(vars(holder).items()):
            if "drop" in name and isinstance(value, float) and value:
                setattr(holder, name, 0.0)
        if "Dropout" in type(holder).__name__ and hasattr(holder, "p"):
            holder.p = 0.0
