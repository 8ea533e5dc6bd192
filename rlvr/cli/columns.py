"""Which columns of a local file hold the question and its answer, found by their usual names."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from rlvr.config.data import is_file
from rlvr.types import UserError

PROMPTS = ("problem", "question", "prompt", "messages", "query", "instruction", "input")
GOLDS = ("answer", "gold", "solution", "final_answer", "target", "label", "output")
"""Usual names of the columns, the likeliest first."""


def usual_columns(source: str, stated: str | None = None) -> dict[str, Any]:
    """The keys `prompt`, `gold` and `chat` of a data section for a file, each where its first row has such a column;
    with the prompt's column `stated`, `chat` goes by that one.

    Empty for what is no file, and for a file that cannot be read: loading it says what is wrong.
    """
    row: dict[str, Any] = {}
    if is_file(source):
        with suppress(UserError, OSError, ValueError):
            row, _ = first_row(Path(source).expanduser())
    found = {"prompt": stated or _usual(row, PROMPTS), "gold": _usual(row, GOLDS)}
    chat = {"chat": True} if isinstance(row.get(found["prompt"] or ""), list) else {}
    return {key: column for key, column in found.items() if column is not None} | chat


def first_row(path: Path) -> tuple[dict[str, Any], int]:
    """(first row, number of rows) of a local file. Raises UserError where there are none."""
    if not path.is_file():
        raise UserError(f"no file {str(path)!r}", where="--data")
    if path.suffix == ".parquet":
        from pyarrow.parquet import ParquetFile

        table = ParquetFile(path)
        first = next(table.iter_batches(batch_size=1), None)
        return (first.to_pylist()[0] if first is not None else {}), table.metadata.num_rows
    with path.open(encoding="utf-8") as file:
        lines = [line for line in file if line.strip()]
    try:
        row = json.loads(lines[0]) if lines else {}
    except ValueError as error:
        raise UserError(f"{path}: line 1 is not JSON ({error})", where="--data") from None
    if not lines or not isinstance(row, dict):
        raise UserError(f"{path}: found no rows, expected an object per line", where="--data")
    return row, len(lines)


def column(row: dict[str, Any], given: str | None, usual: tuple[str, ...], source: str, name: str) -> str:
    """The column `given`, else the first of the usual names that the row has. Raises UserError if it has neither."""
    if given is not None:
        if row and given not in row:
            raise UserError(f"{source}: no column {given!r} (columns: {', '.join(row)})", where=f"--{name}")
        return given
    if not row:  # a hub dataset: not looked up here
        return usual[0]
    found = _usual(row, usual)
    if found is None:
        raise UserError(f"{source}: no column with a usual name (columns: {', '.join(row)}); say which it is",
                        where=f"--{name}")
    return found


def _usual(row: dict[str, Any], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in row), None)
