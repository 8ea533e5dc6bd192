"""Credit of the six algorithms: reference numbers, hand-computed ones, invariances and degenerate batches.

Run: python -m pytest tests/algorithms/test_the_six.py
"""

from __future__ import annotations

import json
import math
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from rlvr.algorithms.dapo import DAPO, DAPOConfig
from rlvr.algorithms.grpo import GRPO, GRPOConfig
from rlvr.algorithms.ppo import PPO, PPOConfig
from rlvr.algorithms.reinforce_pp import ReinforcePP, ReinforcePPConfig
from rlvr.algorithms.remax import ReMax, ReMaxConfig
from rlvr.algorithms.rloo import RLOO, RLOOConfig
from rlvr.interfaces import Algorithm, CriticSpec, LossSpec, Needs, RolloutBatch
from rlvr.types import UserError

VECTORS = Path(__file__).parents[1] / "files" / "vectors"
INPUTS = json.loads((VECTORS / "inputs.json").read_text())
REFERENCE = json.loads((VECTORS / "advantages.json").read_text())

GROUPED: dict[str, Algorithm[Any]] = {
    "grpo": GRPO(GRPOConfig()),
    "grpo-without-std": GRPO(GRPOConfig(scale_by_std=False)),
    "dapo": DAPO(DAPOConfig()),
    "dapo-overlong": DAPO(DAPOConfig(overlong_buffer=4)),
    "rloo": RLOO(RLOOConfig()),
    "rloo-kl": RLOO(RLOOConfig(kl_coef=0.05)),
    "reinforce_pp-baseline": ReinforcePP(ReinforcePPConfig(variant="baseline")),
    "reinforce_pp-baseline-kl": ReinforcePP(ReinforcePPConfig(variant="baseline", kl_coef=0.05)),
}
UNGROUPED: dict[str, Algorithm[Any]] = {
    "reinforce_pp": ReinforcePP(ReinforcePPConfig()),
    "reinforce_pp-kl-gamma": ReinforcePP(ReinforcePPConfig(kl_coef=0.05, gamma=0.99)),
    "remax": ReMax(ReMaxConfig()),
    "remax-kl-gamma": ReMax(ReMaxConfig(kl_coef=0.05, gamma=0.99)),
    "remax-one-step": ReMax(ReMaxConfig(kl_coef=0.05, kl_credit="one-step")),
    "ppo": PPO(PPOConfig()),
    "ppo-kl": PPO(PPOConfig(kl_coef=0.05, gamma=0.99, lam=0.95, lam_value=0.9)),
    "ppo-length-adaptive": PPO(PPOConfig(length_adaptive_alpha=0.5, lam_value=1.0, whiten=False)),
}
ALL = GROUPED | UNGROUPED
every_algorithm = pytest.mark.parametrize("name", ALL)


def tensor(x: Any) -> torch.Tensor:
    return torch.tensor(x, dtype=torch.float64)


def reference_batch() -> RolloutBatch:
    """Four prompts of four: mixed, all correct, all wrong, one correct; lengths 1 to 7."""
    return RolloutBatch(
        accuracy_N=tensor(INPUTS["rewards"]), rewards_N=tensor(INPUTS["rewards"]),
        group_N=torch.tensor(INPUTS["index"]), mask_NT=tensor(INPUTS["response_mask"]), max_length=8,
        old_logps_NT=tensor(INPUTS["old_log_prob"]), ref_logps_NT=tensor(INPUTS["ref_log_prob"]),
        values_NT=tensor(INPUTS["values"]), baseline_N=tensor(INPUTS["reward_baselines_greedy"]),
    )


def small_batch(rewards: list[float], groups: list[int] | None = None, **others: Any) -> RolloutBatch:
    """Rollouts of one token each; one group unless given."""
    n = len(rewards)
    batch = RolloutBatch(tensor(rewards), tensor(rewards), torch.tensor(groups or [0] * n), torch.ones(n, 1).double(),
                         baseline_N=torch.zeros(n).double(), values_NT=torch.zeros(n, 1).double(),
                         old_logps_NT=torch.zeros(n, 1).double(), ref_logps_NT=torch.zeros(n, 1).double())
    return replace(batch, **others)


