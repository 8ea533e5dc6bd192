"""`rlvr dashboard`: a saved W&B workspace of some runs; without an API key its definition, as JSON."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlvr.cli.arguments import add_command
from rlvr.types import UserError


def add_parser(commands: Any) -> None:
    parser = add_command(commands, "dashboard", "make or update the W&B workspace of some runs",
                         "rlvr dashboard runs/longer --project rlvr")
    parser.add_argument("run_dirs", nargs="+", type=Path, metavar="RUN", help="run directories")
    parser.add_argument("--entity", help="team or user in W&B; default: that of the runs, else the account's")
    parser.add_argument("--project", help="project in W&B; default: that of the runs")
    parser.add_argument("--name", help="name of the workspace; default: that of the run or of the runs' folder")
    parser.add_argument("--report", type=Path, metavar="FILE.md",
                        help="also make a W&B report that begins with this text, such as compare.md")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.json",
                        help="where the definition is written; default: dashboard.json in the run or the runs' folder")
    parser.add_argument("--picture", type=Path, metavar="FILE.png",
                        help="also draw the dashboard with the lines of the runs, without asking W&B")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    if arguments.report is not None and not arguments.report.is_file():
        raise UserError(f"--report: no file {arguments.report}; expected the text of a report, such as compare.md")
    text = arguments.report.read_text(encoding="utf-8") if arguments.report else ""
    make(arguments.run_dirs, output=arguments.output, name=arguments.name, entity=arguments.entity,
         project=arguments.project, text=text, again=["rlvr", "dashboard", *sys.argv[2:]], picture=arguments.picture)


def _mixed(run_dirs: Sequence[Path]) -> str | None:
    """The first arm whose runs differ in what they began with or are measured on."""
    from rlvr.runs.run_dir import RunDir

    trees = [RunDir(run_dir).read_recipe()["recipe"] for run_dir in run_dirs]
    groups = [(tree.get("tracking") or {}).get("group") for tree in trees]
    arms = groups if all(groups) else [tree["algorithm"]["name"] for tree in trees]
    began: dict[str, str] = {}
    for arm, tree in zip(arms, trees, strict=True):
        measured = json.dumps([tree.get("model"), (tree.get("data") or {}).get("probe")], sort_keys=True)
        if began.setdefault(arm, measured) != measured:
            return str(arm)
    return None


def make(
    run_dirs: Sequence[Path], *, again: Sequence[str], output: Path | None = None, name: str | None = None,
    entity: str | None = None, project: str | None = None, text: str = "", picture: Path | None = None,
) -> None:
    """Write the definition and its picture, make the workspace if W&B has a key here, and say where it is or how to
    make it.

    `again` is the command that makes it once there is a key.
    """
    from rlvr.report.dashboard_file import NAME, Dashboard
    from rlvr.training.wandb_run import online

    home = run_dirs[0] if len(run_dirs) == 1 else run_dirs[0].resolve().parent
    output = output or home / NAME
    dashboard = Dashboard(run_dirs, name=name or f"rlvr {home.resolve().name}", entity=entity, project=project,
                          text=text)
    if mixed := _mixed(run_dirs):
        sys.stderr.write(f"note: arm {mixed} holds runs of several models or probe sets, whose mean says little; make "
                         "one dashboard for each, or set tracking.group\n")
    if picture is not None:
        from rlvr.report.dashboard_picture import draw

        dashboard.write(output)
        draw(output, picture)
        sys.stdout.write(f"picture: {picture}\n")
    if online():
        for address in dashboard.apply(output):
            sys.stdout.write(f"dashboard: {address}\n")
        return
    dashboard.write(output)
    offline = [str(path) for run_dir in run_dirs for path in sorted(run_dir.glob("wandb/offline-run-*"))]
    sync = f"{shlex.join(['wandb', 'sync', *offline])}, " if offline else ""
    why = "WANDB_MODE is not online" if os.environ.get("WANDB_MODE", "online") != "online" else "W&B has no key here"
    sys.stdout.write(f"dashboard: {output} ({why}, so it is only written; to make it: wandb login, {sync}"
                     f"{shlex.join(again)}{'' if picture else '; to see it without W&B: --picture FILE.png'})\n")
