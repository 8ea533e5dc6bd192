"""The base's right answers in the loss: which are stored, the loss by hand, a training and its resume."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from rlvr.algorithms.grpo import GRPO, GRPOConfig
from rlvr.config.recipe import load_recipe
from rlvr.config.rehearsal import RehearsalSpec
from rlvr.interfaces import SampleRequest
from rlvr.lab.model import build_tokenizer
from rlvr.runs.files import read_jsonl
from rlvr.training.rehearsal import PREFIX, Drawn, Rehearsal, RehearsingTrainer, Store, padded
from rlvr.training.step import Progress
from rlvr.training.trainer import RLVRTrainer
from rlvr.types import Completion, Decoding, Problem, Reason, UserError, Verdict
from tests.support.small_run import RECIPE
from tests.support.tiny import ParityJudge, config, max_difference, tiny_model, train_problems

DRAWN = [Drawn("a", 4, ["a1", "a2", "a3", "a4"]), Drawn("b", 4, ["b1"]), Drawn("c", 4, []), Drawn("d", 4, ["d1", "d2"])]


def test_which_answers_are_stored() -> None:
    assert Store(DRAWN, "all").problems == ["a", "b", "d"]
    assert Store(DRAWN, "rare").problems == ["b", "d"]
    assert Store(DRAWN, "mastered").problems == ["a"]
    nearly = [Drawn("e", 4, ["e1", "e2", "e3"])]
    assert Store(nearly, "rare").problems == ["e"] and Store(nearly, "mastered").problems == []


def test_every_problem_is_taken_equally_often() -> None:
    store = Store(DRAWN, "all")
    drawn = [store.draw(key) for key in range(3000)]
    assert drawn[:50] == [store.draw(key) for key in range(50)]
    assert all(text in store.answers[problem] for problem, text in drawn)
    for problem in "abd":  # four standard errors
        assert sum(one == problem for one, _ in drawn) / 3000 == pytest.approx(1 / 3, abs=0.035)
    assert sum(text == "a2" for _, text in drawn) / 3000 == pytest.approx(1 / 12, abs=0.02)


def test_rows_are_padded_on_either_side() -> None:
    ids, mask = padded([[5, 6], [7]], left=True)
    assert ids.tolist() == [[5, 6], [0, 7]] and mask.tolist() == [[1, 1], [0, 1]]
    assert padded([[5, 6], [7]], left=False)[0].tolist() == [[5, 6], [7, 0]]


class Scripted:
    """A sampler and a judge: of every problem the first answer is right, the second right and cut, the third wrong."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    def sample(self, requests: Sequence[SampleRequest], *_: Any, **__: Any) -> list[Completion]:
        self.asked += [(request.problem.id, request.sample) for request in requests]
        return [Completion(request.problem.id, request.sample, ["right", "right", "wrong"][request.sample],
                           10 + request.sample, truncated=request.sample == 1) for request in requests]

    def judge(self, problems: Sequence[Problem], texts: Sequence[str]) -> list[Verdict]:
        return [Verdict(text == "right", Reason.IDENTICAL) for text in texts]


def drawing(scripted: Scripted, world: int, rank: int) -> tuple[list[Drawn], Progress]:
    """What the base draws for the first two of three problems on one of several processes, two rows on each at once."""
    trainer: Any = SimpleNamespace(
        accelerator=SimpleNamespace(num_processes=world, process_index=rank), prompts_per_step=world, num_generations=2,
        live_sampler=lambda: scripted, probing=nullcontext, rollout_seed=0, progress=Progress())
    rehearsal = Rehearsal(RehearsalSpec(samples=3, problems=2, coef=0.25), trainer, problems=train_problems(3),
                          judge=scripted, decoding=Decoding(1.0, 1.0, 8), file=Path("unused"), resumed=False)
    assert trainer.rehearsal_coef == 0.25
    return rehearsal._draw(), trainer.progress


def test_right_answers_that_ended_are_stored_and_all_are_counted() -> None:
    drawn, progress = drawing(Scripted(), 1, 0)
    assert drawn == [Drawn(problem.id, 3, ["right"]) for problem in train_problems(3)[:2]]
    assert (progress.generated_rollouts, progress.generated_tokens) == (6, 2 * (10 + 11 + 12))


def test_processes_share_the_answers_of_the_base() -> None:
    a, b = (problem.id for problem in train_problems(3)[:2])
    first, second = Scripted(), Scripted()
    drawing(first, 2, 0)
    drawing(second, 2, 1)
    assert first.asked == [(a, 0), (a, 1), (b, 1), (b, 2)] and second.asked == [(a, 2), (b, 0)]


def rehearsing(folder: Path, *, resume: Path | None = None, **spec: Any) -> RehearsingTrainer:
    trainer = RehearsingTrainer(
        tiny_model(), algorithm=GRPO(GRPOConfig()), problems=train_problems(), judge=ParityJudge(),
        processing_class=build_tokenizer(), args=config(folder, max_steps=4, save_strategy="steps", save_steps=2))
    trainer.add_callback(Rehearsal(
        RehearsalSpec(**spec), trainer, problems=train_problems(), judge=ParityJudge(), decoding=Decoding(1.0, 1.0, 8),
        file=folder / "rehearsal.jsonl", resumed=resume is not None))
    return trainer


