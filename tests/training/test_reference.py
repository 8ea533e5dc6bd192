"""The reference of a KL term, reset to the policy: numbers by hand, resume, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerState

from rlvr.algorithms.grpo import GRPO, GRPOConfig
from rlvr.config.algorithm import build_algorithm
from rlvr.config.recipe import load_recipe
from rlvr.lab.model import build_tokenizer
from rlvr.training.reference import ReferenceSync
from rlvr.training.trainer import RLVRTrainer
from rlvr.types import UserError
from tests.support.small_run import RECIPE
from tests.support.tiny import ParityJudge, config, max_difference, tiny_model, train_problems


class OneProcess:
    """What it asks of an accelerator."""

    device, process_index, num_processes = torch.device("cpu"), 0, 1

    def reduce(self, tensor: torch.Tensor, reduction: str) -> torch.Tensor:
        """As of two processes that hold the same numbers."""
        return {"sum": 2 * tensor, "mean": tensor}[reduction]

    def unwrap_model(self, model: Any) -> Any:
        return model

    def wait_for_everyone(self) -> None:
        pass


def test_every_n_updates_the_reference_becomes_the_policy() -> None:
    policy: Any = torch.nn.ModuleDict({"body": torch.nn.Linear(2, 1, bias=False), "critic": torch.nn.Linear(1, 1)})
    reference: Any = torch.nn.ModuleDict({"body": torch.nn.Linear(2, 1, bias=False)})
    policy["body"].weight.data = torch.tensor([[4.0, 6.0]])
    reference["body"].weight.data = torch.tensor([[1.0, 2.0]])
    logged: list[dict[str, float]] = []
    sync = ReferenceSync(2, reference=reference, accelerator=OneProcess(), record=lambda m: logged.append(dict(m)))
    arguments: Any = None
    sync.on_step_end(arguments, TrainerState(global_step=1), arguments, model=policy)
    assert reference["body"].weight.tolist() == [[1.0, 2.0]] and not logged
    sync.on_step_end(arguments, TrainerState(global_step=2), arguments, model=policy)
    assert reference["body"].weight.tolist() == [[4.0, 6.0]] and logged == [{"train/ref_moved": 5.0}]
    policy["body"].weight.data += 1.0
    assert reference["body"].weight.tolist() == [[4.0, 6.0]]  # a copy


def test_what_is_logged_is_over_all_weights_and_all_parts_of_them() -> None:
    logged: list[dict[str, float]] = []
    for parts, moved in ((False, 5.0), (True, 50**0.5)):  # the other process holds as much
        policy, reference = (torch.nn.Linear(1, 1) for _ in range(2))
        for model, values in ((policy, (4.0, 6.0)), (reference, (1.0, 2.0))):
            for weight, value in zip(model.parameters(), values, strict=True):
                weight.data.fill_(value)
                if parts:
                    weight.to_local = weight.detach  # pyright: ignore[reportAttributeAccessIssue]
        sync = ReferenceSync(1, reference=reference, accelerator=OneProcess(), record=lambda m: logged.append(dict(m)))
        arguments: Any = None
        sync.on_step_end(arguments, TrainerState(global_step=1), arguments, model=policy)
        assert logged.pop() == {"train/ref_moved": pytest.approx(moved)}
        assert [weight.item() for weight in reference.parameters()] == [4.0, 6.0]


def test_a_run_resumed_where_the_reference_was_reset_first_goes_on_bit_for_bit(tmp_path: Path) -> None:
    whole = trained(tmp_path, 3)
    resumed = trained(tmp_path, 3, tmp_path / "checkpoint-3")
    assert max_difference(resumed.model, whole.model) == max_difference(resumed.ref_model, whole.ref_model) == 0.0
    assert max_difference(whole.ref_model, tiny_model()) > 1e-4


def trained(folder: Path, every: int, resume: Path | None = None) -> RLVRTrainer:
    """Four updates of a tiny model with a KL, as rlvr.train runs it."""
    if not (folder / "base").is_dir():
        tiny_model().save_pretrained(folder / "base")
        build_tokenizer().save_pretrained(folder / "base")
    trainer = RLVRTrainer(
        str(folder / "base"), algorithm=GRPO(GRPOConfig(kl_loss_coef=1.0)), problems=train_problems(),
        judge=ParityJudge(), processing_class=build_tokenizer(),
        args=config(folder, max_steps=4, save_strategy="steps", save_steps=3))
    trainer.add_callback(ReferenceSync(every, reference=trainer.ref_model, accelerator=trainer.accelerator,
                                       record=trainer.record, resume_from=resume))
    trainer.train(resume_from_checkpoint=None if resume is None else str(resume))
    return trainer


def test_a_resumed_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    whole = trained(tmp_path, 2)
    assert max_difference(whole.ref_model, whole.model) == 0.0  # reset after the fourth update
    stored = tmp_path / "checkpoint-3" / "reference-00000-of-00001.safetensors"
    resumed = trained(tmp_path, 2, tmp_path / "checkpoint-3")
    assert max_difference(resumed.model, whole.model) == 0.0
    assert [row["train/ref_moved"] > 0 for row in whole.state.log_history if "train/ref_moved" in row] == [True, True]
    stored.unlink()
    with pytest.raises(UserError, match=r"saved without train\.ref_sync"):
        trained(tmp_path, 2, tmp_path / "checkpoint-3")


def test_what_has_no_reference_to_reset_is_refused(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    with pytest.raises(UserError, match=r"train\.ref_sync: found 5, expected null for algorithm 'grpo' as it is set"):
        build_algorithm(load_recipe(tmp_path / "recipe.yaml", ["train.ref_sync=5"]))
    build_algorithm(load_recipe(tmp_path / "recipe.yaml", ["train.ref_sync=5", "algorithm.kl_loss_coef=0.1"]))
    with pytest.raises(UserError, match=r"train\.ref_sync: found 5 .*, expected null with model\.lora"):
        load_recipe(tmp_path / "recipe.yaml", ["train.ref_sync=5", "model.lora.r=4"])
