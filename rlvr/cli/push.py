"""`rlvr push`: a checkpoint and the samples of the probes to the Hugging Face Hub."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from rlvr.cli.arguments import add_command, add_run_dir, count
from rlvr.types import UserError


def add_parser(commands: Any) -> None:
    parser = add_command(commands, "push", "upload a checkpoint or the samples of a run to the Hugging Face Hub",
                         "rlvr push runs/longer --model me/longer --samples me/longer-samples")
    add_run_dir(parser)
    parser.add_argument("--model", metavar="REPO", help="repository for a checkpoint with its model card")
    parser.add_argument("--samples", metavar="REPO", help="dataset repository for what the probes drew")
    parser.add_argument("--checkpoint", type=count, metavar="STEP", help="step of the checkpoint; default: the newest")
    parser.add_argument("--public", action="store_true", help="new repositories are public, not private")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    from rlvr.report.hub import push_model, push_samples

    if not (arguments.model or arguments.samples):
        raise UserError("nothing to push: give --model REPO, --samples REPO or both")
    private = not arguments.public
    if arguments.model:
        at = push_model(arguments.run_dir, arguments.model, step=arguments.checkpoint, private=private)
        sys.stdout.write(f"model: {at}\n")
    if arguments.samples:
        sys.stdout.write(f"samples: {push_samples(arguments.run_dir, arguments.samples, private=private)}\n")
