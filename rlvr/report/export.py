"""The report's numbers for other tools: report.md to paste, boundary.csv to load.

Both say of every number how it was measured. boundary.csv is long: one row per step, metric and kind of interval; an
empty field is unknown. Fractions, not percent.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rlvr.report import conditions as other
from rlvr.report.changes import plan_text
from rlvr.report.companions import by_step, solvable_rows
from rlvr.report.figures import BINS
from rlvr.report.load import ProbePoint, Run
from rlvr.report.summary import cells, columns, over_looks, verdict
from rlvr.report.words import budget_words, headline, interval, number, verdict_text
from rlvr.runs.run_dir import RunDir, null_to_nan
from rlvr.types import Estimate, UserError

CSV_FIELDS: tuple[str, ...] = (
    "run", "step", "kind", "metric", "interval", "value", "low", "high", "verdict", "problems", "temperature", "top_p",
    "max_new_tokens", "plan", "verifier", "arm", "prompt",
)


def write_exports(run: Run) -> tuple[Path, Path]:
    """Write RUN/report.md and RUN/boundary.csv; returns their paths. Raises UserError when they cannot be written."""
    paths = RunDir(run.path).report.with_name("report.md"), RunDir(run.path).report.with_name("boundary.csv")
    for path, text in zip(paths, (markdown(run), csv_text(run)), strict=True):
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error.strerror}); check the directory and the disk") from None
    return paths


def csv_text(run: Run) -> str:
    """boundary.csv. `interval`: population, benchmark, sequential (holds over all looks), exact, fit or prediction;
    `arm`: the other decoding or prompt that a row was measured under, empty for the probe's own."""
    out = io.StringIO()
    writer = csv.DictWriter(out, CSV_FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_csv_rows(run))
    for condition in other.arms_of(run):
        writer.writerows({**row, "run": run.name, "arm": condition.name, "prompt": condition.prompt}
                         for row in _csv_rows(condition.run))
    for filtered in other.without_guesses(run):
        own = {"run": run.name, "arm": filtered.name, "problems": filtered.problems - len(filtered.guessable)}
        for k, *estimates in filtered.rows:
            steps = (run.base.step, run.last.step if run.last else None, run.last.step if run.last else None)
            for name, step, estimate in zip(("pass", "pass", "shrinkage"), steps, estimates, strict=True):
                if step is not None:
                    writer.writerow({**own, **_parts(estimate), "step": step, "metric": f"unguessable {name}@{k}",
                                     "interval": "population"})
    return out.getvalue()


def _csv_rows(run: Run) -> Iterator[dict[str, Any]]:
    metrics = by_step(run)
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


def markdown(run: Run) -> str:
    """report.md: headline, summary table, solvable sets, other decodings and prompts, conditions."""
    said = headline(run)
    heads = ["step", *(column.metric for column in columns(run)), "verdict"]
    body = [
        [str(probe.step), *(f"{cell.value} {cell.interval}{f' (exact {cell.exact})' if cell.exact else ''}".strip()
                            for cell in cells(run, index)), verdict(run, probe)]
        for index, probe in enumerate(run.probes)
    ]
    lines = [f"# {run.name}", "", said.finding, "", *(f"- {note}" for note in said.notes), "", *_table(heads, body), "",
             "Percent and percentage points with 95% intervals, each for one look; the verdict holds "
             f"{over_looks(run)}."]
    judged = [probe for probe in run.probes if probe.verdicts]
    lines += ["", f"Verdicts with one-sided bounds that hold {over_looks(run)}:", ""] if judged else []
    for probe in judged:
        words = [f"shrinkage@{k} {verdict_text(probe, one.verdict)} {number(one.bounds.value, signed=True)} "
                 f"{interval(one.bounds, signed=True)}".rstrip() for k, one in sorted(probe.verdicts.items())]
        lines.append(f"- step {probe.step}: {'; '.join(words)}")
    solvable = solvable_rows(by_step(run))
    if solvable:
        heads = ["step", "both", "base only", "step only", "neither", "SRR", "NDR", "NSCR", "McNemar p"]
        lines += ["", f"Solved with {solvable[-1].k} tries, expected numbers of problems:", "", *_table(heads, [
            [str(row.step), *row.cells, row.srr, row.ndr, row.nscr, row.p_value] for row in solvable])]
    return "\n".join(
        [*lines, *_other_conditions(run), "", f"{conditions(run)} {budget_words(run)}".rstrip(), ""]
    )


def _other_conditions(run: Run) -> list[str]:
    found, filters = other.conditions_of(run), other.without_guesses(run)
    lines = ["", "## Does decoding or the prompt explain it?", ""] if found or filters else []
    if found:
        lines += [*(f"- {sentence}" for sentence in other.findings(run, found)), "", *_table(*other.table(run, found))]
        lines += ["", *(f"- {one.name}: {'; '.join(x for x in (one.decoding, one.prompt, one.measured) if x)}"
                        for one in found)]
    for one in filters:
        lines += ["", f"{one.name}: {len(one.guessable)} of {one.problems} problems are guessable (accuracy of the "
                      f"base's direct answers above 0 and below {100 * one.below:g}% in {one.tries} tries; "
                      f"{one.how}). On the others:", ""]
        lines += _table(["k", "base pass@k", "later pass@k", "shrinkage@k"], [
            [str(k), *(f"{number(x.value)} {interval(x)}".strip() for x in (before, now)),
             f"{number(by.value, signed=True)} {interval(by, signed=True)}".strip()]
            for k, before, now, by in one.rows])
    return lines


def conditions(run: Run) -> str:
    """How the numbers of every figure were measured, in one sentence."""
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
    return "; ".join(parts) + "." if parts else "Sampling conditions were not recorded."


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
        yield f"g_pass@{stability['k']}_{tau}", "population", _estimate(entry), ""
    if stability["mg_pass"] is not None:
        yield f"mg_pass@{stability['k']}", "population", _estimate(stability["mg_pass"]), ""
    for tau, share in zip(metrics["cover"]["tau"], metrics["cover"]["share"], strict=True):
        yield f"cover@{tau:g}", "fit", Estimate(share), ""
    for bin_, problems in zip(BINS, metrics["histogram"]["problems"], strict=True):
        yield f"problems with accuracy {bin_}", "fit", Estimate(problems), ""
    table = metrics["solvable"] or {}
    for name in ("both", "only_base", "only_run", "neither", "srr", "ndr", "nscr"):
        if name in table:
            yield f"solvable@{table['k']} {name}", "", Estimate(null_to_nan(table[name])), ""
    for point in (metrics["prediction"] or {"points": ()})["points"]:
        yield f"pass@{point['k']}", "prediction", _estimate(point), ""


def _guesses(probe: ProbePoint) -> Iterator[tuple[str, str, Estimate, str]]:
    for k, entry in (probe.guess or {}).items():
        for name in ("pass_at_k", "corrected", "baseline", "kept", "guessable"):
            yield f"guess@{k} {name}", "", Estimate(null_to_nan(entry[name])), ""


def _estimate(entry: Mapping[str, Any]) -> Estimate:
    return Estimate(*(null_to_nan(entry[part]) for part in ("value", "low", "high")))


def _table(heads: list[str], body: list[list[str]]) -> list[str]:
    cells_ = [[cell.replace("|", "\\|") for cell in row] for row in (heads, *body)]
    return [f"| {' | '.join(cells_[0])} |", f"|{' --- |' * len(heads)}", *(f"| {' | '.join(r)} |" for r in cells_[1:])]
