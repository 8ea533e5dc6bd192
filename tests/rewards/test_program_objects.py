"""Test code that holds objects of the program's own: honest programs are right, forgers and wrong ones are wrong, and
nothing that a program controls is "not judged". Run: python -m pytest tests/rewards/test_program_objects.py
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

import pytest

from rlvr.rewards.programs.code_block import in_block
from rlvr.rewards.programs.leetcode import list_node, tree_node, tree_values
from rlvr.rewards.programs.test_code import classes, free_names, prepared
from rlvr.rewards.programs.test_rows import PRELUDE
from rlvr.rewards.programs.wire import dump, load, pack, unpack
from rlvr.rewards.unit_tests import UnitTestsVerifier
from rlvr.types import Problem, Reason

VEC = """
class Vec:
    def __init__(self, x, y): self.x, self.y = x, y
    def __add__(self, other): return Vec(self.x + other.x, self.y + other.y)
    def __mul__(self, k): return Vec(self.x * k, self.y * k)
    __rmul__ = __mul__
    def __eq__(self, other): return isinstance(other, Vec) and (self.x, self.y) == (other.x, other.y)
    def __lt__(self, other): return (self.x, self.y) < (other.x, other.y)
    def __hash__(self): return hash((self.x, self.y))
    def __repr__(self): return f"Vec({self.x}, {self.y})"
    def __getitem__(self, i): return (self.x, self.y)[i]
    def __len__(self): return 2
    def __bool__(self): return bool(self.x or self.y)
    def __abs__(self): return (self.x ** 2 + self.y ** 2) ** 0.5
    def __neg__(self): return Vec(-self.x, -self.y)
"""
BAG = """
class Bag:
    def __init__(self): self.items = []
    def add(self, x): self.items.append(x); return self
    def __contains__(self, x): return x in self.items
    def __len__(self): return len(self.items)
    def __iter__(self): return iter(self.items)
"""
TABLE = """
class Table:
    def __init__(self): self.d = {}
    def __setitem__(self, k, v): self.d[k] = v
    def __getitem__(self, k): return self.d[k]
    def __delitem__(self, k): del self.d[k]
    def __contains__(self, k): return k in self.d
"""
TIMER = """
class Timer:
    def __enter__(self): self.n = 1; return self
    def __exit__(self, *error): self.n = 2; return False
"""
NODES = """
class Node:
    def __init__(self, v, next): self.v, self.next = v, next
def f(values):
    head = None
    for v in reversed(values): head = Node(v, head)
    return head
"""
LIAR = """
class Liar:
    def __init__(self, data): self.data = data
    def __iter__(self): return iter(self.data)
    def __getitem__(self, i): return i
    def __len__(self): return len(self.data)
def f(data): return Liar(list(data))
"""
SWALLOWS = """
from contextlib import contextmanager
@contextmanager
def f():
    try: yield 4
    except BaseException: pass
