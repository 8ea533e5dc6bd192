"""Probes that stand alone: `rlvr probe MODEL ... -o DIR`, and `--from completions.jsonl` for samples drawn elsewhere.

Both write a run directory like that of a training run: step 0 is the base, every model or step of samples one later
probe, judged and analysed by the same code as the probes of a training.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlvr.config.probe_recipe import ProbeRequest
from rlvr.config.strict import to_tree
from rlvr.data.completions import FileSampler, read_completions
from rlvr.data.problem_sets import problem_rows, problem_set_hash
from rlvr.judging.judge import Judge
from rlvr.judging.problems import load_probe_set, with_usable_golds
from rlvr.models.loading import model_of, processing_of
from rlvr.models.prompts import check_prompt_lengths
from rlvr.models.quiet import quiet
from rlvr.probes.conditions import Condition, ConditionProber, conditions_of, open_conditions
from rlvr.probes.models import DrawnSamples, LoadedModel
from rlvr.probes.prober import Prober
from rlvr.probes.settings import probe_settings, truth_for
from rlvr.runs.run_dir import RunDir
from rlvr.statistics.plan import PLANS, SamplingPlan
from rlvr.types import DEFAULT_KS, Problem, UserError

ANY_LENGTH = sys.maxsize


# ---------------------------------------------------------------- models


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
    base = recipe.model.path
    models = {0: base, **request.models}
    loaded = load_probe_set(recipe)
    images = any(problem.images for problem in loaded.probe)
    # All tokenizers before the first model is measured: a mistyped name must not show after an hour.
    tokenizers = {step: processing_of(recipe.model, path, images=images, where="model")
                  for step, path in models.items()}
    for tokenizer in tokenizers.values():
        check_prompt_lengths(tokenizer, loaded.probe, ANY_LENGTH)
    with Judge(**recipe.judge.options()) as judge:
        problems = with_usable_golds(recipe, loaded, judge).probe
        if recipe.probes.budget is not None:
            sys.stderr.write(_budget_note(request, len(problems)))
        conditions = conditions_of(recipe, problems)
        for tokenizer in tokenizers.values():
            for condition in conditions:
                check_prompt_lengths(tokenizer, condition.problems, ANY_LENGTH)
        probed = list(request.models.values())
        tree = to_tree(recipe) | {"probed": probed[0] if len(probed) == 1 else probed or base}
        run = _open(output, tree, problems, lab=base == "lab", resume=resume)
        open_conditions(run, conditions, tree, lab=base == "lab")
        line = _ProgressLine()
        probers = list(_probers(request, problems, conditions, judge, run, line))
        done = {prober: prober.restore() for prober in probers}
        for step, path in models.items():
            missing = [prober for prober in probers if step not in done[prober] and prober.measures(step)]
            if not missing:
                continue
            measured = LoadedModel(model_of(recipe.model, path), tokenizers[step],
                                   truth=truth_for(recipe, tokenizers[step]))
            for prober in missing:
                with line:
                    prober.measure(step, measured)


def _probers(
    request: ProbeRequest, problems: Sequence[Problem], conditions: Sequence[Condition], judge: Judge, run: RunDir,
    line: _ProgressLine,
) -> Iterator[Prober]:
    """One for the probe itself, and one for each of its conditions."""
    recipe, looks = request.recipe, len(request.models) or None
    names = {0: "base", **{step: Path(path).name for step, path in request.models.items()}}
    yield Prober(problems, probe_settings(recipe, problems, planned_looks=looks), judge=judge, run_dir=run.path,
                 progress=line.of(names))
    for condition in conditions:
        progress = line.of({step: f"arm {condition.name}, {name}" for step, name in names.items()})
        yield ConditionProber(condition, condition.settings(recipe, planned_looks=looks), judge=judge,
                              run_dir=run.arm(condition.name).path, progress=progress)


def _budget_note(request: ProbeRequest, problems: int) -> str:
    """`rlvr probe` trains nothing that its probes could be a share of."""
    plan, chosen = request.recipe.probes.plan, request.schedule
    did = f"; the run probed {chosen['problems']} by plan {chosen['plan']}" if chosen else ""
    return f"probes.budget does not apply here: {problems} problems, plan {plan}{did}\n"


# ---------------------------------------------------------------- samples that were drawn elsewhere


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
    loaded = load_probe_set(recipe)
    samplers = _samplers(completions, base, loaded.probe)
    later = [step for step in samplers if step > 0]
    plans = _plans(completions, samplers, plan)
    ks = _ks_within(plans, recipe.probes.ks)
    with Judge(**recipe.judge.options()) as judge:
        problems = with_usable_golds(recipe, loaded, judge).probe
        tree = to_tree(recipe) | {
            "model": None,
            "probed": completions.name if len(later) < 2 else None,
            "completions": {str(step): sampler.digest for step, sampler in samplers.items()},
        }
        _open(output, tree, problems, lab=False, resume=resume)
        settings = probe_settings(recipe, problems, plan=plans[later[0]] if later else plans[0], base_plan=plans[0],
                                  ks=ks, planned_looks=len(later) or None)
        line = _ProgressLine()
        prober = Prober(problems, settings, judge=judge, run_dir=output,
                        progress=line.of({step: f"step {step}" for step in samplers}))
        done = prober.restore()
        for step, sampler in samplers.items():
            if step in done:
                continue
            drawn = DrawnSamples(sampler, content=f"{problem_set_hash(problems)}/{sampler.digest}",
                                 decoding=recipe.probe_decoding if request.decoding_given else None)
            with line:
                row = prober.measure(step, drawn)
            if row is not None and row["samples"] < sampler.size:
                sys.stderr.write(f"step {step}: plan {row['plan']!r} needs {row['samples']:,} of {sampler.size:,} "
                                 "completions; the others were left out\n")


def _samplers(completions: Path, base: Path | None, problems: Sequence[Problem]) -> dict[int, FileSampler]:
    """Step -> its completions, the base's first. Raises UserError without a base, or with two."""
    by_step = read_completions(completions, problems, default_step=0 if base is None else 1)
    if base is not None:
        if 0 in by_step:
            raise UserError(f"{completions}: holds samples of step 0, the base, and --base {base} does too; keep one")
        of_base = read_completions(base, problems, default_step=0)
        if list(of_base) != [0]:
            raise UserError(f"{base}: holds samples of step {max(of_base)}; expected the base's, without `step` or 0")
        by_step = of_base | by_step
    if 0 not in by_step:
        raise UserError(f"{completions}: samples of step {', '.join(map(str, by_step))} and no base to compare with; "
                        "give the base's by --base FILE, or as rows of step 0")
    return by_step


