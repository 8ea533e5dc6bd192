"""A sheet for reading reasoning: the rare right answers to hard problems, of the base and of the last probe.

A right answer to a problem that is almost never solved may come from wrong reasoning or from luck, and at large k a few
such answers decide pass@k. The sheet holds up to a few different right completions of each problem whose share of right
samples is above 0 and below a limit, as 2504.13837 did by hand for accuracies below 5%. A person ticks whether the
reasoning holds; nothing is judged here.

HTML: one page without network; ticks are kept in the browser and saved as CSV by a button. CSV: the same rows with
empty columns to fill in; a cell that a spreadsheet would run as a formula gets a leading apostrophe.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rlvr.report.cases import shorten
from rlvr.report.load import ProbePoint, Run, load_run, read_samples
from rlvr.report.template import page_of
from rlvr.types import UserError

MAX_ACCURACY = 0.05
"""c/n below which a solved problem counts as hard (the paper's limit)."""
PER_PROBLEM = 3
"""Different right completions per problem and model: the paper asks for at least one right chain."""
CHOICES = ("reasoning holds", "wrong reasoning", "cannot tell")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class ReviewRow:
    """One right sample to read."""

    model: str
    """`base`, `step 60`, or both where both wrote the same."""
    problem_id: str
    sample: int
    """Index of the first such sample."""
    times: int
    """Right samples with this very completion."""
    correct_of: str
    """c/n of the problem at this probe."""
    prompt: str
    gold: str
    extracted: str
    completion: str


def review_rows(run: Run, *, max_accuracy: float = MAX_ACCURACY) -> list[ReviewRow]:
    """Right samples of problems with 0 < c/n < max_accuracy, hardest problem first, base before last probe.

    Equal completions of one problem are one row, with the number of samples that it stands for.
    """
    rows: dict[tuple[str, str], ReviewRow] = {}
    for probe in [run.base] if run.last is None else [run.base, run.last]:
        for text, row in _rows_of(run, probe, max_accuracy):
            before = rows.get((row.problem_id, text))
            rows[row.problem_id, text] = row if before is None else replace(
                before, model=f"{before.model}, {row.model}", times=before.times + row.times,
                correct_of=f"{before.correct_of}, {row.correct_of}")
    return list(rows.values())


def write_review(run_dir: Path, output: Path, *, max_accuracy: float = MAX_ACCURACY) -> int:
    """Write the sheet of a run as HTML or CSV, by the name's ending; returns the number of rows in it.

    Raises UserError for another ending, a limit outside (0, 1], a run that cannot be read or has no stored samples.
    """
    writers = {".html": html_sheet, ".csv": csv_sheet}
    if output.suffix not in writers:
        raise UserError(f"-o {output}: ends in {output.suffix or 'nothing'}; expected .html or .csv")
    if not 0.0 < max_accuracy <= 1.0:
        raise UserError(f"--max-accuracy is {max_accuracy}; expected a share of right samples in (0, 1], such as 0.05")
    run = load_run(run_dir)
    for step in (run.base.step, run.probes[-1].step):
        if not any(True for _ in read_samples(run, step)):
            raise UserError(f"{run.path / 'samples'}: holds no completions of step {step}; a review needs them")
    rows = review_rows(run, max_accuracy=max_accuracy)
    try:
        output.write_text(writers[output.suffix](run, rows), encoding="utf-8", errors="replace")
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({error.strerror}); check the directory and the disk") from None
    return len(rows)


def csv_sheet(run: Run, rows: list[ReviewRow]) -> str:
    """The rows with two empty columns, `verdict` (one of CHOICES) and `note`."""
    out = io.StringIO()
    writer = csv.DictWriter(out, [*ReviewRow.__dataclass_fields__, "verdict", "note"], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _inert(str(value)) for name, value in asdict(row).items()} | {"verdict": "", "note": ""})
    return out.getvalue()


def html_sheet(run: Run, rows: list[ReviewRow]) -> str:
    """One page: a card per row with three ticks and a note; every text of the run is escaped."""
    problems = len({row.problem_id for row in rows})
    return page_of("review", parts=("review",), title=run.name, rows=rows, problems=problems, choices=CHOICES)


def _rows_of(run: Run, probe: ProbePoint, max_accuracy: float) -> Iterator[tuple[str, ReviewRow]]:
    """(completion, row) of up to PER_PROBLEM different right completions of every hard problem at one probe."""
    counts = run.rows.get(probe.step, {})
    hard = {i: row for i, row in counts.items() if row.n and 0 < row.c / row.n < max_accuracy}
    rows: dict[str, dict[str, ReviewRow]] = {i: {} for i in hard}
    for sample in read_samples(run, probe.step) if hard else ():
        i, completion = sample["problem_id"], str(sample.get("text") or "")
        if i not in hard or not sample.get("correct"):
            continue
        if completion in rows[i]:
            rows[i][completion] = replace(rows[i][completion], times=rows[i][completion].times + 1)
        elif len(rows[i]) < PER_PROBLEM:
            text = run.problems.get(i)
            rows[i][completion] = ReviewRow(
                model="base" if probe is run.base else f"step {probe.step}", problem_id=i, sample=int(sample["sample"]),
                times=1, correct_of=f"{hard[i].c}/{hard[i].n}", prompt=text.prompt if text else "",
                gold=text.gold if text else "", extracted=str(sample.get("extracted") or ""),
                completion=shorten(completion),
            )  # fmt: skip
    for i in sorted(hard, key=lambda i: (hard[i].c / hard[i].n, i)):
        yield from rows[i].items()


def _inert(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text
