"""Files that survive kills and full disks: JSONL that is appended to, and whole files that are replaced atomically.

A batch of rows is one write; when the disk is full, none of it stays in the file. A last line that a kill cut short is
left out when reading and removed by `repair`. JSON is strict: NaN and infinities are written as null.

Every row ends with a checksum, of itself and of the rows before it: a flipped digit is noticed, and so is a row that
was added, removed or moved. Rows of older versions have none and are read as they are.
"""

from __future__ import annotations

import errno
import json
import logging
import math
import os
import re
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rlvr.types import UserError

logger = logging.getLogger(__name__)

CHECK = "crc"
"""Key of the checksum: the last of a row, or one of a JSON file."""
_CHECKED = re.compile(rb', "crc": "([0-9a-f]{8})"}$')
_CHECK_BYTES = 32
"""More than a checksum takes at the end of a file."""
WHOLE = 2**26
"""Bytes of a file that are read to see whether it is as it was saved: all gigabytes of a large model and its optimizer
would take a minute each time."""
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def full_disk_explained(folder: Path) -> Iterator[None]:
    """Turns any library's error into a UserError if the disk of `folder` is full, or the error says that one is."""
    try:
        yield
    except Exception as error:
        # Each library words it differently (OSError, SafetensorError, RuntimeError of torch.save): ask the disk too.
        there = next((path for path in (folder, *folder.absolute().parents) if path.exists()), Path("/"))
        if "No space left" not in str(error) and shutil.disk_usage(there).free >= 2**16:
            raise
        written = error.filename2 or error.filename if isinstance(error, OSError) else None
        raise UserError(f"{written or folder}: no space left on the device; nothing written before is lost: free some "
                        "space, then go on with --resume") from error


def append_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Append rows in one write: after a failure none of them is in the file.

    Not flushed to the disk: what a killed process wrote is safe, and a flush per step can cost more than the step.

    Raises UserError when the disk is full or the file ends in a torn line.
    """
    lines = _json_lines(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            raise UserError(f"{path}: ends in a torn line; resume the run, which cuts it off")
        try:
            _write_all(descriptor, _with_checks(lines, _last_check(descriptor, size)))
        except OSError as error:
            os.ftruncate(descriptor, size)
            _refuse_full_disk(path, error)
            raise
    finally:
        os.close(descriptor)


def read_jsonl(path: Path, *, repair: bool = False) -> list[dict[str, Any]]:
    """Rows of a JSONL file, [] if there is none.

    A torn last line is left out with a warning; `repair` also cuts it off the file (for the process that resumes).
    Raises UserError, with the line number, for damage anywhere else.
    """
    rows, torn = _scan(path)
    if torn:
        logger.warning("%s: the last line is torn (%d bytes): %s", path, torn, "cut off" if repair else "left out")
        if repair:
            os.truncate(path, path.stat().st_size - torn)
            sync(path)
    return [row for _, row in rows]


def rewrite_jsonl(path: Path, keep: Callable[[Mapping[str, Any]], bool]) -> None:
    """Drop the rows that `keep` refuses, and a torn last line; atomic, and nothing happens if all may stay."""
    rows, torn = _scan(path)
    try:
        kept = [line for line, row in rows if keep(row)]
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    if torn:
        logger.warning("%s: the last line is torn (%d bytes): cut off", path, torn)
    if torn or len(kept) < len(rows):
        logger.info("%s: dropped %d of %d rows", path, len(rows) - len(kept), len(rows))
        whole = all(line is before for line, (before, _) in zip(kept, rows, strict=False))
        replace(path, b"".join(line + b"\n" for line in kept) if whole else
                jsonl_lines(row for _, row in rows if keep(row)))  # rows from the middle are gone: other checksums


def write_json_atomic(path: Path, value: Any) -> None:
    """Write JSON so that a kill leaves the old file or the new one. UserError when the disk is full."""
    replace(path, (json.dumps(nan_to_null(value), indent=2, allow_nan=False) + "\n").encode())


def replace(path: Path, data: bytes) -> None:
    """Write a whole file so that a kill leaves the old one or the new one. UserError when the disk is full."""
    unfinished = temporary(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        try:
            _write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        _refuse_full_disk(path, error)
        raise
    sync(path.parent)


def temporary(path: Path) -> Path:
    """Where `replace` writes before it renames."""
    return path.with_name(f"{path.name}.tmp")


def sync(path: Path) -> None:
    """Flush a file or a directory to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fingerprints(folder: Path, marker: str) -> dict[str, list[int]]:
    """Size and checksum of every file below a folder but its `marker`, pictures and pages, by its name there. Of a
    file above `WHOLE` bytes the checksum is of its two ends."""
    return {str(path.relative_to(folder)): _fingerprint(path) for path in sorted(folder.rglob("*"))
            if path.is_file() and path.suffix not in (".md", ".png") and path != folder / marker}


