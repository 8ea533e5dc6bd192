"""Jails: processes in which a candidate program can do no harm, started ahead of need, used once and then killed.

Two tiers, the first that proves itself on this machine is used; programs are never run without one:

1. `bwrap`: bubblewrap with user, PID, network, IPC, UTS and mount namespaces. In it there is the interpreter, to be
   read, and nothing else: no /proc, no /etc, no home, no writable directory, no network.
2. `landlock`, where namespaces are switched off (most containers): the same processes without namespaces, the file
   system taken away by landlock, which needs Linux 6.2 or newer.

In both the process drops to uid 65534 where it is root, gets an empty environment and rlimits, and forbids itself by
seccomp to start processes, to open sockets and to signal or inspect others (`rlvr.rewards.programs.seccomp`). Since a
candidate cannot start processes, its memory is bounded by one RLIMIT_AS, and killing one process ends everything it
started.

A jail dies with this process: bubblewrap and the landlock child ask the kernel for SIGKILL when the thread that started
them ends, and a jail that waits for work exits when its socket closes.

What this does not stop: a hole in the kernel or in bubblewrap; side channels (timing, cache, CPU load); reading the
interpreter's own files and the system's shared libraries. The landlock tier in addition lets a candidate see names,
sizes and times of files by stat(2), though not open them, and read host name and kernel version.
"""

from __future__ import annotations

import ctypes
import logging
import os
import secrets
import select
import socket
import sys
import tempfile
from pathlib import Path

from rlvr.rewards.programs import landlock, seccomp
from rlvr.rewards.programs.jail import BOOT_SECONDS, Budget, Jails, Stopped, limits
from rlvr.rewards.programs.jail_command import SandboxError, interpreter
from rlvr.types import UserError

log = logging.getLogger("rlvr.sandbox")

TIERS = ("bwrap", "landlock")


def choose_tier(only: str | None = None) -> str:
    """The first tier (or `only` that one) whose jails hold the canary. UserError, one sentence, if none does."""
    why = []
    if os.uname().machine not in seccomp.AUDIT or not sys.platform.startswith("linux"):
        raise UserError(f"no sandbox for candidate programs on {sys.platform} {os.uname().machine}: unit_tests needs "
                        "Linux on x86_64 or aarch64")
    for tier in TIERS if only is None else (only,):
        try:
            prove(tier)
        except (SandboxError, OSError) as error:
            why.append(f"{tier}: {error}")
            continue
        weaker = f" (weaker than bwrap: {why[0]})" if why else ""
        log.log(logging.WARNING if why else logging.INFO, "candidate programs run in %s jails, Python %s%s", tier,
                ".".join(map(str, interpreter().version)), weaker)
        return tier
    raise UserError(f"no sandbox for candidate programs on this machine ({'; '.join(why)}): install bubblewrap "
                    "(apt-get install bubblewrap) where user namespaces are allowed, or run Linux 6.2 or newer with "
                    "landlock enabled")


def prove(tier: str) -> None:
    """Run the canary in a jail of `tier`: all its attempts to escape must fail. SandboxError if one succeeds.

    The canary also has to do something lawful, so that a jail in which nothing works proves nothing.
    """
    if tier == "landlock" and landlock.version() < landlock.NEEDED_VERSION:
        raise SandboxError(f"landlock version {landlock.version()}, needed is {landlock.NEEDED_VERSION} (Linux 6.2)")
    program = (Path(__file__).parent / "canary.py").read_text(encoding="utf-8")
    jail = Jails(tier, ahead=0).take()
    with tempfile.TemporaryDirectory(prefix="rlvr-canary-") as directory, _Targets(directory) as targets:
        budget = Budget(BOOT_SECONDS)
        try:
            jail.send({"kind": "program", "program": program, "prelude": "", "limits": limits(256, 5, 2**20)}, budget)
            loaded = jail.receive(budget)
            jail.send({"do": "call", "on": "escapes", "args": [directory, os.getpid(), *targets.names]}, budget)
            escapes = jail.receive(budget).get("value")
        except Stopped as stopped:
            raise SandboxError(f"the canary program ended by {stopped.reason.value}") from None
        finally:
            jail.kill()
        if "loaded" not in loaded or escapes != ["lawful"]:
            raise SandboxError(f"the canary program escaped or did not run: {escapes or loaded}")
        if what := targets.touched():
            raise SandboxError(f"the canary program {what} outside its jail")


class _Targets:
    """What the canary tries to reach: a file, datagram sockets with a path and with a name, and a message queue, all
    open to any user, so that only the jail keeps the canary out."""

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory)
        os.chmod(directory, 0o777)
        secret = self._directory / "secret"
        secret.write_text("canary")
        secret.chmod(0o666)
        self._sockets = []
        name = f"rlvr-canary-{secrets.token_hex(8)}"
        for address in (f"{directory}/socket", f"\0{name}"):
            self._sockets.append(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            self._sockets[-1].bind(address)
        os.chmod(f"{directory}/socket", 0o666)
        self._libc = ctypes.CDLL(None)
        self.names: tuple[str, int] = (name, self._libc.msgget(0, 0o1666))

    def touched(self) -> str:
        """What the canary did, "" for nothing."""
        if sorted(os.listdir(self._directory)) != ["secret", "socket"]:
            return "made a file"
        if (self._directory / "secret").read_text() != "canary":
            return "wrote a file"
        if select.select(self._sockets, [], [], 0)[0]:
            return "sent a datagram"
        return ""

    def __enter__(self) -> _Targets:
        return self

    def __exit__(self, *_: object) -> None:
        for receiver in self._sockets:
            receiver.close()
        self._libc.msgctl(self.names[1], 0, None)
