"""Worker processes that judge items in chunks. The parent times every item, and kills and replaces workers.

Each worker is a plain `python -c` child with three inherited descriptors: a socket for chunks and outcomes, a small
shared memory where it publishes its current item and when it began, and a pipe that ends the worker when it closes.
`multiprocessing` would not do: its spawn and forkserver methods import the parent's `__main__` again (which fails for
scripts on stdin and reruns scripts without a main guard), and forking a process with torch threads may deadlock. A
chunk is only sent to a worker that waits for one, so parent and worker never both block on sending.
"""

from __future__ import annotations

import logging
import math
import mmap
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path

from rlvr.judging.worker import ITEM, SHARED_BYTES, SINCE, STARTING, Reply
from rlvr.types import Reason, UserError, Verdict

log = logging.getLogger("rlvr.judging.judge")

START_SECONDS = 120.0
"""A worker that takes longer to boot or to load a verifier is killed (cold network file systems take tens)."""
MAX_FALSE_STARTS = 3
"""Workers in a row that die without having begun an item before the pool gives up."""
CHUNK_MS, LEAST_MS = 4.0, 0.5
"""Bounds on the duration of a chunk: long against a round trip (0.1 ms), short for those that wait."""
MAX_CHUNK = 256
POLL_SECONDS = 0.25
MAX_MESSAGE = 256 * 2**20
"""Bytes of one message of a worker: hundreds of outcomes of a few kilobytes each."""
STRAY = "the verifier wrote to a descriptor that is not its own"

_BOOT = "import sys; sys.path.insert(0, {root!r}); from rlvr.judging.worker import main; main()"
_REASONS = {reason.value: reason for reason in Reason}


@dataclass(eq=False)
class Item:
    """One completion (or, with text None, one gold answer) to judge; `verdict` is None until it is."""

    problem: bytes
    """Pickled Problem."""
    label: str
    """Problem id, for log lines."""
    text: str | None
    seconds: float = 0.0
    """Wall clock that its verifier asks for, where that is more than the pool's timeout."""
    verdict: Verdict | None = None
    note: str = ""
    """Text of the verifier's exception, or what is wrong with the gold answer."""
    deaths: int = 0
    """Workers that died while they judged this item."""


