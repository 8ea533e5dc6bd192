"""Forward passes in training that give what the sampler saw: their inputs, positions, and no dropout.

Axes: B rows, T response tokens as padded, L tokens of a row as the model gets it, R rows of that (1 if packed).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from rlvr.types import UserError

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


class Sequences(NamedTuple):
    """Prompts and completions in one row each: prompts padded on the left, completions on the right."""

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    response_tokens: int
    """T: the last columns, those of the completions."""


def sequences(tensors: Mapping[str, Any]) -> Sequences:
    """The rows of TRL's tensors."""
    completion_ids = tensors["completion_ids"]
    return Sequences(
        torch.cat([tensors["prompt_ids"], completion_ids], dim=1),
        torch.cat([tensors["prompt_mask"], tensors["completion_mask"]], dim=1),
        completion_ids.size(1),
    )


def trimmed(rows: Sequences) -> tuple[Sequences, slice]:
    """The rows without the columns at either end that are padding in all of them, and the columns that are left."""
    ids, mask, response_tokens = rows
    used = mask.any(0).nonzero().flatten().tolist() or [0]
    prompt_tokens = ids.size(1) - response_tokens
    columns = slice(min(used[0], prompt_tokens), max(used[-1], prompt_tokens) + 1)
    return Sequences(ids[:, columns], mask[:, columns], columns.stop - prompt_tokens), columns


@dataclass(frozen=True, slots=True)
class Compact:
    """Rows of text as a causal model may get them: each from its first token on, padding only behind them, where no
    token sees it. So the model needs no mask, and attention can use its fastest kernel; only `packed` rows, which lie
    end to end in one, need positions, by which the model tells them apart."""

    inputs: dict[str, torch.Tensor]
    """Arguments of the model."""
    labels: torch.Tensor
    """The response tokens, -100 elsewhere; (R, L)."""
    real: torch.Tensor
    """What is not padding, (R, L)."""
    response_mask: torch.Tensor
    """Where the response tokens are in the padded layout, (B, T)."""

    @classmethod
    def of(cls, rows: Sequences, *, packed: bool) -> Compact:
        """From padded rows. A row has at least one prompt token: nothing predicts the first token of a row."""
        attended = rows.attention_mask.bool()
        in_response = attended.clone()
        in_response[:, : -rows.response_tokens] = False
        lengths_B = attended.sum(1)
        positions = None
        if packed:
            positions = torch.cat([torch.arange(n, device=lengths_B.device) for n in lengths_B.tolist()])[None]
            real = torch.ones_like(positions, dtype=torch.bool)
        else:
            real = torch.arange(int(lengths_B.max()), device=lengths_B.device) < lengths_B[:, None]

        def moved(x: torch.Tensor, fill: int) -> torch.Tensor:  # both layouts hold the real tokens in the same order
            return x.new_full(real.shape, fill).masked_scatter(real, x[attended])

        inputs = {"input_ids": moved(rows.input_ids, 0)} | ({} if positions is None else {"position_ids": positions})
        labels = moved(rows.input_ids.masked_fill(~in_response, -100), -100)
        return cls(inputs, labels, real, in_response[:, -rows.response_tokens :])

    def read(self, predicted: torch.Tensor) -> torch.Tensor:
        """What the model says of each response token, at the position before it: from (R, L) or (R, L - 1) back to
        the padded (B, T), 0 on padding."""
        of_tokens = predicted[:, : self.labels.size(1) - 1][self.labels[:, 1:] != -100]
        return predicted.new_zeros(self.response_mask.shape).masked_scatter(self.response_mask, of_tokens)


def multimodal(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """The pictures of a micro-batch, if it has any."""
    return {key: tensors[key] for key in _MULTIMODAL_KEYS if key in tensors}


def has_learned_positions(model: Any) -> bool:
    """Whether left padding changes what the model computes unless it is told the positions, as with GPT-2. Rotary
    positions are relative: they need no telling."""
    model = model.get_base_model() if hasattr(model, "get_base_model") else model
    takes_positions = "position_ids" in inspect.signature(type(model).forward).parameters
    return takes_positions and not any("rotary" in type(module).__name__.lower() for module in model.modules())


def check_packable(model: Any) -> None:
    """Raises UserError for a model that would not keep apart rows that lie end to end."""
    model = model.get_base_model() if hasattr(model, "get_base_model") else model
    if model._is_stateful or "position_ids" not in inspect.signature(type(model).forward).parameters:
        why = "carries a state from token to token" if model._is_stateful else "takes no positions"
        raise UserError(f"train.padding_free: found true, expected false with {type(model).__name__}, which {why} and "
                        "would mix rollouts that lie end to end; train.micro_batch_tokens alone is fine")


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
