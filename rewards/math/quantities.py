r"""What an answer may name left of "=": `x`, `[ABC]`, `m\angle 2`, `x^2+y^2`, `10a+b`, `P(X=2)`, `\sum a_i`.

The quantity that a question asks for may be any expression, but an equation that was not solved looks alike:
`2x + z = 7`, `x^2 + 1 = 7` and `-x = 7` are no answers. So numbers may only stand in exponents, indices, arguments of
functions, as the coefficient of a single term, or as the place values of digits.
"""

from __future__ import annotations

import re

from rlvr.rewards.math.latex import variables

_CONSTANT_COMMANDS = {"frac", "sqrt", "pi", "cdot", "times", "div", "log", "ln", "sin", "cos", "tan", "binom", "circ",
                      "pm", "infty", "lfloor", "rfloor", "lceil", "rceil", "exp", "arcsin", "arccos", "arctan"}
_RELATION = re.compile(r"\\(?:neq?|leq?|geq?|approx|to|in|pm|mp|not|neg|lt|gt|equiv|sim|simeq|cong|implies|iff|lor|"
                       r"land|[rRlL]\w*arrow|mapsto|propto|subset\w*|mid|ll|gg)(?![A-Za-z])")
_TEXT = re.compile(r"\\(?:text|mathrm|mbox|operatorname|textbf|mathbf|boldsymbol|bm|mathbb|mathcal|vec|overline|"
                   r"overrightarrow|widehat|hat|bar|underline)\s*\{[^{}]*\}")
_ARGUMENT = re.compile(r"(?<![A-Za-z\\])(?:[A-Zfghpqrsuv]|T)'*\s*\((?:[^()]|\([^()]*\))*\)")
_EXPECTATION = re.compile(r"(?:T|E|P|\\Pr)\s*\[[^\[\]]*\]|\\Pr\s*\([^()]*\)|(?<![A-Za-z])P\s*\([^()]*\)")
_AREA = re.compile(r"\[\s*(?:\\triangle\s*)?[A-Z]\w*'?(?:\s*[A-Z]'?){2,}\s*\]")
_EXPONENT = re.compile(r"\s*\^\s*(?:\{\s*-?[\w/*+ \\]*\s*\}|\w|\*|\\[a-z]+)")
_INDEX = re.compile(r"\s*_\s*(?:\{[^{}]*\}|\w|\\[A-Za-z]+)")
_PLACES = re.compile(r"(?:10+\s*[A-Za-z]\s*\+\s*)+[A-Za-z]")
_NAME = re.compile(r"(?!-)(?=.*[A-Za-z])(?:\\[A-Za-z]+|[A-Za-z{}()|,+/'^* -])+")


def is_constant(text: str) -> bool:
    """No variable in it: a number, a surd, a multiple of pi ..."""
    return bool(text) and not variables(text) and set(re.findall(r"\\([A-Za-z]+)", text)) <= _CONSTANT_COMMANDS


def is_name(text: str) -> bool:
    r"""A plain name: x, AB, f(5), \angle A, P(A), m + n, but not 2x or -x. This is what a gold answer may name."""
    bare = re.sub(r"\s*_\s*(?:\{[^{}]*\}|\w)", "", text)
    bare = re.sub(r"(?<![A-Za-z\\])[fghpqFGHPQ]'*\s*\([^()]*\)", "f", bare)  # f(5), P(X=2): not a product
    bare = re.sub(r"\\(?:text|mathrm|mbox|operatorname|textbf)\s*\{[^{}]*\}", "T", bare)
    if re.search(r"'|\\prime", bare) and re.search(r"[+-]", bare):
        return False  # y' + ry: a differential equation
    return _NAME.fullmatch(bare) is not None and not _RELATION.search(bare)


def is_quantity(text: str) -> bool:
    """What the answer may name: a name, or an expression that a question may ask for."""
    if is_name(text) or _AREA.fullmatch(text.strip()):
        return True
    bare = _TEXT.sub("T", text)
    bare = re.sub(r"\\[|#]", "", bare)
    bare = re.sub(r"\\(?:measured)?angle\s*\d+", "T", _INDEX.sub("", bare))
    bare = _EXPECTATION.sub("T", _EXPONENT.sub("", bare))
    for _ in range(3):
        bare = _ARGUMENT.sub("T", bare)
    bare = re.sub(r"(\\(?:sin|cos|tan|cot|sec|csc))\s*\d+(?=\s*[A-Za-z\\])", r"\1 ", bare).replace("!", "")
    bare = re.sub(r"\\frac\s*\{\s*1\s*\}", r"\\frac{T}", bare)
    if _PLACES.fullmatch(bare):
        return True
    if not re.search(r"[+-]", bare):
        bare = re.sub(r"^\d+\s*(?=[A-Za-z\\(])", "", bare)
    if re.search(r"'|\\prime", bare) and re.search(r"[+-]", bare):
        return False
    return _NAME.fullmatch(bare) is not None and not _RELATION.search(bare)
