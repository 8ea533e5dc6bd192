"""A hash of the weights that sampling depends on, which identifies a model in the store of base measurements."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import torch

from rlvr.models.shards import is_sharded, own_part, whole

Gather = Callable[[list[Any]], list[Any]]
"""Items of this process -> items of all processes; `list` for one process alone."""


def weights_hash(model: Any, gather: Gather = list) -> str:
    """Content hash of the parameters that sampling depends on; the same for a model in parts (ZeRO-3, FSDP2).

    A model with more than the policy, such as a critic, lists the name parts to leave out in `beside_policy`.
    Low-rank adapters that add exactly nothing, as fresh ones do, are left out together with the names that their
    wrapper adds: such a model equals its base, and shares the base's measurement. `gather` gives the items of
    all ranks. Parameters in parts are made whole one after the other by all ranks, and rank 0 hashes them.
    """
    digest = blake2b(digest_size=16)
    beside = set(getattr(model, "beside_policy", ()))
    parameters = [(n, p) for n, p in model.named_parameters() if not beside & set(n.split("."))]
    if adapters_add_nothing(model, gather):
        parameters = [(_unwrapped(n), p) for n, p in parameters if not _of_adapter(n)]
    sharded = is_sharded(model)
    hashes = not sharded or torch.distributed.get_rank() == 0
    for name, parameter in sorted(parameters, key=lambda each: each[0]):
        with whole(parameter) as tensor:
            if hashes:
                digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
                digest.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return gather([digest.hexdigest()])[0] if sharded else digest.hexdigest()


def adapters_add_nothing(model: Any, gather: Gather = list) -> bool:
    """Whether the model has PEFT adapters and computes exactly what it would without them.

    True only if every adapter is a plain LoRA pair A, B one of whose factors is all zero and the other finite: its
    product is then 0 whatever the input, scale and dropout. Anything else PEFT can add (DoRA magnitudes, biases that
    are not zero, whole copies of modules, prompts, other adapter types) counts as something.
    """
    if not hasattr(model, "peft_config"):
        return False
    beside = set(getattr(model, "beside_policy", ()))
    plain = all(_plain(config) for name, config in model.peft_config.items() if name not in beside)
    pairs: dict[tuple[str, ...], list[Any]] = {}
    for name, parameter in model.named_parameters():
        parts = name.split(".")
        if beside & set(parts):
            continue
        at = next((i for i, part in enumerate(parts) if part in _FACTORS), None)
        if _of_adapter(name) and parts[-1] == "bias":
            plain = plain and _zero(parameter)
        elif at is not None:
            pairs.setdefault((*parts[:at], parts[at + 1]), []).append(parameter)
        elif _of_adapter(name) or any(word in name for word in ("modules_to_save", "trainable_tokens")):
            plain = False
    nothing = plain and all(len(pair) == 2 and any(map(_zero, pair)) and all(map(_finite, pair))
                            for pair in pairs.values())
    return all(gather([nothing]))  # of a sharded factor every rank sees a part


_FACTORS = frozenset({"lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B"})


def _plain(config: Any) -> bool:
    kind = getattr(config.peft_type, "value", config.peft_type)
    return kind == "LORA" and not getattr(config, "use_dora", False) and not getattr(config, "layer_replication", None)


def _of_adapter(name: str) -> bool:
    return any(part.startswith("lora_") for part in name.split("."))


def _unwrapped(name: str) -> str:
    """A base model's parameter by the name that it has without PEFT around it."""
    return ".".join(part for part in name.removeprefix("base_model.model.").split(".") if part != "base_layer")


def _zero(parameter: torch.Tensor) -> bool:
    return not bool(own_part(parameter).count_nonzero())


def _finite(parameter: torch.Tensor) -> bool:
    return bool(own_part(parameter).isfinite().all())

