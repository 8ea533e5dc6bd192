"""What the report computes and says: changes, crossings, headlines, bins and rates."""

from __future__ import annotations

import itertools
import json
import math
import re
import shutil
import statistics
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from rlvr.probes.dial import Dial
from rlvr.report import reasons as verdict_reasons
from rlvr.report.changes import change, crossing, level_at, named_plan, plan_text, significant_crossing, tries_text
from rlvr.report.dial import finding as dial_finding
from rlvr.report.export import markdown
from rlvr.report.figures import BINS, binned, thinned
from rlvr.report.load import ProbePoint, ProblemRow, load_run
from rlvr.report.page import render, write_report
from rlvr.report.panels import truncation
from rlvr.report.report import Report, load_report
from rlvr.report.style import figure, settle_percent_ticks
from rlvr.report.summary import summary_table
from rlvr.report.words import headline, interval, judge_words, number, points, with_interval
from rlvr.statistics.dial import Choice, DialPoint
from rlvr.statistics.plan import PLANS
from rlvr.types import Estimate, UserError
from tests.support.fake_run import FakeRun, read_rows, write_fake_run


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    fake = FakeRun(steps=(0, 20, 40, 60), problems=96, strength=2.0)
    return write_fake_run(tmp_path_factory.mktemp("runs") / "shrunk", fake)


def edited(
    source: Path, target: Path, change_row: Callable[[dict[str, Any]], None], file: str = "boundary.jsonl"
) -> Path:
    """A copy of a run directory whose rows of `file` went through `change_row`."""
    shutil.copytree(source, target)
    rows = read_rows(target / file)
    for row in rows:
        change_row(row)
    (target / file).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return target


def with_changes(source: Path, target: Path, one: tuple[float, ...], large: tuple[float, ...]) -> Path:
    """The last probe's change of pass@1 and pass@256 set to (value, low, high); no exact values."""

    def change_row(row: dict[str, Any]) -> None:
        row["exact"] = row["sequential"] = None
        if row["kind"] == "probe":
            for k, (value, low, high) in ((1, one), (256, large)):
                row["estimates"][f"boundary/shrinkage@{k}"] = {"value": -value, "low": -high, "high": -low}

    return edited(source, target, change_row)


def test_numbers_as_words() -> None:
    """A hyphen for a minus, a plus on zero, or a small value that looks like none would mislead."""
    assert number(0.1234) == "12.3" and number(-0.05, signed=True) == "\N{MINUS SIGN}5.0"
    assert number(0.0, signed=True) == "0.0" and number(-0.0, signed=True) == "0.0"
    assert number(0.0004, signed=True) == "+0.0"  # the sign stays: the interval must not look as if it held 0
    assert number(-0.0004, signed=True) == "\N{MINUS SIGN}0.0" and number(0.0004) == "<0.1"
    assert number(math.nan) == "\N{EN DASH}" and interval(Estimate(0.5)) == ""


def test_change_is_paired_and_follows_the_plan(run_dir: Path) -> None:
    """pass@1 has no recorded shrinkage: recomputed from counts, here a second way, by a paired t with +1 and -1."""
    run = load_run(run_dir)
    assert run.last is not None
    plan, now, base = PLANS["balanced"], run.rows[60], run.rows[0]
    gaps = [plan.estimate(now[i].n, now[i].c, 1) - plan.estimate(base[i].n, base[i].c, 1) for i in base]
    padded = [*gaps, 1.0, -1.0]
    assert len(padded) == 98
    t97 = 1.984723  # two-sided 95% point of Student's t with 97 degrees of freedom, from a table
    half = t97 * statistics.stdev(padded) / math.sqrt(len(padded))
    got = change(run, run.last, 1)
    assert got.value == pytest.approx(statistics.fmean(gaps), abs=1e-12)
    assert (got.low, got.high) == pytest.approx((statistics.fmean(gaps) * len(gaps) / len(padded) - half,
                                                 statistics.fmean(gaps) * len(gaps) / len(padded) + half), abs=1e-6)
    recorded = read_rows(run_dir / "boundary.jsonl")[-1]["estimates"]["boundary/shrinkage@128"]
    assert change(run, run.last, 128) == Estimate(-recorded["value"], -recorded["high"], -recorded["low"])


