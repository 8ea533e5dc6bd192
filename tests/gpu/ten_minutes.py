"""What one GPU has to show in ten minutes: memory, speed, and that DDP, FSDP2, its resume and PPO run.

A random Qwen2 of 0.5B shape: peak memory of an update at 8,192 tokens and of a sampled batch of 128; two steps of 16
rollouts with 256 tokens and probes of 8 problems each with ddp.yaml, fsdp2.yaml, fsdp2.yaml resumed (compared bit for
bit) and fsdp2.yaml with PPO; the time of an update beside plain TRL's on ragged lengths. Every stage is a process with
a time limit; one that fails does not stop the others. Exit code 1 if one failed. It needs no network.

Usage: python -m tests.gpu.ten_minutes [--device cpu --tiny] [--only STAGE ...] [--output FILE.json]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.gpu.shape import Shape

ROOT = Path(__file__).parents[2]
LIMIT = {"write": 60, "longest": 90, "sampler": 90, "ragged": 120, "train": 120}
"""Seconds per process; on a CPU ten times as many."""
RECIPE = """
name: gpu
model: {{path: {folder}/model, dtype: float32, attn_implementation: sdpa}}
data:
  train: {{source: {folder}/train.jsonl, template: "{{prompt}}", verifier: "tests.gpu.shape:Parity"}}
  probe: {{source: {folder}/probe.jsonl, template: "{{prompt}}", verifier: "tests.gpu.shape:Parity"}}
algorithm: {{name: grpo}}
train:
  steps: 2
  prompts_per_step: 4
  group_size: 4
  micro_batch_size: 4
  max_new_tokens: {answer}
  learning_rate: 1.0e-4
  save_every: 1
  bf16: {bf16}
probes: {{every: 2, plan: cheap, base_plan: cheap, ks: [1, 2, 4, 8], max_new_tokens: {answer}, batch_size: 128,
          temperature: 1.0, top_p: 1.0, baselines: {folder}/baselines}}
judge: {{workers: 2}}
tracking: {{wandb: disabled}}
"""


class Stages:
    """Runs the stages, and says at once what each found."""

    def __init__(self, folder: Path, *, cpu: bool, tiny: bool) -> None:
        self.folder, self.cpu, self.tiny = folder, cpu, tiny
        self.found: dict[str, dict[str, Any]] = {}
        (folder / "recipe.yaml").write_text(RECIPE.format(
            folder=folder, answer=Shape.of(tiny=tiny).answer, bf16=str(not cpu).lower()))

    def run(self, name: str, stage: Callable[[], dict[str, Any]]) -> None:
        started = time.monotonic()
        try:
            found = stage()
        except (subprocess.SubprocessError, AssertionError, ValueError) as error:
            found = {"failed": str(error)[-3000:]}
        self.found[name] = found | {"wall_seconds": round(time.monotonic() - started, 1)}
        sys.stdout.write(f"{name}: {json.dumps(self.found[name])}\n")
        sys.stdout.flush()

    def measured(self, what: str) -> dict[str, Any]:
        words = ["-m", "tests.gpu.measure", what, str(self.folder), *(["--tiny"] if self.tiny else [])]
        return json.loads(self._python(words, LIMIT[what]).strip().splitlines()[-1])

    def trained(self, name: str, accelerate: str, *settings: str, resume: bool = False) -> dict[str, Any]:
        """A training by `rlvr.train`, with what its metrics say of the last step."""
        peak, run = self.folder / f"{name}.peak", self.folder / name
        config = str(ROOT / f"launch/accelerate/{accelerate}.yaml")
        words = ["-m", "accelerate.commands.launch", "--config_file", config, "--main_process_port", "0"]
        words += ["--num_processes", "2", "--mixed_precision", "no"] if self.cpu else ["--num_processes", "1"]
        words += ["-m", "tests.gpu.train", str(peak), str(self.folder / "recipe.yaml"), f"run_dir={run}", *settings]
        self._python(words + ["--resume"] * resume, LIMIT["train"])
        last = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()][-1]
        return {
            "peak_gib": round(float(peak.read_text()), 2) if peak.is_file() else None,
            "step_seconds": last["perf/step_seconds"], "sampler_gap": last.get("train/sampler_gap"),
            "generated_tokens": last["perf/generated_tokens"],
        }

    def resumed(self) -> dict[str, Any]:
        """The last step of the run with FSDP2 once more, from the checkpoint before it."""
        import shutil

        from safetensors.torch import load_file

        straight, again = self.folder / "fsdp2", self.folder / "fsdp2-resumed"
        shutil.copytree(straight, again)
        shutil.rmtree(again / "checkpoints/checkpoint-2")
        found = self.trained("fsdp2-resumed", "fsdp2", resume=True)
        one, two = (load_file(run / "checkpoints/checkpoint-2/model.safetensors") for run in (straight, again))
        moved = load_file(straight / "checkpoints/checkpoint-1/model.safetensors")
        assert one.keys() == two.keys()
        assert any(not one[n].equal(moved[n]) for n in one), "nothing was learnt at the last step"
        differ = [n for n in one if not one[n].equal(two[n])]
        assert not differ, f"{len(differ)} of {len(one)} tensors differ after the resume, such as {differ[:3]}"
        return found | {"bit_equal": True}

    def _python(self, words: list[str], limit: int) -> str:
        hidden = {"CUDA_VISIBLE_DEVICES": ""} if self.cpu else {}
        done = subprocess.run(
            [sys.executable, *words], capture_output=True, text=True, cwd=ROOT, timeout=limit * (10 if self.cpu else 1),
            env=os.environ | {"TOKENIZERS_PARALLELISM": "false"} | hidden,
        )
        if done.returncode:
            raise ValueError(f"exit code {done.returncode}: {done.stderr[-2500:]}")
        return done.stdout


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a model of 0.1 M parameters and short completions")
    parser.add_argument("--only", nargs="+", metavar="STAGE", help="run these stages alone")
    parser.add_argument("--output", type=Path, help="where to write what was found, as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rlvr-gpu-") as folder:
        stages = Stages(Path(folder), cpu=options.device == "cpu", tiny=options.tiny)
        todo: dict[str, Callable[[], dict[str, Any]]] = {
            "longest": lambda: stages.measured("longest"),
            "sampler": lambda: stages.measured("sampler"),
            "ddp": lambda: stages.trained("ddp", "ddp"),
            "fsdp2": lambda: stages.trained("fsdp2", "fsdp2"),
            "fsdp2-resumed": stages.resumed,
            "fsdp2-ppo": lambda: stages.trained("fsdp2-ppo", "fsdp2", "algorithm.name=ppo"),
            "ragged": lambda: stages.measured("ragged"),
        }
        stages.run("write", lambda: stages.measured("write"))
        for name, stage in todo.items():
            if options.only is None or name in options.only:
                stages.run(name, stage)
    if options.output:
        options.output.write_text(json.dumps(stages.found, indent=2) + "\n")
    failed = [name for name, found in stages.found.items() if "failed" in found]
    sys.stdout.write(f"failed: {', '.join(failed)}\n" if failed else "all stages ran\n")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
