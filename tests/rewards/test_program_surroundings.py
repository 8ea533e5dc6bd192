"""What test code uses besides the program: asyncio, threads, files, what is printed. Right programs are right whatever
of these their tests use, wrong ones wrong; tests that need what no jail has are the dataset's error.

Run: python -m pytest tests/rewards/test_program_surroundings.py
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from rlvr.rewards.programs.code_block import in_block
from rlvr.rewards.unit_tests import UnitTestsVerifier
from rlvr.types import Problem, Reason
from tests.support.sandbox_tiers import TIERS, missing

ADD = "import asyncio\nasync def f(x):\n    await asyncio.sleep(0.001)\n    return x + 1"
OFF = "async def f(x):\n    return x + 2"
PLAIN = "def f(x): return x + 1"
COUNT = "async def f(n):\n    for i in range(n): yield i"
OPEN = """
log = []
class f:
    async def __aenter__(self): log.append("in"); return self
    async def __aexit__(self, *error): log.append("out"); return True
    def seen(self): return log
"""
SLOW = """
import asyncio
state = []
async def f():
    try:
        await asyncio.sleep(30)
    finally:
        state.append("tidied")
def seen(): return state
"""
LATCH = """
import asyncio
class f:
    def __init__(self): self.gate = asyncio.Event()
    async def wait(self): await self.gate.wait(); return 7
    async def open(self): self.gate.set()
