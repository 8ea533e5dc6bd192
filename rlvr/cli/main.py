"""The `rlvr` command: puts the commands of this folder together, runs one and turns its errors into an exit code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from rlvr.cli import (
    audit,
    check,
    compare,
    convert,
    dashboard,
    dial,
    init,
    lab,
    list,
    perplexity,
    probe,
    push,
    report,
    review,
    schema,
    train,
)
from rlvr.runs.owner import release
from rlvr.training.processes import failed
from rlvr.types import EndpointError, UnsoundError, UserError, in_one_line

COMMANDS = (train, check, init, probe, dial, perplexity, report, audit, list, schema, compare, dashboard, review, push,
            convert, lab)
"""In the order of `rlvr --help`. Each adds its parser, with the function to run as `run`, and imports what it needs
when it runs."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code. A user's mistake is one line on stderr and exit code 2."""
    arguments = parse(argv)
    # As with `python -m`: plug-ins named package.module:Class may lie in the current directory.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        return arguments.run(arguments) or 0
    except UserError as error:
        return failed(f"error: {error}", 2)
    except (UnsoundError, EndpointError) as error:
        return failed(f"error: {error}", 1)
    except KeyboardInterrupt as interrupt:  # a training says how to go on
        return failed(f"interrupted{interrupt}", 130)
    finally:
        release()


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; `run` is what to call with it. Exits with code 2 and a message if it is wrong.

    argparse takes positional words before the first option only; ours may also follow one: `FILE --resume key=value`.
    """
    parser = _parser()
    arguments, rest = parser.parse_known_args(argv)
    words = next((name for name in ("overrides", "words") if name in arguments), None)
    if rest and (words is None or any(word.startswith("-") for word in rest)):
        parser.error(in_one_line(f"unrecognized arguments: {' '.join(rest)}"))
    if words is not None:
        setattr(arguments, words, [*getattr(arguments, words), *rest])
    return arguments


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rlvr",
        description="Train language models by RL with verifiable rewards, and measure their reasoning boundary.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the versions of rlvr and of its engines")
    parser.add_argument("--completion", action=_Completion, choices=("bash", "zsh", "tcsh"), metavar="SHELL",
                        help="print what makes this shell (bash, zsh, tcsh) complete commands and options")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_parser(commands)
    return parser


class _Version(argparse.Action):
    """Reads the versions only when they are asked for: it takes longer than building the parser."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from rlvr.runs.run_dir import versions

        installed = {name: version or "(not installed)" for name, version in versions().items()}
        own = installed.pop("rlvr")
        sys.stdout.write(f"rlvr {own} ({', '.join(f'{name} {version}' for name, version in installed.items())})\n")
        parser.exit()


class _Completion(argparse.Action):
    """Prints a completion script of the whole command line."""

    def __call__(self, parser: argparse.ArgumentParser, _: Any, values: Any, option_string: str | None = None) -> None:
        import shtab

        sys.stdout.write(shtab.complete(parser, values) + "\n")
        parser.exit()


if __name__ == "__main__":
    sys.exit(main())
