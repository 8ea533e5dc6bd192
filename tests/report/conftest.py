"""What the tests of comparisons share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.arm_runs import A0, A1, B0, B1, write_run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two arms with two seeds; a: 1,000 tokens a step, b: 2,500. One run holds its rows in the opposite order."""
    write_run(tmp_path / "a-0", "a", 0, {10: A0, 20: A0})
    write_run(tmp_path / "a-1", "a", 1, {10: A1, 20: A1}, backwards=True, entropy=0.7)
    write_run(tmp_path / "b-0", "b", 0, {5: B1, 10: B0, 20: B0}, tokens=2500, backwards=True)
    write_run(tmp_path / "b-1", "b", 1, {5: B1, 10: B1, 20: B1}, tokens=2500)
    return tmp_path
