"""Losses, KL estimators and aggregation: reference numbers, numbers by hand, splits over micro-batches and ranks.

Run: python -m pytest tests/training/test_loss.py
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from rlvr.training.loss import aggregate, clip_fractions, kl_estimate, policy_loss, value_loss

VECTORS = Path(__file__).parents[1] / "files" / "vectors"
INPUTS = json.loads((VECTORS / "inputs.json").read_text())
LOSSES = json.loads((VECTORS / "losses.json").read_text())
MODES = ("token-mean", "seq-mean-token-mean", "seq-mean-token-sum", "seq-mean-token-sum-norm")
CLIPS: dict[str, Any] = {
    "policy_loss_vanilla": {"clip_low": 0.2, "clip_high": 0.2},
    "policy_loss_clip_higher": {"clip_low": 0.2, "clip_high": 0.28},
    "policy_loss_dual_clip": {"clip_low": 0.2, "clip_high": 0.2, "dual_clip": 3.0},
    "policy_loss_clip_higher_dual_clip": {"clip_low": 0.2, "clip_high": 0.28, "dual_clip": 3.0},
    "policy_loss_tis": {"clip_low": 0.2, "clip_high": 0.2, "dual_clip": 3.0},
}


def tensor(x: list) -> torch.Tensor:
    return torch.tensor(x, dtype=torch.float64)


MASK = tensor(INPUTS["response_mask"])
OLD = tensor(INPUTS["old_log_prob"])
REF = tensor(INPUTS["ref_log_prob"])
WEIGHTS = tensor(LOSSES["policy_loss_tis"]["inputs"]["rollout_is_weights"])
"""Of tokens, truncated at 2."""
ADVANTAGES = tensor(LOSSES["advantages"])


def new_logps() -> torch.Tensor:
    return tensor(INPUTS["log_prob"]).requires_grad_()


def close(actual: torch.Tensor | float, expected: torch.Tensor | float) -> None:
    torch.testing.assert_close(torch.as_tensor(actual), torch.as_tensor(expected, dtype=torch.float64),
                               rtol=1e-9, atol=1e-12)


def gradient(loss: torch.Tensor, of: torch.Tensor) -> torch.Tensor:
    (grad,) = torch.autograd.grad(loss, of)
    return grad


# --- policy loss


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", CLIPS)
def test_policy_loss_and_its_gradient_equal_the_reference(name: str, mode: str) -> None:
    # Bugs: a wrong clip side, dual clip on positive advantages, a weight that is not applied, a wrong denominator.
    logps = new_logps()
    weights = WEIGHTS * MASK if name.endswith("tis") else None
    loss_BT = policy_loss(logps, OLD, ADVANTAGES, rollout_weights=weights, **CLIPS[name])
    num_sequences = 16
    if mode == "seq-mean-token-mean":  # the reference divides by L + 1e-8 instead of L
        lengths_B1 = MASK.sum(1, keepdim=True)
        loss_BT = loss_BT * lengths_B1 / (lengths_B1 + 1e-8)
    if mode == "seq-mean-token-sum-norm":  # the reference forgets the 1 / B of Dr. GRPO
        num_sequences = 1
    loss = aggregate(loss_BT, MASK, mode, num_tokens=68, num_sequences=num_sequences, max_length=7)
    expected = LOSSES[name]["outputs"][mode]
    close(loss.detach(), expected["loss"])
    close(gradient(loss, logps), tensor(expected["grad_log_prob"]))


def test_policy_loss_by_hand() -> None:
    # Columns: ratio 1.5, A 1 -> clipped above, -1.2;  1.5, -1 -> not clipped, 1.5;  0.5, 1 -> not clipped, -0.5;
    # 0.5, -1 -> clipped below, 0.8;  5, -2 -> 10, dual clip caps at 2 * 3 = 6;  5, 2 -> -1.2 * 2 = -2.4.
    ratio = tensor([[1.5, 1.5, 0.5, 0.5, 5.0, 5.0]])
    advantages = tensor([[1.0, -1.0, 1.0, -1.0, -2.0, 2.0]])
    logps = ratio.log().requires_grad_()
    loss = policy_loss(logps, torch.zeros_like(ratio), advantages, clip_low=0.2, clip_high=0.2, dual_clip=3.0)
    close(loss.detach(), tensor([[-1.2, 1.5, -0.5, 0.8, 6.0, -2.4]]))
    # d(-A * ratio) / dlogp = -A * ratio where no clip acts, else 0
    close(gradient(loss.sum(), logps), tensor([[0.0, 1.5, -0.5, 0.0, 0.0, 0.0]]))
    low, high, dual = clip_fractions(logps, torch.zeros_like(ratio), advantages, clip_low=0.2, clip_high=0.2,
                                     dual_clip=3.0)
    assert low.tolist() == [[0, 0, 0, 1, 0, 0]]
    assert high.tolist() == [[1, 0, 0, 0, 0, 1]]
    assert dual.tolist() == [[0, 0, 0, 0, 1, 0]]


def test_clip_fractions_equal_the_reference() -> None:
    for name in ("policy_loss_vanilla", "policy_loss_dual_clip"):
        expected = LOSSES[name]["outputs"]["token-mean"]["metrics"]
        low, high, dual = ((x * MASK).sum().item() / 68 for x in clip_fractions(
            new_logps(), OLD, ADVANTAGES, **CLIPS[name]))
        assert low + high == pytest.approx(expected["actor/pg_clipfrac"], rel=1e-6)
        assert dual == pytest.approx(expected["actor/pg_clipfrac_lower"], rel=1e-6)
    assert low > 0 and high > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_exploded_ratio_stays_finite(dtype: torch.dtype) -> None:
    # Bug: exp(100) = inf in float32, times an advantage of 0 is NaN. Columns: A 0, A -1 outside and inside the clamp.
    logps = torch.tensor([[100.0, 100.0, 19.0]], dtype=dtype, requires_grad=True)
    advantages = torch.tensor([[0.0, -1.0, -1.0]], dtype=dtype)
    loss = policy_loss(logps, torch.zeros_like(logps), advantages, clip_low=0.2, clip_high=0.2)
    assert loss.tolist()[0] == pytest.approx([0.0, math.exp(20), math.exp(19)], rel=1e-5)
    assert gradient(loss.sum(), logps).tolist()[0] == pytest.approx([0.0, 0.0, math.exp(19)], rel=1e-5)


def test_advantages_per_sequence_equal_advantages_per_token() -> None:
    logps, advantages_B = new_logps(), torch.linspace(-2, 2, 16, dtype=torch.float64)
    for function in (policy_loss, clip_fractions):
        one = function(logps, OLD, advantages_B, clip_low=0.2, clip_high=0.2)
        many = function(logps, OLD, advantages_B.unsqueeze(1).expand(16, 7), clip_low=0.2, clip_high=0.2)
        assert all(torch.equal(a, b) for a, b in zip(one, many, strict=True))


def test_only_the_policy_gets_a_gradient() -> None:
    old, advantages, weights = (torch.ones(2, 3, requires_grad=True) for _ in range(3))
    logps = torch.zeros(2, 3, requires_grad=True)
    policy_loss(logps, old, advantages, clip_low=0.2, clip_high=0.2, rollout_weights=weights).sum().backward()
    assert logps.grad is not None and old.grad is None and advantages.grad is None and weights.grad is None


# --- value loss


@pytest.mark.parametrize("clip", [0.5, 0.2])
def test_value_loss_and_its_gradient_equal_the_reference(clip: float) -> None:
    vectors = LOSSES["value_loss"]
    values = tensor(vectors["inputs"]["vpreds"]).requires_grad_()
    loss_BT = value_loss(values, tensor(INPUTS["values"]), tensor(vectors["inputs"]["returns"]), clip=clip)
    loss = aggregate(loss_BT, MASK, "token-mean", num_tokens=68, num_sequences=16)
    expected = vectors["outputs"][f"cliprange_{clip}"]
    close(loss.detach(), expected["vf_loss"])
    close(gradient(loss, values), tensor(expected["grad_vpreds"]))


def test_value_loss_by_hand() -> None:
    # V 1.0, old 0.2, target 1, clip 0.5: clipped to 0.7; max(0, 0.09) / 2 = 0.045. Without a clip: 0.
    # V -1, old 0, target 1: max(4, (-0.5 - 1)^2 = 2.25) / 2 = 2.  V 0.3, old 0.2: not clipped, 0.49 / 2 = 0.245.
    values, old = tensor([[1.0, -1.0, 0.3]]), tensor([[0.2, 0.0, 0.2]])
    close(value_loss(values, old, torch.ones_like(values), clip=0.5), tensor([[0.045, 2.0, 0.245]]))
    close(value_loss(values, old, torch.ones_like(values), clip=None), tensor([[0.0, 2.0, 0.245]]))


# --- KL


@pytest.mark.parametrize("kind", ["k1", "k2", "k3"])
def test_kl_and_its_gradient_equal_the_reference(kind: str) -> None:
    logps = new_logps()
    kl_BT = kl_estimate(logps, REF, kind)
    close(kl_BT.detach(), tensor(LOSSES["kl"]["outputs"][kind]))
    close(gradient((kl_BT * MASK).sum(), logps), tensor(LOSSES["kl_grad"]["outputs"][kind]))


def test_kl_by_hand_and_clamps() -> None:
    # d = 5: k3 = e^-5 - 1 + 5 = 4.00674;  d = -2: e^2 - 1 - 2 = 4.38906;  d = 9: 8.00012;
    # d = -4: e^4 - 5 = 49.6, clamped to 10;  d = 25: clamped to 20, then to 10;  d = -1000: no overflow.
    d = tensor([[5.0, -2.0, 9.0, -4.0, 25.0, -1000.0]]).requires_grad_()
    zero = torch.zeros_like(d)
    close(kl_estimate(d, zero, "k1").detach(), d.detach())
    close(kl_estimate(d, zero, "k2").detach(), tensor([[12.5, 2.0, 40.5, 8.0, 312.5, 500000.0]]))
    k3 = kl_estimate(d, zero, "k3")
    close(k3.detach(), tensor([[math.exp(-5) + 4, math.exp(2) - 3, math.exp(-9) + 8, 10.0, 10.0, 10.0]]))
    close(gradient(k3.sum(), d), tensor([[1 - math.exp(-5), 1 - math.exp(2), 1 - math.exp(-9), 0.0, 0.0, 0.0]]))
    with pytest.raises(ValueError, match="unknown kind 'k4'"):
        kl_estimate(d, zero, "k4")


def test_k3_keeps_its_digits_near_zero() -> None:
    # Bug: exp(-d) - 1 + d in float32 at d = 1e-3 is off by a tenth; the truth is d^2 / 2 - d^3 / 6.
    d = torch.tensor([[1e-3]])
    assert kl_estimate(d, torch.zeros_like(d), "k3").item() == pytest.approx(5e-7 - 1e-9 / 6, rel=2e-4)


# --- aggregation


def test_aggregate_by_hand() -> None:
    counts: dict[str, Any]
    # Rows 1 2 | 3 and an empty one. Token mean 6 / 3 = 2; sequence means (1.5 + 3) / 2 = 2.25; sums (3 + 3) / 2 = 3;
    # Dr. GRPO (3 + 3) / (3 rows * max_length 4) = 0.5. On two ranks each share is twice as large.
    loss, mask = tensor([[1, 2, 9], [9, 3, 9], [9, 9, 9]]), tensor([[1, 1, 0], [0, 1, 0], [0, 0, 0]])
    for mode, num_sequences, expected in zip(MODES, (2, 2, 2, 3), (2.0, 2.25, 3.0, 0.5), strict=True):
        for counts in ({"num_tokens": 3, "num_sequences": num_sequences},
                       {"num_tokens": torch.tensor(3), "num_sequences": torch.tensor(num_sequences)}):
            assert aggregate(loss, mask, mode, max_length=4, **counts).item() == pytest.approx(expected)
            assert aggregate(loss, mask, mode, max_length=4, world_size=2, **counts).item() == pytest.approx(
                2 * expected)


def test_aggregate_equals_the_reference_for_dr_grpo_and_grpo() -> None:
    vectors = LOSSES["oat_drgrpo_aggregation"]
    loss = tensor(vectors["inputs"]["loss_mat"])
    counts = {"num_tokens": 68, "num_sequences": 16, "max_length": 7}
    close(aggregate(loss, MASK, "seq-mean-token-sum-norm", **counts), vectors["outputs"]["drgrpo"])
    close(aggregate(loss, MASK, "seq-mean-token-mean", **counts), vectors["outputs"]["grpo"])


def test_aggregate_equals_one_big_reference_batch() -> None:
    for mode in MODES:
        logps = new_logps()
        lengths_B1 = MASK.sum(1, keepdim=True)
        loss_BT = policy_loss(logps, OLD, ADVANTAGES, **CLIPS["policy_loss_dual_clip"])
        if mode == "seq-mean-token-mean":
            loss_BT = loss_BT * lengths_B1 / (lengths_B1 + 1e-8)
        num_sequences = 1 if mode == "seq-mean-token-sum-norm" else 16
        loss = aggregate(loss_BT, MASK, mode, num_tokens=68, num_sequences=num_sequences, max_length=7)
        close(gradient(loss, logps), tensor(LOSSES["loss_aggregation_grad_accum"]["outputs"][mode]))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("ranks", "micro_batches"), [(r, m) for r in (1, 2, 4) for m in (1, 2, 4)])
def test_any_split_gives_the_gradient_of_one_batch(mode: str, ranks: int, micro_batches: int) -> None:
    # Bug: a mean of micro-batch means, or a missing world size. Policy, KL, entropy-like and value terms are split
    # alike; the likelihood term has a mask and a denominator of its own.
    mask = MASK.clone()
    mask[5] = 0  # an empty sequence
    counts = {"num_tokens": int(mask.sum()), "max_length": 7,
              "num_sequences": 16 if mode == "seq-mean-token-sum-norm" else 15}

    chosen = mask.clone()
    chosen[::3] = 0

    def step_loss(logps: torch.Tensor, rows: torch.Tensor, world_size: int) -> torch.Tensor:
        policy = policy_loss(logps[rows], OLD[rows], ADVANTAGES[rows], clip_low=0.2, clip_high=0.2)
        value = value_loss(logps[rows], OLD[rows], REF[rows], clip=0.5)  # any tensors will do
        terms = ((policy, 1.0), (kl_estimate(logps[rows], REF[rows], "k3"), 0.04), (logps[rows].exp(), -0.01),
                 (value, 0.5))
        loss = torch.stack([coef * aggregate(term, mask[rows], mode, world_size=world_size, **counts)
                            for term, coef in terms]).sum()
        nll = aggregate(-logps[rows], chosen[rows], "token-mean", num_tokens=chosen.sum(), num_sequences=1,
                        world_size=world_size)
        return loss + 0.1 * nll

    logps = new_logps()
    whole = gradient(step_loss(logps, torch.arange(16), 1), logps)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(3))
    total = torch.zeros_like(whole)
    for rank_rows in order.chunk(ranks):
        for rows in rank_rows.chunk(micro_batches):
            total += gradient(step_loss(logps, rows, ranks), logps) / ranks
    torch.testing.assert_close(total, whole, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("mode", MODES)
def test_a_bad_number_in_a_masked_slot_leaks_nowhere(mode: str, bad: float) -> None:
    # Bug: loss * mask. The sum of all losses is checked with a bad number in every masked-out input slot.
    def losses(fill: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        def dirty(x: torch.Tensor) -> torch.Tensor:
            return torch.where(MASK.bool(), x, fill)

        logps, values = dirty(new_logps().detach()).requires_grad_(), dirty(OLD).requires_grad_()
        terms = [policy_loss(logps, dirty(OLD), ADVANTAGES, clip_low=0.2, clip_high=0.2, dual_clip=3.0,
                             rollout_weights=dirty(WEIGHTS)),
                 value_loss(values, dirty(REF), dirty(OLD), clip=0.2), value_loss(values, REF, REF, clip=None),
                 *(kl_estimate(logps, dirty(REF), kind) for kind in ("k1", "k2", "k3"))]
        loss = torch.stack([aggregate(term, MASK, mode, num_tokens=68, num_sequences=16, max_length=7)
                            for term in terms]).sum()
        loss.backward()
        assert logps.grad is not None and values.grad is not None
        return loss.detach(), logps.grad, values.grad

    for clean, dirty in zip(losses(0.0), losses(bad), strict=True):
        torch.testing.assert_close(dirty, clean, rtol=0, atol=0)


def test_a_bad_number_in_a_kept_slot_is_seen() -> None:
    # Bug: cleaning that hides a real NaN.
    nan = tensor([[math.nan]])
    one = torch.ones_like(nan)
    for loss in (policy_loss(nan, one, one, clip_low=0.2, clip_high=0.2), value_loss(nan, one, one, clip=0.2),
                 kl_estimate(nan, one, "k2"), kl_estimate(nan, one, "k3")):
        assert aggregate(loss, one, "token-mean", num_tokens=1, num_sequences=1).isnan()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("rows", [0, 3])
def test_a_step_without_tokens_has_a_differentiable_loss_of_zero(mode: str, rows: int) -> None:
    loss_BT = torch.ones(rows, 4, requires_grad=True)
    loss = aggregate(loss_BT, torch.zeros(rows, 4), mode, num_tokens=0, num_sequences=0, max_length=4)
    assert loss.item() == 0
    assert gradient(loss, loss_BT).tolist() == [[0.0] * 4] * rows


def test_aggregate_refuses_what_it_cannot_do() -> None:
    one = torch.ones(1, 1)
    with pytest.raises(ValueError, match="unknown mode 'mean'"):
        aggregate(one, one, "mean", num_tokens=1, num_sequences=1)
    with pytest.raises(ValueError, match="max_length, which is None"):
        aggregate(one, one, "seq-mean-token-sum-norm", num_tokens=1, num_sequences=1)
