"""`rlvr dial` from a run directory to a page and a model; what it refuses before any model loads."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from rlvr.cli.dial import percents
from rlvr.cli.main import main
from rlvr.config.recipe import load_recipe, resolved
from rlvr.lab.exact import exact_pass_at_k, exact_success
from rlvr.lab.model import BASE_DIR, load_lab_model
from rlvr.models.loading import load_tokenizer
from rlvr.runs.run_dir import RunDir
from rlvr.types import Decoding
from tests.cli.test_bad_input import failure
from tests.support.accessible import faults
from tests.support.small_run import RECIPE, rows


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    """A run whose checkpoint is the lab's base with a little noise."""
    monkeypatch.setenv("RLVR_CACHE", str(tmp_path / "cache"))
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    recipe = load_recipe(tmp_path / "recipe.yaml", [
        "data.probe.size=4", "probes.plan=cheap", "probes.base_plan=cheap", f"run_dir={tmp_path}/run",
        "probes.arms.hot.temperature=1.2"])
    run = RunDir.create(tmp_path / "run")
    run.write_recipe(resolved(recipe), lab=True)
    checkpoint = run.checkpoint(4)
    shutil.copytree(BASE_DIR, checkpoint)
    generator = torch.Generator().manual_seed(0)
    weights = {name: w + 0.003 * torch.randn(w.shape, generator=generator)
               for name, w in load_file(checkpoint / "model.safetensors").items()}
    save_file(weights, checkpoint / "model.safetensors", metadata={"format": "pt"})
    run.mark_complete(checkpoint)
    return run


