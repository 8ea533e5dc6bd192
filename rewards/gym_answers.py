"""Which answers to a reasoning-gym task may be handed to its scorer, and which full scores are believed.

Several scorers run `eval` or sympy's parser on the answer. That would let a completion run code in the judge, or ask
for a number that takes hours (`9**9**9`): `may_be_evaluated` allows arithmetic of sane size and plain lists.

Several scorers give the full score to what is no answer: `complex_arithmetic` to `nan`, `coin_flip` to any first digits
of the answer, `gsm_symbolic` to the answer and more numbers behind it. `believable` asks of the tasks in `ONE_ANSWER`
that an answer has as many words and numbers as the right one, and no other words.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

ONE_ANSWER = frozenset((
    "advanced_geometry", "coin_flip", "fraction_simplification", "gsm_symbolic", "kakurasu", "knights_knaves",
    "letter_jumble", "polynomial_equations", "quantum_lock", "sokoban", "survo", "time_intervals", "word_sorting"))
"""Tasks of version 0.1.25 whose scorer looks at a part of the answer only, found by trying all 105 tasks."""
PREFIX_IS_FULL = frozenset(("coin_flip",))
"""Tasks whose scorer calls the first digits of the answer the answer."""
CLOSE = Fraction(1, 1000)
TARGETS = {"countdown": None, "puzzle24": 24}
"""Tasks to reach a number from given ones, with the number where it is always the same. The scorer of `puzzle24` does
not ask which numbers are used and rounds down, that of `countdown` allows an error of 1e-5."""

MAX_DIGITS, MAX_DEGREE = 1000, 200
"""Of a number, and of a polynomial, that an answer may ask the scorer to work out."""
_FUNCTIONS = frozenset(("sin", "cos", "tan", "sec", "csc", "cot", "asin", "acos", "atan", "sinh", "cosh", "tanh", "exp",
                        "log", "ln", "sqrt", "Abs", "abs"))
_ARITHMETIC = (ast.Expression, ast.BinOp, ast.UnaryOp, ast.Name, ast.Load, ast.List, ast.Tuple, ast.operator,
               ast.unaryop)
_OPERATIONS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}
_NO_ARITHMETIC = (ast.LShift, ast.RShift, ast.MatMult, ast.Not)
_NOT_FINITE = re.compile(r"nan|inf(?:inity)?|oo|zoo", re.IGNORECASE)
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_WORD = re.compile(r"[^\W\d_]+")
_UNSAFE = re.compile(r"[('\"\\!]|\*\*|\^|<<|>>|\d[eE]\+?\d{3}|\d[jJ]\b|[\])]\s*\*|\*\s*\[|"
                     r"\b(?:and|or|not|if|in|is|lambda|for)\b")
_HUGE = re.compile(r"\d[eE][+-]?\d{4}")
_AMOUNT = re.compile(r"\W?-?[\d.,]+\W?((?:\s+[^\W\d_]+){0,3})\W?")


def is_huge(answer: str) -> bool:
    """Whether it holds a number with an exponent of four digits: exact scorers would write it out."""
    return _HUGE.search(answer) is not None


def may_be_evaluated(answer: str) -> bool:
    """Whether `eval` of the answer, and of a text that it evaluates to, ends soon and calls nothing but functions of
    mathematics."""
    if not _UNSAFE.search(answer):
        return True
    try:
        tree = ast.parse(answer.strip(), mode="eval")
        nodes = list(ast.walk(tree))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    if all(map(_is_plain_text, nodes)):
        return True
    if not all(map(_is_arithmetic, nodes)):
        return False
    try:
        return _digits(tree.body) <= MAX_DIGITS and _degree(tree.body) <= MAX_DEGREE
    except (_TooLarge, RecursionError):
        return False


def believable(task: str, answer: str, gold: str, entry: Mapping[str, Any]) -> bool:
    """Whether the full score that a task's scorer gave to `answer` means that it is right."""
    if _not_finite(answer) and not _not_finite(gold):
        return False
    if task in TARGETS:
        metadata = entry["metadata"]
        return _reaches(answer, metadata["numbers"], metadata.get("target", TARGETS[task]))
    if task not in ONE_ANSWER:
        return True
    if task == "sokoban":
        return re.fullmatch(r"[LRUDlrud\s,]+", answer) is not None
    if task == "quantum_lock":
        return re.fullmatch(r"[A-Ca-c](?:[\s,>→-]*[A-Ca-c])*", answer) is not None
    if task in PREFIX_IS_FULL:
        return equal_numbers(answer, gold, CLOSE)
    if len(_NUMBER.findall(answer)) != len(_NUMBER.findall(gold)):
        return False
    if task == "gsm_symbolic":  # "$288", "288 red apples"
        amount = _AMOUNT.fullmatch(answer.strip())
        return amount is not None and set(_words(amount[1])) <= set(_words(entry["question"])) - {"or", "and", "not"}
    words, known = _words(answer), set(_words(gold))
    if task == "fraction_simplification":
        words = [word for word in words if word not in ("frac", "dfrac")]
    return set(words) <= known and len(words) <= len(_words(gold))


