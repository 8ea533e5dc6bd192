"""The report says what the run directory says, claims no more than its intervals allow, and is one safe file."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from rlvr.report import cases
from rlvr.report.companions import by_step
from rlvr.report.load import load_run, read_samples
from rlvr.report.page import write_report
from rlvr.report.rollouts import rollout_steps
from rlvr.report.summary import summary_table
from rlvr.statistics.ledger import luck
from rlvr.types import UserError
from tests.support.fake_run import FakeRun, read_rows, write_fake_run

HOSTILE = "</pre></script><script>alert(1)</script><img src=x onerror=alert(2)> &amp; {{ 7*7 }}"
ROOT = Path(__file__).parents[2]


class Page(HTMLParser):
    """Tags with attributes, the text of every element with an id, and the embedded JSON."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.data: dict[str, Any] = {}
        self.texts: list[tuple[str, str]] = []
        self.current: tuple[str, dict[str, str | None]] = ("", {})
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.current = (tag, dict(attrs))
        self.tags.append(self.current)

    def handle_data(self, data: str) -> None:
        tag, attributes = self.current
        self.texts.append((tag, data))
        if tag == "script" and attributes.get("type") == "application/json" and data.strip():
            self.data[attributes.get("data-figure") or str(attributes["id"])] = json.loads(data)

    def all(self, tag: str) -> list[str]:
        return [text for name, text in self.texts if name == tag and text.strip()]

    @property
    def visible(self) -> str:
        return " ".join(" ".join(text for tag, text in self.texts if tag not in ("script", "style")).split())


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    fake = FakeRun(steps=(0, 20, 40, 60), problems=96, strength=2.0)
    return write_fake_run(tmp_path_factory.mktemp("runs") / "shrunk", fake)


@pytest.fixture(scope="module")
def page(run_dir: Path) -> Page:
    return Page(write_report(run_dir))


def test_page_embeds_exactly_the_numbers_of_boundary_jsonl(run_dir: Path, page: Page) -> None:
    """Catches a figure or a table that shows another metric, step or bound than the file."""
    stored = read_rows(run_dir / "boundary.jsonl")
    assert [row["step"] for row in page.data["boundary"]] == [0, 20, 40, 60]
    for row, shown in zip(stored, page.data["boundary"], strict=True):
        assert {f"boundary/{name}": e for name, e in shown["estimates"].items()} == row["estimates"]
        assert {f"boundary/{name}": value for name, value in shown["exact"].items()} == row["exact"]
        assert shown["lost"] == row["lost"]
    drawn = {trace["name"]: trace for trace in page.data["curves"]["data"] if trace.get("name")}
    for name, row in (("base", stored[0]), ("step 20", stored[1]), ("step 60", stored[3])):
        assert drawn[name]["x"] == [1, 2, 4, 8, 16, 32, 64, 128, 256]
        assert drawn[name]["y"] == [row["estimates"][f"boundary/pass@{k}"]["value"] for k in drawn[name]["x"]]
        exact = drawn.get(f"{name}, exact")  # of the base and the last probe alone
        assert (exact and exact["y"]) == (
            None if name == "step 20" else [row["exact"][f"boundary/pass@{k}"] for k in drawn[name]["x"]])
    panel = next(p for p in page.data.values() if isinstance(p, dict) and any(
        trace.get("name") == "delta_se" for trace in p["data"]))
    band, line = panel["data"][0], panel["data"][1]
    bounds = [row["estimates"]["boundary/delta_se"] for row in stored]
    assert line["y"] == [b["value"] for b in bounds]
    assert band["y"] == [b["high"] for b in bounds] + [b["low"] for b in reversed(bounds)]


