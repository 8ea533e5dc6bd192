"""The tables of a comparison for other programs and other readers: Markdown, CSV, a terminal."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence

from rlvr.report.comparison.arms import Arms
from rlvr.report.comparison.front import Referee
from rlvr.report.comparison.front_page import markdown as front_markdown
from rlvr.report.comparison.standings import ALPHA, PROBLEMS, Difference, Metric, Row, changes_over_sets, metrics
from rlvr.report.comparison.words import (
    Finding,
    base_text,
    count_text,
    difference_text,
    over_text,
    p_text,
    padding_text,
    seeds_text,
    value_text,
)
from rlvr.report.export import without_empty
from rlvr.report.summary import aligned, plain, wrapped
from rlvr.report.words import MISSING, number

FIELDS = ("table", "arm", "other", "seeds", "step", "generated_tokens", "metric", "value", "low", "high",
          "interval_over", "exact", "p_adjusted", "resolved")
"""Columns of compare.csv. Values are fractions (entropy: nats); a difference is `arm` minus `other`."""
TITLES = {"equal_steps": "At equal steps", "equal_tokens": "At equal generated tokens", "by_step": "Step by step"}


def markdown(arms: Arms, tables: dict[str, list[Row]], pairs: Sequence[Difference], finding: Finding,
             front: Referee | None, how: str) -> str:
    """compare.md: the sentences and the tables, as a pull request or a notebook shows them."""
    lines = [f"# {' / '.join(arm.name for arm in arms.arms)}", "", finding.sentence, ""]
    lines += [f"- {note}" for note in finding.notes]
    columns = metrics(arms)
    for name, rows in tables.items():
        heads = ["", "step", "tokens", *(_head(metric) for metric in columns)]
        body = [[_name(row), _step(row), count_text(row.tokens), *(_cell(m, row, exact=True) for m in columns)]
                for row in rows]
        lines += ["", f"## {TITLES[name]}", "", *_pipes(heads, body)]
    lines += ["", f"{over_text(tables['equal_steps'][1:])} pass@k in percent, differences in points, entropy in nats."]
    if front is not None:
        lines += ["", "## How much pass@1 for how much of the boundary", "", *front_markdown(front, arms.k)]
    if pairs:
        body = [[f"{d.arm} - {d.other}", d.metric, difference_text(d.value.estimate), p_text(d.p),
                 "significant" if d.significant else "not significant", number(d.value.exact, signed=True)]
                for d in pairs]
        lines += ["", "## Arm against arm", "",
                  *_pipes(*without_empty(["pair", "metric", "difference, points", "p (Holm)", "at 5%", "exact"], body)),
                  "", padding_text(arms)]
    return plain("\n".join([*lines, *_over_sets(arms), "", base_text(arms), "", f"{how} {seeds_text(arms)}", ""]))


def set_rows(arms: Arms) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of the table over probe sets: per set and arm the changes of pass@1 and pass@k against the base,
    those marked that are significant by `changes_over_sets`."""
    rows = []
    for name, of_set in changes_over_sets(arms.sets).items():
        each = arms.sets[name]
        cells = []
        for arm in each.arms:
            found = [f"{d.metric} {number(d.value.estimate.value, signed=True)}{'*' * d.significant}"
                     for d in of_set if d.arm == arm.name]
            cells.append(", ".join(found))
        rows.append([name, str(len(each.base.rows[each.base.base.step])), str(each.last_step), *cells])
    return ["probe set", "problems", "step", *(arm.name for arm in arms.arms)], rows


def sets_text(arms: Arms) -> str:
    """What the marks of that table mean."""
    total = sum(2 * len(each.arms) for each in arms.sets.values())
    return (f"Change against the base in points. * significant at {ALPHA:.0%} after Holm's correction over the {total} "
            "changes of all sets, arms and k.")


def _over_sets(arms: Arms) -> list[str]:
    if not arms.sets:
        return []
    own = next(iter(arms.sets))
    return ["", "## Probe sets", "", *_pipes(*set_rows(arms)), "",
            f"{sets_text(arms)} Everything else in this file is of {own}, the runs' own set."]


