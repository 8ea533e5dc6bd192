"""`rlvr report`: the page and the summary of one run."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from rlvr.cli.arguments import add_command, add_run_dir


def add_parser(commands: Any) -> None:
    parser = add_command(commands, "report", "write report.html of a run and print its summary",
                         "rlvr report runs/longer")
    add_run_dir(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    write_and_print(arguments.run_dir)


def write_and_print(run_dir: Path) -> None:
    """Write the report of a run, and print its summary and where the page is."""
    from rlvr.report.page import write_report
    from rlvr.report.report import load_report
    from rlvr.report.summary import summary_table

    report = load_report(run_dir)
    page = write_report(report)
    sys.stdout.write(f"{summary_table(report)}\nreport: {page}\n")
