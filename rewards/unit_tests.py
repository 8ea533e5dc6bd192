"""Programs against unit tests: the last fenced block of a completion is run in a jail (rlvr.rewards.programs.sandbox).

`Problem.extra["tests"]` is one of

    {"kind": "call", "entry": "add", "cases": [{"args": [1, 2], "expected": 3}], "atol": 1e-6}
    {"kind": "stdin", "cases": [{"input": "1 2\\n", "output": "3\\n"}]}
    {"kind": "assert" | "unittest" | "pytest", "entry": "add", "code": "assert add(1, 2) == 3"}

`entry` may be a method, `Solution.add`: each call gets a new Solution. `atol` is optional, and so is `prelude`: imports
that the dataset promises to its programs. `Problem.extra["limits"]` may set "seconds" (CPU time of one test),
"total_seconds" (wall time of all) and "memory_mib". `rlvr.rewards.programs.test_rows` reads the rows of public
datasets.

How a program is kept from forging a verdict: expected values never enter its jail; what it answers comes back as plain
JSON and is compared here; its exit status alone never passes; test code runs in a jail of its own and calls the
program through a proxy. All tests have to pass, the first that fails ends the run.

What this does not do: no packages beyond the standard library, no writable file system and no child processes for the
program (threads are fine); no answers that only a checker program can judge; test code can hand the program plain data
only, no functions. A program whose own output varies from run to run gets verdicts that vary.
"""

from __future__ import annotations

import ast
import difflib
import gc
import math
import secrets
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

from rlvr.interfaces import Verifier
from rlvr.rewards.programs.code_block import in_block, last_program
from rlvr.rewards.programs.compare import same_output, same_value
from rlvr.rewards.programs.jail import Jail, Jails, Stopped, limits
from rlvr.rewards.programs.jail_command import SandboxError
from rlvr.rewards.programs.sandbox import choose_tier
from rlvr.rewards.programs.wire import Opaque, TooDeep, pack, unpack
from rlvr.types import Problem, Reason, Verdict

KINDS = ("call", "stdin", "assert", "unittest", "pytest")
KEYS = ("kind", "entry", "cases", "code", "atol", "prelude")
CASE_KEYS = {"call": "'args' and 'expected'", "stdin": "'input' and 'output'"}
OUTPUT_BYTES = 4 * 2**20
"""What a program may print in one test, and the largest file: more is `output_limit`."""

DETAIL_CHARS = 200
LEAST_MIB = 40
"""The interpreter has 30 before it runs a program."""


@dataclass(frozen=True)
class Limits:
    """What one program may use."""

    seconds: float = 4.0
    """CPU seconds of one test, twice as much wall time: CPU time does not depend on what else the machine does."""
    total_seconds: float = 9.0
    """Wall seconds of all tests; below the 10 s after which a Judge gives up, since that costs the worker."""
    memory_mib: int = 512
    """Address space in MiB, the interpreter's own 30 included; at least 40."""