def test_plans_are_recognised_by_name_and_by_their_numbers() -> None:
    assert named_plan("balanced") is PLANS["balanced"]
    spelt = named_plan("checkpoints=[12, 24, 256] stop_at=[5, 2]")
    assert spelt is not None and (spelt.checkpoints, spelt.stop_at) == ((12, 24, 256), (5, 2))
    assert named_plan("checkpoints=[256] stop_at=[]") == PLANS["fixed"] and named_plan("of my own") is None


@pytest.mark.parametrize(("name", "words"), [
    ("balanced", "plan balanced, n up to 256"),
    ("checkpoints=[64] stop_at=[]", "64 completions of each problem"),
    ("checkpoints=[1] stop_at=[]", "1 completion of each problem"),
    ("checkpoints=[12, 24, 256] stop_at=[5, 2]",
     "up to 256 completions of each problem, fewer once 5 right of 12, 2 right of 24"),
    ("of my own", "plan of my own"),
])
def test_plans_as_words(name: str, words: str) -> None:
    assert plan_text(name) == words


def test_percent_ticks_have_the_digits_of_their_distance() -> None:
    """230 pixels, a tick every 36 at least: 1.4 points / 6.4 is above 0.2, so 0.5 apart; 90 points: 20 apart."""
    cases = ((0.016, 0.030, 0.005, ".1%"), (0.786, 0.7935, 0.002, ".1%"), (0, 0.9, 0.2, ".0%"))
    for low, high, distance, digits in cases:
        fig = settle_percent_ticks(figure(266, y_percent=True, legend="none", yaxis_range=[low, high], margin_b=26))
        assert fig.layout.yaxis.dtick == pytest.approx(distance) and fig.layout.yaxis.tickformat == digits
    across = settle_percent_ticks(figure(266, xaxis_range=[0.128, 0.130], xaxis_tickformat=".0%"))  # 600 pixels
    assert across.layout.xaxis.dtick == pytest.approx(0.0002) and across.layout.xaxis.tickformat == ".2%"
    nats = settle_percent_ticks(figure(266))
    assert nats.layout.yaxis.dtick is None


def test_labels_of_an_axis_have_room() -> None:
    """Bugs: the axis title of a comparison's front lay on labels such as 95.5%; where no completion was truncated the
    axis went to 100.0%, of which a panel showed 00.0%."""

    def margin(low: float, high: float, title: str) -> int:
        drawn = figure(266, y_percent=True, legend="none", yaxis_range=[low, high], yaxis_title_text=title)
        return settle_percent_ticks(drawn).layout.margin.l

    assert margin(0, 0.9, "pass@256") == margin(0.96, 0.98, "") == 60 < margin(0.96, 0.98, "pass@256")
    run = SimpleNamespace(series=lambda key: ([1, 2], [0.0, 0.0]), probes=[SimpleNamespace(step=2)], metrics=[])
    flat = truncation(cast(Any, run), {})
    assert flat is not None and settle_percent_ticks(flat).layout.yaxis.tickformat == ".0%"


def test_a_crossing_is_significant_only_where_both_sides_are(run_dir: Path, tmp_path: Path) -> None:
    """pass@1 rises beyond its interval; the crossing stands only when pass@k above it falls beyond its own."""
    def with_shrinkage(name: str, low: float, high: float) -> Report:
        def change_row(row: dict[str, Any]) -> None:
            if row["kind"] == "probe":
                for k in (16, 32, 64, 128, 256):
                    row["estimates"][f"boundary/shrinkage@{k}"] = {"value": 0.05, "low": low, "high": high}

        return load_report(edited(run_dir, tmp_path / name, change_row))

    clear, noise = with_shrinkage("clear", 0.01, 0.09), with_shrinkage("noise", -0.01, 0.11)
    at = crossing(clear.run.base, clear.run.probes[-1])
    assert at == crossing(noise.run.base, noise.run.probes[-1]) is not None
    assert significant_crossing(clear.run, clear.run.probes[-1]) == at
    assert significant_crossing(noise.run, noise.run.probes[-1]) is None
    assert "No significant crossing of the latest curve with the base." in render(noise)
    assert "The ring marks the k where the latest curve falls below the base" in render(clear)
    assert (tries_text(128.7), tries_text(5.66)) == ("130", "5.7")


@pytest.mark.parametrize(("planned", "words"), [(1, "for the one probe of this run:"),
                                                (2, "over both probes of this run together:")])
