"""`rlvr probe`: measure the boundary of models, or of completions sampled elsewhere."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rlvr.cli.arguments import add_command, add_resume


def add_parser(commands: Any) -> None:
    parser = add_command(commands, "probe", "measure the boundary of checkpoints, or of samples drawn elsewhere",
                         "rlvr probe runs/longer -o runs/longer-probed")
    parser.add_argument(
        "words", nargs="*", default=[], metavar="MODEL | RECIPE | key=value",
        help="MODEL, one or more: `lab`, a hub id, a directory, or a run directory for all its checkpoints. RECIPE: "
             "sets base, problems, decoding and plans (default: the recipe of the models' run). key=value: changes a "
             "setting of the recipe",
    )
    parser.add_argument("--data", metavar="FILE|ID", help="problems (.jsonl, .parquet, hub id, `lab`): needs no recipe")
    parser.add_argument("--base", metavar="MODEL|FILE", help="what to compare with (default: the recipe's base, else "
                                                             "the first MODEL); with --from, the base's completions")
    parser.add_argument("--plan", help="sampling plan, for the base too: balanced, fixed, cheap or reference-512")
    parser.add_argument("--verifier", help="math, countdown, ... or package.module:Class")
    parser.add_argument("--from", dest="samples", type=Path, metavar="FILE.jsonl",
                        help="judge completions drawn elsewhere, one {problem_id, sample, text} per line")
    parser.add_argument("-o", "--output", type=Path, required=True, help="run directory to write")
    add_resume(parser, "the probe in the output directory")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    from rlvr.cli.probe_request import probe_request
    from rlvr.cli.report import write_and_print
    from rlvr.runs.run_dir import RunDir

    samples = arguments.samples
    request = probe_request(
        arguments.words, data=arguments.data, plan=arguments.plan, verifier=arguments.verifier,
        base=arguments.base if samples is None else None, samples_given=samples is not None,
    )
    RunDir(arguments.output).check_usable(resume=arguments.resume)
    from rlvr.probes.offline import judge_file, probe  # loads torch: only once the request is valid

    if samples is None:
        probe(request, arguments.output, resume=arguments.resume)
    else:
        base = None if arguments.base is None else Path(arguments.base)
        judge_file(request, samples, arguments.output, base=base, plan=arguments.plan, resume=arguments.resume)
    write_and_print(arguments.output)