def credit_N(algorithm: Algorithm[Any], rewards: list[float], groups: list[int] | None = None) -> list[float]:
    return algorithm.advantages(small_batch(rewards, groups)).advantages_NT[:, 0].tolist()


def select(batch: RolloutBatch, rows: torch.Tensor) -> RolloutBatch:
    return replace(batch, **{f: x[rows] for f, x in fields_of(batch).items() if isinstance(x, torch.Tensor)})


def fields_of(batch: RolloutBatch) -> dict[str, Any]:
    return {f.name: getattr(batch, f.name) for f in fields(batch)}


def close(actual: torch.Tensor, expected: torch.Tensor, rtol: float = 1e-9) -> None:
    assert actual.dtype == expected.dtype
    torch.testing.assert_close(actual, expected, rtol=rtol, atol=rtol * expected.abs().max().item() + 1e-15)


# --- reference numbers

CASES: dict[str, tuple[str, str, Algorithm[Any]]] = {
    "grpo": ("grpo", "advantages", GRPO(GRPOConfig())),
    "dr_grpo": ("dr_grpo", "advantages", GRPO(GRPOConfig(scale_by_std=False))),
    "rloo": ("rloo", "advantages", RLOO(RLOOConfig())),
    "rloo_kl": ("rloo_klreward", "advantages", RLOO(RLOOConfig(kl_coef=0.05))),
    "reinforce_pp": ("reinforce_plus_plus", "advantages", ReinforcePP(ReinforcePPConfig())),
    "reinforce_pp_gamma": ("reinforce_plus_plus_gamma099", "advantages", ReinforcePP(ReinforcePPConfig(gamma=0.99))),
    "reinforce_pp_kl": ("reinforce_plus_plus_klreward", "advantages", ReinforcePP(ReinforcePPConfig(kl_coef=0.05))),
    "reinforce_pp_baseline": ("reinforce_plus_plus_baseline", "advantages",
                              ReinforcePP(ReinforcePPConfig(variant="baseline"))),
    "remax": ("remax", "advantages", ReMax(ReMaxConfig())),
    "remax_kl": ("remax_klreward", "advantages", ReMax(ReMaxConfig(kl_coef=0.05))),
    "remax_authors": ("remax_author_code", "gamma_1.0", ReMax(ReMaxConfig(kl_coef=0.05, kl_credit="one-step"))),
    "remax_authors_gamma": ("remax_author_code", "gamma_0.99",
                            ReMax(ReMaxConfig(kl_coef=0.05, kl_credit="one-step", gamma=0.99))),
    "ppo": ("gae_lam10", "advantages", PPO(PPOConfig())),
    "ppo_raw": ("gae_lam10", "advantages_before_whiten", PPO(PPOConfig(whiten=False))),
    "ppo_lam": ("gae_lam095", "advantages", PPO(PPOConfig(lam=0.95))),
    "ppo_lam_raw": ("gae_lam095", "advantages_before_whiten", PPO(PPOConfig(lam=0.95, whiten=False))),
    "ppo_lam_kl": ("gae_lam095_klreward", "advantages", PPO(PPOConfig(lam=0.95, kl_coef=0.05))),
}


@pytest.mark.parametrize("case", CASES)
def test_credit_equals_the_reference(case: str) -> None:
    vector, output, algorithm = CASES[case]
    batch = reference_batch()
    expected = tensor(REFERENCE[vector]["outputs"][output]) * batch.mask_NT
    close(algorithm.advantages(batch).advantages_NT, expected)


@pytest.mark.parametrize(("vector", "config"), [
    ("gae_lam10", PPOConfig()), ("gae_lam095", PPOConfig(lam=0.95)),
    ("gae_lam095_klreward", PPOConfig(lam=0.95, kl_coef=0.05)),
])
def test_value_targets_equal_the_reference(vector: str, config: PPOConfig) -> None:
    batch = reference_batch()
    returns_NT = PPO(config).advantages(batch).returns_NT
    assert returns_NT is not None
    close(returns_NT, tensor(REFERENCE[vector]["outputs"]["returns"]) * batch.mask_NT)


