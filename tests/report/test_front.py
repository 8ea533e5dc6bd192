"""The referee of a comparison: its numbers by hand, dials beside the runs, and what the page shows of it."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from rlvr.report.comparison.arms import load_arms
from rlvr.report.comparison.front import DEPTH, Model, Way, judged, referee
from rlvr.report.comparison.page import write_comparison
from rlvr.runs.dial_file import mark_of
from rlvr.statistics.intervals import population_ci, population_diff_ci
from rlvr.statistics.paired_tests import holm, interval_p_value
from rlvr.statistics.seeds import arm_difference_ci
from rlvr.types import Estimate, UserError
from tests.report.test_page import Page
from tests.support.arm_runs import write_run
from tests.support.fake_run import read_rows

BASE = [1] * 20 + [0] * 20
"""Right samples of four: pass@1 0.125, pass@4 0.5."""
GRPO = [[4] * 16 + [0] * 24, [4] * 17 + [0] * 23]
"""Two seeds: pass@1 0.4 and 0.425; pass@4 as much, 0.1 and 0.075 below the base."""
KEEPS = [[2] * 18 + [1] * 2 + [0] * 20, [3] * 16 + [1] * 4 + [0] * 20]
"""pass@1 0.2375 and 0.325; pass@4 0.5."""


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """GRPO and an arm that keeps the boundary, and the dial of both seeds of GRPO: 0.3 and 0.475 at 50%."""
    for seed in (0, 1):
        write_run(tmp_path / f"grpo-{seed}", "grpo", seed, {10: KEEPS[0], 20: GRPO[seed]}, base=BASE)
        write_run(tmp_path / f"keeps-{seed}", "keeps", seed, {10: BASE, 20: KEEPS[seed]}, base=BASE)
        dial = write_run(tmp_path / f"grpo-{seed}-dial", "grpo", seed, {50: [2] * 19 + [0] * 21, 100: GRPO[seed]},
                         base=BASE)
        write_dial(dial, [tmp_path / f"grpo-{seed}"])
    return tmp_path


def write_dial(path: Path, runs: list[Path], step: int = 20, **further: object) -> None:
    """Make a run directory that of a dial."""
    (path / "metrics.jsonl").unlink(missing_ok=True)
    tree = read_recipe(path)
    tree["probed"] = ["merge-50", "merge-100"]
    (path / "recipe.json").write_text(json.dumps({"recipe": tree, "versions": {}, "lab": False}))
    trained = [str(run / "checkpoints" / f"checkpoint-{step}") for run in runs]
    (path / "dial.json").write_text(json.dumps(
        {"run": str(runs[0]), "trained": trained, "percents": [50, 100], **further}))


def read_recipe(path: Path) -> dict[str, object]:
    return json.loads((path / "recipe.json").read_text())["recipe"]


def test_the_table_by_hand(two: Path) -> None:
    found = referee(load_arms([two]))
    assert found is not None and not found.exact and found.reference == "grpo"
    assert found.base.point == (0.125, 0.5)
    grpo, dial, keeps = found.standings
    assert [standing.way.name for standing in found.standings] == ["grpo", "grpo, dialled", "keeps"]
    # GRPO at step 20 loses 0.0875 of pass@4: within neither loss, so its step 10 is taken, 0.2375.
    assert [best.model.label for best in grpo.best] == ["step 10", "step 10"]
    assert grpo.best[0].model.point == (0.2375, 0.5) and grpo.best[0].against is None
    # The dial at 50%: (0.2375, 0.475), 2.5 points lost.
    assert [best.model.label for best in dial.best] == ["base", "step 20, 50% of the way"]
    assert [best.model.label for best in keeps.best] == ["step 20", "step 20"]
    assert keeps.best[0].model.point == pytest.approx((0.28125, 0.5))
    # Area of seed 0 of GRPO: (0.2375, 0.5) and (0.4, 0.4); the second is DEPTH below the base and adds nothing.
    first = (0.2375 - 0.125) * DEPTH
    second = first + (0.425 - 0.2375) * (DEPTH - 0.075)
    assert grpo.area.value == pytest.approx((first + second) / 2)


def test_a_difference_counts_what_it_was_chosen_from(two: Path) -> None:
    """Every way has two models, so four pairs: Bonferroni at four. Then Holm over all six tests of the table."""
    found = referee(load_arms([two]))
    assert found is not None
    grpo = pass_1([KEEPS[0], KEEPS[0]])  # its step 10

    def raw(seeds: list[list[int]]) -> float:
        return min(1.0, 4 * interval_p_value(lambda c: arm_difference_ci(pass_1(seeds), grpo, confidence=c)))

    def area(mine: list[list[float]]) -> float:
        other = [[found.standings[0].way.areas(found.base.point)[s]] for s in (0, 1)]
        return interval_p_value(lambda c: arm_difference_ci(mine, other, target="benchmark", confidence=c))

    half = [[2] * 19 + [0] * 21] * 2
    expected = holm([raw([BASE, BASE]), raw(half), area([[0.1125 * 0.075]] * 2), raw(KEEPS), raw(KEEPS),
                     area([[0.1125 * DEPTH], [0.2 * DEPTH]])])
    tests = [test for standing in found.standings[1:]
             for test in (*(best.against for best in standing.best), standing.area_against) if test is not None]
    # GRPO at step 20 with seed 1 loses 7.5 points, which the dial's 100% does as well.
    assert [round(test.p, 3) for test in (tests[0], tests[1], tests[3], tests[4])] == [
        round(expected[i], 3) for i in (0, 1, 3, 4)]
    assert tests[3].difference == arm_difference_ci(pass_1(KEEPS), grpo, confidence=1 - 0.05 / 4)


def pass_1(seeds: list[list[int]]) -> list[list[float]]:
    return [[c / 4 for c in seed] for seed in seeds]


def flat(*seeds: tuple[float, float], seedless: bool = False) -> Model:
    """pass@1 and pass@k of every seed, the same on 400 problems."""
    one_S, many_S = (np.array(values)[:, None] for values in zip(*seeds, strict=True))
    return Model("m", np.repeat(one_S, 400, axis=1), np.repeat(many_S, 400, axis=1), seedless)


def way(name: str, *models: Model) -> Way:
    return Way(name, name, False, models)


FLAT_BASE = flat((0.25, 0.5), seedless=True)
REFERENCE = way("grpo", flat((0.3, 0.5), (0.3, 0.5)), flat((0.28, 0.5), (0.28, 0.5)))


def test_every_pair_of_models_is_a_choice_and_an_area_has_no_problems() -> None:
    other = way("other", flat((0.5, 0.5), (0.4, 0.5)), flat((0.2, 0.5), (0.2, 0.5)), flat((0.1, 0.5), (0.1, 0.5)))
    standing = judged(FLAT_BASE, [REFERENCE, other], REFERENCE, exact=False).standings[1]
    mine_SP, theirs_SP = other.models[0].one_SP, REFERENCE.models[0].one_SP
    assert standing.best[0].against is not None and standing.area_against is not None
    assert standing.best[0].against.difference == arm_difference_ci(mine_SP, theirs_SP, confidence=1 - 0.05 / 6)
    # Areas 0.25 * 0.1 and 0.15 * 0.1 against 0.05 * 0.1 twice: Welch with one degree of freedom.
    area = standing.area_against.difference
    half = 12.7062 * (0.01**2 / 2 / 2) ** 0.5
    assert (area.value, area.low, area.high) == pytest.approx((0.015, 0.015 - half, 0.015 + half), rel=1e-4)


def test_a_single_seed_is_compared_over_problems_and_its_area_not_at_all() -> None:
    single = way("single", flat((0.5, 0.5)))
    varied = way("grpo", flat((0.26, 0.5), (0.34, 0.5)), flat((0.25, 0.5), (0.25, 0.5)))  # mean 0.3
    standing = judged(FLAT_BASE, [varied, single], varied, exact=False).standings[1]
    assert single.models[0].levels == (population_ci([0.5] * 400), population_ci([0.5] * 400))

    def interval(confidence: float) -> Estimate:
        return population_diff_ci([0.5] * 400, [0.3] * 400, confidence=confidence)

    against, area = standing.best[0].against, standing.area_against
    assert against is not None and area is not None
    expected = interval(1 - 0.05 / 2)
    assert (against.difference.low, against.difference.high) == pytest.approx((expected.low, expected.high))
    assert math.isnan(area.p) and math.isnan(area.difference.low) and area.difference.value == pytest.approx(0.02)
    assert against.p == pytest.approx(2 * 2 * interval_p_value(interval), rel=1e-3)  # two models, two known tests


def test_the_base_has_no_seeds() -> None:
    stays = way("stays", flat((0.2, 0.5), (0.1, 0.5)))
    varied = way("varied", flat((0.3, 0.5), (0.34, 0.5)))
    against = judged(FLAT_BASE, [varied, stays], varied, exact=False).standings[1].best[0].against
    assert against is not None
    assert against.difference == arm_difference_ci(
        np.repeat(FLAT_BASE.one_SP, 2, axis=0), varied.models[0].one_SP, confidence=0.95)
    twice = judged(FLAT_BASE, [stays, way("too", *stays.models)], stays, exact=False).standings[1].best[0].against
    assert twice is not None and twice.p == 1.0
    assert twice.difference.value == 0.0 and math.isnan(twice.difference.low)


def test_two_models_of_equal_means_are_still_two() -> None:
    one_SP = np.repeat([[0.25] * 200 + [0.75] * 200], 2, axis=0)
    other = way("other", Model("m", one_SP, np.full((2, 400), 0.5)))
    half = way("half", flat((0.5, 0.5), (0.5, 0.5)))
    against = judged(FLAT_BASE, [half, other], half, exact=False).standings[1].best[0].against
    assert against is not None and against.difference.low < 0 == against.difference.value < against.difference.high


def test_grpo_is_the_reference_wherever_it_stands_and_tokens_may_exceed_the_budget_a_little(tmp_path: Path) -> None:
    write_run(tmp_path / "grpo", "grpo", 0, {20: GRPO[0]}, base=BASE, tokens=1010)
    write_run(tmp_path / "a", "a", 0, {20: KEEPS[0]}, base=BASE)
    write_dial(write_run(tmp_path / "dial", "grpo", 0, {50: BASE, 100: GRPO[0]}, base=BASE), [tmp_path / "grpo"])
    found = referee(load_arms([tmp_path]))
    assert found is not None and found.reference == "grpo"
    assert [standing.way.name for standing in found.standings] == ["a", "grpo", "grpo, dialled"]


def test_a_dial_is_no_reference(tmp_path: Path) -> None:
    """GRPO's first probe is beyond the tokens of the other arm, a dial of an earlier checkpoint is not."""
    write_run(tmp_path / "grpo", "grpo", 0, {10: KEEPS[0], 20: GRPO[0]}, base=BASE, tokens=3000)
    write_run(tmp_path / "a", "a", 0, {10: KEEPS[0], 20: KEEPS[0]}, base=BASE)
    write_dial(write_run(tmp_path / "dial", "grpo", 0, {50: BASE, 100: GRPO[0]}, base=BASE), [tmp_path / "grpo"], 5)
    found = referee(load_arms([tmp_path]))
    assert found is not None and found.reference == "a"
    assert [standing.way.name for standing in found.standings] == ["a", "grpo, dialled"]


