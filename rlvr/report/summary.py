"""The numbers of a run as one table: as text for the terminal, as cells for the page."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass
from pathlib import Path

from rlvr.report import probe_sets
from rlvr.report.changes import exact_change, monitored_change
from rlvr.report.conditions import ARROW, AS_PROBED, Condition, table
from rlvr.report.load import ProbePoint, Run
from rlvr.report.report import Report, load_report
from rlvr.report.words import (
    MINUS,
    MISSING,
    budget_words,
    engine_words,
    headline,
    interval,
    number,
    over_probes,
    unjudged_words,
    verdict_text,
    with_interval,
)

WIDTH = 120
"""Columns that the text table never exceeds."""


@dataclass(frozen=True)
class Cell:
    """One value of the table as words, in percent or percentage points."""

    value: str
    interval: str
    exact: str
    """The lab's true value; empty when unknown."""

    @property
    def text(self) -> str:
        return f"{self.value} {self.interval}".rstrip()


@dataclass(frozen=True)
class Column:
    metric: str
    """Name in boundary.jsonl, without `boundary/`; of the change column `change@k`."""
    better: str
    """`higher` or `lower`."""
    change_k: int | None = None
    """Of the change column, its k; None: a metric as recorded."""

    @property
    def title(self) -> str:
        return self.metric if self.change_k is None else f"change of pass@{self.change_k}"


def columns(run: Run) -> list[Column]:
    """What the summary shows: pass@1, a middle k, the largest k, delta_se, and the change at that k if there is one."""
    ks = dict.fromkeys(k for k in (1, 16, run.k_max) if k in run.ks)
    changed = [Column(f"change@{run.k_max}", "higher", run.k_max)] if run.last else []
    return [*(Column(f"pass@{k}", "higher") for k in ks), Column("delta_se", "lower"), *changed]


def cells(run: Run, probe: ProbePoint) -> list[Cell]:
    """One row: the cells of `columns` for one probe. A change has the bounds that its verdict rests on."""
    row = []
    for column in columns(run):
        if column.change_k is None:
            estimate, exact = probe.get(column.metric), probe.exact.get(column.metric, math.nan)
        elif probe is run.base:
            row.append(Cell(MISSING, "", ""))
            continue
        else:
            estimate = monitored_change(run, probe, column.change_k)
            exact = exact_change(run, probe, column.change_k)
        signed = column.change_k is not None
        row.append(Cell(number(estimate.value, signed=signed), interval(estimate, signed=signed),
                        "" if math.isnan(exact) else number(exact, signed=signed)))
    return row


def verdict(run: Run, probe: ProbePoint) -> str:
    """The sequential verdict at the headline's k as words; a dash where there is none."""
    return verdict_text(probe, probe.verdicts[run.k_max].verdict) if run.k_max in probe.verdicts else MISSING


def intervals_text(run: Run) -> str:
    """What the intervals of the table are, in one sentence."""
    text = "Percent and percentage points, with 95% intervals of one probe each"
    if not any(probe.verdicts for probe in run.probes):
        return f"{text}."
    return (f"{text}; the verdict and the bounds of the change hold {over_probes(run)} (not shrunk: not by "
            f"{100 * run.probes[-1].margin:g} points or more).")


def summary_table(source: Path | Report) -> str:
    """The run's headline and one line per probe as plain text, at most 120 columns wide; percent and points.

    In the lab a second line per probe gives the exact values. Raises UserError as `load_report` does.
    """
    report = source if isinstance(source, Report) else load_report(source)
    run = report.run
    judged = any(probe.verdicts for probe in run.probes)
    heads = [*(column.title for column in columns(run)), *(["verdict"] if judged else [])]
    body: list[list[str]] = []
    for probe in run.probes:
        row = cells(run, probe)
        # Bare, as the table has 120 columns; the words below it say what it means.
        last = [str(probe.verdicts[run.k_max].verdict) if run.k_max in probe.verdicts else MISSING] if judged else []
        body.append([f"{probe.step}", *(cell.text for cell in row), *last])
        if any(cell.exact for cell in row):
            body.append(["exact", *(cell.exact for cell in row), *("" for _ in last)])
    first = headline(run)
    probed = Condition(AS_PROBED, run, run.last)
    paragraphs = [f"{intervals_text(run)} Higher is better, except for delta_se.", unjudged_words(run),
                  budget_words(run), engine_words(run),
                  f"Measured at {probed.decoding}; {probed.measured}."]
    lines = [*wrapped(first.finding), *(line for note in first.notes for line in wrapped(note)), "",
             *aligned(["step", *heads], body), "",
             *(line for paragraph in paragraphs for line in wrapped(paragraph)), *_conditions(report), *_sets(report)]
    return plain("\n".join(lines)) + "\n"


def _sets(report: Report) -> list[str]:
    """Every probe set of a run with several, in short."""
    runs = {name: one.run for name, one in report.sets.items()}
    if not runs:
        return []
    lines = ["", *wrapped(f"All numbers above are of the probe set {next(iter(runs))}, the run's own. All sets:")]
    for name, problems, step, *cells_ in probe_sets.table(runs):
        words = [f"{head} {cell}" for head, cell in zip(probe_sets.HEADS[3:], cells_, strict=True) if cell != MISSING]
        lines += wrapped(f"{name} ({problems} problems, step {step}): {', '.join(words)}.")
    return [*lines, *wrapped(probe_sets.explained(runs))]


def _conditions(report: Report) -> list[str]:
    """The other conditions of the probe as a table, base before trained model; [] without any."""
    run, conditions = report.run, report.conditions
    lines = []
    if len(conditions) > 1:
        head, body = table(run, conditions)
        lines = ["", *aligned(head, [[plain(cell) for cell in row] for row in body])]  # before widths are taken
    for one in conditions:
        lines += wrapped(f"{one.name}: {one.unmatched}") if one.unmatched else []
    for one in report.filters:
        k, base, last, by = one.rows[-1]
        after = f" -> {number(last.value)}, change {with_interval(by, signed=True)}" if run.last else ""
        lines += ["", *wrapped(f"{one.name}: direct answers guess {len(one.guessable)} of {one.problems} problems; "
                               f"without them pass@{k} is {number(base.value)}{after}")]
    return lines


def aligned(head: list[str], body: list[list[str]]) -> list[str]:
    """A table as lines of text: head, rule, rows; columns as wide as their longest entry."""
    widths = [max(len(line[i]) for line in [head, *body]) for i in range(len(head))]
    return ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
            for line in [head, ["-" * width for width in widths], *body]]


def plain(text: str) -> str:
    """The page's minus signs, dashes and arrows in ASCII, which every terminal and spreadsheet reads."""
    return text.replace(MINUS, "-").replace(MISSING, "-").replace(ARROW, "->")


def wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, break_long_words=False)
