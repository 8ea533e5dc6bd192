"""A run directory whose files were flipped, cut, doubled or swapped is reported as it is, or refused in one line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import strategies as st

from rlvr.report.page import write_report
from rlvr.report.summary import summary_table
from rlvr.types import UserError
from tests.fuzz.driver import fuzz
from tests.support.fake_run import FakeRun, write_fake_run

FILES = ("recipe.json", "metrics.jsonl", "probes.jsonl", "boundary.jsonl", "problems.jsonl")

damages = st.lists(
    st.tuples(
        st.sampled_from(FILES),
        st.sampled_from(["flip", "cut", "double", "swap", "drop", "empty", "insert"]),
        st.floats(0, 1),
        st.floats(0, 1),
        st.binary(min_size=1, max_size=3),
    ),
    min_size=1,
    max_size=2,
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
    return write_fake_run(tmp_path_factory.mktemp("sound") / "run", FakeRun(problems=6, steps=(0, 20)))


def test_damage_is_told_in_a_line(sound: Path, tmp_path: Path, seconds: float) -> None:
    def check(value: list[tuple[str, str, float, float, bytes]]) -> None:
        run = tmp_path / "run"
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(sound, run)
        for name, action, a, b, extra in value:
            file = run / name
            file.write_bytes(damaged(file.read_bytes(), action, a, b, extra))
        try:
            write_report(run)
            summary_table(run)
        except UserError as error:
            assert str(error) and "\n" not in str(error)

    fuzz(damages, check, seconds, batch=5)
