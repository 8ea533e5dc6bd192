"""One process's measurements: an update at the longest completion, a sampled batch, ragged updates beside TRL's.

Usage: python -m tests.gpu.measure WHAT FOLDER [--tiny]. Prints one JSON object, last. `write` makes model and problems.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, TrainerCallback
from trl.trainer.grpo_trainer import GRPOTrainer

from rlvr.algorithms.grpo import GRPO, GRPOConfig
from rlvr.interfaces import SampleRequest
from rlvr.models.sampler import TransformersSampler
from rlvr.training.prompt_stream import PromptStream
from rlvr.training.trainer import RLVRTrainer
from rlvr.training.trl_settings import RLVRConfig
from rlvr.types import Decoding
from tests.gpu.shape import ParityJudge, Shape, model, problems, tokenizer, write

CUDA = torch.cuda.is_available()


class StepTimes(TrainerCallback):
    """Seconds of every step but the first, which warms up."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._started = 0.0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._started = _now()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step > 1:
            self.seconds.append(_now() - self._started)


def _now() -> float:
    if CUDA:
        torch.cuda.synchronize()
    return time.perf_counter()


def _peak_gib() -> float | None:
    return round(torch.cuda.max_memory_allocated() / 2**30, 2) if CUDA else None


def updates(shape: Shape, lengths: list[int], *, ours: bool = True, steps: int = 3, **settings: Any) -> StepTimes:
    """Updates on completions of these lengths, which are given, not generated."""
    words, times = tokenizer(shape), StepTimes()
    generator = torch.Generator().manual_seed(0)
    ids = [[*torch.randint(1, shape.vocabulary, (n - 1,), generator=generator).tolist(), 0] for n in lengths]

    def given(prompts: list[Any], trainer: Any) -> dict[str, Any]:
        return {"prompt_ids": [words(p)["input_ids"] for p in prompts], "completion_ids": ids, "logprobs": None}

    args = RLVRConfig(
        output_dir=tempfile.mkdtemp(), max_steps=steps, num_generations=2, max_completion_length=max(lengths),
        learning_rate=1e-6, bf16=CUDA, use_cpu=not CUDA, gradient_checkpointing=True, save_strategy="no", report_to=[],
        disable_tqdm=True, logging_steps=1000, shuffle_dataset=False, dataloader_pin_memory=False, beta=0.0,
        steps_per_generation=settings["gradient_accumulation_steps"], **settings,
    )
    asked, policy = problems(64), model(shape)
    if ours:
        trainer: Any = RLVRTrainer(policy, algorithm=GRPO(GRPOConfig()), problems=asked, judge=ParityJudge(),
                                   args=args, processing_class=words, rollout_func=given, callbacks=[times])
    else:
        data = PromptStream(asked, prompts_per_step=len(lengths) // 2, seed=0).dataset(steps * len(lengths) // 2)
        trainer = GRPOTrainer(policy, lambda completions, **_: [float(len(c) % 2 == 0) for c in completions], args=args,
                              train_dataset=data, processing_class=words, rollout_func=given, callbacks=[times])
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return times


def longest(shape: Shape) -> dict[str, Any]:
    """Forward and backward of the loss, and AdamW, at the longest completion; one row at a time."""
    times = updates(shape, [shape.longest] * 2, per_device_train_batch_size=1, gradient_accumulation_steps=2)
    return {"tokens": 2 * shape.longest, "seconds_per_update": round(times.seconds[-1], 3), "peak_gib": _peak_gib()}


@torch.no_grad()
def sampler(shape: Shape) -> dict[str, Any]:
    policy = model(shape).to("cuda" if CUDA else "cpu", torch.bfloat16 if CUDA else torch.float32).eval()
    requests = [SampleRequest(problems(8)[i % 8], i // 8) for i in range(shape.samples)]
    drawer, decoding = TransformersSampler(policy, tokenizer(shape)), Decoding(1.0, 1.0, shape.answer)
    drawer.sample(requests[:8], Decoding(1.0, 1.0, 4), seed=0, stream="warm")
    started = _now()
    drawn = drawer.sample(requests, decoding, seed=0, stream="s")
    tokens = sum(one.num_tokens or 0 for one in drawn)
    return {"tokens": tokens, "tokens_per_second": round(tokens / (_now() - started)), "peak_gib": _peak_gib()}


def ragged(shape: Shape) -> dict[str, Any]:
    """Seconds of an update on 16 completions whose mean length is a quarter of the longest."""
    generator = torch.Generator().manual_seed(0)
    lengths = (torch.randn(16, generator=generator) * 0.6 - 0.18 + torch.tensor(shape.ragged / 4).log()).exp()
    rows = [max(2, min(int(n), shape.ragged)) for n in lengths.tolist()]
    rows[0] = shape.ragged
    found: dict[str, Any] = {"tokens": sum(rows)}
    for name in ("trl", "ours", "trl", "ours"):  # in turn, so a clock that drifts slows both
        times = updates(shape, rows, ours=name == "ours", steps=2, per_device_train_batch_size=4,
                        gradient_accumulation_steps=4)
        found.setdefault(f"{name}_seconds", []).append(round(times.seconds[-1], 3))
    found["speed_beside_trl"] = round(min(found["trl_seconds"]) / min(found["ours_seconds"]), 2)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("write", "longest", "sampler", "ragged"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    shape = Shape.of(tiny=options.tiny)
    if options.what == "write":
        write(options.folder, shape)
        found: dict[str, Any] = {}
    else:
        found = {"longest": longest, "sampler": sampler, "ragged": ragged}[options.what](shape)
    sys.stdout.write(f"\n{json.dumps(found)}\n")


if __name__ == "__main__":
    main()
