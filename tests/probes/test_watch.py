"""`rlvr probe --watch`: every checkpoint of a training elsewhere is measured once, whole, and in order."""

from __future__ import annotations

import multiprocessing
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rlvr.cli.main import main
from rlvr.lab.model import load_lab_model
from rlvr.probes import appearing, offline
from rlvr.probes.appearing import is_whole
from rlvr.report.load import load_run
from rlvr.runs.run_dir import RunDir
from rlvr.runs.samples import read_samples
from tests.cli.test_bad_input import failure
from tests.probes.test_sets import two_sets
from tests.support.small_run import command, kill_when, write_recipe

LAB = ["--data", "lab", "data.probe.split=test", "data.probe.size=3", "--plan", "cheap", "probes.max_new_tokens=18",
       "judge.workers=1", "probes.batch_size=512"]


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLVR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(appearing, "POLL", 0.05)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path, float], None]:
    """Saves the lab's base with some noise, as Trainer.save_model would without a tokenizer."""
    model, _ = load_lab_model("lab")

    def save(path: Path, noise: float) -> None:
        torch.manual_seed(0)
        changed = {name: value + noise * torch.randn_like(value) for name, value in model.state_dict().items()}
        model.save_pretrained(path, state_dict=changed)

    return save


def steps(out: Path) -> list[int]:
    return [row["step"] for row in RunDir(out).read_jsonl(RunDir(out).boundary)]


