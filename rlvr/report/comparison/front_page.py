"""The referee's table and figure, as words for the page and for Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from rlvr.report.comparison.arms import Arms
from rlvr.report.comparison.figures import arm_styles
from rlvr.report.comparison.front import DEPTH, LOSSES, Against, Best, Referee, Standing, Way
from rlvr.report.comparison.standings import ALPHA
from rlvr.report.comparison.words import difference_text, p_text
from rlvr.report.style import BASE, figure, translucent
from rlvr.report.words import MISSING, interval, number
from rlvr.statistics.front import front
from rlvr.types import Estimate

SQUARE = 1e4
"""Areas of fractions in square percentage points."""


def rows(found: Referee) -> list[dict[str, Any]]:
    """The table: a row per way, with a cell per loss and one for the hypervolume."""
    return [{"name": standing.way.name, "arm": standing.way.arm, "seeds": standing.way.seeds,
             "best": [_best(best) for best in standing.best], "area": _area(standing)} for standing in found.standings]


def _best(best: Best) -> dict[str, Any]:
    one, many = best.model.levels
    if best.model.label == "base":
        return {"label": "base", "one": number(one.value), "bounds": "", "many": number(many.value),
                **_against(best.against)}
    return {"label": best.model.label, "one": number(one.value), "bounds": interval(one), "many": number(many.value),
            **_against(best.against)}


def _area(standing: Standing) -> dict[str, Any]:
    return {"value": _squares(standing.area), **_against(standing.area_against, area=True)}


def _against(against: Against | None, *, area: bool = False) -> dict[str, Any]:
    if against is None:
        return {"against": "", "p": "", "significant": False}
    text = _squares(against.difference, signed=True) if area else difference_text(against.difference)
    unknown = against.p != against.p
    return {"against": text, "p": MISSING if unknown else p_text(against.p), "significant": against.p <= ALPHA}


def _squares(area: Estimate, *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    value, low, high = (SQUARE * bound for bound in (area.value, area.low, area.high))
    text = f"{value:{sign}.0f}" if low != low else f"{value:{sign}.0f} [{low:{sign}.0f}, {high:{sign}.0f}]"
    return text.replace("-", "\N{MINUS SIGN}")


def markdown(found: Referee, k: int) -> list[str]:
    """The table as lines of Markdown, with what it means."""
    within = [f"{number(loss).removesuffix('.0')} points" for loss in LOSSES]
    heads = ["", *(f"{what} within {loss}" for loss in within for what in ("at", f"pass@1 / pass@{k}", "- reference")),
             "area", "- reference"]
    lines = [f"| {' | '.join(heads)} |", f"| {' | '.join('---' for _ in heads)} |"]
    for row in rows(found):
        cells = [f"{row['name']} ({row['seeds']} seed{'s' if row['seeds'] > 1 else ''})"]
        for best in row["best"]:
            cells += [best["label"], f"{best['one']} {best['bounds']} / {best['many']}".replace("  ", " "),
                      _with_p(best, best["against"])]
        cells += [row["area"]["value"], _with_p(row["area"], row["area"]["against"])]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, "", note(found, k)]


def _with_p(cell: dict[str, Any], text: str) -> str:
    return f"{text} (p {cell['p'] if cell['p'].startswith('<') else '= ' + cell['p']})" if text else "reference"


def note(found: Referee, k: int) -> str:
    """How to read the table."""
    values = "Exact values, without sampling noise" if found.exact else "Estimated from samples"
    return (
        f"{values}; base pass@1 {number(found.base.point[0])}, pass@{k} {number(found.base.point[1])} percent. Of each "
        f"way the model with the largest pass@1 whose pass@{k} is at most so far below the base's, by means over seeds "
        "and problems. Intervals of differences hold for every choice among the models of the two ways (Bonferroni), "
        f"and p-values for the whole table (Holm); reference: {found.reference}. Area: hypervolume in square points, "
        f"above the base's pass@1 and down to {number(DEPTH)} points below its pass@{k}, per seed; intervals over "
        "seeds" + ("." if found.exact else ". An arm with more probes has more chances to look good by noise in it."))


def figure_of(arms: Arms, found: Referee) -> go.Figure:
    """pass@k over pass@1 of every model of every way; a line per way, dashed if it is a dial; grey: the base."""
    fig = figure(460, y_percent=True, legend="right")
    one, many = found.base.point
    for loss in LOSSES:
        fig.add_hline(y=many - loss, line={"color": BASE, "width": 1.25, "dash": "dot"}, layer="below",
                      annotation_text=f"base \N{MINUS SIGN} {number(loss)}", annotation_position="bottom left",
                      annotation_font={"size": 11, "color": BASE})
    best = _front_line(found)
    fig.add_trace(go.Scatter(x=[x for x, _ in best], y=[y for _, y in best], mode="lines", name="front of all",
                             line={"color": translucent(BASE, 0.35), "width": 7}, hoverinfo="skip"))
    for standing in found.standings:
        _trace(fig, arms, standing.way, found)
    fig.add_trace(go.Scatter(x=[one], y=[many], mode="markers", name="base", marker={"color": BASE, "size": 11},
                             hovertemplate="base: %{x:.1%}, %{y:.1%}<extra></extra>"))
    fig.update_xaxes(title_text="pass@1", tickformat=".0%")
    shown = [many - max(LOSSES), many, *(y for standing in found.standings for _, y in standing.way.points)]
    room = 0.05 * (max(shown) - min(shown))
    fig.update_yaxes(title_text=f"pass@{arms.k}", range=[min(shown) - room, max(shown) + room])
    return fig


def _front_line(found: Referee) -> list[tuple[float, float]]:
    points = [found.base.point, *(point for standing in found.standings for point in standing.way.points)]
    return [points[i] for i in front(points)]


def _trace(fig: go.Figure, arms: Arms, way: Way, found: Referee) -> None:
    colour, marker = arm_styles(arms)[way.arm]
    levels = [model.levels for model in way.models]
    points = [found.base.point, *way.points]
    labels = ["base", *(model.label for model in way.models)]
    bars: Any = [_bars([level[axis] for level in levels], colour) for axis in (0, 1)] if not found.exact else [None] * 2
    fig.add_trace(go.Scatter(
        x=[x for x, _ in points], y=[y for _, y in points], name=way.name.replace("<", "&lt;"), mode="lines+markers",
        line={"color": colour, "width": 1.75, "dash": "dash" if way.dialled else "solid"},
        marker={"color": colour, "symbol": f"{marker}-open" if way.dialled else marker,
                "size": [0, *(8 for _ in way.models)]},
        error_x=bars[0], error_y=bars[1], text=labels,
        hovertemplate="%{fullData.name}, %{text}: %{x:.1%}, %{y:.1%}<extra></extra>"))


def _bars(estimates: Sequence[Estimate], colour: str) -> dict[str, Any]:
    """95% intervals; none at the base, which is the first point of every line."""
    return {"type": "data", "symmetric": False, "array": [0.0, *(e.high - e.value for e in estimates)],
            "arrayminus": [0.0, *(e.value - e.low for e in estimates)], "thickness": 1, "width": 0,
            "color": translucent(colour, 0.45)}
