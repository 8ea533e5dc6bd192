"""A picture of a dashboard from its definition: sections and panels where W&B puts them, with the lines of the runs.

What cannot be drawn without W&B (figures, tables) is a box with its name. Drawn with matplotlib, which needs no browser
and no network.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rlvr.report.comparison.figures import COLOURS
from rlvr.report.style import GRID, INK, MUTED
from rlvr.runs.metrics import flat_boundary
from rlvr.runs.run_dir import RunDir, flat, read_jsonl

WIDTH, HEAD, PANEL = 14.0, 0.42, 2.1
"""Inches: of the picture, and the heights of a section's head and of a row of panels."""

Line = list[tuple[float, float]]


def draw(definition: Path, path: Path) -> None:
    """Write the PNG of the dashboard whose definition is in this file; its runs are read from where it says."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    content = json.loads(definition.read_text(encoding="utf-8"))
    runs = {name: RunLines(RunDir(name)) for name in content["runs"]}
    sections = content["workspace"]["section"]["panelBankConfig"]["sections"]
    heights = [HEAD + PANEL * _rows(section) for section in sections]
    with rc_context({"font.size": 7.5, "text.color": INK, "axes.labelcolor": MUTED, "xtick.color": MUTED,
                     "ytick.color": MUTED, "axes.edgecolor": GRID, "axes.titlesize": 8,
                     "axes.formatter.useoffset": False}):
        figure = Figure(figsize=(WIDTH, sum(heights) + HEAD))
        figure.text(0.01, 1 - 0.25 / (sum(heights) + HEAD), content["name"], fontsize=12, weight="bold")
        parts = figure.subfigures(len(sections) + 1, 1, height_ratios=[HEAD, *heights], squeeze=False)[1:, 0]
        for part, section in zip(parts, sections, strict=True):
            _section(part, section, runs)
        figure.savefig(path, dpi=110, metadata={"Software": None})


class RunLines:
    """What one run logged: its line of every key, and what panels are grouped by."""

    def __init__(self, run_dir: RunDir) -> None:
        found: defaultdict[str, Line] = defaultdict(list)
        for row in read_jsonl(run_dir.metrics):
            for key, value in row.items():
                found[key].append((row["step"], math.nan if value is None else value))
        recipe = run_dir.read_recipe()["recipe"]
        own = next(iter(recipe["data"]["probe"])) if run_dir.sets else ""
        for name, home in {own: run_dir, **run_dir.sets}.items():
            for row in read_jsonl(home.boundary):
                for key, value in flat_boundary(row, name).items():
                    found[key].append((row["step"], value))
        for name, arm in run_dir.arms.items():
            for row in read_jsonl(arm.boundary):
                for key, value in flat_boundary(row).items():
                    found[f"arms/{name}/{key.removeprefix('boundary/')}"].append((row["step"], value))
        self.of_key: Mapping[str, Line] = found
        self._recipe = flat(recipe)
        self.name = run_dir.path.name

    def group(self, by: str) -> str:
        """Its value of what W&B groups by: `group`, or a key of the recipe as `recipe.value.KEY`."""
        key = "tracking.group" if by == "group" else by.removeprefix("recipe.value.")
        return str(self._recipe.get(key))


def _rows(section: Mapping[str, Any]) -> int:
    """Rows of panels on the first page of a section; 0 for a closed one."""
    page = section["flowConfig"]
    return min(page["rowsPerPage"], math.ceil(len(section["panels"]) / page["columnsPerPage"])) * section["isOpen"]


def _section(part: Any, section: Mapping[str, Any], runs: Mapping[str, RunLines]) -> None:
    rows, columns, count = _rows(section), section["flowConfig"]["columnsPerPage"], len(section["panels"])
    height = HEAD + PANEL * rows
    shown = section["panels"][: rows * columns]
    part.set_facecolor("#f6f7f9" if not rows else "white")
    mark = "\N{BLACK DOWN-POINTING TRIANGLE}" if rows else "\N{BLACK RIGHT-POINTING TRIANGLE}"
    whole = f"{count} panel{'' if count == 1 else 's'}"
    note = f"1-{len(shown)} of {count}" if 0 < len(shown) < count else whole
    part.text(0.01, 1 - 0.5 * HEAD / height, f"{mark}  {section['name']}", fontsize=10, weight="bold", va="center")
    part.text(0.99, 1 - 0.5 * HEAD / height, note, color=MUTED, ha="right", va="center")
    if rows:
        grid = part.subplots(rows, columns, squeeze=False, gridspec_kw={
            "left": 0.035, "right": 0.99, "top": 1 - (HEAD + 0.22) / height, "bottom": 0.3 / height, "wspace": 0.22,
            "hspace": 0.42})
        for axes, panel in zip(grid.flat, [*shown, *[None] * (rows * columns - len(shown))], strict=True):
            _panel(axes, panel, runs)


def _panel(axes: Any, panel: Mapping[str, Any] | None, runs: Mapping[str, RunLines]) -> None:
    if panel is None:
        axes.axis("off")
        return
    from matplotlib.ticker import MaxNLocator

    config = panel["config"]
    title = str(config.get("chartTitle") or "table").replace(": ", ":\n")
    axes.set_title(title, loc="left", color=INK)
    if panel["viewType"] != "Run History Line Plot":
        kind = "a figure of each run" if panel["viewType"] == "Media Browser" else "a table of the runs"
        axes.text(0.5, 0.5, kind, ha="center", va="center", color=MUTED, transform=axes.transAxes)
        axes.set(xticks=[], yticks=[])
        return
    for number, (label, low, line, high) in enumerate(lines_of(config, runs)):
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(*zip(*line, strict=True), color=colour, linewidth=1.3, label=label,
                  marker="o" if len(line) < 20 else None, markersize=2.5)
        if config.get("groupBy"):
            axes.fill_between([x for x, _ in low], [y for _, y in low], [y for _, y in high], color=colour, alpha=0.15,
                              linewidth=0)
        else:
            for bound in (low, high):
                axes.plot(*zip(*bound, strict=True), color=colour, linewidth=0.9, linestyle="dotted")
    axes.set_ylim(config.get("yAxisMin"), config.get("yAxisMax"))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.legend(frameon=False, fontsize=5.5, ncols=2, loc="best")
    axes.grid(axis="y", color=GRID)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def lines_of(config: Mapping[str, Any], runs: Mapping[str, RunLines]) -> Iterator[tuple[str, Line, Line, Line]]:
    """(label, low, line, high) of every line: a group with its range over runs, or a run with its first metric and the
    bounds that the panel draws beside it."""
    key, *beside = config["metrics"]
    if by := config.get("groupBy"):
        groups: defaultdict[str, list[RunLines]] = defaultdict(list)
        for run in runs.values():
            groups[run.group(by)].append(run)
        for name, members in groups.items():
            points: defaultdict[float, list[float]] = defaultdict(list)
            for x, y in (point for run in members for point in run.of_key.get(key, ())):
                points[x].append(y)
            if points:
                of = sorted(points.items())
                yield (name, [(x, min(ys)) for x, ys in of], [(x, math.fsum(ys) / len(ys)) for x, ys in of],
                       [(x, max(ys)) for x, ys in of])
        return
    for run in runs.values():
        if line := run.of_key.get(key):
            low, high = (run.of_key.get(one, line) for one in (beside if len(beside) == 2 else (key, key)))
            yield run.name, low, line, high
