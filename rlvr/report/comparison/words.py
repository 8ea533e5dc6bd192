"""The sentences of a comparison. As in a run's report, none claims more than its intervals; here Holm's correction
stands between the many differences and a claim."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rlvr.report.comparison.arms import Arm, Arms
from rlvr.report.comparison.standings import (
    ALPHA,
    BOTH,
    Difference,
    Metric,
    Row,
    Value,
    changes,
    differences,
    probe_steps,
    step_within,
    token_budget,
    tokens_at,
)
from rlvr.report.words import MISSING, interval, number
from rlvr.statistics.intervals import t_quantile
from rlvr.types import Estimate


@dataclass(frozen=True)
class Finding:
    """What a comparison shows, in sentences."""

    sentence: str
    notes: tuple[str, ...]


def finding(arms: Arms, by_steps: Sequence[Row], by_tokens: Sequence[Row]) -> Finding:
    """The opening sentences of the page."""
    against_base = changes(arms)
    one, large = ([c for c in against_base if c.metric == f"pass@{k}"] for k in (1, arms.k))
    sentence = (f"After {arms.last_step} steps {_moved('pass@1', one)}; {_moved(f'pass@{arms.k}', large)}.")
    notes = [_boundary(arms, large), _spread(arms, by_steps), _between(arms), _exact(arms, one, large),
             _tokens(arms, by_tokens)]
    notes += _cautions(arms)
    return Finding(sentence, tuple(note for note in notes if note))


def value_text(metric: Metric, value: Value) -> tuple[str, str, str]:
    """(value, interval, exact) of a cell: percent or points, or nats; empty where unknown."""
    estimate = value.estimate
    if metric.percent:
        return (number(estimate.value, signed=metric.signed), interval(estimate, signed=metric.signed),
                "" if math.isnan(value.exact) else number(value.exact, signed=metric.signed))
    bounds = "" if math.isnan(estimate.low) else f"[{estimate.low:.3f}, {estimate.high:.3f}]"
    return (MISSING if math.isnan(estimate.value) else f"{estimate.value:.3f}"), bounds, ""


def p_text(p: float) -> str:
    """An adjusted p-value, two digits."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def count_text(count: float) -> str:
    """A large number in words: 1.25 M, 18.4 k; a dash when not recorded."""
    if math.isnan(count):
        return MISSING
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g} {letter}"
    return f"{count:.0f}"


def seeds_text(arms: Arms) -> str:
    """The seeds of all arms, or of each where they differ."""
    if len({tuple(arm.seeds) for arm in arms.arms}) == 1:
        seeds = arms.arms[0].seeds
        return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))} of every arm"
    return "seeds " + "; ".join(f"{arm.name} {', '.join(map(str, arm.seeds))}" for arm in arms.arms)


def base_text(arms: Arms) -> str:
    """Which base probe everything is compared with, and who shares it."""
    total, probe = len(arms.runs), arms.base.base
    what = f"Base probe {arms.base_name}" if arms.base_name else f"The base probe of {arms.base.path.name}"
    size = f", {probe.problems} problems, {probe.samples:,} samples" if probe.problems and probe.samples else ""
    if not arms.own_base:
        return f"{what}{size}: shared by {'all ' if total > 1 else ''}{total} run{'s' if total > 1 else ''}."
    return (f"{what}{size}: {len(arms.own_base)} of {total} runs measured the same base apart "
            f"({', '.join(arms.own_base)}); all differences are taken to this one.")


def _moved(metric: str, found: Sequence[Difference]) -> str:
    """`pass@1 rose in 5 of 6 arms (by 3.1 to 6.0 points)`: only resolved changes are called a rise or a fall."""
    parts = []
    for word, sign in (("rose", 1), ("fell", -1)):
        by = [c for c in found if c.resolved and sign * c.value.estimate.value > 0]
        if by:
            sizes = sorted(abs(c.value.estimate.value) for c in by)
            points = f"by {_range(sizes[0], sizes[-1])} points"
            names = "" if len(by) == len(found) else f"{', '.join(c.arm for c in by)}, "
            parts.append(f"{word} in {_share(len(by), len(found))} ({names}{points})")
    if not parts:
        return f"{metric} changed in none of the {len(found)} arms by more than these runs can resolve" if (
            len(found) > 1) else f"{metric} did not change by more than these runs can resolve"
    return f"{metric} {' and '.join(parts)}"


def _boundary(arms: Arms, found: Sequence[Difference]) -> str:
    """`expanded under a (+8.0 [+3.1, +12.9]); shrank under b (...)`; undecided: not resolved by Holm."""
    parts = []
    for words, chosen in (
        ("expanded under", [c for c in found if c.resolved and c.value.estimate.value > 0]),
        ("shrank under", [c for c in found if c.resolved and c.value.estimate.value < 0]),
        ("is undecided under", [c for c in found if not c.resolved]),
    ):
        if chosen:
            parts.append(f"{words} {', '.join(f'{c.arm} ({_against_base(c)})' for c in chosen)}")
    count = len(arms.arms)
    return (f"The boundary, pass@{arms.k} against the base in points, {'; '.join(parts)}. Each interval is of one "
            f"difference alone; a change is resolved when its p is at most {ALPHA:g} after Holm's correction over the "
            f"{2 * count} changes looked at ({count} arm{'s' if count > 1 else ''}, pass@1 and pass@{arms.k}).")


def _against_base(c: Difference) -> str:
    """The change with its interval; with both p-values where the interval alone would say something else."""
    text, bounds = difference_text(c.value.estimate), c.value.estimate
    if c.resolved or bounds.low <= 0 <= bounds.high or math.isnan(bounds.low):
        return text
    alone = p_text(c.alone)
    return f"{text}, p {'' if alone.startswith('<') else '= '}{alone}, {p_text(c.p)} after Holm"


