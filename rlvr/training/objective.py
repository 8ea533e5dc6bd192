"""The loss of one micro-batch: pure functions of its tensors, the algorithm and the window's counts.

`objective` adds up the terms of `rlvr.training.loss` that the algorithm asks for: policy loss, KL, entropy bonus,
likelihood, value loss. Axes: B rows of a micro-batch, T response tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from rlvr.interfaces import Algorithm, CriticSpec, LossSpec, TokenBatch
from rlvr.training.credit import CREDIT_PREFIX
from rlvr.training.loss import aggregate, clip_fractions, kl_estimate, policy_loss, value_loss
from rlvr.training.step import Progress


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """The tensors of the loss, each (B, T) but for `counts`; None where the algorithm or the run has no such thing."""

    logps: torch.Tensor
    """Log-probabilities of the sampled tokens under the policy in training, with gradient."""
    entropies: torch.Tensor
    """Entropy of the policy before each token, with gradient."""
    advantages: torch.Tensor
    mask: torch.Tensor
    """1 on tokens of the loss."""
    counts: torch.Tensor
    """(4,) of the whole optimizer update, see `credit.count_windows`."""
    old_logps: torch.Tensor | None = None
    """Under the policy at the start of the rollout batch; None where that is the policy in training."""
    sampler_logps: torch.Tensor | None = None
    """As the sampler saw them when it drew; NaN where it did not say."""
    sampler_weights: torch.Tensor | None = None
    """Importance weights that correct for a sampler that computes otherwise (vLLM)."""
    ref_logps: torch.Tensor | None = None
    nll_mask: torch.Tensor | None = None
    """Tokens of the likelihood term."""
    values: torch.Tensor | None = None
    """The critic's, with gradient."""
    old_values: torch.Tensor | None = None
    returns: torch.Tensor | None = None
    extras: Mapping[str, torch.Tensor] = field(default_factory=dict)
    """What the algorithm's credit hands to its own token loss."""

    @classmethod
    def of(
        cls, inputs: Mapping[str, Any], logps: torch.Tensor, entropies: torch.Tensor, values: torch.Tensor | None
    ) -> MicroBatch:
        """From TRL's tensors with those of `credit.credit_tensors`, and a forward pass of policy and critic."""
        return cls(
            logps=logps,
            entropies=entropies,
            advantages=inputs["advantages"],
            mask=inputs["loss_mask"],
            counts=inputs["window_counts"],
            old_logps=inputs.get("old_per_token_logps"),
            sampler_logps=inputs.get("sampling_per_token_logps"),
            sampler_weights=inputs.get("importance_sampling_ratio"),
            ref_logps=inputs.get("ref_per_token_logps"),
            nll_mask=inputs.get("nll_mask"),
            values=values,
            old_values=inputs.get("old_values"),
            returns=inputs.get("returns"),
            extras={k.removeprefix(CREDIT_PREFIX): x for k, x in inputs.items() if k.startswith(CREDIT_PREFIX)},
        )


class Measured(NamedTuple):
    """A quantity per token and the tokens over which its mean is logged; both (B, T)."""

    values: torch.Tensor
    mask: torch.Tensor


class Objective(NamedTuple):
    """The loss of a micro-batch, and what is logged of it by metric key."""

    loss: torch.Tensor
    measured: dict[str, Measured]


def objective(
    batch: MicroBatch,
    algorithm: Algorithm[Any],
    *,
    entropy_weight: float = 0.0,
    policy_weight: float = 1.0,
    world_size: int = 1,
    max_length: int | None = None,
) -> Objective:
    """All terms of the loss, each with the exact denominators of the optimizer update.

    Args:
        entropy_weight: of the entropy bonus at this update, see `entropy_weight`.
        policy_weight: 0.0 while the critic alone learns.
        world_size, max_length: see `loss.aggregate`.
    """
    spec = algorithm.loss

    def mean(loss_BT: torch.Tensor) -> torch.Tensor:
        return window_mean(loss_BT, batch, spec, world_size=world_size, max_length=max_length)

    token_loss_BT, measured = policy_term(batch, algorithm)
    loss = mean(token_loss_BT)
    if spec.kl_loss_coef:
        assert batch.ref_logps is not None
        kl_BT = kl_estimate(batch.logps, batch.ref_logps, spec.kl_loss_kind)
        loss = loss + spec.kl_loss_coef * mean(kl_BT)
        measured["train/kl"] = Measured(kl_BT, batch.mask)
    if entropy_weight:
        loss = loss - entropy_weight * mean(batch.entropies)
    measured["train/entropy"] = Measured(batch.entropies, batch.mask)
    if batch.nll_mask is not None:
        loss = loss + spec.nll_coef * aggregate(
            -batch.logps, batch.nll_mask, "token-mean", num_tokens=batch.counts[3], num_sequences=1,
            world_size=world_size,
        )
        measured["train/nll"] = Measured(-batch.logps, batch.nll_mask)
    if batch.values is not None:
        value_BT = value_term(batch, algorithm.critic)
        loss = loss * policy_weight + mean(value_BT)
        measured["train/value_loss"] = Measured(value_BT, batch.mask)
    return Objective(loss, measured)


