"""Figures of the companions of pass@k: stability, coverage, accuracies, different answers, predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from rlvr.report.companions import estimate_of
from rlvr.report.figures import BINS, log_k_axis, thinned
from rlvr.report.load import ProbePoint, Run
from rlvr.report.panels import over_steps, steps_axis
from rlvr.report.style import BASE, SECOND, THIRD, TRAINED, add_band, add_line, bin_colours, figure, step_colours
from rlvr.types import Estimate

PREDICTED_DASH = "2px,3px"
"""Short dots for what was never measured. Dashes elsewhere on the page are the lab's exact values."""
STABLE = {"0.25": ("at least 2 of 8", BASE), "0.5": ("4 of 8", THIRD), "0.75": ("6 of 8", SECOND),
          "1": ("all 8 (pass^8)", TRAINED)}


def companion_panels(run: Run, metrics: Mapping[int, Mapping[str, Any]]) -> list[tuple[str, str, go.Figure]]:
    """(title, note, figure) of every companion panel that has data."""
    if not metrics:
        return []
    n = next(iter(metrics.values()))["histogram"]["n"]
    all_panels = [
        ("Stability: G-Pass@8", "chance that so many of 8 tries are right", stability(run, metrics)),
        ("Cover@\N{GREEK SMALL LETTER TAU}", "share of problems with an accuracy of at least "
         "\N{GREEK SMALL LETTER TAU}; maximum likelihood", cover(run, metrics)),
        (f"Accuracies among {n} samples", "expected problems per bin; grey: never right", accuracies(metrics)),
        ("Prediction beyond the samples", "dotted: predicted by a fitted Beta, not measured", prediction(run, metrics)),
        ("Different answers among 8", "expected number, mean over problems", over_steps(
            run, {"distinct_at_8": ("distinct answers", TRAINED)}, percent=False)),
        ("Agreement of two answers", "chance that two tries give the same answer", over_steps(
            run, {"answer_agreement": ("agreement", TRAINED)})),
    ]
    return [panel for panel in all_panels if panel[2].data]


def stability(run: Run, metrics: Mapping[int, Mapping[str, Any]]) -> go.Figure:
    """G-Pass@8 at four thresholds over probe steps; the last is pass^8."""
    fig = figure(230, y_percent=True, legend="top", **steps_axis(run))
    for tau, (label, colour) in STABLE.items():
        known = {s: estimate_of(m["stability"]["g_pass"][tau]) for s, m in metrics.items() if m["stability"]["k"] == 8}
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
    """Expected problems per accuracy bin, stacked over the probes, darker for higher accuracies."""
    steps = [str(step) for step in metrics]
    fig = figure(230, legend="none", barmode="stack", bargap=0.2, margin_b=38, margin_l=46)
    for bin_, name, colour in zip(range(len(BINS)), BINS, bin_colours(len(BINS)), strict=True):
        hover = f"step %{{x}}, accuracy {name}: %{{y:.1f}} problems<extra></extra>"
        fig.add_trace(go.Bar(x=steps, y=[row["histogram"]["problems"][bin_] for row in metrics.values()], name=name,
                             marker={"color": colour}, hovertemplate=hover))
    fig.update_xaxes(title_text="probe at step", type="category")
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


def _coloured(run: Run, metrics: Mapping[int, Mapping[str, Any]]) -> list[tuple[int, str]]:
    later: Sequence[ProbePoint] = thinned([p for p in run.probes[1:] if p.step in metrics])
    base = [(run.base.step, BASE)] if run.base.step in metrics else []
    return [*base, *((p.step, colour) for p, colour in zip(later, step_colours(len(later)), strict=True))]