def test_the_loss_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two micro-batches of eight rows make an update: their shares add up to the mean over the 16 answers."""
    trainer = rehearsing(tmp_path)
    words = [problem.extra["numbers"] for problem in train_problems()]
    store = {problem.id: [" + ".join(map(str, numbers[: 2 + i % 3]))]
             for i, (problem, numbers) in enumerate(zip(train_problems(), words, strict=True))}
    trainer.store = Store([Drawn(name, 2, texts) for name, texts in store.items()], "all")
    tensors = trainer.rehearsed(16)
    halves = [{name: x[part] for name, x in tensors.items()} for part in (slice(8), slice(8, 16))]
    found = sum(trainer.rehearsal_loss(trainer.model, half).item() for half in halves)
    tokenizer, expected, by_token = build_tokenizer(), [], []
    problems = {problem.id: problem for problem in train_problems()}
    for i in range(16):
        mask = tensors[f"{PREFIX}prompt_mask"][i].bool()
        prompt = tokenizer.decode(tensors[f"{PREFIX}prompt_ids"][i][mask])
        (name,) = [name for name, problem in problems.items() if problem.prompt == prompt]
        answer = [*tokenizer.encode(store[name][0], add_special_tokens=False), tokenizer.eos_token_id]
        row = [*tokenizer.encode(prompt, add_special_tokens=False), *answer]
        with torch.no_grad():
            logits = tiny_model()(input_ids=torch.tensor([row])).logits[0, -len(answer) - 1 : -1]
        logps = logits.log_softmax(-1).gather(1, torch.tensor(answer)[:, None])
        expected.append(-logps.mean().item())
        by_token += (-logps).flatten().tolist()
    assert found == pytest.approx(sum(expected) / 16, rel=1e-5)
    total, count = trainer.means.take(lambda sums: sums)["train/rehearsal_nll"]
    assert count == len(by_token) and total == pytest.approx(sum(by_token), rel=1e-5)
    # On two processes an update has 32 answers, and the engine takes the mean of the gradients.
    monkeypatch.setattr(type(trainer.accelerator), "num_processes", 2)
    again = sum(trainer.rehearsal_loss(trainer.model, half).item() for half in halves)
    assert again == pytest.approx(found, rel=1e-6)


def test_every_step_and_process_draws_answers_of_its_own(tmp_path: Path) -> None:
    trainer = rehearsing(tmp_path)
    keys: list[int] = []

    def draw(key: int) -> tuple[str, str]:
        keys.append(key)
        return train_problems()[0].id, "1"

    trainer.store = SimpleNamespace(draw=draw)  # pyright: ignore[reportAttributeAccessIssue]
    for step, rank, count in ((0, 0, 4), (0, 0, 2), (0, 1, 2), (1, 0, 4)):
        trainer.state.global_step = step
        trainer.accelerator = SimpleNamespace(process_index=rank, device=torch.device("cpu"))
        trainer.rehearsed(count)
    assert keys[:4] == keys[4:8] and len({*keys[:4], *keys[8:]}) == 8


def test_the_term_is_added_with_its_weight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = rehearsing(tmp_path, coef=0.25)
    monkeypatch.setattr(RLVRTrainer, "part_loss", lambda *_: torch.tensor(1.0))
    monkeypatch.setattr(trainer, "rehearsal_loss", lambda *_: torch.tensor(8.0))
    assert trainer.part_loss(trainer.model, {}).item() == 3.0


def test_a_training_rehearses_what_its_base_got_right_and_resumes(tmp_path: Path) -> None:
    trainer = rehearsing(tmp_path, samples=3, problems=10, coef=2.0)
    trainer.train()
    rows = read_jsonl(tmp_path / "rehearsal.jsonl")
    assert len(rows) == 10 and {row["samples"] for row in rows} == {3}
    right = [text for row in rows for text in row["right"]]
    assert right and all(len(text) % 2 == 0 for text in right)  # as the judge says
    assert trainer.progress.generated_rollouts == 30 + 4 * 16
    values = [row["train/rehearsal_nll"] for row in trainer.state.log_history if "train/rehearsal_nll" in row]
    assert len(values) == 4 and values[-1] < values[0]
    resumed = rehearsing(tmp_path, samples=3, problems=10, coef=2.0, resume=tmp_path / "checkpoint-2")
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert max_difference(resumed.model, trainer.model) == 0.0
    whole = (tmp_path / "rehearsal.jsonl").read_text().splitlines(keepends=True)

    def refused(message: str) -> None:
        with pytest.raises(UserError, match=message):
            rehearsing(tmp_path, samples=3, problems=10, resume=tmp_path / "checkpoint-2").train(
                resume_from_checkpoint=str(tmp_path / "checkpoint-2"))

    # bug: a file that a power cut had shortened was taken, and the run went on as another one
    (tmp_path / "rehearsal.jsonl").write_text("".join(whole[:3]))
    refused("rehearsal.jsonl: found 3 rows, expected one .* for each of the 10 training problems; the file is damaged")
    (tmp_path / "rehearsal.jsonl").write_text(
        "".join(json.dumps({"problem_id": row["problem_id"]}) + "\n" for row in rows))
    refused("rehearsal.jsonl: found 10 rows, expected one with problem_id, samples and right")
    (tmp_path / "rehearsal.jsonl").unlink()
    refused(r"the run began without train\.rehearse, or the file was removed")


def test_an_empty_store_and_a_budget_of_tokens_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train\.rehearse: found none in 50 answers to each of 2 problems"):
        rehearsing(tmp_path, samples=50, problems=2, answers="mastered").train()
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    with pytest.raises(UserError, match=r"train\.rehearse: found .*, expected null with train\.micro_batch_tokens"):
        load_recipe(tmp_path / "recipe.yaml", ["train.rehearse={samples: 2}", "train.micro_batch_tokens=512"])
