"""The distillation arm: SFT on a stronger teacher's answers, the one way of training that adds to the boundary.

Reinforcement learning can only reward what the base already samples; a teacher shows it answers that it rarely finds
(2504.13837, section 4.2, Figure 7). Here the teacher is the exact solver: all right answers to those training problems
that the base solves in fewer than one of twenty tries. Probed like any training, the run stands beside RL arms.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from datasets import Dataset
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerFast, PrinterCallback
from transformers.trainer_callback import ProgressCallback
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from rlvr.config.data import LAB, DataSpec
from rlvr.config.distillation import BATCH_SIZE, RARELY, distilled
from rlvr.config.recipe import Recipe, resolved
from rlvr.data.load import load_problems
from rlvr.judging.judge import Judge
from rlvr.judging.problems import load_probe_set, with_usable_golds
from rlvr.lab.countdown import ANSWER_TOKENS, derivations
from rlvr.lab.exact import exact_success
from rlvr.lab.model import EOS, load_lab_model
from rlvr.probes.callback import ProbeCallback
from rlvr.probes.prober import Prober
from rlvr.probes.settings import probe_settings
from rlvr.runs.run_dir import RunDir
from rlvr.training.arguments import common_arguments
from rlvr.training.open_run import open_run
from rlvr.training.trackers import check_installed
from rlvr.training.tracking import CheckpointMarker, MetricsCallback, tracked
from rlvr.training.trl_settings import OwnCard
from rlvr.types import Decoding, Problem

DECODING = Decoding(temperature=1.0, top_p=1.0, max_new_tokens=ANSWER_TOKENS)
"""With which the base rarely solves a problem; the probes have the recipe's."""
CHUNK = 128


def distill(recipe: Recipe, *, resume: bool = False) -> RunDir:
    """Train the base on the solver's answers, with the probes of `recipe`, and write its run directory.

    Of the recipe count name, seed, run_dir, data.probe, probes, judge, tracking and, of `train`, steps, save_every,
    keep_checkpoints and log_every; see `distilled` for the others. Everything is computed in
    this process. About 2 CPU minutes for 300 steps and three probes. Raises UserError as `distilled` does, and for a
    run directory that is not empty without `resume`.
    """
    recipe = distilled(recipe)
    check_installed(recipe.tracking.to)
    with Judge(**recipe.judge.options()) as judge:
        problems = with_usable_golds(recipe, load_probe_set(recipe), judge).probe
        run = RunDir.create(recipe.run_path, resume=resume, own=True)
        checkpoint = open_run(run, resolved(recipe), problems, lab=True, resume=resume)
        model, tokenizer = load_lab_model(LAB)
        taught = rarely_solved(model, tokenizer, recipe.data.train_set)
        with tracked(recipe, run) as (progress, trackers):
            prober = Prober(
                problems, probe_settings(recipe, problems, every=recipe.probes.every), judge=judge, run_dir=run.path,
                listeners=[progress.on_probe, *([trackers.log_probe] if trackers else [])],
                progress=progress.on_probe_progress,
            )
            trainer = _Distiller(
                model, args=_arguments(recipe, run), train_dataset=answers(taught, tokenizer),
                processing_class=tokenizer,
                callbacks=[progress, ProbeCallback(prober, truth=exact_success), MetricsCallback(run, trackers),
                           CheckpointMarker(run)],
            )
            trainer.remove_callback(PrinterCallback)
            trainer.remove_callback(ProgressCallback)
            trainer.train(resume_from_checkpoint=checkpoint)
    return run


def rarely_solved(model: Any, tokenizer: PreTrainedTokenizerFast, data: DataSpec) -> list[Problem]:
    """Those of `data`'s problems that `model` solves with a probability below RARELY."""
    problems = load_problems(data, where="data.train")
    p = [
        exact_success(model, tokenizer, problems[start : start + CHUNK], DECODING)
        for start in tqdm(range(0, len(problems), CHUNK), desc="choosing problems", unit=f"{CHUNK} problems")
    ]
    return [problem for problem, success in zip(problems, np.concatenate(p), strict=True) if success < RARELY]


def answers(taught: list[Problem], tokenizer: PreTrainedTokenizerFast) -> Dataset:
    """A row per problem and right answer: `input_ids`, and `labels` that are -100 on the prompt."""
    ids = tokenizer.get_vocab()
    rows: list[dict[str, list[int]]] = []
    for problem in taught:
        assert isinstance(problem.prompt, str)  # lab prompts are
        prompt = [ids[word] for word in problem.prompt.split()]
        for text in derivations(problem.extra["numbers"], int(problem.gold), problem.extra["max_value"]):
            answer = [ids[word] for word in f"{text} {EOS}".split()]
            rows.append({"input_ids": prompt + answer, "labels": [-100] * len(prompt) + answer})
    return Dataset.from_list(rows)


class _Distiller(OwnCard, SFTTrainer):
    """TRL's, without its model card."""


def _arguments(recipe: Recipe, run: RunDir) -> SFTConfig:
    return SFTConfig(
        **common_arguments(recipe, run),
        per_device_train_batch_size=BATCH_SIZE,
        loss_type="nll",
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        bf16=False,
        gradient_checkpointing=False,
    )
