"""What a program may use: not less than the dataset's own judge gives it, whatever else the machine does.

Run: python -m pytest tests/rewards/test_program_limits.py
"""

from __future__ import annotations

import base64
import multiprocessing
import pickle
import time
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from rlvr.judging.judge import Judge
from rlvr.rewards.programs import jail, test_rows
from rlvr.rewards.programs.code_block import in_block
from rlvr.rewards.programs.code_rows import code_r1, humaneval_plus, livecodebench, mbpp_plus
from rlvr.rewards.programs.compare import Clock, TooLong, received, same_value
from rlvr.rewards.programs.limits import Limits
from rlvr.rewards.programs.wire import pack
from rlvr.rewards.unit_tests import UnitTestsVerifier
from rlvr.types import Problem, Reason, UserError, Verdict
from tests.rewards.test_unit_tests import CODE_R1_LEETCODE, CODE_R1_TACO, HUMANEVAL, LCB_FUNCTIONAL, LCB_STDIN, MBPP
from tests.support.sandbox_tiers import each_tier


@pytest.fixture(scope="module")
def verifier() -> Iterator[UnitTestsVerifier]:
    verifier = UnitTestsVerifier()
    yield verifier
    verifier.close()


def stdin(*pairs: tuple[str, str]) -> dict[str, Any]:
    return {"kind": "stdin", "cases": [{"input": given, "output": wanted} for given, wanted in pairs]}


def judged(verifier: UnitTestsVerifier, tests: dict[str, Any], program: str, **limits: float) -> Verdict:
    return verifier.verify(Problem("p", "", "", "unit_tests", {"tests": tests, "limits": limits}), in_block(program))


HONEST = [
    (stdin(("", "3")), "print('\\n3')", "a leading empty line"),
    (stdin(("", "3\n")), "print(3)\nimport sys\nsys.stdout.close()", "a closed stdout"),
    (stdin(("", "3\n")), "import os, sys\nprint(3)\nsys.stdout.flush()\nos.close(1)", "a closed descriptor"),
    (stdin(("", "3\n")), "import sys\nsys.stdout.write('3')\nsys.stdout = None", "no stdout"),
    (stdin(("", str(10**3000) * 2 + "\n")), "print(int(str(10**3000) * 2))", "an integer of 6,002 digits"),
    (stdin(("", "ab\n" * 1_700_000)), "print('ab\\n' * 1_700_000)", "5 MB of right output"),
    (stdin(("", "é" * 3_000_000)), "print('é' * 3_000_000)", "6 MB of UTF-8"),
    (stdin(("4", "5")), "import sys, threading\nsys.setrecursionlimit(10**6)\nthreading.stack_size(512 << 20)\n"
     "t = threading.Thread(target=lambda: print(int(input()) + 1))\nt.start()\nt.join()", "a stack of 512 MiB"),
    (stdin(("", "700")), "print(len(bytearray(700 << 20)) >> 20)", "700 MiB"),
    (stdin(("", "120")), "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor(16) as pool:\n"
     "    print(sum(pool.map(int, range(16))))", "16 threads"),
    (stdin(("", "120")), "import threading\nb = threading.Barrier(33)\n"
     "for _ in range(32): threading.Thread(target=b.wait).start()\nb.wait()\nprint(120)", "32 threads at once"),
    (stdin(("", "1")), "import asyncio\nasync def f(): return 1\nprint(asyncio.run(f()))", "asyncio's socket pair"),
]


@pytest.mark.parametrize(("tests", "program"), [pytest.param(*case[:2], id=case[2]) for case in HONEST])
def test_honest_programs_have_room(verifier: UnitTestsVerifier, tests: dict[str, Any], program: str) -> None:
    assert judged(verifier, tests, program).reason is Reason.TESTS_PASSED


def test_output_beyond_reason_still_ends(verifier: UnitTestsVerifier) -> None:
    program = "while True: print('x' * 1000)"
    for wanted in ("x", "ab\n" * 1_700_000):
        assert judged(verifier, stdin(("", wanted)), program).reason is Reason.OUTPUT_LIMIT


def test_the_time_of_all_tests_grows_with_their_number(verifier: UnitTestsVerifier) -> None:
    """Bug: 9 s for all tests together, where the dataset gives each of them 6."""
    tests = stdin(*[("", "1")] * 30)
    assert Limits(seconds=6).total(tests) >= 7 * 30
    program = "import time\ntime.sleep(0.4)\nprint(1)"
    begun = time.monotonic()
    assert judged(verifier, tests, program).reason is Reason.TESTS_PASSED
    assert time.monotonic() - begun > 11
    assert judged(verifier, stdin(*[("", "1")] * 9), program, total_seconds=1.0).reason is Reason.TIMEOUT


