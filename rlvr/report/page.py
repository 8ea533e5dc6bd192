"""One run as one self-contained HTML page: no network, no second file, safe to mail.

Every text that comes from the run (prompts, completions, recipe) is escaped by the template, and the page's content
security policy forbids the browser to load anything.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from rlvr.report import figures, panels, probe_sets
from rlvr.report.cases import ledger_view
from rlvr.report.changes import negative, significant_crossing
from rlvr.report.companion_figures import companion_panels
from rlvr.report.companions import guess_rows, solvable_rows
from rlvr.report.condition_figures import COLOURS, changes_by_k, curves_of
from rlvr.report.conditions import findings, table
from rlvr.report.export import how_measured, without_empty, write_exports
from rlvr.report.load import ProbePoint, Run
from rlvr.report.other_verdicts import verdict_examples, verdict_rows
from rlvr.report.reasons import (
    OTHER,
    RIGHT,
    grouped,
    probe_truncation,
    probe_verdicts,
    shared_reasons,
    training_verdicts,
)
from rlvr.report.report import Report, load_report
from rlvr.report.rollouts import rollout_steps
from rlvr.report.summary import Column, cells, columns, intervals_text, verdict
from rlvr.report.template import as_json, page_of
from rlvr.report.words import (
    MISSING,
    budget_words,
    engine_words,
    headline,
    interval,
    judge_words,
    number,
    over_probes,
    unjudged_words,
    verdict_text,
    with_interval,
)
from rlvr.runs.run_dir import RunDir, nan_to_null
from rlvr.types import UserError

REASON_COLOURS = {
    "right": ("#0d0887", "#5b5bd6", "#9c9ce8", "#c3c3f2"),
    "wrong": ("#e4939d", "#efc88b", "#9ccbc6", "#cdb0d4", "#b9a58c", "#b7c7a0", "#8fa9c4"),
}


def write_report(source: Path | Report) -> Path:
    """Write RUN/report.html, and report.md and boundary.csv beside it; returns the page's path.

    `source` is a run directory, or what `load_report` read of it. Raises UserError when it cannot be read or written.
    """
    report = source if isinstance(source, Report) else load_report(source)
    path = RunDir(report.run.path).report
    unfinished = path.with_name(f"{path.name}.tmp")
    page = render(report).encode("utf-8", errors="replace")  # half a surrogate in a completion must not cost the report
    try:
        unfinished.write_bytes(page)
        unfinished.replace(path)  # a reader never sees half a page
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise UserError(f"{path}: cannot be written ({error.strerror}); check the directory and the disk") from None
    write_exports(report)
    for further in [*report.sets.values()][1:]:
        write_report(further)
    return path


def render(report: Report) -> str:
    """The page of a run as HTML."""
    run = report.run
    reasons = shared_reasons(training_verdicts(run)[1], probe_verdicts(run)[1])
    return page_of(
        "page",
        parts=("page",),
        run=run,
        k=run.k_max,
        about=_about(run),
        headline=headline(run),
        columns=columns(run),
        rows=[(probe, cells(run, probe), verdict(run, probe)) for probe in run.probes],
        intervals=intervals_text(run),
        over_probes=over_probes(run),
        verdict_text=verdict_text,
        crossing=significant_crossing(run, run.last) if run.last else None,
        verdicts=[(probe, sorted(probe.verdicts.items())) for probe in run.probes if probe.verdicts],
        interval=interval,
        number=number,
        with_interval=with_interval,
        negative=negative,
        benchmark=_benchmark(run),
        max_curves=figures.MAX_CURVES,
        figures=_figures(report, reasons),
        reasons=list(_reason_colours(reasons).items()),
        measured=how_measured(run),
        ledger=ledger_view(run),
        sets=_sets(report),
        solvable=_solvable(report),
        others=report.conditions,
        max_conditions=len(COLOURS),
        condition_sentences=findings(run, report.conditions),
        condition_table=table(run, report.conditions),
        filters=report.filters,
        guess=guess_rows(run),
        audit=_audit(run),
        other_verdicts=verdict_rows(run),
        other_examples=verdict_examples(run),
        rollouts=rollout_steps(run),
        cost=_cost(run),
        budget=budget_words(run),
        engine=engine_words(run),
        unjudged=unjudged_words(run),
        judging=judge_words(run),
        recipe=json.dumps(run.recipe, indent=2, ensure_ascii=False, default=str),
        boundary=_embedded(run),
    )


def _figures(report: Report, reasons: list[str]) -> dict[str, Any]:
    """All figures as JSON by name, and (name, title, note) of those that stand in groups of panels."""
    run = report.run
    single: dict[str, go.Figure | None] = {
        "curves": figures.pass_at_k(run),
        "change": figures.change_by_k(run) if run.last else None,
        "histogram": figures.accuracy_histogram(run) if run.rows else None,
        "condition-changes": changes_by_k(report.conditions) if report.conditions and run.last else None,
        **_verdict_figures(run, reasons),
    }
    for name, further in [*report.sets.items()][1:]:
        single[f"set-{name}-change"] = figures.change_by_k(further.run) if further.run.last else None
        single[f"set-{name}-curves"] = figures.pass_at_k(further.run)
    groups = {
        "panel": panels.panels(run) if run.last or run.metrics else [],
        "companion": companion_panels(run, report.metrics),
        "condition": curves_of(report.conditions),
    }
    names = {group: [(f"{group}-{i}", title, note) for i, (title, note, _) in enumerate(members)]
             for group, members in groups.items()}
    drawn = {name: fig for name, fig in single.items() if fig is not None}
    for group, members in groups.items():
        drawn |= {f"{group}-{i}": fig for i, (_, _, fig) in enumerate(members)}
    return {"json": as_json(drawn), "panels": names["panel"], "companions": names["companion"],
            "conditions": names["condition"]}


def _sets(report: Report) -> dict[str, Any] | None:
    """The table of several probe sets, and a section for each but the run's own; None for a run with one."""
    if not report.sets:
        return None
    runs = {name: one.run for name, one in report.sets.items()}
    own, *others = runs
    return {
        "own": own, "heads": probe_sets.HEADS, "rows": probe_sets.table(runs), "explained": probe_sets.explained(runs),
        "others": [{
            "name": name, "id": f"set-{name}", "run": run, "headline": headline(run), "columns": columns(run),
            "rows": [(probe, cells(run, probe), verdict(run, probe)) for probe in run.probes],
            "verdicts": any(probe.verdicts for probe in run.probes), "over_probes": over_probes(run),
            "intervals": intervals_text(run), "measured": how_measured(run), "page": f"sets/{name}/report.html",
            "figures": [*([(f"set-{name}-change", f"change of pass@k at step {run.last.step} against the base, paired "
                            "by problem")] if run.last else []),
                        (f"set-{name}-curves", "pass@k of the base (grey) and of every probe")],
        } for name in others for run in [runs[name]]],
    }


