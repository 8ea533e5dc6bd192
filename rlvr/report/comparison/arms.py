"""Groups finished runs into arms, and refuses runs whose numbers cannot be compared."""

from __future__ import annotations

import dataclasses
import gzip
import json
import zlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlvr.probes.baseline import entry_name
from rlvr.report.comparison.dials import Dialled, dials_beside, is_dial
from rlvr.report.load import Run, load_run
from rlvr.runs.run_dir import RunDir, flat
from rlvr.types import UserError

_NOT_TRAINING = ("seed", "run_dir", "name", "tracking.", "judge.", "train.micro_batch_size",
                 "train.micro_batch_tokens", "train.padding_free", "train.rollout_batch_tokens", "train.save_every",
                 "train.keep_checkpoints", "train.log_every", "probes.batch_size")
"""Recipe keys that say where and how a run was done, not what was learned."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One way of training, run with one or more seeds."""

    name: str
    runs: tuple[Run, ...]
    """In order of seeds, each with another."""

    @property
    def seeds(self) -> list[int]:
        return [seed_of(run) for run in self.runs]


@dataclass(frozen=True, slots=True)
class Arms:
    """Arms that may be compared: one base model, problem set, decoding, verifier and sampling plan."""

    arms: tuple[Arm, ...]
    base: Run
    """The run whose base probe stands for all of them."""
    base_name: str
    """Entry of the baseline store that holds the base probe; empty when the runs do not record it."""
    own_base: tuple[str, ...]
    """Names of runs that measured the same base separately; their differences are to `base` too."""
    missing: tuple[str, ...] = ()
    """Runs that should be here and are not, in words."""
    unjudged: tuple[str, ...] = ()
    """Ids of problems left out of all runs, because in one of them an answer could not be judged."""
    sets: Mapping[str, Arms] = field(default_factory=dict)
    """Name -> the same arms on each probe set that all runs have, their own set first; {} for runs with one set."""
    dials: tuple[Dialled, ...] = ()
    """Dials of these runs, found beside them."""

    @property
    def runs(self) -> list[Run]:
        return [run for arm in self.arms for run in arm.runs]

    @property
    def k(self) -> int:
        """The k of the headline: the largest that every run tracks, 256 as a rule."""
        return min(run.k_max for run in self.runs)

    @property
    def seeds(self) -> list[int]:
        return sorted({seed for arm in self.arms for seed in arm.seeds})

    @property
    def last_step(self) -> int:
        """The last step after the base that every run has probed."""
        return max(set.intersection(*({probe.step for probe in run.probes[1:]} for run in self.runs)))


def load_arms(paths: Sequence[Path], *, names: Mapping[Path, str] | None = None, missing: Sequence[str] = (),
              finished: bool = False) -> Arms:
    """Read run directories, or directories of them, and group them into arms.

    Args:
        names: run directory -> arm; without it an arm is an algorithm, or, where one algorithm was trained in several
            ways, the W&B group or name that tells them apart.
        missing: runs that should be here and are not, in words.
        finished: leave out runs that have not probed their last step, and name them in `missing`; without it those
            that probed nothing after the base are refused, and the others are compared up to the last common step.

    Raises: UserError for runs that cannot be compared: another base model, probe problems, decoding, verifier or plan.
    """
    runs, left = _readable(run_directories(paths), finished=finished)
    labels = _labels(runs) if names is None else [names[run.path] for run in runs]
    own = _grouped(runs, labels, [*missing, *left], dials_beside(runs))
    return dataclasses.replace(own, sets=_on_each_set(own, runs, labels))


def _on_each_set(own: Arms, runs: Sequence[Run], labels: Sequence[str]) -> dict[str, Arms]:
    """The arms on the probe sets that all of their runs have; {} if there is one. Training metrics are the runs'."""
    named = [list((run.recipe.get("data") or {}).get("probe") or {}) for run in runs]
    homes = [RunDir(run.path).sets for run in runs]
    common = [name for name in named[0] if all(name in of_run for of_run in homes)]
    if not common:
        return {}
    found = {named[0][0]: own}
    for name in common:
        measured, _ = _readable([of_run[name].path for of_run in homes], finished=False)
        with_metrics = [dataclasses.replace(one, metrics=run.metrics) for one, run in zip(measured, runs, strict=True)]
        try:
            found[name] = _grouped(with_metrics, labels, (), ())
        except UserError as error:
            raise error.within(f"probe set {name!r}") from None
    return found


