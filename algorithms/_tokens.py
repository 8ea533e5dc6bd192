"""Rewards, returns and whitening over response tokens, (N, T). Masked-out slots may hold anything and come out as 0.

Masked-out tokens inside a rollout (tool output) are stepped over: credit flows through them unchanged.
"""

from __future__ import annotations

import torch

from rlvr.interfaces import RolloutBatch


def per_token(values_N: torch.Tensor, mask_NT: torch.Tensor) -> torch.Tensor:
    """Each rollout's value on its tokens."""
    return kept(values_N.unsqueeze(1), mask_NT)


def kept(x_NT: torch.Tensor, mask_NT: torch.Tensor) -> torch.Tensor:
    """`x_NT` on masked-in tokens and 0 elsewhere, whatever stood there; unlike a product, also for NaN and inf."""
    return torch.where(mask_NT.bool(), x_NT, torch.zeros_like(x_NT))


def old_logps(batch: RolloutBatch, reader: object) -> torch.Tensor:
    """Log-probabilities of the drawn tokens under the policy that starts the step, for an algorithm that declares
    `reads_old_logps`."""
    if batch.old_logps_NT is None:
        raise ValueError(f"{type(reader).__name__} needs old_logps_NT in the RolloutBatch; see Algorithm.needs")
    return batch.old_logps_NT


def kl_penalty(batch: RolloutBatch, kl_coef: float) -> torch.Tensor:
    """kl_coef * (old_logp - ref_logp) per token: k1 of the policy that starts the step, without gradient."""
    if kl_coef == 0:
        return batch.rewards_N.new_zeros(batch.mask_NT.shape)
    if batch.old_logps_NT is None or batch.ref_logps_NT is None:
        raise ValueError("kl_coef != 0 needs old_logps_NT and ref_logps_NT in the RolloutBatch; see Algorithm.needs")
    return kl_coef * kept(batch.old_logps_NT - batch.ref_logps_NT, batch.mask_NT)


def on_last_token(values_N: torch.Tensor, mask_NT: torch.Tensor) -> torch.Tensor:
    """Each rollout's value on its last token (the EOS unless truncated), lost if it has no token."""
    last_NT = mask_NT.bool() & (tokens_to_go(mask_NT) == 1)
    return per_token(values_N, last_NT)


def tokens_to_go(mask_NT: torch.Tensor) -> torch.Tensor:
    """Number of masked-in tokens from t to the end, t included, int64."""
    return mask_NT.bool().long().flip(1).cumsum(1).flip(1)


def sum_to_go(x_NT: torch.Tensor, mask_NT: torch.Tensor, decay: float | torch.Tensor = 1.0) -> torch.Tensor:
    """y[t] = x[t] + decay * y[next token]. `decay` may differ by rollout, (N,)."""
    mask_NT = mask_NT.bool()
    running_N = x_NT.new_zeros(len(x_NT))
    columns: list[torch.Tensor] = []
    for t in reversed(range(x_NT.shape[1])):
        running_N = torch.where(mask_NT[:, t], x_NT[:, t] + decay * running_N, running_N)
        columns.append(running_N)
    return kept(torch.stack(columns[::-1], dim=1), mask_NT) if columns else x_NT


def next_token(x_NT: torch.Tensor, mask_NT: torch.Tensor) -> torch.Tensor:
    """x at the next masked-in token after t; 0 at the last one, as a rollout ends there, truncated or not."""
    mask_NT = mask_NT.bool()
    carried_N = x_NT.new_zeros(len(x_NT))
    columns: list[torch.Tensor] = []
    for t in reversed(range(x_NT.shape[1])):
        columns.append(carried_N)
        carried_N = torch.where(mask_NT[:, t], x_NT[:, t], carried_N)
    return kept(torch.stack(columns[::-1], dim=1), mask_NT) if columns else x_NT


def whiten(x_NT: torch.Tensor, mask_NT: torch.Tensor, eps: float = 1e-8) -> torch.Tensor:
    """(x - mean) / sqrt(var + eps) over all masked-in tokens of the step, var with n - 1; 0 if fewer than two."""
    num_tokens = mask_NT.bool().sum()
    mean = kept(x_NT, mask_NT).sum() / num_tokens.clamp(min=1)
    centered_NT = kept(x_NT - mean, mask_NT)
    variance = centered_NT.square().sum() / (num_tokens - 1).clamp(min=1)
    return centered_NT * torch.rsqrt(variance + eps)


def covariance(advantages_NT: torch.Tensor, logps_NT: torch.Tensor, mask_NT: torch.Tensor) -> torch.Tensor:
    """(A - mean A) * (logp - mean logp) of every token, means over all masked-in tokens (2505.22617)."""
    num_tokens = mask_NT.bool().sum().clamp(min=1)
    advantages_NT, logps_NT = kept(advantages_NT, mask_NT), kept(logps_NT, mask_NT)
    return kept((advantages_NT - advantages_NT.sum() / num_tokens) * (logps_NT - logps_NT.sum() / num_tokens), mask_NT)
