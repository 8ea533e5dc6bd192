"""The figures of a comparison: every arm in its own colour and marker, named at the end of its line.

A band runs from the lowest seed to the highest. The problems are the same for all arms, so their uncertainty, which
would move all curves together, stands in the tables and not in the bands. Dashed: the exact values of the lab.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from rlvr.report.comparison.arms import Arm, Arms
from rlvr.report.comparison.standings import base_P, per_seed, probe_steps, tokens_at
from rlvr.report.figures import LEGEND_WIDTH, log_k_axis
from rlvr.report.style import BASE, EXACT_DASH, INK, add_band, figure
from rlvr.types import Estimate

COLOURS = ("#0072b2", "#d55e00", "#00805e", "#b8407f", "#8a6a00", "#332288", "#3a9bdc", "#882255", "#44803f", "#222222")
"""Okabe and Ito's order of hues, darkened to 3:1 contrast on white; further ones after Paul Tol."""
MARKERS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "pentagon", "triangle-down", "hexagon")
POINTS = 100
"""Longer training curves are averaged into this many points."""
LABEL_PIXELS = 13
"""Height of a label."""
AXES = {"steps": "training step", "tokens": "generated training tokens"}


@dataclass(frozen=True, slots=True)
class Curve:
    """One arm in one figure."""

    arm: str
    x: list[float]
    points: list[Estimate]
    """Mean over seeds, lowest seed, highest seed."""
    exact: list[float] | None = None


def arm_styles(arms: Arms) -> dict[str, tuple[str, str]]:
    """Arm -> colour and marker, the same in all figures and tables."""
    return {arm.name: (COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]) for i, arm in enumerate(arms.arms)}


def panels(arms: Arms, axis: str) -> list[tuple[str, str, go.Figure]]:
    """(title, note, figure) of the small panels, against `steps` or `tokens`; those without data are left out."""
    large = f"pass@{arms.k}"
    all_panels = [
        ("Training accuracy", "higher is better; on each arm's own rollouts", _training(arms, "train/accuracy", axis)),
        ("pass@1", "higher is better", _probed(arms, "pass@1", axis)),
        (large, "higher is better", _probed(arms, large, axis)),
        ("delta_se", "lower is better", _probed(arms, "delta_se", axis)),
        ("Entropy of the rollouts", "nats per token, in training", _training(arms, "train/entropy", axis)),
        ("Length of the rollouts", "tokens, in training", _training(arms, "train/completion_length", axis)),
        ("Entropy of the probes", "nats per token, the same problems and decoding", _probed(arms, "entropy", axis)),
    ]
    return [(title, note, _panel(arms, curves, axis, percent=not title.startswith(("Entropy", "Length"))))
            for title, note, curves in all_panels if curves]


def curves_of_arms(arms: Arms) -> go.Figure:
    """pass@k over k of the base and of every arm at the last common step."""
    ks = _ks(arms)
    curves = [Curve(arm.name, list(ks), [_over_seeds(per_seed(arms, arm, arms.last_step, f"pass@{k}")) for k in ks])
              for arm in arms.arms]
    fig = figure(430, y_percent=True, legend="none", margin_r=LEGEND_WIDTH)
    base = [float(base_P(arms, k).mean()) for k in ks]
    fig.add_trace(go.Scatter(
        x=ks, y=base, name="base", mode="lines+markers", line={"color": BASE, "width": 3},
        marker={"color": BASE, "size": 6}, hovertemplate="base: pass@%{x} = %{y:.1%}<extra></extra>"))
    _curves(fig, arms, curves, "pass@%{x} = %{text}")
    top = max([*base, *(p.high for curve in curves for p in curve.points)])
    ends = {"base": base[-1]} | {curve.arm: curve.points[-1].value for curve in curves}
    _labels(fig, ends, arms, 0.0, min(1.03, top * 1.05), 376)
    log_k_axis(fig, ks)
    fig.update_yaxes(title_text="pass@k")
    return fig


