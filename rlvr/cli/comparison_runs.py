"""The runs of a comparison, one after the other, each in a process of its own."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr.config.algorithm import build_algorithm
from rlvr.config.comparison import DISTILL, TRAIN, PlannedRun
from rlvr.config.distillation import distilled
from rlvr.config.recipe import Recipe, resolved
from rlvr.config.steps import plan_of_steps
from rlvr.runs.run_dir import RunDir
from rlvr.types import UserError


@dataclass(frozen=True, slots=True)
class Failure:
    """A run that ended with an exit code other than 0."""

    run: PlannedRun
    code: int
    last_line: str

    def __str__(self) -> str:
        who = f"{self.run.arm}, seed {self.run.seed}"
        return f"{who}: failed (exit code {self.code}), see {self.run.log}: {self.last_line}"


def check_runs(runs: Sequence[PlannedRun], *, resume: bool, processes: int | None = 1) -> None:
    """Everything that can be found out before a model loads, for all runs (imports torch).

    `processes` is None when a launcher decides their number. Raises UserError.
    """
    from rlvr.cli.forecast import resolve_all
    from rlvr.probes.budget_checks import budget_of

    for run in runs:
        if run.begun and not resume:
            raise UserError(f"{run.path}: not empty; continue this comparison with --resume, or choose another name")
        if run.begun:
            RunDir.create(run.path, resume=True, quiet=True)
            if RunDir(run.path).recipe.is_file():
                RunDir(run.path).write_recipe(resolved(_as_run(run)))  # compares: the file is there
    seen: list[Any] = []
    for run in runs:
        try:
            recipe = _as_run(run)
            if run.command == DISTILL:
                continue
            build_algorithm(recipe)
            if processes is not None:
                plan_of_steps(recipe.train, processes)
            data = (recipe.data, recipe.model, recipe.judge, budget_of(recipe))
            if data not in seen:
                seen.append(data)
                resolve_all(recipe)
        except UserError as error:
            raise UserError(f"{run.file}: arm {run.arm!r}: {error}") from None


def _as_run(run: PlannedRun) -> Recipe:
    """The recipe that the run's directory holds."""
    if run.command == TRAIN:
        return run.recipe
    return distilled(run.recipe)


def launcher(text: str | None) -> list[str]:
    """The command that `-m rlvr.train ...` is put behind: this Python, or the words of `--launch`.

    A program that is not on the path is looked for beside this Python, where `accelerate` is installed.
    """
    if text is None:
        return [sys.executable]
    program, *rest = shlex.split(text) or [""]
    beside = Path(sys.executable).parent / program
    path = shutil.which(program) or (str(beside) if program and beside.is_file() else None)
    if path is None:
        raise UserError(f"--launch: no program {program!r}; expected a launcher, as in \"accelerate launch\"")
    return [path, *rest]


def run_all(runs: Sequence[PlannedRun], launch: Sequence[str]) -> list[Failure]:
    """Do every run that is not finished; a line per run on stderr, and each run's own progress line below it.

    A failed run is reported and the others go on. Returns the failures.
    """
    failures: list[Failure] = []
    seconds: list[float] = []
    done = [run.finished for run in runs]
    for index, run in enumerate(runs):
        where = f"[{index + 1}/{len(runs)}] {run.arm}, seed {run.seed}"
        if done[index]:
            _say(f"{where}: finished before")
            continue
        how = "resuming" if run.begun else "training"
        waiting = done[index:].count(False)
        left = "time left not known yet"
        if seconds:
            left = f"about {_duration(waiting * sum(seconds) / len(seconds))} left"
        _say(f"{where}: {how} in {run.path}, {left}")
        start = time.monotonic()
        code, last_line = _run_one(run, launch)
        spent = time.monotonic() - start
        if code == 0 and run.finished:
            seconds += [spent] if how == "training" else []
            _say(f"{where}: done in {_duration(spent)}")
        else:
            failures.append(Failure(run, code, last_line))
            _say(f"[{index + 1}/{len(runs)}] {failures[-1]}")
    return failures


def _run_one(run: PlannedRun, launch: Sequence[str]) -> tuple[int, str]:
    """Exit code and last line of one training process. Its stderr goes to ours and the log, its stdout to the log."""
    # A launcher is for RL: distillation of the tiny model is one process.
    program = [*launch, "-m", "rlvr.train"] if run.command == TRAIN else [
        sys.executable, "-m", "rlvr.cli", *run.command.split()]
    command = [*program, str(run.recipe_file), *run.overrides, *(["--resume"] if run.begun else [])]
    run.log.parent.mkdir(parents=True, exist_ok=True)
    tail = b""
    with run.log.open("ab", buffering=0) as log:
        log.write(f"$ {shlex.join(command)}\n".encode())
        with subprocess.Popen(command, stdout=log, stderr=subprocess.PIPE) as process, _ended(process):
            assert process.stderr is not None
            while chunk := os.read(process.stderr.fileno(), 4096):
                log.write(chunk)
                os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, chunk)
                tail = (tail + chunk)[-4096:]
            code = process.wait()
    lines = [line for line in re.split(r"[\r\n]+", tail.decode(errors="replace")) if line.strip()]
    return code, lines[-1].strip() if lines else "(no output)"


@contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """End the training when the comparison is interrupted or terminated, so that nothing keeps writing."""
    def leave(*_: object) -> None:
        raise SystemExit(143)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
