"""Run directories under kills, full disks and resumes. `pytest tests/runs/test_run_dir.py`."""

from __future__ import annotations

import errno
import json
import logging
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rlvr.runs import files
from rlvr.runs import run_dir as run_dir_module
from rlvr.runs.files import check_saved, jsonl_lines, rewrite_jsonl
from rlvr.runs.run_dir import COMPLETE, RunDir, git_commit, nan_to_null, null_to_nan, versions
from rlvr.types import UserError

ROOT = Path(__file__).parents[2]
TREE = {"name": "a", "train": {"steps": 4, "learning_rate": 1e-6}, "model": {"lora": None}, "probes": {"ks": [1, 2]},
        "tracking": {"tags": []}, "judge": {"workers": 2}, "run_dir": "runs/a"}


def rows(*steps: int) -> list[dict[str, int]]:
    return [{"step": step} for step in steps]


def steps(path: Path) -> list[int]:
    return [row["step"] for row in RunDir.read_jsonl(path)]


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir.create(tmp_path / "run")


# ------------------------------------------------------------------------------------------------ layout, create


def test_layout():
    """The names are what report, compare and other tools read: they may not change."""
    run = RunDir("r")
    found = [run.recipe, run.metrics, run.probes, run.boundary, run.problems, run.samples(20), run.checkpoint(20),
             run.report]
    assert list(map(str, found)) == [
        "r/recipe.json", "r/metrics.jsonl", "r/probes.jsonl", "r/boundary.jsonl", "r/problems.jsonl",
        "r/samples/step-000020.jsonl.gz", "r/checkpoints/checkpoint-20", "r/report.html"]


@pytest.mark.parametrize("resume", [False, True])
def test_a_missing_or_empty_directory_is_a_new_run(tmp_path: Path, resume: bool):
    assert RunDir.create(tmp_path / "a/b", resume=resume).path.is_dir()
    assert RunDir.create(tmp_path / "a/b", resume=resume).latest_checkpoint() is None


def test_a_used_directory_needs_resume(run: RunDir):
    run.write_recipe(TREE)
    run.append_jsonl(run.metrics, rows(1))
    with pytest.raises(UserError) as caught:
        RunDir.create(run.path)
    assert str(caught.value) == (
        f"run_dir {run.path}: found 2 entries (metrics.jsonl, recipe.json), expected an empty directory; "
        "continue that run with --resume, or choose another run_dir")
    assert steps(RunDir.create(run.path, resume=True).metrics) == [1]


def test_files_that_are_no_run_are_never_taken(tmp_path: Path):
    for name in "abcd":
        (tmp_path / name).touch()
    with pytest.raises(UserError) as caught:
        RunDir.create(tmp_path, resume=True)
    assert str(caught.value) == (f"run_dir {tmp_path}: found 4 entries (a, b, c, ...) but no recipe.json, so it is "
                                 "not a run and cannot be resumed; choose another run_dir")
    assert sorted(os.listdir(tmp_path)) == list("abcd")


def test_a_kill_inside_the_first_write_leaves_a_fresh_start(run: RunDir):
    (run.path / "recipe.json.tmp").write_text('{"rec')
    RunDir.create(run.path).write_recipe(TREE)
    assert os.listdir(run.path) == ["recipe.json"]


def test_a_path_that_cannot_be_a_directory(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"run_dir .*file: cannot be used: Not a directory; choose another run_dir"):
        RunDir.create(tmp_path / "file")


# ------------------------------------------------------------------------------------------------ recipe.json


def test_recipe_json_says_what_ran(run: RunDir):
    run.write_recipe(TREE, lab=True)
    stored = json.loads(run.recipe.read_text())
    assert stored["recipe"] == TREE and stored["lab"] is True
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", stored["created"])
    assert set(stored["versions"]) == {"python", "rlvr", "torch", "transformers", "trl"}
    assert stored["versions"] == versions()
    assert stored["versions"]["python"] == sys.version.split()[0]
    assert stored["versions"]["trl"].startswith("1.16.")
    assert run.read_recipe() == {key: part for key, part in stored.items() if key != "crc"}


