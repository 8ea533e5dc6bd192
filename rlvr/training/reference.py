"""The reference of a KL term, reset to the policy now and then: recipe key `train.ref_sync` (ProRL, 2505.24864).

    every N updates:   reference <- weights

so that the KL measures how far the policy went since then, and not since the base. The optimizer's moments stay as they
are (ProRL starts them anew). Every checkpoint after a reset holds the reference, so a resumed run goes on bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from rlvr.types import UserError


class ReferenceSync(TrainerCallback):
    """Resets the reference model of a trainer after an update, when its anchor has been applied and before checkpoints.

    Args:
        every: updates between the resets.
        reference: the trainer's reference model.
        accelerator: the trainer's.
        record: takes metrics of the step.
        resume_from: the checkpoint that the training goes on from.
    """

    def __init__(
        self, every: int, *, reference: Any, accelerator: Any, record: Callable[[Mapping[str, float]], None],
        resume_from: str | Path | None = None,
    ) -> None:
        self.every = every
        self.reference: dict[str, Any] = dict(accelerator.unwrap_model(reference).named_parameters())
        self.accelerator = accelerator
        self.record = record
        self.resume_from = resume_from

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self.resume_from is None or state.global_step < self.every:
            return  # not reset yet: it is the base
        file = self._file(Path(self.resume_from))
        if not file.is_file():
            raise UserError(f"{file} is missing: the checkpoint was saved without train.ref_sync or by another number "
                            "of processes; resume with the recipe and the launcher that the run began with")
        stored = load_file(file)
        for name, weight in self.reference.items():
            with gathered([weight]), torch.no_grad():
                held(weight).copy_(stored[name])

    @torch.no_grad()
    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        if state.global_step % self.every:
            return
        policy = dict(self.accelerator.unwrap_model(model).named_parameters())
        moved = torch.zeros((), dtype=torch.float64, device=self.accelerator.device)
        for name, weight in self.reference.items():  # a critic beside the policy has no reference
            with gathered([weight, policy[name]]):
                new = held(policy[name]).detach()
                moved += (new.double() - held(weight).double()).square().sum()
                held(weight).copy_(new)
        if self._sharded:
            moved = self.accelerator.reduce(moved, reduction="sum")
        self.record({"train/ref_moved": moved.sqrt().item()})

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.global_step >= self.every and not args.save_only_model:
            tensors = dict(self._held())
            if self._sharded or state.is_world_process_zero:
                save_file(tensors, self._file(Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"))
        self.accelerator.wait_for_everyone()  # only then is the checkpoint complete

    def _held(self) -> Iterator[tuple[str, torch.Tensor]]:
        for name, weight in self.reference.items():
            with gathered([weight]):
                yield name, held(weight).detach().cpu().clone().contiguous()

    @property
    def _sharded(self) -> bool:
        """Whether each process holds a part of its own (FSDP2); under ZeRO-3 whole weights are gathered and saved."""
        return any(hasattr(weight, "to_local") for weight in self.reference.values())

    def _file(self, checkpoint: Path) -> Path:
        rank, world = (self.accelerator.process_index, self.accelerator.num_processes) if self._sharded else (0, 1)
        return checkpoint / f"reference-{rank:05}-of-{world:05}.safetensors"


def gathered(weights: Sequence[Any]) -> AbstractContextManager[Any]:
    """Under ZeRO-3 around reading and changing whole weights; all processes must change them alike."""
    if not any(hasattr(weight, "ds_id") for weight in weights):
        return nullcontext()
    import deepspeed

    return deepspeed.zero.GatheredParameters(list(weights), modifier_rank=0)


def held(weight: Any) -> torch.Tensor:
    """What this process holds of a weight, to be read and changed in place."""
    return (weight.to_local() if hasattr(weight, "to_local") else weight).data
