"""The probe engine: draws samples by a sequential plan until every problem's boundary is known well enough.

Each problem walks through the rounds of the plan on its own (no barrier between problems); the rounds of all
problems are packed into full generation batches. A problem's next round is decided only when its whole round is
judged. While a batch is drawn, the one before it is judged, as long as enough rounds are open to fill it. The order
of batches follows from the verdicts alone, so a probe that was killed replays its journal and goes on with
exactly the batches it would have drawn.
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from rlvr.interfaces import CompletionJudge, Sampler, SampleRequest
from rlvr.probes.world import Solo, World
from rlvr.runs.samples import Journal
from rlvr.statistics.answer_diversity import answer_diversity, expected_distinct
from rlvr.statistics.plan import SamplingPlan
from rlvr.types import Completion, Counts, Decoding, Problem, Reason, Verdict

UNREADABLE = frozenset(
    {
        Reason.NO_BOX, Reason.UNBALANCED, Reason.EMPTY, Reason.UNFINISHED_THINK, Reason.TOO_LONG, Reason.TOO_DEEP,
        Reason.BAD_CHARS, Reason.UNPARSABLE, Reason.TRUNCATED,
    }
)
"""Reasons that mean no answer could be read: the complement of the format rate."""
MOST_UNJUDGED = 0.05
"""Largest share of problems that may leave a probe because an answer could not be judged."""


@dataclass
class ProblemResult:
    """What a probe saw of one problem."""

    problem_id: str
    n: int = 0
    c: int = 0
    c_first: int = 0
    tokens: int | None = 0
    """None when they are not known of every sample, and so in the rows and sums made of it."""
    truncated: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    first_round: list[dict[str, Any]] = field(default_factory=list)
    """Sample rows of the first round: a plain i.i.d. batch, so its means are not bent by the stopping rule."""

    @property
    def counts(self) -> Counts:
        return Counts(problem_id=self.problem_id, n=self.n, c=self.c, c_first=self.c_first)

    def add_round(self, rows: list[dict[str, Any]]) -> None:
        """Count the sample rows of one complete round."""
        first = self.n == 0
        self.n += len(rows)
        self.c += sum(r["correct"] for r in rows)
        self.tokens = _total([self.tokens, *(r["tokens"] for r in rows)])
        self.truncated += sum(r["truncated"] for r in rows)
        self.reasons.update(r["reason"] for r in rows)
        if first:
            self.c_first = self.c
            self.first_round = rows

    def row(self) -> dict[str, Any]:
        """The JSONL row of probes.jsonl, without the step."""
        first = self.first_round
        answers = Counter(r["extracted"] for r in first if r["extracted"] is not None)
        diversity = answer_diversity(answers, len(first))
        entropies = [r["entropy"] for r in first if r["entropy"] is not None]
        tokens = _total(r["tokens"] for r in first)
        return {
            "problem_id": self.problem_id,
            "n": self.n,
            "c": self.c,
            "c_first": self.c_first,
            "tokens": self.tokens,
            "distinct_answers": diversity.distinct,
            "distinct_at_8": expected_distinct(answers, 8) if diversity.answered >= 8 else None,
            "answer_entropy": None if math.isnan(diversity.entropy) else diversity.entropy,
            "answer_agreement": None if math.isnan(diversity.agreement) else diversity.agreement,
            "entropy": sum(entropies) / len(entropies) if entropies else None,
            "length": None if tokens is None else tokens / len(first),
            "format_rate": sum(Reason(r["reason"]) not in UNREADABLE for r in first) / len(first),
            "truncated": self.truncated,
            "reasons": dict(sorted(self.reasons.items())),
        }


@dataclass(frozen=True)
class ProbeResult:
    """Per-problem results in the order of the problems, and what they cost."""

    problems: list[ProblemResult]
    samples: int
    tokens: int | None
    seconds: float
    """Wall-clock of this process's share; replayed batches cost nothing."""
    unjudged: dict[str, str] = field(default_factory=dict)
    """Problem id -> what happened, of the problems that were left out because an answer could not be judged."""

    def as_json(self) -> dict[str, Any]:
        """The rows of probes.jsonl, without the step, and what they cost: what the baseline store keeps."""
        return {"samples": self.samples, "tokens": self.tokens, "seconds": self.seconds,
                "problems": [result.row() for result in self.problems], "unjudged": self.unjudged}