@pytest.mark.parametrize(("output", "rtol", "config"), [
    ("vc_ppo", 1e-9, PPOConfig(lam=0.95, lam_value=1.0, whiten=False)),
    ("vc_ppo_whitened", 1e-9, PPOConfig(lam=0.95, lam_value=1.0)),
    # the reference computes the length-adaptive lambda in float32
    ("vapo_alpha_0_5", 1e-6, PPOConfig(length_adaptive_alpha=0.5, lam_value=1.0, whiten=False)),
    ("vapo_alpha_0_5_whitened", 1e-6, PPOConfig(length_adaptive_alpha=0.5, lam_value=1.0)),
])
def test_decoupled_gae_equals_the_reference(output: str, rtol: float, config: PPOConfig) -> None:
    batch = reference_batch()
    credit = PPO(config).advantages(batch)
    expected = REFERENCE["gae_decoupled_vapo"]["outputs"][output]
    assert credit.returns_NT is not None
    close(credit.advantages_NT, tensor(expected["advantages"]) * batch.mask_NT, rtol)
    close(credit.returns_NT, tensor(expected["returns"]) * batch.mask_NT, rtol)


@pytest.mark.parametrize(("output", "name"), [
    ("grpo", "grpo"), ("rloo", "rloo"), ("reinforce_plus_plus", "reinforce_pp"),
    ("reinforce_plus_plus_baseline", "reinforce_pp-baseline"), ("remax", "remax"),
])
def test_a_rollout_without_tokens_counts_in_its_group_as_in_the_reference(output: str, name: str) -> None:
    vectors = REFERENCE["edge_zero_length"]
    rewards_N = tensor(INPUTS["rewards"])
    rewards_N[3] = 0
    batch = replace(reference_batch(), mask_NT=tensor(vectors["inputs"]["response_mask"]), rewards_N=rewards_N,
                    accuracy_N=rewards_N)
    close(ALL[name].advantages(batch).advantages_NT, tensor(vectors["outputs"][output]) * batch.mask_NT)


def test_dapo_scores_equal_the_reference() -> None:
    # One group of 8 correct and 8 wrong rollouts: its advantages must be the standardised reference scores.
    vectors = REFERENCE["dapo_overlong_reward"]
    score_N = tensor(vectors["outputs"]["verl_correct"] + vectors["outputs"]["verl_wrong"])
    expected_N = (score_N - score_N.mean()) / (score_N.std() + 1e-6)
    lengths_N = torch.tensor(vectors["inputs"]["lengths"] * 2)
    batch = small_batch([1.0] * 8 + [0.0] * 8, lengths_N=lengths_N, max_length=20)
    algorithm = DAPO(DAPOConfig(overlong_buffer=4))
    close(algorithm.advantages(batch).advantages_NT[:, 0], expected_N)
    # without lengths_N and max_length both come from the mask
    mask_NT = (torch.arange(20) < lengths_N.unsqueeze(1)).double()
    close(algorithm.advantages(replace(batch, mask_NT=mask_NT, lengths_N=None, max_length=None)).advantages_NT[:, 0],
          expected_N)


# --- by hand


def test_grpo_by_hand() -> None:
    # G = 8, c = 1: p = 1/8, s = sqrt(1/8 * 7/8 * 8/7) = sqrt(1/8); A+ = 7/8 / s = 2.4749, A- = -1/8 / s = -0.3536
    assert credit_N(GRPO(GRPOConfig(std_eps=0)), [1.0] + [0.0] * 7) == pytest.approx([2.4748737] + [-0.3535534] * 7)
    for c in range(1, 8):
        p = c / 8
        s = math.sqrt(p * (1 - p) * 8 / 7)
        expected = [(1 - p) / (s + 0.1)] * c + [-p / (s + 0.1)] * (8 - c)
        assert credit_N(GRPO(GRPOConfig(std_eps=0.1)), [1.0] * c + [0.0] * (8 - c)) == pytest.approx(expected)


