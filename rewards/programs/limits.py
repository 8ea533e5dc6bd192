"""What one program may use while it is judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

OUTPUT_BYTES = 4 * 2**20
"""What a program may print in one test where the expected output is short: more is `output_limit`."""
LEAST_MIB = 40
"""The interpreter has 30 before it runs a program."""


@dataclass(frozen=True)
class Limits:
    """`Problem.extra["limits"]` sets some of these."""

    seconds: float = 4.0
    """CPU seconds of one test; twice as much wall time, not counting the time in which other processes had the CPU."""
    total_seconds: float | None = None
    """Wall seconds of all tests. None: as many as the tests may use one by one (`total`)."""
    memory_mib: float = 1024
    """Address space in MiB, the interpreter's own 30 and the stacks of threads included; at least 40."""

    def total(self, tests: Mapping[str, Any]) -> float:
        """Wall seconds of all tests: a second more than each may use, and 4; of test code 61, as evalplus has it."""
        if self.total_seconds is not None:
            return self.total_seconds
        if tests["kind"] in ("call", "stdin"):
            return (self.seconds + 1) * len(tests["cases"]) + 4
        return max(61.0, self.seconds + 1)

    def at_most(self, tests: Mapping[str, Any]) -> float:
        """Wall seconds after which a verdict ends on a machine where other processes have the CPU most of the time."""
        return self.total_seconds or 2 * self.total(tests) + 5

    def output_bytes(self, tests: Mapping[str, Any]) -> int:
        """What a program may print in one test: twice what the longest right answer has, and a MiB more."""
        longest = max((len(case["output"]) for case in tests["cases"]), default=0) if tests["kind"] == "stdin" else 0
        return max(OUTPUT_BYTES, 2 * 4 * longest + 2**20) if longest > OUTPUT_BYTES // 8 else OUTPUT_BYTES


LIMITS = tuple(field.name for field in fields(Limits))


def positive(value: Any) -> bool:
    """Whether a limit is a number that can be one."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e6
