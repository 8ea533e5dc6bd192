"""`rlvr compare FILE`: the plan of its runs, mistakes in it, and the runner."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest

from rlvr.cli.comparison_runs import check_runs, launcher
from rlvr.cli.main import main
from rlvr.config.comparison import load_comparison, overruled_text
from rlvr.report.load import load_run
from rlvr.report.words import headline
from rlvr.runs.run_dir import RunDir
from rlvr.types import UserError
from tests.support.arm_runs import write_run

SUPPORT = Path(__file__).parents[1] / "support"
SMALL = """
name: small
recipe: {recipe}
seeds: [0, 1]
run_dir: {folder}/runs/{{arm}}-{{seed}}
arms:
  grpo: {{algorithm: {{name: grpo}}}}
  rloo: {{algorithm: {{name: rloo}}, train.learning_rate: 3.0e-4}}
"""
TINY = ["train.steps=4", "probes.every=2", "data.train.size=32", "data.probe.size=4", "train.prompts_per_step=32"]


def write_comparison_file(folder: Path, text: str = SMALL) -> str:
    path = folder / "small.yaml"
    path.write_text(text.format(recipe="recipes/quickstart/lab_grpo.yaml", folder=folder))
    return str(path)


def trainer(folder: Path) -> str:
    return shlex.join([sys.executable, str(SUPPORT / "arm_runs.py"), str(folder)])


def test_plan_of_the_runs(tmp_path: Path) -> None:
    """All arms with the first seed come first; the command line wins over the arm, the arm over the recipe."""
    path = write_comparison_file(tmp_path)
    runs = load_comparison(path, [*TINY, "algorithm.kl_coef=0.5", "arms.grpo.algorithm.std_eps=0.25"])
    assert [(run.arm, run.seed) for run in runs] == [("grpo", 0), ("rloo", 0), ("grpo", 1), ("rloo", 1)]
    grpo, rloo = runs[2].recipe, runs[3].recipe
    assert (grpo.seed, grpo.train.steps, grpo.name, grpo.tracking.group) == (1, 4, "small", "grpo")
    assert grpo.algorithm == {"name": "grpo", "kl_coef": 0.5, "std_eps": 0.25}
    assert (grpo.train.learning_rate, rloo.train.learning_rate) == (2e-4, 3e-4)
    assert rloo.run_path == tmp_path / "runs" / "rloo-1" and runs[3].log == tmp_path / "runs" / "rloo-1.log"
    shared = SMALL + "shared: {{train.steps: 30, train.learning_rate: 5.0e-4, data.probe.size: 64}}\n"
    grpo, rloo, *_ = load_comparison(write_comparison_file(tmp_path, shared), ["data.probe.size=9"])
    assert (grpo.recipe.train.steps, grpo.recipe.train.learning_rate, grpo.recipe.data.probe_set.size) == (30, 5e-4, 9)
    assert rloo.recipe.train.learning_rate == 3e-4  # an arm's own key wins
    path = write_comparison_file(tmp_path)
    late = load_comparison(path, ["train.learning_rate=1e-5", "seeds=[7]"])
    assert [(run.seed, run.recipe.train.learning_rate) for run in late] == [(7, 1e-5), (7, 1e-5)]


@pytest.mark.parametrize(("old", "new", "expected"), [
    ("seeds:", "seed:", r"seed: unknown key; did you mean 'seeds'\?"),
    ("seeds: [0, 1]\n", "", r"seeds \(a list, each a whole number\): missing"),
    ("[0, 1]", "[1, 1]", r"seeds: found \[1, 1\], expected at least one, each once"),
    ("[0, 1]", "[0, x]", r"seeds\[1\]: found 'x' \(text\), expected a whole number"),
    ("[0, 1]", "[0, -1]", r"seeds\[1\]: found -1"),
    ("-{{seed}}", "", r"run_dir: found '.*', expected a path with \{arm\} and \{seed\}"),
    ("  rloo:", "  grpo:", r"line 8: key 'grpo' again"),
    ("name: rloo", "name: rlooo", r"arm 'rloo': .*'rlooo'"),
    ("{{name: rloo}}", "{{name: rloo, kl_cof: 1}}", r"arm 'rloo': algorithm.kl_cof: unknown .* mean 'kl_coef'"),
    ("train.learning_rate: 3.0e-4", "train: {{steps: 1}}", r"train: found .*expected the section `algorithm` or"),
    ("train.learning_rate", "train.lerning_rate", r"train.lerning_rate: unknown key; did you mean 'learning_rate'"),
    ("train.learning_rate: 3.0e-4", "probes.top_p: 0.5", r"arm 'rloo': probes.top_p is 0.5, but 1.0 in arm 'grpo'"),
    ("train.learning_rate: 3.0e-4", "data.probe.size: 5", r"arm 'rloo': data.probe.size is 5, but 256 in arm 'grpo'"),
    ("train.learning_rate: 3.0e-4", "probes.enabled: false", r"probes.enabled: found false, expected true"),
    ("train.learning_rate", "train.lerning_rate", r"^\S+/small.yaml: arm 'rloo': train.lerning_rate: unknown key"),
    ("name: rloo}", "name: rlooo}", r"^\S+/small.yaml: arm 'rloo': "),
    ("arms:", "shared: {{train.stepz: 4}}\narms:", r"^\S+/small.yaml: shared: train.stepz: unknown key"),
    ("lab_grpo", "lab_gpo", r"no recipe file .*did you mean"),
    ("train.learning_rate: 3.0e-4", "command: distill", r"arm 'rloo': command: found 'distill'.*expected 'train' or "),
    ("algorithm: {{name: rloo}}", "command: lab distill", r"arm 'rloo': train.learning_rate: 'lab distill' has a "),
    ("algorithm: {{name: rloo}}, train.learning_rate: 3.0e-4", "command: lab distill, train.steps: 0", r"train.steps"),
])
def test_mistakes_are_one_line_before_anything_runs(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert old.replace("{{", "{").replace("}}", "}") in SMALL.replace("{{", "{").replace("}}", "}") or old == "lab_grpo"
    text = SMALL.replace("{recipe}", "recipes/quickstart/lab_grpo.yaml").replace(old, new)
    with pytest.raises(UserError, match=expected) as caught:
        check_runs(load_comparison(write_comparison_file(tmp_path, text), []), resume=False)
    assert "\n" not in str(caught.value) and not (tmp_path / "runs").exists()


def test_what_the_command_line_replaces_of_an_arm_is_said(tmp_path: Path) -> None:
    """An arm's own settings only: what all arms share is there to be changed."""
    path = write_comparison_file(tmp_path, SMALL + "shared: {{train.steps: 30}}\n")
    runs = load_comparison(path, ["train.steps=4", "algorithm.kl_coef=1.0", "train.learning_rate=1e-5"])
    assert overruled_text(runs) == (
        "note: the command line, which is for all arms, replaces train.learning_rate of rloo")
    runs = load_comparison(path, ["algorithm.name=grpo"])
    assert overruled_text(runs).endswith("replaces algorithm.name of grpo; algorithm.name of rloo")
    assert overruled_text(load_comparison(path, ["train.steps=4"])) == ""
    with pytest.raises(UserError, match=r"arm 'grpo': .*lab_grpo.yaml: command line: train.stepz: unknown key"):
        load_comparison(path, ["train.stepz=4"])


