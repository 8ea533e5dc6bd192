"""The verifier unit_tests: honest and hostile programs in each tier, forgeries, formats of tests and of datasets.

Cases: tests/files/code_cases.jsonl (its first line says where they are from).
Run: python -m pytest tests/rewards/test_unit_tests.py -rs     (-rs prints why a tier was skipped)
"""

from __future__ import annotations

import base64
import gc
import json
import os
import pickle
import socket
import tempfile
import time
import zlib
from collections import Counter, deque
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from rlvr.config.registry import resolve
from rlvr.judging.judge import Judge
from rlvr.judging.worker import _judge
from rlvr.rewards.programs.code_block import in_block, last_program
from rlvr.rewards.programs.compare import same_output, same_value
from rlvr.rewards.programs.jail import Jails
from rlvr.rewards.programs.sandbox import choose_tier
from rlvr.rewards.programs.test_rows import code_r1, humaneval_plus, livecodebench, mbpp_plus
from rlvr.rewards.programs.wire import MAX_DEPTH, TooDeep, dump, load, pack, unpack
from rlvr.rewards.unit_tests import UnitTestsVerifier
from rlvr.types import Problem, Reason
from tests.rewards.test_sandbox import descendants
from tests.support.sandbox_tiers import each_tier

FILE = Path(__file__).parents[1] / "files/code_cases.jsonl"
CASES = [json.loads(line) for line in FILE.read_text().splitlines()[1:]]
QUICK = {"seconds": 0.5, "total_seconds": 4.0}
ABUSE = {"seconds": 0.25, "total_seconds": 4.0}
HONEST_LIMITS = {"seconds": 2.0, "total_seconds": 8.0}  # a busy machine must not make them fail
ADD = "def add(a, b):\n    return a + b\n"
CALL = {"kind": "call", "entry": "add", "cases": [{"args": [1, 2], "expected": 3}]}
STDIN = {"kind": "stdin", "cases": [{"input": "a", "output": "a"}, {"input": "b", "output": "c"}]}
ASSERT = {"kind": "assert", "entry": "add", "code": "assert add(1, 2) == 3"}


@pytest.fixture(scope="module")
def verifier() -> Iterator[UnitTestsVerifier]:
    """In the first tier that holds."""
    verifier = UnitTestsVerifier()
    yield verifier
    verifier.close()


def problem(tests: dict[str, Any], gold: str = "", **limits: float) -> Problem:
    return Problem(id="p", prompt="", gold=gold, verifier="unit_tests",
                   extra={"tests": tests, "limits": {**QUICK, **limits}})


def reason(verifier: UnitTestsVerifier, tests: dict[str, Any], program: str, **limits: float) -> Reason:
    return verifier.verify(problem(tests, "", **limits), in_block(program)).reason


def case_problem(case: dict[str, Any]) -> Problem:
    return problem(case["tests"], "", **(ABUSE if case["set"] == "abuse" else HONEST_LIMITS))


def code(function: str, *asserts: str) -> dict[str, Any]:
    return {"kind": "assert", "entry": function, "code": "\n".join(asserts)}