def _grouped(runs: Sequence[Run], labels: Sequence[str], missing: Sequence[str], dials: Sequence[Dialled]) -> Arms:
    """The runs with these labels as arms. Raises UserError for runs that cannot be compared."""
    both, unjudged = _on_judged_problems([*runs, *(dial.run for dial in dials)])
    runs, dials = both[:len(runs)], [dataclasses.replace(dial, run=run)
                                     for dial, run in zip(dials, both[len(runs):], strict=True)]
    for run in runs:
        _check_alone(run)
        _check_comparable(runs[0], run)
    dials, other_dials = _comparable(runs[0], dials)
    grouped: defaultdict[str, list[Run]] = defaultdict(list)
    for label, run in zip(labels, runs, strict=True):
        grouped[label].append(run)
    arms = tuple(Arm(name, tuple(sorted(members, key=seed_of))) for name, members in grouped.items())
    for arm in arms:
        _check_seeds(arm)
    if not set.intersection(*({probe.step for probe in run.probes[1:]} for run in runs)):
        raise UserError(f"the {len(runs)} runs have no probe step after the base in common; train them with the "
                        "same probes.every")
    base, own = _base(runs)
    short = [f"{run.path.name} was {'ended by train.stop_on at' if run.ended_by_rule else 'probed only up to'} step "
             f"{run.probes[-1].step} of {run.planned_steps}" for run in runs if run.probes[-1].step < run.planned_steps]
    return Arms(arms, base, _base_name(base), own, (*missing, *short, *other_dials), unjudged, dials=tuple(dials))


def run_directories(paths: Iterable[Path]) -> list[Path]:
    """Each path that is a run, and the runs in each path that is not. UserError when there are none."""
    directories: list[Path] = []
    for path in paths:
        if not path.is_dir():
            raise UserError(f"{path}: {'not a directory' if path.exists() else 'not found'}; expected the directory of "
                            "a run, or one with runs in it, such as runs/lab_six")
        below = [path] if _is_run(path) else sorted(one for one in path.iterdir() if _is_run(one) and not is_dial(one))
        if not below:
            raise UserError(f"{path}: found no run in it (a directory with recipe.json); expected finished runs")
        directories += below
    twice = [path for path, times in Counter(path.resolve() for path in directories).items() if times > 1]
    if twice:
        raise UserError(f"{twice[0]}: given twice; name each run once")
    return directories


def training_recipe(run: Run) -> dict[str, Any]:
    """Dotted keys of the recipe that decide what a run learns, the seed left out."""
    return {key: value for key, value in flat(run.recipe).items() if not key.startswith(_NOT_TRAINING)}


def algorithm_of(run: Run) -> str:
    """Name of the run's algorithm."""
    algorithm = run.recipe.get("algorithm")
    return str(algorithm.get("name") if isinstance(algorithm, Mapping) else algorithm)


def seed_of(run: Run) -> int:
    """Seed of the run's recipe; 0 when it names none."""
    return int(run.recipe.get("seed") or 0)


def other_settings(arms: Arms) -> dict[str, dict[str, Any]]:
    """Recipe key -> arm -> value, for the keys outside `algorithm` that are not the same in all arms."""
    recipes = {arm.name: training_recipe(arm.runs[0]) for arm in arms.arms}
    keys = dict.fromkeys(key for recipe in recipes.values() for key in recipe if not key.startswith("algorithm"))
    values = {key: {name: recipe.get(key) for name, recipe in recipes.items()} for key in keys}
    return {key: per_arm for key, per_arm in values.items() if len({json.dumps(v) for v in per_arm.values()}) > 1}


def _is_run(path: Path) -> bool:
    return RunDir(path).boundary.is_file() or RunDir(path).recipe.is_file()


def _readable(paths: Sequence[Path], *, finished: bool) -> tuple[list[Run], list[str]]:
    """The runs to compare, and what is left out, in words. Raises UserError naming all runs that cannot be compared."""
    runs, left = [], []
    for path in paths:
        run = load_run(path) if RunDir(path).boundary.is_file() else None
        if run is None:
            left.append(f"{path} (no probe yet)")
        elif run.last is None and not run.probed:
            left.append(f"{path} (only the base was probed)")
        elif finished and run.probes[-1].step < run.planned_steps and not run.ended_by_rule:
            left.append(f"{path} (probed up to step {run.probes[-1].step} of {run.planned_steps})")
        else:
            runs.append(run)
    if left and not (finished and runs):
        way_out = "continue them with --resume" + ("" if finished else ", or leave them out with --finished")
        raise UserError(f"{len(left)} of {len(paths)} runs cannot be compared yet: {', '.join(left)}; {way_out}")
    return runs, [f"left out {name}" for name in left]


