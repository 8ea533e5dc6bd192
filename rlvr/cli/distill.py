"""`rlvr lab distill`: supervised training on the solver's answers, probed as a training by RL is."""

from __future__ import annotations

import argparse
from typing import Any

from rlvr.cli.arguments import add_command, add_recipe, add_resume


def add_parser(commands: Any) -> None:
    parser = add_command(commands, "distill",
                         "SFT on the solver's answers to problems the base rarely solves, with a recipe's probes",
                         "rlvr lab distill recipes/quickstart/lab_grpo.yaml run_dir=runs/distilled")
    add_recipe(parser)
    add_resume(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    from rlvr.cli.report import write_and_print
    from rlvr.config.recipe import load_recipe
    from rlvr.models.quiet import quiet

    recipe = load_recipe(arguments.recipe, arguments.overrides)
    quiet()
    from rlvr.training.distillation import distill

    write_and_print(distill(recipe, resume=arguments.resume).path)