class UnitTestsVerifier(Verifier):
    """Gold: a reference program, or "" where the dataset has none (then only the tests' form is checked).

    Args:
        tier: "bwrap" or "landlock"; None takes the first that holds on this machine.

    Raises UserError where no tier does. The constructor proves the tier with a canary program (50 ms).
    """

    name = "unit_tests"
    version = "3"
    answer_alone = False

    def __init__(self, tier: str | None = None) -> None:
        self.tier = choose_tier(tier)
        self._jails = Jails(self.tier)
        self._jails.refill()
        self._last_checked: tuple[Mapping[str, Any] | None, str | None] = (None, None)
        self._good_preludes = {""}
        # Judges only an empty gold answer (see gold_completion); 128 random bits that no program can know
        self._no_gold = f"no reference program {secrets.token_hex(16)}"

    def verify(self, problem: Problem, text: str) -> Verdict:
        """`tier` names the jail's tier; `extracted` is the program's head, `detail` the case that failed and how."""
        complaint = self._form(problem)
        if complaint is not None:
            return Verdict(None, Reason.GOLD_ERROR, detail=complaint)
        if text == self._no_gold and not problem.gold:
            return self._without_reference(problem)
        program = last_program(text)
        if isinstance(program, Reason):
            detail = "no closed fenced block of Python" if program in (Reason.NO_BOX, Reason.UNBALANCED) else ""
            return Verdict(False, program, tier="extract", detail=detail)
        with _uncollected():
            run = _Run(self._jails, problem, program)
            reason = run.reason()
        correct = None if reason is Reason.GOLD_ERROR else reason is Reason.TESTS_PASSED
        return Verdict(correct, reason, program[:200], tier=f"sandbox:{self.tier}", detail=run.detail)

    def check_gold(self, problem: Problem) -> str | None:
        """The form of the tests and limits. Whether the reference program passes them, `verify` says."""
        return self._form(problem) or _code_complaint(problem.extra["tests"])

    def _without_reference(self, problem: Problem) -> Verdict:
        """Whether prelude and test code run at all, tried with a program that does nothing; a prelude is tried once."""
        tests = problem.extra["tests"]
        known = tests.get("prelude", "") if tests["kind"] in ("call", "stdin") else None
        if known not in self._good_preludes:
            run = _Run(self._jails, problem, _idle(tests.get("entry", "")))
            if run.reason() in (Reason.GOLD_ERROR, Reason.CRASHED):  # nothing in an idle program crashes
                return Verdict(None, Reason.GOLD_ERROR, detail=run.detail)
            if known is not None:
                self._good_preludes.add(known)
        return Verdict(True, Reason.IDENTICAL, tier="no reference")

    def _form(self, problem: Problem) -> str | None:
        if self._last_checked[0] is not problem.extra:  # megabytes of tests are checked once, not for each completion
            self._last_checked = (problem.extra, _complaint(problem))
        return self._last_checked[1]

    @classmethod
    def own_limit(cls, problem: Problem) -> float | None:
        """`total_seconds` where the problem sets it."""
        limits = problem.extra.get("limits", {})
        seconds = limits.get("total_seconds") if isinstance(limits, Mapping) else None
        return seconds if _positive(seconds) else None

    def gold_completion(self, problem: Problem) -> str:
        """The reference program in a fenced block, where it does not stand in one already."""
        if problem.gold.lstrip().startswith(("```", "~~~")):
            return problem.gold
        return in_block(problem.gold) if problem.gold else self._no_gold

    def close(self) -> None:
        """Kill the jails that wait for work. They also end by themselves when this process ends."""
        self._jails.close()


