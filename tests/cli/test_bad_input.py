"""Every mistake a user can make: one clear line, exit code 2, no traceback, nothing overwritten, no model loaded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rlvr import train
from rlvr.cli.main import main
from rlvr.interfaces import Algorithm, Credit, RolloutBatch
from rlvr.runs.run_dir import COMPLETE, RunDir
from tests.support import warm
from tests.support.probe_processes import LAUNCH
from tests.support.small_run import RECIPE, command, rows, write_recipe

ROOT = Path(__file__).parents[2]
RECIPE_FILE = "recipes/quickstart/lab_grpo.yaml"
GSM = '{"question": "1+1?", "answer": "2"}\n'
ONE_PROMPT = ("train.prompts_per_step=1", "train.micro_batch_size=8")
LOCAL = 'data.train={source: FILE, prompt: question, gold: answer, verifier: math}'


class WithoutRule(Algorithm[Any]):
    """What somebody writes who has not read on."""

    @dataclass(frozen=True)
    class Config:
        """No settings."""


class WithoutConfig(Algorithm[Any]):
    def advantages(self, batch: RolloutBatch) -> Credit:
        return Credit(batch.mask_NT)


def failure(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that `rlvr ARGUMENTS` prints before it exits with code 2."""
    assert main(list(arguments)) == 2
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if line.strip()]
    assert len(lines) == 1 and lines[0].startswith("error: "), captured.err
    assert "Traceback" not in captured.err and captured.out == ""
    return lines[0]


def test_offline_leaves_out_the_hub_and_no_file(capsys: pytest.CaptureFixture[str]) -> None:
    """Bugs: a missing file was taken for a hub id, and a check without any problem ended in a traceback."""
    lab, data = "recipes/quickstart/lab_grpo.yaml", "{{source: {}, prompt: question, gold: answer, verifier: math}}"
    line = failure(capsys, "check", lab, "--offline", f"data.train={data.format('missing.jsonl')}")
    assert "missing.jsonl" in line
    assert main(["check", lab, "--offline", f"data.train={data.format('openai/gsm8k')}"]) == 0
    assert "not looked up: openai/gsm8k" in capsys.readouterr().out


def test_a_launcher_is_told_the_line_for_its_summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                     capsys: pytest.CaptureFixture[str]) -> None:
    """torchrun prints `message` of this file below its own traceback (torch.distributed.elastic's error protocol)."""
    file = tmp_path / "error.json"
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(file))
    assert train.main(["recipes/quickstart/lab_grpo.yaml", "train.steps=many"]) == 2
    assert json.loads(file.read_text())["message"] == capsys.readouterr().err.strip()


