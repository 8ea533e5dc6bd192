"""Form rewards: what earns them, what does not, and that nothing but the reward ever sees them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from rlvr.algorithms.dapo import DAPO, DAPOConfig
from rlvr.algorithms.grpo import GRPOConfig
from rlvr.config.recipe import load_recipe, resolved
from rlvr.rewards.format import Boxed, Length, Think, ThinkAnswer
from rlvr.training.arguments import shaped_rewards
from rlvr.training.reward_functions import ShapedReward, shaped_reward
from rlvr.types import Problem, Reason, UserError, Verdict
from tests.training.test_trainer import Recorder, make

GOOD = "<think>3 + 4 = 7</think> <answer>7</answer>"


@pytest.mark.parametrize(
    ("text", "score"),
    [
        (GOOD, 1.0),
        (f"\n{GOOD}\n", 1.0),
        ("<think></think><answer>7</answer>", 0.0),  # nothing thought
        ("<think> \n</think><answer>7</answer>", 0.0),
        ("<think>a</think><answer> </answer>", 0.0),  # nothing answered
        (GOOD + " so 7", 0.0),  # junk after the last tag
        ("Sure! " + GOOD, 0.0),
        ("<think>a</think> hence <answer>7</answer>", 0.0),
        (GOOD + "<answer>8</answer>", 0.0),  # a second answer
        ("<think>a<think>b</think><answer>7</answer>", 0.0),
        ("<answer>7</answer><think>a</think>", 0.0),  # the wrong order
        ("<think>a<answer></think>7</answer>", 0.0),
        ("<think>\u200b</think><answer>7</answer>", 0.0),  # a zero-width space is nothing thought
        ("<think>a</think><answer>\ufeff\u2060</answer>", 0.0),
        ("<think>\u2800</think><answer>7</answer>", 0.0),  # the empty Braille pattern
        (f"\u200b{GOOD}\u200b", 1.0),
        ("<think>a</think><answer>7", 0.0),
        ("", 0.0),
    ],
)
def test_think_answer(text: str, score: float) -> None:
    assert ThinkAnswer()(text, 1) == score


def test_a_prompt_that_opened_the_thinking() -> None:
    rest = GOOD.removeprefix("<think>")
    assert ThinkAnswer(prefilled=True)(rest, 1) == 1.0
    assert ThinkAnswer(prefilled=True)(GOOD, 1) == 0.0  # opened twice
    assert ThinkAnswer()(rest, 1) == 0.0
    assert Think(prefilled=True)("a</think>7", 1) == 1.0


@pytest.mark.parametrize(
    ("text", "score"),
    [("<think>a</think> 7", 1.0), ("<think>a</think>", 0.0), ("<think></think>7", 0.0), ("a<think>b</think>7", 0.0),
     ("<think>a</think>7<think>b</think>8", 0.0), ("7", 0.0), ("<think>a</think>\u200b", 0.0)],
)
def test_think(text: str, score: float) -> None:
    assert Think()(text, 1) == score


@pytest.mark.parametrize(
    ("text", "score"),
    [(r"so \boxed{7}", 1.0), (r"<think>\boxed{1}</think>\boxed{7}", 1.0), (r"\boxed{6} or \boxed{7}", 0.0),
     (r"\boxed{ }", 0.0), ("\\boxed{\u200b}", 0.0), (r"\boxed{7", 0.0), ("7", 0.0), (r"<think>\boxed{7}</think>7", 0.0),
     (r"<think>\boxed{7}", 0.0)],
)
def test_boxed(text: str, score: float) -> None:
    assert Boxed()(text, 1) == score


def test_length_falls_in_a_straight_line() -> None:
    term = Length(free=100, worst=300)
    assert [term("", n) for n in (0, 100, 150, 200, 300, 9000)] == [0, 0, -0.25, -0.5, -1, -1]
    with pytest.raises(ValueError, match="expected 0 <= free < worst"):
        Length(free=3, worst=3)


def test_shaped_reward_by_hand() -> None:
    # columns: accuracy, a gated bonus of weight .1, an ungated penalty of weight .2
    rewards_NF = torch.tensor([[1.0, 1.0, -0.5], [0.0, 1.0, -0.5], [torch.nan, 1.0, 0.0], [1.0, 0.0, 0.0]])
    terms = [ShapedReward("a", lambda text, n: 0.0, 0.1), ShapedReward("b", lambda text, n: 0.0, 0.2, False)]
    total = shaped_reward(rewards_NF, terms)
    assert total[:2].tolist() == pytest.approx([1 + 0.1 - 0.1, -0.1])
    assert total[2].isnan() and total[3] == 1.0


class SecondIsRight:
    """Correct are the second and fourth rollout of every group of four, whatever they say."""

    def judge(self, problems: Sequence[Problem], texts: Sequence[str]) -> list[Verdict]:
        return [Verdict(True, Reason.IDENTICAL) if i % 2 else Verdict(False, Reason.WRONG_ANSWER)
                for i in range(len(texts))]


class AllWrong:
    def judge(self, problems: Sequence[Problem], texts: Sequence[str]) -> list[Verdict]:
        return [Verdict(False, Reason.WRONG_ANSWER)] * len(texts)


def rollouts(prompts: list[Any], trainer: Any) -> dict[str, Any]:
    """Of every four the first is long (4 tokens), the others have 2."""
    eos = trainer.processing_class.eos_token_id
    return {
        "prompt_ids": [trainer.processing_class(p)["input_ids"] for p in prompts],
        "completion_ids": [[5, 6, 7, eos] if i % 4 == 0 else [5, eos] for i in range(len(prompts))],
        "logprobs": None,
    }


def test_terms_shape_the_reward_and_leave_the_accuracy_alone(tmp_path: Path) -> None:
    # "5" has one character: the ungated length term takes 0.4 * 0.5 from rollout 0, the gated one adds 0.1 to 1 and 3.
    terms = [ShapedReward("short", lambda text, n: float(n == 2), 0.1),
             ShapedReward("length", Length(2, 6), 0.4, False),
             ShapedReward("idle", lambda text, n: 1.0, 0.0)]
    algorithm = Recorder(GRPOConfig())
    trainer = make(tmp_path, algorithm, judge=SecondIsRight(), rollout_func=rollouts, max_steps=1, shaped_rewards=terms)
    trainer.train()
    (batch,) = algorithm.batches
    assert batch.accuracy_N.tolist() == [0, 1, 0, 1] * 4
    assert batch.rewards_N.tolist() == pytest.approx([-0.2, 1.1, 0.0, 1.1] * 4)
    log = trainer.state.log_history[0]
    assert log["train/accuracy"] == 0.5 and log["train/reward"] == pytest.approx(0.5)
    assert log["train/short_reward"] == 0.75 and log["train/idle_reward"] == 1.0
    assert log["train/length_reward"] == pytest.approx(-0.5 / 4)


def test_dynamic_sampling_reads_the_accuracy_alone(tmp_path: Path) -> None:
    # All are wrong and the shaped rewards differ within every group: no group is mixed.
    terms = [ShapedReward("length", Length(2, 6), 0.4, only_if_correct=False)]
    algorithm = DAPO(DAPOConfig(max_num_gen_batches=1))
    trainer = make(tmp_path, algorithm, judge=AllWrong(), rollout_func=rollouts, max_steps=1, shaped_rewards=terms)
    with pytest.raises(UserError, match="gave 0 mixed groups"):
        trainer.train()


LAB = "recipes/quickstart/lab_grpo.yaml"


def test_recipe_declares_the_terms() -> None:
    recipe = load_recipe(LAB, ["train.rewards.think_answer.weight=0.1", "train.rewards.think_answer.prefilled=true",
                               "train.rewards.length.free=8", "train.rewards.length.worst=16"])
    terms = shaped_rewards(recipe.train.rewards)
    declared = [(t.name, t.weight, t.only_if_correct) for t in terms]
    assert declared == [("think_answer", 0.1, True), ("length", 0.0, True)]
    assert terms[0].score(GOOD.removeprefix("<think>"), 1) == 1.0 and terms[1].score("", 12) == -0.5
    assert resolved(load_recipe(LAB))["train"]["rewards"] == dict.fromkeys(("think_answer", "think", "boxed", "length"))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["train.rewards.boxed.weight=1.0"], "train.rewards: found 1.0 .*less than 1"),
        (["train.rewards.boxed.weight=-0.1"], "train.rewards.boxed.weight: found -0.1"),
        (["train.rewards.box.weight=0.1"], "train.rewards.box: unknown key; did you mean 'boxed'"),
        (["train.rewards.boxed.prefilled=true"], "train.rewards.boxed.prefilled: unknown key"),
        (["train.rewards.length.free=9", "train.rewards.length.worst=9"], "train.rewards.length.worst: found 9"),
        (["train.rewards.length.free=9"], "train.rewards.length.worst .* missing"),
    ],
)
def test_recipe_refuses(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_recipe(LAB, overrides)
