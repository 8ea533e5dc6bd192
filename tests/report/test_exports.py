"""report.md and boundary.csv hold the numbers of the run, and how each was measured."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from rlvr.report.load import load_run
from rlvr.report.page import write_report
from rlvr.report.words import headline
from tests.support.fake_run import FakeRun, read_rows, write_fake_run


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    fake = FakeRun(steps=(0, 20, 40, 60), problems=96, strength=2.0)
    return write_fake_run(tmp_path_factory.mktemp("runs") / "shrunk", fake)


def test_exports_hold_the_numbers_and_how_they_were_measured(run_dir: Path) -> None:
    write_report(run_dir)
    rows, stored = list(csv.DictReader((run_dir / "boundary.csv").open())), read_rows(run_dir / "boundary.jsonl")
    table = {(int(row["step"]), row["metric"], row["interval"]): row for row in rows}
    assert len(table) == len(rows)
    last = stored[-1]
    for kind, source in (("population", last["estimates"]), ("benchmark", last["benchmark"])):
        for key, estimate in source.items():
            row = table[60, key.removeprefix("boundary/"), kind]
            assert [float(row[part]) for part in ("value", "low", "high")] == list(estimate.values())
    look = last["sequential"]["verdicts"]["boundary/shrinkage@128"]
    row = table[60, "shrinkage@128", "sequential"]
    assert (row["verdict"], float(row["low"])) == (look["verdict"], look["low"])
    assert {(r["temperature"], r["top_p"], r["plan"], r["verifier"], r["problems"]) for r in rows} == {
        ("1.0", "1.0", "balanced", "countdown/1", "96")}
    predicted = stored[0]["companions"]["prediction"]["points"][0]
    assert float(table[0, "pass@512", "prediction"]["value"]) == predicted["value"]
    assert table[60, "pass@256", "exact"]["low"] == ""  # unknown is empty, not 0
    text = (run_dir / "report.md").read_text()
    verdict = last["sequential"]["verdicts"]["boundary/shrinkage@64"]["verdict"]
    assert headline(load_run(run_dir)).finding in text
    assert f", {verdict}; k = 128: " in text.split("- step 60: k = 64: ")[1]
    assert ("96 problems; temperature 1, top_p 1, at most 24 new tokens; plan balanced, n up to 256; graded by "
            "countdown/1.") in text