def _plans(completions: Path, samplers: Mapping[int, FileSampler], plan: str | None) -> dict[int, SamplingPlan]:
    """Step -> the plan that drew its samples. Raises UserError unless all steps after the base have the same."""
    plans = {step: PLANS[plan] if plan is not None else sampler.fixed_plan() for step, sampler in samplers.items()}
    for step, sampler in samplers.items():
        sampler.check_plan(plans[step])
    later = [step for step in samplers if step > 0]
    if len({plans[step] for step in later}) > 1:
        raise UserError(f"{completions}: {', '.join(f'step {s}: {plans[s].max_samples} samples' for s in later)} per "
                        "problem; expected one number for all steps: judge them into directories of their own")
    return plans


def _ks_within(plans: Mapping[int, SamplingPlan], asked: Sequence[int]) -> list[int]:
    """The k that all plans can estimate. Raises UserError if one that was asked for, not a default, is not."""
    largest = min(plan.max_samples for plan in plans.values())
    ks = [k for k in asked if k <= largest]
    if len(ks) < len(asked) and tuple(asked) != DEFAULT_KS:
        fewest = min(plans, key=lambda step: plans[step].max_samples)
        raise UserError(f"probes.ks: found k = {asked[-1]}, expected at most {largest}: there are no more "
                        f"completions per problem of {'the base' if fewest == 0 else f'step {fewest}'}; drop that k, "
                        "or draw more")
    return ks


# ---------------------------------------------------------------- both


def _open(output: Path, tree: dict[str, Any], problems: Sequence[Problem], *, lab: bool, resume: bool) -> RunDir:
    """A new run directory, or the one of the same probe, without what a kill left of an unfinished step."""
    run = RunDir.create(output, resume=resume, own=True)
    run.write_start(tree, problem_rows(problems), lab=lab)
    run.truncate_after(sys.maxsize)
    return run


class _ProgressLine:
    """How far a probe is, on one line of stderr. `with line:` around a probe ends the line, also where that raises."""

    def __init__(self) -> None:
        self._begun = False

    def of(self, names: Mapping[int, str]) -> Callable[[int, int, int], None]:
        """`Prober.progress` for the steps with these names."""

        def show(step: int, finished: int, total: int) -> None:
            sys.stderr.write(f"\r{names[step]}: {finished}/{total} problems")
            self._begun = True

        return show

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        if self._begun:
            sys.stderr.write("\n")
        self._begun = False
