"""`rlvr check`: resolve a recipe, judge its gold answers and print what it will cost, without loading the model."""

from __future__ import annotations

import argparse
from typing import Any

from rlvr.cli.arguments import add_command, add_recipe, at_least_one


def add_parser(commands: Any) -> None:
    parser = add_command(commands, "check", "resolve a recipe, judge its gold answers and print what it will cost",
                         "rlvr check recipes/quickstart/lab_grpo.yaml algorithm.name=ppo")
    add_recipe(parser)
    parser.add_argument("--processes", type=at_least_one, default=1, metavar="N",
                        help="number of processes that will train (default: 1)")
    parser.add_argument("--offline", action="store_true", help="skip what would have to be downloaded")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    from rlvr.cli.forecast import check
    from rlvr.config.recipe import load_recipe

    check(load_recipe(arguments.recipe, arguments.overrides), world_size=arguments.processes,
          offline=arguments.offline)
