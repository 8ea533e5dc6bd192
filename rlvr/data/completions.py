"""Completions that were sampled elsewhere (vLLM, verl, an API), read from a JSONL file and used like fresh samples.
The samples/step-*.jsonl.gz of a run are read as well.

One row per completion, in any order:

    {"problem_id": "aime/3", "sample": 0, "text": "... \\boxed{17}", "step": 60, "truncated": false, "tokens": 812}

`problem_id` is the id that the data gives the problem; `sample` counts the completions of a problem from 0 in the order
they were drawn, without gaps. Optional: `step` (of the checkpoint; 0 is the base), `truncated` (cut at the token limit:
judged wrong, as in every probe), `tokens` (generated tokens), `correct` (what another judge said, to compare with).
Other fields are ignored. Files of other programs: rlvr.data.foreign.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rlvr.data.foreign.record import Record, gold_of, text_of
from rlvr.data.sources import jsonl_rows
from rlvr.interfaces import SampleRequest
from rlvr.runs.samples import read_samples
from rlvr.statistics.plan import SamplingPlan
from rlvr.types import Completion, Decoding, Problem, UserError

FIELDS = ("problem_id", "sample", "text", "step", "truncated", "tokens", "correct")
REQUIRED = FIELDS[:3]
MOST = 10**12
"""Of a count: sums of more are no floats any longer."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A completion in a file."""

    at: str
    """Its place, for error messages."""
    step: int | None
    completion: Completion
    correct: bool | None = None
    """The verdict of whoever wrote the file; None where it gave none."""


class FileSampler:
    """The completions of one step; a `rlvr.interfaces.Sampler` that draws nothing."""

    def __init__(
        self, where: str, by_problem: dict[str, list[Completion]],
        verdicts: Mapping[tuple[str, int], bool] = MappingProxyType({}),
    ) -> None:
        self._where = where
        self._by_problem = by_problem
        self.verdicts = verdicts
        """(problem id, sample) -> what the file itself says of it, right or wrong; without those it says nothing of."""
        self.size = sum(map(len, by_problem.values()))
        digest = sha256()
        for problem_id in sorted(by_problem):
            for c in by_problem[problem_id]:
                digest.update(json.dumps([problem_id, c.sample, c.text, c.truncated, c.num_tokens]).encode())
        self.digest = digest.hexdigest()

    def sample(
        self, requests: Sequence[SampleRequest], decoding: Decoding, *, seed: int, stream: str
    ) -> list[Completion]:
        """The requested completions. Raises UserError if the file lacks one."""
        for request in requests:
            self._check_has(request.problem.id, request.sample + 1)
        return [self._by_problem[request.problem.id][request.sample] for request in requests]

    def check_plan(self, plan: SamplingPlan) -> None:
        """Raises UserError unless the file has the plan's first round of every problem."""
        for problem_id in self._by_problem:
            self._check_has(problem_id, plan.first_round)

    def _check_has(self, problem_id: str, count: int) -> None:
        if (given := len(self._by_problem[problem_id])) < count:
            raise UserError(f"{self._where}: problem {problem_id!r} has {_completions(given)} and the plan asks for "
                            "more: the file was not sampled with this plan; pass the right --plan, or leave it out if "
                            "every problem has the same number")

    def fixed_plan(self) -> SamplingPlan:
        """The plan that gives every problem as many samples as the one with the fewest has."""
        return SamplingPlan((min(map(len, self._by_problem.values())),))

    def uneven(self) -> str | None:
        """Which problems have the fewest and the most completions, as words; None if all have the same number."""
        ordered = sorted(self._by_problem, key=lambda problem_id: len(self._by_problem[problem_id]))
        few, many = len(self._by_problem[ordered[0]]), len(self._by_problem[ordered[-1]])
        if few == many:
            return None
        return (f"{self._where}: problem {ordered[0]!r} has {_completions(few)}, {ordered[-1]!r} has {many}; pass@k is "
                f"estimated from the first {few} of each and up to k = {few}, since for larger k a problem with fewer "
                "has no unbiased estimate. This holds if no number of completions depends on an answer: if a "
                "sequential plan drew them, name it (--plan); if wrong ones were lost, complete the file")


def _completions(count: int) -> str:
    return f"{count} completion{'s' if count != 1 else ''}"


def read_completions(path: Path, problems: Sequence[Problem], *, default_step: int) -> dict[int, FileSampler]:
    """The completions of every step in a file, by step; rows without `step` belong to `default_step`.

    Raises: UserError with file and line for a row that is not one, an unknown problem, a sample given twice; and with
    the file for problems without completions and gaps in the numbers of the samples.
    """
    known = {problem.id for problem in problems}
    rows = (_completion(at, row, known) for at, row in _rows(path, REQUIRED))
    return by_step(str(path), rows, problems, default_step=default_step)


