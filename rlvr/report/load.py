"""Reads a run directory into plain tables for the page, the figures and the terminal.

Nothing is estimated here: numbers are those of the files, `null` becomes NaN, and what a run did not record is None or
an empty mapping. Of two rows for one probe step the later one counts.
"""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from rlvr.runs.rollouts import prompt_text, question_text
from rlvr.runs.run_dir import RunDir, null_to_nan, read_jsonl
from rlvr.statistics.false_positives import FalsePositiveAudit, audit
from rlvr.statistics.verdicts import BoundaryVerdict
from rlvr.types import Decoding, Estimate, UserError

PREFIX = "boundary/"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SequentialVerdict:
    """The verdict on shrinkage@k at one probe, with bounds that hold over all probes of the run together."""

    verdict: BoundaryVerdict
    bounds: Estimate
    """shrinkage@k with one-sided bounds. NaN bounds: no error was left to spend at this probe."""


@dataclass(frozen=True, slots=True)
class ProbePoint:
    """One row of boundary.jsonl: everything measured at one probe step."""

    step: int
    kind: str
    """`base` for the model before training, else `probe`."""
    estimates: Mapping[str, Estimate]
    """Metric name without `boundary/`, e.g. `pass@256`, to its value and 95% interval. Fractions, not percent."""
    benchmark: Mapping[str, Estimate] = field(default_factory=dict)
    """The same names with intervals for exactly these problems; empty when not recorded."""
    exact: Mapping[str, float] = field(default_factory=dict)
    """The true values, which only the lab knows; empty elsewhere."""
    verdicts: Mapping[int, SequentialVerdict] = field(default_factory=dict)
    """k -> sequential verdict; empty for the base and for runs older than the verdicts."""
    look: int | None = None
    """1 for the first probe after the base, 2, ...; None without verdicts."""
    planned_looks: int | None = None
    """Number of probes that the verdicts hold over; None when the run did not know."""
    alpha: float = math.nan
    """Chance per run of a false `shrunk`; NaN without verdicts, and so for `margin`."""
    margin: float = math.nan
    """Largest loss that still counts as `not shrunk`."""
    companions: Mapping[str, Any] = field(default_factory=dict)
    """`rlvr.statistics.companions`, as recorded; empty for runs older than them."""
    guess: Mapping[str, Any] | None = None
    """k as text -> pass@k without lucky guesses, as recorded; None where guessing does not apply or is unknown."""
    plan: str = ""
    """Name of the sampling plan; empty when not recorded, and so for `verifier`."""
    verifier: str = ""
    decoding: Decoding | None = None
    problems: int | None = None
    unjudged: Mapping[str, str] = field(default_factory=dict)
    """Problem id -> what happened, of problems that this probe left out because an answer could not be judged."""
    sampled: Mapping[str, Any] = field(default_factory=dict)
    """What the engine promises of its samples (`rlvr.models.endpoint.Promises`); empty: sampled by rlvr itself."""
    samples: int | None = None
    tokens: int | None = None
    seconds: float | None = None
    """What this probe cost; None when not recorded."""
    token_share: float | None = None
    """Share of the probes in all tokens generated so far, training included."""
    budget_share: float | None = None
    """The same without the base's probe: what `probes.budget` limits."""
    schedule: Mapping[str, Any] | None = None
    """Of the base: what was chosen to keep `probes.budget` (`rlvr.statistics.schedule`); None without a budget."""
    lost: tuple[str, ...] = ()
    """Ids as recorded: lost beyond chance so far. Runs older than the ledger recorded every problem that the base
    solved at least once and this probe never; the page recomputes both lists from the counts."""
    gained: tuple[str, ...] = ()

    @property
    def ks(self) -> list[int]:
        """Every k whose pass@k was measured, ascending."""
        return _ks(self.estimates, "pass@")

    def get(self, name: str) -> Estimate:
        """The estimate called `name`; NaN throughout when this probe does not have it."""
        return self.estimates.get(name, Estimate(math.nan))