def test_summary_of_page_and_terminal_agree_with_the_file(run_dir: Path, page: Page) -> None:
    last = read_rows(run_dir / "boundary.jsonl")[-1]
    text = summary_table(run_dir)
    assert max(map(len, text.splitlines())) <= 120
    heads, line, exact = (
        next(x for x in text.splitlines() if x.startswith(start)) for start in ("step", "60", "exact"))
    assert re.split("  +", heads) == ["step", "pass@1", "pass@16", "pass@256", "delta_se", "change of pass@256",
                                      "verdict"]
    estimates = {name: last["estimates"][f"boundary/{name}"] for name in ("pass@1", "pass@16", "pass@256", "delta_se")}
    look = last["sequential"]["verdicts"]["boundary/shrinkage@256"]
    estimates["change"] = {"value": -look["value"], "low": -look["high"], "high": -look["low"]}
    for name, estimate in estimates.items():
        sign, e = "+" if name == "change" else "", {part: 100 * value for part, value in estimate.items()}
        words = f"{e['value']:{sign}.1f} [{e['low']:{sign}.1f}, {e['high']:{sign}.1f}]"
        assert words in line
        assert words.replace("-", "\N{MINUS SIGN}") in page.visible
    assert f"{100 * read_rows(run_dir / 'boundary.jsonl')[0]['exact']['boundary/pass@1']:.1f}" in exact


def test_lost_problems_come_with_their_counts_and_completions(run_dir: Path, page: Page) -> None:
    """Catches groups swapped, counts of the wrong probe, and a right answer shown as a wrong one."""
    run, by_step = load_run(run_dir), {}
    for row in read_rows(run_dir / "probes.jsonl"):
        by_step.setdefault(row["problem_id"], {})[row["step"]] = (row["n"], row["c"])
    view = cases.ledger_view(run)
    assert view is not None and view.solved_by_base == sum(counts[0][1] > 0 for counts in by_step.values())
    groups = {name: group.cases for name, group in view.groups.items()}
    lost = groups["lost"]
    assert len(lost) > 3
    chances = []
    for case in lost:
        assert case.text and case.now.c == 0 and case.now.n == 256
        assert [(step, row.n, row.c) for step, row in case.timeline] == [
            (step, *by_step[case.problem_id][step]) for step in (0, 20, 40, 60)]
        assert case.before.c  # Bug: what only an earlier probe had solved was called lost too
        solved = case.before
        tries = 0
        for _, row in reversed(case.timeline):
            if row.c:
                break
            tries += row.n
        chances.append(luck(solved.n, solved.c, tries, view.ledger.prior))
        assert chances[-1] <= 0.05
        assert {(s.model, s.correct) for s in case.samples} >= {("step 60", False)}
        assert [s.correct for s in case.samples] == sorted((s.correct for s in case.samples), reverse=True)
        assert f"{case.problem_id} {case.text.prompt} {case.story[-1]} {case.before.c}/{case.before.n}" in page.visible
        assert case.story[-1].startswith("lost at step ")
    assert chances == sorted(chances)
    unsure = groups["unsolved"]
    assert all(case.now.c == 0 and case.story[-1].startswith("no right sample now (by chance: ") for case in unsure)
    missing = {i for i, counts in by_step.items() if counts[0][1] and not counts[60][1]}
    assert view.ledger.unsolved_now == len(missing)
    assert missing == {case.problem_id for case in (*lost, *unsure)}  # the numbers of the paragraph add up
    assert f"{len(missing)} of these have no right sample at step 60" in page.visible
    assert f"Counted as lost: {len(lost)}, as chance alone" in page.visible
    assert f"Perhaps by chance: {len(unsure)}." in page.visible
    lost_by_chance, gained_by_chance = f"{view.lost_by_chance:.1f}", f"{view.gained_by_chance:.1f}"
    assert f"about {lost_by_chance} would be called lost and {gained_by_chance} gained" in page.visible
    stored = {(row["problem_id"], row["text"]) for row in read_samples(run, 0)}
    first = lost[0]
    assert (first.problem_id, first.samples[0].text) in stored and first.samples[0].text in page.all("pre")


