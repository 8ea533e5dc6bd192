"""Which base a measurement is of: adapters that add nothing change nothing. Run: pytest tests/models/test_weights.py"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import LoraConfig, TaskType, get_peft_model

from rlvr.models.weights import adapters_add_nothing, weights_hash
from rlvr.training.critic import attach_critic
from tests.support.tiny import tiny_model

BASE = weights_hash(tiny_model())


def wrapped(**changes: Any) -> Any:
    torch.manual_seed(1)  # factors A of their own, unlike the base's weights
    settings: dict[str, Any] = {"r": 2, "target_modules": "all-linear", "task_type": TaskType.CAUSAL_LM}
    return get_peft_model(tiny_model(), LoraConfig(**(settings | changes)))


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=torch.arange(3, 11)[None]).logits


def factor(model: Any, part: str) -> torch.Tensor:
    return next(p for n, p in model.named_parameters() if part in n).data


@pytest.mark.parametrize("changes", [
    {}, {"r": 8, "lora_alpha": 99, "lora_dropout": 0.3}, {"use_rslora": True}, {"target_modules": ["q_proj"]},
    {"target_modules": ["embed_tokens", "v_proj"]}, {"bias": "all"}, {"lora_bias": True},
])
def test_a_fresh_adapter_is_its_base(changes: dict[str, Any]) -> None:
    model = wrapped(**changes)
    assert torch.equal(logits(model), logits(tiny_model()))
    assert adapters_add_nothing(model) and weights_hash(model) == BASE


@pytest.mark.parametrize(("part", "value"), [
    ("lora_B.default.weight", 1e-6), ("k_proj.lora_B.default.weight", -0.5), ("base_layer.weight", 0.5),
    ("embed_tokens.weight", 0.5), ("lora_A.default.weight", float("nan")),
])
def test_any_weight_that_counts_makes_another_model(part: str, value: float) -> None:
    model = wrapped()
    factor(model, part).view(-1)[-1] = value
    assert weights_hash(model) != BASE


@pytest.mark.parametrize("changes", [
    {"init_lora_weights": False}, {"init_lora_weights": "pissa"}, {"use_dora": True}, {"modules_to_save": ["lm_head"]},
    {"layer_replication": [(0, 1), (0, 1)]}, {"trainable_token_indices": [1, 2]},
])
def test_an_adapter_that_may_add_something_is_part_of_the_model(changes: dict[str, Any]) -> None:
    model = wrapped(**changes)
    assert not adapters_add_nothing(model) and weights_hash(model) != BASE


def test_a_bias_of_an_adapter_counts_once_it_is_not_zero() -> None:
    model = wrapped(lora_bias=True)
    factor(model, "lora_B.default.bias")[0] = 0.1
    assert not torch.equal(logits(model), logits(tiny_model())) and weights_hash(model) != BASE


def test_one_of_two_adapters_that_adds_something_is_enough() -> None:
    model = wrapped()
    model.add_adapter("second", LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    assert weights_hash(model) != BASE


def test_a_critic_is_no_part_of_the_policy() -> None:
    full, adapted = tiny_model(), wrapped()
    attach_critic(full)
    attach_critic(adapted, adapted.peft_config["default"])
    factor(adapted, "lora_B.critic.weight")[0] = 1.0
    assert weights_hash(full) == weights_hash(adapted) == BASE


def test_ranks_agree_that_a_sharded_adapter_adds_nothing() -> None:
    model = wrapped()
    assert not adapters_add_nothing(model, lambda mine: [*mine, False])  # the other shard is not zero
    assert adapters_add_nothing(model, lambda mine: [*mine, True])
