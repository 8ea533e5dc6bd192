"""How a report writes numbers, and the sentences that open it.

A sentence claims no more than its interval: a change is significant only when the interval excludes 0. That the
boundary shrank, did not shrink or grew rests on bounds that hold over all probes of the run together
(`rlvr.statistics.verdicts`); runs older than these verdicts are judged by the interval of the last probe alone.
"""

from __future__ import annotations

import itertools
import math
import statistics
from dataclasses import dataclass

from rlvr.report.changes import (
    change,
    crossing,
    exact_change,
    monitored_change,
    significant_crossing,
    tries_text,
)
from rlvr.report.load import ProbePoint, Run
from rlvr.runs.metrics import IDLE_STEPS
from rlvr.types import Estimate

MINUS = "\N{MINUS SIGN}"
MISSING = "\N{EN DASH}"
DIRECTIONS = {"shrunk": "the boundary shrank", "grown": "the boundary grew"}


@dataclass(frozen=True)
class Headline:
    """What the run shows, in sentences."""

    finding: str
    """The one that matters."""
    notes: tuple[str, ...]
    """What the verdict holds over; the exact values in the lab; where the curves cross."""
    verdict: str
    """`shrunk`, `not shrunk`, `grown`, `undecided`, or `base` when nothing was measured after the base."""


def number(value: float, *, signed: bool = False) -> str:
    """A fraction in percent (or points) with one digit after the point; NaN is a dash.

    A signed number keeps its sign when it rounds to 0, so that a bound of +0.004 does not look like 0; an unsigned one
    is then `<0.1`.
    """
    if math.isnan(value):
        return MISSING
    percent = 100 * value
    if percent == 0:
        return "0.0"
    if not signed and 0 < percent < 0.05:
        return "<0.1"
    return f"{percent:{'+' if signed else ''}.1f}".replace("-", MINUS)


def interval(estimate: Estimate, *, signed: bool = False) -> str:
    """`[low, high]`, or nothing when no interval is known."""
    if math.isnan(estimate.low) or math.isnan(estimate.high):
        return ""
    return f"[{number(estimate.low, signed=signed)}, {number(estimate.high, signed=signed)}]"


def with_interval(estimate: Estimate, *, signed: bool = False) -> str:
    """`12.1 [9.8, 14.4]`."""
    return f"{number(estimate.value, signed=signed)} {interval(estimate, signed=signed)}".rstrip()


def points(by: Estimate) -> str:
    """`+12.1 points [+9.8, +14.4]`."""
    if math.isnan(by.value):
        return "an unknown amount"
    return f"{number(by.value, signed=True)} points {interval(by, signed=True)}".rstrip()


def headline(run: Run) -> Headline:
    """The opening sentences of a run's report."""
    if run.last is None:
        return Headline(_base_only(run), (), "base")
    last, k = run.last, run.k_max
    one, large = change(run, last, 1), monitored_change(run, last, k)
    verdict = _verdict(last, k, large)
    when = f"From the base to {run.probed}" if run.probed else f"After {last.step} step{'s' if last.step != 1 else ''}"
    doubt = "" if one.low > 0 or one.high < 0 or not interval(one) else " (not significant)"
    idle = _without_signal(run)
    ends = f"pass@1 changed by {points(one)}{doubt} and pass@{k} by" if k > 1 else "pass@1 changed by"
    finding = f"{idle[0]}{when} {ends} {points(large)}: {_says(last, k, verdict, large)}."
    ended = [f"train.stop_on ended the training here, at step {last.step} of {run.planned_steps}."]
    notes = [*idle[1:], *(ended if run.ended_by_rule else []), *_verdict_notes(run, last, k),
             *_exact_notes(run, last, k)]
    if verdict == "shrunk" and one.low > 0:  # else a crossing may well be noise
        notes += _crossing_notes(run, last)
    return Headline(finding, tuple(notes), verdict)


