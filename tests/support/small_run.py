"""A run small enough for tests: the lab's base, a few updates, a few problems; and helpers to look at it."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support import warm

RECIPE = """
name: small
model: {path: lab}
data:
  train: {source: lab, split: train, size: 64}
  probe: {source: lab, split: test, size: 12}
algorithm: {name: grpo}
train:
  steps: 4
  prompts_per_step: 8
  group_size: 8
  micro_batch_size: 16
  max_new_tokens: 18
  learning_rate: 1.0e-3
  weight_decay: 0.0
  save_every: 2
probes: {every: 2, temperature: 1.0, top_p: 1.0, max_new_tokens: 18, batch_size: 256}
judge: {workers: 1}
tracking: {wandb: offline}
"""


def write_recipe(folder: Path, problems: int = 12) -> list[str]:
    """Arguments of `rlvr train`: a recipe whose run directory is `folder/run`, with a baseline store of its own. Its
    probes ask `problems`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.yaml").write_text(RECIPE.replace("size: 12", f"size: {problems}"))
    return [str(folder / "recipe.yaml"), f"run_dir={folder}/run", f"probes.baselines={folder}/baselines"]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "rlvr.cli", *arguments]


def rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a JSONL file, as plain as can be, without their checksums."""
    found: list[dict[str, Any]] = [json.loads(line) for line in path.read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "crc"} for row in found]


def file_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def kill_when(arguments: list[str], condition: Callable[[], bool], timeout: float = 120.0) -> None:
    """Start a run and SIGKILL it, with all its processes, as soon as `condition` holds."""
    process = warm.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    deadline = time.monotonic() + timeout
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise AssertionError(f"ended before it could be killed:\n{process.communicate()[1].decode()[-3000:]}")
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
