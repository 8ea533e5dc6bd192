"""The referee: how much pass@1 every way of training gives for how much pass@k, at equal generated tokens.

A way is an arm, with a model at each of its probes, or the dial of an arm, with a model at each merge. Of every way the
model with the largest pass@1 that loses at most 2 points of the base's pass@k is taken, and at most 5: by means over
seeds and problems, and with intervals and p-values that count every model it was chosen from. In the lab all values are
exact, so a choice is not misled by sampling noise.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rlvr.report.comparison.arms import Arm, Arms, algorithm_of
from rlvr.report.comparison.standings import TOLERANCE, base_P, difference, matrix, probe_steps, step_within, tokens_at
from rlvr.report.comparison.standings import token_budget as smallest_end
from rlvr.report.load import Run
from rlvr.statistics.front import Point, best_within, chosen_difference, hypervolume
from rlvr.statistics.intervals import mean_ci, population_ci
from rlvr.statistics.paired_tests import holm
from rlvr.statistics.seeds import arm_ci, arm_difference_ci
from rlvr.types import Estimate

FloatArray = npt.NDArray[np.float64]
LOSSES = (0.02, 0.05)
"""Losses of pass@k at which the ways are compared: what a shrinkage of 256 samples can resolve, and more than that."""
DEPTH = 0.10
"""The hypervolume counts down to this loss."""
REFERENCE = "grpo"
"""The algorithm that the others are compared with, where there is one; else the first arm."""


@dataclass(frozen=True, slots=True)
class Model:
    """One point of a way: pass@1 and pass@k of every seed and problem."""

    label: str
    one_SP: FloatArray
    many_SP: FloatArray
    seedless: bool = False
    """A model that no seed decided, as the base is."""

    @property
    def point(self) -> Point:
        return float(self.one_SP.mean()), float(self.many_SP.mean())

    @property
    def levels(self) -> tuple[Estimate, Estimate]:
        """pass@1 and pass@k with intervals over seeds and problems; of a single seed over problems."""
        ci = arm_ci if len(self.one_SP) > 1 else (lambda x_SP: population_ci(x_SP[0]))
        return ci(self.one_SP), ci(self.many_SP)


@dataclass(frozen=True, slots=True)
class Way:
    """One arm, or its dial, within the token budget."""

    name: str
    arm: str
    dialled: bool
    models: tuple[Model, ...]

    @property
    def seeds(self) -> int:
        return len(self.models[0].one_SP)

    @property
    def points(self) -> list[Point]:
        return [model.point for model in self.models]

    def areas(self, base: Point) -> list[float]:
        """The hypervolume of every seed by itself."""
        return [hypervolume([(float(m.one_SP[s].mean()), float(m.many_SP[s].mean())) for m in self.models], base, DEPTH)
                for s in range(self.seeds)]


@dataclass(frozen=True, slots=True)
class Against:
    """A difference to the reference: 95% interval, and the p-value after Holm's correction over the whole table."""

    difference: Estimate
    p: float


@dataclass(frozen=True, slots=True)
class Best:
    """The model of a way with the largest pass@1 within a loss of pass@k; the base if no model gains within it."""

    loss: float
    model: Model
    against: Against | None
    """pass@1 minus the reference's best within the same loss; None for the reference itself."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A row of the table."""

    way: Way
    best: tuple[Best, ...]
    """In the order of `LOSSES`."""
    area: Estimate
    """Hypervolume, with an interval over seeds."""
    area_against: Against | None


@dataclass(frozen=True, slots=True)
class Referee:
    """All ways beside each other."""

    base: Model
    exact: bool
    """Whether all values are the lab's true ones."""
    reference: str
    standings: tuple[Standing, ...]


def referee(arms: Arms) -> Referee | None:
    """Compare all ways; None where there is one alone."""
    exact = _known_exactly(arms)
    base = Model("base", *(one_P[None] for one_P in _base(arms, exact)), seedless=True)
    found = ways(arms, exact)
    if len(found) < 2:
        return None
    reference = next((way for way in found if not way.dialled and _algorithm(arms, way.arm) == REFERENCE), found[0])
    return judged(base, found, reference, exact=exact)


def judged(base: Model, found: Sequence[Way], reference: Way, *, exact: bool) -> Referee:
    """The table of these ways, the others against `reference`, which is one of them."""
    picked = {way.name: [_pick(way, base, loss) for loss in LOSSES] for way in found}
    tests: dict[tuple[str, int], tuple[Estimate, float]] = {}
    for way in found:
        if way is reference:
            continue
        tried = len(way.models) * len(reference.models)
        for i in range(len(LOSSES)):
            tests[way.name, i] = _gain(picked[way.name][i], picked[reference.name][i], tried)
        tests[way.name, len(LOSSES)] = _area_gain(way.areas(base.point), reference.areas(base.point))
    known = [key for key, (_, p) in tests.items() if not math.isnan(p)]
    adjusted = dict(zip(known, holm([tests[key][1] for key in known]), strict=True))
    against = {key: Against(estimate, adjusted.get(key, math.nan)) for key, (estimate, _) in tests.items()}
    return Referee(base, exact, reference.name, tuple(
        Standing(way, tuple(Best(loss, picked[way.name][i], against.get((way.name, i)))
                            for i, loss in enumerate(LOSSES)),
                 mean_ci(way.areas(base.point)), against.get((way.name, len(LOSSES))))
        for way in found))


