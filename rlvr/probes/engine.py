"""The probe engine: draws samples by a sequential plan until every problem's boundary is known well enough.

Each problem walks through the rounds of the plan on its own (no barrier between problems); the rounds of all
problems are packed into full generation batches. A problem's next round is decided only when its whole round is
judged. While a batch is drawn, the one before it is judged, as long as enough rounds are open to fill it. The order
of batches follows from the verdicts alone, so a probe that was killed replays its journal and goes on with exactly
the batches it would have drawn.
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from rlvr.interfaces import CompletionJudge, Sampler, SampleRequest
from rlvr.runs.samples import Journal
from rlvr.statistics.answer_diversity import answer_diversity, expected_distinct
from rlvr.statistics.plan import SamplingPlan
from rlvr.types import Completion, Counts, Decoding, Problem, Reason, Verdict

T = TypeVar("T")

UNREADABLE = frozenset(
    {
        Reason.NO_BOX, Reason.UNBALANCED, Reason.EMPTY, Reason.UNFINISHED_THINK, Reason.TOO_LONG, Reason.TOO_DEEP,
        Reason.BAD_CHARS, Reason.UNPARSABLE, Reason.TRUNCATED,
    }
)
"""Reasons that mean no answer could be read: the complement of the format rate."""


class World(Protocol):
    """The processes that share a probe."""

    rank: int
    size: int

    def gather(self, items: list[T]) -> list[T]:
        """Items of all ranks in rank order, on every rank."""
        ...


class Solo:
    """A world of one process."""

    rank = 0
    size = 1

    def gather(self, items: list[T]) -> list[T]:
        return items


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

    Raises: RuntimeError if a verdict is missing (our machinery failed): it must not enter n as a wrong answer.
    """
    world = world or Solo()
    started = time.perf_counter()
    by_id = {p.id: p for p in problems}
    results = {p.id: ProblemResult(p.id) for p in problems}
    open_rounds: dict[str, int] = {}
    queue: deque[tuple[str, int]] = deque()

    def start_round(result: ProblemResult) -> None:
        size = plan.next_round(result.n, result.c)
        if size:
            open_rounds[result.problem_id] = size
            queue.extend((result.problem_id, result.n + i) for i in range(size))

    for problem in problems:
        start_round(results[problem.id])
    replay = deque(_share_from_rank_0(world, journal.batches if journal else []))
    judged: dict[str, list[dict[str, Any]]] = {p.id: [] for p in problems}

    def draw(batch: list[tuple[str, int]]) -> Callable[[], list[dict[str, Any]]]:
        """Draw a batch and give it to the judge; what is returned waits for the rows of all ranks."""
        if replay:
            known = replay.popleft()
            if [(r["problem_id"], r["sample"]) for r in known] != batch:
                raise RuntimeError("the journal of this probe does not follow from its plan; remove the samples file")
            return lambda: known
        share = math.ceil(len(batch) / world.size)
        mine = [SampleRequest(by_id[i], s) for i, s in batch[world.rank * share : (world.rank + 1) * share]]
        completions = sampler.sample(mine, decoding, seed=seed, stream=stream)
        verdicts = judging.submit(_judge, judge, mine, completions)

        def wait() -> list[dict[str, Any]]:
            rows = world.gather([_sample_row(c, v) for c, v in zip(completions, verdicts.result(), strict=True)])
            if journal is not None:
                journal.append(rows)
            return rows

        return wait

    def settle(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            judged[row["problem_id"]].append(row)
        for problem_id in dict.fromkeys(row["problem_id"] for row in rows):
            if len(judged[problem_id]) == open_rounds[problem_id]:
                _close_round(results[problem_id], judged[problem_id])
                judged[problem_id] = []
                del open_rounds[problem_id]
                start_round(results[problem_id])
        if progress is not None and not replay:  # a resumed probe is shown from where it stopped
            progress(len(problems) - len(open_rounds), len(problems))

    judging = ThreadPoolExecutor(1, "rlvr-probe-judge")
    at_judge: Callable[[], list[dict[str, Any]]] | None = None
    try:
        while queue or at_judge:
            following = None
            if at_judge is None or len(queue) >= batch_size:
                following = draw([queue.popleft() for _ in range(min(batch_size, len(queue)))])
            if at_judge is not None:
                settle(at_judge())
            at_judge = following
    finally:
        judging.shutdown(wait=False, cancel_futures=True)  # a probe that is interrupted does not wait for verdicts
    return ProbeResult(
        problems=list(results.values()),
        samples=sum(r.n for r in results.values()),
        tokens=_total(r.tokens for r in results.values()),
        seconds=time.perf_counter() - started,
    )


def _share_from_rank_0(world: World, items: list[T]) -> list[T]:
    return world.gather(items if world.rank == 0 else [])


def _judge(judge: CompletionJudge, requests: list[SampleRequest], completions: list[Completion]) -> list[Verdict]:
    finished = [i for i, c in enumerate(completions) if not c.truncated]
    verdicts = [Verdict(False, Reason.TRUNCATED)] * len(completions)
    answers = judge.judge([requests[i].problem for i in finished], [completions[i].text for i in finished])
    for i, verdict in zip(finished, answers, strict=True):
        verdicts[i] = verdict
    return verdicts


def _sample_row(completion: Completion, verdict: Verdict) -> dict[str, Any]:
    if verdict.correct is None:
        raise RuntimeError(
            f"probe stopped: sample {completion.sample} of problem {completion.problem_id!r} could not be judged "
            f"({verdict.reason}); counting it as wrong would bias pass@k. Mend the verifier or the gold answer"
        )
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


def _close_round(result: ProblemResult, rows: list[dict[str, Any]]) -> None:
    first = result.n == 0
    result.n += len(rows)
    result.c += sum(r["correct"] for r in rows)
    result.tokens = _total([result.tokens, *(r["tokens"] for r in rows)])
    result.truncated += sum(r["truncated"] for r in rows)
    result.reasons.update(r["reason"] for r in rows)
    if first:
        result.c_first = result.c
        result.first_round = rows


def _total(counts: Iterable[int | None]) -> int | None:
    """Their sum, None if one of them is not known."""
    total = 0
    for count in counts:
        if count is None:
            return None
        total += count
    return total
