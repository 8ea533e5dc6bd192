"""Whether two expressions differ in value: at a few real points, to many digits, or at integers.

Asked before computer algebra: a difference in value refutes, and spares wrong answers the slow attempt to prove them
right. Expressions of integers (factorials, binomials, floors, sums up to n) have no proof there; they are compared at
integers alone, exactly.
"""

from __future__ import annotations

import math
from typing import Any

import sympy

from rlvr.rewards.math.failures import FAILURES, is_ours

_POINTS = (0.7390851332, 1.3247179572, 2.2955871494)
_NEGATIVE = -0.8414709848
"""Only where both values are real there: sqrt(x^3) and x sqrt(x) are on other branches, sqrt(x^2) is not x."""
_FAR = (23.1406926328, -7.3890560989)
"""Where a bend may lie in between: |x - 10| is 10 - x at all points above."""
_DIGITS = 300
"""Constants without decimals have to agree to so many digits: 1 - 2^{-100} is not 1."""
RELATIVE = 2e-6
_LARGEST = sympy.Float("1e300")


def differ(gold: Any, answer: Any) -> bool:
    """Whether two plain expressions differ in value at a point where both have one.

    Asked first: it is exact enough to refute, and spares wrong answers the slow attempt to prove them right.
    """
    if not (isinstance(gold, sympy.Expr) and isinstance(answer, sympy.Expr)):
        return False
    coarsely = any(left != right if math.inf in (abs(left), abs(right)) else
                   abs(left - right) > RELATIVE * max(abs(left), abs(right)) for left, right in values_of(gold, answer))
    return coarsely or _differ_exactly(gold, answer)


def _differ_exactly(gold: Any, answer: Any) -> bool:
    """Whether two constants differ within `_DIGITS` digits, or an exact and a decimal one by more than a millionth."""
    vague = (sympy.core.function.AppliedUndef, sympy.Integral, sympy.Sum, sympy.Product, sympy.Limit)
    if any(expression.free_symbols or expression.has(*vague) for expression in (gold, answer)):
        return False
    decimal = answer.has(sympy.Float)
    if gold.has(sympy.Float):
        return False
    answer = answer.xreplace({number: sympy.Rational(str(number)) for number in answer.atoms(sympy.Float)})
    if not decimal and gold.is_Rational and answer.is_Rational:
        return bool(gold != answer)
    try:
        left, right = (expression.doit().evalf(_DIGITS, maxn=2 * _DIGITS) for expression in (gold, answer))
    except (TypeError, ValueError, ArithmeticError, NotImplementedError) as error:  # the other FAILURES refuse
        if is_ours(error):
            raise
        return False
    parts = [part for number in (left, right) for part in number.as_real_imag()]
    if not all(isinstance(part, (sympy.Float, sympy.Integer)) for part in parts):
        return False
    distance, size = (abs(left - right), max(abs(left), abs(right)))
    if decimal and (rest := (gold - answer).doit()).is_Rational:
        distance = abs(rest)  # also of numbers of more than `_DIGITS` digits
    if decimal:  # 2^{1009} + 0.001 is not 2^{1009}
        return bool(distance > sympy.Float("1e-6", _DIGITS) * min(1, size))
    return bool(distance > size * sympy.Float(f"1e-{_DIGITS - 20}", _DIGITS))


def values_of(gold: Any, answer: Any) -> list[tuple[complex, complex]]:
    """Their values at the points where both have one; the same letter has the same value in both."""
    names = sorted({symbol.name for expression in (gold, answer) for symbol in expression.atoms(sympy.Symbol)})
    bends = any(each.has(sympy.Abs, sympy.Max, sympy.Min, sympy.sign, sympy.Piecewise) or any(
        power.exp.is_Rational and not power.exp.is_integer for power in each.atoms(sympy.Pow))
        for each in (gold, answer))
    pairs = []
    for point in (*_POINTS, _NEGATIVE, *(_FAR if bends else ())) if names else _POINTS[:1]:
        at = {name: point + 0.1234567 * index for index, name in enumerate(names)}
        left, right = value_of(gold, at), value_of(answer, at)
        if left is not None and right is not None and (
                point > 0 or (left.imag == right.imag == 0 and _real_inside(gold, at) and _real_inside(answer, at))):
            pairs.append((left, right))
    return pairs