def test_a_launcher_ends_with_the_line_of_rank_0() -> None:
    done = subprocess.run([sys.executable, *LAUNCH, "-m", "rlvr.train", RECIPE_FILE, "train.steps=many"], cwd=ROOT,
                          capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    line = "train.steps: found 'many'"
    assert line in done.stderr.splitlines()[0] and done.stderr.count(line) == 2
    cause = done.stderr.rpartition("Root Cause")[2]
    assert line in cause and "rank      : 0" in cause


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("train.lerning_rate=1e-4", ["train", "lerning_rate", "learning_rate"]),
        ("algorithm.std_epz=1e-4", ["algorithm", "std_epz", "std_eps"]),
        ("group_size=1", ["group_size", "did you mean 'train.group_size'?"]),
        ("max_new_tokens=4", ["did you mean 'probes.max_new_tokens' or 'train.max_new_tokens'?"]),
        ("lerning_rate=1", ["did you mean 'train.learning_rate'?"]),
        ("train.free=1", ["train.free: unknown key; did you mean 'train.rewards.length.free'?"]),
        ("train.steps=many", ["train.steps", "'many'"]),
        ("train.steps=true", ["train.steps", "true"]),
        ("algorithm.name=gpro", ["gpro", "grpo"]),
        ("algorithm.name=no_such_package.module:Class", ["no_such_package.module:Class", "No module named"]),
        ("algorithm.name=rlvr.algorithms.grpo:GRP", ["no 'GRP'", "did you mean rlvr.algorithms.grpo:GRPO?"]),
        ("algorithm.name=rlvr.types:Problem", ["is not an algorithm", "rlvr.interfaces.Algorithm"]),
        ("algorithm.name=tests.cli.test_bad_input:WithoutConfig",
         ["WithoutConfig", "has no Config", "Config = MyConfig"]),
        ("algorithm.name=tests.cli.test_bad_input:WithoutRule", ["not complete", "no method advantages"]),
        ("data.train.source=missing.jsonl", ["missing.jsonl"]),
        ("train.group_size=1", ["train.group_size", "1", "at least 2"]),
        ("train.micro_batch_size=24", ["train.micro_batch_size", "24", "64"]),
        ("probes.ks=[1,512]", ["probes.ks", "512", "256"]),
        ("probes.plan=balance", ["probes.plan", "balance", "balanced"]),
        ("probes.top_p=0", ["probes.top_p", "(0, 1]"]),
        ("model.path=/no/such/model", ["model.path", "/no/such/model"]),
        ("data.train.gold_pattern=#### (.+)", ["gold_pattern", "comment", "quote it"]),
        ("train.max_prompt_tokens=3", ["train.max_prompt_tokens", "3", "countdown/train/"]),
        ("data.train.size=4", ["data.train.size", "4", "8"]),
        ("data.probe.split=train", ["probe problems are also in data.train", "allow_overlap"]),
    ],
)
def test_recipe_mistakes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], override: str, parts: list[str]
) -> None:
    line = failure(capsys, "train", *write_recipe(tmp_path), override)
    for part in parts:
        assert part in line, line
    assert not any(p for p in (tmp_path / "run").glob("*") if p.name not in ("recipe.json", "problems.jsonl"))


def test_a_number_that_yaml_reads_as_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.replace("1.0e-3", "1e-6"))
    line = failure(capsys, "check", str(path))
    assert "train.learning_rate" in line and "'1e-6'" in line and "1.0e-6" in line


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ('{"question": "1+1?"}\n', ["answer"]),
        ('{"question": "1+1?", "answer": ""}\n', ["answer", "1"]),
        ('{"question": "1+1?", "answer": "2"\n', ["1"]),
        ('{"question": "a", "answer": "2", "id": "x"}\n{"question": "b", "answer": "3", "id": "x"}\n', ["'x'"]),
        ('{"question": "5 12", "answer": "\\\\frac{1}{"}\n', ["rejects its gold answer", "frac{1}{"]),
        ("", ["data.jsonl"]),
    ],
)
def test_data_mistakes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, parts: list[str]
) -> None:
    file = tmp_path / "data.jsonl"
    file.write_text(content)
    spec = LOCAL.replace("FILE", str(file))
    if '"id"' in content:
        spec = spec[:-1] + ", id: id}"
    line = failure(capsys, "train", *write_recipe(tmp_path), spec, *ONE_PROMPT)
    for part in parts:
        assert part in line, line


@pytest.mark.parametrize("override", ["model.path=./no_model", "train.max_prompt_tokens=3"])
def test_check_finds_it_too(tmp_path: Path, capsys: pytest.CaptureFixture[str], override: str) -> None:
    line = failure(capsys, "check", *write_recipe(tmp_path), override)
    assert override.split("=")[0] in line


def test_prompts_that_the_tokenizer_cannot_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "data.jsonl"
    file.write_text(GSM)
    line = failure(capsys, "check", *write_recipe(tmp_path), LOCAL.replace("FILE", str(file)), *ONE_PROMPT)
    assert "tokenizer of model.path" in line and "data" in line


