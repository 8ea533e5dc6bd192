"""A file or folder of another program -> its records: who wrote it, and which of its files hold completions."""

from __future__ import annotations

import json
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rlvr.config.wording import first_line
from rlvr.data.foreign import inspect_ai, lighteval, lm_eval, openrlhf, prime_rl, trl, verl
from rlvr.data.foreign.record import Glance, Kind, Reader, Record
from rlvr.data.sources import jsonl_rows
from rlvr.types import UserError

READERS: tuple[Reader, ...] = (
    verl.READER, prime_rl.READER, openrlhf.READER, trl.READER, lm_eval.READER, lighteval.READER, inspect_ai.READER,
)
_KINDS: dict[str, Kind] = {".jsonl": "jsonl", ".gz": "jsonl", ".parquet": "parquet", ".json": "json", ".eval": "zip"}


@dataclass(frozen=True)
class Foreign:
    """The completions that one program wrote."""

    family: str
    files: list[Path]
    records: list[Record]

    def of(self, records: list[Record]) -> Foreign:
        """Some of them."""
        return replace(self, records=records)

    def without_steps(self, records: list[Record]) -> Foreign:
        """Some of them, of one model whose step does not matter."""
        return replace(self, records=[replace(record, step=None) for record in records])


def read_foreign(path: Path) -> Foreign | None:
    """The completions in a file, or in all files below a folder; None for a file that no family wrote.

    Raises: UserError for a folder without such files or with those of several families, and what the readers raise.
    """
    if not path.is_dir():
        reader = reader_of(path)
        return None if reader is None else Foreign(reader.name, [path], list(_records(reader, path)))
    found = [(file, reader) for file in _by_number(path) if (reader := reader_of(file)) is not None]
    families = {reader.name: reader for _, reader in found}
    if not found:
        raise UserError(f"{path}: found no file of completions in this folder; expected those of "
                        f"{', '.join(reader.name for reader in READERS)}, or one .jsonl file of your own")
    if len(families) > 1:
        first = {name: next(file for file, reader in found if reader.name == name) for name in families}
        raise UserError(f"{path}: found files of {' and '.join(f'{name} ({first[name].name})' for name in families)}; "
                        "expected those of one program: name the folder of one of them")
    (reader,) = families.values()
    files = [file for file, _ in found]
    return Foreign(reader.name, files, [record for file in files for record in _records(reader, file)])


def reader_of(path: Path) -> Reader | None:
    """The reader of the family that wrote a file; None if no family is known to write such files."""
    seen = _glance(path)
    return None if seen is None else next((reader for reader in READERS if reader.recognise(seen)), None)


def _records(reader: Reader, path: Path) -> Iterator[Record]:
    """What the reader makes of a file. UserError for one that its family did not write so, whatever is odd in it."""
    at = f"{path}"
    try:
        for record in reader.read(path):
            at = record.at
            yield record
    except UserError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError, OSError, EOFError, RecursionError,
            zipfile.BadZipFile, zlib.error, struct.error) as error:
        what = f"{type(error).__name__}: {first_line(error)}"
        raise UserError(f"{path}: cannot be read as a file of {reader.name}, after {at} ({what}); it is damaged, or of "
                        "another version") from error


def _by_number(folder: Path) -> Sequence[Path]:
    """The files below a folder, step 9 before step 10."""
    files = (file for file in folder.rglob("*") if file.suffix in _KINDS and file.is_file())
    return sorted(files, key=lambda file: [(part.isdigit(), int(part) if part.isdigit() else 0, part)
                                           for part in file.with_suffix("").parts])


def _glance(path: Path) -> Glance | None:
    """None for what is no file of these kinds, is empty, or cannot be read: its own reader says why, if it has one."""
    kind = _KINDS.get(path.suffix)
    try:
        if kind == "jsonl":
            first = next(iter(jsonl_rows(path)), None)
            return None if first is None else Glance(path, kind, frozenset(first[1]))
        if kind == "json":
            value = json.loads(path.read_bytes())
            return Glance(path, kind, frozenset(value)) if isinstance(value, dict) else None
        if kind == "zip":
            with zipfile.ZipFile(path) as archive:
                return Glance(path, kind, frozenset(archive.namelist()))
        if kind == "parquet":
            import pyarrow.parquet

            return Glance(path, kind, frozenset(pyarrow.parquet.read_schema(path).names))
    except (OSError, ValueError, zipfile.BadZipFile, RecursionError):  # UserError and pyarrow's errors are ValueErrors
        return None
    return None
