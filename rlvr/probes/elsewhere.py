"""Probes of samples that are drawn already: `rlvr probe --from FILE_OR_FOLDER`.

The files may be completions.jsonl of the user's own or what another program wrote (rlvr.data.foreign). They are judged
again by our verifier; where the file has verdicts of its own, RUN/other_verdicts.jsonl says how often the two differ.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlvr.config.probe_recipe import ProbeRequest, sole_set
from rlvr.config.strict import to_tree
from rlvr.data.completions import FileSampler, read_completions, records_of
from rlvr.data.foreign.files import Foreign, read_foreign
from rlvr.data.foreign.matching import Matcher, completions_of, own_id, problems_in
from rlvr.data.problem_sets import problem_set_hash
from rlvr.judging.judge import Judge
from rlvr.judging.problems import ProblemSets, load_probe_set, with_usable_golds
from rlvr.models.quiet import quiet
from rlvr.probes.models import DrawnSamples
from rlvr.probes.offline import ProgressLine, open_run
from rlvr.probes.prober import Prober
from rlvr.probes.settings import probe_settings
from rlvr.runs.run_dir import RunDir
from rlvr.runs.samples import read_samples
from rlvr.statistics.plan import PLANS, SamplingPlan
from rlvr.types import DEFAULT_KS, UserError

EXAMPLES = 10
"""Completions that are shown where two verdicts differ, at each probe."""


def judge_file(
    request: ProbeRequest, completions: Path, output: Path, *, base: Path | None = None, plan: str | None = None,
    step: int | None = None, resume: bool = False,
) -> None:
    """As `rlvr.probes.offline.probe`, for the samples in the file or folder `completions` (and of the base in `base`).

    Without `plan`, pass@k is estimated up to the smallest number of samples of any problem. Samples without a step are
    of step 1, or of the base if there is no other base; with `step` only those of that step are read. With
    `request.own_problems` the problems are those that the files hold. Raises UserError, with file and line.
    """
    quiet()
    recipe = sole_set(request.recipe, "the completions of --from")
    if recipe.probes.arms:
        raise UserError(f"probes.arms: found {', '.join(recipe.probes.arms)} beside --from, whose samples are drawn "
                        "already; remove them, or probe models")
    loaded, samplers = _read(request, completions, base, step)
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
        run = open_run(output, tree, problems, lab=False, resume=resume)
        settings = probe_settings(recipe, problems, plan=plans[later[0]] if later else plans[0], base_plan=plans[0],
                                  ks=ks, planned_looks=len(later) or None)
        line = ProgressLine()
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
            _compare_verdicts(run, step, sampler)


# ---------------------------------------------------------------- files -> samplers


def _read(
    request: ProbeRequest, completions: Path, base: Path | None, step: int | None
) -> tuple[ProblemSets, dict[int, FileSampler]]:
    """The problems, and step -> its completions, the base's first."""
    paths = [completions] if base is None else [completions, base]
    foreign = {path: read_foreign(path) for path in paths}
    if request.own_problems:
        foreign = {path: one or Foreign("completions", [path], list(records_of(path))) for path, one in foreign.items()}
    if step is not None:
        foreign = {path: _of_step(path, one, step, alone=base is None) if path == completions else one
                   for path, one in foreign.items()}
    if not request.own_problems:
        loaded = load_probe_set(request.recipe)
        matcher: Matcher | None = Matcher(loaded.probe, request.recipe.data.probe_set.template)
        if step is not None and base is None:  # rollouts of one step answer the prompts of that step
            asked = {matcher.id_of(record) for one in foreign.values() if one is not None for record in one.records}
            loaded = ProblemSets(sets={"": [problem for problem in loaded.probe if problem.id in asked]})
    else:
        records = [record for one in foreign.values() if one is not None for record in one.records if not record.lost]
        _check_same_problems(completions, foreign[completions])
        loaded = ProblemSets(sets={"": problems_in(records, verifier=request.recipe.data.probe_set.judged_by)})
        matcher = None

    def samplers(path: Path, default_step: int) -> dict[int, FileSampler]:
        one = foreign[path]
        if one is None:
            return read_completions(path, loaded.probe, default_step=default_step)
        return completions_of(one, path, loaded.probe, default_step=default_step, matcher=matcher)

    by_step = samplers(completions, 0 if base is None else 1)
    by_step = _with_base(completions, by_step, base, {} if base is None else samplers(base, 0))
    for path, one in foreign.items():
        if one is not None:
            sys.stderr.write(f"{path}: {len(one.records):,} completions in {len(one.files)} "
                             f"file{'s' if len(one.files) > 1 else ''} of {one.family}\n")
    return loaded, by_step


