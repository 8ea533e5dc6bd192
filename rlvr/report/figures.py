"""The figures of a report, each a Plotly figure made from a `Run`.

Colour means training everywhere: grey is the base model, light to dark is early to late. A shaded band is a 95%
interval, a dashed line the exact values of the lab.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from rlvr.report.changes import change, level_at, significant_crossing, tries_text
from rlvr.report.load import ProbePoint, ProblemRow, Run
from rlvr.report.style import (
    BASE,
    EXACT_DASH,
    INK,
    MUTED,
    TRAINED,
    add_band,
    add_line,
    figure,
    interval_text,
    step_colours,
)  # fmt: skip
from rlvr.types import Estimate

LEGEND_WIDTH = 132
"""Pixels right of both figures over k, so that their k axes stand exactly above each other."""
MAX_CURVES = 8
"""More probe steps than this are thinned in the pass@k figure: more curves cannot be told apart."""
BINS = ["0", *(f"{low / 10:g}\N{EN DASH}{(low + 1) / 10:g}" for low in range(10)), "1"]


def pass_at_k(run: Run) -> go.Figure:
    """pass@k over k, the base and every probe step; a ring marks a significant crossing.

    Bands and exact values are those of the base and the last probe: more would cover each other.
    """
    shown = thinned(run.probes[1:])
    tops = [e.high if p in (run.base, run.last) else e.value for p in (run.base, *shown) for e in _curve(p)[1]]
    highest = max((top for top in tops if not math.isnan(top)), default=1.0)
    fig = figure(430, y_percent=True, legend="right", yaxis_range=[0, min(1.0, highest) * 1.03], margin_r=LEGEND_WIDTH)
    _curve_trace(fig, run.base, "base", BASE, width=3, band=0.22)
    for probe, colour in zip(shown, step_colours(len(shown)), strict=True):
        is_last = probe is shown[-1]
        _curve_trace(fig, probe, f"step {probe.step}", colour, width=2.5 if is_last else 1.5,
                     band=0.16 if is_last else 0.0)
    if any(p.exact for p in (run.base, *shown)):
        fig.add_trace(go.Scatter(x=[None], y=[None], mode="lines", name="exact",
                                 line={"color": MUTED, "dash": EXACT_DASH, "width": 1.5}))
    k = significant_crossing(run, run.last) if run.last else None
    if k is not None:
        value = level_at(run.base, k)
        fig.add_trace(go.Scatter(
            x=[k], y=[value], mode="markers", showlegend=False,
            marker={"symbol": "circle-open", "size": 15, "color": INK, "line": {"width": 1.75}},
            hovertemplate=f"the curves cross near k = {tries_text(k)}<extra></extra>"))
        fig.add_annotation(x=math.log10(k), y=value, text=f"k \N{ALMOST EQUAL TO} {tries_text(k)}",
                           ax=34, ay=34, showarrow=True, arrowhead=0, arrowwidth=1, arrowcolor=INK, standoff=9,
                           font={"size": 12, "color": INK})
    log_k_axis(fig, run.ks)
    fig.update_yaxes(title_text="pass@k")
    return fig


def change_by_k(run: Run) -> go.Figure:
    """pass@k of the last probe minus the base's, paired by problem, over k. Needs `run.last`."""
    assert run.last is not None
    fig = figure(280, legend="right", margin_r=LEGEND_WIDTH)
    fig.update_yaxes(zeroline=True, zerolinecolor=BASE, zerolinewidth=2)
    changes = [change(run, run.last, k) for k in run.ks]
    points = [in_points(c) for c in changes]
    add_band(fig, run.ks, points, TRAINED, alpha=0.16)
    add_line(fig, run.ks, [c.value for c in points], f"step {run.last.step}", TRAINED, width=2.5,
             hover="k = %{x}: %{text} points", text=interval_text(points, percent=False))
    truth = {k: run.last.exact[f"pass@{k}"] - run.base.exact[f"pass@{k}"]
             for k in run.ks if f"pass@{k}" in run.last.exact and f"pass@{k}" in run.base.exact}
    if truth:
        add_line(fig, list(truth), [100 * v for v in truth.values()], "exact", TRAINED, dash=EXACT_DASH,
                 width=1.5, markers=False, hover="exact, k = %{x}: %{y:.2f} points")
    log_k_axis(fig, run.ks)
    fig.update_yaxes(title_text="change of pass@k, points")
    return fig


