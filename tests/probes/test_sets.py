"""Several probe sets and a mixture of sources in one training, and the same sets in a stand-alone probe.

Run: python -m pytest tests/probes/test_sets.py
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from rlvr.cli.main import main
from rlvr.cli.probe_request import probe_request
from rlvr.config.probe_recipe import of_sets
from rlvr.config.recipe import load_recipe
from rlvr.config.yaml_text import parse_yaml
from rlvr.probes.budget_checks import budget_of, parts_of_budget
from rlvr.runs.metrics import flat_boundary
from tests.config.test_sets import MIX, TWO
from tests.support.small_run import RECIPE, file_hash, rows, write_recipe

SHORT = ("train.steps=2", "train.prompts_per_step=4", "train.group_size=4", "train.save_every=1",
         "tracking.wandb=disabled")


def two_sets(folder: Path) -> list[str]:
    """Arguments of `rlvr train`: two updates on a mixture, measured on two sets."""
    path, *settings = write_recipe(folder)
    tree = parse_yaml(RECIPE)
    cheap = {"size": 4, "plan": "cheap", "base_plan": "cheap", "ks": [1, 4]}
    probe = {name: {**data, **cheap} for name, data in TWO.items()}
    Path(path).write_text(json.dumps({**tree, "data": {"train": MIX, "probe": probe}}))
    return [path, *settings, *SHORT, "data.allow_overlap=true"]  # the hard problems are some of the test split


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    folder = tmp_path_factory.mktemp("sets")
    arguments = two_sets(folder)
    assert main(["train", *arguments]) == 0
    return folder / "run", arguments


def boundary(home: Path) -> dict[int, dict[str, Any]]:
    return {row["step"]: row for row in rows(home / "boundary.jsonl")}


def test_each_set_is_measured_as_it_says(trained: tuple[Path, list[str]]) -> None:
    run, _ = trained
    test, hard = boundary(run), boundary(run / "sets" / "hard")
    assert list(test) == list(hard) == [0, 2]  # the last step is probed whatever `every` is
    assert (test[2]["decoding"]["temperature"], hard[2]["decoding"]["temperature"]) == (1.0, 0.5)
    assert hard[0]["decoding"]["max_new_tokens"] == 9 and hard[2]["problems"] == 4
    stored = json.loads((run / "sets/hard/recipe.json").read_text())["recipe"]
    assert (stored["set"], stored["data"]["probe"]["split"], stored["probes"]["every"]) == ("hard", "hard", 4)
    assert set(json.loads((run / "recipe.json").read_text())["recipe"]["data"]["probe"]) == {"test", "hard"}
    assert len(rows(run / "sets/hard/problems.jsonl")) == len(rows(run / "problems.jsonl")) == 4


def test_shares_of_tokens_are_of_all_sets(trained: tuple[Path, list[str]]) -> None:
    run, _ = trained
    test, hard = boundary(run), boundary(run / "sets" / "hard")
    training = rows(run / "metrics.jsonl")[-1]["perf/generated_tokens"]
    probed = sum(row["tokens"] for row in (*test.values(), *hard.values()))
    assert hard[2]["token_share"] == pytest.approx(probed / (probed + training))
    after = test[2]["tokens"] + hard[2]["tokens"]
    assert hard[2]["budget_share"] == pytest.approx(after / (after + training))


def test_every_source_has_its_metrics_and_its_share(trained: tuple[Path, list[str]]) -> None:
    """Four prompts a step, one of `easy` and three of `b`: the mean of all is the mean of both by these weights."""
    for row in rows(trained[0] / "metrics.jsonl"):
        for name in ("reward", "accuracy"):
            parts = row[f"train/easy/{name}"], row[f"train/b/{name}"]
            assert (parts[0] + 3 * parts[1]) / 4 == pytest.approx(row[f"train/{name}"], abs=1e-6)


def test_a_run_resumes_to_the_same_weights_prompts_and_counts(trained: tuple[Path, list[str]]) -> None:
    """From its first checkpoint, as after a kill in the second step."""
    run, arguments = trained
    again = shutil.copytree(run, run.with_name("again"))
    shutil.rmtree(again / "checkpoints" / "checkpoint-2")
    assert main(["train", *arguments, f"run_dir={again}", "--resume"]) == 0
    weights = "checkpoints/checkpoint-2/model.safetensors"
    assert file_hash(again / weights) == file_hash(run / weights)
    for home in ("", "sets/hard"):
        counted = [[(row["step"], row["problem_id"], row["n"], row["c"]) for row in rows(path / home / "probes.jsonl")]
                   for path in (run, again)]
        assert counted[0] == counted[1] and len(counted[0]) == 8


def test_a_stand_alone_probe_measures_all_sets_of_the_run(trained: tuple[Path, list[str]]) -> None:
    run, _ = trained
    output = run.with_name("probed")
    assert main(["probe", str(run), "-o", str(output)]) == 0
    for home in ("", "sets/hard"):
        theirs, ours = boundary(run / home), boundary(output / home)
        assert list(ours) == [0, 1, 2] and ours[0]["estimates"] == theirs[0]["estimates"]
        # The same weights, seeds and stream: the same samples as inside the training.
        assert ours[2]["estimates"] == theirs[2]["estimates"]


def test_the_plan_of_the_command_line_is_that_of_every_set(trained: tuple[Path, list[str]]) -> None:
    """Bug: --plan changed no set, as each of them has a plan of its own."""
    request = probe_request([str(trained[0])], plan="fixed")
    assert [(one.probes.plan, one.probes.base_plan) for one in of_sets(request.recipe).values()] == [
        ("fixed", "fixed")] * 2


def test_names_of_metrics_hold_the_set() -> None:
    row = {"estimates": {"boundary/pass@4": {"value": 0.5, "low": 0.25, "high": None}},
           "exact": {"boundary/pass@4": 0.4}, "token_share": 0.1,
           "sequential": {"verdicts": {"boundary/shrinkage@4": {"verdict": "shrunk"}}}}
    assert flat_boundary(row, "aime") == {
        "boundary/aime/pass@4": 0.5, "boundary/aime/pass@4/low": 0.25, "exact/aime/pass@4": 0.4,
        "boundary/aime/verdict@4": 1.0, "boundary/aime/token_share": 0.1}
    assert next(iter(flat_boundary(row))) == "boundary/pass@4"


def test_sets_share_the_budget_by_their_problems(tmp_path: Path) -> None:
    """A tenth of all tokens is a ninth of the training's: a quarter of the problems may take 1/36 of these."""
    recipe = load_recipe(write_recipe(tmp_path)[0], ["probes.budget=0.1"])
    parts = parts_of_budget({"a": 30, "b": 90})
    assert parts == {"a": 0.25, "b": 0.75} and parts_of_budget({"a": 30, "b": None}) == {"a": 0.5, "b": 0.5}
    quarter, whole = budget_of(recipe, parts["a"]), budget_of(recipe)
    assert quarter is not None and whole is not None and whole.share == 0.1
    assert quarter.share / (1 - quarter.share) == pytest.approx(1 / 36)
    assert dataclasses.replace(quarter, share=0.1, of_all_sets=None) == whole
    assert (quarter.of_all_sets, whole.of_all_sets) == (0.1, None)
