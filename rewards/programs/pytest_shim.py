"""The little of pytest that generated tests use, offered inside the jail as `pytest`.

raises, approx, fail, skip, importorskip, fixture (of functions, also with yield; made anew for each test) and the marks
parametrize, skip, skipif and xfail, which leaves its test out; other marks do nothing. `run_functions` collects
`test*` functions and the methods of `Test*` classes with setup_class, setup_method and teardown_method; `async def`
ones run to their end, as pytest-asyncio and anyio have it. Of the fixtures of pytest's own capsys is there, the others
(monkeypatch, tmp_path) are not: Unsupported, which is the dataset's error and not the program's.
"""

from __future__ import annotations

import io
import math
import re
from collections import namedtuple
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from types import CoroutineType, FunctionType, GeneratorType
from typing import Any


class Unsupported(Exception):
    """The tests need a part of pytest that is not here."""


class Failed(BaseException):
    """`pytest.fail`. No Exception, so that `except Exception` in a test does not swallow it."""


class Skipped(BaseException):
    """`pytest.skip`."""


class ExceptionInfo:
    """`value` is the exception that `raises` caught; None before."""

    value: BaseException | None = None

    @property
    def type(self) -> type[BaseException]:
        return type(self.value)  # type: ignore[arg-type]

    @property
    def typename(self) -> str:
        return self.type.__name__

    def match(self, pattern: str) -> bool:
        if not re.search(pattern, str(self.value)):
            raise AssertionError(f"{self.value!r} does not match {pattern!r}")
        return True


@contextmanager
def _raises(expected: Any, match: str | None = None) -> Iterator[ExceptionInfo]:
    info = ExceptionInfo()
    try:
        yield info
    except expected as error:
        info.value = error
        if match is not None:
            info.match(match)
        return
    raise AssertionError(f"did not raise {expected}")


def raises(expected: Any, *call: Any, match: str | None = None, **keywords: Any) -> Any:
    """A context manager; with a function and its arguments the ExceptionInfo of that call."""
    if not call:
        return _raises(expected, match)
    with _raises(expected, match) as info:
        call[0](*call[1:], **keywords)
    return info


def fail(reason: str = "", **_: Any) -> None:
    raise Failed(reason)


def skip(reason: str = "", **_: Any) -> None:
    raise Skipped(reason)


def importorskip(name: str, **_: Any) -> Any:
    try:
        return __import__(name)
    except ImportError:
        raise Skipped(name) from None


class approx:
    """Equal within rel * |expected| or abs, whichever is larger, also inside lists, tuples and dicts."""

    def __init__(self, expected: Any, rel: float | None = None, abs: float | None = None, nan_ok: bool = False) -> None:
        self.expected = expected
        self.rel = 1e-6 if rel is None else rel
        self.abs = 1e-12 if abs is None else abs
        self.nan_ok = nan_ok

    def __eq__(self, other: object) -> bool:
        return self._close(other, self.expected)

    __hash__ = None  # type: ignore[assignment]

    def _close(self, value: Any, expected: Any) -> bool:
        if isinstance(expected, (list, tuple)):
            return isinstance(value, (list, tuple)) and len(value) == len(expected) and all(
                self._close(a, b) for a, b in zip(value, expected, strict=True))
        if isinstance(expected, dict):
            return isinstance(value, dict) and value.keys() == expected.keys() and all(
                self._close(value[key], expected[key]) for key in expected)
        if isinstance(value, (int, float)) and isinstance(expected, (int, float)):
            if self.nan_ok and math.isnan(expected):
                return math.isnan(value)
            return math.isclose(value, expected, rel_tol=self.rel, abs_tol=self.abs)
        return value == expected


class _Row(tuple):
    """Values of one `pytest.param`."""


def param(*values: Any, **_: Any) -> _Row:
    return _Row(values)


def fixture(function: Any = None, *, autouse: bool = False, name: str | None = None, **_: Any) -> Any:
    def mark_function(function: Any) -> Any:
        function.fixture, function.autouse = name or function.__name__, autouse
        return function

    return mark_function if function is None else mark_function(function)


class _Marks:
    """`pytest.mark`."""

    def parametrize(self, names: str | list[str], values: Any, **keywords: Any) -> Callable[[Any], Any]:
        if keywords.get("indirect"):
            raise Unsupported("parametrize(indirect=...)")
        keys = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
        alone = isinstance(names, str) and len(keys) == 1
        rows = [dict(zip(keys, value if isinstance(value, _Row) or not alone else [value], strict=True))
                for value in values]

        def mark_function(function: Any) -> Any:
            function.rows = [{**old, **row} for old in getattr(function, "rows", [{}]) for row in rows]
            return function

        return mark_function

    def skipif(self, condition: Any, **_: Any) -> Callable[[Any], Any]:
        return _left_out if condition else lambda function: function

    def __getattr__(self, name: str) -> Any:
        """Decorator with or without arguments: leaves the test out (skip, xfail) or does nothing."""
        change = _left_out if name in ("skip", "xfail") else lambda function: function
        return lambda *given, **_: change(given[0]) if given and callable(given[0]) else change


