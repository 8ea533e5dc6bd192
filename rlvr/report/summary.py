"""The numbers of a run as one table: for the terminal as text, for the page as cells."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass
from pathlib import Path

from rlvr.report.conditions import ARROW, AS_PROBED, Condition, conditions_of, table, without_guesses
from rlvr.report.load import ProbePoint, Run, load_run
from rlvr.report.words import MINUS, MISSING, budget_words, headline, interval, number, verdict_text

WIDTH = 120
"""Columns that the text table never exceeds."""


@dataclass(frozen=True)
class Cell:
    """One value of the table as words, in percent or percentage points."""

    value: str
    interval: str
    exact: str
    """The lab's true value; empty when unknown."""


@dataclass(frozen=True)
class Column:
    metric: str
    """Name in boundary.jsonl, without `boundary/`."""
    better: str
    """`higher` or `lower`."""
    signed: bool = False


def columns(run: Run) -> list[Column]:
    """What the summary shows: pass@1, a middle k, the largest k, delta_se and the shrinkage at that k."""
    ks = [k for k in (1, 16, run.k_max) if k in run.ks]
    return [
        *(Column(f"pass@{k}", "higher") for k in dict.fromkeys(ks)),
        Column("delta_se", "lower"),
        Column(f"shrinkage@{run.k_max}", "lower", signed=True),
    ]


def cells(run: Run, step_index: int) -> list[Cell]:
    """One row: the cells of `columns` for the probe at this index. The base has no shrinkage against itself."""
    probe = run.probes[step_index]
    row = []
    for column in columns(run):
        estimate, exact = probe.get(column.metric), probe.exact.get(column.metric, math.nan)
        if probe is run.base and column.metric.startswith("shrinkage@"):
            row.append(Cell(MISSING, "", ""))
            continue
        row.append(Cell(
            number(estimate.value, signed=column.signed),
            interval(estimate, signed=column.signed),
            "" if math.isnan(exact) else number(exact, signed=column.signed),
        ))  # fmt: skip
    return row


def verdict(run: Run, probe: ProbePoint) -> str:
    """The sequential verdict at the headline's k as words; a dash where there is none."""
    return verdict_text(probe, probe.verdicts[run.k_max].verdict) if run.k_max in probe.verdicts else MISSING


def over_looks(run: Run) -> str:
    """What the verdicts hold over: `over all 4 looks`, `for the one look`; `over all looks` where none were planned."""
    planned = run.last.planned_looks if run.last else None
    return "for the one look" if planned == 1 else f"over all {planned} looks" if planned else "over all looks"


def summary_table(run_dir: Path) -> str:
    """The run's headline and one line per probe as plain text, at most 120 columns wide; percent and points.

    In the lab a second line per probe gives the exact values. Raises UserError as `load_run` does.
    """
    run = load_run(run_dir)
    names = [f"{column.metric} ({column.better} is better)" for column in columns(run)]
    judged = any(probe.verdicts for probe in run.probes)
    heads = [*(column.metric for column in columns(run)), *(["verdict"] if judged else [])]
    body: list[list[str]] = []
    for index, probe in enumerate(run.probes):
        row = cells(run, index)
        # Bare, as the table has 120 columns; the words below it say what it means.
        last = [str(probe.verdicts[run.k_max].verdict) if run.k_max in probe.verdicts else MISSING] if judged else []
        body.append([f"{probe.step}", *(f"{cell.value} {cell.interval}".rstrip() for cell in row), *last])
        if any(cell.exact for cell in row):
            body.append(["exact", *(cell.exact for cell in row), *("" for _ in last)])
    lines = aligned(["step", *heads], body)
    first = headline(run)
    text = "\n".join([*wrapped(first.finding), *(w for note in first.notes for w in wrapped(note)), "", *lines, "",
                      *wrapped("Percent and percentage points with 95% intervals, each for one look"
                               + (f"; the verdict on shrinkage@{run.k_max} holds {over_looks(run)} (not shrunk: not by "
                                  f"{100 * run.probes[-1].margin:g} points or more)" if judged else "")
                               + ". " + "; ".join(names) + ".")])
    if budget_words(run):
        text += "\n" + "\n".join(wrapped(budget_words(run)))
    probed = Condition(AS_PROBED, run, run.last)
    text += "\n" + "\n".join(wrapped(f"Measured at {probed.decoding}; {probed.measured}."))
    return plain("\n".join([text, *_arms(run)])) + "\n"


def _arms(run: Run) -> list[str]:
    """The other conditions of the probe (`probes.arms`) as a table, base before trained model; [] without arms."""
    conditions = conditions_of(run)
    lines = []
    if len(conditions) > 1:
        head, body = table(run, conditions)
        lines = ["", *aligned(head, [[plain(cell) for cell in row] for row in body])]  # before widths are taken
    for one in conditions:
        lines += wrapped(f"{one.name}: {one.unmatched}") if one.unmatched else []
    for one in without_guesses(run):
        k, base, last, gap = one.rows[-1]
        after = f" -> {number(last.value)}; shrinkage {number(gap.value, signed=True)} {interval(gap, signed=True)}"
        lines += ["", *wrapped(
            f"{one.name}: direct answers guess {len(one.guessable)} of {one.problems} problems; without them pass@{k} "
            f"is {number(base.value)}{after.rstrip() if run.last else ''}"
        )]  # fmt: skip
    return lines


def aligned(head: list[str], body: list[list[str]]) -> list[str]:
    """A table as lines of text: head, rule, rows; columns as wide as their longest entry."""
    widths = [max(len(line[i]) for line in [head, *body]) for i in range(len(head))]
    return ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
            for line in [head, ["-" * width for width in widths], *body]]


def plain(text: str) -> str:
    """The page's minus signs and dashes as what every terminal and every spreadsheet reads."""
    return text.replace(MINUS, "-").replace(MISSING, "-").replace(ARROW, "->")


def wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, break_long_words=False)
