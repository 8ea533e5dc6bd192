"""What is wrong with the tests and limits of a problem, found before any program runs."""

from __future__ import annotations

import ast
import difflib
import importlib
import warnings
from collections.abc import Mapping
from typing import Any

from rlvr.rewards.programs.code_block import last_program
from rlvr.rewards.programs.leetcode import HELPERS
from rlvr.rewards.programs.limits import LEAST_MIB, LIMITS, positive
from rlvr.rewards.programs.test_code import bound_names, derived_classes, free_names, star_imports, walk
from rlvr.rewards.programs.wire import pack
from rlvr.types import Problem

KINDS = ("call", "stdin", "assert", "unittest", "pytest")
KEYS = ("kind", "entry", "cases", "code", "atol", "prelude")
STARRED = frozenset(("string", "re", "datetime", "collections", "heapq", "bisect", "copy", "math", "random",
                     "itertools", "functools", "operator", "typing", "builtins", "statistics", "io", "json"))
"""Modules that preludes import everything from; of others it is not known what they define."""
PRINTED = frozenset(("sys.stdout",))
"""What may be replaced: what the program prints is carried over."""
CASE_KEYS = {"call": "'args' and 'expected'", "stdin": "'input' and 'output'"}


def form_complaint(problem: Problem) -> str | None:
    """What is wrong with the tests or limits of a problem."""
    tests = problem.extra.get("tests")
    expected = f"a mapping whose 'kind' is one of {', '.join(KINDS)}"
    if "tests" not in problem.extra:
        return f"there is no extra['tests'], expected {expected} (of a dataset: its column, named by `extra: [tests]`)"
    if isinstance(tests, str):
        return f"extra['tests'] is the text {tests[:60]!r}, expected {expected}; if it is JSON, let a `reader` read it"
    if not isinstance(tests, Mapping) or tests.get("kind") not in KINDS:
        return f"extra['tests'] is {str(tests)[:100]!r}, expected {expected}"
    limits, known = problem.extra.get("limits", {}), LIMITS
    if not isinstance(limits, Mapping) or not set(limits) <= set(known) or not all(map(positive, limits.values())):
        return (f"extra['limits'] is {str(limits)[:200]}, expected positive numbers below a million for some of "
                f"{', '.join(known)}")
    if limits.get("memory_mib", LEAST_MIB) < LEAST_MIB:
        return f"extra['limits'] has memory_mib {limits['memory_mib']}, expected at least {LEAST_MIB}"
    if not (tests.get("atol") is None or positive(tests["atol"]) or tests["atol"] == 0):
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


def code_complaint(problem: Problem) -> str | None:
    """What keeps the test code and the prelude from being run. Apart from the form, since it takes a second of a
    megabyte of tests."""
    tests = problem.extra["tests"]
    trees = {}
    for key in ("code", "prelude"):
        try:
            with warnings.catch_warnings(action="ignore"):
                trees[key] = ast.parse(tests.get(key, ""))
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            return f"tests of kind {tests['kind']!r}: {key!r} is no Python: {type(error).__name__}: {error}"
    if "code" not in tests:
        return None
    return (_patch_complaint(trees["code"])
            or _names_complaint(tests, trees["code"], trees["prelude"], problem.gold))


def _patch_complaint(code: ast.Module) -> str | None:
    """What the tests replace with `unittest.mock.patch` that the program, in another process, would still see."""
    for node in walk(code):
        if isinstance(node, ast.Call) and node.args and _ends_in_patch(node.func):
            target = node.args[0]
            if isinstance(target, ast.Constant) and isinstance(target.value, str) and target.value not in PRINTED:
                return (f"the test code replaces {target.value[:60]!r}, which the program does not see: it runs in "
                        "another process")
    return None


def _ends_in_patch(function: ast.expr) -> bool:
    return (function.id if isinstance(function, ast.Name) else
            function.attr if isinstance(function, ast.Attribute) else "") == "patch"


def _names_complaint(tests: Mapping[str, Any], code: ast.Module, prelude: ast.Module, gold: str) -> str | None:
    """Names that the test code uses and nobody defines: the program under test could then define them as it likes."""
    derived = derived_classes(code, (free_names(code) | {tests["entry"].partition(".")[0]}) - HELPERS.keys())
    if derived:
        return (f"the test code derives its class {derived[0]!r} from one of the program's, which stays in another "
                "process")
    if star_imports(code):
        return None
    missing = free_names(code) - HELPERS.keys() - {tests["entry"].partition(".")[0]} - bound_names(prelude)
    for module in star_imports(prelude):
        missing = missing if module not in STARRED else missing - set(vars(importlib.import_module(module)))
        if module not in STARRED:
            return None
    missing -= _defined(gold)
    if not missing:
        return None
    names = ", ".join(map(repr, sorted(missing)[:5]))
    return (f"the test code uses {names} and neither defines nor imports that: define it there or in 'prelude', or "
            "import it from `solution` if the program is asked to define it")


def _defined(gold: str) -> set[str]:
    """Names that the reference program defines, so that the task may ask for them."""
    program = last_program(gold) if gold.lstrip().startswith(("```", "~~~")) else gold
    try:
        with warnings.catch_warnings(action="ignore"):
            return bound_names(ast.parse(program)) if isinstance(program, str) else set()
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
