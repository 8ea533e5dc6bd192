"""`rlvr.train` that also writes this process's peak of GPU memory; on a CPU with FSDP2 where the launcher asks for it.

Usage: accelerate launch ... -m tests.gpu.train PEAK_FILE RECIPE [key=value ...] [--resume]
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from rlvr import train
from rlvr.training.processes import leave, rank
from tests.support import fsdp2_on_cpu


def main() -> int:
    import torch

    if not torch.cuda.is_available():
        fsdp2_on_cpu.allow()
    if folder := os.environ.get("RLVR_TESTS_PIDS"):  # for a test that kills a rank
        Path(folder, f"rank{rank()}").write_text(str(os.getpid()))
    code = train.main(sys.argv[2:])
    if rank() == 0 and torch.cuda.is_available():
        Path(sys.argv[1]).write_text(str(torch.cuda.max_memory_allocated() / 2**30))
    return code


if __name__ == "__main__":
    leave(main())
