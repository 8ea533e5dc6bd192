"""Python processes that start with everything imported.

`python -m rlvr.cli train` imports torch, transformers and TRL before it comes to our code: six seconds of a core, once
per process that a test starts. `serve` forks pytest's own process, when the tests are collected and none has run.
`Popen` and `run` take a command `python -m MODULE ...` and run the module in a fork of that copy. It has a pid, an
environment, a folder and an output of its own, can be killed as any process, and sees nothing that a test has patched.
test_run.py and test_two_processes.py also start what users start, with a new interpreter.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import logging
import multiprocessing.util
import os
import pickle
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

ADDRESS = "RLVR_TESTS_WARM"
"""The variable of the environment with the name of the server's abstract socket."""

LATE = ("wandb.sdk.launch.inputs.internal", "deepspeed", "plotly.graph_objs", "narwhals.stable.v1", "matplotlib.figure",
        "matplotlib.backends.backend_agg", "opentelemetry.exporter.otlp.proto.http.metric_exporter",
        "opentelemetry.exporter.otlp.proto.http._log_exporter")
"""What W&B, Accelerate, Plotly and the card's picture import when a run gets to them: three seconds of a core. W&B's is
half of it, as it looks for the source of each of its classes among all modules: soon, if few are loaded."""


class Popen(subprocess.Popen[Any]):
    """A process of the server; without one (not Linux, or no pytest) a usual process."""

    def _execute_child(self, args: Sequence[str], *rest: Any) -> None:
        if ADDRESS not in os.environ:
            super()._execute_child(args, *rest)  # pyright: ignore[reportAttributeAccessIssue]
            return
        cwd, env, (child_stdin, own_stdin, own_stdout, child_stdout, own_stderr, child_stderr), new_session = (
            rest[4], rest[5], rest[9:15], rest[20])
        assert args[0] == sys.executable and args[1 : args.index("-m")] in ((), [], ("-u",)), args
        words = args[args.index("-m") + 1 :]
        request = pickle.dumps((words, os.fspath(cwd or os.getcwd()), dict(env or os.environ), new_session))
        self._waiting = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._waiting.connect("\0" + os.environ[ADDRESS])
        theirs = [child_stdin, child_stdout, child_stderr]
        socket.send_fds(self._waiting, [request], [fd if fd != -1 else i for i, fd in enumerate(theirs)])
        self.pid = int(self._waiting.recv(100))
        self._child_created = True
        for fd, own in zip(theirs, (own_stdin, own_stdout, own_stderr), strict=True):
            if own != -1:  # a pipe, whose other end is in a file object of this process
                os.close(fd)

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        """As os.waitpid. The parent of the process, a fork of the server, waits for it and sends its status."""
        if ADDRESS not in os.environ:
            return super()._try_wait(wait_flags)  # pyright: ignore[reportAttributeAccessIssue]
        try:
            return self.pid, int(self._waiting.recv(100, socket.MSG_DONTWAIT if wait_flags & os.WNOHANG else 0))
        except BlockingIOError:
            return 0, 0

    def _internal_poll(self, _deadstate: Any = None, **_: Any) -> int | None:
        base: Any = super()
        if ADDRESS not in os.environ:
            return base._internal_poll(_deadstate)
        if self.returncode is None:
            pid, status = self._try_wait(os.WNOHANG)
            if pid:
                base._handle_exitstatus(status)
        return self.returncode


def run(command: Sequence[str], *, timeout: float, **settings: Any) -> subprocess.CompletedProcess[str]:
    """As subprocess.run with its output captured as text."""
    with Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **settings) as process:
        try:
            stdout, stderr = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


def load(modules: Sequence[str] = LATE) -> None:
    """Import them, without a word."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with open(os.devnull, "w") as nowhere:
        for fd in (1, 2):
            os.dup2(nowhere.fileno(), fd)
    try:
        for name in modules:
            with contextlib.suppress(ImportError):  # not installed
                importlib.import_module(name)
    finally:
        for fd, own in enumerate(kept, 1):
            os.dup2(own, fd)
            os.close(own)


def serve() -> None:
    """Fork the server. It ends with this process."""
    if sys.platform != "linux":
        return
    name = f"rlvr-tests-{os.getpid()}"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind("\0" + name)
    listener.listen(64)
    alive, ours = os.pipe()
    if os.fork() == 0:
        with contextlib.suppress(BaseException):
            os.close(ours)
            _serve(listener, alive)
        os._exit(1)
    listener.close()
    os.close(alive)
    os.environ[ADDRESS] = name


def _serve(listener: socket.socket, alive: int) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # its children are reaped by the system
    atexit._clear()  # what pytest has registered
    loaded = False
    while alive not in (ready := select.select([listener, alive], [], [])[0]):
        assert ready == [listener]
        connection, _ = listener.accept()
        if not loaded:
            load()
            _own_bars()
            gc.freeze()
            loaded = True
        if os.fork() == 0:
            listener.close()
            os.close(alive)
            _start(connection)
        connection.close()


def _own_bars() -> None:
    """Progress bars of forks share a semaphore with pytest's process, if that has made one: a fork that is killed while
    it draws would leave it taken, and the next bar of the tests would wait for ever."""
    import tqdm.std

    std: Any = tqdm.std
    lock, kinds = std.TqdmDefaultWriteLock, [std.tqdm]
    lock.mp_lock = None
    for kind in kinds:
        kinds.extend(kind.__subclasses__())
        kind.set_lock(lock())


def _start(connection: socket.socket) -> NoReturn:
    """Fork the process that was asked for, send its pid, wait for it, send its status."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    request, fds, *_ = socket.recv_fds(connection, 1 << 20, 3)
    pid = os.fork()
    if pid == 0:
        connection.close()
        code = 1
        try:
            code = _main(fds, *pickle.loads(request))
        finally:
            os._exit(code)
    for fd in fds:
        os.close(fd)
    with contextlib.suppress(BrokenPipeError):  # who asked has ended
        connection.send(b"%d" % pid)
        connection.send(b"%d" % os.waitpid(pid, 0)[1])
    os._exit(0)


def _main(fds: list[int], words: list[str], cwd: str, env: dict[str, str], new_session: bool) -> int:
    """`python -m words`, with the end of an interpreter; returns the exit code."""
    if new_session:
        os.setsid()
    for i, fd in enumerate(fds):
        os.dup2(fd, i)
        os.close(fd)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    for logger in [logging.root, *logging.root.manager.loggerDict.values()]:
        for handler in getattr(logger, "handlers", ()):
            if type(handler) is logging.StreamHandler:
                handler.setStream(sys.stderr)
    sys.argv = list(words)
    sys.path[:0] = [cwd, *filter(None, env.get("PYTHONPATH", "").split(os.pathsep))]
    if words[0] == "accelerate.commands.launch":  # its processes start as fast
        from torch.distributed.elastic.multiprocessing.subprocess_handler import subprocess_handler

        setattr(subprocess_handler, "Popen", Popen)  # noqa: B010
    code = 0
    try:
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else int(left.code is not None)
        if left.code is not None and left.code != code:
            print(left.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    end: Any = threading  # as multiprocessing ends its forks
    end._shutdown()
    atexit._run_exitfuncs()
    end = multiprocessing.util
    end._exit_function()
    sys.stdout.flush()
    sys.stderr.flush()
    return code
