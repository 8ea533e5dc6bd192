"""Probes of saved models, without a training: `rlvr probe MODEL ... -o DIR`.

They write a run directory like that of a training run: step 0 is the base, every model one later probe, judged and
analysed by the same code as the probes of a training. Of samples that are drawn already: rlvr.probes.elsewhere.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from rlvr.config.probe_recipe import ProbeRecipe, ProbeRequest
from rlvr.config.strict import to_tree
from rlvr.data.problem_sets import problem_rows
from rlvr.judging.judge import Judge
from rlvr.judging.problems import load_probe_set, with_usable_golds
from rlvr.models.prompts import check_prompt_lengths
from rlvr.models.quiet import quiet
from rlvr.probes.appearing import appearing, is_whole
from rlvr.probes.conditions import Condition, ConditionProber, conditions_of, open_conditions
from rlvr.probes.engine import progress_words
from rlvr.probes.engines import opened, tokenizer_for
from rlvr.probes.models import ProbedModel
from rlvr.probes.prober import Prober
from rlvr.probes.sets import ProbeSet, open_sets, sets_of
from rlvr.probes.settings import probe_settings
from rlvr.probes.world import launched
from rlvr.runs.run_dir import RunDir
from rlvr.types import Problem

ANY_LENGTH = sys.maxsize


def probe(
    request: ProbeRequest, output: Path, *, resume: bool = False,
    made: Callable[[str], AbstractContextManager[Any]] = nullcontext, watched: Path | None = None,
    until: int | None = None, looks: int | None = None,
    listeners: Callable[[RunDir], Sequence[Callable[..., None]]] = lambda run: (),
) -> None:
    """Measure the models of `request` against its base and write a run directory that `rlvr report` reads.

    The base's row is step 0 (from the baseline store if it was measured before). With `resume`, finished steps are
    kept and the others go on where they stopped. Several processes (`accelerate launch`) share the samples, whatever
    their number the same ones; each holds the model, and rank 0 writes.

    Args:
        made: the weights of a later model than the base need to be there only inside `made(path)`.
        watched: a directory whose checkpoints are measured as they appear, after the models of the request, up to the
            first of step `until` or later (None: for ever).
        looks: how many checkpoints there will be, for the verdicts; None: the models of the request, else unknown.
        listeners: made for the run directory; called with the rows of each probe of the models themselves, and with
            the probe set's `name`.

    Raises: UserError for a missing model, an unreadable prompt, a rejected gold answer, a used output without `resume`.
    """
    quiet()
    world = launched()
    world.first(lambda: RunDir(output).check_usable(resume=resume))
    recipe = request.recipe
    assert recipe.model is not None  # `probe_request` names one unless the samples are given
    base = recipe.model.path
    models = {0: base, **request.models}
    loaded = load_probe_set(recipe)
    images = any(problem.images for problem in loaded.probe)
    # All tokenizers before the first model is measured: a mistyped name must not show after an hour.
    tokenizers = {step: tokenizer_for(recipe, path, images=images) for step, path in models.items()}
    for tokenizer in filter(None, tokenizers.values()):
        check_prompt_lengths(tokenizer, loaded.probe, ANY_LENGTH)
    with Judge(**recipe.judge.options()) as judge:
        kept = world.first(lambda: with_usable_golds(recipe, loaded, judge))
        sets = sets_of(recipe, kept.sets, RunDir(output))
        if recipe.probes.budget is not None and world.rank == 0:
            sys.stderr.write(_budget_note(request, len(kept.probe)))
        conditions = conditions_of(sets[0].recipe, sets[0].problems)
        for tokenizer, condition in product(filter(None, tokenizers.values()), conditions):
            check_prompt_lengths(tokenizer, condition.problems, ANY_LENGTH)
        probed = [str(watched)] if watched is not None else list(request.models.values())
        tree = to_tree(recipe) | {"probed": probed[0] if len(probed) == 1 else probed or base}
        world.first(lambda: _open_all(output, tree, sets, conditions, lab=base == "lab", resume=resume))
        line = ProgressLine()
        probers = list(_probers(request, sets, conditions, judge, line, looks or len(request.models) or None,
                                listeners(sets[0].run) if world.rank == 0 else ()))
        done = {prober: prober.restore() for prober in probers}
        for step, path in _in_order(models, watched, until, done.values()):
            missing = [prober for prober in probers if step not in done[prober] and prober.measures(step)]
            with ExitStack() as stack:
                with made(path) if step > 0 and missing else nullcontext():
                    measured = _open(stack, recipe, path, tokenizers.get(step), kept.probe, watched=step not in models
                                     ) if missing else None
                for prober in missing if measured is not None else ():
                    with line:
                        prober.measure(step, measured)  # pyright: ignore[reportArgumentType]


def _open(
    stack: ExitStack, recipe: ProbeRecipe, path: str, tokenizer: Any, problems: Sequence[Problem], *, watched: bool
) -> ProbedModel | None:
    """The model at `path`, closed with `stack`; None for a watched one that was removed before its turn."""
    try:
        if watched:
            tokenizer = tokenizer_for(recipe, path, images=any(problem.images for problem in problems))
        return stack.enter_context(opened(recipe, path, tokenizer, problems))
    except Exception:  # of whatever library found half of it
        if not watched or is_whole(Path(path)):
            raise
        sys.stderr.write(f"{path}: removed before it was probed; left out. Let the training keep more\n")
        return None


def _in_order(
    models: Mapping[int, str], watched: Path | None, until: int | None, done: Iterable[Sequence[int]]
) -> Iterator[tuple[int, str]]:
    """`done`: steps that each prober has measured."""
    yield from models.items()
    if watched is not None:
        # A kill between two probe sets leaves the last step to the second.
        after = min(max(steps, default=0) for steps in done)
        sys.stderr.write(f"watching {watched}{'' if watched.is_dir() else ', which does not exist yet'}\n")
        yield from appearing(watched, until=until, after=after)


def _open_all(
    output: Path, tree: dict[str, Any], sets: Sequence[ProbeSet[ProbeRecipe]], conditions: Sequence[Condition], *,
    lab: bool, resume: bool,
) -> None:
    run = open_run(output, tree, sets[0].problems, lab=lab, resume=resume)
    open_sets(sets, tree, lab=lab)
    open_conditions(run, conditions, tree, lab=lab)


def _probers(
    request: ProbeRequest, sets: Sequence[ProbeSet[ProbeRecipe]], conditions: Sequence[Condition], judge: Judge,
    line: ProgressLine, looks: int | None, listeners: Sequence[Callable[..., None]],
) -> Iterator[Prober]:
    """One for each probe set, and one for each condition. The run's own set comes last, so that what listens to it
    finds the others measured."""
    names = {0: "base", **{step: Path(path).name for step, path in request.models.items()}}
    for each in reversed(sets):
        yield Prober(each.problems, probe_settings(each.recipe, each.problems, planned_looks=looks), judge=judge,
                     run_dir=each.run.path, progress=line.of(names, prefix=f"{each.name}, " if each.name else ""),
                     listeners=[partial(listener, name=each.name) for listener in listeners])
    for condition in conditions:
        progress = line.of(names, prefix=f"arm {condition.name}, ")
        yield ConditionProber(condition, condition.settings(sets[0].recipe, planned_looks=looks), judge=judge,
                              run_dir=sets[0].run.arm(condition.name).path, progress=progress)


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
        self._width = 0
        """Of what the line shows, 0 before it begins."""

    def of(self, names: Mapping[int, str], *, prefix: str = "") -> Callable[[int, int, int, int], None]:
        """`Prober.progress` for the steps with these names."""

        def show(step: int, finished: int, total: int, samples: int) -> None:
            text = f"{prefix}{names.get(step, f'step {step}')}: {progress_words(finished, total, samples)}"
            sys.stderr.write(f"\r{text:<{self._width}}")  # over what is left of a longer one
            self._width = len(text)

        return show

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        if self._width:
            sys.stderr.write("\n")
        self._width = 0
