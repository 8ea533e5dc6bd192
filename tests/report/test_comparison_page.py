"""The page of a comparison, its tables as Markdown and CSV, and its sentences."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from rlvr.report.comparison.arms import load_arms
from rlvr.report.comparison.figures import panels
from rlvr.report.comparison.page import comparison_summary, write_comparison
from rlvr.report.comparison.standings import (
    step_within,
)
from rlvr.report.comparison.words import seeds_text
from rlvr.types import UserError
from tests.report.test_page import Page
from tests.support.arm_runs import A0, B0, write_run
from tests.support.fake_run import FakeRun, write_fake_run


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of two arms with two seeds of the lab."""
    folder = tmp_path_factory.mktemp("lab")
    for index, (algorithm, seed) in enumerate((a, s) for a in ("grpo", "<b>dapo") for s in (0, 1)):
        write_fake_run(folder / f"run-{index}", FakeRun(
            steps=(0, 30, 60), problems=48, strength=1 + index // 2, seed=index + 1, recipe_seed=seed, base_seed=5,
            algorithm=algorithm, tokens_per_step=20_000 + 15_000 * (index // 2)))
    return write_comparison([folder], folder / "out" / "compare.html")


def test_page_markdown_and_csv_hold_the_same_numbers(written: Path) -> None:
    page, rows = Page(written), list(csv.DictReader(written.with_suffix(".csv").open()))
    markdown = written.with_suffix(".md").read_text()
    kinds = {"equal_steps": 15, "equal_tokens": 15, "by_step": 25, "differences": 2}
    assert {kind: sum(row["table"] == kind for row in rows) for kind in kinds} == kinds
    for row in rows:
        if not row["low"] or row["metric"] == "entropy":
            continue
        shrinkage = row["metric"].startswith("shrinkage")  # shown as the change, with the opposite sign
        sign = "+" if row["table"] == "differences" or shrinkage else ""
        parts = [-float(row[part]) for part in ("value", "high", "low")] if shrinkage else [
            float(row[part]) for part in ("value", "low", "high")]
        if 0.0 in parts:
            continue  # 0 has no sign
        shown = [f"{100 * part:{sign}.1f}" for part in parts]
        words = f"{shown[0]} [{shown[1]}, {shown[2]}]"
        assert words in markdown
        assert words.replace("-", "\N{MINUS SIGN}") in page.visible
    key = ("equal_tokens", "<b>dapo", "pass@1")
    (dapo,) = [row for row in rows if (row["table"], row["arm"], row["metric"]) == key]
    assert (dapo["step"], dapo["generated_tokens"]) == ("30", "1050000.0")
    assert all(float(row["exact"]) for row in rows if row["metric"] == "pass@256")


def test_page_is_one_safe_file(written: Path) -> None:
    page = Page(written)
    loading = {"src", "srcset", "data", "action", "poster", "background"}
    assert [(tag, loading & attrs.keys()) for tag, attrs in page.tags if loading & attrs.keys()] == []
    assert "<b>dapo" in page.visible
    assert sum(tag == "script" and "type" not in attrs for tag, attrs in page.tags) == 2  # Plotly and ours


def test_figures_show_the_same_arms_in_the_same_colours(written: Path) -> None:
    text = written.read_text()
    colours: dict[str, set[str]] = {"grpo": set(), "<b>dapo": set()}
    found = re.findall(
        r'<script type="application/json" (?:id="[\w-]+" )?data-(figure|tokens)="([\w-]+)">(.*?)</script>', text)
    assert len(found) == 4 + 2 * 7
    assert found[0][1] == "change"  # the first thing below the headline
    for axis, name, figure in found:
        traces = [trace for trace in json.loads(figure)["data"] if trace.get("name")]
        for trace in traces:
            if trace["name"] in colours:
                colours[trace["name"]].add(trace.get("line", trace["marker"])["color"])
        if name.startswith("panel"):
            assert [trace["name"] for trace in traces] == ["grpo", "<b>dapo"]
            ends = [trace["x"][-1] for trace in traces]
            assert ends == ([60, 60] if axis == "figure" else [1_200_000, 2_100_000])
    assert [len(found) for found in colours.values()] == [1, 1] and colours["grpo"] != colours["<b>dapo"]


def test_a_page_that_cannot_be_written_is_one_line(folder: Path) -> None:
    (folder / "page.html").mkdir()
    with pytest.raises(UserError, match=r"page\.html: cannot be written \(Is a directory\)"):
        write_comparison([folder / "a-0"], folder / "page.html")


def test_an_empty_row_at_equal_tokens_says_which_interval_would_fill_it(tmp_path: Path) -> None:
    """a generates 20,000 tokens in all (20,400 with the tolerance); b 3,000 a step: 6 steps lie within."""
    write_run(tmp_path / "a", "a", 0, {10: A0, 20: A0})
    write_run(tmp_path / "b", "b", 0, {10: B0, 20: B0}, tokens=3000)
    text = " ".join(comparison_summary([tmp_path]).split())
    assert "b had generated 30 k at its first probe, step 10, more than another arm in its whole run" in text
    assert "probes.every=6 or less would give it a row" in text
    arms = load_arms([tmp_path])
    assert [step_within(arm, budget) for arm, budget in zip([*arms.arms, arms.arms[1]], (20_000, 20_000, 100),
                                                            strict=True)] == [20, 6, 0]


def test_the_mark_of_one_seed_has_a_legend_wherever_it_stands(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "a", 0, {10: A0})
    write_comparison([tmp_path / "a"], tmp_path / "page.html")
    text, markdown = comparison_summary([tmp_path / "a"]), (tmp_path / "page.md").read_text()
    assert "]*" in text and "* 1 seed: problems only. Brackets" in text
    assert "]\N{DAGGER}" in markdown and "\N{DAGGER} 1 seed: problems only. Brackets" in markdown


# ---------------------------------------------------------------- sentences


def test_one_seed_is_said_as_one(tmp_path: Path) -> None:
    """Bug: "seeds 0" stood for one seed, the seed 0."""
    write_run(tmp_path / "a", "a", 0, {10: A0})
    write_run(tmp_path / "b", "b", 0, {10: B0})
    assert seeds_text(load_arms([tmp_path])) == "Every arm was trained with one seed (seed 0)."
    page = Page(write_comparison([tmp_path], tmp_path / "page.html"))
    assert "seed 0" in page.visible and "seeds 0" not in page.visible and "from the lowest seed" not in page.visible
    write_run(tmp_path / "b-7", "b", 7, {10: B0})
    assert seeds_text(load_arms([tmp_path])) == "Seeds: a 0; b 0, 7."


def test_arms_that_do_not_differ_are_said_to_be_alike(tmp_path: Path) -> None:
    """Bug: "the arms differ by 0.0 points, and the nearest stays 0.0 points away"."""
    for arm in "ab":
        write_run(tmp_path / arm, arm, 0, {10: (4, 4, 4, 4)})
    text = " ".join(comparison_summary([tmp_path]).split())
    assert "delta_se, the distance from pass@1 to the base's pass@4, is -50.0 points for every arm." in text
    assert "Significant differences between arms (Holm, 5%): none in pass@1; none in pass@4." in text


def test_a_table_that_would_repeat_another_is_left_out(tmp_path: Path) -> None:
    """The .csv still has the rows for both questions."""
    write_run(tmp_path / "a", "a", 0, {10: A0})
    write_run(tmp_path / "b", "b", 0, {10: B0})
    written = write_comparison([tmp_path], tmp_path / "page.html")
    for text in (written.read_text(), written.with_suffix(".md").read_text(), comparison_summary([tmp_path])):
        assert "At equal steps" in text and "At equal generated tokens\n" not in text
    assert "every arm is at the same step" in written.read_text()
    assert {row["table"] for row in csv.DictReader(written.with_suffix(".csv").open())} == {
        "equal_steps", "equal_tokens", "differences"}


def test_axes_of_shares_stay_within_0_and_1(tmp_path: Path) -> None:
    """Bug: a panel of a pass@k that is 0 everywhere went from -1% to 1%."""
    for arm in "ab":
        write_run(tmp_path / arm, arm, 0, {10: (0, 0, 0, 0)}, base=(0, 0, 0, 0))
    for title, _, fig in panels(load_arms([tmp_path]), "steps"):
        low, high = fig.layout.yaxis.range
        if title in ("pass@1", "pass@4"):
            assert (low, high) == (0.0, 0.05)
        assert fig.layout.margin.l >= 52 and fig.layout.margin.r >= 18 + 7  # room for -0.5% and the name of an arm


def test_how_it_was_measured_is_said_once(written: Path) -> None:
    assert Page(written).visible.count("temperature 1, top_p 1, at most 24 new tokens") == 1
