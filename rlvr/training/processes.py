"""What concerns several training processes: rank, actions of rank 0 alone, the launcher's summary, a clean exit."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

from rlvr.probes.world import all_processes, meet, share
from rlvr.types import Problem, UserError

if TYPE_CHECKING:  # the command line imports this file, also to print its help
    from rlvr.judging.golds import GoldJudge
    from rlvr.judging.judge import GoldComplaint

T = TypeVar("T")

GRACE = 5.0
"""Seconds that the other processes wait when a run is refused. torchrun ends them once rank 0 has ended, and then its
summary closes with rank 0's line as the root cause, and tells it once instead of once per process."""


def rank() -> int:
    """Number of this process, from 0."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """How many processes train."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def on_main(action: Callable[[], T]) -> T:
    """Run on rank 0 and share the result; its UserError is raised on every rank. The others wait however long it takes,
    see `rlvr.probes.world.meet`."""
    return all_processes().first(action)


def launched_in_parts(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether `accelerate launch` asked for an engine that holds the model in parts: ZeRO-3 or FSDP2. False too where
    it did not say: DeepSpeed's config may come from elsewhere."""
    if environ.get("ACCELERATE_USE_FSDP", "").lower() == "true":
        return environ.get("FSDP_VERSION") == "2"
    if environ.get("ACCELERATE_USE_DEEPSPEED", "").lower() != "true":
        return False
    file = Path(environ.get("ACCELERATE_DEEPSPEED_CONFIG_FILE", "none"))
    if file.is_file():
        return json.loads(file.read_text()).get("zero_optimization", {}).get("stage") == 3
    return environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE") == "3"


def check_parts(problems: Sequence[Problem], *, quantized: bool) -> None:
    """Raises UserError for what cannot be done where processes hold the model in parts (ZeRO-3, FSDP2): quantized
    weights, which are not cut, and prompts with pictures among prompts without. Processes gather each part together,
    and one without pictures never comes to the parts that read them."""
    if quantized:
        raise UserError("ZeRO-3 and FSDP2 do not cut quantized weights: launch with ddp.yaml or zero2.yaml, where each "
                        "process holds them all", where="model.quantization")
    pictures = sum(bool(problem.images) for problem in problems)
    if 0 < pictures < len(problems):
        raise UserError(f"{pictures:,} of {len(problems):,} problems have pictures; ZeRO-3 and FSDP2 need pictures in "
                        "all or in none: launch with ddp.yaml or zero2.yaml, or leave one kind out", where="data.train")


class GoldsOfAll:
    """A judge of gold answers that has judged them: each rank its share."""

    def __init__(self, judge: GoldJudge, problems: Sequence[Problem]) -> None:
        world = all_processes()
        parts = world.each(lambda: judge.check_golds(share(problems, world)))
        self._problems = list(problems)
        self._complaints = [complaint for part in parts for complaint in part]

    def check_golds(self, problems: Sequence[Problem]) -> list[GoldComplaint | None]:
        """What is wrong with each; `problems` must be those that were judged."""
        assert list(problems) == self._problems
        return self._complaints


def tell_launcher(line: str) -> None:
    """Let torchrun's closing summary, which is printed below its traceback, repeat the line.

    When one process ends, torchrun ends the others, perhaps before the one that prints has printed.
    """
    file = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if file:
        Path(file).write_text(json.dumps({"message": line, "timestamp": int(time.time())}))


def failed(line: str, code: int) -> int:
    """Say it on stderr once, whatever the number of processes; returns the code."""
    if rank() == 0:
        sys.stderr.write(f"{line}\n")
    else:
        time.sleep(GRACE)
    tell_launcher(line)
    return code


def leave(code: int) -> NoReturn:
    """End this process with exit code `code`; with several processes, skip the interpreter's own shutdown.

    torch 2.13 can deadlock or abort in it: the destructor of a process group joins gloo's threads while it holds the
    interpreter lock, which one of them still wants. Seen in 1 of 10 runs on two busy cores, after all work was done.
    """
    dist = sys.modules.get("torch.distributed")  # None where a recipe was refused before torch was loaded
    if dist is not None and dist.is_available() and dist.is_initialized():
        if code == 0:
            meet()  # rank 0 may still send to W&B
            dist.barrier()  # no process closes its sockets while another still reads from them
            if dist.get_backend() != "gloo":
                dist.destroy_process_group()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
