"""A comparison of runs with several probe sets: a row and a section each, one correction over all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlvr.report.comparison.arms import Arms, load_arms
from rlvr.report.comparison.page import comparison_summary, write_comparison
from rlvr.report.comparison.standings import changes, changes_over_sets, tokens_at
from rlvr.statistics.paired_tests import holm
from rlvr.types import UserError
from tests.report.test_page import Page
from tests.support.arm_runs import A0, B0, B1, write_run

DATA = {"probe": {"first": {"source": "x"}, "second": {"source": "y"}}}
BASE = (1, 1, 0, 0, 1)


def write_arms(folder: Path) -> Path:
    """Two arms of one seed on two sets; the second set has five problems and is probed at step 20 alone."""
    for arm, counts, further in (("a", A0, (4, 4, 3, 4, 4)), ("b", B0, (0, 1, 0, 0, 1))):
        run = write_run(folder / f"{arm}-0", arm, 0, {10: counts, 20: counts}, data=DATA)
        write_run(run / "sets" / "second", arm, 0, {20: further}, base=BASE, tokens=0, data=DATA, set="second")
    return folder


@pytest.fixture
def arms(tmp_path: Path) -> Arms:
    return load_arms([write_arms(tmp_path)])


def test_every_set_has_the_same_arms_and_the_training_of_the_runs(arms: Arms) -> None:
    assert list(arms.sets) == ["first", "second"] and arms.sets["first"].base is arms.base
    second = arms.sets["second"]
    assert [arm.name for arm in second.arms] == ["a", "b"] and second.last_step == 20
    assert len(second.base.rows[0]) == 5
    assert tokens_at(second.arms[0], 20) == 20_000  # of the run's metrics; the set has none of its own


def test_one_correction_over_all_sets_arms_and_k(arms: Arms) -> None:
    """Eight changes: two sets, two arms, two k. Alone each set is corrected for its four."""
    found = changes_over_sets(arms.sets)
    alone = [d.alone for of_set in found.values() for d in of_set]
    assert [d.p for of_set in found.values() for d in of_set] == holm(alone) and len(alone) == 8
    for name, of_set in found.items():
        each = changes(arms.sets[name])
        assert [(d.arm, d.metric, d.value.estimate) for d in each] == [
            (d.arm, d.metric, d.value.estimate) for d in of_set]
        assert all(joint.p >= own.p for joint, own in zip(of_set, each, strict=True))
    # pass@1 of arm a on the second set: (16 + 3) / 20 after 3 / 20.
    assert found["second"][0].value.estimate.value == pytest.approx(16 / 20)


def test_page_and_text_have_a_row_per_set(arms: Arms, tmp_path: Path) -> None:
    output = write_comparison(arms, tmp_path / "out" / "compare.html")
    page = Page(output)
    ids = [attributes.get("id") for tag, attributes in page.tags if tag == "section"]
    assert ids[0] == "probe-sets" and ids.index("set-second") == ids.index("cost") - 1
    assert "pass@1 +80.0" in page.visible and "over the 8 changes of all sets, arms and k" in page.visible
    assert {"set-second-change", "set-second-curves"} <= page.data.keys()
    text = comparison_summary(arms)
    assert "second (5 problems, step 20): a pass@1 +80.0" in text
    assert "| second | 5 | 20 | pass@1 +80.0" in output.with_suffix(".md").read_text()


def test_a_set_that_cannot_be_compared_is_named(tmp_path: Path) -> None:
    folder = write_arms(tmp_path)
    other = folder / "c-0"
    write_run(other, "c", 0, {10: B1, 20: B1}, data=DATA)
    write_run(other / "sets" / "second", "c", 0, {20: (1, 1, 1, 1)}, data=DATA)
    with pytest.raises(UserError, match=r"probe set 'second': .*cannot be compared: probe problems differ"):
        load_arms([folder])


def test_a_set_that_one_run_lacks_is_left_out(tmp_path: Path) -> None:
    folder = write_arms(tmp_path)
    write_run(folder / "c-0", "c", 0, {10: B1, 20: B1})
    assert load_arms([folder]).sets == {}
