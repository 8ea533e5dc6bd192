"""The sentences of a comparison. As in a run's report, none claims more than its intervals; as many differences are
looked at here, a claim must also survive Holm's correction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rlvr.report.changes import negative
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
    equal_steps,
    equal_tokens,
    probe_steps,
    step_within,
    token_budget,
    tokens_at,
)
from rlvr.report.words import MISSING, interval, number, with_interval
from rlvr.statistics.intervals import t_quantile
from rlvr.types import Estimate


@dataclass(frozen=True)
class Finding:
    """What a comparison shows, in sentences."""

    sentence: str
    notes: tuple[str, ...]


def finding(arms: Arms) -> Finding:
    """The opening sentences of the page."""
    against_base = changes(arms)
    one, large = ([c for c in against_base if c.metric == f"pass@{k}"] for k in (1, arms.k))
    sentence = f"After {arms.last_step} steps {_moved('pass@1', one)}; {_moved(f'pass@{arms.k}', large)}."
    notes = [_boundary(arms, large), _spread(arms, equal_steps(arms)), _between(arms), _exact(arms, one, large),
             _tokens(arms, equal_tokens(arms)), *_cautions(arms)]
    return Finding(sentence, tuple(note for note in notes if note))


def value_text(metric: Metric, value: Value) -> tuple[str, str, str]:
    """(value, interval, exact) of a cell: percent or points, or nats; empty where unknown."""
    estimate = value.estimate
    if metric.percent:
        shown, exact = (negative(estimate), -value.exact) if metric.change else (estimate, value.exact)
        return (number(shown.value, signed=metric.change), interval(shown, signed=metric.change),
                "" if math.isnan(exact) else number(exact, signed=metric.change))
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
    """The seeds of all arms, or of each where they differ, in one sentence."""
    if len({tuple(arm.seeds) for arm in arms.arms}) == 1:
        seeds = arms.arms[0].seeds
        which = f"{len(seeds)} seeds ({_list(seeds)})" if len(seeds) > 1 else f"one seed (seed {seeds[0]})"
        return f"Every arm was trained with {which}."
    return f"Seeds: {'; '.join(f'{arm.name} {_list(arm.seeds)}' for arm in arms.arms)}."


def _list(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))


def base_text(arms: Arms) -> str:
    """Which base probe everything is compared with, and who shares it."""
    total, probe = len(arms.runs), arms.base.base
    what = f"Base probe {arms.base_name}" if arms.base_name else f"The base probe of {arms.base.path.name}"
    size = f", {probe.problems} problems, {probe.samples:,} samples" if probe.problems and probe.samples else ""
    if not arms.own_base:
        sharing = "1 run" if total == 1 else "both runs" if total == 2 else f"all {total} runs"
        return f"{what}{size}: shared by {sharing}."
    return (f"{what}{size}: {len(arms.own_base)} of {total} runs measured the same base apart "
            f"({', '.join(arms.own_base)}); all differences are to this one.")


def _moved(metric: str, against_base: Sequence[Difference]) -> str:
    """`pass@1 rose in 5 of 6 arms (by 3.1 to 6.0 points)`: only significant changes are called a rise or a fall."""
    parts = []
    for word, sign in (("rose", 1), ("fell", -1)):
        by = [c for c in against_base if c.significant and sign * c.value.estimate.value > 0]
        if by:
            sizes = sorted(c.value.estimate.value for c in by)
            points = f"by {_range(sizes[0], sizes[-1], signed=True)} points"
            names = "" if len(by) == len(against_base) else f"{', '.join(c.arm for c in by)}, "
            parts.append(f"{word} in {_share(len(by), len(against_base))} ({names}{points})")
    if not parts:
        count = len(against_base)
        where = "" if count == 1 else " in either arm" if count == 2 else f" in any of the {count} arms"
        return f"{metric} did not change significantly{where}"
    return f"{metric} {' and '.join(parts)}"


def _boundary(arms: Arms, against_base: Sequence[Difference]) -> str:
    """`grew under a (+8.0 [+3.1, +12.9]); shrank under b (...); is undecided under c (...)`."""
    parts = []
    for words, chosen in (
        ("grew under", [c for c in against_base if c.significant and c.value.estimate.value > 0]),
        ("shrank under", [c for c in against_base if c.significant and c.value.estimate.value < 0]),
        ("is undecided under", [c for c in against_base if not c.significant]),
    ):
        if chosen:
            parts.append(f"{words} {', '.join(f'{c.arm} ({_against_base(c)})' for c in chosen)}")
    count = f"{len(arms.arms)} arm{'s' if len(arms.arms) > 1 else ''}"
    return (f"The boundary (pass@{arms.k} minus that of the base, in points) {'; '.join(parts)}. Each interval is of "
            f"one difference alone. A change is significant when its p is at most {ALPHA:g} after Holm's correction "
            f"over the {2 * len(arms.arms)} changes looked at ({count}, pass@1 and pass@{arms.k}).")


def _against_base(c: Difference) -> str:
    """The change with its interval; with both p-values where the interval alone would say something else."""
    text, bounds = difference_text(c.value.estimate), c.value.estimate
    if c.significant or bounds.low <= 0 <= bounds.high or math.isnan(bounds.low):
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
    """How far the arms lie apart in delta_se; nothing for a single arm."""
    if len(rows) < 2:
        return ""
    ordered = sorted(rows, key=lambda row: row.values["delta_se"].estimate.value)
    best, worst = (number(ordered[i].values["delta_se"].estimate.value) for i in (0, -1))
    what = f"delta_se, the distance from pass@1 to the base's pass@{arms.k},"
    if best == worst:
        return f"{what} is {best} points for every arm."
    return f"{what} lies between {best} ({ordered[0].name}) and {worst} points ({ordered[-1].name})."


def _between(arms: Arms) -> str:
    if len(arms.arms) < 2:
        return ""
    pairs, parts = differences(arms), []
    for k in (1, arms.k):
        of_k = [d for d in pairs if d.metric == f"pass@{k}"]
        significant = [d for d in of_k if d.significant]
        names = ", ".join(_order(d) for d in significant[:4]) + (", ..." if len(significant) > 4 else "")
        how_many = f"{len(significant)} of {len(of_k)}" if significant else "none"
        parts.append(f"{how_many} in pass@{k}{f' ({names})' if names else ''}")
    return f"Significant differences between arms (Holm, 5%): {parts[0]}; {parts[1]}."


def _order(d: Difference) -> str:
    return f"{d.arm} above {d.other}" if d.value.estimate.value > 0 else f"{d.other} above {d.arm}"


def _exact(arms: Arms, one: Sequence[Difference], large: Sequence[Difference]) -> str:
    moves = []
    for name, against_base in (("pass@1", one), (f"pass@{arms.k}", large)):
        exact = sorted(c.value.exact for c in against_base)
        if any(map(math.isnan, exact)):
            return ""
        moves.append(f"{name} changed by {_range(exact[0], exact[-1], signed=True)} points")
    return f"The exact values of these runs, which only the lab knows: {' and '.join(moves)}."


def _tokens(arms: Arms, rows: Sequence[Row]) -> str:
    if len(arms.arms) == 1:
        return ""
    if not rows:
        return "The runs do not record their generated tokens, so there is no table at equal tokens."
    back = [f"{row.name} at step {row.step}" if row.step is not None else f"{row.name} before its first probe"
            for row in rows if row.step != arms.last_step]
    silent = [arm.name for arm in arms.arms if arm.name not in {row.name for row in rows}]
    without = f" (without {', '.join(silent)}, which generated nothing in training)" if silent else ""
    budget = count_text(token_budget(arms))
    if not back:
        return f"At equal generated tokens ({budget}) every arm is at the same step{without}."
    # Rows are matched by name: an arm that generated nothing in training has none.
    by_name = {row.name: row for row in rows}
    empty = [_beyond(arms, arm) for arm in arms.arms if arm.name in by_name and by_name[arm.name].step is None]
    some = f"At equal generated tokens ({budget}) some arms are not yet at step {arms.last_step}{without}"
    return " ".join([f"{some}: {', '.join(back)}.", *empty])


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
        notes.append(f"1 seed: problems only ({who}). Another seed may turn these differences around, and an interval "
                     "over problems does not account for that.")
    if arms.unjudged:
        total, named = len(arms.unjudged) + len(arms.base.rows[arms.base.base.step]), ", ".join(arms.unjudged[:3])
        notes.append(f"{len(arms.unjudged)} of {total} problems are left out of every run, as an answer to them could "
                     f"not be judged in one of the runs: {named}{', ...' if len(arms.unjudged) > 3 else ''}.")
    if arms.missing:
        notes.append(f"Incomplete: {'; '.join(arms.missing)}.")
    return notes


def over_text(rows: Sequence[Row]) -> str:
    """What the intervals of a table are over."""
    seeds = sorted({row.seeds for row in rows})
    if seeds == [1]:
        return ("\N{DAGGER} 1 seed: problems only. Brackets are 95% intervals over problems; they do not account for "
                "seeds.")
    several = f"Brackets are 95% intervals over {BOTH}"
    if seeds[0] == 1:
        return f"{several}; of arms with 1 seed over problems only, marked \N{DAGGER}; of the base over problems."
    return f"{several}; of the base, which has no seeds, over problems."


def padding_text(arms: Arms) -> str:
    """Why an interval of a difference can be wider than those of its two parts."""
    size = len(arms.base.rows[arms.base.base.step]) + 2
    half = t_quantile(size - 1, 0.95) * math.sqrt(2 / (size * (size - 1)))  # of differences 0, ..., 0, +1, -1
    return (f"The interval of a difference includes two imaginary problems, one won (+1) and one lost "
            f"(\N{MINUS SIGN}1), so that a few problems that happen to agree prove nothing. With {size - 2} problems "
            f"these alone make it \N{PLUS-MINUS SIGN}{number(half)} points: it can be wider than the intervals of its "
            "two parts.")


def difference_text(estimate: Estimate) -> str:
    """`+1.2 [-0.3, +2.7]`, points."""
    return with_interval(estimate, signed=True)
