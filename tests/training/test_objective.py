"""The loss of a micro-batch, without a trainer: each term against hand-computed numbers."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch

from rlvr.algorithms.grpo import GRPO, GRPOConfig
from rlvr.algorithms.ppo import PPO, PPOConfig
from rlvr.interfaces import Algorithm, LossSpec, TokenBatch
from rlvr.training.objective import MicroBatch, critic_objective, entropy_weight, next_entropy_coef, objective
from rlvr.training.step import Progress

MASK = torch.tensor([[1, 1, 0], [1, 0, 0]])
COUNTS = torch.tensor([6, 4, 8, 5])
"""Of an update of several micro-batches: 6 tokens, 4 sequences with tokens, 8 sequences, 5 tokens of the likelihood."""


def row(*values: float) -> torch.Tensor:
    return torch.tensor(values).view(2, 3)


def batch(**changes: Any) -> MicroBatch:
    """Two rows of two tokens and one. Ratios to the old policy: 1, 1.5, 0.5; masked slots hold what must not show."""
    old = row(-1.0, -1.0, -9.0, -1.0, -9.0, -9.0)
    given: dict[str, Any] = {
        "logps": (old + row(0.0, math.log(1.5), 7.0, math.log(0.5), -7.0, 7.0)).requires_grad_(),
        "entropies": row(0.5, 1.0, 99.0, 1.5, 99.0, 99.0),
        "advantages": row(2.0, 1.0, 99.0, -1.0, 99.0, 99.0),
        "mask": MASK,
        "counts": COUNTS,
        "old_logps": old,
    }
    return MicroBatch(**(given | changes))


def grpo(**config: Any) -> GRPO:
    return GRPO(GRPOConfig(**config))


# tokens: -2 * 1; -1 * min(1.5, 1.2) = -1.2, clipped high; 1 * max(0.5, 0.8) = 0.8, clipped low
@pytest.mark.parametrize(("aggregation", "expected"), [
    ("token-mean", (-2 - 1.2 + 0.8) / 6),
    ("seq-mean-token-mean", ((-2 - 1.2) / 2 + 0.8) / 4),
    ("seq-mean-token-sum", (-2 - 1.2 + 0.8) / 4),
    ("seq-mean-token-sum-norm", (-2 - 1.2 + 0.8) / (8 * 3)),  # all 8 sequences, by the limit of 3 tokens
])
def test_the_clipped_surrogate_over_the_whole_update(aggregation: Any, expected: float) -> None:
    found = objective(batch(), grpo(aggregation=aggregation), max_length=3)
    assert found.loss.item() == pytest.approx(expected, rel=1e-6)
    doubled = objective(batch(), grpo(aggregation=aggregation), max_length=3, world_size=2)
    assert doubled.loss.item() == pytest.approx(2 * expected, rel=1e-6)  # engines average gradients over ranks


def means(found: Any) -> dict[str, float]:
    return {name: ((x.detach() * mask).sum() / mask.sum()).item() for name, (x, mask) in found.measured.items()}


def test_what_is_logged_of_it() -> None:
    assert means(objective(batch(), grpo())) == pytest.approx({
        "train/clip_low_frac": 1 / 3, "train/clip_high_frac": 1 / 3, "train/clip_dual_frac": 0.0, "train/entropy": 1.0,
    })


def test_masked_slots_get_no_gradient() -> None:
    given = batch()
    objective(given, grpo()).loss.backward()
    # only the first token is not clipped: d/dlogp of -A * ratio is -2 * 1, over 6 tokens
    assert given.logps.grad is not None
    assert given.logps.grad.tolist() == [pytest.approx([-2 / 6, 0, 0], rel=1e-6), [0, 0, 0]]


def test_without_old_log_probabilities_every_ratio_is_one() -> None:
    assert objective(batch(old_logps=None), grpo()).loss.item() == pytest.approx((-2 - 1 + 1) / 6, rel=1e-6)

    class Asks(GRPO):
        def token_loss(self, tokens: TokenBatch) -> None:
            assert tokens.logps_BT.requires_grad and not tokens.old_logps_BT.requires_grad
            assert torch.equal(tokens.logps_BT, tokens.old_logps_BT)

    objective(batch(old_logps=None), Asks(GRPOConfig()))


def test_kl_and_entropy_terms() -> None:
    logps = batch().logps.detach()
    given = batch(ref_logps=logps - row(0.1, 0.2, 50.0, 0.3, 50.0, 50.0))
    base = objective(batch(), grpo()).loss.item()
    found = objective(given, grpo(kl_loss_coef=0.5))
    kl = sum(math.exp(-d) - 1 + d for d in (0.1, 0.2, 0.3))  # k3
    assert found.loss.item() == pytest.approx(base + 0.5 * kl / 6, rel=1e-5)
    assert means(found)["train/kl"] == pytest.approx(kl / 3, rel=1e-5)
    with_bonus = objective(batch(), grpo(), entropy_weight=0.25).loss.item()
    assert with_bonus == pytest.approx(base - 0.25 * (0.5 + 1.0 + 1.5) / 6, rel=1e-6)


def test_the_likelihood_term_has_tokens_of_its_own() -> None:
    given = batch(nll_mask=torch.tensor([[1, 0, 0], [1, 0, 0]]))
    algorithm = PPO(PPOConfig(positive_nll_coef=0.5))
    plain = objective(batch(), algorithm).loss.item()
    nll = 1.0 + (1.0 - math.log(0.5))
    found = objective(given, algorithm)
    assert found.loss.item() == pytest.approx(plain + 0.5 * nll / 5, rel=1e-6)
    assert means(found)["train/nll"] == pytest.approx(nll / 2, rel=1e-6)


def test_the_value_loss_and_a_policy_that_rests() -> None:
    given = batch(values=row(1.0, 0.5, 9.0, 0.0, 9.0, 9.0).requires_grad_(), old_values=torch.zeros(2, 3),
                  returns=row(1.0, 1.0, 0.0, 1.0, 0.0, 0.0))
    algorithm = PPO(PPOConfig(value_clip=0.25))
    # half the larger of the plain and the clipped squared error: (0.75^2, 0.75^2, 1) / 2
    value = (0.75**2 + 0.75**2 + 1) / 2
    policy = objective(batch(), algorithm).loss.item()
    found = objective(given, algorithm)
    assert found.loss.item() == pytest.approx(policy + value / 6, rel=1e-6)
    assert means(found)["train/value_loss"] == pytest.approx(value / 3, rel=1e-6)
    assert objective(given, algorithm, policy_weight=0.0).loss.item() == pytest.approx(value / 6, rel=1e-6)
    alone = critic_objective(given, algorithm)
    alone.backward()
    assert alone.item() == pytest.approx(value / 6, rel=1e-6)
    assert given.logps.grad is not None and given.logps.grad.abs().max() == 0


def test_a_sampler_that_computes_otherwise() -> None:
    nan = float("nan")
    old = batch().old_logps
    assert old is not None
    sampler = old + row(0.5, nan, 0.0, -0.25, 0.0, 0.0)  # of the second token it said nothing
    given = batch(sampler_logps=sampler, sampler_weights=row(2.0, 1.0, 1.0, 0.5, 1.0, 1.0))
    found = objective(given, grpo())
    values, mask = found.measured["train/sampler_gap"]
    assert values[mask > 0].tolist() == pytest.approx([0.5, 0.25])
    assert found.loss.item() == pytest.approx((-2 * 2 - 1.2 + 0.8 * 0.5) / 6, rel=1e-6)


class Own(GRPO):
    """A token loss of its own."""

    def token_loss(self, tokens: TokenBatch) -> torch.Tensor:
        return tokens.extras_BT["target"] * tokens.logps_BT


def test_a_token_loss_of_its_own_replaces_the_surrogate() -> None:
    given = batch(extras={"target": row(1.0, 0.0, 9.0, 2.0, 9.0, 9.0)})
    found = objective(given, Own(GRPOConfig()))
    assert found.loss.item() == pytest.approx((-1 + 2 * (-1 + math.log(0.5))) / 6, rel=1e-6)
    assert found.measured.keys() == {"train/entropy"}
    weighted = dataclasses.replace(given, sampler_weights=row(2.0, 2.0, 2.0, 0.0, 0.0, 0.0))
    assert objective(weighted, Own(GRPOConfig())).loss.item() == pytest.approx(-2 / 6, rel=1e-6)


def test_the_micro_batch_reads_trls_keys() -> None:
    given = batch()
    inputs: dict[str, Any] = {
        "advantages": given.advantages, "loss_mask": given.mask, "window_counts": given.counts,
        "old_per_token_logps": given.old_logps, "sampling_per_token_logps": torch.tensor(1.0),
        "importance_sampling_ratio": torch.tensor(2.0), "ref_per_token_logps": torch.tensor(3.0),
        "nll_mask": torch.tensor(4.0), "old_values": torch.tensor(5.0), "returns": torch.tensor(6.0),
        "extra/target": torch.tensor(7.0), "prompt_ids": torch.tensor(8.0),
    }
    found = MicroBatch.of(inputs, given.logps, given.entropies, None)
    assert found.old_logps is given.old_logps and found.mask is given.mask
    rest = (found.sampler_logps, found.sampler_weights, found.ref_logps, found.nll_mask, found.old_values,
            found.returns, found.extras["target"])
    assert [x.item() for x in rest if x is not None] == [1, 2, 3, 4, 5, 6, 7]
    assert found.extras.keys() == {"target"}


def test_the_entropy_coefficient_follows_its_target() -> None:
    def spec(**changes: Any) -> LossSpec:
        return LossSpec(entropy_coef=0.125, **changes)

    assert entropy_weight(spec(), Progress(entropy_coef=9.0, entropy=1.0)) == 0.125  # no target: constant
    target = spec(entropy_target=1.0, entropy_step=0.5)
    weights = [entropy_weight(target, Progress(entropy_coef=0.25, entropy=e)) for e in (None, 0.5, 1.0, 1.5)]
    assert weights == [0.0, 0.25, 0.25, 0.0]
    nexts = [next_entropy_coef(target, Progress(entropy_coef=0.75, entropy=e)) for e in (0.5, 1.0)]
    assert nexts == [1.25, 0.25]
    assert next_entropy_coef(target, Progress(entropy_coef=0.25, entropy=2.0)) == 0.0


def test_every_algorithm_kind_is_accepted() -> None:
    kinds: list[Algorithm[Any]] = [grpo(), PPO(PPOConfig())]
    assert all(objective(batch(), algorithm).loss.isfinite() for algorithm in kinds)
