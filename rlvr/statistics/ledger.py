"""When each problem of a run was first solved, lost and regained, and how much of it may be luck.

A problem is solved at a probe when one of its samples is correct. That no sample is correct proves little: a problem
that the base solves once in 256 samples fails a second 256 with a chance near 1/2. So a probe without success only
counts as a loss when bad luck is unlikely. With the reference counts (n0, c0) and a Beta(a, b) prior of success
probabilities, the chance that n further tries all fail though nothing changed is

    luck = B(a + c0, b + n0 - c0 + n) / B(a + c0, b + n0 - c0).

It holds under every plan (stopping on (n, c) drops out of the posterior; a probe without success always draws the
whole plan). The prior is fitted to the base counts of all problems, which undoes the selection of problems that were
solved by luck. n adds up over consecutive probes without success, so a rarely solved problem can be lost too, later.

Reference: the base probe when the base solved the problem, else the probe that solved it first.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from scipy.special import betaln

from rlvr.statistics.prediction import fit_beta
from rlvr.types import Counts, UserError

LOSS_LEVEL = 0.05
"""Largest luck at which a problem counts as lost or gained."""
JEFFREYS = (0.5, 0.5)


class Event(StrEnum):
    """What a probe changed about a problem."""

    FIRST_SOLVED = "first solved"
    """First correct sample at any probe."""
    LOST = "lost"
    """No correct sample since it was last solved, and bad luck has become unlikely (luck <= `LOSS_LEVEL`)."""
    REGAINED = "regained"
    """Solved again after `LOST`."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One event of one problem."""

    step: int
    event: Event
    luck: float
    """LOST: the chance that nothing was lost and all tries failed. FIRST_SOLVED after the base: the chance that the
    base's tries all fail for a problem as solvable as this probe shows; near 1 this is no evidence of a gain. NaN for
    the other events."""


@dataclass(frozen=True, slots=True)
class ProblemHistory:
    """All events of one problem, oldest first, and where it stands now."""

    problem_id: str
    events: tuple[Entry, ...]
    solved_now: bool
    """A correct sample in the newest probe."""
    lost_now: bool
    """Lost and not regained. Not solved now and not lost either: too few tries to tell."""
    luck_now: float
    """Chance that the failures since it was last solved are bad luck; NaN when solved now or never solved."""

    def step_of(self, event: Event) -> int | None:
        """Step of the first such event; None when there was none."""
        return next((entry.step for entry in self.events if entry.event == event), None)


@dataclass(frozen=True)
class Ledger:
    """Histories by problem id, in the order of the base probe."""

    problems: Mapping[str, ProblemHistory]
    prior: tuple[float, float]
    """Beta(a, b) of the success probabilities that `luck` rests on."""
    unsolved_now: int
    """Problems solved by the base without a correct sample in the newest probe."""
    unsolved_by_luck: float
    """How many of them to expect if nothing had changed since the base: sum of luck over the problems that the base
    solved, for the newest probe alone. Only an excess over it is evidence of loss."""

    def ids(self, event: Event, step: int) -> list[str]:
        """Problems with this event at this step."""
        return [
            history.problem_id for history in self.problems.values()
            if any(entry.event == event and entry.step == step for entry in history.events)
        ]


def luck(n0: int, c0: int, n: int, prior: tuple[float, float] = JEFFREYS) -> float:
    """Chance that n further samples all fail, for a problem with c0 correct of n0 samples that has not changed.

    In (0, 1]; 1 for n = 0. Raises ValueError for impossible counts or a prior parameter that is not positive.
    """
    a, b = prior
    if not 0 <= c0 <= n0 or n < 0 or not (a > 0.0 and b > 0.0):
        raise ValueError(f"luck: {c0} correct of {n0}, {n} tries, prior Beta({a}, {b}); expected 0 <= c0 <= n0, "
                         "n >= 0 and positive parameters")
    right, wrong = a + c0, b + n0 - c0
    return math.exp(betaln(right, wrong + n) - betaln(right, wrong))


