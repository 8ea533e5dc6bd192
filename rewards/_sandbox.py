"""Jails: processes in which a candidate program can do no harm, started ahead of need, used once and then killed.

Two tiers, the first that proves itself on this machine is used; programs are never run without one:

1. `bwrap`: bubblewrap with user, PID, network, IPC, UTS and mount namespaces. In it there is the interpreter, to be
   read, and nothing else: no /proc, no /etc, no home, no writable directory, no network.
2. `landlock`, where namespaces are switched off (most containers): the same processes without namespaces, the file
   system taken away by landlock, which needs Linux 6.2 or newer.

In both the process drops to uid 65534 where it is root, gets an empty environment and rlimits, and forbids itself by
seccomp to start processes, to open sockets and to signal or inspect others (`rlvr.rewards._seccomp`). Since a candidate
cannot start processes, its memory is bounded by one RLIMIT_AS, and killing one process ends everything it started.

A jail dies with this process: bubblewrap and the landlock child ask the kernel for SIGKILL when the thread that started
them ends, and a jail that waits for work exits when its socket closes.

What this does not stop: a hole in the kernel or in bubblewrap; side channels (timing, cache, CPU load); reading the
interpreter's own files and the system's shared libraries. The landlock tier in addition lets a candidate see names,
sizes and times of files by stat(2), though not open them, and read host name and kernel version.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import marshal
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import weakref
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from rlvr.rewards import _landlock, _seccomp
from rlvr.rewards._wire import MAX_FRAME, TooDeep, dump, load
from rlvr.types import Reason, UserError

log = logging.getLogger("rlvr.sandbox")

TIERS = ("bwrap", "landlock")
NOBODY = 65534
BOOT_SECONDS = 20.0
"""A jail that is not ready by then has failed to start (one takes 30 ms on an idle machine)."""
MAX_FALSE_STARTS = 3
POLL_SECONDS = 0.02
_CPU_CLOCK = 2  # clock id of the CPU time of process p: (~p << 3) | 2, linux/posix-timers.h CPUCLOCK_SCHED
_MODULES = ("_wire", "_seccomp", "_landlock", "_jail_child", "_pytest_shim", "_jail_tests")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")

_BOOT = """
import sys
sys.path[:] = [entry for entry in sys.path if entry]
import marshal, os
def read(size):
    data = b""
    while len(data) < size:
        piece = os.read(0, size - len(data))
        if not piece:
            os._exit(0)
        data += piece
    return data
options, modules = marshal.loads(read(int.from_bytes(read(4), "big")))
package = sys.modules["rlvr.rewards"] = type(sys)("rlvr.rewards")
for name, code in modules:
    module = type(sys)("rlvr.rewards." + name)
    sys.modules[module.__name__] = module
    setattr(package, name, module)
    exec(compile(code, name, "exec", dont_inherit=True) if isinstance(code, str) else code, module.__dict__)
sys.modules["rlvr.rewards._jail_child"].main(options)
"""

_ABOUT = """
import importlib.util, json, os, sys
directories = {os.path.dirname(os.__file__), *sys.path}
with open("/proc/self/maps") as maps:
    directories |= {os.path.dirname(line.split(None, 5)[5].strip()) for line in maps if ".so" in line}
print(json.dumps({"executable": os.path.realpath(sys.executable), "version": list(sys.version_info[:3]),
                  "magic": importlib.util.MAGIC_NUMBER.hex(),
                  "directories": sorted(d for d in directories if d.startswith("/") and os.path.isdir(d))}))
"""


class SandboxError(RuntimeError):
    """Our machinery failed, not the candidate: the completion is not judged."""


class Stopped(Exception):
    """The candidate was ended before it answered; `reason` is timeout, crashed or huge."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


@dataclass(frozen=True)
class Interpreter:
    """The Python that runs in the jails: one that the jail's user may execute."""

    executable: str
    version: tuple[int, int, int]
    magic: str
    directories: tuple[str, ...]
    """Standard library and shared libraries, none inside another."""


@lru_cache(maxsize=1)
def interpreter() -> Interpreter:
    """This process's Python if the jail's user may run it, else the system's. UserError if there is none."""
    tried = []
    for path in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        try:
            done = subprocess.run([path, "-s", "-S", "-c", _ABOUT], env={}, capture_output=True, text=True, timeout=20,
                                  stdin=subprocess.DEVNULL, cwd="/", **_identity())
        except (OSError, subprocess.SubprocessError) as error:
            tried.append(f"{path}: {type(error).__name__}")
            continue
        about = json.loads(done.stdout) if done.returncode == 0 else None
        if about is None or about["version"] < [3, 10]:
            tried.append(f"{path}: {'older than 3.10' if about else 'does not run'}")
            continue
        return Interpreter(about["executable"], tuple(about["version"]), about["magic"],
                           _outermost(about["directories"]))
    raise UserError(f"no sandbox for candidate programs: no Python 3.10 or newer that uid {NOBODY} can execute "
                    f"({'; '.join(tried)}); install one outside root's home (apt-get install python3)")


