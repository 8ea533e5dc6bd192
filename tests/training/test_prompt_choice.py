"""Problems drawn by what they can still add to pass@k: weights by hand, frequencies, a training and its resume."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from rlvr.algorithms.grpo import GRPO, GRPOConfig
from rlvr.config.algorithm import build_algorithm
from rlvr.config.recipe import load_recipe
from rlvr.config.sections import PromptChoice
from rlvr.interfaces import RolloutBatch
from rlvr.lab.model import build_tokenizer
from rlvr.models.seeded import row_key
from rlvr.training.prompt_choice import chosen_rows, draw, log_weights
from rlvr.training.prompt_stream import PromptStream
from rlvr.training.step import Progress, Step
from rlvr.training.trainer import RLVRTrainer
from rlvr.types import UserError
from tests.support.small_run import RECIPE
from tests.support.tiny import ParityJudge, config, max_difference, tiny_model, train_problems


def test_weights_by_hand() -> None:
    """k = 3: 3 E[(1 - p)^2] under Beta(1, 1), Beta(1, 3) and Beta(3, 1) is 1, 3 (3 4) / (4 5) and 3 (1 2) / (4 5)."""
    history_P2 = torch.tensor([[0, 0], [2, 0], [2, 2]])
    mean = (1 + 1.8 + 0.3) / 3
    expected = [1 / mean, 1.8 / mean, 0.3 / mean]
    assert log_weights(history_P2, PromptChoice(k=3, uniform=0.0)).exp().tolist() == pytest.approx(expected)
    assert log_weights(history_P2, PromptChoice(k=3, uniform=0.5)).exp().tolist() == pytest.approx(
        [0.5 * each + 0.5 for each in expected])


def test_problems_that_are_solved_thousands_of_times_are_still_told_apart() -> None:
    """Bug: all weights were 0 / 0, and the same problems were drawn for every seed.

    After s of s the gain is k B(s + 1, k) / B(s + 1, 1), that is, k! over the product of s + 2 .. s + k.
    """
    solved_P = torch.tensor([2000, 4000])
    log_P = log_weights(torch.stack([solved_P, solved_P], 1), PromptChoice(uniform=0.0))
    assert (log_P[0] - log_P[1]).item() == pytest.approx(
        sum(math.log(4000 + j) - math.log(2000 + j) for j in range(2, 257)), rel=1e-9)
    assert log_P.exp().sum().item() == pytest.approx(2.0)
    seen = {place for seed in range(50) for place in draw(torch.tensor([-2000.0, -2000.5, -3000.0]), 1, seed)}
    assert seen == {0, 1}


def test_the_prior_weighs_right_and_wrong() -> None:
    """k = 2: 2 E[1 - p] under Beta(2, 6), Beta(2, 8) and Beta(4, 6) is 2 6/8, 2 8/10 and 2 6/10, mean 4.3 / 3."""
    history_P2 = torch.tensor([[0, 0], [2, 0], [2, 2]])
    found = log_weights(history_P2, PromptChoice(k=2, uniform=0.0, prior_right=2.0, prior_wrong=6.0)).exp()
    assert found.tolist() == pytest.approx([1.5 * 3 / 4.3, 1.6 * 3 / 4.3, 1.2 * 3 / 4.3])


def test_processes_share_the_drawn_prompts() -> None:
    def rows(processes: int, rank: int) -> list[str]:
        trainer = SimpleNamespace(
            stream=PromptStream(train_problems(), prompts_per_step=4, seed=0), progress=Progress(), rollout_seed=0,
            accelerator=SimpleNamespace(num_processes=processes, process_index=rank), prompt_choice=PromptChoice(k=8),
            state=SimpleNamespace(global_step=5), prompts_per_step=4, num_generations=2)
        return [row["problem_id"] for row in chosen_rows(trainer)]

    whole = rows(1, 0)
    assert len(whole) == 8 and len(set(whole)) == 4 and whole[::2] == whole[1::2]
    assert rows(2, 0) == whole[:4] and rows(2, 1) == whole[4:]


def test_problems_are_drawn_by_their_weights_and_once() -> None:
    weights_P = torch.tensor([1.0, 2.0, 5.0, 0.5]).double()
    log_P = weights_P.log()
    first = torch.tensor([draw(log_P, 1, seed)[0] for seed in range(4000)]).bincount(minlength=4) / 4000
    assert torch.allclose(first.double(), weights_P / 8.5, atol=0.03)  # four standard errors
    # Of pairs: the chance that the rarest is among them, 0.5/8.5 + sum over the others of w/8.5 * 0.5/(8.5 - w).
    rare = sum(3 in draw(log_P, 2, seed) for seed in range(4000)) / 4000
    assert rare == pytest.approx((0.5 + 1 * 0.5 / 7.5 + 2 * 0.5 / 6.5 + 5 * 0.5 / 3.5) / 8.5, abs=0.025)
    assert sorted(draw(log_P, 4, 7)) == [0, 1, 2, 3] and draw(log_P, 3, 7) == draw(log_P, 3, 7)


def trained(folder: Path, resume: Path | None = None) -> tuple[RLVRTrainer, list[RolloutBatch]]:
    """Four steps that weigh by the history alone, and their rollouts."""
    trainer = RLVRTrainer(
        tiny_model(), algorithm=GRPO(GRPOConfig()), problems=train_problems(), judge=ParityJudge(),
        prompt_choice=PromptChoice(k=64, uniform=0.0), processing_class=build_tokenizer(),
        args=config(folder, max_steps=4, save_strategy="steps", save_steps=2))
    seen: list[RolloutBatch] = []
    original = trainer.gathered_batch

    def gathered_batch(step: Step, tensors: dict[str, Any]) -> RolloutBatch:
        seen.append(original(step, tensors))
        return seen[-1]

    trainer.gathered_batch = gathered_batch
    trainer.train(resume_from_checkpoint=None if resume is None else str(resume))
    return trainer, seen


def test_a_training_draws_by_its_history_and_resumes(tmp_path: Path) -> None:
    trainer, seen = trained(tmp_path)
    names = [row["problem_id"] for row in trainer.stream.rows]
    history = {name: [0, 0] for name in names}
    for step, batch in enumerate(seen):
        log_P = log_weights(torch.tensor([history[name] for name in names]), PromptChoice(k=64, uniform=0.0))
        seed = row_key(trainer.rollout_seed, "prompts", f"step {step}", 0) % 2**63
        assert batch.problem_ids == tuple(names[place] for place in draw(log_P, trainer.prompts_per_step, seed))
        assert batch.problem_ids is not None
        for group, right in zip(batch.group_N.tolist(), batch.accuracy_N.tolist(), strict=True):
            history[batch.problem_ids[group]][0] += 1
            history[batch.problem_ids[group]][1] += int(right)
    assert trainer.progress.history == {name: counts for name, counts in history.items() if counts[0]}
    resumed, later = trained(tmp_path, tmp_path / "checkpoint-2")
    assert [batch.problem_ids for batch in later] == [batch.problem_ids for batch in seen[2:]]
    assert max_difference(resumed.model, trainer.model) == 0.0


def test_dynamic_sampling_and_mixtures_draw_their_own(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    two = "data.train={a: {source: lab, split: train, size: 64}, b: {source: lab, split: train, size: 32}}"
    with pytest.raises(UserError, match=r"train\.choose_prompts: found .*, expected null with several sources"):
        load_recipe(tmp_path / "recipe.yaml", ["train.choose_prompts={k: 8}", two])
    recipe = load_recipe(tmp_path / "recipe.yaml", ["train.choose_prompts={k: 8}", "algorithm={name: dapo}"])
    with pytest.raises(UserError, match=r"train\.choose_prompts: found a section, expected null for .*dapo"):
        build_algorithm(recipe)
