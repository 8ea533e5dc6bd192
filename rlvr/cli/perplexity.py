"""`rlvr perplexity`: how likely the base model finds what the trained one writes."""

from __future__ import annotations

import argparse
from typing import Any

from rlvr.cli.arguments import add_command, add_run_dir, at_least_one


def add_parser(commands: Any) -> None:
    parser = add_command(commands, "perplexity", "how likely the base model finds what the trained one writes",
                         "rlvr perplexity runs/longer")
    add_run_dir(parser)
    parser.add_argument("--samples", type=at_least_one, default=4, metavar="N",
                        help="completions per problem and probe (default: 4)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    from rlvr.runs.run_dir import RunDir

    RunDir(arguments.run_dir).read_recipe()  # refuses a directory without a run before torch loads
    from rlvr.probes.perplexity import run as measure

    measure(arguments.run_dir, samples=arguments.samples)