def ways(arms: Arms, exact: bool) -> list[Way]:
    """The arms and their dials, with the models whose training generated no more tokens than the arm that generated
    least; those that do not record their tokens are left out where others do."""
    budget = smallest_end(arms)
    found = []
    for arm in arms.arms:
        steps = [step for step in probe_steps(arm) if step]
        if not math.isnan(budget):
            unknown = any(math.isnan(tokens_at(arm, step)) for step in steps)
            steps = [] if unknown else [step for step in steps if step <= step_within(arm, budget)]
        if steps:
            found.append(Way(arm.name, arm.name, False,
                             tuple(Model(f"step {step}", *_values(arms, arm, step, exact)) for step in steps)))
        found += _dialled(arms, arm, budget, exact)
    return found


def _dialled(arms: Arms, arm: Arm, budget: float, exact: bool) -> list[Way]:
    """The dials whose first run is of this arm: of single runs, of the mean of two, and so on. Of dials of the same
    checkpoints, the one with most points counts: they are no seeds of each other."""
    runs = {run.path: run for run in arms.runs}
    models: defaultdict[int, defaultdict[tuple[int, ...], dict[tuple[tuple[Path, int], ...], Run]]]
    models = defaultdict(lambda: defaultdict(dict))
    for dial in arms.dials:
        tokens = sum(tokens_at(Arm("", (runs[path],)), step) for path, step in dial.of)
        if dial.of[0][0] in {run.path for run in arm.runs} and not tokens > budget * (1 + TOLERANCE):
            same = models[len(dial.of)][tuple(step for _, step in dial.of)]
            same[dial.of] = max(same.get(dial.of, dial.run), dial.run, key=lambda run: len(run.probes))
    found = []
    for averaged, by_steps in sorted(models.items()):
        name = f"{arm.name}, {f'mean of {averaged}, ' if averaged > 1 else ''}dialled"
        most = max(map(len, by_steps.values()))
        of_way = []
        for steps, members in by_steps.items():
            if len(members) < most:  # a checkpoint that was dialled for some seeds only
                continue
            group = Arm(name, tuple(members.values()))
            of_way += [Model(f"step {max(steps)}, {percent}% of the way", *_values(arms, group, percent, exact))
                       for percent in probe_steps(group) if percent]
        if of_way:  # else the seeds were dialled to different points
            found.append(Way(name, arm.name, True, tuple(of_way)))
    return found


def _pick(way: Way, base: Model, loss: float) -> Model:
    best = best_within(way.points, base.point, loss)
    return base if best is None else way.models[best]


def _gain(mine: Model, other: Model, tried: int) -> tuple[Estimate, float]:
    """pass@1 of a chosen model minus that of the reference's, and its p-value before Holm."""
    if mine is other:  # the base twice
        return Estimate(0.0), 1.0
    a_SP, b_SP = mine.one_SP, other.one_SP
    if any(len(model.one_SP) == 1 and not model.seedless for model in (mine, other)):
        # A single seed: seeds cannot be accounted for, so the interval is over problems.
        a_SP, b_SP = a_SP.mean(axis=0, keepdims=True), b_SP.mean(axis=0, keepdims=True)
    return chosen_difference(lambda confidence: difference(a_SP, b_SP, confidence), tried)


def _area_gain(mine_S: Sequence[float], other_S: Sequence[float]) -> tuple[Estimate, float]:
    """Difference of hypervolumes, Welch's interval over seeds; NaN p-value with a single seed."""
    a_S1, b_S1 = (np.array(areas)[:, None] for areas in (mine_S, other_S))

    def interval(confidence: float) -> Estimate:
        return arm_difference_ci(a_S1, b_S1, target="benchmark", confidence=confidence)

    return chosen_difference(interval, 1) if min(len(a_S1), len(b_S1)) > 1 else (interval(0.95), math.nan)


def _algorithm(arms: Arms, name: str) -> str:
    return next(algorithm_of(arm.runs[0]) for arm in arms.arms if arm.name == name)


# ---------------------------------------------------------------- values per seed and problem, exact or estimated


def _known_exactly(arms: Arms) -> bool:
    runs = [arms.base, *arms.runs, *(dial.run for dial in arms.dials)]
    return all(row.exact_p is not None for run in runs for rows in run.rows.values() for row in rows.values())


def _base(arms: Arms, exact: bool) -> tuple[FloatArray, FloatArray]:
    if not exact:
        return base_P(arms, 1), base_P(arms, arms.k)
    return _exactly(arms, _exact_P(arms, arms.base, arms.base.base.step))


def _values(arms: Arms, arm: Arm, step: int, exact: bool) -> tuple[FloatArray, FloatArray]:
    """(S, P) pass@1 and pass@k of the models at a probe step; with a dial the percent of the way."""
    if not exact:
        return matrix(arms, arm, step, 1), matrix(arms, arm, step, arms.k)
    return _exactly(arms, np.stack([_exact_P(arms, run, step) for run in arm.runs]))


def _exact_P(arms: Arms, run: Run, step: int) -> FloatArray:
    return np.array([run.rows[step][problem].exact_p for problem in arms.base.rows[arms.base.base.step]])


def _exactly(arms: Arms, p: FloatArray) -> tuple[FloatArray, FloatArray]:
    with np.errstate(divide="ignore"):
        return p, -np.expm1(arms.k * np.log1p(-p))
