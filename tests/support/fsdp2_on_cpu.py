"""FSDP2 on two CPU processes: what `launch/accelerate/fsdp2.yaml` asks for, which accelerate grants to GPUs alone.

On a CPU accelerate keeps the plain data parallelism of MULTI_CPU and says nothing. `allow` lets it take gloo processes
for ones with GPUs; a test then asks `assert_sharded` of its model.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import DistributedType
from torch.distributed.tensor import DTensor


def wanted() -> bool:
    """Whether this process was started with FSDP."""
    return os.environ.get("ACCELERATE_USE_FSDP") == "true"


def allow() -> None:
    """From now on this process gets FSDP2 if `accelerate launch` asks for it; call it before anything of accelerate."""
    if not wanted():
        return

    def prepare(self: Any, *args: Any, **kwargs: Any) -> tuple[str, DistributedType]:
        if not torch.distributed.is_initialized():
            torch.distributed.init_process_group("gloo")
        return "gloo", DistributedType.MULTI_GPU

    os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"
    PartialState._prepare_backend = prepare


def assert_sharded(model: Any) -> None:
    """Every parameter is this process's part of one."""
    whole = [name for name, parameter in model.named_parameters() if not isinstance(parameter, DTensor)]
    assert not whole, f"not sharded: {whole}"
