r"""The same letters in two answers, however each writes them: glyphs, vectors, indices, derivatives, bound variables.

Everything here takes both answers, as what may be rewritten in one depends on the other: `\varphi` is `\phi` unless one
of them uses both.
"""

from __future__ import annotations

import re

from rlvr.rewards.math.latex import rename, split_top, squeezed, variables

_ANY = re.compile(r"\\(?:var|vec|over|math|bold|bm|ell|binom|sum|prod|int|d+ot|epsilon|phi|theta|rho|kappa|sigma|log|"
                  r"lim|gcd|lcm|frac\s*\{\s*d)|gcd|lcm|[_']|\^\*|C\s*\(")
_GLYPHS = ("epsilon", "phi", "theta", "rho", "kappa", "sigma")
_VECTOR = re.compile(r"\\(?:vec|overrightarrow|mathbf|boldsymbol|bm)\s*(?:\{\s*([A-Za-z])\s*\}|([a-z])(?![A-Za-z]))")
_POSITIVE = re.compile(r"\\mathbb\{([ZRQ])\}\s*(?:\^\s*(?:\{\s*\+\s*\}|\+)|_\s*(?:\{\s*\+\s*\}|\+|\{\s*>\s*0\s*\}))")
SET_OF_NUMBERS = re.compile(rf"\\mathbb\{{[ZRQNC]\}}|{_POSITIVE.pattern}")
_INDEX = re.compile(r"(?P<base>\\[A-Za-z]+|[A-Za-z})])\s*_\s*(?P<index>\{(?:[^{}]|\{[^{}]*\})*\}|[A-Za-z]|"
                    r"\\[A-Za-z]+(?:\s*\{[^{}]*\})?)")
_COMBINATIONS = re.compile(r"(?<![A-Za-z\\])C\s*(?:_\s*\{?\s*([\w+-]+?)\s*\}?\s*\^\s*\{?\s*(\w+)\s*\}?|"
                           r"\(\s*([\w+-]+)\s*,\s*([\w+-]+)\s*\))")
_DIVISOR = re.compile(r"(?:\\(?:operatorname|text|mathrm)\s*\{\s*(gcd|lcm)\s*\}|\\?(?<![A-Za-z])(gcd|lcm))\s*"
                      r"\(([^()]*)\)")
_STAR = re.compile(r"(?<=[A-Za-z})])\^\*")
_NO_LETTERS = frozenset(rf"\{name}" for name in ("log", "sum", "prod", "int", "lim", "max", "min", "sup", "cap", "cup"))
_FONT = re.compile(r"\\(?:text|mathrm|mbox|operatorname|textbf|rm)(?![A-Za-z])|[{}\\ ]")
_BINDER = re.compile(r"\\(?:sum|prod)(?![A-Za-z])|\\int(?![A-Za-z])|\\lim(?![A-Za-z])")
_BOUND = re.compile(r"\\(?:sum|prod)\s*_\s*\{\s*([a-z])\s*=")
_INTEGRAL = re.compile(r"\\int\b.*?(?<![A-Za-z\\])d\s*([a-z])(?![A-Za-z])")
_ORDER = r"(?:\^\s*\{?\s*(\d)\s*\}?\s*)?"
_LEIBNIZ = re.compile(rf"\\frac\s*\{{\s*d\s*{_ORDER}([a-z])\s*\}}\s*\{{\s*d\s*([a-z])\s*{_ORDER}\}}")
_DOTS = re.compile(r"\\(d{1,3}ot)\s*\{?\s*([a-z])\s*\}?")
_PRIMES = re.compile(r"(?<![A-Za-z\\])([a-z])('{1,3})(?!')")
_FUNCTION = re.compile(r"([A-Za-z])\s*\(\s*([a-z])\s*\)")
_DUMMIES = "kjmrsuvw"


def in_same_letters(gold: str, answer: str) -> tuple[str, str]:
    """Both normalized answers with one spelling for each letter."""
    if not _ANY.search(gold) and not _ANY.search(answer):
        return gold, answer
    for step in (_same_divisors, _same_binomials, _same_glyphs, _same_sets, _same_derivatives, _same_indices,
                 _same_bound):
        if squeezed(gold) == squeezed(answer):
            break
        gold, answer = step(gold, answer)
    return gold, answer