def test_resuming_keeps_the_recipe_file(run: RunDir):
    run.write_recipe(TREE)
    before = run.recipe.read_bytes()
    run.write_recipe({**TREE, "tracking": {"tags": ["x"]}, "judge": {"workers": 9}, "run_dir": "elsewhere"}, lab=True)
    assert run.recipe.read_bytes() == before


@pytest.mark.parametrize(("change", "message"), [
    ({"train": {"steps": 2, "learning_rate": 1e-6}},
     "train.steps: the run in {run} was started with 4, the recipe now says 2;"),
    ({"train": {"steps": 8, "learning_rate": 2e-6}}, "train.learning_rate: the run in {run} was started with 1e-06, "),
    ({"train": {"steps": 4, "learning_rate": 2e-6}}, "train.learning_rate: the run in {run} was started with 1e-06, "),
    ({"model": {"lora": {"r": 8}}}, "model.lora.r: the run in {run} was started without it, the recipe now says 8;"),
    ({"probes": {"ks": [1, 4]}}, "probes.ks: the run in {run} was started with [1, 2], the recipe now says [1, 4];"),
    ({"probes": {}}, "probes: the run in {run} was started without it, the recipe now says {{}};"),
    ({"name": "b", "train": {}}, 'name: the run in {run} was started with "a", the recipe now says "b";'),
])
def test_resuming_with_another_recipe(run: RunDir, change, message):
    run.write_recipe(TREE)
    with pytest.raises(UserError) as caught:
        run.write_recipe({**TREE, **change})
    assert str(caught.value).startswith(message.format(run=run.path))
    assert "set it back, or choose another run_dir" in str(caught.value)


def test_more_steps_extend_a_run(run: RunDir):
    run.write_recipe(TREE)
    for steps in (4, 8, 8, 12):
        run.write_recipe({**TREE, "train": {"steps": steps, "learning_rate": 1e-6}})
    stored = run.read_recipe()
    assert stored["recipe"]["train"] == {"steps": 12, "learning_rate": 1e-6} and stored["extended"] == [4, 8]
    with pytest.raises(UserError, match=r"^train.steps: .* was started with 12, the recipe now says 8;"):
        run.write_recipe({**TREE, "train": {"steps": 8, "learning_rate": 1e-6}})


def test_a_falling_learning_rate_cannot_be_extended(run: RunDir):
    falling = {**TREE, "train": {"steps": 4, "lr_schedule": "linear"}}
    run.write_recipe(falling)
    with pytest.raises(UserError, match=r"^train.steps: .* cannot be extended, because with lr_schedule 'linear' its"):
        run.write_recipe({**falling, "train": {"steps": 8, "lr_schedule": "linear"}})


def test_a_key_that_went_away_is_a_difference(run: RunDir):
    run.write_recipe(TREE)
    with pytest.raises(UserError, match=r"^train.learning_rate: .* started with 1e-06, the recipe no longer has it"):
        run.write_recipe({**TREE, "train": {"steps": 4}})


def test_damaged_recipe_json(run: RunDir):
    with pytest.raises(UserError, match=r"recipe.json: not found; expected the directory of a run"):
        run.read_recipe()
    run.recipe.write_text('{"recipe": ')
    with pytest.raises(UserError, match=r"recipe.json: not JSON \(.*restore it or choose another run_dir"):
        run.write_recipe(TREE)
    run.recipe.write_text("{}")
    with pytest.raises(UserError, match=r"recipe.json: found no 'recipe' in it"):
        run.write_recipe(TREE)


