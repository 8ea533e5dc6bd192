"""`rlvr list`: the algorithms, verifiers, plans and presets that a recipe may name."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from rlvr.cli.arguments import add_command


def add_parser(commands: Any) -> None:
    parser = add_command(commands, "list", "the algorithms, verifiers, sampling plans and data presets a recipe may "
                                           "name", "rlvr list ppo")
    parser.add_argument("name", nargs="?", help="show the formula and the settings of this one")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    from rlvr.cli.catalog import details, overview

    sys.stdout.write((details(arguments.name) if arguments.name else overview()) + "\n")
