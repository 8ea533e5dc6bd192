"""inspect-ai: logs of `inspect eval`, in both formats (.eval and .json).

A .eval file is a zip with header.json and samples/ID_epoch_N.json; a .json log holds the same samples in a list. A
sample has `id`, `epoch`, `input`, `target`, `output` and `scores` (inspect_ai/log/_recorders/eval.py). Members are
compressed with zstd, which Python's own zipfile does not read before 3.14.
"""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rlvr.data.foreign.record import Glance, Reader, Record, count_of, field, gold_of, mapping, text_of, verdict_among
from rlvr.types import UserError

ZSTD = 93
"""Number of the compression method in a zip file (APPNOTE.TXT 4.4.5)."""
MEMBER_BYTES = 2**28
"""A sample is one transcript."""
_LOCAL_HEADER = 30
"""Bytes before the name of a member (APPNOTE.TXT 4.3.7)."""


def _recognise(glance: Glance) -> bool:
    if glance.kind == "zip":
        return "header.json" in glance.fields and any(name.startswith("samples/") for name in glance.fields)
    return glance.kind == "json" and glance.fields >= {"version", "status", "eval", "samples"}


def _read(path: Path) -> Iterator[Record]:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            task = mapping(_member(archive, file, "header.json")["eval"]).get("task")
            for name in archive.namelist():
                if name.startswith("samples/"):
                    yield _sample(f"{path}: {name}", task, _member(archive, file, name))
    else:
        log = json.loads(path.read_bytes())
        for index, sample in enumerate(log["samples"] or ()):
            yield _sample(f"{path}: sample {index}", mapping(log["eval"]).get("task"), sample)


def _sample(at: str, task: Any, row: Mapping[str, Any]) -> Record:
    output = mapping(field(row, "output", at))
    choices = output.get("choices") or [{}]
    scores = {name: mapping(score).get("value") for name, score in mapping(row.get("scores")).items()}
    epoch = count_of(field(row, "epoch", at))
    if not epoch:
        raise UserError(f"{at}: epoch is {row['epoch']!r}, expected a whole number from 1 on")
    return Record(
        at, text_of(mapping(choices[0].get("message"))), text_of(field(row, "input", at)), f"{task}/{row['id']}",
        gold_of(field(row, "target", at)), epoch - 1, truncated=choices[0].get("stop_reason") == "max_tokens",
        tokens=count_of(mapping(output.get("usage")).get("output_tokens")),
        lost=bool(row.get("error")), correct=verdict_among(scores, ()))


def _member(archive: zipfile.ZipFile, file: Any, name: str) -> Any:
    info = archive.getinfo(name)
    if info.file_size > MEMBER_BYTES:
        raise UserError(f"{archive.filename}: {name} unpacks to more than {MEMBER_BYTES >> 20} MiB, "
                        "expected one sample")
    if info.compress_type != ZSTD:
        return json.loads(archive.read(name))
    import pyarrow

    file.seek(info.header_offset)
    name_length, extra_length = struct.unpack("<HH", file.read(_LOCAL_HEADER)[26:30])
    file.seek(info.header_offset + _LOCAL_HEADER + name_length + extra_length)
    packed = pyarrow.BufferReader(file.read(info.compress_size))
    return json.loads(pyarrow.CompressedInputStream(packed, "zstd").read(MEMBER_BYTES))


READER = Reader("inspect-ai", _recognise, _read)
