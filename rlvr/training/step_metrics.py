"""What a step logs: metrics of its rollout batch, and running means over its micro-batches."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from rlvr.interfaces import Credit, RolloutBatch
from rlvr.statistics.rollout_boundary import predicted_pass_at_k, rollout_pass_at_k
from rlvr.training.credit import loss_mask
from rlvr.training.critic import explained_variance
from rlvr.training.dynamic_sampling import Refill
from rlvr.training.objective import Measured
from rlvr.training.reward_functions import Judged, ShapedReward, shaping_metrics
from rlvr.training.step import Step
from rlvr.types import Reason


def step_metrics(step: Step, terms: Sequence[ShapedReward], judged: Sequence[Judged]) -> dict[str, float]:
    """All metrics of a step's rollouts, from gathered tensors and the `Judged` of every rank: equal on all ranks."""
    batch, credit = step.batch, step.credit
    assert batch is not None and credit is not None and step.rewards_NF is not None
    metrics = rollout_metrics(batch, credit) | shaping_metrics(step.rewards_NF, terms)
    if step.refill is not None:
        metrics |= refill_metrics(step.refill)
        metrics |= boundary_metrics([group.rewards_GF[:, 0] for group in step.refill.groups])
    else:
        metrics |= boundary_metrics([batch.accuracy_N[batch.group_N == p] for p in batch.group_N.unique()])
    if credit.returns_NT is not None and batch.values_NT is not None:
        metrics["train/explained_variance"] = explained_variance(
            batch.values_NT, credit.returns_NT, loss_mask(batch, credit)
        )
    return metrics | judge_metrics(judged)


def rollout_metrics(batch: RolloutBatch, credit: Credit) -> dict[str, float]:
    """Rewards, lengths and credit of the batch that is trained on."""
    assert batch.lengths_N is not None and batch.truncated_N is not None
    signal_N = (credit.advantages_NT != 0).any(1).float()
    groups_P = torch.zeros(int(batch.group_N.max()) + 1, device=signal_N.device)
    tokens = credit.advantages_NT[loss_mask(batch, credit) > 0]
    return {
        "train/reward": batch.rewards_N.nanmean().item(),
        "train/accuracy": batch.accuracy_N.nanmean().item(),
        "train/not_judged_frac": batch.accuracy_N.isnan().float().mean().item(),
        "train/completion_length": batch.lengths_N.float().mean().item(),
        "train/truncated_frac": batch.truncated_N.float().mean().item(),
        "train/zero_signal_frac": (groups_P.index_add(0, batch.group_N, signal_N) == 0).float().mean().item(),
        "train/advantage_mean": tokens.mean().item() if tokens.numel() else 0.0,
        "train/advantage_std": tokens.std().item() if tokens.numel() > 1 else 0.0,
        "train/advantage_max": tokens.abs().max().item() if tokens.numel() else 0.0,
    }


def source_metrics(step: Step, drawn: Sequence[str]) -> dict[str, float]:
    """Reward and accuracy of the rollouts of each source of a mixture; nothing where the sources have no names.

    `drawn`: source of each prompt that was drawn; with dynamic sampling in the order of `Refill.groups`, and as in
    `refill_metrics` the accuracy is over all of these.
    """
    batch = step.batch
    assert batch is not None and batch.problem_ids is not None
    trained_P = [problem_id.partition("/")[0] for problem_id in batch.problem_ids]
    metrics = {}
    for name in sorted(set(drawn) - {""}):
        of_N = torch.tensor([trained_P[group] == name for group in batch.group_N.tolist()],
                            device=batch.rewards_N.device)
        accuracy = batch.accuracy_N[of_N]
        if step.refill is not None:
            accuracy = torch.cat([group.rewards_GF[:, 0] for group, source
                                  in zip(step.refill.groups, drawn, strict=True) if source == name])
        if of_N.any():
            metrics[f"train/{name}/reward"] = batch.rewards_N[of_N].nanmean().item()
        metrics[f"train/{name}/accuracy"] = accuracy.nanmean().item()
    return metrics


def refill_metrics(refill: Refill) -> dict[str, float]:
    """What dynamic sampling drew and kept. Its `train/accuracy` is over all it drew: that over the chosen groups says
    how they were chosen, not how good the model is."""
    accuracy = torch.cat([group.rewards_GF[:, 0] for group in refill.groups])
    return {
        "train/accuracy": accuracy.nanmean().item(),
        "train/gen_batches": float(refill.batches),
        "train/mixed_group_frac": len(refill.kept) / len(refill.groups),
        "train/all_right_frac": refill.all_right / len(refill.groups),
        "train/all_wrong_frac": refill.all_wrong / len(refill.groups),
    }


def boundary_metrics(groups: Sequence[torch.Tensor]) -> dict[str, float]:
    """pass@k of the step's prompts from the accuracies of their groups, (G,) each, and its prediction.

    A prompt with a rollout that was not judged is left out, as in a probe. Of dynamic sampling all groups count that it
    drew: those it chose are chosen by their accuracy.
    """
    whole = [group for group in groups if not group.isnan().any()]
    if not whole:
        return {}
    size, correct_P = len(whole[0]), [int(group.sum()) for group in whole]
    metrics = {f"train/pass@{k}": value for k, value in rollout_pass_at_k(correct_P, size).items()}
    if (predicted := predicted_pass_at_k(correct_P, size)) is not None:
        key = f"train/predicted_pass@{predicted.k}"
        metrics |= {key: predicted.value, f"{key}/low": predicted.low, f"{key}/high": predicted.high}
    return metrics


def judge_metrics(ranks: Sequence[Judged]) -> dict[str, float]:
    """Share of each reason among all verdicts of the step, and what they took; times are NaN if none was judged.

    Quantiles are nearest ranks, that is, times that occurred.
    """
    counts = sum((rank.reasons for rank in ranks), Counter[Reason]())
    times_ms = [ms for rank in ranks for ms in rank.times_ms] or [math.nan]
    p50, p99 = np.quantile(times_ms, [0.5, 0.99], method="inverted_cdf").tolist()
    return {
        **{f"verdict/{reason}": counts[reason] / max(counts.total(), 1) for reason in Reason},
        "perf/judge_p50_ms": p50,
        "perf/judge_p99_ms": p99,
        "perf/judge_max_ms": max(times_ms),
        "perf/judge_seconds": max(rank.seconds for rank in ranks),
    }


class RunningMeans:
    """Means over the tokens of many micro-batches; ranks are summed once, when a mean is asked for."""

    def __init__(self) -> None:
        self._sums: dict[str, torch.Tensor] = {}

    def add(self, measured: Mapping[str, Measured]) -> None:
        """Add the local sum and count of each quantity."""
        for name, (values, mask) in measured.items():
            total = masked_sum(values, mask)
            self._sums[name] = self._sums[name] + total if name in self._sums else total

    def take(self, sum_over_ranks: Callable[[torch.Tensor], torch.Tensor]) -> dict[str, tuple[float, float]]:
        """(sum, count) of each quantity over all ranks since the last call."""
        if not self._sums:
            return {}
        names = sorted(self._sums)
        totals = sum_over_ranks(torch.stack([self._sums[name] for name in names])).tolist()
        self._sums.clear()
        return {name: (total, count) for name, (total, count) in zip(names, totals, strict=True)}


def masked_sum(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Sum and count over the masked-in entries, (2,)."""
    values, mask = values.detach().float(), mask.float()
    return torch.stack([torch.where(mask > 0, values * mask, 0.0).sum(), mask.sum()])
