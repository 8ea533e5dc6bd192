"""A sampler made of a coroutine: requests run side by side on an event loop in a thread of their own."""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue

from rlvr.interfaces import SampleRequest
from rlvr.types import Completion, Decoding


class BackgroundSampler(ABC):
    """An `rlvr.interfaces.AsyncSampler`, and a `Sampler`, for whatever can draw one completion in a coroutine."""

    def __init__(self) -> None:
        self._done: SimpleQueue[Future[Completion]] = SimpleQueue()
        self._running: set[Future[Completion]] = set()
        self.loop = asyncio.new_event_loop()
        """Where `draw` runs."""
        self._thread = threading.Thread(target=self.loop.run_forever, name="rlvr-sampler", daemon=True)
        self._thread.start()

    @abstractmethod
    async def draw(self, request: SampleRequest, decoding: Decoding, *, seed: int, stream: str) -> Completion:
        """One completion, as `Sampler.sample` would draw it. An exception ends the probe."""

    def submit(
        self, requests: Sequence[SampleRequest], decoding: Decoding, *, seed: int, stream: str
    ) -> None:
        """See `rlvr.interfaces.AsyncSampler`."""
        for request in requests:
            future = asyncio.run_coroutine_threadsafe(
                self.draw(request, decoding, seed=seed, stream=stream), self.loop)
            self._running.add(future)
            future.add_done_callback(self._done.put)

    def collect(self, timeout: float | None = None) -> list[Completion]:
        """See `rlvr.interfaces.AsyncSampler`."""
        ready: list[Completion] = []
        try:
            while True:
                future = self._done.get(timeout=timeout) if not ready else self._done.get_nowait()
                if future in self._running:  # not one that was cancelled
                    self._running.remove(future)
                    ready.append(future.result())
        except Empty:
            return ready

    def cancel(self) -> None:
        """See `rlvr.interfaces.AsyncSampler`."""
        running, self._running = self._running, set()
        for future in running:
            future.cancel()

    def sample(
        self, requests: Sequence[SampleRequest], decoding: Decoding, *, seed: int, stream: str
    ) -> list[Completion]:
        """See `rlvr.interfaces.Sampler`."""
        self.submit(requests, decoding, seed=seed, stream=stream)
        drawn: dict[tuple[str, int], Completion] = {}
        try:
            while len(drawn) < len(requests):
                drawn |= {(one.problem_id, one.sample): one for one in self.collect()}
        finally:
            self.cancel()
        return [drawn[request.problem.id, request.sample] for request in requests]

    def close(self) -> None:
        """End the thread, and whatever still runs in it."""
        self.cancel()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