def value_of(expression: Any, values: dict[str, float]) -> complex | None:
    """Its value where letters have these; None without one. Infinity: too large for a float, so different from whatever
    has one."""
    at = {symbol: values[symbol.name] for symbol in expression.atoms(sympy.Symbol)}
    number = _computed(expression, at, 15)
    if isinstance(number, sympy.Float) and abs(number) > _LARGEST:
        return complex(math.inf)
    return _finite(number)


def _computed(expression: Any, at: dict[Any, Any], digits: int) -> Any:
    """`expression` at a point, as sympy computes it; None where it cannot: an overflow, a sum from 1 to 0.7."""
    try:
        return expression.subs(at).doit().evalf(digits)
    except FAILURES as error:
        if is_ours(error):
            raise
        return None


def _finite(number: Any) -> complex | None:
    """What sympy computed, as a number; None if it is none (an unevaluated function) or not finite."""
    if not isinstance(number, sympy.Expr):
        return None
    try:
        value = complex(number)
    except FAILURES:
        return None
    return value if math.isfinite(value.real) and math.isfinite(value.imag) else None


def _real_inside(expression: Any, at: dict[str, float]) -> bool:
    """Whether no root or logarithm in it has a negative argument there: sqrt(a) sqrt(b) is for positive a and b."""
    inner = [power.base for power in expression.atoms(sympy.Pow) if not power.exp.is_integer and power.exp.is_number]
    inner += [function.args[0] for function in expression.atoms(sympy.log)]
    values = [value_of(part, at) for part in inner if part.free_symbols]
    return all(value is None or value.real >= 0 for value in values)


_LETTERS_FOR_INTEGERS = frozenset("nmkNMKrjpq")
_DISCRETE = (sympy.factorial, sympy.binomial, sympy.Sum, sympy.Product, sympy.floor, sympy.ceiling, sympy.gamma)
_INTEGERS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 11)
_ENOUGH = 6
"""Points at which two expressions of integers have to agree: enough for what is no tailored counterexample."""
_MOST_LETTERS = 3


def same_at_integers(gold: Any, answer: Any) -> bool | None:
    """Whether two expressions of integers agree at the first integers; None where they are none, or have no values.

    Integers are what stands in factorials, binomials and bounds of sums, and n, m, k ... in floors and powers of -1.
    Other letters are reals.
    """
    if not (isinstance(gold, sympy.Expr) and isinstance(answer, sympy.Expr)):
        return None
    if not (gold.has(*_DISCRETE) or answer.has(*_DISCRETE)):
        return None
    if not (gold.free_symbols or answer.free_symbols):
        return _same_rationals(gold, answer)
    integers = _integers(gold) | _integers(answer)
    letters = sorted(gold.free_symbols | answer.free_symbols, key=str)
    if not integers or len(letters) > _MOST_LETTERS:
        return None
    agreed = 0
    for step, integer in enumerate(_INTEGERS):
        at = {letter: sympy.Integer(max(integer - order, 0)) if letter in integers
              else sympy.Rational(7 + 3 * step + order, 5) for order, letter in enumerate(letters)}
        left, right = _exactly(gold, at), _exactly(answer, at)
        if left is None or right is None:
            continue
        if abs(left - right) > RELATIVE * 1e-3 * max(abs(left), abs(right)):
            return False
        agreed += 1
    return True if agreed >= _ENOUGH else None


def _same_rationals(gold: Any, answer: Any) -> bool | None:
    """Whether two constants with factorials and floors are the same number; None where they are not rational."""
    left, right = gold.doit(), answer.doit()
    return bool(left == right) if left.is_Rational and right.is_Rational else None


def _integers(expression: Any) -> set[Any]:
    found: set[Any] = set()
    for part in expression.atoms(sympy.factorial, sympy.binomial):
        found |= part.free_symbols
    for part in expression.atoms(sympy.Sum, sympy.Product):
        found |= {letter for limit in part.limits for bound in limit[1:] for letter in bound.free_symbols}
        found -= {limit[0] for limit in part.limits}
    for part in expression.atoms(sympy.floor, sympy.ceiling):
        found |= {letter for letter in part.free_symbols if letter.name in _LETTERS_FOR_INTEGERS}
    for power in expression.atoms(sympy.Pow):
        if power.base == -1:
            found |= {letter for letter in power.exp.free_symbols if letter.name in _LETTERS_FOR_INTEGERS}
    return found & expression.free_symbols


def _exactly(expression: Any, at: dict[Any, Any]) -> complex | None:
    return _finite(_computed(expression, at, 25))
