"""The arms of a probe in the report: does the decoding or the prompt explain what training seems to have changed?

A condition is one way of sampling and asking: the probe's own, and each arm under RUN/arms/NAME. Base and trained model
are compared within a condition, at the run's last probe; the boundary without guessable problems stands beside it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import plotly.graph_objects as go

from rlvr.report.changes import change, pass_at_k_by_problem, plan_text
from rlvr.report.figures import log_k_axis
from rlvr.report.load import ProbePoint, Run, load_run
from rlvr.report.style import (
    BASE,
    EXACT_DASH,
    SECOND,
    THIRD,
    TRAINED,
    add_band,
    add_line,
    figure,
    interval_text,
)  # fmt: skip
from rlvr.report.words import MISSING, interval, number
from rlvr.runs.files import read_jsonl
from rlvr.runs.run_dir import RunDir, null_to_nan
from rlvr.statistics.direct_answer import guessable_ids
from rlvr.statistics.intervals import population_ci, population_diff_ci
from rlvr.types import Counts, Estimate, UserError

AS_PROBED = "as probed"
ARROW = "\N{RIGHTWARDS ARROW}"
COLOURS = (TRAINED, SECOND, "#c27c0e", "#2f6f4f", "#3b7ea1", THIRD)
"""One per condition, the probe's own first; of more than these only the first are drawn over each other."""


@dataclass(frozen=True)
class Condition:
    """Base and trained model under one decoding and one prompt."""

    name: str
    run: Run
    last: ProbePoint | None
    """The trained model at the run's last probe; None where it was not measured."""
    spec: Mapping[str, Any] = field(default_factory=dict)
    """The arm as its recipe has it (`rlvr.config.probes.ConditionSpec`); empty for the probe's own condition."""
    match: Mapping[str, Any] = field(default_factory=dict)
    """What the search for the base's entropy found; empty unless there was one."""

    @property
    def prompt(self) -> str:
        """How the problems are asked, as far as that differs from the probe."""
        parts = [f"{key} {self.spec[key]!r}" for key in ("system", "template", "chat")
                 if self.spec.get(key) is not None]
        return ", ".join(parts)

    @property
    def decoding(self) -> str:
        before, now = self.run.base.decoding, self.last.decoding if self.last else None
        if before is None:
            return "unknown decoding"
        later = f" (base {before.temperature:g})" if now and now.temperature != before.temperature else ""
        temperature = now.temperature if now else before.temperature
        return f"temperature {temperature:g}{later}, top_p {before.top_p:g}, at most {before.max_new_tokens} tokens"

    @property
    def measured(self) -> str:
        """Problems, samples, plans and grader, in words."""
        probes = [("base", self.run.base), *([(f"step {self.last.step}", self.last)] if self.last else [])]
        drawn = ", ".join(f"{name} {probe.samples:,} samples ({plan_text(probe.plan)})" for name, probe in probes
                          if probe.samples is not None)
        problems, grader = self.run.base.problems, self.run.base.verifier
        parts = (f"{problems} problems" if problems else "", drawn, f"graded by {grader}" if grader else "")
        return "; ".join(part for part in parts if part)

    @property
    def unmatched(self) -> str:
        """Why nothing was measured at equal entropy; empty otherwise."""
        if not self.match or self.match["temperature"] is not None:
            return ""
        last = self.match["path"][-1][0]
        why = {
            "too low": f"up to temperature {last:g} it stays below",
            "too high": f"down to temperature {last:g} it stays above",
            "jumps": f"it jumps over it near temperature {last:g}",
        }[self.match["outcome"]]
        return (f"no temperature gives the trained model the base's entropy of {self.match['target']:.3f} nats: {why} "
                f"(closest {self.match['entropy']:.3f}); nothing was measured")


@dataclass(frozen=True)
class WithoutGuesses:
    """The run's own probes on the problems that the base does not guess when it answers at once."""

    name: str
    guessable: tuple[str, ...]
    problems: int
    """Before the filter."""
    tries: int
    below: float
    how: str
    """Decoding and prompt of the direct answers."""
    rows: tuple[tuple[int, Estimate, Estimate, Estimate], ...]
    """(k, base, last probe, base minus last) on the kept problems; NaN where there is no later probe."""


def conditions_of(run: Run) -> list[Condition]:
    """The probe's own condition and the arms, by name; [] for a run without arms. Direct answers are not among them."""
    arms = [arm for arm in arms_of(run) if not arm.spec.get("direct_answer")]
    return [Condition(AS_PROBED, run, run.last), *arms] if arms else []


def without_guesses(run: Run) -> list[WithoutGuesses]:
    """One entry per direct-answer arm. Raises UserError where its counts are not of equal size."""
    return [_filtered(run, arm) for arm in arms_of(run) if arm.spec.get("direct_answer")]