@contextmanager
def _uncollected() -> Iterator[None]:
    """No garbage collection: it would walk a candidate's millions of lists again and again, for three quarters of the
    time that they take us (3.4 s instead of 1.1 s for 8 MiB of `[],`)."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


class _Run:
    """One program against its tests."""

    def __init__(self, jails: Jails, problem: Problem, program: str) -> None:
        self.jails, self.tests, self.program = jails, problem.extra["tests"], program
        self.bounds = bounds = Limits(**problem.extra.get("limits", {}))
        self.limits = limits(bounds.memory_mib, math.ceil(bounds.total_seconds) + 1, OUTPUT_BYTES)
        self.deadline = math.inf
        self.place = ""
        self.detail = ""
        """What happened and where, for people: `case 3: ZeroDivisionError: division by zero`."""

    def reason(self) -> Reason:
        """The verdict's reason. SandboxError is ours; gold_error: the tests themselves cannot be run."""
        try:
            return self._attempt()
        except Stopped as stopped:
            if stopped.reason is not Reason.CRASHED:
                return self._stopped(stopped)
        # its process died; once more, since the machine may have killed it (out of memory) and not the program, in the
        # time that is left: a Judge that has to give up loses its worker, and the next verdict waits for a new one
        try:
            return self._attempt()
        except Stopped as stopped:
            return self._stopped(stopped)

    def _stopped(self, stopped: Stopped) -> Reason:
        how = {Reason.CRASHED: "its process died", Reason.TIMEOUT: self._too_long()}.get(stopped.reason)
        self.detail = f"{self.place}: {how}" if how else self.place
        return stopped.reason

    def _too_long(self) -> str:
        return f"over {self.bounds.seconds:g} s of CPU time, or {self.bounds.total_seconds:g} s for all tests"

    def _attempt(self) -> Reason:
        kind, self.place = self.tests["kind"], "before the tests"
        jail = self.jails.take()
        self.deadline = min(self.deadline, time.monotonic() + self.bounds.total_seconds)
        try:
            self._begin(jail, kind)
            if kind == "call":
                return self._calls(jail)
            if kind == "stdin":
                return self._inputs(jail)
            return self._test_code(jail)
        except _Failed as failed:
            self.detail = f"{self.place}: {failed.detail}" if failed.detail else self.place
            return failed.reason
        finally:
            jail.strike()
            self.jails.refill()  # while it dies: to start one takes a while, and to tear one down as well
            jail.kill()

    def _begin(self, jail: Jail, kind: str) -> None:
        job = {"kind": "stdin" if kind == "stdin" else "program", "program": self.program, "limits": self.limits,
               "prelude": self.tests.get("prelude", "")}
        jail.send(job, self.deadline)
        _checked(self._answer(jail))

    def _answer(self, jail: Jail) -> dict[str, Any]:
        return jail.receive(deadline=self.deadline, seconds=self.bounds.seconds, wall_seconds=2 * self.bounds.seconds)

    def _calls(self, jail: Jail) -> Reason:
        for number, case in enumerate(self.tests["cases"]):
            self.place = f"case {number}"
            arguments = [pack(argument) for argument in case["args"]]
            jail.send({"do": "call", "on": self.tests["entry"], "args": arguments}, self.deadline)
            value = _value(_checked(self._answer(jail)))
            if not same_value(value, case["expected"], self.tests.get("atol")):
                raise _Failed(Reason.WRONG_ANSWER, f"returned {_brief(value)}")
        return Reason.TESTS_PASSED

    def _inputs(self, jail: Jail) -> Reason:
        for number, case in enumerate(self.tests["cases"]):
            self.place = f"case {number}"
            seconds = self.bounds.seconds
            jail.send({"input": case["input"], "seconds": seconds, "wall_seconds": 2 * seconds}, self.deadline)
            # the jail kills the program at its limit; ours is there in case that fails
            reply = jail.receive(deadline=self.deadline, wall_seconds=2 * seconds + 1)
            output, status = reply.get("output"), reply.get("status")
            if reply.get("timeout"):
                raise _Failed(Reason.TIMEOUT, self._too_long())
            if not isinstance(output, str) or len(output) >= OUTPUT_BYTES:
                raise _Failed(Reason.OUTPUT_LIMIT)
            if status != 0:
                raise _Failed(Reason.CRASHED, str(reply.get("error") or f"exit status {status}")[:DETAIL_CHARS])
            if not same_output(output, case["output"]):
                raise _Failed(Reason.WRONG_ANSWER, f"printed {_brief(output)}")
        return Reason.TESTS_PASSED

    def _test_code(self, jail: Jail) -> Reason:
        """The test code runs in a second jail; its calls are carried to the program's and back, unread."""
        tester = self.jails.take()
        self.place = "in the test code"
        try:
            tester.send({"kind": "tests", "style": self.tests["kind"], "code": self.tests["code"],
                         "entry": self.tests["entry"], "limits": self.limits}, self.deadline)
            while True:
                message = self._from_tester(tester)
                if "ask" not in message:
                    reason, self.detail = _outcome(message)
                    return reason
                jail.send(message["ask"], self.deadline)
                tester.send({"reply": self._answer(jail)}, self.deadline)
        finally:
            jail.strike()  # so that the two die side by side
            tester.strike()
            self.jails.refill()
            tester.kill()

    def _from_tester(self, tester: Jail) -> dict[str, Any]:
        try:
            return tester.receive(deadline=self.deadline)
        except Stopped as stopped:
            if stopped.reason is Reason.TIMEOUT:
                raise
            raise SandboxError(f"the jail of the test code ended by {stopped.reason.value}") from None


def _idle(entry: str) -> str:
    """A program that defines `entry`, which does nothing."""
    first, _, method = entry.partition(".")
    if method:
        return f"class {first}:\n    def {method}(self, *_, **__): pass\n"
    return f"def {first}(*_, **__): pass\n" if first else "pass\n"


class _Failed(Exception):
    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(reason.value)
        self.reason, self.detail = reason, detail


def _checked(reply: dict[str, Any]) -> dict[str, Any]:
    """`reply` if it reports success; _Failed with the candidate's reason otherwise."""
    if "unparsable" in reply:
        raise _Failed(Reason.UNPARSABLE, str(reply["unparsable"])[:DETAIL_CHARS])
    if "huge" in reply:
        raise _Failed(Reason.HUGE)
    if "raised" in reply:
        kinds, text = reply["raised"], reply.get("text")
        raised = [kinds[0]] if isinstance(kinds, list) and kinds else []
        raise _Failed(Reason.CRASHED, ": ".join(str(part)[:DETAIL_CHARS] for part in (*raised, text) if part))
    return reply


def _brief(value: Any) -> str:
    """A value of the program's in a few words: its `repr` may be of any length, and take as long."""
    if isinstance(value, str):
        return repr(value[:60]) + " ..." * (len(value) > 60)
    if value is None or type(value) in (bool, float) or (type(value) is int and abs(value) < 10**18):
        return repr(value)
    return f"a value of type {type(value).__name__}"


def _value(reply: dict[str, Any]) -> Any:
    """The value in a reply. A reply that is none, or that holds what `pack` never writes, is the candidate's doing."""
    if "value" not in reply:
        raise _Failed(Reason.CRASHED)
    try:
        return unpack(reply["value"], Opaque)
    except TooDeep:
        raise _Failed(Reason.HUGE) from None
    except (ValueError, TypeError, ArithmeticError, KeyError, IndexError, AttributeError):
        raise _Failed(Reason.CRASHED) from None


