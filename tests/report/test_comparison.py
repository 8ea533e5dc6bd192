"""Comparisons of finished runs: the numbers by hand, which runs may stand beside each other, the page of them."""

from __future__ import annotations

import csv
import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rlvr.cli.main import main
from rlvr.report.comparison.arms import Arms, load_arms
from rlvr.report.comparison.figures import spread
from rlvr.report.comparison.folded import folded
from rlvr.report.comparison.page import comparison_summary, write_comparison
from rlvr.report.comparison.standings import (
    BOTH,
    PROBLEMS,
    base_row,
    changes,
    differences,
    efforts,
    equal_steps,
    equal_tokens,
    token_budget,
)
from rlvr.report.comparison.words import base_text, difference_text
from rlvr.statistics.intervals import population_ci, population_diff_ci, t_quantile
from rlvr.statistics.paired_tests import holm, interval_p_value
from rlvr.statistics.seeds import arm_ci, arm_difference_ci, arm_mean_ci
from rlvr.types import Estimate, UserError
from tests.report.test_page import Page
from tests.support.arm_runs import A0, A1, B0, B1, write_run
from tests.support.fake_run import read_rows


def bounds(estimate: Estimate) -> tuple[float, float, float]:
    return estimate.value, estimate.low, estimate.high


# ---------------------------------------------------------------- numbers


def test_table_by_hand(folder: Path) -> None:
    """Seeds of a: pass@1 of the problems (.5, .25, .5, 0) and (1, .25, 0, 0), mean .3125; pass@4 (1, 1, 1, 0) and
    (1, 1, 0, 0), mean .625. Base: pass@1 .1875, pass@4 (1, 0, 1, 0), mean .5. Entropy .515 and .715, mean .615."""
    arms = load_arms([folder])
    base, (a, b) = base_row(arms), equal_steps(arms)
    one, four = [[0.5, 0.25, 0.5, 0], [1, 0.25, 0, 0]], [[1, 1, 1, 0], [1, 1, 0, 0]]
    twice = [[1, 0, 1, 0]] * 2
    assert (a.name, a.seeds, a.step, a.tokens, b.tokens) == ("a", 2, 20, 20_000, 50_000)
    values = {name: value.estimate.value for name, value in a.values.items()}
    assert values == pytest.approx(
        {"pass@1": 0.3125, "pass@4": 0.625, "delta_se": 0.1875, "shrinkage@4": -0.125, "entropy": 0.615})
    assert bounds(a.values["pass@1"].estimate) == bounds(arm_ci(one))
    assert bounds(a.values["pass@4"].estimate) == bounds(arm_ci(four))
    assert bounds(a.values["delta_se"].estimate) == bounds(arm_difference_ci(twice, one))
    assert bounds(a.values["shrinkage@4"].estimate) == bounds(arm_difference_ci(twice, four))
    assert {value.over for value in a.values.values()} == {BOTH}
    assert base.values["pass@1"].estimate.value == 0.1875 and base.values["delta_se"].estimate.value == 0.3125
    assert bounds(base.values["pass@4"].estimate) == bounds(population_ci([1, 0, 1, 0]))
    assert math.isnan(base.values["shrinkage@4"].estimate.value) and base.values["pass@1"].over == PROBLEMS
    assert b.values["pass@1"].estimate.value == pytest.approx(0.25)
    one = [[0, 0, 1, 0], [0.25, 0, 0.5, 0.25]]  # b's first seed stores its problems in the opposite order
    assert bounds(b.values["delta_se"].estimate) == bounds(arm_difference_ci(twice, one))


def test_equal_tokens_by_hand(folder: Path) -> None:
    """a ends at 20,000 tokens. b has 12,500 at step 5, 25,000 at step 10: step 5 it is, though step 10 is nearer."""
    arms = load_arms([folder])
    assert token_budget(arms) == 20_000
    a, b = equal_tokens(arms)
    assert (a.step, b.step, b.tokens) == (20, 5, 12_500)
    assert b.values["pass@1"].estimate.value == 0.25  # B1 with both seeds


