"""Training computes what the sampler drew from: learned positions, no dropout of any kind, a measured gap."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from rlvr.algorithms.grpo import GRPO, GRPOConfig
from rlvr.algorithms.ppo import PPO, PPOConfig
from rlvr.algorithms.reinforce_pp import ReinforcePP, ReinforcePPConfig
from rlvr.lab.model import build_tokenizer
from rlvr.training.checks import check_sampler_gap
from rlvr.training.forward import has_learned_positions, switch_off_dropout, with_positions
from rlvr.training.objective import Measured
from rlvr.training.passes import values
from rlvr.training.trainer import RLVRTrainer
from rlvr.types import Problem, UnsoundError
from tests.support.tiny import ParityJudge, config, tiny_model, train_problems


def gpt2(**settings: Any) -> Any:
    """Learned positions that matter, and dropout of every kind unless told otherwise."""
    torch.manual_seed(0)
    tokenizer: Any = build_tokenizer()
    model = GPT2LMHeadModel(GPT2Config(
        vocab_size=len(tokenizer), n_positions=64, n_embd=24, n_layer=1, n_head=2,
        bos_token_id=tokenizer.eos_token_id, eos_token_id=tokenizer.eos_token_id, **settings,
    ))
    with torch.no_grad():
        model.transformer.wpe.weight.mul_(50)
        model.transformer.wte.weight.mul_(10)
    return model


def ragged_problems() -> list[Problem]:
    """Prompts of several lengths, so that batches are padded on the left."""
    tokenizer = build_tokenizer()
    special = tokenizer.all_special_tokens
    words = sorted(token for token in tokenizer.get_vocab() if token.strip() and token not in special)
    return [
        Problem(f"ragged/{i}", " ".join(words[: 1 + i % 5]), "1", problem.verifier)
        for i, problem in enumerate(train_problems())
    ]


def make(folder: Path, model: Any, algorithm: Any = None, problems: Any = None, **changes: Any) -> RLVRTrainer:
    return RLVRTrainer(
        model, algorithm=algorithm or GRPO(GRPOConfig()), problems=problems or ragged_problems(), judge=ParityJudge(),
        args=config(folder, **changes), processing_class=build_tokenizer(),
    )


def gaps(trainer: Any) -> list[float]:
    return [row["train/sampler_gap"] for row in trainer.state.log_history if "train/sampler_gap" in row]


def test_learned_positions_are_those_of_generation(tmp_path: Path) -> None:
    trainer = make(tmp_path, gpt2(), learning_rate=1e-2)
    trainer.train()
    assert len(gaps(trainer)) == 3 and max(gaps(trainer)) < 1e-5
    padded = [s["prompt_mask"] for s in trainer._buffered_inputs or []]
    assert any((mask == 0).any() for mask in padded)


def test_the_reference_and_the_old_policy_have_them_too(tmp_path: Path) -> None:
    base = tmp_path / "base"
    gpt2().save_pretrained(base)
    build_tokenizer().save_pretrained(base)
    trainer = make(tmp_path / "run", str(base), ReinforcePP(ReinforcePPConfig(kl_coef=0.5)), max_steps=1)
    trainer.train()
    batch = trainer.step.batch
    assert batch is not None and batch.old_logps_NT is not None and batch.ref_logps_NT is not None
    kept = batch.mask_NT > 0
    assert (batch.old_logps_NT - batch.ref_logps_NT)[kept].abs().max() <= 1e-5
    sampled = torch.cat([s["sampling_per_token_logps"][s["loss_mask"] > 0] for s in trainer._buffered_inputs or []])
    assert sorted(sampled.tolist()) == pytest.approx(sorted(batch.old_logps_NT[kept].tolist()), abs=1e-5)


def test_a_critic_with_learned_positions_does_not_see_the_padding(tmp_path: Path) -> None:
    trainer = make(tmp_path, gpt2(), PPO(PPOConfig(critic_learning_rate=1e-2)), max_steps=2)
    trainer.train()
    torch.nn.init.normal_(trainer.model.critic_head.weight)
    for piece in trainer._buffered_inputs or []:
        with torch.no_grad():
            padded = values(trainer, trainer.model, piece)
        for i in range(len(padded)):
            start = int((piece["prompt_mask"][i] == 0).sum())
            alone = {key: piece[key][i : i + 1] for key in ("completion_ids", "completion_mask")}
            alone |= {key: piece[key][i : i + 1, start:] for key in ("prompt_ids", "prompt_mask")}
            with torch.no_grad():
                expected = values(trainer, trainer.model, alone)[0]
            kept = piece["completion_mask"][i] > 0
            assert padded[i][kept].tolist() == pytest.approx(expected[kept].tolist(), abs=1e-5)


def test_models_that_need_no_telling_are_called_as_ever() -> None:
    assert has_learned_positions(gpt2()) and not has_learned_positions(tiny_model())
    seen: dict[str, Any] = {}
    mask = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 0]])
    with_positions(lambda **inputs: seen.update(inputs))(attention_mask=mask, input_ids=mask)
    assert seen["position_ids"].tolist() == [[0, 0, 0, 1], [0, 1, 2, 2]]


def test_dropout_is_off_wherever_it_hides(tmp_path: Path) -> None:
    model = tiny_model()
    model.config.attention_dropout = 0.3
    for module in model.modules():
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.3  # a plain number that reaches a function, as in Granite
    trainer = make(tmp_path, model)
    trainer.train()
    assert len(gaps(trainer)) == 3 and max(gaps(trainer)) < 1e-5


def test_every_rate_is_found() -> None:
    model = gpt2(resid_pdrop=0.1, embd_pdrop=0.2, attn_pdrop=0.3)
    model.transformer.h[0].layerdrop = 0.5
    model.transformer.h[0].dropped = "x"
    switch_off_dropout(model)
    assert {module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)} == {0.0}
    assert model.transformer.h[0].layerdrop == 0.0 and model.transformer.h[0].dropped == "x"
    rates = {k: v for k, v in json.loads(model.config.to_json_string()).items() if "drop" in k}
    assert set(rates.values()) <= {0.0}


def test_a_gap_between_sampling_and_training_stops_the_run(tmp_path: Path) -> None:
    class Noisy(torch.nn.Module):
        """Stands for what nobody thought of: different in training mode, and no dropout."""

        def __init__(self, inner: torch.nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            return self.inner(hidden) * (1.5 if torch.is_grad_enabled() else 1.0)

    model = tiny_model()
    model.model.layers[0].mlp = Noisy(model.model.layers[0].mlp)
    with pytest.raises(UnsoundError, match=r"^step 1, rank 0: model: its log-prob.* differ by .* nats per token"):
        make(tmp_path, model).train()


def test_what_the_gap_is_over() -> None:
    mask = torch.tensor([[1, 1, 0]])
    check_sampler_gap(Measured(torch.tensor([[0.0, 1.9e-3, 9.0]]), mask))
    check_sampler_gap(Measured(torch.full((1, 3), 9.0), torch.zeros(1, 3)))  # the sampler said nothing
    with pytest.raises(UnsoundError, match=r"differ by 0.0011 nats"):
        check_sampler_gap(Measured(torch.tensor([[0.0, 2.2e-3, 0.0]]), mask))
