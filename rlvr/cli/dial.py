"""`rlvr dial`: models between a run's base and its trained model, and the best of them that keeps the boundary."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlvr.cli.arguments import add_command, add_overrides, add_resume, add_run_dir, at_least_one
from rlvr.runs.run_dir import RunDir
from rlvr.types import UserError

POINTS = (25, 50, 75)


def add_parser(commands: Any) -> None:
    parser = add_command(commands, "dial", "mix a run's trained model with its base, and keep the boundary",
                         "rlvr dial runs/longer -o runs/longer-dial")
    add_run_dir(parser)
    add_overrides(parser, "settings of the run's probes to change, e.g. data.probe.size=512")
    parser.add_argument("--checkpoint", type=at_least_one, metavar="N",
                        help="the run's checkpoint at this step (default: the last)")
    parser.add_argument("--points", type=percents, default=POINTS, metavar="A,B,...",
                        help="how far from the base, as shares in steps of 0.01; 1: the trained model (default: "
                             "0.25,0.5,0.75)")
    parser.add_argument("--average", nargs="+", type=Path, default=[], metavar="RUN",
                        help="further runs from the same base, as of other seeds: the mean of their models is dialled")
    parser.add_argument("--keep", type=at_least_one, default=256, metavar="K",
                        help="the boundary to keep is pass@K (default: 256)")
    parser.add_argument("--tolerance", type=tolerance, default=0.02, metavar="POINTS",
                        help="largest loss of pass@K to accept, in percentage points (default: 2)")
    parser.add_argument("--target", choices=("population", "benchmark"), default="population",
                        help="what the confidence is about: problems like these (default), or exactly these")
    parser.add_argument("-o", "--output", type=Path, required=True, help="directory to write")
    add_resume(parser, "the dial in the output directory")
    parser.set_defaults(run=run)


def percents(text: str) -> tuple[int, ...]:
    """An argument type: shares as whole percents, in rising order."""
    found = sorted({float(part) for part in text.split(",")})
    if not found or any(not 0 < share <= 1 or abs(100 * share - round(100 * share)) > 1e-9 for share in found):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected shares above 0 and up to 1 in steps of 0.01, as in "
                                         "0.25,0.5,0.75")
    return tuple(round(100 * share) for share in found)


def tolerance(text: str) -> float:
    """An argument type: percentage points, as a fraction."""
    points = float(text)
    if not 0 < points < 100:
        raise argparse.ArgumentTypeError(f"found {text}, expected points above 0 and below 100")
    return points / 100


def run(arguments: argparse.Namespace) -> None:
    from rlvr.cli.probe_request import probe_request
    from rlvr.training.processes import world_size

    if world_size() > 1:
        raise UserError(f"found {world_size()} processes, expected one; start `rlvr dial` without a launcher")
    check_settings(arguments.overrides)
    runs = [arguments.run_dir, *arguments.average]
    trained = [checkpoint_of(path, arguments.checkpoint) for path in runs]
    check_one_base(runs)
    RunDir(arguments.output).check_usable(resume=arguments.resume)
    probes = probe_request([str(trained[0]), *arguments.overrides])

    from rlvr.probes.dial import DialRequest, dial  # loads torch: only once the request is valid
    from rlvr.report.dial import summary, write_dial
    from rlvr.report.page import write_report
    from rlvr.report.report import load_report
    from rlvr.runs.files import full_disk_explained

    with full_disk_explained(arguments.output):
        found = dial(DialRequest(probes, arguments.run_dir, tuple(trained), arguments.points, arguments.keep,
                                 arguments.tolerance, arguments.target), arguments.output, resume=arguments.resume)
        report = load_report(arguments.output)
        write_report(report)
        page = write_dial(found, report.run)
    sys.stdout.write(f"{summary(found, report.run)}\npage: {page}\n")
    if found.model is not None:
        sys.stdout.write(f"model: {found.model}\n")


def check_settings(words: Sequence[str]) -> None:
    """Raises UserError for what is no setting of the run's probes."""
    from rlvr.cli.probe_request import is_setting

    for word in words:
        if not is_setting(word):
            raise UserError(f"found {word!r}, expected key=value; one run is dialled, by its own recipe: --checkpoint "
                            "names a step, --average further runs")
        key = word.partition("=")[0]
        if key.split(".")[0] == "model":
            raise UserError(f"{key}: found on the command line, but the line begins at the base of the run; remove it")


def checkpoint_of(run_dir: Path, step: int | None) -> Path:
    """The complete checkpoint of a run at a step, or its last. UserError without one."""
    complete = dict(RunDir(run_dir).complete_checkpoints())
    if complete and step is None:
        return complete[max(complete)]
    if step is None or step not in complete:
        names = ", ".join(map(str, complete)) or "none"
        wanted = "a checkpoint" if step is None else f"a checkpoint at step {step}"
        raise UserError(f"{run_dir}: has no complete checkpoint{'' if step is None else f' at step {step}'} (complete: "
                        f"{names}); expected the directory of a training run with {wanted}")
    return complete[step]


def check_one_base(runs: Sequence[Path]) -> None:
    """Raises UserError unless all runs are different ones that started from the same model."""
    for i, path in enumerate(runs):
        if (same := next((one for one in runs[:i] if one.resolve() == path.resolve()), None)) is not None:
            raise UserError(f"--average {path}: is the run {same}, which is in the mean already; remove it")
    models = [RunDir(path).read_recipe()["recipe"]["model"] or {} for path in runs]
    for path, model in zip(runs, models, strict=True):
        for key in ("path", "revision"):
            if model.get(key) != models[0].get(key):
                raise UserError(f"--average {path}: its model.{key} is {model.get(key)!r}, that of {runs[0]} "
                                f"{models[0].get(key)!r}; only models trained from one base are averaged")