@pytest.mark.parametrize(("tokens", "step"), [(1015, 20), (1025, 10), (2000, 10), (2100, None)])
def test_equal_tokens_let_two_percent_pass(tmp_path: Path, tokens: int, step: int | None) -> None:
    write_run(tmp_path / "a", "a", 0, {10: A0, 20: A0})
    write_run(tmp_path / "b", "b", 0, {10: B0, 20: B0}, tokens=tokens)
    arms = load_arms([tmp_path])
    assert [row.step for row in equal_tokens(arms)] == [20, step]
    assert [row.step for row in equal_steps(arms)] == [20, 20]
    if step is None:
        write_comparison([tmp_path], tmp_path / "page.html")
        assert "b before its first probe" in comparison_summary([tmp_path])


def test_an_arm_that_generates_nothing_is_left_out_at_equal_tokens(tmp_path: Path) -> None:
    for arm, counts in (("taught", (4, 4, 4, 4)), ("a", A0), ("b", B0)):
        write_run(tmp_path / arm, arm, 0, {10: counts, 20: counts}, tokens=1000)
    metrics = tmp_path / "taught" / "metrics.jsonl"
    metrics.write_text(metrics.read_text().replace("perf/generated_tokens", "perf/unknown"))
    arms = load_arms([tmp_path])
    assert token_budget(arms) == 20_000 and [row.name for row in equal_tokens(arms)] == ["a", "b"]
    assert "every arm is at the same step (without taught, which generated nothing in training)" in " ".join(
        comparison_summary([tmp_path]).split())
    rows = list(csv.DictReader(write_comparison([tmp_path], tmp_path / "page.html").with_suffix(".csv").open()))
    steps = [(row["arm"], row["step"], float(row["value"])) for row in rows
             if row["table"] == "by_step" and row["metric"] == "pass@1"]
    assert steps == [("base", "0", 0.1875), ("a", "10", 0.3125), ("a", "20", 0.3125), ("b", "10", 0.25),
                     ("b", "20", 0.25), ("taught", "10", 1.0), ("taught", "20", 1.0)]


def test_a_boundary_that_expands_is_said_to(tmp_path: Path) -> None:
    """Of 40 problems the base solves 4; the taught arm solves 30 more, with every seed."""
    base, more = [4] * 4 + [0] * 36, [4] * 34 + [0] * 6
    for seed in (0, 1):
        write_run(tmp_path / f"taught-{seed}", "taught", seed, {8: more}, base=base)
        write_run(tmp_path / f"same-{seed}", "same", seed, {8: base}, base=base)
    text = " ".join(comparison_summary([tmp_path]).split())
    (change,) = [d for d in changes(load_arms([tmp_path])) if (d.arm, d.metric) == ("taught", "pass@4")]
    low, high = change.value.estimate.low, change.value.estimate.high
    assert (change.value.estimate.value, low > 0.5) == (0.75, True)
    assert f"grew under taught (+75.0 [+{100 * low:.1f}, +{100 * high:.1f}]); is undecided under same (" in text


def test_an_undecided_arm_whose_interval_excludes_0_names_the_correction(tmp_path: Path) -> None:
    """b loses 6 of 60 problems with all seeds: its interval excludes 0, Holm over four changes does not let it pass."""
    base, less = [4] * 60, [4] * 54 + [0] * 6
    for seed in (0, 1):
        write_run(tmp_path / f"a-{seed}", "a", seed, {8: base}, base=base)
        write_run(tmp_path / f"b-{seed}", "b", seed, {8: less}, base=base)
    (b,) = [d for d in changes(load_arms([tmp_path])) if (d.arm, d.metric) == ("b", "pass@4")]
    same = [[1.0] * 60] * 2
    after = [[1.0] * 54 + [0.0] * 6] * 2
    alone = interval_p_value(lambda c: arm_difference_ci(after, same, confidence=c))
    assert (b.alone, b.p) == (alone, 4 * alone) and b.value.estimate.high < 0 and alone < 0.05 < b.p
    words = difference_text(b.value.estimate).replace("\N{MINUS SIGN}", "-")
    write_comparison([tmp_path], tmp_path / "page.html")
    for text in (comparison_summary([tmp_path]), (tmp_path / "page.md").read_text()):
        text = " ".join(text.split())
        assert f"b ({words}, p = {alone:.3f}, {4 * alone:.2f} after Holm). Each interval" in text
        assert "after Holm's correction over the 4 changes looked at (2 arms, pass@1 and pass@4)." in text


