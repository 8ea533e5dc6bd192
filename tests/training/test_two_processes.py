"""The same training on one process and on two (gloo): same prompts, no sample twice, the same gradient; and the same
probe. One launch serves all tests but that of the command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from rlvr.runs.rollouts import read_rollouts
from rlvr.runs.run_dir import RunDir
from rlvr.runs.samples import read_samples
from tests.support import warm
from tests.support.probe_processes import LAUNCH, ROOT, difference
from tests.support.small_run import rows, write_recipe
from tests.support.two_processes import AGGREGATIONS, main


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """What one process and two processes wrote."""
    one, two = (tmp_path_factory.mktemp(name) for name in ("one", "two"))
    main(one)
    done = warm.run([sys.executable, *LAUNCH, "-m", "tests.support.two_processes", str(two)], timeout=300, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-4000:]
    return one, two


@pytest.fixture(scope="module")
def results(folders: tuple[Path, Path]) -> tuple[dict[str, Any], dict[str, Any]]:
    one, two = folders
    return torch.load(one / "result.pt"), torch.load(two / "result.pt")


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_gradient_does_not_depend_on_the_processes(
    results: tuple[dict[str, Any], dict[str, Any]], aggregation: str
) -> None:
    one, two = results
    assert one["ranks"] == [0] and two["ranks"] == [0, 1]
    a, b = one["gradients"][aggregation], two["gradients"][aggregation]
    norm = max(g.abs().max().item() for g in a.values())
    assert norm > 1e-2
    for name, gradient in a.items():
        difference = (gradient - b[name]).abs().max().item()
        assert difference <= 1e-5 * max(1.0, norm), f"{name}: {difference:.2e}"


def test_samples_do_not_depend_on_the_processes(results: tuple[dict[str, Any], dict[str, Any]]) -> None:
    one, two = results
    assert one["prompts"] == two["prompts"]
    assert one["texts"] == two["texts"]  # also: rank 1 does not repeat the samples of rank 0
    assert len(set(two["texts"])) == len(two["texts"])


def test_prompts_by_the_history_do_not_depend_on_the_processes(
    results: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    (one,), two = (found["histories"] for found in results)
    assert two == [one, one] and sum(judged for judged, _ in one.values()) == 3 * 16
    assert any(0 < right < judged for judged, right in one.values())


def test_kept_rollouts_do_not_depend_on_the_processes(folders: tuple[Path, Path]) -> None:
    (header, one), two = (read_rollouts(RunDir(folder), 1) for folder in folders)
    assert (header, one) == two and len(one) == 5 and len({row["problem_id"] for row in one}) > 1


def test_a_probe_draws_the_same_samples_on_two_processes(folders: tuple[Path, Path]) -> None:
    one, two = folders
    differ, total = difference(one / "probe", two / "probe")
    print(f"{differ} of {total} samples differ")
    assert total > 400 and differ <= total / 1000


def test_no_process_is_kept_in_a_collective_while_another_is_slow(folders: tuple[Path, Path]) -> None:
    """It would time out and end the run: after 3 s here, and each wait takes 3.75 s."""
    assert (folders[1] / "waited").read_text().splitlines() == [
        "work of rank 0", "1 lock of the store", "a judge in a probe", "a listener", "a judge in a step",
        "refused on every rank",
    ]


def test_the_lab_recipe_on_two_processes(tmp_path: Path) -> None:
    arguments = write_recipe(tmp_path, 6)
    command = [sys.executable, *LAUNCH, "-m", "rlvr.train", *arguments, "train.steps=2", "train.micro_batch_size=8"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT)  # started as users do
    assert done.returncode == 0, done.stderr[-4000:]
    run_dir = RunDir(tmp_path / "run")
    assert [r["step"] for r in rows(run_dir.metrics)] == [1, 2]
    assert [r["step"] for r in rows(run_dir.boundary)] == [0, 2]
    samples = [(s["problem_id"], s["sample"]) for s in read_samples(run_dir.samples(2))]
    assert len(samples) == len(set(samples)) == rows(run_dir.boundary)[1]["samples"]
    assert run_dir.report.is_file()
