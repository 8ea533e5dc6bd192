"""Memory and time of a training: by hand, and against what torch really holds for a small model on the CPU.

Run: python -m pytest tests/models/test_memory.py
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

from rlvr.cli.hardware import fits, hardware_lines, load_for, shape_for
from rlvr.config.recipe import load_recipe
from rlvr.lab.model import load_lab_model
from rlvr.models.memory import (
    GIB,
    GPUS,
    KNOWN,
    LOGITS_TILE,
    Gpu,
    Load,
    Shape,
    known_shape,
    layer_activations,
    memory,
    seconds_of_sampling,
    seconds_of_update,
    shape_of,
)
from rlvr.types import UserError

TINY = Shape(layers=2, hidden=4, intermediate=8, heads=2, kv_heads=1, head_size=2, vocabulary=10)
"""Per block: q and o 2 x 16, k and v 2 x 8, feed-forward 3 x 32, norms 8: 152. Whole: 80 + 2 x 152 + 4 = 388."""
LOAD = Load(shape=TINY, processes=4, sharding="ddp", weight_bytes=4, bf16=False, rows=2, row_tokens=5, sampled_rows=3)
SMALL: dict[str, Any] = {"num_hidden_layers": 4, "hidden_size": 64, "intermediate_size": 176, "num_attention_heads": 4,
                         "num_key_value_heads": 2, "vocab_size": 300, "max_position_embeddings": 128}


def small(cls: Any = LlamaForCausalLM, config: Any = LlamaConfig, **changes: Any) -> Any:
    torch.manual_seed(0)
    return cls(config(**(SMALL | {"attn_implementation": "sdpa"} | changes)))


def test_weights_by_hand() -> None:
    assert (TINY.layer_parameters, TINY.parameters) == (152, 388)
    assert dataclasses.replace(TINY, tied=True).parameters == 348
    # rank 1: q 4 + 4, o 4 + 4, k and v 4 + 2 each, three of the feed-forward part 4 + 8: 64 per block
    assert TINY.lora_parameters(3) == 2 * 3 * 64
    assert TINY.cache_numbers == 2 * 2 * 1 * 2


@pytest.mark.parametrize("model", [
    small(), small(tie_word_embeddings=True), small(head_dim=24), small(attention_bias=False, num_key_value_heads=4),
    small(Qwen3ForCausalLM, Qwen3Config, head_dim=16), load_lab_model("lab")[0],
], ids=["llama", "tied", "wide heads", "all heads", "qwen3", "lab"])
def test_weights_are_those_of_torch(model: Any) -> None:
    shape = shape_of(model.config.to_dict())
    assert shape is not None and shape.parameters == sum(p.numel() for p in model.parameters())


def test_the_table_agrees_with_the_cards_and_others_are_not_guessed() -> None:
    """Qwen2.5's cards: 0.49, 1.54, 3.09, 7.61, 14.7 and 32.5 B; the hub counts 8.29 B weights for Qwen2.5-VL-7B."""
    billions = [round(shape.parameters / 1e9, 2) for shape in KNOWN.values()]
    assert billions == [0.49, 1.54, 3.09, 7.62, 14.77, 32.76, 8.29]
    assert known_shape("Qwen/Qwen2.5-Math-7B-Instruct") == KNOWN["Qwen/Qwen2.5-7B"]
    assert known_shape("Qwen/Qwen3-30B-A3B") is None and shape_of({"model_type": "qwen3_moe"}) is None


def test_ddp_by_hand() -> None:
    """388 weights in float32: 4 bytes each, as much gradient, as much again in DDP's buckets, 8 of AdamW."""
    found = memory(LOAD, 10**6)
    assert (found.weights, found.gradients, found.optimizer, found.buffers) == (1552, 1552, 3104, 1552)
    assert found.cache == 3 * 5 * 8 * 4 and found.logits == 2 * 5 * 10 * 4 and found.engine == found.reference == 0
    assert found.activations == 2 * layer_activations(TINY, 10, 4)
    # per token and block: norms 2 x (16 + 32), attention 4 x 2 x 2 x 3, feed-forward 4 x 4 x 8
    assert layer_activations(TINY, 10, 4) == 10 * (96 + 48 + 128)
    assert found.peak == 1552 + 3104 + 1552 + 1552 + found.activations + found.logits
    assert memory(dataclasses.replace(LOAD, processes=1), 10**6).buffers == 0
    assert memory(dataclasses.replace(LOAD, bf16=True), 10**6).buffers == 1552 + 2 * 388  # autocast's copies
    checkpointed = memory(dataclasses.replace(LOAD, checkpointing=True), 10**6).activations
    assert checkpointed == 2 * 10 * 4 * 4 + layer_activations(TINY, 10, 4)
    assert memory(dataclasses.replace(LOAD, optimizer_bytes=2.0), 10**6).optimizer == 776