def _identity() -> dict[str, Any]:
    """Arguments of Popen that give up root; none for other users."""
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}


def _outermost(paths: list[str]) -> tuple[str, ...]:
    kept: list[str] = []
    for path in sorted({os.path.realpath(path) for path in paths}):
        if not any(path.startswith(f"{above}/") for above in kept):
            kept.append(path)
    return tuple(kept)


@lru_cache(maxsize=4)
def _payload(landlock: bool, parent: int) -> bytes:
    """What a jail is sent first: options and the modules it runs, compiled where its Python reads our bytecode."""
    python = interpreter()
    ours = importlib.util.MAGIC_NUMBER.hex() == python.magic
    modules = []
    for name in _MODULES:
        source = (Path(__file__).parent / f"{name}.py").read_text(encoding="utf-8")
        modules.append((name, compile(source, name, "exec", dont_inherit=True) if ours else source))
    options = {"landlock": landlock, "parent": parent, "readable": [*python.directories, *_DEVICES]}
    data = marshal.dumps((options, modules), 4)
    return len(data).to_bytes(4, "big") + data


@lru_cache(maxsize=2)
def _command(tier: str) -> list[str]:
    python = interpreter()
    run = [python.executable, "-s", "-S", "-X", "utf8", "-c", _BOOT]
    if tier == "landlock":
        return run
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise SandboxError("the program bwrap is not installed")
    command = [bwrap, "--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts",
               "--unshare-cgroup-try", "--uid", str(NOBODY), "--gid", str(NOBODY), "--hostname", "jail",
               "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--clearenv",
               "--setenv", "PYTHONHASHSEED", "0"]
    for directory in python.directories:
        command += ["--ro-bind", directory, directory]
    if not python.executable.startswith(python.directories):
        command += ["--ro-bind", python.executable, python.executable]
    for name in ("/lib", "/lib64", "/usr/lib64"):  # where the program loader is looked for
        if os.path.islink(name):
            command += ["--symlink", os.readlink(name), name]
        elif os.path.isdir(name):
            command += ["--ro-bind", name, name]
    for device in _DEVICES:
        command += ["--dev-bind", device, device]
    return [*command, "--chdir", "/", "--remount-ro", "/", "--info-fd", "{info}", *run]


class Jail:
    """One jail with one job. `start` returns at once; the jail boots while the caller does something else."""

    def __init__(self, tier: str) -> None:
        self._socket, inside = socket.socketpair()
        # the kernel then adds to each message the sender's process id as this process sees it
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._pid = 0
        self._init: int | None = None
        command, pass_fds, info = _command(tier), (), -1
        try:
            if tier == "bwrap":
                self._info, info = os.pipe()
                command = [str(info) if word == "{info}" else word for word in command]
                pass_fds = (info,)
            self._process = subprocess.Popen(
                command, stdin=inside, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=pass_fds, cwd="/",
                env={} if tier == "bwrap" else {"PYTHONHASHSEED": "0"}, **_identity())
        finally:
            inside.close()
            if info >= 0:
                os.close(info)
        self.tier = tier
        self._ready = False
        with suppress(BrokenPipeError):  # it is dead already: `ready` will say so
            self._socket.sendall(_payload(tier == "landlock", os.getpid()))

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
            self._read(int.from_bytes(head, "big"), _Clock(self._pid, None, None, time.monotonic() + BOOT_SECONDS))
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

    def send(self, message: Any, deadline: float) -> None:
        """Raises Stopped: timeout when the jail does not read by `deadline` (monotonic), crashed if it ended."""
        self._socket.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            self._socket.sendall(dump(message))
        except TimeoutError:
            raise Stopped(Reason.TIMEOUT) from None
        except OSError:
            raise Stopped(Reason.CRASHED) from None

    def receive(self, *, deadline: float, seconds: float | None = None, wall_seconds: float | None = None
                ) -> dict[str, Any]:
        """The next message, a dict. Raises Stopped; times count from this call.

        `seconds` limits the CPU time of the jail's process, `wall_seconds` the time that passes.
        """
        clock = _Clock(self._pid, seconds, wall_seconds, deadline)
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

    def _read(self, size: int, clock: _Clock) -> bytes:
        pieces = []
        poller = select.poll()
        poller.register(self._socket, select.POLLIN)
        while size:
            while not poller.poll(1000 * clock.patience()):
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

    def kill(self) -> None:
        """End it and all it started; they are gone when this returns."""
        self._socket.close()
        with suppress(ProcessLookupError):
            if self.tier == "bwrap" and self._init is None:
                # still booting: without bubblewrap its child would wait for a word of it for ever
                self._find_init()
            if self._init is not None:
                # the first process of a PID namespace: it is not gone before all others in it are
                signal.pidfd_send_signal(self._init, signal.SIGKILL)
            else:
                self._process.kill()
        self._process.wait()
        if self._init is not None:
            os.close(self._init)
            self._init = None
        if self.tier == "bwrap" and self._info >= 0:
            os.close(self._info)
            self._info = -1


