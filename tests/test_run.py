"""Whole runs of the lab through the command line: what they write, what a kill leaves, what probes must not change."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, cast

import pytest
from huggingface_hub import ModelCard
from transformers import TrainerState

from rlvr.cli.main import main
from rlvr.judging.judge import Judge
from rlvr.probes import past
from rlvr.probes.callback import BoundaryProbeCallback
from rlvr.report.dashboard_file import Dashboard
from rlvr.report.load import load_run
from rlvr.report.words import headline
from rlvr.runs.rollouts import read_rollouts
from rlvr.runs.run_dir import RunDir
from rlvr.runs.samples import read_samples
from rlvr.statistics.boundary_row import sequential_verdicts
from rlvr.training.tracking import MetricsCallback
from rlvr.types import DEFAULT_KS
from tests.support import warm
from tests.support.fake_keys import KEYS, keys_in_files
from tests.support.small_run import command, file_hash, kill_when, rows, write_recipe
from tests.support.wandb_offline import read_history, read_records

PROBLEMS = 6
WEIGHTS = "checkpoints/checkpoint-4/model.safetensors"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole")
    done = subprocess.run(command("train", *write_recipe(folder, PROBLEMS)), capture_output=True, text=True,
                          timeout=300, env={**os.environ, **KEYS})
    assert done.returncode == 0, done.stderr[-3000:]
    (folder / "stdout").write_text(done.stdout)
    (folder / "stderr").write_text(done.stderr)
    return folder


def test_run_directory_is_complete(whole: Path) -> None:
    run = RunDir(whole / "run")
    assert [r["step"] for r in rows(run.metrics)] == [1, 2, 3, 4]
    assert [r["step"] for r in rows(run.boundary)] == [0, 2, 4]
    assert [r["step"] for r in rows(run.probes)] == [0] * PROBLEMS + [2] * PROBLEMS + [4] * PROBLEMS
    assert len(rows(run.problems)) == PROBLEMS and run.report.stat().st_size > 1_000_000
    for row in rows(run.boundary):
        of_step = [r for r in rows(run.probes) if r["step"] == row["step"]]
        samples = list(read_samples(run.samples(row["step"])))
        assert len(samples) == row["samples"] == sum(r["n"] for r in of_step)
        for r in of_step:  # the counts are the verdicts
            mine = [s for s in samples if s["problem_id"] == r["problem_id"]]
            assert (r["n"], r["c"]) == (len(mine), sum(s["correct"] for s in mine))
            assert sorted(s["sample"] for s in mine) == list(range(r["n"]))
        if row["step"]:  # two probes after the base: the run knew from its steps and `every`
            assert (row["sequential"]["look"], row["sequential"]["planned_looks"]) == (row["step"] // 2, 2)
        assert row["exact"]["boundary/pass@1"] == pytest.approx(sum(r["exact_p"] for r in of_step) / PROBLEMS, rel=1e-9)


def test_every_checkpoint_has_its_card(whole: Path) -> None:
    for step in (2, 4):
        card = ModelCard.load(whole / f"run/checkpoints/checkpoint-{step}/README.md")
        facts: Any = card.data
        row = next(row for row in rows(whole / "run/boundary.jsonl") if row["step"] == step)
        found = {result.metric_type: result.metric_value for result in facts.eval_results or []}
        assert found["pass@256"] == pytest.approx(row["estimates"]["boundary/pass@256"]["value"], abs=1e-6)
        assert f"after {step} steps of grpo on lab (train), trained with rlvr" in card.text
    assert not list((whole / "run/checkpoints").glob("*.md"))  # TRL's card of another algorithm


def test_no_key_of_the_environment_is_in_a_file(whole: Path) -> None:
    files = [path for path in whole.rglob("*") if path.is_file()]
    assert any("wandb" in path.parts for path in files) and any(path.name == "README.md" for path in files)
    assert keys_in_files(whole) == []


def test_output_is_quiet_and_ends_with_the_report(whole: Path) -> None:
    assert "Warning" not in (whole / "stderr").read_text() + (whole / "stdout").read_text()
    out = (whole / "stdout").read_text()
    assert out.strip().endswith("report.html") and "pass@256" in out


def test_metrics_hold_what_the_rollouts_were(whole: Path) -> None:
    for row in rows(whole / "run" / "metrics.jsonl"):
        assert 0 < row["train/accuracy"] < 1 and row["train/reward"] == row["train/accuracy"]
        free = [row[key] for key in row if key.startswith("train/pass@")]  # k = 2, 4, ... of the groups
        assert free and [row["train/accuracy"], *free] == sorted([row["train/accuracy"], *free]) and free[-1] <= 1
        reasons = sum(v for k, v in row.items() if k.startswith("verdict/"))
        assert reasons == pytest.approx(1.0)
        assert row["verdict/exact_number"] == pytest.approx(row["train/accuracy"])
        assert row["perf/generated_tokens"] == pytest.approx(64 * 17 * row["step"], rel=0.15)


def test_rows_have_the_reasons_that_the_run_has_met(tmp_path: Path) -> None:
    """Some 20 reasons never occur; one that stops to occur is 0, also after a resume."""
    run_dir, state = RunDir(tmp_path), TrainerState(is_local_process_zero=True, is_world_process_zero=True)
    logs = [{"verdict/no_box": 0.0, "verdict/symbolic": 1.0, "train/kl": 0.0},
            {"verdict/no_box": 0.5, "verdict/symbolic": 0.5}, {"verdict/no_box": 0.0, "verdict/symbolic": 1.0}]
    before, resumed = MetricsCallback(run_dir, None), MetricsCallback(run_dir, None)
    for step, (callback, log) in enumerate(zip((before, before, resumed), logs, strict=True)):
        state.global_step = step
        callback.on_log(cast(Any, None), state, cast(Any, None), log)
    assert rows(run_dir.metrics) == [{"step": 0, "verdict/symbolic": 1.0, "train/kl": 0.0},
                                     {"step": 1, "verdict/no_box": 0.5, "verdict/symbolic": 0.5},
                                     {"step": 2, "verdict/no_box": 0.0, "verdict/symbolic": 1.0}]


def test_wandb_mirrors_the_boundary(whole: Path) -> None:
    history = {r["step"]: r for r in read_history(whole / "run") if "boundary/delta_se" in r}
    boundary = rows(whole / "run" / "boundary.jsonl")
    assert sorted(history) == [r["step"] for r in boundary]
    for row in boundary:
        logged = history[row["step"]]
        for key in ("delta_se", "pass@1", "pass@256", "entropy"):
            assert logged[f"boundary/{key}"] == row["estimates"][f"boundary/{key}"]["value"], key
        if row["step"]:
            look = row["sequential"]["verdicts"]["boundary/shrinkage@256"]
            numbers = {"shrunk": 1, "undecided": 0, "not shrunk": -1}
            assert logged["boundary/verdict@256"] == numbers[look["verdict"]]
        assert logged["exact/pass@256"] == row["exact"]["boundary/pass@256"]
        assert logged["boundary/delta_se/low"] == row["estimates"]["boundary/delta_se"]["low"]


def test_wandb_holds_the_curves_the_ledger_and_samples_as_tables(whole: Path) -> None:
    media = next((whole / "run").glob("wandb/offline-run-*/files/media/table/boundary"))
    tables = {p.name.split("_")[0]: json.loads(p.read_text()) for p in sorted(media.glob("*.table.json"))}
    assert len(tables["ledger"]["data"]) % PROBLEMS == 0
    samples = tables["samples"]
    assert len({row[0] for row in samples["data"]}) == PROBLEMS
    assert {row[samples["columns"].index("correct")] for row in samples["data"]} == {True, False}
    assert any("curves" in name for name in tables)
    kept = [json.loads(path.read_text()) for path in sorted(media.parent.glob("train/rollouts_*.table.json"))]
    rollouts = sorted([row[:4] for table in kept for row in table["data"]])
    assert len(rollouts) == 4 * 8 == len({(step, problem, sample) for step, problem, _, sample in rollouts})
    assert [step for step, *_ in rollouts[::8]] == [1, 2, 3, 4] and all(row[2] for row in rollouts)
    summaries = [item.value_json for r in read_records(whole / "run") if r.WhichOneof("record_type") == "summary"
                 for item in r.summary.update if item.key == "boundary/verdict"]
    last = rows(whole / "run" / "boundary.jsonl")[-1]["sequential"]["verdicts"]
    assert json.loads(summaries[-1]) == ", ".join(f"{k.split('@')[1]}: {v['verdict']}" for k, v in last.items())


def test_wandb_holds_the_figures_of_the_report_and_how_they_were_measured(whole: Path) -> None:
    folder = next((whole / "run").glob("wandb/offline-run-*/files/media/plotly/figures"))
    drawn = {name: [json.loads(path.read_text()) for path in folder.glob(f"{name}_[0-9]*.plotly.json")]
             for name in ("pass@k", "change", "accuracies")}
    assert {name: len(found) for name, found in drawn.items()} == {"pass@k": 3, "change": 2, "accuracies": 3}
    names = [{trace.get("name") for trace in each["data"]} for each in drawn["pass@k"]]
    assert any({"base", "step 2", "step 4"} <= each for each in names)
    for each in (figure for found in drawn.values() for figure in found):
        (said,) = [note["text"] for note in each["layout"]["annotations"] if "problems" in note["text"]]
        assert said.startswith(f"{PROBLEMS} problems; temperature 1, top_p 1, at most 18 new tokens; plan ")
        assert said.endswith("graded by countdown/1.")


def test_wandb_metrics_have_a_step_axis_and_a_direction(whole: Path) -> None:
    metrics = {
        r.metric.name: r.metric for r in read_records(whole / "run") if r.WhichOneof("record_type") == "metric"
    }
    assert metrics["boundary/delta_se"].step_metric == "step" and metrics["boundary/delta_se"].summary.min
    assert metrics["boundary/pass@256"].step_metric == "step" and metrics["boundary/pass@256"].summary.max
    train = {r["step"]: r for r in read_history(whole / "run") if "train/reward" in r}
    assert [train[s]["train/reward"] for s in (1, 2, 3, 4)] == [
        r["train/reward"] for r in rows(whole / "run" / "metrics.jsonl")
    ]


def test_every_panel_of_the_dashboard_shows_what_the_run_logs(whole: Path, tmp_path: Path) -> None:
    dashboard = Dashboard([whole / "run"], name="small")
    dashboard.write(tmp_path / "d.json")
    bank = json.loads((tmp_path / "d.json").read_text())["workspace"]["section"]["panelBankConfig"]
    shown = {key for section in bank["sections"] for panel in section["panels"]
             for key in (*panel["config"].get("metrics", ()), *panel["config"].get("mediaKeys", ()))}
    logged = {key.removesuffix("/_type") for row in read_history(whole / "run") for key in row}
    assert len(shown) > 40 and shown - logged == set()
    assert {key for key in logged if key.startswith(("train/", "perf/", "verdict/"))
            and not key.startswith("train/rollouts")} - shown == set()
    tables = {"boundary/samples", "boundary/ledger", "train/rollouts"}
    assert all(f'"{name}"' in json.dumps(bank) for name in tables) and tables <= logged
    metrics = [r.metric for r in read_records(whole / "run") if r.WhichOneof("record_type") == "metric"]
    assert [m.step_metric for m in metrics if m.glob_name == "figures/*"] == ["step"]


def without_times(row: dict[str, Any]) -> dict[str, Any]:
    times = ("perf/step_seconds", "perf/judge_", "seconds")
    return {k: v for k, v in row.items() if not k.startswith(times)}


def test_probes_do_not_change_the_training(whole: Path, tmp_path: Path) -> None:
    assert main(["train", *write_recipe(tmp_path, PROBLEMS), "probes.enabled=false", "tracking.wandb=disabled"]) == 0
    assert file_hash(tmp_path / "run" / WEIGHTS) == file_hash(whole / "run" / WEIGHTS)
    without, with_probes = (rows(p / "run" / "metrics.jsonl") for p in (tmp_path, whole))
    for a, b in zip(without, with_probes, strict=True):
        assert without_times(a) == without_times(b)


def test_same_seed_same_run_other_seed_other_run(whole: Path, tmp_path: Path) -> None:
    overrides = ["probes.enabled=false", "tracking.wandb=disabled", "train.steps=2"]
    assert main(["train", *write_recipe(tmp_path, PROBLEMS), *overrides, "seed=1"]) == 0
    first = rows(whole / "run" / "metrics.jsonl")[0]
    assert rows(tmp_path / "run" / "metrics.jsonl")[0]["train/entropy"] != first["train/entropy"]


def assert_same_end(killed: Path, whole: Path) -> None:
    assert file_hash(killed / "run" / WEIGHTS) == file_hash(whole / "run" / WEIGHTS)
    assert (killed / "run" / "probes.jsonl").read_bytes() == (whole / "run" / "probes.jsonl").read_bytes()
    for a, b in zip(rows(killed / "run" / "metrics.jsonl"), rows(whole / "run" / "metrics.jsonl"), strict=True):
        assert without_times(a) == without_times(b)
    for a, b in zip(rows(killed / "run" / "boundary.jsonl"), rows(whole / "run" / "boundary.jsonl"), strict=True):
        assert without_times(a) == without_times(b)
    for step in (1, 2, 3, 4):
        kept, expected = (read_rollouts(RunDir(folder / "run"), step) for folder in (killed, whole))
        assert kept[0] == expected[0] and len(kept[1]) == 8
        assert [row | {"ms": 0} for row in kept[1]] == [row | {"ms": 0} for row in expected[1]]
    assert RunDir(killed / "run").rollout_steps() == [1, 2, 3, 4]


@pytest.mark.parametrize("moment", ["base probe", "training", "probe"])
def test_killed_anywhere_it_resumes_to_the_same_end(whole: Path, tmp_path: Path, moment: str) -> None:
    arguments = write_recipe(tmp_path, PROBLEMS)
    run = RunDir(tmp_path / "run")

    def reached() -> bool:
        if moment == "base probe":
            return any(p.stat().st_size > 3000 for p in tmp_path.glob("baselines/*/samples.jsonl.gz"))
        if moment == "training":
            return run.metrics.exists() and len(run.metrics.read_bytes().splitlines()) >= 3
        return run.samples(4).exists() and run.samples(4).stat().st_size > 3000

    kill_when(command("train", *arguments), reached)
    if moment == "probe":
        assert [r["step"] for r in rows(run.boundary)] == [0, 2]  # the probe of step 4 was not finished
        drawn = len(list(read_samples(run.samples(4))))
        assert drawn > 0
    assert main(["train", *arguments]) == 2  # never over an existing run by accident
    if moment == "training":  # in a process of its own; the others in this one
        done = warm.run(command("train", *arguments, "--resume"), timeout=300)
        assert done.returncode == 0, done.stderr[-3000:]
    else:
        assert main(["train", *arguments, "--resume"]) == 0
    assert_same_end(tmp_path, whole)


def test_resuming_a_finished_run_changes_nothing(whole: Path) -> None:
    before = {p: file_hash(whole / "run" / p) for p in (WEIGHTS, "probes.jsonl", "boundary.jsonl", "metrics.jsonl")}
    arguments = [str(whole / "recipe.yaml"), f"run_dir={whole}/run", f"probes.baselines={whole}/baselines"]
    assert main(["train", *arguments, "tracking.wandb=disabled", "--resume"]) == 0
    assert {p: file_hash(whole / "run" / p) for p in before} == before


def test_a_finished_run_is_extended_to_what_a_longer_one_would_be(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bug: `train.steps` could not be raised on resume. Weights, counts and rows are those of a run of 4 steps from the
    start; the error of the verdicts was for one probe, and is spent."""
    arguments = ["train", *write_recipe(tmp_path, PROBLEMS), "tracking.wandb=disabled"]
    assert main([*arguments, "train.steps=2"]) == 0
    assert main([*arguments, "--resume"]) == 0
    said = "note: the run is extended from 2 to 4 steps; its verdicts on the boundary were planned for 1 probe and hold"
    assert said in capsys.readouterr().err
    run, longer = RunDir(tmp_path / "run"), RunDir(whole / "run")
    assert file_hash(run.path / WEIGHTS) == file_hash(longer.path / WEIGHTS)
    assert rows(run.probes) == rows(longer.probes)
    assert [without_times(a) for a in rows(run.metrics)] == [without_times(b) for b in rows(longer.metrics)]
    first, last = (row["sequential"] for row in rows(run.boundary)[1:])
    assert (first["planned_looks"], last["planned_looks"], last["look"]) == (1, 1, 2)
    assert {(v["low"], v["high"]) for v in last["verdicts"].values()} == {(None, None)}
    said = "The run was extended: this is probe 2, for which no error was left to spend"
    assert said in " ".join(headline(load_run(run.path)).notes)