def arms_of(run: Run) -> list[Condition]:
    """Every arm whose base is measured, direct answers among them, by name."""
    found = []
    for name, home in RunDir(run.path).arms.items():
        if not home.boundary.is_file() or not home.boundary.stat().st_size:
            continue  # its base is still being measured
        arm = load_run(home.path)
        step = run.last.step if run.last else None
        last = next((probe for probe in arm.probes[1:] if probe.step == step), None)
        matches = {row["step"]: row for row in read_jsonl(home.entropy_matches)}
        found.append(Condition(name, arm, last, arm.recipe.get("arm") or {}, matches.get(step, {})))
    return found


def _filtered(run: Run, arm: Condition) -> WithoutGuesses:
    rows = arm.run.rows[0]
    counts = [Counts(problem, row.n, row.c) for problem, row in rows.items()]
    below = float(arm.spec["guessable_below"])
    try:
        guessable = guessable_ids(counts, below)
    except UserError as error:
        raise UserError(f"{arm.run.path}: {error}") from None
    kept = [one.problem_id for one in counts if one.problem_id not in set(guessable)]
    ks = [k for k in (1, 16, run.k_max) if k in run.ks]
    how = "; ".join(part for part in (arm.decoding, arm.prompt, arm.measured) if part)
    return WithoutGuesses(
        arm.name, tuple(guessable), len(counts), counts[0].n, below, how,
        tuple((k, *_on(run, kept, k)) for k in dict.fromkeys(ks)),
    )


def _on(run: Run, ids: Collection[str], k: int) -> tuple[Estimate, Estimate, Estimate]:
    """pass@k of the base, of the last probe and their difference on some problems; NaN where counts are missing."""
    unknown = Estimate(math.nan)
    before = pass_at_k_by_problem(run, run.base, k)
    now = pass_at_k_by_problem(run, run.last, k) if run.last else {}
    if not ids or not set(ids) <= before.keys():
        return unknown, unknown, unknown
    base = [before[problem] for problem in ids]
    if not set(ids) <= now.keys():
        return population_ci(base), unknown, unknown
    later = [now[problem] for problem in ids]
    return population_ci(base), population_ci(later), population_diff_ci(base, later)


def findings(run: Run, conditions: Sequence[Condition]) -> list[str]:
    """What the arms say, in sentences that claim no more than their intervals."""
    k, said = run.k_max, []
    gaps = {one.name: shrunk(one, k) for one in conditions if one.last}
    if len(gaps) > 1:
        ahead = sum(gap.low > 0 for gap in gaps.values())
        behind = sum(gap.high < 0 for gap in gaps.values())
        said.append(f"At k = {k} the base solves more problems than the trained model under {ahead} of {len(gaps)} "
                    f"conditions, fewer under {behind}; under {len(gaps) - ahead - behind} the 95% interval, of one "
                    "look, holds 0.")
    for one in conditions:
        if one.match and one.last and one.last.decoding:
            said.append(f"At equal entropy (the trained model at temperature {one.last.decoding.temperature:g}) "
                        f"shrinkage@{k} is {_points(gaps[one.name])}; as probed it is {_points(gaps[AS_PROBED])}.")
        elif one.unmatched:
            said.append(f"{one.name}: {one.unmatched}.")
    return [*said, *_best_prompt(run, conditions)] if run.last else said


def _best_prompt(run: Run, conditions: Sequence[Condition]) -> list[str]:
    asked = [one for one in conditions if one.prompt or one.name == AS_PROBED]
    if len(asked) < 2 or run.last is None:
        return []
    best = max(asked, key=lambda one: one.run.base.get("pass@1").value)
    ones = {name: pass_at_k_by_problem(of, probe, 1)
            for name, of, probe in (("now", run, run.last), ("best", best.run, best.run.base))}
    if not ones["now"] or ones["now"].keys() != ones["best"].keys():
        return []
    gain = population_diff_ci(list(ones["now"].values()), [ones["best"][problem] for problem in ones["now"]])
    which = "the probe's own" if best.name == AS_PROBED else f"{best.name!r}"
    highest = number(best.run.base.get("pass@1").value)
    return [f"Of the prompts tried, {which} gives the base its highest pass@1, {highest}%. Over that the trained "
            f"model, asked as probed, gains {_points(gain)} at pass@1; over the base asked as probed, "
            f"{_points(change(run, run.last, 1))}."]


def shrunk(condition: Condition, k: int) -> Estimate:
    """Base pass@k minus that of the trained model under this condition, paired by problem; needs `last`."""
    assert condition.last is not None
    by = change(condition.run, condition.last, k)
    return Estimate(-by.value, -by.high, -by.low)


