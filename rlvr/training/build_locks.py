"""Locks of PyTorch extension builds that no process holds any more.

DeepSpeed compiles operators at its first start. torch marks a build by a file `lock` in the operator's folder and keeps
it open until the build ends; every other start waits, without a word, until the file is gone. A build that was killed
leaves it behind for ever.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

LONGEST_BUILD = 600.0
"""Seconds. On a file system that other machines share, a lock that no process of this machine holds may be theirs."""
LOCAL = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "overlay", "tmpfs"})
"""File systems of one machine."""


def extension_folder() -> Path:
    """Where torch builds extensions: $TORCH_EXTENSIONS_DIR, else a folder in the user's cache."""
    given = os.environ.get("TORCH_EXTENSIONS_DIR")
    if given:
        return Path(given)
    from torch.utils.cpp_extension import get_default_build_root

    return Path(get_default_build_root())


def clear_build_locks(state: Any) -> None:
    """`remove_dead_locks` before DeepSpeed starts, by one process of each machine while the others wait.

    state: accelerate's `PartialState`.
    """
    if os.environ.get("ACCELERATE_USE_DEEPSPEED") == "true":
        with state.local_main_process_first():
            if state.is_local_main_process:
                remove_dead_locks(extension_folder())


def remove_dead_locks(folder: Path, *, longest_build: float = LONGEST_BUILD, poll: float = 1.0) -> None:
    """Remove the locks below `folder` that no living process holds, and say so on stderr.

    Where another machine may hold one, wait until it is older than any build.
    """
    for lock in [path.resolve() for path in folder.glob("**/lock") if path.is_file()]:
        told = False
        while lock.exists() and lock not in _open_files():
            age = time.time() - lock.stat().st_mtime
            if _is_local(lock) or age > longest_build:
                lock.unlink(missing_ok=True)
                sys.stderr.write(f"{lock}: left by a build that was killed; removed, and the operator is built anew\n")
            elif not told:
                told = True
                sys.stderr.write(f"{lock}: no process of this machine holds it; waiting up to "
                                 f"{longest_build - age:.0f} s for a build on another machine; if there is none, "
                                 "delete it\n")
            else:
                time.sleep(poll)


def _open_files() -> set[Path]:
    """Files that processes of this machine have open, of those that this user may look at."""
    targets = set()
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            targets.add(descriptor.readlink())
        except OSError:  # ended meanwhile, or another user's
            continue
    return targets


def _is_local(path: Path) -> bool:
    """Whether `path` is on a file system of this machine alone."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    within = [(len(point), kind) for _, point, kind, *_ in mounts if path.is_relative_to(point)]
    return max(within)[1] in LOCAL