def in_own_letters(gold: str) -> str:
    """A gold answer as it is compared with one in the same letters."""
    for step in (_same_divisors, _same_sets, _same_indices):
        gold, _ = step(gold, gold)
    return gold


def _same_divisors(gold: str, answer: str) -> tuple[str, str]:
    r"""`\gcd(m, n)` as a letter: the parser takes m and n for coprime. What is in brackets has no order."""
    keys = sorted({_divisor(match) for text in (gold, answer) for match in _DIVISOR.finditer(text)})
    numbers = {key: number for number, key in enumerate(keys, start=301)}

    def letter(match: re.Match[str]) -> str:
        return rf"\Upsilon_{{{numbers[_divisor(match)]}}} " if variables(match[3]) else match[0]

    return _DIVISOR.sub(letter, gold).strip(), _DIVISOR.sub(letter, answer).strip()


def _divisor(match: re.Match[str]) -> tuple[str, ...]:
    return (match[1] or match[2], *sorted(map(squeezed, split_top(match[3], frozenset({","})))))


def _same_glyphs(gold: str, answer: str) -> tuple[str, str]:
    for name in _GLYPHS if r"\var" in gold + answer else ():
        plain, variant = re.compile(rf"\\{name}(?![A-Za-z])"), re.compile(rf"\\var{name}(?![A-Za-z])")
        if not any(plain.search(text) and variant.search(text) for text in (gold, answer)):
            gold, answer = (variant.sub(rf"\\{name} ", text) for text in (gold, answer))
    if _VECTOR.search(gold) and _VECTOR.search(answer):
        gold, answer = (_VECTOR.sub(lambda found: rf"\vec{{{found[1] or found[2]}}}", text) for text in (gold, answer))
    for one, other in ((gold, answer), (answer, gold)):
        if r"\ell" in one and r"\ell" not in other and "l" in variables(other) and "l" not in variables(one):
            gold, answer = (re.sub(r"\\ell(?![A-Za-z])", "l ", text) for text in (gold, answer))
    return gold.strip(), answer.strip()


def _same_binomials(gold: str, answer: str) -> tuple[str, str]:
    """`C_n^k` and `C(n,k)` as binomials, where the gold answer has one."""
    if r"\binom" not in gold or "C" in variables(gold):
        return gold, answer
    return gold, _COMBINATIONS.sub(lambda match: rf"\binom{{{match[1] or match[3]}}}{{{match[2] or match[4]}}}", answer)


def _same_sets(gold: str, answer: str) -> tuple[str, str]:
    """Positive numbers of a set, and a lone N for the natural numbers."""
    gold, answer = (_POSITIVE.sub(r"\\mathbb{\1}^+", text) for text in (gold, answer))
    known = re.fullmatch(r"\\mathbb\{([A-Z])\}", gold)
    return (gold, gold) if known and answer == known[1] else (gold, answer)


def _same_derivatives(gold: str, answer: str) -> tuple[str, str]:
    r"""`y'`, `\dot{y}` and `\frac{dy}{dt}` as the last where one answer says it so."""
    found = {(match[2], match[3]) for text in (gold, answer) for match in _LEIBNIZ.finditer(text)}
    if len({function for function, _ in found}) < len(found):
        return gold, answer  # by two variables
    by = dict(found)
    return _leibniz(gold, by), _leibniz(answer, by)


def _leibniz(text: str, by: dict[str, str]) -> str:
    def written(order: int, function: str, old: str) -> str:
        if function not in by:
            return f" {function}{chr(39) * order}"
        top = f"d {function}" if order == 1 else f"d^{{{order}}} {function}"
        return rf"\frac{{{top}}}{{d {by[function]}{f'^{{{order}}}' if order > 1 else ''}}}"

    text = _LEIBNIZ.sub(lambda match: written(int(match[1] or 1), match[2], match[0]), text)
    text = _DOTS.sub(lambda match: written(match[1].count("d"), match[2], match[0]), text)
    return _PRIMES.sub(lambda match: written(len(match[2]), match[1], match[0]), text)