def _on_judged_problems(runs: Sequence[Run]) -> tuple[list[Run], tuple[str, ...]]:
    """The runs on the problems that every probe of all of them judged, and the ids of the others."""
    unjudged = {problem for run in runs for probe in run.probes for problem in probe.unjudged}
    return [_without(run, unjudged) for run in runs] if unjudged else list(runs), tuple(sorted(unjudged))


def _without(run: Run, unjudged: Collection[str]) -> Run:
    """`run` without these problems. Exact values are dropped, which are means over all of its problems."""
    rows = {step: {problem: row for problem, row in of_step.items() if problem not in unjudged}
            for step, of_step in run.rows.items()}
    if not all(rows.values()):
        raise UserError(f"{run.path}: every problem was left out of a probe, as an answer could not be judged")
    probes = tuple(dataclasses.replace(probe, exact={}, problems=len(rows[probe.step]),
                                       samples=sum(row.n for row in rows[probe.step].values()))
                   for probe in run.probes if probe.step in rows)
    return dataclasses.replace(run, rows=rows, probes=probes)


def _labels(runs: Sequence[Run]) -> list[str]:
    """The arm of every run: its algorithm, or a longer name where one algorithm was trained in several ways."""
    ways: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for run in runs:
        recipe = training_recipe(run)
        if recipe not in ways[algorithm_of(run)]:
            ways[algorithm_of(run)].append(recipe)
    labels = []
    for run in runs:
        algorithm = algorithm_of(run)
        same = [other for other in runs if algorithm_of(other) == algorithm]
        readers = [algorithm_of] if len(ways[algorithm]) == 1 else [_group, _recipe_name]
        for read in readers:
            label = read(run)
            if label and all(training_recipe(r) == training_recipe(run) for r in same if read(r) == label):
                labels.append(label)
                break
        else:
            other = next(r for r in same if training_recipe(r) != training_recipe(run))
            key = _first_difference(training_recipe(run), training_recipe(other))
            raise UserError(f"{run.path} and {other.path}: both {algorithm}, but {key} differs, so they are not two "
                            "seeds of one arm; give the arms different tracking.group or name")
    return labels


def _group(run: Run) -> str:
    tracking = run.recipe.get("tracking")
    return str(tracking.get("group") or "") if isinstance(tracking, Mapping) else ""


def _recipe_name(run: Run) -> str:
    return str(run.recipe.get("name") or "")


def _check_seeds(arm: Arm) -> None:
    first = arm.runs[0]
    for before, run in zip(arm.runs, arm.runs[1:], strict=False):
        key = _first_difference(training_recipe(first), training_recipe(run))
        if key:
            raise UserError(f"{first.path} and {run.path}: {key} differs, so they are not two seeds of arm "
                            f"{arm.name!r}")
        if seed_of(before) == seed_of(run):
            raise UserError(f"{before.path} and {run.path}: seed {seed_of(run)} twice in arm {arm.name!r}: one of them "
                            "adds nothing; leave it out, or train it with another seed")


