"""What a comparison says: a reason, and the path that decided."""

from __future__ import annotations

from typing import NamedTuple

from rlvr.types import Reason

REASONS = {"same": Reason.SYMBOLIC, "multiset": Reason.MULTISET, "other": Reason.WRONG_ANSWER}
"""Of the comparison of two lists."""


class Outcome(NamedTuple):
    """`reason` decides: identical, exact_number and symbolic are correct, the others wrong."""

    reason: Reason
    tier: str

    @property
    def correct(self) -> bool:
        return self.reason in (Reason.IDENTICAL, Reason.EXACT_NUMBER, Reason.SYMBOLIC)


WRONG = Outcome(Reason.WRONG_ANSWER, "guard")