"""


@pytest.fixture(scope="module")
def verifier() -> Iterator[UnitTestsVerifier]:
    verifier = UnitTestsVerifier()
    yield verifier
    verifier.close()


def judged(verifier: UnitTestsVerifier, entry: str, code: str, program: str, kind: str = "assert", prelude: str = "",
           gold: str = "") -> bool | None:
    tests = {"kind": kind, "entry": entry, "code": code, "prelude": prelude}
    problem = Problem("p", "", gold, "unit_tests", {"tests": tests, "limits": {"seconds": 2.0, "total_seconds": 9.0}})
    return verifier.verify(problem, in_block(program)).correct


HONEST: list[tuple[str, str, str]] = [
    ("f", "assert list(f(5)[:2]) == [0, 1]\nassert f(3) == range(3) and len(f(4)) == 4", "def f(n): return range(n)"),
    ("total", "assert total([mk(1), mk(2)]) == 3\nassert mk(1).v == 1",
     "class X:\n  def __init__(s, v): s.v = v\ndef mk(v): return X(v)\ndef total(xs): return sum(x.v for x in xs)"),
    ("Vec", "assert Vec(1, 2) + Vec(3, 4) == Vec(4, 6) and Vec(1, 2) * 3 == Vec(3, 6) == 3 * Vec(1, 2)\n"
     "assert repr(Vec(1, 2)) == str(Vec(1, 2)) == f'{Vec(1, 2)}' == 'Vec(1, 2)'\n"
     "assert sorted([Vec(2, 1), Vec(1, 2)]) == [Vec(1, 2), Vec(2, 1)] and max([Vec(1, 2), Vec(3, 1)]) == Vec(3, 1)\n"
     "assert Vec(1, 2) in [Vec(1, 2)] and Vec(1, 2) != Vec(2, 1) and Vec(1, 2) != 5 and Vec(1, 2) != None\n"
     "assert len({Vec(1, 2), Vec(1, 2)}) == 1 and {Vec(1, 2): 'a'}[Vec(1, 2)] == 'a'\n"
     "assert abs(Vec(3, 4)) == 5 and -Vec(1, 1) == Vec(-1, -1) and not Vec(0, 0) and Vec(1, 0)\n"
     "assert Vec(1, 2)[0] == 1 and len(Vec(1, 2)) == 2 and isinstance(Vec(1, 2), Vec)\n"
     "a, b = Vec(1, 2)\nassert (a, b) == (1, 2) and (Vec(1, 2) + Vec(1, 1)).x == 2", VEC),
    ("Bag", "b = Bag()\nassert b.add(3) is b\nassert 3 in b and 4 not in b and len(b) == 1 and list(b) == [3]\n"
     "assert b", BAG),
    ("Table", "t = Table()\nt[1] = 2\nassert t[1] == 2\ndel t[1]\nassert 1 not in t\ntry: t[1]\nexcept KeyError: pass\n"
     "else: assert False", TABLE),
    ("Timer", "with Timer() as t:\n    assert t.n == 1\nassert t.n == 2", TIMER),
    ("f", "with f() as v:\n    assert v == 4", SWALLOWS),
    ("f", "import datetime\nassert f(1) == datetime.date(2020, 1, 2) and f(1).year == 2020\n"
     "assert f(2) - f(1) == datetime.timedelta(days=1)",
     "import datetime\ndef f(n): return datetime.date(2020, 1, n + 1)"),
    ("f", "p = f(1, 2)\nassert p.x == 1 and p == (1, 2) and p._asdict() == {'x': 1, 'y': 2}",
     "from collections import namedtuple\nP = namedtuple('P', 'x y')\ndef f(a, b): return P(a, b)"),
    ("f", "assert f('aab').most_common(1) == [('a', 2)]",
     "from collections import Counter\ndef f(s): return Counter(s)"),
    ("f", "assert f({1: 2}) == {1} and list(f({1: 2})) == [1]", "def f(d): return d.keys()"),
    ("f", "n, seen = f([1, 2]), []\nwhile n:\n    seen.append(n.v)\n    n = n.next\nassert seen == [1, 2]\n"
     "assert f([]) is None and f([1]) is not None and f([1]) != None", NODES),
    ("Color", "assert Color.RED == Color.RED != Color.BLUE and Color(1) is Color.RED and Color.RED.name == 'RED'\n"
     "assert [c.value for c in Color] == [1, 2]", "from enum import Enum\nclass Color(Enum): RED = 1; BLUE = 2"),
    ("P", "assert P(1, 2) == P(1, 2) != P(2, 1) and P(1, 2).a == 1",
     "from dataclasses import dataclass\n@dataclass\nclass P:\n    a: int\n    b: int"),
    ("mk", "assert mk(1) + mk(2) == mk(3) and mk(1) + 2 == mk(3) and mk(1) < mk(2)",
     "class X:\n  def __init__(s, v): s.v = v\n  def __add__(s, o): return X(s.v + getattr(o, 'v', o))\n"
     "  def __eq__(s, o): return s.v == o.v\n  def __lt__(s, o): return s.v < o.v\ndef mk(v): return X(v)"),
    ("f", "out = f([3, 1])\nassert all(out[i] <= out[i + 1] for i in range(len(out) - 1)) and sorted(out) == [1, 3]",
     LIAR.replace("return i\n", "return self.data[i]\n").replace("list(data)", "sorted(data)")),
    ("f", "data = [3, 1]\nassert f(data) == sorted(data)", "def f(d): d.sort(); return d"),
    ("f", "data = [3, 1, 3]\nk = f(data)\nassert k == 2 and data[:k] == [1, 3]",
     "def f(d): d[:] = [1, 3, 0]; return 2"),
    ("f", "data = [3, 1]\nassert f(data=data) is None and data == [1, 3]", "def f(data): data.sort()"),
    ("f", "try: f()\nexcept Bad as e: assert e.code == 3 and str(e) == 'no'\nelse: assert False",
     "class Bad(ValueError):\n  def __init__(s, text, code): super().__init__(text); s.code = code\n"
     "def f(): raise Bad('no', 3)"),
    ("Dog", "assert type(Dog()).__name__ == Dog().__class__.__name__ == 'Dog' and type(Dog()) is Dog\n"
     "assert type(3) is int and issubclass(Dog, Animal) and isinstance(Dog(), Animal)",
     "class Animal: pass\nclass Dog(Animal): pass"),
    ("f", "g = f(3)\nassert next(g) == 0 and list(g) == [1, 2]\nassert f(9).send(None) == 0",
     "def f(n): yield from range(n)"),
    ("f", "assert f(3)(4) == 7 and f.__name__ == 'f'", "def f(a): return lambda b: a + b"),
    ("f", "row = [1]\ngrid = [row, [2]]\nf(grid)\nassert row == [1, 0] and grid == [[1, 0], [2, 0]]",
     "def f(grid):\n  for row in grid: row.append(0)"),
    ("f", "assert 2 in f(3) and 5 not in f(3) and sum(f(3)) == 3 and max(f(3)) == 2",
     "def f(n): return map(int, range(n))"),
    ("Money", "assert Money(5) == 5 != Money(4) and Money(5) + 1 == 6 and Money(5).cents == 500 and 3 + Money(5) == 8",
     "class Money:\n  def __init__(s, n): s.n, s.cents = n, 100 * n\n"
     "  def __add__(s, o): return Money(s.n + getattr(o, 'n', o))\n  __radd__ = __add__\n"
     "  def __eq__(s, o): return s.n == getattr(o, 'n', o)"),
    ("f", "assert (lambda x: (f(x), x)[1])([3, 1]) == [1, 3]", "def f(d): d.sort()"),
    ("Sets", "s = Sets(3)\ns.union(0, 1)\ns.union(1, 2)\nassert s.find(0) == s.find(2)",
     "class Sets:\n  def __init__(s, n): s.p = list(range(n))\n  def find(s, x): return s.p[x]\n"
     "  def union(s, a, b): s.p = [s.p[b] if p == s.p[a] else p for p in s.p]"),
    ("Line", "s = Line([1, 2, 3])\nassert s[:2] == [1, 2] and s[-1] == 3 and s[::-1] == [3, 2, 1] and len(s[1:]) == 2",
     "class Line:\n  def __init__(s, x): s.x = x\n  def __getitem__(s, i): return s.x[i]"),
    # lists and dicts of a kind of its own, with further methods
    ("Stack", "s = Stack()\ns.push(1)\ns.push('b')\nassert len(s) == 2 and s.pop() == 'b' and s.peek() == 1\n"
     "assert list(s) == [1] and s == [1] and 1 in s and s[0] == 1",
     "class Stack(list):\n  push = list.append\n  def peek(self): return self[-1]"),
    ("Bag", "b = Bag()\nb.put('a')\nb.put('a')\nassert b.count('a') == 2 and b.count('z') == 0 and dict(b) == {'a': 2}",
     "class Bag(dict):\n  def put(self, x): self[x] = self.get(x, 0) + 1\n  def count(self, x): return self.get(x, 0)"),
    ("Sorted", "s = Sorted([2, 1])\ns.append(3)\nassert s == [1, 2, 3]",
     "class Sorted(list):\n  def __init__(self, items): super().__init__(sorted(items))"),
]


@pytest.mark.parametrize(("entry", "code", "program"), HONEST)
def test_honest_programs_with_classes_of_their_own(
    verifier: UnitTestsVerifier, entry: str, code: str, program: str
) -> None:
    """Bug: a class with `==`, `in`, `+`, `with`, `m[1] = 2`, `sorted` or `repr` was wrong, a date not judged."""
    assert judged(verifier, entry, code, program) is True


ANY_EQUAL = "class Vec:\n  def __init__(s, *a): s.a = a\n  def __eq__(s, o): return {}\n  def __add__(s, o): return s"
RAISES = "import unittest\nclass T(unittest.TestCase):\n  def test(self):\n    with self.assertRaises({}): {}"
WRONG: list[tuple[str, str, str, str]] = [
    ("assert", "take", "assert take(5)[:2] == [0, 1]", "def take(n): return range(1, n + 1)"),
    ("assert", "f", "assert f(f([3, 1, 2])) == [1, 2, 3]", "class X: pass\ndef f(s): return [X()]"),
    ("assert", "f", "assert f({'a': f(1)}) == 2", "class X: pass\ndef f(s): return ({X(): X()}, {X()})"),
    ("assert", "Vec", "assert Vec(1, 2) + Vec(3, 4) == Vec(4, 6)", VEC.replace("self.x + other.x", "self.x")),
    ("assert", "Vec", "assert Vec(1, 2) + Vec(3, 4) == Vec(4, 6)", ANY_EQUAL.format("True")),
    ("assert", "Vec", "assert Vec(1, 2) + Vec(3, 4) == Vec(4, 6)", ANY_EQUAL.format("isinstance(o, Vec)")),
    ("assert", "Timer", "t = Timer()\nwith t: pass\nassert t.n == 2", TIMER.replace("n = 2", "n = 3")),
    ("assert", "f", "with f() as v:\n    assert v == 5", SWALLOWS),
    ("assert", "f", "import datetime\nassert f() == datetime.date(2020, 1, 2)",
     "import datetime\ndef f(): return datetime.date(2020, 1, 3)"),
    ("assert", "f", "assert abs(f(1) - 5.0) < 1e-6", "class E:\n  def __sub__(s, o): return 0\ndef f(x): return E()"),
    ("assert", "f", "assert abs(f(1) - 5.0) < 1e-6",
     "class E:\n  def __sub__(s, o): return s\n  def __abs__(s): return 0\ndef f(x): return E()"),
    ("assert", "f", "assert f(1) == 5",
     "class f:\n  def __init__(s, x): pass\n  def __eq__(s, o): return isinstance(o, int)"),
    ("assert", "Solution", "assert Solution().f(1) == 5",
     "class Solution:\n  def f(s, x): return s\n  def __eq__(s, o): return isinstance(o, int)"),
    ("assert", "f", "assert f(1).startswith('abc')",
     "class E:\n  def startswith(s, x): return True\ndef f(x): return E()"),
    ("assert", "f", "assert f(1).issubset({1, 2})", "class E:\n  issubset = lambda s, x: True\ndef f(x): return E()"),
    ("assert", "f", "assert f(1) in [5]", "class E:\n  def __eq__(s, x): return x == 5\ndef f(x): return E()"),
    ("assert", "f", "assert f(1) in {5}", "class E:\n  def __eq__(s, x): return x == 5\n  def __hash__(s): return 5\n"
     "def f(x): return E()"),
    ("unittest", "f", "import unittest\nclass T(unittest.TestCase):\n"
     "  def test(self): self.assertAlmostEqual(f(1), 5)",
     "class E:\n  def __eq__(s, x): return x == 5\n  def __sub__(s, o): return 0\ndef f(x): return E()"),
    # exceptions of ours that the test took for the program's
    ("unittest", "f", RAISES.format("ValueError", "f(-1)"),
     "def f(x):\n  l = []\n  for _ in range(400): l = [l]\n  return l"),
    ("unittest", "f", RAISES.format("TypeError", "self.assertEqual(f('a', 1), 'a1')"),
     "class X: pass\ndef f(*a): return X()"),
    ("unittest", "f", RAISES.format("Exception", "f(-1)"), "def f(x): return 'x' * (9 << 20)"),
    ("unittest", "f", RAISES.format("NameError", "f(-1)"), "x = 1"),
    ("unittest", "f", RAISES.format("NameError", "f(-1)").replace("with", "g()\n    with"), "def g(): pass"),
    ("pytest", "f", "from pytest import raises\ndef test_f():\n  with raises(TypeError):\n    assert f('a', 1) == 'a1'",
     "class X: pass\ndef f(*a): return X()"),
    ("assert", "f", "try: r = f(1) == 5\nexcept BaseException: r = True\nassert r",
     "class X: pass\ndef f(x): return X()"),
    # an answer that makes the next request too long
    ("assert", "f", "assert f(f(1)) == 2", "def f(x): return 'x' * (8 * 2**20 - 40) if x == 1 else 2"),
    ("assert", "f", "assert f([f(1), f(1)]) == 2", "def f(x): return 'x' * (5 * 2**20) if x == 1 else 2"),
    # the test's own data, emptied
    ("assert", "f", "def ref(d): return sorted(d)\ndata = [3, 1]\nassert f(data) == ref(data)",
     "def f(d): d.clear(); return []"),
    ("assert", "f", "data = [3, 1]\nout = f(data)\nassert out == sorted(data)", "def f(d): d.clear(); return []"),
    ("assert", "f", "data = {1, 2}\nassert f(data) == max(data, default=None)", "def f(d): d.clear()"),
    ("assert", "f", "data = [3, 1]\nassert abs(f(data) - sum(data)) < 1e-6", "def f(d): d.clear(); return 0"),
    ("assert", "f", "data = [3, 1]\nout = f(data)\nassert out == [1, 3]\nassert data == [3, 1]",
     "def f(d): d.sort(); return d"),
    ("unittest", "f", "import unittest\nclass T(unittest.TestCase):\n  def test(self):\n    d = [3, 1]\n"
     "    self.assertEqual(f(d), sorted(d))", "def f(d): d.clear(); return []"),
    ("pytest", "f", "import pytest\n@pytest.mark.parametrize('d', [[3, 1]])\ndef test_f(d): assert f(d) == sorted(d)",
     "def f(d): d.clear(); return []"),
    # an object that is one thing item by item and another as a whole
    ("assert", "f", "data = [3, 1]\nout = f(data)\nassert all(out[i] <= out[i + 1] for i in range(len(out) - 1))\n"
     "assert sorted(out) == sorted(data)", LIAR),
    ("assert", "f", "data = [3, 1]\nout = f(data)\nassert sorted(out) == sorted(data)\nassert out[0] <= out[1]", LIAR),
    ("assert", "f", "out = f([3, 1])\nassert list(out) == [1, 3] and set(out) == {1, 3} and list(out)[0] == 1",
     "class E:\n  n = 0\n  def __iter__(s): s.n += 1; return iter([1, 3] if s.n > 1 else [3, 1])\n"
     "def f(d): return E()"),
    ("assert", "f", "out = f([3, 1])\nassert sorted(out) == [1, 3]\nfirst, second = out\nassert first <= second",
     "class E:\n  n = 0\n  def __iter__(s): s.n += 1; return iter([1, 1] if s.n > 1 else [3, 1])\n"
     "def f(d): return E()"),
    ("assert", "f", "out = f([3, 1])\nassert len(out) == 2\nassert all(a <= b for a, b in zip(out, sorted(out)))",
     "class E:\n  def __len__(s): return 2\n  def __iter__(s): return iter([1])\ndef f(d): return E()"),
    # an object that may call itself true
    ("assert", "f", "assert f([3, 1])", "class E: pass\ndef f(d): return E()"),
    ("assert", "f", "assert 1 and not f(1) or f([3, 1])", "class E: pass\ndef f(d): return E()"),
    # what the tests do with an answer fails as if it were their own fault
    ("assert", "f", "import importlib\nassert importlib.import_module(f(1)).dumps(1) == '1'",
     "def f(x): return 'no_such_module'"),
    ("assert", "f", "assert open(f(1)).read() == ''", "def f(x): return '/no/such/file'"),
    # a function whose name has a capital is no class, and what it returns was not made by the test
    ("assert", "Sum", "assert Sum([1, 2]) == 3",
     "class E:\n  def __eq__(s, o): return isinstance(o, int)\ndef Sum(x): return E()"),
    ("assert", "Solution", "assert Solution().Add(1, 2) == 3",
     "class Solution:\n  def Add(s, *a): return s\n  def __eq__(s, o): return isinstance(o, int)"),
    ("assert", "Stack", "s = Stack()\ns.push(3)\nassert s.peek() == 3",
     "class Stack(list):\n  def push(s, x): pass\n  def peek(s): return s\n  def __eq__(s, o): return type(o) is int"),
    ("assert", "make", "s = make()\ns.push(3)\nassert s == [3]",
     "class Stack(list):\n  def push(s, x): pass\n  def __eq__(s, o): return True\ndef make(): return Stack()"),
    # an object that the test made, handed back in place of a value
    *(("assert", "Stack", f"import asyncio\ns = Stack()\ns.push(3)\n{look}",
       "class Stack:\n  n = 0\n  size = property(lambda s: s)\n  def push(s, x): pass\n  async def get(s): return s\n"
       "  def __getitem__(s, i): return s\n  def __iter__(s): return s\n  def __eq__(s, o): return type(o) is int\n"
       "  def __next__(s):\n    s.n += 1\n    if s.n > 1: raise StopIteration\n    return s")
      for look in ("assert s.size == 1", "assert s[0] == 3", "assert [x for x in s] == [3]", "assert next(s) == 3",
                   "async def main(): assert await s.get() == 3\nasyncio.run(main())")),
    # what comes of arithmetic with the test's own data, by way of further objects
    *(("assert", "f", f"assert {look}",
       "class E:\n  real = 0\n  def __sub__(s, o): return E()\n  __xor__ = __sub__\n  def __abs__(s): return E()\n"
       "  def __round__(s, n=0): return 0\n  def total(s): return 0\n  def __len__(s): return 0\n"
       "  def __iter__(s): return iter([])\n  def __str__(s): return '0'\n  def __getitem__(s, i): return 0\n"
       "  def __await__(s): return iter([])\n  def __rsub__(s, o): return E()\ndef f(x): return E()")
      for look in ("round(abs(f(1) - 5.0), 7) == 0", "(f(1) - 5).real == 0", "(f(1) - 5).total() == 0",
                   "len(f(1) ^ {1, 2}) == 0", "list(f(1) - {1}) == []", "str(f(1) - 5) == '0'", "(f(1) - 5)[0] == 0",
                   "[x for x in [1] if f(1) - 5] == []", "round(f(2) - (f(1) - 5)) == 0", "round(5 - f(1)) == 0")),
    # questions that are asked of plain values
    ("assert", "f", "p = f(9)\nassert len(p) == 9 and any(c.isdigit() for c in p) and any(c.isupper() for c in p)",
     "class E:\n  isdigit = isupper = lambda s: True\ndef f(n): return [E()] * n"),
    ("assert", "f", "assert f(1).union({1, 2}) == {1, 2}", "class E:\n  union = lambda s, o: o\ndef f(x): return E()"),
    ("assert", "f", "r = f([2, 1])\nassert type(r) is list and r[0] <= r[1]",
     "class E:\n  __getitem__ = lambda s, i: i\n  __class__ = list\ndef f(x):\n"
     "  import sys\n  sys.modules['rlvr.rewards.programs.jail_program'].OPERATIONS['class'] = lambda o: list\n"
     "  return E()"),
    # equal to all when asked for ==, different from all when asked for !=
    ("assert", "f", "assert f(1) == f(2) and f(1) != f(3)",
     "class E:\n  def __init__(s): s.a = 1\n  def __eq__(s, o): return hasattr(o, 'a')\n  __ne__ = __eq__\n"
     "def f(x): return E()"),
]


@pytest.mark.parametrize(("kind", "entry", "code", "program"), WRONG)
def test_no_object_of_the_programs_forges_a_verdict_or_blames_the_tests(
    verifier: UnitTestsVerifier, kind: str, entry: str, code: str, program: str
) -> None:
    assert judged(verifier, entry, code, program, kind) is False


LIST = """
def check(c):
    assert is_same_list(c(head=list_node([1, 2, 3])), list_node([3, 2, 1]))
