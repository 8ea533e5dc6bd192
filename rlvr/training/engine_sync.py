"""Weights for the vLLM engine: adapters are merged into copies, so that the base keeps its bits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from rlvr.training.gathered import unsharded


def keep_base_exact(generation: Any) -> None:
    """Let TRL's vLLM driver merge adapters without touching the base.

    TRL merges them in place and subtracts them again. Each time the sum and the difference are rounded to the dtype of
    the weights: in bfloat16 a fifth of them had moved after 150 synchronisations.
    """
    generation._iter_named_params = lambda: _merged(generation)


def _merged(generation: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """(name in vLLM, weight with the active adapters in it), one after the other. All ranks must take all of them."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    model = generation.model
    with generation._dist.gather_params(list(model.parameters())), unsharded(model):
        layers = {id(parameter): layer for layer in model.modules() if isinstance(layer, BaseTunerLayer)
                  for parameter in layer.get_base_layer().parameters()}
        for name, parameter in model.named_parameters():
            if model.prefix in name or "original_module" in name:  # the adapters, and what `modules_to_save` replaces
                continue
            name = name.removeprefix("base_model.model.").replace(".base_layer", "")
            name = generation._fix_param_name_to_vllm(name, extra_prefixes=["modules_to_save.default."])
            layer = layers.get(id(parameter))
            yield name, parameter.data if layer is None else _with_adapters(layer, parameter)


@torch.no_grad()
def _with_adapters(layer: Any, parameter: torch.nn.Parameter) -> torch.Tensor:
    """A copy of one of the layer's weights with its adapters merged; the layer is as before, bit for bit."""
    before = [(each, each.data.clone()) for each in layer.get_base_layer().parameters()]
    layer.merge()
    merged = parameter.data.clone()
    layer.unmerge()
    for each, data in before:
        each.data.copy_(data)
    return merged
