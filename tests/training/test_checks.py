"""A training stops at the first NaN or infinity: in the credit, the loss, the gradient or the logits."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import get_scheduler

from rlvr.algorithms.grpo import GRPO, GRPOConfig
from rlvr.config.recipe import load_recipe
from rlvr.interfaces import Credit, RolloutBatch, SampleRequest, TokenBatch
from rlvr.lab.countdown import problems
from rlvr.lab.model import build_tokenizer
from rlvr.models.sampler import TransformersSampler
from rlvr.runs.run_dir import RunDir
from rlvr.training.arguments import training_arguments
from rlvr.training.checks import check_gradient, check_loss, named
from rlvr.training.objective import Measured, Objective
from rlvr.training.trainer import RLVRTrainer
from rlvr.types import Decoding, NonFiniteError
from tests.support.tiny import ParityJudge, config, tiny_model, train_problems

NAN = float("nan")


class NanCredit(GRPO):
    """One NaN in the second rollout batch, on a token that counts."""

    calls = 0

    def advantages(self, batch: RolloutBatch) -> Credit:
        self.calls += 1
        credit = super().advantages(batch)
        if self.calls == 2:
            credit.advantages_NT[3, 0] = NAN
        return credit


class NanLoss(GRPO):
    def token_loss(self, tokens: TokenBatch) -> torch.Tensor:
        return tokens.logps_BT * torch.where(tokens.advantages_BT > 0, math.inf, 1.0)


class InfiniteGradient(GRPO):
    """Every loss is 0; the slope of the square root at 0 is not finite."""

    def token_loss(self, tokens: TokenBatch) -> torch.Tensor:
        return (tokens.logps_BT - tokens.logps_BT.detach()).sqrt()


def trained(folder: Path, algorithm: GRPO, **changes: Any) -> tuple[RLVRTrainer, str]:
    """A training that must stop, and why it says it did."""
    trainer = RLVRTrainer(
        tiny_model(), algorithm=algorithm, problems=train_problems(), judge=ParityJudge(),
        args=config(folder, **changes), processing_class=build_tokenizer(),
    )
    with pytest.raises(NonFiniteError) as error:
        trainer.train()
    assert all(parameter.isfinite().all() for parameter in trainer.model.parameters())
    return trainer, str(error.value)


def test_a_nan_credit_stops_the_run_and_the_last_checkpoint_stays(tmp_path: Path) -> None:
    _, text = trained(tmp_path, NanCredit(GRPOConfig()), save_strategy="steps", save_steps=1)
    assert text == (
        "step 2, rank 0: NanCredit.advantages: advantages_NT is NaN or infinite for 1 of 16 rollouts, the first is "
        "number 3; test the algorithm with rlvr.algorithms.checks.check_algorithm"
    )
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-1"]


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    _, text = trained(tmp_path, NanLoss(GRPOConfig()))
    assert text.startswith("step 1, rank 0: the loss is -inf")


@pytest.mark.parametrize("max_grad_norm", [1.0, 0.0])  # 0: no clip
def test_a_gradient_that_is_not_finite_stops_the_run(tmp_path: Path, max_grad_norm: float) -> None:
    _, text = trained(tmp_path, InfiniteGradient(GRPOConfig()), max_grad_norm=max_grad_norm)
    assert text.startswith("step 1, rank 0: the norm of the gradient is nan; not finite in ")
    assert "more; a lower" in text


def test_damaged_weights_stop_the_rollouts(tmp_path: Path) -> None:
    class Damages(GRPO):
        def advantages(self, batch: RolloutBatch) -> Credit:
            with torch.no_grad():  # as an overflow in the optimizer would
                next(trainer.model.parameters()).fill_(math.inf)
            return super().advantages(batch)

    trainer = RLVRTrainer(
        tiny_model(), algorithm=Damages(GRPOConfig()), problems=train_problems(), judge=ParityJudge(),
        args=config(tmp_path), processing_class=build_tokenizer(),
    )
    with pytest.raises(NonFiniteError, match="step 1, rank 0: the loss is nan; not finite in it: train/"):
        trainer.train()


@pytest.mark.parametrize("value", [NAN, math.inf, -math.inf])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_samplers_refuse_logits_that_are_not_finite(value: float, temperature: float) -> None:
    model, tokenizer = tiny_model(), build_tokenizer()
    request, decoding = SampleRequest(problems("test", 1)[0], 0), Decoding(temperature=temperature, max_new_tokens=4)
    sampler = TransformersSampler(model, tokenizer)
    assert len(sampler.sample([request], decoding, seed=0, stream="s")) == 1
    original = model.lm_head.forward

    def damaged(hidden: torch.Tensor) -> torch.Tensor:
        logits = original(hidden)
        return torch.full_like(logits, value) if value == -math.inf else logits.index_fill(-1, torch.tensor([7]), value)

    model.lm_head.forward = damaged
    with pytest.raises(NonFiniteError, match="the model's logits are NaN or infinite at token 1 of a completion"):
        sampler.sample([request], decoding, seed=0, stream="s")


def test_a_token_that_must_not_be_drawn_is_fine() -> None:
    model, request = tiny_model(), SampleRequest(problems("test", 1)[0], 0)
    original = model.lm_head.forward
    model.lm_head.forward = lambda hidden: original(hidden).index_fill(-1, torch.tensor([7]), -math.inf)
    (completion,) = TransformersSampler(model, build_tokenizer()).sample(
        [request], Decoding(max_new_tokens=4), seed=0, stream="s"
    )
    assert completion.num_tokens


def test_the_loss_names_what_is_not_finite() -> None:
    mask, nan = torch.tensor([[1, 0]]), torch.tensor([[NAN, 1.0]])
    measured = {"train/kl": Measured(nan, mask), "train/entropy": Measured(nan.flip(1), mask)}
    check_loss(Objective(torch.tensor(0.0), measured), sampler_is_exact=False)
    with pytest.raises(NonFiniteError, match=r"^the loss is nan; not finite in it: train/kl$"):
        check_loss(Objective(torch.tensor(NAN), measured), sampler_is_exact=False)
    with pytest.raises(NonFiniteError, match="all its terms are finite"):
        check_loss(Objective(torch.tensor(math.inf), {}), sampler_is_exact=False)


def test_the_gradient_names_its_parameters() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.Linear(1, 1))
    check_gradient(torch.tensor(1.0), model)
    check_gradient(None, model)  # DeepSpeed clips by itself
    model[1].weight.grad = torch.tensor([[math.inf]])
    with pytest.raises(NonFiniteError) as error, named(4, 1):
        check_gradient(torch.tensor(math.inf), model)
    start = "step 4, rank 1: the norm of the gradient is inf; not finite in 1.weight; a lower"
    assert str(error.value).startswith(start)


def test_the_log_shows_what_is_not_finite(tmp_path: Path) -> None:
    recipe = load_recipe("recipes/quickstart/lab_grpo.yaml")
    assert training_arguments(recipe, RunDir(tmp_path)).logging_nan_inf_filter is False


def test_a_constant_learning_rate_has_its_warm_up(tmp_path: Path) -> None:
    """Bug: `train.warmup_steps` did nothing with the default `lr_schedule: constant`: in transformers it has none."""
    def rates(*settings: str) -> list[float]:
        recipe = load_recipe("recipes/quickstart/lab_grpo.yaml", ["train.learning_rate=1.0", *settings])
        arguments, weight = training_arguments(recipe, RunDir(tmp_path)), torch.nn.Parameter(torch.zeros(1))
        optimizer = torch.optim.SGD([weight], lr=1.0)
        schedule = get_scheduler(arguments.lr_scheduler_type, optimizer, arguments.warmup_steps, 20)
        found = []
        for _ in range(6):
            found.append(schedule.get_last_lr()[0])
            optimizer.step()
            schedule.step()
        return found

    assert rates("train.warmup_steps=4") == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates() == [1.0] * 6