def test_from_a_run_to_a_page_and_a_model(run: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    output = run.path.parent / "out"
    arguments = ["dial", str(run.path), "-o", str(output), "--points", "1,0.5", "--keep", "8", "--tolerance", "99",
                 "--target", "benchmark"]
    assert main(arguments) == 0
    probes = rows(RunDir(output).boundary)
    assert [row["step"] for row in probes] == [0, 50, 100] and probes[0]["kind"] == "base"
    assert not (output / "arms").exists() and not list(run.path.parent.glob(".out*"))
    # The exact truth of the merge that is written is that of the merge that was measured.
    best = max(probes[1:], key=lambda row: (row["estimates"]["boundary/pass@1"]["value"], -row["step"]))
    problems = [json.loads(line)["id"] for line in RunDir(output).problems.read_text().splitlines()]
    from rlvr.lab.countdown import problems as lab_problems

    model, tokenizer = load_lab_model(output / "model")
    asked = [problem for problem in lab_problems("test", 4) if problem.id in problems]
    p_P = exact_success(model, tokenizer, asked, Decoding(1.0, 1.0, 18))
    assert exact_pass_at_k(p_P, [1])[1] == pytest.approx(best["exact"]["boundary/pass@1"], abs=1e-12)
    half = load_file(output / "model" / "model.safetensors")
    base, end = (load_file(Path(f, "model.safetensors")) for f in (BASE_DIR, run.checkpoint(4)))
    share = best["step"] / 100
    assert all(torch.allclose(half[n], base[n] + share * (end[n] - base[n]), atol=1e-6) for n in base)
    assert load_tokenizer(str(output / "model")).get_vocab() == tokenizer.get_vocab()
    card = (output / "model" / "README.md").read_text()
    assert f"# run, dialled to {best['step']}%" in card and "base_model:" not in card and "| 0% (base) |" in card
    page = (output / "dial.html").read_text()
    assert faults(page) == []
    assert "Up and to the right" in page and (output / "report.html").is_file()
    printed = capsys.readouterr().out
    many = {row["step"]: 100 * row["exact"]["boundary/pass@8"] for row in probes}
    loss = many[0] - many[best["step"]]
    assert f"exactly it is {abs(loss):.1f} points {'below' if loss >= 0 else 'above'}." in " ".join(printed.split())
    assert f"At {best['step']}% of the way" in printed and "|" not in printed and "\N{MINUS SIGN}" not in printed
    assert re.search(r"^share +pass@1, % +gain", printed, re.MULTILINE) and "within 99 points" in page
    before = RunDir(output).boundary.read_bytes()
    assert main([*arguments, "--resume", "--tolerance", "0.01"]) == 0  # nothing is measured again, the choice is
    assert RunDir(output).boundary.read_bytes() == before and not (output / "model").exists()
    assert "No merge is shown to keep pass@8 within 0.01 points" in capsys.readouterr().out
    assert "its dial has percents [50, 100], this one [50]" in failure(
        capsys, "dial", str(run.path), "-o", str(output), "--points", "0.5", "--keep", "8", "--resume")


def test_a_full_disk_is_one_line(
    run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "model.safetensors")

    monkeypatch.setattr("rlvr.probes.dial.dial", full)
    assert "model.safetensors: no space left on the device; nothing written before is lost" in failure(
        capsys, "dial", str(run.path), "-o", str(tmp_path / "new"), "--keep", "8")


def test_what_cannot_be_dialled_is_said_before_a_model_loads(
    run: RunDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = ("-o", str(tmp_path / "new"))
    assert "has no complete checkpoint at step 7 (complete: 4)" in failure(
        capsys, "dial", str(run.path), "--checkpoint", "7", *new)
    other = RunDir.create(tmp_path / "other")
    other.write_recipe(run.read_recipe()["recipe"] | {"model": {"path": "somewhere"}})
    shutil.copytree(run.checkpoint(4), other.checkpoint(4))
    assert "its model.path is 'somewhere'" in failure(
        capsys, "dial", str(run.path), "--average", str(other.path), *new)
    assert "--keep 300: the probes of" in failure(capsys, "dial", str(run.path), "--keep", "300", *new)
    assert not (tmp_path / "new").exists()
    assert percents("0.75,0.25") == (25, 75)
    for wrong in ("0", "1.5", "0.125", "x"):
        with pytest.raises((SystemExit, ValueError)):
            main(["dial", str(run.path), "--points", wrong, *new])


def test_words_that_are_no_settings_of_its_probes_are_refused(
    run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bugs: another checkpoint was ignored, a recipe replaced the run's, and model.path began at another base."""
    new = ("-o", str(tmp_path / "new"))
    for word in (str(run.checkpoint(4)), str(tmp_path / "recipe.yaml"), "nonsense"):
        assert f"found {word!r}, expected key=value" in failure(capsys, "dial", str(run.path), word, *new)
    assert "probes.prompt" in failure(capsys, "dial", str(run.path), "probes.prompt=" + 400 * "x", *new)
    for key in ("model.path", "model"):
        assert f"{key}: found on the command line, but the line begins at the base" in failure(
            capsys, "dial", str(run.path), f"{key}=lab", *new)
    assert "probes.ks: found 16, 256, expected 1 among them" in failure(
        capsys, "dial", str(run.path), "probes.ks=[16,256]", *new)
    assert f"--average {run.path}: is the run {run.path}, which is in the mean" in failure(
        capsys, "dial", str(run.path), "--average", str(run.path), *new)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "found 2 processes, expected one" in failure(capsys, "dial", str(run.path), *new)
    assert not (tmp_path / "new").exists() and not list(tmp_path.glob(".new*"))


def test_models_that_do_not_fit_are_refused_before_anything_is_written(
    run: RunDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bug: it showed after the base was measured, and the corrected command found a directory that was not empty."""
    def other(name: str) -> RunDir:
        made = RunDir.create(tmp_path / name)
        made.write_recipe(run.read_recipe()["recipe"])
        made.checkpoint(4).mkdir(parents=True)
        return made

    lora, narrow = other("lora"), other("narrow")
    (lora.checkpoint(4) / "adapter_config.json").write_text(json.dumps(
        {"base_model_name_or_path": "lab", "peft_type": "LORA", "use_dora": True, "r": 1}))
    save_file({"q.lora_A.weight": torch.zeros(1, 2)}, lora.checkpoint(4) / "adapter_model.safetensors")
    shutil.copytree(run.checkpoint(4), narrow.checkpoint(4), dirs_exist_ok=True)
    weights = load_file(narrow.checkpoint(4) / "model.safetensors")
    name = min(weights)
    save_file(weights | {name: weights[name][:1].clone()}, narrow.checkpoint(4) / "model.safetensors")
    for each in (lora, narrow):
        each.mark_complete(each.checkpoint(4))
    new = ("-o", str(tmp_path / "new"), "--keep", "8")
    assert "probes.engine: found openai, whose server does not have the merges" in failure(
        capsys, "dial", str(run.path), "probes.engine=openai", "probes.endpoint.base_url=[http://localhost:1/v1]", *new)
    assert f"{lora.checkpoint(4)}: holds adapters, which probes.engine=vllm does not load" in failure(
        capsys, "dial", str(lora.path), "probes.engine=vllm", *new)
    assert "one holds adapters and the other a whole model" in failure(
        capsys, "dial", str(run.path), "--average", str(lora.path), *new)
    assert f"the weight {name!r} is " in failure(capsys, "dial", str(run.path), "--average", str(narrow.path), *new)
    assert "found DoRA, expected a plain LoRA" in failure(capsys, "dial", str(lora.path), *new)
    assert not (tmp_path / "new").exists() and not list(tmp_path.glob(".new*"))


def test_a_dial_that_runs_keeps_its_merges(run: RunDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Bug: a second one of the same -o deleted them before it was told that the directory is in use."""
    hold = ("import sys, time; from rlvr.runs.run_dir import RunDir; "
            "RunDir.create(sys.argv[1], own=True); print('owned', flush=True); time.sleep(60)")
    output, merge = tmp_path / "new", tmp_path / ".new-merges" / "merge-25"
    merge.mkdir(parents=True)
    with subprocess.Popen([sys.executable, "-c", hold, str(output)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "owned\n"
        for resume in ([], ["--resume"]):
            assert f"in use by process {process.pid}" in failure(
                capsys, "dial", str(run.path), "-o", str(output), "--keep", "8", *resume)
        process.kill()
    assert merge.is_dir()


def test_a_dial_goes_on_wherever_it_lies_and_however_it_is_named(
    run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bugs: `-o .` had no name, and the paths of merges, which lie there for a moment, had to be the same."""
    def dialled(run_dir: Path | str, output: Path | str) -> list[str]:
        return ["dial", str(run_dir), "-o", str(output), "--points", "1", "--keep", "8", "--resume"]

    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert main(dialled("../run", ".")) == 0
    before = Path("boundary.jsonl").read_bytes()
    monkeypatch.chdir(tmp_path)
    moved = (tmp_path / "here").rename(tmp_path / "there")
    stored = json.loads((moved / "dial.json").read_bytes())
    assert stored["trained"] == [str(run.checkpoint(4))]
    (moved / "dial.json").write_text(json.dumps(  # as it was written until now
        {"run": "run", "trained": ["run/checkpoints/checkpoint-4"], "percents": [100]}))
    assert main(dialled(run.path, "there")) == 0
    later = run.path.rename(tmp_path / "later")  # runs move as well
    assert main(dialled(later, moved)) == 0
    assert (moved / "boundary.jsonl").read_bytes() == before
    capsys.readouterr()
    recipe = json.loads((later / "recipe.json").read_bytes())["recipe"]
    shutil.copytree(later / "checkpoints", tmp_path / "run" / "checkpoints")
    RunDir(tmp_path / "run").write_recipe(recipe | {"seed": 9}, lab=True)
    assert "its dial has trained" in failure(capsys, *dialled(tmp_path / "run", moved))
    for damaged in ('{"run": ', "", "[1]", '{"trained": "x", "percents": [100]}'):
        (moved / "dial.json").write_text(damaged)
        assert f"{moved}/dial.json: damaged" in failure(capsys, *dialled(later, moved))
    assert (moved / "boundary.jsonl").read_bytes() == before
