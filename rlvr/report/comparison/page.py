"""Finished runs as one self-contained HTML page that sets arms side by side, with its tables as Markdown and CSV."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlvr.report.comparison.arms import Arms, algorithm_of, load_arms, other_settings
from rlvr.report.comparison.figures import arm_styles, changes_of_arms, curves_of_arms, panels
from rlvr.report.comparison.folded import folded
from rlvr.report.comparison.front import LOSSES, Referee, referee
from rlvr.report.comparison.front_page import figure_of as front_figure
from rlvr.report.comparison.front_page import note as front_note
from rlvr.report.comparison.front_page import rows as front_rows
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
from rlvr.report.comparison.tables import TITLES, csv_text, dagger, markdown, set_rows, sets_text, terminal
from rlvr.report.comparison.words import (
    Finding,
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
from rlvr.report.export import how_measured
from rlvr.report.template import as_json, page_of
from rlvr.report.words import MISSING, number
from rlvr.types import UserError


def write_comparison(source: Sequence[Path] | Arms, output: Path, **how: Any) -> Path:
    """Write the page `output` and, beside it, its tables as .md and .csv; returns the page.

    Args:
        source: run directories, or what `load_arms` read of them.
        how: as in `load_arms`.

    Raises: UserError for runs that cannot be compared and for a page that cannot be written.
    """
    arms = _loaded(source, how)
    tables, sentences, pairs = _tables(arms), finding(arms), differences(arms)
    shown, front = _shown(arms, tables), referee(arms)
    texts = {
        output: _render(arms, shown, sentences, front, output.stem),
        output.with_suffix(".md"): markdown(arms, shown, pairs, sentences, front, how_measured(arms.base)),
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


def comparison_summary(source: Sequence[Path] | Arms, **how: Any) -> str:
    """The page's sentences and tables as plain text. Arguments and errors are those of `write_comparison`."""
    arms = _loaded(source, how)
    return terminal(arms, _shown(arms, _tables(arms)), finding(arms))


def _loaded(source: Sequence[Path] | Arms, how: Mapping[str, Any]) -> Arms:
    return source if isinstance(source, Arms) else load_arms(source, **how)


def _tables(arms: Arms) -> dict[str, list[Row]]:
    """Name in `TITLES` -> rows, the base first."""
    tables = {"equal_steps": [base_row(arms), *equal_steps(arms)]}
    if rows := equal_tokens(arms):
        tables["equal_tokens"] = [base_row(arms), *rows]
    if len(rows := by_step(arms)) > len(arms.arms):
        tables["by_step"] = [base_row(arms), *rows]
    return tables


def _shown(arms: Arms, tables: Mapping[str, list[Row]]) -> dict[str, list[Row]]:
    """The tables for readers: not the one at equal tokens where it would repeat the one at equal steps."""
    return {name: rows for name, rows in tables.items()
            if name != "equal_tokens" or any(row.step != arms.last_step for row in rows[1:])}


def _render(arms: Arms, tables: Mapping[str, list[Row]], sentences: Finding, front: Referee | None,
            title: str) -> str:
    return page_of(
        "comparison/compare",
        parts=("page", "comparison/compare"),
        title=_title(arms, title),
        finding=sentences,
        about=_about(arms),
        arms=arms,
        colours={name: colour for name, (colour, _) in arm_styles(arms).items()},
        metrics=metrics(arms),
        tables=[_table(arms, name, rows) for name, rows in tables.items()],
        over=over_text(tables["equal_steps"][1:]),
        tolerance=f"{TOLERANCE:.0%}",
        budget=count_text(token_budget(arms)),
        figures=_figures(arms, front),
        front=None if front is None else {
            "rows": front_rows(front), "note": front_note(front, arms.k), "reference": front.reference,
            "losses": [number(loss) for loss in LOSSES]},
        spread=", means over seeds; shaded: from the lowest seed to the highest" if len(arms.seeds) > 1 else "",
        pairs=_pairs(arms),
        alpha=f"{ALPHA:.0%}",
        efforts=_efforts(arms),
        settings=_settings(arms),
        measured=f"{how_measured(arms.base)} {seeds_text(arms)}",
        base_text=base_text(arms),
        padding=padding_text(arms),
        sets=_sets(arms),
    )


def _sets(arms: Arms) -> dict[str, Any] | None:
    """A row per probe set, and a section for each but the runs' own; None for runs with one set."""
    if not arms.sets:
        return None
    own, *others = arms.sets
    heads, rows = set_rows(arms)
    return {
        "own": own, "heads": heads, "rows": rows, "explained": sets_text(arms),
        "others": [{
            "name": name, "id": f"set-{name}", "arms": each, "metrics": metrics(each),
            "table": _table(each, "equal_steps", [base_row(each), *equal_steps(each)]) | {"id": f"set-{name}-table"},
            "measured": f"{how_measured(each.base)} {base_text(each)}",
        } for name in others for each in [arms.sets[name]]],
    }


def _title(arms: Arms, stem: str) -> str:
    names = {str(run.recipe.get("name") or "") for run in arms.runs}
    return names.pop() if len(names) == 1 and names != {""} else stem


def _about(arms: Arms) -> list[tuple[str, str]]:
    model = arms.base.recipe.get("model")
    commits = sorted({run.commit for run in arms.runs if run.git})
    pairs = [
        ("model", model.get("path") if isinstance(model, Mapping) else model),
        ("arms", len(arms.arms)), ("runs", len(arms.runs)),
        ("seeds" if len(arms.seeds) > 1 else "seed", ", ".join(map(str, arms.seeds))),
        ("compared at step", arms.last_step), ("commit", ", ".join(commits)),
    ]
    return [(label, str(value)) for label, value in pairs if value not in (None, "")]


def _table(arms: Arms, name: str, rows: Sequence[Row]) -> dict[str, Any]:
    """A table as words for the template."""
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
    """One row per pair of arms: (difference, exact, p, significant) at pass@1 and at the largest k."""
    rows: dict[tuple[str, str], list[Any]] = {}
    for d in differences(arms):
        exact = number(d.value.exact, signed=True)
        rows.setdefault((d.arm, d.other), []).append({
            "text": difference_text(d.value.estimate), "exact": "" if exact == MISSING else exact, "p": p_text(d.p),
            "significant": d.significant, "over": d.value.over,
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


def _figures(arms: Arms, front: Referee | None) -> dict[str, Any]:
    """Figures by name, the same against tokens, and the (name, title, note) of the panels."""
    plots = {"curves": curves_of_arms(arms), "change": changes_of_arms(arms), "folded": folded(arms)}
    for name, each in [*arms.sets.items()][1:]:
        plots |= {f"set-{name}-change": changes_of_arms(each), f"set-{name}-curves": curves_of_arms(each)}
    if front is not None:
        plots["front"] = front_figure(arms, front)
    names, alternatives = [], {}
    by_tokens = {title: fig for title, _, fig in panels(arms, "tokens")}
    for title, note, fig in panels(arms, "steps"):
        name = f"panel-{len(names)}"
        names.append((name, title, note))
        plots[name] = fig
        if title in by_tokens:
            alternatives[name] = by_tokens[title]
    return {"json": as_json(plots), "tokens": as_json(alternatives), "panels": names}
