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
from rlvr.runs.run_dir import RunDir
from rlvr.runs.samples import read_samples
from rlvr.statistics.plan import SamplingPlan
from rlvr.types import Completion, Decoding, Problem, UserError
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

    shown: list[tuple[int, int, int]] = []
    probes = prober(tmp_path, listeners=[listen], progress=lambda *place: shown.append(place))
    written = [probes.measure(step, FakeModel(str(step))) for step in (0, 5)]
    assert [row for row, _, _ in heard] == written
    assert [counts for _, *counts in heard] == [[1, 7], [2, 7]]
    assert shown[-1] == (5, 7, 7) and {step for step, _, _ in shown} == {0, 5}


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
