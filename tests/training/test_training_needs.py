"""What the trainer computes for algorithms that need more than rollouts: critic, greedy pass, dynamic sampling, KL,
entropy target, likelihood term, a token loss of their own.

Run: python -m pytest tests/training/test_training_needs.py
"""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from rlvr.algorithms.boundary_gate import BoundaryGate, BoundaryGateConfig
from rlvr.algorithms.dapo import DAPO, DAPOConfig
from rlvr.algorithms.grpo import GRPO, GRPOConfig
from rlvr.algorithms.ppo import PPO, PPOConfig
from rlvr.algorithms.reinforce_pp import ReinforcePP, ReinforcePPConfig
from rlvr.algorithms.remax import ReMax, ReMaxConfig
from rlvr.interfaces import Algorithm, Credit, GroupFilter, RolloutBatch, TokenBatch
from rlvr.lab.model import build_tokenizer
from rlvr.models.weights import weights_hash
from rlvr.training.critic import attach_critic, explained_variance, is_critic, read_values
from rlvr.training.dynamic_sampling import Group, Refill, draw_mixed_groups
from rlvr.training.loss import policy_loss
from rlvr.training.rollouts import Rollout
from rlvr.training.step import STATE_FILE, Step
from rlvr.training.trainer import RLVRTrainer
from rlvr.training.trl_settings import accumulate_in_float32
from rlvr.types import Problem, Reason, UserError, Verdict
from tests.support.tiny import ParityJudge, config, max_difference, tiny_model, train_problems


def make(folder: Path, algorithm: Algorithm[Any], model: Any = None, judge: Any = None, **changes: Any) -> RLVRTrainer:
    own = {k: changes.pop(k) for k in ("seed", "truncated", "rollout_func", "peft_config") if k in changes}
    return RLVRTrainer(
        model or tiny_model(), algorithm=algorithm, problems=train_problems(), judge=judge or ParityJudge(),
        args=config(folder, **changes), processing_class=build_tokenizer(), **own,
    )


def policy_of(model: Any) -> dict[str, torch.Tensor]:
    return {n: t.clone() for n, t in model.state_dict().items() if not is_critic(n)}


def critic_of(model: Any) -> dict[str, torch.Tensor]:
    return {n: t.clone() for n, t in model.state_dict().items() if is_critic(n)}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def logged(trainer: Any, key: str) -> list[float]:
    return [row[key] for row in trainer.state.log_history if key in row]


# --- PPO's critic


def test_the_first_value_loss_is_half_the_mean_return(tmp_path: Path) -> None:
    # The head starts at 0 and every return is the reward, so the loss is 0.5 * mean of R over tokens.
    trainer = make(tmp_path, PPO(PPOConfig(value_clip=None)), max_steps=1)
    trainer.train()
    slices = trainer._buffered_inputs
    assert slices is not None
    returns = torch.cat([s["returns"][s["loss_mask"].bool()] for s in slices])
    assert set(returns.tolist()) == {0.0, 1.0}
    assert logged(trainer, "train/value_loss") == pytest.approx([0.5 * returns.mean().item()], rel=1e-6)
    assert logged(trainer, "train/explained_variance") == [0.0]


def test_the_critic_learns_the_return(tmp_path: Path) -> None:
    # All rollouts right: V must go to 1, whatever the policy does.
    class AllRight(ParityJudge):
        def judge(self, problems: Sequence[Problem], texts: Sequence[str]) -> list[Verdict]:
            return [Verdict(True, Reason.IDENTICAL)] * len(texts)

    algorithm = PPO(PPOConfig(critic_learning_rate=3e-2, value_clip=None))
    trainer = make(tmp_path, algorithm, judge=AllRight(), max_steps=25, learning_rate=0.0)
    trainer.train()
    losses = logged(trainer, "train/value_loss")
    assert losses[0] == pytest.approx(0.5) and losses[-1] < 0.02


