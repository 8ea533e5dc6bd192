"""A killed build of an operator does not make the next start wait."""

from __future__ import annotations

import os
import time
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from torch.utils.file_baton import FileBaton

from rlvr.cli.main import main
from rlvr.training import build_locks
from rlvr.training.build_locks import extension_folder, remove_dead_locks


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    (tmp_path / "py311_cpu/deepspeed_shm_comm").mkdir(parents=True)
    return tmp_path / "py311_cpu/deepspeed_shm_comm/lock"


def test_a_lock_of_a_killed_build_is_removed_and_told(
    lock: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    child = os.fork()
    if child == 0:  # a build that is killed: the file stays, its descriptor does not
        FileBaton(str(lock)).try_acquire()
        os._exit(9)
    os.waitpid(child, 0)
    assert lock.exists()
    remove_dead_locks(tmp_path)
    assert not lock.exists()
    assert capsys.readouterr().err == (
        f"{lock}: left by a build that was killed; removed, and the operator is built anew\n")


def test_a_start_under_deepspeed_removes_them(lock: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By one process of each machine, and only where DeepSpeed builds."""
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    lock.touch()
    for deepspeed, first in (("", True), ("true", False), ("true", True)):
        assert lock.exists()
        monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", deepspeed)
        build_locks.clear_build_locks(SimpleNamespace(local_main_process_first=nullcontext,
                                                      is_local_main_process=first))
    assert not lock.exists()


def test_a_training_looks_for_them_and_its_processes_have_the_recipes_patience(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bug: `train.ddp_timeout` came too late to count, as the processes had met before."""
    def ends(state: object) -> None:
        raise SystemExit(repr(state))

    monkeypatch.setattr("accelerate.PartialState", lambda **how: how)
    monkeypatch.setattr("rlvr.train.clear_build_locks", ends)
    with pytest.raises(SystemExit) as end:
        main(["train", "recipes/quickstart/lab_grpo.yaml", "train.ddp_timeout=77", f"run_dir={tmp_path / 'run'}"])
    assert f"'timeout': {timedelta(seconds=77)!r}" in str(end.value)


def test_a_lock_of_a_build_that_runs_stays(lock: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    baton = FileBaton(str(lock))
    assert baton.try_acquire()
    remove_dead_locks(tmp_path)
    assert lock.exists() and capsys.readouterr().err == ""
    baton.release()


def test_on_a_shared_file_system_a_lock_is_waited_for_until_it_is_old(
    lock: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(build_locks, "_is_local", lambda path: False)
    lock.touch()
    began = time.monotonic()
    remove_dead_locks(tmp_path, longest_build=0.5, poll=0.05)
    assert 0.3 < time.monotonic() - began < 5 and not lock.exists()
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2 and "waiting up to" in told[0] and "was killed" in told[1]


def test_the_folder_is_the_one_that_torch_uses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    assert extension_folder() == tmp_path
    monkeypatch.delenv("TORCH_EXTENSIONS_DIR")
    assert extension_folder().name == "torch_extensions"
