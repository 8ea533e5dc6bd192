"""The look that all figures share: colours, axes, confidence bands."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import plotly.graph_objects as go
from plotly.colors import hex_to_rgb, sample_colorscale

from rlvr.types import Estimate

INK = "#1f2933"
MUTED = "#52606d"
GRID = "#e4e7eb"
BASE = "#6b7280"
"""The base model is neutral grey in every figure, so that colour always means training."""
TRAINED = "#0d0887"
"""The last probe: the dark end of the step scale."""
SECOND, THIRD = "#b12a90", "#d8576b"
EXACT_DASH = "5px,4px"
"""Dashes mean exact values, which only the lab can compute."""
TICK_PIXELS = {"x": 60, "y": 36}
"""Ticks of a percent axis are at least this far apart."""
LABELLED, DIGIT = 60, 7
"""Pixels beside a vertical axis: with a title and labels such as 100%; of one more digit."""
WIDTH = 600
"""Pixels of a figure beside its legend, about."""
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'Liberation Sans', sans-serif"

# The light end of plasma is left out: below 3:1 contrast on white a line is hard to see.
_LIGHT_END, _DARK_END = 0.66, 0.0


def step_colours(count: int) -> list[str]:
    """`count` colours from light (early) to dark (late): perceptually even, safe for colour-blind readers."""
    if count == 1:
        return [TRAINED]
    positions = [_LIGHT_END + (_DARK_END - _LIGHT_END) * index / (count - 1) for index in range(count)]
    return [str(colour) for colour in sample_colorscale("Plasma", positions)] if positions else []


def bin_colours(count: int) -> list[str]:
    """`count` colours from pale to dark for bins in order: the first, of problems that are never solved, is grey."""
    shades = [_DARK_END + (0.92 - _DARK_END) * (1 - index / max(count - 2, 1)) for index in range(count - 1)]
    return ["#d5dae0", *(str(colour) for colour in sample_colorscale("Plasma", shades))]


def translucent(colour: str, alpha: float) -> str:
    """A hex or rgb() colour as rgba()."""
    parts = hex_to_rgb(colour) if colour.startswith("#") else colour[4:-1].split(",")
    return f"rgba({', '.join(str(part).strip() for part in parts)}, {alpha})"


def figure(height: int, *, y_percent: bool = False, legend: str = "top", **axes: Any) -> go.Figure:
    """An empty figure in the house style. `legend`: `top`, `right` or `none`; `axes` goes into the layout as it is."""
    fig = go.Figure(layout=_layout(y_percent, legend) | {"height": height})
    return fig.update_layout(**axes) if axes else fig


@cache
def _layout(y_percent: bool, legend: str) -> dict[str, Any]:
    """The layout of all figures; made once, because Plotly takes 30 ms for it, and a page has forty figures."""
    fig = go.Figure()
    fig.update_layout(
        template="none", margin={"l": LABELLED, "r": 12, "t": 26 if legend == "top" else 10, "b": 44},
        font={"family": FONT, "size": 12, "color": INK}, paper_bgcolor="white", plot_bgcolor="white",
        hovermode="closest", hoverlabel={"bgcolor": "white", "bordercolor": GRID, "font": {"size": 12, "color": INK}},
        dragmode=False, showlegend=legend != "none", legend=_LEGENDS[legend],
    )
    common = {"gridcolor": GRID, "linecolor": "#9aa5b1", "ticks": "outside", "tickcolor": "#9aa5b1", "ticklen": 4,
              "zeroline": False, "fixedrange": True, "title": {"font": {"size": 12, "color": MUTED}, "standoff": 8}}
    fig.update_xaxes(**common, showline=True, showgrid=False)
    fig.update_yaxes(**common)
    if y_percent:
        fig.update_yaxes(tickformat=".0%")
    return dict(fig.to_plotly_json()["layout"])


def settle_percent_ticks(fig: go.Figure) -> go.Figure:
    """Ticks of every percent axis at round distances, with the digits that distance needs: never 3%, 2%, 2%, 2%."""
    for name in [key for key in fig.layout.to_plotly_json() if key[1:].startswith("axis")]:
        axis = fig.layout[name]
        if not (axis.tickformat or "").endswith("%"):
            continue
        low, high = axis.range or extent(fig, name.replace("axis", ""))
        if high > low:
            share = (high - low) / (axis.domain[1] - axis.domain[0] if axis.domain else 1)
            margin = fig.layout.margin
            pixels = WIDTH if name[0] == "x" else fig.layout.height - margin.t - margin.b
            rough = share * TICK_PIXELS[name[0]] / pixels
            size = 10 ** math.floor(math.log10(rough))
            step = next(size * m for m in (1, 2, 5, 10) if size * m >= rough * (1 - 1e-9))
            digits = max(0, -math.floor(math.log10(100 * step) + 1e-9))
            axis.update(dtick=step, tick0=0, tickformat=f".{digits}%")
            if name[0] == "y" and digits and axis.title.text:  # wider labels would reach into the axis's title
                margin.l = max(margin.l, LABELLED + DIGIT * (digits + 1))
    return fig


def extent(fig: go.Figure, axis: str) -> tuple[float, float]:
    """Lowest and highest point that an axis (`y`, `x2`) without a range shows, error bars among them."""
    along, values = axis[0], list[float]()
    traces: Any = fig.data
    for trace in (t.to_plotly_json() for t in traces):
        if (trace.get(f"{along}axis") or along) == axis:
            shown = [at for at in trace.get(along) or () if at is not None and not math.isnan(at)]
            bars = trace.get(f"error_{along}") or {}
            values += shown
            values += [at + by for at, by in zip(shown, bars.get("array") or (), strict=False)]
            values += [at - by for at, by in zip(shown, bars.get("arrayminus") or (), strict=False)]
    return (min(values), max(values)) if values else (0.0, 0.0)


_LEGENDS: dict[str, dict[str, Any]] = {
    "top": {"orientation": "h", "x": 0, "y": 1.0, "xanchor": "left", "yanchor": "bottom", "font": {"size": 11},
            "bgcolor": "rgba(0,0,0,0)"},
    "right": {"orientation": "v", "x": 1.02, "y": 1, "xanchor": "left", "yanchor": "top", "font": {"size": 12}},
    "none": {},
}


def add_band(fig: go.Figure, x: Sequence[float], estimates: Sequence[Estimate], colour: str, *, alpha: float = 0.14,
             group: str = "") -> None:
    """The 95% interval as a shaded band behind a line; points without an interval leave a gap."""
    points = [(at, e) for at, e in zip(x, estimates, strict=True) if not math.isnan(e.low + e.high)]
    if not points:
        return
    fig.add_trace(go.Scatter(
        x=[at for at, _ in points] + [at for at, _ in reversed(points)],
        y=[e.high for _, e in points] + [e.low for _, e in reversed(points)],
        fill="toself", fillcolor=translucent(colour, alpha), line={"width": 0}, mode="lines",
        hoverinfo="skip", showlegend=False, legendgroup=group or None,
    ))


def add_line(fig: go.Figure, x: Sequence[float], y: Sequence[float], name: str, colour: str, *, hover: str = "",
             width: float = 2, dash: str = "solid", markers: bool = True, text: Sequence[str] | None = None,
             legend: bool = True, group: str = "") -> None:
    """One line with its points; `hover` is a Plotly hover template, `text` its `%{text}` per point."""
    fig.add_trace(go.Scatter(
        x=list(x), y=list(y), name=name, mode="lines+markers" if markers else "lines",
        line={"color": colour, "width": width, "dash": dash}, marker={"color": colour, "size": 6},
        text=list(text) if text else None, hovertemplate=f"{hover}<extra></extra>" if hover else None,
        hoverinfo=None if hover else "skip", showlegend=legend, legendgroup=group or None,
    ))


def interval_text(estimates: Sequence[Estimate], *, percent: bool = True) -> list[str]:
    """`33.1% [29.8, 36.5]` per point, for hovering."""
    scale, unit, digits = (100.0, "%", 1) if percent else (1.0, "", 2)
    texts = []
    for e in estimates:
        bounds = "" if math.isnan(e.low + e.high) else f" [{e.low * scale:.{digits}f}, {e.high * scale:.{digits}f}]"
        texts.append(f"{e.value * scale:.{digits}f}{unit}{bounds}")
    return texts
