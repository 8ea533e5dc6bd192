"""Trackers beside W&B get the same keys, steps and config; a missing package is a line before anything loads."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from rlvr.cli.main import main
from rlvr.config.recipe import load_recipe, resolved
from rlvr.runs.run_dir import RunDir
from rlvr.training.trackers import PACKAGES, markdown_table, scalar_tracker
from rlvr.training.tracking import tracked
from tests.support.fake_keys import KEYS, keys_in_files
from tests.support.small_run import write_recipe

METRICS = {"step": 3, "train/accuracy": 0.25, "train/kl": None}
BOUNDARY = {"step": 4, "estimates": {"boundary/pass@256": {"value": 0.5, "low": 0.4, "high": None}}, "exact": None,
            "sequential": None, "token_share": 0.125}
EXPECTED = {3: {"train/accuracy": 0.25}, 4: {"boundary/pass@256": 0.5, "boundary/pass@256/low": 0.4,
                                             "boundary/token_share": 0.125}}


ROLLOUTS = [{"step": 4, "problem_id": "a/1", "text": "2 * 3 | 6\n= 6", "correct": True, "extracted": None}]


def send(tracker: Any) -> None:
    tracker.log_metrics(METRICS)
    tracker.log_probe(BOUNDARY, [])
    tracker.log_rollouts(4, ROLLOUTS)
    tracker.finish()


def test_several_get_the_same_keys_and_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    fake: Any = ModuleType("trackio")
    fake.init = lambda **settings: calls.append(settings)
    fake.log = lambda values, step: calls.append((step, values))
    fake.finish = lambda: calls.append("end")
    fake.Table = lambda columns, data: (columns, data)
    monkeypatch.setitem(sys.modules, "trackio", fake)
    path, *rest = write_recipe(tmp_path)
    recipe = load_recipe(path, [*rest, "tracking.to=[trackio]", "tracking.group=arm", "tracking.project=mine"])
    run_dir = RunDir.create(tmp_path / "run")
    run_dir.write_recipe(resolved(recipe), lab=True)
    with tracked(recipe, run_dir) as (_, trackers):
        assert trackers is not None and len(trackers.trackers) == 1  # and no W&B
        trackers.log_metrics(METRICS)
        trackers.log_probe(BOUNDARY, [])
        trackers.log_arm("cold", BOUNDARY, [])
        trackers.log_rollouts(4, ROLLOUTS)
    start, *rows, end = calls
    assert (start["project"], start["name"], start["group"]) == ("mine", "run", "arm")
    assert start["config"]["recipe"]["algorithm"]["name"] == "grpo" and end == "end"
    arm = {key.replace("boundary/", "arms/cold/"): value for key, value in EXPECTED[4].items()}
    table = (["step", "problem_id", "text", "correct", "extracted"], [[4, "a/1", "2 * 3 | 6\n= 6", True, None]])
    assert rows == [(3, EXPECTED[3]), (4, EXPECTED[4]), (4, arm), (4, {"train/rollouts": table})]
    assert not list(run_dir.path.glob("wandb*"))


def test_a_completion_stays_in_its_cell_of_a_markdown_table() -> None:
    assert markdown_table(ROLLOUTS).splitlines() == [
        "| step | problem\\_id | text | correct | extracted |", "| --- | --- | --- | --- | --- |",
        "| 4 | a/1 | 2 \\* 3 \\| 6<br>= 6 | True |  |"]


@pytest.mark.skipif(find_spec("trackio") is not None, reason="trackio is installed")
def test_a_missing_package_is_told_before_the_model_loads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("train", "check"):
        assert main([command, *write_recipe(tmp_path), "tracking.to=[wandb,trackio]"]) == 2
        assert capsys.readouterr().err == (
            "error: tracking.to: trackio is not installed; pip install 'rlvr[trackio]', or take it out\n")
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(find_spec("tensorboard") is None, reason="tensorboard is not installed")
def test_tensorboard_holds_the_numbers(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import (  # pyright: ignore[reportMissingImports]
        EventAccumulator,
    )

    send(scalar_tracker("tensorboard", RunDir(tmp_path), name="n", project="p", group=None, config={"recipe": {}}))
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    found = {(event.step, key): event.value for key in events.Tags()["scalars"] for event in events.Scalars(key)}
    assert found == pytest.approx({(s, key): value for s, row in EXPECTED.items() for key, value in row.items()})
    assert {"recipe/text_summary", "train/rollouts/text_summary"} <= set(events.Tags()["tensors"])


@pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is not installed")
def test_mlflow_holds_the_numbers_and_a_resume_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow  # pyright: ignore[reportMissingImports]

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # a database needs more than the client
    mlflow.set_tracking_uri(f"file://{tmp_path}/store")
    for _ in range(2):
        send(scalar_tracker("mlflow", RunDir(tmp_path), name="n", project="p", group="arm",
                            config={"recipe": {"seed": 1}}))
    (run,) = mlflow.MlflowClient().search_runs([mlflow.get_experiment_by_name("p").experiment_id])
    assert run.data.metrics == {"train/accuracy": 0.25, "boundary/pass_at_256": 0.5, "boundary/pass_at_256.low": 0.4,
                                "boundary/token_share": 0.125}
    stored = mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/rollouts/step-000004.json")
    assert stored["columns"] == list(ROLLOUTS[0]) and stored["data"] == [list(ROLLOUTS[0].values())] * 2
    assert run.data.params == {"recipe.seed": "1"} and (run.info.run_name, run.data.tags["group"]) == ("n", "arm")


def test_a_key_in_a_file_would_be_found(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\0" + KEYS["HF_TOKEN"].encode() + b"\0")
    assert keys_in_files(tmp_path) == ["HF_TOKEN in a"]


@pytest.mark.parametrize("kind", PACKAGES)
def test_no_key_of_the_environment_is_in_what_a_tracker_writes(kind: str, tmp_path: Path) -> None:
    """In a process of its own: trackers read the environment when they are imported."""
    if find_spec(PACKAGES[kind]) is None:
        pytest.skip(f"{kind} is not installed")
    (tmp_path / "run").mkdir()
    code = f"""
from pathlib import Path
from rlvr.config.recipe import load_recipe, resolved
from rlvr.runs.run_dir import RunDir
from rlvr.training.trackers import scalar_tracker
from tests.support.small_run import write_recipe
from tests.training.test_trackers import send
path, *rest = write_recipe(Path("recipe"))
config = {{"recipe": resolved(load_recipe(path, rest))}}
send(scalar_tracker({kind!r}, RunDir(Path("run")), name="n", project="p", group="arm", config=config))
"""
    stores = {"TRACKIO_DIR": str(tmp_path / "trackio"), "MLFLOW_TRACKING_URI": (tmp_path / "store").as_uri(),
              "MLFLOW_ALLOW_FILE_STORE": "true", "HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, **KEYS, **stores},
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) > 2000
    assert keys_in_files(tmp_path) == []
