"""`rlvr compare`: train every arm of a comparison with every seed, or compare finished runs, on one page."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr.cli.arguments import add_command, add_overrides, add_resume
from rlvr.types import UserError

if TYPE_CHECKING:
    from rlvr.report.comparison.arms import Arms


def add_parser(commands: Any) -> None:
    parser = add_command(
        commands, "compare",
        "train every arm with every seed, or take finished runs, and compare them on one page of tables and curves",
        "rlvr compare recipes/compare/lab_six.yaml --arms grpo,ppo 'seeds=[0]'",
        failure="a run failed (the others went on)",
    )
    parser.add_argument("what", help="a comparison, e.g. recipes/compare/lab_six.yaml, or a directory of runs")
    add_overrides(parser, "settings; or more directories", "key=value | DIR")
    parser.add_argument("--arms", type=lambda text: list(dict.fromkeys(text.split(","))), metavar="A,B",
                        help="only these arms of the file")
    parser.add_argument("--finished", action="store_true",
                        help="train nothing: compare the runs that are finished and name the others")
    add_resume(parser, "unfinished runs, and skip finished ones")
    parser.add_argument("--launch", metavar="COMMAND", help='launcher of the runs, e.g. "accelerate launch"')
    parser.add_argument("-o", "--output", type=Path, help="page to write; .md and .csv go beside it")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    if Path(arguments.what).suffix in (".yaml", ".yml"):
        return _compare_arms(arguments)
    return _compare_finished(arguments)


def _compare_finished(arguments: argparse.Namespace) -> int:
    """Compare the runs in the directories that were named."""
    from rlvr.report.comparison.arms import load_arms
    from rlvr.report.comparison.page import comparison_summary, write_comparison

    if arguments.resume or arguments.launch or arguments.arms:
        raise UserError(f"{arguments.what}: --resume, --launch and --arms are for a comparison file (.yaml); of "
                        "finished runs, name the directories that are wanted")
    paths = [Path(arguments.what), *map(Path, arguments.overrides)]
    arms = load_arms(paths, finished=arguments.finished)
    page = write_comparison(arms, arguments.output or Path("compare.html"))
    sys.stdout.write(f"{comparison_summary(arms)}\npage: {page}\n")
    _dashboard(arms, page)
    return 0


def _compare_arms(arguments: argparse.Namespace) -> int:
    """Train the runs of a comparison file that are not finished, then compare those that are."""
    from rlvr.cli.comparison_runs import Failure, check_runs, launcher, run_all
    from rlvr.config.comparison import load_comparison, overruled_text
    from rlvr.report.comparison.arms import load_arms
    from rlvr.report.comparison.page import comparison_summary, write_comparison

    runs = load_comparison(arguments.what, arguments.overrides, arguments.arms)
    if overruled := overruled_text(runs):
        sys.stderr.write(f"{overruled}\n")
    failures: list[Failure] = []
    if not arguments.finished:
        launch = launcher(arguments.launch)
        check_runs(runs, resume=arguments.resume, processes=None if arguments.launch else 1)
        failures = run_all(runs, launch)
    arms = {run.path: run.arm for run in runs if run.finished}
    missing = [f"{run.arm}, seed {run.seed}" for run in runs if not run.finished]
    if arguments.finished and not arms:
        raise UserError(f"{arguments.what}: none of its {len(runs)} runs is finished; train them without --finished")
    if arms:
        name = f"compare-{'-'.join(arguments.arms)}.html" if arguments.arms else "compare.html"
        output = arguments.output or runs[0].path.parent / name
        loaded = load_arms(list(arms), names=arms, missing=missing)
        page = write_comparison(loaded, output)
        sys.stdout.write(f"{comparison_summary(loaded)}\npage: {page}\n")
        _dashboard(loaded, page)
    for failure in failures:
        sys.stderr.write(f"error: {failure}\n")
    return 1 if failures else 0


def _dashboard(arms: Arms, page: Path) -> None:
    """The W&B workspace and report of the runs, if they were tracked with W&B. The page is written already, so that W&B
    refuses is only said."""
    from rlvr.cli.dashboard import make

    tracked = [run.path for arm in arms.arms for run in arm.runs if (run.path / "wandb_id").is_file()]
    if not tracked:
        return
    again = ["rlvr", "dashboard", *map(str, tracked), "--report", str(page.with_suffix(".md"))]
    try:
        make(tracked, output=page.with_name("dashboard.json"), name=f"rlvr {' / '.join(arm.name for arm in arms.arms)}",
             text=page.with_suffix(".md").read_text(encoding="utf-8"), again=again)
    except UserError as error:
        sys.stderr.write(f"no dashboard: {error}\n")
