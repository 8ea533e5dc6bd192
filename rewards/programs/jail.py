"""Jails from outside: started ahead of need, given one job, watched, and killed with all that they started."""

from __future__ import annotations

import json
import logging
import math
import os
import select
import signal
import socket
import struct
import subprocess
import time
import weakref
from collections import deque
from contextlib import suppress
from typing import Any

from rlvr.rewards.programs.jail_command import ENVIRONMENT, SandboxError, command, identity, payload
from rlvr.rewards.programs.wire import MAX_FRAME, TooDeep, dump, load
from rlvr.types import Reason

log = logging.getLogger("rlvr.sandbox")

BOOT_SECONDS = 20.0
"""A jail that is not ready by then has failed to start (one takes 30 ms on an idle machine)."""
MAX_FALSE_STARTS = 3
POLL_SECONDS = 0.02
_CPU_CLOCK = 2  # clock id of the CPU time of process p: (~p << 3) | 2, linux/posix-timers.h CPUCLOCK_SCHED


class Stopped(Exception):
    """The candidate was ended before it answered; `reason` is timeout, crashed or huge."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class Budget:
    """Wall-clock time for all tests of one program, less the time in which the program waited for a CPU."""

    def __init__(self, seconds: float, at_most: float | None = None) -> None:
        now = time.monotonic()
        self.deadline = now + seconds
        self._last = now + (seconds if at_most is None else at_most)

    def left(self) -> float:
        return max(0.001, self.deadline - time.monotonic())

    def extend(self, seconds: float) -> None:
        """Grant time in which others had the CPU, up to the end of all patience."""
        self.deadline = min(self.deadline + seconds, self._last)


class Jail:
    """One jail with one job. `start` returns at once; the jail boots while the caller does something else."""

    def __init__(self, tier: str, packages: Any = None) -> None:
        self._socket, inside = socket.socketpair()
        # the kernel then adds to each message the sender's process id as this process sees it
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._pid = 0
        self._init: int | None = None
        words, pass_fds, info = command(tier, packages), (), -1
        before, giving_up = identity()
        try:
            if tier == "bwrap":
                self._info, info = os.pipe()
                words = [str(info) if word == "{info}" else word for word in words]
                pass_fds = (info,)
            self._process = subprocess.Popen(
                [*before, *words], stdin=inside, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                pass_fds=pass_fds, cwd="/", env={} if tier == "bwrap" else dict(ENVIRONMENT), **giving_up)
        finally:
            inside.close()
            if info >= 0:
                os.close(info)
        self.tier = tier
        self._ready = False
        with suppress(BrokenPipeError):  # it is dead already: `ready` will say so
            self._socket.sendall(payload(tier == "landlock", os.getpid(), packages))

    def ready(self) -> bool:
        """Wait until it has booted; False if it could not, or died since."""
        if not self._ready and not self._booted():
            return False
        hung_up = select.poll()
        hung_up.register(self._socket, select.POLLRDHUP)
        return not hung_up.poll(0) and self._process.poll() is None

    def _booted(self) -> bool:
        try:
            poller = select.poll()
            poller.register(self._socket, select.POLLIN)
            if not poller.poll(1000 * BOOT_SECONDS):
                return False
            head, ancillary, _, _ = self._socket.recvmsg(4, socket.CMSG_SPACE(12))
            if len(head) < 4:
                return False
            self._pid = struct.unpack("iII", ancillary[0][2][:12])[0]
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 0)
            self._read(int.from_bytes(head, "big"), _Clock(self._pid, None, None, Budget(BOOT_SECONDS)))
            if self.tier == "bwrap":
                self._find_init()
        except (OSError, Stopped):
            return False
        self._ready = True
        return True

    def _find_init(self) -> None:
        """Open the first process of the namespace, which bubblewrap names before it lets that process go on."""
        poller = select.poll()
        poller.register(self._info, select.POLLIN)
        data = b""
        while b"}" not in data:  # it writes piece by piece
            piece = os.read(self._info, 4096) if poller.poll(1000 * BOOT_SECONDS) else b""
            if not piece:
                return  # it ended before it had made one
            data += piece
        self._init = os.pidfd_open(json.loads(data)["child-pid"])

    def send(self, message: Any, budget: Budget) -> None:
        """Raises Stopped: timeout when the jail does not read in time, crashed if it ended."""
        self._socket.settimeout(budget.left())
        try:
            self._socket.sendall(dump(message))
        except TimeoutError:
            raise Stopped(Reason.TIMEOUT) from None
        except OSError:
            raise Stopped(Reason.CRASHED) from None

    def receive(self, budget: Budget, seconds: float | None = None, wall_seconds: float | None = None,
                pid: int | None = None) -> dict[str, Any]:
        """The next message, a dict. Raises Stopped; times count from this call.

        `seconds` limits the CPU time of the jail's process, or of process `pid` in it, `wall_seconds` the time that
        passes while it does not wait for a CPU.
        """
        clock = _Clock(pid or self._pid, seconds, wall_seconds, budget)
        size = int.from_bytes(self._read(4, clock), "big")
        if size > MAX_FRAME:  # not ours: we send {"huge": true} instead
            raise Stopped(Reason.CRASHED)
        try:
            message = load(self._read(size, clock))
        except TooDeep:
            raise Stopped(Reason.HUGE) from None
        except ValueError:
            raise Stopped(Reason.CRASHED) from None
        if not isinstance(message, dict):
            raise Stopped(Reason.CRASHED)
        return message

    def receive_bytes(self, size: int, budget: Budget) -> bytes:
        """The next `size` bytes, which follow a message."""
        return self._read(size, _Clock(self._pid, None, None, budget))

    def introduction(self, budget: Budget) -> int:
        """The process id, as seen from here, of the process that sends the next byte: a program that begins."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        clock = _Clock(self._pid, None, None, budget)
        poller = select.poll()
        poller.register(self._socket, select.POLLIN)
        while not poller.poll(1000 * clock.patience()):
            clock.look()
            clock.check()
        _, ancillary, _, _ = self._socket.recvmsg(1, socket.CMSG_SPACE(12))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 0)
        if not ancillary:
            raise Stopped(Reason.CRASHED)
        return struct.unpack("iII", ancillary[0][2][:12])[0]

    def _read(self, size: int, clock: _Clock) -> bytes:
        pieces = []
        poller = select.poll()
        poller.register(self._socket, select.POLLIN)
        while size:
            while not poller.poll(1000 * clock.patience()):
                clock.look()
                clock.check()
            clock.check()
            try:
                piece = self._socket.recv(min(size, 1 << 20))
            except OSError:
                piece = b""
            if not piece:
                raise Stopped(Reason.CRASHED)
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def strike(self) -> None:
        """Have it and all it started die, without waiting for that."""
        with suppress(ProcessLookupError):
            if self.tier == "bwrap" and self._init is None:
                # still booting: without bubblewrap its child would wait for a word of it for ever
                self._find_init()
            if self._init is not None:
                # the first process of a PID namespace: it is not gone before all others in it are
                signal.pidfd_send_signal(self._init, signal.SIGKILL)
            else:
                self._process.kill()

    def kill(self) -> None:
        """End it and all it started; they are gone when this returns."""
        self._socket.close()
        self.strike()
        self._process.wait()
        if self._init is not None:
            os.close(self._init)
            self._init = None
        if self.tier == "bwrap" and self._info >= 0:
            os.close(self._info)
            self._info = -1


