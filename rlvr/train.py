"""`accelerate launch -m rlvr.train RECIPE [key=value ...] [--resume]`: where the parts meet.

Everything that can be wrong with a recipe, its data or its run directory is found before the model loads.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr.config.algorithm import build_algorithm
from rlvr.config.recipe import Recipe, load_recipe, resolved
from rlvr.config.steps import plan_of_steps
from rlvr.data.checks import check_enough, overlap
from rlvr.data.load import load_problems
from rlvr.judging.golds import Section, usable
from rlvr.models.loading import load_processing, source
from rlvr.models.prompts import check_prompt_lengths
from rlvr.models.quiet import quiet
from rlvr.probes.forecast import budget_of, check_budget
from rlvr.probes.settings import probe_callback, probe_settings, truth_for
from rlvr.runs.owner import release
from rlvr.runs.run_dir import RunDir
from rlvr.training.arguments import cuda, peft_config, shaped_rewards, training_arguments
from rlvr.training.open_run import open_run
from rlvr.training.processes import leave, on_main, rank, tell_launcher, world_size
from rlvr.types import Problem, UserError

if TYPE_CHECKING:
    from rlvr.probes.arms import Arm


GRACE = 5.0
"""Seconds that the other processes wait when a run is refused. torchrun ends them once rank 0 has ended, and then its
summary closes with rank 0's line as the root cause, and tells it once instead of once per process."""


