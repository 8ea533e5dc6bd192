"""What is refused before computer algebra sees it: bombs, hedges, restated problems, numerals in another base.

Each class was measured against plain math-verify: a wrong answer that it accepts, or an expression on which it spends
seconds to hours. All strings are normalized.
"""

from __future__ import annotations

import math
import re

from rlvr.rewards.math.latex import closes_at, nesting, split_top, variables
from rlvr.rewards.math.numbers import read_sequence
from rlvr.types import Reason

MAX_CHARS, MAX_DEPTH, MAX_BARS = 1000, 25, 12
"""Beyond what the gold answer itself has."""

_COMMA = frozenset({",", ";"})
_LONG_EXPONENT = re.compile(r"\^\s*[{(]*\s*[-+]?\s*\d{5,}")
_TOWER = re.compile(r"\^\s*[{(]*\s*[-+]?\s*(\d+)\s*\}?\s*\^\s*[{(]*\s*[-+]?\s*(\d+)(\s*\}?\s*\^)?")
_LONG_EXPANSION = re.compile(r"[)}]\s*\^\s*[{(]*\s*\d{3,}")
_FACTORIALS = re.compile(r"!\s*[)}\]]*\s*!|\d{5,}\s*[)}]*\s*!|\^\s*\{?\s*\d+\s*\}?\s*[)}]+\s*!|"
                         r"\^\s*[{(][^{}]*\d\s*\)?!")
_BINOMIAL = re.compile(r"\\(?:[dt]?binom|choose)(?![A-Za-z])")
_BINOMIAL_BOMB = re.compile(r"\d{5,}|(?:\\(?:[dt]?binom)|\})\s*\{\s*\d+\s*\^|\d\s*\^\s*[^{}]*\\choose")
_FRACTION_IN_BRACKETS = re.compile(r"(?<!\\sqrt)(?<![A-Za-z])\[(?=[^\]]*(?:\\frac|/))([^\[\](),]*)\]")
_TWICE_PERCENT = re.compile(r"\\%[ }]*\\%")
_OUTER_EXPONENT = re.compile(r"[)}\]]\s*\^\s*[{(]*\s*(\d+)")
_TALL = re.compile(r"\^\s*\{[^{}^]*\^\s*\{[^{}^]*\^\s*\{[^{}^]*\^")

_SEVERAL = re.compile(r"[,;]|\\pm|\\mp|\\cup|\\\{|\\mathbb|(?<![A-Za-z\\])(?:or|and)(?![A-Za-z])")
_OR = re.compile(r"(?<![A-Za-z\\])or(?![A-Za-z])")
_UNSURE = re.compile(r"\?|(?<![A-Za-z\\])(?:either|neither|maybe|perhaps|possibly|probably|not|unsure|guess)"
                     r"(?![A-Za-z])", re.IGNORECASE)
_UNEVALUATED = re.compile(r"\\(?:i{1,3}nt|oint|sum|prod|lim|limsup|liminf)(?![A-Za-z])|"
                          r"\\frac\s*\{\s*d\s*\}\s*\{\s*d\s*[a-z]\s*\}")
_DEDUCTION = re.compile(r"\\(?:ne|equiv|implies|iff|to|[rR]ightarrow|[lL]ongrightarrow)(?![A-Za-z])")
_ADJACENT = re.compile(r"(?<![\w\\^_} ])\d+\s*\{\s*\d+\s*\}|^\{\s*\d+\s*\}\s*\{|\d\s*\\\{")
_DOTS = re.compile(r"\.\.|…|\\[lc]?dots(?![A-Za-z])")
_UNBOUNDED = re.compile(r"\\infty|\\mathbb|[<>]|\\[lg]e(?![A-Za-z])")
_NUMERAL = re.compile(r"(-?\d[\dA-Fa-f]*)\s*_\s*"
                      r"(?:\{\s*(?:\\(?:text|mathrm)\s*\{\s*)?(?:base\s*)?(\w+)\s*\}{1,2}|(\d))")
_SPACED_DIGITS = re.compile(r"(?<!\\frac )(?<!binom )(?<!\\log_)\d \d")
_DIVISOR = re.compile(r"(?<![A-Za-z])(?:gcd|lcm)(?![A-Za-z])")
_BASES = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
          "eleven": 11, "twelve": 12, "sixteen": 16}


_LARGEST_EXPONENT = 20_000
"""Of a power of a power of ...: ((x^{100})^{100})^{2}."""