def test_the_folded_axis_holds_both_ends(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "a", 0, {10: A0})
    write_run(tmp_path / "b", "b", 0, {10: B0})
    fig = json.loads(folded(load_arms([tmp_path])).to_json() or "")
    points = {(trace["x"][0], trace["yaxis"]): trace["y"][0] for trace in fig["data"]}
    assert points == {("base", "y"): 0.1875, ("a", "y"): 0.3125, ("b", "y"): 0.25,
                      ("base", "y2"): 0.5, ("a", "y2"): 0.75, ("b", "y2"): 0.25}
    layout = fig["layout"]
    assert [note["text"] for note in layout["annotations"]] == ["delta_se 31.2", "delta_se 18.8", "delta_se 25.0"]
    low, high = layout["yaxis"], layout["yaxis2"]
    assert low["domain"][1] < high["domain"][0]
    assert (low["title"]["text"], high["title"]["text"], high["tickformat"]) == ("pass@1", "pass@4", ".0%")


def test_equal_steps_are_the_last_that_all_have(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "a", 0, {10: A0, 20: A1}, train={"steps": 30})
    write_run(tmp_path / "b", "b", 0, {10: B0})
    arms = load_arms([tmp_path])
    assert [row.step for row in equal_steps(arms)] == [10, 10] and arms.last_step == 10
    assert arms.missing == ("a was probed only up to step 20 of 30",)


def test_differences_are_paired_and_corrected_over_the_whole_table(tmp_path: Path) -> None:
    """Three arms, two metrics: Holm over six p-values, each the p-value of the interval that is shown."""
    rng = np.random.default_rng(0)
    counts = {}
    for arm, p in (("a", 0.02), ("b", 0.6), ("c", 0.6)):
        for seed in (0, 1, 2):
            counts[arm, seed] = rng.binomial(4, p, 60).tolist()
            write_run(tmp_path / f"{arm}-{seed}", arm, seed, {8: counts[arm, seed]}, base=[1] * 60)
    found = differences(load_arms([tmp_path]))
    x = {arm: np.array([counts[arm, seed] for seed in (0, 1, 2)]) / 4 for arm in "abc"}
    x |= {arm.upper(): (x[arm] > 0).astype(float) for arm in "abc"}
    pairs = [(m, n) for m, n in (("a", "b"), ("A", "B"), ("a", "c"), ("A", "C"), ("b", "c"), ("B", "C"))]
    assert [(d.arm, d.other, d.metric) for d in found] == [
        (m.lower(), n.lower(), "pass@1" if m.islower() else "pass@4") for m, n in pairs]
    for d, (m, n) in zip(found, pairs, strict=True):
        assert bounds(d.value.estimate) == bounds(arm_difference_ci(x[m], x[n]))
    raw = [interval_p_value(lambda c, m=m, n=n: arm_difference_ci(x[m], x[n], confidence=c)) for m, n in pairs]
    assert [d.p for d in found] == holm(raw)
    assert [d.significant for d in found] == [True, True, True, True, False, False]
    text = " ".join(comparison_summary([tmp_path]).split())
    by_arm = {d.arm: difference_text(d.value.estimate).replace("\N{MINUS SIGN}", "-")
              for d in changes(load_arms([tmp_path])) if d.metric == "pass@4"}
    undecided = f"is undecided under b ({by_arm['b']}), c ({by_arm['c']})."
    assert f"points) shrank under a ({by_arm['a']}); {undecided} Each" in text
    assert "2 of 3 in pass@1 (b above a, c above a); 2 of 3 in pass@4 (b above a, c above a)" in text
    moved = {(d.arm, d.metric): d.significant and np.sign(d.value.estimate.value)
             for d in changes(load_arms([tmp_path]))}
    assert moved["a", "pass@4"] == -1 and moved["b", "pass@1"] == moved["c", "pass@1"] == 1
    assert re.search(r"After 8 steps pass@1 rose in 2 of 3 arms \(b, c, by \+3\d\.\d to \+3\d\.\d points\) and fell in "
                     r"1 of 3 arms \(a,", text)


