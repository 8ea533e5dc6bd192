"""Fuzzing with a budget: some seconds for each surface in every test run, hours by hand.

Run for longer: python -m pytest tests/fuzz --hours 2      (the hours are shared by the surfaces)
Examples come from hypothesis with seeds 0, 1, 2, ...: a failure prints its seed and the smallest input that fails.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from hypothesis import HealthCheck, Phase, given, note, seed, settings
from hypothesis.strategies import SearchStrategy

SLOWEST = 5.0
"""CPU seconds that one example may take. Input of a few kilobytes that takes longer is an attack that worked."""
HANGS = 60.0
"""Seconds by the clock after which it hangs, also on a busy machine."""


def fuzz(inputs: SearchStrategy[Any], check: Callable[[Any], None], seconds: float, *, batch: int = 40) -> int:
    """Call `check` on inputs until `seconds` are over, in batches of one seed; returns how many.

    Fails with the smallest input that fails.
    """
    count, number, end = 0, 0, time.monotonic() + seconds

    def one(value: Any) -> None:
        nonlocal count
        count += 1
        note(f"seed {number}")
        with at_most(SLOWEST):
            check(value)

    while number == 0 or time.monotonic() < end:
        profile = settings(
            max_examples=batch,
            deadline=None,
            database=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
            phases=(Phase.explicit, Phase.generate, Phase.shrink),
            print_blob=False,
        )
        seed(number)(profile(given(inputs)(one)))()
        number += 1
    return count


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Fail in a `with` block that takes longer, in CPU time, or that hangs."""

    def late(signum: int, frame: FrameType | None) -> None:
        raise AssertionError(f"took longer than {seconds:g} s")

    clocks = ((signal.SIGALRM, signal.ITIMER_REAL, HANGS), (signal.SIGVTALRM, signal.ITIMER_VIRTUAL, seconds))
    before = [signal.signal(number, late) for number, _, _ in clocks]
    for _, timer, limit in clocks:
        signal.setitimer(timer, limit)
    try:
        yield
    finally:
        for (number, timer, _), handler in zip(clocks, before, strict=True):
            signal.setitimer(timer, 0)
            signal.signal(number, handler)
