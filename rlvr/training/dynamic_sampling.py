"""Dynamic sampling: groups are drawn until enough of them have both right and wrong rollouts.

Every rank knows the verdicts on all groups, and keeps the rollouts of its own. Those that cannot be trained on any more
are dropped at once, and in the end only the few that another rank has room for are sent to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from accelerate.utils import gather_object

from rlvr.interfaces import GroupFilter
from rlvr.training.rollouts import Rollout, from_trl
from rlvr.types import UserError


@dataclass(slots=True)
class Group:
    """The rewards of all rollouts of one prompt, and on the rank that holds them the rollouts."""

    row: dict[str, Any] | None
    """The prompt; None on other ranks, and when dropped."""
    rollouts: list[Rollout] | None
    rewards_GF: torch.Tensor
    """One column per reward function; the first is the accuracy."""
    baseline_F: torch.Tensor | None = None
    """Rewards of the greedy completion, for algorithms that need it."""
    tokens: int = 0
    """Generated tokens."""
    rank: int = 0
    """The one that holds the rollouts."""

    @property
    def solved(self) -> torch.Tensor:
        """Accuracies of the judged rollouts."""
        accuracy_G = self.rewards_GF[:, 0]
        return accuracy_G[~accuracy_G.isnan()]

    @property
    def mixed(self) -> bool:
        """Whether some judged rollouts are correct and some are wrong. Shaped rewards do not matter here."""
        return bool((self.solved == 1).any() and (self.solved != 1).any())


def groups_of(
    rows: Sequence[dict[str, Any]],
    rollouts: Sequence[Rollout],
    rewards_NF: torch.Tensor,
    baseline_NF: torch.Tensor | None,
    tokens_N: Sequence[int],
    size: int,
    *,
    rank: int,
) -> list[Group]:
    """The groups of all ranks, `size` consecutive rollouts each; with the rows and rollouts of this one."""
    rewards_NF = rewards_NF.cpu()
    baseline_NF = None if baseline_NF is None else baseline_NF.cpu()
    groups: list[Group] = []
    for first in range(0, len(rewards_NF), size):
        holder, i = divmod(first, len(rows))
        own = holder == rank
        groups.append(Group(
            rows[i] if own else None, list(rollouts[i : i + size]) if own else None, rewards_NF[first : first + size],
            None if baseline_NF is None else baseline_NF[first], sum(tokens_N[first : first + size]), holder,
        ))
    return groups


def homes(holders: Sequence[int], *, ranks: int, share: int) -> list[int]:
    """The rank that trains on each group, `share` groups per rank: the one that holds it while that has room."""
    room, home = [share] * ranks, [-1] * len(holders)
    for i, holder in enumerate(holders):
        if room[holder]:
            room[holder] -= 1
            home[i] = holder
    free = iter([rank for rank in range(ranks) for _ in range(room[rank])])
    return [next(free) if rank < 0 else rank for rank in home]


class Refill:
    """Dynamic sampling of one step: groups in the order of the prompt stream until `wanted` of them are mixed."""

    def __init__(self, wanted: int, rule: GroupFilter) -> None:
        self.wanted = wanted
        self.rule = rule
        self.batches = 0
        self.groups: list[Group] = []

    def add(self, groups: Sequence[Group]) -> None:
        """Take one generation batch of all ranks, in the order of the stream."""
        self.batches += 1
        self.groups += groups
        candidates = {id(group) for group in self.chosen()[0]}
        for group in self.groups:
            if id(group) not in candidates:
                group.row = group.rollouts = None

    @property
    def kept(self) -> list[Group]:
        """The mixed groups."""
        return [group for group in self.groups if group.mixed]

    @property
    def done(self) -> bool:
        """Whether to train now. Raises UserError when the limit is reached and the algorithm asks to stop there."""
        kept = len(self.kept)
        if kept >= self.wanted:
            return True
        if self.batches < self.rule.max_batches or self.rule.max_batches == 0:
            return False
        if self.rule.when_exhausted == "fewer":
            return True
        right, wrong = self.all_right, self.all_wrong
        raise UserError(
            f"dynamic sampling: {self.batches} generation batches of {self.wanted} prompts gave {kept} mixed groups, "
            f"expected {self.wanted} ({right} were all right, {wrong} all wrong): choose problems of another "
            "difficulty, raise algorithm.max_num_gen_batches (0: no limit), or set algorithm.when_exhausted: fewer"
        )

    @property
    def all_right(self) -> int:
        """Groups whose judged rollouts are all correct."""
        return sum(len(g.solved) > 0 and bool((g.solved == 1).all()) for g in self.groups)

    @property
    def all_wrong(self) -> int:
        """Groups whose judged rollouts are all wrong."""
        return sum(len(g.solved) > 0 and bool((g.solved != 1).all()) for g in self.groups)

    def chosen(self) -> tuple[list[Group], list[bool]]:
        """`wanted` groups and whether each is trained on. Surplus mixed groups are dropped; where there are too few,
        other groups fill up the batch and stay out of the loss."""
        kept = self.kept[: self.wanted]
        filler = [group for group in self.groups if not group.mixed][: self.wanted - len(kept)]
        return kept + filler, [True] * len(kept) + [False] * len(filler)

    def dealt(self, *, rank: int, ranks: int) -> tuple[list[Group], list[bool]]:
        """What was chosen, in the order of the ranks that train on it: this rank's part with its rollouts. All ranks
        must call it."""
        groups, used = self.chosen()
        home = homes([group.rank for group in groups], ranks=ranks, share=len(groups) // ranks)
        for group, target in zip(groups, home, strict=True):  # in the same order everywhere, so no two wait in a circle
            if group.rank == target:
                continue
            if rank == group.rank:
                torch.distributed.send_object_list([group.row, group.rollouts], target)
                group.row = group.rollouts = None
            elif rank == target:
                received: list[Any] = [None, None]
                torch.distributed.recv_object_list(received, group.rank)
                group.row, group.rollouts = received
        order = sorted(range(len(groups)), key=home.__getitem__)
        return [groups[i] for i in order], [used[i] for i in order]


def draw_mixed_groups(trainer: Any, step: Any) -> None:
    """Generate and judge batches of prompts until enough groups are mixed, and let `step` train on those. All ranks
    draw as many batches and choose the same groups, by the order of the prompt stream."""
    size, ranks, rank = trainer.num_generations, trainer.accelerator.num_processes, trainer.accelerator.process_index
    share = trainer.prompts_per_step // ranks
    step.refill = refill = Refill(trainer.prompts_per_step, trainer.algorithm.group_filter)
    while not refill.done:
        start = trainer.progress.prompt_position + rank * share
        trainer.progress.prompt_position += trainer.prompts_per_step
        step.generation_round = refill.batches
        step.rows = [dict(row) for row in trainer.stream.take(start, share) for _ in range(size)]
        prompts = [row["prompt"] for row in step.rows]
        rollouts = from_trl(trainer._generate(prompts))
        texts, ids = [rollout.completion for rollout in rollouts], [rollout.completion_ids for rollout in rollouts]
        rewards_NF = trainer._calculate_rewards(step.rows, prompts, texts, ids)
        rollouts = [one._replace(answer=answer) for one, answer in zip(rollouts, step.answers, strict=True)]
        tokens_N = gather_object([len(one) for one in ids])
        refill.add(groups_of(step.rows, rollouts, rewards_NF, step.baseline_NF, tokens_N, size, rank=rank))
    chosen = refill.dealt(rank=rank, ranks=ranks)
    step.train_on(*chosen, rank=rank, share=share, device=trainer.accelerator.device)
