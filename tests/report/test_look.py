"""How the pages look: what comes first, what is said once, how large they are, and that they follow a dark screen."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from rlvr.report.changes import exact_change
from rlvr.report.export import markdown
from rlvr.report.load import load_run
from rlvr.report.page import write_report
from rlvr.report.panels import over_steps, panels
from rlvr.report.report import load_report
from rlvr.types import Estimate
from tests.report.test_page import Page
from tests.support.fake_run import FakeRun, write_fake_run


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(write_fake_run(tmp_path_factory.mktemp("runs") / "run"))


def test_the_change_curve_is_the_first_thing_below_the_headline(written: Path) -> None:
    """Bug: the first curve was 1,380 pixels down the page."""
    page = written.read_text()
    body = page[page.index('id="finding"'):]
    assert body.index('data-figure="change"') < body.index("<table") < body.index('data-figure="curves"')


def test_the_navigation_leads_to_every_section(written: Path) -> None:
    page = written.read_text()
    nav = page[page.index('<nav aria-label="sections">') : page.index("</nav>")]
    sections = re.findall(r'<(?:section|footer) [^>]*?id="([^"]+)"', page)
    assert re.findall(r'href="#([^"]+)"', nav) == ["top", *sections] and len(sections) > 6


def test_visible_figures_are_numbered_without_gaps(written: Path) -> None:
    """Bug: figure 5 lay inside a closed fold, so that the reader met 4 and then 6."""
    page = written.read_text()
    outside = re.sub(r"<details.*?</details>", "", page, flags=re.DOTALL)
    numbers = [int(number) for number in re.findall(r"<b>Figure (\d+)\.</b>", outside)]
    assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) > 4
    assert len(re.findall(r"<b>Figure", page)) == len(numbers)


def test_how_it_was_measured_is_said_once(written: Path) -> None:
    page = Page(written).visible
    assert page.count("temperature 1, top_p 1, at most 24 new tokens") == 1


def test_pass_at_1_and_pass_at_k_have_axes_of_their_own(written: Path) -> None:
    """Bug: on one axis from 0 to 100% both were flat lines."""
    data = Page(written).data
    panels = {name: [t["name"] for t in figure["data"] if t.get("name")] for name, figure in data.items()
              if name.startswith("panel")}
    assert ["pass@1", "pass@1, exact"] in panels.values() and ["pass@256", "pass@256, exact"] in panels.values()


def test_bands_of_pass_at_k_are_of_the_base_and_the_last_probe(written: Path) -> None:
    """Bug: those of five probes lay on each other, so that none could be read."""
    traces = Page(written).data["curves"]["data"]
    base, *_, last = (probe.step for probe in load_report(written.parent).run.probes)
    assert len([trace for trace in traces if trace.get("mode") == "lines+markers"]) > 2
    assert [t["legendgroup"] for t in traces if t.get("fill") == "toself"] == ["base", f"step {last}"] and base == 0


def test_lengths_that_hardly_change_are_a_flat_line(written: Path) -> None:
    """Bug: an axis from 17.94 to 18 tokens made a mountain of a hair."""
    run = load_report(written.parent).run
    hair = dataclasses.replace(run, probes=tuple(
        dataclasses.replace(probe, estimates={"length": Estimate(value, value, value)})
        for probe, value in zip(run.probes, (17.94, 18.0, *[17.98] * len(run.probes)), strict=False)))
    flat = over_steps(hair, {"length": ("probes", "#000000")}, percent=False, span=2.0)
    assert flat.layout.yaxis.range == pytest.approx((16.97, 18.97))
    assert over_steps(hair, {"length": ("probes", "#000000")}, percent=False, span=0.05).layout.yaxis.range is None


def test_the_change_over_training_has_the_sign_and_unit_of_the_table(written: Path) -> None:
    run = load_report(written.parent).run
    panel = next(figure["data"] for name, figure in Page(written).data.items() if name.startswith("panel")
                 and any(trace.get("name") == "k = 256" for trace in figure["data"]))
    drawn = {trace["name"]: trace["y"] for trace in panel if trace.get("name")}
    assert drawn["k = 256"] == [-100 * probe.get("shrinkage@256").value for probe in run.probes]
    exact = [100 * exact_change(run, probe, 256) for probe in run.probes]
    assert drawn["k = 256, exact"] == pytest.approx(exact, abs=1e-9)


def test_a_page_is_small_and_needs_no_trace_that_the_bundle_lacks(written: Path) -> None:
    assert written.stat().st_size < 1_500_000
    types = {trace["type"] for figure in Page(written).data.values() if isinstance(figure, dict)
             for trace in figure.get("data", ())}
    assert types == {"scatter", "bar"}  # the basic bundle of plotly.js draws these (and pies) only


def test_a_dark_screen_gets_a_dark_page(written: Path) -> None:
    """Every colour of the page is a variable with a dark value; figures have no background of their own."""
    page = Page(written)
    css = " ".join(page.all("style"))
    dark = css[css.index("(prefers-color-scheme: dark)"):]
    light = css[:css.index("@media")]
    names = set(re.findall(r"(--\w+): #", light))
    assert names and names == set(re.findall(r"(--\w+): #", dark.split("}")[0]))
    rest = css.replace(light, "").replace(dark.split("}")[0], "")
    assert not re.search(r"#[0-9a-f]{3,6}\b", rest)
    for figure in page.data.values():
        if isinstance(figure, dict) and "layout" in figure:
            assert figure["layout"]["paper_bgcolor"] == figure["layout"]["plot_bgcolor"] == "rgba(0,0,0,0)"


def test_tables_have_no_column_of_dashes(tmp_path: Path) -> None:
    """Bug: report.md of a run whose base drew more samples had a column of dashes; so had one without a later probe."""
    runs = (FakeRun(steps=(0,), problems=24), FakeRun(steps=(0, 20), problems=24, base_plan="reference-512"))
    for number, fake in enumerate(runs):
        text = markdown(load_report(write_fake_run(tmp_path / str(number), fake)))
        tables = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
        assert tables
        for table in tables:
            rows = [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]
            assert all(any(cell != "\N{EN DASH}" for cell in column) for column in zip(*rows, strict=True))


@pytest.fixture(scope="module")
def shrunk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    fake = FakeRun(steps=(0, 20, 40), problems=64, strength=2.0)
    return write_report(write_fake_run(tmp_path_factory.mktemp("runs") / "run", fake))


def test_what_happened_to_a_problem_is_never_cut_off(shrunk: Path) -> None:
    """Bug: at 1280 pixels "first solved at step 10 (by chance: 0.4%)" ended in an ellipsis, as prompts may."""
    html, page = shrunk.read_text(), Page(shrunk)
    stories = [text for text in page.all("span") if re.match("lost at step|first solved at step", text)]
    wrapped = re.findall(r'<span class="wide story">(?:lost|first solved) at step', html)
    assert len(wrapped) == len(stories) > 2
    rules = dict(re.findall(r"^(\.row > [^{]+?) \{ ([^}]+) \}", " ".join(page.all("style")), re.MULTILINE))
    assert "white-space: nowrap" in rules[".row > span"] and rules[".row > span.story"] == "white-space: normal;"
    assert "p is the exact chance of one right answer" in page.visible


def test_the_crossing_has_one_name_on_the_page(shrunk: Path) -> None:
    """Bug: the headline said "near k = 7.7" and the figure k*."""
    page = Page(shrunk)
    near = re.search(r"The curves cross near k = ([\d.]+)", page.visible)
    assert near is not None
    (mark,) = page.data["curves"]["layout"]["annotations"]
    assert mark["text"] == f"k \N{ALMOST EQUAL TO} {near[1]}" and "k*" not in page.visible


def test_the_key_of_colours_is_printed(shrunk: Path) -> None:
    """Bug: browsers leave backgrounds out of a print, so the key of the verdict reasons was words without colours."""
    css = " ".join(Page(shrunk).all("style"))
    printed = css[css.index("@media print"):]
    assert re.search(r"\.key i, i\.arm \{ print-color-adjust: exact; \}", printed)
    assert shrunk.read_text().count('<li><i style="background:') >= 3


def test_a_prediction_from_rollouts_has_its_interval_as_a_band(tmp_path: Path) -> None:
    """Bug: its bounds were two more lines, and hid it."""
    path = write_fake_run(tmp_path / "run")
    name, free = "train/predicted_pass@256", {"train/pass@2": 0.5}
    rows = [{"step": 1, name: 0.5, f"{name}/low": 0.25, f"{name}/high": 0.75, **free},
            {"step": 2, name: 0.5, **free}, {"step": 3, name: 1.0, f"{name}/low": 0.5, f"{name}/high": 1.0, **free}]
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    drawn: Any
    (drawn,) = [figure for title, _, figure in panels(load_run(path)) if title == "pass@256 predicted from rollouts"]
    band, line = drawn.data
    assert band.fill == "toself" and list(band.x) == [1, 3, 3, 1] and list(band.y) == [0.75, 1.0, 0.5, 0.25]
    assert line.name == "predicted" and list(line.x) == [1, 2, 3] and list(line.y) == [0.5, 0.5, 1.0]
