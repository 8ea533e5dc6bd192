"""Figures of the other conditions of a probe: pass@k under each, and what training changed under each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from rlvr.report.changes import change
from rlvr.report.conditions import AS_PROBED, Condition
from rlvr.report.figures import in_points, log_k_axis
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
from rlvr.runs.run_dir import null_to_nan

COLOURS = (TRAINED, SECOND, "#c27c0e", "#2f6f4f", "#3b7ea1", THIRD)
"""One per condition, the probe's own first; with more conditions only the first ones are drawn over each other."""


def curves_of(conditions: Sequence[Condition]) -> list[tuple[str, str, go.Figure]]:
    """(title, note, figure) of every condition: pass@k of base and trained model, all on one scale."""
    probes = [p for one in conditions for p in (one.run.base, one.last) if p is not None]
    bounds = [null_to_nan(p.get(f"pass@{k}").high) for p in probes for k in p.ks]
    highest = 1.03 * min(1.0, max((b for b in bounds if not math.isnan(b)), default=1.0))
    return [(one.name, "; ".join(part for part in (one.decoding, one.prompt) if part), curves(one, highest))
            for one in conditions]


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
    """Change of pass@k over k, a line per condition, with the band of the probe's own."""
    fig = figure(300, legend="top")
    fig.update_yaxes(zeroline=True, zerolinecolor=BASE, zerolinewidth=2, title_text="change of pass@k, points")
    measured = [one for one in conditions if one.last]
    for one, colour in zip(measured, COLOURS, strict=False):
        assert one.last is not None
        ks = one.run.ks
        by = [in_points(change(one.run, one.last, k)) for k in ks]
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
