"""prime-rl and verifiers: rollouts/step_N/train_rollouts.jsonl and eval_rollouts.jsonl, and results.jsonl of `vf-eval`.

Two kinds of rows. The older has `example_id`, `prompt`, `completion`, `answer`, `reward`, `is_truncated`
(state_to_output in verifiers/utils/save_utils.py); the newer is a trace: a `task` with its `data`, and `nodes` with the
messages (verifiers/v1/trace.py). The training step is in the name of the folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rlvr.data.foreign.record import (
    Glance,
    Reader,
    Record,
    answer_of,
    count_of,
    field,
    gold_of,
    mapping,
    text_of,
    verdict_among,
    verdict_of,
)
from rlvr.data.sources import jsonl_rows

_STEP = re.compile(r"step_(\d+)$")


def _recognise(glance: Glance) -> bool:
    rollout = {"example_id", "prompt", "completion", "reward"}
    return glance.kind == "jsonl" and (glance.fields >= rollout or glance.fields >= {"task", "nodes", "rewards"})


def _read(path: Path) -> Iterator[Record]:
    steps = [int(match[1]) for folder in path.parents if (match := _STEP.fullmatch(folder.name))]
    step = steps[0] if steps else None
    for at, row in jsonl_rows(path):
        record = _of_trace(at, row, step) if "nodes" in row else _of_rollout(at, row, step)
        yield replace(record, lost=True) if row.get("error") or row.get("errors") else record


def _of_rollout(at: str, row: Mapping[str, Any], step: int | None) -> Record:
    task = row.get("task") or row.get("env_name") or row.get("env_id") or "prime-rl"
    tokens = mapping(row.get("token_usage")).get("output_tokens")
    return Record(at, answer_of(field(row, "completion", at)), text_of(field(row, "prompt", at)),
                  f"{task}/{field(row, 'example_id', at)}", gold_of(row.get("answer")), step=step,
                  truncated=row.get("is_truncated") is True, tokens=count_of(tokens),
                  correct=verdict_of(field(row, "reward", at)))


def _of_trace(at: str, row: Mapping[str, Any], step: int | None) -> Record:
    task, data = mapping(row["task"]), mapping(mapping(row["task"]).get("data"))
    messages = [mapping(node.get("message")) for node in row["nodes"]]
    asked = [one for one in messages if one.get("role") != "assistant"]
    number = data.get("idx")
    calls = [mapping(call) for call in row.get("calls") or ()]
    scores = {name: reward["score"] if isinstance(reward, Mapping) else reward
              for name, reward in mapping(row["rewards"]).items()}
    name = None if number is None else f"{task.get('type')}/{number}"
    cut = bool(calls) and calls[-1].get("finish_reason") == "length"
    return Record(at, answer_of(messages), text_of(asked), name, gold_of(data.get("answer")), step=step, truncated=cut,
                  correct=verdict_among(scores, ()))


READER = Reader("prime-rl", _recognise, _read)
