"""What the commands share: how one introduces itself, and arguments that several take. Light: no heavy imports."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T", int, float)
MOST = 10**9
"""Of a count, as in recipes."""


def add_command(
    commands: Any, name: str, does: str, example: str, *, failure: str = "failure"
) -> argparse.ArgumentParser:
    """A command whose help says what it does, shows an example and lists the exit codes.

    `failure` is what exit code 1 means for this command.
    """
    codes = f"0: success; 1: {failure}; 2: invalid input; 130: interrupted"
    return commands.add_parser(
        name, help=does, description=f"{does[0].upper()}{does[1:]}.",
        epilog=f"example:     {example}\nexit codes:  {codes}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """`RECIPE [key=value ...]`"""
    completed(parser.add_argument("recipe", help="path of a recipe, e.g. recipes/quickstart/lab_grpo.yaml"))
    add_overrides(parser, "recipe settings to change, e.g. train.steps=150")


def add_overrides(parser: argparse.ArgumentParser, meaning: str, metavar: str = "key=value") -> None:
    """Any number of settings. With a default, argparse does not list them among the required arguments."""
    parser.add_argument("overrides", nargs="*", default=[], metavar=metavar, help=meaning)


def add_run_dir(parser: argparse.ArgumentParser) -> None:
    completed(parser.add_argument("run_dir", type=Path, metavar="RUN", help="run directory, e.g. runs/lab_grpo"))


def completed(argument: argparse.Action) -> None:
    """Let shells complete paths for it (`rlvr --completion`): as shtab.FILE, without loading shtab."""
    argument.complete = {"bash": "_shtab_compgen_files", "zsh": "_files", "tcsh": "f"}  # type: ignore[attr-defined]


def add_resume(parser: argparse.ArgumentParser, what: str = "the run in the recipe's run_dir") -> None:
    parser.add_argument("--resume", action="store_true", help=f"continue {what}")


def number(low: T, high: T, kind: Callable[[str], T]) -> Callable[[str], T]:
    """An argument type: a number in a range, by `int` or `float`."""
    def read(text: str) -> T:
        with suppress(ValueError):
            if low <= (found := kind(text)) <= high:
                return found
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a {'whole ' * (kind is int)}number from {low} to "
                                         f"{high}")
    return read


at_least_one = number(1, MOST, int)
count = number(0, MOST, int)
"""A count, or a step."""
