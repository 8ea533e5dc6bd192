"""TRL: the Parquet files that GRPOTrainer and RLOOTrainer write with `log_completions=True`.

OUTPUT/completions/completions_STEP.parquet has `step`, `prompt`, `completion`, one column per reward function, what
the reward functions added with `log_extra`, and `advantage` (GRPOTrainer.log in trl/trainer/grpo_trainer.py). The
columns of rewards are told from the others by their names and numbers alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rlvr.data.foreign.record import Glance, Reader, Record, answer_of, count_of, gold_of, text_of, verdict_among
from rlvr.data.sources import parquet_rows

FIXED = {"step", "prompt", "completion", "advantage"}
GOLDS = ("solution", "answer", "ground_truth", "gold", "target")
"""Columns of the reference answer, if the reward function logged it."""


def _recognise(glance: Glance) -> bool:
    return glance.kind == "parquet" and glance.fields >= FIXED


def _read(path: Path) -> Iterator[Record]:
    for at, row in parquet_rows(path):
        gold = next((row[name] for name in GOLDS if row.get(name) is not None), None)
        yield Record(at, answer_of(row["completion"]), text_of(row["prompt"]), gold=gold_of(gold),
                     step=count_of(row["step"]), correct=_verdict(row))


def _verdict(row: Mapping[str, Any]) -> bool | None:
    """Of the reward that is the accuracy by its name, or of the only one."""
    rewards = {name: value for name, value in row.items()
               if name not in FIXED and name not in GOLDS and isinstance(value, float)}
    return verdict_among(rewards, [name for name in rewards if "accura" in name or "correct" in name])


READER = Reader("TRL", _recognise, _read)
