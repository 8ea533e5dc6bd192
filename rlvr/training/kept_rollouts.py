"""Rollouts that stay on disk: all of a step or a seeded sample of them, in the format of a probe's samples.

One file per rollout batch, written whole: a resumed run deletes those behind its checkpoint and writes them again, the
same. Their problems are in the header, because problems.jsonl holds those of the probes alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from rlvr.data.problem_sets import problem_rows
from rlvr.models.seeded import row_key
from rlvr.probes.feed import sample_row
from rlvr.probes.world import all_processes
from rlvr.runs.run_dir import RunDir
from rlvr.runs.samples import write_samples
from rlvr.training.credit import loss_mask
from rlvr.training.step import Step
from rlvr.types import Completion, Problem

Keep = int | Literal["all", "none"]


def sampled(count: int, keep: Keep, seed: int, step: int) -> list[int]:
    """The rollouts of a step that are kept, of `count` over all processes, ascending: the same however many processes
    there are."""
    keep = {"all": count, "none": 0}[keep] if isinstance(keep, str) else keep
    return sorted(sorted(range(count), key=lambda i: row_key(seed, "kept rollouts", str(step), i))[:keep])


class KeptRollouts:
    """Writes RUN/rollouts, a file per step: `RLVRTrainer`'s `on_credit`."""

    def __init__(self, run_dir: RunDir, keep: Keep, problems: Mapping[str, Problem], seed: int) -> None:
        self.run_dir, self.problems, self.seed = run_dir, problems, seed
        self.keep: Keep = keep

    def __call__(self, step: Step) -> None:
        """On every process: gather what is kept of its rollouts; rank 0 writes it."""
        if self.keep == "none":
            return
        assert step.batch is not None
        world, share, count = all_processes(), len(step.rows), len(step.batch.group_N)
        chosen = sampled(count, self.keep, self.seed, step.number)
        rows = world.gather([self._row(step, i, i % share) for i in chosen if i // share == world.rank])
        if world.rank == 0:
            ids = dict.fromkeys(row["problem_id"] for row in rows)
            header = {"step": step.number + 1, "seed": self.seed, "kept": self.keep, "rollouts": count,
                      "problems": problem_rows(self.problems[one] for one in ids)}
            write_samples(self.run_dir.rollouts(step.number + 1), header, rows)

    def _row(self, step: Step, i: int, local: int) -> dict[str, Any]:
        """Rollout `i` of all processes, the one called `local` here, with what the algorithm made of it."""
        batch, credit = step.batch, step.credit
        assert batch is not None and credit is not None and batch.lengths_N is not None
        assert batch.truncated_N is not None
        size = len(batch.group_N) // (int(batch.group_N[-1]) + 1)
        (text, verdict), mask_T = step.answers[local], loss_mask(batch, credit)[i]
        tokens, reward = int((mask_T > 0).sum()), float(batch.rewards_N[i])
        completion = Completion(
            problem_id=step.rows[local]["problem_id"], sample=i % size, text=text,
            num_tokens=int(batch.lengths_N[i]), truncated=bool(batch.truncated_N[i]), entropy=math.nan)
        mean_credit = float((credit.advantages_NT[i] * mask_T).sum()) / tokens if tokens else None
        return sample_row(completion, verdict) | {
            "reward": None if math.isnan(reward) else round(reward, 6),
            "credit": None if mean_credit is None else round(mean_credit, 6),  # 0 tokens: not in the loss
        }
