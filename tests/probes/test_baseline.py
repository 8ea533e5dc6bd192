"""The store of base measurements: what damage to it does. A shared entry serves many runs."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from rlvr.probes.baseline import Baseline, newest_probe
from rlvr.runs.waiting import told

KEY = {"weights": "w", "verifiers": {"math": "1"}}
MEASURED = {"problems": [{"problem_id": "a", "n": 4, "c": 1}, {"problem_id": "b", "n": 4, "c": 4}], "samples": 8,
            "tokens": 99, "seconds": 1.5, "model": "lab"}


@pytest.fixture
def entry(tmp_path: Path) -> Baseline:
    entry = Baseline(tmp_path, KEY)
    with entry.locked():
        entry.save(MEASURED)
    return entry


def test_a_measurement_comes_back_as_it_was_saved(tmp_path: Path, entry: Baseline) -> None:
    assert entry.load() == MEASURED
    assert newest_probe(tmp_path, "lab", ["a", "b"], verifiers={"math": "1"}) == MEASURED


def test_an_older_entry_without_a_checksum_is_read(entry: Baseline) -> None:
    (entry.folder / "probe.json").write_text(json.dumps(MEASURED))
    assert entry.load() == MEASURED


@pytest.mark.parametrize("damage", [
    lambda data: b"", lambda data: data[: len(data) // 2], lambda data: bytes(len(data)), lambda data: b"[]",
    lambda data: b"null", lambda data: b'{"problems": []}', lambda data: data.replace(b'"c": 1', b'"c": 2'),
    lambda data: b'{"problems": [{"problem_id": "a", "n": 4, "c": 9}]}', lambda data: b"[" * 100_000,
])
def test_a_damaged_measurement_is_moved_aside_and_made_again(
    tmp_path: Path, entry: Baseline, damage, caplog: pytest.LogCaptureFixture
) -> None:
    """Bugs: each was a traceback, but for the flipped digit, which went into every later run unnoticed."""
    path = entry.folder / "probe.json"
    broken = damage(path.read_bytes())
    path.write_bytes(broken)
    assert newest_probe(tmp_path, "lab", ["a", "b"]) is None
    assert entry.load() is None and "probe.json: damaged; kept as" in caplog.text
    assert (entry.folder / "probe.json.damaged").read_bytes() == broken and not path.exists()
    entry.save(MEASURED)
    assert entry.load() == MEASURED


@pytest.mark.parametrize("key", ["", "[]", "{"])
def test_an_entry_with_a_damaged_key_is_not_used_for_forecasts(tmp_path: Path, entry: Baseline, key: str) -> None:
    (entry.folder / "key.json").write_text(key)
    assert newest_probe(tmp_path, "lab", ["a", "b"]) is None
    with entry.locked():  # whoever measures or uses the entry writes its key again
        assert newest_probe(tmp_path, "lab", ["a", "b"]) == MEASURED


def test_a_second_run_says_for_whom_it_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("rlvr.probes.baseline.told", partial(told, patience=0.05))
    first, second = Baseline(tmp_path, {"a": 1}), Baseline(tmp_path, {"a": 1})
    waits = threading.Thread(target=lambda: second.locked().__enter__())
    with first.locked():
        waits.start()
        time.sleep(0.3)
        assert waits.is_alive()
    waits.join(timeout=5)
    assert not waits.is_alive()
    assert capsys.readouterr().err.startswith(f"waiting for process {os.getpid()} on {socket.gethostname()}, which ")