def test_git_commit(tmp_path: Path, monkeypatch):
    """-dirty means: tracked files differ from the commit. Files git does not know do not count."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_commit() is None

    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=a", "-c", "user.email=a@b.c")
        done = subprocess.run(["git", *identity, *arguments], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init")
    assert git_commit() is None
    (tmp_path / "tracked").write_text("1")
    git("add", "tracked")
    git("commit", "-m", "first")
    (tmp_path / "untracked").touch()
    assert git_commit() == git("rev-parse", "HEAD")
    (tmp_path / "tracked").write_text("2")
    assert git_commit() == git("rev-parse", "HEAD") + "-dirty"
    monkeypatch.setenv("PATH", "")
    assert git_commit() is None


def test_versions_without_a_distribution(monkeypatch):
    monkeypatch.setattr(run_dir_module, "VERSIONED", ("no-such-distribution",))
    assert versions()["no-such-distribution"] is None


# ------------------------------------------------------------------------------------------------ JSONL


def test_append_and_read_back(run: RunDir):
    text = {"step": 0, "text": "naïve\n\u2028"}
    run.append_jsonl(run.probes, [text, {"step": 1, "x": math.nan, "y": [math.inf, (1.5,)]}])
    run.append_jsonl(run.probes, [])
    run.append_jsonl(run.probes, [{"step": 2}])
    assert run.read_jsonl(run.probes) == [text, {"step": 1, "x": None, "y": [None, [1.5]]}, {"step": 2}]
    assert run.probes.read_bytes().count(b"\n") == 3
    assert run.read_jsonl(run.path / "none.jsonl") == []


def test_only_a_newline_ends_a_row(run: RunDir):
    """Rows of another program may hold these as they are; ours are written in ASCII."""
    run.metrics.write_text('{"text": "a\u2028b\x85c"}\n{"step": 2}\n', encoding="utf-8")
    assert run.read_jsonl(run.metrics) == [{"text": "a\u2028b\x85c"}, {"step": 2}]


def test_nan_and_null():
    assert nan_to_null({"a": [math.nan, 1, {"b": -math.inf}], "c": None, "d": "NaN"}) == {
        "a": [None, 1, {"b": None}], "c": None, "d": "NaN"}
    assert math.isnan(null_to_nan(None)) and null_to_nan(0) == 0.0 and null_to_nan(2.5) == 2.5


def test_what_json_cannot_hold_is_refused_before_anything_is_written(run: RunDir):
    run.append_jsonl(run.metrics, rows(1))
    with pytest.raises(TypeError):
        run.append_jsonl(run.metrics, [{"step": 2}, {"step": object()}])
    assert steps(run.metrics) == [1]


TAILS = [b'{"step": 3', b'{"step": 3}', b'{"st\n', b"\x00\x00\x00", b"[1]\n", b'{"a": "\xff"}\n']


@pytest.mark.parametrize("tail", TAILS)
def test_a_torn_tail_is_cut_off(run: RunDir, caplog, tail: bytes):
    """A whole object without its newline is torn too: the write did not finish."""
    run.append_jsonl(run.metrics, rows(1, 2))
    whole = run.metrics.read_bytes()
    run.metrics.write_bytes(whole + tail)
    assert steps(run.metrics) == [1, 2]
    assert run.metrics.read_bytes() == whole + tail, "reading alone must not touch the file of a live run"
    assert f"the last line is torn ({len(tail)} bytes): left out" in caplog.text
    run.read_jsonl(run.metrics, repair=True)
    assert run.metrics.read_bytes() == whole
    assert f"{run.metrics}: the last line is torn ({len(tail)} bytes): cut off" in caplog.text
    run.append_jsonl(run.metrics, rows(3))
    assert steps(run.metrics) == [1, 2, 3]


def test_appending_behind_a_torn_line_is_refused(run: RunDir):
    """It would glue two rows into one that is damaged in the middle of the file."""
    run.metrics.write_bytes(b'{"step": 1}\n{"st')
    with pytest.raises(UserError, match=r"metrics.jsonl: ends in a torn line; resume the run, which cuts it off"):
        run.append_jsonl(run.metrics, rows(2))


@pytest.mark.parametrize("line", [b'{"step":', b"", b"3", b"\xff"])
def test_damage_in_the_middle_is_an_error(run: RunDir, line: bytes):
    run.metrics.write_bytes(b'{"step": 1}\n' + line + b'\n{"step": 3}\n')
    for repair in (False, True):
        with pytest.raises(UserError) as caught:
            run.read_jsonl(run.metrics, repair=repair)
        assert str(caught.value).startswith(f"{run.metrics}:2: not a JSON object (")
        assert "restore the file or choose another run_dir" in str(caught.value)
    run.metrics.write_bytes(b'{"step": 1}\n' + line + b'\n{"step": 3}')
    with pytest.raises(UserError, match=r"metrics.jsonl:2"):
        run.read_jsonl(run.metrics)


def test_a_changed_row_is_noticed(run: RunDir):
    """Bug: a flipped digit, a doubled, missing or moved row went into every table as if it had been measured."""
    run.append_jsonl(run.metrics, [{"step": 1, "x": 0.25}, {"step": 2}])
    run.append_jsonl(run.metrics, [{"step": 3}])
    assert run.read_jsonl(run.metrics) == [{"step": 1, "x": 0.25}, {"step": 2}, {"step": 3}]
    whole = run.metrics.read_bytes()
    first, second, third = whole.splitlines(keepends=True)
    for line, damaged in ((1, whole.replace(b"0.25", b"0.26")), (3, first + second + second + third),
                          (2, first + third), (1, second + first + third), (1, second + third),
                          (3, first + second + third.replace(b"3", b"4", 1)), (3, first + second + b'{"step": 3}\n'),
                          (1, whole.replace(b"crc", b"crb", 1)), (3, first + second + third.replace(b"{", b"(", 1))):
        run.metrics.write_bytes(damaged)
        with pytest.raises(UserError, match=r"metrics.jsonl:\d: this row or those before it are not") as told:
            run.read_jsonl(run.metrics)
        assert line <= int(str(told.value).split(":")[1]) <= line + 1, damaged
    run.write_problems([{"id": "a"}, {"id": "b"}])
    run.problems.write_bytes(run.problems.read_bytes().replace(b'"b"', b'"c"'))
    with pytest.raises(UserError, match=r"problems.jsonl:2: this row"):
        run.read_jsonl(run.problems)


def test_rows_behind_rows_of_an_older_version(run: RunDir):
    """They have no checksums; the first new row begins the chain, and dropping rows keeps it whole."""
    old = b'{"step":1,  "x":1e-05}\n{"step": 2}\n'
    run.metrics.write_bytes(old)
    run.append_jsonl(run.metrics, rows(3, 4))
    assert steps(run.metrics) == [1, 2, 3, 4] and run.metrics.read_bytes().startswith(old)
    rewrite_jsonl(run.metrics, lambda row: row["step"] != 3)
    assert steps(run.metrics) == [1, 2, 4]
    run.append_jsonl(run.metrics, rows(5))
    assert steps(run.metrics) == [1, 2, 4, 5]


def test_a_changed_recipe_json_is_noticed(run: RunDir):
    run.write_recipe(TREE)
    run.recipe.write_text(run.recipe.read_text().replace('"steps": 4', '"steps": 5'))
    with pytest.raises(UserError, match=r"recipe.json: not as it was written \(its checksum differs\)"):
        run.read_recipe()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_leaves_no_half_row(run: RunDir, monkeypatch, code: int):
    run.append_jsonl(run.metrics, rows(1))
    before = run.metrics.read_bytes()
    real = os.write

    def half(descriptor: int, data: memoryview) -> int:
        if len(data) < 20:
            raise OSError(code, os.strerror(code))
        return real(descriptor, data[:len(data) // 2])

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(UserError) as caught:
        run.append_jsonl(run.metrics, [{"step": 2, "text": "x" * 100}, {"step": 3}])
    assert str(caught.value) == (f"{run.metrics}: the disk is full ({os.strerror(code)}), nothing of this write was "
                                 "kept; free space and resume the run")
    assert run.metrics.read_bytes() == before
    with pytest.raises(UserError, match="the disk is full"):
        run.write_json_atomic(run.recipe, {"a": "x" * 100})
    assert sorted(os.listdir(run.path)) == ["metrics.jsonl"], "neither half a file nor a temporary one"


def test_a_short_write_is_continued(run: RunDir, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:3]))
    run.append_jsonl(run.metrics, rows(1, 2))
    assert steps(run.metrics) == [1, 2]


def test_other_write_errors_stay_what_they_are(run: RunDir, monkeypatch):
    def fail(descriptor: int, data: memoryview) -> int:
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(os, "write", fail)
    with pytest.raises(OSError, match="input/output error"):
        run.append_jsonl(run.metrics, rows(1))


def test_the_kernel_refusing_the_write(tmp_path: Path):
    """A real short write and a real refusal: the file size limit of the process, in the middle of a row."""
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from rlvr.runs.run_dir import RunDir; from rlvr.types import UserError\n"
        "path = Path(sys.argv[1]); RunDir.append_jsonl(path, [{'step': 1}])\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n    RunDir.append_jsonl(path, [{'step': 2, 'text': 'x' * 2000}])\n"
        "except UserError as error:\n    print(error)\n"
    )
    path = tmp_path / "metrics.jsonl"
    command = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"{path}: the disk is full (File too large), nothing of this write was kept;")
    assert path.read_bytes() == jsonl_lines([{"step": 1}])


def test_write_json_atomic_replaces_whole_files(run: RunDir):
    run.write_json_atomic(run.recipe, {"a": math.nan})
    run.write_json_atomic(run.recipe, {"b": 1})
    assert json.loads(run.recipe.read_text()) == {"b": 1}
    run.write_problems([{"id": "a"}, {"id": "b"}])
    assert [row["id"] for row in run.read_jsonl(run.problems)] == ["a", "b"]
    assert sorted(os.listdir(run.path)) == ["problems.jsonl", "recipe.json"]


def test_a_file_is_on_the_disk_before_it_takes_the_place_of_another(run: RunDir, monkeypatch):
    """Bug: after a power cut a base measurement was empty. First the new bytes are flushed, then the new name."""
    run.write_json_atomic(run.recipe, {"a": 1})
    flushed: list[tuple[str, object]] = []

    def fsync(descriptor: int) -> None:
        flushed.append((Path(os.readlink(f"/proc/self/fd/{descriptor}")).name, json.loads(run.recipe.read_text())))

    monkeypatch.setattr(os, "fsync", fsync)
    run.write_json_atomic(run.recipe, {"b": 1})
    assert flushed == [("recipe.json.tmp", {"a": 1}), (run.path.name, {"b": 1})]


def test_a_kill_in_the_middle_of_a_replace_keeps_the_old_file(run: RunDir, monkeypatch):
    run.write_json_atomic(run.recipe, {"a": 1})

    class Killed(BaseException):
        pass

    def kill(descriptor: int, data: memoryview) -> int:
        raise Killed

    monkeypatch.setattr(os, "write", kill)
    with pytest.raises(Killed):
        run.write_json_atomic(run.recipe, {"b": 1})
    assert json.loads(run.recipe.read_text()) == {"a": 1}


# ------------------------------------------------------------------------------------------------ resume


def test_truncate_after_forgets_what_will_be_written_again(run: RunDir, caplog):
    """Resuming at step 20: rows of 21-25 come again; the probe of step 20 was killed before its boundary row."""
    run.append_jsonl(run.metrics, rows(5, 20, 21, 25))
    run.append_jsonl(run.probes, rows(0, 0, 10, 10, 20, 30))
    run.append_jsonl(run.boundary, rows(0, 10, 30))
    samples = [run.samples(step) for step in (0, 20, 30)]
    run.samples_dir.mkdir()
    for path in samples:
        path.write_bytes(b"journal")
    run.truncate_after(20)
    assert (steps(run.metrics), steps(run.probes), steps(run.boundary)) == ([5, 20], [0, 0, 10, 10], [0, 10])
    assert all(path.exists() for path in samples)
    before = run.metrics.stat().st_mtime_ns
    run.truncate_after(20)
    assert run.metrics.stat().st_mtime_ns == before, "nothing to drop, nothing rewritten"


def test_truncate_after_cuts_torn_lines_and_keeps_other_lines_byte_for_byte(run: RunDir, caplog):
    run.metrics.write_bytes(b'{"step":1,  "x":1e-05}\n{"step": 9}\n{"st')
    run.truncate_after(1)
    assert run.metrics.read_bytes() == b'{"step":1,  "x":1e-05}\n'
    assert "the last line is torn (4 bytes): cut off" in caplog.text
    assert not run.probes.exists() and not run.boundary.exists()


def test_truncate_after_needs_steps(run: RunDir):
    run.append_jsonl(run.metrics, [{"stp": 1}])
    with pytest.raises(UserError, match=r"metrics.jsonl: found a row whose step is None, expected a whole number"):
        run.truncate_after(1)


def make_checkpoint(run: RunDir, step: int, complete: bool = True) -> Path:
    path = run.checkpoint(step)
    (path / "sub").mkdir(parents=True)
    (path / "sub/weights").write_text("w")
    if complete:
        run.mark_complete(path)
    return path


def test_latest_checkpoint_is_the_newest_complete_one(run: RunDir, caplog):
    """By number, not by name (100 > 20); a half-written one does not count, and only the resuming run removes it."""
    assert run.latest_checkpoint() is None
    old, newest = make_checkpoint(run, 20), make_checkpoint(run, 100)
    half, older_half = make_checkpoint(run, 120, complete=False), make_checkpoint(run, 40, complete=False)
    (run.checkpoints / "checkpoint-final").mkdir()
    (run.checkpoints / "checkpoint-999").touch()
    assert run.latest_checkpoint() == newest and half.exists()
    with caplog.at_level(logging.WARNING):
        assert run.latest_checkpoint(discard_incomplete=True) == newest
    assert f"{half}: deleted, its save was interrupted (no file COMPLETE)" in caplog.text
    assert not half.exists() and old.exists() and older_half.exists()
    assert list(json.loads((newest / COMPLETE).read_bytes())) == ["sub/weights"]


def test_only_incomplete_checkpoints_means_start_again(run: RunDir):
    make_checkpoint(run, 10, complete=False)
    assert run.latest_checkpoint(discard_incomplete=True) is None
    assert os.listdir(run.checkpoints) == []


def test_the_marker_is_written_last(run: RunDir, monkeypatch):
    """If flushing fails, the checkpoint must not look complete."""
    path = make_checkpoint(run, 10, complete=False)

    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="input/output error"):
        run.mark_complete(path)
    assert run.latest_checkpoint() is None


@pytest.mark.parametrize("whole", [2**26, 8])
def test_a_checkpoint_that_is_not_as_it_was_saved_is_said(
    run: RunDir, monkeypatch: pytest.MonkeyPatch, whole: int
) -> None:
    """Bug: a flipped bit of the weights went on as other numbers, and a cut file was a traceback of torch."""
    monkeypatch.setattr(files, "WHOLE", whole)
    path = make_checkpoint(run, 10, complete=False)
    (path / "weights").mkdir()
    (path / "weights" / "optimizer.pt").write_bytes(bytes(range(40)))
    (path / "model.safetensors").write_bytes(b"tensors")
    (path / "README.md").write_text("a card")
    run.mark_complete(path)
    (path / "README.md").write_text("another card")
    check_saved(path, COMPLETE)
    for name in ("weights/optimizer.pt", "model.safetensors"):
        data = (path / name).read_bytes()
        for changed in (b"", data[:-1], 2 * data, bytes([data[0] ^ 8]) + data[1:], data[:-1] + bytes([data[-1] ^ 1])):
            (path / name).write_bytes(changed)
            with pytest.raises(UserError, match=f"{name}: not as it was saved; restore it, or delete the directory"):
                check_saved(path, COMPLETE)
        (path / name).write_bytes(data)
    marker = (path / COMPLETE).read_bytes()
    (path / COMPLETE).write_bytes(marker[:-9])
    with pytest.raises(UserError, match="COMPLETE: not as it was saved"):
        check_saved(path, COMPLETE)
    (path / COMPLETE).write_bytes(b"")  # of version 0.1
    check_saved(path, COMPLETE)


def test_importing_the_run_directory_needs_nothing_heavy():
    code = ("import sys, rlvr.runs.run_dir; "
            "print([m for m in ('torch', 'numpy', 'yaml', 'transformers', 'wandb') if m in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_resuming_what_is_not_there_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    created = RunDir.create(tmp_path / "new", resume=True)
    assert capsys.readouterr().err == f"--resume: there is no run in {tmp_path / 'new'} yet: starting one\n"
    created.write_recipe(TREE)
    RunDir.create(tmp_path / "new", resume=True)
    RunDir.create(tmp_path / "other", resume=True, quiet=True)
    assert capsys.readouterr().err == ""