def test_some_arms_of_a_comparison(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write_comparison_file(tmp_path)
    assert [(run.arm, run.seed) for run in load_comparison(path, TINY, ["rloo"])] == [("rloo", 0), ("rloo", 1)]
    with pytest.raises(UserError, match=r"--arms: no arm 'rlo'; did you mean 'rloo'"):
        load_comparison(path, TINY, ["grpo", "rlo"])
    arguments = ["compare", path, "--launch", trainer(tmp_path), "--arms", "rloo,rloo", *TINY]
    assert main(arguments) == 0
    assert (tmp_path / "calls").read_text().splitlines() == ["rloo 0", "rloo 1"]
    page = tmp_path / "runs" / "compare-rloo.html"  # not over the page of all arms
    assert page.is_file() and f"page: {page}" in capfd.readouterr().out
    assert main(["compare", str(tmp_path / "runs"), "--arms", "rloo"]) == 2


def test_a_page_over_the_finished_runs(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write_comparison_file(tmp_path)
    assert main(["compare", path, "--finished", *TINY]) == 2
    assert "none of its 4 runs is finished" in capfd.readouterr().err
    assert main(["compare", path, "--launch", trainer(tmp_path), "--arms", "grpo", *TINY]) == 0
    capfd.readouterr()
    assert main(["compare", path, "--finished", *TINY]) == 0
    assert "Incomplete: rloo, seed 0; rloo, seed 1." in capfd.readouterr().out
    assert (tmp_path / "calls").read_text().splitlines() == ["grpo 0", "grpo 1"]  # nothing was trained for it


def test_a_run_that_its_own_rule_ended_is_finished(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Bug: a run that `train.stop_on` had ended was called failed, and left out, whatever was resumed."""
    path, rule = write_comparison_file(tmp_path), [*TINY, "train.stop_on={shrunk: 256}"]
    assert main(["compare", path, "--launch", trainer(tmp_path), "--arms", "grpo", *rule]) == 0
    for seed, verdict in enumerate(("undecided", "shrunk")):  # at step 4, now of 8
        run = RunDir(tmp_path / "runs" / f"grpo-{seed}")
        header, (base, last) = json.loads(run.recipe.read_text()), run.read_jsonl(run.boundary)
        header["recipe"]["train"]["steps"] = 8
        run.recipe.write_text(json.dumps(header))
        last["sequential"] = {"verdicts": {"boundary/shrinkage@256": {"verdict": verdict}}}
        run.boundary.write_text("".join(json.dumps(row) + "\n" for row in (base, last)))
    undecided, ended = load_comparison(path, [*rule, "train.steps=8"], ["grpo"])
    assert ended.finished and not undecided.finished
    assert not load_comparison(path, [*rule, "train.steps=9"], ["grpo"])[1].finished  # its recipe has to follow
    assert load_run(ended.path).ended_by_rule and not load_run(undecided.path).ended_by_rule
    assert "train.stop_on ended the training here, at step 4 of 8." in headline(load_run(ended.path)).notes
    capfd.readouterr()
    assert main(["compare", path, "--arms", "grpo", "--finished", *rule, "train.steps=8"]) == 0
    shown = " ".join(capfd.readouterr().out.split())
    assert "Incomplete: grpo, seed 0; grpo-1 was ended by train.stop_on at step 4 of 8." in shown


def test_keys_that_the_comparison_sets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"override 'seed=3': the comparison sets it; change seeds instead"):
        load_comparison(write_comparison_file(tmp_path), ["seed=3"])
    with pytest.raises(UserError, match="no program 'acelerate'"):
        launcher("acelerate launch")


def test_a_failed_run_is_named_and_a_resume_does_what_is_left(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """rloo fails at first: the others go on, exit code 1, a page without it. Then only its runs are done again."""
    arguments = ["compare", write_comparison_file(tmp_path), "--launch", trainer(tmp_path), *TINY]
    (tmp_path / "fail").write_text("rloo")
    assert main(arguments) == 1
    shown = capfd.readouterr()
    assert (tmp_path / "calls").read_text().splitlines() == ["grpo 0", "rloo 0", "grpo 1", "rloo 1"]
    log = tmp_path / "runs" / "rloo-0.log"
    assert f"error: rloo, seed 0: failed (exit code 3), see {log}: error: the disk is on fire" in shown.err
    assert "[3/4] grpo, seed 1: training in" in shown.err and "step 2" in shown.err and "the disk" in log.read_text()
    page = tmp_path / "runs" / "compare.html"
    assert shown.out.strip().endswith(f"page: {page}") and "rloo, seed 1" in page.read_text()

    assert main(arguments) == 2  # never over runs by accident
    assert "not empty; continue this comparison with --resume" in capfd.readouterr().err
    (tmp_path / "fail").unlink()
    assert main([*arguments[:2], "--resume", *arguments[2:]]) == 0
    assert (tmp_path / "calls").read_text().splitlines()[4:] == ["rloo 0 resumed", "rloo 1 resumed"]
    shown = capfd.readouterr()
    assert "[1/4] grpo, seed 0: finished before" in shown.err and "rloo-1, about" not in shown.err
    assert "shared by all 4 runs" in shown.out and "Incomplete" not in shown.out


def test_a_distillation_arm_is_run_by_its_own_command_with_the_shared_probes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The launcher is for RL alone. What it does instead of RL is named on the page."""
    text = SMALL + "  taught: {{command: lab distill, train.save_every: 2}}\nshared: {{data.probe.split: hard}}\n"
    path = write_comparison_file(tmp_path, text)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\ncase "$2" in rlvr.*) exec {trainer(tmp_path)} "$@";; esac\n'
                      f'exec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    launch = ["--launch", shlex.join([str(python)])]
    assert main(["compare", path, *launch, "seeds=[0]", *TINY]) == 0
    assert (tmp_path / "calls").read_text().splitlines() == ["grpo 0", "rloo 0", "taught 0"]
    log = (tmp_path / "runs" / "taught-0.log").read_text()
    assert "-m rlvr.cli lab distill recipes/quickstart/lab_grpo.yaml name=small" in log
    recipe = json.loads((tmp_path / "runs" / "taught-0" / "recipe.json").read_text())["recipe"]
    assert (recipe["algorithm"]["name"], recipe["data"]["train"]["size"]) == ("distillation", 2048)
    assert (recipe["data"]["probe"]["split"], recipe["train"]["steps"], recipe["train"]["save_every"]) == ("hard", 4, 2)
    assert "shared by all 3 runs" in capfd.readouterr().out
    assert "base_success_below" in (tmp_path / "runs" / "compare.html").read_text()
    assert main(["compare", path, *launch, "--resume", "seeds=[0]", *TINY]) == 0  # recognises its own recipe
    assert len((tmp_path / "calls").read_text().splitlines()) == 3


def test_a_distillation_arm_needs_the_lab(tmp_path: Path) -> None:
    text = SMALL + "  taught: {{command: lab distill}}\nshared: {{data.probe.split: train}}\n"
    with pytest.raises(UserError, match=r"arm 'taught': data.probe.split: found 'train', whose problems are taught"):
        check_runs([load_comparison(write_comparison_file(tmp_path, text), TINY)[2]], resume=False)


def test_a_resume_with_another_recipe_is_refused(tmp_path: Path) -> None:
    runs = load_comparison(write_comparison_file(tmp_path), TINY)
    run = write_run(runs[0].path, "grpo", 0, {4: (2, 1, 2, 0)})
    with pytest.raises(UserError, match="a run resumes with the recipe it began with"):
        check_runs(runs, resume=True)
    assert runs[0].finished and not runs[1].finished
    (run / "report.html").unlink()
    assert not runs[0].finished  # neither the report nor the last checkpoint: killed after its last probe