@pytest.fixture
def surroundings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What the leak cases look for, and that nothing of them is left behind."""
    monkeypatch.setenv("RV_CANARY_TOKEN", "1")
    with socket.socket(socket.AF_UNIX) as listener, tempfile.TemporaryFile() as file:
        listener.bind("\0rv_canary")
        listener.listen()
        file.write(b"secret of the trainer")
        file.flush()
        os.set_inheritable(file.fileno(), True)
        places = [Path(place) for place in ("/tmp", "/var/tmp", "/dev/shm", ".")]
        before = {place: set(os.listdir(place)) for place in places}
        yield
        for place in places:
            new = set(os.listdir(place)) - before[place]
            assert not {name for name in new if name.startswith(("rv_", "fill", "json.py", "numpy.py", "conftest"))}


@each_tier
def test_the_cases_in_each_tier(tier: str, surroundings: None) -> None:
    """Every decided case as expected, none 'not judged', none delays the next verdict, nothing is left behind.

    No process is left, hence no socket that listens; files are looked for where the cases plant them.
    """
    before = descendants(os.getpid())
    verifier = UnitTestsVerifier(tier)
    wrong = []
    for case in CASES:
        for _ in range(case.get("runs", 1)):
            begun = time.monotonic()
            verdict = verifier.verify(case_problem(case), in_block(case["program"]))
            seconds = time.monotonic() - begun
            assert verdict.correct is not None, case["id"]
            if case["expected"] != "either" and verdict.correct != (case["expected"] == "pass"):
                wrong.append((case["id"], verdict.reason))
            assert seconds < 2.5, f"{case['id']}: {seconds:.1f} s, the limits are 0.25 s of CPU, 0.5 s of wall time"
            assert verdict.tier == f"sandbox:{tier}"
        if case.get("category") in ("resource", "survive"):
            assert reason(verifier, CALL, ADD) is Reason.TESTS_PASSED, f"after {case['id']}"
    assert wrong == []
    verifier.close()
    assert descendants(os.getpid()) <= before


def test_the_cases_through_a_judge_whatever_the_number_of_workers() -> None:
    """As expected from two workers, and the same reasons (of every second case) from one.

    Time-outs aside: at a quarter of a second of CPU a loaded machine decides which limit a bomb meets first.
    """
    cases = [case for case in CASES if case["expected"] != "either"]
    problems = [case_problem(case) for case in cases]
    texts = [in_block(case["program"]) for case in cases]
    with Judge(workers=2, timeout=10.0) as judge:
        two = judge.judge(problems, texts)
        assert judge.stats().max_ms < 5000
    quick = [number for number, verdict in enumerate(two) if verdict.reason is not Reason.TIMEOUT][::2]
    with Judge(workers=1, timeout=10.0) as judge:
        one = judge.judge([problems[number] for number in quick], [texts[number] for number in quick])
    assert [case["id"] for case, verdict in zip(cases, two, strict=True)
            if verdict.correct is not (case["expected"] == "pass")] == []
    pairs = [(cases[number]["id"], verdict.reason, two[number].reason)
             for number, verdict in zip(quick, one, strict=True)]
    assert [pair for pair in pairs if pair[1] not in (pair[2], Reason.TIMEOUT)] == []
    assert {verdict.tier for verdict in two} == {f"sandbox:{choose_tier()}"}


@pytest.mark.parametrize(("program", "tests", "expected"), [
    (ADD, CALL, Reason.TESTS_PASSED),
    ("print(3)\nexit()", {"kind": "stdin", "cases": [{"input": "", "output": "3\n"}]}, Reason.TESTS_PASSED),
    ("print(3)\nquit(0)", {"kind": "stdin", "cases": [{"input": "", "output": "3\n"}]}, Reason.TESTS_PASSED),
    ("def add(a, b): return a - b", CALL, Reason.WRONG_ANSWER),
    ("def add(a, b): return a +", CALL, Reason.UNPARSABLE),
    ("x = '\ud800'", CALL, Reason.UNPARSABLE),
    ("raise ValueError", CALL, Reason.CRASHED),
    ("def add(a, b): raise SystemExit", CALL, Reason.CRASHED),
    ("def other(): pass", CALL, Reason.CRASHED),
    ("def add(a, b):\n  while True: pass", CALL, Reason.TIMEOUT),
    ("import time\ndef add(a, b): time.sleep(9)", CALL, Reason.TIMEOUT),
    ("def add(a, b): return 'x' * (9 << 20)", CALL, Reason.HUGE),
    ("def add(a, b): return [bytes(1)] * 10**9", CALL, Reason.CRASHED),
    ("while True: print('x' * 1000)", {"kind": "stdin", "cases": [{"input": "", "output": "x"}]}, Reason.OUTPUT_LIMIT),
    ("print('é' * 2000)", {"kind": "stdin", "cases": [{"input": "", "output": "é" * 2000}]}, Reason.TESTS_PASSED),
    ("print(input())", {"kind": "stdin", "cases": [{"input": "née\n", "output": "née"}]}, Reason.TESTS_PASSED),
    ("import sys\nsys.exit('no')", {"kind": "stdin", "cases": [{"input": "", "output": ""}]}, Reason.CRASHED),
    ("def f(:", {"kind": "stdin", "cases": [{"input": "", "output": ""}]}, Reason.UNPARSABLE),
    ("print(List, Counter('aa')['a'])", {"kind": "stdin", "prelude": "from typing import *\nfrom collections import *",
                                        "cases": [{"input": "", "output": "typing.List 2"}]}, Reason.TESTS_PASSED),
    ("if __name__ == '__main__': print(1)", {"kind": "stdin", "cases": [{"input": "", "output": "1"}]},
     Reason.TESTS_PASSED),
    ("import sys\nout = open(1, 'w')\nout.write('late')", {"kind": "stdin", "cases": [{"input": "", "output": "late"}]},
     Reason.TESTS_PASSED),
    ("import threading\nt = threading.Thread(target=lambda: print(int(input()) + 1))\nt.start()",
     {"kind": "stdin", "cases": [{"input": "4", "output": "5"}]}, Reason.TESTS_PASSED),
    ("import atexit\natexit.register(print, 'bye')", {"kind": "stdin", "cases": [{"input": "", "output": "bye"}]},
     Reason.TESTS_PASSED),
    ("print(open('/dev/stdin').read(), file=open('/dev/stdout', 'w'))", {"kind": "stdin", "cases": [
        {"input": "4", "output": "4"}]}, Reason.TESTS_PASSED),
    ("import os, sys\nprint(len(os.read(0, os.fstat(0).st_size)))",
     {"kind": "stdin", "cases": [{"input": "x" * 200_000, "output": "200000"}]}, Reason.TESTS_PASSED),
    ("try:\n  open('seen').close(); print(2)\nexcept OSError: print(1)\ntry: open('seen', 'w')\nexcept OSError: pass",
     {"kind": "stdin", "cases": [{"input": "", "output": "1"}] * 2}, Reason.TESTS_PASSED),
    ("def add(a, b):\n    return a + b\nif __name__ == '__main__':\n    raise SystemExit(input())", CALL,
     Reason.TESTS_PASSED),
])
def test_reasons(verifier: UnitTestsVerifier, program: str, tests: dict[str, Any], expected: Reason) -> None:
    assert reason(verifier, tests, program) is expected


HONEST = [
    (code("add", "assert add(1, 2) == 3", "assert add([1], b=[2]) == [1, 2]"), ADD),
    (code("f", "data = [3, 1]", "f(data)", "assert data == [1, 3]"), "def f(x): x.sort()"),
    (code("f", "try:\n    f(-1)\nexcept ValueError as e:\n    assert 'neg' in str(e)\nelse:\n    assert False"),
     "def f(x):\n    if x < 0: raise ValueError('negative')\n    return x"),
    (code("f", "try:\n    f()\nexcept Mine as e:\n    assert isinstance(e, LookupError)\nelse:\n    assert False"),
     "class Mine(KeyError): pass\ndef f(): raise Mine('x')"),
    (code("Stack", "s = Stack()", "s.push(1)", "s.push(2)", "assert (s.pop(), len(s), s.items) == (2, 1, [1])"),
     "class Stack:\n    def __init__(self): self.items = []\n    def push(self, x): self.items.append(x)\n"
     "    def pop(self): return self.items.pop()\n    def __len__(self): return len(self.items)"),
    (code("f", "assert list(f(3)) == [0, 1, 2]"), "def f(n): yield from range(n)"),
    (code("f", "from solution import f as g", "import solution", "assert g(2) == solution.f(2) == 4", "f(1)"),
     "def f(x): return x * x"),
    (code("f", "def check(candidate):\n    assert candidate((1, {2}), {'a': 1.5}) == (3, frozenset({2}))", "check(f)"),
     "def f(x, y): return (x[0] + len(x), frozenset(x[1]))"),
    ({"kind": "unittest", "entry": "f", "code": "import unittest\nclass T(unittest.TestCase):\n    def test(self):\n"
      "        self.assertEqual(f(2), 4)\n        with self.assertRaises(TypeError): f('a')"},
     "def f(x): return x ** 2"),
    ({"kind": "pytest", "entry": "f", "code": "import pytest\nfrom solution import f\n@pytest.mark.parametrize('a,b', "
      "[(1, 1.0), (2, 4)])\ndef test_f(a, b):\n    assert f(a) == pytest.approx(b)\ndef test_r():\n"
      "    with pytest.raises(TypeError, match='unsup'):\n        f('a')"}, "def f(x): return x ** 2"),
]
HONEST += [
    (code("f", "try: f()", "except ValueError as e: assert str(e) == 'no' and e.args == ('no',)"),
     "def f(): raise ValueError('no')"),
    (code("f", "try: f()", "except KeyError as e: assert e.args == ('k',)", "else: assert False"),
     "def f(): ({})['k']"),
    (code("f", "try: f()", "except UnicodeDecodeError as e: assert e.start == 0", "else: assert False"),
     "def f(): b'\\xff'.decode()"),
    (code("f", "try: f()", "except Mine as e: assert str(e) == 'code 3'", "else: assert False"),
     "class Mine(Exception):\n    def __str__(self): return f'code {self.args[0]}'\ndef f(): raise Mine(3)"),
    (code("f", "def test(): assert f() == 1", "if __name__ == '__main__': test()"), "def f(): return 1"),
    ({"kind": "unittest", "entry": "f", "code": "import unittest\nclass T(unittest.TestCase):\n    def test(self):\n"
      "        with self.assertRaisesRegex(ValueError, '^no$'): f()\nunittest.main()"},
     "def f(): raise ValueError('no')"),
    ({"kind": "pytest", "entry": "f", "code": "import pytest, unittest\n@pytest.fixture\ndef one(): return 1\n"
      "@pytest.fixture(scope='module')\ndef two(one):\n    yield one + 1\n@pytest.mark.slow\nclass TestA:\n"
      "    def setup_method(self): self.k = 3\n    def test_a(self, one, two): assert f(one + two) == self.k\n"
      "@pytest.mark.parametrize('a, b', [pytest.param(1, 1, id='x'), (2, 2)], ids=str)\n"
      "def test_b(a, b): assert f(a) == b\n@pytest.mark.skip\ndef test_c(): assert f(1) == 2\n"
      "def test_d():\n    e = pytest.raises(TypeError, f, 'a')\n    assert e.type is TypeError and e.match('^can')\n"
      "class B(unittest.TestCase):\n    def setUp(self): self.k = 4\n"
      "    def test_e(self): self.assertEqual(f(4), self.k)"},
     "def f(x): return x + 0"),
]


@each_tier
def test_test_code_against_honest_programs(tier: str) -> None:
    verifier = UnitTestsVerifier(tier)
    for tests, program in HONEST:
        assert reason(verifier, tests, program) is Reason.TESTS_PASSED, tests["code"]
    verifier.close()


@pytest.mark.parametrize(("tests", "program"), [
    (code("f", "assert all(map(f, [1, 2, 3]))"), "def f(x): raise StopIteration"),
    (code("f", "assert f(1) == 5"), "class E:\n  def __eq__(s, o): return True\ndef f(x): return E()"),
    (code("f", "assert f(1) != 5"), "class E:\n  def __ne__(s, o): return True\ndef f(x): return E()"),
    (code("f", "assert f(1)"), "class E: pass\ndef f(x): return E()"),
    (code("f", "assert not f(1)"), "class E:\n  def __bool__(s): return False\ndef f(x): return E()"),
    (code("f", "assert 5 in f(1)"), "class E:\n  def __contains__(s, o): return True\ndef f(x): return E()"),
    (code("f", "assert f(1) < 5"), "class E:\n  def __lt__(s, o): return True\ndef f(x): return E()"),
    (code("f", "assert isinstance(f(1), int)"), "class E:\n  __class__ = int\ndef f(x): return E()"),
    (code("f", "assert f(1) == 5"), "def f(x): raise SystemExit(0)"),
    (code("f", "assert f(1) == 5"), "def f(x): raise AssertionError"),
    (code("f", "f(1)", "assert False"), "def f(x):\n  import os\n  os._exit(0)"),
    ({"kind": "unittest", "entry": "f", "code": "import unittest\nclass T(unittest.TestCase):\n  def test(self):\n"
      "    self.assertEqual(f(1), 5)"}, "import unittest\ndef f(x): raise unittest.SkipTest('please')"),
    ({"kind": "pytest", "entry": "f", "code": "def test_f():\n    assert f(1) == 5"}, "def f(x): return 4"),
    ({"kind": "pytest", "entry": "f", "code": "import pytest\n@pytest.fixture\ndef d(): return 5\ndef test_f(d):\n"
      "    assert f(1) == d"}, "def f(x=0): return 4\nf.fixture, f.autouse = 'd', False"),
    ({"kind": "pytest", "entry": "f", "code": "import unittest\nclass A(unittest.TestCase):\n  def test(self):\n"
      "    self.assertEqual(f(1), 5)"}, "def f(x): return 4"),
    (code("f", "assert f(1) == 5"), "def f(x):\n  import sys\n  for n in range(3, 64):\n    try:\n      import os\n"
     "      os.write(n, b'\\0\\0\\0\\x3a{\"done\": true, \"error\": \"\", \"tests\": 1, \"calls\": 1, '\n"
     "               b'\"unsendable\": \"\"}  ')\n"
     "    except OSError: pass\n  return 5 - 1"),
])
def test_forgeries_against_test_code(verifier: UnitTestsVerifier, tests: dict[str, Any], program: str) -> None:
    verdict = verifier.verify(problem(tests), in_block(program))
    assert verdict.correct is False and verdict.reason in (Reason.WRONG_ANSWER, Reason.CRASHED)


PUT = """
import os, time
def put(value):
    data = b'\\0\\0\\0\\x10{"loaded": true}'
    message = ('{"value": %s}' % value).encode()
    data += len(message).to_bytes(4, "big") + message
    for descriptor in range(3, 10):
        try:
            while data: data = data[os.write(descriptor, data):]
        except OSError: pass
    time.sleep(60)