def build_ledger(
    rows: Iterable[Mapping[str, Any]],
    max_samples: int,
    *,
    prior: tuple[float, float] | None = None,
) -> Ledger:
    """The ledger of a run from its probe rows, in any order.

    Args:
        rows: with keys step, problem_id, n, c, as in probes.jsonl; the smallest step is the base. Every probe must
            hold the base's problems.
        max_samples: of the plan of the probes after the base: what a problem without success gets.
        prior: Beta(a, b) of the success probabilities; None fits it to the base counts (Jeffreys' Beta(1/2, 1/2) where
            no fit exists).

    Raises: UserError for no rows, a problem that occurs twice in a probe, probes of different problems, or a problem
        given up without success before `max_samples`.
    """
    probes = _by_step(rows)
    steps = sorted(probes)
    base = probes[steps[0]]
    if prior is None:
        fit = fit_beta(list(base.values()))
        prior = (fit.a, fit.b) if fit is not None else JEFFREYS
    for step in steps[1:]:
        for one in probes[step].values():
            if one.c == 0 and one.n != max_samples:
                raise UserError(f"step {step}, problem {one.problem_id!r}: no success in {one.n} samples; expected "
                                f"{max_samples}, the whole plan: the probe is unfinished or used another plan")
    histories = {
        problem_id: _history([(step, probes[step][problem_id]) for step in steps], prior) for problem_id in base
    }
    newest = probes[steps[-1]]
    solved_by_base = [one for one in base.values() if one.c > 0]
    later = len(steps) > 1
    return Ledger(
        problems=histories,
        prior=prior,
        unsolved_now=sum(newest[one.problem_id].c == 0 for one in solved_by_base),
        unsolved_by_luck=sum(luck(one.n, one.c, max_samples, prior) for one in solved_by_base) if later else 0.0,
    )


def newly_solved(ledger: Ledger) -> list[str]:
    """Problems that the base never solved and a later probe did, beyond luck, and that are solved now.

    Beyond luck: a problem as solvable as that probe shows would have failed all of the base's tries with a chance of at
    most `LOSS_LEVEL`. One success in 256 tries after none in 512 is not evidence of a gain.
    """
    return [
        history.problem_id for history in ledger.problems.values()
        if history.solved_now and any(e.event == Event.FIRST_SOLVED and e.luck <= LOSS_LEVEL for e in history.events)
    ]


def _history(probes: list[tuple[int, Counts]], prior: tuple[float, float]) -> ProblemHistory:
    base = probes[0][1]
    reference: Counts | None = None
    events: list[Entry] = []
    failed_since, lost, chance = 0, False, math.nan
    for step, now in probes:
        if now.c > 0:
            if reference is None:
                reference = now
                by_luck = math.nan if now is base else luck(now.n, now.c, base.n, prior)
                events.append(Entry(step, Event.FIRST_SOLVED, by_luck))
            elif lost:
                events.append(Entry(step, Event.REGAINED, math.nan))
            failed_since, lost, chance = 0, False, math.nan
        elif reference is not None:
            failed_since += now.n
            chance = luck(reference.n, reference.c, failed_since, prior)
            if not lost and chance <= LOSS_LEVEL:
                lost = True
                events.append(Entry(step, Event.LOST, chance))
    return ProblemHistory(
        problem_id=base.problem_id,
        events=tuple(events),
        solved_now=probes[-1][1].c > 0,
        lost_now=lost,
        luck_now=chance,
    )


def _by_step(rows: Iterable[Mapping[str, Any]]) -> dict[int, dict[str, Counts]]:
    probes: dict[int, dict[str, Counts]] = {}
    for row in rows:
        probe = probes.setdefault(row["step"], {})
        if row["problem_id"] in probe:
            raise UserError(f"problem {row['problem_id']!r} occurs twice at step {row['step']}; expected one row per "
                            "step and problem")
        probe[row["problem_id"]] = Counts(row["problem_id"], row["n"], row["c"])
    if not probes:
        raise UserError("build_ledger: no probe rows; expected at least those of the base probe")
    base = probes[min(probes)].keys()
    for step, probe in probes.items():
        if probe.keys() != base:
            raise UserError(f"step {step} holds other problems than the base probe; expected the same problems at "
                            "every probe")
    return probes