def test_policy_step_of_ppo_without_values_is_the_reward_weighted_one(tmp_path: Path) -> None:
    # First step: V = 0, so the whitened advantage is that of REINFORCE++ on the same rollouts, bit for bit.
    ppo, plain = tiny_model(), tiny_model()
    make(tmp_path / "a", PPO(PPOConfig()), ppo, max_steps=1).train()
    make(tmp_path / "b", ReinforcePP(ReinforcePPConfig()), plain, max_steps=1).train()
    assert max_difference(plain, tiny_model()) > 1e-4
    difference = max((policy_of(ppo)[k] - v).abs().max().item() for k, v in policy_of(plain).items())
    assert difference <= 1e-6


def test_critic_groups_have_their_own_rate_and_schedule(tmp_path: Path) -> None:
    algorithm = PPO(PPOConfig(critic_learning_rate=0.5, critic_lr_warmup_steps=2, critic_pretraining_steps=1))
    trainer = make(tmp_path, algorithm, max_steps=3, learning_rate=0.25)
    trainer.create_optimizer_and_scheduler(3)
    rates = []
    for _ in range(3):
        groups = trainer.optimizer.param_groups
        rates.append([{g["lr"] for g in groups if bool(g.get("critic")) is side} for side in (False, True)])
        trainer.optimizer.step()
        trainer.lr_scheduler.step()  # pyright: ignore
    assert rates == [[{0.0}, {0.25}], [{0.25}, {0.5}], [{0.25}, {0.5}]]
    names = {id(p): n for n, p in trainer.model.named_parameters()}
    for group in trainer.optimizer.param_groups:
        assert {is_critic(names[id(p)]) for p in group["params"]} == {bool(group.get("critic"))}
    assert sum(len(g["params"]) for g in trainer.optimizer.param_groups) == len(names)


def test_value_pretraining_moves_the_critic_alone(tmp_path: Path) -> None:
    algorithm = PPO(PPOConfig(critic_learning_rate=1e-2, critic_pretraining_steps=2))
    trainer = make(tmp_path, algorithm, max_steps=2)
    policy, critic = policy_of(trainer.model), critic_of(trainer.model)
    trainer.train()
    assert same(policy_of(trainer.model), policy) and not same(critic_of(trainer.model), critic)
    moments = trainer.optimizer.state
    assert all(not moments[p] for n, p in trainer.model.named_parameters() if not is_critic(n))


def test_more_critic_updates_change_the_critic_and_not_the_policy(tmp_path: Path) -> None:
    models = {}
    for updates in (1, 3):
        algorithm = PPO(PPOConfig(critic_learning_rate=1e-2, critic_updates_per_rollout=updates))
        models[updates] = tiny_model()
        make(tmp_path / str(updates), algorithm, models[updates], max_steps=1).train()
    assert same(policy_of(models[1]), policy_of(models[3]))
    start = critic_of(models[1])["critic_head.bias"]
    assert start.abs() > 0 and critic_of(models[3])["critic_head.bias"].abs() > 2 * start.abs()


def test_gradients_are_clipped_apart(tmp_path: Path) -> None:
    # A critic far off must not shrink the policy's step: with plain SGD the policy moves as without it.
    moved = []
    for weight in (1e-9, 1e6):
        model = tiny_model()
        trainer = make(tmp_path / str(weight), PPO(PPOConfig(critic_max_grad_norm=weight, critic_learning_rate=0.0)),
                       model, max_steps=1, optim="sgd", learning_rate=1.0, max_grad_norm=0.01)
        trainer.train()
        moved.append(policy_of(model))
        assert logged(trainer, "train/critic_grad_norm")[0] > 0
    assert same(*moved)


