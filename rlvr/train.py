"""`accelerate launch -m rlvr.train RECIPE [key=value ...] [--resume]`: one training run, from recipe to report.

Everything that can be wrong with a recipe, its data or its run directory is found before the model loads.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr.config.algorithm import build_algorithm
from rlvr.config.mixture import shares
from rlvr.config.recipe import Recipe, load_recipe, resolved
from rlvr.config.steps import plan_of_steps
from rlvr.judging.problems import ProblemSets, load_problem_sets, with_short_prompts, with_usable_golds
from rlvr.models.declared import check_model
from rlvr.models.loading import keep_float32, load_options
from rlvr.models.prompts import check_prompt_lengths
from rlvr.models.quiet import quiet
from rlvr.probes.budget_checks import budget_of, check_budget
from rlvr.probes.sets import ProbeSet, open_sets, sets_of
from rlvr.probes.settings import probe_settings, truth_for
from rlvr.probes.world import meet
from rlvr.runs.files import full_disk_explained
from rlvr.runs.kept_checkpoints import ended_by
from rlvr.runs.owner import release
from rlvr.runs.run_dir import RunDir
from rlvr.training.arguments import cuda, peft_config, shaped_rewards, training_arguments
from rlvr.training.build_locks import clear_build_locks
from rlvr.training.open_run import open_run, resume_explained
from rlvr.training.processes import (
    GoldsOfAll,
    check_parts,
    failed,
    launched_in_parts,
    leave,
    on_main,
    rank,
    world_size,
)
from rlvr.training.starting_model import starting_model
from rlvr.training.trackers import check_installed
from rlvr.types import Decoding, UnsoundError, UserError

if TYPE_CHECKING:
    from rlvr.judging.judge import Judge
    from rlvr.probes.callback import ProbeCallback
    from rlvr.probes.conditions import Condition
    from rlvr.training.progress_line import ProgressLine
    from rlvr.training.trackers import Trackers
    from rlvr.training.trainer import RLVRTrainer

def main(argv: Sequence[str] | None = None) -> int:
    """Train as the recipe says; returns the exit code. A user's mistake is one line on stderr and code 2."""
    parser = argparse.ArgumentParser(prog="python -m rlvr.train", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recipe", help="path of a recipe, e.g. recipes/quickstart/lab_grpo.yaml")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="recipe settings to change")
    parser.add_argument("--resume", action="store_true", help="continue the run in the recipe's run_dir")
    arguments = parser.parse_args(argv)
    try:
        run(arguments.recipe, arguments.overrides, resume=arguments.resume)
    except UserError as error:
        return failed(f"error: {error}", 2)
    except UnsoundError as error:
        return failed(f"error: {error}", 1)
    except KeyboardInterrupt as interrupt:
        return failed(f"interrupted{interrupt}", 130)
    finally:
        release()
    return 0


def run(recipe_path: str | Path, overrides: Sequence[str] = (), *, resume: bool = False) -> RunDir:
    """One training run, from recipe to report. Returns its directory.

    In this order: the recipe and what can be checked without data, the problems, the prompts and the model's files, the
    gold answers, the budget of the probes, the run directory (new or resumed), the model, the training with its probes,
    the report.

    Raises: UserError for what the user can fix, UnsoundError when training gives NaN or infinity, or
    computes other log-probabilities than sampling.
    """
    recipe = load_recipe(recipe_path, overrides)
    check_installed(recipe.tracking.to)
    run_dir = RunDir(recipe.run_path)
    if rank() == 0:
        run_dir.check_usable(resume=resume)
    build_algorithm(recipe)  # imports torch: what can be checked without it is checked above
    plan_of_steps(recipe.train, world_size())  # raises if the rollouts of a step do not divide over the processes
    problems = load_problem_sets(recipe)
    if launched_in_parts():
        check_parts(problems.train, quantized=recipe.model.quantization is not None)
    quiet()
    tokenizer, stops, short = check_model(recipe, problems.train, problems.probe)
    problems = with_short_prompts(recipe, problems, short)
    if stops.note and rank() == 0:
        sys.stderr.write(f"note: a completion ends with {stops.tokens}; {stops.note}\n")

    from accelerate import PartialState

    from rlvr.judging.judge import Judge
    from rlvr.probes.conditions import conditions_of
    from rlvr.training.engine import fit_engine

    patience = timedelta(seconds=recipe.train.ddp_timeout)  # the one in TrainingArguments comes too late to count
    clear_build_locks(PartialState(cpu=not cuda(), timeout=patience))
    args = training_arguments(recipe, run_dir)
    with Judge(**recipe.judge.options()) as judge:
        golds = GoldsOfAll(judge, [*problems.train, *problems.probe])
        problems = on_main(lambda: with_usable_golds(recipe, problems, golds))
        sets = sets_of(recipe, problems.sets, run_dir) if recipe.probes.enabled else []
        conditions = conditions_of(sets[0].recipe, sets[0].problems) if recipe.probes_here else []
        for each in sets:
            on_main(partial(check_budget, each.recipe, each.problems, each.part))
        longest_prompt = max([recipe.train.max_prompt_tokens, *(
            check_prompt_lengths(tokenizer, asked, sys.maxsize)
            for asked in [problems.probe, *(condition.problems for condition in conditions)])])
        decodings = [*(each.recipe.probe_decoding for each in sets), *(each.decoding for each in conditions)]
        fit_engine(args, recipe, decodings if recipe.probes_here else [], longest_prompt)
        checkpoint = on_main(lambda: _open(recipe, problems, sets, conditions, resume=resume))
        ended = on_main(lambda: _ended(recipe, run_dir, checkpoint))
        with full_disk_explained(run_dir.path), resume_explained(run_dir, recipe_path, overrides):
            if not ended:
                _train(recipe, run_dir, checkpoint, problems, sets, conditions, judge, tokenizer, args)
        if recipe.probes_here:
            on_main(lambda: _report(run_dir))
    return run_dir


def _open(
    recipe: Recipe, problems: ProblemSets, sets: Sequence[ProbeSet[Recipe]], conditions: Sequence[Condition], *,
    resume: bool,
) -> str | None:
    """Make or check the run directory; returns the checkpoint to resume from. On rank 0."""
    from rlvr.config.algorithm import critic_note
    from rlvr.probes.conditions import open_conditions

    run_dir = RunDir.create(recipe.run_path, resume=resume, own=True)
    tree, lab = resolved(recipe), recipe.model.path == "lab"
    left_out = {"prompts_too_long": problems.too_long} if problems.too_long else {}
    own = sets[0].problems if sets else []
    checkpoint = open_run(run_dir, tree, own, lab=lab, resume=resume, left_out=left_out)
    if recipe.probes_here:
        open_sets(sets, tree, lab=lab)
    open_conditions(run_dir, conditions, tree, lab=lab)
    if problems.too_long:
        sys.stderr.write(f"data.train: {problems.too_long:,} problems are left out, as their prompts have more than "
                         f"{recipe.train.max_prompt_tokens:,} tokens\n")
    if recipe.probes.enabled and not recipe.probes_here:
        sys.stderr.write(f"probes are left to: rlvr probe --watch {run_dir.path} -o {run_dir.path}-probed\n")
    if note := critic_note(build_algorithm(recipe), recipe.train.learning_rate):
        sys.stderr.write(f"{note}\n")
    return checkpoint


def _train(
    recipe: Recipe, run_dir: RunDir, checkpoint: str | None, problems: ProblemSets, sets: Sequence[ProbeSet[Recipe]],
    conditions: Sequence[Condition], judge: Judge, tokenizer: Any, args: Any,
) -> None:
    from transformers import PrinterCallback
    from transformers.trainer_callback import ProgressCallback

    from rlvr.training.anchor import Anchor
    from rlvr.training.kept_rollouts import KeptRollouts
    from rlvr.training.reference import ReferenceSync
    from rlvr.training.rehearsal import Rehearsal, RehearsingTrainer
    from rlvr.training.tracking import CheckpointMarker, MetricsCallback, RolloutTables, tracked
    from rlvr.training.trainer import RLVRTrainer

    trainer_class = RLVRTrainer if recipe.train.rehearse is None else RehearsingTrainer
    trainer = trainer_class(
        starting_model(recipe.model),
        algorithm=build_algorithm(recipe),
        problems=problems.train,
        judge=judge,
        args=args,
        seed=recipe.seed,
        truncated=recipe.train.truncated,
        shaped_rewards=shaped_rewards(recipe.train.rewards),
        mixture=shares(recipe.data.train),
        on_credit=KeptRollouts(run_dir, recipe.train.keep_rollouts,
                               {problem.id: problem for problem in problems.train}, recipe.seed),
        prompt_choice=recipe.train.choose_prompts,
        processing_class=tokenizer,
        peft_config=peft_config(recipe),
        quantization_config=load_options(recipe.model).get("quantization_config"),
    )
    if recipe.model.quantization is not None:
        keep_float32(trainer.model)
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    with tracked(recipe, run_dir, main=rank() == 0) as (progress, trackers):
        meet()  # W&B may take a while to start
        trainer.add_callback(progress)
        if recipe.train.anchor is not None:  # before the probes, which measure the weights that were pulled back
            trainer.add_callback(Anchor(recipe.train.anchor, accelerator=trainer.accelerator, record=trainer.record,
                                        resume_from=checkpoint))
        if recipe.train.rehearse is not None and isinstance(trainer, RehearsingTrainer):
            trainer.add_callback(Rehearsal(
                recipe.train.rehearse, trainer, problems=problems.train, judge=judge, file=run_dir.rehearsal,
                decoding=Decoding(recipe.train.temperature, 1.0, recipe.train.max_new_tokens),
                resumed=checkpoint is not None))
        if recipe.train.ref_sync is not None:
            trainer.add_callback(ReferenceSync(
                recipe.train.ref_sync, reference=trainer.ref_model, accelerator=trainer.accelerator,
                record=trainer.record, resume_from=checkpoint))
        for callback in _probes(recipe, run_dir, sets, conditions, judge, trainer, progress, trackers):
            trainer.add_callback(callback)
        trainer.add_callback(MetricsCallback(run_dir, trackers))
        if trackers is not None:
            trainer.add_callback(RolloutTables(run_dir, trackers))
        keep = recipe.probes.keep if recipe.probes.enabled else ()
        trainer.add_callback(CheckpointMarker(run_dir, newest=recipe.train.keep_checkpoints, rules=keep))
        trainer.train(resume_from_checkpoint=checkpoint)


def _probes(
    recipe: Recipe, run_dir: RunDir, sets: Sequence[ProbeSet[Recipe]], conditions: Sequence[Condition], judge: Judge,
    trainer: RLVRTrainer, progress: ProgressLine, trackers: Trackers | None,
) -> Iterator[ProbeCallback]:
    """The probes of the run on each set, and of the base and the last step under each other condition."""
    from rlvr.probes.callback import ProbeCallback
    from rlvr.probes.conditions import ConditionProber
    from rlvr.probes.prober import Prober

    def live(of: Recipe, prober: Prober, stop: Callable[[dict[str, Any]], bool] | None = None) -> ProbeCallback:
        return ProbeCallback(prober, sampler=trainer.live_sampler, unwrap=trainer.unwrapped, probing=trainer.probing,
                             truth=truth_for(of, trainer.processing_class), stop=stop)

    for each in sets if recipe.probes_here else ():
        settings = probe_settings(each.recipe, each.problems, every=each.recipe.probes.every,
                                  budget=budget_of(each.recipe, each.part))
        shown = progress.on_probe if each is sets[0] else progress.on_other
        yield live(each.recipe, Prober(
            each.problems, settings, judge=judge, run_dir=each.run.path, beside=each.beside,
            progress=partial(progress.on_probe_progress, what=each.name),
            listeners=[shown, *([partial(trackers.log_probe, name=each.name)] if trackers else [])],
            generated_tokens=lambda: trainer.progress.generated_tokens,
        ), partial(ends_run, each.recipe) if each.recipe.train.stop_on is not None else None)
    for condition in conditions:
        name = condition.name
        yield live(sets[0].recipe, ConditionProber(
            condition, condition.settings(sets[0].recipe, every=recipe.train.steps), judge=judge,
            run_dir=run_dir.arm(name).path, progress=partial(progress.on_probe_progress, what=f"arm {name}"),
            listeners=[progress.on_other, *([partial(trackers.log_arm, name)] if trackers else [])],
        ))


def ends_run(recipe: Recipe, row: Mapping[str, Any]) -> bool:
    """Whether a probe ends the run: a row of boundary.jsonl with the verdict that `train.stop_on` waits for."""
    rule = recipe.train.stop_on
    return ended_by(row, None if rule is None else rule.shrunk)


def _ended(recipe: Recipe, run_dir: RunDir, checkpoint: str | None) -> bool:
    """Whether the run was ended by a probe before, at the checkpoint that it would resume from. Says so."""
    rows = run_dir.read_jsonl(run_dir.boundary) if checkpoint is not None else []
    if not rows or not ends_run(recipe, rows[-1]):
        return False
    sys.stderr.write(f"train.stop_on: the run ended at step {rows[-1]['step']}; nothing is left to train\n")
    return True


def _report(run_dir: RunDir) -> None:
    from rlvr.report.page import write_report
    from rlvr.report.report import load_report
    from rlvr.report.summary import summary_table

    report = load_report(run_dir.path)
    page = write_report(report)
    sys.stdout.write(f"{summary_table(report)}\nreport: {page}\n")


if __name__ == "__main__":
    leave(main())
