"""What runs inside a jail: waits for one job, locks itself down, runs the candidate or the tests, answers in frames.

Standard library only, any Python from 3.10 on: the source travels into the jail, nothing there can import rlvr. Once
candidate code has run, nothing this process says is trusted: it only ever sees inputs and only ever reports values.

Jobs: `program` serves calls into a candidate; `stdin` runs a candidate once per input, each in a fork of its own;
`tests` runs test code against a candidate that lives in another jail.
"""

from __future__ import annotations

import atexit
import builtins
import gc
import io
import os
import resource
import signal
import sys
from contextlib import suppress
from types import ModuleType
from typing import Any, NoReturn

from rlvr.rewards.programs import seccomp
from rlvr.rewards.programs.wire import MAX_FRAME, dump, load, pack

STACK_BYTES = 256 * 2**20
_COMPILE_ERRORS = (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError)
_ERROR_CHARS = 300


class Channel:
    """Frames on a socket whose other end is the trusted process. Its end means: exit."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def send(self, message: Any) -> None:
        data = dump(message)
        self.send_frame(data if len(data) <= MAX_FRAME else dump({"huge": True}))

    def send_frame(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self.descriptor, view) :]

    def receive(self) -> Any:
        return load(self._read(int.from_bytes(self._read(4), "big")))

    def _read(self, size: int) -> bytes:
        pieces = []
        while size:
            piece = os.read(self.descriptor, min(size, 1 << 20))
            if not piece:
                os._exit(0)
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)


def main(options: dict[str, Any]) -> None:
    """Boot, report, do one job."""
    channel = Channel(_quiet_descriptors())
    os.environ.clear()
    os.umask(0o077)
    if hasattr(sys, "set_int_max_str_digits"):
        sys.set_int_max_str_digits(0)  # reference judges run Pythons without that limit; the CPU time is bounded
    if options["landlock"]:
        seccomp.control(seccomp.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != options["parent"]:
            os._exit(0)  # it died before the line above
        seccomp.control(seccomp.PR_SET_NO_NEW_PRIVS, 1)
        from rlvr.rewards.programs.landlock import restrict

        restrict(options["readable"], ("/dev/null", "/dev/zero"), options["roots"])
        os.chdir("/")
    sys.path += options["roots"]
    _import_ahead(options["modules"])
    channel.send({"ready": list(sys.version_info[:3])})
    job = channel.receive()
    if job["kind"] == "stdin":
        _serve_inputs(channel, job)
    elif job["kind"] == "program":
        from rlvr.rewards.programs.jail_program import Program

        Program(channel, job).serve()
    else:
        from rlvr.rewards.programs.jail_tests import run

        run(channel, job)


def _quiet_descriptors() -> int:
    """Move the channel away from descriptor 0; standard streams lead to /dev/null."""
    channel = os.dup(0)
    null = os.open("/dev/null", os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    os.close(null)
    return channel


def _import_ahead(modules: list[str]) -> None:
    """Modules that most programs import, and `modules`, loaded while nobody waits, and the `exit` and `quit` that -S
    leaves out."""
    import _sitebuiltins
    import bisect  # noqa: F401
    import collections  # noqa: F401
    import functools  # noqa: F401
    import heapq  # noqa: F401
    import itertools  # noqa: F401
    import math  # noqa: F401
    import re  # noqa: F401
    import string  # noqa: F401
    import typing  # noqa: F401

    for name in modules:
        __import__(name)
    for name in ("exit", "quit"):
        setattr(builtins, name, _sitebuiltins.Quitter(name, "Ctrl-D (i.e. EOF)"))


def lock_down(limits: dict[str, int]) -> None:
    """Bound this process for ever. Nothing here can be undone by what runs next, since the hard limits go down too."""
    _, hard = resource.getrlimit(resource.RLIMIT_STACK)
    resource.setrlimit(resource.RLIMIT_STACK, (STACK_BYTES if hard < 0 else min(STACK_BYTES, hard), hard))
    for which, value in (
        (resource.RLIMIT_AS, limits["memory_bytes"]),
        (resource.RLIMIT_CPU, limits["cpu_seconds"]),
        (resource.RLIMIT_FSIZE, limits["file_bytes"]),
        (resource.RLIMIT_NPROC, limits["threads"]),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        _, hard = resource.getrlimit(which)
        value = value if hard < 0 else min(value, hard)
        resource.setrlimit(which, (value, value))
    seccomp.control(seccomp.PR_SET_DUMPABLE, 0)
    seccomp.install()


def compiled(source: str, name: str) -> Any:
    """A code object, or the text of the error that makes `source` no program."""
    try:
        return compile(source, name, "exec", dont_inherit=True)
    except _COMPILE_ERRORS as error:
        return describe(error)


def describe(error: BaseException) -> str:
    """One short line; an exception whose own text cannot be had is only named."""
    try:
        return f"{type(error).__name__}: {error}"[:_ERROR_CHARS]
    except BaseException:  # a candidate's __str__ may raise anything
        return type(error).__name__


def raised(error: BaseException) -> dict[str, Any]:
    """Class names, text and, where they are plain data, arguments of an exception."""
    reply: dict[str, Any] = {"raised": [kind.__name__ for kind in type(error).__mro__][:20]}
    with suppress(BaseException):  # its __str__ may raise anything, its arguments may be of any class: less goes then
        reply["text"] = str(error)[:_ERROR_CHARS]
        reply["args"] = [pack(argument) for argument in error.args]
    with suppress(BaseException):
        reply["vars"] = {name: pack(value) for name, value in vars(error).items() if type(name) is str}
    return reply


def _serve_inputs(channel: Channel, job: dict[str, Any]) -> None:
    """For each input a fork of this process that runs the program."""
    code = compiled(job["program"], "<solution>")
    if isinstance(code, str):
        channel.send({"unparsable": code})
        return
    prelude = compile(job["prelude"], "<prelude>", "exec", dont_inherit=True)
    channel.send({"loaded": True})
    gc.freeze()  # collections in the forks then leave these objects alone, and their pages shared
    while True:
        request = channel.receive()
        # files in memory, not pipes: many programs ask os.fstat(0) for the size of their input
        given, written, raised = (os.memfd_create(name) for name in ("stdin", "stdout", "raised"))
        view = memoryview(request["input"].encode("utf-8", "surrogateescape"))
        while view:
            view = view[os.write(given, view) :]
        os.lseek(given, 0, os.SEEK_SET)
        zygote = os.getpid()
        child = os.fork()
        if child == 0:
            seccomp.control(seccomp.PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != zygote:
                os._exit(0)
            os.write(channel.descriptor, b".")  # so that the outside knows this process
            os.dup2(given, 0)
            os.dup2(written, 1)
            for descriptor in (given, written, channel.descriptor):
                os.close(descriptor)
            lock_down(job["limits"])
            namespace = ModuleType("__main__")
            sys.modules["rlvr-boot"], sys.modules["__main__"] = sys.modules["__main__"], namespace
            io.open = builtins.open = _open
            _run_as_main((prelude, code), namespace.__dict__, raised)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])  # the outside ends one that takes too long
        size = min(os.fstat(written).st_size, job["limits"]["file_bytes"])
        error = os.pread(raised, _ERROR_CHARS, 0).decode("utf-8", "replace")
        channel.send({"status": status, "error": error, "bytes": size})
        sent = 0
        while sent < size and size < job["limits"]["file_bytes"]:
            piece = os.pread(written, 1 << 20, sent)
            channel.send_frame(piece)
            sent += len(piece)
        for descriptor in (given, written, raised):
            os.close(descriptor)


_STREAMS = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}


def _open(file: Any, *arguments: Any, _open: Any = open, **keywords: Any) -> Any:
    """`open`, to which the names of the standard streams lead without the /proc that they are links into."""
    return _open(_STREAMS.get(file, file) if type(file) is str else file, *arguments, **keywords)


def _run_as_main(codes: tuple[Any, ...], namespace: dict[str, Any], raised: int) -> NoReturn:
    """Run prelude and program, end the process as the interpreter would, less the 7 ms in which that frees its memory.

    `raised` is a descriptor that takes the text of an exception.
    """
    leave, status = os._exit, 1
    try:
        for code in codes:
            exec(code, namespace)
        status = 0
    except SystemExit as error:
        status = error.code & 0xFF if isinstance(error.code, int) else int(error.code is not None)
    except BaseException as error:
        status = 1
        with suppress(BaseException):  # the program may have closed it, or left no memory: then there is no text
            os.write(raised, describe(error).encode("utf-8", "backslashreplace"))
    try:
        if "threading" in sys.modules:
            sys.modules["threading"]._shutdown()  # waits for threads that are not daemons
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.__stdout__):  # the program may have closed or replaced it
            if stream is not None and not stream.closed:
                stream.flush()
        namespace.clear()  # files of the program's own on descriptor 1 are flushed when they go
    except BaseException:
        status = status or 1
    finally:
        leave(status)