def test_the_judge_grants_what_the_tests_may_take() -> None:
    """Its own timeout is for verifiers that have none; a limit in the recipe that contradicts it is refused."""
    tests = stdin(*[("", "1")] * 4)
    problem = Problem("p", "", "", "unit_tests", {"tests": tests, "limits": {"seconds": 2}})
    assert (UnitTestsVerifier.granted(problem) or 0) > 16
    with Judge(workers=1, timeout=1.0) as judge:
        assert judge.check_golds([problem]) == [None]
        (verdict,) = judge.judge([problem], [in_block("import time\ntime.sleep(0.4)\nprint(1)")])
    assert verdict.reason is Reason.TESTS_PASSED and verdict.ms > 1500


def _spin(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


@pytest.mark.parametrize("kind", ["stdin", "call"])
def test_a_busy_machine_fails_no_program(verifier: UnitTestsVerifier, kind: str) -> None:
    """Bug: twice the CPU time in wall time, which a program that shares its CPU with five others never gets."""
    work = "import time\nend = time.process_time() + 0.35\nwhile time.process_time() < end: pass\n"
    tests: dict[str, Any] = stdin(("", "1"))
    if kind == "call":
        tests = {"kind": "call", "entry": "f", "cases": [{"args": [], "expected": 1}]}
    spinners = [multiprocessing.get_context("fork").Process(target=_spin, args=(8.0,)) for _ in range(12)]
    for spinner in spinners:
        spinner.start()
    try:
        verdict = judged(verifier, tests, work + "print(1)\ndef f():\n    end = time.process_time() + 0.35\n"
                         "    while time.process_time() < end: pass\n    return 1", seconds=0.45)
        asleep = judged(verifier, stdin(("", "1")), "import time\ntime.sleep(6)\nprint(1)", seconds=0.45)
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.join()
    assert verdict.reason is Reason.TESTS_PASSED and asleep.reason is Reason.TIMEOUT


def test_the_time_in_which_others_had_the_cpu_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand, since a scheduler may give each session its share, whatever the load of another one: 3 s of wall time,
    of which the program waited for 2.5 s, are within a limit of 1 s, and 3.6 s are not."""
    now, waited = [100.0], [7.0]
    monkeypatch.setattr(jail.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(jail, "waited", lambda pid: waited[0])
    budget = jail.Budget(1.0, at_most=10.0)
    clock = jail._Clock(0, None, 1.0, budget)
    clock.look()
    now[0], waited[0] = 103.0, 9.5
    clock.check()
    assert budget.deadline == pytest.approx(103.5)
    now[0] = 103.6
    with pytest.raises(jail.Stopped) as stopped:
        clock.check()
    assert stopped.value.reason is Reason.TIMEOUT
    budget.extend(100.0)
    assert budget.deadline == pytest.approx(110.0)  # all patience ends


@pytest.mark.parametrize(("reader", "row", "seconds"), [
    (livecodebench, {**LCB_STDIN, "question_content": "q"}, 6), (humaneval_plus, HUMANEVAL, 4), (mbpp_plus, MBPP, 4),
    (livecodebench, {**LCB_FUNCTIONAL, "question_content": "q"}, 6),
    (code_r1, {**CODE_R1_TACO, "prompt": [{"role": "user", "content": "q"}]}, 30),
    (code_r1, {**CODE_R1_LEETCODE, "prompt": [{"role": "user", "content": "q"}]}, 30),
])
def test_presets_set_the_limits_of_the_datasets_own_judge(
    verifier: UnitTestsVerifier, reader: Any, row: dict[str, Any], seconds: float
) -> None:
    extra = reader(row).extra
    assert extra["limits"] == {"seconds": seconds, "memory_mib": 4096}
    problem = Problem("p", "", "", "unit_tests", extra)
    assert verifier.check_gold(problem) is None and UnitTestsVerifier.own_limit(problem) is None


def test_five_decimals_of_leetcode_are_enough(verifier: UnitTestsVerifier) -> None:
    row = {**LCB_FUNCTIONAL, "public_test_cases": '[{"input": "3", "output": "0.33333", "testtype": "functional"}]',
           "private_test_cases": "[]", "metadata": '{"func_name": "inverse"}'}
    tests = test_rows.livecodebench(row)
    for value, right in (("1 / x", True), ("0.33333", True), ("0.3334", False), ("0", False)):
        program = f"class Solution:\n    def inverse(self, x): return {value}"
        assert judged(verifier, tests, program).correct is right, value


def test_private_cases_unpack_to_a_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_rows, "PRIVATE_BYTES", 1000)
    bomb = base64.b64encode(zlib.compress(pickle.dumps("[" + " " * 2000 + "]"))).decode()
    with pytest.raises(ValueError, match="unpack to more than"):
        test_rows.livecodebench({**LCB_STDIN, "private_test_cases": bomb})


def _tower(height: int) -> dict[str, Any]:
    return {"z": [_tower(height - 1), {"z": [_tower(height - 1)]}]} if height else {"z": []}


def test_a_comparison_has_a_clock_of_its_own(verifier: UnitTestsVerifier) -> None:
    """Bug: nested frozensets of equal hashes: one `==` in C for 10 s, and the worker was killed."""
    alike = [[i + (n >> i & 1) * (2**61 - 1) for i in range(13)] for n in range(8000)]  # i and i + 2^61 - 1 hash alike
    value = received({"s": [{"z": list(map(pack, items))} for items in alike]}, Clock())
    begun = time.process_time()
    assert not same_value(value, {frozenset()}) and same_value(value, set(map(frozenset, alike[:1]))) is False
    assert time.process_time() - begun < 2
    begun = time.monotonic()
    value = received({"s": [_tower(11), _tower(10)]}, Clock())
    assert not same_value(value, {frozenset()}) and time.monotonic() - begun < 3
    with pytest.raises(TooLong):
        same_value(received([[1]] * 10_000, Clock()), [[1]] * 10_000, clock=Clock(-1.0))
    put = ("import os\ndef z(n): return '{\"z\": [%s, {\"z\": [%s]}]}' % (z(n - 1), z(n - 1)) if n else '{\"z\": []}'\n"
           "data = ('{\"value\": {\"s\": [%s]}}' % z(16)).encode()\ndef f():\n"
           "    data_ = len(data).to_bytes(4, 'big') + data\n"
           "    for n in range(3, 10):\n        try:\n            view = data_\n"
           "            while view: view = view[os.write(n, view):]\n        except OSError: pass\n    os._exit(0)")
    tests = {"kind": "call", "entry": "f", "cases": [{"args": [], "expected": [1]}]}
    begun = time.monotonic()
    assert judged(verifier, tests, put).correct is False
    assert judged(verifier, tests, "def f(): return [1]").correct is True
    assert time.monotonic() - begun < 8


@pytest.mark.parametrize(("value", "expected", "same"), [
    ({1, 2}, {2, 1.0}, True), ({0.5}, {0.5}, True), ({(1, 2)}, {(1, 2)}, True), ({(1, 2)}, {(1, 3)}, False),
    ({frozenset({1})}, {frozenset({1})}, True), (frozenset({1}), {1}, True), ({"a": {1}}, {"a": {1}}, True),
    ({(1, "a"): 2}, {(1, "a"): 2.0}, True), ({-1, -2}, {-1, -2}, True), ({None, "x"}, {None, "y"}, False),
    ([{1}], [[1]], False), ({1: 2}, {1}, False), ({True}, {1}, True), ({10**30}, {10**30}, True),
])
def test_sets_and_dicts_that_came_back(value: Any, expected: Any, same: bool) -> None:
    assert same_value(received(pack(value), Clock()), expected) is same


@each_tier
def test_packages_that_the_recipe_names_can_be_imported(tier: str) -> None:
    """And nothing else beside them; what they return crosses the wall as numbers and lists."""
    tests = {"kind": "call", "entry": "f", "cases": [{"args": [[1, 2]], "expected": [2, 4]}]}
    program = "import numpy as np\ndef f(x): return np.array(x) * 2"
    bare = UnitTestsVerifier(tier)
    assert judged(bare, tests, program).reason is Reason.CRASHED and bare.version == UnitTestsVerifier.version
    bare.close()
    verifier = UnitTestsVerifier(tier, packages=("numpy", "sortedcontainers"))
    assert "numpy-" in verifier.version and "sortedcontainers-" in verifier.version
    assert judged(verifier, tests, program).reason is Reason.TESTS_PASSED
    assert judged(verifier, stdin(("3 1", "[1, 3]")), "from sortedcontainers import SortedList\n"
                  "print(list(SortedList(map(int, input().split()))))").reason is Reason.TESTS_PASSED
    code = {"kind": "assert", "entry": "f",
            "code": "import numpy\nassert f([1]) == [2] and f([1])[0] == numpy.int64(2)"}
    assert judged(verifier, code, program).reason is Reason.TESTS_PASSED
    assert judged(verifier, tests, "import yaml\n" + program).reason is Reason.CRASHED
    verifier.close()


def test_packages_come_from_the_recipe() -> None:
    from rlvr.config.sections import JudgeSection

    tests = {"kind": "call", "entry": "f", "cases": [{"args": [], "expected": 3}]}
    problem = Problem("p", "", "", "unit_tests", {"tests": tests, "limits": {"seconds": 2}})
    with Judge(**JudgeSection(workers=1, packages=("numpy",)).options()) as judge:
        (verdict,) = judge.judge([problem], [in_block("import numpy\ndef f(): return numpy.int64(3)")])
    assert verdict.reason is Reason.TESTS_PASSED and "numpy-" in verdict.version
    with pytest.raises(UserError, match=r"^judge.packages: 'nothing-of-the-kind' is not installed here: pip install"):
        UnitTestsVerifier(packages=("nothing-of-the-kind",))