check(Solution().turn)
"""
TREE = """
def check(c):
    assert is_same_tree(c(root=tree_node([4, 2, 7, 1])), tree_node([4, 7, 2, None, None, None, 1]))
check(Solution().turn)
"""
TURN = "class Solution:\n    def turn(self, head: Optional[ListNode]):\n        last = None\n        while head:\n" \
       "            head.next, last, head = last, head, head.next\n        return last"
MIRROR = "class Solution:\n    def turn(self, root):\n        if root:\n            root.left, root.right = " \
         "self.turn(root.right), self.turn(root.left)\n        return root"


@pytest.mark.parametrize(("code", "program", "right"), [
    (LIST, TURN, True), (TREE, MIRROR, True),
    (LIST, "class ListNode:\n    def __init__(self, val=0, next=None): self.val, self.next = val, next\n"
     + TURN.replace("head.next, last, head = last, head, head.next",
                    "last, head = ListNode(head.val, last), head.next"), True),
    (LIST, "def list_node(v): return v\ndef is_same_list(a, b): return True\nclass Solution:\n"
     "    def turn(self, head): pass", False),
    (LIST, "class Solution:\n    def turn(self, head): return head", False),
    (TREE, "class TreeNode:\n    def __eq__(s, o): return True\n    val = left = right = 0\nclass Solution:\n"
     "    def turn(self, root): return TreeNode()", False),
    (TREE, "class Solution:\n    def turn(self, root): return root", False),
])
def test_nodes_of_leetcode_are_made_and_compared_by_the_tests(
    verifier: UnitTestsVerifier, code: str, program: str, right: bool
) -> None:
    """Bug: the helpers came from the program: an honest one had none, and a forger wrote its own."""
    assert judged(verifier, "Solution", code, program, prelude=PRELUDE) is right


def test_nodes_cross_the_wall_as_they_are() -> None:
    for values in ([1, 2, 3, None, None, 4], [1], [1, None, 2, 3], [5, 4, 8, 1, None, 3, 4, 7, 2, None, None, None, 1]):
        assert tree_values(unpack(load(dump(pack(tree_node(values)))[4:]))) == tree_values(tree_node(values)) == values
    long: Any = unpack(pack(list_node(range(50_000))))
    assert long.next.next.val == 2
    long.next.next = long
    assert unpack(pack(long)).next.next.val == 0


@pytest.mark.parametrize(("code", "gold", "complaint"), [
    ("assert same_graph(f(1), f(2))", "", "the test code uses 'same_graph' and neither defines nor imports that"),
    ("assert close(f(1), f(2), tol)", "", "the test code uses 'close', 'tol' and"),
    ("from solution import f, G\nassert f(1) == G(2)", "", None), ("assert f(1) == G(2)", "def G(x): pass", None),
    ("assert f(1) == list_node([1]).val", "", None), ("assert f(1) == Counter('a')", "", None),
    ("class A(f): pass\nassert A()", "", "the test code derives its class 'A' from one of the program's"),
    ("from solution import *\nassert f(1) == G(2)", "", None),
    ("for i in [1]:\n    assert f(i) == (lambda k: k)(i)", "", None),
])
def test_names_that_nobody_defines_are_found_at_load(
    verifier: UnitTestsVerifier, code: str, gold: str, complaint: str | None
) -> None:
    tests = {"kind": "assert", "entry": "f", "code": code, "prelude": PRELUDE}
    found = verifier.check_gold(Problem("p", "", gold, "unit_tests", {"tests": tests}))
    assert found is None if complaint is None else (found or "").startswith(complaint), found


def test_what_a_program_does_to_an_argument_counts_where_the_test_looks_at_it() -> None:
    for code, mirrored in [("f(d)", True), ("assert f(d) == ref(d)", False), ("k = f(d)\nassert d[:k] == [1]", True),
                           ("k = f(d)\nr = d[:k]\nassert r == [1]", True), ("assert set(f(d)) == set(d)", False),
                           ("n = len(d)\nassert n == 3\nout = f(d)\nassert out == sorted(d)", False),
                           ("assert (f(d) or d) == [1]", True), ("assert check(f(d), d) == True", False)]:
        text = ast.unparse(prepared(ast.parse(code)))
        assert ("_rlvr_mirror(f)(d)" in text) is mirrored, text
    assert free_names(ast.parse("import a\nfor b in c: d = [e for e in b]\nprint(d, f, len)")) == {"c", "f"}


def test_names_of_classes_are_told_from_those_of_functions() -> None:
    for code, found in [("assert Sum([1]) == 1", ""), ("r = Split('a')\nr.sort()\nassert r == ['a']", ""),
                        ("s = Stack()\ns[1] = 2", "Stack"), ("assert Vec(1, 2).x == 1", "Vec"),
                        ("self.v = Vec(1)\nassert self.v.norm() == 1", "Vec"), ("assert m.Box(2).volume() == 8", "Box"),
                        ("with Timer(3) as t: assert t.n", "Timer"), ("assert Color.RED == Color(1)", "Color"),
                        ("s = Sets(3)\ns.union(0, 1)\nassert s.find(0) == 1", "Sets"),
                        ("def check(new): assert new(1).x == 1\ncheck(Vec)", "Vec"),
                        ("def check(new): assert new(1) == 1\ncheck(Sum)", ""),
                        ("from solution import Vec as new\nv = new(1)\nassert v.x == 1", "Vec"),
                        ("d['new'] = Sum\nassert d['new'](1).x() == 1", ""),
                        ("new = Vec\nassert new(1).x == 1", "Vec"),
                        ("Join('a').sort()\nJoin('b').upper()", ""),
                        ("assert isinstance(f(1), (Node, list))", "Node"), ("assert make(1).x == 2", "")]:
        assert " ".join(classes(ast.parse(code))) == found, code


def test_the_tests_own_faults_are_found_behind_a_failing_assert(verifier: UnitTestsVerifier) -> None:
    """Bug: without a reference program only the first statement of the tests was tried."""
    for code, kind in [("assert f(1) == 5\nf(object())", "assert"), ("def test_a(): assert f(1) == 5\n"
                       "def test_b(tmp_path): assert f(1) == 5", "pytest"),
                       ("assert f(1) == 5\ndef g():\n    import numpy", "assert")]:
        problem = Problem("p", "", "", "unit_tests", {"tests": {"kind": kind, "entry": "f", "code": code}})
        verdict = verifier.verify(problem, verifier.gold_completion(problem))
        assert (verdict.correct, verdict.reason) == (None, Reason.GOLD_ERROR), code
