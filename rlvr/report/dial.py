"""What `rlvr dial` found, as one self-contained HTML page: the front of pass@1 against pass@k, and the merge chosen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from rlvr.probes.dial import Dial
from rlvr.report.export import how_measured
from rlvr.report.load import ProbePoint, Run, load_run
from rlvr.report.style import BASE, EXACT_DASH, INK, SECOND, TRAINED, figure, interval_text, translucent
from rlvr.report.summary import aligned, plain, wrapped
from rlvr.report.template import as_json, page_of
from rlvr.report.words import MISSING, interval, number
from rlvr.runs.files import replace
from rlvr.runs.run_dir import RunDir
from rlvr.types import Estimate

TARGETS = {
    "population": "problems like these, so the spread between problems is part of the uncertainty",
    "benchmark": "exactly these problems and no others",
}


def write_dial(dial: Dial, run: Run) -> Path:
    """Write dial.html into the dial's directory and a model card to the merge that was chosen; returns the page.

    `run` is that directory, read.
    """
    page = run.path / "dial.html"
    replace(page, render(dial, run).encode())
    if dial.model is not None:
        replace(dial.model / "README.md", model_card(dial, run).encode())
    return page


def render(dial: Dial, run: Run) -> str:
    """The page as HTML."""
    k, own = dial.request.k, own_path(dial, run)
    return page_of(
        "dial", parts=("page",), title=dial.request.run.resolve().name, finding=finding(dial, run), notes=notes(dial),
        about=_about(dial, run), k=k, rows=rows(dial, run), own=bool(own), lab=bool(dial.exact),
        tolerance=tolerance_text(dial), figures={"json": as_json({"front": front(dial, run, own)})},
        measured=how_measured(run),
    )


def summary(dial: Dial, run: Run) -> str:
    """The result for the terminal: the page's first sentence and its table."""
    heads, body = _table(dial, run)
    return "\n".join([*wrapped(plain(finding(dial, run))), "", *aligned(heads, [[plain(cell) for cell in line]
                                                                               for line in body]), ""])


def finding(dial: Dial, run: Run) -> str:
    """Which merge was chosen and what it is worth; or that none was, and how close the closest came."""
    request, points, chosen = dial.request, dial.choice.points, dial.choice.chosen
    kept = f"pass@{request.k} within {tolerance_text(dial)} of the base's"
    if chosen is None:
        return (f"No merge is shown to keep {kept}: at {percent(points[0].share)} of the way, the closest to the base, "
                f"it may be up to {number(_up(points[0].bound))} points below.")
    return (f"At {percent(chosen.share)} of the way pass@1 is {number(chosen.pass_1.value)}%, against "
            f"{number(run.base.get('pass@1').value)}% of the base, and pass@{request.k} is at most "
            f"{number(max(_up(chosen.bound), 0.0))} points below the base's, with 95% confidence"
            f"{_exactly(dial, chosen.share)}.")


def _exactly(dial: Dial, share: float) -> str:
    """In the lab the truth behind the bound, which one in twenty misses."""
    at = round(100 * share)
    if at not in dial.exact:
        return ""
    loss = dial.exact[0][1] - dial.exact[at][1]
    return f"; exactly it is {number(abs(loss))} points {'below' if loss >= 0 else 'above'}"


def notes(dial: Dial) -> list[str]:
    """What the confidence covers, and what to do if it is not enough."""
    request, points = dial.request, dial.choice.points
    said = [f"The confidence is about {TARGETS[request.target]}." if len(points) == 1 else
            f"The confidence is about {TARGETS[request.target]}, and holds for the choice among all {len(points)} "
            "merges together: they are tested from the base outwards, no further than the first that fails, and gains "
            f"of pass@1 have intervals that hold for all {len(points)} at once."]
    if (chosen := dial.choice.chosen) is not None and not chosen.gain.low > 0:
        said.append("That pass@1 of the chosen merge is above the base's is not shown by these samples.")
    if chosen is None:
        said.append("More problems (data.probe.size=N) make the bounds tighter, smaller --points come closer to the "
                    "base, and --tolerance says how much may be lost.")
    if dial.exact:
        base_1, base_k = dial.exact[0]
        exact = "; ".join(f"{percent(at / 100)}: {number(one)} / {number(many)}"
                          for at, (one, many) in dial.exact.items() if at)
        said.append(f"Exact pass@1 / pass@{request.k}, which only the lab knows: base {number(base_1)} / "
                    f"{number(base_k)}; {exact}.")
    return said


