"""`rlvr lab`: the laptop-sized task whose exact pass@k can be computed."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from rlvr.cli import distill
from rlvr.cli.arguments import add_command, at_least_one, number
from rlvr.types import DEFAULT_KS, Decoding


def add_parser(commands: Any) -> None:
    lab = commands.add_parser("lab", help="the laptop-sized task whose exact pass@k can be computed").add_subparsers(
        required=True, metavar="WHAT")
    exact = add_command(lab, "exact", "exact pass@k of a lab model: no sampling, no noise",
                        "rlvr lab exact lab -k 1 256")
    exact.add_argument("model", help="`lab` or a directory, such as runs/lab_grpo/checkpoints/checkpoint-60")
    exact.add_argument("-k", type=at_least_one, nargs="+", default=DEFAULT_KS, metavar="K",
                       help="values of k (default: powers of 2 up to 256)")
    exact.add_argument("--problems", type=at_least_one, default=128, metavar="N",
                       help="the first N problems of the split (default: 128)")
    exact.add_argument("--split", choices=("train", "test", "hard"), default="test",
                       help="problems to solve (default: test); hard: those of test with at most two right answers")
    exact.add_argument("--temperature", type=number(0.001, 1000.0, float), default=1.0, metavar="T",
                       help="(default: 1)")
    exact.add_argument("--top-p", type=number(1e-6, 1.0, float), default=1.0, metavar="P",
                       help="nucleus mass (default: 1)")
    exact.set_defaults(run=run_exact)
    distill.add_parser(lab)
    base = add_command(lab, "build-base", "train the lab's base model from scratch (a few CPU minutes)",
                       "rlvr lab build-base my-base --seed 1")
    base.add_argument("output", type=Path, help="directory to write; must be empty or new")
    base.add_argument("--seed", type=number(0, 2**32 - 1, int), default=0,
                      help="of the initial weights and the data (default: 0)")
    base.add_argument("--steps", type=at_least_one, default=None, help="optimizer steps (default: as the shipped base)")
    base.set_defaults(run=run_build)


def run_exact(arguments: argparse.Namespace) -> None:
    from rlvr.lab.countdown import ANSWER_TOKENS, problems
    from rlvr.lab.exact import exact_pass_at_k, exact_success, format_exact_table
    from rlvr.lab.model import load_lab_model

    model, tokenizer = load_lab_model(arguments.model)
    chosen = problems(arguments.split, arguments.problems)
    decoding = Decoding(arguments.temperature, arguments.top_p, ANSWER_TOKENS)
    p_P = exact_success(model, tokenizer, chosen, decoding)
    name = f"{arguments.model}, {len(chosen)} {arguments.split} problems"
    sys.stdout.write(format_exact_table({name: exact_pass_at_k(p_P, arguments.k)}) + "\n")


def run_build(arguments: argparse.Namespace) -> None:
    from rlvr.lab.build_base import build_base

    steps = {} if arguments.steps is None else {"steps": arguments.steps}
    build_base(arguments.output, seed=arguments.seed, **steps)
