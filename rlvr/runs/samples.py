"""The samples of one probe on disk, written batch by batch: an archive to browse and a journal to resume from.

A gzip file of several members. The first member is one line, `{"header": {...}}`; every further member is one batch of
samples, in the order in which they were judged: a line `{"batch": i}`, then one line per completion with its verdict.
Members are written one after the other, so a kill can only tear the last one. Every member carries a checksum, so other
damage is noticed too.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import zlib
from collections.abc import Iterator
from gzip import compress
from pathlib import Path
from typing import Any, BinaryIO

from rlvr.runs.files import replace, sync
from rlvr.types import UserError

logger = logging.getLogger(__name__)

_CHUNK = 2**20
"""Bytes read at a time."""
_START = compress(b"", mtime=0)[:8]
"""How every member begins."""


class Journal:
    """Append-only record of a probe's batches.

    Args:
        path: the file; parent directories are made.
        header: JSON-able identity of the probe (weights, problems, plan, decoding, ...). A file with another
            header is renamed to `<name>.stale`, never continued and never deleted.
    """

    def __init__(self, path: Path, header: dict[str, Any]) -> None:
        self.path = path
        self.batches: list[list[dict[str, Any]]] = []
        """Complete batches found on disk, in order."""
        self._written = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            members = _whole_members(path)
            if members and members[0][0].get("header") == json.loads(json.dumps(header)):
                self.batches = [rows[1:] for rows in members[1:]]
                self._written = len(self.batches)
                if self.batches:
                    logger.warning("%s: resuming a probe after %d samples", path, sum(map(len, self.batches)))
                return
            if members:
                stale = path.with_name(path.name + ".stale")
                logger.warning("%s belongs to another probe (other weights or settings): moved to %s", path, stale.name)
                path.replace(stale)
        self._write([{"header": header}], mode="wb")
        sync(path.parent)

    def append(self, rows: list[dict[str, Any]]) -> None:
        """Write one generation batch; it is on the disk when this returns."""
        self._write([{"batch": self._written}, *rows], mode="ab")
        self._written += 1

    def _write(self, rows: list[dict[str, Any]], mode: str) -> None:
        data = _member(rows)
        with open(self.path, mode) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())


def write_samples(path: Path, header: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """A whole samples file with one batch, in place of one that is there: a kill leaves the old file or the new one."""
    replace(path, _member([{"header": header}]) + _member([{"batch": 0}, *rows]))


def read_header(path: Path) -> dict[str, Any]:
    """The header of a samples file; {} if its beginning is damaged."""
    with open(path, "rb") as file:
        for rows, _ in _members(file):
            return rows[0].get("header") or {}
    return {}


def read_samples(path: Path) -> Iterator[dict[str, Any]]:
    """All completions of a samples file, without header and batch lines. An incomplete last batch is left out.

    Holds one batch in memory. Raises UserError when the file is damaged before its end.
    """
    end = 0
    with open(path, "rb") as file:
        for number, (rows, end) in enumerate(_members(file)):  # noqa: B007
            if number:
                yield from rows[1:]
        if _member_behind(file, end):
            raise UserError(f"damaged at byte {end}: restore the file, or delete it to do without these samples",
                            where=str(path))


def _member(rows: list[dict[str, Any]]) -> bytes:
    text = "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
    # Lone surrogates cannot be encoded; models with byte-level vocabularies do produce them.
    return compress(text.encode("utf-8", "backslashreplace"), compresslevel=5, mtime=0)


def _whole_members(path: Path) -> list[list[dict[str, Any]]]:
    """The rows of all members before the first incomplete one, where the file is truncated.

    The incomplete batch of a killed probe is dropped. If complete members follow, the disk or an edit did the damage,
    and a copy is kept as `<name>.damaged`. The lost samples will be drawn again, and are the same.
    """
    end, members = 0, []
    with open(path, "rb") as file:
        for rows, end in _members(file):  # noqa: B007
            members.append(rows)
        damaged = _member_behind(file, end)
    size = path.stat().st_size
    if damaged:
        copy = path.with_name(path.name + ".damaged")
        shutil.copyfile(path, copy)
        logger.error("%s: damaged at byte %d of %d, by the disk or an edit; it is kept as %s, and the samples from "
                     "there on are drawn again", path, end, size, copy.name)
    elif end < size:
        logger.warning("%s: cut off the last %d bytes, an incomplete batch of a killed probe", path, size - end)
    if end < size:
        os.truncate(path, end)
    return members


def _members(file: BinaryIO) -> Iterator[tuple[list[dict[str, Any]], int]]:
    """The rows of each whole member, from the start of the file to the first that is not whole, and where it ends.

    One pass over the bytes, a member at a time in memory.
    """
    end, waiting = 0, b""
    while True:
        stream, parts = zlib.decompressobj(wbits=31), []
        try:
            while not stream.eof and (waiting := waiting or file.read(_CHUNK)):
                parts.append(stream.decompress(waiting))
                end += len(waiting) - len(stream.unused_data)
                waiting = stream.unused_data
            if not stream.eof:
                return
            # Not splitlines(): a completion may hold U+2028 and the like, which end no line of JSONL.
            rows = [json.loads(line) for line in b"".join(parts).decode("utf-8").split("\n")[:-1]]
        except (zlib.error, ValueError):
            return
        if not rows or not all(isinstance(row, dict) for row in rows):
            return
        yield rows, end


def _member_behind(file: BinaryIO, end: int) -> bool:
    """Whether a whole member begins somewhere behind the byte `end`, where no whole one does."""
    file.seek(end)
    rest = file.read()
    start = rest.find(_START, 1)
    while start >= 0:
        stream = zlib.decompressobj(wbits=31)
        try:
            stream.decompress(memoryview(rest)[start:])
            if stream.eof:
                return True
        except zlib.error:
            pass
        start = rest.find(_START, start + 1)
    return False
