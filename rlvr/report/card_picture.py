"""The picture of a model card: pass@k over k of base and checkpoint, delta_se over the steps, both with intervals.

A PNG, as the hub shows no figure that needs a script. Drawn with matplotlib, which needs no browser.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlvr.report.load import Run
from rlvr.report.style import BASE, GRID, INK, MUTED, TRAINED
from rlvr.statistics.boundary_row import headline_k
from rlvr.types import Estimate


def draw(run: Run, path: Path) -> None:
    """Write the PNG, 1,600 by 600 pixels."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    with rc_context({"font.size": 9, "text.color": INK, "axes.labelcolor": MUTED, "xtick.color": MUTED,
                     "ytick.color": MUTED, "axes.edgecolor": GRID}):
        figure = Figure(figsize=(8, 3))
        # Fixed margins, for labels up to 100.00%: to measure all texts takes as long as to draw them.
        left, right = figure.subplots(1, 2, gridspec_kw={
            "left": 0.09, "right": 0.985, "bottom": 0.16, "top": 0.9, "wspace": 0.22})
        _line(left, run.ks, [run.base.get(f"pass@{k}") for k in run.ks], "base", BASE)
        if run.last is not None:
            _line(left, run.ks, [run.last.get(f"pass@{k}") for k in run.ks], f"step {run.last.step}", TRAINED)
        left.set_xscale("log", base=2)
        left.set_xticks(run.ks, [str(k) for k in run.ks])
        left.set(xlabel="k, tries per problem", title="pass@k")
        left.legend(frameon=False, loc="lower right")
        _line(right, [probe.step for probe in run.probes], [probe.get("delta_se") for probe in run.probes], "delta_se",
              TRAINED)
        right.set(xlabel="training step", title=f"delta_se = base pass@{headline_k(run.ks)} \N{MINUS SIGN} pass@1")
        for axes in (left, right):
            axes.set_ylim(bottom=0)
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
            axes.grid(axis="y", color=GRID)
            axes.set_axisbelow(True)
            axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, dpi=200, metadata={"Software": None})


def _line(axes: Any, x: Sequence[int], estimates: Sequence[Estimate], name: str, colour: str) -> None:
    axes.plot(x, [e.value for e in estimates], "o-", color=colour, markersize=3, linewidth=1.8, label=name)
    known = [(at, e) for at, e in zip(x, estimates, strict=True) if not math.isnan(e.low + e.high)]
    axes.fill_between([at for at, _ in known], [e.low for _, e in known], [e.high for _, e in known], color=colour,
                      alpha=0.15, linewidth=0)