def table(run: Run, conditions: Sequence[Condition]) -> tuple[list[str], list[list[str]]]:
    """Heads and rows, as words: what each condition is and what base and trained model do under it."""
    k = run.k_max
    heads = ["condition", "temperature", "entropy", "format rate", "pass@1", f"pass@{k}", f"shrinkage@{k}"]
    rows = []
    for one in conditions:
        pair = [one.run.base, *([one.last] if one.last else [])]
        gap = MISSING
        if one.last:
            exact = one.last.exact.get(f"shrinkage@{k}", math.nan)
            gap = f"{_points(shrunk(one, k), unit='')}" + ("" if math.isnan(exact) else f" (exact {_signed(exact)})")
        rows.append([
            one.name, _temperatures(pair), _pair([p.get("entropy").value for p in pair], plain=True),
            *(_pair([p.get(name).value for p in pair]) for name in ("format_rate", "pass@1", f"pass@{k}")), gap,
        ])  # fmt: skip
    return heads, rows


def _temperatures(pair: Sequence[ProbePoint]) -> str:
    found = [f"{p.decoding.temperature:g}" if p.decoding else MISSING for p in pair]
    return f" {ARROW} ".join(dict.fromkeys(found))


def _pair(values: Sequence[float], *, plain: bool = False) -> str:
    words = [MISSING if math.isnan(v) else f"{v:.3f}" if plain else number(v) for v in values]
    return f" {ARROW} ".join(words)


def _signed(value: float) -> str:
    return number(value, signed=True)


def _points(by: Estimate, unit: str = " points") -> str:
    return f"{_signed(by.value)}{unit} {interval(by, signed=True)}".rstrip()


def curves(condition: Condition, highest: float) -> go.Figure:
    """pass@k over k of base and trained model under one condition; `highest` is the top of a shared axis."""
    fig = figure(230, y_percent=True, legend="none", margin_b=38, margin_l=46, yaxis_range=[0, highest])
    pairs = [("base", condition.run.base, BASE)]
    if condition.last:
        pairs.append((f"step {condition.last.step}", condition.last, TRAINED))
    for name, probe, colour in pairs:
        estimates = [probe.get(f"pass@{k}") for k in probe.ks]
        add_band(fig, probe.ks, estimates, colour)
        add_line(fig, probe.ks, [e.value for e in estimates], name, colour, text=interval_text(estimates),
                 hover=f"{name}: pass@%{{x}} = %{{text}}")
        _exact_line(fig, {k: probe.exact[f"pass@{k}"] for k in probe.ks if f"pass@{k}" in probe.exact}, colour)
    log_k_axis(fig, condition.run.ks)
    fig.update_xaxes(tickfont={"size": 10}, title_text="k")
    return fig


def changes_by_k(conditions: Sequence[Condition]) -> go.Figure:
    """pass@k of the trained model minus the base's over k, a line per condition, with the band of the probe's own."""
    fig = figure(300, legend="top")
    fig.update_yaxes(zeroline=True, zerolinecolor=BASE, zerolinewidth=2, title_text="change in pass@k, points")
    measured = [one for one in conditions if one.last]
    for one, colour in zip(measured, COLOURS, strict=False):
        assert one.last is not None
        ks = one.run.ks
        by = [_times_100(change(one.run, one.last, k)) for k in ks]
        if one.name == AS_PROBED:
            add_band(fig, ks, by, colour)
        add_line(fig, ks, [e.value for e in by], one.name, colour, width=2.5 if one.name == AS_PROBED else 1.75,
                 text=interval_text(by, percent=False), hover=f"{one.name}, k = %{{x}}: %{{text}} points")
        exact = {k: 100 * (one.last.exact[f"pass@{k}"] - one.run.base.exact[f"pass@{k}"]) for k in ks
                 if f"pass@{k}" in one.last.exact and f"pass@{k}" in one.run.base.exact}
        _exact_line(fig, exact, colour)
    log_k_axis(fig, conditions[0].run.ks)
    return fig


def _exact_line(fig: go.Figure, by_k: Mapping[int, float], colour: str) -> None:
    if by_k:
        add_line(fig, list(by_k), list(by_k.values()), "exact", colour, dash=EXACT_DASH, width=1.25, markers=False,
                 legend=False)


def _times_100(by: Estimate) -> Estimate:
    return Estimate(100 * by.value, 100 * by.low, 100 * by.high)


def figures_of(conditions: Sequence[Condition]) -> list[tuple[str, str, go.Figure]]:
    """(title, note, figure) of every condition with curves, all on one scale."""
    points = [p for one in conditions for p in (one.run.base, one.last) if p is not None]
    bounds = [null_to_nan(p.get(f"pass@{k}").high) for p in points for k in p.ks]
    highest = 1.03 * min(1.0, max((b for b in bounds if not math.isnan(b)), default=1.0))
    return [(one.name, "; ".join(part for part in (one.decoding, one.prompt) if part), curves(one, highest))
            for one in conditions]