def _same_indices(gold: str, answer: str) -> tuple[str, str]:
    r"""Indices that are no numbers as numbers from 101 on, the same in both: the parser takes the e of m_e for a number
    and knows no text there. Not under a sum or an integral, whose variable may be in an index."""
    if ("_" not in gold + answer and "^*" not in gold + answer) or any(map(_BINDER.search, (gold, answer))):
        return gold, answer
    keys = sorted({_key(match["index"]) for text in (gold, answer) for match in _INDEX.finditer(text)
                   if match["base"] not in _NO_LETTERS})
    numbers = {key: number for number, key in enumerate(keys, start=101)}

    def numbered(match: re.Match[str]) -> str:
        key = _key(match["index"])
        if match["base"] in _NO_LETTERS or key.isdecimal():
            return match[0]
        return f"{match['base']}_{{{numbers[key]}}}"

    return tuple(_STAR.sub("_{100}", _INDEX.sub(numbered, text)) for text in (gold, answer))  # pyright: ignore


def _key(index: str) -> str:
    return _FONT.sub("", index)


def _same_bound(gold: str, answer: str) -> tuple[str, str]:
    """The variables of sums, products and integrals in one name, where they stand for nothing else."""
    return _renamed_bound(gold, answer), _renamed_bound(answer, gold)


def _renamed_bound(text: str, other: str) -> str:
    bound = list(dict.fromkeys([*_BOUND.findall(text), *_INTEGRAL.findall(text)]))
    used = (variables(text) - set(bound)) | (variables(other) - {*_BOUND.findall(other), *_INTEGRAL.findall(other)})
    if len(bound) > 3 or not bound:
        return text
    free = [letter for letter in _DUMMIES if letter not in used]
    if len(free) < len(bound):
        return text
    return rename(text, dict(zip(bound, free, strict=False)))


def in_same_argument(gold: str, answer: str, question: str) -> tuple[str, str]:
    """`f(t) = t^2` as `f(x) = x^2`, `f(x) = 2x` as `y = 2x`, and an arbitrary constant by the gold answer's name."""
    sides, answer_sides = (split_top(text, frozenset({"="})) for text in (gold, answer))
    if len(sides) != 2 or len(answer_sides) != 2:
        return gold, answer
    function, answered = _FUNCTION.fullmatch(sides[0]), _FUNCTION.fullmatch(answer_sides[0])
    if function is None:
        if answered is not None and sides[0] == "y" and answered[2] in variables(sides[1]):
            return gold, f"y={answer_sides[1]}"
        return gold, answer
    if answered is None and answer_sides[0] == "y" and function[1] != "y" and function[2] != "y" and (
            "y" not in variables(sides[1]) and function[2] in variables(answer_sides[1])):
        return gold, f"{sides[0]}={answer_sides[1]}"
    if answered is None or answered[1] != function[1]:
        return gold, answer
    body, argument = answer_sides[1], answered[2]
    if argument != function[2]:
        if function[2] in variables(body) or argument in variables(sides[1]):
            return gold, answer
        body = rename(body, {argument: function[2]})
    constant, given = (variables(one) - variables(other) for one, other in ((sides[1], body), (body, sides[1])))
    fixed = {"e", "i", "d", "x", "y", "z"} | _letters(question)
    if 0 < len(constant) == len(given) <= 3 and not (constant | given) & fixed:
        body = rename(body, dict(zip(_in_order(body, given), _in_order(sides[1], constant), strict=True)))
    return gold, f"{sides[0]}={body}"


def _in_order(text: str, letters: set[str]) -> list[str]:
    return sorted(letters, key=text.index)


def _letters(question: str) -> set[str]:
    """Single letters of the question: they stand for something given."""
    return set(re.findall(r"(?<![A-Za-z\\])[A-Za-z](?![A-Za-z])", question)) - {"a", "I", "A"} | (
        set(re.findall(r"\$[^$]*?(?<![A-Za-z\\])(a|A)(?![A-Za-z])", question)))
