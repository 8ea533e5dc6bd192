r"""The computer algebra path: math-verify's parser and comparison, with its measured traps closed.

* Answer and gold are wrapped in `\boxed{}` before parsing, always: from bare LaTeX the parser takes a number inside.
* First match only: otherwise a gold answer that cannot be parsed becomes the first fraction found in it.
* `verify(gold, answer)`, in this order: the comparison is not symmetric.
* math-verify's own time-outs stay off. They need SIGALRM and the main thread, cancel other alarms, and turn "too slow"
  into "wrong"; the judge bounds every verdict by killing the process, which also stops what never looks at a signal.
* Units are not parsed away (rlvr.rewards.math.units did that): its unit list eats variables such as t, h, c and d.
* Expressions must agree in value at a few points, to a relative precision: small differences are chopped off inside.
"""

from __future__ import annotations

import logging
import re
from functools import cache, lru_cache
from typing import Any

import sympy
from latex2sympy2_extended import NormalizationConfig
from math_verify import LatexExtractionConfig, parse, verify

from rlvr.rewards.math.failures import FAILURES, is_ours
from rlvr.rewards.math.latex import rename, variables
from rlvr.rewards.math.values import RELATIVE, differ, same_at_integers, value_of, values_of

_CONFIG = LatexExtractionConfig(
    boxed_match_priority=0,
    normalization_config=NormalizationConfig(
        basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="all", equations=False
    ),
)
_SPARE_NAMES = "qwzyvujkhgbaprstmnlcx"


for _logger in ("math_verify.parser", "math_verify.grader"):
    logging.getLogger(_logger).setLevel(logging.ERROR)  # they warn that time-outs are off, which is on purpose


_USUAL = (
    r"\frac{1}{2}+x", "0.5+x", r"2\left(y-\frac{7}{3}\right)-1", r"-(8)^2+5\sqrt{7}", r"\frac{3-\sqrt{11}}{5}", "(4)",
    r"(0,5)", r"(-\infty, 7]\cup[9,12)", r"\{4,6\}", r"\frac{2\pi}{9}+0.01", r"4^{x+1}-e^{3}+7!", r"y=3x-4",
    r"x^3-5x^2+6", r"\log_2 9+\sin(x)+\cos 20^\circ", r"\frac{\frac{2}{5}}{6}", "2+3i", r"5<x\le 8",
    r"\begin{pmatrix}1&2\\3&4\end{pmatrix}",
)
"""What answers look like: one for each branch of the grammar that they usually take."""


@cache
def warm_up() -> None:
    """Build the parser's tables (about a second), so that no verdict pays for it."""
    for text in _USUAL:
        equal(text, text)
    equal(_USUAL[0], _USUAL[1])


def equal(gold: str, answer: str) -> bool | None:
    """Whether the two normalized answers mean the same; None when the answer cannot be parsed, or compared at all.

    A gold answer that cannot be parsed equals nothing.
    """
    try:
        return _equal(gold, answer)
    except FAILURES as error:  # a matrix plus a number, a sum that goes round in circles: nothing that can be equal
        if is_ours(error):
            raise
        return None


def _equal(gold: str, answer: str) -> bool | None:
    gold, answer = _keep_case(gold, answer)
    parsed_answer = _parse(answer)
    if parsed_answer is None:
        return None
    parsed_gold = _parse(gold)
    if parsed_gold is None or _undefined(parsed_gold):
        return False
    if _same_but_for_bound_letters(parsed_gold, parsed_answer):
        return True
    at_integers = same_at_integers(parsed_gold, parsed_answer)
    if at_integers is not None:
        return at_integers
    parsed_gold, parsed_answer = _summed(parsed_gold), _summed(parsed_answer)
    if isinstance(parsed_gold, sympy.Symbol) and isinstance(parsed_answer, sympy.Expr):
        parsed_answer = parsed_answer.doit()  # a lone symbol is compared by its spelling: 1 * m must have become m
    if _is_relation(parsed_gold) and _is_relation(parsed_answer) and _letters(gold) != _letters(answer):
        return False  # equations are solved for whatever letters they have: dx/dt = k would equal dq/dt = k
    if differ(parsed_gold, parsed_answer) or _kindsdiffer(parsed_gold, parsed_answer):
        return False
    forms = [(parsed_gold, parsed_answer)]
    for rewrite in (_exact, _split_roots):
        pair = rewrite(parsed_gold), rewrite(parsed_answer)
        if pair not in forms:
            forms.append(pair)
    return any(_verified(*pair) for pair in forms)


