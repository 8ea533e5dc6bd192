"""Step time of RLVRTrainer beside plain trl.GRPOTrainer, on the same lab work, in turn, in one process.

Both train the lab's base on the quickstart's batch (32 prompts x 16 rollouts, 18 tokens), judge every rollout with the
countdown verifier (TRL in its own process, ours in worker processes, which is part of what is measured) and take
an optimizer step. The two run in alternating blocks, so a machine whose speed drifts slows both. No probes.

Usage: python tests/benchmarks/step_time.py [--blocks 5] [--steps 5]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from typing import Any

from transformers import PrinterCallback, TrainerCallback
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from rlvr.algorithms.grpo import GRPO
from rlvr.algorithms.grpo import GRPOConfig as Settings
from rlvr.judging.judge import Judge
from rlvr.lab.countdown import problems
from rlvr.lab.model import load_lab_model
from rlvr.models.quiet import quiet
from rlvr.rewards.countdown import CountdownVerifier
from rlvr.training.prompt_stream import PromptStream
from rlvr.training.trainer import RLVRTrainer


class StepTimes(TrainerCallback):
    """Seconds of every step but the first, which warms up."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._started = 0.0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._started = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step > 1:
            self.seconds.append(time.perf_counter() - self._started)


def arguments(steps: int) -> GRPOConfig:
    return GRPOConfig(
        output_dir=tempfile.mkdtemp(), max_steps=steps + 1, per_device_train_batch_size=256,
        gradient_accumulation_steps=2, steps_per_generation=2, num_generations=16, max_completion_length=18,
        temperature=1.0, top_k=0, learning_rate=1e-4, lr_scheduler_type="constant", use_cpu=True, bf16=False,
        gradient_checkpointing=False, save_strategy="no", report_to=[], disable_tqdm=True, shuffle_dataset=False,
        dataloader_pin_memory=False, beta=0.0,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--steps", type=int, default=5)
    options = parser.parse_args()
    quiet()
    train = problems("train", 1024)
    by_prompt = {p.prompt: p for p in train}
    verifier = CountdownVerifier()

    def reward(prompts: list[str], completions: list[str], **_: Any) -> list[float | None]:
        return [
            float(verifier.verify(by_prompt[p], c).correct or 0) for p, c in zip(prompts, completions, strict=True)
        ]

    def block(ours: bool, judge: Judge) -> float:
        model, tokenizer = load_lab_model("lab")
        times, args = StepTimes(), arguments(options.steps)
        if ours:
            trainer: GRPOTrainer = RLVRTrainer(
                model, algorithm=GRPO(Settings()), problems=train, judge=judge, args=args,
                processing_class=tokenizer, callbacks=[times],
            )
        else:
            data = PromptStream(train, prompts_per_step=32, seed=0).dataset((options.steps + 1) * 32)
            trainer = GRPOTrainer(
                model, reward, args=args, train_dataset=data, processing_class=tokenizer, callbacks=[times]
            )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        return statistics.median(times.seconds)

    ratios, seconds = [], {True: [], False: []}
    with Judge(workers=1) as judge:
        for index in range(options.blocks):
            for ours in (True, False) if index % 2 else (False, True):
                seconds[ours].append(block(ours, judge))
            ratios.append(seconds[True][-1] / seconds[False][-1])
            print(f"block {index + 1}: rlvr {seconds[True][-1]:.3f} s, trl {seconds[False][-1]:.3f} s per step, "
                  f"ratio {ratios[-1]:.3f}", flush=True)
    print(f"median ratio rlvr / trl: {statistics.median(ratios):.3f} (min {min(ratios):.3f}, max {max(ratios):.3f})")


if __name__ == "__main__":
    main()
