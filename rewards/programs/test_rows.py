"""Rows of public datasets -> `Problem.extra["tests"]` of the verifier `unit_tests`. Pure functions of one row.

    livecodebench   livecodebench/code_generation_lite, release v5 (the same schema since v1)
    humaneval_plus  evalplus/humanevalplus
    mbpp_plus       evalplus/mbppplus
    code_r1         ganler/code-r1-12k: LeetCode and TACO tasks in the format of verl's reward model

How each dataset's own judge runs and compares, and where ours differs:

    preset          per test             all tests         memory    its own comparison
    livecodebench   6 s (alarm)          7 s a test + 5 s  4 GiB     stdin: lines stripped, then decimals exactly;
                                                                     calls: `==`, a tuple counts as a list
    humaneval_plus  4 s, or 4 times the  60 s + 1 s        4 GiB     `==`, or numpy's allclose with the row's atol
      and mbpp_plus reference's time
    code_r1         30 s (firejail)      of a test file    4 GiB     stdin: the stripped output; LeetCode: `assert`
                                         the same 30 s               with `==`; calls of TACO: within 1e-5

Ours: the same seconds per test, but of CPU time, so that a busy machine fails no program; a sleeping one has twice as
much. All tests together have a second more each and 4 s, test code has 61 s. Memory is the same address space. Output
is compared as LiveCodeBench does, and numbers within 1e-6 where the expected one has a point; returned floats within
1e-6, those of LeetCode's calls within 1e-5 (it stores five decimals). Test code compares as it says: Code-R1's LeetCode
tests by `==` with what a reference program returned, not with five decimals. Programs see no network, no files and
start no processes.

A row that cannot be read is a ValueError that says why; none is quietly turned into fewer or weaker tests.
"""

from __future__ import annotations

import ast
import base64
import io
import json
import math
import pickle
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
Tests = dict[str, Any]

LIMITS: dict[str, dict[str, float]] = {
    "livecodebench": {"seconds": 6, "memory_mib": 4096},
    "humaneval_plus": {"seconds": 4, "memory_mib": 4096},
    "mbpp_plus": {"seconds": 4, "memory_mib": 4096},
    "code_r1": {"seconds": 30, "memory_mib": 4096},
}
"""What the dataset's own judge gives a program, as `Problem.extra["limits"]`. See the table above."""
PRIVATE_BYTES = 2**30
"""The longest private test cases of LiveCodeBench v6 have a tenth of that."""
LEETCODE_ATOL = 1e-5
"""LeetCode stores five decimal places and accepts answers within 1e-5."""
TACO_ATOL = 1e-5
"""Of Code-R1's `_deep_eq`, which judges calls of TACO tasks."""

PRELUDE = "\n".join([
    *(f"from {module} import *" for module in ("string", "re", "datetime", "collections", "heapq", "bisect", "copy",
                                               "math", "random", "itertools", "functools", "operator", "typing",
                                               "builtins")),
    *(f"import {module}" for module in ("string", "re", "datetime", "collections", "heapq", "bisect", "copy", "math",
                                        "random", "itertools", "functools", "operator", "io", "sys", "json")),
    "sys.setrecursionlimit(50000)",
]) + "\n"
"""What LiveCodeBench and LeetCode promise to programs: the list of LiveCodeBench's testing_util less `statistics`."""


def livecodebench(row: Row) -> Tests:
    """Public and private cases. `functional` ones become calls of a method of Solution."""
    cases = [*_lcb_cases(row["public_test_cases"]), *_lcb_cases(row["private_test_cases"])]
    kinds = {case["testtype"] for case in cases}
    if kinds == {"stdin"}:
        return {"kind": "stdin", "prelude": PRELUDE,
                "cases": [{"input": case["input"], "output": case["output"]} for case in cases]}
    if kinds != {"functional"}:
        raise ValueError(f"test types {sorted(kinds)}: expected stdin or functional")
    metadata = json.loads(row["metadata"]) if isinstance(row["metadata"], str) else row["metadata"]
    return {"kind": "call", "entry": f"Solution.{metadata['func_name']}", "prelude": PRELUDE, "atol": LEETCODE_ATOL,
            "cases": [{"args": [json.loads(line) for line in case["input"].split("\n")],
                       "expected": json.loads(case["output"])} for case in cases]}