def test_sharded_by_hand() -> None:
    """bfloat16 weights under DeepSpeed: 2 bytes, and 4 of master copy, 8 of AdamW and 4 of gradient, a quarter here."""
    bf16 = dataclasses.replace(LOAD, weight_bytes=2, bf16=True)
    two, three, fsdp = (memory(dataclasses.replace(bf16, sharding=how), 10**6) for how in ("zero2", "zero3", "fsdp2"))
    assert (two.weights, three.weights, fsdp.weights) == (776, 194, 194)
    assert two.optimizer == three.optimizer == 388 * 12 / 4 and two.gradients == three.gradients == 388
    assert (fsdp.optimizer, fsdp.gradients) == (388 * 4 / 4, 388 * 2 / 4)  # FSDP2 keeps its states in the weights' type
    assert three.cache == 3 * 5 * 8 * 2 + 776 and two.cache == 3 * 5 * 8 * 2  # generation gathers all weights
    assert (three.checkpoint_model, three.checkpoint_optimizer) == (776, 388 * 12 / 4)
    assert fsdp.buffers == 2 * 2 * 152 and three.buffers == 388 * 2 + 4 * 388


def test_what_comes_beside_the_policy_by_hand() -> None:
    lora = memory(dataclasses.replace(LOAD, processes=1, lora=3), 10**6)  # 384 adapter weights
    assert (lora.weights, lora.gradients, lora.optimizer) == (1552 + 4 * 384, 4 * 384, 8 * 384)
    assert lora.checkpoint_model == 4 * 384
    quantized = memory(dataclasses.replace(LOAD, processes=1, lora=3, weight_bytes=0.55), 10**6)
    assert quantized.weights == pytest.approx(0.55 * 388 + 4 * 384)
    critic = memory(dataclasses.replace(LOAD, processes=1, critic=True), 10**6)  # the head is left out: 348 more
    assert (critic.weights, critic.optimizer) == (4 * 736, 8 * 736) and critic.activations == 2 * 2 * 2720
    reference = dataclasses.replace(LOAD, reference=True)
    assert memory(reference, 10**6).reference == 1552
    assert memory(dataclasses.replace(reference, lora=3), 10**6).reference == 0  # the base without its adapters
    engine = memory(dataclasses.replace(LOAD, engine_share=0.25), 10**6)
    assert engine.engine == 250_000 and engine.cache == 0
    assert memory(dataclasses.replace(LOAD, rows=10**5, row_tokens=10**4), 1).logits == 4 * LOGITS_TILE


def test_a_step_of_torch_holds_what_is_forecast() -> None:
    """AdamW's state, gradients and weights to the byte; saved activations within a tenth."""
    model = small()
    shape = shape_of(model.config.to_dict())
    assert shape is not None
    ids = torch.randint(0, 300, (3, 40))
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    saved: dict[int, int] = {}

    def pack(x: torch.Tensor) -> torch.Tensor:
        storage = x.untyped_storage()
        if storage.data_ptr() not in own and x.is_floating_point():
            saved[storage.data_ptr()] = storage.nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
    optimizer = torch.optim.AdamW(model.parameters())
    model.lm_head(hidden).square().mean().backward()
    optimizer.step()
    load = Load(shape=shape, processes=1, sharding="ddp", weight_bytes=4, bf16=False, rows=3, row_tokens=40,
                sampled_rows=1)
    found = memory(load, 10**9)
    parameters = list(model.parameters())
    assert found.weights == sum(p.nbytes for p in parameters) == sum(p.grad.nbytes for p in parameters)
    assert found.gradients == found.weights
    states = [value for state in optimizer.state.values() for key, value in state.items() if key != "step"]
    assert found.optimizer == sum(value.nbytes for value in states)
    assert found.activations == pytest.approx(sum(saved.values()), rel=0.15)