def test_p_value_of_an_interval_by_hand() -> None:
    """Student's t with 1 df: P(|T| <= 1) = 1/2, so 1 +- t excludes 0 exactly for confidences below 1/2."""
    p = interval_p_value(lambda c: Estimate(1.0, 1 - t_quantile(1, c), 1 + t_quantile(1, c)))
    assert p == pytest.approx(0.5, rel=1e-5)
    assert interval_p_value(lambda c: Estimate(0.0, -c, c)) == 1.0
    assert interval_p_value(lambda c: Estimate(1.0, 1 - c, 1 + c)) == 1e-9
    assert math.isnan(interval_p_value(lambda c: Estimate(1.0)))


def test_mean_over_seeds_of_a_quantity_without_bounds_by_hand() -> None:
    """Seeds (0, 2), (4, 8): problem means 2, 5, variance 4.5 / 2 = 2.25; seeds 12.5 / 2 = 6.25 = MS / (S P), less the
    rest .25: 6. df = 8.25^2 / (2.25^2 / 1 + 6.25^2 / 1) = 1.54 -> 1, t = 12.7062; over the seeds alone t sqrt(6.25)."""
    found = arm_mean_ci([[0.0, 2.0], [4.0, 8.0]])
    half = 12.7062047 * math.sqrt(8.25)
    assert bounds(found) == pytest.approx((3.5, 3.5 - half, 3.5 + half), rel=1e-6)
    alike = arm_mean_ci([[0.0, 4.0], [4.0, 0.0]])  # seeds of one mean add nothing: var of (2, 2) over problems
    assert bounds(alike) == (2.0, 2.0, 2.0)
    assert math.isnan(arm_mean_ci([[1.0, 2.0]]).low) and math.isnan(arm_mean_ci([[math.nan] * 2] * 2).value)
    with pytest.raises(ValueError, match="not finite"):
        arm_mean_ci([[1.0, math.nan]] * 2)


def test_one_seed_is_labelled_and_falls_back_to_problems(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "a", 0, {10: A0})
    write_run(tmp_path / "b-0", "b", 0, {10: B0})
    write_run(tmp_path / "b-1", "b", 1, {10: B1})
    arms = load_arms([tmp_path])
    a, b = equal_steps(arms)
    assert bounds(a.values["pass@1"].estimate) == bounds(population_ci([0.5, 0.25, 0.5, 0]))
    assert bounds(a.values["delta_se"].estimate) == bounds(population_diff_ci([1, 0, 1, 0], [0.5, 0.25, 0.5, 0]))
    assert {value.over for value in a.values.values()} == {PROBLEMS} and b.values["pass@1"].over == BOTH
    one = differences(arms)[0].value  # b's seeds: (0, 0, 1, 0) and (.25, 0, .5, .25), averaged as they are
    assert one.over == PROBLEMS
    assert bounds(one.estimate) == bounds(population_diff_ci([0.5, 0.25, 0.5, 0], [0.125, 0, 0.75, 0.125]))
    assert "1 seed: problems only (a)" in comparison_summary([tmp_path])
    page = Page(write_comparison([tmp_path], tmp_path / "page.html"))
    assert "1 seed: problems only" in page.visible and "\N{DAGGER}" in page.visible


def test_what_the_training_generated_and_used(folder: Path) -> None:
    a, _ = efforts(load_arms([folder]))
    assert (a.steps, a.generated, a.used, a.tokens, a.seconds) == (20, 200, 100, 20_000, 40)


