"""One of several training processes: who prints, what rank 0 does alone, what a launcher is told, how to end."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from rlvr.types import UserError

T = TypeVar("T")


def rank() -> int:
    """Number of this process, from 0."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """How many processes train."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def on_main(action: Callable[[], T]) -> T:
    """Run on rank 0 and share the result; its UserError is raised on every rank."""
    from accelerate.utils import broadcast_object_list

    outcome: list[Any] = [None, None]
    if rank() == 0:
        try:
            outcome[0] = action()
        except UserError as error:
            outcome[1] = str(error)
    if world_size() > 1:
        broadcast_object_list(outcome)
    if outcome[1] is not None:
        raise UserError(outcome[1])
    return outcome[0]


def tell_launcher(line: str) -> None:
    """Leave the line where torchrun's closing summary, which stands below its own traceback, shows it again.

    The first process to end makes torchrun end the others, maybe before the one that prints has printed.
    """
    file = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if file:
        Path(file).write_text(json.dumps({"message": line, "timestamp": int(time.time())}))


def leave(code: int) -> NoReturn:
    """End this process with exit code `code`; with several processes, without tearing the interpreter down.

    torch 2.13 can deadlock or abort there: a process group's destructor joins gloo's threads while it holds the
    interpreter lock that one of them still wants (seen in 1 of 10 runs on two busy cores, after all work was done).
    """
    dist = sys.modules.get("torch.distributed")  # not imported: nothing was begun, as when a recipe is refused
    if dist is not None and dist.is_available() and dist.is_initialized():
        if code == 0:
            dist.barrier()  # no process closes its sockets while another still reads from them
            if dist.get_backend() != "gloo":
                dist.destroy_process_group()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
