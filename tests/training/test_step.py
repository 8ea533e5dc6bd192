"""The data of a step, without a trainer: seeds, TRL's shapes, the groups that are trained on, counts and means."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from rlvr.interfaces import GroupFilter, RolloutBatch
from rlvr.models.seeded import row_key
from rlvr.training.dynamic_sampling import Group, Refill, groups_of, homes
from rlvr.training.objective import Measured
from rlvr.training.rollouts import Rollout, fill_empty, from_trl, never_empty, to_trl
from rlvr.training.step import Progress, Step
from rlvr.training.step_metrics import RunningMeans, boundary_metrics

CPU = torch.device("cpu")


def rollout(*ids: int) -> Rollout:
    return Rollout([1, 2], list(ids), None, str(ids), [-0.5] * len(ids), {"turns": len(ids)})


def test_a_rollout_is_seeded_by_run_step_problem_and_place_in_its_group() -> None:
    rows = [{"problem_id": "a"}, {"problem_id": "a"}, {"problem_id": "b"}, {"problem_id": "b"}]
    first, second = Step(3, rows[:2]), Step(3, rows[2:])  # two ranks of two rollouts
    together = first.keys(7, group_size=2, first=0) + second.keys(7, group_size=2, first=2)
    assert together == Step(3, rows).keys(7, group_size=2, first=0)
    assert together == [row_key(7, "train/3", name, j) for name in "ab" for j in (0, 1)]
    again = Step(3, rows, generation_round=2).keys(7, group_size=2, first=0)
    assert again == [row_key(7, "train/3/2", name, j) for name in "ab" for j in (0, 1)]


def test_trls_shape_there_and_back() -> None:
    given = ([[1], [1]], [[2, 3], [4]], None, ["x", "y"], [[-1.0, -2.0], [-3.0]], {"turns": [1, 2]}, None, [])
    rollouts = from_trl(given)
    assert rollouts[1] == Rollout([1], [4], None, "y", [-3.0], {"turns": 2})
    assert to_trl(rollouts) == given
    bare = ([[1]], [[2]], [[1]], ["x"], None, {}, None, [])
    assert to_trl(from_trl(bare)) == bare


def test_an_empty_completion_becomes_an_eos_of_unknown_probability() -> None:
    ids, logps = [[5, 9], []], [[-1.0, -1.0], list[float]()]
    fill_empty(ids, logps, 9)
    assert ids == [[5, 9], [9]] and logps[0] == [-1.0, -1.0] and math.isnan(logps[1][0])
    output = never_empty(lambda *_: {"completion_ids": [[]], "logprobs": None}, 9)("prompts", "trainer")
    assert output == {"completion_ids": [[9]], "logprobs": None}


def test_groups_are_cut_in_the_order_of_their_rows() -> None:
    """Two ranks of two groups: rank 1 knows all rewards, and holds its own rows and rollouts."""
    rows = [{"problem_id": name} for name in "ccdd"]
    rewards = torch.tensor([[0.0], [1.0], [1.0], [1.0], [1.0], [0.0], [0.0], [0.0]])
    first, _, third, last = groups_of(rows, [rollout(i) for i in range(4)], rewards, rewards + 5, range(8), 2, rank=1)
    assert (first.row, first.rollouts, first.rank, first.tokens, first.mixed) == (None, None, 0, 1, True)
    assert third.row is not None and third.row["problem_id"] == "c" and third.mixed and third.tokens == 4 + 5
    assert last.row is not None and last.row["problem_id"] == "d" and not last.mixed and last.rank == 1
    assert last.rollouts is not None and [one.completion_ids for one in last.rollouts] == [[2], [3]]
    assert third.baseline_F is not None and third.baseline_F.tolist() == [6.0]
    assert groups_of(rows, [rollout(i) for i in range(4)], rewards, None, range(8), 2, rank=0)[0].baseline_F is None


def test_a_group_stays_where_it_is_while_its_rank_has_room() -> None:
    assert homes([0, 0, 0, 1, 0, 2], ranks=3, share=2) == [0, 0, 1, 1, 2, 2]
    assert homes([0, 1, 0, 1], ranks=2, share=2) == [0, 1, 0, 1]
    assert homes([0, 0, 0, 0], ranks=1, share=4) == [0] * 4


def groups() -> list[Group]:
    """Two mixed groups and one that fills up the batch, of two rollouts."""
    accuracies = ([1.0, 0.0], [0.0, 1.0], [0.0, 0.0])
    return [Group({"problem_id": str(i)}, [rollout(i), rollout(i, i)], torch.tensor(a)[:, None], torch.tensor([a[1]]),
                  tokens=3) for i, a in enumerate(accuracies)]


def test_only_rollouts_that_may_be_trained_on_are_kept() -> None:
    refill = Refill(2, GroupFilter(max_batches=3, when_exhausted="fewer"))
    refill.add(groups()[2:])
    assert refill.groups[0].rollouts is not None  # it may have to fill up the batch
    refill.add(groups()[:1])
    assert [group.rollouts is not None for group in refill.groups] == [True, True]
    refill.add(groups()[:2])
    assert [group.rollouts is not None for group in refill.groups] == [False, True, True, False]
    chosen, used = refill.dealt(rank=0, ranks=1)
    assert [group.row for group in chosen] == [{"problem_id": "0"}] * 2 and used == [True, True]


def test_a_rank_trains_on_its_share_of_the_chosen_groups() -> None:
    step = Step(0, [])
    step.train_on(groups()[1:], [True, False], rank=1, share=1, device=CPU)
    assert [row["problem_id"] for row in step.rows] == ["2", "2"] and step.rows[0] is not step.rows[1]
    assert step.chosen is not None and len(step.chosen) == 1
    for tensor, expected in ((step.rewards_NF, [[0], [1], [0], [0]]), (step.baseline_NF, [[1], [1], [0], [0]]),
                             (step.used_N, [True, True, False, False])):  # of all ranks
        assert tensor is not None and tensor.tolist() == expected


def test_progress_counts_what_was_generated_and_what_was_used() -> None:
    mask = torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 0.0]])  # the third rollout stays out of the loss
    step = Step(0, [], greedy_tokens=10)
    step.batch = RolloutBatch(torch.zeros(3), torch.zeros(3), torch.arange(3), mask, torch.tensor([2, 1, 2]))
    progress = Progress()
    progress.add(step)
    assert (progress.generated_rollouts, progress.generated_tokens) == (3, 2 + 1 + 2 + 10)
    assert (progress.used_rollouts, progress.used_tokens) == (2, 3)
    step.refill = Refill(2, GroupFilter())
    step.refill.add(groups())  # six rollouts of 1 and 2 tokens, of which the batch above is made
    progress.add(step)
    assert (progress.generated_rollouts, progress.generated_tokens) == (3 + 6, 15 + 9 + 10)
    assert progress.metrics() == {"perf/generated_rollouts": 9.0, "perf/generated_tokens": 34.0,
                                  "perf/used_rollouts": 4.0, "perf/used_tokens": 6.0}


def test_running_means_are_over_tokens_and_ranks() -> None:
    means, nan = RunningMeans(), float("nan")

    def twice(totals: torch.Tensor) -> Any:
        return 2 * totals  # as if two ranks had the same

    assert means.take(twice) == {}
    means.add({"b": Measured(torch.tensor([[1.0, nan]]), torch.tensor([[1, 0]]))})
    means.add({"b": Measured(torch.tensor([[2.0, 6.0]], requires_grad=True), torch.tensor([[1, 1]])),
               "a": Measured(torch.tensor([[4.0, 4.0]]), torch.tensor([[0.0, 0.5]]))})
    assert means.take(twice) == {"a": (4.0, 1.0), "b": (18.0, 6.0)}
    assert means.take(twice) == {}


def test_the_history_counts_judged_and_correct_rollouts_by_problem() -> None:
    step, progress = Step(0, []), Progress()
    step.batch = RolloutBatch(
        torch.tensor([1.0, 0.0, math.nan, 1.0]), torch.zeros(4), torch.tensor([0, 0, 1, 1]), torch.ones(4, 1),
        lengths_N=torch.ones(4), problem_ids=("a", "b"))
    progress.add(step)
    assert progress.history == {}
    progress.add(step, history=True)
    progress.add(step, history=True)
    assert progress.history == {"a": [4, 2], "b": [2, 2]}
    assert progress.history_of(["b", "c", "a"]).tolist() == [[2, 2], [0, 0], [4, 2]]


def test_pass_at_k_of_the_training_prompts_leaves_out_what_was_not_judged() -> None:
    groups = [torch.tensor(values)
              for values in ([0.0] * 4, [1.0, 0.0, 0.0, 0.0], [1.0] * 4, [1.0, math.nan, 1.0, 1.0])]
    found = boundary_metrics(groups)
    assert found["train/pass@2"] == pytest.approx(0.5) and found["train/pass@4"] == pytest.approx(2 / 3)
    assert found["train/predicted_pass@256/low"] <= found["train/predicted_pass@256"] <= 1.0
    assert boundary_metrics(groups[3:]) == {} and boundary_metrics([torch.tensor([1.0])]) == {}
