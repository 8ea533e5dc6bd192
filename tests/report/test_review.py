"""The review sheet: the right samples of hard problems, no others, as safe text."""

from __future__ import annotations

import csv
import gzip
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import ClassVar

import pytest

from rlvr.cli.main import main
from rlvr.report.load import load_run, read_samples
from rlvr.report.review import csv_sheet, html_sheet, review_rows, write_review
from rlvr.types import UserError
from tests.support.fake_run import FakeRun, read_rows, write_fake_run

HOSTILE = "=HYPERLINK(1)</pre><script>alert(1)</script><b>"


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    fake = FakeRun(steps=(0, 20, 60), problems=96, strength=2.0)
    return write_fake_run(tmp_path_factory.mktemp("runs") / "run", fake)


def test_rows_are_the_right_samples_of_hard_problems(run_dir: Path) -> None:
    """Catches wrong samples, easy problems, another probe's counts and more than three samples of one problem."""
    run = load_run(run_dir)
    rows = review_rows(run)
    for step, model in ((0, "base"), (60, "step 60")):
        counts = {r["problem_id"]: r for r in read_rows(run_dir / "probes.jsonl") if r["step"] == step}
        hard = {i: r["c"] for i, r in counts.items() if 0 < r["c"] < 0.05 * r["n"]}
        mine = [row for row in rows if row.model == model]
        assert hard and {row.problem_id for row in mine} == set(hard)
        assert len(mine) == sum(min(3, c) for c in hard.values()) and {row.times for row in mine} == {1}
        stored = {(s["problem_id"], s["sample"]): s for s in read_samples(run, step)}
        for row in mine:
            sample = stored[row.problem_id, row.sample]
            assert sample["correct"] and sample["text"] == row.completion and sample["extracted"] == row.extracted
            r = counts[row.problem_id]
            assert row.correct_of == f"{r['c']}/{r['n']}"
        shares = [counts[row.problem_id]["c"] / counts[row.problem_id]["n"] for row in mine]
        assert shares == sorted(shares)
    assert [row.model for row in rows] == sorted(row.model for row in rows)
    assert len(review_rows(run, max_accuracy=0.5)) > len(rows)


def test_equal_completions_are_one_row(run_dir: Path, tmp_path: Path) -> None:
    """Bug: 263 cards of which 181 were different. Here base and step 60 answer every problem by one text."""
    path = write_fake_run(tmp_path / "run", FakeRun(steps=(0, 60), problems=96, strength=0.0, text="2 * 3 = 6"))
    run = load_run(path)
    rows = review_rows(run)
    hard = [{i: row.c for i, row in run.rows[step].items() if 0 < row.c < 0.05 * row.n} for step in (0, 60)]
    assert {row.problem_id: row.times for row in rows} == {
        i: hard[0].get(i, 0) + hard[1].get(i, 0) for i in hard[0].keys() | hard[1].keys()}
    assert len({row.problem_id for row in rows}) == len(rows)
    both = [row for row in rows if row.model == "base, step 60"]
    assert {row.problem_id for row in both} == hard[0].keys() & hard[1].keys() != set()
    assert f"({both[0].times} times the same)" in html_sheet(run, rows)


def test_command_writes_both_kinds(run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = review_rows(load_run(run_dir))
    assert main(["review", str(run_dir), "-o", str(tmp_path / "review.csv")]) == 0
    rows = list(csv.DictReader((tmp_path / "review.csv").open()))
    assert [(r["model"], r["problem_id"], int(r["sample"]), r["verdict"], r["note"]) for r in rows] == [
        (r.model, r.problem_id, r.sample, "", "") for r in expected]
    assert main(["review", str(run_dir), "-o", str(tmp_path / "review.html")]) == 0
    page = (tmp_path / "review.html").read_text()
    assert page.count("<article ") == len(expected) and page.count('type="radio"') == 3 * len(expected)
    assert f"{len(expected)} different right answers to hard problems" in capsys.readouterr().out
    assert not re.search(r"(src|href)=", page.split("<script>")[0])
    assert main(["review", str(run_dir), "-o", str(tmp_path / "review.pdf")]) == 2
    assert main(["review", str(run_dir), "-o", str(tmp_path / "r.csv"), "--max-accuracy", "0"]) == 2
    assert "expected .html or .csv" in capsys.readouterr().err


def test_text_of_a_model_stays_text(run_dir: Path, tmp_path: Path) -> None:
    fake = FakeRun(steps=(0,), problems=60, text=HOSTILE, prompt=HOSTILE, folder="<script>9</script>")
    run = load_run(write_fake_run(tmp_path / "<b>run", fake))
    rows = review_rows(run)
    assert rows

    class Tags(HTMLParser):
        found: ClassVar[list[str]] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.found.append(tag)

    Tags().feed(html_sheet(run, rows))
    assert Tags.found.count("script") == 1 and "b" not in Tags.found
    cells = [cell for row in csv.reader(csv_sheet(run, rows).splitlines()) for cell in row]
    assert "'" + HOSTILE in cells and not any(cell.startswith("=") for cell in cells)


def test_a_run_without_samples_says_so(run_dir: Path, tmp_path: Path) -> None:
    path = write_fake_run(tmp_path / "run", FakeRun(steps=(0,), problems=10))
    (path / "samples" / "step-000000.jsonl.gz").write_bytes(gzip.compress(json.dumps({"header": {}}).encode()))
    with pytest.raises(UserError, match="holds no completions of step 0"):
        write_review(path, tmp_path / "r.csv")
    shutil.copytree(run_dir, tmp_path / "other")
    (last,) = sorted((tmp_path / "other" / "samples").iterdir())[-1:]
    last.unlink()
    with pytest.raises(UserError, match=f"holds no completions of step {int(last.name[5:11])}"):
        write_review(tmp_path / "other", tmp_path / "r.csv")
