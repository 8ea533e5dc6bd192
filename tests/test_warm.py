"""A process of tests/support/warm.py is to its starter what a new interpreter is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import tqdm.std

from rlvr.probes import appearing
from tests.support import warm

POLL = appearing.POLL
STD: Any = tqdm.std
BARS = STD.TqdmDefaultWriteLock
BARS()  # makes its semaphore, as a library's import may, before the server is forked
PROGRAM = """
import atexit, os, signal, sys, threading, time
from rlvr.probes import appearing
atexit.register(lambda: print("left"))
threading.Thread(target=lambda: (time.sleep(0.1), print("thread"))).start()
print(__name__, sys.argv[1:], os.getcwd(), os.environ["MINE"], os.environ.get("THEIRS"), appearing.POLL,
      os.getsid(0) == os.getpid(), sys.stdin.read(), sys.path[0] == os.getcwd())
print("error", file=sys.stderr)
if sys.argv[1] == "sleep":
    sys.stdout.flush()
    time.sleep(60)
sys.exit({"fine": None, "code": 3, "words": "told"}[sys.argv[1]])
"""


@pytest.fixture(params=[subprocess.Popen, warm.Popen])
def start(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Starts PROGRAM with a word."""
    if request.param is warm.Popen and warm.ADDRESS not in os.environ:
        pytest.skip("no server on this system")
    (tmp_path / "program.py").write_text(PROGRAM)
    monkeypatch.setattr(appearing, "POLL", "patched")
    monkeypatch.setenv("THEIRS", "patched")
    env = {name: value for name, value in os.environ.items() if name != "THEIRS"}
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return lambda word: request.param([sys.executable, "-m", "program", word], cwd=tmp_path, env=env | {"MINE": "set"},
                                      text=True, start_new_session=True, **pipes)


@pytest.mark.parametrize(("word", "code", "last"), [("fine", 0, "error"), ("code", 3, "error"), ("words", 1, "told"),
                                                    ("fault", 1, "KeyError: 'fault'")])
def test_it_starts_and_ends_as_an_interpreter_does(start: Any, tmp_path: Path, word: str, code: int, last: str) -> None:
    with start(word) as process:
        out, err = process.communicate("asked", timeout=60)
    assert process.returncode == process.poll() == code and err.splitlines()[-1] == last
    assert out.splitlines() == [
        f"__main__ ['{word}'] {tmp_path} set None {POLL} True asked True", "thread", "left"]


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
def test_it_can_be_killed(start: Any, sent: signal.Signals) -> None:
    with start("sleep") as process:
        process.stdin.close()
        assert process.stdout.readline() and process.poll() is None
        os.killpg(process.pid, sent)
        deadline = time.monotonic() + 60
        while process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert process.wait() == -sent
        assert process.stdout.read() == ""  # no other process holds the pipe
    assert not Path(f"/proc/{process.pid}").exists()


def test_a_process_that_is_killed_as_it_draws_leaves_the_bars_of_the_others_free(tmp_path: Path) -> None:
    """Bug: now and then the tests waited for ever, for the semaphore of a killed process."""
    (tmp_path / "draws.py").write_text(
        "import time\nfrom tqdm import tqdm\ntqdm.get_lock().acquire()\nprint('drawing', flush=True)\ntime.sleep(60)\n")
    with warm.Popen([sys.executable, "-m", "draws"], stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        assert process.stdout is not None and process.stdout.readline() == "drawing\n"
        process.kill()
    assert BARS.mp_lock.acquire(True, 5)
    BARS.mp_lock.release()
