"""Probes of saved models, without a training: `rlvr probe MODEL ... -o DIR`.

They write a run directory like that of a training run: step 0 is the base, every model one later probe, judged and
analysed by the same code as the probes of a training. Of samples that are drawn already: rlvr.probes.elsewhere.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from rlvr.config.probe_recipe import ProbeRequest
from rlvr.config.strict import to_tree
from rlvr.data.problem_sets import problem_rows
from rlvr.judging.judge import Judge
from rlvr.judging.problems import load_probe_set, with_usable_golds
from rlvr.models.loading import model_of, processing_of
from rlvr.models.prompts import check_prompt_lengths
from rlvr.models.quiet import quiet
from rlvr.probes.conditions import Condition, ConditionProber, conditions_of, open_conditions
from rlvr.probes.models import LoadedModel
from rlvr.probes.prober import Prober
from rlvr.probes.settings import probe_settings, truth_for
from rlvr.runs.run_dir import RunDir
from rlvr.types import Problem

ANY_LENGTH = sys.maxsize


def probe(
    request: ProbeRequest, output: Path, *, resume: bool = False,
    made: Callable[[str], AbstractContextManager[Any]] = nullcontext,
) -> None:
    """Measure the models of `request` against its base and write a run directory that `rlvr report` reads.

    The base's row is step 0 (from the baseline store if it was measured before). With `resume`, finished steps are
    kept and the others go on where they stopped. The weights of a later model than the base
    need to be there only inside `made(path)`.

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
        run = open_run(output, tree, problems, lab=base == "lab", resume=resume)
        open_conditions(run, conditions, tree, lab=base == "lab")
        line = ProgressLine()
        probers = list(_probers(request, problems, conditions, judge, run, line))
        done = {prober: prober.restore() for prober in probers}
        for step, path in models.items():
            missing = [prober for prober in probers if step not in done[prober] and prober.measures(step)]
            if not missing:
                continue
            with made(path) if step > 0 else nullcontext():
                model = model_of(recipe.model, path)
            measured = LoadedModel(model, tokenizers[step], truth=truth_for(recipe, tokenizers[step]))
            for prober in missing:
                with line:
                    prober.measure(step, measured)


def _probers(
    request: ProbeRequest, problems: Sequence[Problem], conditions: Sequence[Condition], judge: Judge, run: RunDir,
    line: ProgressLine,
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


# ---------------------------------------------------------------- for samples that are drawn already as well


def open_run(output: Path, tree: dict[str, Any], problems: Sequence[Problem], *, lab: bool, resume: bool) -> RunDir:
    """A new run directory, or the one of the same probe, without what a kill left of an unfinished step."""
    run = RunDir.create(output, resume=resume, own=True)
    run.write_start(tree, problem_rows(problems), lab=lab)
    run.truncate_after(sys.maxsize)
    return run


class ProgressLine:
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
