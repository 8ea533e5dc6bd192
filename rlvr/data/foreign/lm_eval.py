"""lm-evaluation-harness: samples_TASK_DATE.jsonl, which `--log_samples` writes.

One row per document and filter with `doc_id`, `target`, `arguments`, `resps` (a list of the answers to each request, as
many as the task's `repeats`), `filter` and one field per metric (lm_eval/evaluator.py, loggers/evaluation_tracker.py).
With several answers a metric is of what the filter made of them all, so it is a verdict only where there is one answer:
right, if it is right under any filter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rlvr.data.foreign.record import Glance, Reader, Record, gold_of, verdict_among
from rlvr.data.sources import jsonl_rows
from rlvr.types import UserError

_NAME = re.compile(r"samples_(.+?)_\d{4}-\d\d-\d\dT.*")
METRICS = ("math_verify", "exact_match", "acc")
"""Metrics that say right or wrong of one answer, the likelier one first."""


def _recognise(glance: Glance) -> bool:
    return glance.kind == "jsonl" and glance.fields >= {"doc_id", "doc", "resps", "filtered_resps"}


def _read(path: Path) -> Iterator[Record]:
    match = _NAME.fullmatch(path.stem)
    task = match[1] if match else path.stem
    records: dict[Any, list[Record]] = {}  # a document comes once per filter
    for at, row in jsonl_rows(path):
        verdict = verdict_among({name: row[name] for name in row.get("metrics", METRICS) if name in row}, METRICS)
        answers = _answers(at, row)
        if (before := records.get(row["doc_id"])) is None:
            first = Record(at, "", _asked(row), f"{task}/{row['doc_id']}", gold_of(row.get("target")))
            records[row["doc_id"]] = [
                replace(first, text=text, sample=sample, correct=verdict if len(answers) == 1 else None)
                for sample, text in enumerate(answers)
            ]
        elif len(before) == 1 and verdict and not before[0].correct:
            before[0] = replace(before[0], correct=True)
    for of_document in records.values():
        yield from of_document


def _answers(at: str, row: Mapping[str, Any]) -> list[str]:
    resps = row["resps"]
    if not (isinstance(resps, list) and len(resps) == 1 and isinstance(resps[0], list)
            and all(isinstance(text, str) for text in resps[0])):
        raise UserError(f"{at}: found no generated answers in resps, as of a task that compares log-likelihoods; "
                        "expected the samples of a task with output_type: generate_until")
    return resps[0]


def _asked(row: Mapping[str, Any]) -> str:
    """The prompt: `arguments` is {"gen_args_0": {"arg_0": prompt}}, in older files [[prompt, settings]]."""
    arguments: Any = row.get("arguments")
    for _ in range(2):
        if isinstance(arguments, Mapping):
            arguments = next(iter(arguments.values()), "")
        elif isinstance(arguments, list):
            arguments = arguments[0] if arguments else ""
    return arguments if isinstance(arguments, str) else ""


READER = Reader("lm-evaluation-harness", _recognise, _read)
