"""The report's numbers for other tools: report.md to paste, boundary.csv to load.

Both say how every number was measured. boundary.csv has one row per step, metric and kind of interval; an empty field
is unknown. Fractions, not percent.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlvr.report import probe_sets
from rlvr.report.changes import negative, plan_text
from rlvr.report.companions import by_step, estimate_of, solvable_rows
from rlvr.report.conditions import findings, table
from rlvr.report.figures import BINS
from rlvr.report.load import ProbePoint, Run
from rlvr.report.other_verdicts import verdict_sentences
from rlvr.report.report import Report
from rlvr.report.summary import cells, columns, intervals_text, verdict
from rlvr.report.words import (
    MISSING,
    budget_words,
    engine_words,
    headline,
    over_probes,
    unjudged_words,
    verdict_text,
    with_interval,
)
from rlvr.runs.run_dir import RunDir, null_to_nan
from rlvr.types import Estimate, UserError

CSV_FIELDS: tuple[str, ...] = (
    "run", "step", "kind", "metric", "interval", "value", "low", "high", "verdict", "problems", "temperature", "top_p",
    "max_new_tokens", "plan", "verifier", "arm", "prompt",
)


def write_exports(report: Report) -> tuple[Path, Path]:
    """Write RUN/report.md and RUN/boundary.csv; returns their paths. Raises UserError when they cannot be written."""
    page = RunDir(report.run.path).report
    paths = page.with_name("report.md"), page.with_name("boundary.csv")
    for path, text in zip(paths, (markdown(report), csv_text(report)), strict=True):
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error.strerror}); check the directory and the disk") from None
    return paths


def csv_text(report: Report) -> str:
    """boundary.csv. `interval`: population, benchmark, sequential (holds over all probes), exact, fit or prediction;
    `arm`: the other condition that a row was measured under, empty for the probe's own."""
    run, out = report.run, io.StringIO()
    writer = csv.DictWriter(out, CSV_FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_csv_rows(run, report.metrics))
    for condition in report.measured:
        writer.writerows({**row, "run": run.name, "arm": condition.name, "prompt": condition.prompt}
                         for row in _csv_rows(condition.run, by_step(condition.run)))
    for one in report.filters:
        own = {"run": run.name, "arm": one.name, "problems": one.problems - len(one.guessable),
               "interval": "population"}
        for k, before, now, by in one.rows:
            rows = [("pass", run.base, before)]
            rows += [("pass", run.last, now), ("shrinkage", run.last, negative(by))] if run.last else []
            for name, probe, estimate in rows:
                writer.writerow({**own, **_parts(estimate), "step": probe.step, "metric": f"unguessable {name}@{k}"})
    return out.getvalue()


