"""A Prober without any trainer: one model measured at a time, into a run directory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlvr.interfaces import SampleRequest
from rlvr.probes.prober import Prober
from rlvr.probes.settings import ProbeSettings
from rlvr.report.load import load_run
from rlvr.report.words import unjudged_words
from rlvr.runs.run_dir import RunDir
from rlvr.runs.samples import read_samples
from rlvr.statistics.intervals import shrinkage
from rlvr.statistics.plan import SamplingPlan
from rlvr.types import Completion, Counts, Decoding, Problem, Reason, UserError, Verdict
from tests.probes.test_engine import PROBLEMS, FakeJudge, FakeSampler
from tests.support.small_run import rows

PLAN = SamplingPlan((4, 8, 16), (3, 1))
EXACT = np.arange(7) / 6


class FakeModel:
    """A ProbedModel that needs no weights."""

    def __init__(self, weights: str = "w", shares_base: bool = True) -> None:
        self.sampler = FakeSampler()
        self.name = "fake"
        self.shares_base = shares_base
        self.promises = None
        self.weights = weights

    def identity(self, problems: Sequence[Problem], decoding: Decoding, world: Any) -> dict[str, Any]:
        return {"weights": self.weights, "problems": [problem.id for problem in problems],
                "decoding": [decoding.temperature, decoding.top_p, decoding.max_new_tokens]}

    def exact_p(self, problems: Sequence[Problem], decoding: Decoding) -> np.ndarray:
        return EXACT

    def drawn_with(self, decoding: Decoding) -> Decoding:
        return decoding


def prober(folder: Path, name: str = "run", **hooks: Any) -> Prober:
    settings = ProbeSettings(plan=PLAN, base_plan=SamplingPlan((16,)), ks=(1, 4), batch_size=10,
                             baselines=folder / "baselines", versions={"fake": "1"})
    return Prober(PROBLEMS, settings, judge=FakeJudge(), run_dir=folder / name, **hooks)


def test_it_measures_base_and_model_without_a_trainer(tmp_path: Path) -> None:
    probes = prober(tmp_path)
    base, later = probes.measure(0, FakeModel()), probes.measure(20, FakeModel("trained"))
    assert base is not None and later is not None
    run = RunDir(tmp_path / "run")
    assert [row["step"] for row in rows(run.boundary)] == [0, 20]
    assert rows(run.boundary)[1]["estimates"] == later["estimates"]
    assert (base["plan"], base["kind"], later["kind"]) == ("checkpoints=[16] stop_at=[]", "base", "probe")
    for row in rows(run.probes):  # counts are of the verdicts in the samples file
        samples = [s for s in read_samples(run.samples(row["step"])) if s["problem_id"] == row["problem_id"]]
        assert (row["n"], row["c"]) == (len(samples), sum(s["correct"] for s in samples))
        assert row["exact_p"] == EXACT[int(row["problem_id"][1])]
    assert later["exact"]["boundary/pass@1"] == pytest.approx(0.5)
    assert later["sequential"]["look"] == 1 and later["verifier"] == "fake/1"


def test_importing_it_loads_no_trainer() -> None:
    code = "import sys, rlvr.probes.prober; print([m for m in sys.modules if m in ('trl', 'transformers.trainer')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_listeners_hear_of_a_probe_when_its_rows_are_on_disk(tmp_path: Path) -> None:
    heard: list[tuple[dict[str, Any], int, int]] = []

    def listen(row: dict[str, Any], problem_rows: list[dict[str, Any]]) -> None:
        run = RunDir(tmp_path / "run")
        heard.append((row, len(rows(run.boundary)), len(problem_rows)))

    shown: list[tuple[int, int, int, int]] = []
    probes = prober(tmp_path, listeners=[listen], progress=lambda *place: shown.append(place))
    written = [probes.measure(step, FakeModel(str(step))) for step in (0, 5)]
    assert [row for row, _, _ in heard] == written
    assert [counts for _, *counts in heard] == [[1, 7], [2, 7]]
    assert shown[-1][:3] == (5, 7, 7) and {step for step, *_ in shown} == {0, 5}


def test_a_base_is_sampled_once_for_all_runs_that_share_it(tmp_path: Path) -> None:
    first, again, other, elsewhere = FakeModel(), FakeModel(), FakeModel("other"), FakeModel(shares_base=False)
    for name, model in (("a", first), ("b", again), ("c", other), ("d", elsewhere)):
        prober(tmp_path, name).measure(0, model)
    assert first.sampler.calls and not again.sampler.calls and other.sampler.calls and elsewhere.sampler.calls
    assert (tmp_path / "a" / "probes.jsonl").read_bytes() == (tmp_path / "b" / "probes.jsonl").read_bytes()
    assert len(list((tmp_path / "baselines").glob("*/probe.json"))) == 2  # of "w" and "other"


def test_a_restored_prober_compares_with_the_stored_base(tmp_path: Path) -> None:
    whole = prober(tmp_path, "whole")
    for step in (0, 5, 10):
        whole.measure(step, FakeModel(str(step)))
    begun = prober(tmp_path, "resumed")
    for step in (0, 5):
        begun.measure(step, FakeModel(str(step)))
    resumed = prober(tmp_path, "resumed")
    assert resumed.restore() == [0, 5]
    resumed.measure(10, FakeModel("10"))
    for file in ("probes.jsonl", "boundary.jsonl"):
        ours, theirs = (rows(tmp_path / name / file) for name in ("resumed", "whole"))
        assert [row | {"seconds": 0} for row in ours] == [row | {"seconds": 0} for row in theirs]


def test_the_decoding_of_one_probe_is_recorded_and_sampled_with(tmp_path: Path) -> None:
    asked: list[Decoding] = []

    class Heard(FakeSampler):
        def sample(
            self, requests: Sequence[SampleRequest], decoding: Decoding, *, seed: int, stream: str
        ) -> list[Completion]:
            asked.append(decoding)
            return super().sample(requests, decoding, seed=seed, stream=stream)

    probes, model = prober(tmp_path), FakeModel()
    probes.measure(0, FakeModel())
    model.sampler = Heard()
    row = probes.measure(5, model, decoding=Decoding(1.3, 0.9, 7))
    assert row is not None and row["decoding"] == {"temperature": 1.3, "top_p": 0.9, "max_new_tokens": 7}
    assert set(asked) == {Decoding(1.3, 0.9, 7)}


def test_a_k_that_a_plan_cannot_estimate_is_refused_before_anything_is_measured() -> None:
    with pytest.raises(UserError):
        ProbeSettings(plan=PLAN, base_plan=PLAN, ks=(1, 32))


# ---------------------------------------------------------------- answers that cannot be judged

MANY = [Problem(id=f"p{i}", prompt="", gold="1", verifier="fake") for i in range(40)]


class Unable(FakeJudge):
    """Cannot judge some answers to these problems at some calls; says what it was asked."""

    def __init__(self, *ids: str) -> None:
        self.ids, self.asked = set(ids), 0

    def judge(self, problems: Sequence[Problem], texts: Sequence[str]) -> list[Verdict]:
        self.asked += len(texts)
        verdicts = super().judge(problems, texts)
        return [Verdict(None, Reason.HARNESS_ERROR, detail="the sandbox is gone") if problem.id in self.ids else verdict
                for problem, verdict in zip(problems, verdicts, strict=True)]


class Half(FakeModel):
    """Solves every problem half of the time."""

    def __init__(self, weights: str) -> None:
        super().__init__(weights)

        class Sampler(FakeSampler):
            def sample(
                self, requests: Sequence[SampleRequest], decoding: Decoding, *, seed: int, stream: str
            ) -> list[Completion]:
                self.calls.append(len(requests))
                return [Completion(r.problem.id, r.sample, "12"[(r.sample + hash_of(r.problem.id)) % 2], 3, False, 0.5)
                        for r in requests]

        self.sampler = Sampler()

    def exact_p(self, problems: Sequence[Problem], decoding: Decoding) -> np.ndarray:
        return np.array([hash_of(problem.id) / 100 for problem in problems])


def hash_of(problem_id: str) -> int:
    return int(problem_id[1:])


def many(folder: Path, judge: Any, name: str = "run", **hooks: Any) -> Prober:
    settings = ProbeSettings(plan=PLAN, base_plan=SamplingPlan((16,)), ks=(1, 4), batch_size=30,
                             baselines=folder / "baselines", versions={"fake": "1"})
    return Prober(MANY, settings, judge=judge, run_dir=folder / name, **hooks)


def test_a_problem_that_cannot_be_judged_leaves_one_probe_with_its_base_pair(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Bug: one harness error ended a training of days."""
    judge = Unable()
    probes = many(tmp_path, judge)
    probes.measure(0, Half("base"))
    judge.ids = {"p3", "p7"}
    caplog.clear()
    row = probes.measure(10, Half("ten"))
    assert row is not None and row["problems"] == 38
    assert row["unjudged"].keys() == {"p3", "p7"} and "harness_error, the sandbox is gone" in row["unjudged"]["p3"]
    assert "step 10: 2 of 40 problems are left out, as an answer could not be judged: 'p" in caplog.text
    stored = rows(RunDir(tmp_path / "run").probes)
    assert len(stored) == 78 and not {"p3", "p7"} & {r["problem_id"] for r in stored if r["step"] == 10}
    assert all(r["exact_p"] == hash_of(r["problem_id"]) / 100 for r in stored)
    # Paired: the difference is that of the 38 problems both probes hold, which did not change at all.
    now, before = ([Counts(r["problem_id"], r["n"], r["c"]) for r in stored
                    if r["step"] == step and r["problem_id"] not in ("p3", "p7")] for step in (10, 0))
    difference = shrinkage(before, SamplingPlan((16,)), now, PLAN, 4)
    assert row["estimates"]["boundary/shrinkage@4"]["value"] == pytest.approx(difference.population.value)
    judge.ids = set()
    later = probes.measure(20, Half("twenty"))  # it is back, but the verdict over all looks is of what all hold
    assert later is not None and later["problems"] == 40 and "unjudged" not in later
    assert later["sequential"]["look"] == 2
    report = load_run(tmp_path / "run")
    assert {step: len(of_step) for step, of_step in report.rows.items()} == {0: 38, 10: 38, 20: 38}
    assert "step 10: p3 (sample" in unjudged_words(report)


