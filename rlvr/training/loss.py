"""Per-token losses and their exact reduction: pure functions of tensors.

Axes: B rows of a micro-batch, T response tokens, both padded. `policy_loss`, `value_loss` and `kl_estimate` give one
number per token and know no mask; `aggregate` masks and reduces, and is the only place that knows a denominator.

Sources: PPO clip (1707.06347, eq. 7), dual clip (1912.09729, eq. 5), KL estimators k1, k2, k3
(http://joschu.net/blog/kl-approx.html), token mean (DAPO, 2503.14476, eq. 8), sequence means (GRPO, 2402.03300,
eq. 3; Dr. GRPO, 2503.20783). Left out: sequence-level ratios (GSPO) and the clipped-weight losses (CISPO).
"""

from __future__ import annotations

from typing import NamedTuple

import torch

MAX_LOG_RATIO = 20.0
"""Log-ratios are clamped here: exp(20) = 5e8 is finite in bfloat16 too, and inf * 0 would be NaN."""
MAX_K3 = 10.0


class ClipIndicators(NamedTuple):
    """1.0 on tokens whose gradient a clip removes, else 0.0; each (B, T). Masked slots are meaningless."""

    low_BT: torch.Tensor
    """A < 0 and ratio < 1 - clip_low."""
    high_BT: torch.Tensor
    """A > 0 and ratio > 1 + clip_high."""
    dual_BT: torch.Tensor
    """A < 0 and ratio > dual_clip; all 0 without a dual clip."""


