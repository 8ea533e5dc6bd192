"""Single problems and completions: which problems were lost or gained beyond chance, and what was answered."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rlvr.report.changes import named_plan
from rlvr.report.load import ProblemRow, ProblemText, Run, read_samples
from rlvr.report.words import number
from rlvr.statistics.false_listings import gained_by_chance, lost_by_chance
from rlvr.statistics.ledger import Event, Ledger, ProblemHistory, build_ledger, newly_solved
from rlvr.types import Counts, UserError

MAX_PROBLEMS = 25
"""Problems listed in full per group; with the two limits below this bounds the size of the page."""
MAX_SAMPLES = 2
"""Completions shown per problem, model and outcome."""
MAX_TEXT = 3000
"""Characters of a prompt or completion; of a longer one the beginning and the end are kept."""


@dataclass(frozen=True)
class Sample:
    """One stored completion."""

    model: str
    """`base` or `step 60`."""
    correct: bool
    reason: str
    extracted: str | None
    detail: str
    """What the verifier added to the reason."""
    text: str


@dataclass(frozen=True)
class Case:
    """One problem of the ledger."""

    problem_id: str
    text: ProblemText | None
    """None when problems.jsonl does not know the problem."""
    before: ProblemRow
    now: ProblemRow
    timeline: tuple[tuple[int, ProblemRow], ...]
    """(step, counts) of every probe."""
    story: tuple[str, ...]
    """`first solved by the base`, `lost at step 40 (by chance: 0.2%)`: oldest first."""
    samples: tuple[Sample, ...]
    """Right answers of a probe that solved it, then wrong ones of one that did not."""


@dataclass(frozen=True)
class Group:
    """Problems with one fate, in full up to MAX_PROBLEMS."""

    name: str
    """One of `GROUPS`."""
    total: int
    cases: tuple[Case, ...]


@dataclass(frozen=True)
class LedgerView:
    """What the page shows of the ledger."""

    ledger: Ledger
    solved_by_base: int
    lost_by_chance: float
    """Problems to expect in the group `lost` if nothing had changed; likewise `gained_by_chance`."""
    gained_by_chance: float
    groups: Mapping[str, Group]
    """By name, all of `GROUPS`."""


GROUPS = ("lost", "unsolved", "gained", "gained and lost", "regained")
"""`lost` and `unsolved` are the problems that the base solved and the last probe did not: beyond chance, and perhaps by
chance. `gained and lost` was solved by a probe after the base, and lost since."""


def ledger_view(run: Run) -> LedgerView | None:
    """The ledger of a run, recomputed from its counts.

    None where counts of base and last probe are missing, the plan is not known or probes hold other problems.
    """
    ledger = run_ledger(run)
    if ledger is None or run.last is None:
        return None
    plan = named_plan(run.last.plan)
    assert plan is not None
    base = [Counts(i, row.n, row.c) for i, row in run.rows[run.base.step].items()]
    probes = sum(probe.step in run.rows for probe in run.probes[1:])
    members = _members(run, ledger)
    shown = {name: histories[:MAX_PROBLEMS] for name, histories in members.items()}
    samples = _samples(run, {name: [_telling_steps(run, h) for h in hs] for name, hs in shown.items()})
    return LedgerView(
        ledger=ledger,
        solved_by_base=sum(one.c > 0 for one in base),
        lost_by_chance=lost_by_chance(base, probes, plan.max_samples, ledger.prior),
        gained_by_chance=gained_by_chance(base, probes, plan, ledger.prior),
        groups={
            name: Group(name, len(members[name]), tuple(_case(run, history, samples) for history in histories))
            for name, histories in shown.items()
        },
    )


def run_ledger(run: Run) -> Ledger | None:
    """`rlvr.statistics.ledger` over the probes of a run that have counts; None where it does not apply."""
    plan = named_plan(run.last.plan) if run.last else None
    steps = [probe.step for probe in run.probes if run.rows.get(probe.step)]
    if plan is None or run.last is None or not {run.base.step, run.last.step} <= set(steps):
        return None
    if any(run.rows[step].keys() != run.rows[run.base.step].keys() for step in steps):
        return None
    rows = [{"step": step, "problem_id": i, "n": row.n, "c": row.c}
            for step in steps for i, row in run.rows[step].items()]
    try:
        return build_ledger(rows, plan.max_samples)
    except UserError as error:
        raise UserError(f"{run.path / 'probes.jsonl'}: {error}") from None


def _members(run: Run, ledger: Ledger) -> dict[str, list[ProblemHistory]]:
    """The histories of each group, the most telling first; problems that never moved are in none."""
    base, new = run.rows[run.base.step], set(newly_solved(ledger))
    members: dict[str, list[ProblemHistory]] = {name: [] for name in GROUPS}
    for history in ledger.problems.values():
        by_base = base[history.problem_id].c > 0
        if history.lost_now:
            members["lost" if by_base else "gained and lost"].append(history)
        elif history.events and not history.solved_now and by_base:
            members["unsolved"].append(history)
        elif history.problem_id in new:
            members["gained"].append(history)
        elif history.solved_now and history.step_of(Event.REGAINED) is not None:
            members["regained"].append(history)
    return {name: sorted(histories, key=lambda h: _rank(run, h)) for name, histories in members.items()}


def shorten(text: str) -> str:
    """At most about MAX_TEXT characters: the beginning, how much is left out, the end (where answers stand)."""
    if len(text) <= MAX_TEXT:
        return text
    half = MAX_TEXT // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half:,} characters left out ...]\n{text[-half:]}"


def _rank(run: Run, history: ProblemHistory) -> tuple[float, str]:
    """The key to sort by: least explained by chance first; of problems solved now, the most often solved first."""
    if not history.solved_now:
        return history.luck_now, history.problem_id
    assert run.last is not None
    now = run.rows[run.last.step][history.problem_id]
    return -now.c / now.n, history.problem_id


def _telling_steps(run: Run, history: ProblemHistory) -> tuple[str, int, int]:
    """(problem, probe whose right answers are shown, probe whose wrong ones are shown)."""
    assert run.last is not None
    first = history.step_of(Event.FIRST_SOLVED)
    assert first is not None
    if not history.solved_now:
        return history.problem_id, first, run.last.step
    lost = history.step_of(Event.LOST)
    return history.problem_id, run.last.step, run.base.step if lost is None else lost


def _case(run: Run, history: ProblemHistory, samples: Mapping[str, Sequence[Sample]]) -> Case:
    assert run.last is not None
    i = history.problem_id
    timeline = tuple((p.step, run.rows[p.step][i]) for p in run.probes if i in run.rows.get(p.step, {}))
    return Case(
        problem_id=i,
        text=_shortened(run.problems.get(i)),
        before=run.rows[run.base.step][i],
        now=run.rows[run.last.step][i],
        timeline=timeline,
        story=_story(run, history),
        samples=tuple(samples[i]),
    )


def _story(run: Run, history: ProblemHistory) -> tuple[str, ...]:
    parts = []
    for entry in history.events:
        where = "by the base" if entry.step == run.base.step else f"at step {entry.step}"
        luck = "" if math.isnan(entry.luck) else f" (by chance: {number(entry.luck)}%)"
        parts.append(f"{entry.event} {where}{luck}")
    if not history.solved_now and not history.lost_now:
        parts.append(f"no right sample now (by chance: {number(history.luck_now)}%)")
    return tuple(parts)


def _samples(
    run: Run, wanted: Mapping[str, Iterable[tuple[str, int, int]]]
) -> defaultdict[str, list[Sample]]:
    """The first stored completions of each outcome by problem; every samples file is read once, as far as needed."""
    missing: defaultdict[int, dict[tuple[str, bool], int]] = defaultdict(dict)
    for asked in wanted.values():
        for problem_id, right_step, wrong_step in asked:
            missing[right_step][problem_id, True] = MAX_SAMPLES
            missing[wrong_step][problem_id, False] = MAX_SAMPLES
    chosen: defaultdict[str, list[Sample]] = defaultdict(list)
    for step, left in missing.items():
        model = "base" if step == run.base.step else f"step {step}"
        open_ = sum(left.values())
        for row in read_samples(run, step):
            key = row["problem_id"], bool(row.get("correct"))
            if left.get(key, 0):
                chosen[key[0]].append(Sample(
                    model=model, correct=key[1], reason=str(row.get("reason") or ""), extracted=row.get("extracted"),
                    detail=str(row.get("detail") or ""), text=shorten(str(row.get("text") or "")),
                ))  # fmt: skip
                left[key] -= 1
                open_ -= 1
                if not open_:
                    break
    for samples in chosen.values():
        samples.sort(key=lambda sample: not sample.correct)
    return chosen


def _shortened(text: ProblemText | None) -> ProblemText | None:
    return ProblemText(shorten(text.prompt), shorten(text.gold), shorten(text.question)) if text else None