def test_a_problem_that_the_base_cannot_judge_leaves_the_run(tmp_path: Path) -> None:
    judge = Unable("p5")
    probes = many(tmp_path, judge)
    base = probes.measure(0, Half("base"))
    assert base is not None and base["problems"] == 39 and list(base["unjudged"]) == ["p5"]
    judge.ids = set()
    row = probes.measure(10, Half("ten"))
    assert row is not None and row["problems"] == 39 and "unjudged" not in row
    resumed = many(tmp_path, judge)
    assert resumed.restore() == [0, 10] and len(resumed.problems) == 39
    again = many(tmp_path, Unable(), "other").measure(0, Half("base"))  # from the baseline store
    assert again is not None and again["unjudged"] == base["unjudged"] and again["problems"] == 39


def test_too_many_of_them_stop_the_run_and_a_resume_judges_anew(tmp_path: Path) -> None:
    judge = Unable()
    many(tmp_path, judge).measure(0, Half("base"))
    judge.ids = {"p1", "p2", "p3"}  # 7.5% of 40
    begun = many(tmp_path, judge)
    begun.restore()
    with pytest.raises(RuntimeError, match=r"answers to 3 of 40 problems could not be judged .*harness_error"):
        begun.measure(10, Half("ten"))
    judge.ids, judge.asked = set(), 0
    resumed = many(tmp_path, judge)
    assert resumed.restore() == [0]
    row = resumed.measure(10, Half("ten"))
    assert row is not None and row["problems"] == 40 - len(row.get("unjudged", {}))
    whole = many(tmp_path, FakeJudge(), "whole")
    whole.measure(0, Half("base"))
    whole.measure(10, Half("ten"))
    left = set(row.get("unjudged", {}))
    ours, theirs = (rows(tmp_path / name / "probes.jsonl") for name in ("run", "whole"))
    assert [r for r in ours if r["problem_id"] not in left] == [r for r in theirs if r["problem_id"] not in left]


def test_a_killed_probe_with_such_a_problem_resumes_to_the_same_rows(tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    class Kills(Half):
        def __init__(self, weights: str, after: int) -> None:
            super().__init__(weights)
            sampler, real = self.sampler, self.sampler.sample

            def sample(*arguments: Any, **how: Any) -> list[Completion]:
                if len(sampler.calls) == after:
                    raise Killed
                return real(*arguments, **how)

            sampler.sample = sample

    for name in ("whole", "killed"):
        many(tmp_path, FakeJudge(), name).measure(0, Half("base"))
    whole = many(tmp_path, Unable("p9"), "whole")
    whole.restore()
    whole.measure(10, Half("ten"))
    for after in (3, 2):
        probes = many(tmp_path, Unable("p9"), "killed")
        probes.restore()
        with pytest.raises(Killed):
            probes.measure(10, Kills("ten", after))
    probes = many(tmp_path, Unable("p9"), "killed")
    probes.restore()
    probes.measure(10, Half("ten"))
    for file in ("probes.jsonl", "boundary.jsonl"):
        ours, theirs = (rows(tmp_path / name / file) for name in ("killed", "whole"))
        assert [row | {"seconds": 0} for row in ours] == [row | {"seconds": 0} for row in theirs]