def _same_but_for_bound_letters(gold: Any, answer: Any) -> bool:
    """Whether two integrals, sums or products are written alike. Asked first: to compute them can take seconds."""
    return all(isinstance(each, sympy.Expr) and each.has(sympy.Integral, sympy.Sum, sympy.Product)
               for each in (gold, answer)) and gold.as_dummy() == answer.as_dummy()


def _verified(gold: Any, answer: Any) -> bool:
    return verify(gold, answer, float_rounding=6, numeric_precision=15, strict=True,
                  timeout_seconds=None) and not _vacuous(gold, answer)


def _exact(parsed: Any) -> Any:
    """With decimals in exponents as fractions (2^{0.75} is 2^{3/4}), and logarithms of products as sums."""
    if not isinstance(parsed, sympy.Expr):
        return parsed
    exponents = {power.exp for power in parsed.atoms(sympy.Pow)}
    decimals = {number for exponent in exponents for number in exponent.atoms(sympy.Float)}
    exact = parsed.xreplace({number: sympy.Rational(str(number)) for number in decimals})
    if exact.free_symbols:
        exact = sympy.powdenest(exact, force=True)  # sqrt(x^3) is x^{3/2}; `differ` has looked at negative x
    return sympy.expand_log(exact, force=True) if exact.has(sympy.log) and exact.free_symbols else exact


def _split_roots(parsed: Any) -> Any:
    """With roots of products as products of roots: sqrt(ab) is sqrt(a) sqrt(b) where both are positive."""
    if not isinstance(parsed, sympy.Expr) or not parsed.free_symbols:
        return parsed
    return sympy.expand_power_base(_exact(parsed), force=True)


def _summed(parsed: Any) -> Any:
    """With sums and products up to a variable in closed form: they have no value between integers."""
    if not isinstance(parsed, sympy.Expr):
        return parsed
    return parsed.xreplace({each: each.doit() for each in parsed.atoms(sympy.Sum, sympy.Product)
                            if any(bound.free_symbols for limit in each.limits for bound in limit[1:])})


def constant(text: str) -> float | None:
    """The value of a normalized answer without variables, None if it has none or is not real."""
    parsed = _parse(text)
    value = value_of(parsed, {}) if isinstance(parsed, sympy.Expr) and not parsed.free_symbols else None
    return value.real if value is not None and value.imag == 0 else None


def undefined(text: str) -> bool:
    r"""Whether a normalized value is read as one that does not exist: `\frac{1}{0}`, `\ln 0`, `\tan 90^\circ`."""
    try:
        parsed = _parse(text)
        parts = list(parsed) if isinstance(parsed, sympy.MatrixBase) else [parsed]
        return any(_undefined(part) or (isinstance(part, sympy.Expr) and not part.has(*_LONG)
                                        and _undefined(part.doit())) for part in parts)
    except FAILURES as error:
        if is_ours(error):
            raise
        return False


_LONG = (sympy.Integral, sympy.Sum, sympy.Product, sympy.Limit, sympy.Derivative)
"""What takes its time to carry out, and is defined where it can be."""


def misreading(gold: str) -> str | None:
    """What goes wrong when a gold answer is parsed, in words; None if nothing seems to."""
    parsed = _parse(gold)
    if parsed is None:
        return "it cannot be parsed, so only an answer written the same way would count"
    if _undefined(parsed):
        return "it is read as an undefined value"
    if isinstance(parsed, sympy.Basic):
        names = {symbol.name for symbol in parsed.atoms(sympy.Symbol)}
        names |= {str(function.func) for function in parsed.atoms(sympy.core.function.AppliedUndef)}
        lost = {letter.lower() for letter in variables(gold)} - {"e", "i", "d"} - set("".join(names).lower())
        if lost:
            return f"its letters {', '.join(sorted(lost))} are lost when it is parsed"
    if not equal(gold, gold):
        return "it does not equal itself once parsed"
    if isinstance(parsed, sympy.Expr) and not parsed.is_infinite and equal(gold, f"({gold})+1"):
        return "it still counts as equal when 1 is added to it"
    return None


@lru_cache(maxsize=1024)
def _parse(text: str) -> Any:
    boxed = rf"\boxed{{{_with_products(_INDEXED_E.sub(_NO_NUMBER, text))}}}"
    try:
        found = parse(boxed, [_CONFIG], fallback_mode="first_match", extraction_mode="first_match",
                      parsing_timeout=None)  # pyright: ignore[reportArgumentType] (None is documented, the hint says int)
    except FAILURES as error:
        if is_ours(error):
            raise
        return None
    if not found or isinstance(found[0], str):
        return None
    parsed = _with_names_for_derivatives(found[0])
    names = {symbol.name for symbol in parsed.free_symbols} if isinstance(parsed, sympy.Expr) else set()
    if names == {"i"} or ("i" in names and "I" not in variables(text) and _POLAR.search(text)):  # it is no index
        return _with_imaginary(parsed)
    return parsed