def _not_finite(text: str) -> bool:
    """Whether one of its words is NaN or an infinity, also as an imaginary part: `nanj`, `1+infi`."""
    return any(_NOT_FINITE.fullmatch(word) or _NOT_FINITE.fullmatch(word[:-1]) for word in _WORD.findall(text))


def _words(text: str) -> list[str]:
    return [word.casefold() for word in _WORD.findall(text)]


def equal_numbers(answer: str, gold: str, margin: Fraction = Fraction(0)) -> bool:
    """Whether both are numbers, and no further apart than `margin`."""
    if is_huge(answer) or is_huge(gold):
        return False
    try:
        return abs(Fraction(answer.replace(",", "")) - Fraction(gold.replace(",", ""))) <= margin
    except (ValueError, ZeroDivisionError, OverflowError):
        return False


def _reaches(answer: str, numbers: Sequence[int], target: int) -> bool:
    """Whether an expression in + - * / uses each of the numbers once and is exactly `target`."""
    used: list[int] = []
    try:
        value = _value(ast.parse(answer.strip().removesuffix("."), mode="eval").body, used)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
        return False
    return value == target and sorted(used) == sorted(numbers)


def _value(node: ast.expr, used: list[int]) -> Fraction:
    """The value of an expression in + - * / and integers, which are added to `used`; ValueError for any other."""
    if isinstance(node, ast.Constant) and type(node.value) is int:
        used.append(node.value)
        return Fraction(node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand, used)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
        return _OPERATIONS[type(node.op)](_value(node.left, used), _value(node.right, used))
    raise ValueError("no arithmetic")


def _is_plain_text(node: ast.AST) -> bool:
    """Lists of text and numbers. sympy evaluates text again, so that must call nothing either."""
    if isinstance(node, ast.Constant):
        return not isinstance(node.value, str) or not _UNSAFE.search(node.value)
    return isinstance(node, ast.Expression | ast.List | ast.Tuple | ast.Load)


def _is_arithmetic(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, int | float)
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS and not node.keywords
    return isinstance(node, _ARITHMETIC) and not isinstance(node, _NO_ARITHMETIC)


class _TooLarge(Exception):
    """A part of an expression is larger than any answer needs to be."""


def _digits(node: ast.expr) -> float:
    """An upper bound of the decimal digits of any number that working out `node` meets. _TooLarge beyond sense."""
    parts = [_digits(part) for part in ast.iter_child_nodes(node) if isinstance(part, ast.expr)]
    if isinstance(node, ast.Constant):
        size = abs(node.value)
        if isinstance(size, float):
            return 400 if size > 0 else 1
        return max(1, size.bit_length() * math.log10(2))
    if isinstance(node, ast.BinOp):
        if isinstance(node.op, ast.Pow | ast.BitXor):
            size = parts[0] * _exponent(node.right)
        else:
            size = sum(parts) + 1
            if isinstance(node.left, ast.List | ast.Tuple) or isinstance(node.right, ast.List | ast.Tuple):
                raise _TooLarge  # a list times a number
    else:
        size = max(parts, default=1)
    if size > MAX_DIGITS:
        raise _TooLarge
    return size


def _degree(node: ast.expr) -> float:
    """The degree of `node` as a polynomial in all names and functions in it."""
    if isinstance(node, ast.Constant):
        return 0
    if isinstance(node, ast.Name):
        return 1
    parts = [_degree(part) for part in ast.iter_child_nodes(node) if isinstance(part, ast.expr)]
    combine: Callable[[list[float]], float] = max
    if isinstance(node, ast.BinOp):
        if isinstance(node.op, ast.Pow | ast.BitXor):
            return parts[0] * _exponent(node.right)
        combine = sum if isinstance(node.op, ast.Mult | ast.Div) else max
    return combine(parts) if parts else 0


def _exponent(node: ast.expr) -> float:
    """An upper bound of the size of an exponent; 1 for one with names in it, which stays as it is."""
    if isinstance(node, ast.Constant):
        if abs(node.value) > MAX_DIGITS:
            raise _TooLarge
        return max(1.0, abs(node.value))
    if isinstance(node, ast.UnaryOp):
        return _exponent(node.operand)
    if isinstance(node, ast.BinOp):
        left, right = _exponent(node.left), _exponent(node.right)
        if isinstance(node.op, ast.Pow | ast.BitXor):
            raise _TooLarge
        size = left * right if isinstance(node.op, ast.Mult) else max(left, right) if isinstance(node.op, ast.Div) \
            else left + right
        if size > MAX_DIGITS:
            raise _TooLarge
        return size
    return 1