def _without_signal(run: Run) -> tuple[str, ...]:
    """A warning before the finding where no step of the training had any signal, else ""; and a note where some steps
    in a row had none, but not all."""
    steps, shares = run.series("train/zero_signal_frac")
    if shares and min(shares) >= 1:
        count = f"all {len(steps)} logged steps" if len(steps) > 1 else "the one logged step"
        return (f"Nothing can have been learned: in {count} all rollouts of each prompt got the same credit, "
                "so the reward gave no gradient. ",)
    longest: list[int] = []
    for idle, group in itertools.groupby(zip(steps, shares, strict=True), key=lambda point: point[1] >= 1):
        longest = max(longest, [step for step, _ in group] if idle else [], key=len)
    if len(longest) < IDLE_STEPS:
        return ("",)
    return "", (f"From step {longest[0]} to step {longest[-1]} all rollouts of each prompt got the same credit: "
                "nothing was learned there.")


def budget_words(run: Run) -> str:
    """The share of tokens that the probes took, beside budget and forecast, in one sentence; empty without a budget."""
    last, chosen = run.last, run.base.schedule
    if chosen is None or last is None or last.budget_share is None or last.token_share is None:
        return ""
    forecast = f"forecast {number(chosen['share'])} to {number(chosen['most'])}%"
    whose, budget = "The probes", f"budget {100 * chosen['budget']:.3g}%, {forecast}"
    if (whole := chosen.get("budget_of_all_sets")) is not None:
        whose, budget = "The probes of all sets", (f"budget {100 * whole:.3g}%, of which this set has "
                                                   f"{100 * chosen['budget']:.3g}%, {forecast}")
    return (f"{whose} after the base took {number(last.budget_share)}% of the tokens generated since ({budget}). With "
            f"the base's probe, which all runs from this base share, it is {number(last.token_share)}%.")


def unjudged_words(run: Run) -> str:
    """Which problems were left out because an answer could not be judged, in one sentence; empty if none was."""
    if not (probes := [probe for probe in run.probes if probe.unjudged]):
        return ""
    named = "; ".join(f"step {probe.step}: " + ", ".join(f"{i} ({what})" for i, what in probe.unjudged.items())
                      for probe in probes)
    return (f"Left out of a probe, and of every comparison with it, as an answer could not be judged: {named}. "
            "Counting such answers as wrong would bias pass@k.")


def engine_words(run: Run) -> str:
    """What the engine of the newest probe promises of its samples, in one sentence; empty where rlvr drew them."""
    if not (sampled := run.probes[-1].sampled):
        return ""
    seeds = {"every request": "every request had a seed of its own",
             "sent": "seeds were sent, and whether the server honours them is unknown"}[sampled["seeds"]]
    entropy = {"exact": "entropies are exact", "unknown": "entropies are unknown"}.get(
        sampled["entropy"], f"entropies are {sampled['entropy']}")
    within = sampled.get("entropy_within")
    width = "" if not within else f" (within {within:.2g} nats)"
    return (f"Drawn by {sampled['engine']} ({sampled['api']}): {seeds}; {entropy}{width}; completions end "
            f"{'with ' if sampled['stops'].startswith('token') else ''}{sampled['stops']}.")


def judge_words(run: Run) -> str:
    """How long training waited for verdicts; empty for a run that has not recorded it."""
    medians, longest, waited = (run.series(f"perf/judge_{name}")[1] for name in ("p50_ms", "max_ms", "seconds"))
    if not (medians and waited):
        return ""
    seconds = sum(run.series("perf/step_seconds")[1])
    share = f", {number(sum(waited) / seconds)}% of its time" if seconds else ""
    return (f"In training a verdict took {statistics.median(medians):.2g} ms (median) and at most {max(longest):,.3g} "
            f"ms; training waited {sum(waited):,.3g} s for verdicts{share}.")


def verdict_text(probe: ProbePoint, verdict: str) -> str:
    """A verdict for a table. `not shrunk` alone, beside a small exact fall, would read as false."""
    return f"not shrunk by {100 * probe.margin:g}+" if verdict == "not shrunk" and probe.margin > 0 else str(verdict)


