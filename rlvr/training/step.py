"""What one training step learns, and what a run must remember from step to step."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from rlvr.interfaces import Credit, RolloutBatch
from rlvr.models.seeded import row_key
from rlvr.training.dynamic_sampling import Group, Refill
from rlvr.training.reward_functions import Judged
from rlvr.types import UserError, Verdict

STATE_FILE = "rlvr_state.json"
"""Where a checkpoint keeps the `Progress`."""


@dataclass
class Step:
    """One rollout batch from its prompts to its credit. The trainer fills the fields in this order.

    With several updates per rollout batch one `Step` serves all of them.
    """

    number: int
    """Optimizer steps before this one: part of the seed of every rollout."""
    rows: list[dict[str, Any]]
    """This rank's prompts, one row per rollout, in the order they are generated."""
    generation_round: int = 0
    """Generation batch within the step; above 0 only with dynamic sampling."""
    rewards_NF: torch.Tensor | None = None
    """Rewards of all ranks, one column per reward function; the first is the accuracy."""
    baseline_NF: torch.Tensor | None = None
    """The same for the greedy completion of each rollout's prompt, for algorithms that need it."""
    greedy_tokens: int = 0
    """Tokens of the greedy completions, over all ranks."""
    judged: Judged = field(default_factory=Judged)
    """This rank's verdicts: reasons and times."""
    answers: list[tuple[str, Verdict]] = field(default_factory=list)
    """This rank's rollouts as they were judged: the text and the verdict on it."""
    refill: Refill | None = None
    """All groups that dynamic sampling drew; None without it."""
    chosen: list[Group] | None = None
    """Those of them that this rank trains on. They are generated and judged already."""
    used_N: torch.Tensor | None = None
    """False for rollouts that only fill up the batch where dynamic sampling found too few groups."""
    batch: RolloutBatch | None = None
    """What the algorithm sees."""
    credit: Credit | None = None
    """What it makes of that."""

    def keys(self, seed: int, *, group_size: int, first: int) -> list[int]:
        """The key that each of this rank's rollouts is drawn from, see `rlvr.models.seeded.row_key`.

        Args:
            seed: of the run.
            first: number of this rank's first rollout among those of all ranks.
        """
        stream = f"train/{self.number}" + (f"/{self.generation_round}" if self.generation_round else "")
        return [row_key(seed, stream, row["problem_id"], (first + i) % group_size) for i, row in enumerate(self.rows)]

    def train_on(
        self, groups: Sequence[Group], used: Sequence[bool], *, rank: int, share: int, device: torch.device
    ) -> None:
        """Replace the step's rows and rewards by those of the groups that dynamic sampling chose.

        Args:
            groups: of all ranks; this one holds and trains on the `share` groups from `rank * share` on.
            used: whether each group is in the loss.
        """
        size = len(groups[0].rewards_GF)
        self.chosen = list(groups[rank * share : (rank + 1) * share])
        self.rows = [dict(group.row or {}) for group in self.chosen for _ in range(size)]
        self.answers = [one.answer for group in self.chosen for one in group.rollouts or () if one.answer is not None]
        self.rewards_NF = torch.cat([group.rewards_GF for group in groups]).to(device)
        baselines = [group.baseline_F for group in groups if group.baseline_F is not None]
        if baselines:
            self.baseline_NF = torch.stack(baselines).repeat_interleave(size, dim=0).to(device)
        self.used_N = torch.tensor(used, device=device).repeat_interleave(size)


@dataclass(slots=True)
class Progress:
    """What a resumed run must know beside the libraries' own state; counts are over all ranks."""

    prompt_position: int = 0
    """Prompts taken from the stream so far."""
    generated_rollouts: int = 0
    generated_tokens: int = 0
    """Discarded groups and greedy completions included."""
    used_rollouts: int = 0
    used_tokens: int = 0
    """Those in the loss."""
    entropy_coef: float = 0.0
    """Weight of the entropy bonus; it moves when the algorithm sets an entropy target."""
    entropy: float | None = None
    """Mean token entropy of the last update; None before the first."""
    history: dict[str, list[int]] = field(default_factory=dict)
    """Problem id -> [judged, correct] rollouts so far, for algorithms that need it; else empty."""

    def history_of(self, ids: Sequence[str]) -> torch.Tensor:
        """[judged, correct] rollouts so far of the problems with these ids, (len(ids), 2)."""
        return torch.tensor([self.history.get(one, [0, 0]) for one in ids], dtype=torch.int64).reshape(-1, 2)

    def _remember(self, batch: RolloutBatch) -> None:
        assert batch.problem_ids is not None
        for group, right in zip(batch.group_N.tolist(), batch.accuracy_N.tolist(), strict=True):
            if right == right:  # NaN: not judged
                counts = self.history.setdefault(batch.problem_ids[group], [0, 0])
                counts[0] += 1
                counts[1] += int(right)

    def add(self, step: Step, *, history: bool = False) -> None:
        """Count the rollouts of a step; with `history` also by problem."""
        batch = step.batch
        assert batch is not None and batch.lengths_N is not None
        if history:
            self._remember(batch)
        if step.refill is None:
            self.generated_rollouts += len(batch.lengths_N)
            self.generated_tokens += int(batch.lengths_N.sum().item())
        else:
            self.generated_rollouts += sum(len(group.rewards_GF) for group in step.refill.groups)
            self.generated_tokens += sum(group.tokens for group in step.refill.groups)
        self.generated_tokens += step.greedy_tokens
        self.used_rollouts += int((batch.mask_NT > 0).any(1).sum().item())
        self.used_tokens += int((batch.mask_NT > 0).sum().item())

    def metrics(self) -> dict[str, float]:
        """The running totals under their metric keys."""
        names = ("generated_rollouts", "generated_tokens", "used_rollouts", "used_tokens")
        return {f"perf/{name}": float(getattr(self, name)) for name in names}

    def save(self, checkpoint: Path) -> None:
        """Write it into a checkpoint."""
        (checkpoint / STATE_FILE).write_text(json.dumps(asdict(self)) + "\n")

    @classmethod
    def load(cls, checkpoint: Path) -> Progress:
        """Read it from a checkpoint. Raises UserError if the checkpoint has none."""
        file = checkpoint / STATE_FILE
        if not file.is_file():
            raise UserError(f"{file} is missing: the checkpoint is not complete or not of this project; to resume from "
                            f"the one before it, move {checkpoint} to another folder")
        return cls(**json.loads(file.read_text()))