def _lcb_cases(packed: Any) -> list[dict[str, str]]:
    """JSON, or JSON in a pickle in zlib in base64 as the private cases are kept."""
    if not isinstance(packed, str):
        return list(packed)
    try:
        return json.loads(packed)
    except json.JSONDecodeError:
        return json.loads(_OnlyText(io.BytesIO(_inflated(base64.b64decode(packed)))).load())


def _inflated(packed: bytes) -> bytes:
    """What zlib packed, of a size that a machine can hold: a file of a MiB can unpack to a GiB of zeros."""
    inflater = zlib.decompressobj()
    data = inflater.decompress(packed, PRIVATE_BYTES)
    if inflater.unconsumed_tail:
        raise ValueError(f"the private test cases unpack to more than {PRIVATE_BYTES >> 20} MiB")
    return data


class _OnlyText(pickle.Unpickler):
    """Unpickles text alone: a dataset's pickle that names a class or a function could run any code."""

    def find_class(self, module: str, name: str, /) -> Any:
        raise ValueError(f"the private test cases hold a pickled {module}.{name}, expected text")


def humaneval_plus(row: Row) -> Tests:
    """Calls where inputs and results are literals under the usual loop, else test code without numpy."""
    return _evalplus(row["test"] + f"\ncheck({row['entry_point']})\n", row["entry_point"])


def mbpp_plus(row: Row) -> Tests:
    """As `humaneval_plus`. The entry point is the function that the row's plain asserts call."""
    solution = ast.parse(row["code"])
    defined = {node.name for node in solution.body if isinstance(node, ast.FunctionDef)}
    called = [node.func.id for node in ast.walk(ast.parse("\n".join(row["test_list"])))
              if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in defined]
    if not called:
        raise ValueError(f"no function of the reference solution is called in test_list: {sorted(defined)}")
    return _evalplus(row["test"], called[0])


def code_r1(row: Row) -> Tests:
    """`reward_model.ground_truth` is JSON: {"functional": test code} or {"inputs": [...], "outputs": [...]}."""
    truth = row["reward_model"]["ground_truth"]
    tests = json.loads(truth) if isinstance(truth, str) else truth
    if tests.get("functional"):
        return {"kind": "assert", "entry": _entry(tests["functional"]), "prelude": PRELUDE, "code": tests["functional"]}
    if len(tests["inputs"]) != len(tests["outputs"]):
        raise ValueError(f"{len(tests['inputs'])} inputs and {len(tests['outputs'])} outputs: expected as many")
    pairs = list(zip(tests["inputs"], tests["outputs"], strict=True))
    if tests.get("fn_name"):
        # the outputs of TACO's function tasks are wrapped in a list of one
        return {"kind": "call", "entry": f"Solution.{tests['fn_name']}", "prelude": PRELUDE, "atol": TACO_ATOL,
                "cases": [{"args": list(given), "expected": wanted[0] if _single(wanted) else wanted}
                          for given, wanted in pairs]}
    return {"kind": "stdin", "prelude": PRELUDE,
            "cases": [{"input": _text(given), "output": _text(wanted)} for given, wanted in pairs]}


