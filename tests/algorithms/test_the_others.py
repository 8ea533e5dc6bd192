"""The algorithms beyond the six: reference numbers, hand-computed ones, and the properties every algorithm must have.

Run: python -m pytest tests/algorithms/test_the_others.py
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from rlvr.algorithms.boundary_gate import BoundaryGate, BoundaryGateConfig, log_marginal_gain
from rlvr.algorithms.checks import check_algorithm
from rlvr.algorithms.cispo import CISPO, CISPOConfig
from rlvr.algorithms.clip_cov import ClipCov, ClipCovConfig, draw_from_band
from rlvr.algorithms.dapo import DAPO, DAPOConfig
from rlvr.algorithms.difficulty import Difficulty, DifficultyConfig
from rlvr.algorithms.ds_grpo import DSGRPO, DSGRPOConfig
from rlvr.algorithms.gpg import GPG, GPGConfig
from rlvr.algorithms.grpo import GRPO, GRPOConfig
from rlvr.algorithms.gspo import GSPO, GSPOConfig
from rlvr.algorithms.kl_cov import KLCov, KLCovConfig, highest
from rlvr.algorithms.maxrl import MaxRL, MaxRLConfig
from rlvr.algorithms.nsr import NSR, PSR, NSRConfig, PSRConfig, WReinforce, WReinforceConfig
from rlvr.algorithms.passk import PassK, PassKConfig
from rlvr.algorithms.ppo import PPO, PPOConfig
from rlvr.algorithms.random_reward import RandomReward, RandomRewardConfig
from rlvr.algorithms.reinforce_pp import ReinforcePP, ReinforcePPConfig
from rlvr.algorithms.remax import ReMax, ReMaxConfig
from rlvr.algorithms.rloo import RLOO, RLOOConfig
from rlvr.algorithms.rs_grpo import RSGRPO, RSGRPOConfig
from rlvr.algorithms.unlikeliness import Unlikeliness, UnlikelinessConfig
from rlvr.config.registry import names, resolve
from rlvr.interfaces import Algorithm, Credit, LossSpec, Needs, RolloutBatch, TokenBatch
from rlvr.training.loss import aggregate, policy_loss
from rlvr.types import UserError

VECTORS = Path(__file__).parents[1] / "files" / "vectors"
INPUTS = json.loads((VECTORS / "inputs.json").read_text())
REFERENCE = json.loads((VECTORS / "more_algorithms.json").read_text())
MODES = ("token-mean", "seq-mean-token-mean", "seq-mean-token-sum", "seq-mean-token-sum-norm")


def tensor(x: Any) -> torch.Tensor:
    return torch.tensor(x, dtype=torch.float64)


MASK = tensor(INPUTS["response_mask"])
OLD = tensor(INPUTS["old_log_prob"])
NEW = tensor(INPUTS["log_prob"])
ADVANTAGES = tensor(json.loads((VECTORS / "losses.json").read_text())["advantages"])
RATIO = (NEW - OLD).exp()


def reference_batch() -> RolloutBatch:
    """Four prompts of four: mixed, all correct, all wrong, one correct; lengths 1 to 7."""
    return RolloutBatch(accuracy_N=tensor(INPUTS["rewards"]), rewards_N=tensor(INPUTS["rewards"]),
                        group_N=torch.tensor(INPUTS["index"]), mask_NT=MASK.clone(), max_length=8, old_logps_NT=OLD)


def in_float32(batch: RolloutBatch) -> RolloutBatch:
    return replace(batch, **{field.name: x.float() for field in fields(batch)
                             if isinstance(x := getattr(batch, field.name), torch.Tensor) and x.is_floating_point()})


def small_batch(accuracy: list[float], groups: list[int] | None = None, **others: Any) -> RolloutBatch:
    """Rollouts of one token each; one group unless given."""
    n = len(accuracy)
    batch = RolloutBatch(tensor(accuracy), tensor(accuracy), torch.tensor(groups or [0] * n), torch.ones(n, 1).double(),
                         old_logps_NT=torch.arange(n).double().unsqueeze(1) - n)
    return replace(batch, **others)


def credit_N(algorithm: Algorithm[Any], accuracy: list[float], groups: list[int] | None = None) -> list[float]:
    return algorithm.advantages(small_batch(accuracy, groups)).advantages_NT[:, 0].tolist()


def tokens(logps: torch.Tensor, advantages: torch.Tensor, **others: Any) -> TokenBatch:
    batch = TokenBatch(logps, torch.zeros_like(logps), advantages, torch.ones_like(logps), {})
    return replace(batch, **others)


def loss_and_gradient(algorithm: Algorithm[Any], given: TokenBatch, **counts: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss of every token and the gradient of their masked sum, or of `aggregate` with these counts."""
    logps = given.logps_BT.clone().requires_grad_()
    loss_BT = algorithm.token_loss(replace(given, logps_BT=logps))
    assert loss_BT is not None
    loss = aggregate(loss_BT, given.mask_BT, **counts) if counts else (loss_BT * given.mask_BT).sum()
    (gradient,) = torch.autograd.grad(loss, logps)
    return (loss if counts else loss_BT).detach(), gradient


def close(actual: torch.Tensor, expected: torch.Tensor, rtol: float = 1e-9) -> None:
    assert actual.dtype == expected.dtype == torch.float64
    torch.testing.assert_close(actual, expected, rtol=rtol, atol=rtol * expected.abs().max().item() + 1e-15)


# --- reference numbers

CREDIT_CASES: dict[str, tuple[str, str, Algorithm[Any]]] = {
    "nsr": ("psr_nsr", "negative", NSR(NSRConfig())),
    "psr": ("psr_nsr", "positive", PSR(PSRConfig())),
    "w_reinforce": ("psr_nsr", "weighted", WReinforce(WReinforceConfig())),
    "gpg": ("gpg", "advantages", GPG(GPGConfig())),
    "unlikeliness": ("unlikeliness_reward", "rank_penalty_0.25", Unlikeliness(UnlikelinessConfig())),
    "unlikeliness_0": ("unlikeliness_reward", "rank_penalty_0.0", Unlikeliness(UnlikelinessConfig(rank_penalty=0))),
    **{f"pass@{k}": ("passk_training", f"k={k}", PassK(PassKConfig(k=k))) for k in (1, 2, 3, 4)},
}


@pytest.mark.parametrize("case", CREDIT_CASES)
def test_credit_equals_the_reference(case: str) -> None:
    vector, output, algorithm = CREDIT_CASES[case]
    expected = tensor(REFERENCE[vector]["outputs"][output]) * MASK
    close(algorithm.advantages(reference_batch()).advantages_NT, expected)


def covariance_extras(name: str) -> dict[str, torch.Tensor]:
    # The reference selects with the log-probabilities of the policy in training, and Clip-Cov after the ratio clip.
    if name == "policy_loss_clip_cov":
        drawn = draw_from_band(ADVANTAGES, NEW, MASK, share=1.0, low=0.0, high=5.0, seed=0)
        clipped = ((ADVANTAGES > 0) & (RATIO > 1.2)) | ((ADVANTAGES < 0) & (RATIO < 0.8))
        return {"silent": (drawn & ~clipped).double()}
    return {"held": highest(ADVANTAGES, NEW, MASK, share=0.05).double()}


