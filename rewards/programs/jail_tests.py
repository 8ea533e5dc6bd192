"""Test code (assert, unittest, pytest style) in a jail of its own, against a candidate in another. Runs inside.

The test code never shares a process with the candidate: every name of the candidate's is a proxy, and what comes back
are plain values. So nothing the candidate does to `assert`, unittest, `==` or the exit status is seen by the tests.
Objects of the candidate's own classes stay with it behind a `Remote`, which cannot be compared: a class of the
candidate's that says it equals everything must not pass a test.
"""

from __future__ import annotations

import ast
import builtins
import sys
from types import ModuleType
from typing import Any

from rlvr.rewards.programs.jail_child import Channel, compiled, describe, lock_down
from rlvr.rewards.programs.pytest_shim import Unsupported
from rlvr.rewards.programs.wire import TooDeep, pack, unpack

_ENDINGS = (StopIteration, StopAsyncIteration)


class Unsendable(TypeError):
    """The test code hands the candidate something that is not plain data."""


class Link:
    """Calls into the candidate's jail, through the trusted process between the two."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.calls = 0
        self.exceptions: dict[str, type[BaseException]] = {}
        self.unusable = ""

    def ask(self, do: str, on: Any, *arguments: Any, **keywords: Any) -> Any:
        """The reply's value. Raises what the candidate raised: the nearest built-in exception, or its own class."""
        reply = self._exchange({
            "do": do, "on": on, "echo": do == "call", "args": [self._pack(argument) for argument in arguments],
            "kwargs": {name: self._pack(value) for name, value in keywords.items()},
        })
        if do == "next" and "stop" in reply:
            raise StopIteration
        for argument, after in zip(arguments, reply.get("args", ()), strict=False):
            _update(argument, unpack(after, self.remote))
        return unpack(reply["value"], self.remote)

    def find(self, names: list[str]) -> dict[str, Any]:
        """Those of `names` that the candidate defines."""
        found = self._exchange({"do": "find", "on": names})["names"]
        return {name: self._exception(entry["exception"]) if "exception" in entry
                else unpack(entry["value"], self.remote) for name, entry in found.items() if name in names}

    def remote(self, number: int, name: str) -> Remote:
        return Remote(self, number, name)

    def _exchange(self, request: dict[str, Any]) -> dict[str, Any]:
        self.calls += request["do"] == "call"
        self.channel.send({"ask": request})
        reply = self.channel.receive()["reply"]
        if "huge" in reply:
            raise TooDeep("the candidate's value is too large")
        if "raised" in reply:
            raise self._raised(reply)
        return reply

    def _pack(self, value: Any) -> Any:
        if isinstance(value, Remote):
            return {"o": value._number}
        try:
            return pack(value)
        except TypeError as error:
            self.unusable = describe(error)
            raise Unsendable(self.unusable) from error

    def _raised(self, reply: dict[str, Any]) -> BaseException:
        """What the candidate raised, with its arguments where the class takes them, else with its text alone."""
        kind = self._exception([str(name) for name in reply["raised"]])
        text = str(reply.get("text", ""))
        try:
            error = kind(*[unpack(argument, self.remote) for argument in reply.get("args", [text])])
        except Exception:  # UnicodeDecodeError wants five arguments: one that a candidate subclassed may have others
            error = kind.__new__(kind)
            error.args = (text,)
        vars(error)["candidate_text"] = text
        return error

    def _exception(self, names: list[str]) -> type[BaseException]:
        """A class of this name whose base is the first built-in exception among `names` (its method resolution order).

        Only relatives of Exception, so that a candidate cannot end the tests by SystemExit, and not StopIteration,
        which would end `all(map(candidate, inputs))` early and in favour of the candidate.
        """
        for position, name in enumerate(names):
            known = getattr(builtins, name, None)
            if isinstance(known, type) and issubclass(known, Exception) and known not in _ENDINGS:
                if position == 0:
                    return known
                own = type(names[0], (known,), {"__str__": lambda error: vars(error).get("candidate_text", "")})
                return self.exceptions.setdefault(names[0], own)
        return RuntimeError


