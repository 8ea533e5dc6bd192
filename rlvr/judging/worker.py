"""The process in which verifiers run: one loop that takes chunks of completions and sends back outcomes.

Started by `rlvr.judging.pool` as `python -c`, so it never imports the parent's `__main__` (a script without a main
guard, stdin, a notebook) and never torch. It reports in batches, every few milliseconds. Its current item and when it
began are in memory that it shares with the parent, so the parent can time an item without a message per item. It ends
when its pipe is closed, and in the middle of an item when the parent dies.
"""

from __future__ import annotations

import gc
import inspect
import logging
import mmap
import os
import pickle
import resource
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from types import NoneType
from typing import TYPE_CHECKING, Any

from rlvr.config.registry import resolve
from rlvr.types import Problem, Reason, UserError, Verdict

if TYPE_CHECKING:
    from rlvr.interfaces import Verifier

FLUSH_NS = 4_000_000
"""Outcomes wait this long at most (plus one item) before they are sent."""

NOTE_CHARS = 500
INTERFACE = ("name", "version", "verify", "check_gold", "gold_completion", "own_limit", "warm_up")
"""What every verifier must have; the last three are inherited."""

SHARED_BYTES = 16
ITEM, SINCE = 0, 1
"""Slots (int64) of the shared memory: index of the item in the chunk, monotonic ns at which it was begun."""
STARTING = -1
"""Value of slot ITEM while no item runs: booting, loading a verifier, reading a chunk."""


Reply = tuple[int, bool | None, str, str | None, float, str, str, str]
"""Outcome of one item: its index in the chunk, the fields of its Verdict (correct, reason, extracted, ms, tier,
version) and a note: its detail, the text of an exception or what is wrong with a gold answer. A bare tuple, because a
batch holds hundreds and pickling a class costs more than a verdict."""


@dataclass
class Worker:
    """State of the loop. `memory_bytes`: what the process may grow by once a verifier is loaded; None: no limit."""

    connection: Connection
    shared: memoryview
    memory_bytes: int | None
    packages: tuple[str, ...] = ()
    """For verifiers whose constructor takes them."""
    pid: int = field(default_factory=os.getpid)
    verifiers: dict[str, Verifier] = field(default_factory=dict)

    def run(self) -> None:
        """Serve chunks until the parent closes the pipe."""
        try:
            self._send("ready", None)
            while True:
                chunk = self.connection.recv_bytes()
                try:
                    self._serve(*pickle.loads(chunk))
                except UserError as error:
                    self._send("user_error", str(error))
                self.shared[ITEM] = STARTING
        except (EOFError, ConnectionError):
            return

    def _serve(self, problems: list[bytes], items: list[tuple[int, str | None]]) -> None:
        """Judge `items`, pairs of (index into `problems`, text); text None asks for a check of the gold answer."""
        replies: list[Reply] = []
        unpickled: dict[int, Problem] = {}
        sent_ns = time.monotonic_ns()
        for index, (which, text) in enumerate(items):
            if which not in unpickled:
                unpickled[which] = _read(problems[which])
            problem = unpickled[which]
            verifier = self.verifiers.get(problem.verifier) or self._load(problem.verifier)
            self.shared[SINCE] = begun_ns = time.monotonic_ns()
            self.shared[ITEM] = index
            verdict, note = _judge(verifier, problem, text)
            if os.getpid() != self.pid:
                os._exit(0)  # a copy of this process that the verifier made and did not end: its twin answers
            now_ns = time.monotonic_ns()
            extracted = verdict.extracted and verdict.extracted[:200]
            replies.append((index, verdict.correct, verdict.reason.value, extracted, (now_ns - begun_ns) / 1e6,
                            verdict.tier, verdict.version or verifier.version, note))
            if now_ns - sent_ns > FLUSH_NS:
                self._send("replies", replies)
                replies, sent_ns = [], now_ns
        self._send("done", replies)

    def _load(self, name: str) -> Verifier:
        self.shared[ITEM] = STARTING
        _limit_memory(None)
        gc.disable()  # most of what is made here stays
        try:
            verifier_class = resolve("verifiers", name)
            if missing := [part for part in INTERFACE if not hasattr(verifier_class, part)]:
                raise UserError(f"verifier {name!r} has no {' and no '.join(missing)}; derive it from "
                                "rlvr.interfaces.Verifier and give it a name and a version")
            takes_packages = self.packages and "packages" in inspect.signature(verifier_class).parameters
            verifier = verifier_class(packages=self.packages) if takes_packages else verifier_class()
            verifier.warm_up()
            version = verifier.version
        except UserError:
            raise
        except Exception as error:
            raise UserError(f"verifier {name!r} cannot be constructed: {_describe(error)}") from error
        finally:
            gc.freeze()  # no collection walks over it again
            gc.enable()
        _limit_memory(self.memory_bytes)
        self.verifiers[name] = verifier
        self._send("loaded", (name, version))
        return verifier

    def _send(self, kind: str, payload: object) -> None:
        self.connection.send_bytes(pickle.dumps((kind, payload), protocol=5))


