"""Which checkpoints a run keeps: its newest ones, which a resume needs, and those that the probes single out."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlvr.runs.run_dir import COMPLETE, RunDir

Row = Mapping[str, Any]


def _value(row: Row, name: str) -> float | None:
    return (row["estimates"].get(f"boundary/{name}") or {}).get("value")


def verdict_on(row: Row, k: int | None = None) -> str | None:
    """The verdict of a probe on shrinkage@k, for None at the largest k that has one; None without a verdict."""
    verdicts = (row.get("sequential") or {}).get("verdicts") or {}
    by_k = {int(key.rpartition("@")[2]): look["verdict"] for key, look in verdicts.items()}
    return by_k.get(max(by_k, default=0) if k is None else k)


def ended_by(row: Row, rule: int | None) -> bool:
    """Whether this probe ends a run that has `train.stop_on: {shrunk: rule}`; None: the run has no such rule."""
    return rule is not None and verdict_on(row, rule) == "shrunk"


def _best(name: str, sign: int) -> Callable[[Sequence[Row]], Row | None]:
    def best(rows: Sequence[Row]) -> Row | None:
        measured = [row for row in rows if _value(row, name) is not None]
        return max(measured, key=lambda row: sign * (_value(row, name) or 0.0), default=None)  # the earliest of equals

    return best


def _last_not_shrunk(rows: Sequence[Row]) -> Row | None:
    return next((row for row in reversed(rows) if verdict_on(row) == "not shrunk"), None)


RULES: dict[str, Callable[[Sequence[Row]], Row | None]] = {
    "pass@1": _best("pass@1", 1), "delta_se": _best("delta_se", -1), "not shrunk": _last_not_shrunk,
}
"""Name in `probes.keep` -> the probe whose checkpoint stays, out of those that have one, by step."""


def kept_by_rule(rows: Iterable[Row], steps: Iterable[int], rules: Sequence[str]) -> dict[str, int]:
    """Rule -> step of the checkpoint that it keeps, out of the checkpoints at `steps`; rules that find none are left
    out. `rows` are those of boundary.jsonl; the base has no checkpoint."""
    there = set(steps) - {0}
    probed = sorted((row for row in rows if row["step"] in there), key=lambda row: row["step"])
    found = {rule: RULES[rule](probed) for rule in rules}
    return {rule: row["step"] for rule, row in found.items() if row is not None}


def delete_others(run: RunDir, *, newest: int, rules: Sequence[str]) -> list[Path]:
    """Delete complete checkpoints but the `newest` last ones and those that a rule keeps; returns what was deleted."""
    checkpoints = run.complete_checkpoints()
    kept = {step for step, _ in checkpoints[-newest:]}
    if len(kept) < len(checkpoints):
        kept |= set(kept_by_rule(run.read_jsonl(run.boundary), [step for step, _ in checkpoints], rules).values())
    gone = [path for step, path in checkpoints if step not in kept]
    for path in gone:
        (path / COMPLETE).unlink()  # first: a kill must not leave half a checkpoint that looks whole
        shutil.rmtree(path)
    return gone
