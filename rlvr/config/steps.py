"""Arithmetic of a run: rollout batches, micro-batches and tokens."""

from __future__ import annotations

from dataclasses import dataclass

from rlvr.config.sections import TrainSection
from rlvr.types import UserError


@dataclass(frozen=True, slots=True)
class StepPlan:
    """How one rollout batch is split over processes, updates and micro-batches, and what the run adds up to."""

    rollouts: int
    """Completions per rollout batch, over all processes."""
    rollouts_per_process: int
    micro_batch_rows: int
    """Rollouts of a micro-batch as TRL knows it: with `micro_batch_tokens` all of an update, which are then cut."""
    gradient_accumulation: int
    """Such micro-batches per process and update."""
    rollout_batches: int
    """In the whole run."""
    total_rollouts: int
    """Trained on in the whole run; dynamic sampling generates more."""
    max_tokens: int
    """Upper bound of the tokens trained on: every rollout as long as it may be."""


def plan_of_steps(train: TrainSection, world_size: int) -> StepPlan:
    """Split a rollout batch over `world_size` processes.

    Raises UserError unless it divides into whole groups per process and whole micro-batches per update.
    """
    rollouts = train.prompts_per_step * train.group_size
    if train.prompts_per_step % world_size:
        raise UserError(f"train.prompts_per_step: found {train.prompts_per_step}, expected a multiple of the "
                        f"{world_size} processes: all rollouts of a prompt stay on one; change either number")
    share = rollouts / (world_size * train.updates_per_rollout)
    by_tokens = train.micro_batch_tokens is not None
    if share % (1 if by_tokens else train.micro_batch_size):
        raise UserError(f"train.micro_batch_size: found {train.micro_batch_size}, expected a divisor of {share:g}: "
                        f"{train.prompts_per_step} prompts x {train.group_size} rollouts over {world_size} "
                        f"process(es) and {train.updates_per_rollout} update(s); change one of these")
    rows = int(share) if by_tokens else train.micro_batch_size
    batches = train.steps // (train.updates_per_rollout * train.epochs_per_rollout)
    return StepPlan(
        rollouts=rollouts,
        rollouts_per_process=rollouts // world_size,
        micro_batch_rows=rows,
        gradient_accumulation=int(share) // rows,
        rollout_batches=batches,
        total_rollouts=batches * rollouts,
        max_tokens=batches * rollouts * train.max_new_tokens,
    )