LOSS_CASES: dict[str, tuple[Algorithm[Any], tuple[str, ...]]] = {
    "policy_loss_gpg": (GPG(GPGConfig()), MODES),
    "policy_loss_cispo": (CISPO(CISPOConfig(clip_low=0.2, clip_high=0.2)), MODES),
    "policy_loss_gspo": (GSPO(GSPOConfig(clip_low=0.2, clip_high=0.2)), ("seq-mean-token-mean",)),
    "policy_loss_clip_cov": (ClipCov(ClipCovConfig()), ("token-mean",)),
    "policy_loss_kl_cov": (KLCov(KLCovConfig()), ("token-mean",)),
}


@pytest.mark.parametrize(("name", "mode"), [(name, mode) for name, (_, modes) in LOSS_CASES.items() for mode in modes])
def test_loss_and_its_gradient_equal_the_reference(name: str, mode: str) -> None:
    algorithm, modes = LOSS_CASES[name]
    extras = covariance_extras(name) if name.endswith("_cov") else {}
    given = TokenBatch(NEW, OLD, ADVANTAGES, MASK, extras)
    # the reference divides by L + 1e-8 instead of L, and forgets the 1 / B of Dr. GRPO
    lengths_B1 = MASK.sum(1, keepdim=True)
    scale_B1 = lengths_B1 / (lengths_B1 + 1e-8) if mode == "seq-mean-token-mean" else 1.0
    logps = NEW.clone().requires_grad_()
    loss_BT = algorithm.token_loss(replace(given, logps_BT=logps))
    assert loss_BT is not None
    loss = aggregate(loss_BT * scale_B1, MASK, mode, num_tokens=68, max_length=7,
                     num_sequences=1 if mode == "seq-mean-token-sum-norm" else 16)
    (gradient,) = torch.autograd.grad(loss, logps)
    outputs = REFERENCE[name]["outputs"]
    expected = outputs[mode] if len(modes) > 1 else outputs
    close(loss.detach(), tensor(expected["loss"]))
    close(gradient, tensor(expected["grad_log_prob"]))


def test_the_covariance_vectors_select_some_tokens_and_not_all() -> None:
    for name in ("policy_loss_clip_cov", "policy_loss_kl_cov"):
        (extras,) = covariance_extras(name).values()
        assert 0 < extras.sum() < MASK.sum()
    assert covariance_extras("policy_loss_kl_cov")["held"].sum() == 3  # 5% of 68


# --- NSR, PSR, W-REINFORCE


def test_nsr_by_hand() -> None:
    nan = math.nan
    for algorithm, advantages, kept in (
        (NSR(NSRConfig()), [0, -1, 0, 0], [0, 1, 0, 0]),
        (PSR(PSRConfig()), [1, 0, 0, 1], [1, 0, 0, 1]),
        (WReinforce(WReinforceConfig()), [0.1, -1, 0, 0.1], [1, 1, 0, 1]),
        (NSR(NSRConfig(positive_weight=0.5, negative_weight=2)), [0.5, -2, 0, 0.5], [1, 1, 0, 1]),
    ):
        # by accuracy: the shaped reward of the wrong one is high and of a right one 0; the third was not judged
        batch = small_batch([1, 0, nan, 1], rewards_N=tensor([0.0, 0.9, nan, 1.5]))
        credit = algorithm.advantages(batch)
        assert credit.advantages_NT[:, 0].tolist() == pytest.approx(advantages)
        assert credit.loss_mask_NT is not None and credit.loss_mask_NT[:, 0].tolist() == kept


def test_nsr_denominators_count_the_kept_class_only() -> None:
    # Two wrong completions of 1 and 3 tokens and one right one of 4: the mean is over 4 tokens, not over 8.
    batch = small_batch([0, 0, 1], mask_NT=tensor([[1, 0, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]]))
    credit = NSR(NSRConfig()).advantages(batch)
    assert credit.loss_mask_NT is not None
    logps = torch.zeros(3, 4, dtype=torch.float64).requires_grad_()
    loss_BT = policy_loss(logps, torch.zeros_like(logps), credit.advantages_NT, clip_low=0.2, clip_high=0.2)
    loss = aggregate(loss_BT, credit.loss_mask_NT, "token-mean", num_tokens=credit.loss_mask_NT.sum(), num_sequences=2)
    (gradient,) = torch.autograd.grad(loss, logps)
    assert gradient.tolist() == [[0.25, 0, 0, 0], [0.25, 0.25, 0.25, 0], [0, 0, 0, 0]]


def test_nsr_without_the_kept_class_keeps_nothing() -> None:
    for algorithm, accuracy in ((NSR(NSRConfig()), 1.0), (PSR(PSRConfig()), 0.0)):
        credit = algorithm.advantages(small_batch([accuracy] * 3))
        assert credit.loss_mask_NT is not None
        assert credit.advantages_NT.abs().sum() == credit.loss_mask_NT.sum() == 0


# --- pass@k


def test_passk_by_hand() -> None:
    # G = 4, k = 2, c = 1: rho = 1 - C(3,2) / C(4,2) = 1/2, s = 1/2; A+ = (1/2) / (1/2) = 1;
    # A- = (1/2 - C(2,1) / C(3,1)) / (1/2) = -1/3
    assert credit_N(PassK(PassKConfig(k=2, std_eps=0)), [0, 1, 0, 0]) == pytest.approx([-1 / 3, 1, -1 / 3, -1 / 3])


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_passk_is_the_mean_over_all_sets_of_k(k: int) -> None:
    # By enumeration: a set scores 1 if one of it is right; its standardised score goes to its members.
    size = 6
    for c in range(size + 1):
        right = [1.0] * c + [0.0] * (size - c)
        sets = list(itertools.combinations(range(size), k))
        scores = [max(right[i] for i in chosen) for chosen in sets]
        rho = sum(scores) / len(sets)
        s = math.sqrt(rho * (1 - rho)) + 1e-6
        expected = []
        for i in range(size):
            mine = [score for chosen, score in zip(sets, scores, strict=True) if i in chosen]
            expected.append((sum(mine) / len(mine) - rho) / s)
        assert credit_N(PassK(PassKConfig(k=k)), right) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_passk_without_signal() -> None:
    nan = math.nan
    algorithm = PassK(PassKConfig(k=3))
    assert algorithm.needs == Needs(min_group_size=4)
    assert credit_N(algorithm, [1, 1, 1, 0, 0]) == [0] * 5  # every set of three holds a right one
    assert credit_N(algorithm, [1, 0, nan, nan, nan]) == [0] * 5  # two judged: no set of three
    assert credit_N(algorithm, [1, 0, 0, nan, nan]) == [0] * 5  # one set of three
    # three wrong of four judged: the not judged one is left out of G
    assert credit_N(algorithm, [1, 0, 0, 0, nan]) == pytest.approx([*credit_N(algorithm, [1, 0, 0, 0]), 0])
    assert credit_N(algorithm, [1, 0, 0, 0])[0] > 0


