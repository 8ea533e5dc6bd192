"""`rlvr check`: resolve a recipe, judge its gold answers and print what it will cost, without loading the model."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from rlvr.cli.arguments import add_command, add_recipe, at_least_one

TIMED = 'train.steps=3 probes.enabled=false run_dir="$(mktemp -d)/timed"'
"""Settings of a run that shows how long a step takes, as a shell reads them; its folder is new every time."""


def add_parser(commands: Any) -> None:
    parser = add_command(commands, "check", "resolve a recipe, judge its gold answers and print what it will cost",
                         "rlvr check recipes/quickstart/lab_grpo.yaml algorithm.name=ppo")
    add_recipe(parser)
    parser.add_argument("--processes", type=at_least_one, default=1, metavar="N",
                        help="number of processes that will train (default: 1)")
    parser.add_argument("--offline", action="store_true", help="skip what would have to be downloaded")
    parser.add_argument("--gpu", metavar="NAME", help="forecast memory and time on this GPU, as in h100")
    parser.add_argument("--sharding", choices=("ddp", "zero2", "zero3", "fsdp2"), default="ddp",
                        help="with --gpu: which file of launch/accelerate will launch it (default: ddp)")
    parser.add_argument("--model-config", type=Path, metavar="FILE",
                        help="with --gpu: config.json of a model that is not here")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    from rlvr.cli.forecast import check
    from rlvr.cli.hardware import hardware_lines
    from rlvr.config.recipe import load_recipe
    from rlvr.training.trackers import check_installed

    recipe = load_recipe(arguments.recipe, arguments.overrides)
    lines = [
        ("time", "on a GPU: add --gpu NAME, as in --gpu h100. A CPU is not forecast; see the seconds per step:"),
        ("", f"{shlex.join(['rlvr', 'train', arguments.recipe, *arguments.overrides])} \\"),
        ("", f"    {TIMED}"),
    ]
    check_installed(recipe.tracking.to)
    if arguments.gpu is not None:
        lines = hardware_lines(recipe, processes=arguments.processes, gpu_name=arguments.gpu,
                               sharding=arguments.sharding, config_file=arguments.model_config)
    check(recipe, world_size=arguments.processes, offline=arguments.offline, further=lines)
