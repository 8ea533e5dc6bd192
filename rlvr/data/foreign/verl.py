"""verl: what `trainer.validation_data_dir` and `trainer.rollout_data_dir` hold, and what its generation script writes.

The first two are STEP.jsonl with `input`, `output`, `gts`, `score`, `step` and what the reward function adds
(RayPPOTrainer._dump_generations in verl/trainer/ppo/ray_trainer.py); `input` is the decoded prompt. The third is the
Parquet file of the prompts with a column `responses`, a list per row (verl/trainer/main_generation.py). Neither says
which completions were cut at the token limit.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rlvr.data.foreign.record import Glance, Reader, Record, count_of, field, gold_of, mapping, text_of, verdict_of
from rlvr.data.sources import jsonl_rows, parquet_rows
from rlvr.types import UserError


def _recognise(glance: Glance) -> bool:
    if glance.kind == "parquet":
        return glance.fields >= {"prompt", "responses", "reward_model"}
    return glance.kind == "jsonl" and glance.fields >= {"input", "output", "score", "step"}


def _read(path: Path) -> Iterator[Record]:
    yield from _generated(path) if path.suffix == ".parquet" else _dumped(path)


def _dumped(path: Path) -> Iterator[Record]:
    for at, row in jsonl_rows(path):
        # `acc` is what verl's own mathematics rewards give beside a score that may be shaped.
        verdict = verdict_of(row["acc"] if "acc" in row else field(row, "score", at))
        yield Record(at, text_of(field(row, "output", at)), text_of(field(row, "input", at)),
                     gold=_gold(row.get("gts")), step=count_of(field(row, "step", at)), correct=verdict)


def _generated(path: Path) -> Iterator[Record]:
    for at, row in parquet_rows(path):
        if not isinstance(row["responses"], list):
            raise UserError(f"{at}: found no list in the column responses; expected the completions of the row")
        index = mapping(row.get("extra_info")).get("index")
        source = str(row.get("data_source") or path.stem)
        for sample, text in enumerate(row["responses"]):
            yield Record(at, text_of(text), text_of(row["prompt"]), None if index is None else f"{source}/{index}",
                         _gold(mapping(row["reward_model"]).get("ground_truth")), sample)


def _gold(value: Any) -> str | None:
    """`ground_truth` is text, or a mapping with the answer in `target`."""
    return gold_of(value.get("target") if isinstance(value, dict) else value)


READER = Reader("verl", _recognise, _read)
