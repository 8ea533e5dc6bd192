"""The samples of one probe on disk, written batch by batch: an archive to browse and a journal to resume from.

A gzip file of several members. The first member is one line, `{"header": {...}}`; every further member is one
generation batch: a line `{"batch": i}`, then a line per completion with its verdict. Members are written one after
the other, so a kill can only tear the last one, which is cut off when the file is opened again.
"""

from __future__ import annotations

import gzip
import json
import logging
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)


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
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            members, good = _read_members(path)
            size = path.stat().st_size
            if good < size:
                logger.warning("%s: cut off a torn tail of %d bytes left by a killed probe", path, size - good)
                os.truncate(path, good)
            if members and json.loads(members[0])["header"] == json.loads(json.dumps(header)):
                self.batches = [[json.loads(x) for x in m.splitlines()[1:]] for m in members[1:]]
                if self.batches:
                    logger.warning("%s: going on after the %d samples of a probe that was cut off", path,
                                   sum(map(len, self.batches)))
                return
            if members:
                stale = path.with_name(path.name + ".stale")
                logger.warning("%s belongs to another probe (other weights or settings): moved to %s", path, stale.name)
                path.replace(stale)
        self._write([{"header": header}], mode="wb")

    def append(self, rows: list[dict[str, Any]]) -> None:
        """Write one generation batch."""
        self._write([{"batch": len(self.batches)}, *rows], mode="ab")
        self.batches.append(rows)

    def _write(self, rows: list[dict[str, Any]], mode: str) -> None:
        text = "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
        # Lone surrogates cannot be encoded; models with byte-level vocabularies do produce them.
        data = gzip.compress(text.encode("utf-8", "backslashreplace"), compresslevel=5, mtime=0)
        with open(self.path, mode) as file:
            file.write(data)


def read_samples(path: Path) -> Iterator[dict[str, Any]]:
    """All completions of a samples file, without header and batch lines; a torn tail is ignored."""
    members, _ = _read_members(path)
    for member in members[1:]:
        for line in member.splitlines()[1:]:
            yield json.loads(line)


def _read_members(path: Path) -> tuple[list[str], int]:
    """Complete gzip members as text, and the number of bytes they take on disk."""
    data = path.read_bytes()
    members: list[str] = []
    good = 0
    while good < len(data):
        stream = zlib.decompressobj(wbits=31)
        try:
            text = stream.decompress(data[good:])
        except zlib.error:
            break
        if not stream.eof:
            break
        members.append(text.decode("utf-8"))
        good = len(data) - len(stream.unused_data)
    return members, good