def test_rloo_by_hand() -> None:
    # 1 - (0 + 0 + 0) / 3 = 1;  0 - (1 + 0 + 0) / 3 = -1/3
    assert credit_N(RLOO(RLOOConfig()), [1, 0, 0, 0]) == pytest.approx([1, -1 / 3, -1 / 3, -1 / 3], abs=1e-15)
    # c of G: A+ = (G - c) / (G - 1), A- = -c / (G - 1); G = 5, c = 3: 0.5 and -0.75
    assert credit_N(RLOO(RLOOConfig()), [1, 0, 1, 0, 1]) == pytest.approx([0.5, -0.75, 0.5, -0.75, 0.5], abs=1e-15)


def test_reinforce_pp_by_hand() -> None:
    # Lengths 3 (correct) and 1 (wrong): tokens 1 1 1 0, mean 0.75, var (3 * 0.0625 + 0.5625) / 3 = 0.25,
    # so 0.25 / 0.5 = 0.5 and -0.75 / 0.5 = -1.5. Weighing rollouts instead of tokens would give +-0.707.
    batch = replace(small_batch([1, 0]), mask_NT=tensor([[1, 1, 1], [1, 0, 0]]))
    got = ReinforcePP(ReinforcePPConfig()).advantages(batch).advantages_NT
    assert got.tolist() == [pytest.approx([0.5] * 3, rel=1e-7), pytest.approx([-1.5, 0, 0], rel=1e-7)]
    # One success in 2048 rollouts: 1 / sqrt(1 / 2048) = 45.25
    assert credit_N(ReinforcePP(ReinforcePPConfig()), [1.0] + [0.0] * 2047)[0] == pytest.approx(45.23, abs=0.02)


def test_reinforce_pp_baseline_by_hand() -> None:
    # Centred per group: 0.5 -0.5 | 0 0, mean 0, var 0.5 / 3; so +-0.5 / sqrt(1 / 6) = +-1.2247 and 0.
    got = credit_N(ReinforcePP(ReinforcePPConfig(variant="baseline")), [1, 0, 1, 1], [0, 0, 1, 1])
    assert got == pytest.approx([1.224745, -1.224745, 0, 0], rel=1e-6)


def test_remax_by_hand() -> None:
    # Greedy right: 1 - 1 = 0 and 0 - 1 = -1; greedy wrong: 1 and 0; greedy not judged: 0.
    batch = small_batch([1, 0, 1, 0, 1], baseline_N=tensor([1, 1, 0, 0, math.nan]))
    assert ReMax(ReMaxConfig()).advantages(batch).advantages_NT[:, 0].tolist() == [0, -1, 1, 0, 0]


def test_gae_by_hand() -> None:
    # V = 0.5, 0.25, R = 1: delta = 0.25 - 0.5 = -0.25 and 1 - 0.25 = 0.75.
    # lam 1: A = 0.5, 0.75, returns 1, 1.  lam 0.5: A = -0.25 + 0.5 * 0.75 = 0.125, 0.75.
    # gamma 0.5, lam 1: delta_0 = 0.125 - 0.5 = -0.375, A = -0.375 + 0.375 = 0, 0.75.
    # The second row is the same with a tool token, whose value is garbage, in between; padding holds garbage too.
    batch = replace(small_batch([1, 1]), mask_NT=tensor([[1, 1, 0, 0], [1, 0, 1, 0]]),
                    values_NT=tensor([[0.5, 0.25, 9, math.nan], [0.5, math.nan, 0.25, 9]]))
    for config, first, target in ((PPOConfig(whiten=False), 0.5, 1.0),
                                  (PPOConfig(whiten=False, lam=0.5), 0.125, 0.625),
                                  (PPOConfig(whiten=False, lam=0.5, lam_value=1.0), 0.125, 1.0),
                                  (PPOConfig(whiten=False, gamma=0.5), 0.0, 0.5)):
        credit = PPO(config).advantages(batch)
        assert credit.advantages_NT.tolist() == [[first, 0.75, 0, 0], [first, 0, 0.75, 0]]
        assert credit.returns_NT is not None
        assert credit.returns_NT.tolist() == [[target, 1, 0, 0], [target, 0, 1, 0]]


