"""The section `train.rehearse`: the base's right answers in the loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rlvr.config.fields import AtLeastOne, Positive


@dataclass(frozen=True, slots=True)
class RehearsalSpec:
    """Before the first update the model answers the training problems; the right answers are stored, and the likelihood
    of some of them joins the loss of every update, so that what the base can do is kept (DPH-RL, 2509.07430)."""

    samples: AtLeastOne = 8
    """Answers drawn per problem. They cost as many tokens as rollouts do, and are counted with them."""
    problems: AtLeastOne | None = None
    """Only of the first so many training problems. null: of all."""
    coef: Positive = 0.05
    """Weight in the loss of the negative log-likelihood: a mean over answers of their mean per token. DPH-RL: 0.01 to
    0.05."""
    answers: Literal["all", "rare", "mastered"] = "all"
    """Of which problems: all that have a right answer; `rare`: those that also have a wrong one; `mastered`: those
    whose answers are all right, as in DPH-RL. Every problem is taken equally often."""
