"""Several probe sets of one run: a row and a section each, and verdicts that hold over all of them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from rlvr.report.card import sources_of
from rlvr.report.load import load_run
from rlvr.report.page import write_report
from rlvr.report.probe_sets import HEADS, table, together
from rlvr.report.report import load_report
from rlvr.report.summary import summary_table
from rlvr.report.words import budget_words
from rlvr.statistics.boundary_row import ALPHA, MARGIN
from rlvr.statistics.verdicts import BoundaryVerdict, Look, holm_verdicts
from tests.report.test_page import Page
from tests.support.fake_run import FakeRun, write_fake_run

SHRUNK, NOT_SHRUNK, UNDECIDED = BoundaryVerdict.SHRUNK, BoundaryVerdict.NOT_SHRUNK, BoundaryVerdict.UNDECIDED


def write_sets(path: Path) -> Path:
    """A run whose own set shrinks, one with a set that grows, and one of which nothing can be said."""
    fakes = {"math500": FakeRun(problems=160, steps=(0, 40)),
             "amc23": FakeRun(problems=24, steps=(0, 40), strength=0.0, seed=5, folder="amc"),
             "easier": FakeRun(problems=40, steps=(0, 20), tail=-1.0, seed=2, folder="easy")}
    for place, (name, fake) in enumerate(fakes.items()):
        write_fake_run(path / "sets" / name if place else path, fake)
    stored = json.loads((path / "recipe.json").read_text())
    stored["recipe"]["data"] = {"probe": {name: {"source": name} for name in fakes}}
    (path / "recipe.json").write_text(json.dumps(stored))
    return path


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_sets(tmp_path_factory.mktemp("sets") / "run")
    write_report(path)
    return path


def claims(p_shrunk: float, p_within: float = 1.0):
    """The newest look of a family that says "shrunk" from the error `p_shrunk` on, "not shrunk" from `p_within` on."""
    return lambda level: Look(0.1, 0.01 if level >= p_shrunk else -0.01, 0.04 if level >= p_within else 0.2, 2.0,
                              level, UNDECIDED)


def test_holm_over_families_by_hand() -> None:
    # Four families at 5%: 0.0125, then 0.05 / 3 = 0.0167, then 0.025, then 0.05.
    asked = [claims(0.012), claims(0.0166), claims(0.026), claims(0.049)]
    assert holm_verdicts(asked) == [SHRUNK, SHRUNK, UNDECIDED, UNDECIDED]
    assert holm_verdicts([claims(0.0126), *asked[1:]]) == [UNDECIDED] * 4  # the first step decides
    assert holm_verdicts([claims(0.02), claims(0.04)]) == [SHRUNK, SHRUNK]
    assert holm_verdicts([claims(1.0, 0.01), claims(0.01, 0.01)]) == [NOT_SHRUNK, SHRUNK]  # a loss has precedence
    assert holm_verdicts([]) == []


def test_verdicts_together_claim_no_more_than_each_alone(run_dir: Path) -> None:
    runs = {name: one.run for name, one in load_report(run_dir).sets.items()}
    assert list(runs) == ["math500", "amc23", "easier"]
    found = together(runs)
    assert [key for key in found if key[0] == "math500"] == [("math500", k) for k in (64, 128, 256)]
    alone = {(name, k): one.verdict for name, run in runs.items() for k, one in run.probes[-1].verdicts.items()}
    assert all(verdict in (UNDECIDED, alone[key]) for key, verdict in found.items())
    assert set(found.values()) >= {SHRUNK, UNDECIDED} and alone["math500", 256] == SHRUNK
    # Of a single family it is the recorded verdict.
    last = runs["math500"].probes[-1]
    one = dict(list(last.verdicts.items())[-1:])
    object.__setattr__(last, "verdicts", one)
    assert together({"math500": runs["math500"]}) == {("math500", 256): one[256].verdict}
    assert (last.alpha, last.margin) == (ALPHA, MARGIN)


def test_the_page_has_a_row_and_a_section_for_each_set(run_dir: Path) -> None:
    page = Page(run_dir / "report.html")
    ids = [attributes.get("id") for tag, attributes in page.tags if tag == "section"]
    assert ids.index("probe-sets") < ids.index("summary") and ids[-2:] == ["set-amc23", "set-easier"]
    runs = {name: one.run for name, one in load_report(run_dir).sets.items()}
    for row in table(runs):
        assert all(cell in page.visible for cell in row)
    assert "the 9 verdicts of all sets and k" in page.visible and "math500 is the run's own set" in page.visible
    assert {"set-amc23-change", "set-amc23-curves", "set-easier-curves"} <= page.data.keys()
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a" and "sets/" in str(attributes["href"])]
    assert links == ["sets/amc23/report.html", "sets/easier/report.html"]
    assert all((run_dir / str(link)).is_file() for link in links)


def test_text_and_markdown_name_the_sets(run_dir: Path) -> None:
    text = summary_table(run_dir)
    assert "amc23 (24 problems, step 40): pass@1" in text and max(map(len, text.splitlines())) <= 120
    assert "the probe set math500, the run's own" in " ".join(text.split())
    assert f"| {' | '.join(HEADS)} |" in (run_dir / "report.md").read_text()


def test_a_set_whose_base_is_not_measured_yet_is_left_out(tmp_path: Path) -> None:
    path = write_sets(tmp_path / "run")
    (path / "sets/amc23/boundary.jsonl").unlink()
    assert list(load_report(path).sets) == ["math500", "easier"]


def test_a_run_with_one_set_has_none_of_this(tmp_path: Path) -> None:
    path = write_fake_run(tmp_path / "run", FakeRun(problems=12, steps=(0, 20)))
    assert load_report(path).sets == {} and "probe-sets" not in write_report(path).read_text()
    assert "Probe sets" not in (path / "report.md").read_text() and load_run(path).base.problems == 12


def test_the_budget_of_all_sets_is_what_their_tokens_are_held_against(tmp_path: Path) -> None:
    run = load_run(write_fake_run(tmp_path / "run", FakeRun(problems=4, steps=(0, 20))))
    schedule = {"budget": 0.025, "share": 0.01, "most": 0.02}
    last = dataclasses.replace(run.probes[1], budget_share=0.08, token_share=0.3)

    def words(**more: float) -> str:
        base = dataclasses.replace(run.base, schedule={**schedule, **more})
        return budget_words(dataclasses.replace(run, probes=(base, last)))

    assert words().startswith("The probes after the base took 8.0% of the tokens generated since (budget 2.5%, fore")
    assert words(budget_of_all_sets=0.1).startswith(
        "The probes of all sets after the base took 8.0% of the tokens generated since (budget 10%, of which this set "
        "has 2.5%, forecast 1.0 to 2.0%).")


def test_the_card_names_every_source() -> None:
    data = {"a": {"source": "lab"}, "b": {"source": "openai/gsm8k"}}
    assert [name for name, _, _ in sources_of(data)] == ["lab", "openai/gsm8k"]
    assert [name for name, _, _ in sources_of(data["b"])] == ["openai/gsm8k"]
