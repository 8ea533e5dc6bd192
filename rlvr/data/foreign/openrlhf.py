"""OpenRLHF: the output of `openrlhf.cli.batch_inference` (--eval_task generate, generate_vllm or rm).

One row {"input", "output"} per completion, with `reward` after a reward model (openrlhf/cli/batch_inference.py); with
`--best_of_n N` each input comes N times. There is no gold answer in it, and a reward model's score is no verdict.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rlvr.data.foreign.record import Glance, Reader, Record, field, text_of
from rlvr.data.sources import jsonl_rows


def _recognise(glance: Glance) -> bool:
    return glance.kind == "jsonl" and {"input", "output"} <= glance.fields <= {"input", "output", "reward"}


def _read(path: Path) -> Iterator[Record]:
    for at, row in jsonl_rows(path):
        yield Record(at, text_of(field(row, "output", at)), text_of(field(row, "input", at)))


READER = Reader("OpenRLHF", _recognise, _read)