def test_passk_is_by_accuracy_and_not_by_shaped_reward() -> None:
    shaped = small_batch([1, 0, 0, 0], rewards_N=tensor([0.5, 1.0, 0.0, 0.0]))
    found = PassK(PassKConfig(k=2, std_eps=0)).advantages(shaped).advantages_NT[:, 0]
    assert found.tolist() == pytest.approx([1, -1 / 3, -1 / 3, -1 / 3])


# --- unlikeliness


def test_unlikeliness_by_hand() -> None:
    # Mean log-probabilities -1, -2, -3: ranks 2, 1, 0; rewards 1 - 0.3 * 2/3 = 0.8, 1 - 0.3 * 1/3 = 0.9, 0.
    # Sums, -3, -2, -3, would rank them 0, 2, 0.
    batch = small_batch([1, 1, 0], mask_NT=tensor([[1, 1, 1], [1, 0, 0], [1, 0, 0]]),
                        old_logps_NT=tensor([[-1, -1, -1], [-2, 99, 99], [-3, 99, 99]]))
    got = Unlikeliness(UnlikelinessConfig(rank_penalty=0.3, scale_by_std=False)).advantages(batch).advantages_NT
    mean = (0.8 + 0.9) / 3
    assert got[:, 0].tolist() == pytest.approx([0.8 - mean, 0.9 - mean, -mean])


def test_unlikeliness_in_groups_of_equal_outcome() -> None:
    # All right: the likelier ones are pushed down. All wrong, or all equally likely: nothing.
    algorithm = Unlikeliness(UnlikelinessConfig())
    likelier = credit_N(algorithm, [1, 1, 1])
    assert likelier[0] > likelier[1] > likelier[2] and likelier[0] > 0 > likelier[2]
    assert credit_N(algorithm, [0, 0, 0]) == [0, 0, 0]
    equal = small_batch([1, 1, 1], old_logps_NT=-torch.ones(3, 1).double())
    assert algorithm.advantages(equal).advantages_NT.tolist() == [[0], [0], [0]]


def test_unlikeliness_ranks_within_the_judged_of_a_group() -> None:
    algorithm = Unlikeliness(UnlikelinessConfig())
    alone = credit_N(algorithm, [1, 0, 1])
    assert credit_N(algorithm, [1, 0, 1, 1, 0, 1], [0, 0, 0, 1, 1, 1]) == pytest.approx(alone * 2)
    assert credit_N(algorithm, [math.nan, 1, 0, 1]) == pytest.approx([0, *alone])


def test_unlikeliness_lowers_the_shaped_reward() -> None:
    # Ranks 0 and 1 of two: rewards 1.5 and 0.5 * (1 - 0.25 / 2) = 0.4375, mean 0.96875.
    batch = small_batch([1, 0], rewards_N=tensor([1.5, 0.5]))
    found = Unlikeliness(UnlikelinessConfig(scale_by_std=False)).advantages(batch).advantages_NT[:, 0]
    assert found.tolist() == pytest.approx([0.53125, -0.53125])


# --- GPG


def test_gpg_by_hand() -> None:
    # One reward among four judged: alpha = 4, A = 4 * (1 - 1/4) = 3 and 4 * (-1/4) = -1. Eight, two of them: the same.
    assert credit_N(GPG(GPGConfig()), [1, 0, 0, 0, math.nan]) == pytest.approx([3, -1, -1, -1, 0])
    assert credit_N(GPG(GPGConfig()), [1, 0, 0, 0] * 2, [0] * 4 + [1] * 4) == pytest.approx([3, -1, -1, -1] * 2)
    # a group of equal rewards still counts in alpha = 6 / 5
    assert credit_N(GPG(GPGConfig()), [1, 0, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1]) == pytest.approx([0.6, -0.6, 0, 0, 0, 0])
    assert credit_N(GPG(GPGConfig()), [0, 0, 0, 0]) == [0] * 4
    loss, gradient = loss_and_gradient(GPG(GPGConfig()), tokens(tensor([[-2, -3]]), tensor([[3, -1]])))
    assert loss.tolist() == [[6, -3]] and gradient.tolist() == [[-3, 1]]


# --- MaxRL


def test_maxrl_by_hand() -> None:
    # mean 1/4: (1 - 1/4) / (1/4) = 3 and (0 - 1/4) / (1/4) = -1; two of three: (1 - 2/3) / (2/3) = 1/2 and -1
    assert credit_N(MaxRL(MaxRLConfig()), [1, 0, 0, 0]) == pytest.approx([3, -1, -1, -1])
    assert credit_N(MaxRL(MaxRLConfig()), [1, 1, 0, math.nan]) == pytest.approx([0.5, 0.5, -1, 0])
    assert credit_N(MaxRL(MaxRLConfig()), [0, 0, 1, 1], [0, 0, 1, 1]) == [0] * 4
    shaped = small_batch([1, 0], rewards_N=tensor([-1.0, 1.0]))  # accuracy is what counts
    assert MaxRL(MaxRLConfig()).advantages(shaped).advantages_NT[:, 0].tolist() == pytest.approx([1, -1])


# --- RS-GRPO


def test_rs_grpo_by_hand() -> None:
    # b = 2, one of four right: mean exp(2 r) = (e^2 + 3) / 4
    mean = (math.exp(2) + 3) / 4
    expected = [(math.exp(2) / mean - 1) / 2] + 3 * [(1 / mean - 1) / 2]
    assert credit_N(RSGRPO(RSGRPOConfig()), [1, 0, 0, 0]) == pytest.approx(expected)
    assert credit_N(RSGRPO(RSGRPOConfig()), [1, 0, 0, 0, math.nan]) == pytest.approx([*expected, 0])
    # its other form, with p = c / G and t = e^b - 1, at c = 2 of 4 and b = 1
    t = math.e - 1
    assert credit_N(RSGRPO(RSGRPOConfig(risk=1.0)), [1, 0, 1, 0]) == pytest.approx(
        [t * 0.5 / (1 + 0.5 * t), -t * 0.5 / (1 + 0.5 * t)] * 2)
    nearly_none = credit_N(RSGRPO(RSGRPOConfig(risk=1e-6)), [1, 0, 0, 0])
    assert nearly_none == pytest.approx([0.75, -0.25, -0.25, -0.25], abs=1e-5)
    assert credit_N(RSGRPO(RSGRPOConfig()), [0, 0, 1, 1], [0, 0, 1, 1]) == [0] * 4
    far = small_batch([1, 0, 1, 0], [0, 0, 1, 1], rewards_N=tensor([1.0, 0.9, -1.0, -1.1]))
    apart = RSGRPO(RSGRPOConfig(risk=20.0)).advantages(far).advantages_NT[:, 0]
    close(apart[:2], apart[2:])  # a shift of a group's rewards changes nothing


def test_rs_grpo_tilts_the_shaped_rewards() -> None:
    mean = (math.exp(3) + 1) / 2  # b = 2, rewards 1.5 and 0
    shaped = small_batch([1, 0], rewards_N=tensor([1.5, 0.0]))
    found = RSGRPO(RSGRPOConfig()).advantages(shaped).advantages_NT[:, 0]
    assert found.tolist() == pytest.approx([(math.exp(3) / mean - 1) / 2, (1 / mean - 1) / 2])