def rows(dial: Dial, run: Run) -> list[dict[str, Any]]:
    """The base and every merge as words."""
    chosen = dial.choice.chosen
    base_1, base_k = _at(dial, run.base)
    base = {"share": "0% (base)", "chosen": False, "pass_1": _level(base_1), "gain": ("", ""),
            "pass_k": _level(base_k), "loss": ("", ""), "bound": "", "within": "",
            "exact": _exact(dial, 0)}
    body = [base]
    for point in dial.choice.points:
        body.append({
            "share": percent(point.share), "chosen": point is chosen,
            "pass_1": _level(point.pass_1), "gain": (number(point.gain.value, signed=True),
                                                     interval(point.gain, signed=True)),
            "pass_k": _level(point.pass_k), "loss": (number(point.shrinkage.value, signed=True),
                                                     interval(point.shrinkage, signed=True)),
            "bound": number(_up(point.bound), signed=True), "within": "yes" if point.within else "not shown",
            "exact": _exact(dial, round(100 * point.share)),
        })
    return body


def own_path(dial: Dial, run: Run) -> list[ProbePoint]:
    """The probes of the training that was dialled; none if it measured other problems or with other decoding."""
    if not RunDir(dial.request.run).boundary.is_file():
        return []
    trained = load_run(dial.request.run)
    alike = (trained.base.decoding == run.base.decoding
             and set(trained.rows.get(0, ())) == set(run.rows.get(0, ()))
             and all({"pass@1", f"pass@{dial.request.k}"} <= probe.estimates.keys() for probe in trained.probes))
    return list(trained.probes) if alike else []


def front(dial: Dial, run: Run, own: Sequence[ProbePoint]) -> go.Figure:
    """pass@k over pass@1: the base, the merges and the training's own path, with 95% intervals; dashed: exact."""
    k, points = dial.request.k, dial.choice.points
    fig = figure(430, y_percent=True, legend="top")
    base = (*_at(dial, run.base), "base")
    floor = base[1].value - dial.request.tolerance
    fig.add_hline(y=floor, line={"color": BASE, "width": 1.25, "dash": "dot"}, layer="below",
                  annotation_text=f"base \N{MINUS SIGN} {tolerance_text(dial)}",
                  annotation_position="bottom left", annotation_font={"size": 11, "color": BASE})
    if len(own) > 1:
        _path(fig, [(*_at(dial, p), f"step {p.step}" if p.step else "base") for p in own], "training's own path",
              SECOND, "diamond", [(p.exact.get("pass@1"), p.exact.get(f"pass@{k}")) for p in own])
    _path(fig, [base, *((p.pass_1, p.pass_k, percent(p.share)) for p in points)], "dial", TRAINED, "circle",
          [dial.exact.get(at, (None, None)) for at in (0, *dial.request.percents)])
    fig.add_trace(go.Scatter(x=[base[0].value], y=[base[1].value], mode="markers", name="base", hoverinfo="skip",
                             marker={"color": BASE, "size": 11}))
    if (chosen := dial.choice.chosen) is not None:
        fig.add_trace(go.Scatter(
            x=[chosen.pass_1.value], y=[chosen.pass_k.value], mode="markers", name="chosen", hoverinfo="skip",
            marker={"symbol": "circle-open", "size": 17, "color": INK, "line": {"width": 2}}))
    fig.update_xaxes(title_text="pass@1", tickformat=".0%")
    fig.update_yaxes(title_text=f"pass@{k}")
    return fig


def model_card(dial: Dial, run: Run) -> str:
    """README.md of the chosen merge."""
    request, chosen = dial.request, dial.choice.chosen
    assert chosen is not None and request.probes.recipe.model is not None
    base = request.probes.recipe.model.path
    on_hub = base != "lab" and not Path(base).exists()
    head = ["---", *([f"base_model: {base}"] if on_hub else []), "library_name: transformers",
            "tags: [rlvr, merge, reinforcement-learning]", "---"]
    trained = ", ".join(f"`{path}`" for path in request.trained)
    mean = f"the mean of {trained}" if len(request.trained) > 1 else trained
    return "\n".join([
        *head, "", f"# {request.run.resolve().name}, dialled to {percent(chosen.share)}", "",
        f"Weights at {percent(chosen.share)} of the straight way from `{base}` to {mean}: "
        f"base + {chosen.share:g} (trained - base), written by `rlvr dial`.", "",
        finding(dial, run), "", *_markdown(dial, run), "", *notes(dial), "", how_measured(run), "",
    ])


