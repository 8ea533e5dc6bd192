"""The metrics of one rollout batch, as functions of gathered tensors: equal on all ranks."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch

from rlvr.interfaces import Credit, RolloutBatch
from rlvr.training.dynamic_sampling import Refill
from rlvr.training.reward_functions import Judged
from rlvr.types import Reason


def rollout_metrics(batch: RolloutBatch, credit: Credit) -> dict[str, float]:
    """Rewards, lengths and credit of the batch that is trained on."""
    assert batch.lengths_N is not None and batch.truncated_N is not None
    signal_N = (credit.advantages_NT != 0).any(1).float()
    groups_P = torch.zeros(int(batch.group_N.max()) + 1, device=signal_N.device)
    mask_NT = batch.mask_NT if credit.loss_mask_NT is None else credit.loss_mask_NT
    tokens = credit.advantages_NT[mask_NT > 0]
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


def refill_metrics(refill: Refill) -> dict[str, float]:
    """What dynamic sampling drew and kept; `train/accuracy` over everything it drew, which is not selected."""
    accuracy = torch.cat([group.rewards_GF[:, 0] for group in refill.groups])
    return {
        "train/accuracy": accuracy.nanmean().item(),
        "train/gen_batches": float(refill.batches),
        "train/mixed_group_frac": len(refill.kept) / len(refill.groups),
        "train/all_right_frac": refill.all_right / len(refill.groups),
        "train/all_wrong_frac": refill.all_wrong / len(refill.groups),
    }


def judge_metrics(ranks: Sequence[Judged]) -> dict[str, float]:
    """Share of each reason among all verdicts of the step, and what they took; times are NaN if none was judged.

    Quantiles are nearest ranks: times that occurred.
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
