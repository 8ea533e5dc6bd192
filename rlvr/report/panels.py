"""The small panels of a report: metrics over training steps, and the reasons of the verdicts."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from rlvr.report.changes import negative
from rlvr.report.figures import in_points
from rlvr.report.load import Run
from rlvr.report.style import (
    BASE,
    EXACT_DASH,
    SECOND,
    THIRD,
    TRAINED,
    add_band,
    add_line,
    extent,
    figure,
    interval_text,
)
from rlvr.runs.files import read_jsonl
from rlvr.types import Estimate

FloatArray = npt.NDArray[np.float64]
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


def panels(run: Run) -> list[tuple[str, str, go.Figure]]:
    """(title, note, figure) of the small panels over steps; those without data are left out."""
    k = run.k_max
    sizes = [size for size in (k, k // 2, k // 4) if any(f"shrinkage@{size}" in p.estimates for p in run.probes)]
    changes = {f"shrinkage@{size}": (f"k = {size}", colour)
               for size, colour in zip(sizes, (TRAINED, SECOND, THIRD), strict=False)}
    reward = {"train/reward": ("reward", THIRD), "train/accuracy": ("accuracy", TRAINED)}
    if run.series("train/reward") == run.series("train/accuracy"):
        reward.pop("train/reward")  # an accuracy-only reward would hide one line under the other
    all_panels = [
        ("pass@1", "higher is better", over_steps(run, {"pass@1": ("pass@1", TRAINED)})),
        (f"pass@{k}", "higher is better", over_steps(run, {f"pass@{k}": (f"pass@{k}", TRAINED)})),
        ("Change of pass@k, points", f"below 0 the boundary shrank; band: k = {k}", over_steps(
            run, changes, percent=False, zero=True, bare=list(changes)[1:], change=True)),
        ("delta_se", f"from pass@1 up to the base's pass@{k}; lower is better", over_steps(
            run, {"delta_se": ("delta_se", TRAINED)})),
        ("Entropy, nats", "per token, and of the answers to a problem", over_steps(
            run, {"entropy": ("probes", TRAINED), "answer_entropy": ("answers", SECOND)}, percent=False,
            training={"train/entropy": ("rollouts", THIRD)})),
        ("Training reward", "higher is better", over_steps(run, {}, percent=False, training=reward)),
        *_of_rollouts(run),
        ("Completion length, tokens", "neither direction is better", over_steps(
            run, {"length": ("probes", TRAINED)}, percent=False, span=2.0,
            training={"train/completion_length": ("rollouts", THIRD)})),
        ("Critic: explained variance", "1 is perfect, 0 no better than a constant", over_steps(
            run, {}, percent=False, training={"train/explained_variance": ("explained variance", TRAINED)})),
        ("Dynamic sampling: prompts drawn", "only mixed groups are trained on", over_steps(run, {}, training={
            "train/mixed_group_frac": ("mixed", TRAINED), "train/all_wrong_frac": ("all wrong", THIRD),
            "train/all_right_frac": ("all right", SECOND)})),
        ("Perplexity of completions", "where red is as low as grey, the base could have written them",
         perplexities(run)),
    ]
    return [panel for panel in all_panels if panel[2].data]


def _of_rollouts(run: Run) -> list[tuple[str, str, go.Figure]]:
    """pass@k of the training prompts beside the same of the probes, at the group size of the rollouts."""
    measured = [int(name.removeprefix("train/pass@")) for row in run.metrics for name in row
                if name.startswith("train/pass@")]
    if not measured:
        return []
    k, predicted = max(measured), "train/predicted_pass@256"
    return [
        (f"pass@{k} of training problems", "higher is better; the model learns from these", over_steps(
            run, {f"pass@{k}": ("probes", TRAINED)}, training={f"train/pass@{k}": ("rollouts", THIRD)})),
        ("pass@256 predicted from rollouts", "training problems; a Beta fit with its 95% interval", over_steps(
            run, {}, training={predicted: ("predicted", SECOND)})),
    ]


def perplexities(run: Run) -> go.Figure:
    """Medians over completions with thick quartiles and thin 10 to 90%, from perplexity.jsonl; empty without it."""
    fig = figure(300)
    groups: dict[tuple[str, str], dict[int, list[float]]] = {}
    for row in read_jsonl(run.path / "perplexity.jsonl"):
        if row["tokens"]:
            steps = groups.setdefault((row["texts"], row["model"]), {})
            steps.setdefault(row["step"], []).append(math.exp(row["nll"] / row["tokens"]))
    places = {step: i for i, step in enumerate(sorted({step for steps in groups.values() for step in steps}))}
    for shift, ((texts, model), (label, colour)) in enumerate({
        ("base", "base"): ("base", BASE), ("reference", "base"): ("reference", "#9aa5b1"),
        ("trained", "base"): ("trained, by base", THIRD), ("trained", "trained"): ("trained", TRAINED),
    }.items()):
        steps = groups.get((texts, model), {})
        if not steps:
            continue
        x = [places[step] + 0.16 * (shift - 1.5) for step in steps]
        p10, q1, median, q3, p90 = np.round([np.quantile(v, QUANTILES) for v in steps.values()], 4).T
        fig.add_trace(_ranges(x, median, p10, p90, label, colour, width=1.25))
        fig.add_trace(_ranges(x, median, q1, q3, label, colour, width=5))
    fig.update_xaxes(title_text="training step", tickvals=list(places.values()), ticktext=[str(s) for s in places])
    return fig


def _ranges(x: Sequence[float], middle: FloatArray, low: FloatArray, high: FloatArray, label: str, colour: str, *,
            width: float) -> go.Scatter:
    """Points with bars from low to high; the thick bars are named in the legend."""
    return go.Scatter(
        x=x, y=middle.tolist(), name=label, legendgroup=label, showlegend=width > 2, mode="markers",
        marker={"color": colour, "size": 8}, text=[f"{a:.3g} to {b:.3g}" for a, b in zip(low, high, strict=True)],
        hovertemplate=f"{label}: %{{y:.3g}}, {'half' if width > 2 else '80%'} within %{{text}}<extra></extra>",
        error_y={"type": "data", "symmetric": False, "array": (high - middle).tolist(),
                 "arrayminus": (middle - low).tolist(), "color": colour, "thickness": width, "width": 0},
    )


def over_steps(run: Run, curves: Mapping[str, tuple[str, str]], *, percent: bool = True,
               training: Mapping[str, tuple[str, str]] | None = None, zero: bool = False,
               bare: Collection[str] = (), change: bool = False, span: float = 0.0) -> go.Figure:
    """A small panel over training steps.

    Args:
        curves: probe metric (`delta_se`) -> (label, colour); drawn with band, and dashed exact values where known.
        training: metric of metrics.jsonl (`train/entropy`) -> (label, colour); drawn as a thin line, with a band if
            its `/low` and `/high` are there.
        percent: values are fractions, shown in percent.
        zero: mark the line at 0.
        bare: curves drawn without their band, where several would cover each other.
        change: draw the negative of each probe metric in points: the change of pass@k is recorded as its shrinkage.
        span: the vertical axis is at least so long, in units of the metric, so that a hair is not drawn as a mountain.
    """
    named = len(curves) + sum(bool(run.series(name)[0]) for name in training or {})
    fig = figure(210, y_percent=percent, legend="top" if named > 1 else "none", **steps_axis(run))
    if zero:
        fig.update_yaxes(zeroline=True, zerolinecolor=BASE, zerolinewidth=1.5)
    for name, (label, colour) in (training or {}).items():
        steps, values = run.series(name)
        if steps:
            low, high = (dict(zip(*run.series(f"{name}/{end}"), strict=True)) for end in ("low", "high"))
            add_band(fig, steps, [Estimate(value, low.get(step, math.nan), high.get(step, math.nan))
                                  for step, value in zip(steps, values, strict=True)], colour)
            add_line(fig, steps, values, label, colour, width=1.25, markers=False,
                     hover=f"step %{{x}}: {label} %{{y:{'.1%' if percent else '.3g'}}}")
    for name, (label, colour) in curves.items():
        probes = [p for p in run.probes if not math.isnan(p.get(name).value)]
        if not probes:
            continue
        steps, values = [p.step for p in probes], [p.get(name) for p in probes]
        if change:
            values = [in_points(negative(e)) for e in values]
        if name not in bare:
            add_band(fig, steps, values, colour)
        add_line(fig, steps, [e.value for e in values], label, colour,
                 hover=f"step %{{x}}: {label} %{{text}}", text=interval_text(values, percent=percent))
        known = [p for p in probes if name in p.exact]
        if known:
            exact = [-100 * p.exact[name] if change else p.exact[name] for p in known]
            add_line(fig, [p.step for p in known], exact, f"{label}, exact", colour, dash=EXACT_DASH, width=1.5,
                     markers=False, legend=False,
                     hover=f"step %{{x}}: {label}, exact %{{y:{'.2%' if percent else '.4g'}}}")
    low, high = extent(fig, "y")
    if high - low < span:
        fig.update_yaxes(range=[(low + high - span) / 2, (low + high + span) / 2])
    fig.update_xaxes(title_text="training step")
    return fig


def verdict_rates(steps: Sequence[int], rates: Mapping[str, Sequence[float]], colours: Mapping[str, str], *,
                  bars: bool) -> go.Figure:
    """Stacked shares of verdict reasons over steps, as bars (few steps) or areas (many)."""
    fig = figure(250, y_percent=True, legend="none", barmode="stack", bargap=0.35, yaxis_range=[0, 1.0], margin_b=38)
    for reason, values in rates.items():
        hover = f"step %{{x}}: {reason} %{{y:.1%}}<extra></extra>"
        if bars:
            fig.add_trace(go.Bar(x=[str(step) for step in steps], y=list(values), name=reason, hovertemplate=hover,
                                 marker={"color": colours[reason], "line": {"color": "white", "width": 0.5}}))
        else:
            fig.add_trace(go.Scatter(x=list(steps), y=list(values), name=reason, stackgroup="all", mode="lines",
                                     line={"width": 0.5, "color": "white"}, fillcolor=colours[reason],
                                     hovertemplate=hover))
    fig.update_xaxes(title_text="probe at step" if bars else "training step", type="category" if bars else "linear")
    return fig


def truncation(run: Run, probe_rates: Mapping[int, float]) -> go.Figure | None:
    """Share of completions cut at the token limit: in training (line) and in the probes (points).

    None for a single probe without training, whose one value the stacked verdicts show better.
    """
    steps, values = run.series("train/truncated_frac")
    if not steps and len(probe_rates) < 2:
        return None
    fig = figure(250, yaxis_rangemode="tozero", y_percent=True, **steps_axis(run))
    if steps:
        add_line(fig, steps, values, "training", SECOND, width=1.25, markers=False, hover="step %{x}: %{y:.2%}")
    if probe_rates:
        add_line(fig, list(probe_rates), list(probe_rates.values()), "probes", TRAINED, hover="step %{x}: %{y:.2%}")
    fig.update_xaxes(title_text="training step")
    return fig


def steps_axis(run: Run) -> dict[str, Any]:
    """The same axis of training steps in every panel, with room for the points at both ends."""
    last = max([probe.step for probe in run.probes] + [int(row["step"]) for row in run.metrics]) or 1
    return {"xaxis_range": [-0.03 * last, 1.03 * last], "margin_b": 38, "margin_l": 46}