def test_a_second_dial_of_the_same_checkpoint_is_no_seed(two: Path) -> None:
    """Bug: two dials of one run with different points left an arm without models, and the page ended in a traceback."""
    def best() -> list[tuple[str, list[str]]]:
        found = referee(load_arms([two]))
        assert found is not None
        return [(standing.way.name, [best.model.label for best in standing.best]) for standing in found.standings]

    before = best()
    for seed in (0, 1):
        other = write_run(two / f"again-{seed}", "grpo", seed, {100: GRPO[seed]}, base=BASE)
        write_dial(other, [two / f"grpo-{seed}"])
    assert best() == before and len(before) == 3
    for name in ("grpo-0-dial", "grpo-1-dial", "again-0", "again-1"):
        shutil.rmtree(two / name)
    for seed, percent in ((0, 100), (1, 50)):  # no point that both seeds have
        dial = write_run(two / f"one-{seed}", "grpo", seed, {percent: GRPO[seed]}, base=BASE)
        write_dial(dial, [two / f"grpo-{seed}"])
    assert [name for name, _ in best()] == ["grpo", "keeps"]


def test_a_checkpoint_that_is_dialled_for_one_seed_only_is_left_out(two: Path) -> None:
    write_dial(write_run(two / "early", "grpo", 0, {50: BASE, 100: KEEPS[0]}, base=BASE), [two / "grpo-0"], 10)
    found = referee(load_arms([two]))
    assert found is not None and [model.label for model in found.standings[1].way.models] == [
        "step 20, 50% of the way", "step 20, 100% of the way"]