def test_rs_grpo_survives_low_rewards_beside_one_that_was_not_judged() -> None:
    # exp(20 * -40) is 0 in float64; shifted by the highest judged reward they are 1 and e^-2.
    low = small_batch([1, 0, math.nan], rewards_N=tensor([-40.0, -40.1, math.nan]))
    found = RSGRPO(RSGRPOConfig(risk=20.0)).advantages(low).advantages_NT[:, 0]
    mean = (1 + math.exp(-2)) / 2
    assert found.tolist() == pytest.approx([(1 / mean - 1) / 20, (math.exp(-2) / mean - 1) / 20, 0])


def test_rs_grpo_gives_equal_rewards_exactly_nothing() -> None:
    """The float mean of equal numbers need not be that number, and Adam would make a step of what is left."""
    equal = small_batch([1.0, 0.0] + [0.0] * 7, [0] * 2 + [1] * 7, rewards_N=tensor([1.5, 0.0] + [0.1] * 7))
    found = RSGRPO(RSGRPOConfig()).advantages(equal).advantages_NT[:, 0]
    assert found[2:].tolist() == [0] * 7 and found[0] > 0


# --- differential smoothing and difficulty weights


def test_differential_smoothing_by_hand() -> None:
    # log pi of the rollouts: -4, -3, -2, -1. GRPO of one right of four: +1.5, -0.5 (std 0.5).
    smooth = DSGRPO(DSGRPOConfig(smooth_right=0.1, smooth_wrong=0.2, std_eps=0.0))
    assert credit_N(smooth, [1, 0, 0, 0]) == pytest.approx([1.5 + 0.4, -0.5 - 0.6, -0.5 - 0.4, -0.5 - 0.2])
    assert credit_N(smooth, [1, 1, 1, math.nan]) == pytest.approx([0.4, 0.3, 0.2, 0])  # the smoothing alone
    # log pi is the sum over the generated tokens, and what stands elsewhere does not matter
    batch = small_batch([1, 0], mask_NT=tensor([[1, 1, 0], [1, 0, 0]]),
                        old_logps_NT=tensor([[-1, -2, math.nan], [-3, math.inf, math.nan]]))
    found = DSGRPO(DSGRPOConfig(smooth_right=0.1, smooth_wrong=0.0, std_eps=0.0)).advantages(batch).advantages_NT
    root = math.sqrt(0.5)
    close(found, tensor([[root + 0.3, root + 0.3, 0], [-root, 0, 0]]))
    off = DSGRPO(DSGRPOConfig(smooth_right=0, smooth_wrong=0))
    assert credit_N(off, [1, 0]) == credit_N(GRPO(GRPOConfig()), [1, 0])
    with pytest.raises(ValueError, match="old_logps_NT"):
        smooth.advantages(small_batch([1, 0], old_logps_NT=None))
    # what is right says the accuracy, not the shaped reward: GRPO of rewards 0 and 0.9, smoothing 0.1 * 2 and -0.2 * 1
    shaped = small_batch([1, 0], rewards_N=tensor([0.0, 0.9]))
    close(smooth.advantages(shaped).advantages_NT, tensor([[-root + 0.2], [root - 0.2]]))


def test_difficulty_weights_by_hand() -> None:
    # One of four right: w(0.25) = 0.4 + 1.1 / (1 + e^-5) for the right one, w(0.75) = 0.4 + 0.55 for the wrong ones.
    found = credit_N(Difficulty(DifficultyConfig(std_eps=0.0)), [1, 0, 0, 0])
    assert found == pytest.approx([1.5 * (0.4 + 1.1 / (1 + math.exp(-5))), *[-0.5 * 0.95] * 3])
    # Three of four right: w(0.75) for the right ones, w(0.25) for the wrong one. Not judged rollouts do not count.
    found = credit_N(Difficulty(DifficultyConfig(std_eps=0.0)), [1, 1, 1, 0, math.nan])
    assert found == pytest.approx([*[0.5 * 0.95] * 3, -1.5 * (0.4 + 1.1 / (1 + math.exp(-5))), 0])
    same = DifficultyConfig(easy=1.0, hard=1.0)
    assert credit_N(Difficulty(same), [1, 0, 0]) == credit_N(GRPO(GRPOConfig()), [1, 0, 0])
    # by accuracy, not by shaped reward
    shaped = small_batch([1, 0, 0, 0], rewards_N=tensor([1.5, 0.5, 0.5, 0.5]))
    close(Difficulty(DifficultyConfig()).advantages(shaped).advantages_NT,
          Difficulty(DifficultyConfig()).advantages(small_batch([1, 0, 0, 0])).advantages_NT)
    # by the sign of the credit, where a wrong answer has the highest reward
    shaped = small_batch([1, 0, 0, 0], rewards_N=tensor([0.0, 1.0, 0.0, 0.0]))
    found_N = Difficulty(DifficultyConfig(std_eps=0.0)).advantages(shaped).advantages_NT[:, 0]
    assert found_N.tolist() == pytest.approx(
        [-0.5 * 0.95, 1.5 * (0.4 + 1.1 / (1 + math.exp(-5))), -0.5 * 0.95, -0.5 * 0.95])


def test_a_group_far_below_the_best_reward_of_the_step_keeps_its_credit() -> None:
    """Bug: in float32 exp(20 (r - 10)) is 0 for both rollouts of the second group, and 0 / 0 its credit."""
    batch = small_batch([1, 0, 1, 0], [0, 0, 1, 1], rewards_N=tensor([10, 9, 1, 0]))
    found = RSGRPO(RSGRPOConfig(risk=20.0)).advantages(in_float32(batch)).advantages_NT[:, 0].tolist()
    assert found == pytest.approx([0.05, -0.05] * 2, rel=1e-6)


# --- boundary gate


def test_only_problems_without_an_earlier_success_are_trained_on() -> None:
    batch = small_batch([1, 0, 1, 0], [0, 0, 1, 1], seen_N=tensor([8, 8, 8, 8]), solved_N=tensor([0, 0, 1, 1]))
    grpo = GRPO(GRPOConfig()).advantages(batch).advantages_NT[:, 0]
    found = BoundaryGate(BoundaryGateConfig()).advantages(batch).advantages_NT[:, 0]
    assert found.tolist() == [grpo[0], grpo[1], 0, 0] and grpo[2] != 0
    with pytest.raises(ValueError, match="seen_N"):
        BoundaryGate(BoundaryGateConfig()).advantages(small_batch([1, 0]))
    new = replace(batch, seen_N=torch.zeros(4).double(), solved_N=torch.zeros(4).double())
    assert BoundaryGate(BoundaryGateConfig()).advantages(new).advantages_NT[:, 0].tolist() == grpo.tolist()


