"""The probe engine: draws samples by a sequential plan until every problem's boundary is known well enough.

Each problem walks through the rounds of the plan on its own (no barrier between problems), and its next round is
decided only when its whole round is judged, so the result does not depend on the order in which samples come. How the
open rounds reach a sampler is the business of rlvr.probes.feed. A probe that was killed replays its journal and draws
what is missing.
"""

from __future__ import annotations

import math
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rlvr.interfaces import AsyncSampler, CompletionJudge, Sampler
from rlvr.probes.feed import Feed, InBatches, Judging, Streamed
from rlvr.probes.world import Solo, World
from rlvr.runs.samples import Journal
from rlvr.statistics.answer_diversity import answer_diversity, expected_distinct
from rlvr.statistics.plan import SamplingPlan
from rlvr.types import Counts, Decoding, Problem, Reason

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
    """Sample rows of the first round, without texts: a plain i.i.d. batch, so its means are not bent by the stopping
    rule."""

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
        errors = [r.get("entropy_error", 0.0) for r in first if r["entropy"] is not None]
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
            **({"entropy_error": sum(errors) / len(errors)} if any(errors) else {}),
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
    sampler: Sampler | AsyncSampler,
    judge: CompletionJudge,
    *,
    seed: int,
    stream: str,
    batch_size: int,
    journal: Journal | None = None,
    world: World | None = None,
    progress: Callable[[int, int, int], None] | None = None,
) -> ProbeResult:
    """Probe `problems` with `plan`; every rank of `world` must call this with equal arguments.

    Args:
        sampler: an `AsyncSampler` is kept fed and belongs to a world of one process; any other draws batch by batch.
        seed, stream: with problem id and sample index they determine every draw.
        batch_size: completions per generation batch over all ranks, or in flight.
        journal: on rank 0, where samples are recorded and replayed from; None elsewhere or for no record.
        progress: called on every rank after each batch with (problems finished, problems, samples judged); of batches
            that are replayed from the journal only the last is shown.

    A problem with an answer that could not be judged leaves the probe: to count it as wrong would bias pass@k.

    Raises: RuntimeError if more than `MOST_UNJUDGED` of the problems would leave.
    """
    started = time.perf_counter()
    world = world or Solo()
    rounds = Rounds(problems, plan)
    known = world.gather(journal.batches if journal is not None and world.rank == 0 else [])
    for rows in known:
        rounds.replay(rows)
    if known and progress is not None:
        progress(rounds.finished, len(problems), rounds.judged)
    judging = Judging(problems, decoding, judge, seed, stream, journal, rounds.check_judged)
    feed: Feed
    if isinstance(sampler, AsyncSampler):
        if world.size > 1:
            raise ValueError(f"{type(sampler).__name__} belongs to one process, and this probe has {world.size}")
        feed = Streamed(judging, sampler, batch_size)
    else:
        feed = InBatches(judging, sampler, batch_size, world)
    try:
        while rounds.queue or feed.busy:
            rows = feed.judged_rows(rounds.queue)
            rounds.settle(rows)
            if rows and progress is not None:
                progress(rounds.finished, len(problems), rounds.judged)
    finally:
        feed.close()
    results = list(rounds.results.values())
    return ProbeResult(
        problems=results,
        samples=sum(r.n for r in results),
        tokens=_total(r.tokens for r in results),
        seconds=time.perf_counter() - started,
        unjudged=rounds.unjudged,
    )


class Rounds:
    """Where each problem stands in the plan: a round is decided when all of it is judged."""

    def __init__(self, problems: Sequence[Problem], plan: SamplingPlan) -> None:
        self.results = {problem.id: ProblemResult(problem.id) for problem in problems}
        self.queue: OrderedDict[tuple[str, int], None] = OrderedDict()
        """(problem id, sample) to draw next, in order."""
        self._plan = plan
        self._open: dict[str, int] = {}
        """Problem id -> size of the round that it is in."""
        self._judged: dict[str, list[dict[str, Any]]] = {problem.id: [] for problem in problems}
        """Problem id -> sample rows of that round so far."""
        self.unjudged: dict[str, str] = {}
        """Problem id -> what happened, of the problems that left the probe."""
        self.judged = 0
        """Samples so far, those of problems that left included."""
        self._total = len(problems)
        for result in self.results.values():
            self._start_round(result)

    @property
    def finished(self) -> int:
        """Problems that the plan has stopped or that left the probe."""
        return self._total - len(self._open)

    def replay(self, rows: list[dict[str, Any]]) -> None:
        """Settle a batch of the journal, whose samples need not be drawn. RuntimeError if the plan never asked for
        one of them."""
        for row in rows:
            key = (row["problem_id"], row["sample"])
            if key in self.queue:
                del self.queue[key]
            elif row["problem_id"] not in self.unjudged:
                raise RuntimeError("the journal of this probe does not follow from its plan; remove the samples file")
        self.settle(rows)

    def settle(self, rows: list[dict[str, Any]]) -> None:
        """Add judged samples; rounds that they complete are counted, and the next ones start."""
        self.judged += len(rows)
        for row in _not_judged(rows):
            self._leave(row)
        for row in rows:
            self._judged[row["problem_id"]].append({key: value for key, value in row.items() if key != "text"})
        for problem_id in dict.fromkeys(row["problem_id"] for row in rows):
            if problem_id not in self.unjudged and len(self._judged[problem_id]) == self._open[problem_id]:
                result = self.results[problem_id]
                result.add_round(sorted(self._judged[problem_id], key=lambda row: row["sample"]))
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
            for key in [key for key in self.queue if key[0] == problem_id]:
                del self.queue[key]

    def _start_round(self, result: ProblemResult) -> None:
        size = self._plan.next_round(result.n, result.c)
        if size:
            self._open[result.problem_id] = size
            self.queue.update(((result.problem_id, result.n + i), None) for i in range(size))


def progress_words(finished: int, total: int, samples: int) -> str:
    """`12/64 problems, 1,024 samples`: what `progress` of `run_probe` heard, for a person."""
    return f"{finished}/{total} problems, {samples:,} samples"


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
