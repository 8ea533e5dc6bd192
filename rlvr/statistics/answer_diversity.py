"""How many different answers a model gives: distinct answers, agreement and answer entropy per problem.

Computed from the answers of a plan's first round, an i.i.d. batch of the same size for every problem. All samples of a
problem cannot be used: sampling continues while answers are wrong, so wrong answers would be over-represented on
problems that stop late, and problems would be compared at different sizes. `answer_diversity` therefore takes the size
and refuses other counts.

Completions without a readable answer are left out; `answered` says how many had one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from rlvr.types import UserError


@dataclass(frozen=True, slots=True)
class AnswerDiversity:
    """Diversity of the answers to one problem. NaN: too few answers could be read."""

    answered: int
    """Completions with a readable answer, of the first round."""
    distinct: int
    """Different answers among them. Grows with the number of samples: compare at one first_round only."""
    agreement: float
    """Chance that two independent answers are the same, sum_a p_a^2, in [0, 1]; unbiased. NaN below two answers."""
    entropy: float
    """Entropy of the answer distribution in nats, >= 0: plug-in plus Miller and Madow's (1955) (distinct - 1) / (2 m)
    for m answers; it still falls short when most answers are seen once. NaN without answers."""


def answer_diversity(answers: Mapping[str, int], first_round: int) -> AnswerDiversity:
    """Diversity from the times each readable answer occurred in the first round.

    Raises UserError for a count below 1 or more answers than `first_round` samples (counts of later rounds).
    """
    m = sum(answers.values())
    if any(times < 1 for times in answers.values()):
        raise UserError(f"answer_diversity: counts {sorted(answers.values())[:3]} ...; expected at least 1 per answer")
    if m > first_round:
        raise UserError(f"answer_diversity: {m} answers from a first round of {first_round} samples; expected "
                        "the first round alone: later rounds are drawn because answers were wrong")
    pairs = sum(times * (times - 1) for times in answers.values())
    plug_in = -sum(times / m * math.log(times / m) for times in answers.values())
    return AnswerDiversity(
        answered=m,
        distinct=len(answers),
        agreement=pairs / (m * (m - 1)) if m > 1 else math.nan,
        entropy=plug_in + (len(answers) - 1) / (2 * m) if m else math.nan,
    )


def expected_distinct(answers: Mapping[str, int], size: int) -> float:
    """Expected number of different answers among `size` of the answers: compares problems or probes of unequal m.

    Rarefaction (Hurlbert 1971): sum_a 1 - C(m - m_a, size) / C(m, size); unbiased for what `size` fresh answers show.
    Raises UserError for a size outside 1..m.
    """
    m = sum(answers.values())
    if not 1 <= size <= m:
        raise UserError(f"expected_distinct: size {size} of {m} answers; expected a size in 1..{m}")
    total = math.comb(m, size)
    return sum((total - math.comb(m - times, size)) / total for times in answers.values())
