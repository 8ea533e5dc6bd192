"""When a tracker tells the user at once: the boundary shrank, nothing is learned, the training stopped early."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from rlvr.types import Estimate

SILENT_STEPS = 10
"""Logged steps in a row without any learning signal before it is said. A few happen by chance on hard problems."""


class Alert(NamedTuple):
    title: str
    """Fewer than 64 characters, as W&B demands."""
    text: str
    level: Literal["WARN", "ERROR"]


class Alerts:
    """Decides what to tell, each thing once per change. `before`: rows of boundary.jsonl from before a resume."""

    def __init__(self, before: Iterable[Mapping[str, Any]] = ()) -> None:
        self._verdict = ""
        self._silent = 0
        for row in before:
            self._verdict = _verdict(row)[1]

    def on_metrics(self, row: Mapping[str, Any]) -> Iterator[Alert]:
        """A row of metrics.jsonl. No signal: all advantages of the step are 0, so it has no gradient."""
        if (share := row.get("train/zero_signal_frac")) is None:
            return
        self._silent = self._silent + 1 if share >= 1 else 0
        if self._silent == SILENT_STEPS:
            yield Alert("nothing is learned", f"step {row['step']}: in {SILENT_STEPS} logged steps no prompt had "
                        "rollouts of different reward, so there was no gradient; the problems are too hard or too "
                        "easy", "WARN")

    def on_probe(self, row: Mapping[str, Any], change_of_pass_1: Estimate | None) -> Iterator[Alert]:
        """A row of boundary.jsonl, and by how much pass@1 changed since the base; None for the base."""
        k, verdict = _verdict(row)
        if verdict == "shrunk" and self._verdict != "shrunk":
            bounds = row["sequential"]["verdicts"][f"boundary/shrinkage@{k}"]
            yield Alert(f"the boundary shrank at k = {k}", f"step {row['step']}: pass@{k} is below the base's by "
                        f"{100 * bounds['value']:.1f} points, at least {100 * bounds['low']:.1f}", "WARN")
        self._verdict = verdict or self._verdict
        sequential = row.get("sequential") or {}
        if change_of_pass_1 is not None and sequential.get("look") == sequential.get("planned_looks", 0) and not (
                change_of_pass_1.low > 0):
            yield Alert("pass@1 did not rise", f"step {row['step']}, the last probe: pass@1 changed by "
                        f"{100 * change_of_pass_1.value:+.1f} points since the base, 95% interval "
                        f"[{100 * change_of_pass_1.low:+.1f}, {100 * change_of_pass_1.high:+.1f}]", "WARN")


def stopped_early(step: int, why: BaseException) -> Alert:
    """The training ended by an exception after `step`."""
    said = f"{type(why).__name__}: {why}" if str(why) else type(why).__name__
    return Alert("the training stopped early", f"after step {step}: {said}", "ERROR")


def _verdict(row: Mapping[str, Any]) -> tuple[int, str]:
    """The largest k with a verdict, and that; (0, "") for the base."""
    verdicts = (row.get("sequential") or {}).get("verdicts") or {}
    k = max((int(key.split("@")[1]) for key in verdicts), default=0)
    return k, verdicts[f"boundary/shrinkage@{k}"]["verdict"] if k else ""