def test_half_a_checkpoint_is_none(tmp_path: Path, models: Any) -> None:
    whole = tmp_path / "checkpoint-1"
    models(whole, 0.0)
    assert is_whole(whole)
    weights = whole / "model.safetensors"
    data = weights.read_bytes()
    for length in (0, 5, 8, 500, len(data) // 2, len(data) - 1):
        weights.write_bytes(data[:length])
        assert not is_whole(whole), length
    weights.unlink()
    assert not is_whole(whole)
    (whole / "model-00001-of-00002.safetensors").write_bytes(data)
    (whole / "model.safetensors.index.json").write_text(
        '{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}')
    assert not is_whole(whole)  # one of two shards
    (whole / "model-00002-of-00002.safetensors").write_bytes(data)
    assert is_whole(whole)
    (whole / "config.json").unlink()
    assert not is_whole(whole)


def test_checkpoints_are_given_in_order_once_they_stay_as_they_are(tmp_path: Path, models: Any) -> None:
    given: list[int] = []

    def train() -> None:
        models(tmp_path / "checkpoint-20", 0.0)
        while 20 not in given:
            time.sleep(0.01)
        slow = tmp_path / "global_step_40"
        models(tmp_path / "hidden", 0.0)
        slow.mkdir()
        for part in ("config.json", "model.safetensors"):
            time.sleep(0.15)
            shutil.copyfile(tmp_path / "hidden" / part, slow / part)
        models(tmp_path / "checkpoint-10", 0.0)  # too late: step 20 is measured
        models(tmp_path / "checkpoint-60", 0.0)

    thread = threading.Thread(target=train)
    thread.start()
    for step, path in appearing.appearing(tmp_path, until=60):
        assert is_whole(Path(path))
        given.append(step)
    thread.join()
    assert given == [20, 40, 60]


def test_of_two_checkpoints_of_one_step_the_other_is_left_out_and_said(
    tmp_path: Path, models: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Bug: nobody was told of the second, nor of one that became whole too late."""
    for name in ("checkpoint-20", "global_step_20", "checkpoint-40"):
        models(tmp_path / name, 0.0)
    weights = tmp_path / "checkpoint-20" / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-9])
    given = appearing.appearing(tmp_path, until=60)
    assert [Path(next(given)[1]).name for _ in range(2)] == ["global_step_20", "checkpoint-40"]
    weights.write_bytes(whole)
    models(tmp_path / "checkpoint-60", 0.0)
    assert [Path(path).name for _, path in given] == ["checkpoint-60"]
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / 'checkpoint-20'}: became whole after step 20 was measured; left out"]
    # What a resumed watcher has measured does not come again, nor what it left out then.
    models(tmp_path / "checkpoint-10", 0.0)
    assert [step for step, _ in appearing.appearing(tmp_path, until=60, after=40)] == [60]
    assert len(caplog.records) == 1


def test_a_directory_that_is_not_there_yet_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Bug: a misspelt path was watched for ever like any other."""
    for folder, said in ((tmp_path, ""), (tmp_path / "nowhere", ", which does not exist yet")):
        assert list(offline._in_order({}, folder, 0, [[]])) == []
        assert capsys.readouterr().err == f"watching {folder}{said}\n"


def test_a_checkpoint_that_goes_away_while_it_is_read_is_left_out(
    tmp_path: Path, models: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bug: half a checkpoint was there still, or its library said so by an error of its own, and the watcher ended."""
    folder, out = tmp_path / "trl", tmp_path / "out"
    for step in (2, 4):
        models(folder / f"checkpoint-{step}", 0.0)
    real = offline.opened

    def opened(recipe: Any, path: str, *rest: Any) -> Any:
        if path.endswith("checkpoint-2"):
            (Path(path) / "model.safetensors").unlink()  # the rest of it goes in a moment
            raise RuntimeError("header too small")
        return real(recipe, path, *rest)

    monkeypatch.setattr(offline, "opened", opened)
    words = ["probe", "--watch", str(folder), "--base", "lab", *LAB, "-o", str(out), "--until", "4"]
    assert main(words) == 0
    assert steps(out) == [0, 4] and "checkpoint-2: removed before it was probed; left out" in capsys.readouterr().err
    models(folder / "checkpoint-6", 0.0)
    monkeypatch.setattr(offline, "opened", lambda *_: (_ for _ in ()).throw(RuntimeError("ours")))
    with pytest.raises(RuntimeError, match="ours"):  # of a whole one it is no news of the training
        main([*words[:-1], "6", "--resume"])


def test_any_trainers_directory_becomes_a_run_through_kills_and_removals(
    tmp_path: Path, models: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "trl", tmp_path / "out"
    words = ["probe", "--watch", str(folder), "--base", "lab", *LAB, "-o", str(out)]
    models(folder / "checkpoint-2", 0.0)
    killed = []

    def wait(seconds: float) -> None:
        killed.append(seconds)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:  # it waits for step 4, and is killed
        patched.setattr(appearing.time, "sleep", lambda s: wait(s) if steps(out) == [0, 2] else time.monotonic())
        assert main([*words, "--until", "4"]) == 130
    assert killed and steps(out) == [0, 2] and (out / "report.html").is_file()
    shutil.rmtree(folder / "checkpoint-2")  # the training keeps no more than one
    models(folder / "checkpoint-4", 0.05)
    assert main([*words, "--until", "4", "--resume"]) == 0
    assert steps(out) == [0, 2, 4]
    base, same, noisy = load_run(out).probes
    assert same.get("pass@1").value >= 0 and noisy.get("pass@1").value < base.get("pass@1").value
    samples = [(row["problem_id"], row["sample"]) for row in read_samples(RunDir(out).samples(4))]
    assert len(samples) == len(set(samples)) == noisy.samples
    assert not (out / "wandb").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [(["--watch", "there"], "--watch there: no run of rlvr, so what its checkpoints are compared with is unknown; give "
      "the model that the training began with as --base"),
     (["lab", "--watch", "there", "--base", "lab"], "found models, --from or an endpoint beside --watch"),
     (["lab", "--until", "3"], "--until and --wandb: found without --watch")],
)
def test_a_mistake_is_one_line(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in failure(capsys, "probe", *words, *LAB, "-o", str(tmp_path / "out"))


def killed_copy(words: list[str], condition: Callable[[], bool]) -> None:
    """Run a command in a copy of this process, which has loaded torch, and SIGKILL it as soon as `condition` holds."""
    process = multiprocessing.get_context("fork").Process(target=main, args=(words,))
    process.start()
    deadline = time.monotonic() + 120
    while not condition():
        assert process.is_alive() and time.monotonic() < deadline, "it ended before it could be killed"
        time.sleep(0.002)
    process.kill()
    process.join()


def test_a_run_leaves_its_probes_to_the_watcher_and_both_survive_sigkill(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = ["train", *write_recipe(tmp_path), "train.steps=2", "train.save_every=1", "train.probe_elsewhere=true",
             "tracking.wandb=disabled", "train.prompts_per_step=4"]
    run, out = RunDir(tmp_path / "run"), tmp_path / "probed"
    watch = ["probe", "--watch", str(run.path), "-o", str(out), "--plan", "cheap", "data.probe.size=3"]
    kill_when(command(*train), lambda: (run.checkpoint(1) / "COMPLETE").is_file())
    killed_copy([*watch, "--wandb", "disabled"], RunDir(out).samples(1).is_file)
    assert main([*train, "--resume"]) == 0
    assert f"probes are left to: rlvr probe --watch {run.path} -o {run.path}-probed" in capsys.readouterr().err
    assert not run.boundary.exists() and len(run.read_jsonl(run.metrics)) == 2
    assert main([*watch, "--wandb", "offline", "--resume"]) == 0
    assert steps(out) == [0, 1, 2]  # it ends by itself: the run's recipe says how many steps there are
    assert RunDir(out).metrics.read_bytes() == run.metrics.read_bytes()  # its page shows the training as well
    assert [probe.planned_looks for probe in load_run(out).probes[1:]] == [2, 2]
    assert list((out / "wandb").glob("offline-run-*"))
    samples = [(row["problem_id"], row["sample"]) for row in read_samples(RunDir(out).samples(1))]
    assert len(samples) == len(set(samples)) == load_run(out).probes[1].samples


def test_a_watcher_measures_every_probe_set_and_both_sides_survive_sigkill(tmp_path: Path) -> None:
    train = ["train", *two_sets(tmp_path), "train.probe_elsewhere=true"]
    run, out = RunDir(tmp_path / "run"), tmp_path / "probed"
    watch = ["probe", "--watch", str(run.path), "-o", str(out)]
    hard = out / "sets" / "hard"
    kill_when(command(*train), lambda: (run.checkpoint(1) / "COMPLETE").is_file())
    # The other set is measured first, so this is between the two, or in the midst of the second.
    killed_copy([*watch, "--wandb", "disabled"], lambda: steps(hard)[-1:] == [1])
    assert steps(out) in ([0], [0, 1])
    assert main([*train, "--resume"]) == 0
    assert not run.boundary.exists() and not run.sets
    assert main([*watch, "--wandb", "offline", "--resume"]) == 0
    assert main(["probe", str(run.path), "-o", str(tmp_path / "alone")]) == 0
    for home in ("", "sets/hard"):
        assert steps(out / home) == steps(tmp_path / "alone" / home) == [0, 1, 2]
        theirs = [probe.estimates for probe in load_run(tmp_path / "alone" / home).probes]
        assert [probe.estimates for probe in load_run(out / home).probes] == theirs
        samples = [(row["problem_id"], row["sample"]) for row in read_samples(RunDir(out / home).samples(1))]
        assert len(samples) == len(set(samples)) == load_run(out / home).probes[1].samples
        assert (out / home / "report.html").is_file()