zeros = [f'{{"i": "{i * (2**61 - 1):x}"}}' for i in range(100_000)]
"""


@pytest.mark.parametrize(("program", "expected"), [
    (PUT + "import random\nn = [hex(random.getrandbits(14_000_000) | 1) for _ in '12']\n"
     "put('{\"F\": [\"%s\", \"%s\"]}' % tuple(n))", Reason.HUGE),
    (PUT + "put('{\"d\": [[{\"D\": \"1.%s\"}, 0]]}' % ('1' * 8_000_000))", Reason.HUGE),
    (PUT + "put('{\"s\": [%s]}' % ','.join(zeros))", Reason.WRONG_ANSWER),
    (PUT + "put('{\"d\": [%s]}' % ','.join(f'[{zero}, 0]' for zero in zeros))", Reason.WRONG_ANSWER),
    ("from decimal import Decimal\ndef add(a, b): return Decimal('sNaN')", Reason.CRASHED),
    ("class Decimal:\n    def __str__(self): return 'sNaN'\nDecimal.__module__ = 'decimal'\n"
     "def add(a, b): return Decimal()",
     Reason.CRASHED),
])
def test_values_made_to_hang_or_break_the_comparison(
    verifier: UnitTestsVerifier, program: str, expected: Reason
) -> None:
    """Bugs: the judge took the gcd of numbers with millions of digits or filled a set in quadratic time until it was
    killed; a signalling NaN was an exception of ours, and the program not judged."""
    begun = time.monotonic()
    assert reason(verifier, CALL, program, seconds=3.0) is expected
    mapping = {**CALL, "cases": [{"args": [1, 2], "expected": {"a": 0}}]}  # whose keys are compared by digests
    assert reason(verifier, mapping, program, seconds=3.0) in (expected, Reason.WRONG_ANSWER)
    assert time.monotonic() - begun < 6


def test_a_second_try_has_what_is_left_of_the_time(verifier: UnitTestsVerifier) -> None:
    """Bug: a program that dies late took twice its time, and with it the worker of the Judge that gave up."""
    late = "import os, time\ndef add(a, b):\n    time.sleep(0.9)\n    os._exit(1)"
    # a second try of 1.2 s would end as the first one did; the verdict does not depend on how busy the machine is
    assert reason(verifier, CALL, late, total_seconds=1.2) is Reason.TIMEOUT


def test_both_jails_of_test_code_are_replaced(verifier: UnitTestsVerifier) -> None:
    """Bug: every verdict on test code waited for its second jail to boot."""
    for _ in range(2):
        assert reason(verifier, ASSERT, ADD) is Reason.TESTS_PASSED
        assert len(verifier._jails._waiting) == 2


def test_garbage_is_not_collected_while_a_program_is_judged(
    verifier: UnitTestsVerifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr("rlvr.rewards.programs.run.same_value", lambda *_: seen.append(gc.isenabled()) or True)
    assert reason(verifier, CALL, ADD) is Reason.TESTS_PASSED
    assert seen == [False] and gc.isenabled()


@pytest.mark.parametrize("tests", [
    code("f", "assert f(1"),
    code("f", "assert 1 == 1"),
    code("f", "f(lambda: 0)"),
    {"kind": "unittest", "entry": "f", "code": "f(1)"},
    {"kind": "pytest", "entry": "f", "code": "f(1)"},
    {"kind": "pytest", "entry": "f", "code": "def test_f(tmp_path): assert f(1) == 1"},
])
def test_tests_that_test_nothing_or_cannot_run_are_the_datasets_error(
    verifier: UnitTestsVerifier, tests: dict[str, Any]
) -> None:
    """Bug: a module without a test in it passes every program."""
    verdict = verifier.verify(problem(tests), in_block("def f(x): return 1"))
    assert (verdict.correct, verdict.reason) == (None, Reason.GOLD_ERROR)


def test_our_own_failure_is_not_judged(monkeypatch: pytest.MonkeyPatch, verifier: UnitTestsVerifier) -> None:
    """Bug: a sandbox that does not start teaches the model that its program was wrong."""
    monkeypatch.setattr("rlvr.rewards.programs.jail.command", lambda *_: ["/bin/false"])
    monkeypatch.setattr(verifier, "_jails", Jails(verifier.tier, ahead=0))
    verdict, note = _judge(verifier, problem(CALL), in_block(ADD))
    assert (verdict.correct, verdict.reason) == (None, Reason.HARNESS_ERROR)
    assert "did not start" in note


@pytest.mark.parametrize(("extra", "complaint"), [
    ({}, "there is no extra['tests'], expected a mapping whose 'kind'"),
    ({"tests": {"kind": "exec"}}, "expected a mapping whose 'kind'"),
    ({"tests": {"kind": "call", "cases": [{"args": [], "expected": 1}]}}, "need 'entry'"),
    ({"tests": {**CALL, "cases": []}}, "a list that is not empty"),
    ({"tests": {**CALL, "cases": [{"args": 1, "expected": 1}]}}, "case 0: expected a list 'args'"),
    ({"tests": {**CALL, "cases": [{"args": [object()], "expected": 1}]}}, "case 0: a value of type object"),
    ({"tests": {"kind": "stdin", "cases": [{"input": "", "output": "1"}, {"input": 1, "output": "1"}]}}, "case 1"),
    ({"tests": {"kind": "stdin", "cases": [{"input": "\ud800", "output": "1"}]}}, "cannot be written as UTF-8"),
    ({"tests": {"kind": "assert", "entry": "f"}}, "need 'code'"),
    ({"tests": CALL, "limits": {"second": 1}}, "{'second': 1}, expected positive numbers below a million for some of "),
    ({"tests": CALL, "limits": {"seconds": 0}}, "expected positive numbers"),
    ({"tests": CALL, "limits": {"seconds": "4"}}, "expected positive numbers"),
    ({"tests": CALL, "limits": 4}, "extra['limits'] is 4, expected positive numbers"),
    ({"tests": CALL, "limits": {"memory_mib": 39}}, "has memory_mib 39, expected at least 40"),
    ({"tests": {**CALL, "cases": [[1, 2, 3]]}}, "case 0: expected a mapping with 'args' and 'expected', found"),
    ({"tests": {**CALL, "atol": "1e-6"}}, "'atol' is '1e-6', expected a number of at least 0"),
    ({"tests": {**CALL, "atol": -1}}, "'atol' is -1, expected a number of at least 0"),
    ({"tests": {**CALL, "atoll": 1e-3}}, "'atoll' has no meaning; 'atol' has"),
    ({"tests": CALL, "limit": {"seconds": 1}}, "'limit' has no meaning; 'limits' has"),
    ({"tests": '{"kind": "call"}'}, """extra['tests'] is the text '{"kind": "call"}', expected a"""),
])
def test_malformed_tests_are_named(verifier: UnitTestsVerifier, extra: dict[str, Any], complaint: str) -> None:
    bad = Problem(id="p", prompt="", gold="", verifier="unit_tests", extra=extra)
    assert complaint in (verifier.check_gold(bad) or "")
    assert verifier.verify(bad, in_block(ADD)).reason is Reason.GOLD_ERROR


def test_memory_may_be_a_fraction(verifier: UnitTestsVerifier) -> None:
    """Bug: 256.5 MiB, as a column of floats has them, killed every program."""
    assert reason(verifier, CALL, ADD, memory_mib=256.5) is Reason.TESTS_PASSED
    assert reason(verifier, CALL, ADD, memory_mib=40) is Reason.TESTS_PASSED


@pytest.mark.parametrize("tests", [
    {"kind": "assert", "entry": "f", "code": "import numpy\nassert f(1) == 1"},
    {"kind": "pytest", "entry": "A.f", "code": "import no_such_module\ndef test(): assert A().f(1) == 1"},
    {**CALL, "prelude": "import no_such_module"}, {**STDIN, "prelude": "1 / 0"},
])
def test_what_the_dataset_does_wrong_is_found_without_a_reference_program(
    verifier: UnitTestsVerifier, tests: dict[str, Any]
) -> None:
    """Bug: tests that need what no jail has were the fault of every program."""
    verdict = verifier.verify(problem(tests), verifier.gold_completion(problem(tests)))
    assert (verdict.correct, verdict.reason) == (None, Reason.GOLD_ERROR)
    assert any(word in verdict.detail for word in ("No module named", "division by zero"))


def test_a_module_that_the_candidate_misses_is_its_own_fault(verifier: UnitTestsVerifier) -> None:
    """Bug: a way out of a wrong verdict, since what is not judged costs nothing."""
    tests = code("f", "assert f(1) == 1")
    for program in ("def f(a): import numpy", "def f(a): raise ModuleNotFoundError('numpy')", "import numpy",
                    "class E(ModuleNotFoundError): pass\ndef f(a): raise E('numpy')"):
        assert verifier.verify(problem(tests), in_block(program)).correct is False


def test_a_reference_program_may_stand_in_a_fenced_block(verifier: UnitTestsVerifier) -> None:
    for gold in (ADD, f"```python\n{ADD}```", f"\n~~~\n{ADD}~~~\n"):
        assert verifier.verify(problem(CALL), verifier.gold_completion(problem(CALL, gold))).correct is True


@pytest.mark.parametrize(("tests", "complaint"), [
    (code("f", "assert f(1"), "tests of kind 'assert': 'code' is no Python: SyntaxError: "),
    ({**CALL, "prelude": "import"}, "tests of kind 'call': 'prelude' is no Python: SyntaxError: "),
])
def test_test_code_that_is_no_python_is_found_before_any_program_runs(
    verifier: UnitTestsVerifier, tests: dict[str, Any], complaint: str
) -> None:
    """Bug: without a reference program, nobody noticed before the training that its tests cannot be run."""
    assert (verifier.check_gold(problem(tests)) or "").startswith(complaint)


def test_limits_beyond_the_judges_time_are_refused() -> None:
    """Bug: a program that its problem grants 30 s was killed after 10 with the worker, and counted as wrong."""
    with Judge(workers=1, timeout=5.0) as judge:
        fits, too_long, unset = judge.check_golds([
            problem(CALL, total_seconds=4.9), problem(CALL, total_seconds=5),
            Problem("p", "", "", "unit_tests", {"tests": CALL})])
    assert fits is None and unset is None
    assert too_long == ("its limits allow a verdict 5 s, and the judge ends it after 5 s; raise judge.timeout above "
                        "that, or lower the limit")


SAID = [
    (CALL, "def add(a, b): return a - b", "case 0: returned -1"),
    (CALL, "def add(a, b): return 'x' * 100", f"case 0: returned {'x' * 60!r} ..."),
    (CALL, "def add(a, b): return [10 ** 6000]", "case 0: returned a value of type list"),
    (CALL, "def add(a, b): return a / 0", "case 0: ZeroDivisionError: division by zero"),
    (CALL, "def add(a, b): return c", "case 0: NameError: name 'c' is not defined"),
    (CALL, "import nothing", "before the tests: ModuleNotFoundError: No module named 'nothing'"),
    (CALL, "def add(a, b) return", "before the tests: SyntaxError: expected ':' (<solution>, line 1)"),
    (CALL, "def add(a, b):\n    while True: pass", "case 0: over 0.5 s of CPU time, or 4 s for all tests"),
    (CALL, "def plus(a, b): return a + b", "case 0: NameError: the program defines no 'add'"),
    (CALL, "import os\ndef add(a, b): os._exit(0)", "case 0: its process died"),
    (CALL, ADD, ""),
    (STDIN, "print(input())", "case 1: printed 'b\\n'"),
    (STDIN, "a = input()\nprint(a)\nassert a == 'a', 'not a'", "case 1: AssertionError: not a"),
    (STDIN, "import sys; sys.exit(3)", "case 0: exit status 3"),
    (STDIN, "while True: pass", "case 0: over 0.5 s of CPU time, or 4 s for all tests"),
    (ASSERT, "def add(a, b): return 4", "AssertionError (line 1: assert add(1, 2) == 3)"),
    (ASSERT, "def add(a, b): return 1 / 0", "ZeroDivisionError: division by zero (line 1: assert add(1, 2) == 3)"),
    ({"kind": "pytest", "entry": "f", "code": "def test_one():\n    assert f(1) == 2, 'one'\n"}, "def f(a): return a",
     "AssertionError: one (line 2: assert f(1) == 2, 'one')"),
    (ASSERT, ADD, ""),
]


@each_tier
def test_a_verdict_says_what_happened(tier: str) -> None:
    verifier = UnitTestsVerifier(tier)
    said = [verifier.verify(problem(tests), in_block(program)).detail for tests, program, _ in SAID]
    verifier.close()
    assert said == [detail for *_, detail in SAID]


def test_the_complaint_about_a_reference_program_says_what_happened(judge: Judge) -> None:
    (complaint,) = judge.check_golds([problem(CALL, "def add(a, b): return c")])
    (verdict,) = judge.judge([problem(CALL)], [in_block("def add(a, b): return 7")])
    assert complaint == ("the gold answer 'def add(a, b): return c' is itself judged crashed (case 0: NameError: name "
                         "'c' is not defined)")
    assert verdict.detail == "case 0: returned 7"


def test_reference_programs_are_run_and_their_absence_is_allowed(judge: Judge) -> None:
    """With a reference program it must pass; without one the tests' form is checked, and no model's text passes."""
    assert resolve("verifiers", "unit_tests") is UnitTestsVerifier
    complaints = judge.check_golds([problem(CALL, ADD), problem(CALL, "def add(a, b): return 0"), problem(CALL),
                                    problem({**CALL, "cases": []})])
    assert complaints[0] is None and complaints[2] is None
    assert complaints[1] is not None and "wrong_answer" in complaints[1]
    assert complaints[3] is not None and "not empty" in complaints[3]
    assert judge.judge([problem(CALL)], ["no reference program"])[0].reason is Reason.NO_BOX


@pytest.mark.parametrize(("text", "expected"), [
    ("```python\na\n```", "a\n"), ("```\na\n```\nthen\n```py\nb\n```", "b\n"), ("```Python3 \na\n```", "a\n"),
    ("```python\na\n```\nOutput:\n```text\n5\n```", "a\n"), ("~~~\na\n```\n~~~", "a\n```\n"),
    ("````python\n'''\n```\n'''\n````", "'''\n```\n'''\n"), ("```python\r\na\r\n```\r\n", "a\r\n"),
    ("1. So:\n   ```python\n   if a:\n     b\n\n   ```", "if a:\n  b\n\n"), ("  ```\na\n    b\n  ```", "a\n    b\n"),
    ("<think>```python\nx\n```</think>```python\nb\n```", "b\n"), ("def add(a, b): return a + b", Reason.NO_BOX),
    ("", Reason.NO_BOX), ("```python\na", Reason.UNBALANCED), ("```python\na\n```\n```python\nb", Reason.UNBALANCED),
    ("```python\n\n```", Reason.EMPTY), ("<think>```python\na\n```", Reason.UNFINISHED_THINK),
    ("```bash\nls\n```", Reason.NO_BOX), ("```python\n" + "a" * 200_001 + "\n```", Reason.TOO_LONG),
    ("`" * 200_000, Reason.UNBALANCED), ("```" + " \t" * 100_000 + "`", Reason.NO_BOX),
    # Bug: sample output in a bare fence after the program was taken for the program
    ("```python\na\n```\nOutput:\n```\n5\n```", "a\n"), ("```python\na\n```\nOutput:\n```\n5", "a\n"),
    ("```cpp\nx\n```\n```\nb\n```", "b\n"), ("~~~py\na\n~~~\n~~~\n5\n~~~", "a\n"),
    # Bug: an indented fence, in a list or a quote, was none
    ("- x\n\n    ```python\n    a\n    ```", "a\n"), ("\t```python\n\ta\n\t```", "a\n"),
    ("1. ```python\n   if a:\n     b\n   ```", "if a:\n  b\n"), ("- ```python\n  a\n  ```", "a\n"),
    ("> ```python\n> if a:\n>     b\n> ```", "if a:\n    b\n"), ("10. ```py\na\n    ```", "a\n"),
    ("```python\ns = \'\'\'\n    ```\n\'\'\'\n```", "s = \'\'\'\n    ```\n\'\'\'\n"),
    # Bug: nor was one after a tag or words, or one closed with a tag or an end-of-turn token behind it
    ("<answer>```python\na\n```</answer>", "a\n"), ("<answer>```\na\n```</answer>", "a\n"),
    ("<answer> ```python\na\n``` </answer>", "a\n"), ("**Answer:** ```py\na\n```", "a\n"),
    ("```python\na\n```<|im_end|>\n", "a\n"), ("```python\na\n```</s>", "a\n"),
    ("```python\na\n<|im_end|>", "a\n\n"), ("```python\na<|eot_id|>\n", "a\n"),
    ("use ```python``` here", Reason.NO_BOX), ("``python\na\n``", Reason.NO_BOX),
    # Bug: nor one that says more than "python"
    ("```python3.11\na\n```", "a\n"), ('```python title="main.py"\na\n```', "a\n"),
    ("```{.python .numberLines}\na\n```", "a\n"), ("```python:main.py\na\n```", "a\n"),
    ("```pycon\n>>> a\n```", Reason.NO_BOX), ("```python-repl\n>>> a\n```", Reason.NO_BOX),
])
def test_the_last_fenced_block(text: str, expected: str | Reason) -> None:
    found = last_program(text)
    assert found == expected and type(found) is type(expected)


def test_a_program_survives_its_own_block() -> None:
    for program in (ADD, "'''\n```\nfence\n```\n'''", "x = '````'"):
        assert last_program(in_block(program)) == program + "\n"


@pytest.mark.parametrize(("value", "expected", "same"), [
    (1, 1, True), (True, 1, True), (1, "1", False), (None, None, True), (0, None, False), ([1, 2], (1, 2), True),
    ([1], [1, 2], False), ({"a": [1.0]}, {"a": [1.0 + 1e-9]}, True), ({"a": 1}, {"b": 1}, False), ({1}, {1}, True),
    ([1], {1}, False), (0.3, 0.1 + 0.2, True), (1.1, 1.0, False), (1.0000001, 1, False), (3.0, 3, True),
    (float("nan"), float("nan"), True), (float("inf"), float("inf"), True), (1e308, float("inf"), False),
    (10**400, 1.0, False), (10**400, 10**400, True), ("a", "a", True), (1e10 + 1, 1e10, True), (1 + 1j, 1 + 1j, True),
    (10**400, 1 + 1j, False),
])
def test_values(value: Any, expected: Any, same: bool) -> None:
    assert same_value(value, expected) is same


def test_a_given_tolerance_holds_for_integers_too() -> None:
    assert same_value(3.0005, 3, 1e-3) and not same_value(3.002, 3, 1e-3) and not same_value(0.3 + 1e-7, 0.3, 0)


@pytest.mark.parametrize("value", [999_999_998, 999_999_998.0, 1_000_000_000, True])
def test_a_given_tolerance_grows_with_no_integer(value: float) -> None:
    """Bug: with LeetCode's 1e-5, any answer within 100 of 999999999 passed, by the relative part of the tolerance."""
    assert not same_value(value, 999_999_999, 1e-5) and same_value(999_999_999, 999_999_999, 1e-5)


