"""From rollouts to credit: pure functions of tensors, in the order a step calls them.

`stopped` and `rollout_batch` build what the algorithm sees, `assign_credit` asks it, `credit_tensors` cuts out one
rank's rows, and `write_window_counts` gives every micro-batch the denominators of its optimizer update. Axes: N
rollouts of a step over all ranks, n those of one rank, T response tokens, F reward functions, W optimizer updates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from rlvr.interfaces import Algorithm, Credit, RolloutBatch
from rlvr.training.reward_functions import ShapedReward, TruncationPolicy, shaped_reward
from rlvr.types import NonFiniteError, UserError

CREDIT_PREFIX = "extra/"
"""Before the name of each of `Credit.extras_NT` among the tensors of a micro-batch."""


def stopped(completion_ids_nT: torch.Tensor, mask_nT: torch.Tensor, eos_ids: Sequence[int]) -> torch.Tensor:
    """Whether the last generated token of each rollout ends a completion, (n,); if not, the token limit cut it."""
    positions = torch.arange(1, mask_nT.size(1) + 1, device=mask_nT.device)
    last_n = (mask_nT * positions).argmax(1)
    last_ids_n = completion_ids_nT.gather(1, last_n[:, None]).squeeze(1)
    return torch.isin(last_ids_n, torch.tensor(eos_ids, device=mask_nT.device))


def rollout_batch(
    *,
    mask_NT: torch.Tensor,
    stopped_N: torch.Tensor,
    rewards_NF: torch.Tensor,
    baseline_NF: torch.Tensor | None = None,
    used_N: torch.Tensor | None = None,
    terms: Sequence[ShapedReward] = (),
    group_size: int,
    truncated: TruncationPolicy = "as_is",
    max_length: int,
    seed: int,
    problem_ids: Sequence[str] = (),
    history_P2: torch.Tensor | None = None,
    **computed_NT: torch.Tensor,
) -> RolloutBatch:
    """All rollouts of a step as the algorithm sees them, from tensors gathered over ranks.

    Args:
        mask_NT: 1 on generated tokens.
        used_N: False for rollouts that stay out of the loss; None: all are in.
        problem_ids: of the groups, in their order.
        history_P2: judged and correct rollouts of these problems in earlier steps; None: not needed.
        terms: the shaped rewards, for the columns of `rewards_NF` after the first, the accuracy.
        computed_NT: `old_logps_NT`, `ref_logps_NT`, `values_NT`: those that the algorithm needs.
    """
    # Masked before the credit, so that whitening sees the tokens of the loss alone; group statistics keep the row.
    kept_NT = mask_NT * stopped_N[:, None] if truncated == "mask" else mask_NT
    if used_N is not None:
        kept_NT = kept_NT * used_N[:, None]
    rewards_N = shaped_reward(rewards_NF, terms)
    group_N = torch.arange(len(rewards_N), device=rewards_N.device) // group_size
    history_N2 = None if history_P2 is None else history_P2.to(rewards_N)[group_N]
    return RolloutBatch(
        accuracy_N=rewards_NF[:, 0],
        rewards_N=rewards_N,
        group_N=group_N,
        mask_NT=kept_NT.to(rewards_N.dtype),
        lengths_N=mask_NT.sum(1),
        max_length=max_length,
        truncated_N=~stopped_N,
        baseline_N=None if baseline_NF is None else shaped_reward(baseline_NF, terms),
        seed=seed,
        problem_ids=tuple(problem_ids),
        seen_N=None if history_N2 is None else history_N2[:, 0],
        solved_N=None if history_N2 is None else history_N2[:, 1],
        **computed_NT,
    )


def assign_credit(algorithm: Algorithm[Any], batch: RolloutBatch) -> Credit:
    """The algorithm's credit. Raises UserError if it is not one number per token, NonFiniteError for NaN and inf."""
    credit = algorithm.advantages(batch)
    if credit.advantages_NT.shape != batch.mask_NT.shape:
        raise UserError(
            f"{type(algorithm).__name__}.advantages: found a tensor of shape {tuple(credit.advantages_NT.shape)}, "
            f"expected one credit per token, (N, T) = {tuple(batch.mask_NT.shape)}; test it with "
            "rlvr.algorithms.checks.check_algorithm"
        )
    check_credit(credit, type(algorithm).__name__)
    return credit


