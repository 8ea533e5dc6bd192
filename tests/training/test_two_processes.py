"""The same training on one process and on two (gloo): same prompts, no sample twice, the same gradient."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from rlvr.runs.run_dir import RunDir
from rlvr.runs.samples import read_samples
from tests.support.probe_processes import LAUNCH, ROOT, differing
from tests.support.small_run import rows, write_recipe


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.mark.parametrize("aggregation", ["token-mean", "seq-mean-token-mean"])
def test_gradient_and_samples_do_not_depend_on_the_processes(tmp_path: Path, aggregation: str) -> None:
    one, two = str(tmp_path / "one.pt"), str(tmp_path / "two.pt")
    run(sys.executable, "-m", "tests.support.two_processes", one, aggregation)
    run(sys.executable, *LAUNCH, "-m", "tests.support.two_processes", two, aggregation)
    a: dict[str, Any] = torch.load(one)
    b: dict[str, Any] = torch.load(two)
    assert a["ranks"] == [0] and b["ranks"] == [0, 1]
    norm = max(g.abs().max().item() for g in a["gradient"].values())
    assert norm > 1e-2
    for name, gradient in a["gradient"].items():
        difference = (gradient - b["gradient"][name]).abs().max().item()
        assert difference <= 1e-5 * max(1.0, norm), f"{name}: {difference:.2e}"
    assert a["prompts"] == b["prompts"]
    assert a["texts"] == b["texts"]  # also: rank 1 does not repeat the samples of rank 0
    assert len(set(b["texts"])) == len(b["texts"])


def test_a_probe_draws_the_same_samples_on_two_processes() -> None:
    differ, total = differing(["--problems", "8", "--plan", "cheap", "--batch-size", "64"])
    print(f"{differ} of {total} samples differ")
    assert total > 400 and differ <= total / 1000


def test_the_lab_recipe_on_two_processes(tmp_path: Path) -> None:
    arguments = write_recipe(tmp_path)
    run(sys.executable, *LAUNCH, "-m", "rlvr.train", *arguments, "train.steps=2", "train.micro_batch_size=8")
    run_dir = RunDir(tmp_path / "run")
    assert [r["step"] for r in rows(run_dir.metrics)] == [1, 2]
    assert [r["step"] for r in rows(run_dir.boundary)] == [0, 2]
    samples = [(s["problem_id"], s["sample"]) for s in read_samples(run_dir.samples(2))]
    assert len(samples) == len(set(samples)) == rows(run_dir.boundary)[1]["samples"]
    assert run_dir.report.is_file()
