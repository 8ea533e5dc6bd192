"""`rlvr review`: a sheet of rare correct answers, whose reasoning a person can check."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from rlvr.cli.arguments import add_command, add_run_dir, number


def add_parser(commands: Any) -> None:
    parser = add_command(commands, "review", "collect rare right answers to hard problems, to check their reasoning",
                         "rlvr review runs/longer -o review.html")
    add_run_dir(parser)
    parser.add_argument("-o", "--output", type=Path, required=True, help="sheet to write: .html (ticks) or .csv")
    parser.add_argument("--max-accuracy", type=number(0.0, 1.0, float), default=0.05, metavar="P",
                        help="a problem is hard if its share of right answers is above 0 and below P (default: 0.05)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    from rlvr.report.review import write_review

    written = write_review(arguments.run_dir, arguments.output, max_accuracy=arguments.max_accuracy)
    sys.stdout.write(f"{written} different right answers to hard problems: {arguments.output}\n")