@pytest.mark.parametrize(("output", "expected", "same"), [
    ("3\n", "3", True), ("3  \n\n", "3\n", True), ("1\n2", "1\n2\n3", False), ("1\n2\n3", "1\n2", False),
    ("99\b\b3", "3", False), ("1  2", "1 2", True), ("1 2 3", "1 2", False), ("1.0", "1", True),
    ("0.3333333", "0.333333", True),
    ("0.34", "0.333333", False), ("5.1", "5", False), ("yes", "YES", False), ("", "\n", True), ("nan", "nan", True),
    ("1_0", "10", False), ("1e999999999", "1", False), ("٣", "3", False),
    ("\n3", "3", True), ("1\n\n3", "1\n3", False), (" 3", "3", True), ("7" * 6021, "7" * 6020 + "8", False),
    ("0" + "7" * 6021, "7" * 6021, True),
])
def test_outputs(output: str, expected: str, same: bool) -> None:
    assert same_output(output, expected) is same


def test_values_cross_the_wall_and_come_back_as_base_types() -> None:
    class Sly(str):
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = str.__hash__

    value = [None, True, -7, 2**200, 1.5, float("inf"), "é\ud800", (1, [2]), {1, 2}, frozenset({3}),
             {(1,): {"a": b"\xff"}}, 1 + 2j, deque([1]), Fraction(1, 3), Decimal("1.10"), -(2**53)]
    back = unpack(load(dump(pack(value))[4:]))
    assert back == value and [type(item) for item in back] == [type(item) for item in value]
    plain = unpack(pack([Sly("a"), Counter("aa")]))
    assert [type(item) for item in plain] == [str, Counter] and plain[0] != "b"
    with pytest.raises(TypeError, match="type object"):
        pack(object())
    assert unpack(pack(object(), keep=lambda value: 5)).number == 5
    nested: Any = []
    for _ in range(MAX_DEPTH + 1):
        nested = [nested]
    for hostile in (lambda: pack(nested), lambda: unpack(nested), lambda: load(b"[" * 100_000)):
        with pytest.raises(TooDeep):
            hostile()


