"""lighteval: details_TASK_DATE.parquet, which `--save-details` writes.

One row per document with `doc` (query, choices, gold_index, id, task_name), `model_response` (text: a list with every
answer, output_tokens) and `metric` (EvaluationTracker.save in lighteval/logging/evaluation_tracker.py). Before 0.10 the
columns were `full_prompt`, `predictions`, `gold` and `metrics`. A metric is a verdict only where there is one answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rlvr.data.foreign.record import Glance, Reader, Record, gold_of, mapping, text_of, verdict_among
from rlvr.data.sources import parquet_rows
from rlvr.types import UserError

_NAME = re.compile(r"details_(.+?)_\d{4}-\d\d-\d\dT.*")


def _recognise(glance: Glance) -> bool:
    return glance.kind == "parquet" and (glance.fields >= {"doc", "model_response", "metric"}
                                         or glance.fields >= {"full_prompt", "predictions", "gold", "metrics"})


def _read(path: Path) -> Iterator[Record]:
    match = _NAME.fullmatch(path.stem)
    task = match[1] if match else path.stem
    for index, (at, row) in enumerate(parquet_rows(path)):
        doc, response = mapping(row.get("doc")), mapping(row.get("model_response"))
        texts = _list(response["text"] if response else row.get("predictions"))
        if not texts or not all(isinstance(text, str) for text in texts):
            raise UserError(f"{at}: found no generated text, as of a task that compares log-likelihoods; expected the "
                            "details of a generative task")
        verdict = verdict_among(mapping(row.get("metric", row.get("metrics"))), ())
        tokens = _list(response.get("output_tokens"))
        name = f"{doc.get('task_name') or task}/{doc.get('id') or index}"
        for sample, text in enumerate(texts):
            yield Record(at, text, text_of(doc.get("query") or row.get("full_prompt")), name, _gold(row, doc), sample,
                         tokens=len(tokens[sample]) if len(tokens) == len(texts) else None,
                         correct=verdict if len(texts) == 1 else None)


def _gold(row: Mapping[str, Any], doc: Mapping[str, Any]) -> str | None:
    if not doc:
        return gold_of(_list(row.get("gold")))
    index, choices = doc.get("gold_index"), _list(doc.get("choices"))
    if isinstance(index, list):
        index = index[0] if len(index) == 1 else None
    return gold_of(choices[index]) if isinstance(index, int) and 0 <= index < len(choices) else None


def _list(value: Any) -> list[Any]:
    """Older files hold lists as their text."""
    if isinstance(value, str):
        import ast

        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            return [value]
    return value if isinstance(value, list) else [] if value is None else [value]


READER = Reader("lighteval", _recognise, _read)
