"""Dials that lie beside the runs of a comparison: further models of an arm, for the tokens of its training."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rlvr.report.load import Run, load_run
from rlvr.runs.dial_file import is_dial, mark_of, read, run_of
from rlvr.runs.run_dir import RunDir
from rlvr.runs.step_names import step_of


@dataclass(frozen=True, slots=True)
class Dialled:
    """One dial of checkpoints of the comparison's runs; of several, their mean was dialled."""

    run: Run
    """Its directory, read: "step" 50 is the merge at 50% of the way."""
    of: tuple[tuple[Path, int], ...]
    """Run directory and step of every checkpoint, the run that was named first at the start."""


def dials_beside(runs: Sequence[Run]) -> list[Dialled]:
    """The finished dials in the folders of the runs whose checkpoints are all of these runs.

    A dial that was moved together with its runs is theirs if they can be told from others. What only has the name of a
    run here is left out, and said on stderr. UserError for a damaged dial.json.
    """
    known, found = {run.path.resolve(): run for run in runs}, []
    for folder in dict.fromkeys(path.parent for path in known):
        for path in sorted(filter(is_dial, folder.iterdir())):
            mixed = read(path)
            marks = mixed.marks or [""] * len(mixed.trained)
            dialled = [_dialled(*pair, path, known) for pair in zip(mixed.trained, marks, strict=True)]
            of = [(run.path, step_of(one.name) or 0) for run, one in zip(dialled, mixed.trained, strict=True)
                  if run is not None]
            if len(of) == len(dialled) and RunDir(path).boundary.is_file():
                dial = load_run(path)
                if dial.last is not None and dial.rows:
                    found.append(Dialled(dial, tuple(of)))
    return found


def _dialled(checkpoint: Path, mark: str, dial: Path, known: Mapping[Path, Run]) -> Run | None:
    """The run of a checkpoint that a dial names. `mark`: of that run, "" in older files."""
    home = _home(run_of(checkpoint), dial)
    here = known.get(home)
    if here is not None and (not mark or mark == mark_of(home)):
        return here
    beside = here or known.get(dial.parent / home.name)
    if beside is None:
        return None
    if mark and mark == mark_of(beside.path):
        return beside
    if not mark and not home.exists() and _may_be(beside, checkpoint, dial):
        return beside
    other = "another training that was there before" if beside is here else f"{home}, which is another run"
    sys.stderr.write(f"note: {dial} is no dial of {beside.path} but of {other}; left out\n")
    return None


def _home(run: Path, dial: Path) -> Path:
    """The run that a dial names. Older ones name it as seen from where they were made: here, or above the dial."""
    seen = [folder / run for folder in (Path.cwd(), *dial.parents)]
    return next((path for path in seen if path.exists()), seen[0]).resolve()


def _may_be(run: Run, checkpoint: Path, dial: Path) -> bool:
    """Whether a run of the same name can be the one that was dialled before both were moved: it began at the same model
    and came to that step."""
    step, model = step_of(checkpoint.name), RunDir(dial).read_recipe()["recipe"].get("model")
    steps = {row.get("step") for row in run.metrics} | {probe.step for probe in run.probes}
    return step in steps and run.recipe.get("model") == model
