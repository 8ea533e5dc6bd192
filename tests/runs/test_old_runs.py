"""Runs that were written before the rooms (version 0.1.0) still open: report, compare and resume.

tests/files/old_runs holds two finished runs of three steps of PPO on a model of 38,000 parameters that knows 64
problems of the lab, and the first run's checkpoint of step 2. In the second run only the seed differs.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from rlvr.cli.main import main
from rlvr.config.recipe import load_recipe
from rlvr.config.strict import to_tree
from rlvr.runs.files import null_to_nan
from rlvr.runs.removed_keys import ADDED
from rlvr.runs.run_dir import MAY_DIFFER, flat

OLD = Path(__file__).parents[1] / "files" / "old_runs"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy, and the current directory: recipe.json names the base model and the store relative to it."""
    shutil.copytree(OLD, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows(path: Path, step: int) -> list[dict[str, Any]]:
    return [row for row in map(json.loads, path.read_text().splitlines()) if row["step"] == step]


def test_every_key_that_old_runs_lack_says_what_they_did() -> None:
    """Bug: a key was added, and no run that was started before could be resumed."""
    old = flat(json.loads((OLD / "runs/small-0/recipe.json").read_text())["recipe"])
    new = flat(json.loads(json.dumps(to_tree(load_recipe("quickstart/lab_grpo.yaml")))))
    added = {key: value for key, value in new.items()
             if key not in old and not key.startswith((*MAY_DIFFER, "algorithm."))}
    assert added and {key: ADDED.get(key, "missing") for key in added} == added


def test_report(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "runs/small-0"]) == 0
    shown = capsys.readouterr().out
    for row in (rows(folder / "runs/small-0/boundary.jsonl", step)[0] for step in (0, 3)):
        value = row["estimates"]["boundary/pass@1"]["value"]
        assert f"{100 * value:.1f}" in shown
    assert (folder / "runs/small-0/report.html").stat().st_size > 100_000


def test_compare(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "runs/small-0", "runs/small-1", "-o", "page.html"]) == 0
    assert "ppo" in capsys.readouterr().out and (folder / "page.html").stat().st_size > 100_000


@pytest.mark.slow
def test_a_resumed_run_ends_as_the_uninterrupted_one_did(folder: Path) -> None:
    """From checkpoint-2; the rows of step 3 are those that the old code wrote without an interruption."""
    run = folder / "runs/small-0"
    (run / "samples/step-000003.jsonl.gz").unlink()  # else the probe would find its samples there
    old = {name: rows(run / f"{name}.jsonl", 3) for name in ("metrics", "probes", "boundary")}
    assert main(["train", "recipe.yaml", "seed=0", "run_dir=runs/small-0", "--resume"]) == 0
    (was,), (now,) = old["metrics"], rows(run / "metrics.jsonl", 3)
    timed = ("perf/judge", "perf/step_seconds")
    expected = {key: value for key, value in was.items() if not key.startswith(timed)}
    assert {key: now[key] for key in expected} == pytest.approx(expected, rel=1e-4, abs=1e-6)
    counts = [[(row["problem_id"], row["n"], row["c"]) for row in some]
              for some in (old["probes"], rows(run / "probes.jsonl", 3))]
    assert counts[0] == counts[1] and len(counts[0]) == 8
    (was,), (now,) = old["boundary"], rows(run / "boundary.jsonl", 3)
    for name, estimate in was["estimates"].items():
        found, wanted = ({key: null_to_nan(value) for key, value in each.items()}
                         for each in (now["estimates"][name], estimate))
        assert found == pytest.approx(wanted, rel=1e-6, abs=1e-9, nan_ok=True), name
    assert (run / "checkpoints/checkpoint-3/COMPLETE").is_file()
