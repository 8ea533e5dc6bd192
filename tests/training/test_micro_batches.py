"""Micro-batches by tokens: which rows share one, and that the update stays that of padded micro-batches."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch

from rlvr.algorithms.clip_cov import ClipCov, ClipCovConfig
from rlvr.algorithms.dapo import DAPO, DAPOConfig
from rlvr.algorithms.grpo import GRPO, GRPOConfig
from rlvr.algorithms.gspo import GSPO, GSPOConfig
from rlvr.algorithms.ppo import PPO, PPOConfig
from rlvr.algorithms.reinforce_pp import ReinforcePP, ReinforcePPConfig
from rlvr.algorithms.remax import ReMax, ReMaxConfig
from rlvr.algorithms.rloo import RLOO, RLOOConfig
from rlvr.interfaces import Algorithm
from rlvr.lab.model import build_tokenizer
from rlvr.training.forward import Compact, Sequences, check_packable, trimmed
from rlvr.training.micro_batches import _cuts, gather_rows, parts, plan, row_lengths, take_rows
from rlvr.training.trainer import RLVRTrainer
from rlvr.types import UserError
from tests.support.tiny import ParityJudge, config, max_difference, tiny_model
from tests.training.test_forward import gpt2, ragged_problems

# --- which rows share a micro-batch


def test_plan_by_hand() -> None:
    # 4 x 9 tokens and 3 of 12 fit in 36, so two passes do; the shortest rows are together.
    assert plan([3, 12, 9, 0, 4, 11, 3], tokens=36, rows=9) == [[[1, 5, 2], [4, 0, 6]]]
    assert plan([3, 12, 9, 0, 4, 11, 3], tokens=36, rows=2) == [[[1, 5], [2, 4], [0, 6]]]
    # End to end the sum counts: 12 + 9 = 21 and 11 + 4 + 3 + 3 = 21 would be even, in the order of lengths 23 + 19 are.
    assert plan([3, 12, 9, 0, 4, 11, 3], tokens=36, rows=9, packed=True) == [[[1, 5], [2, 4, 0, 6]]]
    # A row above the budget is alone; two ranks run in step, on rows of about the same length.
    assert plan([50, 3, 3, 40], tokens=10, rows=9, ranks=2) == [[[0], [2]], [[3], [1]]]
    assert plan([5, 5], tokens=10, rows=9, ranks=1, at_least=2) == [[[0], [1]]]
    assert plan([0, 7, 0], tokens=10, rows=9, ranks=2) == [[[1]], [[]]]
    assert plan([0, 0], tokens=10, rows=9, ranks=2) == [[[]], [[]]]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("ranks", [1, 2, 4, 7])
def test_every_row_is_computed_once_within_the_budget(ranks: int, packed: bool) -> None:
    rng = random.Random(ranks)
    for _ in range(50):
        lengths = [min(int(rng.lognormvariate(5.2, 0.7)) + 1, 1024) for _ in range(rng.randint(1, 300))]
        lengths = [length * (rng.random() > 0.1) for length in lengths]
        rows = rng.choice([3, 16, 1000])
        found = plan(lengths, tokens=2048, rows=rows, ranks=ranks, packed=packed)
        assert len(found) == ranks and len({len(rank) for rank in found}) == 1
        members = [row for rank in found for part in rank for row in part]
        assert sorted(members) == [row for row, length in enumerate(lengths) if length]
        for part in (part for rank in found for part in rank if part):
            of_rows = [lengths[row] for row in part]
            assert len(part) <= rows and (sum(of_rows) if packed else len(part) * max(of_rows)) <= 2048


def test_real_tokens_and_balance_of_the_ranks() -> None:
    # Log-normal, mean a quarter of the longest: the case of the benchmark.
    rng = random.Random(0)
    lengths = [min(int(rng.lognormvariate(5.35, 0.62)) + 1, 1024) for _ in range(512)]
    found = plan(lengths, tokens=4096, rows=512, ranks=4)
    costs = [[len(part) * max(lengths[row] for row in part) for part in rank] for rank in found]
    assert sum(lengths) / sum(map(sum, costs)) > 0.9
    real = [sum(lengths[row] for part in rank for row in part) for rank in found]
    assert max(real) / min(real) < 1.1
    assert all(max(step) < 1.3 * min(step) for step in list(zip(*costs, strict=True))[:-1])


def test_a_plan_costs_a_step_per_micro_batch_not_per_row() -> None:
    class Counted(list[int]):
        reads = 0

        def __getitem__(self, index: Any) -> Any:
            self.reads += 1
            return super().__getitem__(index)

    before = list(range(0, 40_010, 10))  # 4,000 rows of 10 tokens
    for packed in (False, True):
        lengths, sums = Counted([10] * 4000), Counted(before)
        assert _cuts(lengths, sums, 4000, 9999, packed) == list(range(0, 4000, 400))
        assert lengths.reads + sums.reads <= 10 * (1 + 13)  # a bisection of 4,001 reads 12 or 13


# --- the tensors


def window() -> dict[str, Any]:
    """Three rows: prompts of 2, 1, 3 tokens, completions of 1, 4, 2; the last has no token in the loss."""
    return {
        "prompt_ids": torch.tensor([[0, 11, 12], [0, 0, 21], [31, 32, 33]]),
        "prompt_mask": torch.tensor([[0, 1, 1], [0, 0, 1], [1, 1, 1]]),
        "completion_ids": torch.tensor([[13, 0, 0, 0], [22, 23, 24, 25], [34, 35, 0, 0]]),
        "completion_mask": torch.tensor([[1, 0, 0, 0], [1, 1, 1, 1], [1, 1, 0, 0]]),
        "loss_mask": torch.tensor([[1, 0, 0, 0], [0, 1, 1, 1], [0, 0, 0, 0]]),
        "num_items_in_batch": torch.tensor(7),
    }


def test_rows_without_loss_need_no_pass_and_an_empty_part_weighs_nothing() -> None:
    assert row_lengths(window()).tolist() == [3, 5, 0]
    assert row_lengths(window() | {"nll_mask": torch.eye(3, 4).long()}).tolist() == [3, 5, 5]
    taken = take_rows(window(), [1])
    assert taken["completion_ids"].tolist() == [[22, 23, 24, 25]] and taken["num_items_in_batch"] == 7
    empty = take_rows(window(), [])
    assert empty["prompt_ids"].tolist() == [[0, 11, 12]] and empty["loss_mask"].sum() == 0
    assert parts({"a": 1}) == [{"a": 1}]


def test_pictures_go_with_their_rows() -> None:
    pictures = {"pixel_values": torch.arange(6.0)[:, None], "image_grid_thw": torch.tensor([[1, 1, 1], [1, 1, 2],
                [1, 1, 3]]), "num_images": [2, 0, 1]}
    taken = take_rows(window() | pictures, [2, 0])
    assert taken["num_images"] == [1, 2] and taken["pixel_values"].flatten().tolist() == [3, 4, 5, 0, 1, 2]
    assert taken["image_grid_thw"].tolist() == [[1, 1, 3], [1, 1, 1], [1, 1, 2]]


def test_rows_of_all_ranks_are_padded_on_their_side() -> None:
    def pad(x: torch.Tensor, dim: int, pad_first: bool) -> torch.Tensor:  # the other rank's rows are wider by one
        return torch.nn.functional.pad(x, (1, 0) if pad_first else (0, 1))

    def gather(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, x + 100])

    rows = gather_rows(window(), [4, 0], gather=gather, pad=pad)
    assert rows["prompt_ids"].tolist() == [[100, 100, 100, 121], [0, 0, 11, 12]]
    assert rows["completion_ids"].tolist() == [[122, 123, 124, 125, 100], [13, 0, 0, 0, 0]]


def test_layouts() -> None:
    tensors = window()
    rows = Sequences(torch.cat([tensors["prompt_ids"], tensors["completion_ids"]], 1),
                     torch.cat([tensors["prompt_mask"], tensors["completion_mask"]], 1), 4)
    padded, packed = (Compact.of(rows, packed=packed) for packed in (False, True))
    assert padded.inputs["input_ids"].tolist() == [[11, 12, 13, 0, 0], [21, 22, 23, 24, 25], [31, 32, 33, 34, 35]]
    assert packed.inputs["input_ids"].tolist() == [[11, 12, 13, 21, 22, 23, 24, 25, 31, 32, 33, 34, 35]]
    assert packed.inputs["position_ids"].tolist() == [[0, 1, 2, 0, 1, 2, 3, 4, 0, 1, 2, 3, 4]]
    for layout in (padded, packed):  # a model that predicts for every position the next token
        told = layout.inputs["input_ids"].roll(-1, 1).double().requires_grad_()
        assert layout.read(told).tolist() == tensors["completion_ids"].tolist()
        layout.read(told[:, :-1]).sum().backward()
        assert told.grad is not None and told.grad.sum() == 7
    some, columns = trimmed(Sequences(rows.input_ids[[0]], rows.attention_mask[[0]], 4))
    assert some.input_ids.tolist() == [[11, 12, 13]] and some.response_tokens == 1 and columns == slice(1, 4)


# --- rollouts, some at a time


@pytest.mark.parametrize("temperature", [1.0, 0.0])
def test_rollouts_in_parts_are_the_same_token_for_token(tmp_path: Path, temperature: float) -> None:
    trainer: Any = RLVRTrainer(
        tiny_model(), algorithm=GRPO(GRPOConfig()), problems=ragged_problems(), judge=ParityJudge(),
        args=config(tmp_path, max_completion_length=10), processing_class=build_tokenizer(),
    )
    tokenizer, generate, sizes = build_tokenizer(), trainer.model.generate, []
    prompts = [tokenizer(str(problem.prompt))["input_ids"] for problem in ragged_problems() for _ in range(2)]

    def counted(**inputs: Any) -> Any:
        if inputs.get("logits_processor"):
            sizes.append(inputs["input_ids"].shape)
        return generate(**inputs)

    drawn = []
    for trainer.args.rollout_batch_tokens in (None, 75, 1):
        trainer.model.generate = counted
        drawn.append(trainer.draw(list(range(32)), temperature, 1.0, prompts, None, {}, 1))
    (ids, logps), *others = drawn
    assert len({tuple(row) for row in ids}) > (16 if temperature else 2)
    assert sizes[0] == (32, 5) and len(sizes) == 1 + 7 + 32  # 5 prompt tokens and 10 more: 5 rows in 75 tokens
    assert sizes[1] == (5, 3) and sizes[7] == (2, 1)  # and no more columns than the prompts of the part
    for other_ids, other_logps in others:
        assert other_ids == ids
        assert list(chain(*other_logps)) == pytest.approx(list(chain(*logps)), abs=1e-5)


# --- the update


def rollouts(prompts: list[Any], trainer: Any) -> dict[str, Any]:
    """Completions of 1 to 12 tokens on prompts of 1 to 5, a function of prompt, place in the group and step."""
    tokenizer = build_tokenizer()
    completions = []
    for i, prompt in enumerate(prompts):
        rng = random.Random(f"{prompt}/{i % 4}/{trainer.state.global_step}")
        cut = [tokenizer.eos_token_id] if rng.random() < 0.8 else []
        completions.append([rng.randrange(100) for _ in range(rng.randint(1, 11))] + cut)
    return {"prompt_ids": [tokenizer(p)["input_ids"] for p in prompts], "completion_ids": completions, "logprobs": None}


def trained(folder: Path, algorithm: Algorithm[Any], model: Any, truncated: Any = "as_is", **settings: Any) -> Any:
    """The model after two updates on 16 rollouts, by plain SGD."""
    trainer = RLVRTrainer(
        model, algorithm=algorithm, problems=ragged_problems(), judge=ParityJudge(), truncated=truncated,
        args=config(folder, max_steps=2, max_completion_length=12, optim="sgd", learning_rate=0.3, max_grad_norm=1e9,
                    weight_decay=0.0, **settings),
        processing_class=build_tokenizer(), rollout_func=rollouts,
    )
    trainer.train()
    return trainer


TRL = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "steps_per_generation": 4}
TOKENS = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 1, "steps_per_generation": 2,
          "micro_batch_tokens": 30, "micro_batch_rows": 5}
CASES: dict[str, Callable[[], Algorithm[Any]]] = {
    "grpo": lambda: GRPO(GRPOConfig(entropy_coef=0.1)),
    "grpo-sequences": lambda: GRPO(GRPOConfig(aggregation="seq-mean-token-mean", kl_loss_coef=0.5)),
    "grpo-sums": lambda: GRPO(GRPOConfig(aggregation="seq-mean-token-sum")),
    "grpo-norm": lambda: GRPO(GRPOConfig(aggregation="seq-mean-token-sum-norm", entropy_target=9.0, entropy_coef=0.1)),
    "ppo": lambda: PPO(PPOConfig(critic_learning_rate=0.1, positive_nll_coef=0.1, critic_updates_per_rollout=2)),
    "rloo": lambda: RLOO(RLOOConfig()),
    "reinforce_pp": lambda: ReinforcePP(ReinforcePPConfig(kl_coef=0.1)),
    "remax": lambda: ReMax(ReMaxConfig()),
    "dapo": lambda: DAPO(DAPOConfig(when_exhausted="fewer", max_num_gen_batches=1)),
    "gspo": lambda: GSPO(GSPOConfig()),
    "clip_cov": lambda: ClipCov(ClipCovConfig()),
}
PACKED = ("grpo-sequences", "ppo", "reinforce_pp")
"""Also with rows that lie end to end."""


@pytest.mark.parametrize("case", CASES)
def test_the_update_does_not_depend_on_the_micro_batches(tmp_path: Path, case: str) -> None:
    truncated = "mask" if case in ("grpo", "dapo") else "as_is"
    base = tmp_path / "base"
    tiny_model().save_pretrained(base)  # a path, from which TRL loads the reference too
    build_tokenizer().save_pretrained(base)

    def run(name: str, settings: dict[str, Any]) -> Any:
        return trained(tmp_path / name, CASES[case](), str(base), truncated, **settings)

    one = run("rows", TRL)
    for packed in (False, True)[: 1 + (case in PACKED)]:
        two = run(f"tokens-{packed}", TOKENS | {"padding_free": packed})
        assert max_difference(one.model, two.model) <= 1e-6
        assert moved(two.model) > 1e-3
        real = [row["perf/real_token_frac"] for row in (one.state.log_history[0], two.state.log_history[0])]
        assert real[0] < 0.8 < real[1] <= 1 and (not packed or real[1] == 1), real
        for row_one, row_two in zip(one.state.log_history[:2], two.state.log_history[:2], strict=True):
            for key in (key for key in row_one if key.startswith("train/") or key in ("loss", "grad_norm")):
                assert row_two[key] == pytest.approx(row_one[key], rel=1e-3, abs=1e-5), key


@pytest.mark.parametrize("algorithm", [GRPO(GRPOConfig()), PPO(PPOConfig(critic_learning_rate=0.1))])
def test_a_padded_micro_batch_has_no_column_of_padding_at_its_ends(tmp_path: Path, algorithm: Algorithm[Any]) -> None:
    """Bug: each was as wide as the longest row of the whole rollout batch, the critic's too."""
    model, masks = tiny_model(), []

    def seen(_: Any, __: Any, inputs: dict[str, Any]) -> None:
        if torch.is_grad_enabled():
            masks.append((inputs.get("value_pass", False), inputs["attention_mask"]))

    model.register_forward_pre_hook(seen, with_kwargs=True)
    trained(tmp_path, algorithm, model, **TRL)
    assert {of_values for of_values, _ in masks} == ({False, True} if algorithm.needs.values else {False})
    assert len({mask.size(1) for _, mask in masks}) > 2  # else this tests nothing
    assert all(mask[:, 0].any() and mask[:, -1].any() for _, mask in masks)


def moved(model: Any) -> float:
    start = dict(tiny_model().named_parameters())
    return max((p - start[n]).abs().max().item() for n, p in model.named_parameters() if n in start)


def test_models_that_would_mix_rows_are_refused() -> None:
    check_packable(gpt2())
    mamba: Any = type("Mamba", (), {"_is_stateful": True, "forward": gpt2().forward})()
    with pytest.raises(UserError, match=r"train.padding_free: .* with Mamba, which carries a state"):
        check_packable(mamba)
    alibi: Any = type("Mpt", (), {"_is_stateful": False, "forward": lambda self, input_ids: None})()
    with pytest.raises(UserError, match=r"Mpt, which takes no positions"):
        check_packable(alibi)


@pytest.mark.parametrize("packed", [False, True])
def test_learned_positions_start_where_the_row_starts(tmp_path: Path, packed: bool) -> None:
    one, two = (trained(tmp_path / str(i), ReinforcePP(ReinforcePPConfig()), gpt2(), **settings).model
                for i, settings in enumerate((TRL, TOKENS | {"padding_free": packed})))
    assert max_difference(one, gpt2()) > 1e-3
    assert max_difference(one, two) <= 1e-6