@dataclass(frozen=True, slots=True)
class ProblemRow:
    """One row of probes.jsonl: one problem at one probe step."""

    n: int
    c: int
    truncated: int | None = None
    reasons: Mapping[str, int] = field(default_factory=dict)
    exact_p: float | None = None
    entropy: float = math.nan
    """Mean token entropy, nats; NaN when the sampler could not know it."""


@dataclass(frozen=True, slots=True)
class ProblemText:
    """What a probe problem asks. A chat prompt is rendered as `role: content` lines."""

    prompt: str
    gold: str
    question: str
    """The prompt; of a chat its last message alone."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run directory, read."""

    path: Path
    probes: tuple[ProbePoint, ...]
    """In order of steps, one per step; the first is the base."""
    rows: Mapping[int, Mapping[str, ProblemRow]]
    """Probe step -> problem id -> counts, of the problems that no probe left out: all steps have the same. Empty when
    there is no probes.jsonl."""
    metrics: tuple[Mapping[str, float], ...]
    """Rows of metrics.jsonl in order of steps, one per step. Empty before training."""
    problems: Mapping[str, ProblemText]
    recipe: Mapping[str, Any]
    versions: Mapping[str, str]
    git: str
    created: str
    lab: bool
    audit: FalsePositiveAudit | None = None
    """What is known of the verifier's false positives (audit.json); None without an audit."""
    other_verdicts: tuple[Mapping[str, Any], ...] = ()
    """Rows of other_verdicts.jsonl: how another program's verdicts and ours differ. Empty where there are none."""

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @property
    def commit(self) -> str:
        """The short hash of the commit, `-dirty` behind it where files differed; empty when not recorded."""
        return self.git.removesuffix("-dirty")[:10] + ("-dirty" if self.git.endswith("-dirty") else "")

    @property
    def probed(self) -> str:
        """The model, of several the last, that was compared with the base outside of training (`rlvr probe`); empty
        for a training run."""
        probed = self.recipe.get("probed") or ""
        return str(probed[-1] if isinstance(probed, list) else probed)

    @property
    def alone(self) -> str:
        """The only model of a run of `rlvr probe`, or the only file of completions; empty where others are compared."""
        model = self.recipe.get("model")
        only = set(self.recipe.get("completions") or ()) == {"0"} or (
            isinstance(model, Mapping) and self.probed == model.get("path"))
        return self.probed if only else ""

    @property
    def base(self) -> ProbePoint:
        return self.probes[0]

    @property
    def planned_steps(self) -> int:
        """`train.steps`; 0 where nothing was trained or the recipe does not say."""
        train = self.recipe.get("train")
        return int(train.get("steps") or 0) if isinstance(train, Mapping) else 0

    @property
    def ended_by_rule(self) -> bool:
        """Whether the last probe ended the training before its last step: `train.stop_on`."""
        train = self.recipe.get("train")
        rule = train.get("stop_on") if isinstance(train, Mapping) else None
        last = self.probes[-1]
        if not isinstance(rule, Mapping) or last.step >= self.planned_steps:
            return False
        found = last.verdicts.get(int(rule.get("shrunk") or 0))
        return found is not None and found.verdict == "shrunk"

    @property
    def last(self) -> ProbePoint | None:
        """The latest probe after the base; None when only the base was measured."""
        return self.probes[-1] if len(self.probes) > 1 else None

    @property
    def ks(self) -> list[int]:
        """Every k whose pass@k the base has, ascending."""
        return self.base.ks

    @property
    def k_max(self) -> int:
        """The k of the headline: the largest whose shrinkage is recorded, else the base's largest k up to 256."""
        shrinkage = [k for probe in self.probes for k in _ks(probe.estimates, "shrinkage@")]
        return max(shrinkage) if shrinkage else max((k for k in self.ks if k <= 256), default=self.ks[0])

    def series(self, name: str) -> tuple[list[int], list[float]]:
        """Steps and values of one training metric, the steps without it left out."""
        points = [(int(row["step"]), float(row[name])) for row in self.metrics if _is_number(row.get(name))]
        return [step for step, _ in points], [value for _, value in points]


