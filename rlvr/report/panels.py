"""The small panels of a report: what moves over training steps, and the verdicts behind it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from rlvr.report.load import Run
from rlvr.report.style import BASE, EXACT_DASH, SECOND, THIRD, TRAINED, add_band, add_line, figure, interval_text
from rlvr.runs.files import read_jsonl


def panels(run: Run) -> list[tuple[str, str, go.Figure]]:
    """(title, which direction is better, figure) of the small panels over steps; those without data are left out."""
    k = run.k_max
    recorded = {name for probe in run.probes for name in probe.estimates}
    shrinkage_ks = [size for size in (k, k // 2, k // 4) if f"shrinkage@{size}" in recorded]
    shrinkage = {f"shrinkage@{size}": (f"k = {size}", colour)
                 for size, colour in zip(shrinkage_ks, (TRAINED, SECOND, THIRD), strict=False)}
    reward = {"train/reward": ("reward", THIRD), "train/accuracy": ("accuracy", TRAINED)}
    if run.series("train/reward") == run.series("train/accuracy"):
        reward.pop("train/reward")  # an accuracy-only reward would hide one line under the other
    found = [
        ("pass@1 and pass@" + str(k), "higher is better", over_steps(
            run, {"pass@1": ("pass@1", SECOND), f"pass@{k}": (f"pass@{k}", TRAINED)})),
        ("delta_se", "lower is better", over_steps(run, {"delta_se": ("delta_se", TRAINED)})),
        ("shrinkage@k", f"above 0: the boundary shrank; band: k = {k}", over_steps(
            run, shrinkage, zero=True, bare=list(shrinkage)[1:])),
        ("Entropies, nats", "per token, and of the answers to one problem; beside the boundary, never instead of it",
         over_steps(run, {"entropy": ("probe set", TRAINED), "answer_entropy": ("answers", SECOND)}, percent=False,
                    training={"train/entropy": ("rollouts", THIRD)})),
        ("Training reward", "higher is better", over_steps(run, {}, percent=False, training=reward)),
        ("Completion length, tokens", "no better direction", over_steps(
            run, {"length": ("probe", TRAINED)}, percent=False,
            training={"train/completion_length": ("training", THIRD)})),
        ("Critic: explained variance", "1 is perfect, 0 no better than a constant", over_steps(
            run, {}, percent=False, training={"train/explained_variance": ("explained variance", TRAINED)})),
        ("Dynamic sampling: prompts drawn", "only mixed groups are trained on", over_steps(run, {}, training={
            "train/mixed_group_frac": ("mixed", TRAINED), "train/all_wrong_frac": ("all wrong", THIRD),
            "train/all_right_frac": ("all right", SECOND)})),
        ("Perplexity of completions", "whose, read by whom; red as low as grey: the base could have written it",
         perplexities(run)),
    ]
    return [panel for panel in found if panel[2].data]


def perplexities(run: Run) -> go.Figure:
    """Quartiles over completions, whiskers from 10 to 90%, from perplexity.jsonl (`rlvr perplexity`); empty without."""
    fig = figure(300)
    groups: dict[tuple[str, str], dict[int, list[float]]] = {}
    for row in read_jsonl(run.path / "perplexity.jsonl"):
        if row["tokens"]:
            steps = groups.setdefault((row["texts"], row["model"]), {})
            steps.setdefault(row["step"], []).append(math.exp(row["nll"] / row["tokens"]))
    for (texts, model), (label, colour) in {
        ("base", "base"): ("base", BASE), ("reference", "base"): ("reference", "#9aa5b1"),
        ("trained", "base"): ("trained, by base", THIRD), ("trained", "trained"): ("trained", TRAINED),
    }.items():
        found = groups.get((texts, model), {})
        shape = [np.quantile(values, [0.1, 0.25, 0.5, 0.75, 0.9]).round(4).tolist() for values in found.values()]
        if shape:
            low, q1, median, q3, high = zip(*shape, strict=True)
            fig.add_trace(go.Box(x=[str(step) for step in found], lowerfence=low, q1=q1, median=median, q3=q3,
                                 upperfence=high, name=label, marker_color=colour, line_width=1.25))
    fig.update_layout(boxmode="group")
    fig.update_xaxes(title_text="training step", type="category")
    return fig


def over_steps(run: Run, curves: Mapping[str, tuple[str, str]], *, percent: bool = True,
               training: Mapping[str, tuple[str, str]] | None = None, zero: bool = False,
               bare: Collection[str] = ()) -> go.Figure:
    """A small panel over training steps.

    Args:
        curves: probe metric (`delta_se`) -> (label, colour); drawn with band, and dashed truth where known.
        training: metric of metrics.jsonl (`train/entropy`) -> (label, colour); drawn as a thin line.
        percent: values are fractions, shown in percent.
        zero: mark the line at 0.
        bare: curves drawn without their band, where several would cover each other.
    """
    named = len(curves) + sum(bool(run.series(name)[0]) for name in training or {})
    fig = figure(210, y_percent=percent, legend="top" if named > 1 else "none", **steps_axis(run))
    if zero:
        fig.update_yaxes(zeroline=True, zerolinecolor=BASE, zerolinewidth=1.5)
    for name, (label, colour) in (training or {}).items():
        steps, values = run.series(name)
        if steps:
            add_line(fig, steps, values, label, colour, width=1.25, markers=False,
                     hover=f"step %{{x}}: {label} %{{y:{'.1%' if percent else '.3g'}}}")
    for name, (label, colour) in curves.items():
        probes = [p for p in run.probes if not math.isnan(p.get(name).value)]
        if not probes:
            continue
        steps, values = [p.step for p in probes], [p.get(name) for p in probes]
        if name not in bare:
            add_band(fig, steps, values, colour)
        add_line(fig, steps, [e.value for e in values], label, colour,
                 hover=f"step %{{x}}: {label} %{{text}}", text=interval_text(values, percent=percent))
        known = [p for p in probes if name in p.exact]
        if known:
            add_line(fig, [p.step for p in known], [p.exact[name] for p in known], f"{label}, exact", colour,
                     dash=EXACT_DASH, width=1.5, markers=False, legend=False,
                     hover=f"step %{{x}}: {label}, exact %{{y:{'.2%' if percent else '.4g'}}}")
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

    None without training for fewer than two probes: the stacked verdicts show one value better.
    """
    steps, values = run.series("train/truncated_frac")
    if not steps and len(probe_rates) < 2:
        return None
    fig = figure(250, yaxis_rangemode="tozero", y_percent=True, **steps_axis(run))
    fig.update_yaxes(tickformat=".1%")
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