# One row in the schema of each dataset, shortened.
LCB_FUNCTIONAL = {
    "question_title": "count-days-without-meetings", "platform": "leetcode", "question_id": "3394", "starter_code":
    "class Solution:\n    def countDays(self, days: int, meetings: List[List[int]]) -> int:\n        ",
    "public_test_cases": '[{"input": "10\\n[[5, 7], [1, 3], [9, 10]]", "output": "2", "testtype": "functional"}]',
    "private_test_cases": base64.b64encode(zlib.compress(pickle.dumps(
        '[{"input": "6\\n[[1, 6]]", "output": "0", "testtype": "functional"}]'))).decode(),
    "metadata": '{"func_name": "countDays"}',
}
LCB_STDIN = {
    "question_title": "A. Short Sort", "platform": "codeforces", "question_id": "1873_A", "starter_code": "",
    "public_test_cases": '[{"input": "2\\nabc\\nbca\\n", "output": "YES\\nNO\\n", "testtype": "stdin"}]',
    "private_test_cases": '[{"input": "1\\ncba\\n", "output": "YES\\n", "testtype": "stdin"}]', "metadata": "{}",
}
EVALPLUS_HEAD = '''
import numpy as np

def is_floats(x) -> bool:
    if isinstance(x, float):
        return True
    if isinstance(x, (list, tuple)):
        return all(isinstance(i, float) for i in x)
    if isinstance(x, np.ndarray):
        return x.dtype == np.float64 or x.dtype == np.float32
    return False


def assertion(out, exp, atol):
    exact_match = out == exp

    if atol == 0 and is_floats(exp):
        atol = 1e-6
    if not exact_match and atol != 0:
        np.testing.assert_allclose(out, exp, rtol=1e-07, atol=atol)
    else:
        assert exact_match


'''
LOOP = "for i, (inp, exp) in enumerate(zip(inputs, results)):\n    assertion({f}(*inp), exp, 0)\n"
HUMANEVAL = {
    "task_id": "HumanEval/45", "entry_point": "triangle_area", "prompt": "def triangle_area(a, h):\n",
    "canonical_solution": "    return a * h / 2\n",
    "test": EVALPLUS_HEAD + "def check(candidate):\n    inputs = [[5, 3], [1, -float('inf')], [0.5, 2]]\n"
    "    results = [7.5, -float('inf'), 0.5]\n    "
    + LOOP.format(f="candidate").replace("\n    ", "\n        "),
}
HUMANEVAL_ORACLE = {
    "task_id": "HumanEval/32", "entry_point": "find_zero", "prompt": "", "canonical_solution": "",
    "test": EVALPLUS_HEAD + "def _poly(xs, x):\n    return sum(c * x ** i for i, c in enumerate(xs))\n\n"
    "def check(candidate):\n    inputs = [[[1, 2]], [[-6, 11, -6, 1]]]\n    for i, inp in enumerate(inputs):\n"
    "        assert abs(_poly(inp[0], candidate(*inp))) <= 1e-4\n",
}
MBPP = {
    "task_id": 2, "code": "\ndef similar_elements(a, b):\n    return tuple(set(a) & set(b))\n", "prompt": "",
    "test_imports": [], "source_file": "Benchmark Questions Verification V2.ipynb",
    "test_list": ["assert set(similar_elements((3, 4, 5, 6),(5, 7, 4, 10))) == set((4, 5))"],
    "test": EVALPLUS_HEAD.replace("out == exp\n", "set(out) == set(exp)\n")
    + "inputs = [[(3, 4, 5, 6), (5, 7, 4, 10)], [(1, 2), (3,)]]\nresults = [(5, 4), ()]\n"
    + LOOP.format(f="similar_elements"),
}
MBPP_PLAIN = {**MBPP, "test": EVALPLUS_HEAD + "inputs = [[(1, 2), (2,)]]\nresults = [(2,)]\n"
              + LOOP.format(f="similar_elements")}
