"""Every run directory of a report is read once, whatever is made of it."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from rlvr.report import conditions, load, report
from rlvr.report.page import write_report
from rlvr.report.report import load_report
from rlvr.report.summary import summary_table
from tests.support.fake_run import FakeRun, write_fake_run


def test_two_conditions_are_read_once_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bug: page, exports and summary called load_run 18 times for these three directories."""
    run = write_fake_run(tmp_path / "run", FakeRun(steps=(0, 20), problems=24))
    for name in ("cool", "hot"):
        shutil.copytree(run, run / "arms" / name, ignore=shutil.ignore_patterns("arms"))
    read: Counter[str] = Counter()

    def counted(path: Path) -> load.Run:
        read[path.name] += 1
        return load.load_run(path)

    for module in (conditions, report):
        monkeypatch.setattr(module, "load_run", counted)
    loaded = load_report(run)
    page = write_report(loaded)
    assert all("hot" in text for text in (summary_table(loaded), page.read_text(), (run / "report.md").read_text()))
    assert read == {"run": 1, "cool": 1, "hot": 1}