def test_length_adaptive_lambda_by_hand() -> None:
    # alpha 0.5: L = 2 gives lam 1 - 1/max(1, 1) = 0, so A is delta; L = 4 gives lam 0.5. alpha 0.25: lam 0 for both.
    batch = small_batch([1, 1], mask_NT=tensor([[1, 1, 0, 0], [1, 1, 1, 1]]), values_NT=torch.zeros(2, 4).double())
    got = PPO(PPOConfig(length_adaptive_alpha=0.5, whiten=False)).advantages(batch).advantages_NT
    assert got.tolist() == [[0, 1, 0, 0], [0.125, 0.25, 0.5, 1]]
    got = PPO(PPOConfig(length_adaptive_alpha=0.25, whiten=False)).advantages(batch).advantages_NT
    assert got.tolist() == [[0, 1, 0, 0], [0, 0, 0, 1]]


def test_kl_in_the_reward_by_hand() -> None:
    # k1 = 1, 2 on two tokens, coefficient 0.1, reward 1, greedy 0.
    batch = replace(small_batch([1, 0]), mask_NT=tensor([[1, 1], [1, 1]]), old_logps_NT=tensor([[1, 2], [0, 0]]),
                    ref_logps_NT=tensor([[0, 0], [0, 0]]), values_NT=torch.zeros(2, 2).double())
    # to go: 1 - 0.3, 1 - 0.2; one step: 1 - 0.1, 1 - 0.2; sequence: 0.7 - 0 and 0 - 0.7
    to_go = [[pytest.approx(0.7), pytest.approx(0.8)], [0, 0]]
    assert ReMax(ReMaxConfig(kl_coef=0.1)).advantages(batch).advantages_NT.tolist() == to_go
    assert PPO(PPOConfig(kl_coef=0.1, whiten=False)).advantages(batch).advantages_NT.tolist() == to_go
    assert ReMax(ReMaxConfig(kl_coef=0.1, kl_credit="one-step")).advantages(batch).advantages_NT.tolist() == [
        [pytest.approx(0.9), pytest.approx(0.8)], [0, 0]]
    assert RLOO(RLOOConfig(kl_coef=0.1)).advantages(batch).advantages_NT.tolist() == [
        pytest.approx([0.7, 0.7]), pytest.approx([-0.7, -0.7])]


def test_dapo_extras_and_penalty_by_hand() -> None:
    # Correct with a format bonus of 0.5 at the limit: 1 + 0.5 - 1 = 0.5; wrong and short: -1. Mean -0.25, std 1.06066.
    # With scores 0/1 the first would be 0.5 too but the second 0: the same advantages, hence the third, correct: 1.
    batch = small_batch([1.5, 0, 1], accuracy_N=tensor([1, 0, 1]), lengths_N=torch.tensor([10, 1, 1]), max_length=10)
    score_N = tensor([0.5, -1, 1])
    got = DAPO(DAPOConfig(overlong_buffer=5)).advantages(batch).advantages_NT[:, 0]
    close(got, (score_N - score_N.mean()) / (score_N.std() + 1e-6))
    half_N = tensor([1.0, -1, 1])  # half the penalty: 1 + 0.5 - 0.5
    got = DAPO(DAPOConfig(overlong_buffer=5, overlong_penalty=0.5)).advantages(batch).advantages_NT[:, 0]
    close(got, (half_N - half_N.mean()) / (half_N.std() + 1e-6))
    beyond = replace(batch, lengths_N=torch.tensor([13, 1, 1]))  # tool output may carry a completion past the limit
    full = DAPO(DAPOConfig(overlong_buffer=5)).advantages(batch).advantages_NT
    close(DAPO(DAPOConfig(overlong_buffer=5)).advantages(beyond).advantages_NT, full)