def by_step(
    where: str, drawn: Iterable[Drawn], problems: Sequence[Problem], *, default_step: int
) -> dict[int, FileSampler]:
    """Step -> its completions. Raises UserError as `read_completions` does for what single rows do not show."""
    steps: dict[int, dict[str, dict[int, Drawn]]] = {}
    first: Drawn | None = None
    for one in drawn:
        first = first or one
        if (one.step is None) != (first.step is None):
            raise UserError(f"{one.at}: {'no' if one.step is None else 'a'} step, unlike {first.at}; give it in every "
                            "row, or in none")
        completion = one.completion
        of_step = steps.setdefault(default_step if one.step is None else one.step, {})
        of_problem = of_step.setdefault(completion.problem_id, {})
        if completion.sample in of_problem:
            raise UserError(f"{one.at}: sample {completion.sample} of problem {completion.problem_id!r} again, first "
                            f"in {of_problem[completion.sample].at}; a sample counts once: remove one, or number it "
                            "anew")
        of_problem[completion.sample] = one
    samplers = {}
    for step in sorted(steps):
        at = f"{where}, step {step}" if first is not None and first.step is not None else where
        absent = [problem.id for problem in problems if problem.id not in steps[step]]
        if absent:
            raise UserError(f"{at}: no completions of {len(absent)} of {len(problems)} problems (first: "
                            f"{absent[0]!r}); complete the file, or narrow the data to what was sampled")
        samplers[step] = FileSampler(
            at, {name: _without_gaps(at, name, by_sample) for name, by_sample in steps[step].items()},
            {(name, sample): one.correct for name, by_sample in steps[step].items()
             for sample, one in by_sample.items() if one.correct is not None})
    return samplers


def read_texts(path: Path) -> list[tuple[str, str]]:
    """(problem id, text) of every row, in order, where samples are not counted: no other field is needed.

    Raises: UserError with file and line for a row that is not one.
    """
    return [(str(row["problem_id"]), _text(at, row)) for at, row in _rows(path, ("problem_id", "text"))]


def records_of(path: Path) -> Iterator[Record]:
    """The rows of a file that names questions and gold answers itself, in the fields `gold` and, if given, `prompt`.

    Raises: UserError with file and line for a row that is not one.
    """
    for at, row in _rows(path, REQUIRED):
        if "gold" not in row:
            raise UserError(f"{at}: no gold answer in the file; name the problems with --data, or give every row the "
                            "fields gold and prompt")
        one = _completion(at, row, {str(row["problem_id"])})
        completion = one.completion
        yield Record(at, completion.text, text_of(row.get("prompt")), completion.problem_id, gold_of(row["gold"]),
                     completion.sample, one.step, completion.truncated, completion.num_tokens, correct=one.correct)


def _rows(path: Path, required: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(place for error messages, row) of a file whose rows must have the fields `required`."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected completions, one JSON object per line with "
                        f"{', '.join(required)}, or the samples/step-*.jsonl.gz of a run")
    empty = True
    for at, row in _sample_rows(path) if path.suffix == ".gz" else jsonl_rows(path):
        for name in required:
            if name not in row:
                raise UserError(f"{at}: no field {name!r}; expected {', '.join(required)} (found: {', '.join(row)})")
        empty = False
        yield at, row
    if empty:
        raise UserError(f"{path}: found no rows, expected at least one completion per problem")


def _sample_rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number, row in enumerate(read_samples(path), start=1):
        yield f"{path}: sample {number}", row


def _text(at: str, row: Mapping[str, Any]) -> str:
    if not isinstance(row["text"], str):
        raise UserError(f"{at}: text is {type(row['text']).__name__}, expected the completion as text")
    return row["text"]


def _without_gaps(where: str, problem_id: str, by_sample: Mapping[int, Drawn]) -> list[Completion]:
    for sample in range(len(by_sample)):
        if sample not in by_sample:
            raise UserError(f"{where}: problem {problem_id!r} has {_completions(len(by_sample))}, but sample {sample} "
                            f"is not among them; expected 0 to {len(by_sample) - 1}: a dropped sample biases pass@k: "
                            "complete the file, or number the samples anew if none was dropped")
    return [by_sample[sample].completion for sample in range(len(by_sample))]


def _completion(at: str, row: Mapping[str, Any], known: set[str]) -> Drawn:
    for name in row:
        close = difflib.get_close_matches(name, FIELDS, n=1, cutoff=0.8)
        if name not in FIELDS and close and close[0] not in row:
            raise UserError(f"{at}: unknown field {name!r}; did you mean {close[0]!r}?")
    problem_id = row["problem_id"]
    if type(problem_id) is int:
        problem_id = str(problem_id)
    if not isinstance(problem_id, str) or problem_id not in known:
        close = difflib.get_close_matches(str(problem_id), sorted(known), n=1)
        example = close[0] if close else min(known)
        raise UserError(f"{at}: problem {problem_id!r} is not in the data; expected ids such as {example!r} "
                        "(data.probe.id names their column)")
    text = _text(at, row)
    truncated = row.get("truncated", False)
    if not isinstance(truncated, bool):
        raise UserError(f"{at}: truncated is {truncated!r}, expected true or false")
    sample = _count(at, "sample", row["sample"])
    tokens = None if row.get("tokens") is None else _count(at, "tokens", row["tokens"])
    step = None if row.get("step") is None else _count(at, "step", row["step"])
    correct = row.get("correct")
    if correct is not None and not isinstance(correct, bool):
        raise UserError(f"{at}: correct is {correct!r}, expected true, false or null")
    return Drawn(at, step, Completion(problem_id, sample, text, tokens, truncated), correct)


def _count(at: str, name: str, value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MOST:
        found = f"{value!r}" if type(value) is not int or abs(value) < 10**20 else "a number of more than 20 digits"
        raise UserError(f"{at}: {name} is {found}, expected a whole number from 0 on, at most {MOST:,}")
    return value