def test_marginal_weights_by_hand() -> None:
    # k = 3, prior Beta(1, 1): Beta(1, 3) after 2 wrong: 3 E(1-p)^2 = 3 * (3*4) / (4*5) = 1.8; Beta(3, 2) after 2 of 3:
    # 3 * (2*3) / (5*6) = 0.6; nothing seen: 3 * (1*2) / (2*3) = 1. Their mean is 1.7 / 1.5 = 17/15.
    close(log_marginal_gain(tensor([2, 3, 0]), tensor([0, 2, 0]), 3, 1.0, 1.0).exp(), tensor([1.8, 0.6, 1.0]))
    batch = small_batch([1, 0] * 3, [0, 0, 1, 1, 2, 2], seen_N=tensor([2, 2, 3, 3, 0, 0]),
                        solved_N=tensor([0, 0, 2, 2, 0, 0]))
    grpo = GRPO(GRPOConfig()).advantages(batch).advantages_NT[:, 0]
    gate = BoundaryGate(BoundaryGateConfig(weight="marginal", k=3))
    weights = gate.advantages(batch).advantages_NT[:, 0] / grpo
    close(weights, tensor([1.8, 1.8, 0.6, 0.6, 1.0, 1.0]) * 15 / 17)
    prior = BoundaryGate(BoundaryGateConfig(weight="marginal", k=2, prior_right=2.0, prior_wrong=6.0))
    close(prior.advantages(batch).advantages_NT[:2, 0] / grpo[:2] * (8 / 10 + 7 / 11 + 6 / 8) / 3, tensor([0.8, 0.8]))


def test_marginal_weights_of_problems_solved_always() -> None:
    """Bug: in float32 all gains were 0 after 256 of 256, and the advantages 0 / 0.

    After s of s the gain is k! over the product of s + 2 .. s + k: k = 2, s = 2 and 6 give 2 / 4 and 2 / 8.
    """
    batch = small_batch([1, 0, 1, 0], [0, 0, 1, 1], seen_N=tensor([256] * 4), solved_N=tensor([256] * 4))
    grpo = GRPO(GRPOConfig()).advantages(batch).advantages_NT
    found = BoundaryGate(BoundaryGateConfig(weight="marginal")).advantages(in_float32(batch)).advantages_NT
    assert found.dtype == torch.float32 and torch.allclose(found.double(), grpo, rtol=1e-6)
    close(log_marginal_gain(tensor([2, 6]), tensor([2, 6]), 2, 1.0, 1.0).exp(), tensor([0.5, 0.25]))
    # Exactly, in fractions: 100,000 B(6, 100,095) / B(6, 96).
    gain = log_marginal_gain(tensor([100]), tensor([5]), 100_000, 1.0, 1.0).exp()
    assert gain.item() == pytest.approx(9.071648762381322e-14, rel=1e-7)


def test_the_mean_of_marginal_weights_is_over_judged_rollouts() -> None:
    # k = 3: 1.8 for the first problem, 1 for the new one, of which one rollout was not judged: mean 1.4, not 6.6 / 5.
    batch = small_batch([1, 0, 1, 0, math.nan], [0, 0, 1, 1, 1], seen_N=tensor([2, 2, 0, 0, 0]),
                        solved_N=torch.zeros(5).double())
    grpo = GRPO(GRPOConfig()).advantages(batch).advantages_NT[:4, 0]
    found = BoundaryGate(BoundaryGateConfig(weight="marginal", k=3)).advantages(batch).advantages_NT[:4, 0]
    close(found / grpo, tensor([1.8, 1.8, 1.0, 1.0]) / 1.4)


def test_marginal_weights_of_rollouts_that_were_not_judged_stay_out() -> None:
    """Bug: beside a problem solved always, the weight of an unseen one that was not judged is infinite in float32."""
    batch = small_batch([1, 0, math.nan, math.nan], [0, 0, 1, 1], seen_N=tensor([60, 60, 0, 0]),
                        solved_N=tensor([60, 60, 0, 0]))
    found = BoundaryGate(BoundaryGateConfig(weight="marginal")).advantages(in_float32(batch)).advantages_NT[:, 0]
    assert found.tolist() == pytest.approx([0.5 ** 0.5, -(0.5 ** 0.5), 0, 0], rel=1e-5)


# --- CISPO, GSPO


def test_cispo_by_hand() -> None:
    # Weights 10 -> 5, 0.01 kept, 2 kept; loss -w * A * logp and gradient -w * A: no token loses its gradient.
    logps = tensor([[10.0, 0.01, 2.0]]).log()
    loss, gradient = loss_and_gradient(CISPO(CISPOConfig()), tokens(logps, tensor([[1.0, 1.0, -3.0]])))
    close(gradient, tensor([[-5.0, -0.01, 6.0]]))
    close(loss, tensor([[-5 * math.log(10), -0.01 * math.log(0.01), 6 * math.log(2)]]))


def test_gspo_by_hand() -> None:
    # Log-ratios 0.1 and 0.3 over two tokens (the third is masked): s = e^0.2 = 1.2214 on both tokens.
    mask = tensor([[1, 1, 0]])
    logps = tensor([[0.1, 0.3, 9.0]])
    algorithm = GSPO(GSPOConfig(clip_low=0.2, clip_high=0.2))
    s = math.exp(0.2)
    for advantage, value, slope in ((-1.0, s, s), (1.0, -1.2, 0.0)):  # above 1.2 a positive advantage is clipped
        given = tokens(logps, advantage * mask, mask_BT=mask)
        loss, gradient = loss_and_gradient(algorithm, given)
        close(loss[:, :2], tensor([[value, value]]))
        close(gradient, tensor([[slope, slope, 0]]))
        # the mean over tokens has the gradient of -A * s = -A * exp(mean): -A * s / 2 on each
        _, gradient = loss_and_gradient(algorithm, given, mode="seq-mean-token-mean", num_tokens=2, num_sequences=1)
        close(gradient, tensor([[slope / 2, slope / 2, 0]]))


# --- Clip-Cov, KL-Cov


def test_covariance_selections_by_hand() -> None:
    # A: 7 5 3 1, mean 4. logp: -1 -2 -3 -6, mean -3; cov = 3*2, 1*1, -1*0, -3*-3 = 6, 1, 0, 9. The fifth is masked.
    advantages, logps = tensor([[7.0, 5.0, 3.0, 1.0, 50.0]]), tensor([[-1.0, -2.0, -3.0, -6.0, 70.0]])
    mask = tensor([[1, 1, 1, 1, 0]])

    def drawn(share: float, low: float, high: float, seed: int = 0) -> list[list[int]]:
        return draw_from_band(advantages, logps, mask, share=share, low=low, high=high, seed=seed).int().tolist()

    assert drawn(1.0, 0.5, 6.5) == [[1, 1, 0, 0, 0]]
    assert drawn(1.0, 0.5, 6.0) == [[0, 1, 0, 0, 0]]  # the band is open at its ends
    assert drawn(1.0, 1.0, 10.0) == [[1, 0, 0, 1, 0]]
    assert drawn(1.0, 20.0, 30.0) == [[0] * 5]
    # half of four tokens, not of the three in the band; at least one; over seeds every one of them
    pairs = {tuple(drawn(0.5, 0.5, 10.0, seed)[0]) for seed in range(50)}
    assert pairs == {(1, 1, 0, 0, 0), (1, 0, 0, 1, 0), (0, 1, 0, 1, 0)}
    assert {tuple(drawn(0.01, 0.5, 10.0, seed)[0]) for seed in range(50)} == {
        (1, 0, 0, 0, 0), (0, 1, 0, 0, 0), (0, 0, 0, 1, 0)}
    for share, expected in ((0.01, [0, 0, 0, 1, 0]), (0.5, [1, 0, 0, 1, 0]), (1.0, [1, 1, 0, 1, 0])):
        assert highest(advantages, logps, mask, share=share).int().tolist() == [expected]
    # -A: cov -6, -1, 0, -9; padding taken for zeros would have (0 + 4) * (0 + 3) = 12
    assert highest(-advantages, logps, mask, share=0.5).int().tolist() == [[0] * 5]