def test_labels_keep_their_order_and_their_distance() -> None:
    """0 and .1 are closer than 1: they stand .5 to both sides of .05; 5 stays; nothing leaves the axis that fits."""
    assert spread([0.1, 0.0, 5.0], -2, 6, 1.0) == pytest.approx([0.55, -0.45, 5.0])
    assert spread([6.0, 5.9], 0, 6, 1.0) == pytest.approx([6.0, 5.0])


# ---------------------------------------------------------------- which runs may be compared


def other_model(path: Path) -> None:
    write_run(path / "c", "c", 0, {20: A0}, model={"path": "other/model"})


def other_weights(path: Path) -> None:
    write_run(path / "c", "c", 0, {20: A0}, weights="v")


def other_problems(path: Path) -> None:
    write_run(path / "c", "c", 0, {20: (*A0, 1)}, base=(1, 1, 1, 1, 1))


def other_prompt(path: Path) -> None:
    run = write_run(path / "c", "c", 0, {20: A0})
    (run / "problems.jsonl").write_text((run / "problems.jsonl").read_text().replace("3 ->", "4 ->"))


def replace_in_boundary(old: str, new: str) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        run = write_run(path / "c", "c", 0, {20: A0})
        assert old in (run / "boundary.jsonl").read_text()
        (run / "boundary.jsonl").write_text((run / "boundary.jsonl").read_text().replace(old, new))
    return spoil


def unknown_base(path: Path) -> None:
    run = write_run(path / "c", "c", 0, {20: A0}, base=(2, 0, 2, 0))
    shutil.rmtree(run / "samples")


def test_runs_are_compared_on_the_problems_that_all_of_them_judged(tmp_path: Path) -> None:
    """Bug: a problem that one run had left out, as an answer could not be judged, kept it from being compared. Without
    p3, pass@1 of a is (2 + 1 + 2) / 12, of b (0 + 0 + 4) / 12 and of the base (1 + 0 + 2) / 12."""
    write_run(tmp_path / "a", "a", 0, {20: A0})
    run = write_run(tmp_path / "b", "b", 0, {20: B0})
    for name, change in (("probes", lambda row: None if (row["step"], row["problem_id"]) == (20, "p3") else row),
                         ("boundary", lambda row: row if row["step"] == 0 else
                          row | {"problems": 3, "unjudged": {"p3": "harness_error"}})):
        changed = [change(row) for row in read_rows(run / f"{name}.jsonl")]
        (run / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in changed if row))
    arms = load_arms([tmp_path])
    assert arms.unjudged == ("p3",) and arms.base.base.problems == 3
    values = [row.values["pass@1"].estimate.value for row in (base_row(arms), *equal_steps(arms))]
    assert values == pytest.approx([3 / 12, 5 / 12, 4 / 12])
    said = "1 of 4 problems are left out of every run, as an answer to them could not be judged in one of the runs: p3."
    assert said in comparison_summary([tmp_path]).replace("\n", " ")


def only_base(path: Path) -> None:
    write_run(path / "c", "c", 0, {})


def same_seed(path: Path) -> None:
    write_run(path / "c", "a", 1, {20: A0})


def other_rate(path: Path) -> None:
    write_run(path / "c", "a", 2, {20: A0}, train={"learning_rate": 1.0})


def no_common_step(path: Path) -> None:
    write_run(path / "c", "c", 0, {7: A0})


