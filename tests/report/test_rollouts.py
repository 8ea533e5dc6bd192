"""What the model wrote in training, as the report shows it: spread over the run, beside the probes before it."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlvr.report.load import load_run
from rlvr.report.page import write_report
from rlvr.report.rollouts import MAX_STEPS, chosen, rollout_steps, spread
from rlvr.runs.rollouts import read_rollouts
from rlvr.runs.run_dir import RunDir
from tests.report.test_page import Page
from tests.support.fake_run import FakeRun, write_fake_run


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fake_run(tmp_path_factory.mktemp("runs") / "run", FakeRun(steps=(0, 20, 40), problems=32))


def test_each_step_stands_beside_the_probe_before_it(run_dir: Path) -> None:
    run = load_run(run_dir)
    steps = rollout_steps(run)
    assert [one.step for one in steps] == [1, 20, 40]
    # The rollouts of step 20 are drawn before its update, so the probe after that update is not yet what they are of.
    assert [one.probe.split(":")[0] for one in steps] == ["the probe of the base"] * 2 + ["the probe at step 20"]
    assert f"pass@1 {100 * run.base.get('pass@1').value:.1f}%" in steps[0].probe
    rows = read_rollouts(RunDir(run_dir), 40)[1]
    assert (steps[2].kept, steps[2].drawn) == (8, 256)
    assert steps[2].right == sum(row["correct"] for row in rows)


def test_a_problem_that_is_probed_too_has_its_counts(run_dir: Path) -> None:
    run = load_run(run_dir)
    both = {one.problem_id: one.probed for step in rollout_steps(run) if step.step == 40 for one in step.rollouts}
    base, at_20 = (next(iter(run.rows[step].values())) for step in (0, 20))
    assert both.pop("countdown/train/0") == f"{base.c}/{base.n} by the base, {at_20.c}/{at_20.n} at step 20"
    assert both and not any(both.values())


def test_steps_and_rollouts_are_chosen_over_the_whole_run() -> None:
    assert spread(range(1, 4)) == [1, 2, 3]
    assert spread(range(1, 1001)) == [1, 144, 286, 429, 572, 715, 857, 1000] and MAX_STEPS == 8

    def rows(*verdicts: tuple[str, bool | None]) -> list[dict[str, object]]:
        return [{"problem_id": problem, "correct": correct, "n": i} for i, (problem, correct) in enumerate(verdicts)]

    mixed = rows(("a", False), ("a", False), ("a", True), ("b", False), ("c", True), ("c", True), ("d", None))
    assert [row["n"] for row in chosen(mixed)] == [0, 2, 3, 4]  # two right, two wrong, of different problems
    assert [row["n"] for row in chosen(rows(*[("a", False)] * 9))] == [0, 1, 2, 3]
    assert [row["n"] for row in chosen(rows(("a", None), ("b", True)))] == [0, 1]


def test_the_page_shows_them(run_dir: Path) -> None:
    shown = Page(write_report(run_dir)).visible
    assert "What the model wrote in training" in shown and "The same problem in the probes: " in shown
    assert "Step 40: 8 of 256 rollouts kept, " in shown and "reward 1, credit 0.6" in shown


def test_a_run_that_kept_none_has_no_such_section(tmp_path: Path) -> None:
    run = load_run(write_fake_run(tmp_path / "old", FakeRun(steps=(0, 20), problems=4, old=True)))
    assert rollout_steps(run) == []
