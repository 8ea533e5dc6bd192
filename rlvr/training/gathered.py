"""A model in parts (FSDP2, ZeRO-3) with all its weights whole for a while, to generate with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.distributed.fsdp import FSDPModule
from trl.models.utils import unwrap_model_for_generation


@contextmanager
def unsharded(model: Any) -> Iterator[None]:
    """Within the block every process holds all of a model that FSDP2 has in parts, in the dtype of its forward passes.

    Generation makes a pass per token: gathered once instead of at every layer of every pass, it does not wait for other
    processes, and each may make as many passes as its own completions need. A model that FSDP2 does not know is left
    as it is.
    """
    modules = [module for module in model.modules() if isinstance(module, FSDPModule)]
    if modules:
        modules[0]._get_fsdp_state()._lazy_init()  # the root; before its first pass some groups are not set up
    groups = dict.fromkeys(group for module in modules for group in module._get_fsdp_state()._fsdp_param_groups)
    after_forward = [group.post_forward_mesh_info for group in groups]
    for module in modules:
        module.unshard()
    for group in groups:
        group.post_forward_mesh_info = None  # not back into parts after the pass of its layer
    try:
        yield
    finally:
        for group, mesh in zip(groups, after_forward, strict=True):
            group.post_forward_mesh_info = mesh
        for module in modules:
            module.reshard()


@contextmanager
def whole_model(trainer: Any) -> Iterator[Any]:
    """The bare model of a trainer with all its weights gathered, whatever holds it in parts."""
    args = trainer.args
    with unsharded(trainer.model), unwrap_model_for_generation(
        trainer.model_wrapped, trainer.accelerator, gather_deepspeed3_params=args.ds3_gather_for_generation,
        gradient_checkpointing_kwargs=args.gradient_checkpointing_kwargs,
    ) as model:
        yield model
