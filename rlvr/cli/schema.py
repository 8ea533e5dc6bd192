"""`rlvr schema`: the JSON schema of recipes, for editors."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from rlvr.cli.arguments import add_command


def add_parser(commands: Any) -> None:
    parser = add_command(commands, "schema", "the JSON schema of recipes, with which editors complete and check keys",
                         "rlvr schema --comparison")
    parser.add_argument("--comparison", action="store_true", help="of comparison files instead")
    parser.add_argument("--built-in", action="store_true", help="leave out the names that installed plug-ins add")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    import json

    from rlvr.config.schema import comparison_schema, recipe_schema

    schema = comparison_schema if arguments.comparison else recipe_schema
    sys.stdout.write(json.dumps(schema(plug_ins=not arguments.built_in), indent=1, ensure_ascii=False) + "\n")