def test_a_checkpoint_holds_a_plain_policy_and_resumes_with_its_critic(tmp_path: Path) -> None:
    algorithm = PPO(PPOConfig(critic_learning_rate=1e-2, critic_updates_per_rollout=2))
    settings: dict[str, Any] = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2}
    whole = make(tmp_path / "whole", algorithm, **settings)
    whole.train()
    checkpoint = tmp_path / "whole" / "checkpoint-2"
    assert set(load_file(checkpoint / "model.safetensors")) <= set(tiny_model().state_dict())
    assert all(map(is_critic, load_file(checkpoint / "critic.safetensors")))
    resumed = make(tmp_path / "whole", algorithm, **settings)
    resumed.train(resume_from_checkpoint=str(checkpoint))
    assert same(resumed.model.state_dict(), whole.model.state_dict())
    assert resumed.progress == whole.progress and resumed.progress.generated_rollouts == 4 * 16
    (checkpoint / "critic.safetensors").unlink()
    with pytest.raises(ValueError, match="written without a value model"):
        make(tmp_path / "whole", algorithm, **settings).train(resume_from_checkpoint=str(checkpoint))


def test_with_adapters_the_critic_is_a_second_adapter(tmp_path: Path) -> None:
    from peft import LoraConfig

    lora = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    algorithm = PPO(PPOConfig(critic_learning_rate=1e-2, kl_coef=0.01))
    settings: dict[str, Any] = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2, "learning_rate": 1e-2}
    trainer = make(tmp_path, algorithm, peft_config=lora, **settings)
    before = {n: p.detach().clone() for n, p in trainer.model.named_parameters()}
    trainer.train()
    moved = {n for n, p in trainer.model.named_parameters() if not torch.equal(p, before[n])}
    adapters = {n for n in before if "lora_" in n}
    assert moved == adapters | {n for n in before if "critic_head" in n}
    resumed = make(tmp_path, algorithm, peft_config=lora, **settings)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert same(dict(resumed.model.state_dict()), dict(trainer.model.state_dict()))


def test_a_value_is_read_before_its_token() -> None:
    # V[t] must not know token t: it is what the policy expects before it chooses.
    model = tiny_model()
    attach_critic(model)
    torch.nn.init.normal_(model.critic_head.weight)
    prompt, response = torch.tensor([[3, 4, 5]]), torch.tensor([[6, 7, 8, 9]])
    other = response.clone()
    other[0, 2] = 11

    def values(tokens: torch.Tensor) -> list[float]:
        ids = torch.cat([prompt, tokens], dim=1)
        with torch.no_grad():
            return read_values(model, ids, torch.ones_like(ids), 4)[0].tolist()

    before, after = values(response), values(other)
    assert before[:3] == pytest.approx(after[:3], abs=1e-6) and abs(before[3] - after[3]) > 1e-3
    shorter = torch.cat([prompt, response[:, :1]], dim=1)
    with torch.no_grad():  # the first value depends on the prompt alone
        first = read_values(model, shorter, torch.ones_like(shorter), 1)[0, 0].item()
    assert before[0] == pytest.approx(first, abs=1e-6)


def test_values_are_float32_where_an_engine_casts_all_weights() -> None:
    model = tiny_model()
    attach_critic(model)
    torch.nn.init.normal_(model.critic_head.weight)
    model.to(torch.bfloat16)  # as DeepSpeed does, the head included
    ids = torch.arange(3, 9)[None]
    with torch.no_grad():
        hidden = model.critic(input_ids=ids).last_hidden_state[:, 1:-1]
        expected = (hidden.double() @ model.critic_head.weight[0].double()) + model.critic_head.bias.double()
        values = read_values(model, ids, torch.ones_like(ids), 4)
    assert values.dtype == torch.float32 and torch.allclose(values.double(), expected, atol=1e-5)
    assert (values - values.bfloat16()).abs().max() > 1e-4  # they are not rounded


