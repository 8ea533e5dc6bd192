"""One program against its tests: the jail's requests and replies, and the reason that comes of them."""

from __future__ import annotations

import math
from typing import Any

from rlvr.rewards.programs.compare import Clock, TooLong, received, same_output, same_value
from rlvr.rewards.programs.jail import Budget, Jail, Jails, Stopped, limits
from rlvr.rewards.programs.jail_command import SandboxError
from rlvr.rewards.programs.limits import OUTPUT_BYTES, Limits
from rlvr.rewards.programs.test_code import looks_at_output
from rlvr.rewards.programs.wire import TooDeep, pack
from rlvr.types import Problem, Reason

DETAIL_CHARS = 200
TESTER_MIB = 1024
"""Memory for the test code, whatever the program may use: it reads what the program returns."""


class Run:
    """One program against its tests. With `audit` the test code is tried statement by statement, for its own faults."""

    def __init__(self, jails: Jails, problem: Problem, program: str, audit: bool = False) -> None:
        self.jails, self.tests, self.program, self.audit = jails, problem.extra["tests"], program, audit
        self.bounds = Limits(**problem.extra.get("limits", {}))
        self.total = self.bounds.total(self.tests)
        self.output_bytes = self.bounds.output_bytes(self.tests)
        self.limits = limits(self.bounds.memory_mib, math.ceil(self.total) + 1, self.output_bytes)
        self.budget: Budget | None = None
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
        return f"over {self.bounds.seconds:g} s of CPU time, or {self.total:g} s for all tests"

    def _attempt(self) -> Reason:
        kind, self.place = self.tests["kind"], "before the tests"
        jail = self.jails.take()
        self.budget = self.budget or Budget(self.total, self.bounds.at_most(self.tests))
        try:
            self._begin(jail, kind)
            if kind == "call":
                return self._calls(jail)
            if kind == "stdin":
                return self._inputs(jail)
            return self._test_code(jail)
        except Failed as failed:
            self.detail = f"{self.place}: {failed.detail}" if failed.detail else self.place
            return failed.reason
        finally:
            jail.strike()
            self.jails.refill()  # while it dies: to start one takes a while, and to tear one down as well
            jail.kill()

    def _begin(self, jail: Jail, kind: str) -> None:
        job = {"kind": "stdin" if kind == "stdin" else "program", "program": self.program, "limits": self.limits,
               "printed": looks_at_output(self.tests.get("code", "")),
               "prelude": self.tests.get("prelude", ""), "leetcode": kind not in ("call", "stdin")}
        jail.send(job, self.budget)
        _checked(self._answer(jail))

    def _answer(self, jail: Jail) -> dict[str, Any]:
        return jail.receive(self.budget, seconds=self.bounds.seconds, wall_seconds=2 * self.bounds.seconds)

    def _calls(self, jail: Jail) -> Reason:
        for number, case in enumerate(self.tests["cases"]):
            self.place = f"case {number}"
            arguments = [pack(argument) for argument in case["args"]]
            jail.send({"do": "call", "on": self.tests["entry"], "args": arguments}, self.budget)
            clock = Clock()
            try:
                value = _value(_checked(self._answer(jail)), clock)
                same = same_value(value, case["expected"], self.tests.get("atol"), clock)
            except TooLong:
                raise Failed(Reason.TIMEOUT, "a value that takes too long to compare") from None
            if not same:
                raise Failed(Reason.WRONG_ANSWER, f"returned {_brief(value)}")
        return Reason.TESTS_PASSED

    def _inputs(self, jail: Jail) -> Reason:
        for number, case in enumerate(self.tests["cases"]):
            self.place = f"case {number}"
            jail.send({"input": case["input"]}, self.budget)
            child = jail.introduction(self.budget)
            reply = jail.receive(self.budget, seconds=self.bounds.seconds, wall_seconds=2 * self.bounds.seconds,
                                 pid=child)
            size, status = reply.get("bytes"), reply.get("status")
            if not isinstance(size, int) or not 0 <= size < self.output_bytes:
                raise Failed(Reason.OUTPUT_LIMIT)
            output = jail.receive_bytes(size, self.budget).decode("utf-8", "backslashreplace")
            if status != 0:
                raise Failed(Reason.CRASHED, str(reply.get("error") or f"exit status {status}")[:DETAIL_CHARS])
            if not same_output(output, case["output"]):
                raise Failed(Reason.WRONG_ANSWER, f"printed {_brief(output)}")
        return Reason.TESTS_PASSED

    def _test_code(self, jail: Jail) -> Reason:
        """The test code runs in a second jail; its calls are carried to the program's and back, unread."""
        tester = self.jails.take()
        self.place = "in the test code"
        answered = False
        try:
            bounds = limits(max(TESTER_MIB, self.bounds.memory_mib), self.limits["cpu_seconds"], OUTPUT_BYTES)
            tester.send({"kind": "tests", "style": self.tests["kind"], "code": self.tests["code"], "limits": bounds,
                         "entry": self.tests["entry"], "prelude": self.tests.get("prelude", ""), "audit": self.audit},
                        self.budget)
            while True:
                message = self._from_tester(tester, answered)
                if "ask" not in message:
                    reason, self.detail = _outcome(message)
                    return reason
                jail.send(message["ask"], self.budget)
                tester.send({"reply": self._answer(jail)}, self.budget)
                answered = True
        finally:
            jail.strike()  # so that the two die side by side
            tester.strike()
            self.jails.refill()
            tester.kill()

    def _from_tester(self, tester: Jail, answered: bool) -> dict[str, Any]:
        """What the test code's jail says. Its end is the candidate's doing once it got an answer of the candidate's."""
        try:
            return tester.receive(self.budget, seconds=self.bounds.seconds if answered else None)
        except Stopped as stopped:
            if stopped.reason is Reason.TIMEOUT or answered:
                raise
            raise SandboxError(f"the jail of the test code ended by {stopped.reason.value}") from None