def test_one_look_and_two_are_said_as_such(run_dir: Path, tmp_path: Path, planned: int, words: str) -> None:
    def few_looks(row: dict[str, Any]) -> None:
        if row.get("sequential"):
            row["sequential"]["planned_looks"] = planned

    path = edited(run_dir, tmp_path / "run", few_looks)
    assert f"hold {words}" in headline(load_run(path)).notes[0]
    page = render(load_report(path))
    assert f"all {planned} probes" not in page and f"hold {words.split(' of')[0]}" in page


def test_a_boundary_that_had_shrunk_before_an_undecided_end_is_not_passed_over(run_dir: Path, tmp_path: Path) -> None:
    """Bug: the page said undecided, and its table said shrunk two rows above."""
    probes = [row["step"] for row in read_rows(run_dir / "boundary.jsonl") if row["kind"] == "probe"]

    def decide(shrunk: list[int]) -> str:
        def change_row(row: dict[str, Any]) -> None:
            if row.get("sequential"):
                verdict = "shrunk" if row["step"] in shrunk else "undecided"
                row["sequential"]["verdicts"]["boundary/shrinkage@256"] |= {
                    "verdict": verdict, "value": 0.02, "low": -0.01, "high": 0.05}

        path = tmp_path / "-".join(map(str, ["run", *shrunk]))
        return headline(load_run(edited(run_dir, path, change_row))).notes[0]

    assert "had shrunk" not in decide([]) and "had shrunk" not in decide(probes)
    assert decide(probes[:1]).endswith(f" At step {probes[0]} the boundary had shrunk.")
    assert decide(probes[:2]).endswith(f" At steps {probes[0]} and {probes[1]} the boundary had shrunk.")