def _single(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 1


def _text(value: Any) -> str:
    """TACO keeps some inputs and outputs as lists of lines."""
    return value if isinstance(value, str) else "\n".join(str(line) for line in value)


def _entry(code: str) -> str:
    """What test code of LeetCode hands to its `check`, `check(Solution().twoSum)` -> `Solution`, or that of TACO calls
    in its loop, `assert _deep_eq(add(*i), o)` -> `add`."""
    match = (re.search(r"^check\(\s*([A-Za-z_]\w*)", code, re.MULTILINE)
             or re.search(r"^\s+assert _deep_eq\(\s*([A-Za-z_]\w*)", code, re.MULTILINE))
    if match is None:
        raise ValueError("the test code has no line check(...), nor assert _deep_eq(...)")
    return match[1]


def _evalplus(source: str, entry: str) -> Tests:
    tree = ast.parse(source)
    return _as_calls(tree, entry) or {"kind": "assert", "entry": entry, "code": _without_numpy(tree)}


_USUAL = ("exact_match = out == exp", "if atol == 0 and is_floats(exp):\n    atol = 1e-06",
          "if not exact_match and atol != 0:\n    np.testing.assert_allclose(out, exp, rtol=1e-07, atol=atol)\nelse:\n"
          "    assert exact_match")
_TAIL = """
if atol == 0 and is_floats(exp):
    atol = 1e-06
assert exact_match or (atol != 0 and _all_close(out, exp, atol))
"""
_HELPERS = """
def is_floats(x):
    return isinstance(x, float) or (isinstance(x, (list, tuple)) and all(isinstance(i, float) for i in x))

def _all_close(out, exp, atol):
    if isinstance(exp, (list, tuple)):
        return (isinstance(out, (list, tuple)) and len(out) == len(exp)
                and all(_all_close(a, b, atol) for a, b in zip(out, exp)))
    if not (isinstance(out, (int, float)) and isinstance(exp, (int, float))):
        return False
    return out == exp or (out != out and exp != exp) or abs(out - exp) <= atol + 1e-07 * abs(exp)
"""


def _as_calls(tree: ast.Module, entry: str) -> Tests | None:
    """Call tests where the code is literal `inputs` and `results` under `assertion(f(*inp), exp, atol)`, else None."""
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    body: Sequence[ast.stmt] = functions["check"].body if "check" in functions else tree.body
    usual = [ast.unparse(node) for node in functions["assertion"].body] if "assertion" in functions else []
    if [text.replace("rtol=1e-07, ", "") for text in usual] != [text.replace("rtol=1e-07, ", "") for text in _USUAL]:
        return None
    values = {node.targets[0].id: node.value for node in body
              if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)}
    loops = [node for node in body if isinstance(node, ast.For)]
    if "inputs" not in values or "results" not in values or len(loops) != 1:
        return None
    caller = "candidate" if "check" in functions else entry
    loop = re.fullmatch(rf"for i, \(inp, exp\) in enumerate\(zip\(inputs, results\)\):\n"
                        rf"    assertion\({re.escape(caller)}\(\*inp\), exp, ([0-9.e-]+)\)", ast.unparse(loops[0]))
    if loop is None:
        return None
    try:
        inputs, results = _literal(values["inputs"]), _literal(values["results"])
    except ValueError:
        return None
    if len(inputs) != len(results):
        raise ValueError(f"{len(inputs)} inputs and {len(results)} results: expected as many")
    tests: Tests = {"kind": "call", "entry": entry,
                    "cases": [{"args": list(given), "expected": wanted}
                              for given, wanted in zip(inputs, results, strict=True)]}
    return tests if float(loop[1]) == 0 else {**tests, "atol": float(loop[1])}


def _literal(node: ast.expr) -> Any:
    """As ast.literal_eval, with `inf`, `nan`, `float('inf')` and `set()` too. ValueError for anything else."""

    class Named(ast.NodeTransformer):
        def visit_Name(self, name: ast.Name) -> ast.expr:
            if name.id not in ("inf", "nan"):
                raise ValueError(f"{name.id} is no literal")
            return ast.Constant(math.inf if name.id == "inf" else math.nan)

        def visit_Call(self, call: ast.Call) -> ast.expr:
            text = ast.unparse(call)
            if match := re.fullmatch(r"float\('(-?)(inf|nan)'\)", text):
                return ast.Constant(float(match[1] + match[2]))
            if text == "set()":
                return call
            raise ValueError(f"{text} is no literal")

    return ast.literal_eval(Named().visit(node))


def _without_numpy(tree: ast.Module) -> str:
    """The test code with `is_floats` and the closeness test of `assertion` in plain Python.

    What decides `exact_match` is kept (some MBPP+ rows compare sets, or only whether there is a result), and all
    variants end in an assertion, which some rows lack.
    """
    body: list[ast.stmt] = []
    for node in tree.body:
        if isinstance(node, ast.Import) and [alias.name for alias in node.names] == ["numpy"]:
            continue
        if isinstance(node, ast.FunctionDef) and node.name == "is_floats":
            continue
        if isinstance(node, ast.FunctionDef) and node.name == "assertion":
            node.body = [*filter(_sets_exact_match, node.body), *ast.parse(_TAIL).body]
        body.append(node)
    code = ast.unparse(ast.Module([*ast.parse(_HELPERS).body, *body], []))
    if re.search(r"\bnp\.", code):
        raise ValueError("the test code needs numpy, which the sandbox does not have")
    return code


def _sets_exact_match(node: ast.stmt) -> bool:
    return any(isinstance(inner, ast.Assign) and ast.unparse(inner.targets[0]) == "exact_match"
               for inner in ast.walk(node))
