"""Other conditions of a probe: does the decoding or the prompt explain what training seems to have changed?

A condition is one way of sampling and asking: the probe's own, and each one measured under RUN/arms/NAME. Base and
trained model are compared within a condition, at the run's last probe.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rlvr.report.changes import change, exact_change, pass_at_k_by_problem, plan_text
from rlvr.report.load import ProbePoint, Run, load_run
from rlvr.report.words import MISSING, number, points, with_interval
from rlvr.runs.files import read_jsonl
from rlvr.runs.run_dir import RunDir
from rlvr.statistics.intervals import population_diff_ci
from rlvr.types import Estimate

AS_PROBED = "as probed"
ARROW = "\N{RIGHTWARDS ARROW}"


@dataclass(frozen=True)
class Condition:
    """Base and trained model under one decoding and one prompt."""

    name: str
    run: Run
    last: ProbePoint | None
    """The trained model at the run's last probe; None where it was not measured."""
    spec: Mapping[str, Any] = field(default_factory=dict)
    """The condition as the recipe has it (`rlvr.config.probes.ConditionSpec`); empty for the probe's own."""
    match: Mapping[str, Any] = field(default_factory=dict)
    """Result of the search for the temperature of equal entropy; empty unless there was one."""

    @property
    def direct_answer(self) -> bool:
        """The base is asked for the answer at once, to find the problems that it guesses."""
        return bool(self.spec.get("direct_answer"))

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
    def described(self) -> str:
        return "; ".join(part for part in (self.decoding, self.prompt, self.measured) if part)

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


def load_conditions(run: Run) -> list[Condition]:
    """Every condition under RUN/arms whose base is measured, direct answers included, by name."""
    conditions = []
    for name, home in RunDir(run.path).arms.items():
        if not home.boundary.is_file() or not home.boundary.stat().st_size:
            continue  # its base is still being measured
        measured = load_run(home.path)
        step = run.last.step if run.last else None
        last = next((probe for probe in measured.probes[1:] if probe.step == step), None)
        matches = {row["step"]: row for row in read_jsonl(home.entropy_matches)}
        conditions.append(Condition(name, measured, last, measured.recipe.get("arm") or {}, matches.get(step, {})))
    return conditions


def with_own(run: Run, conditions: Sequence[Condition]) -> list[Condition]:
    """The probe's own condition and those to compare it with; [] without any of those."""
    others = [one for one in conditions if not one.direct_answer]
    return [Condition(AS_PROBED, run, run.last), *others] if others else []


def findings(run: Run, conditions: Sequence[Condition]) -> list[str]:
    """What the conditions show, in sentences that claim no more than their intervals; `conditions` as of `with_own`."""
    k, sentences = run.k_max, []
    changes = {one.name: condition_change(one, k) for one in conditions if one.last}
    if len(changes) > 1:
        fewer = sum(by.high < 0 for by in changes.values())
        more = sum(by.low > 0 for by in changes.values())
        sentences.append(
            f"Under {fewer} of {len(changes)} conditions the trained model solves significantly fewer problems with "
            f"{k} tries than the base, under {more} significantly more. Under {len(changes) - fewer - more} the 95% "
            "interval of this one probe contains 0.")
    for one in conditions:
        if one.match and one.last and one.last.decoding:
            sentences.append(
                f"At equal entropy (the trained model at temperature {one.last.decoding.temperature:g}) pass@{k} "
                f"changed by {points(changes[one.name])}; as probed by {points(changes[AS_PROBED])}.")
        elif one.unmatched:
            sentences.append(f"{one.name}: {one.unmatched}.")
    return [*sentences, *_best_prompt(run, conditions)] if run.last else sentences


def _best_prompt(run: Run, conditions: Sequence[Condition]) -> list[str]:
    asked = [one for one in conditions if one.prompt or one.name == AS_PROBED]
    if len(asked) < 2 or run.last is None:
        return []
    best = max(asked, key=lambda one: one.run.base.get("pass@1").value)
    now, before = pass_at_k_by_problem(run, run.last, 1), pass_at_k_by_problem(best.run, best.run.base, 1)
    if not now or now.keys() != before.keys():
        return []
    gain = population_diff_ci(list(now.values()), [before[problem] for problem in now])
    which = "the probe's own" if best.name == AS_PROBED else f"{best.name!r}"
    highest = number(best.run.base.get("pass@1").value)
    return [f"Of the prompts tried, {which} gives the base its highest pass@1, {highest}%. Over that the trained "
            f"model, asked as probed, gains {points(gain)} at pass@1; over the base asked as probed, "
            f"{points(change(run, run.last, 1))}."]


def condition_change(condition: Condition, k: int) -> Estimate:
    """pass@k of the trained model minus the base's under this condition, paired by problem; needs `last`."""
    assert condition.last is not None
    return change(condition.run, condition.last, k)


def table(run: Run, conditions: Sequence[Condition]) -> tuple[list[str], list[list[str]]]:
    """Heads and rows, as words: each condition, and base and trained model under it."""
    k = run.k_max
    heads = ["condition", "temperature", "entropy", "format rate", "pass@1", f"pass@{k}", f"change of pass@{k}"]
    rows = []
    for one in conditions:
        pair = [one.run.base, *([one.last] if one.last else [])]
        by = MISSING
        if one.last:
            exact = exact_change(one.run, one.last, k)
            by = with_interval(condition_change(one, k), signed=True)
            by += "" if math.isnan(exact) else f" (exact {number(exact, signed=True)})"
        rows.append([
            one.name, _temperatures(pair), _pair([p.get("entropy").value for p in pair], plain=True),
            *(_pair([p.get(name).value for p in pair]) for name in ("format_rate", "pass@1", f"pass@{k}")), by,
        ])  # fmt: skip
    return heads, rows


def _temperatures(pair: Sequence[ProbePoint]) -> str:
    temperatures = [f"{p.decoding.temperature:g}" if p.decoding else MISSING for p in pair]
    return f" {ARROW} ".join(dict.fromkeys(temperatures))


def _pair(values: Sequence[float], *, plain: bool = False) -> str:
    words = [MISSING if math.isnan(v) else f"{v:.3f}" if plain else number(v) for v in values]
    return f" {ARROW} ".join(words)
