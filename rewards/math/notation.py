r"""Notations that the parser does not know, written in one that it does.

Combinations and permutations with numbers (`C_{10}^{3}`, `^{10}C_3`, `P(10,3)`), double factorials, `cis`, angles in
degrees and minutes, rows of equations (`cases`, `aligned`), intervals with brackets turned outward (`]1,2[`).
"""

from __future__ import annotations

import math
import re
from fractions import Fraction

_N = r"\{?\s*(\d{1,3})\s*\}?"
_COMBINATIONS = (
    re.compile(rf"(?<![A-Za-z\\}}\d^])()([CPA])\s*_\s*{_N}\s*\^\s*{_N}"),
    re.compile(rf"(?<![A-Za-z\\}}\d])()([CPA])\s*\^\s*(?P<k>{_N})\s*_\s*{_N}"),
    re.compile(rf"(?:\{{\s*\}}\s*|(?<![\w}}]))[\^_]\s*{_N}\s*([CPA])\s*_\s*{_N}"),
    re.compile(r"(?<![A-Za-z\\}\d])()([CP])\s*\(\s*(\d{1,3})\s*,\s*(\d{1,3})\s*\)(?!\s*=)"),
)
_DOUBLE_FACTORIAL = re.compile(r"\(\s*2\s*([a-z])\s*(?:([-+])\s*1)?\s*\)\s*!\s*!")
_CIS = re.compile(r"(?:\\(?:operatorname|text|mathrm)\s*\{\s*cis\s*\}|(?<![A-Za-z])\\?cis(?![A-Za-z]))\s*"
                  r"(?:\(([^()]*)\)|(\d+(?:\.\d+)?\s*\^\\circ|\\frac\s*\{[^{}]*\}\s*\{[^{}]*\}|\\[a-z]+|[a-z]))")
_BINOMIAL = re.compile(r"(?<![A-Za-z\\])(?:binom|binomial|nCr)\s*\(\s*([^(),]+?)\s*,\s*([^(),]+?)\s*\)")
_GREATEST = re.compile(r"\\(max|min|gcd|lcm)\s*\\\{([^{}]*)\\\}")
_SEXAGESIMAL = re.compile(r"(?<![\d.])(\d+)\s*\^\\circ\s*(\d{1,2})\s*'(?:\s*(\d{1,2}(?:\.\d+)?)\s*(?:''|\"))?(?!')")
_ROWS = re.compile(r"\\begin\s*\{(cases|aligned|align\*?|array|gathered|split)\}\s*(?:\{[lcr| ]*\})?"
                   r"((?:(?!\\begin).)*?)\\end\s*\{\1\}", re.DOTALL)
_UNION = re.compile(r"\\(?:cup|cap|setminus)(?![A-Za-z])")
_MEMBER = re.compile(r"\s*[A-Za-z]\w?\s*\\in(?![A-Za-z])\s*")
_AN_END = r"((?:[^\[\](){},;]|\{[^{}]*\}|\([^()]*\))+)"
_INTERVAL = re.compile(rf"([\[\](]){_AN_END}([,;]){_AN_END}([\[\])])")


def in_usual_notation(text: str) -> str:
    """Text to text; numbers of combinations become numbers."""
    if re.search(r"[CPA]", text):
        for place, pattern in enumerate(_COMBINATIONS):
            text = pattern.sub(lambda match, place=place: _combinations(match, place), text)
    if "!" in text:
        text = _DOUBLE_FACTORIAL.sub(_double_factorial, text)
    text = _GREATEST.sub(r"\\\1(\2)", _BINOMIAL.sub(r"\\binom{\1}{\2}", text))
    if "'" in text:
        text = _SEXAGESIMAL.sub(_degrees, text)
    if "\\begin" in text:
        text = _ROWS.sub(_rows, text)
    return _with_inward_brackets(text.strip()) if "]" in text or "[" in text or ";" in text else text.strip()


def _with_inward_brackets(text: str) -> str:
    r"""`x \in ]1;2[ \cup [3;4[` as `x \in (1,2) \cup [3,4)`; text that is no union of intervals as it is.

    A semicolon becomes a comma where no pair can be meant: beside a bracket turned outward, an infinity or a union.
    """
    member = _MEMBER.match(text)
    head, union = (text[: member.end()], text[member.end() :]) if member else ("", text)
    signs = _UNION.findall(union)
    parts = [_INTERVAL.fullmatch(part.strip()) for part in _UNION.split(union)]
    found = [part for part in parts if part is not None]
    outward = any(part[1] == "]" or part[5] == "[" for part in found)
    if len(found) != len(parts) or not (outward or (";" in union and (signs or r"\infty" in union))):
        return text
    written = [f"{'(' if part[1] in '](' else '['}{part[2].strip()},{part[4].strip()}{')' if part[5] in '[)' else ']'}"
               for part in found]
    return head + written[0] + "".join(f" {sign} {part}" for sign, part in zip(signs, written[1:], strict=True))


def without_cis(text: str) -> str:
    r"""`2 \operatorname{cis} 60^\circ` with cosine and sine."""
    return _CIS.sub(lambda match: rf"(\cos({match[1] or match[2]})+i\sin({match[1] or match[2]}))", text)


def _combinations(match: re.Match[str], place: int) -> str:
    groups = [group for group in match.groups() if group]
    if place == 1:  # C^3_{10}
        kind, k, n = groups[0], match[4], match[5]
    elif place == 2:
        n, kind, k = groups
    else:
        kind, n, k = groups
    below, above = int(n), int(k)
    if above > below:  # C_3^{10}: perhaps 10 over 3, perhaps a name
        return match[0]
    return str(math.comb(below, above) if kind == "C" else math.perm(below, above)) + " "


def _double_factorial(match: re.Match[str]) -> str:
    n, sign = match[1], match[2]
    if sign is None:
        return f"(2^{n} {n}!)"
    if sign == "-":
        return rf"\frac{{(2{n})!}}{{2^{n} {n}!}}"
    return rf"\frac{{(2{n}+2)!}}{{2^{{{n}+1}}({n}+1)!}}"


def _degrees(match: re.Match[str]) -> str:
    seconds = Fraction(match[3] or 0)
    value = int(match[1]) + Fraction(int(match[2]), 60) + seconds / 3600
    if int(match[2]) >= 60 or seconds >= 60:
        return match[0]
    number = str(value) if value.denominator == 1 else rf"\frac{{{value.numerator}}}{{{value.denominator}}}"
    return number + r"^\circ "


def _rows(match: re.Match[str]) -> str:
    """Rows that are all equations as a list; a row that begins with "=" goes on with the last one."""
    rows = [row.replace("&", " ").strip().strip(",;.").strip() for row in re.split(r"\\\\(?:\s*\[[^\]]*\])?", match[2])]
    rows = [row for row in rows if row]
    joined: list[str] = []
    for row in rows:
        if row.startswith("=") and joined:
            joined[-1] += row
        else:
            joined.append(row)
    tops = match[2].replace(r"\\", "").count("&") if match[1] in ("cases", "array") else 0
    if not joined or any(row.count("=") == 0 for row in joined) or tops > len(rows) or (
            match[1] == "cases" and re.search(r"&[^=]*(?:[<>]|\\[lg]eq?|\\text)", match[2])):
        return match[0]  # a piecewise function, a matrix
    return ", ".join(joined)