def load_run(path: Path) -> Run:
    """Read the run directory `path`. Raises UserError when it holds no finished probe or a file is damaged."""
    files = RunDir(path)
    if not files.boundary.is_file() and files.recipe.is_file():
        raise UserError(f"{path}: no finished probe: the run was interrupted before its first probe ended; continue it "
                        "with --resume")
    if not files.boundary.is_file():
        raise UserError(f"{files.boundary}: not found; expected a run directory with at least one finished probe")
    probes = _rows(files.boundary, _probe_point)
    by_step = {point.step: point for point in probes}
    ordered = tuple(by_step[step] for step in sorted(by_step))
    if not ordered or ordered[0].kind != "base" or not ordered[0].ks:
        raise UserError(f"{files.boundary}: no base probe with pass@k at the start, and every later probe is compared "
                        "with it; restore the file, or run again")
    rows: defaultdict[int, dict[str, ProblemRow]] = defaultdict(dict)
    unjudged = {problem_id for probe in ordered for problem_id in probe.unjudged}
    counted: defaultdict[int, set[str]] = defaultdict(set)
    for step, problem_id, row in _rows(files.probes, _problem_row):
        counted[step].add(problem_id)
        if problem_id not in unjudged:
            rows[step][problem_id] = row
    _check_complete(files, ordered, counted)
    metrics: defaultdict[int, dict[str, float]] = defaultdict(dict)
    for step, values in _rows(files.metrics, _metric_row):
        metrics[step].update(values)
    header = files.read_recipe() if files.recipe.is_file() else {}
    return Run(
        path=files.path,
        probes=ordered,
        rows=dict(rows),
        metrics=tuple(metrics[step] for step in sorted(metrics)),
        problems=dict(_rows(files.problems, _problem)),
        recipe=header.get("recipe") or {},
        versions={name: version for name, version in (header.get("versions") or {}).items() if version},
        git=header.get("git") or "",
        created=header.get("created") or "",
        lab=bool(header.get("lab")),
        audit=_audit(files.audit),
        other_verdicts=tuple(read_jsonl(files.other_verdicts)),
    )


def _check_complete(files: RunDir, probes: Sequence[ProbePoint], counted: Mapping[int, Collection[str]]) -> None:
    """Raises UserError if probes.jsonl lacks rows of a probe that boundary.jsonl says was finished, or the reverse.

    Rows behind the last finished probe are of one that was interrupted.
    """
    known = {probe.step: probe.problems for probe in probes}
    for step in sorted({*known, *counted}):
        if step not in known and step < max(known):
            raise UserError(f"{files.boundary}: no row of step {step}, of which {files.probes.name} has "
                            f"{len(counted[step])}; restore the file")
        if known.get(step) not in (None, len(counted.get(step, ()))):
            raise UserError(f"{files.probes}: {len(counted.get(step, ()))} problems of step {step}, expected the "
                            f"{known[step]} of {files.boundary.name}; restore the file")


def read_samples(run: Run, step: int) -> Iterator[dict[str, Any]]:
    """Every stored completion of one probe step, one by one; nothing when the step has no samples file.

    These files can be larger than memory, so callers keep what they need.
    """
    path = RunDir(run.path).samples(step)
    if not path.is_file():
        return
    good = 0
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for line in file:
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ValueError("a row that is no mapping")
                good += 1
                if "problem_id" in row:  # the others are the header and the batch marks
                    yield row
                elif "header" in row and (row["header"].get("step", step) != step or "kept" in row["header"]):
                    raise UserError(f"{path}: holds the samples of something else ({str(row['header'])[:100]}); "
                                    "restore the file or delete it")
    except UserError:
        raise
    except (ValueError, AttributeError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path}:{good + 1}: cannot be read ({error}); restore the file or delete it") from None