"""

ASYNC = {
    "run": ("import asyncio\nassert asyncio.run(f(1)) == 2", ADD, OFF),
    "gather": ("import asyncio\nasync def main(): return await asyncio.gather(f(1), f(2))\n"
               "assert asyncio.run(main()) == [2, 3]", ADD, OFF),
    "a loop": ("import asyncio\nassert asyncio.new_event_loop().run_until_complete(f(1)) == 2", ADD, OFF),
    "await": ("import asyncio\nasync def main(): assert await f(1) == 2\nasyncio.run(main())", ADD, OFF),
    "wait_for": ("import asyncio\nassert asyncio.run(asyncio.wait_for(f(1), 5)) == 2", ADD, OFF),
    "tasks": ("import asyncio\nasync def main():\n  a, b = asyncio.create_task(f(1)), asyncio.create_task(f(2))\n"
              "  return await a + await b\nassert asyncio.run(main()) == 5", ADD, OFF),
    "async for": ("import asyncio\nasync def main(): return [x async for x in f(3)]\n"
                  "assert asyncio.run(main()) == [0, 1, 2]",
                  COUNT, "async def f(n):\n    for i in range(n - 1): yield i"),
    "an exception": ("import asyncio\ntry:\n  asyncio.run(f(-1))\nexcept ValueError: pass\nelse: assert False",
                     "async def f(x): raise ValueError('no')", "async def f(x): return 1"),
    "a coroutine function": ("import asyncio, inspect\nassert inspect.iscoroutinefunction(f)\n"
                             "assert asyncio.iscoroutinefunction(f)\nc = f(1)\n"
                             "assert inspect.iscoroutine(c) and asyncio.run(c) == 2", ADD, OFF),
    "side by side": ("import asyncio, time\nasync def main(): await asyncio.gather(*[f() for _ in range(20)])\n"
                     "begun = time.monotonic()\nasyncio.run(main())\nassert time.monotonic() - begun < 2",
                     "import asyncio\nasync def f(): await asyncio.sleep(0.2)",
                     "import time\nasync def f(): time.sleep(0.2)"),
    "one lets another go on": ("import asyncio\nasync def main():\n  d = f()\n  t = asyncio.create_task(d.wait())\n"
                               "  await asyncio.sleep(0.01)\n  assert not t.done()\n  await d.open()\n"
                               "  assert await asyncio.wait_for(t, 3) == 7\nasyncio.run(main())", LATCH,
                               LATCH.replace("return 7", "return 8")),
    "a time-out reaches the program": ("import asyncio\nasync def main():\n  try: await asyncio.wait_for(f(), 0.05)\n"
                                       "  except asyncio.TimeoutError: return seen()\n  return None\n"
                                       "assert asyncio.run(main()) == ['tidied']", SLOW,
                                       SLOW.replace("sleep(30)", "sleep(0)")),
    "async with": ("import asyncio\nasync def main():\n  async with f() as x: assert x.seen() == ['in']\n"
                   "  assert x.seen() == ['in', 'out']\nasyncio.run(main())", OPEN,
                   OPEN.replace("log.append(\"out\"); ", "")),
}


@pytest.fixture(scope="module", params=[
    pytest.param(tier, marks=pytest.mark.skipif(bool(missing(tier)), reason=missing(tier))) for tier in TIERS])
def verifier(request: pytest.FixtureRequest) -> Iterator[UnitTestsVerifier]:
    made = UnitTestsVerifier(request.param)
    yield made
    made.close()


def judged(verifier: UnitTestsVerifier, code: str, program: str, kind: str = "assert", entry: str = "f") -> Any:
    tests = {"kind": kind, "entry": entry, "code": code}
    return verifier.verify(Problem("p", "", "", "unit_tests", {"tests": tests}), in_block(program))


@pytest.mark.parametrize("what", ASYNC)
def test_tests_may_await_what_the_program_defines(verifier: UnitTestsVerifier, what: str) -> None:
    code, right, wrong = ASYNC[what]
    verdict = judged(verifier, code, right)
    assert verdict.reason is Reason.TESTS_PASSED, verdict.detail
    assert judged(verifier, code, wrong).reason is Reason.WRONG_ANSWER


FORGED = {
    "equal to everything": "class A:\n  def __eq__(s, o): return True\nasync def f(x): return A()",
    "no coroutine, equal to everything": "class A:\n  def __eq__(s, o): return True\n  def __await__(s):\n    yield\n"
                                         "    return A()\ndef f(x): return A()",
    "an end of the iteration": "async def f(x): raise StopAsyncIteration",
    "cancels": "import asyncio\nasync def f(x): raise asyncio.CancelledError",
    "leaves": "import os\nasync def f(x): os._exit(0)",
    "exits": "import sys\nasync def f(x): sys.exit(0)",
    "never ends": "import asyncio\nasync def f(x):\n  while True: await asyncio.sleep(0)",
}


@pytest.mark.parametrize("what", FORGED)
@pytest.mark.parametrize("code", ["import asyncio\nassert asyncio.run(f(1)) == 2",
                                  "import asyncio\nassert all(asyncio.run(f(i)) == i + 1 for i in range(3))"])
def test_no_awaited_answer_forges_a_verdict(verifier: UnitTestsVerifier, what: str, code: str) -> None:
    problem = Problem("p", "", "", "unit_tests", {"tests": {"kind": "assert", "entry": "f", "code": code},
                                                  "limits": {"seconds": 1, "total_seconds": 3}})
    assert verifier.verify(problem, in_block(FORGED[what])).correct is False


def test_a_swallowed_assertion_of_an_async_with_block_stays_wrong(verifier: UnitTestsVerifier) -> None:
    code = "import asyncio\nasync def main():\n  async with f() as x: assert x.seen() == ['out']\nasyncio.run(main())"
    assert judged(verifier, code, OPEN).reason is Reason.WRONG_ANSWER


@pytest.mark.parametrize(("kind", "code"), [
    ("pytest", "import pytest\n@pytest.mark.asyncio\nasync def test_a(): assert await f(1) == 2"),
    ("pytest", "class TestF:\n  async def test_a(self): assert await f(1) == 2"),
    ("unittest", "import unittest\nclass T(unittest.TestCase):\n"
                 "  async def test_a(self): self.assertEqual(await f(1), 2)"),
    ("unittest", "import unittest\nclass T(unittest.IsolatedAsyncioTestCase):\n"
                 "  async def test_a(self): self.assertEqual(await f(1), 2)"),
])
def test_async_tests_run(verifier: UnitTestsVerifier, kind: str, code: str) -> None:
    """One that is called and never awaited would pass every program."""
    assert judged(verifier, code, ADD, kind).reason is Reason.TESTS_PASSED
    assert judged(verifier, code, OFF, kind).reason is Reason.WRONG_ANSWER


def test_threads_of_the_test_code_get_their_own_answers(verifier: UnitTestsVerifier) -> None:
    code = ("from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor(8) as pool:\n"
            "    found = list(pool.map(f, range(500)))\nassert found == list(range(1, 501))")
    for _ in range(2):
        assert judged(verifier, code, PLAIN).reason is Reason.TESTS_PASSED


PRINTS = "import sys\ndef f(x):\n    print(x)\n    sys.stdout.write('end\\n')"


@pytest.mark.parametrize(("kind", "code"), [
    ("assert", "import io, contextlib\nout = io.StringIO()\nwith contextlib.redirect_stdout(out): f(1)\n"
               "assert out.getvalue() == '1\\nend\\n'"),
    ("assert", "import io, sys\nsys.stdout = out = io.StringIO()\nf(1)\nassert out.getvalue().split() == ['1', 'end']"),
    ("unittest", "import io, unittest\nfrom unittest.mock import patch\nclass T(unittest.TestCase):\n"
                 "  @patch('sys.stdout', new_callable=io.StringIO)\n  def test_a(self, out):\n    f(1)\n"
                 "    self.assertEqual(out.getvalue(), '1\\nend\\n')"),
    ("pytest", "def test_a(capsys):\n  f(1)\n  assert capsys.readouterr().out == '1\\nend\\n'\n  f(2)\n"
               "  out, err = capsys.readouterr()\n  assert out == '2\\nend\\n' and err == ''"),
])
def test_what_the_program_prints_reaches_the_test(verifier: UnitTestsVerifier, kind: str, code: str) -> None:
    assert judged(verifier, code, PRINTS, kind).reason is Reason.TESTS_PASSED
    assert judged(verifier, code, PRINTS.replace("print(x)", "print(x + 1)"), kind).reason is Reason.WRONG_ANSWER
    assert judged(verifier, code, "def f(x): return 'x' * 9", kind).reason is Reason.WRONG_ANSWER
    flood = "def f(x):\n    for _ in range(200): print('x' * 10**5)"
    assert judged(verifier, code, flood, kind).correct is False


@pytest.mark.parametrize(("kind", "code"), [
    ("assert", "import tempfile\nwith tempfile.TemporaryDirectory() as d: assert f(1) == 2"),
    ("unittest", "import unittest, tempfile\nclass T(unittest.TestCase):\n  def test_a(self):\n"
                 "    with tempfile.NamedTemporaryFile() as x: self.assertEqual(f(1), 2)"),
    ("pytest", "import subprocess\ndef test_a():\n  subprocess.run(['true'])\n  assert f(1) == 2"),
    ("assert", "import socket\nsocket.socket()\nassert f(1) == 2"),
    ("assert", "open('/tmp/x.txt', 'w').write('1')\nassert f(1) == 2"),
])
def test_tests_that_need_what_no_jail_has_are_the_datasets_error(verifier: UnitTestsVerifier, kind: str,
                                                                 code: str) -> None:
    """Not a reward of 0 for every program; the gold check says so beforehand."""
    problem = Problem("p", "", "", "unit_tests", {"tests": {"kind": kind, "entry": "f", "code": code}})
    assert verifier.verify(problem, in_block(PLAIN)).reason is Reason.GOLD_ERROR
    checked = verifier.verify(problem, verifier.gold_completion(problem))
    assert checked.reason is Reason.GOLD_ERROR and "the test code cannot be run" in checked.detail


def test_a_program_that_needs_a_file_is_wrong_itself(verifier: UnitTestsVerifier) -> None:
    program = "def f(x):\n    open('/tmp/x.txt', 'w')\n    return x + 1"
    assert judged(verifier, "assert f(1) == 2", program).correct is False


@pytest.mark.parametrize("code", [
    "from unittest.mock import patch\nwith patch('builtins.input', return_value='3'): assert f(1) == 2",
    "from unittest import mock\n@mock.patch('random.randint')\ndef t(r): assert f(1) == 2\nt()",
    "import unittest.mock\nwith unittest.mock.patch('solution.time.sleep'): assert f(1) == 2",
])
def test_what_the_program_cannot_see_replaced_is_said_before(verifier: UnitTestsVerifier, code: str) -> None:
    problem = Problem("p", "", "", "unit_tests", {"tests": {"kind": "assert", "entry": "f", "code": code}})
    complaint = verifier.check_gold(problem)
    assert complaint is not None and "which the program does not see" in complaint