def main(argv: Sequence[str] | None = None) -> int:
    """Train as the recipe says; returns the exit code. A user's mistake is one line on stderr and code 2."""
    parser = argparse.ArgumentParser(prog="python -m rlvr.train", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recipe", help="path of a recipe, e.g. recipes/quickstart/lab_grpo.yaml")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="recipe settings to change")
    parser.add_argument("--resume", action="store_true", help="go on with the run in the recipe's run_dir")
    arguments = parser.parse_args(argv)
    try:
        run(arguments.recipe, arguments.overrides, resume=arguments.resume)
    except UserError as error:
        if rank() == 0:
            sys.stderr.write(f"error: {error}\n")
        else:
            time.sleep(GRACE)
        tell_launcher(f"error: {error}")
        return 2
    finally:
        release()
    return 0


def run(recipe_path: str | Path, overrides: Sequence[str] = (), *, resume: bool = False) -> RunDir:
    """One training run, from recipe to report. Returns its directory.

    Raises: UserError for anything the user can mend.
    """
    recipe = load_recipe(recipe_path, overrides)
    if rank() == 0:
        RunDir(recipe.run_path).check_usable(resume=resume)
    algorithm = build_algorithm(recipe)  # imports torch: what needs none to be found is found above
    plan_of_steps(recipe.train, world_size())
    train_problems = load_problems(recipe.data.train, where="data.train")
    probe_problems = load_problems(recipe.data.probe, where="data.probe") if recipe.probes.enabled else []
    overlap(recipe, train_problems, probe_problems)
    check_enough(recipe, train_problems)
    quiet()

    from accelerate import PartialState

    from rlvr.config.algorithm import critic_note
    from rlvr.judging.judge import Judge
    from rlvr.probes.arms import arms_of, open_arms

    state = PartialState(cpu=not cuda())
    with Judge(**recipe.judge.options()) as judge:
        train_problems, probe_problems = on_main(lambda: usable(judge, [
            Section("data.train", recipe.data.train, train_problems),
            Section("data.probe", recipe.data.probe, probe_problems),
        ]))
        check_enough(recipe, train_problems)
        arms = arms_of(recipe, probe_problems) if recipe.probes.enabled else []
        on_main(lambda: check_budget(recipe, probe_problems))
        run_dir = RunDir(recipe.run_path)
        lab = recipe.model.path == "lab"

        def opened() -> str | None:
            created = RunDir.create(recipe.run_path, resume=resume, own=True)
            checkpoint = open_run(created, resolved(recipe), probe_problems, lab=lab, resume=resume)
            open_arms(created, arms, resolved(recipe), lab=lab)
            return checkpoint

        checkpoint = on_main(opened)
        if state.is_main_process and (note := critic_note(algorithm, recipe.train.learning_rate)):
            sys.stderr.write(f"{note}\n")
        try:
            _train(recipe, run_dir, checkpoint, train_problems, probe_problems, arms, judge)
        except Exception as error:
            if not _disk_full(run_dir, error):
                raise
            raise UserError(f"{run_dir.path}: no space left on the device; nothing written before is lost: free some "
                            "space, then go on with --resume") from error
        if state.is_main_process and recipe.probes.enabled:
            _report(run_dir)
    return run_dir


def _train(
    recipe: Recipe,
    run_dir: RunDir,
    checkpoint: str | None,
    train_problems: Sequence[Problem],
    probe_problems: Sequence[Problem],
    arms: Sequence[Arm],
    judge: Any,
) -> None:
    from transformers import PrinterCallback
    from transformers.trainer_callback import ProgressCallback

    from rlvr.probes.arms import ArmCallback
    from rlvr.training.tracking import CheckpointMarker, MetricsCallback, tracked
    from rlvr.training.trainer import RLVRTrainer

    images = any(problem.images for problem in [*train_problems, *probe_problems])
    tokenizer = load_processing(recipe.model.path, images=images, revision=recipe.model.revision)
    if recipe.model.chat_template is not None:
        tokenizer.chat_template = Path(recipe.model.chat_template).read_text()
    check_prompt_lengths(tokenizer, train_problems, recipe.train.max_prompt_tokens)
    for arm in arms:
        check_prompt_lengths(tokenizer, arm.problems, sys.maxsize)
    algorithm = build_algorithm(recipe)
    main = rank() == 0
    trainer = RLVRTrainer(
        source(recipe.model.path),
        algorithm=algorithm,
        problems=train_problems,
        judge=judge,
        args=training_arguments(recipe, run_dir),
        seed=recipe.seed,
        truncated=recipe.train.truncated,
        shaped_rewards=shaped_rewards(recipe.train.rewards),
        processing_class=tokenizer,
        peft_config=peft_config(recipe),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    with tracked(recipe, run_dir, main=main) as (progress, wandb_run):
        trainer.add_callback(progress)
        live: dict[str, Any] = {
            "truth": truth_for(recipe, tokenizer),
            "sampler": trainer.live_sampler,
            "unwrap": trainer.unwrapped,
            "progress": progress.on_probe_progress,
        }
        if recipe.probes.enabled:
            trainer.add_callback(
                probe_callback(
                    recipe,
                    probe_problems,
                    judge,
                    run_dir.path,
                    every=recipe.probes.every,
                    generated_tokens=lambda: trainer.progress.generated_tokens,
                    listeners=[progress.on_probe, *([wandb_run.log_probe] if wandb_run else [])],
                    budget=budget_of(recipe),
                    **live,
                )
            )
        for arm in arms:
            settings = probe_settings(recipe, arm.problems) | live | {"every": recipe.train.steps}
            settings["progress"] = partial(progress.on_probe_progress, arm=arm.name)
            listeners = [progress.on_arm, *([partial(wandb_run.log_arm, arm.name)] if wandb_run else [])]
            trainer.add_callback(
                ArmCallback(arm, judge=judge, run_dir=run_dir.arm(arm.name).path, listeners=listeners, **settings)
            )
        trainer.add_callback(MetricsCallback(run_dir, wandb_run))
        trainer.add_callback(CheckpointMarker(run_dir))
        trainer.train(resume_from_checkpoint=checkpoint)


def _report(run_dir: RunDir) -> None:
    from rlvr.report.page import write_report
    from rlvr.report.report import load_report
    from rlvr.report.summary import summary_table

    report = load_report(run_dir.path)
    page = write_report(report)
    sys.stdout.write(f"{summary_table(report)}\nreport: {page}\n")


def _disk_full(run_dir: RunDir, error: Exception) -> bool:
    # Each library words it differently (OSError, SafetensorError, RuntimeError of torch.save), so ask the disk as well.
    return "No space left" in str(error) or shutil.disk_usage(run_dir.path).free < 2**16


if __name__ == "__main__":
    leave(main())
