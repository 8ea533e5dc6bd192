"""The command line itself: help, examples, exit codes, and how fast it starts."""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys

import pytest

from rlvr.cli.main import _parser, main, parse

HEAVY = {"torch", "transformers", "wandb", "numpy", "scipy", "yaml", "pydantic"}


def commands(parser: argparse.ArgumentParser, words: tuple[str, ...] = ()
             ) -> dict[tuple[str, ...], argparse.ArgumentParser]:
    """Every command that can be run, by its words: ("train",), ("lab", "exact"), ..."""
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not below:
        return {words: parser}
    return {path: command for name, each in below[0].choices.items()
            for path, command in commands(each, (*words, name)).items()}


COMMANDS = commands(_parser())


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_the_help_of_a_command_has_an_example_that_parses_and_its_exit_codes(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main([*words, "--help"])
    shown = capsys.readouterr().out
    (example,) = re.findall(r"^example:     (rlvr .*)$", shown, flags=re.M)
    given = shlex.split(example)
    assert end.value.code == 0 and given[1 : 1 + len(words)] == list(words) and callable(parse(given[1:]).run)
    assert "2: invalid input" in shown
    assert not re.search(r"[\[*?{]", re.sub("'[^']*'", "", example))  # zsh takes seeds=[0] for a file name


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_argument_has_help(words: tuple[str, ...]) -> None:
    assert not [action.dest for action in COMMANDS[words]._actions if not action.help]


def test_every_command_is_listed_with_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    listed = re.findall(r"^    (\w+)(?:  +| *\n +)\w", capsys.readouterr().out, flags=re.M)
    assert set(listed) == {words[0] for words in COMMANDS}


@pytest.mark.parametrize(("words", "missing"), [(["train"], "recipe"), (["compare"], "what"), (["audit"], "--data")])
def test_settings_are_not_called_required(
    words: list[str], missing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bug: `rlvr train` said that key=value is required."""
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2 and capsys.readouterr().err.strip().endswith(f"are required: {missing}")


def test_the_version_names_the_engines_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert re.fullmatch(r"rlvr \S+.* \(python 3\.\S+, torch \S+, transformers \S+, trl \S+\)\n", shown)


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["lab", "exact", "--help"]])
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    code = ("import atexit, sys; from rlvr.cli.main import main; "
            f"atexit.register(lambda: print('loaded', sorted({HEAVY!r} & set(sys.modules)))); main({words!r})")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "loaded []", done.stdout + done.stderr


@pytest.mark.parametrize(("terminal", "rank", "told"), [(True, "0", True), (False, "0", False), (True, "1", False)])
def test_a_terminal_is_told_what_happens_before_the_first_step(
    terminal: bool, rank: str, told: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bug: ten seconds of silence, a minute on a busy machine. Logs and scripts stay as they were, and of several
    processes one says it."""
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setattr("rlvr.train.run", lambda *words, resume: None)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    assert main(["train", "recipes/quickstart/lab_grpo.yaml"]) == 0
    assert ("loading libraries" in capsys.readouterr().err) is told
