"""`train.keep_rollouts`: what stays on disk is what was trained on, judged and credited, and the seed draws it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from rlvr.algorithms.dapo import DAPO, DAPOConfig
from rlvr.interfaces import Credit, RolloutBatch
from rlvr.runs.rollouts import read_rollouts, rollout_table
from rlvr.runs.run_dir import RunDir
from rlvr.runs.samples import read_samples, write_samples
from rlvr.training.kept_rollouts import KeptRollouts, sampled
from tests.support.tiny import ParityJudge, train_problems
from tests.training.test_trainer import make

PROBLEMS = {problem.id: problem for problem in train_problems()}


class Seen(DAPO):
    """DAPO that lets every group with a right and a wrong rollout train, and remembers what it saw and answered."""

    def __init__(self) -> None:
        super().__init__(DAPOConfig(max_num_gen_batches=0))
        self.batches: list[tuple[RolloutBatch, Credit]] = []

    def advantages(self, batch: RolloutBatch) -> Credit:
        self.batches.append((batch, super().advantages(batch)))
        return self.batches[-1][1]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunDir, Seen, list[list[str]]]:
    """A run of two steps with dynamic sampling that keeps all; what the algorithm saw, the problems of each step."""
    folder, algorithm, ids = tmp_path_factory.mktemp("kept"), Seen(), []
    keep = KeptRollouts(RunDir(folder), "all", PROBLEMS, seed=0)

    def on_credit(step: Any) -> None:
        ids.append([row["problem_id"] for row in step.rows])
        keep(step)

    make(folder, algorithm, max_steps=2, on_credit=on_credit).train()
    return RunDir(folder), algorithm, ids


def test_all_are_kept_with_verdict_reward_and_credit(trained: tuple[RunDir, Seen, list[list[str]]]) -> None:
    run_dir, algorithm, ids = trained
    assert run_dir.rollout_steps() == [1, 2]
    for step, (batch, credit), of_step in zip((1, 2), algorithm.batches, ids, strict=True):
        header, rows = read_rollouts(run_dir, step)
        assert (header["step"], header["rollouts"], header["kept"]) == (step, 16, "all")
        assert [row["problem_id"] for row in rows] == of_step and [row["sample"] for row in rows] == [0, 1, 2, 3] * 4
        assert {problem["id"]: problem["gold"] for problem in header["problems"]} == {
            one: PROBLEMS[one].gold for one in of_step}
        for i, row in enumerate(rows):
            verdict = ParityJudge().judge([], [row["text"]])[0]  # of this text, not of another rollout of the step
            assert (row["correct"], row["reason"], row["extracted"]) == (
                verdict.correct, str(verdict.reason), verdict.extracted)
            assert row["reward"] == float(batch.accuracy_N[i]) == float(row["correct"])
            assert batch.lengths_N is not None and row["tokens"] == int(batch.lengths_N[i])
            assert row["credit"] == pytest.approx(float(credit.advantages_NT[i][0]), abs=1e-6)  # one per rollout
        assert len({row["credit"] for row in rows}) > 1


def test_a_sample_is_part_of_all(trained: tuple[RunDir, Seen, list[list[str]]], tmp_path: Path) -> None:
    whole = read_rollouts(trained[0], 1)[1]
    make(tmp_path, Seen(), max_steps=1, on_credit=KeptRollouts(RunDir(tmp_path), 5, PROBLEMS, seed=0)).train()
    header, rows = read_rollouts(RunDir(tmp_path), 1)
    assert rows == [whole[i] for i in sampled(16, 5, 0, 0)] and len(rows) == 5
    assert {problem["id"] for problem in header["problems"]} == {row["problem_id"] for row in rows}


def test_the_draw_is_seeded_and_uniform() -> None:
    assert sampled(6, 3, 1, 4) == sampled(6, 3, 1, 4) != sampled(6, 3, 2, 4)
    assert sampled(3, 3, 0, 0) == sampled(3, 9, 0, 0) == sampled(3, "all", 0, 0) == [0, 1, 2]
    assert sampled(3, "none", 0, 0) == []
    counts = torch.zeros(6)
    for step in range(600):
        counts[sampled(6, 2, 0, step)] += 1
    assert counts.sum() == 1200 and (counts - 200).abs().max() < 5 * (600 * 2 / 6 * 4 / 6) ** 0.5


def kept(run_dir: RunDir, step: int, count: int) -> None:
    row = {"problem_id": "p", "sample": 0, "text": "\ud800", "correct": None, "reason": "harness_error",
           "extracted": None, "tokens": 3, "reward": None, "credit": None, "truncated": False}
    write_samples(run_dir.rollouts(step), {"step": step, "kept": "all", "problems": [{"id": "p", "prompt": [
        {"role": "user", "content": "1 + 1"}], "gold": "2"}]}, [row | {"sample": i} for i in range(count)])


def test_a_resume_drops_what_it_writes_again(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path)
    for step in (1, 2, 3):
        kept(run_dir, step, 2)
    run_dir.truncate_after(2)
    assert run_dir.rollout_steps() == [1, 2]
    kept(run_dir, 2, 1)  # the same step again: in place of it, never behind it
    assert [row["sample"] for row in read_samples(run_dir.rollouts(2))] == [0]


def test_a_table_is_of_the_steps_since_the_last_and_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = RunDir(tmp_path)
    for step in (2, 4, 6):
        kept(run_dir, step, 3)
    found = rollout_table(run_dir, after=2, until=6)
    assert [(row["step"], row["sample"]) for row in found] == [(4, 0), (4, 1), (4, 2), (6, 0), (6, 1), (6, 2)]
    assert found[0]["prompt"] == "user: 1 + 1" and found[0]["text"] == "\\ud800"
    monkeypatch.setattr("rlvr.runs.rollouts.TABLE_ROWS", 4)
    assert [row["step"] for row in rollout_table(run_dir, after=0, until=5)] == [2, 4, 4, 4]
