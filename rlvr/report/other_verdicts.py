"""Where the verdicts of another program and ours differ on the same completions (`rlvr probe --from`)."""

from __future__ import annotations

from typing import Any

from rlvr.report.load import Run


def verdict_rows(run: Run) -> list[tuple[str, str, str, str, str]]:
    """Per probe, as words: step, completions with both, share that differs, right there only, right here only."""
    rows = []
    for row in run.other_verdicts:
        differ = row["only_theirs"] + row["only_ours"]
        rows.append((str(row["step"]), f"{row['compared']:,}", f"{100 * differ / row['compared']:.1f}%",
                     f"{row['only_theirs']:,}", f"{row['only_ours']:,}"))
    return rows


def verdict_examples(run: Run) -> list[dict[str, Any]]:
    """Completions of the last probe on which the two differ."""
    return list(run.other_verdicts[-1]["examples"]) if run.other_verdicts else []


def verdict_sentences(run: Run) -> list[str]:
    """The same as the rows for report.md; [] where the files had no verdicts."""
    return [f"Step {step}: of {compared} completions that the file judges itself, our verdict differs on {share}: "
            f"right there and wrong here {theirs}, wrong there and right here {ours}."
            for step, compared, share, theirs, ours in verdict_rows(run)]
