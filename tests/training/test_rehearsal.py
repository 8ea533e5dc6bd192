"""The base's right answers in the loss: which are stored, the loss by hand, a training and its resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from rlvr.algorithms.grpo import GRPO, GRPOConfig
from rlvr.config.recipe import load_recipe
from rlvr.config.rehearsal import RehearsalSpec
from rlvr.lab.model import build_tokenizer
from rlvr.runs.files import read_jsonl
from rlvr.training.rehearsal import PREFIX, Drawn, Rehearsal, RehearsingTrainer, Store, padded
from rlvr.types import Decoding, UserError
from tests.support.small_run import RECIPE
from tests.support.tiny import ParityJudge, config, max_difference, tiny_model, train_problems

DRAWN = [Drawn("a", 4, ["a1", "a2", "a3", "a4"]), Drawn("b", 4, ["b1"]), Drawn("c", 4, []), Drawn("d", 4, ["d1", "d2"])]


def test_which_answers_are_stored() -> None:
    assert Store(DRAWN, "all").problems == ["a", "b", "d"]
    assert Store(DRAWN, "rare").problems == ["b", "d"]
    assert Store(DRAWN, "mastered").problems == ["a"]


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


def rehearsing(folder: Path, *, resume: Path | None = None, **spec: Any) -> RehearsingTrainer:
    trainer = RehearsingTrainer(
        tiny_model(), algorithm=GRPO(GRPOConfig()), problems=train_problems(), judge=ParityJudge(),
        processing_class=build_tokenizer(), args=config(folder, max_steps=4, save_strategy="steps", save_steps=2))
    trainer.add_callback(Rehearsal(
        RehearsalSpec(**spec), trainer, problems=train_problems(), judge=ParityJudge(), decoding=Decoding(1.0, 1.0, 8),
        file=folder / "rehearsal.jsonl", resumed=resume is not None))
    return trainer


def test_the_loss_by_hand(tmp_path: Path) -> None:
    """Two micro-batches of eight rows make an update: their shares add up to the mean over the 16 answers."""
    trainer = rehearsing(tmp_path)
    words = [problem.extra["numbers"] for problem in train_problems()]
    store = {problem.id: [" + ".join(map(str, numbers[: 2 + i % 3]))]
             for i, (problem, numbers) in enumerate(zip(train_problems(), words, strict=True))}
    trainer.store = Store([Drawn(name, 2, texts) for name, texts in store.items()], "all")
    tensors = trainer.rehearsed(16)
    halves = [{name: x[part] for name, x in tensors.items()} for part in (slice(8), slice(8, 16))]
    found = sum(trainer.rehearsal_loss(trainer.model, half).item() for half in halves)
    tokenizer, expected = build_tokenizer(), []
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
    assert found == pytest.approx(sum(expected) / 16, rel=1e-5)


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
    (tmp_path / "rehearsal.jsonl").unlink()
    with pytest.raises(UserError, match=r"the run began without train\.rehearse"):
        rehearsing(tmp_path, resume=tmp_path / "checkpoint-2").train(
            resume_from_checkpoint=str(tmp_path / "checkpoint-2"))


def test_an_empty_store_and_a_budget_of_tokens_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train\.rehearse: found none in 50 answers to each of 2 problems"):
        rehearsing(tmp_path, samples=50, problems=2, answers="mastered").train()
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    with pytest.raises(UserError, match=r"train\.rehearse: found .*, expected null with train\.micro_batch_tokens"):
        load_recipe(tmp_path / "recipe.yaml", ["train.rehearse={samples: 2}", "train.micro_batch_tokens=512"])