def test_deepspeed_adds_up_gradients_in_float32_unless_told_otherwise() -> None:
    def config(**given: Any) -> Any:
        state = SimpleNamespace(deepspeed_plugin=SimpleNamespace(deepspeed_config=given))
        accumulate_in_float32(SimpleNamespace(state=state, is_fsdp2=False))
        return given["data_types"]

    assert config(zero_optimization={}) == {"grad_accum_dtype": "fp32"}
    assert config(data_types={"grad_accum_dtype": "bf16"}) == {"grad_accum_dtype": "bf16"}
    accumulate_in_float32(SimpleNamespace(state=SimpleNamespace(deepspeed_plugin=None), is_fsdp2=False))


def test_a_critic_does_not_make_another_base_model() -> None:
    # Else PPO would not share the stored base probe of the other algorithms.
    plain, with_critic = tiny_model(), tiny_model()
    attach_critic(with_critic)
    assert weights_hash(with_critic) == weights_hash(plain) != weights_hash(tiny_model(seed=1))
    torch.nn.init.normal_(with_critic.critic_head.weight)
    assert weights_hash(with_critic) == weights_hash(plain)


def test_explained_variance() -> None:
    returns, mask = torch.tensor([[0.0, 1.0], [1.0, 7.0]]), torch.tensor([[1, 1], [1, 0]])
    assert explained_variance(returns.clone(), returns, mask) == 1.0
    assert explained_variance(torch.zeros(2, 2), returns, mask) == 0.0
    # errors 0, 1/2, 0: variance 1/12; returns 0, 1, 1: variance 1/3
    assert explained_variance(torch.tensor([[0.0, 0.5], [1.0, 0.0]]), returns, mask) == pytest.approx(0.75)
    assert math.isnan(explained_variance(torch.zeros(2, 2), torch.ones(2, 2), mask))


# --- ReMax's greedy pass


class KeepBatches(ReMax):
    def __init__(self, config: ReMaxConfig) -> None:
        super().__init__(config)
        self.batches: list[RolloutBatch] = []

    def advantages(self, batch: RolloutBatch) -> Credit:
        self.batches.append(batch)
        return super().advantages(batch)


