"""One process at a time writes a run directory: a lock that ends with its process, and a heartbeat for other hosts.

The lock is the kernel's (POSIX, on `owner.json`), so nothing has to be cleaned up after a kill. The heartbeat is for
file systems that do not share locks between hosts: the owner touches the file every few seconds, and a process on
another host that sees that happen does not start.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from rlvr.types import UserError

NAME = "owner.json"
BEAT_SECONDS = 15.0
WATCH_SECONDS = 40.0
"""For so long a process on another host watches for a heartbeat: more than two beats."""
LONG_AGO_SECONDS = 3600.0
"""A file untouched for this long is not watched, even if the clocks of the hosts differ."""


class _Owner:
    """This process's hold on one run directory."""

    def __init__(self, file: Path) -> None:
        self.file = file
        while True:
            self._descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self._still_there():
                    break
                os.close(self._descriptor)  # the last owner removed the file after we opened it
            except OSError:
                owner = self._read()
                os.close(self._descriptor)
                raise _in_use(file, owner) from None
        try:
            self._refuse_other_host()
        except UserError:
            os.close(self._descriptor)
            raise
        os.ftruncate(self._descriptor, 0)
        about = {"host": socket.gethostname(), "pid": os.getpid(),
                 "since": datetime.now(UTC).isoformat(timespec="seconds")}
        os.pwrite(self._descriptor, (json.dumps(about) + "\n").encode(), 0)
        self._ended = threading.Event()
        threading.Thread(target=self._beat, daemon=True, name="run directory heartbeat").start()

    def release(self) -> None:
        self._ended.set()
        if self._still_there():
            self.file.unlink()
        os.close(self._descriptor)

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            try:
                os.utime(self._descriptor)
            except OSError:
                return  # released in between, or the file system is gone

    def _still_there(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._descriptor), os.stat(self.file))
        except FileNotFoundError:
            return False

    def _read(self) -> dict[str, object]:
        try:
            owner = json.loads(os.pread(self._descriptor, 4096, 0))
        except ValueError:  # empty, or being written
            return {}
        return owner if isinstance(owner, dict) else {}

    def _refuse_other_host(self) -> None:
        """The lock was free, but an owner on another host may not be seen by it: watch for its heartbeat."""
        owner, touched = self._read(), os.fstat(self._descriptor).st_mtime
        if owner.get("host") in (None, socket.gethostname()) or abs(time.time() - touched) > LONG_AGO_SECONDS:
            return
        sys.stderr.write(f"{self.file.parent}: process {owner.get('pid')} on {owner['host']} used it last; watching "
                         f"for {WATCH_SECONDS:.0f} s whether it still does\n")
        deadline = time.monotonic() + WATCH_SECONDS
        while time.monotonic() < deadline:
            time.sleep(min(1.0, WATCH_SECONDS / 4))
            if os.fstat(self._descriptor).st_mtime != touched:
                raise _in_use(self.file, owner)


_held: dict[Path, _Owner] = {}


def own(folder: Path) -> None:
    """Make this process the one that writes `folder`, until `release` or its end.

    Raises UserError with host, process and start of the owner if there is another one.
    """
    file = folder.resolve() / NAME
    if file not in _held:
        _held[file] = _Owner(file)


def release() -> None:
    """Let other processes write what this one owns."""
    while _held:
        _held.popitem()[1].release()


def _in_use(file: Path, owner: dict[str, object]) -> UserError:
    who = f"process {owner.get('pid')} on {owner.get('host')}, since {owner.get('since')}" if owner else "a process"
    return UserError(f"in use by {who}; wait until it ends, end it, or choose another run_dir",
                     where=f"run_dir {file.parent}")