def policy_loss(
    logps: torch.Tensor,
    old_logps: torch.Tensor,
    advantages: torch.Tensor,
    *,
    clip_low: float,
    clip_high: float,
    dual_clip: float | None = None,
    rollout_weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Clipped surrogate of every token, (B, T); to be minimised.

    `max(-A * ratio, -A * clip(ratio, 1 - clip_low, 1 + clip_high))`; for A < 0 at most `-A * dual_clip`; then times
    `rollout_weights`. ratio = exp(clamp(logps - old_logps, -20, 20)); outside that clamp the gradient is 0.

    `advantages`: (B,) per sequence or (B, T) per token, finite also in masked slots. `dual_clip` > 1, None for none.
    `rollout_weights`: (B, T) or (B, 1), sampler mismatch; no gradient flows into it, `advantages` or `old_logps`.
    """
    advantages = _per_token(advantages).detach()
    ratio = _ratio(logps, old_logps.detach())
    clipped = ratio.clamp(1.0 - clip_low, 1.0 + clip_high)
    loss = torch.maximum(-advantages * ratio, -advantages * clipped)
    if dual_clip is not None:
        loss = torch.where(advantages < 0, torch.minimum(loss, -advantages * dual_clip), loss)
    return loss if rollout_weights is None else loss * rollout_weights.detach()


def clip_fractions(
    logps: torch.Tensor,
    old_logps: torch.Tensor,
    advantages: torch.Tensor,
    *,
    clip_low: float,
    clip_high: float,
    dual_clip: float | None = None,
) -> ClipIndicators:
    """Which tokens of `policy_loss` (same arguments) are clipped; take masked means for the fractions."""
    with torch.no_grad():
        advantages, ratio = _per_token(advantages), _ratio(logps, old_logps)
        low = (advantages < 0) & (ratio < 1.0 - clip_low)
        high = (advantages > 0) & (ratio > 1.0 + clip_high)
        dual = (advantages < 0) & (ratio > (float("inf") if dual_clip is None else dual_clip))
        return ClipIndicators(low.to(ratio.dtype), high.to(ratio.dtype), dual.to(ratio.dtype))


def value_loss(
    values: torch.Tensor, old_values: torch.Tensor, returns: torch.Tensor, *, clip: float | None
) -> torch.Tensor:
    """Half the larger squared error of `values` and of `values` clipped to `old_values` +- `clip`; all (B, T).

    `clip` None: half the plain squared error. No gradient flows into `old_values` and `returns`.
    """
    values, old_values, returns = _zero_gradient_if_not_finite(values), old_values.detach(), returns.detach()
    error = (values - returns).square()
    if clip is not None:
        clipped = torch.minimum(torch.maximum(values, old_values - clip), old_values + clip)
        error = torch.maximum(error, (clipped - returns).square())
    return 0.5 * error


def kl_estimate(logps: torch.Tensor, ref_logps: torch.Tensor, kind: str) -> torch.Tensor:
    """One-sample estimate of KL(policy || reference) of every token, (B, T); d = logps - ref_logps.

    k1: d, unclamped; its expected gradient is 0, so it belongs into a reward and not into a loss.
    k2: d^2 / 2, unclamped; its gradient d is the on-policy gradient of the KL.
    k3: exp(-d) - 1 + d >= 0, with d clamped to +-20 and the result to +-10; gradient 1 - exp(-d), 0 where clamped.
    No gradient flows into `ref_logps`.
    """
    d = _zero_gradient_if_not_finite(logps - ref_logps.detach())
    if kind == "k1":
        return d
    if kind == "k2":
        return 0.5 * d.square()
    if kind == "k3":
        d = d.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
        return (torch.expm1(-d) + d).clamp(-MAX_K3, MAX_K3)
    raise ValueError(f"kl_estimate: unknown kind {kind!r}, expected 'k1', 'k2' or 'k3'")


def aggregate(
    loss_BT: torch.Tensor,
    mask_BT: torch.Tensor,
    mode: str,
    *,
    num_tokens: int | float | torch.Tensor,
    num_sequences: int | float | torch.Tensor,
    world_size: int = 1,
    max_length: int | None = None,
) -> torch.Tensor:
    """This micro-batch's share of the loss of one optimizer step, a scalar.

    The step's loss is the sum of the shares over its micro-batches, averaged over ranks, as DDP, FSDP and DeepSpeed
    average gradients; `world_size` D compensates for that. With l the loss, m the mask, L = sum_t m:

    - token-mean: D / num_tokens * sum(l m)
    - seq-mean-token-mean: D / num_sequences * sum_i (sum_t l m) / max(L_i, 1)
    - seq-mean-token-sum: D / num_sequences * sum(l m)
    - seq-mean-token-sum-norm: D / (num_sequences * max_length) * sum(l m)

    `num_tokens` and `num_sequences` count over the whole step, all micro-batches and ranks: masked-in tokens, and
    sequences with L > 0 (for seq-mean-token-sum-norm all sequences, as in Dr. GRPO). Both are raised to at least 1,
    so a step without tokens has a differentiable loss of 0. Masked-out slots may hold anything, NaN included.
    """
    kept_BT = mask_BT.bool()
    sums_B = torch.where(kept_BT, loss_BT, torch.zeros_like(loss_BT)).sum(1)
    if mode == "token-mean":
        return sums_B.sum() * (world_size / _at_least_one(num_tokens))
    share = world_size / _at_least_one(num_sequences)
    if mode == "seq-mean-token-mean":
        return (sums_B / kept_BT.sum(1).clamp(min=1)).sum() * share
    if mode == "seq-mean-token-sum":
        return sums_B.sum() * share
    if mode == "seq-mean-token-sum-norm":
        if max_length is None:
            raise ValueError("aggregate: mode 'seq-mean-token-sum-norm' divides by max_length, which is None")
        return sums_B.sum() * share / max_length
    raise ValueError(
        f"aggregate: unknown mode {mode!r}, expected 'token-mean', 'seq-mean-token-mean', "
        "'seq-mean-token-sum' or 'seq-mean-token-sum-norm'"
    )


def _per_token(advantages: torch.Tensor) -> torch.Tensor:
    return advantages.unsqueeze(1) if advantages.dim() == 1 else advantages


def _ratio(logps: torch.Tensor, old_logps: torch.Tensor) -> torch.Tensor:
    return (logps - old_logps).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()


def _zero_gradient_if_not_finite(x: torch.Tensor) -> torch.Tensor:
    # The value stays NaN or inf, so that a bad loss is seen. The gradient is cut: a masked slot's is 0, but 0 times NaN
    # would be NaN.
    return torch.where(x.isfinite(), x, x.detach())


def _at_least_one(count: int | float | torch.Tensor) -> float | torch.Tensor:
    return count.clamp(min=1) if isinstance(count, torch.Tensor) else max(count, 1)