class _Clock:
    """Ends the wait for a candidate: by its CPU time, which does not depend on the machine's load, or by wall time."""

    def __init__(self, pid: int, seconds: float | None, wall_seconds: float | None, deadline: float) -> None:
        self._clock_id = (~pid << 3) | _CPU_CLOCK
        self._cpu_limit = None if seconds is None else self._cpu() + seconds
        self._deadline = deadline if wall_seconds is None else min(deadline, time.monotonic() + wall_seconds)

    def _cpu(self) -> float:
        try:
            return time.clock_gettime(self._clock_id)
        except OSError:  # it ended; reading its socket will tell
            return 0.0

    def patience(self) -> float:
        return max(0.001, min(POLL_SECONDS, self._deadline - time.monotonic()))

    def check(self) -> None:
        if time.monotonic() >= self._deadline or (self._cpu_limit is not None and self._cpu() >= self._cpu_limit):
            raise Stopped(Reason.TIMEOUT)


class Jails:
    """Jails of one tier, `ahead` of them booted or booting at any time."""

    def __init__(self, tier: str, ahead: int = 2) -> None:
        self.tier, self._ahead = tier, ahead
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
            jail = Jail(self.tier) if fresh else self._waiting.popleft()
            if jail.ready():
                return jail
            jail.kill()
            false_starts += fresh
        raise SandboxError(f"{MAX_FALSE_STARTS} {self.tier} jails in a row did not start")

    def refill(self) -> None:
        """Start as many as are missing. Called while a candidate runs, when this process has nothing else to do."""
        try:
            while len(self._waiting) < self._ahead:
                self._waiting.append(Jail(self.tier))
        except OSError as error:  # no reason to lose the verdict that is under way; `take` tries again and says so
            log.warning("a jail could not be started ahead of need: %s", error)

    def close(self) -> None:
        """Kill the jails that wait. Also happens when this object goes or the process exits in order."""
        _kill_all(self._waiting, self._pid)


def _kill_all(jails: deque[Jail], owner: int) -> None:
    if os.getpid() == owner:  # not in a fork, which has the list but not the jails
        while jails:
            jails.pop().kill()


def limits(memory_mib: int, cpu_seconds: int, output_bytes: int) -> dict[str, int]:
    """rlimits as a jail's job carries them.

    Threads: RLIMIT_NPROC counts all of a user's, outside the jail too where there is no user namespace, so it is set
    to 64 above the number of threads on the whole machine. RLIMIT_AS bounds them as well.
    """
    with open("/proc/loadavg") as file:
        threads_now = int(file.read().split()[3].partition("/")[2])
    return {"memory_bytes": memory_mib * 2**20, "cpu_seconds": cpu_seconds, "file_bytes": output_bytes,
            "threads": threads_now + 64}


def choose_tier(only: str | None = None) -> str:
    """The first tier (or `only` that one) whose jails hold the canary. UserError, one sentence, if none does."""
    why = []
    if os.uname().machine not in _seccomp.AUDIT or not sys.platform.startswith("linux"):
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
    if tier == "landlock" and _landlock.version() < _landlock.NEEDED_VERSION:
        raise SandboxError(f"landlock version {_landlock.version()}, needed is {_landlock.NEEDED_VERSION} (Linux 6.2)")
    program = (Path(__file__).parent / "_canary.py").read_text(encoding="utf-8")
    jail = Jails(tier, ahead=0).take()
    with tempfile.TemporaryDirectory(prefix="rlvr-canary-") as directory:
        os.chmod(directory, 0o777)  # so that only the jail keeps the canary out
        secret = Path(directory, "secret")
        secret.write_text("canary")
        secret.chmod(0o666)
        deadline = time.monotonic() + BOOT_SECONDS
        try:
            jail.send({"kind": "program", "program": program, "prelude": "", "limits": limits(256, 5, 2**20)}, deadline)
            loaded = jail.receive(deadline=deadline)
            jail.send({"do": "call", "on": "escapes", "args": [directory, os.getpid()]}, deadline)
            escapes = jail.receive(deadline=deadline).get("value")
        except Stopped as stopped:
            raise SandboxError(f"the canary program ended by {stopped.reason.value}") from None
        finally:
            jail.kill()
        if "loaded" not in loaded or escapes != ["lawful"]:
            raise SandboxError(f"the canary program escaped or did not run: {escapes or loaded}")
        if sorted(os.listdir(directory)) != ["secret"] or secret.read_text() != "canary":
            raise SandboxError("the canary program wrote outside its jail")
