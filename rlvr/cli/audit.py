"""`rlvr audit`: how far a verifier can be trusted on a dataset."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from rlvr.cli.arguments import add_command, add_overrides, at_least_one, count


def add_parser(commands: Any) -> None:
    parser = add_command(commands, "audit", "how far a verifier can be trusted on a dataset",
                         "rlvr audit --data math500", failure="the verifier rejects a gold answer")
    parser.add_argument("--data", required=True, metavar="D", help="a preset, a .jsonl or .parquet file, or a hub id")
    add_overrides(parser, "keys of a recipe's data section")
    parser.add_argument("--verifier", metavar="V", help="verifier to audit (default: the one of the data)")
    parser.add_argument("--second", metavar="V", help="grader to compare with (default: math_verify for math)")
    parser.add_argument("--completions", type=Path, metavar="F",
                        help="JSONL of problem_id and text, or samples of a run")
    parser.add_argument("--cross", type=count, default=20, metavar="N",
                        help="gold answers of other problems tried on each problem (default: 20)")
    parser.add_argument("--workers", type=at_least_one, default=2, metavar="N", help="judge processes (default: 2)")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="directory to write audit.json to")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    import json

    from rlvr.cli.columns import usual_columns
    from rlvr.config.data import DataSpec
    from rlvr.config.overrides import apply_overrides
    from rlvr.config.presets import PRESETS, expand
    from rlvr.config.strict import from_dict
    from rlvr.data.completions import read_texts
    from rlvr.data.load import load_problems
    from rlvr.judging.audit import run_audit, table
    from rlvr.runs.files import write_json_atomic

    overrides = [word.removeprefix("data.") for word in arguments.overrides]  # as errors about the rows name the keys
    stated = {key: value for key, _, value in (word.partition("=") for word in overrides)}
    named = {"preset": arguments.data} if arguments.data in PRESETS else {
        "source": arguments.data, **({} if stated.keys() & {"preset", "reader"} else usual_columns(
            arguments.data, stated.get("prompt")))}
    spec = from_dict(DataSpec, expand(apply_overrides(named, overrides), "data"), "data")
    without_gold: list[str] = []
    problems = load_problems(spec, where="data", without_gold=without_gold)
    completions = read_texts(arguments.completions) if arguments.completions else []
    result = run_audit(problems, data=spec.source, verifier=arguments.verifier or problems[0].verifier,
                       second=arguments.second, completions=completions, without_gold=without_gold,
                       cross=arguments.cross, workers=arguments.workers)
    sys.stdout.write(table(result) + "\n")
    if arguments.output:
        arguments.output.mkdir(parents=True, exist_ok=True)
        write_json_atomic(arguments.output / "audit.json", json.loads(json.dumps(result.as_dict())))
        sys.stdout.write(f"written: {arguments.output / 'audit.json'}\n")
    return 0 if result.passed else 1