@pytest.mark.parametrize(("add", "expected"), [
    (other_model, r"base model differs \(path other/model and path lab\)"),
    (other_weights, r"base model differs \(hash v and w\)"),
    (other_problems, r"probe problems differ \(1 of them, such as 'p4'\)"),
    (other_prompt, r"probe problems differ \(1 of them, such as 'p3'\)"),
    (replace_in_boundary('"top_p": 1.0', '"top_p": 0.95'), r"decoding differs \(.*top_p=0.95.*\)"),
    (replace_in_boundary("countdown/1", "countdown/2"), r"verifier version differs \(countdown/2 and countdown/1\)"),
    (replace_in_boundary("=[4]", "=[4, 8]"), r"plan of the base differs"),
    (unknown_base, r"base probe differs, and without step-000000\.jsonl\.gz it is unknown"),
    (only_base, r"only the base was probed"),
    (same_seed, r"seed 1 twice in arm 'a'"),
    (other_rate, r"both a, but train.learning_rate differs, so they are not two seeds of one arm"),
    (no_common_step, r"the 5 runs have no probe step after the base in common"),
])
def test_runs_that_cannot_be_compared_are_refused_in_one_line(
    folder: Path, add: Callable[[Path], None], expected: str
) -> None:
    add(folder)
    with pytest.raises(UserError, match=expected) as caught:
        load_arms([folder])
    assert "\n" not in str(caught.value)
    assert str(folder / "c") in str(caught.value) or add is no_common_step


def test_paths_that_are_no_runs_are_refused(folder: Path) -> None:
    (folder / "empty").mkdir()
    for paths, expected in (
        ([folder / "none"], "none: not found"), ([folder / "empty"], "empty: found no run in it"),
        ([folder / "a-0" / "recipe.json"], "recipe.json: not a directory"), ([folder, folder / "a-0"], "given twice"),
    ):
        with pytest.raises(UserError, match=expected):
            load_arms(paths)
    assert main(["compare", str(folder / "none")]) == 2


def test_arms_of_one_algorithm_are_told_apart_by_group_or_name(tmp_path: Path) -> None:
    for kl in (0.0, 0.1):
        for seed in (0, 1):
            write_run(tmp_path / f"{kl}-{seed}", "a", seed, {10: A0}, algorithm={"name": "a", "kl_coef": kl},
                      tracking={"group": f"kl {kl}"})
    write_run(tmp_path / "b", "b", 0, {10: B0})
    arms = load_arms([tmp_path])
    assert [(arm.name, arm.seeds) for arm in arms.arms] == [("kl 0.0", [0, 1]), ("kl 0.1", [0, 1]), ("b", [0])]
    for run in tmp_path.iterdir():
        recipe = json.loads((run / "recipe.json").read_text())
        recipe["recipe"] |= {"tracking": {}, "name": f"run {recipe['recipe']['algorithm'].get('kl_coef')}"}
        (run / "recipe.json").write_text(json.dumps(recipe))
    assert [arm.name for arm in load_arms([tmp_path]).arms] == ["run 0.0", "run 0.1", "b"]


def test_a_base_measured_apart_is_said_and_not_used(folder: Path) -> None:
    def row(arms: Arms) -> float:
        return base_row(arms).values["pass@1"].estimate.value

    assert base_text(load_arms([folder])).endswith("shared by all 4 runs.")
    write_run(folder / "0", "c", 0, {20: A0}, base=(4, 4, 4, 4))  # the first that is read
    arms = load_arms([folder])
    assert arms.own_base == ("0",) and row(arms) == 0.1875
    assert "1 of 5 runs measured the same base apart (0)" in base_text(arms)


def test_all_unfinished_runs_are_named_and_can_be_left_out(folder: Path) -> None:
    only_base(folder)
    (folder / "d").mkdir()
    (folder / "d" / "recipe.json").write_text("{}")  # killed before its first probe
    write_run(folder / "e", "e", 0, {10: A0}, train={"steps": 20})
    named = rf"2 of 7 runs .* yet: {folder}/c \(only the base was probed\), {folder}/d \(no probe yet\);"
    with pytest.raises(UserError, match=f"{named} .* leave them out with --finished"):
        load_arms([folder])
    arms = load_arms([folder], finished=True)
    assert [arm.name for arm in arms.arms] == ["a", "b"] and arms.last_step == 20
    assert arms.missing == (f"left out {folder}/c (only the base was probed)", f"left out {folder}/d (no probe yet)",
                            f"left out {folder}/e (probed up to step 10 of 20)")
    with pytest.raises(UserError, match="1 of 1 runs cannot be compared yet"):
        load_arms([folder / "c"], finished=True)
