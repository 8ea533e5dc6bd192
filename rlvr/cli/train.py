"""`rlvr train`: run a recipe in this process."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from rlvr.cli.arguments import add_command, add_recipe, add_resume


def add_parser(commands: Any) -> None:
    parser = add_command(commands, "train",
                         "run a recipe in one process (in several: accelerate launch -m rlvr.train)",
                         "rlvr train recipes/quickstart/lab_grpo.yaml train.steps=150 run_dir=runs/longer")
    add_recipe(parser)
    add_resume(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    from rlvr.training.processes import rank

    if rank() == 0 and sys.stderr.isatty():  # the libraries alone take ten seconds, and a silent terminal looks hung
        sys.stderr.write("loading libraries, problems and model; then a progress line follows\n")
    from rlvr.train import run as train

    train(arguments.recipe, arguments.overrides, resume=arguments.resume)