def _audit(path: Path) -> FalsePositiveAudit | None:
    """audit.json: {"wrong_answers": judged answers that are known to be wrong, "accepted": those judged correct}."""
    if not path.is_file():
        return None
    try:
        stored = json.loads(path.read_bytes())
        return audit(int(stored["wrong_answers"]), int(stored["accepted"]))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: expected {{\"wrong_answers\": N, \"accepted\": n}} ({error}); fix it or delete "
                        "it") from None


def _rows(path: Path, read: Callable[[dict[str, Any]], T]) -> list[T]:
    """Every row of a JSONL file, [] if there is none, as `read` makes of it."""
    return [_parse(f"{path}, row {number}", row, read) for number, row in enumerate(read_jsonl(path), start=1)]


def _parse(where: str, row: dict[str, Any], read: Callable[[dict[str, Any]], T]) -> T:
    try:
        return read(row)
    except KeyError as error:
        raise UserError(f"{where}: the field {error} is missing") from None
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{where}: a field has the wrong type ({error})") from None


def _metric_row(row: dict[str, Any]) -> tuple[int, dict[str, float]]:
    return int(row["step"]), row


def _probe_point(row: dict[str, Any]) -> ProbePoint:
    decoding, sequential = row.get("decoding"), row.get("sequential") or {}
    return ProbePoint(
        step=int(row["step"]),
        kind=str(row["kind"]),
        estimates=_estimates(row["estimates"]),
        benchmark=_estimates(row.get("benchmark") or {}),
        exact={_name(key): null_to_nan(value) for key, value in (row.get("exact") or {}).items()},
        verdicts={
            int(key.split("@")[1]): SequentialVerdict(
                BoundaryVerdict(look["verdict"]),
                Estimate(*(null_to_nan(look.get(part)) for part in ("value", "low", "high"))),
            )
            for key, look in (sequential.get("verdicts") or {}).items()
        },
        look=sequential.get("look"),
        planned_looks=sequential.get("planned_looks"),
        alpha=null_to_nan(sequential.get("alpha")),
        margin=null_to_nan(sequential.get("margin")),
        companions=row.get("companions") or {},
        guess=row.get("guess"),
        plan=row.get("plan") or "",
        verifier=row.get("verifier") or "",
        decoding=Decoding(**decoding) if decoding else None,
        problems=row.get("problems"),
        unjudged={str(i): str(what) for i, what in (row.get("unjudged") or {}).items()},
        sampled=row.get("sampled") or {},
        samples=row.get("samples"),
        tokens=row.get("tokens"),
        seconds=row.get("seconds"),
        token_share=row.get("token_share"),
        budget_share=row.get("budget_share"),
        schedule=row.get("schedule"),
        lost=tuple(row.get("lost") or ()),
        gained=tuple(row.get("gained") or ()),
    )


def _problem_row(row: dict[str, Any]) -> tuple[int, str, ProblemRow]:
    parsed = ProblemRow(
        n=int(row["n"]), c=int(row["c"]), truncated=row.get("truncated"), reasons=row.get("reasons") or {},
        exact_p=row.get("exact_p"), entropy=null_to_nan(row.get("entropy")),
    )
    return int(row["step"]), str(row["problem_id"]), parsed


def _problem(row: dict[str, Any]) -> tuple[str, ProblemText]:
    return str(row["id"]), ProblemText(prompt=prompt_text(row["prompt"]), gold=str(row["gold"]),
                                      question=question_text(row["prompt"]))


def _estimates(values: Mapping[str, Mapping[str, Any]]) -> dict[str, Estimate]:
    return {
        _name(key): Estimate(*(null_to_nan(entry.get(part)) for part in ("value", "low", "high")))
        for key, entry in values.items()
    }


def _name(key: str) -> str:
    return key.removeprefix(PREFIX)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _ks(names: Mapping[str, Any], prefix: str) -> list[int]:
    return sorted(int(name.removeprefix(prefix)) for name in names if name.startswith(prefix))
