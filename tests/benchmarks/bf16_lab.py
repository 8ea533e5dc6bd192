"""The lab trained in bfloat16 under each engine, on two CPU processes: exact pass@1 beside float32's, and sampler gap.

GRPO for 60 steps of the quickstart's 512 rollouts, in two micro-batches per process, without probes. `float32` is plain
DDP. Under DDP bfloat16 is autocast over float32 weights; ZeRO and FSDP2 compute with bfloat16 weights and keep float32
ones for the optimizer. Every process asserts at every step that gradients are added up in float32.

Usage: python -m tests.benchmarks.bf16_lab [float32 ddp zero2 zero3 fsdp2] [--steps 60] [--seed 0]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
MODES = ("float32", "ddp", "zero2", "zero3", "fsdp2")


def exact(model: Path) -> float:
    """Mean exact success probability on 1,024 problems, in percent."""
    from rlvr.lab.countdown import problems
    from rlvr.lab.exact import exact_success
    from rlvr.lab.model import load_lab_model
    from rlvr.types import Decoding

    decoding = Decoding(temperature=1.0, top_p=1.0, max_new_tokens=18)
    policy, tokenizer = load_lab_model(model)
    return 100 * float(exact_success(policy, tokenizer, problems("test", 1024), decoding).mean())


def trained(mode: str, run: Path, *, steps: int, seed: int) -> str:
    engine, bf16 = ("ddp", False) if mode == "float32" else (mode, True)
    words = [
        "-m", "accelerate.commands.launch", "--config_file", str(ROOT / f"launch/accelerate/{engine}.yaml"),
        "--num_processes", "2", "--main_process_port", "0", "--mixed_precision", "bf16" if bf16 else "no",
        "-m", "tests.benchmarks.bf16_lab", "process", str(ROOT / "recipes/quickstart/lab_grpo.yaml"), f"run_dir={run}",
        f"train.steps={steps}", f"seed={seed}", f"train.bf16={str(bf16).lower()}",
        "train.micro_batch_size=128", f"train.save_every={steps}", "probes.enabled=false", "tracking.wandb=disabled",
        "judge.workers=1",
    ]
    started = time.monotonic()
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise SystemExit(f"{mode}: {done.stderr[-3000:]}")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    gap = sum(row["train/sampler_gap"] for row in rows) / len(rows)
    return (f"{mode:8} pass@1 {exact(run / f'checkpoints/checkpoint-{steps}'):6.2f}%  sampler gap {gap:.1e} nats  "
            f"{time.monotonic() - started:.0f} s")


def assert_float32(trainer: Any) -> None:
    """Gradients of micro-batches and of processes are added up in float32."""
    import torch
    from torch.distributed.fsdp import FSDPModule

    if trainer.is_deepspeed_enabled:
        engine = trainer.model_wrapped
        assert engine.optimizer.gradient_accumulation_dtype == torch.float32
        assert engine._config.grad_accum_dtype == "fp32"
        return
    for module in trainer.model.modules():
        if isinstance(module, FSDPModule):
            for group in module._get_fsdp_state()._fsdp_param_groups:
                assert group.mp_policy.reduce_dtype in (None, torch.float32), group.mp_policy
    found = {p.grad.dtype for p in trainer.model.parameters() if p.grad is not None}
    assert found <= {torch.float32}, found


def process(words: list[str]) -> int:
    """One process of a training: `rlvr.train` with that assertion."""
    from rlvr import train
    from rlvr.training.trainer import RLVRTrainer
    from tests.support import fsdp2_on_cpu
    from tests.support.six_processes import without_shared_memory

    fsdp2_on_cpu.allow()
    without_shared_memory()
    step = RLVRTrainer.training_step

    def watched(self: Any, *args: Any, **kwargs: Any) -> Any:
        loss = step(self, *args, **kwargs)
        assert_float32(self)
        return loss

    RLVRTrainer.training_step = watched
    return train.main(words)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("modes", nargs="*", default=MODES, choices=[*MODES, []])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rlvr-bf16-") as folder:
        for mode in options.modes:
            print(trained(mode, Path(folder) / mode, steps=options.steps, seed=options.seed), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["process"]:
        from rlvr.training.processes import leave

        leave(process(sys.argv[2:]))
    main()
