"""RLVRTrainer: the seams of TRL it stands on, parity with TRL's own GRPO, exact windows, seeded rollouts."""

from __future__ import annotations

import dataclasses
import math
import time
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from trl.trainer.grpo_trainer import GRPOTrainer

from rlvr.algorithms.grpo import GRPO, GRPOConfig
from rlvr.interfaces import Algorithm, Credit, RolloutBatch
from rlvr.lab.model import build_tokenizer
from rlvr.training.prompt_stream import PromptStream
from rlvr.training.reward_functions import Judged
from rlvr.training.step_metrics import judge_metrics
from rlvr.training.trainer import RLVRTrainer
from rlvr.types import Reason, Verdict
from tests.support.tiny import ParityJudge, config, max_difference, tiny_model, train_problems

TRL_GRPO = GRPOConfig(std_eps=1e-4)


def make(
    folder: Path, algorithm: Algorithm[Any] | None = None, model: Any = None, judge: Any = None,
    kind: type[RLVRTrainer] = RLVRTrainer, **changes: Any,
) -> RLVRTrainer:
    own = {k: changes.pop(k) for k in ("seed", "truncated", "rollout_func", "shaped_rewards", "on_credit")
           if k in changes}
    return kind(
        model or tiny_model(),
        algorithm=algorithm or GRPO(GRPOConfig()),
        problems=train_problems(),
        judge=judge or ParityJudge(),
        args=config(folder, **changes),
        processing_class=build_tokenizer(),
        **own,
    )


def canned_rollouts(prompts: list[Any], trainer: Any) -> dict[str, Any]:
    """The same ragged completions for any trainer: a fixed function of the prompt, its place and the step."""
    tokenizer = build_tokenizer()
    generator = torch.Generator().manual_seed(trainer.state.global_step)
    lengths = torch.randint(2, 8, (len(prompts),), generator=generator).tolist()
    rows = [torch.randint(0, 100, (n,), generator=generator).tolist() for n in lengths]
    return {
        "prompt_ids": [tokenizer(p)["input_ids"] for p in prompts],
        "completion_ids": [[*row[:-1], tokenizer.eos_token_id] for row in rows],
        "logprobs": None,
    }


@pytest.mark.parametrize("aggregation", ["token-mean", "seq-mean-token-mean", "seq-mean-token-sum-norm"])
def test_three_steps_equal_trl_grpo(tmp_path: Path, aggregation: Any) -> None:
    # Plain trl.GRPOTrainer and ours, given the same rollouts, must walk the same path.
    loss_type = {"token-mean": "dapo", "seq-mean-token-mean": "grpo", "seq-mean-token-sum-norm": "dr_grpo"}
    start = tiny_model()
    reference_model, our_model = tiny_model(), tiny_model()
    judge = ParityJudge()

    def reward(completions: list[str], **_: Any) -> list[float | None]:
        return [float(v.correct or 0) for v in judge.judge([], completions)]

    args = config(tmp_path / "trl", loss_type=loss_type[aggregation], beta=0.0, shuffle_dataset=False, epsilon=0.2)
    reference = GRPOTrainer(
        reference_model,
        reward,
        args=args,
        train_dataset=PromptStream(train_problems(), prompts_per_step=4, seed=0).dataset(3 * 4),
        processing_class=build_tokenizer(),
        rollout_func=canned_rollouts,
    )
    reference.train()
    ours = make(
        tmp_path / "ours", GRPO(GRPOConfig(std_eps=1e-4, aggregation=aggregation)), our_model,
        rollout_func=canned_rollouts,
    )
    ours.train()
    assert max_difference(reference_model, start) > 1e-3, "training did not move the parameters"
    assert max_difference(reference_model, our_model) <= 1e-6