def bomb(gold: str, answer: str) -> Reason | None:
    """too_deep or huge: evaluating it may not end."""
    if nesting(answer) > max(MAX_DEPTH, nesting(gold)) or answer.count("|") > max(MAX_BARS, gold.count("|")):
        return Reason.TOO_DEEP
    towers = [(int(base), int(exponent), more) for base, exponent, more in _TOWER.findall(answer[:4000])]
    if (_LONG_EXPONENT.search(answer) or _FACTORIALS.search(answer)
            or (_LONG_EXPANSION.search(answer) and not _LONG_EXPANSION.search(gold) and variables(answer))
            or (_TALL.search(answer) and not _TALL.search(gold))
            or math.prod(map(int, _OUTER_EXPONENT.findall(answer[:4000]))) > _LARGEST_EXPONENT
            or (_BINOMIAL.search(answer) and _BINOMIAL_BOMB.search(answer))
            or any(more or exponent * math.log10(max(base, 2)) > 4 for base, exponent, more in towers)):
        return Reason.HUGE
    return None


def bad_form(gold: str, answer: str) -> Reason | None:
    """Why the form of `answer` cannot be an answer where `gold` is right, whatever its value; None if it can.

    hedge: several answers, or a doubtful one, where one is asked for. wrong_answer: "not equal to", a deduction, a
    value that is infinite, an integral or sum that is not carried out (the question restated).
    """
    several = _SEVERAL.search(gold) is not None
    if _UNSURE.search(answer) and not _UNSURE.search(gold):
        return Reason.HEDGE
    if not several and (_OR.search(answer) or "\\pm" in answer or "\\mp" in answer
                        or len(split_top(answer, _COMMA)) > 1):
        return Reason.HEDGE
    if not several and not _UNBOUNDED.search(gold) and "\\cup" in answer and gold[:1] not in "([":
        return Reason.HEDGE
    if "\\\\" not in gold and "\\\\" in answer and "matrix" not in answer and "array" not in answer:
        return Reason.HEDGE
    if _SPACED_DIGITS.search(answer) and not _SPACED_DIGITS.search(gold):
        return Reason.HEDGE
    if not several and "matrix" not in gold and answer[:1] in ("(", "[") and read_sequence(answer):
        return Reason.HEDGE  # [8, 8]
    if _bracketed(answer) != _bracketed(gold) or _TWICE_PERCENT.search(answer):  # [7] is a list of one, or a floor
        return Reason.WRONG_ANSWER
    if _ADJACENT.search(answer) and not _ADJACENT.search(gold):  # 2{3}, 2\{3\}: the parser adds them up
        return Reason.HEDGE
    if _DOTS.search(answer) and not _DOTS.search(gold):
        return Reason.HEDGE
    if re.match(r"-?\d+\s*_", answer) and not re.match(r"-?\d+\s*_", gold):  # 204_a
        return Reason.BASE
    if re.search(r"\d\s*'", answer) and "'" not in gold:  # 5' 6'' and 8'
        return Reason.WRONG_ANSWER
    if "|" not in gold and answer.count("|") % 2:
        return Reason.HEDGE
    if _DEDUCTION.search(answer) and not _DEDUCTION.search(gold):
        return Reason.WRONG_ANSWER
    if "\\infty" in answer and not _UNBOUNDED.search(gold):
        return Reason.WRONG_ANSWER
    if _UNEVALUATED.search(answer) and not _UNEVALUATED.search(gold):
        return Reason.WRONG_ANSWER
    return None


def with_floors(gold: str, answer: str) -> tuple[str, str]:
    r"""`[\frac{n}{2}]` as `\lfloor \frac{n}{2} \rfloor` where the other side writes it so."""
    if (r"\lfloor" in gold) == (r"\lfloor" in answer):
        return gold, answer
    plain = answer if r"\lfloor" in gold else gold
    floored = _FRACTION_IN_BRACKETS.sub(r"\\lfloor \1 \\rfloor ", plain)
    return (gold, floored) if plain is answer else (floored, answer)


def _bracketed(text: str) -> bool:
    r"""Whether all of it, or a fraction with a letter in it, stands in square brackets, which may mean the floor."""
    inner = text[2:-2].strip() if text[:2] == r"\{" and text[-2:] == r"\}" else text
    whole = inner[:1] == "[" and inner[-1:] == "]" and closes_at(inner) == len(inner) - 1
    return (whole and read_sequence(inner) is None and r"\begin" not in inner) or any(
        variables(group) for group in _FRACTION_IN_BRACKETS.findall(text))


def numeral(text: str) -> tuple[str, int] | None:
    """(digits, base) of `52_8` or `2A_{16}`; None if it is no numeral with a base."""
    plain = re.sub(r"\\(?:text|mathrm)\s*\{\s*([\dA-Fa-f]+)\s*\}(?=\s*_)|(?<=\d)\\(?:text|mathrm)\{([A-F])\}(?=\s*_)",
                   lambda font: font[1] or font[2], text)
    plain = re.sub(r"^(?:\(\s*([\dA-Fa-f]+)\s*\)|\{\s*([\dA-Fa-f]+)\s*\})(?=\s*_)", lambda group: group[1] or group[2],
                   plain)
    match = _NUMERAL.fullmatch(re.sub(r"_\s*\{\s*\((\w+)\)\s*\}$", r"_{\1}", plain))
    if match is None:
        return None
    base = match[2] or match[3]
    value = int(base) if base.isdecimal() else _BASES.get(base.lower())
    return None if value is None or not 2 <= value <= 36 else (re.sub(r"^(-?)0+(?=.)", r"\1", match[1]).upper(), value)


