"""A stand-in for an engine with continuous batching: it answers each request after a time of its own, for real."""

from __future__ import annotations

import heapq
import math
import random
import time
from collections.abc import Sequence

from rlvr.interfaces import SampleRequest
from rlvr.types import Completion, Decoding


class SimulatedSampler:
    """Draws "1" with probability `success[problem id]`, else a wrong answer, from the key of the request alone.

    A completion takes a log-normal time of mean `mean` seconds (sigma 1), wrong ones `slower` times as long. `sample`,
    the batch interface, waits for the slowest of its batch.
    """

    def __init__(self, success: dict[str, float], *, mean: float, slower: float = 1.0) -> None:
        self.success, self.mean, self.slower = success, mean, slower
        self.work = 0.0
        """Seconds of all requests together."""

    def one(self, request: SampleRequest, seed: int, stream: str) -> tuple[float, Completion]:
        """(seconds it takes, the completion)"""
        rng = random.Random(f"{seed}/{stream}/{request.problem.id}/{request.sample}")
        correct = rng.random() < self.success[request.problem.id]
        seconds = self.mean * rng.lognormvariate(-0.5, 1.0) * (1.0 if correct else self.slower)
        self.work += seconds
        text = "1" if correct else str(rng.randint(2, 4))
        return seconds, Completion(request.problem.id, request.sample, text, 3, False, math.nan)

    def sample(
        self, requests: Sequence[SampleRequest], decoding: Decoding, *, seed: int, stream: str
    ) -> list[Completion]:
        drawn = [self.one(request, seed, stream) for request in requests]
        time.sleep(max(seconds for seconds, _ in drawn))
        return [completion for _, completion in drawn]


class SimulatedEngine(SimulatedSampler):
    """The same, answering one by one (`rlvr.interfaces.AsyncSampler`)."""

    def __init__(self, success: dict[str, float], *, mean: float, slower: float = 1.0) -> None:
        super().__init__(success, mean=mean, slower=slower)
        self._due: list[tuple[float, int, Completion]] = []
        self._number = 0

    def submit(
        self, requests: Sequence[SampleRequest], decoding: Decoding, *, seed: int, stream: str
    ) -> None:
        now = time.perf_counter()
        for request in requests:
            seconds, completion = self.one(request, seed, stream)
            self._number += 1
            heapq.heappush(self._due, (now + seconds, self._number, completion))

    def collect(self, timeout: float | None = None) -> list[Completion]:
        wait = max(self._due[0][0] - time.perf_counter(), 0.0)
        time.sleep(wait if timeout is None else min(wait, timeout))
        ready = []
        while self._due and self._due[0][0] <= time.perf_counter():
            ready.append(heapq.heappop(self._due)[2])
        return ready

    def cancel(self) -> None:
        self._due.clear()
