"""The training step in the name of a checkpoint."""

from __future__ import annotations

import re
from pathlib import Path

_STEP = re.compile(r"(?:checkpoint|ckpt|step|iter)[-_]?(\d+)(?:_hf)?$")


def step_of(model: str) -> int | None:
    """The training step in a checkpoint's name (`runs/a/checkpoint-60`, `global_step_60/actor`); None without one."""
    for part in reversed(Path(model).parts):
        match = _STEP.search(part)
        if match:
            return int(match[1])
    return None
