"""Pages can be read with a keyboard, a screen reader and tired eyes, as far as that can be told without a browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlvr.report.comparison.figures import COLOURS
from rlvr.report.comparison.page import write_comparison
from rlvr.report.page import write_report
from rlvr.report.review import write_review
from rlvr.report.style import BASE, INK, MUTED, SECOND, THIRD, TRAINED
from tests.support.accessible import contrast, faults
from tests.support.fake_run import FakeRun, write_fake_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    fake = FakeRun(steps=(0, 20, 40), problems=48, strength=2.0)
    return write_fake_run(tmp_path_factory.mktemp("runs") / "run", fake)


def test_the_report(run: Path) -> None:
    assert faults(write_report(run).read_text()) == []


def test_the_comparison(folder: Path) -> None:
    assert faults(write_comparison([folder], folder / "out" / "compare.html").read_text()) == []


def test_the_review(run: Path) -> None:
    assert write_review(run, run / "review.html") > 0
    assert faults((run / "review.html").read_text()) == []


def test_faults_are_found(run: Path) -> None:
    page = write_report(run).read_text()
    for old, new, fault in (
        ('<html lang="en">', "<html>", "html has no lang"),
        ("<h1>", "<h2>", "no h1"),
        ('<h2>Summary</h2>', "<h4>Summary</h4>", "h4 follows h1"),
        ('role="img" aria-label="change of pass@k against the base model, over k"', 'role="img"',
         "a img without a name: change"),
        ("--muted: #52606d", "--muted: #8a97a5", "light: --muted on --paper has a contrast of 2.98"),
        ('<th scope="row">0 (base)</th>', "<th>0 (base)</th>",
         "the header '0 (base)' does not say what it is the header of"),
        ('href="#provenance"', 'href="#elsewhere"', "a link to #elsewhere, which is nowhere"),
    ):
        assert old in page, old
        broken = page.replace(old, new, 1)
        if fault == "no h1":
            broken = broken.replace("</h1>", "</h2>", 1)
            fault = "0 elements h1, expected 1"
        assert fault in faults(broken)


def test_contrast_is_that_of_wcag() -> None:
    assert contrast("#fff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)  # the known near miss
    for colour in (INK, MUTED, BASE, TRAINED, SECOND):  # also labels of lines
        assert contrast(colour, "#ffffff") >= 4.5, colour
    for colour in (*COLOURS, THIRD):  # lines and markers
        assert contrast(colour, "#ffffff") >= 3, colour
