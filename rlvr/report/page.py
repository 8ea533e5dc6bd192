"""One run as one self-contained HTML page: no network, no second file, safe to mail.

Every text that comes from the run (prompts, completions, recipe) is escaped by the template, and the
page's content security policy forbids the browser to load anything.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr.report import cases
from rlvr.report import conditions as other
from rlvr.report import reasons as verdict_reasons
from rlvr.report.changes import resolved_crossing
from rlvr.report.companions import by_step, companion_panels, guess_rows, solvable_rows
from rlvr.report.export import conditions, write_exports
from rlvr.report.load import ProbePoint, Run, load_run
from rlvr.report.summary import cells, columns, over_looks, verdict
from rlvr.report.template import page_of
from rlvr.report.words import MISSING, budget_words, headline, interval, judge_words, number, verdict_text
from rlvr.runs.run_dir import RunDir, nan_to_null
from rlvr.types import UserError

if TYPE_CHECKING:
    import plotly.graph_objects as go

REASON_COLOURS = {
    "right": ("#0d0887", "#5b5bd6", "#9c9ce8", "#c3c3f2"),
    "wrong": ("#e4939d", "#efc88b", "#9ccbc6", "#cdb0d4", "#b9a58c", "#b7c7a0", "#8fa9c4"),
}


def write_report(run_dir: Path) -> Path:
    """Write RUN/report.html, and report.md and boundary.csv beside it; returns the page's path.

    Raises UserError when the run directory cannot be read or written.
    """
    run = load_run(run_dir)
    path = RunDir(run.path).report
    unfinished = path.with_name(f"{path.name}.tmp")
    page = render(run).encode("utf-8", errors="replace")  # a half surrogate in a completion must not cost the report
    try:
        unfinished.write_bytes(page)
        unfinished.replace(path)  # a reader never sees half a page
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise UserError(f"{path}: cannot be written ({error.strerror}); check the directory and the disk") from None
    write_exports(run)
    return path


def render(run: Run) -> str:
    """The page of a run as HTML."""
    from rlvr.report.figures import MAX_CURVES

    training_steps, training = verdict_reasons.training_verdicts(run)
    probe_steps, probing = verdict_reasons.probe_verdicts(run)
    reasons = verdict_reasons.shared_reasons(training, probing)
    metrics, others = by_step(run), other.conditions_of(run)
    return page_of(
        "page",
        parts=("page",),
        run=run,
        about=_about(run),
        headline=headline(run),
        columns=columns(run),
        rows=[(probe, cells(run, index), verdict(run, probe)) for index, probe in enumerate(run.probes)],
        over_looks=over_looks(run),
        verdict_text=verdict_text,
        crossing=resolved_crossing(run, run.last) if run.last else None,
        verdicts=[(probe, sorted(probe.verdicts.items())) for probe in run.probes if probe.verdicts],
        interval=interval,
        number=number,
        benchmark=_benchmark(run),
        max_curves=MAX_CURVES,
        figures=_figures(run, training_steps, training, probe_steps, probing, reasons, metrics, others),
        reasons=[(reason, colour) for reason, colour in _reason_colours(reasons).items()],
        conditions=conditions(run),
        ledger=cases.ledger_view(run),
        solvable=solvable_rows(metrics),
        others=others,
        max_conditions=len(other.COLOURS),
        found=other.findings(run, others),
        table=other.table(run, others),
        filters=other.without_guesses(run),
        guess=guess_rows(run),
        audit=_audit(run),
        cost=_cost(run),
        budget=budget_words(run),
        judging=judge_words(run),
        recipe=json.dumps(run.recipe, indent=2, ensure_ascii=False, default=str),
        boundary=_embedded(run),
    )


def _figures(run: Run, training_steps: list[int], training: Mapping[str, list[float]], probe_steps: list[int],
             probing: Mapping[str, list[float]], reasons: list[str],
             metrics: Mapping[int, Mapping[str, Any]], others: Sequence[other.Condition]) -> dict[str, Any]:
    from rlvr.report import figures, panels
    from rlvr.report.style import settle_percent_ticks

    colours = _reason_colours(reasons)
    made: dict[str, go.Figure | None] = {
        "curves": figures.pass_at_k(run),
        "change": figures.change_by_k(run) if run.last else None,
        "histogram": figures.accuracy_histogram(run) if run.rows else None,
        "training_verdicts": panels.verdict_rates(
            training_steps, verdict_reasons.grouped(training, reasons), colours, bars=False) if training else None,
        "probe_verdicts": panels.verdict_rates(
            probe_steps, verdict_reasons.grouped(probing, reasons), colours, bars=True) if probing else None,
        "truncation": panels.truncation(run, verdict_reasons.probe_truncation(run)),
    }  # fmt: skip
    titles = []
    for title, note, fig in panels.panels(run) if run.last or run.metrics else ():
        titles.append((f"panel-{len(titles)}", title, note))
        made[titles[-1][0]] = fig
    beside = []
    for title, note, fig in companion_panels(run, metrics):
        beside.append((f"companion-{len(beside)}", title, note))
        made[beside[-1][0]] = fig
    compared = []
    for title, note, fig in other.figures_of(others):
        compared.append((f"condition-{len(compared)}", title, note))
        made[compared[-1][0]] = fig
    if others and run.last:
        made["condition-changes"] = other.changes_by_k(others)
    ready = {name: json.loads(settle_percent_ticks(fig).to_json() or "")
             for name, fig in made.items() if fig is not None}
    return {"json": ready, "panels": titles, "companions": beside, "conditions": compared}


def _reason_colours(reasons: list[str]) -> dict[str, str]:
    used = {"right": 0, "wrong": 0}
    colours = {}
    for reason in reasons:
        kind = "right" if reason in verdict_reasons.RIGHT else "wrong"
        palette = REASON_COLOURS[kind]
        colours[reason] = "#d5dae0" if reason == verdict_reasons.OTHER else palette[used[kind] % len(palette)]
        used[kind] += 1
    return colours


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
    found = [
        ("algorithm", algorithm.get("name") if isinstance(algorithm, Mapping) else algorithm),
        ("model", model.get("path") if isinstance(model, Mapping) else model),
        ("probed", run.probed),
        ("seed", run.recipe.get("seed")),
        ("probes", len(run.probes)),
        ("created", run.created[:16].replace("T", " ")),
        ("commit", run.git.removesuffix("-dirty")[:10] + ("-dirty" if run.git.endswith("-dirty") else "")),
    ]
    return [(label, str(value)) for label, value in found if value not in (None, "")]


def _benchmark(run: Run) -> list[tuple[int, list[tuple[str, str, str]]]]:
    """Per probe: step and (metric, value, interval) with the intervals for exactly these problems."""
    return [
        (probe.step, [(name, number(e.value), interval(e)) for name, e in probe.benchmark.items()
                      if name in {column.metric for column in columns(run)}])
        for probe in run.probes if probe.benchmark
    ]  # fmt: skip


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
