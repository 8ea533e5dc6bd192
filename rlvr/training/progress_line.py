"""The progress bar of a training."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from rlvr.probes.engine import progress_words
from rlvr.runs.metrics import IDLE_STEPS
from rlvr.statistics.schedule import in_words


class ProgressLine(TrainerCallback):
    """One line on stderr: step, time left, reward, share of prompts without signal, and of the last probe pass@1,
    delta_se and the verdict; while a probe runs, how far it is."""

    def __init__(self) -> None:
        self.bar: Any = None
        """On rank 0 while it trains; the other ranks show nothing."""
        self.began = False
        """Whether the first step has begun."""
        self.last_signal = 0
        """The last step that had some, or the first of the run."""
        self.warned = False
        self.shown: dict[str, str] = {}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.last_signal = state.global_step
        if state.is_world_process_zero:
            self.bar = tqdm(
                total=state.max_steps, initial=state.global_step, desc="train", unit="step", dynamic_ncols=True,
                file=sys.stderr, smoothing=0.1,
            )

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self.bar is not None and not self.began:
            self.bar.unpause()  # the clock starts now: the probe of the base is no step, and would be in the time left
        self.began = True

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self.bar is not None:
            self.bar.update(state.global_step - self.bar.n)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if logs and "train/reward" in logs:
            self._show(reward=f"{logs['train/reward']:.3f}", zero_signal=f"{logs['train/zero_signal_frac']:.0%}")
            self._warn_without_signal(logs, state.global_step)

    def on_probe(self, row: dict[str, Any], problem_rows: list[dict[str, Any]]) -> None:
        """After a probe: its row of boundary.jsonl."""
        if row.get("schedule"):
            tqdm.write(in_words(row["schedule"]), file=sys.stderr)
        values = {k.removeprefix("boundary/"): v["value"] for k, v in row["estimates"].items()}
        self._show(**{k: f"{values[k]:.3f}" for k in ("pass@1", "delta_se") if values.get(k) is not None}, probe="")
        if row["sequential"]:
            key, newest = list(row["sequential"]["verdicts"].items())[-1]
            self._show(**{f"boundary@{key.split('@')[1]}": newest["verdict"]})

    def on_probe_progress(self, step: int, finished: int, total: int, samples: int, *, what: str = "") -> None:
        """While a probe runs; `what` names the probe set or the condition that is measured, if there are several."""
        self._show(probe=f"{f'{what}: ' * bool(what)}{progress_words(finished, total, samples)}")

    def on_other(self, row: dict[str, Any], problem_rows: list[dict[str, Any]]) -> None:
        """After the probe of another set or condition: its numbers are not shown, they are not the run's own."""
        self._show(probe="")

    def close(self) -> None:
        """End the line."""
        if self.bar is not None:
            self.bar.close()

    def _warn_without_signal(self, logs: dict[str, Any], step: int) -> None:
        if logs["train/zero_signal_frac"] < 1:
            self.last_signal, self.warned = step, False
        elif step - self.last_signal >= IDLE_STEPS and not self.warned and self.bar is not None:
            self.warned = True
            tqdm.write(
                f"warning: steps {self.last_signal + 1} to {step} taught nothing: all rollouts of each prompt got the "
                f"same credit (mean reward {logs['train/reward']:.3f}, {logs['train/truncated_frac']:.0%} cut at the "
                "token limit). Likely causes: problems too hard or too easy for the model, a prompt that does not ask "
                "for the form of answer that the verifier reads, or too low a train.max_new_tokens",
                file=sys.stderr,
            )

    def _show(self, **values: str) -> None:
        self.shown |= values
        if self.bar is not None:
            self.bar.set_postfix({k: v for k, v in self.shown.items() if v})