def critic_objective(
    batch: MicroBatch, algorithm: Algorithm[Any], *, world_size: int = 1, max_length: int | None = None
) -> torch.Tensor:
    """The value loss alone, for further updates of the critic. The policy gets a gradient of 0 and not none, because
    DDP waits for the gradient of every parameter."""
    value_BT = value_term(batch, algorithm.critic)
    value = window_mean(value_BT, batch, algorithm.loss, world_size=world_size, max_length=max_length)
    return value + 0.0 * batch.logps.sum()


def policy_term(batch: MicroBatch, algorithm: Algorithm[Any]) -> tuple[torch.Tensor, dict[str, Measured]]:
    """The loss of every token before mask and mean, the algorithm's own or the clipped surrogate; what is logged."""
    spec, measured = algorithm.loss, dict[str, Measured]()
    old_logps = batch.logps.detach() if batch.old_logps is None else batch.old_logps
    if batch.sampler_logps is not None:
        gap_BT = (old_logps - batch.sampler_logps).abs()
        measured["train/sampler_gap"] = Measured(gap_BT, batch.mask * ~gap_BT.isnan())
    own_BT = algorithm.token_loss(TokenBatch(batch.logps, old_logps, batch.advantages, batch.mask, batch.extras))
    if own_BT is not None:
        return own_BT if batch.sampler_weights is None else own_BT * batch.sampler_weights, measured
    clips = {"clip_low": spec.clip_low, "clip_high": spec.clip_high, "dual_clip": spec.dual_clip}
    for name, clipped_BT in clip_fractions(batch.logps, old_logps, batch.advantages, **clips)._asdict().items():
        measured[f"train/clip_{name.removesuffix('_BT')}_frac"] = Measured(clipped_BT, batch.mask)
    loss_BT = policy_loss(batch.logps, old_logps, batch.advantages, rollout_weights=batch.sampler_weights, **clips)
    return loss_BT, measured


def value_term(batch: MicroBatch, spec: CriticSpec) -> torch.Tensor:
    """The critic's loss of every token."""
    assert batch.values is not None and batch.old_values is not None and batch.returns is not None
    return value_loss(batch.values, batch.old_values, batch.returns, clip=spec.value_clip)


def window_mean(
    loss_BT: torch.Tensor, batch: MicroBatch, spec: LossSpec, *, world_size: int, max_length: int | None
) -> torch.Tensor:
    """This micro-batch's share of the mean over the optimizer update."""
    num_tokens, num_nonempty, num_sequences, _ = batch.counts.unbind()
    return aggregate(
        loss_BT,
        batch.mask,
        spec.aggregation,
        num_tokens=num_tokens,
        num_sequences=num_sequences if spec.aggregation == "seq-mean-token-sum-norm" else num_nonempty,
        world_size=world_size,
        max_length=max_length,
    )


def entropy_weight(spec: LossSpec, progress: Progress) -> float:
    """Weight of the entropy bonus at an update: constant, or with a target the coefficient of `progress`, but 0 while
    the entropy of the update before is above the target or not known."""
    if spec.entropy_target is None:
        return spec.entropy_coef
    known = progress.entropy is not None and progress.entropy <= spec.entropy_target
    return progress.entropy_coef if known else 0.0


def next_entropy_coef(spec: LossSpec, progress: Progress) -> float:
    """The coefficient after an update: up by a step if its entropy was below the target, else down, not below 0."""
    assert spec.entropy_target is not None and progress.entropy is not None
    step = spec.entropy_step if progress.entropy < spec.entropy_target else -spec.entropy_step
    return max(0.0, progress.entropy_coef + step)