def _first_difference(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    return next((key for key in [*a, *b] if a.get(key) != b.get(key) or (key in a) != (key in b)), "")


def _check_alone(run: Run) -> None:
    if run.probed:
        raise UserError(f"{run.path}: made by `rlvr probe`, which trains nothing; expected a training run")
    if not run.rows:
        raise UserError(f"{run.path / 'probes.jsonl'}: not found; the comparison is computed from its counts")
    decodings = {(probe.decoding, probe.verifier) for probe in run.probes}
    plans = {probe.plan for probe in run.probes[1:]}
    if len(decodings) > 1 or len(plans) > 1:
        raise UserError(f"{run.path}: its probes differ in decoding, verifier or plan; expected the same for all")


def _check_comparable(first: Run, run: Run) -> None:
    """Raises UserError naming what keeps two runs from being compared."""
    _check_schedules(first, run)
    for what, mine, theirs in (
        ("base model", _model(run), _model(first)),
        ("decoding", str(run.base.decoding), str(first.base.decoding)),
        ("verifier version", run.base.verifier, first.base.verifier),
        ("plan of the base", run.base.plan, first.base.plan),
        ("plan", run.probes[-1].plan, first.probes[-1].plan),
    ):
        if mine != theirs:
            raise UserError(f"{run.path} and {first.path} cannot be compared: {what} differs ({mine} and {theirs})")
    if run.rows[run.base.step].keys() != first.rows[first.base.step].keys() or run.problems != first.problems:
        ids = run.rows[run.base.step].keys() ^ first.rows[first.base.step].keys()
        ids |= {key for key in run.problems.keys() & first.problems.keys() if run.problems[key] != first.problems[key]}
        raise UserError(f"{run.path} and {first.path} cannot be compared: probe problems differ ({len(ids)} of them, "
                        f"such as {min(ids, default='none')!r})")
    ours, others = _base_key(run), _base_key(first)
    for what, part in (("base model", "weights"), ("probe problems", "problems")):
        if ours.get(part) and others.get(part) and ours[part] != others[part]:
            raise UserError(f"{run.path} and {first.path} cannot be compared: {what} differs (hash {ours[part][:12]} "
                            f"and {others[part][:12]})")
    if _base_counts(run) != _base_counts(first) and not (ours and others):
        raise UserError(f"{run.path} and {first.path} cannot be compared: base probe differs, and without "
                        f"{RunDir(run.path).samples(0).name} it is unknown whether their base models are the same")


def _comparable(first: Run, dials: Sequence[Dialled]) -> tuple[list[Dialled], list[str]]:
    """The dials that were measured as the runs were, and the others in words."""
    kept, left = [], []
    for dial in dials:
        try:
            _check_comparable(first, dial.run)
            kept.append(dial)
        except UserError as error:
            left.append(f"left out the dial {dial.run.path.name}: {error}")
    return kept, left


def _check_schedules(first: Run, run: Run) -> None:
    """Raises UserError where probes.budget chose other problems or another plan. Other probe steps are no obstacle."""
    if run.base.schedule is None and first.base.schedule is None:
        return
    for what, mine, theirs in (("plan", run.probes[-1].plan, first.probes[-1].plan),
                               ("number of problems", run.base.problems, first.base.problems)):
        if mine != theirs:
            raise UserError(f"{run.path} and {first.path} cannot be compared: probes.budget chose another {what} "
                            f"({mine} and {theirs}); train both with the same budget and number of rollouts, or set "
                            "probes.plan and data.probe.size to the smaller in both")
    if run.rows[run.base.step].keys() != first.rows[first.base.step].keys() and run.problems == first.problems:
        raise UserError(f"{run.path} and {first.path} cannot be compared: probes.budget chose {run.base.problems} "
                        "other problems, because their base was measured twice; train both with the same "
                        "probes.baselines")


def _model(run: Run) -> str:
    model = run.recipe.get("model")
    if not isinstance(model, Mapping):
        return str(model)
    return ", ".join(f"{key} {value}" for key, value in model.items() if key != "lora" and value is not None)


def _base_counts(run: Run) -> tuple[tuple[str, int, int], ...]:
    return tuple(sorted((problem, row.n, row.c) for problem, row in run.rows[run.base.step].items()))


def _base(runs: Sequence[Run]) -> tuple[Run, tuple[str, ...]]:
    """The run with the base probe that most share, and the names of the runs that have another."""
    times = Counter(_base_counts(run) for run in runs)
    common = max(times, key=lambda counts: times[counts])
    base = next(run for run in runs if _base_counts(run) == common)
    return base, tuple(run.path.name for run in runs if _base_counts(run) != common)


def _base_name(run: Run) -> str:
    key = _base_key(run)
    return entry_name(key) if key else ""


def _base_key(run: Run) -> dict[str, Any]:
    """What the base probe depends on, from the header of its samples; empty when that is not there."""
    try:
        with gzip.open(RunDir(run.path).samples(run.base.step), "rt", encoding="utf-8") as file:
            header = json.loads(file.readline())["header"]
    except (OSError, EOFError, zlib.error, ValueError, KeyError):
        return {}
    if "weights" not in header:
        return {}
    return {key: value for key, value in header.items() if key not in ("step", "seed", "batch_size")}
