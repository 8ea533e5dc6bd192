"""A DataSpec -> the problems it describes."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

from rlvr.config.data import GYM, LAB, DataSpec, check_spec, is_file, pattern_of
from rlvr.data.rows import NoGold, problem_of
from rlvr.data.sources import chosen_rows
from rlvr.types import Problem, UserError

logger = logging.getLogger(__name__)


def load_problems(spec: DataSpec, *, where: str, without_gold: list[str] | None = None) -> list[Problem]:
    """All problems of a source, in its order. `where` is the dotted path of the spec, such as `data.train`.

    Rows without a readable gold answer are an error, or left out with `spec.drop_bad_golds`. A list
    `without_gold` gets a line for each of them instead.

    Raises UserError with file and line (JSONL, from 1) or row (Parquet and hub, from 0): missing file, bad JSON,
    missing column, no gold answer, a pattern that does not match, an id given twice, too few rows, none at all.
    """
    check_spec(spec, where)
    if spec.source == LAB:
        return _lab_problems(spec, where)
    if spec.source.startswith(GYM):
        from rlvr.data.gym import gym_problems

        return gym_problems(spec, where)
    pattern = pattern_of(spec.gold_pattern, where) if spec.gold_pattern is not None else None
    hub_names = [part for part in (spec.source, spec.config, spec.split) if part]
    label = Path(spec.source).stem if is_file(spec.source) else "/".join(hub_names)
    problems: list[Problem] = []
    first_at: dict[str, str] = {}
    dropped: list[str] = []
    for index, (at, row) in chosen_rows(spec, where):
        try:
            problem = problem_of(row, at, f"{label}/{index}", spec, pattern, where)
        except NoGold as error:
            if not spec.drop_bad_golds and without_gold is None:
                raise
            dropped.append(str(error))
            continue
        if problem.id in first_at:
            raise UserError(f"{at}: id {problem.id!r} again, first in {first_at[problem.id]}; ids must be unique: "
                            f"choose another column for {where}.id, or remove it to number the rows")
        first_at[problem.id] = at
        problems.append(problem)
    if without_gold is not None:
        without_gold += dropped
    elif dropped:
        logger.warning("%s: %d of %d rows have no readable gold answer and are left out (drop_bad_golds); the "
                       "first: %s", where, len(dropped), len(problems) + len(dropped), dropped[0])
    if not problems and dropped:
        raise UserError(f"{where}.source: none of the {len(dropped)} rows of {spec.source!r} has a gold answer that "
                        f"can be read; the first: {dropped[0]}")
    if not problems:
        left_out = " that are not multiple choice" if spec.multiple_choice == "drop" else ""
        raise UserError(f"{where}.source: found no rows{left_out} in {spec.source!r}{_after_skip(spec)}, expected at "
                        "least one")
    rows = len(problems) + len(dropped)
    if spec.size is not None and rows < spec.size:
        raise UserError(f"{where}.size: found {spec.size}, but the source has {rows} rows{_after_skip(spec)}; "
                        "lower it")
    return problems


def _lab_problems(spec: DataSpec, where: str) -> list[Problem]:
    from rlvr.lab import countdown

    assert spec.size is not None  # check_spec refused null
    try:
        problems = countdown.problems(spec.split, spec.size)
    except UserError as error:
        raise UserError(f"{where}.size: {error}") from None
    if spec.verifier is None:
        return problems
    return [dataclasses.replace(problem, verifier=spec.verifier) for problem in problems]


def _after_skip(spec: DataSpec) -> str:
    return f" after the {spec.skip} skipped" if spec.skip else ""
