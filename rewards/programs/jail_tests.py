"""Test code (assert, unittest, pytest style) in a jail of its own, against a candidate in another. Runs inside.

The test code never shares a process with the candidate: every name of the candidate's is a proxy, and what comes back
are plain values or stand-ins (`rlvr.rewards.programs.remote`). So nothing the candidate does to `assert`, unittest,
`==` or the exit status is seen by the tests.

Names that the test code uses and does not define come from the prelude, then from the helpers of
`rlvr.rewards.programs.leetcode`, and from the candidate last.
"""

from __future__ import annotations

import ast
import errno
import sys
from types import ModuleType
from typing import Any

from rlvr.rewards.programs.jail_child import Channel, compiled, describe, lock_down
from rlvr.rewards.programs.leetcode import HELPERS
from rlvr.rewards.programs.link import Link, Refused
from rlvr.rewards.programs.pytest_shim import Unsupported
from rlvr.rewards.programs.remote import Remote, asserted, mirrored, type_of
from rlvr.rewards.programs.test_code import MIRROR, TRUTH, TYPE, classes, free_names, needed_modules, prepared


def run(channel: Channel, job: dict[str, Any]) -> None:
    """Run the test code and say how it went. With job["audit"] every statement is tried, whatever fails before it."""
    code = compiled(job["code"], "<tests>")
    if isinstance(code, str):
        channel.send({"unparsable": code})
        return
    tree = ast.parse(job["code"])
    entry = job["entry"].partition(".")[0]
    free = free_names(tree) | {entry}
    link = Link(channel, classes(tree))
    tree = prepared(tree)
    if job["style"] == "unittest":
        import unittest

        unittest.main = lambda *_, **__: None  # type: ignore[assignment,misc]  # `_run_unittest` runs them, and counts
    lock_down(job["limits"])
    # plain asserts may stand under `if __name__ == "__main__"`
    namespace = ModuleType("__main__" if job["style"] == "assert" else "tests")
    sys.modules["tests"] = namespace
    error, tests = "", 0
    try:
        _fill(link, namespace.__dict__, free, entry, job)
        _offer_modules(link, job["style"])
        if "iscoroutine" in job["code"]:
            _tell_coroutines(link)
        if job["audit"]:
            _missing_modules(link, needed_modules(tree), job["style"])
            tests = _audit(link, tree, job["style"], namespace.__dict__)
        else:
            exec(compile(tree, "<tests>", "exec", dont_inherit=True), namespace.__dict__)
            tests, error = _collected(job["style"], namespace.__dict__, lambda raised: _told(link, raised, job["code"]))
    except BaseException as raised:  # SystemExit of a test module too: whatever is raised, the tests did not pass
        error = _told(link, raised, job["code"])
    channel.send({"done": True, "error": link.refused or error, "tests": tests, "calls": link.calls,
                  "unusable": link.unusable})


def _fill(link: Link, namespace: dict[str, Any], free: set[str], entry: str, job: dict[str, Any]) -> None:
    """Give the test code the names it does not define. The candidate must define its entry."""
    namespace.update({MIRROR: mirrored, TRUTH: asserted, TYPE: type_of})
    own = free - {entry}
    if job["prelude"] and own - HELPERS.keys():
        before: dict[str, Any] = {}
        exec(job["prelude"], before)
        namespace.update({name: before[name] for name in own if name in before})
        own -= before.keys()
    namespace.update({name: HELPERS[name] for name in own if name in HELPERS})
    found = link.find(sorted((own - HELPERS.keys()) | {entry}))
    if entry not in found:
        link.refuse(f"the program defines no {entry!r}")
    namespace.update(found)


def _tell_coroutines(link: Link) -> None:
    """`inspect.iscoroutinefunction` and its relatives, for the candidate's functions and coroutines too."""
    import asyncio
    import inspect

    def function(value: Any, _plain: Any = inspect.iscoroutinefunction) -> bool:
        if isinstance(value, Remote):
            return link.operate("is_coroutine_function", value._rlvr_number) is True
        return _plain(value)

    for module in (asyncio, inspect):
        module.iscoroutinefunction = function  # type: ignore[attr-defined]
    inspect.iscoroutine = asyncio.iscoroutine  # type: ignore[assignment]  # goes by methods, not by the type alone


def _told(link: Link, raised: BaseException, code: str) -> str:
    """What is said of an exception. One that is about the tests and not the candidate makes them unusable."""
    error = describe(raised).removesuffix(": ") + _place(raised, code)
    own = "candidate_text" not in getattr(raised, "__dict__", {})  # not raised by the candidate and carried here
    if isinstance(raised, Unsupported) or (own and (isinstance(raised, ModuleNotFoundError) or _is_jails(raised))):
        link.unusable = link.unusable or error
    return error


