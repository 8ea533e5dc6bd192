"""Probes that stand alone: `rlvr probe MODEL ... -o DIR`, and `--from completions.jsonl` for samples drawn elsewhere.

Both write a run directory like that of a training run: step 0 is the base, every model or step of samples one later
probe, judged and analysed by the code that probes a training.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlvr.config.probe_recipe import ProbeRequest
from rlvr.config.sections import ModelSpec
from rlvr.config.strict import to_tree
from rlvr.data.completions import read_completions
from rlvr.data.load import load_problems
from rlvr.data.problem_sets import problem_rows, problem_set_hash
from rlvr.judging.golds import Section, usable
from rlvr.judging.judge import Judge
from rlvr.models.loading import load_model, load_processing
from rlvr.models.prompts import check_prompt_lengths
from rlvr.models.quiet import quiet
from rlvr.probes.arms import ArmCallback, arms_of, open_arms
from rlvr.probes.callback import BoundaryProbeCallback
from rlvr.probes.settings import probe_callback, probe_settings, truth_for
from rlvr.runs.run_dir import RunDir
from rlvr.statistics.plan import PLANS
from rlvr.types import DEFAULT_KS, Problem, UserError

ANY_LENGTH = sys.maxsize


def probe(request: ProbeRequest, output: Path, *, resume: bool = False) -> None:
    """Measure the models of `request` against its base and write a run directory that `rlvr report` reads.

    The base's row is step 0 (from the baseline store if it was measured before). With `resume`, finished steps are
    kept and the others go on where they stopped.

    Raises: UserError for a missing model, a prompt that a tokenizer cannot read, a rejected gold answer, a non-empty
    output without `resume`.
    """
    quiet()
    recipe = request.recipe
    assert recipe.model is not None  # `probe_request` names one unless the samples are given
    problems = load_problems(recipe.data.probe, where="data.probe")
    base = recipe.model.path
    todo = {0: base, **request.models}
    # All of them before the first is measured: a mistyped name must not show after an hour.
    images = any(problem.images for problem in problems)
    tokenizers = {step: _processing(path, recipe.model, images) for step, path in todo.items()}
    for tokenizer in tokenizers.values():
        check_prompt_lengths(tokenizer, problems, ANY_LENGTH)
    with Judge(**recipe.judge.options()) as judge:
        [problems] = usable(judge, [Section("data.probe", recipe.data.probe, problems)])
        if recipe.probes.budget is not None:
            sys.stderr.write(_budget_note(request, len(problems)))
        arms = arms_of(recipe, problems)
        for tokenizer in tokenizers.values():
            for arm in arms:
                check_prompt_lengths(tokenizer, arm.problems, ANY_LENGTH)
        probed = list(request.models.values())
        tree = to_tree(recipe) | {"probed": probed[0] if len(probed) == 1 else probed or base}
        _open(output, tree, problems, lab=base == "lab", resume=resume)
        names = {step: "base" if step == 0 else Path(path).name for step, path in todo.items()}
        open_arms(RunDir(output), arms, tree, lab=base == "lab")
        planned = {"every": 1, "planned_looks": len(request.models) or None}
        measured: list[tuple[BoundaryProbeCallback, list[int], _Shown]] = []
        shown = _Shown(names)
        callback = probe_callback(recipe, problems, judge, output, progress=shown, **planned)
        measured.append((callback, callback.restore(), shown))
        for arm in arms:
            shown = _Shown({step: f"arm {arm.name}, {name}" for step, name in names.items()})
            settings = probe_settings(recipe, arm.problems) | planned
            callback = ArmCallback(arm, judge=judge, run_dir=RunDir(output).arm(arm.name).path, progress=shown,
                                   **settings)
            measured.append((callback, callback.restore(), shown))
        for step, path in todo.items():
            missing = [(each, shown) for each, done, shown in measured if step not in done and each.measures(step)]
            if not missing:
                continue
            model = load_model(
                path, dtype=recipe.model.dtype, revision=recipe.model.revision if path == base else None,
                attn_implementation=recipe.model.attn_implementation,
            )
            for each, shown in missing:
                each.truth = truth_for(recipe, tokenizers[step])
                with shown:
                    each.measure(step, model, tokenizers[step])


def judge_file(
    request: ProbeRequest, completions: Path, output: Path, *, base: Path | None = None, plan: str | None = None,
    resume: bool = False,
) -> None:
    """As `probe`, for the samples in the file `completions` (and of the base in the file `base`).

    Without `plan`, every problem must have the same number N of samples, and pass@k is estimated up to k = N.
    Rows without a step are step 1, or the base if there is no other base. Raises UserError, with file and line.
    """
    quiet()
    recipe = request.recipe
    if recipe.probes.arms:
        raise UserError(f"probes.arms: found {', '.join(recipe.probes.arms)} beside --from, whose samples are drawn "
                        "already; remove them, or probe models")
    problems = load_problems(recipe.data.probe, where="data.probe")
    by_step = read_completions(completions, problems, default_step=0 if base is None else 1)
    if base is not None:
        if 0 in by_step:
            raise UserError(f"{completions}: holds samples of step 0, the base, and --base {base} does too; keep one")
        before = read_completions(base, problems, default_step=0)
        if list(before) != [0]:
            raise UserError(f"{base}: holds samples of step {max(before)}; expected the base's, without `step` or 0")
        by_step = before | by_step
    if 0 not in by_step:
        raise UserError(f"{completions}: samples of step {', '.join(map(str, by_step))} and no base to compare with; "
                        "give the base's by --base FILE, or as rows of step 0")
    plans = {step: PLANS[plan] if plan is not None else sampler.fixed_plan() for step, sampler in by_step.items()}
    for step, sampler in by_step.items():
        sampler.check_plan(plans[step])
    later = [step for step in by_step if step > 0]
    if len({plans[step] for step in later}) > 1:
        raise UserError(f"{completions}: {', '.join(f'step {s}: {plans[s].max_samples} samples' for s in later)} per "
                        "problem; expected one number for all steps: judge them into directories of their own")
    largest = min(each.max_samples for each in plans.values())
    ks = [k for k in recipe.probes.ks if k <= largest]
    if len(ks) < len(recipe.probes.ks) and recipe.probes.ks != DEFAULT_KS:
        fewest = min(plans, key=lambda step: plans[step].max_samples)
        raise UserError(f"probes.ks: found k = {recipe.probes.ks[-1]}, expected at most {largest}: there are no more "
                        f"completions per problem of {'the base' if fewest == 0 else f'step {fewest}'}; drop that k, "
                        "or draw more")
    shown = _Shown({step: f"step {step}" for step in by_step})
    with Judge(**recipe.judge.options()) as judge:
        [problems] = usable(judge, [Section("data.probe", recipe.data.probe, problems)])
        identity = {step: f"{problem_set_hash(problems)}/{sampler.digest}" for step, sampler in by_step.items()}
        tree = to_tree(recipe) | {
            "model": None,
            "probed": completions.name if len(later) < 2 else None,
            "completions": {str(step): sampler.digest for step, sampler in by_step.items()},
        }
        _open(output, tree, problems, lab=False, resume=resume)
        callback = probe_callback(
            recipe, problems, judge, output, every=1, plan=plans[later[0]] if later else plans[0], base_plan=plans[0],
            ks=ks, planned_looks=len(later) or None,
            progress=shown,
        )
        done = callback.restore()
        for step, sampler in by_step.items():
            if step in done:
                continue
            with shown:
                row = callback.measure_samples(
                    step, sampler, identity[step], decoding=recipe.probe_decoding if request.decoding_given else None
                )
            if row["samples"] < sampler.size:
                sys.stderr.write(f"step {step}: plan {row['plan']!r} needs {row['samples']:,} of {sampler.size:,} "
                                 "completions; the others were left out\n")


def _budget_note(request: ProbeRequest, problems: int) -> str:
    """`rlvr probe` trains nothing that its probes could be a share of."""
    plan, chosen = request.recipe.probes.plan, request.schedule
    did = f"; the run probed {chosen['problems']} by plan {chosen['plan']}" if chosen else ""
    return f"probes.budget does not apply here: {problems} problems, plan {plan}{did}\n"


def _open(output: Path, tree: dict[str, Any], problems: Sequence[Problem], *, lab: bool, resume: bool) -> None:
    run_dir = RunDir.create(output, resume=resume, own=True)
    run_dir.write_recipe(tree, lab=lab)
    run_dir.write_problems(problem_rows(problems))
    run_dir.truncate_after(sys.maxsize)  # what a kill left of an unfinished step


def _processing(path: str, base: ModelSpec, images: bool) -> Any:
    revision = base.revision if path == base.path else None
    processing = load_processing(path, images=images, revision=revision, where="model")
    if base.chat_template is not None:
        processing.chat_template = Path(base.chat_template).read_text()
    return processing


class _Shown:
    """How far a probe is, on one line of stderr that ends with the block around it, also where that raises."""

    def __init__(self, names: dict[int, str]) -> None:
        self._names = names
        self._open = False

    def __call__(self, step: int, done: int, total: int) -> None:
        sys.stderr.write(f"\r{self._names[step]}: {done}/{total} problems")
        self._open = True

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        if self._open:
            sys.stderr.write("\n")
        self._open = False