def _with_imaginary(parsed: Any) -> Any:
    try:
        return parsed.xreplace({symbol: sympy.I for symbol in parsed.free_symbols if symbol.name == "i"})
    except FAILURES as error:
        if is_ours(error):
            raise
        return parsed  # it is the index of a sum too


_INDEXED_E, _NO_NUMBER = re.compile(r"(?<![A-Za-z\\])E(?=\s*_)"), r"\\Xi "
"""The parser takes the E of E_1 for Euler's number, and then fails on the index."""
_POLAR = re.compile(r"e\s*\^\s*\{[^{}]*(?<![A-Za-z\\])i(?![A-Za-z])|(?<![A-Za-z\\])i\s*\\sin(?![A-Za-z])")
_BESIDE = (
    re.compile(r"(?<![\w.^{])(\d+)\s*(?=[(\[]|\\binom|e\s*\^)"),
    re.compile(r"(\(\s*[-+]?\d+\s*\)|\\binom\s*\{[^{}]*\}\s*\{[^{}]*\})\s*(?=[\d(]|\\(?:frac|binom|sqrt)(?![A-Za-z]))"),
)
_BEFORE_FRACTION = re.compile(r"(?<![\w.^{])(\d+)\s*(?=\\frac\s*\{\s*(\d+)\s*\}\s*\{\s*(\d+)\s*\})")


def _with_products(text: str) -> str:
    r"""A dot between factors: the parser adds an integer to any number beside it, so that `2(3)` would be 5.

    Only `2\frac{1}{3}` is left as it is, a mixed number; `2\frac{4}{3}` is none.
    """
    for pattern in _BESIDE:
        text = pattern.sub(r"\1\\cdot ", text)
    return _BEFORE_FRACTION.sub(
        lambda match: match[0] if len(match[2] + match[3]) > 30 or int(match[2]) < int(match[3])
        else match[1] + r"\cdot ", text)


def _with_names_for_derivatives(parsed: Any) -> Any:
    """Derivatives of mere names become names: the parser's own df/dx is 0 or solved for, whatever f and x are."""
    if not isinstance(parsed, sympy.Basic):
        return parsed
    return parsed.xreplace({each: sympy.Symbol(f"derivative_{each.expr}_{'_'.join(map(str, each.variables))}")
                            for each in parsed.atoms(sympy.Derivative)
                            if isinstance(each.expr, (sympy.Symbol, sympy.core.function.AppliedUndef))})


def _keep_case(gold: str, answer: str) -> tuple[str, str]:
    """The parser lower-cases letters; where one answer has both R and r, the capitals get another letter in both."""
    in_gold, in_answer = variables(gold), variables(answer)
    clashes = [letter for letter in sorted(in_gold | in_answer) if letter.isupper()
               and any({letter, letter.lower()} <= letters for letters in (in_gold, in_answer))]
    if not clashes:
        return gold, answer
    taken = {letter.lower() for letter in in_gold | in_answer}
    spare = [letter for letter in _SPARE_NAMES if letter not in taken]
    new_names = dict(zip(clashes, spare, strict=False))
    return rename(gold, new_names), rename(answer, new_names)


def _letters(text: str) -> set[str]:
    return {letter.lower() for letter in variables(text)}


def _undefined(parsed: Any) -> bool:
    return isinstance(parsed, sympy.Basic) and parsed.has(sympy.zoo, sympy.nan)


def _is_relation(parsed: Any) -> bool:
    return isinstance(parsed, (sympy.core.relational.Relational, sympy.And))


def _kindsdiffer(gold: Any, answer: Any) -> bool:
    """Whether a plain number stands where several are due: never equal, and spares a slow attempt to simplify it."""
    several = isinstance(gold, (sympy.Interval, sympy.Union)) or (isinstance(gold, sympy.FiniteSet) and len(gold) > 1)
    return several and isinstance(answer, sympy.Expr)


def _vacuous(gold: Any, answer: Any) -> bool:
    """Whether two equations are equal only in having no solutions: not proportional, and solving them gives none."""
    if not (_is_equation(gold) and _is_equation(answer)):
        return False
    ratios = [left / right for left, right in values_of(_residual(gold), _residual(answer)) if right]
    proportional = all(abs(ratio - ratios[0]) <= RELATIVE * abs(ratios[0]) for ratio in ratios)
    return not proportional and not sympy.solve(gold, gold.free_symbols)


def _is_equation(parsed: Any) -> bool:
    return isinstance(parsed, sympy.Eq) and all(isinstance(side, sympy.Expr) for side in parsed.args)


def _residual(equation: Any) -> Any:
    return equation.lhs - equation.rhs