def check_credit(credit: Credit, algorithm: str) -> None:
    """Raises NonFiniteError if any number of the credit is not finite, masked tokens included."""
    tensors = {"advantages_NT": credit.advantages_NT, "returns_NT": credit.returns_NT}
    tensors |= {f"extras_NT[{name!r}]": tensor for name, tensor in credit.extras_NT.items()}
    for name, tensor_NT in tensors.items():
        if tensor_NT is None or tensor_NT.isfinite().all():
            continue
        bad_N = ~tensor_NT.isfinite().all(1)
        raise NonFiniteError(
            f"{algorithm}.advantages: {name} is NaN or infinite for {int(bad_N.sum())} of {len(bad_N)} rollouts, the "
            f"first is number {int(bad_N.nonzero()[0])}; test the algorithm with rlvr.algorithms.checks.check_algorithm"
        )


def loss_mask(batch: RolloutBatch, credit: Credit) -> torch.Tensor:
    """The tokens that count in the loss, (N, T)."""
    return batch.mask_NT if credit.loss_mask_NT is None else credit.loss_mask_NT


def credit_tensors(
    batch: RolloutBatch, credit: Credit, mask_nT: torch.Tensor, rank: int
) -> dict[str, torch.Tensor]:
    """The rows of one rank, cut to its own width, under the keys that `objective.MicroBatch.of` reads.

    Args:
        mask_nT: of the completions of this rank: an integer tensor, as masks stay here, because float32 stops counting
            at 2**24 tokens. Its width may be below that of the gathered batch.
    """
    (n, width), dtype = mask_nT.shape, mask_nT.dtype

    def local(x_NT: torch.Tensor) -> torch.Tensor:
        return x_NT[rank * n : (rank + 1) * n, :width].contiguous()

    tensors = {"advantages": local(credit.advantages_NT), "loss_mask": local(loss_mask(batch, credit)).to(dtype)}
    if credit.returns_NT is not None:
        tensors["returns"] = local(credit.returns_NT)
    if credit.nll_mask_NT is not None:
        tensors["nll_mask"] = local(credit.nll_mask_NT).to(dtype)
    return tensors | {f"{CREDIT_PREFIX}{name}": local(extra_NT) for name, extra_NT in credit.extras_NT.items()}


def count_windows(micro_batches: Sequence[Mapping[str, Any]], width: int) -> torch.Tensor:
    """What each optimizer update counts on this rank, (W, 4): tokens, sequences with tokens, sequences, and tokens of
    the likelihood term. An update, or window, takes `width` micro-batches."""

    def counts(micro_batch: Mapping[str, Any]) -> torch.Tensor:
        mask = micro_batch["loss_mask"]
        nll = micro_batch["nll_mask"].sum() if "nll_mask" in micro_batch else mask.new_zeros(())
        return torch.stack([mask.sum(), (mask.sum(1) > 0).sum(), mask.new_tensor(len(mask)), nll])

    counts_M4 = torch.stack([counts(micro_batch) for micro_batch in micro_batches])
    return torch.stack([window_4.sum(0) for window_4 in counts_M4.split(width)])


def write_window_counts(
    micro_batches: Sequence[dict[str, Any]], width: int, sum_over_ranks: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    """Give every micro-batch the counts of its window over all ranks: the exact denominators of the loss."""
    counts_W4 = sum_over_ranks(count_windows(micro_batches, width))
    for i, micro_batch in enumerate(micro_batches):
        micro_batch["window_counts"] = counts_W4[i // width]