def test_dials_count_only_what_they_may(two: Path) -> None:
    """A mean of two seeds costs the tokens of both: at step 10 as much as one at step 20, at step 20 too many."""
    for step in (10, 20):
        path = write_run(two / f"mean-{step}", "grpo", 7, {50: KEEPS[1], 100: KEEPS[1]}, base=BASE)
        write_dial(path, [two / "grpo-0", two / "grpo-1"], step)
    write_dial(write_run(two / "strange", "grpo", 8, {50: BASE, 100: BASE}, base=BASE, weights="x"),
               [two / "grpo-0"])
    arms = load_arms([two])
    assert any("left out the dial strange" in text for text in arms.missing)
    found = referee(arms)
    assert found is not None
    names = {standing.way.name: standing.way for standing in found.standings}
    assert [model.label for model in names["grpo, mean of 2, dialled"].models] == [
        "step 10, 50% of the way", "step 10, 100% of the way"]


def test_a_dial_of_another_run_of_the_same_name_is_left_out(
    two: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str]
) -> None:
    """Bug: the name of the run's folder was all that was looked at."""
    def dialled() -> list[str]:
        return sorted(dial.run.path.name for dial in load_arms([two]).dials)

    elsewhere = tmp_path_factory.mktemp("elsewhere")
    other = write_run(elsewhere / "other" / "grpo-1", "grpo", 1, {20: GRPO[1]}, base=BASE)
    write_dial(two / "grpo-1-dial", [other])
    assert dialled() == ["grpo-0-dial"]
    assert capsys.readouterr().err == (f"note: {two}/grpo-1-dial is no dial of {two}/grpo-1 but of {other}, which is "
                                       "another run; left out\n")
    monkeypatch.chdir(elsewhere)
    write_dial(two / "grpo-1-dial", [Path("other/grpo-1")])
    assert dialled() == ["grpo-0-dial"]
    # Moved together: of older files the run must have come to that step, of later ones it is known.
    for gone in (Path("/gone/grpo-1"), Path("gone/grpo-1")):
        write_dial(two / "grpo-1-dial", [gone])
        assert "grpo-1-dial" in dialled()
    write_dial(two / "grpo-1-dial", [Path("/gone/grpo-1")], step=15000)
    assert dialled() == ["grpo-0-dial"]
    tree = json.loads((two / "grpo-1" / "recipe.json").read_text()) | {"created": "2026-01-01T00:00:00+00:00"}
    (two / "grpo-1" / "recipe.json").write_text(json.dumps(tree))
    for mark, expected in ((mark_of(two / "grpo-1"), True), ("another", False)):
        for home in (other, Path("/gone/grpo-1"), two / "grpo-1"):
            write_dial(two / "grpo-1-dial", [home], marks=[mark])
            assert ("grpo-1-dial" in dialled()) is expected