def test_clip_cov_silences_its_tokens() -> None:
    # Ratios 1.1, 1.1 and 1.5 (clipped at 1.2); the first is silent: loss and gradient 0.
    given = tokens(tensor([[1.1, 1.1, 1.5]]).log(), tensor([[1.0, 1.0, 1.0]]),
                   extras_BT={"silent": tensor([[1.0, 0.0, 0.0]])})
    loss, gradient = loss_and_gradient(ClipCov(ClipCovConfig()), given)
    close(loss, tensor([[0.0, -1.1, -1.2]]))
    close(gradient, tensor([[0.0, -1.1, 0.0]]))


def test_kl_cov_holds_its_tokens_back() -> None:
    # -A e^d + 0.5 |d| on the held ones, d = 0.3, -0.3; gradient -A e^d + 0.5 sign(d). Nothing is clipped at d = 2.
    given = tokens(tensor([[0.3, -0.3, 2.0]]), torch.ones(1, 3).double(), extras_BT={"held": tensor([[1.0, 1.0, 0.0]])})
    loss, gradient = loss_and_gradient(KLCov(KLCovConfig(penalty_coef=0.5)), given)
    close(loss, tensor([[-math.exp(0.3) + 0.15, -math.exp(-0.3) + 0.15, -math.exp(2)]]))
    close(gradient, tensor([[-math.exp(0.3) + 0.5, -math.exp(-0.3) - 0.5, -math.exp(2)]]))


def test_covariance_is_taken_over_the_whole_batch_and_the_judged_tokens() -> None:
    batch = reference_batch()
    credit = KLCov(KLCovConfig(share=0.1)).advantages(batch)
    close(credit.advantages_NT, GRPO(GRPOConfig()).advantages(batch).advantages_NT)
    assert credit.extras_NT["held"].sum() == 6  # 10% of 68
    expected = highest(credit.advantages_NT, OLD, MASK, share=0.1)
    assert torch.equal(credit.extras_NT["held"].bool(), expected)
    nan_N = batch.rewards_N.clone()
    nan_N[8:] = math.nan
    half = KLCov(KLCovConfig(share=0.1)).advantages(replace(batch, rewards_N=nan_N, accuracy_N=nan_N))
    assert half.extras_NT["held"].sum() == int(0.1 * MASK[:8].sum()) and half.extras_NT["held"][8:].sum() == 0
    assert torch.equal(half.extras_NT["held"][:8].bool(),
                       highest(credit.advantages_NT[:8], OLD[:8], MASK[:8], share=0.1))
    silent = ClipCov(ClipCovConfig(share=0.1, cov_low=0.0)).advantages(batch).extras_NT["silent"]
    assert silent.sum() == 6
    assert torch.equal(silent.bool(), draw_from_band(credit.advantages_NT, OLD, MASK, share=0.1, low=0.0, high=5.0,
                                                     seed=batch.seed))


def test_clip_cov_draws_depend_on_the_seed_alone() -> None:
    algorithm = ClipCov(ClipCovConfig(share=0.1, cov_low=0.0))
    draws = {}
    for seed in (0, 1, 2**40):  # PyTorch's own seeding would take 2**40 for 0
        torch.manual_seed(seed)
        batch = replace(reference_batch(), seed=seed)
        draws[seed] = [algorithm.advantages(batch).extras_NT["silent"] for _ in range(2)]
        assert torch.equal(*draws[seed])
    assert not torch.equal(draws[0][0], draws[1][0]) and not torch.equal(draws[0][0], draws[2**40][0])


# --- at a ratio of 1, the first update


@pytest.mark.parametrize("algorithm", [CISPO(CISPOConfig()), GSPO(GSPOConfig()), KLCov(KLCovConfig(share=0.2)),
                                       ClipCov(ClipCovConfig(cov_low=90, cov_high=91))], ids=lambda a: type(a).__name__)
def test_the_first_update_has_the_gradient_of_grpo(algorithm: Algorithm[Any]) -> None:
    credit = algorithm.advantages(reference_batch())
    given = TokenBatch(OLD, OLD, credit.advantages_NT, MASK, credit.extras_NT)
    _, gradient = loss_and_gradient(algorithm, given)
    close(gradient, -GRPO(GRPOConfig()).advantages(reference_batch()).advantages_NT)


@pytest.mark.parametrize("algorithm", [CISPO(CISPOConfig(clip_high=1e99)), GSPO(GSPOConfig(clip_high=1e99)),
                                       KLCov(KLCovConfig()), ClipCov(ClipCovConfig(clip_high=1e99))],
                         ids=lambda a: type(a).__name__)
def test_log_ratios_are_clamped_at_20(algorithm: Algorithm[Any]) -> None:
    zero = {"silent": tensor([[0.0]]), "held": tensor([[0.0]])}
    for log_ratio, slope in ((19.0, 1.0), (21.0, 0.0)):
        given = tokens(tensor([[log_ratio]]), tensor([[1.0]]), extras_BT=zero)
        loss, gradient = loss_and_gradient(algorithm, given)
        weight = math.exp(min(log_ratio, 20))
        if isinstance(algorithm, CISPO):  # its weight has no gradient to lose
            close(loss, tensor([[-weight * log_ratio]]))
            slope = 1.0
        else:
            close(loss, tensor([[-weight]]))
        close(gradient, tensor([[-weight * slope]]))


# --- random reward


def test_random_rewards_do_not_know_the_verdict() -> None:
    batch = reference_batch()
    flipped = replace(batch, accuracy_N=1 - batch.accuracy_N, rewards_N=5 - batch.rewards_N)
    algorithm = RandomReward(RandomRewardConfig())
    got = algorithm.advantages(batch).advantages_NT
    assert torch.equal(got, algorithm.advantages(flipped).advantages_NT) and got.abs().sum() > 0
    for seed in (1, 2**40):
        assert not torch.equal(got, algorithm.advantages(replace(batch, seed=seed)).advantages_NT)


@pytest.mark.parametrize("rate", [0.5, 0.2])
def test_random_rewards_come_at_their_rate_and_are_standardised(rate: float) -> None:
    # One group of 10000: won rollouts are those of positive credit. Four standard errors.
    batch = small_batch([0.0] * 10000, seed=3)
    advantage_N = RandomReward(RandomRewardConfig(rate=rate)).advantages(batch).advantages_NT[:, 0]
    assert abs((advantage_N > 0).double().mean().item() - rate) < 4 * math.sqrt(rate * (1 - rate) / 10000)
    assert abs(advantage_N.mean().item()) < 1e-9 and advantage_N.std().item() == pytest.approx(1, rel=1e-4)
    # neighbours are independent: the share of pairs that both won is rate squared
    both = (advantage_N[:-1] > 0) & (advantage_N[1:] > 0)
    assert abs(both.double().mean().item() - rate**2) < 0.02