class WithTrlLoss(RLVRTrainer):
    """Ours but for the loss, which is TRL's own: the mean over sequences of their mean over tokens."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        assert self.algorithm.loss.aggregation == "seq-mean-token-mean"
        self.loss_type = "grpo"

    _compute_loss = GRPOTrainer._compute_loss


@pytest.mark.parametrize(("updates", "epochs"), [(1, 1), (2, 1), (1, 2), (2, 2)])
def test_our_loss_equals_that_of_trl(tmp_path: Path, updates: int, epochs: int) -> None:
    # With two updates per rollout the ratio differs from 1 and the clip acts. TRL's token-mean then divides by the
    # average window, ours by the exact one, so the comparison uses the sequence mean.
    changes = {"steps_per_generation": 2 * updates, "num_iterations": epochs, "max_steps": 4, "learning_rate": 1.0,
               "optim": "sgd"}
    algorithm = GRPO(GRPOConfig(std_eps=1e-4, aggregation="seq-mean-token-mean"))
    models = {}
    for kind in (RLVRTrainer, WithTrlLoss):  # one after the other: building a trainer seeds the shuffle of its rollouts
        models[kind] = tiny_model()
        make(tmp_path / kind.__name__, algorithm, models[kind], kind=kind, **changes).train()
    assert max_difference(models[RLVRTrainer], tiny_model()) > 1e-3
    assert max_difference(models[RLVRTrainer], models[WithTrlLoss]) <= 1e-6


def test_passes_over_a_rollout_batch_by_hand(tmp_path: Path) -> None:
    """Four steps in two passes of two updates each: one rollout batch, its windows seen twice with the same counts, the
    ratio taken to the policy before the first of them."""
    seen: list[dict[str, Any]] = []

    class Watched(RLVRTrainer):
        def forward(self, model: Any, inputs: dict[str, Any]) -> Any:
            found = super().forward(model, inputs)
            gap = ((found.logps.detach() - inputs["old_per_token_logps"]) * inputs["loss_mask"]).abs().max().item()
            seen.append({"ids": inputs["completion_ids"].tolist(), "counts": inputs["window_counts"].tolist(),
                         "gap": gap})
            return found

    recorder = Recorder(GRPOConfig())
    trainer = make(tmp_path, recorder, kind=Watched, steps_per_generation=4, num_iterations=2, max_steps=4,
                   learning_rate=1.0, optim="sgd")
    trainer.train()
    assert len(recorder.batches) == 1 and len(seen) == 8
    for first, second in zip(seen[:4], seen[4:], strict=True):
        assert first["ids"] == second["ids"] and first["counts"] == second["counts"]
        assert second["gap"] > 1e-4
    assert all(micro["gap"] < 1e-6 for micro in seen[:2]) and trainer.progress.prompt_position == 8
    for window in (seen[0:2], seen[2:4]):
        assert window[0]["counts"][2] == sum(len(micro["ids"]) for micro in window)


def test_kl_term_equals_trl(tmp_path: Path) -> None:
    path = tmp_path / "base"
    tiny_model().save_pretrained(path)
    build_tokenizer().save_pretrained(path)
    algorithm = GRPO(GRPOConfig(std_eps=1e-4, aggregation="seq-mean-token-mean", kl_loss_coef=0.5))
    changes = {"learning_rate": 1.0, "max_steps": 4, "optim": "sgd"}
    ours, theirs = (make(tmp_path / kind.__name__, algorithm, str(path), kind=kind, **changes)
                    for kind in (RLVRTrainer, WithTrlLoss))
    ours.train()
    theirs.train()
    assert max_difference(ours.model, theirs.model) <= 1e-6


class Recorder(GRPO):
    """GRPO that keeps every batch it saw."""

    def __init__(self, config: GRPOConfig) -> None:
        super().__init__(config)
        self.batches: list[RolloutBatch] = []

    def advantages(self, batch: RolloutBatch) -> Credit:
        self.batches.append(batch)
        return super().advantages(batch)


def test_rollouts_are_seeded_by_problem_step_and_sample(tmp_path: Path) -> None:
    # The global random state must not matter, the run seed must, and no two samples of a group share their draw.
    def completions(seed: int, global_seed: int) -> list[Any]:
        trainer = make(tmp_path / f"{seed}-{global_seed}", seed=seed, max_steps=1)
        torch.manual_seed(global_seed)
        trainer.train()
        rows = torch.cat([s["completion_ids"] for s in trainer._buffered_inputs])  # pyright: ignore
        return sorted(map(tuple, rows.tolist()))

    one = completions(0, 1)
    assert one == completions(0, 2)
    assert one != completions(1, 1)
    assert len(set(one)) >= 15  # 16 rollouts of 8 tokens from a near-uniform model of 107 words


def test_the_prompt_of_a_group_is_computed_once_and_the_rollouts_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make(tmp_path)
    prompt_ids = [ids for ids in trainer.processing_class([p.prompt for p in train_problems(2)])["input_ids"]
                  for _ in range(4)]
    rows: list[int] = []
    trainer.model.register_forward_pre_hook(
        lambda _, __, kwargs: rows.append(len(kwargs["input_ids"])), with_kwargs=True)

    def draw() -> Any:
        return trainer.draw(list(range(8)), 1.0, 1.0, prompt_ids, None, {}, 1)

    ids, logps = draw()
    assert rows[:2] == [2, 8]
    monkeypatch.setattr("rlvr.models.seeded.repeated_prefix", lambda *_: {})
    plain_ids, plain_logps = draw()
    assert ids == plain_ids and len({tuple(row) for row in ids}) == 8
    for row, plain in zip(logps, plain_logps, strict=True):
        assert row == pytest.approx(plain, abs=2e-6)


def test_windows_count_exactly(tmp_path: Path) -> None:
    # Two updates per rollout: each optimizer window must carry its own token count, not the average.
    trainer = make(tmp_path, steps_per_generation=4, max_steps=2, rollout_func=canned_rollouts)
    trainer.train()
    slices = trainer._buffered_inputs
    assert slices is not None
    seen = [tuple(s["window_counts"].tolist()) for s in slices]
    sums = [int(s["loss_mask"].sum()) for s in slices]
    assert [x[0] for x in seen] == [sums[0] + sums[1]] * 2 + [sums[2] + sums[3]] * 2
    assert [x[1:] for x in seen] == [(16, 16, 0)] * 4
    assert seen[0][0] != seen[2][0]


class Unjudged(ParityJudge):
    def judge(self, problems: Any, texts: Any) -> list[Verdict]:
        verdicts = super().judge(problems, texts)
        return [Verdict(None, Reason.HARNESS_ERROR) if i % 4 == 0 else v for i, v in enumerate(verdicts)]


def test_not_judged_is_nan_for_the_algorithm_and_gets_no_credit(tmp_path: Path) -> None:
    algorithm = Recorder(GRPOConfig())
    trainer = make(tmp_path, algorithm, judge=Unjudged(), max_steps=1)
    trainer.train()
    (batch,) = algorithm.batches
    assert batch.accuracy_N.isnan().tolist() == [i % 4 == 0 for i in range(16)]
    advantages_NT = GRPO(GRPOConfig()).advantages(batch).advantages_NT
    assert advantages_NT[::4].abs().max() == 0 and advantages_NT.abs().max() > 0
    log = trainer.state.log_history[0]
    assert log["train/not_judged_frac"] == pytest.approx(0.25)
    assert log["verdict/harness_error"] == pytest.approx(0.25)


def test_verdicts_are_timed_in_the_metrics(tmp_path: Path) -> None:
    """Of 16 verdicts a call, of 1 to 16 ms: nearest ranks. A step waits as long as its slowest rank."""
    class Timed(ParityJudge):
        def judge(self, problems: Any, texts: Any) -> list[Verdict]:
            time.sleep(0.02)
            return [dataclasses.replace(v, ms=1.0 + i) for i, v in enumerate(super().judge(problems, texts))]

    trainer = make(tmp_path, Recorder(GRPOConfig()), judge=Timed(), max_steps=2)
    trainer.train()
    for log in trainer.state.log_history[:2]:
        times = [log[f"perf/judge_{name}_ms"] for name in ("p50", "p99", "max")]
        assert times == [8.0, 16.0, 16.0] and 0.02 <= log["perf/judge_seconds"] < 0.2

    ranks = [Judged(Counter({Reason.SYMBOLIC: 1}), [2.0, 1.0, 3.0], 0.5),
             Judged(Counter({Reason.NO_BOX: 3}), [9.0], 0.25)]
    metrics = judge_metrics(ranks)
    assert {name: value for name, value in metrics.items() if value} == {
        "verdict/symbolic": 0.25, "verdict/no_box": 0.75, "perf/judge_p50_ms": 2.0, "perf/judge_p99_ms": 9.0,
        "perf/judge_max_ms": 9.0, "perf/judge_seconds": 0.5}
    assert math.isnan(judge_metrics([Judged()])["perf/judge_p50_ms"])


def test_batch_knows_groups_lengths_and_truncation(tmp_path: Path) -> None:
    def rollouts(prompts: list[Any], trainer: Any) -> dict[str, Any]:
        out = canned_rollouts(prompts, trainer)
        out["completion_ids"][0] = [1, 2, 3]  # no EOS: truncated
        return out

    algorithm = Recorder(GRPOConfig())
    make(tmp_path, algorithm, rollout_func=rollouts, max_steps=1).train()
    (batch,) = algorithm.batches
    assert batch.group_N.tolist() == [i // 4 for i in range(16)]
    assert batch.truncated_N is not None and batch.truncated_N.tolist() == [True] + [False] * 15
    assert batch.lengths_N is not None and batch.lengths_N[0] == 3
    assert batch.mask_NT.sum(1).tolist() == batch.lengths_N.tolist()


def test_eos_is_trained_although_it_is_also_the_pad_token(tmp_path: Path) -> None:
    tokenizer = build_tokenizer()
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    trainer = make(tmp_path, rollout_func=canned_rollouts, max_steps=1)
    trainer.train()
    for piece in trainer._buffered_inputs:  # pyright: ignore
        last_n = piece["loss_mask"].sum(1) - 1
        ids = piece["completion_ids"].gather(1, last_n[:, None])
        assert ids.unique().tolist() == [tokenizer.eos_token_id]


def test_policy_wrong_fails_truncated_completions_unjudged(tmp_path: Path) -> None:
    def rollouts(prompts: list[Any], trainer: Any) -> dict[str, Any]:
        out = canned_rollouts(prompts, trainer)
        out["completion_ids"] = [[10, 11]] * len(prompts)  # "10 11" has an odd length, " " included: 5
        out["completion_ids"][1] = [1, 2, 3, 4, 5, 6, 7, 8]
        return out

    trainer = make(tmp_path, rollout_func=rollouts, max_steps=1, truncated="wrong")
    trainer.train()
    log = trainer.state.log_history[0]
    assert log["verdict/truncated"] == 1.0 and log["train/accuracy"] == 0.0


def test_policy_mask_drops_truncated_completions_from_the_loss(tmp_path: Path) -> None:
    def rollouts(prompts: list[Any], trainer: Any) -> dict[str, Any]:
        out = canned_rollouts(prompts, trainer)
        out["completion_ids"][2] = [1, 2, 3]
        return out

    trainer = make(tmp_path, rollout_func=rollouts, max_steps=1, truncated="mask")
    trainer.train()
    tokens = [int(n) for s in trainer._buffered_inputs for n in s["loss_mask"].sum(1)]  # pyright: ignore
    assert tokens.count(0) == 1


def test_a_group_too_small_for_the_algorithm_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="GRPO needs groups of at least 2 rollouts, num_generations is 1"):
        make(tmp_path, num_generations=1)


def test_prompt_stream_is_one_seeded_order() -> None:
    problems = train_problems(10)
    ids = PromptStream(problems, prompts_per_step=4, seed=3).dataset(5 * 4)["problem_id"]
    again = PromptStream(problems, prompts_per_step=4, seed=3).dataset(3 * 4)["problem_id"]
    other = PromptStream(problems, prompts_per_step=4, seed=4).dataset(5 * 4)["problem_id"]
    assert list(ids[:12]) == list(again) and list(ids) != list(other)
    for step in range(5):
        assert len(set(ids[4 * step : 4 * step + 4])) == 4
    assert len(set(ids[:8])) == 8  # an epoch repeats nothing
    with pytest.raises(ValueError, match="10 training problems cannot fill a step of 11"):
        PromptStream(problems, prompts_per_step=11, seed=0)


def test_a_mixture_keeps_its_shares_and_epochs_and_continues_anywhere() -> None:
    named = [dataclasses.replace(p, id=f"{'ab'[i % 2]}/{i}") for i, p in enumerate(train_problems(20))]
    shares = {"a": Fraction(1, 4), "b": Fraction(3, 4)}
    stream = PromptStream(named, prompts_per_step=4, seed=3, mixture=shares)
    ids = list(stream.dataset(10 * 4)["problem_id"])
    for step in range(10):
        of_step = ids[4 * step : 4 * step + 4]
        assert sorted(each[0] for each in of_step) == ["a", "b", "b", "b"] and len(set(of_step)) == 4
    assert [stream.source(i) for i in range(40)] == [each[0] for each in ids]
    assert len({each for each in ids[:12] if each[0] == "b"}) == 9  # its first epoch repeats nothing
    assert len({each for each in ids if each[0] == "a"}) == 10  # ten steps are one epoch of a
    resumed = PromptStream(named, prompts_per_step=4, seed=3, mixture=shares)
    assert [row["problem_id"] for row in resumed.take(25, 15)] == ids[25:]
    assert ids != PromptStream(named, prompts_per_step=4, seed=4, mixture=shares).dataset(40)["problem_id"]




def test_there_are_never_more_checkpoints_than_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[list[str]] = []

    def written(*_: Any, **__: Any) -> None:  # where TRL would delete the oldest: the newest is complete
        found.append(sorted(path.name for path in tmp_path.glob("checkpoint-*")))

    monkeypatch.setattr("transformers.trainer.rotate_checkpoints", written)
    make(tmp_path, max_steps=4, save_strategy="steps", save_steps=1, save_total_limit=2).train()
    assert found == [["checkpoint-1"], ["checkpoint-1", "checkpoint-2"], ["checkpoint-2", "checkpoint-3"],
                     ["checkpoint-3", "checkpoint-4"]]
