"""The probe engine: right counts, rounds decided whole, resumable at any batch, any world size."""

from __future__ import annotations

import math
import random
import signal
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlvr.interfaces import SampleRequest
from rlvr.probes.engine import run_probe
from rlvr.probes.world import DistributedWorld
from rlvr.runs.samples import Journal, read_samples
from rlvr.statistics.boundary_row import Measurement, boundary_row
from rlvr.statistics.ledger import luck
from rlvr.statistics.plan import PLANS, SamplingPlan
from rlvr.statistics.verdicts import shrinkage_looks
from rlvr.types import Completion, Decoding, Problem, Reason, Verdict

PLAN = SamplingPlan((4, 8, 16), (3, 1))
PROBLEMS = [Problem(id=f"p{i}", prompt="", gold="1", verifier="fake") for i in range(7)]
SUCCESS = {f"p{i}": i / 6 for i in range(7)}


class FakeSampler:
    """Draws "1" with the problem's success probability, from (seed, stream, problem, sample) alone."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def sample(
        self, requests: Sequence[SampleRequest], decoding: Decoding, *, seed: int, stream: str
    ) -> list[Completion]:
        self.calls.append(len(requests))
        rows = []
        for r in requests:
            rng = random.Random(f"{seed}/{stream}/{r.problem.id}/{r.sample}")
            correct, cut = rng.random() < SUCCESS[r.problem.id], rng.random() < 0.1
            text = "1" if correct else str(rng.randint(2, 4))
            rows.append(Completion(r.problem.id, r.sample, text, num_tokens=3, truncated=cut, entropy=0.5))
        return rows


class FakeJudge:
    def judge(self, problems: Sequence[Problem], texts: Sequence[str]) -> list[Verdict]:
        return [
            Verdict(True, Reason.IDENTICAL, extracted=t) if t == "1" else Verdict(False, Reason.WRONG_ANSWER, t)
            for t in texts
        ]


def probe(**changes: Any) -> Any:
    settings: dict[str, Any] = {"seed": 0, "stream": "s", "batch_size": 10}
    return run_probe(PROBLEMS, PLAN, Decoding(), settings.pop("sampler", changes.pop("sampler", FakeSampler())),
                     changes.pop("judge", FakeJudge()), **(settings | changes))


def expected_counts() -> list[tuple[int, int]]:
    """The same draws walked through the plan one problem at a time."""
    counts = []
    for problem in PROBLEMS:
        n = c = 0
        while size := PLAN.next_round(n, c):
            drawn = FakeSampler().sample(
                [SampleRequest(problem, n + i) for i in range(size)], Decoding(), seed=0, stream="s"
            )
            n, c = n + size, c + sum(x.text == "1" and not x.truncated for x in drawn)
        counts.append((n, c))
    return counts


def test_counts_follow_the_plan_and_truncation_is_wrong() -> None:
    result = probe()
    assert [(r.n, r.c) for r in result.problems] == expected_counts()
    assert result.problems[0].n == 16 and result.problems[0].c == 0  # p = 0 walks to the end
    assert result.samples == sum(n for n, _ in expected_counts())
    assert result.tokens == 3 * result.samples
    cut = sum(r.truncated for r in result.problems)
    assert 0 < cut == sum(r.reasons["truncated"] for r in result.problems)
    for r in result.problems:
        assert sum(r.reasons.values()) == r.n and r.c_first <= min(4, r.c)


@pytest.mark.parametrize("batch_size", [1, 3, 1000])
def test_counts_do_not_depend_on_the_batch_size(batch_size: int) -> None:
    assert [(r.n, r.c) for r in probe(batch_size=batch_size).problems] == expected_counts()


def test_batches_are_full_while_there_is_work() -> None:
    sampler = FakeSampler()
    probe(sampler=sampler, batch_size=8)
    assert sampler.calls[:3] == [8, 8, 8]  # 28 first-round samples of 7 problems


def test_progress_goes_on_while_nothing_is_solved() -> None:
    """Bug: the line stood at `0/7 problems` until the last round, as no problem finishes without right answers."""

    class NeverRight(FakeJudge):
        def judge(self, problems: Sequence[Problem], texts: Sequence[str]) -> list[Verdict]:
            return [Verdict(False, Reason.WRONG_ANSWER)] * len(texts)

    shown: list[tuple[int, int, int]] = []
    probe(judge=NeverRight(), progress=lambda *place: shown.append(place))
    assert [place for place in shown if place[0] == 0][:3] == [(0, 7, 10), (0, 7, 20), (0, 7, 30)]
    assert shown[-1] == (7, 7, 7 * 16)


def test_a_batch_is_judged_while_the_next_is_drawn() -> None:
    """The judge of each batch waits until the next is being drawn: in vain only once too few rounds are open."""
    sampler, overlapped = FakeSampler(), []

    class Waiting(FakeJudge):
        def judge(self, problems: Sequence[Problem], texts: Sequence[str]) -> list[Verdict]:
            batches = len(overlapped) + 1
            deadline = time.monotonic() + 0.3
            while len(sampler.calls) <= batches and time.monotonic() < deadline:
                time.sleep(0.001)
            overlapped.append(len(sampler.calls) > batches)
            return super().judge(problems, texts)

    assert [(r.n, r.c) for r in probe(sampler=sampler, judge=Waiting(), batch_size=8).problems] == expected_counts()
    full = [size == 8 for size in sampler.calls]
    assert overlapped[:-1] == full[1:] and overlapped.count(True) >= 3 and not overlapped[-1]


class Killed(Exception):
    pass


def test_an_interrupted_probe_does_not_wait_for_its_verdicts() -> None:
    interrupted = threading.Event()

    class Slow(FakeJudge):
        def judge(self, problems: Sequence[Problem], texts: Sequence[str]) -> list[Verdict]:
            assert interrupted.wait(5)
            return super().judge(problems, texts)

    started = time.monotonic()
    with pytest.raises(Killed):
        probe(sampler=KilledSampler(1), judge=Slow())
    assert time.monotonic() - started < 2
    interrupted.set()


class KilledSampler(FakeSampler):
    def __init__(self, calls: int) -> None:
        super().__init__()
        self.left = calls

    def sample(self, *args: Any, **kwargs: Any) -> list[Completion]:
        if self.left == 0:
            raise Killed
        self.left -= 1
        return super().sample(*args, **kwargs)


@pytest.mark.parametrize("survived", [0, 1, 2, 4])
def test_a_killed_probe_resumes_to_the_same_samples(
    tmp_path: Path, survived: int, caplog: pytest.LogCaptureFixture
) -> None:
    whole = probe(journal=Journal(tmp_path / "whole.gz", {"id": 1}))
    with pytest.raises(Killed):
        probe(sampler=KilledSampler(survived), journal=Journal(tmp_path / "killed.gz", {"id": 1}))
    kept = sum(map(len, Journal(tmp_path / "killed.gz", {"id": 1}).batches))
    assert kept >= 10 * (survived - 1)  # the batch that was being judged is lost
    sampler = FakeSampler()
    caplog.clear()
    resumed = probe(sampler=sampler, journal=Journal(tmp_path / "killed.gz", {"id": 1}))
    assert [r.getMessage() for r in caplog.records] == (
        [f"{tmp_path / 'killed.gz'}: resuming a probe after {kept} samples"] if kept else [])
    assert [r.row() for r in resumed.problems] == [r.row() for r in whole.problems]
    assert (tmp_path / "killed.gz").read_bytes() == (tmp_path / "whole.gz").read_bytes()
    assert sum(sampler.calls) == whole.samples - kept  # only what was missing is drawn


def slow_probe(path: Path) -> None:
    class Slow(FakeSampler):
        def sample(self, *args: Any, **kwargs: Any) -> list[Completion]:
            time.sleep(0.003)
            return super().sample(*args, **kwargs)

    probe(sampler=Slow(), batch_size=1, journal=Journal(path, {"id": 1}))


def test_killed_by_the_system_at_random_instants_it_ends_with_the_same_bytes(tmp_path: Path) -> None:
    """SIGKILL to a process of its own, again and again until it gets through, each time a little later."""
    whole = probe(batch_size=1, journal=Journal(tmp_path / "whole.gz", {"id": 1}))
    rng, kills, torn_at = random.Random(0), 0, set()
    while True:
        child = get_context("fork").Process(target=slow_probe, args=(tmp_path / "killed.gz",))
        child.start()
        child.join(rng.uniform(0.0, 0.02) + kills / 2000)
        child.kill()
        child.join()
        if child.exitcode == 0:
            break
        assert child.exitcode == -signal.SIGKILL
        kills += 1
        torn_at.add((tmp_path / "killed.gz").stat().st_size if (tmp_path / "killed.gz").exists() else 0)
    assert kills >= 5 and len(torn_at) >= 3  # it was killed while there was work, and at different places
    assert (tmp_path / "killed.gz").read_bytes() == (tmp_path / "whole.gz").read_bytes()
    again = probe(batch_size=1, journal=Journal(tmp_path / "killed.gz", {"id": 1}))
    assert [r.row() for r in again.problems] == [r.row() for r in whole.problems]


def test_a_torn_journal_tail_is_cut_off_and_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "j.gz"
    probe(journal=Journal(path, {"id": 1}))
    complete = path.read_bytes()
    for keep in (len(complete) - 1, len(complete) - 40):
        path.write_bytes(complete[:keep])
        caplog.clear()
        probe(journal=Journal(path, {"id": 1}))
        assert "an incomplete batch of a killed probe" in caplog.text
        assert path.read_bytes() == complete


def test_a_journal_of_another_probe_is_moved_aside_not_continued(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "j.gz"
    probe(journal=Journal(path, {"weights": "old"}))
    old = path.read_bytes()
    probe(journal=Journal(path, {"weights": "new"}), seed=1)
    assert (tmp_path / "j.gz.stale").read_bytes() == old
    assert "belongs to another probe" in caplog.text
    assert len(list(read_samples(path))) == sum(r.n for r in probe(seed=1).problems)


def test_surrogates_survive_the_journal(tmp_path: Path) -> None:
    class Odd(FakeSampler):
        def sample(self, *args: Any, **kwargs: Any) -> list[Completion]:
            rows = super().sample(*args, **kwargs)
            return [Completion(r.problem_id, r.sample, "\ud800<\n\"", 3, False) for r in rows]

    probe(sampler=Odd(), journal=Journal(tmp_path / "j.gz", {}))
    assert {r["text"] for r in read_samples(tmp_path / "j.gz")} == {"\ud800<\n\""}


def test_answers_of_the_first_round_alone_make_the_diversity() -> None:
    """Four samples are the first round; "2" three times and "3" once: entropy -(3/4 ln 3/4 + 1/4 ln 1/4) + 1/8; of
    the 12 ordered pairs 3 * 2 agree: 1/2. The wrong answers of later rounds must not count."""
    texts = iter([*"2232", *"4567", *"89abcdef"])

    class Scripted(FakeSampler):
        def sample(self, requests: Any, *_: Any, **__: Any) -> list[Completion]:
            return [Completion(r.problem.id, r.sample, next(texts), 1, False) for r in requests]

    (result,) = run_probe(PROBLEMS[:1], PLAN, Decoding(), Scripted(), FakeJudge(), seed=0, stream="", batch_size=4
                          ).problems
    row = result.row()
    assert (row["n"], row["distinct_answers"], row["distinct_at_8"]) == (16, 2, None)
    plug_in = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert (row["answer_entropy"], row["answer_agreement"]) == pytest.approx((plug_in + 1 / 8, 6 / 12), rel=1e-12)


def test_a_missing_verdict_stops_the_probe() -> None:
    class Broken(FakeJudge):
        def judge(self, problems: Any, texts: Any) -> list[Verdict]:
            return [Verdict(None, Reason.HARNESS_ERROR) for _ in texts]

    with pytest.raises(RuntimeError, match="could not be judged"):
        probe(judge=Broken())


def test_nothing_more_is_drawn_of_a_problem_that_left() -> None:
    drawn: list[str] = []

    class Recording(FakeSampler):
        def sample(self, requests: Any, *rest: Any, **how: Any) -> list[Completion]:
            drawn.extend(request.problem.id for request in requests)
            return super().sample(requests, *rest, **how)

    class Unable(FakeJudge):
        def judge(self, problems: Any, texts: Any) -> list[Verdict]:
            return [Verdict(None, Reason.GOLD_ERROR) if problem.id == "p30" else verdict
                    for problem, verdict in zip(problems, super().judge(problems, texts), strict=True)]

    many = [Problem(id=f"p{i}", prompt="", gold="1", verifier="fake") for i in range(40)]
    SUCCESS.update({problem.id: 0.5 for problem in many[7:]})
    result = run_probe(many, SamplingPlan((16,)), Decoding(), Recording(), Unable(), seed=0, stream="", batch_size=2)
    assert drawn.count("p30") == 4 and drawn.count("p31") == 16  # a batch is drawn while the one before is judged
    assert list(result.unjudged) == ["p30"] and "p30" not in {each.problem_id for each in result.problems}


class Threads:
    """Ranks as threads: a gather meets at a barrier."""

    def __init__(self, size: int) -> None:
        self.slots: list[list[Any]] = [[] for _ in range(size)]
        self.barrier = threading.Barrier(size, timeout=20)

    def world(self, rank: int) -> DistributedWorld:
        return Rank(self, rank)


class Rank(DistributedWorld):
    def __init__(self, threads: Threads, rank: int) -> None:
        super().__init__(rank, len(threads.slots))
        self.threads = threads

    def gather(self, items: list[Any]) -> list[Any]:
        self.threads.slots[self.rank] = items
        self.threads.barrier.wait()
        gathered = [x for slot in self.threads.slots for x in slot]
        self.threads.barrier.wait()
        return gathered


@pytest.mark.parametrize("size", [2, 3])
def test_ranks_share_a_probe_and_see_the_same_result(tmp_path: Path, size: int) -> None:
    whole = probe(journal=Journal(tmp_path / "one.gz", {}), batch_size=20)
    threads, samplers = Threads(size), [FakeSampler() for _ in range(size)]

    def run(rank: int) -> Any:
        journal = Journal(tmp_path / "many.gz", {}) if rank == 0 else None
        return probe(sampler=samplers[rank], journal=journal, world=threads.world(rank), batch_size=20)

    with ThreadPoolExecutor(size) as pool:
        results = list(pool.map(run, range(size)))
    for result in results:
        assert [r.row() for r in result.problems] == [r.row() for r in whole.problems]
    assert sum(sum(s.calls) for s in samplers) == whole.samples  # nothing is drawn twice
    assert max(max(s.calls) for s in samplers) == -(-20 // size)
    assert (tmp_path / "one.gz").read_bytes() == (tmp_path / "many.gz").read_bytes()


def measure(plan: SamplingPlan, p_P: np.ndarray, seed: int) -> tuple[Measurement, list[dict[str, Any]]]:
    rng = np.random.default_rng(seed)

    class Binomial(FakeSampler):
        def sample(self, requests: Any, decoding: Any, *, seed: int, stream: str) -> list[Completion]:
            return [
                Completion(r.problem.id, r.sample, "1" if rng.random() < p_P[int(r.problem.id)] else "0", 2, False, 0.1)
                for r in requests
            ]

    problems = [Problem(id=str(i), prompt="", gold="", verifier="") for i in range(len(p_P))]
    result = run_probe(problems, plan, Decoding(), Binomial(), FakeJudge(), seed=0, stream="", batch_size=512)
    return Measurement([r.counts for r in result.problems], plan, p_P), [r.row() for r in result.problems]


def test_boundary_row_holds_estimates_near_the_truth() -> None:
    rng = np.random.default_rng(0)
    base_p, now_p = rng.beta(0.6, 2.0, 200), rng.beta(0.3, 0.5, 200)
    base, _ = measure(PLANS["reference-512"], base_p, 1)
    now, rows = measure(PLANS["balanced"], now_p, 2)
    row = boundary_row(
        step=20, now=now, base=base, problem_rows=rows, ks=(1, 16, 64, 128, 256), decoding=Decoding(),
        plan_name="balanced", verifier="fake/1", samples=1, tokens=2, seconds=0.5, token_share=None,
    )
    exact = {
        "boundary/pass@1": now_p.mean(),
        "boundary/pass@256": (1 - (1 - now_p) ** 256).mean(),
        "boundary/delta_se": (1 - (1 - base_p) ** 256).mean() - now_p.mean(),
        "boundary/shrinkage@64": ((1 - now_p) ** 64).mean() - ((1 - base_p) ** 64).mean(),
    }
    for key, value in exact.items():
        assert row["exact"][key] == pytest.approx(value, abs=1e-12)
        estimate = row["benchmark"][key]
        assert estimate["low"] - 0.01 <= value <= estimate["high"] + 0.01, key
        assert row["estimates"][key]["value"] == estimate["value"]
    missing = {c.problem_id for c in now.counts if c.c == 0} & {c.problem_id for c in base.counts if c.c > 0}
    assert row["ledger"]["unsolved_now"] == len(missing) > 10 and set(row["lost"]) <= missing and row["lost"]
    assert row["ledger"]["unsolved_by_luck"] == pytest.approx(sum(
        luck(c.n, c.c, 256, tuple(row["ledger"]["prior"])) for c in base.counts if c.c > 0), rel=1e-12)
    solvable = row["companions"]["solvable"]
    expected = ((1 - (1 - base_p) ** 256) * (1 - now_p) ** 256).sum()  # products of true chances
    assert solvable["only_base"] == pytest.approx(expected, abs=12) and not solvable["whole"]
    assert row["estimates"]["boundary/length"]["value"] == 2.0


def test_what_goes_missing_when_nothing_changed_is_not_called_lost() -> None:
    """A base of 512 samples solves problems by luck that 256 more samples do not: they are no loss and no gain."""
    p = np.random.default_rng(5).beta(0.2, 2.0, 300)
    base, _ = measure(PLANS["reference-512"], p, 1)
    now, rows = measure(PLANS["balanced"], p, 2)
    row = boundary_row(
        step=20, now=now, base=base, problem_rows=rows, ks=(1, 256), decoding=Decoding(), plan_name="balanced",
        verifier="fake/1", samples=1, tokens=2, seconds=0.5, token_share=None,
    )
    assert row["ledger"]["unsolved_now"] >= 15 and abs(row["ledger"]["unsolved_by_luck"] - 15) < 12
    assert (row["lost"], row["gained"]) == ([], [])


def test_boundary_row_of_the_base_shrank_by_nothing() -> None:
    base, rows = measure(PLANS["balanced"], np.full(5, 0.3), 1)
    row = boundary_row(
        step=0, now=base, base=base, problem_rows=rows, ks=(1, 256), decoding=Decoding(), plan_name="balanced",
        verifier="fake/1", samples=1, tokens=2, seconds=0.5, token_share=None,
    )
    assert row["sequential"] is None
    assert row["kind"] == "base" and row["lost"] == [] and row["gained"] == []
    assert row["ledger"] is None and row["companions"]["solvable"] is None and row["guess"] is None
    assert row["estimates"]["boundary/shrinkage@256"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert row["exact"]["boundary/shrinkage@256"] == 0.0


def test_each_row_holds_the_newest_of_the_looks_so_far() -> None:
    """Probe by probe, as a run writes them; the verdicts agree with one evaluation of all looks at the end."""
    rng = np.random.default_rng(3)
    base_p = rng.beta(0.6, 2.0, 150)
    base, rows = measure(PLANS["balanced"], base_p, 1)
    strengths = (0.0, 0.5, 1.0, 1.0)
    probes = {}
    for look, strength in enumerate(strengths):
        lost = rng.random(150) < 0.2 * strength
        probes[10 * (look + 1)], _ = measure(PLANS["balanced"], np.where(lost, 0.0, base_p), 10 + look)
    seen = []
    for number, step in enumerate(probes):
        row = boundary_row(
            step=step, now=probes[step], base=base, problem_rows=rows, ks=(1, 64, 256), decoding=Decoding(),
            plan_name="balanced", verifier="fake/1", samples=1, tokens=2, seconds=0.5, token_share=None,
            earlier={s: probes[s] for s in list(probes)[:number]}, planned_looks=3,
        )
        seen.append(row["sequential"])
    assert [(s["look"], s["planned_looks"], s["alpha"], s["margin"]) for s in seen] == [
        (n, 3, 0.05, 0.05) for n in (1, 2, 3, 4)]
    for k in (64, 256):
        together = shrinkage_looks(base.counts, base.plan, [p.counts for p in probes.values()], base.plan, k,
                                   planned_looks=3)
        for stored, look in zip(seen, together, strict=True):
            kept = stored["verdicts"][f"boundary/shrinkage@{k}"]
            assert (kept["verdict"], kept["value"]) == (look.verdict, look.shrinkage)
            assert kept["low"] == pytest.approx(look.low, abs=1e-12) if math.isfinite(look.low) else kept["low"] is None
    assert seen[2]["verdicts"]["boundary/shrinkage@64"]["verdict"] == "shrunk"
    # The fourth look was not planned: no error is left to spend, and JSON has no infinity.
    assert seen[3]["verdicts"]["boundary/shrinkage@64"] | {"value": 0} == {
        "verdict": "undecided", "value": 0, "low": None, "high": None, "spent": 0.05}
