"""Two processes and one run directory: only one may write it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rlvr.runs import owner
from rlvr.runs.run_dir import RunDir
from rlvr.types import UserError

HOLD = ("import sys, time; from rlvr.runs.run_dir import RunDir; "
        "RunDir.create(sys.argv[1], resume=True, quiet=True, own=True); print('owned', flush=True); time.sleep(60)")


@pytest.fixture(autouse=True)
def released():
    yield
    owner.release()


@pytest.fixture
def other(tmp_path: Path):
    """Another process that owns `tmp_path`/run."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "owned\n"
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize("resume", [True, False])
def test_a_second_process_is_told_who_writes(tmp_path: Path, other: subprocess.Popen[str], resume: bool) -> None:
    """Bug: with --resume the second deleted the first one's checkpoint; two fresh starts wrote into one directory."""
    with pytest.raises(UserError) as caught:
        RunDir.create(tmp_path / "run", resume=resume, quiet=True, own=True)
    assert re.fullmatch(
        rf"run_dir {tmp_path}/run: in use by process {other.pid} on {socket.gethostname()}, since 20\S+; wait until it "
        "ends, end it, or choose another run_dir", str(caught.value))


def test_a_run_that_began_while_this_one_waited_for_the_lock_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, "own", lambda path: (path / "recipe.json").write_text("{}"))
    with pytest.raises(UserError, match=r"found 1 entries \(recipe.json\), expected an empty directory"):
        RunDir.create(tmp_path / "run", own=True)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_the_lock_ends_with_its_process(tmp_path: Path, other: subprocess.Popen[str], end: signal.Signals) -> None:
    other.send_signal(end)
    other.wait()
    RunDir.create(tmp_path / "run", resume=True, quiet=True, own=True)
    assert json.loads((tmp_path / "run" / owner.NAME).read_text())["pid"] == os.getpid()


def test_the_lock_does_not_hinder_its_owner_and_leaves_nothing(tmp_path: Path) -> None:
    for _ in range(2):
        RunDir.create(tmp_path / "run", own=True)  # its own file does not make the directory a used one
    owner.release()
    assert list((tmp_path / "run").iterdir()) == []


def test_who_does_not_write_needs_no_lock(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    RunDir.create(tmp_path / "run", resume=True, quiet=True)
    RunDir(tmp_path / "run").check_usable(resume=False)


@pytest.mark.parametrize("alive", [True, False])
def test_an_owner_on_another_host_is_known_by_its_heartbeat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], alive: bool
) -> None:
    """Where locks are not shared between hosts the lock is free."""
    monkeypatch.setattr(owner, "WATCH_SECONDS", 0.4)
    (tmp_path / owner.NAME).write_text(json.dumps({"host": "elsewhere", "pid": 7, "since": "2026-01-01"}))
    if alive:
        threading.Timer(0.15, os.utime, [tmp_path / owner.NAME]).start()
        with pytest.raises(UserError, match="in use by process 7 on elsewhere, since 2026-01-01"):
            owner.own(tmp_path)
    else:
        owner.own(tmp_path)
    assert "process 7 on elsewhere used it last; watching" in capsys.readouterr().err


def test_the_heartbeat_touches_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner, "BEAT_SECONDS", 0.02)
    owner.own(tmp_path)
    os.utime(tmp_path / owner.NAME, (0, 0))
    for _ in range(100):
        if (tmp_path / owner.NAME).stat().st_mtime > 0:
            return
        threading.Event().wait(0.02)
    raise AssertionError("no heartbeat")


def test_a_directory_that_cannot_be_locked_is_one_line(tmp_path: Path) -> None:
    (tmp_path / owner.NAME).mkdir()
    with pytest.raises(UserError, match=f"run_dir {tmp_path}: cannot be used: Is a directory; choose another run_dir"):
        RunDir.create(tmp_path, own=True)
