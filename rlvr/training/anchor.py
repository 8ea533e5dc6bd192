"""Weights that are pulled back to an anchor while they train: recipe section `train.anchor`.

    every update:      average <- decay * average + (1 - decay) * weights          (anchor `average` only)
    every N updates:   weights <- weights + share * (anchor - weights)

Both element by element on what this process holds: all weights on one process and under DDP, its shards under FSDP2 and
ZeRO. The optimizer's moments stay as they are; its float32 copies of the weights, where it keeps some, move along. The
anchor is float32 and saved in every checkpoint, so a resumed run goes on bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from rlvr.config.anchor import AnchorSpec
from rlvr.types import UserError

_SECOND_FACTORS = frozenset({"lora_B", "lora_embedding_B"})


class Anchor(TrainerCallback):
    """Pulls the weights of a trainer back, after the optimizer's step and before probes and checkpoints.

    Args:
        spec: how far, how often and to what.
        accelerator: the trainer's.
        record: takes metrics of the step.
        resume_from: the checkpoint that the training goes on from.
    """

    def __init__(
        self, spec: AnchorSpec, *, accelerator: Any, record: Callable[[Mapping[str, float]], None],
        resume_from: str | Path | None = None,
    ) -> None:
        self.spec = spec
        self.accelerator = accelerator
        self.record = record
        self.resume_from = resume_from
        self.weights: dict[str, Any] = {}
        self.anchor: dict[str, torch.Tensor] = {}
        """Name -> this process's part of the anchor, float32; empty with LoRA, whose anchor is 0."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        self.weights = pulled(model)
        if hasattr(model, "peft_config"):
            if self.resume_from is None and any(local(weight).count_nonzero() for weight in self.weights.values()):
                raise UserError("train.anchor: the training starts from adapters that are not empty, and a pull scales "
                                "them towards the model below; merge them into it first, or remove train.anchor")
            return
        if self.resume_from is None:
            self.anchor = {name: local(weight).clone() for name, weight in self.weights.items()}
            return
        file = self._file(Path(self.resume_from))
        if not file.is_file():
            raise UserError(f"{file} is missing: the checkpoint was saved without an anchor or by another number of "
                            "processes; resume with the recipe and the launcher that the run began with")
        device = self.accelerator.device
        self.anchor = {name: tensor.to(device) for name, tensor in load_file(file).items()}

    @torch.no_grad()
    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self.spec.to == "average":
            for name, weight in self.weights.items():
                self.anchor[name].lerp_(local(weight), 1 - self.spec.decay)
        if (state.global_step + 1) % self.spec.every == 0:
            self._pull()

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self.anchor and not args.save_only_model and (self._sharded or state.is_world_process_zero):
            folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
            save_file({name: tensor.contiguous() for name, tensor in self.anchor.items()}, self._file(folder))
        self.accelerator.wait_for_everyone()  # only then is the checkpoint complete

    def _pull(self) -> None:
        squares = torch.zeros(2, dtype=torch.float64, device=self.accelerator.device)
        for name, weight in self.weights.items():
            before = local(weight).clone()
            anchor = self.anchor[name] if self.anchor else torch.zeros_like(before)
            write(weight, torch.lerp(before, anchor, self.spec.share))
            squares += torch.stack([(before - anchor).double().square().sum(),
                                    (local(weight) - before).double().square().sum()])
        gather_persistent(self.weights)
        if self._sharded:
            squares = self.accelerator.reduce(squares, reduction="sum")
        distance, moved = squares.sqrt().tolist()
        self.record({"train/anchor_distance": distance, "train/anchor_pull": moved})

    @property
    def _sharded(self) -> bool:
        return any(is_shard(weight) for weight in self.weights.values())

    def _file(self, checkpoint: Path) -> Path:
        rank, world = (self.accelerator.process_index, self.accelerator.num_processes) if self._sharded else (0, 1)
        return checkpoint / f"anchor-{rank:05}-of-{world:05}.safetensors"


def pulled(model: Any) -> dict[str, Any]:
    """The weights to pull back: those of the policy that learn. With LoRA the second factors, which begin at 0: scaling
    them scales the adapter."""
    beside = set(getattr(model, "beside_policy", ()))
    learning = {name: weight for name, weight in model.named_parameters()
                if weight.requires_grad and not beside & set(name.split("."))}
    if not hasattr(model, "peft_config"):
        return learning
    return {name: weight for name, weight in learning.items() if _SECOND_FACTORS & set(name.split("."))}


# ---------------------------------------------------------------- what this process holds of a weight


def is_shard(weight: Any) -> bool:
    """Whether this process holds a part of it (FSDP2, ZeRO-3)."""
    return hasattr(weight, "ds_id") or hasattr(weight, "to_local")


def local(weight: Any) -> torch.Tensor:
    """This process's part of a weight in float32. Under ZeRO that of the optimizer's copy, which the next step starts
    from."""
    if hasattr(weight, "ds_id"):
        from deepspeed.utils import safe_get_local_fp32_param

        part = safe_get_local_fp32_param(weight)
        assert part is not None  # ZeRO keeps one of every weight that is trained
        return part.detach().float()
    if hasattr(weight, "_hp_mapping"):
        from deepspeed.utils import safe_get_full_fp32_param

        whole = safe_get_full_fp32_param(weight)
        assert whole is not None
        return whole.detach().float()
    held = weight.to_local() if hasattr(weight, "to_local") else weight
    return held.detach().float()


def write(weight: Any, value: torch.Tensor) -> None:
    """Replace this process's part of a weight, and of the optimizer's copy if it has one."""
    if hasattr(weight, "ds_id"):
        from deepspeed.utils import safe_set_local_fp32_param

        safe_set_local_fp32_param(weight, value)
        weight.ds_tensor.data.copy_(value.view_as(weight.ds_tensor))
        return
    if hasattr(weight, "_hp_mapping"):
        from deepspeed.utils import safe_set_full_fp32_param

        safe_set_full_fp32_param(weight, value)
    held = weight.to_local() if hasattr(weight, "to_local") else weight
    held.data.copy_(value)


def gather_persistent(weights: Mapping[str, Any]) -> None:
    """Under ZeRO-3 small weights stay gathered on all processes: gather them anew from their changed shards."""
    optimizer = next((weight._z3_optimizer for weight in weights.values() if hasattr(weight, "_z3_optimizer")), None)
    if optimizer is None or not optimizer.persistent_parameters:
        return
    for weight in optimizer.persistent_parameters:
        weight.partition(has_been_updated=False)
    optimizer.persistent_parameters[0].all_gather(optimizer.persistent_parameters)