CODE_R1_LEETCODE = {"data_source": "code", "ability": "code", "prompt": [], "reward_model": {
    "style": "rule", "ground_truth": json.dumps({"functional": "def check(candidate):\n    assert candidate(nums = "
    "[3,3],target = 6) == [0, 1]\n    assert candidate(nums = [2,7],target = 9) == [0, 1]\n\n\n"
    "check(Solution().twoSum)"})}}
CODE_R1_CALLS = {"reward_model": {"ground_truth": json.dumps({"functional": """\
_inputs = [[1], [5]]
_outputs = [[0.5], [2.5]]
import math
def _deep_eq(a, b, tol=1e-5):
    if isinstance(a, float) or isinstance(b, float):
        return math.isclose(a, b, rel_tol=tol, abs_tol=tol)
    return a == b

for i, o in zip(_inputs, _outputs):
    assert _deep_eq(half(*i), o[0])"""})}}
CODE_R1_TACO = {"data_source": "code", "ability": "code", "prompt": [], "reward_model": {
    "style": "rule", "ground_truth": json.dumps({"inputs": ["3\n1 2 3\n", ["1", "9"]], "outputs": ["6\n", ["9"]]})}}


@pytest.mark.parametrize(("tests", "right", "wrong"), [
    (livecodebench(LCB_FUNCTIONAL), LCB_FUNCTIONAL["starter_code"].rstrip() + "\n"
     "        return days - len(set(chain.from_iterable(range(a, b + 1) for a, b in meetings)))",
     "class Solution:\n    def countDays(self, days, meetings): return 2"),
    (livecodebench(LCB_STDIN), "for _ in range(int(input())):\n    print('YES' if sum(a != b for a, b in "
     "zip(input(), 'abc')) < 3 else 'NO')", "print('YES')\nif input() == '2': print('NO')\nelse: print('NO')"),
    (humaneval_plus(HUMANEVAL), "def triangle_area(a, h):\n    return a * h / 2",
     "def triangle_area(a, h): return 7.5"),
    (humaneval_plus(HUMANEVAL_ORACLE), "def find_zero(xs):\n    return -0.5 if len(xs) == 2 else 1.0",
     "def find_zero(xs): return -0.5"),
    (mbpp_plus(MBPP), MBPP["code"], "def similar_elements(a, b): return (4, 5)"),
    (mbpp_plus(MBPP_PLAIN), MBPP["code"], "def similar_elements(a, b): return ()"),
    (code_r1(CODE_R1_LEETCODE), "class Solution:\n    def twoSum(self, nums: List[int], target: int): return [0, 1]",
     "class Solution:\n    def twoSum(self, nums, target): return [1, 0]"),
    (code_r1(CODE_R1_CALLS), "def half(n):\n    return n / 2 + 1e-6 if n > 1 else 0.5",
     "def half(n): return n / 2 + 1e-4"),
    (code_r1(CODE_R1_TACO), "input()\nprint(sum(map(int, input().split())))", "print(6)"),
])
def test_rows_of_public_datasets(verifier: UnitTestsVerifier, tests: dict[str, Any], right: str, wrong: str) -> None:
    assert reason(verifier, tests, right) is Reason.TESTS_PASSED
    assert reason(verifier, tests, wrong) is Reason.WRONG_ANSWER


