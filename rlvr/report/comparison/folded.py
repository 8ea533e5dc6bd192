"""The paper's Figure 8: every arm's pass@1 and pass@K on one axis that is folded between them.

Both ends lie far apart and the arms close together, so a common axis would show neither. What is folded away is named:
delta_se, the distance from an arm's pass@1 to the base's pass@K.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from rlvr.report.comparison.arms import Arms
from rlvr.report.comparison.figures import arm_styles
from rlvr.report.comparison.standings import Row, base_row, equal_steps
from rlvr.report.style import BASE, INK, figure, interval_text
from rlvr.report.words import number
from rlvr.types import Estimate

FOLD = (0.47, 0.55)
"""Where the axis is folded, as shares of the plot's height."""


def folded(arms: Arms) -> go.Figure:
    """pass@1 below the fold and pass@K above it, base and arms at the last common step, with 95% intervals.

    A dotted line through each half is the base; a bar across a point is the exact truth.
    """
    base, rows = base_row(arms), equal_steps(arms)
    fig = figure(400, y_percent=True, legend="none", margin_b=30)
    fig.update_layout(yaxis2=fig.layout.yaxis.to_plotly_json())  # the same look above the fold
    for axis, name, domain in (("y", "pass@1", (0.0, FOLD[0])), ("y2", f"pass@{arms.k}", (FOLD[1], 1.0))):
        _half(fig, arms, axis, name, [base, *rows])
        fig.update_layout({f"yaxis{axis[1:]}": {"domain": domain, "title": {"text": name}}})
        level = base.values[name].estimate.value
        fig.add_shape(type="line", xref="paper", x0=0, x1=1, yref=axis, y0=level, y1=level, layer="below",
                      line={"color": BASE, "width": 1.25, "dash": "dot"})
    for row in [base, *rows]:
        text = f"delta_se {number(row.values['delta_se'].estimate.value)}"
        fig.add_annotation(x=row.name, xref="x", y=sum(FOLD) / 2, yref="paper", text=text, showarrow=False,
                           font={"size": 11, "color": INK}, bgcolor="white")
    for edge in FOLD:  # the two slanted strokes of a broken axis
        fig.add_shape(type="line", xref="paper", yref="paper", x0=-0.008, x1=0.008, y0=edge - 0.012, y1=edge + 0.012,
                      line={"color": INK, "width": 1.25})
    fig.update_xaxes(type="category", anchor="y")
    return fig


def _half(fig: go.Figure, arms: Arms, axis: str, name: str, rows: Sequence[Row]) -> None:
    for row in rows:
        colour, marker = arm_styles(arms).get(row.name, (BASE, "circle"))
        value = row.values[name]
        e = value.estimate
        fig.add_trace(go.Scatter(
            x=[row.name], y=[e.value], yaxis=axis, name=row.name, mode="markers",
            marker={"color": colour, "symbol": marker, "size": 10}, error_y=_bars(e, colour),
            text=interval_text([e]), hovertemplate=f"%{{x}}: {name} = %{{text}}<extra></extra>"))
        if not math.isnan(value.exact):
            fig.add_trace(go.Scatter(
                x=[row.name], y=[value.exact], yaxis=axis, name=f"{row.name}, exact", mode="markers",
                marker={"symbol": "line-ew-open", "size": 26, "color": colour, "line": {"width": 2}},
                hovertemplate=f"%{{x}}: exact {name} = %{{y:.2%}}<extra></extra>"))


def _bars(e: Estimate, colour: str) -> dict[str, object]:
    if math.isnan(e.low):
        return {"visible": False}
    return {"type": "data", "symmetric": False, "array": [e.high - e.value], "arrayminus": [e.value - e.low],
            "color": colour, "thickness": 1.75, "width": 5}