def _read(pickled: bytes) -> Problem:
    try:
        return pickle.loads(pickled)
    except Exception as error:
        raise UserError("a problem cannot be read in a judge worker (is the class of an entry of `extra` importable "
                        f"there?): {_describe(error)}") from error


def _judge(verifier: Verifier, problem: Problem, text: str | None) -> tuple[Verdict, str]:
    """One outcome. Only MemoryError escapes: the process ends, and the parent treats it as a crash (judged again on a
    fresh worker, then wrong)."""
    try:
        if text is None:
            return _check_gold(verifier, problem)
        verdict: Any = verifier.verify(problem, text)
        note = _malformed(verdict)
        if not note:
            return verdict, verdict.detail[:NOTE_CHARS]
    except MemoryError:
        raise
    except BaseException as error:  # SystemExit and timeouts derived from BaseException too: none may end the loop
        note = _describe(error)
    return Verdict(None, Reason.HARNESS_ERROR), note


def _malformed(verdict: Any) -> str:
    """What is wrong with a verifier's return value, "" for nothing. A malformed one is the verifier's bug, not a wrong
    answer."""
    if not isinstance(verdict, Verdict):
        return f"verify() returned {type(verdict).__name__}, expected a Verdict"
    for name, kinds, expected in (("correct", (bool, NoneType), "True, False or None"), ("reason", Reason, "a Reason"),
                                  ("extracted", (str, NoneType), "text or None"), ("detail", str, "text")):
        value = getattr(verdict, name)
        if not isinstance(value, kinds):
            return f"verify() returned a Verdict with {name}={value!r} ({type(value).__name__}), expected {expected}"
    return ""


def _check_gold(verifier: Verifier, problem: Problem) -> tuple[Verdict, str]:
    """Correct if the gold answer is usable and the completion made from it is judged correct."""
    complaint: Any = verifier.check_gold(problem)
    if not isinstance(complaint, (str, NoneType)):
        raise TypeError(f"check_gold() returned {type(complaint).__name__}, expected None or a sentence")
    if complaint is not None:
        return Verdict(None, Reason.GOLD_ERROR), complaint
    verdict = verifier.verify(problem, verifier.gold_completion(problem))
    if note := _malformed(verdict):
        raise TypeError(note)
    if verdict.correct is not True:
        detail = f" ({verdict.detail})" if verdict.detail else ""
        return verdict, f"the gold answer {problem.gold[:200]!r} is itself judged {verdict.reason}{detail}"
    return verdict, ""


def _describe(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:NOTE_CHARS]


def _limit_memory(growth_bytes: int | None) -> None:
    """Bound the address space at its present size plus `growth_bytes`: what a verifier imports does not count."""
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    limit = hard
    if growth_bytes is not None and sys.platform == "linux":  # elsewhere RLIMIT_AS is not enforced
        with open("/proc/self/statm") as statm:
            limit = int(statm.read().split()[0]) * mmap.PAGESIZE + growth_bytes
        if hard != resource.RLIM_INFINITY:
            limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _die_with_parent(lifeline: int) -> None:
    """Have a shell kill this process's group when the other end of the pipe `lifeline` closes.

    Unlike a watching thread this works while a C loop holds the interpreter lock, unlike PR_SET_PDEATHSIG it is tied
    to the parent process, not to the thread of it that started this worker, and unlike a signal to this process alone
    it ends a jail that was just being started. The shell is in the group itself.
    """
    subprocess.Popen(["/bin/sh", "-c", "read _; kill -KILL 0"], stdin=lifeline, stdout=subprocess.DEVNULL)
    os.close(lifeline)


def main() -> None:
    """Entry point; the command line holds the numbers of the inherited descriptors."""
    pipe, shared_file, lifeline = (int(number) for number in sys.argv[1:4])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    for inherited in (pipe, shared_file, lifeline):
        os.set_inheritable(inherited, False)
    os.dup2(2, 1)  # what a verifier prints must not end up in the parent's output
    _die_with_parent(lifeline)
    logging.basicConfig(format="judge worker %(process)d: %(message)s", level=logging.WARNING)
    connection = Connection(pipe)
    sys.path[:], memory_bytes, packages = pickle.loads(connection.recv_bytes())
    shared = memoryview(mmap.mmap(shared_file, SHARED_BYTES)).cast("q")
    Worker(connection, shared, memory_bytes, packages).run()