def test_seconds_by_hand() -> None:
    """A GPU of 1000 FLOP and 100 bytes a second. Training: 6 FLOP per weight and token at 45% to 20% of the peak."""
    gpu = Gpu(memory=10**6, flops=1000.0, bandwidth=100.0)
    load = dataclasses.replace(LOAD, bf16=True)
    assert seconds_of_update(load, 10, gpu) == pytest.approx((6 * 388 * 10 / 450, 6 * 388 * 10 / 200))
    with_all = dataclasses.replace(load, checkpointing=True, critic=True, reference=True)
    assert seconds_of_update(with_all, 10, gpu)[0] == pytest.approx((8 * 2 + 2) * 388 * 10 / 450)
    assert seconds_of_update(LOAD, 10, gpu)[0] == pytest.approx(8 * 6 * 388 * 10 / 450)  # float32
    # generate: 7 rows in three turns of 3; each of 4 tokens reads the weights and on average half the caches of 3 rows
    read = 2 * 388 + 3 * 2 * 8 * 2
    assert seconds_of_sampling(load, 7, 4.0, gpu, 0.0) == pytest.approx((3 * 4 * read / 25, 3 * 4 * read / 5))
    # vLLM: caches of 4 tokens x 8 numbers x 2 bytes; 130 bytes hold two rows, so 4 turns
    engine = dataclasses.replace(load, engine_share=0.3)
    read = 2 * 388 + 2 * 2 * 8 * 2
    assert seconds_of_sampling(engine, 7, 4.0, gpu, 130.0) == pytest.approx((4 * 4 * read / 60, 4 * 4 * read / 25))


def test_the_recipe_decides_what_is_asked() -> None:
    recipe = load_recipe("recipes/paper/ppo.yaml")
    load = load_for(recipe, shape_for(recipe), 8, "zero3")
    assert (load.weight_bytes, load.bf16, load.rows, load.row_tokens) == (2.0, True, 4, 1024 + 8192)
    assert load.critic and load.checkpointing and load.engine_share == 0.3 and load.sampled_rows == 256
    assert load.lora is None and not load.reference and load.optimizer_bytes == 8.0
    budgets = load_recipe("recipes/math/gsm8k_grpo_1.5b.yaml", ["train.micro_batch_tokens=5000",
                                                                "train.rollout_batch_tokens=20000"])
    load = load_for(budgets, shape_for(budgets), 1, "ddp")
    longest = budgets.train.max_prompt_tokens + budgets.train.max_new_tokens
    assert (load.rows, load.sampled_rows) == (5000 // longest, 20000 // longest)
    changed = load_recipe("recipes/quickstart/gym_grpo_0.5b.yaml", [
        "model.lora={r: 4}", "train.optim=paged_adamw_8bit", "algorithm.kl_loss_coef=0.1"])
    load = load_for(changed, shape_for(changed), 1, "ddp")
    assert (load.lora, load.optimizer_bytes, load.reference, load.engine_share) == (4, 2.0, True, 0.0)


def test_lines_say_whether_it_fits_and_what_would(tmp_path: Path) -> None:
    recipe = load_recipe("recipes/math/math_grpo_7b.yaml")
    zero3, ddp = (" ".join(text for _, text in hardware_lines(recipe, processes=8, gpu_name="H100", sharding=how))
                  for how in ("zero3", "ddp"))
    assert zero3.startswith("fits 8 x H100 with zero3: peak ") and "7.62 B weights; a checkpoint is 14.2 GiB" in zero3
    assert ddp.startswith("does NOT fit 8 x H100 with ddp (zero2, zero3, fsdp2 would)")
    with pytest.raises(UserError, match=r"^--gpu: unknown GPU 'h1000'; did you mean 'h100'\?"):
        hardware_lines(recipe, processes=8, gpu_name="h1000", sharding="ddp")
    other = load_recipe("recipes/math/math_grpo_7b.yaml", ["model.path=some/model"])
    with pytest.raises(UserError, match=r"^--gpu: the shape of 'some/model' is not known here; give its"):
        shape_for(other)
    small().config.save_pretrained(tmp_path)
    assert shape_for(other, tmp_path / "config.json").layers == 4
    (tmp_path / "moe.json").write_text('{"model_type": "mixtral"}')
    with pytest.raises(UserError, match=r"moe.json describes a 'mixtral' model, whose memory is not forecast"):
        shape_for(other, tmp_path / "moe.json")


def test_an_engine_that_cannot_hold_the_weights_does_not_fit() -> None:
    load = dataclasses.replace(LOAD, shape=KNOWN["Qwen/Qwen2.5-32B"], weight_bytes=2, bf16=True, sharding="zero3",
                               processes=64, row_tokens=4096, rows=1, checkpointing=True, engine_share=0.3)
    found = memory(load, GPUS["h100"].memory)
    assert found.peak < 0.9 * 80 * GIB and not fits(found, GPUS["h100"], load)  # 61 GiB of weights into 24