def _up(bound: float) -> float:
    """An upper bound as it is shown, rounded up to a tenth of a point: one beyond the tolerance never looks within."""
    return math.ceil(round(1000 * bound, 9)) / 1000 if math.isfinite(bound) else bound


def percent(share: float) -> str:
    """`25%`"""
    return f"{100 * share:g}%"


def tolerance_text(dial: Dial) -> str:
    """`2 points`, as it was asked for."""
    asked = 100 * dial.request.tolerance
    return f"{asked:g} point{'' if asked == 1 else 's'}"


def _table(dial: Dial, run: Run) -> tuple[list[str], list[list[str]]]:
    """(heads, rows) for text."""
    k, found = dial.request.k, rows(dial, run)
    heads = ["share", "pass@1, %", "gain", f"pass@{k}, %", f"loss of pass@{k}", "at most", "within"]
    body = [[f"{row['share']}{' *' if row['chosen'] else ''}",
             *(" ".join(filter(None, row[name])) for name in ("pass_1", "gain", "pass_k", "loss")),
             row["bound"], row["within"]] for row in found]
    if dial.exact:
        heads.append("exact")
        body = [[*line, " / ".join(row["exact"])] for line, row in zip(body, found, strict=True)]
    return heads, body


def _markdown(dial: Dial, run: Run) -> list[str]:
    heads, body = _table(dial, run)
    widths = [max(len(line[i]) for line in [heads, *body]) for i in range(len(heads))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
             for line in [heads, *body]]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]


def _about(dial: Dial, run: Run) -> list[tuple[str, str]]:
    request = dial.request
    return [
        ("run", str(request.run)), ("checkpoint", ", ".join(path.name for path in request.trained)),
        *([("mean of", f"{len(request.trained)} runs")] if len(request.trained) > 1 else []),
        ("problems", str(run.base.problems or MISSING)), ("merges", str(len(request.percents))),
        ("written", str(dial.model) if dial.model else "no model"),
    ]


def _at(dial: Dial, probe: ProbePoint) -> tuple[Estimate, Estimate]:
    """pass@1 and pass@k of a probe, with intervals for the target of the dial."""
    found = probe.benchmark if dial.request.target == "benchmark" else probe.estimates
    return found["pass@1"], found[f"pass@{dial.request.k}"]


def _level(estimate: Estimate) -> tuple[str, str]:
    return number(estimate.value), interval(estimate)


def _exact(dial: Dial, at: int) -> tuple[str, str]:
    return (number(dial.exact[at][0]), number(dial.exact[at][1])) if at in dial.exact else ("", "")


def _path(
    fig: go.Figure, points: Sequence[tuple[Estimate, Estimate, str]], name: str, colour: str, symbol: str,
    exact: Sequence[tuple[float | None, float | None]],
) -> None:
    """A line of points with intervals both ways and, where it is known, the exact one as dashes beside it."""
    x, y = [one for one, _, _ in points], [many for _, many, _ in points]
    fig.add_trace(go.Scatter(
        x=[e.value for e in x], y=[e.value for e in y], name=name, mode="lines+markers+text",
        line={"color": colour, "width": 2}, marker={"color": colour, "symbol": symbol, "size": 8},
        error_x=_bars(x, colour), error_y=_bars(y, colour),
        text=[label if label != "base" else "" for _, _, label in points], textposition="top right",
        textfont={"size": 11, "color": colour},
        customdata=list(zip([label for _, _, label in points], interval_text(x), interval_text(y), strict=True)),
        hovertemplate="%{customdata[0]}: pass@1 %{customdata[1]}, pass@k %{customdata[2]}<extra></extra>"))
    if all(one is not None for pair in exact for one in pair):
        fig.add_trace(go.Scatter(
            x=[one for one, _ in exact], y=[many for _, many in exact], name=f"{name}, exact", mode="lines+markers",
            line={"color": colour, "width": 1.5, "dash": EXACT_DASH},
            marker={"color": colour, "symbol": f"{symbol}-open", "size": 7},
            hovertemplate="exact: pass@1 %{x:.1%}, pass@k %{y:.1%}<extra></extra>"))


def _bars(estimates: Sequence[Estimate], colour: str) -> dict[str, Any] | None:
    if any(math.isnan(e.low + e.high) for e in estimates):
        return None
    return {"type": "data", "symmetric": False, "array": [e.high - e.value for e in estimates],
            "arrayminus": [e.value - e.low for e in estimates], "thickness": 1, "width": 0,
            "color": translucent(colour, 0.45)}