def _verdict_figures(run: Run, reasons: list[str]) -> dict[str, go.Figure | None]:
    colours = _reason_colours(reasons)
    made: dict[str, go.Figure | None] = {"truncation": panels.truncation(run, probe_truncation(run))}
    for name, (steps, rates), bars in (("training_verdicts", training_verdicts(run), False),
                                       ("probe_verdicts", probe_verdicts(run), True)):
        made[name] = panels.verdict_rates(steps, grouped(rates, reasons), colours, bars=bars) if rates else None
    return made


def _reason_colours(reasons: list[str]) -> dict[str, str]:
    used = {"right": 0, "wrong": 0}
    colours = {}
    for reason in reasons:
        kind = "right" if reason in RIGHT else "wrong"
        palette = REASON_COLOURS[kind]
        colours[reason] = "#d5dae0" if reason == OTHER else palette[used[kind] % len(palette)]
        used[kind] += 1
    return colours


def _solvable(report: Report) -> dict[str, Any] | None:
    """Heads and rows of the four-cell table; None without it."""
    rows = solvable_rows(report.metrics)
    if not rows:
        return None
    heads, body = without_empty(
        ["step", "both", "only the base", "only this step", "neither", "SRR (kept)", "NDR (new)", "NSCR (net)",
         "McNemar p"],
        [[str(row.step), *row.cells, row.srr, row.ndr, row.nscr, row.p_value] for row in rows])
    return {"k": rows[-1].k, "heads": heads, "body": body}


