"""A run directory whose files were flipped, cut, doubled or swapped is refused in one line, or reported as it was.

Reported without a torn last row, which is said, or without whole rows at the end, as if it had not come so far.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import strategies as st

from rlvr.report.load import load_run
from rlvr.report.page import write_report
from rlvr.report.summary import summary_table
from rlvr.runs.files import CHECK, checksum, jsonl_lines, read_jsonl, replace, write_json_atomic
from rlvr.runs.run_dir import RunDir
from rlvr.types import UserError
from tests.fuzz.driver import fuzz
from tests.support.fake_run import FakeRun, write_fake_run

FILES = ("recipe.json", "metrics.jsonl", "probes.jsonl", "boundary.jsonl", "problems.jsonl")

ACTIONS = ["flip", "cut", "double", "swap", "drop", "empty", "insert"]


def damages(actions: list[str]) -> st.SearchStrategy[list[tuple[str, str, float, float, bytes]]]:
    return st.lists(
        st.tuples(st.sampled_from(FILES), st.sampled_from(actions), st.floats(0, 1), st.floats(0, 1),
                  st.binary(min_size=1, max_size=3)),
        min_size=1, max_size=2,
    )


def damaged(data: bytes, action: str, a: float, b: float, extra: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    at, line, other = int(a * max(len(data) - 1, 0)), int(a * max(len(lines) - 1, 0)), int(b * max(len(lines) - 1, 0))
    if action == "flip" and data:
        return data[:at] + bytes([data[at] ^ (1 << int(b * 7))]) + data[at + 1 :]
    if action == "cut":
        return data[:at]
    if action == "insert":
        return data[:at] + extra + data[at:]
    if action == "double" and lines:
        return b"".join([*lines[:line], lines[line], *lines[line:]])
    if action == "swap" and lines:
        lines[line], lines[other] = lines[other], lines[line]
        return b"".join(lines)
    if action == "drop" and lines:
        return b"".join([*lines[:line], *lines[line + 1 :]])
    return b""


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with the checksums that `rlvr.runs` writes."""
    run = RunDir(write_fake_run(tmp_path_factory.mktemp("sound") / "run", FakeRun(problems=6, steps=(0, 20))))
    for file in (run.metrics, run.probes, run.boundary, run.problems):
        replace(file, jsonl_lines(read_jsonl(file)))
    start = json.loads(run.recipe.read_text())
    write_json_atomic(run.recipe, {**start, CHECK: checksum(start)})
    return run.path


def damage(sound: Path, run: Path, changes: list[tuple[str, str, float, float, bytes]]) -> None:
    """Make `run` a copy of `sound` whose files have these changes."""
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(sound, run)
    for name, action, a, b, extra in changes:
        file = run / name
        file.write_bytes(damaged(file.read_bytes(), action, a, b, extra))


def test_damage_is_told_in_a_line(sound: Path, tmp_path: Path, seconds: float) -> None:
    def check(changes: list[tuple[str, str, float, float, bytes]]) -> None:
        damage(sound, tmp_path / "run", changes)
        try:
            write_report(tmp_path / "run")
            summary_table(tmp_path / "run")
        except UserError as error:
            assert str(error) and "\n" not in str(error)

    fuzz(damages(ACTIONS), check, seconds, batch=5)


def test_what_was_changed_is_not_read_as_if_it_were_whole(
    sound: Path, tmp_path: Path, seconds: float, caplog: pytest.LogCaptureFixture
) -> None:
    damage(sound, tmp_path / "run", [])
    whole = load_run(tmp_path / "run")

    def check(changes: list[tuple[str, str, float, float, bytes]]) -> None:
        damage(sound, tmp_path / "run", changes)
        caplog.clear()
        try:
            assert load_run(tmp_path / "run") == whole or "the last line is torn" in caplog.text
        except UserError as error:
            assert str(error) and "\n" not in str(error)

    assert fuzz(damages(["flip", "double", "swap"]), check, seconds) >= 40