def test_what_the_readers_make_of_the_rows() -> None:
    """Literal tables become calls, whose expected values stay out of every jail; oracles stay test code."""
    assert humaneval_plus(HUMANEVAL) == {"kind": "call", "entry": "triangle_area", "cases": [
        {"args": [5, 3], "expected": 7.5}, {"args": [1, float("-inf")], "expected": float("-inf")},
        {"args": [0.5, 2], "expected": 0.5}]}
    assert [len(livecodebench(row)["cases"]) for row in (LCB_FUNCTIONAL, LCB_STDIN)] == [2, 2]
    assert livecodebench(LCB_FUNCTIONAL)["entry"] == "Solution.countDays"
    assert mbpp_plus(MBPP)["kind"] == "assert" and mbpp_plus(MBPP_PLAIN)["kind"] == "call"
    assert code_r1(CODE_R1_TACO)["cases"][1] == {"input": "1\n9", "output": "9"}


def test_rows_that_cannot_be_read_say_why(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = base64.b64encode(zlib.compress(pickle.dumps(os.getcwd))).decode()
    with pytest.raises(ValueError, match=r"pickled posix\.getcwd"):
        livecodebench({**LCB_STDIN, "private_test_cases": bomb})
    monkeypatch.setattr("rlvr.rewards.programs.test_rows.PRIVATE_BYTES", 2**20)  # a GiB of zeros packs into one MiB
    zeros = base64.b64encode(zlib.compress(pickle.dumps("0" * 2**21))).decode()
    with pytest.raises(ValueError, match="unpack to more than 1 MiB"):
        livecodebench({**LCB_STDIN, "private_test_cases": zeros})
    with pytest.raises(ValueError, match="needs numpy"):
        humaneval_plus({**HUMANEVAL, "test": HUMANEVAL["test"] + "\ndef check(c):\n    np.sum(c(1))\n"})
    with pytest.raises(ValueError, match="2 inputs and 1 outputs"):
        code_r1({"reward_model": {"ground_truth": '{"inputs": ["", ""], "outputs": [""]}'}})
