"""The rows of a source in its order, each with its place for error messages: local files and datasets of the hub."""

from __future__ import annotations

import gzip
import itertools
import json
import random
import zlib
from collections.abc import Iterator, Mapping
from io import BufferedIOBase
from pathlib import Path
from typing import Any

from rlvr.config.data import DataSpec, is_file
from rlvr.config.wording import first_line, short
from rlvr.data.rows import options
from rlvr.types import UserError

LINE_BYTES = 2**30
"""The longest rows of LiveCodeBench v6 have a tenth of that."""
Row = tuple[str, Mapping[str, Any]]
"""(place for error messages, row)."""


def chosen_rows(spec: DataSpec, where: str) -> Iterator[tuple[int, tuple[str, Mapping[str, Any]]]]:
    """Row numbers of the source, which do not depend on shuffle and skip, and the rows."""
    rows = ((i, (at, row)) for i, (at, row) in enumerate(_rows(spec, where))
            if spec.multiple_choice == "keep" or not options(row, at, spec, where))
    if spec.shuffle is not None:
        order = list(rows)
        random.Random(spec.shuffle).shuffle(order)
        rows = iter(order)
    return itertools.islice(rows, spec.skip, None if spec.size is None else spec.skip + spec.size)


def _rows(spec: DataSpec, where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(place for error messages, row)."""
    if not is_file(spec.source):
        if Path(spec.source).expanduser().is_file():
            raise UserError(f"{where}.source: {spec.source!r} is a file, but neither .jsonl nor .parquet; convert it "
                            "to one of these")
        return _hub_rows(spec, where)
    path = Path(spec.source).expanduser()
    if not path.is_file():
        raise UserError(f"{where}.source: no file {spec.source!r} in {Path.cwd()}; expected a .jsonl or .parquet "
                        "file, 'lab' or the id of a hub dataset")
    return jsonl_rows(path) if path.suffix == ".jsonl" else parquet_rows(path)


def jsonl_rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(`file:line` for error messages, row) of a JSONL file, which may be a .gz. UserError for a bad line."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        for number, line in enumerate(_lines(path, file), start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line, object_pairs_hook=_once)
            except _Twice as error:
                raise UserError(f"the key {str(error)!r} occurs twice; remove one",
                                where=f"{path}:{number}") from None
            except (ValueError, RecursionError) as error:
                cause = "nested too deeply" if isinstance(error, RecursionError) else error
                raise UserError(f"not JSON ({cause}), expected one JSON object per line",
                                where=f"{path}:{number}") from None
            if not isinstance(row, dict):
                raise UserError(f"{path}:{number}: found {short(row)}, expected one JSON object per line")
            yield f"{path}:{number}", row


def _lines(path: Path, file: BufferedIOBase) -> Iterator[bytes]:
    """The lines of a file that may be packed. UserError for a damaged one, and for a line without end: a MiB of gzip
    may hold a GiB of zeros."""
    try:
        while line := file.readline(LINE_BYTES + 1):
            if len(line) > LINE_BYTES:
                raise UserError(f"{path}: found a line of more than {LINE_BYTES >> 20} MiB, expected a JSON object per "
                                "line")
            yield line
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path}: not a whole gzip file: {first_line(error)}; copy it again") from None


class _Twice(Exception):
    """A key that an object has twice, of which `json` would silently keep the last."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _Twice(next(key for key in keys if keys.count(key) > 1))
    return row


def parquet_rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(`file: row n` for error messages, row) of a Parquet file, rows from 0. UserError for a damaged file."""
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a whole Parquet file: {first_line(error)}; copy it again") from None
    batches = (batch.to_pylist() for batch in table.to_batches(max_chunksize=1024))
    for index, row in enumerate(itertools.chain.from_iterable(batches)):
        yield f"{path}: row {index}", row


def _hub_rows(spec: DataSpec, where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    import datasets

    try:
        if spec.files:  # the builder of the files' type: `datasets` no longer runs a dataset's loading script
            at = f"hf://datasets/{spec.source}" + (f"@{spec.revision}" if spec.revision else "")
            kind = "json" if spec.files[0].endswith(".jsonl") else "parquet"
            rows = datasets.load_dataset(kind, data_files=[f"{at}/{name}" for name in spec.files], split="train")
        else:
            rows = datasets.load_dataset(spec.source, spec.config, split=spec.split, revision=spec.revision)
    except Exception as error:  # the hub client raises dozens of types: offline, gated, no such id, config or split
        raise UserError(f"{where}.source: cannot load the hub dataset {spec.source!r} (config {spec.config}, split "
                        f"{spec.split}, revision {spec.revision}): {first_line(error)}; check the names and the "
                        "network, or download it and give the path of a .jsonl or .parquet file") from error
    assert isinstance(rows, datasets.Dataset)  # load_dataset with a split
    used = {column for column in (spec.prompt, spec.gold, spec.id, spec.image, spec.choices, *spec.extra)
            if column is not None}
    if spec.reader is None and used <= set(rows.column_names):
        rows = rows.select_columns(sorted(used))  # decoding unused images and audio is slow
    for index in range(len(rows)):
        yield f"{spec.source}: row {index}", rows[index]
