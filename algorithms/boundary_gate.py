"""Boundary gate: GRPO on problems not solved yet, or weighted by what they can add to pass@k (2606.15455)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch

from rlvr.algorithms._groups import judged
from rlvr.algorithms.grpo import GRPO, GRPOConfig
from rlvr.interfaces import Algorithm, Credit, Needs, Prior, RolloutBatch, Tries
from rlvr.types import UserError


@dataclass(frozen=True)
class BoundaryGateConfig(GRPOConfig):
    """GRPO's settings, and the gate."""

    weight: Literal["unsolved", "marginal"] = "unsolved"
    """unsolved: 1 for problems without a correct rollout in earlier steps, else 0. marginal: k E[(1 - p)^(k - 1)]."""
    k: Tries = 256
    """Of the pass@k to keep, for `marginal`."""
    prior_right: Prior = 1.0
    """Correct rollouts that the prior of p counts for, above 0."""
    prior_wrong: Prior = 1.0
    """Wrong ones."""

    def __post_init__(self) -> None:
        if self.weight not in ("unsolved", "marginal"):
            raise UserError(f"boundary_gate: weight is {self.weight!r}, expected unsolved or marginal")


class BoundaryGate(Algorithm[BoundaryGateConfig]):
    """A_i = w A_i of GRPO, with a weight w of the problem from the steps before this one.

    `unsolved` is the intervention of the paper's abstract: updates on problems with zero observed successes only. A
    problem is trained on in the step of its first success and not afterwards.
    `marginal`: d pass@k / d p = k (1 - p)^(k - 1), in expectation under the Beta posterior of p given s correct of n
    rollouts, k B(a + s, b + n - s + k - 1) / B(a + s, b + n - s), divided by the mean weight of the step's judged
    rollouts. The paper weighs by an estimated marginal contribution as well; this formula and its scale are our
    reading of that, not checked against the authors' code. p is taken as constant over the run, though it is not.
    """

    Config = BoundaryGateConfig
    min_group_size = 2

    @property
    def needs(self) -> Needs:
        return replace(super().needs, history=True)

    def advantages(self, batch: RolloutBatch) -> Credit:
        if batch.seen_N is None or batch.solved_N is None:
            raise ValueError("BoundaryGate needs seen_N and solved_N in the RolloutBatch; see Algorithm.needs")
        if self.config.weight == "unsolved":
            weight_N = (batch.solved_N == 0).to(batch.rewards_N.dtype)
        else:
            config = self.config
            log_gain_N = log_marginal_gain(batch.seen_N, batch.solved_N, config.k, config.prior_right,
                                           config.prior_wrong)
            weight_N = over_mean(log_gain_N, judged(batch)).to(batch.rewards_N.dtype)
        credit = GRPO(self.config).advantages(batch)
        return replace(credit, advantages_NT=credit.advantages_NT * weight_N.unsqueeze(1))


def log_marginal_gain(
    seen: torch.Tensor, solved: torch.Tensor, k: int, prior_right: float, prior_wrong: float
) -> torch.Tensor:
    """log E[k (1 - p)^(k - 1)] of problems with `solved` correct of `seen` rollouts, float64: of a ratio of Beta
    functions, by the gammas that do not cancel. For much that is solved the gain itself is 0 in any float."""
    wrong = prior_wrong + (seen - solved).double()
    total = prior_right + solved.double() + wrong
    log = (wrong + k - 1).lgamma() - wrong.lgamma() - (total + k - 1).lgamma() + total.lgamma()
    return log + math.log(k)


def over_mean(log_x: torch.Tensor, among: torch.Tensor) -> torch.Tensor:
    """x divided by its mean over the places `among`, from log x; 0 elsewhere, where it could be infinite."""
    share = (log_x - log_x[among].logsumexp(0)).exp()
    return torch.where(among, share * among.sum(), torch.zeros_like(share))