@pytest.mark.parametrize(("arguments", "expected"), [
    (["lab", "exact", "lab", "--problems", "0"], "found '0', expected a whole number from 1 to 1000000000"),
    (["check", "x", "--processes", "9" * 30], "expected a whole number from 1 to 1000000000"),
    (["audit", "--data", "x", "--cross", "-1"], "found '-1', expected a whole number from 0"),
    (["review", "x", "-o", "y", "--max-accuracy", "nan"], "found 'nan', expected a number from 0.0 to 1.0"),
    (["lab", "exact", "lab", "--temperature", "0"], "expected a number from 0.001 to 1000.0"),
])
def test_numbers_out_of_range(capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2 and expected in capsys.readouterr().err


@pytest.mark.parametrize(
    ("program", "arguments", "part"),
    [
        ("rlvr.cli", ["train", RECIPE_FILE, "train.stepz=3"], "train.stepz: unknown key"),
        ("rlvr.cli", ["train", RECIPE_FILE, "algorithm.name=grpoo"], "algorithm.name: unknown name 'grpoo'"),
        ("rlvr.cli", ["train", RECIPE_FILE, "run_dir=rlvr"], "expected an empty directory"),
        ("rlvr.train", [RECIPE_FILE, "train.steps=many"], "train.steps: found 'many'"),
        ("rlvr.cli", ["check", RECIPE_FILE, "data.probe.verifier=countdwon"], "data.probe.verifier: unknown name"),
        ("rlvr.cli", ["check", RECIPE_FILE, "data.train.split=tset"], "data.train.split: lab split 'tset'"),
        ("rlvr.cli", ["probe", "lab", RECIPE_FILE, "probes.evry=3", "-o", "nowhere"], "probes.evry"),
        ("rlvr.cli", ["probe", "lab", RECIPE_FILE, "-o", "rlvr"], "expected an empty directory"),
        ("rlvr.cli", ["compare", "recipes/compare/lab_six.yaml", "train.stepz=3"], "train.stepz"),
        ("rlvr.cli", ["lab", "distill", RECIPE_FILE, "train.stepz=3"], "train.stepz"),
        ("rlvr.cli", ["perplexity", "nowhere"], "nowhere/recipe.json"),
        ("rlvr.cli", ["report", "nowhere"], "nowhere"),
        ("rlvr.cli", ["compare", "nowhere", "elsewhere"], "nowhere"),
        ("rlvr.cli", ["review", "nowhere", "-o", "sheet.html"], "nowhere"),
    ],
)
def test_what_needs_no_torch_to_be_found_is_told_without_it(program: str, arguments: list[str], part: str) -> None:
    """Importing torch and transformers takes seconds: for a typo in a key the user would wait for nothing."""
    code = (f"import atexit, runpy, sys; atexit.register(lambda: print('torch' in sys.modules)); "
            f"sys.argv[0] = {program!r}; runpy.run_module({program!r}, run_name='__main__')")
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (2, "False"), done.stderr
    assert done.stderr.startswith("error: ") and part in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("verb", ["train", "check"])
def test_a_comparison_is_no_recipe_of_one_run(capsys: pytest.CaptureFixture[str], verb: str) -> None:
    line = failure(capsys, verb, "recipes/compare/lab_six.yaml", "train.steps=1")
    assert "this is a comparison" in line and "rlvr compare recipes/compare/lab_six.yaml" in line


def test_a_recipe_of_one_run_is_no_comparison(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, *_ = write_recipe(tmp_path)
    line = failure(capsys, "compare", path)
    assert "this is the recipe of one run" in line and f"rlvr train {path}" in line


def test_an_unknown_verifier(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "data.jsonl"
    file.write_text(GSM)
    spec = LOCAL.replace("FILE", str(file)).replace("verifier: math", "verifier: mats")
    line = failure(capsys, "train", *write_recipe(tmp_path), spec, *ONE_PROMPT)
    assert "mats" in line and "math" in line


def test_a_used_run_directory_is_refused_and_untouched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = write_recipe(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("precious")
    for extra in ([], ["--resume"]):
        line = failure(capsys, "train", *arguments, *extra)
        assert "thesis.tex" in line and "run_dir" in line
        assert [p.name for p in (tmp_path / "run").iterdir()] == ["thesis.tex"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    changes = ["train.steps=2", "probes.every=2", "data.probe.size=3", "tracking.wandb=disabled"]
    assert main(["train", *write_recipe(folder), *changes]) == 0
    return folder


def arguments_of(folder: Path) -> list[str]:
    changes = ["train.steps=2", "probes.every=2", "data.probe.size=3", "tracking.wandb=disabled"]
    return [str(folder / "recipe.yaml"), f"run_dir={folder}/run", f"probes.baselines={folder}/baselines", *changes]


@pytest.mark.parametrize("arguments", [
    ["list"], ["report", "{run}"], ["compare", "{run}", "-o", "{run}/page.html"],
    ["review", "{run}", "-o", "{run}/sheet.html"],
])
def test_what_only_reads_needs_no_torch(finished: Path, arguments: list[str]) -> None:
    words = [word.format(run=finished / "run") for word in arguments]
    code = f"import sys; from rlvr.cli.main import main; print('ended', main({words!r}), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ["ended 0 False"], done.stdout + done.stderr


def test_resuming_with_another_recipe(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = failure(capsys, "train", *arguments_of(finished), "train.learning_rate=2e-3", "--resume")
    assert "train.learning_rate" in line and "0.001" in line and "0.002" in line


def test_a_checkpoint_of_another_model(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = failure(capsys, "lab", "exact", str(finished))
    assert str(finished) in line and "lab" in line
    checkpoint = RunDir(finished / "run").checkpoint(2)
    changed = checkpoint / "config.json", checkpoint / COMPLETE
    originals = [path.read_bytes() for path in changed]
    changed[0].write_text(json.dumps(json.loads(originals[0]) | {"hidden_size": 48}))
    try:
        line = failure(capsys, "train", *arguments_of(finished), "--resume")
        assert "checkpoint-2" in line and "not as it was saved" in line
        RunDir.mark_complete(checkpoint)  # as if it had been saved so
        line = failure(capsys, "train", *arguments_of(finished), "--resume")
        assert "checkpoint-2" in line and "hidden_size" in line
    finally:
        for path, original in zip(changed, originals, strict=True):
            path.write_bytes(original)


def test_a_torn_tail_is_repaired_and_reported(finished: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = RunDir(finished / "run")
    whole = run.probes.read_bytes()
    run.probes.write_bytes(whole + b'{"step": 2, "problem_id": "countdo')
    assert main(["train", *arguments_of(finished), "--resume"]) == 0
    assert run.probes.read_bytes() == whole
    assert "probes.jsonl" in caplog.text and "34 bytes" in caplog.text


def test_corruption_in_the_middle_is_an_error_with_its_line(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunDir(finished / "run")
    whole = run.boundary.read_bytes()
    run.boundary.write_bytes(b"{broken\n" + whole)
    try:
        line = failure(capsys, "report", str(run.path))
        assert "boundary.jsonl" in line and "1" in line
    finally:
        run.boundary.write_bytes(whole)


def test_report_of_something_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = failure(capsys, "report", str(tmp_path))
    assert str(tmp_path) in line


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "none", str(disk)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("this machine does not allow mounting")
    try:
        arguments = write_recipe(tmp_path)
        arguments[1] = f"run_dir={disk}/run"
        done = warm.run(command("train", *arguments, "tracking.wandb=disabled"), timeout=200)
        assert done.returncode == 2, done.stderr[-2000:]
        assert "Traceback" not in done.stderr
        last = done.stderr.strip().splitlines()[-1]
        assert last.startswith("error: ") and str(disk) in last and "space" in last
        for name in ("metrics.jsonl", "probes.jsonl", "boundary.jsonl"):
            if (disk / "run" / name).exists():
                rows(disk / "run" / name)  # whole rows only
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


