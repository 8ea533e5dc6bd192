"""Numbers as words: how the page writes a value, and the sentences that open it.

A sentence never claims more than its interval: a change is called a rise or a fall only when the 95% interval excludes
0. That the boundary shrank, did not shrink or grew rests on bounds that hold over all probes of the run together
(`rlvr.statistics.verdicts`); runs older than these verdicts are judged by the interval of the last probe alone.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

from rlvr.report.changes import change, crossing, resolved_crossing, tries_text
from rlvr.report.load import ProbePoint, Run
from rlvr.types import Estimate

MINUS = "\N{MINUS SIGN}"
MISSING = "\N{EN DASH}"
DIRECTIONS = {"shrunk": "the boundary shrank", "grown": "the boundary grew"}
FEW = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight", 9: "nine", 10: "ten"}


@dataclass(frozen=True)
class Headline:
    """What the run shows, in sentences."""

    finding: str
    """The one that matters."""
    notes: tuple[str, ...]
    """What qualifies it: the exact truth in the lab, where the curves cross."""
    verdict: str
    """`shrunk`, `not shrunk`, `grown`, `undecided`, or `base` when nothing was measured after the base."""


def number(value: float, *, signed: bool = False) -> str:
    """A fraction in percent (or points), one digit after the point, three where one would round it to 0.

    With a true minus sign; NaN is a dash.
    """
    if math.isnan(value):
        return MISSING
    percent = 100 * value
    text = f"{percent:{'+' if signed else ''}.{3 if 0 < abs(percent) < 0.05 else 1}f}"
    if float(text) == 0:
        text = text.lstrip("+-")
    return text.replace("-", MINUS)


def interval(estimate: Estimate, *, signed: bool = False) -> str:
    """`[low, high]`, or nothing when no interval is known."""
    if math.isnan(estimate.low) or math.isnan(estimate.high):
        return ""
    return f"[{number(estimate.low, signed=signed)}, {number(estimate.high, signed=signed)}]"


def headline(run: Run) -> Headline:
    """The opening sentences of a run's report."""
    if run.last is None:
        return Headline(_base_only(run), (), "base")
    last, k = run.last, run.k_max
    one, large = change(run, last, 1), change(run, last, k)
    if k in last.verdicts:
        by = last.verdicts[k].bounds
        large = Estimate(-by.value, -by.high, -by.low)
    verdict = _verdict(last, k, large)
    when = f"From the base to {run.probed}" if run.probed else f"After {last.step} step{'s' if last.step != 1 else ''}"
    if verdict == "undecided":
        why = "no change is resolved by these samples" if interval(large) else "no interval, so no change is claimed"
        if last.verdicts:
            why = "whether the boundary shrank is undecided"
        ending = f"pass@{k} changed by {_points(large, signed=True)}: {why}."
    elif verdict == "not shrunk":
        ending = (f"pass@{k} changed by {_points(large, signed=True)}: the boundary did not shrink by "
                  f"{_count(round(100 * last.margin))} points or more.")
    else:
        ending = f"{_moved(f'pass@{k}', large)}: {DIRECTIONS[verdict]}."
    notes = [*_looks_notes(last, k), *_exact_notes(run, last, k)]
    if verdict == "shrunk" and one.low > 0:  # else a crossing is as likely noise as not
        notes += _crossing_notes(run, last)
    return Headline(f"{when} {_moved('pass@1', one)}; {ending}", tuple(notes), verdict)


def budget_words(run: Run) -> str:
    """What the probes took beside the budget and its forecast, in one sentence; empty without a budget."""
    last, chosen = run.last, run.base.schedule
    if chosen is None or last is None or last.budget_share is None or last.token_share is None:
        return ""
    return (f"The probes after the base took {number(last.budget_share)}% of the tokens generated since (budget "
            f"{100 * chosen['budget']:.3g}%, forecast {number(chosen['share'])} to {number(chosen['most'])}%); with "
            f"the base's probe, which all runs from this base share, {number(last.token_share)}%.")