def _fingerprint(path: Path) -> list[int]:
    size = path.stat().st_size
    with open(path, "rb") as file:
        found = zlib.crc32(file.read(WHOLE if size <= WHOLE else WHOLE // 2))
        if size > WHOLE:
            file.seek(size - WHOLE // 2)
            found = zlib.crc32(file.read(), found)
    return [size, found]


def check_saved(folder: Path, marker: str) -> None:
    """UserError for a folder of which a file is not as its `marker` says; one of an older version says nothing."""
    text = (folder / marker).read_bytes()
    try:
        saved = json.loads(text or b"{}")
        changed = [name for name, fingerprint in saved.items()
                   if not (folder / name).is_file() or _fingerprint(folder / name) != fingerprint]
    except (ValueError, AttributeError):
        changed = [marker]
    if changed:
        raise UserError(f"{folder / changed[0]}: not as it was saved; restore it, or delete the directory "
                        f"{folder.name} to go on from what was saved before it")


def nan_to_null(value: Any) -> Any:
    """Plain data with NaN and infinities as None, which strict JSON can hold."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: nan_to_null(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [nan_to_null(item) for item in value]
    return value


def null_to_nan(value: float | None) -> float:
    """A number read back: null means NaN (undefined), never 0."""
    return math.nan if value is None else float(value)


def dumps(row: Mapping[str, Any]) -> str:
    """One line of strict JSON."""
    return json.dumps(nan_to_null(row), allow_nan=False)


def jsonl_lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Rows as the bytes of a whole JSONL file."""
    return _with_checks(_json_lines(rows), 0)


def _json_lines(rows: Iterable[Mapping[str, Any]]) -> list[bytes]:
    return [dumps(row).encode() for row in rows]


def _with_checks(lines: Iterable[bytes], before: int) -> bytes:
    """The lines with their checksums, as they go behind a row whose checksum is `before` (0: none)."""
    checked = []
    for line in lines:
        before = zlib.crc32(line, before)
        checked.append(b'%s, "%s": "%08x"}\n' % (line[:-1], CHECK.encode(), before))
    return b"".join(checked)


def checksum(value: Mapping[str, Any]) -> str:
    """Of the data in a JSON file, without its own entry `CHECK`."""
    return f"{zlib.crc32(dumps({key: part for key, part in value.items() if key != CHECK}).encode()):08x}"


def _scan(path: Path) -> tuple[list[tuple[bytes, dict[str, Any]]], int]:
    """(raw line, row) per good line, and the bytes of a torn last line (0: none)."""
    try:
        *lines, tail = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return [], 0
    rows: list[tuple[bytes, dict[str, Any]]] = []
    before = 0
    for number, line in enumerate(lines, start=1):
        check = _CHECKED.search(line)
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError(f"found {type(row).__name__}")
        except ValueError as error:
            if number == len(lines) and not tail and not check:
                return rows, len(line) + 1
            if not check:
                raise UserError(f"{path}:{number}: not a JSON object ({error}), expected one a line; only the last "
                                "line can be torn by a kill, so restore the file or choose another run_dir") from None
            row = {}  # it does not fit its checksum
        if check or before:
            before = zlib.crc32(line[: check.start()] + b"}", before) if check else 0
            if not check or before != int(check[1], 16):
                raise UserError(f"{path}:{number}: this row or those before it are not as they were written (their "
                                "checksum differs): changed, added, removed or moved; restore the file or choose "
                                "another run_dir")
        row.pop(CHECK, None)
        rows.append((line, row))
    return rows, len(tail)


def _last_check(descriptor: int, size: int) -> int:
    """The checksum at the end of a file of rows; 0 if its last row has none."""
    found = _CHECKED.search(os.pread(descriptor, _CHECK_BYTES, max(size - _CHECK_BYTES, 0)).removesuffix(b"\n"))
    return int(found[1], 16) if found else 0


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view):]


def _refuse_full_disk(path: Path, error: OSError) -> None:
    if error.errno in _NO_SPACE:
        raise UserError(f"{path}: the disk is full ({error.strerror}), nothing of this write was kept; free space and "
                        "resume the run") from error