def _share(count: int, total: int) -> str:
    if total == 1:
        return "the one arm"
    return f"{'both' if total == 2 else f'all {total}'} arms" if count == total else f"{count} of {total} arms"


def _range(low: float, high: float, *, signed: bool = False) -> str:
    first, last = number(low, signed=signed), number(high, signed=signed)
    return first if first == last else f"{first} to {last}"


def _spread(arms: Arms, rows: Sequence[Row]) -> str:
    if len(rows) < 2:
        return ""
    ordered = sorted(rows, key=lambda row: row.values["delta_se"].estimate.value)
    best, worst = (ordered[i].values["delta_se"].estimate.value for i in (0, -1))
    return (f"delta_se, the distance of a single try from the base's pass@{arms.k}, lies between {number(best)} "
            f"({ordered[0].name}) and {number(worst)} points ({ordered[-1].name}): the arms differ by "
            f"{number(worst - best)} points, and the nearest stays {number(best)} points away.")


def _between(arms: Arms) -> str:
    if len(arms.arms) < 2:
        return ""
    parts = []
    for k in (1, arms.k):
        found = [d for d in differences(arms) if d.metric == f"pass@{k}"]
        resolved = [d for d in found if d.resolved]
        names = ", ".join(_order(d) for d in resolved[:4])
        names = f" ({names}{', ...' if len(resolved) > 4 else ''})" if resolved else ""
        parts.append(f"{len(resolved) if resolved else 'none'} of {len(found)} in pass@{k}{names}")
    return f"Differences between arms that are resolved (Holm, 5%): {parts[0]}; {parts[1]}."


def _order(d: Difference) -> str:
    return f"{d.arm} above {d.other}" if d.value.estimate.value > 0 else f"{d.other} above {d.arm}"


def _exact(arms: Arms, one: Sequence[Difference], large: Sequence[Difference]) -> str:
    moves = []
    for name, found in (("pass@1", one), (f"pass@{arms.k}", large)):
        exact = sorted(c.value.exact for c in found)
        if any(map(math.isnan, exact)):
            return ""
        moves.append(f"{name} changed by {_range(exact[0], exact[-1], signed=True)} points")
    return f"The exact truth of these runs, which the lab can compute: {' and '.join(moves)}."


def _tokens(arms: Arms, rows: Sequence[Row]) -> str:
    if not rows:
        return "The runs do not record their generated tokens, so there is no table at equal tokens."
    back = [f"{row.name} at step {row.step}" if row.step is not None else f"{row.name} at no probe after the base"
            for row in rows if row.step != arms.last_step]
    silent = [arm.name for arm in arms.arms if arm.name not in {row.name for row in rows}]
    without = f" (without {', '.join(silent)}, which generated nothing in training)" if silent else ""
    budget = count_text(token_budget(arms))
    # Rows are matched by name: an arm that generated nothing in training has none.
    by_name = {row.name: row for row in rows}
    empty = [_beyond(arms, arm) for arm in arms.arms if arm.name in by_name and by_name[arm.name].step is None]
    return " ".join([f"At equal generated tokens ({budget}) the arms stand elsewhere{without}: {', '.join(back)}.",
                     *empty]) if back else (
        f"At equal generated tokens ({budget}) every arm stands at the same step{without}.")


def _beyond(arms: Arms, arm: Arm) -> str:
    """Why an arm has no row at equal tokens, and what would give it one."""
    first, step = probe_steps(arm)[1], step_within(arm, token_budget(arms))
    way_out = f"probes.every={step} or less would give it a row" if step else "its first update alone exceeds them"
    return (f"{arm.name} had generated {count_text(tokens_at(arm, first))} at its first probe, step {first}, more than "
            f"another arm in its whole run: {way_out}.")


def _cautions(arms: Arms) -> list[str]:
    single = [arm.name for arm in arms.arms if len(arm.runs) == 1]
    notes = []
    if single:
        who = "every arm" if len(single) == len(arms.arms) else ", ".join(single)
        notes.append(f"1 seed: problems only ({who}). Another seed may turn these differences around: an interval over "
                     "problems says nothing about it.")
    if arms.missing:
        notes.append(f"Incomplete: {'; '.join(arms.missing)}.")
    return notes


def over_text(rows: Sequence[Row]) -> str:
    """What the intervals of a table are over."""
    seeds = sorted({row.seeds for row in rows})
    if seeds == [1]:
        return ("\N{DAGGER} 1 seed: problems only. Brackets are 95% intervals over problems; seeds are not in "
                "them.")
    several = f"Brackets are 95% intervals over {BOTH}"
    if seeds[0] == 1:
        return f"{several}; of arms with 1 seed over problems only, marked \N{DAGGER}; of the base over problems."
    return f"{several}; of the base, which has no seeds, over problems."


def padding_text(arms: Arms) -> str:
    """Why an interval of a difference can be wider than those of its two parts."""
    size = len(arms.base.rows[arms.base.base.step]) + 2
    half = t_quantile(size - 1, 0.95) * math.sqrt(2 / (size * (size - 1)))  # of differences 0, ..., 0, +1, -1
    return (f"The interval of a difference takes in two added problems, one won (+1) and one lost (\N{MINUS SIGN}1), "
            f"so that few problems which happen to agree claim nothing: with {size - 2} problems these alone make it "
            f"\N{PLUS-MINUS SIGN}{number(half)} points, so it can be wider than the intervals of its two parts.")


def difference_text(estimate: Estimate) -> str:
    """`+1.2 [-0.3, +2.7]`, points."""
    return f"{number(estimate.value, signed=True)} {interval(estimate, signed=True)}".rstrip()