def _left_out(function: Any) -> Any:
    function.left_out = True
    return function


mark = _Marks()


def run_functions(namespace: dict[str, Any], go_on: Callable[[BaseException], Any] | None = None) -> int:
    """Run what pytest would collect, unittest's classes aside. Number of tests run.

    A failure raises, or is handed to `go_on`, and the next test is run.
    """
    fixtures = {value.fixture: value for value in namespace.values() if _is_fixture(value)}
    ran = 0
    for name, value in list(namespace.items()):
        is_class = isinstance(value, type) and name.startswith("Test") and not hasattr(value, "assertEqual")
        if not is_class and not (name.startswith("test") and isinstance(value, FunctionType)):
            continue
        try:
            ran += _run_class(value, fixtures) if is_class else _run(value, fixtures)
        except BaseException as failure:
            if go_on is None:
                raise
            go_on(failure)
            ran += 1
    return ran


def _run_class(tests: Any, fixtures: dict[str, Any]) -> int:
    if hasattr(tests, "setup_class"):
        tests.setup_class()
    ran = 0
    for name in [name for name in dir(tests) if name.startswith("test")]:
        instance = tests()
        own = {value.fixture: getattr(instance, key) for key, value in vars(tests).items() if _is_fixture(value)}
        method = getattr(instance, name)
        with ExitStack() as stack:
            for moment, enter in (("setup_method", True), ("teardown_method", False)):
                if hasattr(instance, moment):
                    action = getattr(instance, moment)
                    arguments = [method] * len(_parameters(action))
                    action(*arguments) if enter else stack.callback(action, *arguments)
            ran += _run(method, {**fixtures, **own}, getattr(tests, "rows", [{}]), hasattr(tests, "left_out"))
    return ran


def _run(function: Any, fixtures: dict[str, Any], outer: Any = ({},), left_out: bool = False) -> int:
    """One test with each of its rows. Number of tests run."""
    if left_out or hasattr(function, "left_out"):
        return 0
    ran = 0
    for row in [{**rows, **inner} for rows in outer for inner in getattr(function, "rows", [{}])]:
        with ExitStack() as stack:
            made: dict[str, Any] = dict(row)
            for name, needed in fixtures.items():
                if needed.autouse:
                    _make(name, fixtures, made, stack)
            try:
                run_to_end(function(**{name: _make(name, fixtures, made, stack) for name in _parameters(function)}))
            except Skipped:
                continue
            ran += 1
    return ran


class Captured:
    """The fixture `capsys`: what is printed from now on."""

    def __init__(self, stack: ExitStack) -> None:
        self.streams = io.StringIO(), io.StringIO()
        stack.enter_context(redirect_stdout(self.streams[0]))
        stack.enter_context(redirect_stderr(self.streams[1]))

    def readouterr(self) -> Any:
        """(out, err) since the last time."""
        found = Output(*[stream.getvalue() for stream in self.streams])
        for stream in self.streams:
            stream.seek(0)
            stream.truncate()
        return found


Output = namedtuple("Output", "out err")


def run_to_end(result: Any) -> None:
    """The coroutine that a call of an `async def` test gives; other results mean nothing."""
    if isinstance(result, CoroutineType):
        import asyncio  # 60 ms that most tests do without

        asyncio.run(result)


def _is_fixture(value: Any) -> bool:
    """Of the tests' own functions: an attribute `fixture` of the candidate's must not supply what it is tested with."""
    return isinstance(value, FunctionType) and hasattr(value, "fixture")


def _parameters(function: Any) -> list[str]:
    import inspect  # 8 ms that the jails of candidates do without

    return [name for name, parameter in inspect.signature(function).parameters.items()
            if parameter.default is parameter.empty and parameter.kind not in (
                parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)]


def _make(name: str, fixtures: dict[str, Any], made: dict[str, Any], stack: ExitStack) -> Any:
    """The value of a parameter: from `made` (rows, and fixtures of this test already there), else by its fixture."""
    if name == "capsys" and name not in fixtures:
        made.setdefault(name, Captured(stack))
    if name not in made:
        if name not in fixtures:
            raise Unsupported(f"fixture {name!r}")
        function = fixtures[name]
        value = function(**{needed: _make(needed, fixtures, made, stack) for needed in _parameters(function)})
        if isinstance(value, GeneratorType):
            value = stack.enter_context(contextmanager(lambda running=value: running)())
        made[name] = value
    return made[name]
