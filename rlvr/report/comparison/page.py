"""Finished runs as one self-contained HTML page that sets arms side by side, with its tables as Markdown and CSV."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlvr.report.comparison.arms import Arms, algorithm_of, load_arms, other_settings
from rlvr.report.comparison.standings import (
    ALPHA,
    TOLERANCE,
    Row,
    base_row,
    by_step,
    differences,
    efforts,
    equal_steps,
    equal_tokens,
    metrics,
    token_budget,
)
from rlvr.report.comparison.tables import TITLES, csv_text, dagger, markdown, terminal
from rlvr.report.comparison.words import (
    base_text,
    count_text,
    difference_text,
    finding,
    over_text,
    p_text,
    padding_text,
    seeds_text,
    value_text,
)
from rlvr.report.page import conditions
from rlvr.report.template import page_of
from rlvr.report.words import MISSING, number
from rlvr.types import UserError


def write_comparison(paths: Sequence[Path], output: Path, *, arms: Mapping[Path, str] | None = None,
                     missing: Sequence[str] = (), finished: bool = False) -> Path:
    """Write the page `output` and, beside it, its tables as .md and .csv; returns the page.

    Args:
        arms: run directory -> arm; without it the arms are told apart by their recipes.
        missing: runs that should be here and are not, in words.
        finished: leave out, and name, runs that are not finished instead of refusing them.

    Raises: UserError for runs that cannot be compared and for a page that cannot be written.
    """
    found = load_arms(paths, names=arms, missing=missing, finished=finished)
    tables = _tables(found)
    pairs, said = differences(found), finding(found, tables["equal_steps"][1:], tables.get("equal_tokens", [])[1:])
    texts = {
        output: _render(found, tables, output.stem),
        output.with_suffix(".md"): markdown(found, tables, pairs, said, conditions(found.base)),
        output.with_suffix(".csv"): csv_text(tables, pairs),
    }
    for path, text in texts.items():
        unfinished = path.with_name(f"{path.name}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished.write_bytes(text.encode("utf-8", errors="replace"))
            unfinished.replace(path)  # a reader never sees half a page
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            raise UserError(f"{path}: cannot be written ({error.strerror}); choose another -o") from None
    return output


def comparison_summary(paths: Sequence[Path], *, arms: Mapping[Path, str] | None = None,
                       missing: Sequence[str] = (), finished: bool = False) -> str:
    """The page's sentences and tables as plain text. Arguments and errors are those of `write_comparison`."""
    found = load_arms(paths, names=arms, missing=missing, finished=finished)
    tables = _tables(found)
    return terminal(found, tables, finding(found, tables["equal_steps"][1:], tables.get("equal_tokens", [])[1:]))


def _tables(arms: Arms) -> dict[str, list[Row]]:
    """Name in `TITLES` -> rows, the base first."""
    tables = {"equal_steps": [base_row(arms), *equal_steps(arms)]}
    if rows := equal_tokens(arms):
        tables["equal_tokens"] = [base_row(arms), *rows]
    if len(rows := by_step(arms)) > len(arms.arms):
        tables["by_step"] = [base_row(arms), *rows]
    return tables


def _render(arms: Arms, tables: Mapping[str, list[Row]], title: str) -> str:
    from rlvr.report.comparison.figures import looks

    return page_of(
        "compare",
        parts=("page", "compare"),
        title=_title(arms, title),
        finding=finding(arms, tables["equal_steps"][1:], tables.get("equal_tokens", [])[1:]),
        about=_about(arms),
        arms=arms,
        colours={name: colour for name, (colour, _) in looks(arms).items()},
        metrics=metrics(arms),
        tables=[_table(arms, name, rows) for name, rows in tables.items()],
        over=over_text(tables["equal_steps"][1:]),
        tolerance=f"{TOLERANCE:.0%}",
        budget=count_text(token_budget(arms)),
        figures=_figures(arms),
        pairs=_pairs(arms),
        alpha=f"{ALPHA:.0%}",
        efforts=_efforts(arms),
        settings=_settings(arms),
        conditions=f"{conditions(arms.base).rstrip('.')}; {seeds_text(arms)}.",
        base_text=base_text(arms),
        padding=padding_text(arms),
    )


