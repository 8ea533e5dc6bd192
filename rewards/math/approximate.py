r"""`\frac{17}{3} \approx 5.67`: an exact value and what it is rounded to, as one answer."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from rlvr.rewards.math.latex import split_top
from rlvr.rewards.math.numbers import read_number
from rlvr.rewards.math.quantities import is_constant, is_quantity

SIGNS = frozenset({rf"\{name}" for name in ("approx", "cong", "simeq", "sim", "doteq", "approxeq", "thickapprox",
                                             "thicksim", "fallingdotseq", "risingdotseq", "asymp", "eqsim")})
"""Commands that say "about equal"; normalization turns the characters into these."""


def approximates(gold: str, answer: str, same: Callable[[str, str], bool],
                 value: Callable[[str], float | None]) -> bool | None:
    r"""None where there is no `\approx` or the like in the answer, or one in the gold answer.

    The right side has to be the left one rounded (half a unit of its last place), so `5 \approx 6` is nothing. The gold
    answer is the left side; or the right one where that rounds something, or is a decimal as the gold answer is.
    """
    sides = split_top(answer, SIGNS)
    if len(sides) == 1 or len(split_top(gold, SIGNS)) > 1:
        return None
    left, right = sides[0], sides[-1]
    if len(sides) > 2 or not left or not right:
        return False
    if is_quantity(left):
        return same(gold, right)
    equation = split_top(left, frozenset({"="}))
    rounded = read_number(right)
    if rounded is None or len(equation) > 2 or not is_constant(equation[-1]) or (
            len(equation) == 2 and not is_quantity(equation[0])):
        return False
    exact = read_number(equation[-1])
    of_left = exact.value if exact is not None else value(equation[-1])
    places = len(right.partition(".")[2].rstrip("\\% "))
    if of_left is None or abs(Fraction(of_left) - rounded.value) > Fraction(1, 2 * 10**places):
        return False
    wanted = read_number(gold)
    return same(gold, left) or ((exact is None or "." not in equation[-1] or (wanted is not None and wanted.decimal))
                                and "." in right and same(gold, right))