def test_random_rewards_do_not_depend_on_how_groups_are_interleaved() -> None:
    algorithm = RandomReward(RandomRewardConfig())
    blocks = credit_N(algorithm, [0.0] * 12, [0] * 6 + [1] * 6)
    woven = credit_N(algorithm, [0.0] * 12, [0, 1] * 6)
    assert woven[0::2] + woven[1::2] == pytest.approx(blocks)


def test_random_rewards_leave_out_what_was_not_judged() -> None:
    batch = reference_batch()
    nan_N = batch.rewards_N.clone()
    nan_N[[0, 5]] = math.nan
    for given in (replace(batch, rewards_N=nan_N), replace(batch, accuracy_N=nan_N)):
        got = RandomReward(RandomRewardConfig()).advantages(given)
        assert got.advantages_NT[[0, 5]].abs().sum() == 0 and got.advantages_NT.abs().sum() > 0


# --- properties of every algorithm

VARIANTS: dict[str, Algorithm[Any]] = {
    "grpo-without-std": GRPO(GRPOConfig(scale_by_std=False)),
    "dapo-overlong": DAPO(DAPOConfig(overlong_buffer=4)),
    "rloo-kl": RLOO(RLOOConfig(kl_coef=0.05)),
    "reinforce_pp-baseline": ReinforcePP(ReinforcePPConfig(variant="baseline", kl_coef=0.05)),
    "remax-one-step": ReMax(ReMaxConfig(kl_coef=0.05, kl_credit="one-step", gamma=0.99)),
    "ppo-vapo": PPO(PPOConfig(length_adaptive_alpha=0.5, lam_value=1.0, positive_nll_coef=0.1)),
    "ppo-kl": PPO(PPOConfig(kl_coef=0.05, gamma=0.99, lam=0.95, whiten=False)),
    "passk-1": PassK(PassKConfig(k=1)),
    "passk-2": PassK(PassKConfig(k=2)),
    "clip_cov-wide": ClipCov(ClipCovConfig(share=0.1, cov_low=0.0)),
    "kl_cov-wide": KLCov(KLCovConfig(share=0.2)),
    "unlikeliness-strong": Unlikeliness(UnlikelinessConfig(rank_penalty=1.0)),
    "ds_grpo-strong": DSGRPO(DSGRPOConfig(smooth_right=0.5, smooth_wrong=0.5)),
    "difficulty-steep": Difficulty(DifficultyConfig(steepness=100.0)),
    "rs_grpo-bold": RSGRPO(RSGRPOConfig(risk=8.0)),
    "boundary_gate-marginal": BoundaryGate(BoundaryGateConfig(weight="marginal")),
    "gspo-wide": GSPO(GSPOConfig(clip_low=0.2, clip_high=0.2)),
}


@pytest.mark.parametrize("name", names("algorithms"))
def test_every_registered_algorithm_has_the_properties(name: str) -> None:
    found: Any = resolve("algorithms", name)
    check_algorithm(found(found.Config()))


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_have_the_properties(name: str) -> None:
    check_algorithm(VARIANTS[name])


@pytest.mark.parametrize("name", [n for n in names("algorithms") if n != "random_reward"])
def test_a_rollout_that_was_not_judged_is_as_good_as_absent(name: str) -> None:
    found: Any = resolve("algorithms", name)
    algorithm = found(found.Config())
    batch = replace(reference_batch(), values_NT=OLD, ref_logps_NT=NEW, baseline_N=torch.zeros(16).double(),
                    seen_N=torch.ones(16).double(), solved_N=(torch.tensor(INPUTS["index"]) % 2).double())
    missing = torch.zeros(16, dtype=torch.bool)
    missing[[2, 9, 15]] = True
    nan_N = batch.rewards_N.masked_fill(missing, math.nan)
    marked = algorithm.advantages(replace(batch, rewards_N=nan_N, accuracy_N=nan_N))
    present = {f: getattr(batch, f)[~missing] for f in (
        "accuracy_N", "rewards_N", "group_N", "mask_NT", "old_logps_NT", "ref_logps_NT", "values_NT", "baseline_N",
        "seen_N", "solved_N")}
    absent = algorithm.advantages(replace(batch, **present))
    close(marked.advantages_NT[~missing], absent.advantages_NT, 1e-12)
    for extra, x in absent.extras_NT.items():
        assert torch.equal(marked.extras_NT[extra][~missing], x)


