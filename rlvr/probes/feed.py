"""How the open rounds of a probe reach a sampler, and its completions the judge and the journal.

`InBatches` draws batch by batch, shared by all processes. `Streamed` keeps a sampler that answers one by one as busy as
it can be: each completion that comes back is replaced at once, and problems go on to their next rounds while others
run. Which samples are drawn follows from the verdicts on each problem alone, so both count the same.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

from rlvr.interfaces import AsyncSampler, CompletionJudge, Sampler, SampleRequest
from rlvr.probes.world import World, share
from rlvr.runs.samples import Journal
from rlvr.types import Completion, Decoding, Problem, Reason, Verdict

Queue = OrderedDict[tuple[str, int], None]
"""(problem id, sample) to draw, in order."""
Rows = list[dict[str, Any]]

POLL = 0.005
"""Seconds between two looks at the judge while completions are awaited."""
RECORD_EVERY = 10.0
"""Seconds after which streamed samples are written at the latest: one write each would be most of the work."""
RECORD_SAMPLES = 256
"""Or as soon as there are that many."""


class Feed(Protocol):
    """Turns requests into judged sample rows."""

    @property
    def busy(self) -> bool:
        """Whether samples that were taken from the queue have not come out yet."""
        ...

    def judged_rows(self, queue: Queue) -> Rows:
        """Take what there is room for from the front of `queue`, and return rows that are judged by now."""
        ...

    def close(self) -> None:
        """Stop. A probe that is interrupted does not wait for its verdicts."""
        ...


class Judging:
    """The judge, in a thread of its own, and the journal of what it said."""

    def __init__(
        self, problems: Sequence[Problem], decoding: Decoding, judge: CompletionJudge, seed: int, stream: str,
        journal: Journal | None, check: Callable[[Rows], None],
    ) -> None:
        self._by_id = {problem.id: problem for problem in problems}
        self._judge, self._journal, self._check = judge, journal, check
        self._thread = ThreadPoolExecutor(1, "rlvr-probe-judge")
        self.draw: dict[str, Any] = {"decoding": decoding, "seed": seed, "stream": stream}
        """The keyword arguments of `Sampler.sample` and `AsyncSampler.submit`."""

    def requests(self, keys: Sequence[tuple[str, int]]) -> list[SampleRequest]:
        return [SampleRequest(self._by_id[problem_id], sample) for problem_id, sample in keys]

    def begin(self, completions: Sequence[Completion]) -> Future[Rows]:
        """Their sample rows, once they are judged."""
        return self._thread.submit(self._rows, completions)

    def accept(self, rows: Rows) -> Rows:
        """Check them before they are recorded: a resumed probe shall judge them again."""
        self._check(rows)
        return rows

    def record(self, rows: Rows) -> None:
        if self._journal is not None:
            self._journal.append(rows)

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _rows(self, completions: Sequence[Completion]) -> Rows:
        finished = [one for one in completions if not one.truncated]
        verdicts = iter(self._judge.judge([self._by_id[one.problem_id] for one in finished],
                                          [one.text for one in finished]))
        cut = Verdict(False, Reason.TRUNCATED)
        return [sample_row(one, cut if one.truncated else next(verdicts)) for one in completions]


class InBatches:
    """Batches of a sampler, one after the other; each rank draws and judges its share. While a batch is drawn, the one
    before it is judged, as long as enough rounds are open to fill it."""

    def __init__(self, judging: Judging, sampler: Sampler, size: int, world: World) -> None:
        self._judging, self._sampler, self._size, self._world = judging, sampler, size, world
        self._at_judge: Future[Rows] | None = None

    @property
    def busy(self) -> bool:
        return self._at_judge is not None

    def judged_rows(self, queue: Queue) -> Rows:
        before = self._at_judge
        self._at_judge = self._draw(queue) if before is None or len(queue) >= self._size else None
        if before is None:
            return []
        rows = self._judging.accept(self._world.gather(before.result()))
        self._judging.record(rows)
        return rows

    def close(self) -> None:
        self._judging.close()

    def _draw(self, queue: Queue) -> Future[Rows]:
        batch = [queue.popitem(last=False)[0] for _ in range(min(self._size, len(queue)))]
        mine = self._judging.requests(share(batch, self._world))
        return self._judging.begin(self._sampler.sample(mine, **self._judging.draw))


class Streamed:
    """A sampler that answers one by one, with `room` requests in flight as long as the plan has as many."""

    def __init__(self, judging: Judging, sampler: AsyncSampler, room: int) -> None:
        self._judging, self._sampler, self._room = judging, sampler, room
        self._in_flight = 0
        self._drawn: list[Completion] = []
        """Not yet at the judge."""
        self._at_judge: Future[Rows] | None = None
        self._unrecorded: Rows = []
        self._recorded_at = time.monotonic()

    @property
    def busy(self) -> bool:
        return bool(self._in_flight or self._drawn or self._at_judge)

    def judged_rows(self, queue: Queue) -> Rows:
        while True:
            self._submit(queue)
            if self._at_judge is None and self._drawn:
                self._at_judge, self._drawn = self._judging.begin(self._drawn), []
            if self._at_judge is not None and (self._at_judge.done() or not self._in_flight):
                rows = self._judging.accept(self._at_judge.result())
                self._at_judge = None
                self._unrecorded += rows
                if (len(self._unrecorded) >= RECORD_SAMPLES
                        or time.monotonic() - self._recorded_at > RECORD_EVERY):
                    self._record()
                return rows
            completions = self._sampler.collect(None if self._at_judge is None else POLL)
            self._in_flight -= len(completions)
            self._drawn += completions

    def close(self) -> None:
        self._judging.close()
        if self._in_flight:
            self._sampler.cancel()
        self._record()

    def _submit(self, queue: Queue) -> None:
        keys = [queue.popitem(last=False)[0] for _ in range(min(self._room - self._in_flight, len(queue)))]
        if keys:
            self._in_flight += len(keys)
            self._sampler.submit(self._judging.requests(keys), **self._judging.draw)

    def _record(self) -> None:
        if self._unrecorded:
            self._judging.record(self._unrecorded)
            self._unrecorded = []
        self._recorded_at = time.monotonic()


def sample_row(completion: Completion, verdict: Verdict) -> dict[str, Any]:
    """A completion and its verdict as a row of a samples file."""
    return {
        "problem_id": completion.problem_id,
        "sample": completion.sample,
        "text": completion.text,
        "tokens": completion.num_tokens,
        "truncated": completion.truncated,
        "entropy": None if math.isnan(completion.entropy) else round(completion.entropy, 6),
        "correct": verdict.correct,
        "reason": str(verdict.reason),
        "extracted": verdict.extracted,
        "ms": round(verdict.ms, 3),
        **({"entropy_error": round(completion.entropy_error, 6)} if completion.entropy_error else {}),
        **({"detail": verdict.detail} if verdict.detail else {}),
    }