def changes_of_arms(arms: Arms) -> go.Figure:
    """pass@k minus that of the base over k, in points, for every arm at the last common step; dashed: exactly."""
    ks, step = _ks(arms), arms.last_step
    curves = []
    for arm in arms.arms:
        points = []
        for k in ks:
            base = float(base_P(arms, k).mean())
            points.append(_over_seeds([100 * (x - base) for x in per_seed(arms, arm, step, f"pass@{k}")]))
        curves.append(Curve(arm.name, list(ks), points, _exact_change(arms, arm, ks)))
    fig = figure(330, legend="none", margin_r=LEGEND_WIDTH)
    fig.update_yaxes(zeroline=True, zerolinecolor=BASE, zerolinewidth=2)
    _curves(fig, arms, curves, "k = %{x}: %{text} points", percent=False)
    exact = [value for curve in curves for value in curve.exact or []]
    low, high = _limits([0.0, *exact, *(bound for c in curves for p in c.points for bound in (p.low, p.high))])
    _labels(fig, {curve.arm: curve.points[-1].value for curve in curves}, arms, low, high, 276)
    log_k_axis(fig, ks)
    fig.update_yaxes(title_text="change of pass@k, points")
    return fig


def _panel(arms: Arms, curves: Sequence[Curve], axis: str, *, percent: bool) -> go.Figure:
    longest = max(len(curve.arm) for curve in curves)
    room = 18 + 7 * min(longest, 14)  # a wide font takes 7 pixels a letter
    fig = figure(250, y_percent=percent, legend="none", margin_b=40, margin_l=52, margin_r=room)
    hover = "step %{x}: %{text}" if axis == "steps" else "%{x} tokens: %{text}"
    _curves(fig, arms, curves, hover, percent=percent, small=True)
    bounds = [bound for curve in curves for p in curve.points for bound in (p.value, p.low, p.high)]
    low, high = _limits(bounds, share=percent)
    _labels(fig, {curve.arm: curve.points[-1].value for curve in curves}, arms, low, high, 200)
    last = max(curve.x[-1] for curve in curves)
    fig.update_xaxes(title_text=AXES[axis], range=[-0.02 * last, 1.03 * last],
                     tickformat="~s" if axis == "tokens" else None)
    return fig


def _training(arms: Arms, name: str, axis: str) -> list[Curve]:
    """Curves of a training metric at the steps that all seeds of an arm logged, long ones in fewer points."""
    curves = []
    for arm in arms.arms:
        logged = [dict(zip(*run.series(name), strict=True)) for run in arm.runs]
        steps = sorted(set.intersection(*(set(values) for values in logged)))
        x = _axis(arm, steps, axis)
        if not steps or any(map(math.isnan, x)):
            continue
        bins = np.array_split(np.arange(len(steps)), min(POINTS, len(steps)))
        points = [_over_seeds([float(np.mean([values[steps[i]] for i in part])) for values in logged]) for part in bins]
        curves.append(Curve(arm.name, [float(np.mean([x[i] for i in part])) for part in bins], points))
    return curves


def _probed(arms: Arms, name: str, axis: str) -> list[Curve]:
    curves = []
    for arm in arms.arms:
        steps = probe_steps(arm)
        x, points = _axis(arm, steps, axis), [_over_seeds(per_seed(arms, arm, step, name)) for step in steps]
        if not any(map(math.isnan, [*x, *(p.value for p in points)])):
            curves.append(Curve(arm.name, x, points))
    return curves


def _axis(arm: Arm, steps: Sequence[int], axis: str) -> list[float]:
    return [float(step) for step in steps] if axis == "steps" else [tokens_at(arm, step) for step in steps]


def _over_seeds(values: Sequence[float]) -> Estimate:
    return Estimate(float(np.mean(values)), min(values), max(values))