class _Clock:
    """Ends the wait for a candidate: by its CPU time, which does not depend on the machine's load, or by the time that
    passes, less that in which it was ready to run and others had the CPU."""

    def __init__(self, pid: int, seconds: float | None, wall_seconds: float | None, budget: Budget) -> None:
        self._clock_id = (~pid << 3) | _CPU_CLOCK
        self._pid, self._budget = pid, budget
        self._cpu_limit = None if seconds is None else self._cpu() + seconds
        self._end = math.inf if wall_seconds is None else time.monotonic() + wall_seconds
        self._waited: float | None = None

    def _cpu(self) -> float:
        try:
            return time.clock_gettime(self._clock_id)
        except OSError:  # it ended; reading its socket will tell
            return 0.0

    def patience(self) -> float:
        return max(0.001, min(POLL_SECONDS, min(self._end, self._budget.deadline) - time.monotonic()))

    def look(self) -> None:
        """To be called while there is no answer. Most are there before the first look, which takes a while."""
        if self._waited is None:
            self._waited = waited(self._pid)

    def check(self) -> None:
        if self._cpu_limit is not None and self._cpu() >= self._cpu_limit:
            raise Stopped(Reason.TIMEOUT)
        if time.monotonic() < min(self._end, self._budget.deadline):
            return
        now_waited = waited(self._pid)
        granted, self._waited = now_waited - (self._waited or 0.0), now_waited
        self._end += granted
        self._budget.extend(granted)
        if time.monotonic() >= min(self._end, self._budget.deadline):
            raise Stopped(Reason.TIMEOUT)