def over_probes(run: Run) -> str:
    """Which probes the verdicts hold over: `over all 4 probes`, `for the one probe`, `over all probes`."""
    planned = run.last.planned_looks if run.last else None
    return _looks(planned) if planned else "over all probes"


def _looks(planned: int) -> str:
    return {1: "for the one probe", 2: "over both probes"}.get(planned, f"over all {planned} probes")


def _base_only(run: Run) -> str:
    one, large = run.base.get("pass@1"), run.base.get(f"pass@{run.k_max}")
    whose, next_ = (run.alone, "Nothing is compared with it") if run.alone else (
        "The base model", "There is no later probe yet")
    more = f" and pass@{run.k_max} is {number(large.value)}% {interval(large)}" if run.k_max > 1 else ""
    return f"{whose}: pass@1 is {number(one.value)}% {interval(one)}{more}. {next_}."


def _verdict(last: ProbePoint, k: int, large: Estimate) -> str:
    """`large` is the change of pass@k, with bounds over all probes where the run has them."""
    if large.low > 0:
        return "grown"
    if k in last.verdicts:
        return str(last.verdicts[k].verdict)
    return "shrunk" if large.high < 0 else "undecided"


def _says(last: ProbePoint, k: int, verdict: str, large: Estimate) -> str:
    if verdict in DIRECTIONS:
        return DIRECTIONS[verdict]
    if verdict == "not shrunk":
        return f"the boundary did not shrink by {100 * last.margin:g} points or more"
    if k in last.verdicts:
        return "whether the boundary shrank is undecided"
    return "these samples show no significant change" if interval(large) else "no interval, so no change is claimed"


def _verdict_notes(run: Run, last: ProbePoint, k: int) -> list[str]:
    """What the verdict holds over, the verdicts at the other k, and earlier probes at which the boundary had shrunk."""
    if k not in last.verdicts:
        return []
    planned = last.planned_looks
    looks = "over any number of probes of this run" if planned is None else (
        f"{_looks(planned)} of this run{' together' if planned > 1 else ''}")
    others = [f"k = {size} {verdict_text(last, one.verdict)}" for size, one in sorted(last.verdicts.items())
              if size != k]
    beyond = last.look is not None and planned is not None and last.look > planned
    late = (f" The run was extended: this is probe {last.look}, for which no error was left to spend, so it has no "
            "bounds and can decide nothing new.") if beyond else ""
    also = f" At the other k: {', '.join(others)}." if others else ""
    shrunk = [str(probe.step) for probe in run.probes
              if probe is not last and k in probe.verdicts and probe.verdicts[k].verdict == "shrunk"]
    if shrunk and last.verdicts[k].verdict != "shrunk":
        steps = " and ".join([", ".join(shrunk[:-1]), shrunk[-1]] if shrunk[1:] else shrunk)
        also += f" At step{'s' * bool(shrunk[1:])} {steps} the boundary had shrunk."
    return [f"The verdict and its bounds of pass@{k} hold {looks}: a run whose boundary never shrank is called shrunk "
            f"with a chance of at most {100 * last.alpha:g}% at each k.{also}{late}"]


def _exact_notes(run: Run, last: ProbePoint, k: int) -> list[str]:
    one, large = (exact_change(run, last, size) for size in (1, k))
    if math.isnan(one + large):
        return []
    return [f"The exact values, which only the lab knows: pass@1 changed by {number(one, signed=True)} points and "
            f"pass@{k} by {number(large, signed=True)}."]


def _crossing_notes(run: Run, last: ProbePoint) -> list[str]:
    at = significant_crossing(run, last)
    if at is None:
        return []
    truth = crossing(run.base, last, exact=True)
    exact = f" (exactly: {tries_text(truth)})" if truth is not None else ""
    return [f"The curves cross near k = {tries_text(at)}{exact}: with fewer tries the trained model solves more "
            "problems, with more tries the base model does."]