# --- degenerate batches


@pytest.mark.parametrize("name", GROUPED)
@pytest.mark.parametrize("rewards", [[0.0] * 8, [1.0] * 8, [0.9] * 8, [0.9] * 8 + [0.1] * 6])
def test_groups_of_equal_rewards_get_exactly_zero(name: str, rewards: list[float]) -> None:
    # Bug: the float mean of eight times 0.9 is not 0.9, and rounding noise is then divided by eps.
    groups = [int(r == 0.1) for r in rewards]
    assert credit_N(ALL[name], rewards, groups) == [0] * len(rewards)
    assert credit_N(GRPO(GRPOConfig(std_eps=1e-9)), rewards, groups) == [0] * len(rewards)
    assert credit_N(GRPO(GRPOConfig(std_eps=0)), rewards, groups) == [0] * len(rewards)


def test_equal_rewards_without_groups() -> None:
    for rewards in ([0.0] * 8, [1.0] * 8, [0.9] * 8):
        assert credit_N(UNGROUPED["reinforce_pp"], rewards) == pytest.approx([0] * 8, abs=1e-10)
        assert credit_N(UNGROUPED["ppo"], rewards) == pytest.approx([0] * 8, abs=1e-10)


@pytest.mark.parametrize("name", GROUPED)
def test_groups_of_one_judged_rollout_get_zero(name: str) -> None:
    assert credit_N(ALL[name], [1, 0, 1], [0, 1, 2]) == [0, 0, 0]
    assert credit_N(ALL[name], [math.nan, 1, math.nan], [0, 0, 0]) == [0, 0, 0]
    assert ALL[name].needs.min_group_size == 2


@every_algorithm
def test_rollouts_that_were_not_judged_change_nothing(name: str) -> None:
    # Bug: NaN counted as 0, or its tokens in mean and variance. Their log-probabilities and values are garbage.
    batch = reference_batch()
    rows = torch.tensor([2, 5, 9, 13])
    dropped = torch.zeros(16, dtype=torch.bool)
    dropped[rows] = True
    nan_N = batch.rewards_N.masked_fill(dropped, math.nan)
    assert batch.values_NT is not None and batch.old_logps_NT is not None
    marked = replace(batch, rewards_N=nan_N, accuracy_N=nan_N,
                     values_NT=batch.values_NT.masked_fill(dropped.unsqueeze(1), 99.0))
    credit = ALL[name].advantages(marked)
    without = ALL[name].advantages(select(batch, ~dropped))
    torch.testing.assert_close(credit.advantages_NT[~dropped], without.advantages_NT, rtol=1e-12, atol=1e-14)
    assert credit.advantages_NT[dropped].abs().sum() == 0
    if credit.returns_NT is not None:
        assert without.returns_NT is not None and credit.loss_mask_NT is not None
        torch.testing.assert_close(credit.returns_NT[~dropped], without.returns_NT, rtol=1e-12, atol=1e-14)
        assert credit.returns_NT[dropped].abs().sum() == 0
        # a critic must not learn from a target of 0
        assert torch.equal(credit.loss_mask_NT, batch.mask_NT.masked_fill(dropped.unsqueeze(1), 0))


@every_algorithm
def test_nothing_judged_and_nothing_generated(name: str) -> None:
    batch = reference_batch()
    for empty in (replace(batch, rewards_N=torch.full_like(batch.rewards_N, math.nan)),
                  replace(batch, accuracy_N=torch.full_like(batch.rewards_N, math.nan)),
                  replace(batch, mask_NT=torch.zeros_like(batch.mask_NT))):
        assert ALL[name].advantages(empty).advantages_NT.tolist() == [[0.0] * 7] * 16