def accuracy_histogram(run: Run) -> go.Figure:
    """How many problems have which share of right samples, base beside the last probe."""
    fig = figure(300, barmode="group", bargap=0.25, bargroupgap=0.06)
    named = [(run.base, "base", BASE)]
    if run.last is not None:
        named.append((run.last, f"step {run.last.step}", TRAINED))
    for probe, name, colour in named:
        counts = binned(run.rows.get(probe.step, {}))
        fig.add_trace(go.Bar(x=BINS, y=counts, name=name, marker={"color": colour}, texttemplate="%{y}",
                             textposition="outside", textfont={"size": 10, "color": MUTED}, cliponaxis=False,
                             hovertemplate=f"{name}: %{{y}} problems with c/n %{{x}}<extra></extra>"))
    fig.update_xaxes(title_text="share of right samples c/n", type="category")
    fig.update_yaxes(title_text="problems")
    return fig


def binned(rows: Mapping[str, ProblemRow]) -> list[int]:
    """Number of problems per bin of c/n: exactly 0; (0, .1], (.1, .2], ... (.9, 1); exactly 1."""
    counts = [0] * len(BINS)
    for row in rows.values():
        if row.n == 0:
            continue
        if row.c == row.n:
            counts[-1] += 1
        else:
            counts[-(-10 * row.c // row.n)] += 1  # integer ceiling: 1/10 belongs to (0, .1] whatever floats say
    return counts


def thinned(probes: Sequence[ProbePoint]) -> list[ProbePoint]:
    """At most MAX_CURVES probes, evenly spread, the first and the last always among them."""
    if len(probes) <= MAX_CURVES:
        return list(probes)
    return [probes[round(index * (len(probes) - 1) / (MAX_CURVES - 1))] for index in range(MAX_CURVES)]


def _curve(probe: ProbePoint) -> tuple[list[int], list[Estimate]]:
    return probe.ks, [probe.get(f"pass@{k}") for k in probe.ks]


def _curve_trace(fig: go.Figure, probe: ProbePoint, name: str, colour: str, *, width: float, band: float) -> None:
    """The curve of one probe and, if `band` is not 0, its band of this opacity and (in the lab) its dashed truth; one
    click in the legend hides all three."""
    ks, estimates = _curve(probe)
    if band:
        add_band(fig, ks, estimates, colour, alpha=band, group=name)
    add_line(fig, ks, [e.value for e in estimates], name, colour, width=width, group=name,
             hover=f"{name}: pass@%{{x}} = %{{text}}", text=interval_text(estimates))
    truth = [(k, probe.exact[f"pass@{k}"]) for k in ks if f"pass@{k}" in probe.exact]
    if band and truth:
        add_line(fig, [k for k, _ in truth], [value for _, value in truth], f"{name}, exact", colour, dash=EXACT_DASH,
                 width=1.25, markers=False, legend=False, group=name, hover=f"{name}: exact pass@%{{x}} = %{{y:.2%}}")


def log_k_axis(fig: go.Figure, ks: Sequence[int]) -> None:
    """The axis of tries that every figure over k has: logarithmic, a tick at each k measured."""
    low, high = math.log10(min(ks)), math.log10(max(ks))
    margin = 0.03 * (high - low) or 0.1
    fig.update_xaxes(type="log", tickvals=list(ks), ticktext=[str(k) for k in ks], range=[low - margin, high + margin],
                     title_text="k, tries per problem (log scale)")


def in_points(by: Estimate) -> Estimate:
    """A difference of fractions in percentage points."""
    return Estimate(100 * by.value, 100 * by.low, 100 * by.high)
