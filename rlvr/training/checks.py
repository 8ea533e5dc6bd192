"""Stops a training that can no longer be right: at the first NaN or infinity, or when sampling and training disagree.

The trainer checks the credit of every step, the loss of every micro-batch and the gradient of every update; samplers
check their logits (`rlvr.models.seeded`). Without that one NaN makes all weights NaN within a step, and a model of NaN
weights draws the same token for ever, which may even be judged correct.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rlvr.training.objective import Measured, Objective
from rlvr.types import NonFiniteError, UnsoundError

MAX_SAMPLER_GAP = 1e-3
"""Nats per token. In float32 the log-probabilities of sampling and training differ by rounding: about 1e-6."""


@contextmanager
def named(step: int, rank: int) -> Iterator[None]:
    """Within the block, errors say at which step and on which rank they happened."""
    try:
        yield
    except UnsoundError as error:
        raise type(error)(f"step {step}, rank {rank}: {error}") from None


def check_loss(found: Objective, *, sampler_is_exact: bool) -> None:
    """Raises NonFiniteError if the loss of a micro-batch is not finite, with the quantities in it that are not.

    Args:
        sampler_is_exact: whether the log-probabilities of sampling must be those of training: see `check_sampler_gap`.
    """
    if sampler_is_exact and "train/sampler_gap" in found.measured:
        check_sampler_gap(found.measured["train/sampler_gap"])
    if not found.loss.isfinite():
        raise NonFiniteError(f"the loss is {found.loss.item()}{_quantities(found.measured)}")


def _quantities(measured: Mapping[str, Measured]) -> str:
    bad = [name for name, (values, mask) in measured.items() if not values[mask > 0].isfinite().all()]
    return f"; not finite in it: {', '.join(bad)}" if bad else ", though all its terms are finite token by token"


def check_gradient(norm: Any, model: Any) -> None:
    """Raises NonFiniteError if the norm of the gradient is not finite, with the parameters whose gradient is not."""
    if norm is None or math.isfinite(norm):  # DeepSpeed gives None where it clips by itself
        return
    bad = [name for name, parameter in model.named_parameters()
           if parameter.grad is not None and not parameter.grad.isfinite().all()]
    where = f"; not finite in {', '.join(bad[:3])}{f' and {len(bad) - 3} more' if len(bad) > 3 else ''}" if bad else ""
    raise NonFiniteError(f"the norm of the gradient is {float(norm)}{where}; a lower train.learning_rate or "
                         "train.max_grad_norm may help")


def check_sampler_gap(measured: Measured) -> None:
    """Raises UnsoundError if training computes other log-probabilities than sampling did, though both run the same code
    in float32."""
    gap_BT, mask_BT = measured
    kept = gap_BT[mask_BT > 0]
    if kept.numel() and (gap := kept.mean().item()) > MAX_SAMPLER_GAP:
        raise UnsoundError(
            f"model: its log-probabilities of the sampled tokens differ by {gap:.2g} nats per token between sampling "
            f"and training, expected less than {MAX_SAMPLER_GAP}: the gradient would be that of another policy. Likely "
            "causes: positions or attention that depend on padding, randomness in the forward pass (dropout, routing "
            "noise), a cache that does not give what a whole pass gives, or code of the model that asks whether it is "
            "in training mode"
        )
