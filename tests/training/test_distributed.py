"""The six on two processes: plain DDP, ZeRO-2, ZeRO-3 and FSDP2, whole models and adapters, all give the one-process
weights, and the probes of one process. A run under FSDP2 is killed and resumed.

Run: python -m pytest tests/training/test_distributed.py
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from rlvr.cli.main import main
from rlvr.lab.model import build_tokenizer
from rlvr.models.weights import weights_hash
from rlvr.runs.run_dir import RunDir
from tests.support import six_processes, warm
from tests.support.small_run import file_hash, rows, write_recipe
from tests.support.tiny import tiny_model

ROOT = Path(__file__).parents[2]
CASES = [f"{name}-{kind}" for kind in ("full", "lora")
         for name in ("grpo", "ppo", "rloo", "reinforce_pp", "remax", "dapo")] + ["grpo-anchored", "grpo-synced"]


def train(folder: Path, name: str, *launcher: str) -> dict[str, Any]:
    output = folder / f"{name}.pt"
    script = ["-m", "tests.support.six_processes", str(folder / "model"), str(output)]
    done = warm.run([sys.executable, *launcher, *script], timeout=900, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-4000:]
    return torch.load(output)


@pytest.fixture(scope="module")
def one_process(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("six")
    tiny_model().save_pretrained(folder / "model")
    build_tokenizer().save_pretrained(folder / "model")
    six_processes.main(str(folder / "model"), str(folder / "one.pt"))
    return folder, torch.load(folder / "one.pt")


@pytest.mark.parametrize("engine", ["ddp", "zero2", "zero3", "fsdp2"])
def test_two_processes_learn_what_one_learns(engine: str, one_process: tuple[Path, dict[str, Any]]) -> None:
    folder, one_found = one_process
    two_found = train(
        folder, engine, "-m", "accelerate.commands.launch", "--config_file",
        str(ROOT / f"launch/accelerate/{engine}.yaml"), "--num_processes", "2", "--mixed_precision", "no",
        "--main_process_port", "0",
    )
    one, two = one_found["learnt"], two_found["learnt"]
    start = tiny_model().state_dict()
    assert set(one) == set(two) == set(CASES)
    for case in CASES:
        assert one[case].keys() == two[case].keys()
        if case.endswith("full"):  # something was learnt, the critic of PPO included
            assert all((p - start.get(n, 0)).abs().max() > 1e-5 for n, p in one[case].items()
                       if n in start or n == "critic_head.weight"), case
        worst = max((one[case][n] - p).abs().max().item() for n, p in two[case].items())
        assert worst <= 1e-6, f"{case} on {engine}: {worst:.1e}"
    # Adapters and value models that are new change no policy, and parts have the name of the whole.
    assert set(two_found["weights"].values()) == {weights_hash(tiny_model())}
    drawn = [{(s["case"], s["step"], s["problem_id"], s["sample"]): s["text"] for s in found["samples"]}
             for found in (one_found, two_found)]
    assert len(drawn[0]) == 2 * 2 * 3 * 5 and drawn[0] == drawn[1]
    assert two_found["resumed"] == ({"full": True, "lora": True} if engine == "fsdp2" else {})
    # In bfloat16 the gradients are added up in float32, and what comes out is not rounded.
    assert two_found["sums"] == ({"output": 1 + 2**-10, "gradient": 1.125} if engine == "fsdp2" else {})


def test_a_process_of_fsdp2_is_killed_and_the_run_resumes_to_the_same_bits(tmp_path: Path) -> None:
    """Rank 1 gets SIGKILL in the middle of a step; what the lost step 3 had saved is made again, bit for bit."""
    arguments, run = write_recipe(tmp_path), RunDir(tmp_path / "run")
    settings = ["train.save_every=1", "train.micro_batch_size=8", "probes.enabled=false", "tracking.wandb=disabled"]
    launch = [
        sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(ROOT / "launch/accelerate/fsdp2.yaml"),
        "--num_processes", "2", "--mixed_precision", "no", "--main_process_port", "0", "-m", "tests.gpu.train",
        os.devnull, *arguments, *settings,
    ]
    env = os.environ | {"RLVR_TESTS_PIDS": str(tmp_path)}
    launcher = warm.Popen(launch, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=ROOT, env=env)
    third = tmp_path / "run/checkpoints/checkpoint-3"
    while not any(step == 3 for step, _ in run.complete_checkpoints()):
        assert launcher.poll() is None, launcher.communicate()[1].decode()[-4000:]
        time.sleep(0.005)
    os.kill(int((tmp_path / "rank1").read_text()), signal.SIGKILL)
    assert launcher.wait(120) != 0  # and with it the other rank, which torchrun ends
    lost = third.rename(tmp_path / "lost")
    before = rows(run.metrics)
    assert main(["train", *arguments, *settings]) == 2  # never over an existing run by accident

    done = warm.run([*launch, "--resume"], timeout=300, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-4000:]
    assert (third / "pytorch_model_fsdp.bin").is_file()  # as FSDP2 saves its parts
    assert file_hash(third / "model.safetensors") == file_hash(lost / "model.safetensors")
    assert file_hash(third / "model.safetensors") != file_hash(third.with_name("checkpoint-4") / "model.safetensors")
    assert [row["step"] for row in rows(run.metrics)] == [1, 2, 3, 4]
    norms = [[row["train/grad_norm"] for row in found[:3]] for found in (before, rows(run.metrics))]
    assert norms[0] == norms[1] and min(norms[0]) > 0