def other_case(gold: str, answer: str) -> bool:
    r"""Whether a letter of `answer` is in `gold` in the other case alone: X for x. Not c for C in `+ C`."""
    if all(re.search(r"\+ ?[Cc]$", text) for text in (gold, answer)):
        gold, answer = gold[:-1], answer[:-1]
    names, wanted = (variables(text) | set(re.findall(r"\\([A-Za-z][a-z]+)", text)) for text in (answer, gold))
    return any(name.swapcase() in wanted or name[0].swapcase() + name[1:] in wanted for name in names - wanted)


_POINTS = re.compile(r"\\(measuredangle|angle|triangle|overrightarrow|vec)\s*"
                     r"\{?\s*([A-Z](?:\s*[A-Z]){1,3})(?![A-Za-z])")


def other_points(gold: str, answer: str) -> bool:
    r"""Whether both name angles, triangles or vectors by other points: \angle ABC is \angle CBA, not \angle ACB.

    Capitals alone are points or letters of a word, whose order counts: BA is not AB, and no product.
    """
    capitals = [re.sub(r"\\(?:text|mathrm|mbox)(?![A-Za-z])|[{} ]", "", text) for text in (gold, answer)]
    if all(re.fullmatch("[A-Z]{2,}", each) for each in capitals):
        return capitals[0] != capitals[1]
    figures = [sorted(map(_figure, _POINTS.findall(text))) for text in (gold, answer)]
    return bool(figures[0] and figures[1]) and figures[0] != figures[1]


def _figure(found: tuple[str, str]) -> str:
    kind, points = found[0], found[1].replace(" ", "")
    if kind == "triangle":
        return "".join(sorted(points))
    return min(points, points[::-1]) if kind.endswith("angle") else points


_COMMANDS = """
frac sqrt pi cdot times div log ln lg sin cos tan cot sec csc sinh cosh tanh coth arcsin arccos
arctan exp binom circ pm mp infty lfloor rfloor lceil rceil cup cap in mathbb begin end sum prod int
iint iiint oint lim vec hat bar overline overrightarrow underline mathbf boldsymbol bm mathrm text
mbox textbf textit textrm mathit mathcal ge le ne equiv pmod bmod mod to ldots cdots dots dotsc
dotsb angle triangle emptyset partial prime gcd lcm max min sup det operatorname dot ddot tilde
widehat hbar ell Re Im setminus rm bf it over alpha beta gamma delta epsilon varepsilon zeta eta
theta vartheta iota kappa lambda mu nu xi rho varrho sigma tau upsilon phi varphi chi psi omega
Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega nabla deg dim ker forall measuredangle
square cfrac tfrac hline choose"""
_KNOWN_COMMANDS = frozenset(_COMMANDS.split())
_TEXT = re.compile(r"\\(?:text|mathrm|mbox|textbf|textit|textrm|operatorname)\s*\{([^{}]*)\}")
_ODD_SIGNS = re.compile(r"[#@&\"~`;$?]|(?<!\^)\\circ(?![A-Za-z])")


def unreadable(gold: str, answer: str) -> Reason | None:
    """What the answer has that the parser would pass over and the gold answer has not: signs, commands (unparsable), or
    words (wrong_answer: `8 \\text{ point five}`)."""
    commands = set(re.findall(r"\\([A-Za-z]+)", answer)) - _KNOWN_COMMANDS
    foreign = {char for char in answer if not char.isascii()}
    if commands - set(re.findall(r"\\([A-Za-z]+)", gold)) or foreign - set(gold):
        return Reason.UNPARSABLE
    if any(_DIVISOR.search(text) and variables(text) for text in (gold, answer)):
        return Reason.UNPARSABLE  # the parser takes m and n for coprime
    table = "matrix" in answer or "array" in answer
    if not table and set(_ODD_SIGNS.findall(answer)) - set(_ODD_SIGNS.findall(gold)):
        return Reason.UNPARSABLE
    words = {" ".join(text.split()) for text in _TEXT.findall(answer)}
    known = {" ".join(text.split()) for text in _TEXT.findall(gold)}
    unknown = {word for word in words - known if len(word) > 1 and word not in _KNOWN_COMMANDS}
    return Reason.WRONG_ANSWER if unknown else None