def test_the_readme_s_algorithm_has_the_properties(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme = (Path(__file__).parents[2] / "docs/algorithms.md").read_text()
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "class BatchMean" in block]
    (tmp_path / "readme_algorithm.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    found: Any = resolve("algorithms", "readme_algorithm:BatchMean")
    check_algorithm(found(found.Config()))


class Base(Algorithm[LossSpec]):
    """A sound algorithm, to be broken in one way at a time."""

    Config = LossSpec

    def advantages(self, batch: RolloutBatch) -> Credit:
        return Credit(self.per_rollout(batch).nan_to_num(0.0).unsqueeze(1) * (batch.mask_NT != 0))

    def per_rollout(self, batch: RolloutBatch) -> torch.Tensor:
        return batch.accuracy_N - 0.5


def broken(**methods: Callable[..., Any]) -> Algorithm[Any]:
    return type("Broken", (Base,), methods)(LossSpec())


def in_place(_: Any, batch: RolloutBatch) -> torch.Tensor:
    batch.rewards_N[0] = 3.0
    return batch.accuracy_N - 0.5


def divided_by_the_sum(_: Any, batch: RolloutBatch) -> Credit:
    share_N = batch.accuracy_N.nan_to_num(0.0) / batch.accuracy_N.nansum()
    return Credit(torch.where(batch.mask_NT != 0, share_N.unsqueeze(1), 0.0))


def by_position(_: Any, batch: RolloutBatch) -> torch.Tensor:
    return batch.accuracy_N - batch.accuracy_N.nan_to_num(0.0).view(5, 4).mean(1).repeat_interleave(4)


def rows_that_were_not_judged(_: Any, batch: RolloutBatch) -> torch.Tensor:
    assert batch.values_NT is not None
    kept_NT = torch.where(batch.mask_NT != 0, batch.values_NT, 0.0)
    return batch.accuracy_N - kept_NT.sum() / batch.mask_NT.sum().clamp(min=1)


BROKEN: dict[str, tuple[Algorithm[Any], str]] = {
    "crash": (broken(per_rollout=lambda _, b: b.no_such), "advantages raises AttributeError on an ordinary batch"),
    "shape": (broken(advantages=lambda _, b: Credit(b.accuracy_N.nan_to_num(0.0).unsqueeze(1))),
              r"advantages_NT has shape \(20, 1\) on an ordinary batch"),
    "nan": (broken(advantages=divided_by_the_sum),
            "advantages_NT is not finite on a batch with all completions wrong"),
    "not masked": (broken(advantages=lambda _, b: Credit(torch.ones_like(b.mask_NT))), "is not zero where masked out"),
    "not judged": (broken(per_rollout=lambda _, b: b.accuracy_N.nan_to_num(0.0) - 0.5),
                   "is not zero where not judged"),
    "dtype": (broken(per_rollout=lambda _, b: b.accuracy_N.double() - 0.5), "is torch.float64 for torch.float32 input"),
    "global random numbers": (broken(per_rollout=lambda _, b: torch.rand_like(b.accuracy_N) + 0 * b.accuracy_N),
                              "the global random state was used"),
    "in place": (broken(per_rollout=in_place), r"advantages changed batch.rewards_N in place"),
    "groups by position": (broken(per_rollout=by_position),
                           "advantages_NT differs for a rollout when the rows of the batch are permuted"),
    "ids as numbers": (broken(per_rollout=lambda _, b: (b.accuracy_N - 0.5) * (b.group_N + 1)),
                       "advantages_NT differs with other names for the same groups"),
    "padding": (broken(per_rollout=lambda _, b: (b.accuracy_N - 0.5) / b.mask_NT.shape[1]),
                r"advantages_NT differs when masked-out columns of 5\.0 are added"),
    "rows that were not judged": (broken(per_rollout=rows_that_were_not_judged),
                                  "advantages_NT differs with other numbers in the rows that were not judged"),
    "groups of one": (broken(per_rollout=lambda _, b: b.accuracy_N * 0), "get no credit at all"),
    "loss over rows": (broken(token_loss=lambda _, t: -(t.advantages_BT - t.advantages_BT.mean()) * t.logps_BT),
                       "token_loss of a token depends on other rows"),
    "loss over padding": (broken(token_loss=lambda _, t: -t.logps_BT * t.logps_BT.sum(1, keepdim=True).detach()),
                          "changes with what stands in masked-out slots"),
    "loss without clamp": (
        broken(token_loss=lambda _, t: -t.advantages_BT * (t.logps_BT - t.old_logps_BT).nan_to_num(0.0).exp()),
        "is not finite at a log-ratio of 1000"),
    "loss without gradient": (broken(token_loss=lambda _, t: t.advantages_BT), "has no gradient"),
}


def test_a_sound_algorithm_passes() -> None:
    check_algorithm(Base(LossSpec()))


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_algorithm_is_told_what_it_lacks(name: str) -> None:
    algorithm, sentence = BROKEN[name]
    with pytest.raises(AssertionError, match=sentence) as caught:
        check_algorithm(algorithm)
    assert "\n" not in str(caught.value) and str(caught.value).startswith("Broken: ")


# --- what the trainer reads


def test_needs() -> None:
    pair = Needs(min_group_size=2)
    for algorithm in (GPG(GPGConfig()), MaxRL(MaxRLConfig()), CISPO(CISPOConfig()), GSPO(GSPOConfig()),
                      RandomReward(RandomRewardConfig()), PassK(PassKConfig(k=1))):
        assert algorithm.needs == pair
    for algorithm in (Unlikeliness(UnlikelinessConfig()), ClipCov(ClipCovConfig()), KLCov(KLCovConfig())):
        assert algorithm.needs == replace(pair, old_logps=True)
        with pytest.raises(ValueError, match="old_logps_NT"):
            algorithm.advantages(replace(reference_batch(), old_logps_NT=None))
    for algorithm in (NSR(NSRConfig()), PSR(PSRConfig()), WReinforce(WReinforceConfig())):
        assert algorithm.needs == Needs()
    assert PassK(PassKConfig()).needs == Needs(min_group_size=5)
    assert BoundaryGate(BoundaryGateConfig()).needs == replace(pair, history=True)
    for name in names("algorithms"):
        found: Any = resolve("algorithms", name)
        assert found(found.Config(kl_loss_coef=0.04)).needs.ref_logps, name


def test_loss_specs() -> None:
    for algorithm in (NSR(NSRConfig()), PassK(PassKConfig()), MaxRL(MaxRLConfig()), GPG(GPGConfig()),
                      KLCov(KLCovConfig()), ClipCov(ClipCovConfig()), RandomReward(RandomRewardConfig()),
                      Unlikeliness(UnlikelinessConfig())):
        assert algorithm.loss == LossSpec()
    assert CISPO(CISPOConfig()).loss == LossSpec(clip_low=1.0, clip_high=4.0)
    assert GSPO(GSPOConfig()).loss == LossSpec(clip_low=3e-4, clip_high=4e-4, aggregation="seq-mean-token-mean")
    assert ClipCovConfig().share == 2e-4 and (ClipCovConfig().cov_low, ClipCovConfig().cov_high) == (1.0, 5.0)
    assert KLCovConfig().share == 2e-3 and KLCovConfig().penalty_coef == 1.0
    assert UnlikelinessConfig().rank_penalty == 0.25 and RandomRewardConfig().rate == 0.5


@pytest.mark.parametrize(("make", "message"), [
    (lambda: NSRConfig(negative_weight=0), "not both 0"),
    (lambda: PSRConfig(negative_weight=-1), "expected two weights of 0 or more"),
    (lambda: PassKConfig(k=0), "k is 0, expected 1 or more"),
    (lambda: UnlikelinessConfig(rank_penalty=1.5), "rank_penalty is 1.5"),
    (lambda: RandomRewardConfig(rate=1.0), "rate is 1.0, expected 0 < rate < 1"),
    (lambda: ClipCovConfig(share=0), "share=0"),
    (lambda: ClipCovConfig(cov_low=5), "cov_low < cov_high"),
    (lambda: KLCovConfig(share=2), "share is 2"),
    (lambda: RSGRPOConfig(risk=0), "risk is 0"),
    (lambda: DSGRPOConfig(smooth_wrong=-1.0), "smooth_wrong=-1.0"),
    (lambda: KLCovConfig(clip_high=0.3), "kl_cov: clip_high=0.3 has no effect on this loss; remove it"),
    (lambda: GPGConfig(clip_low=0.1), "gpg: clip_low=0.1 has no effect"),
    (lambda: CISPOConfig(dual_clip=3.0), "cispo: dual_clip=3.0 has no effect"),
    (lambda: GSPOConfig(dual_clip=3.0), "gspo: dual_clip=3.0 has no effect"),
    (lambda: ClipCovConfig(dual_clip=3.0), "clip_cov: dual_clip=3.0 has no effect"),
])
def test_settings_that_mean_nothing_are_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()


@pytest.mark.parametrize("name", names("algorithms"))
def test_an_infinite_reward_is_refused(name: str) -> None:
    found: Any = resolve("algorithms", name)
    batch = replace(reference_batch(), values_NT=OLD, baseline_N=torch.zeros(16).double(),
                    seen_N=torch.ones(16).double(), solved_N=torch.zeros(16).double())
    with pytest.raises(UserError, match="rewards_N holds inf"):
        found(found.Config()).advantages(replace(batch, rewards_N=torch.full((16,), math.inf).double()))