def _audit(run: Run) -> dict[str, str] | None:
    """The verifier's false positives and what they could do to pass@k_max, as words; None without an audit."""
    if run.audit is None:
        return None
    k, last = run.k_max, run.last or run.base
    return {
        "accepted": f"{run.audit.accepted} of {run.audit.wrong_answers:,}",
        "rate": f"{100 * run.audit.rate.high:.2g}",
        "floor": number(run.audit.floor(k)),
        "measured": number(last.get(f"pass@{k}").value),
        "worst": number(run.audit.worst_case(last.get(f"pass@{k}").value, k)),
    }


def _about(run: Run) -> list[tuple[str, str]]:
    """(label, value) pairs under the title, as far as the run recorded them."""
    algorithm, model = run.recipe.get("algorithm"), run.recipe.get("model")
    pairs = [
        ("algorithm", algorithm.get("name") if isinstance(algorithm, Mapping) else algorithm),
        ("model", model.get("path") if isinstance(model, Mapping) else model),
        ("probed", run.probed),
        ("seed", run.recipe.get("seed")),
        ("probes", len(run.probes)),
        ("created", run.created[:16].replace("T", " ")),
        ("commit", run.commit),
    ]
    return [(label, str(value)) for label, value in pairs if value not in (None, "")]


def _benchmark(run: Run) -> tuple[list[str], list[list[str]]] | None:
    """Heads and rows of the table with intervals for exactly these problems; None where none are recorded."""
    probes = [probe for probe in run.probes if probe.benchmark]
    if not probes:
        return None
    body = [[str(probe.step), *(_benchmark_cell(probe, column) for column in columns(run))] for probe in probes]
    return without_empty(["step", *(column.title for column in columns(run))], body)


def _benchmark_cell(probe: ProbePoint, column: Column) -> str:
    if column.change_k is None:
        estimate = probe.benchmark.get(column.metric)
        return MISSING if estimate is None else with_interval(estimate)
    shrinkage = probe.benchmark.get(f"shrinkage@{column.change_k}")
    return MISSING if shrinkage is None or probe.kind == "base" else with_interval(negative(shrinkage), signed=True)


def _cost(run: Run) -> list[tuple[str, str, str, str, str]]:
    """Per probe: step, samples, tokens, seconds, share of all tokens so far, as words; and the sums."""

    def words(label: str, probes: tuple[ProbePoint, ...]) -> tuple[str, str, str, str, str]:
        def total(name: str, digits: int = 0) -> str:
            values = [getattr(probe, name) for probe in probes]
            return f"{sum(values):,.{digits}f}" if None not in values else MISSING

        share = probes[-1].token_share
        return label, total("samples"), total("tokens"), total("seconds", 1), (
            f"{number(share)}%" if share is not None else MISSING)

    sums = [words("all", run.probes)] if run.last else []
    return [*(words(str(probe.step), (probe,)) for probe in run.probes), *sums]


def _embedded(run: Run) -> list[dict[str, Any]]:
    """The numbers behind the page, for scripts: one object per probe, as in boundary.jsonl; NaN is null."""
    return nan_to_null([
        {
            "step": probe.step, "kind": probe.kind,
            "estimates": {name: estimate.as_dict() for name, estimate in probe.estimates.items()},
            "exact": probe.exact,
            "lost": probe.lost, "gained": probe.gained,
        }
        for probe in run.probes
    ])  # fmt: skip
