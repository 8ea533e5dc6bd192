"""Judge every gold answer with its own verifier before a model loads: a gold that its verifier rejects is an error.

Bad golds are not mere noise: in one public benchmark a fifth of the problems was graded against something other than
the gold answer before anyone checked (rlvr.rewards.math_answer). `rlvr audit` lists them all.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from rlvr.config.data import DataSpec
from rlvr.judging.judge import GoldComplaint
from rlvr.runs.waiting import told
from rlvr.types import Problem, UserError

logger = logging.getLogger(__name__)

NAMED = 3
"""Rejected golds that a message names; the rest are counted."""


@dataclass(frozen=True)
class Section:
    """Problems of one section of a recipe."""

    where: str
    """Dotted path: `data.train`."""
    spec: DataSpec
    problems: Sequence[Problem]


class GoldJudge(Protocol):
    """The part of a `Judge` that is asked here."""

    def check_golds(self, problems: Sequence[Problem]) -> list[GoldComplaint | None]:
        """For each problem None, or what is wrong with its gold answer."""
        ...


def usable(judge: GoldJudge, sections: Sequence[Section]) -> list[list[Problem]]:
    """The problems of each section whose gold answer its verifier accepts.

    Raises UserError, one line, for a section with rejected golds unless its `drop_bad_golds` is set (then they are
    left out and logged), and for a section of which nothing is left.
    """
    problems = [problem for section in sections for problem in section.problems]
    with told(f"judging {len(problems):,} gold answers, before anything is trained or measured; Ctrl-C stops it, and "
              "judge.workers=N judges N at a time"):
        complaints = iter(judge.check_golds(problems))
    kept: list[list[Problem]] = []
    for section in sections:
        checked = [(problem, next(complaints)) for problem in section.problems]
        bad = [(problem, complaint) for problem, complaint in checked if complaint is not None]
        good = [problem for problem, complaint in checked if complaint is None]
        if bad and not (section.spec.drop_bad_golds and good):
            raise UserError(_refusal(section, bad))
        if bad:
            logger.warning("%s: %d of %d problems are left out (drop_bad_golds): %s", section.where, len(bad),
                           len(checked), _named(bad))
        kept.append(good)
    return kept


def _refusal(section: Section, bad: Sequence[tuple[Problem, GoldComplaint]]) -> str:
    problem = bad[0][0]
    if all(complaint.verifier_failed for _, complaint in bad):
        return (f"{section.where}: verifier {problem.verifier!r} fails on {len(bad)} of {len(section.problems)} gold "
                f"answers, by an error of its own: {_named(bad)}; fix the verifier")
    way_out = "nothing is left without them" if section.spec.drop_bad_golds else (
        f"fix the rows, choose another verifier, or leave them out with {section.where}.drop_bad_golds=true; "
        "`rlvr audit` lists all")
    return (f"{section.where}: verifier {problem.verifier!r} rejects its gold answer in {len(bad)} of "
            f"{len(section.problems)} problems: {_named(bad)}; {way_out}")


def _named(bad: Sequence[tuple[Problem, GoldComplaint]]) -> str:
    named = "; ".join(f"{problem.id!r}: {' '.join(complaint.split())[:300]}" for problem, complaint in bad[:NAMED])
    return named + (f"; and {len(bad) - NAMED} more" if len(bad) > NAMED else "")
