"""What stands beside pass@k, as figures and table cells: stability, coverage, accuracies, solvable sets, predictions.

Read from boundary.jsonl. Runs that are older than these metrics have them recomputed from their counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from rlvr.report.changes import named_plan
from rlvr.report.figures import BINS, log_k_axis, thinned
from rlvr.report.load import ProbePoint, Run
from rlvr.report.panels import over_steps, steps_axis
from rlvr.report.style import BASE, SECOND, THIRD, TRAINED, add_band, add_line, figure, step_colours
from rlvr.report.words import MISSING, number
from rlvr.runs.run_dir import null_to_nan
from rlvr.statistics.companions import companions
from rlvr.statistics.plan import SamplingPlan
from rlvr.types import Counts, Estimate

PREDICTED_DASH = "2px,3px"
"""Short dots: what was never measured. Dashes elsewhere on the page are the lab's exact truth."""
STABLE = {"0.25": ("at least 2 of 8", BASE), "0.5": ("4 of 8", THIRD), "0.75": ("6 of 8", SECOND),
          "1": ("all 8 (pass^8)", TRAINED)}


def by_step(run: Run) -> dict[int, Mapping[str, Any]]:
    """Probe step -> companion metrics, as in boundary.jsonl; the steps without counts or a known plan left out."""
    found: dict[int, Mapping[str, Any]] = {}
    base = _counts(run, run.base)
    for probe in run.probes:
        if probe.companions:
            found[probe.step] = probe.companions
        elif (now := _counts(run, probe)) is not None and base is not None:
            k = min(run.k_max, now[1].max_samples, base[1].max_samples)
            found[probe.step] = companions(*now, None if probe is run.base else base, k)
    return found


@dataclass(frozen=True)
class SolvableRow:
    """The four-cell table of one probe as words; a dash where a number is undefined."""

    step: int
    k: int
    cells: tuple[str, str, str, str]
    """Solved at k by both, by the base alone, by the probe alone, by neither: expected numbers of problems."""
    srr: str
    ndr: str
    nscr: str
    p_value: str


def solvable_rows(metrics: Mapping[int, Mapping[str, Any]]) -> list[SolvableRow]:
    rows = []
    for step, row in metrics.items():
        table = row["solvable"]
        if table is None:
            continue
        digits = 0 if table["whole"] else 1
        p_value = null_to_nan(table["p_value"])
        rows.append(SolvableRow(
            step=step, k=table["k"],
            cells=tuple(f"{table[name]:.{digits}f}" for name in ("both", "only_base", "only_run", "neither")),  # pyright: ignore[reportArgumentType]
            srr=_percent(table["srr"]), ndr=_percent(table["ndr"]), nscr=_percent(table["nscr"], signed=True),
            p_value=MISSING if math.isnan(p_value) else f"{p_value:.2g}",
        ))  # fmt: skip
    return rows


def companion_panels(run: Run, metrics: Mapping[int, Mapping[str, Any]]) -> list[tuple[str, str, go.Figure]]:
    """(title, note, figure) of every companion panel that has data."""
    if not metrics:
        return []
    found = [
        ("Stability: G-Pass@8", "chance that so many of 8 tries are right", stability(run, metrics)),
        ("Cover@\N{GREEK SMALL LETTER TAU}", "share of problems with accuracy of at least \N{GREEK SMALL LETTER TAU}; "
         "maximum likelihood", cover(run, metrics)),
        (f"Accuracies among {next(iter(metrics.values()))['histogram']['n']} samples",
         "expected problems per bin, over probes", accuracies(metrics)),
        ("Prediction beyond the samples", "dotted: predicted by a fitted Beta, not measured", prediction(run, metrics)),
        ("Different answers among 8", "expected, mean over problems", over_steps(
            run, {"distinct_at_8": ("distinct answers", TRAINED)}, percent=False)),
        ("Agreement of two answers", "chance that two tries give one answer", over_steps(
            run, {"answer_agreement": ("agreement", TRAINED)})),
    ]
    return [panel for panel in found if panel[2].data]


def stability(run: Run, metrics: Mapping[int, Mapping[str, Any]]) -> go.Figure:
    """G-Pass@8 at four thresholds over probe steps; the last is pass^8."""
    fig = figure(230, y_percent=True, legend="top", **steps_axis(run))
    for tau, (label, colour) in STABLE.items():
        known = {s: _estimate(m["stability"]["g_pass"][tau]) for s, m in metrics.items() if m["stability"]["k"] == 8}
        if known:
            add_band(fig, list(known), list(known.values()), colour, alpha=0.08)
            add_line(fig, list(known), [e.value for e in known.values()], label, colour,
                     hover=f"step %{{x}}: {label} right in %{{y:.1%}}")
    fig.update_xaxes(title_text="training step")
    return fig


