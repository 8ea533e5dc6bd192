"""Reads the history of an offline W&B run back from its `.wandb` file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

BLOCK = 32768
HEADER = 7
"""Bytes of the file's header and of each chunk's: the file is a LevelDB log, in blocks of 32 KiB."""
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def read_records(run_dir: Path) -> list[Any]:
    (path,) = run_dir.glob("wandb/offline-run-*/*.wandb")
    data = path.read_bytes()
    assert data.startswith(b":W&B")
    records, position, parts = [], HEADER, b""
    while position + HEADER <= len(data):
        left = BLOCK - position % BLOCK
        if left < HEADER:  # too short for a chunk: padding
            position += left
            continue
        length, kind = int.from_bytes(data[position + 4 : position + 6], "little"), data[position + 6]
        chunk = data[position + HEADER : position + HEADER + length]
        position += HEADER + length
        parts = chunk if kind in (FULL, FIRST) else parts + chunk
        if kind in (FULL, LAST):
            record = wandb_internal_pb2.Record()  # pyright: ignore[reportAttributeAccessIssue]
            record.ParseFromString(parts)
            records.append(record)
    return records


def read_history(run_dir: Path) -> list[dict[str, Any]]:
    return [
        {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        for record in read_records(run_dir)
        if record.WhichOneof("record_type") == "history"
    ]
