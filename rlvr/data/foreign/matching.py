"""Which problem a record of another program answers: one of the data's, or one that its own file holds."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path

from rlvr.config.data import NEUTRAL_TEMPLATE
from rlvr.data.completions import Drawn, FileSampler, by_step
from rlvr.data.foreign.files import Foreign
from rlvr.data.foreign.record import Record
from rlvr.data.problem_sets import normal, question
from rlvr.types import Completion, Problem, UserError, hidden

HEAD = 24
"""Characters of a question by which it is looked up in a prompt; fewer if the shortest question has fewer."""


def problems_in(records: Iterable[Record], *, verifier: str) -> list[Problem]:
    """The problems that the files themselves hold, in the order of their first records.

    Raises: UserError for a problem without a gold answer, and for one with two.
    """
    problems: dict[str, Problem] = {}
    for record in records:
        name = own_id(record)
        if record.gold is None:
            raise UserError(f"{record.at}: no gold answer in the file; name the problems with --data, which are found "
                            "by their questions")
        if any(map(hidden, name)):
            raise UserError(f"{record.at}: the id of the problem is {name!r}, expected text in one line without "
                            "control characters")
        before = problems.setdefault(name, Problem(name, record.question or name, record.gold, verifier))
        if before.gold != record.gold:
            raise UserError(f"{record.at}: the gold answer of {name!r} is {record.gold!r}, earlier {before.gold!r}; "
                            "expected one: name the problems with --data")
    return list(problems.values())


def own_id(record: Record) -> str:
    """The file's id of a problem; without one, a hash of the question, which is the same in every file."""
    if record.problem_id is not None:
        return record.problem_id
    return f"question-{sha256(normal(record.question).encode()).hexdigest()[:12]}"


class Matcher:
    """Finds the problem of the data that a record answers: by its question, else by its id."""

    def __init__(self, problems: Sequence[Problem], template: str = NEUTRAL_TEMPLATE) -> None:
        self._ids = {problem.id for problem in problems}
        self._by_question = {normal(question(problem, template)): problem.id for problem in problems}
        self._head = min([HEAD, *(len(asked) for asked in self._by_question if asked)])
        self._by_head: dict[str, list[str]] = defaultdict(list)
        """First characters -> the questions that begin so: a prompt is read once, not once per question."""
        for asked in filter(None, self._by_question):
            self._by_head[asked[: self._head]].append(asked)
        self._known: dict[str, str | None] = {}
        """Question as the file has it -> id."""

    def id_of(self, record: Record) -> str | None:
        """None for a record of a problem that the data does not hold."""
        if record.question not in self._known:
            self._known[record.question] = self._asked_in(normal(record.question))
        found = self._known[record.question]
        return record.problem_id if found is None and record.problem_id in self._ids else found

    def _asked_in(self, prompt: str) -> str | None:
        """The problem whose question stands last in a prompt: before it there may be examples, around it a template."""
        if prompt in self._by_question:
            return self._by_question[prompt]
        found = [(start + len(asked), len(asked), asked) for start in range(len(prompt))
                 for asked in self._by_head.get(prompt[start : start + self._head], ())
                 if prompt.startswith(asked, start)]
        # Of two questions that end at one place the shorter is the tail of the longer.
        return self._by_question[max(found)[2]] if found else None


def completions_of(
    foreign: Foreign, where: Path, problems: Sequence[Problem], *, default_step: int, matcher: Matcher | None = None,
) -> dict[int, FileSampler]:
    """Step -> the completions in the files; `matcher` None: the problems are those of the files.

    Completions that lack a number are numbered in the order of the files. Records of other problems and lost ones are
    left out and counted on stderr. Raises UserError as `rlvr.data.completions.by_step` does.
    """
    if not foreign.records:
        raise UserError(f"{where}: found no completions in the file of {foreign.family}, expected at least one")
    kept: dict[tuple[int | None, str], list[Record]] = defaultdict(list)
    others = lost = 0
    for record in foreign.records:
        name = own_id(record) if matcher is None else matcher.id_of(record)
        if name is None:
            others += 1
        elif record.lost:
            lost += 1
        else:
            kept[record.step, name].append(record)
    if others == len(foreign.records):
        raise UserError(f"{where}: none of its {others:,} completions is of a problem of the data (the first asks "
                        f"{foreign.records[0].question[:80]!r}); expected files that were drawn for these problems: "
                        "check --data")
    if others:
        sys.stderr.write(f"{where}: {others:,} of {len(foreign.records):,} completions are of problems that the data "
                         "does not hold and are left out\n")
    if lost:
        sys.stderr.write(f"{where}: {lost:,} of {len(foreign.records):,} samples ended in an error and are left out\n")
    drawn = [one for (_, name), records in kept.items() for one in _numbered(name, records)]
    return by_step(str(where), drawn, problems, default_step=default_step)


def _numbered(problem_id: str, records: list[Record]) -> list[Drawn]:
    """Completions of one problem and step, numbered without the gaps of lost ones."""
    given = [record.sample for record in records]
    if None not in given:
        records = sorted(records, key=lambda record: record.sample or 0)
        given = [record.sample for record in records]
    if None not in given and len(set(given)) < len(given):
        twice = next(index for index in range(1, len(given)) if given[index] == given[index - 1])
        raise UserError(f"{records[twice].at}: sample {given[twice]} of problem {problem_id!r} again, first in "
                        f"{records[twice - 1].at}; these are two evaluations: name the file or folder of one")
    return [
        Drawn(record.at, record.step, Completion(problem_id, number, record.text, record.tokens, record.truncated),
              record.correct)
        for number, record in enumerate(records)
    ]