def test_a_longer_resumed_training_keeps_the_planned_looks_of_its_verdicts(whole: Path, tmp_path: Path) -> None:
    """To plan anew in view of the data would hand out error that is already spent; unplanned looks get none."""
    run = RunDir(shutil.copytree(whole / "run", tmp_path / "run"))
    callback = BoundaryProbeCallback([], judge=Judge(workers=1, timeout=1.0), run_dir=run.path, every=2)
    state, nothing = TrainerState(max_steps=100, global_step=4), cast(Any, None)
    callback.on_train_begin(nothing, state, nothing)
    probes = callback.prober
    looks = past.planned_looks(run, probes.planned_looks)
    assert (probes.planned_looks, looks) == (50, 2)
    earlier = past.between_base_and(6, run, probes.plan.plan)
    assert list(earlier) == [2, 4] and probes.base is not None
    stored = [(r["problem_id"], r["n"], r["c"]) for r in rows(run.probes) if r["step"] == 4]
    assert [(c.problem_id, c.n, c.c) for c in earlier[4].counts] == stored
    again = sequential_verdicts(probes.base, list(earlier.values()), DEFAULT_KS, looks)
    assert again == rows(run.boundary)[-1]["sequential"]
    more = sequential_verdicts(probes.base, [*earlier.values(), earlier[4]], DEFAULT_KS, 2)
    assert {(v["verdict"], v["low"], v["high"]) for v in more["verdicts"].values()} == {("undecided", None, None)}


def test_probing_the_last_checkpoint_agrees_with_the_run(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(whole / "run" / "checkpoints" / "checkpoint-4")
    arguments = [str(whole / "recipe.yaml"), f"probes.baselines={whole}/baselines", "-o", str(tmp_path / "probe")]
    assert main(["probe", model, *arguments]) == 0
    alone, live = (
        {r["problem_id"]: (r["n"], r["c"]) for r in rows(p / "probes.jsonl") if r["step"] == 4}
        for p in (tmp_path / "probe", whole / "run")
    )
    assert alone == live  # the same weights, seeds and plan: the same samples
    assert "pass@256" in capsys.readouterr().out