def _outcome(message: dict[str, Any]) -> tuple[Reason, str]:
    """What the test code's jail says at the end, and its words. It ran no code of the candidate's."""
    for key, what in (("unparsable", "the test code is no Python"), ("unusable", "the test code cannot be run")):
        if message.get(key):
            return Reason.GOLD_ERROR, f"{what}: {message[key]}"
    if "done" not in message:
        return Reason.GOLD_ERROR, "the test code did not end"
    if message["error"]:
        return Reason.WRONG_ANSWER, message["error"]
    if not message["calls"] or not message["tests"]:  # tests that test nothing would pass everything
        return Reason.GOLD_ERROR, "the test code has no test" if message["calls"] else "no test calls the program"
    return Reason.TESTS_PASSED, ""


def _complaint(problem: Problem) -> str | None:
    """What is wrong with the tests or limits of a problem."""
    tests = problem.extra.get("tests")
    expected = f"a mapping whose 'kind' is one of {', '.join(KINDS)}"
    if "tests" not in problem.extra:
        return f"there is no extra['tests'], expected {expected} (of a dataset: its column, named by `extra: [tests]`)"
    if isinstance(tests, str):
        return f"extra['tests'] is the text {tests[:60]!r}, expected {expected}; if it is JSON, let a `reader` read it"
    if not isinstance(tests, Mapping) or tests.get("kind") not in KINDS:
        return f"extra['tests'] is {str(tests)[:100]!r}, expected {expected}"
    limits, known = problem.extra.get("limits", {}), [field.name for field in fields(Limits)]
    if not isinstance(limits, Mapping) or not set(limits) <= set(known) or not all(map(_positive, limits.values())):
        return (f"extra['limits'] is {str(limits)[:200]}, expected positive numbers below a million for some of "
                f"{', '.join(known)}")
    if limits.get("memory_mib", LEAST_MIB) < LEAST_MIB:
        return f"extra['limits'] has memory_mib {limits['memory_mib']}, expected at least {LEAST_MIB}"
    if not (tests.get("atol") is None or _positive(tests["atol"]) or tests["atol"] == 0):
        return f"'atol' is {tests['atol']!r}, expected a number of at least 0"
    for given, names in ((tests, KEYS), (problem.extra, ("tests", "limits"))):
        for key in given:
            if key not in names and (close := difflib.get_close_matches(str(key), names, n=1, cutoff=0.8)):
                return f"{key!r} has no meaning; {close[0]!r} has"
    kind = tests["kind"]
    if kind != "stdin" and not (isinstance(tests.get("entry"), str) and tests["entry"]):
        return f"tests of kind {kind!r} need 'entry', the name of the function: found {tests.get('entry')!r}"
    if kind in ("call", "stdin"):
        return _cases_complaint(kind, tests.get("cases"))
    return None if isinstance(tests.get("code"), str) else f"tests of kind {kind!r} need 'code', the text of the tests"


def _positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e6


def _code_complaint(tests: Mapping[str, Any]) -> str | None:
    """What keeps the test code and the prelude from being Python. Apart from the form, since it takes a second of a
    megabyte of tests."""
    for key in ("code", "prelude"):
        try:
            with warnings.catch_warnings(action="ignore"):
                ast.parse(tests.get(key, ""))
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            return f"tests of kind {tests['kind']!r}: {key!r} is no Python: {type(error).__name__}: {error}"
    return None


def _cases_complaint(kind: str, cases: Any) -> str | None:
    if not isinstance(cases, list | tuple) or not cases:
        return f"tests of kind {kind!r} need 'cases', a list that is not empty: found {str(cases)[:100]!r}"
    for number, case in enumerate(cases):
        if not isinstance(case, Mapping):
            return f"case {number}: expected a mapping with {CASE_KEYS[kind]}, found {str(case)[:100]!r}"
        if kind == "stdin":
            if not all(isinstance(case.get(key), str) for key in ("input", "output")):
                return f"case {number}: expected the texts 'input' and 'output', found {str(case)[:100]!r}"
            try:
                case["input"].encode("utf-8", "surrogateescape")
            except UnicodeEncodeError as error:
                return f"case {number}: the input cannot be written as UTF-8: {error}"
            continue
        if not isinstance(case.get("args"), list | tuple) or "expected" not in case:
            return f"case {number}: expected a list 'args' and a value 'expected', found {str(case)[:100]!r}"
        try:
            pack(list(case["args"]))
            pack(case["expected"])
        except (TypeError, ValueError) as error:
            return f"case {number}: {error}"
    return None