def idle(entry: str) -> str:
    """A program that defines `entry`, which does nothing."""
    first, _, method = entry.partition(".")
    if method:
        return f"class {first}:\n    def {method}(self, *_, **__): pass\n"
    return f"def {first}(*_, **__): pass\n" if first else "pass\n"


class Failed(Exception):
    """A test failed; `detail` says how."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(reason.value)
        self.reason, self.detail = reason, detail


def _checked(reply: dict[str, Any]) -> dict[str, Any]:
    """`reply` if it reports success; Failed with the candidate's reason otherwise."""
    if "unparsable" in reply:
        raise Failed(Reason.UNPARSABLE, str(reply["unparsable"])[:DETAIL_CHARS])
    if "huge" in reply:
        raise Failed(Reason.HUGE)
    if "raised" in reply:
        kinds, text = reply["raised"], reply.get("text")
        raised = [kinds[0]] if isinstance(kinds, list) and kinds else []
        raise Failed(Reason.CRASHED, ": ".join(str(part)[:DETAIL_CHARS] for part in (*raised, text) if part))
    return reply


def _brief(value: Any) -> str:
    """A value of the program's in a few words: its `repr` may be of any length, and take as long."""
    if isinstance(value, str):
        return repr(value[:60]) + " ..." * (len(value) > 60)
    if value is None or type(value) in (bool, float) or (type(value) is int and abs(value) < 10**18):
        return repr(value)
    kind = getattr(value, "kind", type(value))
    return f"a value of type {'dict' if type(value).__name__ == 'Pairs' else kind.__name__}"


def _value(reply: dict[str, Any], clock: Clock) -> Any:
    """The value in a reply. A reply that is none, or that holds what `pack` never writes, is the candidate's doing."""
    if "value" not in reply:
        raise Failed(Reason.CRASHED)
    try:
        return received(reply["value"], clock)
    except TooDeep:
        raise Failed(Reason.HUGE) from None
    except (ValueError, TypeError, ArithmeticError, LookupError, AttributeError):
        raise Failed(Reason.CRASHED) from None


def _outcome(message: dict[str, Any]) -> tuple[Reason, str]:
    """What the test code's jail says at the end, and its words. It ran no code of the candidate's."""
    for key, what in (("unparsable", "the test code is no Python"), ("unusable", "the test code cannot be run")):
        if message.get(key):
            return Reason.GOLD_ERROR, f"{what}: {message[key]}"
    if "done" not in message:
        return Reason.WRONG_ANSWER, "the test code did not end"
    if message["error"]:
        return Reason.WRONG_ANSWER, message["error"]
    if not message["calls"] or not message["tests"]:  # tests that test nothing would pass everything
        return Reason.GOLD_ERROR, "the test code has no test" if message["calls"] else "no test calls the program"
    return Reason.TESTS_PASSED, ""
