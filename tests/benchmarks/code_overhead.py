"""What a verdict of `unit_tests` costs beyond the program's own time, beside a bare `python -c` of the same program.

The programs do next to nothing, so all that is measured is overhead. Rounds alternate between the bare interpreter and
the kinds of tests of each tier, so a machine whose speed drifts slows all alike. "ahead": the pause before each verdict
(not counted) lets the next jails boot, as happens while a model generates; "back to back": no pause, so the boot of the
jails is in it. Times are wall-clock milliseconds.

Usage: python -m tests.benchmarks.code_overhead [--rounds 40] [--pause 0.15]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import time
from typing import Any

from rlvr.rewards.programs.jail_command import interpreter
from rlvr.rewards.programs.sandbox import TIERS
from rlvr.rewards.unit_tests import UnitTestsVerifier
from rlvr.types import Problem, UserError

CALL = {"kind": "call", "entry": "add", "cases": [{"args": [i, i], "expected": 2 * i} for i in range(4)]}
STDIN = {"kind": "stdin", "cases": [{"input": "1 2\n", "output": "3\n"}]}
ASSERT = {"kind": "assert", "entry": "add", "code": "assert add(1, 2) == 3\nassert add(2, 2) == 4\n"}
FUNCTION = "def add(a, b):\n    return a + b\n"
PROGRAM = "a, b = map(int, input().split())\nprint(a + b)\n"
WORK: dict[str, tuple[dict[str, Any], str]] = {
    "call, 4 cases": (CALL, FUNCTION), "stdin, 1 case": (STDIN, PROGRAM), "assert": (ASSERT, FUNCTION),
}


def verdict_ms(verifier: UnitTestsVerifier, tests: dict[str, Any], program: str) -> float:
    problem = Problem(id="p", prompt="", gold="", verifier="unit_tests", extra={"tests": tests})
    text = f"```python\n{program}```"
    begun = time.perf_counter()
    verdict = verifier.verify(problem, text)
    spent = 1000 * (time.perf_counter() - begun)
    assert verdict.correct is True, verdict
    return spent


def bare_ms() -> float:
    begun = time.perf_counter()
    subprocess.run([interpreter().executable, "-s", "-S", "-c", PROGRAM], input="1 2\n", text=True, check=True,
                   capture_output=True)
    return 1000 * (time.perf_counter() - begun)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--pause", type=float, default=0.15, help="seconds before a verdict in which jails boot")
    arguments = parser.parse_args()
    verifiers: dict[str, UnitTestsVerifier] = {}
    for tier in TIERS:
        try:
            verifiers[tier] = UnitTestsVerifier(tier)
        except UserError as error:
            print(f"{tier}: not measured: {error}")
    times: dict[str, list[float]] = {"bare python -c": []}
    for _ in range(arguments.rounds):
        times["bare python -c"].append(bare_ms())
        for tier, verifier in verifiers.items():
            for name, (tests, program) in WORK.items():
                time.sleep(arguments.pause)
                times.setdefault(f"{tier}: {name}, ahead", []).append(verdict_ms(verifier, tests, program))
    for tier, verifier in verifiers.items():
        times[f"{tier}: call, 4 cases, back to back"] = [
            verdict_ms(verifier, CALL, FUNCTION) for _ in range(arguments.rounds)]
    bare = statistics.median(times["bare python -c"])
    print(f"{'':45} {'p50 ms':>7} {'p90 ms':>7} {'/ bare':>7}")
    for name, values in times.items():
        p90 = sorted(values)[int(0.9 * (len(values) - 1))]
        median = statistics.median(values)
        print(f"{name:45} {median:7.1f} {p90:7.1f} {median / bare:7.2f}")
    for verifier in verifiers.values():
        verifier.close()


if __name__ == "__main__":
    main()
