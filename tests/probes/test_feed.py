"""A sampler that answers one by one: kept busy, unbiased in any order of completion, resumable, nothing drawn twice."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest

from rlvr.interfaces import AsyncSampler, SampleRequest
from rlvr.probes import feed
from rlvr.probes.engine import ProbeResult, run_probe
from rlvr.runs.samples import Journal, read_samples
from rlvr.statistics.plan import PLANS, SamplingPlan
from rlvr.types import Completion, Decoding, Problem, Reason, Verdict
from tests.support.simulated_engine import SimulatedEngine, SimulatedSampler

PLAN = SamplingPlan((4, 8, 16), (3, 1))


class OneIsRight:
    def judge(self, problems: Sequence[Problem], texts: Sequence[str]) -> list[Verdict]:
        return [Verdict(True, Reason.IDENTICAL, text) if text == "1" else Verdict(False, Reason.WRONG_ANSWER, text)
                for text in texts]


class AnyOrder(SimulatedEngine):
    """No waiting; wrong answers come back much later than right ones, else in random order, a few at a time."""

    def __init__(self, success: dict[str, float], order: int) -> None:
        super().__init__(success, mean=1.0, slower=50.0)
        self.rng = random.Random(order)
        self.most_in_flight = 0
        self.asked: list[tuple[str, int]] = []
        self.waiting: list[tuple[float, Completion]] = []

    def submit(self, requests: Sequence[SampleRequest], decoding: Decoding, *, seed: int, stream: str) -> None:
        self.asked += [(request.problem.id, request.sample) for request in requests]
        self.waiting += [self.one(request, seed, stream) for request in requests]
        self.most_in_flight = max(self.most_in_flight, len(self.waiting))

    def collect(self, timeout: float | None = None) -> list[Completion]:
        self.waiting.sort(key=lambda each: each[0] * self.rng.random())
        ready, self.waiting = self.waiting[:3], self.waiting[3:]
        return [completion for _, completion in ready]

    def cancel(self) -> None:
        self.waiting.clear()


def problems(size: int) -> list[Problem]:
    return [Problem(id=str(i), prompt="", gold="1", verifier="") for i in range(size)]


def spread(size: int) -> dict[str, float]:
    return {str(i): i / (size - 1) for i in range(size)}


def probe(sampler: Any, size: int = 9, *, plan: SamplingPlan = PLAN, room: int = 10, **others: Any) -> ProbeResult:
    return run_probe(problems(size), plan, Decoding(), sampler, others.pop("judge", OneIsRight()),
                     seed=others.pop("seed", 0), stream="s", batch_size=room, **others)


def rows(result: ProbeResult) -> list[dict[str, Any]]:
    return [each.row() for each in result.problems]


def test_any_order_of_completion_gives_the_result_of_the_batches() -> None:
    expected = probe(SimulatedSampler(spread(9), mean=0.0))
    for order in range(10):
        sampler = AnyOrder(spread(9), order)
        assert isinstance(sampler, AsyncSampler)
        assert rows(probe(sampler, room=1 + 3 * order)) == rows(expected)
        assert sampler.most_in_flight <= 1 + 3 * order
        assert len(sampler.asked) == len(set(sampler.asked)) == expected.samples


def test_pass_at_k_is_unbiased_although_right_answers_come_first() -> None:
    """The true pass@1 is 0.1; deciding on the samples that came first would estimate 0.2 and more."""
    size, p = 1000, 0.1
    result = probe(AnyOrder({str(i): p for i in range(size)}, 1), size, room=64)
    for k in (1, 4, 16):
        estimate = np.mean([PLAN.estimate(each.n, each.c, k) for each in result.problems])
        error = (PLAN.variance(p, k) / size) ** 0.5
        assert abs(estimate - (1 - (1 - p) ** k)) < 3.5 * error, k


def test_the_sampler_is_kept_fed() -> None:
    """Real waiting, log-normal lengths: at most 1.15 times the sum of work over the capacity."""
    capacity, p_P = 24, np.random.default_rng(0).beta(0.4, 1.2, 100)
    ratio = 2.0
    for attempt in range(3):  # a machine busy with something else stretches the waiting
        sampler = SimulatedEngine({str(i): float(p) for i, p in enumerate(p_P)}, mean=0.03)
        started = time.perf_counter()
        probe(sampler, 100, plan=PLANS["balanced"], room=capacity, seed=attempt)
        ratio = (time.perf_counter() - started) / (sampler.work / capacity)
        if ratio <= 1.15:
            break
    assert ratio <= 1.15


def test_completions_are_collected_while_others_are_judged() -> None:
    collected, meanwhile = Event(), []

    class Engine(AnyOrder):
        def collect(self, timeout: float | None = None) -> list[Completion]:
            collected.set()
            return super().collect(timeout)

    class Slow(OneIsRight):
        def judge(self, problems: Sequence[Problem], texts: Sequence[str]) -> list[Verdict]:
            if not meanwhile:
                collected.clear()
                meanwhile.append(collected.wait(5.0))
            return super().judge(problems, texts)

    probe(Engine(spread(9), 0), judge=Slow())
    assert meanwhile == [True]


class Killed(Exception):
    pass


def test_a_killed_probe_resumes_and_draws_only_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "RECORD_SAMPLES", 5)
    whole = probe(AnyOrder(spread(9), 0))
    path, recorded, drawn = tmp_path / "samples.gz", 0, []
    for attempt in range(50):
        class Mortal(AnyOrder):
            life = 8

            def collect(self, timeout: float | None = None) -> list[Completion]:
                self.life -= 1
                if self.life < 0:
                    raise Killed
                return super().collect(timeout)

        sampler = Mortal(spread(9), attempt)
        try:
            result = probe(sampler, journal=Journal(path, {"id": 1}))
        except Killed:
            kept = list(read_samples(path))
            assert len(kept) > recorded and sampler.waiting == []
            recorded = len(kept)
            continue
        finally:
            drawn.append(len(sampler.asked))
        break
    else:
        raise AssertionError("it never got through")
    assert attempt >= 3 and rows(result) == rows(whole)
    samples = [(row["problem_id"], row["sample"]) for row in read_samples(path)]
    assert len(samples) == len(set(samples)) == whole.samples
    assert drawn[-1] < whole.samples - 20


def test_an_unjudged_problem_leaves_and_its_late_samples_change_nothing() -> None:
    class Unable(OneIsRight):
        def judge(self, problems: Sequence[Problem], texts: Sequence[str]) -> list[Verdict]:
            return [Verdict(None, Reason.HARNESS_ERROR) if problem.id == "5" else verdict
                    for problem, verdict in zip(problems, super().judge(problems, texts), strict=True)]

    everyone = spread(30)
    result = probe(AnyOrder(everyone, 3), 30, room=40, judge=Unable())
    expected = probe(AnyOrder(everyone, 4), 30)
    assert list(result.unjudged) == ["5"]
    assert rows(result) == [row for row in rows(expected) if row["problem_id"] != "5"]
    drawn = []

    class OneByOne(SimulatedSampler):
        def one(self, request: SampleRequest, seed: int, stream: str) -> tuple[float, Completion]:
            drawn.append((request.problem.id, request.sample))
            return super().one(request, seed, stream)

    assert rows(probe(OneByOne(everyone, mean=0.0), 30, room=1, judge=Unable())) == rows(result)
    # The second is drawn while the first is judged; then nothing more is.
    assert [key for key in drawn if key[0] == "5"] == [("5", 0), ("5", 1)]


def test_an_engine_belongs_to_one_process() -> None:
    class Two:
        rank, size = 0, 2

        def gather(self, items: list[Any]) -> list[Any]:
            return items

    with pytest.raises(ValueError, match="belongs to one process, and this probe has 2"):
        probe(AnyOrder(spread(9), 0), world=Two())