def _csv_rows(run: Run, metrics: Mapping[int, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for probe in run.probes:
        decoding = probe.decoding
        shared = {
            "run": run.name, "step": probe.step, "kind": probe.kind, "problems": probe.problems, "plan": probe.plan,
            "verifier": probe.verifier, "temperature": decoding.temperature if decoding else None,
            "top_p": decoding.top_p if decoding else None,
            "max_new_tokens": decoding.max_new_tokens if decoding else None,
        }
        rows = [*_measured(probe), *(_beside(metrics[probe.step]) if probe.step in metrics else ()), *_guesses(probe)]
        for metric, kind, estimate, said in rows:
            yield {**shared, **_parts(estimate), "metric": metric, "interval": kind, "verdict": said}


def _parts(estimate: Estimate) -> dict[str, str]:
    return {part: "" if math.isnan(x) else repr(float(x)) for part, x in estimate.as_dict().items()}


def markdown(report: Report) -> str:
    """report.md: headline, summary table, solvable sets, other conditions, how it was measured."""
    run = report.run
    first = headline(run)
    judged = [probe for probe in run.probes if probe.verdicts]
    heads = ["step", *(column.title for column in columns(run)), *(["verdict"] if judged else [])]
    body = []
    for probe in run.probes:
        words = [f"{cell.text}{f' (exact {cell.exact})' if cell.exact else ''}" for cell in cells(run, probe)]
        body.append([str(probe.step), *words, *([verdict(run, probe)] if judged else [])])
    lines = [f"# {run.name}", "", first.finding, "", *(f"- {note}" for note in first.notes), "",
             *markdown_table(heads, body), "", intervals_text(run)]
    lines += ["", f"Change of pass@k and verdict at every k; the one-sided bounds hold {over_probes(run)}:", ""
              ] if judged else []
    for probe in judged:
        words = [f"k = {k}: {with_interval(negative(one.bounds), signed=True)}, {verdict_text(probe, one.verdict)}"
                 for k, one in sorted(probe.verdicts.items())]
        lines.append(f"- step {probe.step}: {'; '.join(words)}")
    others = [f"- {sentence}" for sentence in verdict_sentences(run)]
    return "\n".join([*lines, *_solvable(report), *_other_conditions(report), *_sets(report),
                      *([""] if others else []), *others, "",
                      " ".join(filter(None, [how_measured(run), unjudged_words(run), engine_words(run),
                                             budget_words(run)])), ""])


def _sets(report: Report) -> list[str]:
    runs = {name: one.run for name, one in report.sets.items()}
    if not runs:
        return []
    return ["", "## Probe sets", "", *markdown_table(list(probe_sets.HEADS), probe_sets.table(runs)), "",
            f"{probe_sets.explained(runs)} The rest of this file is of {next(iter(runs))}, the run's own set; the "
            "files of the others lie in `sets/`."]


def _solvable(report: Report) -> list[str]:
    rows = solvable_rows(report.metrics)
    if not rows:
        return []
    heads = ["step", "both", "only the base", "only this step", "neither", "SRR", "NDR", "NSCR", "McNemar p"]
    body = [[str(row.step), *row.cells, row.srr, row.ndr, row.nscr, row.p_value] for row in rows]
    return ["", f"Solved with {rows[-1].k} tries, expected numbers of problems:", "",
            *markdown_table(*without_empty(heads, body))]


def without_empty(heads: Sequence[str], body: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """A table without the columns that hold nothing but dashes."""
    kept = [i for i in range(len(heads)) if any(row[i] != MISSING for row in body)]
    return [heads[i] for i in kept], [[row[i] for i in kept] for row in body]


def _other_conditions(report: Report) -> list[str]:
    run, conditions = report.run, report.conditions
    lines = ["", "## Does decoding or the prompt explain it?", ""] if conditions or report.filters else []
    if conditions:
        lines += [*(f"- {sentence}" for sentence in findings(run, conditions)), "",
                  *markdown_table(*table(run, conditions)), "",
                  *(f"- {one.name}: {one.described}" for one in conditions)]
    for one in report.filters:
        lines += ["", f"{one.name}: {len(one.guessable)} of {one.problems} problems are guessable (accuracy of the "
                      f"base's direct answers above 0 and below {100 * one.below:g}% in {one.tries} tries; "
                      f"{one.how}). On the others:", ""]
        lines += markdown_table(["k", "base pass@k", "later pass@k", "change of pass@k"], [
            [str(k), with_interval(before), with_interval(now), with_interval(by, signed=True)]
            for k, before, now, by in one.rows])
    return lines


def how_measured(run: Run) -> str:
    """How the numbers of a run were measured, in one sentence."""
    base, parts = run.base, []
    whole = base.schedule["of"] if base.schedule else base.problems
    if base.problems:
        parts.append(f"{base.problems} problems" if base.problems == whole else
                     f"{base.problems} of {whole} problems, spread over the base's accuracies (probes.budget)")
    if base.decoding:
        parts.append(f"temperature {base.decoding.temperature:g}, top_p {base.decoding.top_p:g}, "
                     f"at most {base.decoding.max_new_tokens} new tokens")
    if base.plan:
        later = run.last.plan if run.last and run.last.plan else base.plan
        parts.append(plan_text(later) + (f" (base: {plan_text(base.plan)})" if later != base.plan else ""))
    if base.verifier:
        parts.append(f"graded by {base.verifier}")
    return "; ".join(parts) + "." if parts else "How the samples were drawn was not recorded."


def _measured(probe: ProbePoint) -> Iterator[tuple[str, str, Estimate, str]]:
    for name, estimate in probe.estimates.items():
        yield name, "population", estimate, ""
    for name, estimate in probe.benchmark.items():
        yield name, "benchmark", estimate, ""
    for k, one in probe.verdicts.items():
        yield f"shrinkage@{k}", "sequential", one.bounds, str(one.verdict)
    for name, value in probe.exact.items():
        yield name, "exact", Estimate(value), ""


def _beside(metrics: Mapping[str, Any]) -> Iterator[tuple[str, str, Estimate, str]]:
    stability = metrics["stability"]
    for tau, entry in stability["g_pass"].items():
        yield f"g_pass@{stability['k']}_{tau}", "population", estimate_of(entry), ""
    if stability["mg_pass"] is not None:
        yield f"mg_pass@{stability['k']}", "population", estimate_of(stability["mg_pass"]), ""
    for tau, share in zip(metrics["cover"]["tau"], metrics["cover"]["share"], strict=True):
        yield f"cover@{tau:g}", "fit", Estimate(share), ""
    for bin_, problems in zip(BINS, metrics["histogram"]["problems"], strict=True):
        yield f"problems with accuracy {bin_}", "fit", Estimate(problems), ""
    solvable = metrics["solvable"] or {}
    for name in ("both", "only_base", "only_run", "neither", "srr", "ndr", "nscr"):
        if name in solvable:
            yield f"solvable@{solvable['k']} {name}", "", Estimate(null_to_nan(solvable[name])), ""
    for point in (metrics["prediction"] or {"points": ()})["points"]:
        yield f"pass@{point['k']}", "prediction", estimate_of(point), ""


def _guesses(probe: ProbePoint) -> Iterator[tuple[str, str, Estimate, str]]:
    for k, entry in (probe.guess or {}).items():
        for name in ("pass_at_k", "corrected", "baseline", "kept", "guessable"):
            yield f"guess@{k} {name}", "", Estimate(null_to_nan(entry[name])), ""


def markdown_table(heads: list[str], body: list[list[str]]) -> list[str]:
    """The lines of a table."""
    cells_ = [[cell.replace("|", "\\|") for cell in row] for row in (heads, *body)]
    return [f"| {' | '.join(cells_[0])} |", f"|{' --- |' * len(heads)}", *(f"| {' | '.join(r)} |" for r in cells_[1:])]