def _title(arms: Arms, stem: str) -> str:
    names = {str(run.recipe.get("name") or "") for run in arms.runs}
    return names.pop() if len(names) == 1 and names != {""} else stem


def _about(arms: Arms) -> list[tuple[str, str]]:
    model = arms.base.recipe.get("model")
    commits = sorted({run.git[:10] for run in arms.runs if run.git})
    found = [
        ("model", model.get("path") if isinstance(model, Mapping) else model),
        ("arms", len(arms.arms)), ("runs", len(arms.runs)), ("seeds", ", ".join(map(str, arms.seeds))),
        ("compared at step", arms.last_step), ("commit", ", ".join(commits)),
    ]
    return [(label, str(value)) for label, value in found if value not in (None, "")]


def _table(arms: Arms, name: str, rows: Sequence[Row]) -> dict[str, Any]:
    """One table as words for the template."""
    body = []
    for row in rows:
        cells = []
        for metric in metrics(arms):
            value = row.values.get(metric.name)
            text, bounds, exact = value_text(metric, value) if value else (MISSING, "", "")
            cells.append((text, bounds + (dagger(row, value.over) if value else ""), exact))
        step = MISSING if row.step is None else str(row.step)
        body.append({
            "name": row.name, "seeds": row.seeds, "step": step, "tokens": count_text(row.tokens), "cells": cells,
        })
    return {"id": name, "title": TITLES[name], "rows": body}


def _pairs(arms: Arms) -> list[dict[str, Any]]:
    """One row per pair of arms: (difference, exact, p, resolved) at pass@1 and at the largest k."""
    rows: dict[tuple[str, str], list[Any]] = {}
    for d in differences(arms):
        exact = number(d.value.exact, signed=True)
        rows.setdefault((d.arm, d.other), []).append({
            "text": difference_text(d.value.estimate), "exact": "" if exact == MISSING else exact, "p": p_text(d.p),
            "resolved": d.resolved, "over": d.value.over,
        })
    return [{"arm": arm, "other": other, "cells": cells} for (arm, other), cells in rows.items()]


def _efforts(arms: Arms) -> list[list[str]]:
    rows = []
    for e in efforts(arms):
        ratio = e.generated / e.used if e.used else float("nan")
        rows.append([
            e.name, str(e.steps), count_text(e.generated), count_text(e.used),
            MISSING if ratio != ratio else f"{ratio:.2f}", count_text(e.tokens),
            MISSING if e.seconds != e.seconds else f"{e.seconds / 60:.1f}",
        ])
    return rows


def _settings(arms: Arms) -> list[tuple[str, str, str]]:
    """(arm, its algorithm section, what else differs from other arms) as words."""
    others = other_settings(arms)
    rows = []
    for arm in arms.arms:
        algorithm = arm.runs[0].recipe.get("algorithm")
        keys = algorithm if isinstance(algorithm, Mapping) else {}
        own = ", ".join(f"{key}: {json.dumps(value)}" for key, value in keys.items() if key != "name")
        rest = "; ".join(f"{key}: {json.dumps(values[arm.name])}" for key, values in others.items())
        rows.append((arm.name, f"{algorithm_of(arm.runs[0])}{f' ({own})' if own else ''}", rest))
    return rows


def _figures(arms: Arms) -> dict[str, Any]:
    """Figures by name, the same against tokens, and the (name, title, note) of the panels."""
    from rlvr.report.comparison import figures as drawn
    from rlvr.report.comparison.folded import folded
    from rlvr.report.style import settle_percent_ticks

    plots = {"curves": drawn.pass_at_k(arms), "change": drawn.change_by_k(arms), "folded": folded(arms)}
    names, alternatives = [], {}
    by_tokens = {title: fig for title, _, fig in drawn.panels(arms, "tokens")}
    for title, note, fig in drawn.panels(arms, "steps"):
        name = f"panel-{len(names)}"
        names.append((name, title, note))
        plots[name] = fig
        if title in by_tokens:
            alternatives[name] = by_tokens[title]
    ready = [{name: json.loads(settle_percent_ticks(fig).to_json() or "") for name, fig in some.items()}
             for some in (plots, alternatives)]
    return {"json": ready[0], "tokens": ready[1], "panels": names}