def judge_words(run: Run) -> str:
    """What verdicts cost the training; empty for a run that has not recorded it."""
    medians, longest, waited = (run.series(f"perf/judge_{name}")[1] for name in ("p50_ms", "max_ms", "seconds"))
    if not (medians and waited):
        return ""
    seconds = sum(run.series("perf/step_seconds")[1])
    share = f", {number(sum(waited) / seconds)}% of its time" if seconds else ""
    return (f"In training a verdict took {statistics.median(medians):.2g} ms (median) and at most {max(longest):,.3g} "
            f"ms; the steps waited {sum(waited):,.3g} s for verdicts{share}.")


def _base_only(run: Run) -> str:
    one, large = run.base.get("pass@1"), run.base.get(f"pass@{run.k_max}")
    return (
        f"The base model's pass@1 is {number(one.value)}% {interval(one)} and its pass@{run.k_max} "
        f"{number(large.value)}% {interval(large)}; there is no later probe yet, so no change to report."
    )


def _verdict(last: ProbePoint, k: int, large: Estimate) -> str:
    """`large` is the change of pass@k, with bounds over all looks where the run has them."""
    if k not in last.verdicts or large.low > 0:
        return _direction(large)
    return str(last.verdicts[k].verdict)


def verdict_text(probe: ProbePoint, verdict: str) -> str:
    """A verdict for a table: `not shrunk` alone, beside a small exact fall, would read as false."""
    return f"not shrunk by {100 * probe.margin:g}+" if verdict == "not shrunk" and probe.margin > 0 else str(verdict)


def _looks_notes(last: ProbePoint, k: int) -> list[str]:
    """What the verdict holds over, and the verdicts at the other k."""
    if k not in last.verdicts:
        return []
    one = last.planned_looks == 1
    looks = "hold for the one probe of this run" if one else (
        f"hold over {f'all {_count(last.planned_looks)} probes' if last.planned_looks else 'any number of probes'} of "
        "this run together")
    others = [f"k = {size}: {verdict_text(last, one_k.verdict)}" for size, one_k in sorted(last.verdicts.items())
              if size != k]
    also = f" At {'; '.join(others)}." if others else ""
    return [f"The bounds of pass@{k} and the verdict are one-sided and {looks}: a chance of "
            f"{100 * last.alpha:g}% per run and k of a false alarm (the table's intervals are two-sided"
            f"{'' if one else ', each for one look'}).{also}"]


def _count(number: int | None) -> str:
    return FEW.get(number or 0, str(number))


def _direction(large: Estimate) -> str:
    if large.high < 0:
        return "shrunk"
    return "grown" if large.low > 0 else "undecided"


def _moved(name: str, by: Estimate) -> str:
    """`pass@1 rose by 12.1 points [9.8, 14.4]`; neutral words when the interval holds 0 or is not known."""
    if by.low > 0:
        return f"{name} rose by {_points(by)}"
    if by.high < 0:
        return f"{name} fell by {_points(Estimate(-by.value, -by.high, -by.low))}"
    return f"{name} changed by {_points(by, signed=True)}" + (" (not resolved)" if interval(by) else "")


def _points(by: Estimate, *, signed: bool = False) -> str:
    return f"{number(by.value, signed=signed)} points {interval(by, signed=signed)}".rstrip()


def _exact_notes(run: Run, last: ProbePoint, k: int) -> list[str]:
    names = [f"pass@{size}" for size in (1, k)]
    if any(name not in probe.exact for name in names for probe in (run.base, last)):
        return []
    moves = []
    for name in names:
        by = last.exact[name] - run.base.exact[name]
        moves.append(f"{name} {'rose' if by > 0 else 'fell'} by {number(abs(by))} points" if by else f"{name} stayed")
    return [f"The exact truth, which the lab can compute: {' and '.join(moves)}."]


def _crossing_notes(run: Run, last: ProbePoint) -> list[str]:
    at = resolved_crossing(run, last)
    if at is None:
        return []
    truth = crossing(run.base, last, exact=True)
    exact = f" (exactly: {tries_text(truth)})" if truth is not None else ""
    return [
        f"The curves cross near k = {tries_text(at)}{exact}: with fewer tries the trained model solves more problems, "
        "with more tries the base model does."
    ]