def test_a_damaged_dial_is_one_line(two: Path) -> None:
    for damaged in ('{"run": ', "", "[1]", '{"trained": [1], "percents": [50]}', "{}"):
        (two / "grpo-0-dial" / "dial.json").write_text(damaged)
        with pytest.raises(UserError, match=f"^{two}/grpo-0-dial/dial.json: damaged, expected what `rlvr dial` wrote"):
            load_arms([two])


def test_exact_values_are_taken_where_all_are_known(two: Path) -> None:
    """exact_p 0.25 on every problem but GRPO's at step 20, 0.5: pass@4 of 1 - 0.75^4 and 1 - 0.5^4."""
    for file in two.glob("*/probes.jsonl"):
        rows = [row | {"exact_p": 0.5 if "grpo" in str(file) and row["step"] == 20 else 0.25}
                for row in read_rows(file)]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = referee(load_arms([two]))
    assert found is not None and found.exact
    assert found.base.point == pytest.approx((0.25, 1 - 0.75**4))
    assert found.standings[0].best[0].model.point == pytest.approx((0.5, 1 - 0.5**4))
    assert [best.model.label for best in found.standings[2].best] == ["base", "base"]


def test_the_page_and_its_markdown_have_the_table(two: Path) -> None:
    page = write_comparison([two], two / "out" / "compare.html")
    text, markdown = Page(page).visible, page.with_suffix(".md").read_text()
    for words in ("28.1", "step 20, 50% of the way", "grpo, dialled", "losing at most 2.0"):
        assert words in text
    assert "| grpo, dialled (2 seeds) | base | 12.5 / 50.0 |" in markdown
    assert "reference: grpo" in markdown
    figure = Page(page).data["front"]
    dashes = {trace["name"]: trace["line"].get("dash") for trace in figure["data"] if trace.get("line", {}).get("dash")}
    assert dashes == {"grpo": "solid", "grpo, dialled": "dash", "keeps": "solid"}


def test_one_arm_alone_has_no_table(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "a", 0, {10: GRPO[0]}, base=BASE)
    assert referee(load_arms([tmp_path])) is None
    assert "How much pass@1" not in write_comparison([tmp_path], tmp_path / "page.html").read_text()