@pytest.mark.parametrize("group_size", [1, 4])
def test_the_baseline_is_the_reward_of_the_greedy_completion(tmp_path: Path, group_size: int) -> None:
    algorithm, model = KeepBatches(ReMaxConfig()), tiny_model()
    trainer = make(tmp_path, algorithm, model, max_steps=1, learning_rate=0.0, num_generations=group_size)
    trainer.train()
    tokenizer, judge = build_tokenizer(), ParityJudge()
    expected = []
    for row in trainer.stream.take(0, 16 // group_size):
        ids = tokenizer(row["prompt"], return_tensors="pt")["input_ids"]
        output = model.generate(input_ids=ids, do_sample=False, max_new_tokens=8)  # the model did not move
        text = str(tokenizer.decode(output[0, ids.size(1):], skip_special_tokens=True))
        expected += [float(judge.judge([], [text])[0].correct or 0)] * group_size
    (batch,) = algorithm.batches
    assert batch.baseline_N is not None
    assert batch.baseline_N.tolist() == expected and 0 < sum(expected) < len(expected)
    advantages = algorithm.advantages(batch).advantages_NT[:, 0]
    assert torch.equal(advantages, batch.accuracy_N - batch.baseline_N)
    assert logged(trainer, "train/greedy_accuracy") == [pytest.approx(sum(expected) / len(expected))]
    assert logged(trainer, "verdict/identical")[0] == pytest.approx(batch.accuracy_N.mean().item())
    assert trainer.progress.generated_tokens > trainer.progress.used_tokens  # the greedy tokens count as generated


# --- DAPO's dynamic sampling


class ByProblem(ParityJudge):
    """Every third problem is solved always, every third never, the others by parity of the completion."""

    def judge(self, problems: Sequence[Problem], texts: Sequence[str]) -> list[Verdict]:
        verdicts = super().judge(problems, texts)
        kinds = [int(p.id.rsplit("/", 1)[-1]) % 3 for p in problems]
        right, wrong = Verdict(True, Reason.IDENTICAL), Verdict(False, Reason.WRONG_ANSWER)
        return [(right, wrong, v)[k] for k, v in zip(kinds, verdicts, strict=True)]


def kind(problem_id: str) -> int:
    return int(problem_id.rsplit("/", 1)[-1]) % 3


def test_dynamic_sampling_takes_the_first_mixed_groups_of_the_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[RolloutBatch] = []

    class Keep(DAPO):
        def advantages(self, batch: RolloutBatch) -> Credit:
            seen.append(batch)
            return super().advantages(batch)

    trainer = make(tmp_path, Keep(DAPOConfig(max_num_gen_batches=0)), judge=ByProblem(), max_steps=2)
    chosen: list[list[str]] = []

    def spy(trainer: Any, step: Step) -> None:
        draw_mixed_groups(trainer, step)
        assert step.chosen is not None
        chosen.append([row["problem_id"] for row in step.rows[::4]])

    monkeypatch.setattr("rlvr.training.trainer.draw_mixed_groups", spy)
    trainer.train()
    for batch, ids in zip(seen, chosen, strict=True):
        assert all(0 < group.sum() < 4 for group in batch.accuracy_N.view(4, 4)) and all(kind(i) == 2 for i in ids)
    # In stream order, and only groups that this model's samples left mixed are skipped.
    stream = [row["problem_id"] for row in trainer.stream.take(0, trainer.progress.prompt_position)]
    candidates = [i for i in stream if kind(i) == 2]
    position = iter(candidates)
    assert all(i in position for i in chosen[0])
    drawn = [int(n) for n in logged(trainer, "train/gen_batches")]
    assert trainer.progress.prompt_position == 4 * sum(drawn) and max(drawn) > 1
    assert trainer.progress.generated_rollouts == 16 * sum(drawn)
    assert trainer.progress.used_rollouts == 2 * 16
    assert logged(trainer, "perf/used_rollouts") == [16, 32]


def test_dynamic_sampling_gathers_verdicts_and_no_completions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: dict[int, list[int]] = {8: [], 32: []}
    for length, gathered in sizes.items():
        def counted(items: Any, gathered: list[int] = gathered) -> Any:
            gathered.append(len(pickle.dumps(items)))
            return items

        for module in ("trainer", "dynamic_sampling"):
            monkeypatch.setattr(f"rlvr.training.{module}.gather_object", counted)
        make(tmp_path, DAPO(DAPOConfig(max_num_gen_batches=0)), judge=ByProblem(), max_steps=1,
             max_completion_length=length).train()
    assert len(sizes[8]) >= 2 and max(sizes[32]) < 1000  # 16 rollouts of 32 tokens with log-probabilities: 5 kB


def test_the_same_sampling_step_is_drawn_after_a_resume(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2}
    algorithm = DAPO(DAPOConfig(max_num_gen_batches=0))
    whole = make(tmp_path, algorithm, judge=ByProblem(), **settings)
    whole.train()
    state = json.loads((tmp_path / "checkpoint-2" / STATE_FILE).read_text())
    assert 8 < state["prompt_position"] < whole.progress.prompt_position
    resumed = make(tmp_path, algorithm, judge=ByProblem(), **settings)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert asdict(resumed.progress) == asdict(whole.progress)
    assert same(resumed.model.state_dict(), whole.model.state_dict())


class NeverRight(ParityJudge):
    def judge(self, problems: Sequence[Problem], texts: Sequence[str]) -> list[Verdict]:
        return [Verdict(False, Reason.WRONG_ANSWER)] * len(texts)


def test_exhausted_dynamic_sampling_stops_with_a_sentence(tmp_path: Path) -> None:
    trainer = make(tmp_path, DAPO(DAPOConfig(max_num_gen_batches=3)), judge=NeverRight(), max_steps=1)
    with pytest.raises(UserError, match=r"3 generation batches of 4 prompts gave 0 mixed groups, expected 4 "
                                        r"\(0 were all right, 12 all wrong\)"):
        trainer.train()


def test_exhausted_dynamic_sampling_may_train_on_fewer(tmp_path: Path) -> None:
    algorithm = DAPO(DAPOConfig(max_num_gen_batches=2, when_exhausted="fewer"))
    trainer = make(tmp_path, algorithm, judge=NeverRight(), max_steps=1)
    before = policy_of(trainer.model)
    trainer.train()
    assert same(policy_of(trainer.model), before)
    assert trainer.progress.used_rollouts == 0 and trainer.progress.generated_rollouts == 32
    slices = trainer._buffered_inputs
    assert slices is not None and not any(s["loss_mask"].any() for s in slices)


EMPTY = Rollout([], [], None, "", None, {})


def groups(*accuracies: list[float]) -> list[Group]:
    return [Group({"problem_id": str(i)}, [EMPTY] * len(a), torch.tensor(a)[:, None]) for i, a in enumerate(accuracies)]


def test_a_group_is_mixed_by_its_judged_accuracies() -> None:
    nan = float("nan")
    mixed = [g.mixed for g in groups([1, 0], [1, 1], [0, 0], [1, nan], [0, nan], [nan, nan], [1, 0, nan])]
    assert mixed == [True, False, False, False, False, False, True]
    shaped = Group({}, [EMPTY, EMPTY], torch.tensor([[0.0, 0.5], [0.0, -0.5]]))
    assert not shaped.mixed  # other rewards differ, accuracy does not


def test_refill_counts_and_chooses() -> None:
    refill = Refill(2, GroupFilter(max_batches=2, when_exhausted="fewer"))
    refill.add(groups([1, 1], [0, 0]))
    assert not refill.done
    refill.add(groups([0, 0], [1, 0]))
    assert refill.done and (refill.all_right, refill.all_wrong) == (1, 2)
    chosen, used = refill.chosen()
    assert used == [True, False] and chosen[0].mixed and not chosen[1].mixed
    # The rollouts of a group that can no longer be chosen are dropped at once: they may be gigabytes.
    assert [(group.row, group.rollouts) == (None, None) for group in refill.groups] == [False, True, True, False]


# --- single rollouts, KL in the reward, entropy target, likelihood term, token loss


@pytest.mark.parametrize("algorithm", [PPO(PPOConfig()), ReinforcePP(ReinforcePPConfig()), ReMax(ReMaxConfig())])
def test_groups_of_one_train_where_they_are_legal(tmp_path: Path, algorithm: Algorithm[Any]) -> None:
    trainer = make(tmp_path, algorithm, max_steps=1, num_generations=1)
    before = policy_of(trainer.model)
    trainer.train()
    assert not same(policy_of(trainer.model), before)
    assert trainer.prompts_per_step == 16


def test_kl_in_the_reward_reaches_the_credit(tmp_path: Path) -> None:
    base = tmp_path / "base"
    tiny_model().save_pretrained(base)
    build_tokenizer().save_pretrained(base)
    seen: list[RolloutBatch] = []

    class Keep(ReinforcePP):
        def advantages(self, batch: RolloutBatch) -> Credit:
            seen.append(batch)
            return super().advantages(batch)

    trainer = make(tmp_path / "run", Keep(ReinforcePPConfig(kl_coef=0.5)), str(base), max_steps=2, learning_rate=1e-2)
    trainer.train()
    first, second = (b.old_logps_NT - b.ref_logps_NT for b in seen)  # pyright: ignore
    kept = [b.mask_NT.bool() for b in seen]
    assert first[kept[0]].abs().max() <= 1e-5 and second[kept[1]].abs().max() > 1e-2
    assert logged(trainer, "train/kl") == []  # none in the loss


def test_the_entropy_target_moves_the_coefficient(tmp_path: Path) -> None:
    # A random model has nearly the largest entropy, log of the vocabulary: far above 1, far below 100.
    up = make(tmp_path / "up", GRPO(GRPOConfig(entropy_target=100.0, entropy_step=0.25)), max_steps=3)
    up.train()
    assert logged(up, "train/entropy_coef") == [0.0, 0.25, 0.5] and up.progress.entropy_coef == 0.75
    down = make(tmp_path / "down", GRPO(GRPOConfig(entropy_target=1.0, entropy_coef=0.5, entropy_step=0.25)))
    down.train()
    assert logged(down, "train/entropy_coef") == [0.0, 0.0, 0.0] and down.progress.entropy_coef == 0.0
    assert up.progress.entropy == pytest.approx(logged(up, "train/entropy")[-1], rel=1e-6)


def test_the_moved_coefficient_is_that_of_the_loss(tmp_path: Path) -> None:
    """The first update has no bonus, as no entropy is known yet; the second has one of 0.25."""
    for steps, alike in ((1, True), (2, False)):
        plain = make(tmp_path / f"plain-{steps}", GRPO(GRPOConfig()), max_steps=steps)
        plain.train()
        bonus = make(tmp_path / f"bonus-{steps}", GRPO(GRPOConfig(entropy_target=100.0, entropy_step=0.25)),
                     max_steps=steps)
        bonus.train()
        assert same(plain.model.state_dict(), bonus.model.state_dict()) is alike


def test_the_likelihood_term_is_a_mean_over_its_own_tokens(tmp_path: Path) -> None:
    # Alone in the loss it must give the gradient of the mean negative log-likelihood of the correct rollouts.
    class OnlyNll(PPO):
        def advantages(self, batch: RolloutBatch) -> Credit:
            credit = super().advantages(batch)
            zero = torch.zeros_like(credit.advantages_NT)
            return Credit(zero, credit.returns_NT, credit.loss_mask_NT, credit.nll_mask_NT)

    model, start = tiny_model(), tiny_model()
    trainer = make(tmp_path, OnlyNll(PPOConfig(positive_nll_coef=0.5)), model, max_steps=1, optim="sgd",
                   learning_rate=1.0, max_grad_norm=1e9)
    trainer.train()
    total, count = torch.zeros(()), 0
    slices = trainer._buffered_inputs
    assert slices is not None
    for s in slices:
        ids = torch.cat([s["prompt_ids"], s["completion_ids"]], 1)
        attention = torch.cat([s["prompt_mask"], s["completion_mask"]], 1)
        positions = (attention.cumsum(1) - 1).clamp(min=0)
        logits = start(input_ids=ids, attention_mask=attention, position_ids=positions).logits
        T = s["completion_ids"].size(1)
        logps = logits[:, -T - 1 : -1].log_softmax(-1).gather(-1, s["completion_ids"][..., None]).squeeze(-1)
        total = total - (logps * s["nll_mask"]).sum()
        count += int(s["nll_mask"].sum())
    (0.5 * total / count).backward()
    for name, parameter in start.named_parameters():
        moved = start.state_dict()[name] - model.state_dict()[name]
        assert torch.allclose(moved, parameter.grad, atol=1e-6), name
    assert logged(trainer, "train/nll") == [pytest.approx((total / count).item(), rel=1e-5)]


def test_a_token_loss_of_its_own_replaces_the_surrogate(tmp_path: Path) -> None:
    class Own(GRPO):
        def advantages(self, batch: RolloutBatch) -> Credit:
            credit = super().advantages(batch)
            return Credit(credit.advantages_NT, extras_NT={"twice": 2 * credit.advantages_NT})

        def token_loss(self, tokens: TokenBatch) -> torch.Tensor:
            half = tokens.extras_BT["twice"] / 2
            return policy_loss(tokens.logps_BT, tokens.old_logps_BT, half, clip_low=0.2, clip_high=0.2)

    changes: dict[str, Any] = {"steps_per_generation": 4, "max_steps": 4}  # two updates per rollout: ratios differ
    own, plain = tiny_model(), tiny_model()
    trainer = make(tmp_path / "own", Own(GRPOConfig()), own, **changes)
    trainer.train()
    make(tmp_path / "plain", GRPO(GRPOConfig()), plain, **changes).train()
    assert max_difference(plain, tiny_model()) > 1e-3 and max_difference(own, plain) <= 1e-7
    assert logged(trainer, "train/clip_low_frac") == []


def test_credit_of_a_wrong_shape_is_named(tmp_path: Path) -> None:
    class PerRollout(GRPO):
        def advantages(self, batch: RolloutBatch) -> Credit:
            return Credit(super().advantages(batch).advantages_NT[:, 0])

    with pytest.raises(UserError, match=r"PerRollout.advantages: found a tensor of shape \(16,\), expected one credit"):
        make(tmp_path, PerRollout(GRPOConfig()), max_steps=1).train()


def test_sampler_and_trainer_agree_on_the_log_probabilities(tmp_path: Path) -> None:
    trainer = make(tmp_path, GRPO(GRPOConfig()), max_steps=2, learning_rate=1e-2)
    trainer.train()
    assert all(0 <= gap < 1e-5 for gap in logged(trainer, "train/sampler_gap"))


def test_an_empty_completion_becomes_one_eos(tmp_path: Path) -> None:
    tokenizer: Any = build_tokenizer()

    def rollouts(prompts: list[Any], trainer: Any) -> dict[str, Any]:
        ids: list[list[int]] = [[] if i % 4 == 0 else [5, 6, tokenizer.eos_token_id] for i in range(len(prompts))]
        return {"prompt_ids": [tokenizer(p)["input_ids"] for p in prompts], "completion_ids": ids, "logprobs": None}

    trainer = make(tmp_path, GRPO(GRPOConfig()), rollout_func=rollouts, max_steps=1)
    trainer.train()
    slices = trainer._buffered_inputs
    assert slices is not None
    lengths = [int(n) for s in slices for n in s["loss_mask"].sum(1)]
    assert lengths.count(1) == 4 and lengths.count(3) == 12


def test_an_algorithm_knows_what_the_run_saw_of_each_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over steps and a resume, before the step that it is asked about."""
    batches: list[RolloutBatch] = []
    original = BoundaryGate.advantages

    def advantages(self: BoundaryGate, batch: RolloutBatch) -> Credit:
        batches.append(batch)
        return original(self, batch)

    monkeypatch.setattr(BoundaryGate, "advantages", advantages)
    algorithm = BoundaryGate(BoundaryGateConfig())
    settings: dict[str, Any] = {"max_steps": 6, "save_strategy": "steps", "save_steps": 3}
    whole = make(tmp_path, algorithm, **settings)
    whole.train()
    history: dict[str, list[int]] = {}
    for batch in batches:  # 16 problems, four a step: every problem comes back in the second epoch
        assert batch.problem_ids is not None and batch.seen_N is not None and batch.solved_N is not None
        ids = [batch.problem_ids[group] for group in batch.group_N.tolist()]
        assert batch.seen_N.tolist() == [history.get(one, [0, 0])[0] for one in ids]
        assert batch.solved_N.tolist() == [history.get(one, [0, 0])[1] for one in ids]
        for one, right in zip(ids, batch.accuracy_N.tolist(), strict=True):
            counts = history.setdefault(one, [0, 0])
            history[one] = [counts[0] + 1, counts[1] + int(right)]
    assert whole.progress.history == history and len(history) == 16
    assert any(bool(batch.seen_N.any()) for batch in batches if batch.seen_N is not None)
    resumed = make(tmp_path, algorithm, **settings)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    assert resumed.progress.history == history
    assert same(resumed.model.state_dict(), whole.model.state_dict())
    plain = make(tmp_path / "plain", GRPO(GRPOConfig()), max_steps=1)
    plain.train()
    assert plain.progress.history == {}  # who does not ask for it has no history in the checkpoints
