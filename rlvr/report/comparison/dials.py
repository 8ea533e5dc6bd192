"""Dials that lie beside the runs of a comparison: further models of an arm, for the tokens of its training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rlvr.report.load import Run, load_run
from rlvr.runs.run_dir import RunDir

FILE = "dial.json"
"""What marks a directory as that of a dial, and names what was dialled."""


@dataclass(frozen=True, slots=True)
class Dialled:
    """One dial of checkpoints of the comparison's runs; of several, their mean was dialled."""

    run: Run
    """Its directory, read: "step" 50 is the merge at 50% of the way."""
    of: tuple[tuple[Path, int], ...]
    """Run directory and step of every checkpoint, the run that was named first at the start."""


def is_dial(path: Path) -> bool:
    """Whether a directory is that of a dial: found among runs, it is none of them."""
    return (path / FILE).is_file()


def dials_beside(runs: Sequence[Run]) -> list[Dialled]:
    """The finished dials in the folders of the runs whose checkpoints are all of these runs."""
    found = []
    for folder in dict.fromkeys(run.path.resolve().parent for run in runs):
        here = {run.path.resolve().name: run.path for run in runs if run.path.resolve().parent == folder}
        for path in sorted(filter(is_dial, folder.iterdir())):
            checkpoints = [Path(one) for one in json.loads((path / FILE).read_bytes())["trained"]]
            of = [(here[one.parts[-3]], int(one.name.rpartition("-")[2])) for one in checkpoints
                  if len(one.parts) > 2 and one.parts[-3] in here]
            if of and len(of) == len(checkpoints) and RunDir(path).boundary.is_file():
                dial = load_run(path)
                if dial.last is not None and dial.rows:
                    found.append(Dialled(dial, tuple(of)))
    return found