def _is_jails(raised: BaseException) -> bool:
    """Whether it is the jail that refused: a file to be written or read, a process to be started, a socket."""
    return isinstance(raised, OSError) and raised.errno in (errno.EPERM, errno.EACCES, errno.EROFS, errno.ENOENT)


def _missing_modules(link: Link, names: set[str], style: str) -> None:
    import importlib.util  # 3 ms that jails with nothing to audit do without

    known = {"solution", "tests", "pytest"} if style == "pytest" else {"solution", "tests"}
    for name in sorted(names - known):
        if name not in sys.modules and importlib.util.find_spec(name) is None:
            link.unusable = link.unusable or f"ModuleNotFoundError: No module named {name!r}"


def _audit(link: Link, tree: ast.Module, style: str, namespace: dict[str, Any]) -> int:
    """Run as much of the test code as can be run against a program that does nothing. Number of tests."""
    for statement in tree.body:
        try:
            exec(compile(ast.Module([statement], []), "<tests>", "exec", dont_inherit=True), namespace)
        except BaseException as raised:
            _told(link, raised, "")
    try:
        tests, _ = _collected(style, namespace, lambda raised: _told(link, raised, ""), go_on=True)
    except BaseException as raised:
        _told(link, raised, "")
        return 1
    return tests


def _place(error: BaseException, code: str) -> str:
    """The line of the test code that an exception came from, as ` (line 3: assert f(1) == 2)`."""
    number, frame = 0, error.__traceback__
    while frame:
        if frame.tb_frame.f_code.co_filename == "<tests>":
            number = frame.tb_lineno
        frame = frame.tb_next
    lines = code.splitlines()
    return f" (line {number}: {lines[number - 1].strip()[:100]})" if 0 < number <= len(lines) else ""


def _collected(style: str, namespace: dict[str, Any], told: Any, go_on: bool = False) -> tuple[int, str]:
    """Number of tests run and the first failure, "" if there was none. Assert style: the module itself was the test.
    `told` is called with an exception and gives its words. `go_on`: the first failure does not end the run."""
    if style == "unittest":
        return _run_unittest(namespace, told)
    if style != "pytest":
        return 1, ""
    from rlvr.rewards.programs.pytest_shim import run_functions

    ran = run_functions(namespace, told if go_on else None)
    cases, error = _run_unittest(namespace, told) if "unittest" in sys.modules else (0, "")
    return ran + cases, error


def _run_unittest(namespace: dict[str, Any], told: Any) -> tuple[int, str]:
    import unittest

    from rlvr.rewards.programs.pytest_shim import run_to_end

    class Result(unittest.TestResult):
        def addError(self, test: Any, err: Any) -> None:
            told(err[1])
            super().addError(test, err)

    for name in ("assertTrue", "assertFalse"):
        plain = getattr(unittest.TestCase, name)
        setattr(unittest.TestCase, name, lambda self, value, msg=None, _plain=plain: _plain(self, asserted(value), msg))
    # an `async def` test of a plain TestCase would never run, and so pass
    unittest.TestCase._callTestMethod = lambda self, method: run_to_end(method())  # type: ignore[attr-defined]
    suite = unittest.TestSuite()
    for value in namespace.values():
        if isinstance(value, type) and issubclass(value, unittest.TestCase) and value is not unittest.TestCase:
            suite.addTests(unittest.defaultTestLoader.loadTestsFromTestCase(value))
    result = Result()
    suite.run(result)
    problems = [text.strip().splitlines()[-1] for _, text in (*result.failures, *result.errors)]
    problems += ["unexpected success"] * len(result.unexpectedSuccesses)
    return result.testsRun - len(result.skipped), problems[0] if problems else ""


def _offer_modules(link: Link, style: str) -> None:
    """`from solution import add`, and a small `pytest` where the tests are written for it."""
    module = ModuleType("solution")

    def look_up(name: str) -> Any:
        try:
            found = {} if name.startswith("__") else link.find([name])
        except Refused:
            raise AttributeError(name) from None
        if name not in found:
            raise AttributeError(name)
        return found[name]

    module.__dict__["__getattr__"] = look_up
    sys.modules["solution"] = module
    if style == "pytest":
        from rlvr.rewards.programs import pytest_shim

        sys.modules["pytest"] = pytest_shim  # type: ignore[assignment]
