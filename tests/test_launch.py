"""launch/slurm: what the script starts on each node, with stand-ins for Slurm's commands and for accelerate."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "launch/slurm/train.sbatch"
STAND_INS = {
    "scontrol": 'printf "node7\\nnode8\\n"',
    "srun": 'shift; for SLURM_NODEID in 0 1; do SLURM_NODEID=$SLURM_NODEID "$@"; done',
    "accelerate": 'printf "%s|" "$@"; echo',
}


def started(tmp_path: Path, *arguments: str, **environment: str) -> list[list[str]]:
    """The command line of accelerate on every node."""
    for name, body in STAND_INS.items():
        (tmp_path / name).write_text(f"#!/bin/bash\nexport SLURM_NODEID\n{body}\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        ["bash", str(SCRIPT), *arguments], capture_output=True, text=True, check=True,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_NODELIST": "node[7-8]", "SLURM_JOB_NUM_NODES": "2",
             "SLURM_GPUS_ON_NODE": "8"} | environment,
    )
    return [line.rstrip("|").split("|") for line in done.stdout.splitlines()]


def test_every_node_meets_at_the_first_with_its_own_rank(tmp_path: Path) -> None:
    first, second = started(tmp_path, "zero3.yaml", "my recipe.yaml", "train.steps=3")
    assert first == [
        "launch", "--config_file", "zero3.yaml", "--num_machines", "2", "--num_processes", "16", "--machine_rank", "0",
        "--main_process_ip", "node7", "--main_process_port", "29500", "-m", "rlvr.train", "my recipe.yaml",
        "train.steps=3",
    ]
    assert second == [*first[:8], "1", *first[9:]]


@pytest.mark.parametrize(("count", "resumes"), [("0", False), ("1", True)])
def test_a_requeued_job_resumes(tmp_path: Path, count: str, resumes: bool) -> None:
    first, _ = started(tmp_path, "zero3.yaml", "recipe.yaml", SLURM_RESTART_COUNT=count)
    assert ("--resume" in first) is resumes