def _curves(fig: go.Figure, arms: Arms, curves: Sequence[Curve], hover: str, *, percent: bool = True,
            small: bool = False) -> None:
    for curve in curves:
        colour, marker = arm_styles(arms)[curve.arm]
        if any(p.high > p.low for p in curve.points):
            add_band(fig, curve.x, curve.points, colour, alpha=0.1, group=curve.arm)
    for curve in curves:
        colour, marker = arm_styles(arms)[curve.arm]
        few = len(curve.x) <= 20
        fig.add_trace(go.Scatter(
            x=curve.x, y=[p.value for p in curve.points], name=curve.arm, legendgroup=curve.arm,
            mode="lines+markers" if few else "lines", line={"color": colour, "width": 1.75 if small else 2.25},
            marker={"color": colour, "symbol": marker, "size": 6 if small else 8},
            text=[_seeds(p, percent) for p in curve.points],
            hovertemplate=f"{curve.arm}, {hover}<extra></extra>"))
        if curve.exact is not None:
            fig.add_trace(go.Scatter(
                x=curve.x, y=curve.exact, name=f"{curve.arm}, exact", legendgroup=curve.arm, mode="lines",
                line={"color": colour, "dash": EXACT_DASH, "width": 1.25},
                hovertemplate=f"{curve.arm}, exact, k = %{{x}}: %{{y:.2f}} points<extra></extra>"))


def _seeds(p: Estimate, percent: bool) -> str:
    scale, unit = (100, "%") if percent else (1, "")
    several = f" (seeds {scale * p.low:.3g} to {scale * p.high:.3g})" if p.high > p.low else ""
    return f"{scale * p.value:.3g}{unit}{several}"


def _exact_change(arms: Arms, arm: Arm, ks: Sequence[int]) -> list[float] | None:
    base = arms.base.base.exact
    probes = [next(p for p in run.probes if p.step == arms.last_step) for run in arm.runs]
    names = [f"pass@{k}" for k in ks]
    if any(name not in exact for name in names for exact in (base, *(p.exact for p in probes))):
        return None
    return [100 * (float(np.mean([p.exact[name] for p in probes])) - base[name]) for name in names]


def _ks(arms: Arms) -> list[int]:
    common = set.intersection(*(set(run.ks) for run in arms.runs))
    return sorted(k for k in common if k <= arms.k)


def _limits(values: Sequence[float], *, share: bool = False) -> tuple[float, float]:
    """Ends of an axis that shows all values with a margin; of shares it stays within 0 and 1."""
    low, high = min(values), max(values)
    margin = 0.06 * (high - low) or 0.1 * abs(high) or 0.05
    if share:
        return max(low - margin, min(low, 0.0)), min(high + margin, max(high, 1.0))
    return low - margin, high + margin


def _labels(fig: go.Figure, ends: Mapping[str, float], arms: Arms, low: float, high: float, pixels: int) -> None:
    """Name every line at its end, right of the plot, and fix the y axis to [low, high]; labels never overlap.

    `pixels` is the height of the plot without its margins.
    """
    fig.update_yaxes(range=[low, high])
    places = spread(list(ends.values()), low, high, LABEL_PIXELS * (high - low) / pixels)
    for (name, _), place in zip(ends.items(), places, strict=True):
        colour = arm_styles(arms).get(name, (INK, ""))[0]
        text = name if len(name) <= 14 else f"{name[:13]}\N{HORIZONTAL ELLIPSIS}"
        fig.add_annotation(x=1, xref="paper", y=place, yref="y", text=text.replace("<", "&lt;"), showarrow=False,
                           xanchor="left", xshift=5, font={"size": 11, "color": BASE if name == "base" else colour})


def spread(values: Sequence[float], low: float, high: float, gap: float) -> list[float]:
    """Places for labels, at least `gap` apart and in the order of their values, as near to them as that allows.

    Labels that are too close form a block around the mean of their values; blocks that then touch are joined. The
    whole is shifted into [low, high] where it fits.
    """
    order = sorted(range(len(values)), key=lambda i: values[i])
    blocks: list[list[float]] = []  # values less their rank's share of the gaps, equal within a block
    for rank, i in enumerate(order):
        blocks.append([values[i] - rank * gap])
        while len(blocks) > 1 and np.mean(blocks[-2]) >= np.mean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    level = [float(np.mean(block)) for block in blocks for _ in block]
    places = [0.0] * len(values)
    most = high - (len(order) - 1) * gap
    for rank, i in enumerate(order):
        places[i] = max(min(level[rank], most), low) + rank * gap
    return places
