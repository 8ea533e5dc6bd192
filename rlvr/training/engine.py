"""TRL's vLLM engine as our runs need it: room for the samples of a probe, awake as long as it lasts, and adapters that
are merged into copies of the weights, so that the base keeps its bits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from trl.trainer import grpo_trainer

from rlvr.config.recipe import Recipe
from rlvr.models.declared import declared
from rlvr.runs.waiting import told
from rlvr.training.gathered import unsharded
from rlvr.training.processes import world_size
from rlvr.types import Decoding


def fit_engine(args: Any, recipe: Recipe, decodings: Sequence[Decoding], longest_prompt: int) -> None:
    """Size the colocated engine of these arguments: for the longest sequence that training and probes can ask for,
    where the recipe does not say, and for a whole batch of a probe at a time. The model's own limit may be many times
    as long, and an engine keeps room for one sequence of the length it is told.

    Args:
        decodings: of the probes, of all conditions.
        longest_prompt: of training and probes, in tokens.
    """
    train = recipe.train
    if train.vllm is None:
        return
    if train.vllm.max_model_length is None:
        wanted = longest_prompt + max([train.max_new_tokens, *(each.max_new_tokens for each in decodings)])
        limit = getattr(declared(recipe.model)[0].get_text_config(), "max_position_embeddings", None)
        args.vllm_max_model_length = min(wanted, limit or wanted)
    if decodings:
        args.vllm_sequences = -(-recipe.probes.batch_size // world_size()) * train.vllm.tensor_parallel_size


@contextmanager
def room_for(sequences: int | None) -> Iterator[None]:
    """Within the block TRL makes its vLLM driver with room for at least so many sequences at a time. It would make room
    for the training rollouts of a process alone; a probe's batch may be many times as large. A long start is told."""
    module: Any = grpo_trainer
    driver = module.VLLMGeneration

    def roomy(*args: Any, max_num_seqs: int, **kwargs: Any) -> Any:
        of_server = f"the vLLM server at {kwargs.get('server_base_url')} to answer (`trl vllm-serve` starts one)"
        awaited = of_server if kwargs.get("mode") == "server" else "the vLLM engine to start"
        with told(f"waiting for {awaited}; Ctrl-C ends the run"):
            return driver(*args, max_num_seqs=max(max_num_seqs, sequences or 0), **kwargs)

    module.VLLMGeneration = roomy
    try:
        yield
    finally:
        module.VLLMGeneration = driver


@contextmanager
def awake(trainer: Any) -> Iterator[None]:
    """Within the block an engine with sleep mode stays awake. It would drop its weights after every batch of a probe,
    and get all of them again before the next; so it gets them once."""
    generation = trainer.vllm_generation if trainer.use_vllm else None
    if generation is None or generation.mode != "colocate" or not generation.enable_sleep_mode:
        yield
        return
    generation.sync_weights()  # wakes the memory of the weights
    trainer._last_loaded_step = trainer.state.global_step
    generation.llm.wake_up(tags=["kv_cache"])
    generation.enable_sleep_mode = False
    try:
        yield
    finally:
        generation.enable_sleep_mode = True
        generation.llm.sleep(level=2)
        generation._llm_weights_sleeping = True


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