def test_an_all_wrong_batch() -> None:
    batch = replace(reference_batch(), rewards_N=torch.zeros(16).double(), accuracy_N=torch.zeros(16).double())
    for name in ("grpo", "grpo-without-std", "dapo", "rloo", "reinforce_pp", "reinforce_pp-baseline"):
        assert ALL[name].advantages(batch).advantages_NT.abs().sum() == 0
    # ReMax: -1 on every token of a prompt whose greedy completion is right (the prompts 0 and 3), else 0
    sign_N1 = tensor([-1.0] * 4 + [0.0] * 8 + [-1.0] * 4).unsqueeze(1)
    assert torch.equal(ALL["remax"].advantages(batch).advantages_NT, sign_N1 * batch.mask_NT)


@every_algorithm
def test_an_infinite_reward_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="rewards_N holds inf"):
        ALL[name].advantages(small_batch([math.inf, 0]))


# --- invariances


@every_algorithm
def test_permuting_rollouts_permutes_their_credit(name: str) -> None:
    # Bug: groups by position (reshape) instead of by id; ids need not be dense either.
    batch = reference_batch()
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    permuted = select(replace(batch, group_N=batch.group_N * 1000 - 7), order)
    close(ALL[name].advantages(permuted).advantages_NT, ALL[name].advantages(batch).advantages_NT[order], 1e-12)


@every_algorithm
@pytest.mark.parametrize("fill", [5.0, math.nan, math.inf])
def test_padding_and_tool_tokens_change_nothing(name: str, fill: float) -> None:
    # Columns of garbage, masked out, are put in front, in the middle and behind.
    batch = replace(reference_batch(), lengths_N=torch.tensor(INPUTS["response_mask"]).sum(1))
    columns = torch.tensor([1, 2, 5, 6, 8, 9, 10])

    def widen(x_NT: torch.Tensor | None, fill: float) -> torch.Tensor:
        assert x_NT is not None
        wide_NT = torch.full((16, 12), fill, dtype=x_NT.dtype)
        wide_NT[:, columns] = x_NT
        return wide_NT

    wide = replace(batch, mask_NT=widen(batch.mask_NT, 0), old_logps_NT=widen(batch.old_logps_NT, fill),
                   ref_logps_NT=widen(batch.ref_logps_NT, fill), values_NT=widen(batch.values_NT, fill))
    narrow, got = ALL[name].advantages(batch), ALL[name].advantages(wide)
    close(got.advantages_NT, widen(narrow.advantages_NT, 0), 1e-12)
    if narrow.returns_NT is not None and got.returns_NT is not None:
        close(got.returns_NT, widen(narrow.returns_NT, 0), 1e-12)


@every_algorithm
def test_a_prompt_without_tokens_changes_no_other_prompt(name: str) -> None:
    batch = reference_batch()
    more = select(batch, torch.cat([torch.arange(16), torch.tensor([0, 1])]))
    more.group_N[16:] = 99
    more.mask_NT[16:] = 0
    got = ALL[name].advantages(more).advantages_NT
    close(got[:16], ALL[name].advantages(batch).advantages_NT, 1e-12)
    assert got[16:].abs().sum() == 0


@pytest.mark.parametrize("name", [*GROUPED, "reinforce_pp"])
def test_a_constant_added_to_all_rewards_changes_nothing(name: str) -> None:
    batch = reference_batch()
    shifted = replace(batch, rewards_N=batch.rewards_N + 0.25)
    close(ALL[name].advantages(shifted).advantages_NT, ALL[name].advantages(batch).advantages_NT, 1e-12)


@pytest.mark.parametrize(("name", "factor"), [
    ("grpo", 1), ("reinforce_pp", 1), ("reinforce_pp-baseline", 1), ("grpo-without-std", 2), ("rloo", 2), ("remax", 2),
])
def test_rewards_of_plus_minus_one_double_what_is_not_normalised(name: str, factor: int) -> None:
    batch = reference_batch()
    assert batch.baseline_N is not None
    signed = replace(batch, rewards_N=2 * batch.rewards_N - 1, baseline_N=2 * batch.baseline_N - 1)
    close(ALL[name].advantages(signed).advantages_NT, factor * ALL[name].advantages(batch).advantages_NT, 2e-6)