def run_probe(
    problems: Sequence[Problem],
    plan: SamplingPlan,
    decoding: Decoding,
    sampler: Sampler,
    judge: CompletionJudge,
    *,
    seed: int,
    stream: str,
    batch_size: int,
    journal: Journal | None = None,
    world: World | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ProbeResult:
    """Probe `problems` with `plan`; every rank of `world` must call this with equal arguments.

    Args:
        seed, stream: with problem id and sample index they determine every draw.
        batch_size: completions per generation batch over all ranks.
        journal: on rank 0, where batches are recorded and replayed from; None elsewhere or for no record.
        progress: called on every rank after each batch with (problems finished, problems); batches that are replayed
            from the journal count, and only the last of them is shown.

    A problem with an answer that could not be judged leaves the probe: to count it as wrong would bias pass@k.

    Raises: RuntimeError if more than `MOST_UNJUDGED` of the problems would leave.
    """
    started = time.perf_counter()
    rounds = _Rounds(problems, plan)
    batches = _Batches(problems, decoding, sampler, judge, seed, stream, journal, world or Solo(), rounds.check_judged)
    at_judge: Callable[[], list[dict[str, Any]]] | None = None
    try:
        while rounds.queue or at_judge:
            following = None
            if at_judge is None or len(rounds.queue) >= batch_size:
                following = batches.draw(rounds.next_batch(batch_size))
            if at_judge is not None:
                rounds.settle(at_judge())
                if progress is not None and not batches.replay:  # a resumed probe is shown from where it stopped
                    progress(rounds.finished, len(problems))
            at_judge = following
    finally:
        batches.close()
    results = list(rounds.results.values())
    return ProbeResult(
        problems=results,
        samples=sum(r.n for r in results),
        tokens=_total(r.tokens for r in results),
        seconds=time.perf_counter() - started,
        unjudged=rounds.unjudged,
    )


class _Rounds:
    """Where each problem stands in the plan: a round is decided when all of it is judged."""

    def __init__(self, problems: Sequence[Problem], plan: SamplingPlan) -> None:
        self.results = {problem.id: ProblemResult(problem.id) for problem in problems}
        self.queue: deque[tuple[str, int]] = deque()
        """(problem id, sample) to draw next."""
        self._plan = plan
        self._open: dict[str, int] = {}
        """Problem id -> size of the round that it is in."""
        self._judged: dict[str, list[dict[str, Any]]] = {problem.id: [] for problem in problems}
        """Problem id -> sample rows of that round so far."""
        self.unjudged: dict[str, str] = {}
        """Problem id -> what happened, of the problems that left the probe."""
        self._total = len(problems)
        for result in self.results.values():
            self._start_round(result)

    @property
    def finished(self) -> int:
        """Problems that the plan has stopped or that left the probe."""
        return self._total - len(self._open)

    def next_batch(self, size: int) -> list[tuple[str, int]]:
        return [self.queue.popleft() for _ in range(min(size, len(self.queue)))]

    def settle(self, rows: list[dict[str, Any]]) -> None:
        """Add judged samples; rounds that they complete are counted, and the next ones start."""
        for row in _not_judged(rows):
            self._leave(row)
        for row in rows:
            self._judged[row["problem_id"]].append(row)
        for problem_id in dict.fromkeys(row["problem_id"] for row in rows):
            if problem_id not in self.unjudged and len(self._judged[problem_id]) == self._open[problem_id]:
                result = self.results[problem_id]
                result.add_round(self._judged[problem_id])
                self._judged[problem_id] = []
                del self._open[problem_id]
                self._start_round(result)

    def check_judged(self, rows: list[dict[str, Any]]) -> None:
        """Raise RuntimeError if too many problems leave the probe with these rows."""
        failed = _not_judged(rows)
        leaving = {*self.unjudged, *(row["problem_id"] for row in failed)}
        if failed and len(leaving) > MOST_UNJUDGED * self._total:
            raise RuntimeError(
                f"probe stopped: answers to {len(leaving)} of {self._total} problems could not be judged (the newest: "
                f"problem {failed[-1]['problem_id']!r}, {_what_happened(failed[-1])}). Left out, so many would bias "
                "pass@k. Fix the verifier or the gold answers, then resume"
            )

    def _leave(self, row: dict[str, Any]) -> None:
        """Drop the problem of a row that was not judged, with what is still to be drawn of it."""
        problem_id = row["problem_id"]
        if problem_id not in self.unjudged:
            self.unjudged[problem_id] = _what_happened(row)
            del self.results[problem_id], self._open[problem_id]
            self.queue = deque(request for request in self.queue if request[0] != problem_id)

    def _start_round(self, result: ProblemResult) -> None:
        size = self._plan.next_round(result.n, result.c)
        if size:
            self._open[result.problem_id] = size
            self.queue.extend((result.problem_id, result.n + i) for i in range(size))


class _Batches:
    """Draws batches and hands them to the judge, in a thread of its own; each rank draws its share."""

    def __init__(
        self, problems: Sequence[Problem], decoding: Decoding, sampler: Sampler, judge: CompletionJudge, seed: int,
        stream: str, journal: Journal | None, world: World, check: Callable[[list[dict[str, Any]]], None],
    ) -> None:
        self._by_id = {problem.id: problem for problem in problems}
        self._decoding, self._sampler, self._judge = decoding, sampler, judge
        self._seed, self._stream = seed, stream
        self._journal, self._world, self._check = journal, world, check
        self._thread = ThreadPoolExecutor(1, "rlvr-probe-judge")
        self.replay = deque(world.gather(journal.batches if journal and world.rank == 0 else []))
        """Batches of the journal that are still to come, on every rank."""

    def draw(self, batch: list[tuple[str, int]]) -> Callable[[], list[dict[str, Any]]]:
        """Draw a batch and give it to the judge; what is returned waits for the rows of all ranks."""
        if self.replay:
            known = self.replay.popleft()
            if [(r["problem_id"], r["sample"]) for r in known] != batch:
                raise RuntimeError("the journal of this probe does not follow from its plan; remove the samples file")
            return lambda: known
        world = self._world
        share = math.ceil(len(batch) / world.size)
        mine = [SampleRequest(self._by_id[i], s) for i, s in batch[world.rank * share : (world.rank + 1) * share]]
        completions = self._sampler.sample(mine, self._decoding, seed=self._seed, stream=self._stream)
        verdicts = self._thread.submit(_judge, self._judge, mine, completions)

        def wait() -> list[dict[str, Any]]:
            rows = world.gather([_sample_row(c, v) for c, v in zip(completions, verdicts.result(), strict=True)])
            self._check(rows)  # before they are recorded: a resumed probe shall judge this batch again
            if self._journal is not None:
                self._journal.append(rows)
            return rows

        return wait

    def close(self) -> None:
        """Stop judging. A probe that is interrupted does not wait for its verdicts."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def _judge(judge: CompletionJudge, requests: list[SampleRequest], completions: list[Completion]) -> list[Verdict]:
    finished = [i for i, c in enumerate(completions) if not c.truncated]
    verdicts = [Verdict(False, Reason.TRUNCATED)] * len(completions)
    answers = judge.judge([requests[i].problem for i in finished], [completions[i].text for i in finished])
    for i, verdict in zip(finished, answers, strict=True):
        verdicts[i] = verdict
    return verdicts


def _sample_row(completion: Completion, verdict: Verdict) -> dict[str, Any]:
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
        **({"detail": verdict.detail} if verdict.detail else {}),
    }


def _not_judged(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["correct"] is None]


def _what_happened(row: dict[str, Any]) -> str:
    return f"sample {row['sample']}: {row['reason']}{f', {detail}' if (detail := row.get('detail')) else ''}"


def _total(counts: Iterable[int | None]) -> int | None:
    """Their sum, None if one of them is not known."""
    total = 0
    for count in counts:
        if count is None:
            return None
        total += count
    return total
