"""dial.json: which checkpoints a dial mixed with their base. It marks a directory as that of a dial."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr.runs.files import checksum, write_json_atomic
from rlvr.runs.run_dir import RunDir
from rlvr.types import UserError

FILE = "dial.json"


@dataclass(frozen=True, slots=True)
class Mixed:
    """What decides the merges of a dial; a resumed one must have the same."""

    trained: tuple[Path, ...]
    """RUN/checkpoints/checkpoint-N of the run that was named first and of those it was averaged with."""
    percents: tuple[int, ...]
    marks: tuple[str, ...] = ()
    """`mark_of` the run of every checkpoint; () in older files."""

    @classmethod
    def of(cls, trained: Sequence[Path], percents: Iterable[int]) -> Mixed:
        """With absolute paths: the current directory may be another one when the dial is resumed or compared."""
        return cls(tuple(map(_absolute, trained)), tuple(percents), tuple(mark_of(run_of(path)) for path in trained))

    def check_same(self, other: Mixed, where: Path) -> None:
        """Raises UserError unless the dial in `where` is of the same models as `other`, wherever they lie now."""
        here, there = self._named(), other._named()
        moved = "" not in self.marks and self.marks == other.marks and self._steps() == other._steps()
        for what in ("percents",) if moved else ("trained", "percents"):
            if here[what] != there[what]:
                raise UserError(f"{where}: its dial has {what} {here[what]}, this one {there[what]}; resume with the "
                                "same, or choose another -o")
        for path, mine, its in zip(other.trained, other.marks, self.marks or other.marks, strict=True):
            if mine != its:
                raise UserError(f"{where}: its dial is of another training than the one that is now in "
                                f"{run_of(path)}; choose another -o")

    def _named(self) -> dict[str, list[Any]]:
        return {"trained": [str(_absolute(path)) for path in self.trained], "percents": list(self.percents)}

    def _steps(self) -> list[str]:
        return [path.name for path in self.trained]

    def write(self, folder: Path) -> None:
        write_json_atomic(folder / FILE, {"run": str(run_of(self.trained[0])), **self._named(),
                                          "marks": list(self.marks)})


def read(folder: Path) -> Mixed:
    """That of a dial's directory. UserError for a damaged file."""
    file = folder / FILE
    try:
        stored = json.loads(file.read_bytes())
        trained, percents, marks = stored["trained"], stored["percents"], stored.get("marks", [])
        if not (_all(trained, str) and _all(percents, int) and (marks == [] or _all(marks, str))
                and len(marks) in (0, len(trained))):
            raise ValueError
    except (ValueError, TypeError, KeyError, AttributeError):
        raise UserError(f"{file}: damaged, expected what `rlvr dial` wrote; restore it, or move {folder} "
                        "away") from None
    return Mixed(tuple(map(Path, trained)), tuple(percents), tuple(marks))


def is_dial(folder: Path) -> bool:
    """Whether a directory is that of a dial: found among runs, it is none of them."""
    return (folder / FILE).is_file()


def run_of(checkpoint: Path) -> Path:
    """RUN of RUN/checkpoints/checkpoint-N."""
    return checkpoint.parent.parent


def mark_of(run: Path) -> str:
    """What stays the same of a run that is moved, copied or extended, and differs in every other; "" where it is not
    known."""
    if not RunDir(run).recipe.is_file():
        return ""
    stored = RunDir(run).read_recipe()
    if not stored.get("created"):
        return ""
    recipe = stored["recipe"]
    return checksum({"created": stored["created"], "run_dir": recipe.get("run_dir"), "seed": recipe.get("seed")})


def _absolute(checkpoint: Path) -> Path:
    """The checkpoint itself may be a link; it is told from others by the run it is in."""
    return run_of(checkpoint).resolve() / checkpoint.parent.name / checkpoint.name


def _all(values: Any, kind: type) -> bool:
    return isinstance(values, list) and bool(values) and all(type(value) is kind for value in values)
