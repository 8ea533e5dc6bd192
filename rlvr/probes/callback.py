"""Probes of a model in training: at step 0, every N steps and at the end.

`transformers.TrainerCallback`s, so they work on RLVRTrainer and on any other Hugging Face or TRL trainer. They ask a
Prober to measure the live model. Training is not disturbed: random states are saved and restored, and a run with
probes is bit-identical to the run without them.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from rlvr.interfaces import CompletionJudge, Sampler
from rlvr.probes.models import LoadedModel, Truth
from rlvr.probes.prober import Listener, Prober
from rlvr.probes.settings import ProbeSettings
from rlvr.types import Problem, UserError


class ProbeCallback(TrainerCallback):
    """Asks `prober` to measure the model in training.

    Args:
        prober: what to measure, how, and where to write it.
        sampler: makes the sampler over the live model; None samples from the model that the trainer passes in.
        unwrap: context manager that yields the model with all its weights gathered, for `truth`.
        truth: exact success probabilities, where they are known (the lab).
        probing: context manager around each probe.
        stop: called with the boundary row of every probe after the base; True ends the training with a checkpoint.
    """

    def __init__(
        self,
        prober: Prober,
        *,
        sampler: Callable[[], Sampler] | None = None,
        unwrap: Callable[[], AbstractContextManager[Any]] | None = None,
        truth: Truth | None = None,
        probing: Callable[[], AbstractContextManager[Any]] = nullcontext,
        stop: Callable[[dict[str, Any]], bool] | None = None,
    ) -> None:
        self.prober = prober
        self._stop = stop
        self._sampler, self._unwrap, self._truth, self._probing = sampler, unwrap, truth, probing
        self._last_probed = -1

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        prober = self.prober
        done = prober.restore()
        self._last_probed = max(done, default=-1)
        if 0 not in done:
            if state.global_step > 0:
                raise RuntimeError(f"{prober.run_dir.path}: resuming at step {state.global_step} without a base probe")
            self._probe(state, **kwargs)
        if prober.planned_looks is None:  # only now: a budget may have chosen another interval
            prober.planned_looks = math.ceil(state.max_steps / prober.every)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.global_step % self.prober.every == 0 or state.global_step == state.max_steps:
            row = self._probe(state, **kwargs)
            if row is not None and self._stop is not None:
                world = self.prober.world()
                (stops, *_) = world.gather([self._stop(row)])  # rank 0 decides for all
                control.should_training_stop |= stops
                control.should_save |= stops

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._probe(state, **kwargs)

    def _probe(
        self, state: TrainerState, *, model: Any = None, processing_class: Any = None, **_: Any
    ) -> dict[str, Any] | None:
        """Measure the model as it is now; returns the boundary row, None if this step was measured before."""
        step, row = state.global_step, None
        if step <= self._last_probed:
            return None
        if self.prober.measures(step):
            if processing_class is None:
                raise UserError(f"{type(self).__name__}: this trainer has no tokenizer; make it with "
                                "processing_class=...")
            with rng_restored(), self._probing():
                sampler = self._sampler() if self._sampler else None
                row = self.prober.measure(step, LoadedModel(model, processing_class, sampler=sampler,
                                                            unwrap=self._unwrap, truth=self._truth))
        self._last_probed = step
        return row


class BoundaryProbeCallback(ProbeCallback):
    """Probes the boundary during the training of any Hugging Face or TRL trainer.

    Example: `trainer.add_callback(BoundaryProbeCallback(problems, judge=judge, run_dir="runs/a", every=20))`

    Args:
        problems: the probe set; fixed for the whole run.
        judge: gives the verdicts, `rlvr.judging.judge.Judge`.
        run_dir: where probes.jsonl, boundary.jsonl and samples/ are written.
        every: optimizer steps between probes; the first is at step 0 (the base), the last at the end.
        listeners: called on rank 0 with each boundary row and its per-problem rows.
        progress: called on rank 0 during a probe with (step, problems finished, problems, samples judged).
        generated_tokens: tokens the training has generated so far, for the probe's share of the run.
        sampler, unwrap, truth: see `ProbeCallback`.
        settings: the other fields of `rlvr.probes.settings.ProbeSettings`: plan, base_plan, decoding, ks, seed,
            batch_size, baselines, versions, answer_keys, planned_looks, budget. None stands for the default.

    Raises: rlvr.types.UserError if a k exceeds what a plan can estimate; after the base's probe if no schedule fits the
        budget.
    """

    def __init__(
        self,
        problems: Sequence[Problem],
        *,
        judge: CompletionJudge,
        run_dir: str | Path,
        every: int,
        listeners: Sequence[Listener] = (),
        progress: Callable[[int, int, int, int], None] | None = None,
        generated_tokens: Callable[[], int] | None = None,
        sampler: Callable[[], Sampler] | None = None,
        unwrap: Callable[[], AbstractContextManager[Any]] | None = None,
        truth: Truth | None = None,
        **settings: Any,
    ) -> None:
        given = {name: value for name, value in settings.items() if value is not None}
        prober = Prober(problems, ProbeSettings(every=every, **given), judge=judge, run_dir=run_dir,
                        listeners=listeners, progress=progress, generated_tokens=generated_tokens)
        super().__init__(prober, sampler=sampler, unwrap=unwrap, truth=truth)


@contextmanager
def rng_restored() -> Iterator[None]:
    """Leaves every global random state as it was found."""
    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(cpu)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)