def test_a_run_killed_in_its_first_probe_is_told_to_go_on(run_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(run_dir, tmp_path / "run")
    (tmp_path / "run" / "boundary.jsonl").unlink()
    with pytest.raises(UserError, match="interrupted before its first probe ended; continue it with --resume"):
        load_run(tmp_path / "run")


def curve(step: int, **values: float) -> ProbePoint:
    return ProbePoint(step, "probe", {f"pass@{name[1:]}": Estimate(value) for name, value in values.items()})


def test_crossing_is_interpolated_in_log2_k() -> None:
    base, tuned = curve(0, k1=0.2, k4=0.5, k8=0.7, k16=0.9), curve(9, k1=0.4, k4=0.6, k8=0.6, k16=0.7)
    # gaps +.2, +.1, -.1, -.2: the sign changes half way between k = 4 and k = 8 on the log axis
    k = crossing(base, tuned)
    assert k == pytest.approx(2**2.5) and level_at(base, 2**2.5) == pytest.approx(0.6)
    assert crossing(tuned, base) is None  # from below to above is no such crossing
    assert crossing(base, base) is None and crossing(base, tuned, exact=True) is None


@pytest.mark.parametrize(("one", "large", "verdict", "sentence"), [
    ((0.121, 0.098, 0.144), (-0.064, -0.098, -0.03), "shrunk",
     "After 60 steps pass@1 changed by +12.1 points [+9.8, +14.4] and pass@256 by -6.4 points [-9.8, -3.0]: "
     "the boundary shrank."),
    ((-0.05, -0.08, -0.02), (0.04, 0.01, 0.07), "grown",
     "After 60 steps pass@1 changed by -5.0 points [-8.0, -2.0] and pass@256 by +4.0 points [+1.0, +7.0]: "
     "the boundary grew."),
    ((0.01, -0.02, 0.04), (-0.02, -0.05, 0.01), "undecided",
     "After 60 steps pass@1 changed by +1.0 points [-2.0, +4.0] (not significant) and pass@256 by -2.0 points "
     "[-5.0, +1.0]: these samples show no significant change."),
])
def test_headline_claims_what_the_intervals_allow(
    run_dir: Path, tmp_path: Path, one: tuple[float, ...], large: tuple[float, ...], verdict: str, sentence: str
) -> None:
    """Catches swapped signs or bounds, and a "fell" whose interval holds 0."""
    said = headline(load_run(with_changes(run_dir, tmp_path / "run", one, large)))
    assert (said.finding, said.verdict) == (sentence.replace("-", "\N{MINUS SIGN}"), verdict)


def test_headline_notes_truth_and_crossing_only_where_they_are_known(run_dir: Path, tmp_path: Path) -> None:
    rows = read_rows(run_dir / "boundary.jsonl")
    up, down = (
        100 * (rows[-1]["exact"][f"boundary/pass@{k}"] - rows[0]["exact"][f"boundary/pass@{k}"]) for k in (1, 256))
    notes = headline(load_run(run_dir)).notes
    assert notes[1] == (f"The exact values, which only the lab knows: pass@1 changed by +{up:.1f} points and "
                        f"pass@256 by \N{MINUS SIGN}{-down:.1f}.")
    assert notes[2].startswith("The curves cross near k = ") and "(exactly: " in notes[2]
    undecided = with_changes(run_dir, tmp_path / "run", (0.1, 0.05, 0.15), (-0.02, -0.05, 0.01))
    assert headline(load_run(undecided)).notes == ()


SEQUENTIAL = {"look": 3, "planned_looks": 3, "alpha": 0.05, "margin": 0.05}


@pytest.mark.parametrize(("verdict", "low", "high", "said", "sentence"), [
    ("shrunk", 0.012, 0.116, "shrunk", "pass@256 by -6.4 points [-11.6, -1.2]: the boundary shrank."),
    ("undecided", -0.005, 0.133, "undecided",
     "pass@256 by -6.4 points [-13.3, +0.5]: whether the boundary shrank is undecided."),
    ("undecided", None, None, "undecided",
     "pass@256 by -6.4 points: whether the boundary shrank is undecided."),
    ("not shrunk", -0.09, 0.04, "not shrunk",
     "pass@256 by -6.4 points [-4.0, +9.0]: the boundary did not shrink by 5 points or more."),
    ("not shrunk", -0.12, -0.01, "grown", "pass@256 by +6.4 points [+1.0, +12.0]: the boundary grew."),
])
def test_headline_takes_the_verdict_that_holds_over_all_probes(
    run_dir: Path, tmp_path: Path, verdict: str, low: float | None, high: float | None, said: str, sentence: str
) -> None:
    """Catches a headline that says "shrank" because the last interval alone excludes 0, and signs or bounds swapped."""
    value = -0.064 if said == "grown" else 0.064

    def change_row(row: dict[str, Any]) -> None:
        row["exact"] = None
        if row["kind"] == "probe":
            row["estimates"]["boundary/shrinkage@256"] = {"value": value, "low": 0.001, "high": 0.1}  # one look
            row["sequential"] = SEQUENTIAL | {"verdicts": {
                "boundary/shrinkage@64": {"verdict": "shrunk", "value": 0.1, "low": 0.05, "high": 0.2},
                "boundary/shrinkage@256": {"verdict": verdict, "value": value, "low": low, "high": high}}}

    headlined = headline(load_run(edited(run_dir, tmp_path / "run", change_row)))
    assert headlined.finding.endswith(sentence.replace("-", "\N{MINUS SIGN}")) and headlined.verdict == said
    assert headlined.notes[0] == (
        "The verdict and its bounds of pass@256 hold over all 3 probes of this run together: a run whose boundary "
        "never shrank is called shrunk with a chance of at most 5% at each k. At the other k: k = 64 shrunk.")


def test_the_table_has_the_sign_and_the_bounds_of_the_headline(run_dir: Path) -> None:
    """Bug: -4.7 [-9.8, +0.6] in the headline (over all probes) stood against +4.7 [-0.2, +9.5] in the table (one)."""
    report = load_report(run_dir)
    run = report.run
    assert run.last is not None
    stored = run.last.verdicts[256].bounds
    by = Estimate(-stored.value, -stored.high, -stored.low)
    words = with_interval(by, signed=True)
    assert words != with_interval(change(run, run.last, 256), signed=True)  # the interval of this probe alone
    headlined = headline(run).finding
    assert f"pass@256 by {points(by)}: " in headlined and points(by) == words.replace(" ", " points ", 1)
    page = render(report)
    value, bounds = words.split(" ", 1)
    assert f'<td>{value} <span class="interval">{bounds}</span>' in page and words in page  # table; verdicts at every k
    text = words.replace("\N{MINUS SIGN}", "-")
    assert text in next(line for line in summary_table(report).splitlines() if line.startswith("60 "))
    assert f"| {words} (exact " in markdown(report)


def test_verdicts_of_the_page_and_the_terminal_are_those_of_the_file(run_dir: Path) -> None:
    rows = read_rows(run_dir / "boundary.jsonl")
    verdicts = [row["sequential"]["verdicts"]["boundary/shrinkage@256"]["verdict"] for row in rows[1:]]
    lines = [line for line in summary_table(run_dir).splitlines() if re.match(r"(0|20|40|60) ", line)]
    assert len(lines) == 4 and lines[0].endswith(" -")
    assert [line.endswith(f"  {verdict}") for line, verdict in zip(lines[1:], verdicts, strict=True)] == [True] * 3
    run = load_run(run_dir)
    for probe, row in zip(run.probes[1:], rows[1:], strict=True):
        for k in (64, 128, 256):
            stored = row["sequential"]["verdicts"][f"boundary/shrinkage@{k}"]
            assert probe.verdicts[k].verdict == stored["verdict"]
            assert [stored[x] for x in ("value", "low", "high")] == list(probe.verdicts[k].bounds.as_dict().values())


def test_a_run_that_could_not_learn_says_so_first(run_dir: Path, tmp_path: Path) -> None:
    """Bug: a run with reward 0 and no signal in any step ended as a success that was merely "undecided"."""

    def idle(first: int, last: int) -> Callable[[dict[str, Any]], None]:
        def change_row(row: dict[str, Any]) -> None:
            row["train/zero_signal_frac"] = 1.0 if first <= row["step"] <= last else 0.3
        return change_row

    def told(first: int, last: int) -> str:
        run = edited(run_dir, tmp_path / f"{first}-{last}", idle(first, last), "metrics.jsonl")
        said = headline(load_run(run))
        return said.finding if said.finding.startswith("Nothing") else said.notes[0]

    assert told(1, 60).startswith("Nothing can have been learned: in all 60 logged steps all rollouts of each prompt "
                                  "got the same credit, so the reward gave no gradient. After 60 steps pass@1 changed")
    assert told(11, 15).startswith("From step 11 to step 15 all rollouts of each prompt got the same credit")
    assert told(11, 14) == headline(load_run(run_dir)).notes[0]


def test_a_run_without_verdicts_still_has_its_report(tmp_path: Path) -> None:
    """Run directories written before verdicts were kept: the interval of the last probe decides, as it did then."""
    old = write_fake_run(tmp_path / "old", FakeRun(steps=(0, 30, 60), problems=96, strength=2.0, old=True))
    assert "sequential" not in read_rows(old / "boundary.jsonl")[-1]
    run = load_run(old)
    assert headline(run).verdict == "shrunk" and run.probes[-1].verdicts == {}
    assert "verdict" not in summary_table(old)
    assert "over all probes" not in write_report(old).read_text()


def test_pass_at_1_alone_is_told_once(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bug: with one sample a problem, the headline said twice how pass@1 changed."""
    monkeypatch.setattr("rlvr.report.load.Run.k_max", 1)
    assert headline(load_run(run_dir)).finding.count("pass@") == 1


def test_headline_of_a_probed_checkpoint_names_it(run_dir: Path, tmp_path: Path) -> None:
    """`rlvr probe` trained nothing, so "after 60 steps" would be made up."""
    path = shutil.copytree(run_dir, tmp_path / "run")
    header = json.loads((path / "recipe.json").read_text())
    header["recipe"]["probed"] = "models/tuned"
    (path / "recipe.json").write_text(json.dumps(header))
    assert headline(load_run(path)).finding.startswith("From the base to models/tuned pass@1 changed by +")


def test_one_model_alone_is_called_by_its_name(tmp_path: Path) -> None:
    """Bug: completions of one file were those of "the base model", and "no later probe yet" promised one."""
    path = write_fake_run(tmp_path / "run", FakeRun(steps=(0,), problems=24))
    header = json.loads((path / "recipe.json").read_text())
    for recipe, starts, ends in (
        ({"probed": "c.jsonl", "completions": {"0": "digest"}, "model": None},
         "c.jsonl: ", "Nothing is compared with it."),
        ({"probed": "lab"}, "lab: ", "Nothing is compared with it."),
        ({"probed": "models/tuned"}, "The base model: ", "There is no later probe yet."),  # killed after its base
        ({"probed": "c.jsonl", "completions": {"0": "digest", "1": "other"}, "model": None},
         "The base model: ", "There is no later probe yet."),
    ):
        (path / "recipe.json").write_text(json.dumps(header | {"recipe": header["recipe"] | recipe}))
        finding = headline(load_run(path)).finding
        assert finding.startswith(f"{starts}pass@1 is ") and finding.endswith(ends)


@pytest.mark.parametrize(("bound", "shown"), [(0.0204, "2.1"), (0.021, "2.1"), (0.035, "3.5")])
def test_a_bound_beyond_the_tolerance_never_looks_as_if_it_were_within(
    run_dir: Path, bound: float, shown: str
) -> None:
    """Bug: "no merge within 2 points: it may be up to 2.0 points below"."""
    one = Estimate(0.1, 0.1, 0.1)
    point = DialPoint(0.25, one, one, one, one, bound, within=False)
    dial = cast(Dial, SimpleNamespace(request=SimpleNamespace(k=256, tolerance=0.02), choice=Choice((point,), None)))
    assert dial_finding(dial, load_run(run_dir)) == (
        "No merge is shown to keep pass@256 within 2 points of the base's: at 25% of the way, the closest to the base, "
        f"it may be up to {shown} points below.")


def test_a_list_of_chats_shows_what_each_asks(run_dir: Path, tmp_path: Path) -> None:
    """Bug: every row of a list began with the system's message, and was cut before the question."""

    def as_chat(row: dict[str, Any]) -> None:
        asked = [{"type": "image"}, {"type": "text", "text": f"What is {row['id']}?"}]
        row["prompt"] = [{"role": "system", "content": "Reason."}, {"role": "user", "content": asked}]

    page = render(load_report(edited(run_dir, tmp_path / "run", as_chat, "problems.jsonl")))
    cells = re.findall(r'<span class="wide">(.*?)</span>', page)
    asked = [cell for cell in cells if cell != "prompt"]
    assert asked and all(cell.startswith("What is ") for cell in asked), asked


def test_accuracy_bins_are_closed_above() -> None:
    """1/10 belongs to (0, .1], 3/10 to (.2, .3], whatever the float quotients are; 0 and 1 stand alone."""
    pairs = [(0, 7), (1, 10), (1, 9), (3, 10), (9, 10), (99, 100), (5, 5)]
    counts = binned({f"{c}/{n}": ProblemRow(n=n, c=c) for c, n in pairs})
    assert counts == [1, 1, 1, 1, 0, 0, 0, 0, 0, 1, 1, 1] and len(BINS) == 12


def test_rare_reasons_are_summed_up_and_nothing_is_dropped() -> None:
    table = {f"wrong_{i}": [0.05 + i / 1000] for i in range(9)} | {"symbolic": [0.3], "no_box": [0.0]}
    reasons = verdict_reasons.shared_reasons(table)
    assert reasons == ["symbolic", "wrong_8", "wrong_7", "wrong_6", "wrong_5", "wrong_4", "other"]
    grouped = verdict_reasons.grouped(table, reasons)
    assert list(grouped) == reasons
    assert grouped["other"][0] == pytest.approx(0.050 + 0.051 + 0.052 + 0.053)


def test_probe_reason_rates_count_each_problem_once(run_dir: Path) -> None:
    """Pooling samples instead would weigh a hard problem 20 times, because its plan draws 20 times more of them."""
    rows = [row for row in read_rows(run_dir / "probes.jsonl") if row["step"] == 40]
    steps, rates = verdict_reasons.probe_verdicts(load_run(run_dir))
    assert steps == [0, 20, 40, 60]
    assert rates["exact_number"][2] == pytest.approx(statistics.fmean(row["c"] / row["n"] for row in rows))
    assert verdict_reasons.probe_truncation(load_run(run_dir))[40] == pytest.approx(
        statistics.fmean(row["truncated"] / row["n"] for row in rows))


def test_many_probes_are_thinned_evenly_with_both_ends() -> None:
    probes = [curve(step) for step in range(1, 16)]
    assert [p.step for p in thinned(probes)] == [1, 3, 5, 7, 9, 11, 13, 15]
    assert thinned(probes[:8]) == probes[:8]


def test_what_verdicts_cost_is_said_where_it_is_recorded(run_dir: Path, tmp_path: Path) -> None:
    """Steps of 1.9 s each: medians 1, 2, 3, ... ms, the longest 20 ms at the third, half a second waited at each."""
    assert judge_words(load_run(run_dir)) == ""
    number = itertools.count(1)

    def timed(row: dict[str, Any]) -> None:
        step = next(number)
        row |= {"perf/judge_p50_ms": step, "perf/judge_max_ms": 20 if step == 3 else 10, "perf/judge_seconds": 0.5}

    run = load_run(edited(run_dir, tmp_path / "run", timed, "metrics.jsonl"))
    steps = len(run.metrics)
    assert judge_words(run) == (
        f"In training a verdict took {(steps + 1) / 2:.2g} ms (median) and at most 20 ms; training waited "
        f"{steps / 2:.3g} s for verdicts, 26.3% of its time.")
    assert judge_words(run) in " ".join(render(load_report(tmp_path / "run")).split())