def cover(run: Run, metrics: Mapping[int, Mapping[str, Any]]) -> go.Figure:
    """Cover@tau over tau: the base and the probes, in the colours of the pass@k figure."""
    fig = figure(230, y_percent=True, legend="none", margin_b=38, margin_l=46, yaxis_range=[0, 1])
    for step, colour in _coloured(run, metrics):
        curve, name = metrics[step]["cover"], "base" if step == run.base.step else f"step {step}"
        add_line(fig, curve["tau"], curve["share"], name, colour, markers=False,
                 hover=f"{name}: %{{y:.1%}} of problems have accuracy of at least %{{x}}")
    fig.update_xaxes(title_text="accuracy \N{GREEK SMALL LETTER TAU} of one try", range=[0, 1])
    return fig


def accuracies(metrics: Mapping[int, Mapping[str, Any]]) -> go.Figure:
    """Problems by accuracy (rows) and probe (columns), darker for more."""
    steps = list(metrics)
    columns = [metrics[step]["histogram"]["problems"] for step in steps]
    fig = figure(230, legend="none", margin_b=38, margin_l=58)
    fig.add_trace(go.Heatmap(
        x=[str(step) for step in steps], y=BINS, z=[list(row) for row in zip(*columns, strict=True)],
        colorscale=[[0, "#ffffff"], [1, TRAINED]], zmin=0, showscale=False, xgap=1, ygap=1,
        hovertemplate="step %{x}, accuracy %{y}: %{z:.1f} problems<extra></extra>"))
    fig.update_xaxes(title_text="probe at step", type="category")
    fig.update_yaxes(type="category", tickfont={"size": 9}, showgrid=False)
    return fig


def prediction(run: Run, metrics: Mapping[int, Mapping[str, Any]]) -> go.Figure:
    """pass@k as measured (solid) and beyond the samples as predicted (dotted), base and last probe."""
    fig = figure(230, y_percent=True, legend="top", margin_b=38, margin_l=46)
    ks: set[int] = set()
    for probe, colour in ((run.base, BASE), (run.last, TRAINED)):
        beta = metrics.get(probe.step, {}).get("prediction") if probe else None
        if probe is None or beta is None:
            continue
        name = "base" if probe is run.base else f"step {probe.step}"
        measured = [k for k in probe.ks if k >= 16] or probe.ks[-1:]
        values = [probe.get(f"pass@{k}").value for k in measured]
        add_line(fig, measured, values, name, colour, hover=f"{name}: pass@%{{x}} = %{{y:.1%}}")
        points = [p for p in beta["points"] if p["k"] > measured[-1]]
        bounds = [Estimate(p["value"], p["low"], p["high"]) for p in points]
        add_band(fig, [p["k"] for p in points], bounds, colour, alpha=0.12)
        add_line(fig, [measured[-1], *(p["k"] for p in points)], [values[-1], *(e.value for e in bounds)],
                 "prediction", colour, dash=PREDICTED_DASH, markers=False,
                 legend=probe is not run.base or run.last is None, hover=f"{name}: predicted pass@%{{x}} = %{{y:.1%}}")
        ks |= {*measured, *(p["k"] for p in points)}
    if ks:
        log_k_axis(fig, sorted(ks))
        fig.update_xaxes(tickfont={"size": 10})
    return fig


def guess_rows(run: Run) -> list[tuple[int, str, str, str, str, int, int]]:
    """(k, base, base corrected, probe, probe corrected, problems kept, guessable) at a few k; [] without a baseline.

    The base's columns alone where nothing was measured after it.
    """
    last = run.last or run.base
    if not run.base.guess or not last.guess:
        return []
    rows = []
    for k in (k for k in (1, 16, 64, 256) if str(k) in run.base.guess and str(k) in last.guess):
        before, now = run.base.guess[str(k)], last.guess[str(k)]
        rows.append((k, _percent(before["pass_at_k"]), _percent(before["corrected"]), _percent(now["pass_at_k"]),
                     _percent(now["corrected"]), now["kept"], now["guessable"]))
    return rows


def _coloured(run: Run, metrics: Mapping[int, Mapping[str, Any]]) -> list[tuple[int, str]]:
    later: Sequence[ProbePoint] = thinned([p for p in run.probes[1:] if p.step in metrics])
    base = [(run.base.step, BASE)] if run.base.step in metrics else []
    return [*base, *((p.step, colour) for p, colour in zip(later, step_colours(len(later)), strict=True))]


def _counts(run: Run, probe: ProbePoint) -> tuple[list[Counts], SamplingPlan] | None:
    plan, rows = named_plan(probe.plan), run.rows.get(probe.step)
    return ([Counts(i, row.n, row.c) for i, row in rows.items()], plan) if plan and rows else None


def _estimate(entry: Mapping[str, Any]) -> Estimate:
    return Estimate(*(null_to_nan(entry[part]) for part in ("value", "low", "high")))


def _percent(value: float | None, *, signed: bool = False) -> str:
    known = null_to_nan(value)
    return MISSING if math.isnan(known) else f"{number(known, signed=signed)}%"