def waited(pid: int) -> float:
    """Seconds for which a process was ready to run and had no CPU, of its threads the one that waited longest; 0 where
    the kernel does not say."""
    longest = 0
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/schedstat") as file:
                longest = max(longest, int(file.read().split()[1]))
    except (OSError, IndexError, ValueError):
        pass
    return longest / 1e9


class Jails:
    """Jails of one tier, `ahead` of them booted or booting at any time."""

    def __init__(self, tier: str, ahead: int = 2, packages: Any = None) -> None:
        self.tier, self._ahead, self._packages = tier, ahead, packages
        self._waiting: deque[Jail] = deque()
        self._pid = os.getpid()
        weakref.finalize(self, _kill_all, self._waiting, self._pid)

    def take(self) -> Jail:
        """A jail that is ready, the caller's to kill. SandboxError if none can be had."""
        if os.getpid() != self._pid:  # a fork: the jails are the parent's
            self._waiting, self._pid = deque(), os.getpid()
        false_starts = 0
        while false_starts < MAX_FALSE_STARTS:
            fresh = not self._waiting
            jail = Jail(self.tier, self._packages) if fresh else self._waiting.popleft()
            if jail.ready():
                return jail
            jail.kill()
            false_starts += fresh
        raise SandboxError(f"{MAX_FALSE_STARTS} {self.tier} jails in a row did not start")

    def refill(self) -> None:
        """Start as many as are missing."""
        try:
            while len(self._waiting) < self._ahead:
                self._waiting.append(Jail(self.tier, self._packages))
        except OSError as error:  # no reason to lose the verdict that is under way; `take` tries again and says so
            log.warning("a jail could not be started ahead of need: %s", error)

    def close(self) -> None:
        """Kill the jails that wait. Also happens when this object goes or the process exits in order."""
        _kill_all(self._waiting, self._pid)


def _kill_all(jails: deque[Jail], owner: int) -> None:
    if os.getpid() == owner:  # not in a fork, which has the list but not the jails
        while jails:
            jails.pop().kill()


def limits(memory_mib: float, cpu_seconds: int, output_bytes: int) -> dict[str, int]:
    """rlimits as a jail's job carries them.

    Threads: RLIMIT_NPROC counts all of a user's, outside the jail too where there is no user namespace, so it is set
    to 64 above the number of threads on the whole machine. RLIMIT_AS bounds them as well.
    """
    with open("/proc/loadavg") as file:
        threads_now = int(file.read().split()[3].partition("/")[2])
    return {"memory_bytes": int(memory_mib * 2**20), "cpu_seconds": cpu_seconds, "file_bytes": output_bytes,
            "threads": threads_now + 64}