def _of_step(path: Path, foreign: Foreign | None, step: int, *, alone: bool) -> Foreign:
    """The completions of one step; `alone` they are measured like a base."""
    if foreign is None:
        raise UserError(f"--step {step}: {path} is a file of your own completions; write the rows of that step into a "
                        "file, without `step`")
    steps = sorted({record.step for record in foreign.records if record.step is not None})
    kept = [record for record in foreign.records if record.step == step]
    if not kept:
        raise UserError(f"--step {step}: {path} has no completions of that step; found "
                        f"{f'steps {steps[0]} to {steps[-1]}' if steps else 'none that name a step'}")
    return foreign.without_steps(kept) if alone else foreign.of(kept)


def _check_same_problems(path: Path, foreign: Foreign | None) -> None:
    """Raises UserError where the steps have problems of their own, as the rollouts of a training do."""
    by_step: dict[int | None, set[str]] = {}
    for record in foreign.records if foreign is not None else ():
        by_step.setdefault(record.step, set()).add(own_id(record))
    sets = iter(by_step.items())
    first, ids = next(sets)
    for step, others in sets:
        if others != ids:
            raise UserError(f"{path}: step {first} has {len(ids)} problems, step {step} has {len(others)} and shares "
                            f"{len(ids & others)} of them, as rollouts of a training do, so the steps cannot be "
                            "compared; measure one of them with --step, or name the problems they share with --data")


def _with_base(
    completions: Path, by_step: dict[int, FileSampler], base: Path | None, of_base: dict[int, FileSampler]
) -> dict[int, FileSampler]:
    """Raises UserError without a base, or with two."""
    if base is not None:
        if 0 in by_step:
            raise UserError(f"{completions}: holds samples of step 0, the base, and --base {base} does too; keep one")
        if list(of_base) != [0]:
            raise UserError(f"{base}: holds samples of step {max(of_base)}; expected the base's, without `step` or 0")
    by_step = of_base | by_step
    if 0 not in by_step:
        raise UserError(f"{completions}: samples of step {', '.join(map(str, by_step))} and no base to compare with; "
                        "give the base's by --base FILE, or as rows of step 0; --step N measures one step of another "
                        "program's files alone")
    return by_step


# ---------------------------------------------------------------- plans


def _plans(completions: Path, samplers: Mapping[int, FileSampler], plan: str | None) -> dict[int, SamplingPlan]:
    """Step -> the plan that drew its samples; all steps after the base have the same."""
    if plan is not None:
        for sampler in samplers.values():
            sampler.check_plan(PLANS[plan])
        return dict.fromkeys(samplers, PLANS[plan])
    for sampler in samplers.values():
        if uneven := sampler.uneven():
            sys.stderr.write(f"{uneven}\n")
    plans = {step: sampler.fixed_plan() for step, sampler in samplers.items()}
    later = [step for step in samplers if step > 0]
    if len({plans[step] for step in later}) > 1:
        fewest = min((plans[step] for step in later), key=lambda each: each.max_samples)
        words = ", ".join(f"step {step}: {plans[step].max_samples}" for step in later)
        sys.stderr.write(f"{completions}: unequal numbers of samples per problem ({words}); every step after the base "
                         f"is measured with the first {fewest.max_samples}\n")
        plans |= dict.fromkeys(later, fewest)
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


# ---------------------------------------------------------------- verdicts


def _compare_verdicts(run: RunDir, step: int, sampler: FileSampler) -> None:
    """Append to other_verdicts.jsonl how our verdicts of a step differ from those in the file, if it has any."""
    if not sampler.verdicts:
        return
    row = disagreement(sampler.verdicts, read_samples(run.samples(step)))
    if not row["compared"]:
        return
    run.append_jsonl(run.other_verdicts, [{"step": step, **row}])
    differ = row["only_theirs"] + row["only_ours"]
    sys.stderr.write(f"step {step}: {row['compared']:,} completions have a verdict in the file; ours differs on "
                     f"{differ:,} ({100 * differ / row['compared']:.1f}%): right there and wrong here "
                     f"{row['only_theirs']:,}, wrong there and right here {row['only_ours']:,}\n")


def disagreement(theirs: Mapping[tuple[str, int], bool], ours: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """How two judges differ on the same completions.

    Args:
        theirs: (problem id, sample) -> right or wrong.
        ours: rows of a samples file; those without a verdict of ours, or of theirs, are not compared.
    """
    cells = {(True, True): 0, (True, False): 0, (False, True): 0, (False, False): 0}
    examples: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    for row in ours:
        other = theirs.get((row["problem_id"], row["sample"]))
        if other is None or row["correct"] is None:
            continue
        cells[other, row["correct"]] += 1
        if other != row["correct"] and len(examples[other]) < EXAMPLES // 2:
            examples[other].append({"theirs": other} | {
                key: row[key] for key in ("problem_id", "sample", "reason", "extracted")} | {"end": row["text"][-200:]})
    return {"compared": sum(cells.values()), "both_right": cells[True, True], "only_theirs": cells[True, False],
            "only_ours": cells[False, True], "both_wrong": cells[False, False],
            "examples": examples[True] + examples[False]}