def csv_text(tables: dict[str, list[Row]], pairs: Sequence[Difference]) -> str:
    """compare.csv: one line per number, unrounded; empty where unknown."""
    file = io.StringIO()
    writer = csv.DictWriter(file, FIELDS, restval="", lineterminator="\n")
    writer.writeheader()
    for table, rows in tables.items():
        for row in rows:
            for metric, value in row.values.items():
                writer.writerow({
                    "table": table, "arm": row.name, "seeds": row.seeds, "step": row.step,
                    "generated_tokens": _blank(row.tokens), "metric": metric, "value": _blank(value.estimate.value),
                    "low": _blank(value.estimate.low), "high": _blank(value.estimate.high),
                    "interval_over": value.over, "exact": _blank(value.exact),
                })
    for d in pairs:
        e = d.value.estimate
        writer.writerow({
            "table": "differences", "arm": d.arm, "other": d.other, "metric": d.metric, "value": _blank(e.value),
            "low": _blank(e.low), "high": _blank(e.high), "interval_over": d.value.over,
            "exact": _blank(d.value.exact), "p_adjusted": _blank(d.p), "resolved": str(d.significant).lower(),
        })
    return file.getvalue()


def terminal(arms: Arms, tables: dict[str, list[Row]], finding: Finding) -> str:
    """The sentences and the tables as plain text."""
    columns = metrics(arms)
    lines = [*wrapped(finding.sentence), *(line for note in finding.notes for line in wrapped(note))]
    for name, rows in tables.items():
        if name == "by_step":
            continue  # too long for a terminal
        heads = ["", "step", "tokens", *(metric.title for metric in columns)]
        body = []
        for row in rows:
            cells = [_cell(m, row, bare=not m.percent) for m in columns]  # fits 120 columns
            body.append([row.name, _step(row), count_text(row.tokens), *cells])
            exact = [value_text(m, row.values[m.name])[2] if m.name in row.values else "" for m in columns]
            if any(exact):
                body.append(["  exact", "", "", *exact])
        lines += ["", f"{TITLES[name]}:", *aligned(heads, body)]
    lines += ["", *wrapped(f"Percent, points, nats (entropy). {over_text(tables['equal_steps'][1:])} Higher is better, "
                           "except for delta_se; entropy has no better direction."),
              *wrapped(base_text(arms))]
    if arms.sets:
        heads, rows = set_rows(arms)
        lines += [""]
        for name, problems, step, *cells in rows:
            said = "; ".join(f"{arm} {cell}" for arm, cell in zip(heads[3:], cells, strict=True))
            lines += wrapped(f"{name} ({problems} problems, step {step}): {said}")
        lines += wrapped(sets_text(arms))
    return plain("\n".join(lines)).replace("\N{DAGGER}", "*") + "\n"


def _head(metric: Metric) -> str:
    return f"{metric.title} ({metric.better} is better)" if metric.better else metric.title


def _name(row: Row) -> str:
    return row.name if row.seeds == 0 else f"{row.name} ({row.seeds} seed{'s' if row.seeds > 1 else ''})"


def _step(row: Row) -> str:
    return MISSING if row.step is None else str(row.step)


def _cell(metric: Metric, row: Row, *, bare: bool = False, exact: bool = False) -> str:
    value = row.values.get(metric.name)
    if value is None:
        return MISSING
    text, bounds, known = value_text(metric, value)
    beside = f" (exact {known})" if exact and known else ""
    return (text if bare or not bounds else f"{text} {bounds}{dagger(row, value.over)}") + beside


def dagger(row: Row, over: str) -> str:
    """The mark of an interval over problems only, where an arm has one seed."""
    return "\N{DAGGER}" if row.seeds == 1 and over == PROBLEMS else ""


def _pipes(heads: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (heads, ["---"] * len(heads), *body)]


def _blank(value: float) -> float | str:
    return "" if math.isnan(value) else value