@every_algorithm
def test_no_side_effects_and_the_dtype_of_the_input(name: str) -> None:
    double = reference_batch()
    before = reference_batch()
    expected = ALL[name].advantages(double).advantages_NT
    tensors = {f: x for f, x in fields_of(double).items() if isinstance(x, torch.Tensor)}
    assert all(torch.equal(x, getattr(before, f)) for f, x in tensors.items())
    single = replace(double, **{f: x.float() for f, x in tensors.items() if x.is_floating_point()})
    for mask_NT in (single.mask_NT, single.mask_NT.bool(), single.mask_NT.long()):
        got = ALL[name].advantages(replace(single, mask_NT=mask_NT)).advantages_NT
        close(got, expected.float(), 1e-5)


# --- what the trainer reads


def test_needs() -> None:
    pair = Needs(min_group_size=2)
    assert GRPO(GRPOConfig()).needs == pair
    assert GRPO(GRPOConfig(kl_loss_coef=0.04)).needs == replace(pair, ref_logps=True)
    assert DAPO(DAPOConfig()).needs == replace(pair, group_filter=True)
    assert DAPO(DAPOConfig(dynamic_sampling=False)).needs == pair
    assert RLOO(RLOOConfig(kl_coef=0.1)).needs == replace(pair, ref_logps=True, old_logps=True)
    assert ReinforcePP(ReinforcePPConfig()).needs == Needs()
    assert ReinforcePP(ReinforcePPConfig(variant="baseline", kl_loss_coef=0.1)).needs == replace(pair, ref_logps=True)
    assert ReMax(ReMaxConfig(kl_coef=0.1)).needs == Needs(ref_logps=True, old_logps=True, greedy_baseline=True)
    assert PPO(PPOConfig()).needs == Needs(values=True)
    assert PPO(PPOConfig(kl_coef=0.1)).needs == Needs(values=True, ref_logps=True, old_logps=True)


def test_loss_specs() -> None:
    default = LossSpec(clip_low=0.2, clip_high=0.2, aggregation="token-mean", kl_loss_coef=0, entropy_coef=0)
    for name in ("grpo", "rloo-kl", "reinforce_pp", "remax"):
        assert ALL[name].loss == default
    assert PPO(PPOConfig()).loss == default
    assert PPO(PPOConfig()).critic == CriticSpec(value_clip=0.5)
    assert DAPO(DAPOConfig()).loss == replace(default, clip_high=0.28)
    config = GRPOConfig(clip_low=0.1, clip_high=0.3, dual_clip=3.0, aggregation="seq-mean-token-mean",
                        kl_loss_coef=0.04, kl_loss_kind="k2", entropy_coef=0.001)
    assert GRPO(config).loss == LossSpec(clip_low=0.1, clip_high=0.3, dual_clip=3.0, aggregation="seq-mean-token-mean",
                                         kl_loss_coef=0.04, kl_loss_kind="k2", entropy_coef=0.001)


def test_missing_tensors_and_bad_settings_are_refused_with_their_name() -> None:
    bare = replace(small_batch([1, 0]), values_NT=None, baseline_N=None, ref_logps_NT=None)
    for algorithm, missing in ((PPO(PPOConfig()), "values_NT"), (ReMax(ReMaxConfig()), "baseline_N"),
                               (RLOO(RLOOConfig(kl_coef=0.1)), "ref_logps_NT")):
        with pytest.raises(ValueError, match=missing):
            algorithm.advantages(bare)
    with pytest.raises(UserError, match="variant is 'bass'"):
        ReinforcePPConfig(variant="bass")  # pyright: ignore[reportArgumentType]
    with pytest.raises(UserError, match="has no effect with variant 'baseline'"):
        ReinforcePPConfig(variant="baseline", gamma=0.9)
    with pytest.raises(UserError, match="kl_credit is 'all'"):
        ReMaxConfig(kl_credit="all")  # pyright: ignore[reportArgumentType]
