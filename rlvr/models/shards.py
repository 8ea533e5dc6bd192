"""Parameters that are spread over processes (ZeRO-3, FSDP2): whole ones out of their parts, and into them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch


def is_sharded(model: Any) -> bool:
    """Whether processes must make every forward pass together: FSDP2 then gathers parameters, and ZeRO-3 compares notes
    at each pass, also while all of them are gathered."""
    return any(hasattr(parameter, "full_tensor") or hasattr(parameter, "ds_id") for parameter in model.parameters())


@contextmanager
def whole(parameter: Any) -> Iterator[torch.Tensor]:
    """The whole of one parameter, within the block. All processes that hold a part of it must ask for it."""
    if hasattr(parameter, "full_tensor"):
        yield parameter.detach().full_tensor()
    elif hasattr(parameter, "ds_id"):
        import deepspeed

        with deepspeed.zero.GatheredParameters([parameter]):
            yield parameter.detach()
    else:
        yield parameter.detach()


def own_part(parameter: Any) -> torch.Tensor:
    """What this process holds of a parameter: all of one that is not sharded."""
    part = getattr(parameter, "ds_tensor", parameter).detach()
    return part.to_local() if hasattr(part, "to_local") else part


def load_plain(model: Any, state: Mapping[str, torch.Tensor]) -> None:
    """Load whole tensors, the same on every process, into a model that may be in parts (FSDP2). Others stay as they
    are."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict

    set_model_state_dict(model, dict(state), options=StateDictOptions(full_state_dict=True, strict=False))