class _Worker:
    """One child process and the chunk it is judging. Only the pool's thread calls the methods."""

    def __init__(self, memory_bytes: int | None, packages: tuple[str, ...]) -> None:
        self.connection, child_end = Pipe()
        lifeline_read, self._lifeline = os.pipe()
        with tempfile.TemporaryFile() as file:
            file.truncate(SHARED_BYTES)
            self.shared = memoryview(mmap.mmap(file.fileno(), SHARED_BYTES)).cast("q")
            self.begin([])
            inherited = (child_end.fileno(), file.fileno(), lifeline_read)
            # -P: the working directory is not searched for modules before sys.path is set to the parent's
            command = [sys.executable, "-P", "-c", _BOOT.format(root=str(Path(__file__).resolve().parents[2])),
                       *map(str, inherited)]
            # own session: a terminal's Ctrl-C goes to the parent only, and a kill reaches the children of a verifier
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=inherited,
                                            start_new_session=True, env={**os.environ, "PYTHONHASHSEED": "0"})
        child_end.close()
        os.close(lifeline_read)
        self.ready = False
        self.served = False
        self.garbled = False
        """Whether something else than an outcome came through its pipe."""
        path = [os.path.abspath(entry) for entry in sys.path]
        self.connection.send_bytes(pickle.dumps((path, memory_bytes, packages)))

    def begin(self, chunk: list[Item]) -> None:
        self.chunk = chunk
        self.shared[SINCE] = time.monotonic_ns()
        self.shared[ITEM] = STARTING

    def current(self) -> tuple[int, float]:
        """Index of the current item (STARTING: none) and the seconds spent on it."""
        while True:
            item = self.shared[ITEM]
            seconds = (time.monotonic_ns() - self.shared[SINCE]) / 1e9
            if item == self.shared[ITEM]:  # else it moved on between the two reads
                if STARTING <= item < max(1, len(self.chunk)):
                    return item, seconds
                self.garbled = True
                return STARTING, 0.0

    def kill(self) -> None:
        """Kill the process group, even if the worker is dead: a jail that it was starting may have outlived it."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def release(self) -> None:
        self.connection.close()
        os.close(self._lifeline)


class Pool:
    """Gets a verdict for every item, even when workers hang or die."""

    def __init__(
        self, workers: int, timeout: float, memory_bytes: int | None, packages: Sequence[str] = ()
    ) -> None:
        self._size, self._timeout, self._memory_bytes = workers, timeout, memory_bytes
        self._packages = tuple(packages)
        self._workers: list[_Worker] = []
        self._false_starts = 0
        self._mean_ms = 1.0
        self._pid = os.getpid()
        self._stopping = False
        self.versions: dict[str, str] = {}
        """Version of each verifier loaded so far, by name."""

    def run(self, items: Sequence[Item]) -> None:
        """Set `verdict` (and `note`) of every item. Raises UserError when a verifier cannot be loaded."""
        if os.getpid() != self._pid:
            raise RuntimeError("a Judge cannot be used in a forked copy of the process that made it: make one there")
        waiting = deque(items)
        left = len(items)
        try:
            while left:
                if self._stopping:
                    raise RuntimeError("this Judge was closed while it judged")
                self._assign(waiting)
                left -= self._collect(waiting)
        except BaseException:  # Ctrl-C too: a worker in the middle of a chunk must not answer the next call
            for worker in [worker for worker in self._workers if worker.chunk]:
                self._remove(worker)
            raise

    def stop(self) -> None:
        """Make a call of `run` in another thread give up within POLL_SECONDS."""
        self._stopping = True

    def close(self) -> None:
        """End all workers: idle ones exit by themselves, the others are killed after a second."""
        workers, self._workers = self._workers, []
        if os.getpid() != self._pid:
            return
        for worker in workers:
            worker.connection.close()
        deadline = time.monotonic() + 1.0
        for worker in workers:
            with suppress(subprocess.TimeoutExpired):
                worker.process.wait(max(0.0, deadline - time.monotonic()))
            worker.kill()
            worker.release()

    def _assign(self, waiting: deque[Item]) -> None:
        while len(self._workers) < self._size and sum(not worker.chunk for worker in self._workers) < len(waiting):
            self._workers.append(_Worker(self._memory_bytes, self._packages))
        for worker in self._workers:
            if not waiting or worker.chunk or not worker.ready:
                continue
            # chunks shrink towards the end, so that the workers finish together, but stay worth a round trip
            share = max(math.ceil(len(waiting) / (2 * self._size)), int(LEAST_MS / self._mean_ms))
            size = max(1, min(share, MAX_CHUNK, int(CHUNK_MS / self._mean_ms)))
            chunk = [waiting.popleft() for _ in range(min(size, len(waiting)))]
            where: dict[bytes, int] = {}
            pairs = [(where.setdefault(item.problem, len(where)), item.text) for item in chunk]
            worker.begin(chunk)
            with suppress(OSError):  # it died while idle; _collect sees that it is gone and puts the chunk back
                worker.connection.send_bytes(pickle.dumps((list(where), pairs), protocol=5))

    def _collect(self, waiting: deque[Item]) -> int:
        """Wait for the next event and handle it; returns the number of items that got a verdict."""
        limits = [self._limit(worker) for worker in self._workers if worker.chunk or not worker.ready]
        patience = min([POLL_SECONDS, *limits])
        by_connection = {worker.connection: worker for worker in self._workers}
        judged = 0
        for connection in wait(list(by_connection), max(0.0, patience)):
            assert isinstance(connection, Connection)
            worker = by_connection[connection]
            done = self._receive(worker)
            judged += self._bury(worker, waiting, "garbled" if worker.garbled else "died") if done is None else done
        for worker in list(self._workers):
            if worker.garbled:
                judged += self._bury(worker, waiting, "garbled")
            elif worker.process.poll() is not None and not worker.connection.poll():
                judged += self._bury(worker, waiting, "died")
            elif (worker.chunk or not worker.ready) and self._limit(worker) <= 0:
                judged += self._bury(worker, waiting, "hangs")
        return judged

    def _limit(self, worker: _Worker) -> float:
        """Seconds left to the worker for its current item, or for loading."""
        item, seconds = worker.current()
        return (START_SECONDS if item == STARTING else max(self._timeout, worker.chunk[item].seconds)) - seconds

    def _receive(self, worker: _Worker) -> int | None:
        """Read one message; returns the number of verdicts in it, None when the worker is gone."""
        try:
            message = worker.connection.recv_bytes(MAX_MESSAGE)
        except (EOFError, ConnectionError):
            return None
        except OSError:  # longer than any message: what a verifier wrote to a descriptor that is not its own
            worker.garbled = True
            return None
        try:
            kind, payload = pickle.loads(message)
        except Exception:  # whatever pickle makes of bytes that are no pickle
            worker.garbled = True
            return None
        if kind == "user_error":
            raise UserError(payload)
        if kind == "ready":
            worker.ready = True
        elif kind == "loaded":
            name, self.versions[name] = payload
        elif payload:
            worker.served = True
            self._false_starts = 0
            spent_ms = sum([self._settle(worker.chunk[reply[0]], reply) for reply in payload])
            self._mean_ms = 0.5 * self._mean_ms + 0.5 * spent_ms / len(payload) + 1e-6
        if kind == "done":
            worker.begin([])
        return len(payload) if kind in ("replies", "done") else 0

    def _settle(self, item: Item, reply: Reply) -> float:
        """Give the item its verdict; returns the milliseconds it took."""
        _, correct, reason, extracted, ms, tier, version, item.note = reply
        # finished just before it was to be killed: the limit holds all the same
        if ms > 1000 * max(self._timeout, item.seconds):
            item.verdict = Verdict(False, Reason.TIMEOUT, None, ms, "", version)
        else:
            item.verdict = Verdict(correct, _REASONS[reason], extracted, ms, tier, version, item.note)
        return ms

    def _bury(self, worker: _Worker, waiting: deque[Item], how: str) -> int:
        """Remove a worker that died or hangs. Its current item is blamed; the unjudged rest of its chunk goes back."""
        index, seconds = worker.current()
        if how == "garbled":  # it went on behind the item that did it, which is the first one without an outcome
            index = next((n for n, item in enumerate(worker.chunk) if item.verdict is None), STARTING)
        worker.kill()
        judged = 0
        while not worker.garbled and worker.connection.poll() and (done := self._receive(worker)) is not None:
            judged += done
        chunk, exit_code = worker.chunk, worker.process.returncode
        self._remove(worker)
        if chunk and index != STARTING:
            if chunk[index].verdict is None:
                judged += self._blame(chunk[index], how, seconds, exit_code)
        elif chunk:
            log.warning("a judge worker %s between two completions (exit code %s); another one judges its completions",
                        how, exit_code)
        if (not chunk or index == STARTING) and not worker.served:
            self._false_starts += 1
            if self._false_starts >= MAX_FALSE_STARTS:
                raise RuntimeError(f"{MAX_FALSE_STARTS} judge workers in a row ended before they judged anything (the "
                                   f"last one {how}, exit code {exit_code}); their standard error says why")
        waiting.extendleft(item for item in reversed(chunk) if item.verdict is None)
        return judged

    def _blame(self, item: Item, how: str, seconds: float, exit_code: int) -> int:
        """A hang is a timeout at once; a death counts as the completion's fault when it happens twice."""
        if how == "hangs":
            log.warning("no verdict on a completion of problem %s after %.1f s, counted as wrong (timeout): %r",
                        item.label, seconds, (item.text or "gold answer")[-200:])
            item.verdict = Verdict(False, Reason.TIMEOUT, ms=1000 * seconds)
            return 1
        if how == "garbled":
            log.warning("not judged, problem %s: %s", item.label, STRAY)
            item.verdict, item.note = Verdict(None, Reason.HARNESS_ERROR), STRAY
            return 1
        item.deaths += 1
        again = item.deaths < 2
        log.warning("a judge worker died (exit code %d) on a completion of problem %s, %s: %r", exit_code, item.label,
                    "which is judged again on a fresh worker" if again else "again: it is counted as crashed",
                    (item.text or "gold answer")[-200:])
        if again:
            return 0
        item.verdict = Verdict(False, Reason.CRASHED, ms=1000 * seconds)
        return 1

    def _remove(self, worker: _Worker) -> None:
        worker.kill()
        worker.release()
        self._workers.remove(worker)
