"""A W&B dashboard as code: the saved workspace of some runs, and the report of a comparison, built of what they log.

A panel is made only for keys that at least one of the runs has. W&B shades an area only over the runs of a group: so
panels by arm shade the range over seeds; the interval of one run is dotted in its panel and shaded in `figures/...`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr.runs.metrics import flat_boundary
from rlvr.runs.run_dir import RunDir, read_jsonl
from rlvr.types import UserError

MEDIA = ("figures/delta_se", "figures/pass@1", "figures/pass@k_max", "figures/pass@k", "figures/change",
         "figures/accuracies")
"""Figures that a probe logs, in the order in which the dashboard shows them."""
TABLES, ROLLOUTS = ("boundary/samples", "boundary/ledger"), ("train/rollouts",)
BESIDE = ("entropy", "length", "format_rate", "distinct_answers", "distinct_at_8", "answer_entropy",
          "answer_agreement")
FIRST = tuple(f"train/{name}" for name in (
    "accuracy", "entropy", "completion_length", "truncated_frac", "zero_signal_frac", "grad_norm", "loss", "reward"))
"""What a section of 20 panels and more begins with: is anything learned, and does it go wrong."""
COLUMNS = 4
"""Of a section: two metrics of the boundary a row, each by arm and with its interval."""
WHOLE = ("Overview", "Probe set")
"""Sections with all panels on one page; the others show two rows at a time."""
BY_GROUP, BY_ALGORITHM = "Group", "recipe.algorithm.name"


@dataclass(frozen=True)
class Logged:
    """What the dashboard must know of a run."""

    run_id: str
    """Its id in W&B; empty without W&B."""
    group: str | None
    project: str
    entity: str | None
    keys: frozenset[str]
    """Of its scalars."""
    rollouts: bool = False
    """Whether it kept rollouts, which are a table."""


def logged(run_dir: Path) -> Logged:
    """Read a run directory. Raises UserError for one that holds no metrics yet."""
    files = RunDir(run_dir)
    recipe = files.read_recipe()["recipe"]
    tracking, further = recipe.get("tracking") or {}, files.sets
    own = next(iter(recipe["data"]["probe"])) if further else ""  # of several probe sets the first, the run's own
    keys: set[str] = {key for row in read_jsonl(files.metrics) for key in row if key != "step"}
    for name, home in {own: files, **further}.items():
        for row in read_jsonl(home.boundary):
            keys |= flat_boundary(row, name).keys()
    for name, arm in files.arms.items():
        for row in read_jsonl(arm.boundary):
            keys |= {f"arms/{name}/{key.removeprefix('boundary/')}" for key in flat_boundary(row)}
    if not keys:
        raise UserError(f"{run_dir}: found no metrics and no finished probe, so there is nothing to show yet")
    return Logged(files.wandb_id, tracking.get("group"),
                  tracking.get("project") or "rlvr", tracking.get("entity"), frozenset(keys),
                  bool(files.rollout_steps()))


def workspace(runs: Sequence[Logged], *, name: str, entity: str, project: str) -> Any:
    """The `wandb_workspaces.workspaces.Workspace` of these runs, not saved."""
    import wandb_workspaces.expr as expr
    import wandb_workspaces.workspaces as ws

    ids = [run.run_id for run in runs if run.run_id]
    return ws.Workspace(
        entity=entity, project=project, name=name,
        sections=[ws.Section(name=title, panels=panels, is_open=number < 2, layout_settings=ws.SectionLayoutSettings(
                      columns=COLUMNS, rows=math.ceil(len(panels) / COLUMNS) if title.startswith(WHOLE) else 2))
                  for number, (title, panels) in enumerate(sections(runs))],
        settings=ws.WorkspaceSettings(x_axis="step", max_runs=max(10, len(ids)), sort_panels_alphabetically=False),
        runset_settings=ws.RunsetSettings(filters=[expr.Metric("ID").isin(ids)] if ids else []),
    )


def report(runs: Sequence[Logged], *, name: str, entity: str, project: str, text: str) -> Any:
    """The W&B report of a comparison, not saved: its tables as `text` (Markdown), then the panels of the overview."""
    import wandb_workspaces.expr as expr
    import wandb_workspaces.reports.v2.interface as wr

    ids = [run.run_id for run in runs if run.run_id]
    runset = wr.Runset(entity=entity, project=project, name="runs",
                       filters=[expr.Metric("ID").isin(ids)] if ids else "")
    blocks: list[Any] = [wr.MarkdownBlock(text)]
    for title, panels in list(sections(runs))[:2]:
        blocks += [wr.H2(title), wr.PanelGrid(runsets=[runset], panels=placed(panels))]
    return wr.Report(entity=entity, project=project, title=name[:128], description="Made by rlvr.", blocks=blocks,
                     width="fluid")


def placed(panels: Sequence[Any]) -> list[Any]:
    """Panels of a report in rows of three; W&B lays out those of a workspace itself."""
    import wandb_workspaces.reports.v2.interface as wr

    for index, panel in enumerate(panels):
        panel.layout = wr.Layout(x=8 * (index % 3), y=6 * (index // 3), w=8, h=6)
    return list(panels)


def sections(runs: Sequence[Logged]) -> Iterator[tuple[str, list[Any]]]:
    """(title, panels): overview, a section per probe set where there are several, training, verdict reasons, further
    measurements, performance, a section per probe under another condition. Sections without panels are left out."""
    keys = sorted({key for run in runs for key in run.keys})
    build = _Panels(set(keys), [run.run_id for run in runs if run.run_id],
                    BY_GROUP if all(run.group for run in runs) else BY_ALGORITHM)
    sets = sorted({key.split("/")[1] for key in keys if re.fullmatch("boundary/[^/]+/delta_se", key)})
    conditions = sorted({key.split("/")[1] for key in keys if key.startswith("arms/")})
    tables = TABLES if "boundary/delta_se" in keys else ()
    found = [
        ("Overview", [*build.boundary("boundary/"), *build.shares(), *build.media(MEDIA)]),
        *((f"Probe set: {name}", [*build.boundary(f"boundary/{name}/"), *build.media(
            [figure.replace("/", f"/{name}/") for figure in MEDIA], f"{name}/")]) for name in sets),
        ("Training", [*build.each(dict.fromkeys([*FIRST, *(key for key in keys if key.startswith("train/"))])),
                      *build.tables(ROLLOUTS if any(run.rollouts for run in runs) else ())]),
        ("Verdict reasons", build.each(key for key in keys if key.startswith("verdict/"))),
        ("Beside the boundary", [*build.each(f"boundary/{name}" for name in BESIDE), *build.tables(tables)]),
        ("Performance", build.each(key for key in keys if key.startswith("perf/"))),
        *((f"Probe: {name}", list(build.boundary(f"arms/{name}/"))) for name in conditions),
    ]
    yield from ((title, panels) for title, panels in found if panels)


class _Panels:
    """Makes panels of those of the wanted keys that there are."""

    def __init__(self, keys: set[str], run_ids: Sequence[str], grouping: str) -> None:
        import wandb_workspaces.reports.v2 as wr

        self.wr, self.keys, self.run_ids = wr, keys, run_ids
        self.grouping = grouping if grouping == BY_GROUP else wr.Config(grouping)

    def boundary(self, prefix: str) -> Iterator[Any]:
        """delta_se, pass@1, pass@k and shrinkage@k at the largest k, each by arm and with its interval; the verdict."""
        ks = [int(key.split("@")[1]) for key in self.keys
              if key.startswith(f"{prefix}shrinkage@") and key.count("/") == prefix.count("/")]
        largest = [f"pass@{max(ks)}", f"shrinkage@{max(ks)}"] if ks else []
        for name in ("delta_se", "pass@1", *largest):
            yield from self.each([prefix + name])
            yield from self.with_bounds(prefix + name)
        if ks and (key := f"{prefix}verdict@{max(ks)}") in self.keys:
            yield self.wr.LinePlot(title=f"{key}: 1 shrunk, 0 undecided, -1 not shrunk", x="step", y=[key],
                                   range_y=(-1.1, 1.1))

    def each(self, keys: Iterable[str]) -> list[Any]:
        """One panel per key: the mean over the seeds of an arm, shaded from the lowest to the highest seed."""
        return [self.wr.LinePlot(title=key, x="step", y=[key], groupby=self.grouping, groupby_aggfunc="mean",
                                 groupby_rangefunc="minmax")
                for key in keys if key in self.keys]

    def with_bounds(self, key: str) -> Iterator[Any]:
        """A panel of every run by itself, with the bounds of its 95% interval dotted."""
        bounds = [bound for bound in (f"{key}/low", f"{key}/high") if bound in self.keys]
        if bounds:
            dotted = {f"{run_id}:{bound}": "dotted" for run_id in self.run_ids for bound in bounds}
            yield self.wr.LinePlot(title=f"{key} with its 95% interval", x="step", y=[key, *bounds],
                                   line_marks=dotted or None)

    def shares(self) -> Iterator[Any]:
        shown = [key for key in ("boundary/token_share", "boundary/budget_share") if key in self.keys]
        if shown:
            yield self.wr.LinePlot(title="probes, share of all generated tokens", x="step", y=shown)

    def media(self, names: Sequence[str], of_set: str = "") -> Iterator[Any]:
        """What probes log as figures."""
        if f"boundary/{of_set}delta_se" in self.keys:
            yield from (self.wr.MediaBrowser(title=name, media_keys=[name]) for name in names)

    def tables(self, names: Sequence[str]) -> Iterator[Any]:
        yield from (self.wr.WeavePanelSummaryTable(table_name=name) for name in names)