def test_gained_and_regained_problems_show_who_solved_them(tmp_path: Path) -> None:
    """Counts by hand: a is gained, b is one lucky sample and no news, c was lost and is back, d never moved, and e was
    solved by the probe between alone. Bug: a problem with 0 of 512 at the base was called lost."""
    path = write_fake_run(tmp_path / "run", FakeRun(steps=(0, 20, 40), problems=30))
    counts = {0: (256, 0), 1: (256, 0), 2: (12, 9), 3: (12, 9), 4: (256, 0)}
    later = {20: {0: (256, 0), 1: (256, 0), 2: (256, 0), 3: (12, 9), 4: (12, 9)},
             40: {0: (12, 9), 1: (256, 1), 2: (12, 5), 3: (12, 9), 4: (256, 0)}}
    rows = read_rows(path / "probes.jsonl")
    for row in rows:
        index = int(row["problem_id"].split("/")[-1])
        if index in counts:
            row["n"], row["c"] = (counts if row["step"] == 0 else later[row["step"]])[index]
    (path / "probes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    view = cases.ledger_view(load_run(path))
    assert view is not None
    groups = view.groups.values()
    names = {case.problem_id.split("/")[-1]: group.name for group in groups for case in group.cases}
    assert (names["0"], names.get("1"), names["2"], names.get("3")) == ("gained", None, "regained", None)
    assert names["4"] == "gained and lost"
    story = next(case.story for group in groups for case in group.cases if case.problem_id.endswith("/2"))
    assert story[0] == "first solved by the base" and story[1] == "lost at step 20 (by chance: <0.1%)"
    assert story[2] == "regained at step 40"


# ---------------------------------------------------------------- one safe file


def test_page_loads_nothing_from_anywhere(page: Page) -> None:
    """A report that asks the network leaks that it is read, and breaks on a laptop on a train."""
    loading = {"src", "srcset", "data", "action", "poster", "background"}
    assert [(tag, loading & attrs.keys()) for tag, attrs in page.tags if loading & attrs.keys()] == []
    ids = {attrs.get("id") for _, attrs in page.tags}
    links = [attrs["href"] for _, attrs in page.tags if "href" in attrs]
    assert len(links) > 6 and all(link and link[0] == "#" and link[1:] in ids for link in links)
    assert {tag for tag, _ in page.tags} & {"link", "img", "iframe", "object", "embed", "base", "form"} == set()
    policy = next(attrs["content"] for tag, attrs in page.tags if tag == "meta" and "http-equiv" in attrs)
    assert policy is not None and policy.startswith("default-src 'none';") and "http" not in policy
    assert not re.search(r"url\(|@import", " ".join(page.all("style")))


def test_hostile_text_stays_text(tmp_path: Path, page: Page) -> None:
    """Completions, prompts, gold answers, ids and the recipe are written by models and strangers."""
    fake = FakeRun(steps=(0, 60), problems=96, strength=2.0, folder="<script>9</script>", prompt=HOSTILE, text=HOSTILE)
    path = write_fake_run(tmp_path / "<b>bold", fake)
    header = json.loads((path / "recipe.json").read_text())
    header["recipe"] |= {"note": HOSTILE, "algorithm": {"name": "<i>x"}}
    (path / "recipe.json").write_text(json.dumps(header))
    for name in ("metrics.jsonl", "probes.jsonl"):
        (path / name).write_text((path / name).read_text().replace("false_equation", "<script>7</script>"))
    hostile = Page(write_report(path))
    assert {tag for tag, _ in hostile.tags} <= {tag for tag, _ in page.tags}
    plain = sum(tag == "script" and "type" not in attrs for tag, attrs in hostile.tags)
    assert plain == 2  # Plotly and ours
    run = load_run(path)
    view = cases.ledger_view(run)
    assert view is not None
    shown = [case for group in view.groups.values() for case in group.cases]
    samples = sum(len(case.samples) for case in shown)
    assert samples > 10
    kept = sum(len(step.rollouts) for step in rollout_steps(run))
    assert hostile.all("pre").count(HOSTILE) == len(shown) + samples + 2 * kept and kept > 4
    assert hostile.all("code") == [HOSTILE] * (samples + kept)
    for text in ("<b>bold", "<i>x", "<script>9</script>/", "<script>7</script>"):
        assert text in hostile.visible


def test_long_completions_are_cut_in_the_middle() -> None:
    """The end must survive, since that is where an answer stands; the page must stay mailable."""
    text = "a" * 10_000 + "the answer is 42"
    short = cases.shorten(text)
    assert len(short) < 3_100 and short.endswith("the answer is 42") and "[... 7,016 characters left out ...]" in short
    assert cases.shorten("x" * 3_000) == "x" * 3_000


def test_page_size_is_bounded(tmp_path: Path) -> None:
    """Every group full, all completions at the limit and of nothing but characters that need escaping."""
    path = write_fake_run(tmp_path / "run", FakeRun(steps=(0, 60), problems=200, strength=6.0, prompt="<" * 20_000))
    run = load_run(path)
    view = cases.ledger_view(run)
    assert view is not None and max(group.total for group in view.groups.values()) > cases.MAX_PROBLEMS
    for step in (0, 60):
        few = {(row["problem_id"], row["correct"]): row | {"text": "<" * 20_000} for row in read_samples(run, step)}
        lines = "".join(json.dumps(row) + "\n" for row in few.values() for _ in range(2))
        (path / "samples" / f"step-{step:06d}.jsonl.gz").write_bytes(gzip.compress(lines.encode(), compresslevel=1))
    page = write_report(path)
    assert page.stat().st_size < 5_000_000 and "more are not listed" in page.read_text()


def test_report_needs_no_torch() -> None:
    code = ("import sys, rlvr.report.page, rlvr.report.summary, rlvr.report.figures, rlvr.report.panels; "
            "print([m for m in ('torch', 'transformers', 'trl', 'wandb') if m in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_help_does_not_load_scipy() -> None:
    code = ("import sys; from rlvr.cli.main import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
            "print('scipy' in sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1] == "False"


# ---------------------------------------------------------------- what stands beside pass@k


def test_companions_of_the_page_are_those_of_the_file(run_dir: Path, page: Page) -> None:
    """Catches a panel with another step's or threshold's numbers, and cells in another order."""
    rows = read_rows(run_dir / "boundary.jsonl")
    panels = {str(trace.get("name")): p["data"] for p in page.data.values() if isinstance(p, dict)
              for trace in p.get("data", ()) if trace.get("name")}
    drawn = {trace["name"]: trace["y"] for trace in panels["all 8 (pass^8)"] if trace.get("name")}
    for tau, name in (("0.25", "at least 2 of 8"), ("0.5", "4 of 8"), ("0.75", "6 of 8"), ("1", "all 8 (pass^8)")):
        assert drawn[name] == [row["companions"]["stability"]["g_pass"][tau]["value"] for row in rows]
    cells = rows[-1]["companions"]["solvable"]
    words = " ".join(f"{cells[name]:.0f}" for name in ("both", "only_base", "only_run", "neither"))
    assert f"60 {words} {100 * cells['srr']:.1f}%" in page.visible and f" {cells['p_value']:.2g} " in page.visible
    dotted = [trace for p in page.data.values() if isinstance(p, dict) for trace in p.get("data", ())
              if trace.get("name") == "prediction"]
    points = rows[-1]["companions"]["prediction"]["points"]
    assert dotted[-1]["x"][1:] == [512, 1024, 2048] and dotted[-1]["y"][1:] == [p["value"] for p in points]
    assert {trace["line"]["dash"] for trace in dotted} == {"2px,3px"}
    guess = rows[-1]["guess"]["16"]
    assert f"{100 * guess['pass_at_k']:.1f}% {100 * guess['corrected']:.1f}% {guess['kept']} " in page.visible
    entropies = {trace["name"]: trace["y"] for trace in panels["answers"] if trace.get("name")}
    assert entropies["answers"] == [row["estimates"]["boundary/answer_entropy"]["value"] for row in rows]
    assert entropies["probes"] == [row["estimates"]["boundary/entropy"]["value"] for row in rows]
    assert len(entropies["rollouts"]) == 60


def test_an_older_run_has_its_companions_recomputed(tmp_path: Path) -> None:
    fakes = (FakeRun(steps=(0, 60), problems=48, old=old) for old in (True, False))
    old, new = (load_run(write_fake_run(tmp_path / str(i), fake)) for i, fake in enumerate(fakes))
    assert not old.probes[1].companions and new.probes[1].companions
    assert by_step(old) == by_step(new) == {p.step: p.companions for p in new.probes}
    page = Page(write_report(tmp_path / "0"))
    assert "No guess baseline" in page.visible and "at least 2 of 8" in str(page.data)
    assert "verdict" not in [text.strip() for text in page.all("th")]


def test_an_audit_says_what_false_positives_could_do(run_dir: Path, tmp_path: Path) -> None:
    """0 of 5,000: at most 1 - .05^(1/5000) = .0599%, which gives an unsolvable problem 1 - .05^(256/5000) = 14.2%."""
    path = shutil.copytree(run_dir, tmp_path / "run")
    assert "No audit.json" in Page(write_report(path)).visible
    (path / "audit.json").write_text('{"wrong_answers": 5000, "accepted": 0}')
    text = Page(write_report(path)).visible
    measured = read_rows(path / "boundary.jsonl")[-1]["estimates"]["boundary/pass@256"]["value"]
    floor = 1 - 0.05 ** (256 / 5000)
    real = 1 - (1 - measured) / (1 - floor)
    assert "found 0 of 5,000 wrong answers accepted: at most 0.06%" in text
    assert f"pass@256 of {100 * floor:.1f}%; of the measured {100 * measured:.1f}% at least {100 * real:.1f}%" in text
    (path / "audit.json").write_text('{"accepted": 0}')
    with pytest.raises(UserError, match=r"audit\.json: expected"):
        write_report(path)


# ---------------------------------------------------------------- young and bare runs


def test_a_run_with_only_its_base_probe_has_a_page(tmp_path: Path) -> None:
    path = write_fake_run(tmp_path / "run", FakeRun(steps=(0,), problems=24))
    (path / "metrics.jsonl").unlink()
    base = read_rows(path / "boundary.jsonl")[0]["estimates"]
    page = Page(write_report(path))
    assert f"pass@1 is {100 * base['boundary/pass@1']['value']:.1f}%" in page.visible
    assert "The base model: pass@1 is" in page.visible
    assert "There is no later probe yet." in page.visible and "change" not in page.data and "curves" in page.data
    assert "exact" in summary_table(path)


def test_a_bare_boundary_row_is_enough(tmp_path: Path) -> None:
    """Everything but step, kind and estimates is optional; null is a dash, not a 0."""
    rows = [{"step": step, "kind": kind, "estimates": {
                "boundary/pass@1": {"value": 0.25 + step / 100, "low": None, "high": None},
                "boundary/pass@8": {"value": None, "low": None, "high": None}}}
            for step, kind in ((0, "base"), (5, "probe"))]
    (tmp_path / "boundary.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    page = Page(write_report(tmp_path))
    assert "pass@1 changed by +5.0 points and pass@8 by an unknown amount: no interval, so no change" in page.visible
    assert page.data["boundary"][1]["estimates"]["pass@8"] == {"value": None, "low": None, "high": None}


def test_a_run_with_a_retired_plan_still_opens(tmp_path: Path) -> None:
    """Recipes can no longer name these plans; runs that were measured with them lose nothing."""
    path = write_fake_run(tmp_path / "run", FakeRun(steps=(0, 20), problems=24, plan="three-round", base_plan="exact"))
    page = Page(write_report(path)).visible
    assert "plan three-round, n up to 256 (base: plan exact, n up to 256)" in page and "Lost and gained" in page
