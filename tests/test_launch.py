"""launch/slurm: what the script starts on each node, with stand-ins for Slurm's commands and for accelerate; and what
accelerate itself makes of that line for each of our configurations."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from rlvr import train
from rlvr.training.processes import launched_in_parts
from tests.support.small_run import write_recipe

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "launch/slurm/train.sbatch"
CONFIGS = sorted((ROOT / "launch/accelerate").glob("*.yaml"))
STAND_INS = {
    "scontrol": 'printf "node7\\nnode8\\n"',
    "srun": 'shift\nfor SLURM_NODEID in `seq 0 $((SLURM_JOB_NUM_NODES - 1))`; do SLURM_NODEID=$SLURM_NODEID "$@"; done',
    "accelerate": 'printf "%s|" "$@"; echo',
    "deepspeed": "touch pdsh-was-asked",
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


@pytest.mark.parametrize("nodes", [1, 2, 8])
@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_each_node_starts_its_own_processes_and_waits_for_the_others(
    config: Path, nodes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """accelerate hands every node's line to torchrun. For DeepSpeed on several nodes its default would be to start pdsh
    on each of them, which starts everything on all."""
    import torch.distributed.run
    from accelerate.commands import launch

    runs: list[Any] = []
    lines = started(tmp_path, str(config), "recipe.yaml", SLURM_JOB_NUM_NODES=str(nodes))
    monkeypatch.setattr(torch.distributed.run, "run", runs.append)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")  # with a `deepspeed` that only says so
    for line in lines:
        launch.launch_command(launch.launch_command_parser().parse_args(line[1:]))
    assert len(runs) == nodes and not (tmp_path / "pdsh-was-asked").exists()
    for rank, run in enumerate(runs):
        assert (run.nnodes.split(":")[0], int(run.nproc_per_node), run.node_rank) == (str(nodes), 8, rank)
        assert (run.training_script, run.training_script_args, run.module) == ("rlvr.train", ["recipe.yaml"], True)
        if nodes > 1:
            assert (run.rdzv_backend, run.rdzv_endpoint) == ("static", "node7:29500")


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_a_launch_says_whether_the_model_is_in_parts(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch.distributed.run
    from accelerate.commands import launch

    said: list[bool] = []
    monkeypatch.setattr(torch.distributed.run, "run", lambda _: said.append(launched_in_parts()))
    words = ["--config_file", str(config), "--num_processes", "2", "-m", "rlvr.train", "recipe.yaml"]
    launch.launch_command(launch.launch_command_parser().parse_args(words))
    assert said == [config.stem in ("zero3", "fsdp2")]


def test_a_config_of_deepspeed_says_its_stage(tmp_path: Path) -> None:
    (tmp_path / "two.json").write_text('{"zero_optimization": {"stage": 2}}')
    (tmp_path / "three.json").write_text('{"zero_optimization": {"stage": 3}}')
    launched = {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "2"}
    found = [launched_in_parts(launched | {"ACCELERATE_DEEPSPEED_CONFIG_FILE": str(tmp_path / name)})
             for name in ("two.json", "three.json", "none")]
    assert found == [False, True, False]
    assert launched_in_parts({"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "1"}) is False
    assert launched_in_parts({"ACCELERATE_DEEPSPEED_ZERO_STAGE": "3"}) is False  # not launched with it


def test_what_models_in_parts_cannot_do_is_refused_before_a_model_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("FSDP_VERSION", "2")
    recipe, *settings = write_recipe(tmp_path)
    words = [recipe, *settings, "model.path=no/such-model", "model.lora={}", "model.quantization=4bit"]
    assert train.main(words) == 2
    assert capsys.readouterr().err.startswith("error: model.quantization: ZeRO-3 and FSDP2 do not cut quantized")


@pytest.mark.parametrize("path", sorted((ROOT / "launch/docker").iterdir()), ids=lambda path: path.name)
def test_dockerfiles_are_pinned_clean_and_not_root(path: Path) -> None:
    """What a linter would say; none is built here. The commands in them name files and extras that exist."""
    lines = path.read_text().replace("\\\n", " ").splitlines()
    code = [line for line in lines if line and not line.startswith("#")]
    (image,) = [line.split()[1] for line in code if line.startswith("FROM ")]
    assert ":" in image and "latest" not in image and image.split(":")[1][0].isdigit()
    for line in code:
        if "apt-get install" in line:
            assert "--no-install-recommends" in line and "rm -rf /var/lib/apt/lists/*" in line and "--yes" in line
    (user,) = [line for line in code if line.startswith("USER ")]  # a number: Kubernetes cannot look up a name
    assert user == "USER 1000" and any("useradd --create-home --uid 1000 " in line for line in code)
    told = [line for line in lines if line.startswith("#")]  # a folder that Docker makes for -v belongs to root
    assert told.index("#   mkdir -p runs") < next(i for i, line in enumerate(told) if 'docker run' in line)
    assert code[-1].startswith("CMD [") and not any(line.startswith("ADD ") for line in code)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for names in re.findall(r"'\.\[([a-z,]+)\]'", path.read_text()):
        assert set(names.split(",")) <= extras.keys()
    for name in re.findall(r"(?:/opt/rlvr/)?((?:launch|recipes)/[\w./-]+(?:yaml|Dockerfile))", path.read_text()):
        assert (ROOT / name).is_file(), name