class Remote:
    """An object in the candidate's jail: attributes, calls, items, length and iteration, no comparison, no truth."""

    def __init__(self, link: Link, number: int, name: str) -> None:
        vars(self).update(_link=link, _number=number, _name=name)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._link.ask("get", self._number, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._link.ask("set", self._number, name, value)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return self._link.ask("call", self._number, *arguments, **keywords)

    def __getitem__(self, key: Any) -> Any:
        return self._link.ask("item", self._number, key)

    def __len__(self) -> int:
        return self._link.ask("len", self._number)

    def __iter__(self) -> Any:
        return self._link.ask("iter", self._number)

    def __next__(self) -> Any:
        return self._link.ask("next", self._number)

    def __str__(self) -> str:
        return self._link.ask("str", self._number)

    def __repr__(self) -> str:
        return f"<candidate's {self._name}>"

    def _refuse(self, *_: Any) -> Any:
        raise TypeError(f"{self!r} is not plain data: it cannot be compared")

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __bool__ = __contains__ = _refuse
    __hash__ = None  # type: ignore[assignment]


def run(channel: Channel, job: dict[str, Any]) -> None:
    """Run the test code and say how it went."""
    code = compiled(job["code"], "<tests>")
    if isinstance(code, str):
        channel.send({"unparsable": code})
        return
    if job["style"] == "unittest":
        import unittest

        unittest.main = lambda *_, **__: None  # type: ignore[assignment,misc]  # `_run_unittest` runs them, and counts
    lock_down(job["limits"])
    link = Link(channel)
    # plain asserts may stand under `if __name__ == "__main__"`
    namespace = ModuleType("__main__" if job["style"] == "assert" else "tests")
    sys.modules["tests"] = namespace
    error = ""
    tests = 0
    try:
        names = {node.id for node in ast.walk(ast.parse(job["code"])) if isinstance(node, ast.Name)}
        wanted = sorted(name for name in names if not hasattr(builtins, name) or name == job["entry"])
        namespace.__dict__.update(link.find(wanted))
        _offer_modules(link, job["style"])
        exec(code, namespace.__dict__)
        tests, error = _collected(job["style"], namespace.__dict__)
    except BaseException as raised:  # SystemExit of a test module too: whatever is raised, the tests did not pass
        error = describe(raised).removesuffix(": ") + _place(raised, job["code"])
        own = "candidate_text" not in getattr(raised, "__dict__", {})  # not raised by the candidate and carried here
        if isinstance(raised, Unsupported) or (own and isinstance(raised, ModuleNotFoundError)):
            link.unusable = error
    channel.send({"done": True, "error": error, "tests": tests, "calls": link.calls, "unusable": link.unusable})


def _place(error: BaseException, code: str) -> str:
    """The line of the test code that an exception came from, as ` (line 3: assert f(1) == 2)`."""
    number, frame = 0, error.__traceback__
    while frame:
        if frame.tb_frame.f_code.co_filename == "<tests>":
            number = frame.tb_lineno
        frame = frame.tb_next
    lines = code.splitlines()
    return f" (line {number}: {lines[number - 1].strip()[:100]})" if 0 < number <= len(lines) else ""


def _collected(style: str, namespace: dict[str, Any]) -> tuple[int, str]:
    """Number of tests run and the first failure, "" if there was none. Assert style: the module itself was the test."""
    if style == "unittest":
        return _run_unittest(namespace)
    if style != "pytest":
        return 1, ""
    from rlvr.rewards.programs.pytest_shim import run_functions

    ran = run_functions(namespace)
    cases, error = _run_unittest(namespace) if "unittest" in sys.modules else (0, "")
    return ran + cases, error


def _run_unittest(namespace: dict[str, Any]) -> tuple[int, str]:
    import unittest

    suite = unittest.TestSuite()
    for value in namespace.values():
        if isinstance(value, type) and issubclass(value, unittest.TestCase) and value is not unittest.TestCase:
            suite.addTests(unittest.defaultTestLoader.loadTestsFromTestCase(value))
    result = unittest.TestResult()
    suite.run(result)
    problems = [text.strip().splitlines()[-1] for _, text in (*result.failures, *result.errors)]
    problems += ["unexpected success"] * len(result.unexpectedSuccesses)
    return result.testsRun - len(result.skipped), problems[0] if problems else ""


def _offer_modules(link: Link, style: str) -> None:
    """`from solution import add`, and a small `pytest` where the tests are written for it."""
    module = ModuleType("solution")

    def look_up(name: str) -> Any:
        found = {} if name.startswith("__") else link.find([name])
        if name not in found:
            raise AttributeError(name)
        return found[name]

    module.__dict__["__getattr__"] = look_up
    sys.modules["solution"] = module
    if style == "pytest":
        from rlvr.rewards.programs import pytest_shim

        sys.modules["pytest"] = pytest_shim  # type: ignore[assignment]


def _update(argument: Any, after: Any) -> None:
    """What the candidate did to a mutable argument happens to the test's own object too."""
    if type(argument) is not type(after):
        return
    if isinstance(argument, list):
        argument[:] = after
    elif isinstance(argument, (dict, set)):
        argument.clear()
        argument.update(after)
