"""Weights pulled back to an anchor: numbers by hand, the optimizer's state, resume, adapters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerState

from rlvr.algorithms.grpo import GRPO, GRPOConfig
from rlvr.config.anchor import AnchorSpec
from rlvr.config.recipe import load_recipe
from rlvr.lab.model import build_tokenizer
from rlvr.training.anchor import Anchor, pulled
from rlvr.training.trainer import RLVRTrainer
from rlvr.types import UserError
from tests.support.small_run import RECIPE
from tests.support.tiny import ParityJudge, config, max_difference, tiny_model, train_problems


class OneProcess:
    """What an Anchor asks of an accelerator."""

    device, process_index, num_processes = torch.device("cpu"), 0, 1

    def wait_for_everyone(self) -> None:
        pass


class OneOfTwo(OneProcess):
    """The second of two processes, of which the first holds the same numbers."""

    process_index, num_processes = 1, 2

    def reduce(self, tensor: torch.Tensor, reduction: str) -> torch.Tensor:
        return {"sum": 2 * tensor, "mean": tensor}[reduction]


def anchored(spec: AnchorSpec, weights: list[float]) -> tuple[Anchor, torch.nn.Linear, list[dict[str, float]]]:
    model = torch.nn.Linear(len(weights), 1, bias=False)
    model.weight.data = torch.tensor([weights])
    logged: list[dict[str, float]] = []
    anchor = Anchor(spec, accelerator=OneProcess(), record=lambda metrics: logged.append(dict(metrics)))
    arguments: Any = None
    anchor.on_train_begin(arguments, TrainerState(), arguments, model=model)
    return anchor, model, logged


def update(anchor: Anchor, step: int) -> None:
    arguments: Any = None
    anchor.on_optimizer_step(arguments, TrainerState(global_step=step), arguments)


def test_every_n_updates_the_weights_move_a_share_back_to_the_base() -> None:
    anchor, model, logged = anchored(AnchorSpec(share=0.25, every=2), [1.0, 2.0])
    model.weight.data += torch.tensor([[4.0, -8.0]])
    update(anchor, 0)  # the first update: not yet
    assert model.weight.tolist() == [[5.0, -6.0]] and not logged
    update(anchor, 1)
    assert model.weight.tolist() == [[4.0, -4.0]]  # 5 - 0.25 * 4, -6 + 0.25 * 8
    assert logged == [{"train/anchor_distance": pytest.approx(80**0.5), "train/anchor_pull": pytest.approx(5**0.5)}]


def test_the_average_follows_the_weights() -> None:
    anchor, model, _ = anchored(AnchorSpec(share=0.5, every=2, to="average", decay=0.75), [0.0])
    model.weight.data += 8.0
    update(anchor, 0)  # average 0.25 * 8 = 2
    assert anchor.anchor["weight"].item() == 2.0 and model.weight.item() == 8.0
    update(anchor, 1)  # average 0.75 * 2 + 0.25 * 8 = 3.5, then half-way from 8 to it
    assert anchor.anchor["weight"].item() == 3.5 and model.weight.item() == 5.75


def test_what_is_logged_is_over_all_weights_and_all_parts_of_them() -> None:
    spec, logged = AnchorSpec(share=0.5), list[dict[str, float]]()
    arguments: Any = None
    for parts, times in ((False, 1), (True, 2)):  # the other process holds as much
        model: Any = torch.nn.Linear(2, 1)
        model.weight.data, model.bias.data = torch.tensor([[1.0, 2.0]]), torch.tensor([3.0])
        if parts:
            for weight in model.parameters():
                weight.to_local = weight.detach
        anchor = Anchor(spec, accelerator=OneOfTwo(), record=lambda metrics: logged.append(dict(metrics)))
        anchor.on_train_begin(arguments, TrainerState(), arguments, model=model)
        model.weight.data += torch.tensor([[4.0, 0.0]])
        model.bias.data += 2.0
        update(anchor, 0)
        assert model.weight.tolist() == [[3.0, 2.0]] and model.bias.tolist() == [4.0]
        assert logged[-1] == {"train/anchor_distance": pytest.approx((times * 20) ** 0.5),
                              "train/anchor_pull": pytest.approx((times * 5) ** 0.5)}
        name = "anchor-00001-of-00002.safetensors" if parts else "anchor-00000-of-00001.safetensors"
        assert anchor._file(Path("checkpoint")) == Path("checkpoint") / name


def test_the_anchor_of_bfloat16_weights_is_float32() -> None:
    model = torch.nn.Linear(1, 1, bias=False).bfloat16()
    model.weight.data.fill_(256.0)
    arguments: Any = None
    spec = AnchorSpec(share=0.5, every=9, to="average", decay=0.75)
    anchor = Anchor(spec, accelerator=OneProcess(), record=lambda _: None)
    anchor.on_train_begin(arguments, TrainerState(), arguments, model=model)
    model.weight.data += 2.0
    update(anchor, 0)  # 256 + 0.25 * 2, which bfloat16 would round to 256
    assert anchor.anchor["weight"].item() == 256.5 and model.weight.item() == 258.0


def test_of_adapters_the_second_factors_are_pulled_and_must_begin_at_0() -> None:
    model: Any = torch.nn.ModuleDict({name: torch.nn.Linear(1, 1, bias=False) for name in (
        "lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B")})
    model.peft_config = {}
    assert list(pulled(model)) == ["lora_B.weight", "lora_embedding_B.weight"]
    model["lora_B"].weight.data.zero_()  # the other one is not empty
    anchor, arguments = Anchor(AnchorSpec(share=0.5), accelerator=OneProcess(), record=lambda _: None), None
    with pytest.raises(UserError, match="starts from adapters that are not empty"):
        anchor.on_train_begin(arguments, TrainerState(), arguments, model=model)  # pyright: ignore[reportArgumentType]


def test_a_critic_is_not_pulled() -> None:
    model = torch.nn.ModuleDict({"body": torch.nn.Linear(2, 2), "critic_head": torch.nn.Linear(2, 1)})
    model.beside_policy = ("critic_head",)  # pyright: ignore[reportArgumentType]
    model["body"].bias.requires_grad_(False)
    assert list(pulled(model)) == ["body.weight"]


def trained(folder: Path, spec: AnchorSpec | None, resume: Path | None = None, **changes: Any) -> RLVRTrainer:
    """A tiny training as rlvr.train runs it."""
    lora = changes.pop("peft_config", None)
    trainer = RLVRTrainer(
        tiny_model(), algorithm=GRPO(GRPOConfig()), problems=train_problems(), judge=ParityJudge(),
        args=config(folder, **changes), processing_class=build_tokenizer(), peft_config=lora)
    if spec is not None:
        trainer.add_callback(Anchor(spec, accelerator=trainer.accelerator, record=trainer.record, resume_from=resume))
    trainer.train(resume_from_checkpoint=None if resume is None else str(resume))
    return trainer


def test_a_pull_all_the_way_gives_the_base_and_leaves_the_moments(tmp_path: Path) -> None:
    trainer = trained(tmp_path, AnchorSpec(share=1.0))
    assert max_difference(trainer.model, tiny_model()) == 0.0
    moments = [state["exp_avg"].abs().max() for state in trainer.optimizer.state.values()]
    assert moments and max(moments) > 0
    free = trained(tmp_path / "free", None, max_steps=1)
    held = trained(tmp_path / "held", AnchorSpec(share=0.5), max_steps=1)
    pairs = zip(free.optimizer.state.values(), held.optimizer.state.values(), strict=True)
    assert all(torch.equal(a["exp_avg"], b["exp_avg"]) and torch.equal(a["exp_avg_sq"], b["exp_avg_sq"])
               for a, b in pairs)
    rows = [row for row in held.state.log_history if "train/anchor_pull" in row]
    assert rows and rows[0]["train/anchor_pull"] == pytest.approx(rows[0]["train/anchor_distance"] / 2, rel=1e-5)


def test_an_anchor_that_never_pulls_changes_no_bit(tmp_path: Path) -> None:
    """Without the section there is no anchor, with one that waits for update 100 nothing happens in three."""
    free, waiting = trained(tmp_path / "free", None), trained(tmp_path / "waiting", AnchorSpec(share=0.5, every=100))
    assert max_difference(free.model, waiting.model) == 0.0 and max_difference(free.model, tiny_model()) > 0
    pairs = zip(free.optimizer.state.values(), waiting.optimizer.state.values(), strict=True)
    assert all(torch.equal(a[key], b[key]) for a, b in pairs for key in ("exp_avg", "exp_avg_sq"))
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    off = load_recipe(tmp_path / "recipe.yaml", ["train.anchor=null"])
    assert off == load_recipe(tmp_path / "recipe.yaml") and off.train.anchor is None


@pytest.mark.parametrize("to", ["average", "base"])
def test_a_resumed_run_goes_on_bit_for_bit(tmp_path: Path, to: Any) -> None:
    spec = AnchorSpec(share=0.3, every=2, to=to, decay=0.5)
    settings = {"max_steps": 4, "save_strategy": "steps", "save_steps": 3}
    whole = trained(tmp_path, spec, **settings)
    resumed = trained(tmp_path, spec, tmp_path / "checkpoint-3", **settings)
    assert max_difference(resumed.model, whole.model) == 0.0
    assert max_difference(whole.model, tiny_model()) > 1e-4
    (tmp_path / "checkpoint-3" / "anchor-00000-of-00001.safetensors").unlink()
    with pytest.raises(UserError, match="saved without an anchor"):
        trained(tmp_path, spec, tmp_path / "checkpoint-3", **settings)


def test_adapters_are_scaled(tmp_path: Path) -> None:
    from peft import LoraConfig

    def run(folder: str, spec: AnchorSpec | None) -> dict[str, torch.Tensor]:
        lora = LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
        torch.manual_seed(1)
        trainer = trained(tmp_path / folder, spec, peft_config=lora, max_steps=1)
        assert not list((tmp_path / folder).rglob("anchor-*"))
        return {name: weight.detach() for name, weight in trainer.model.named_parameters() if "lora_" in name}

    free, held = run("free", None), run("held", AnchorSpec(share=0.25))
    for name, weight in free.items():
        if "lora_B" in name:
            assert weight.abs().max() > 0 and torch.allclose(held[name], 0.75 * weight)
        else:
            assert torch.equal(held[name], weight)


def test_adapters_have_no_average(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    with pytest.raises(UserError, match=r"train\.anchor\.to: found .average. .text., expected base with model\.lora"):
        load_recipe(tmp_path / "recipe.yaml", ["train.anchor={share: 0.1, to: average}", "model.lora.r=4"])
    assert load_recipe(tmp_path / "recipe.yaml").train.anchor is None
