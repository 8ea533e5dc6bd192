"""Problems whose answer is guessed rather than worked out: the direct-answer filter of 2504.13837 (E6, figure 12).

The base model is asked many times for the answer at once, without a chain of thought. A problem that it then answers
correctly now and then, with an accuracy above 0 and below 5%, can be guessed: at large k luck alone would solve it, so
it is left out. A problem that it never answers this way needs reasoning, one that it often answers is easy; both are
kept.

The filter is frozen from the base model's samples, so the kept problems stay the same during training. It depends on
the number of samples: with more, fewer problems have exactly none right. Accuracies are c / n with the same n for every
problem; a plan that stops early would bias them.
"""

from __future__ import annotations

from collections.abc import Sequence

from rlvr.types import Counts, UserError

THRESHOLD = 0.05
"""The paper's: guessable are accuracies in (0, 5%)."""


def guessable_ids(direct: Sequence[Counts], threshold: float = THRESHOLD) -> list[str]:
    """Ids of the problems with 0 < c / n < threshold among the base's direct answers, in their order.

    Raises: UserError unless every problem has the same number of samples, at least one.
    """
    sizes = sorted({one.n for one in direct})
    if len(sizes) != 1 or sizes[0] < 1:
        raise UserError(f"direct answers: found {sizes} samples per problem, expected one number, at least 1, for all: "
                        "a plan that stops early biases accuracies; measure them with a plan of one round")
    return [one.problem_id for one in direct if 0 < one.c / one.n < threshold]
