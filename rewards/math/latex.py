r"""Answers as people and models write them in LaTeX -> one spelling, and cutting them up at the top level.

Everything here is text to text and keeps the meaning: unicode signs, spacing, sizes, fonts around digits, digit
groups, e-notation, repeating decimals, a full stop at the end. `normalize` is idempotent.
"""

# ruff: noqa: RUF001 (characters that look like others are the subject of this file)
from __future__ import annotations

import re
from collections.abc import Callable

_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")

_CHARACTERS = {
    **{code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)},  # fullwidth forms
    **{ord(char): "-" for char in "\u2212\u2010\u2011\u2012\u2013\ufe63"},
    **{ord(char): " " for char in "\u00a0\u2002\u2003\u2009\u202f\u3000\t\r\n"},
    **{ord(sign): f" {command} " for sign, command in {
        "×": r"\times", "÷": r"\div", "·": r"\cdot", "⋅": r"\cdot", "±": r"\pm", "∞": r"\infty", "∪": r"\cup",
        "∩": r"\cap", "∈": r"\in", "∅": r"\emptyset", "≤": r"\le", "⩽": r"\le", "≥": r"\ge", "⩾": r"\ge", "≠": r"\ne",
        "≈": r"\approx", "∴": r"\therefore", "ℝ": r"\mathbb{R}", "→": r"\to",
        "α": r"\alpha", "β": r"\beta", "γ": r"\gamma", "δ": r"\delta", "ε": r"\epsilon", "θ": r"\theta",
        "λ": r"\lambda", "μ": r"\mu", "π": r"\pi", "ρ": r"\rho", "σ": r"\sigma", "τ": r"\tau", "φ": r"\phi",
        "ω": r"\omega", "⌊": r"\lfloor", "⌋": r"\rfloor",
        "⌈": r"\lceil", "⌉": r"\rceil", "Δ": r"\Delta", "Ω": r"\Omega"}.items()},
    **{ord(sign): rf"\frac{{{a}}}{{{b}}}" for sign, a, b in ("½12", "⅓13", "⅔23", "¼14", "¾34", "⅕15", "⅛18")},
    ord("°"): r"^\circ",
    ord("∶"): ":",
}
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ", "0123456789-+n")
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")

_Rule = tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]
_RULES: list[_Rule] = [(re.compile(pattern), replacement) for pattern, replacement in (
    (r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ]+", lambda match: f"^{{{match[0].translate(_SUPERSCRIPTS)}}}"),
    (r"[₀₁₂₃₄₅₆₇₈₉]+", lambda match: f"_{{{match[0].translate(_SUBSCRIPTS)}}}"),
    (r"√\s*(?:\(([^()]*)\)|\{([^{}]*)\}|(\d+(?:\.\d+)?|[A-Za-z]))",
     lambda match: rf"\sqrt{{{match[1] or match[2] or match[3] or ''}}}"),
    (r"∛\s*(\d+|[A-Za-z])|\\sqrt\s*\[\s*3\s*\]\s*(\d|[A-Za-z])",
     lambda match: rf"\sqrt[3]{{{match[1] or match[2]}}}"),
    (r"\\[hv]?phantom\s*\{[^{}]*\}", ""),  # is not printed
    (r"\\(?:boxed|fbox)\s*(?=\{)", ""),
    (r"\\\\\s*\[\s*-?\d*\.?\d+\s*(?:pt|em|ex|mm|cm)\s*\]|\\cr(?![A-Za-z])", r"\\\\"),
    (r"\\\$|\$|(?<!\\)\\[()\[\]]", " "),  # dollar signs and math delimiters: what is left is all math
    (r"\\(?:left|right|[bB]igg?[lr]?|displaystyle|textstyle|limits|nolimits)(?![A-Za-z])\s*\.?", ""),
    (r"(?<!\\)\\!", ""),
    (r"(?<=\d)\{\s*(\\,|[.:])\s*\}(?=\d)", r"\1"),  # 3{:}30, 2{.}5, 12{\,}345
    (r"\\colon(?![A-Za-z])", ":"),
    (r"(?<=[\d})])\s*\\q?quad\s*(?=[-+]?\d)", ", "),
    (r"(?<!\\)\\[,;:> ]|\\q?quad(?![A-Za-z])|\\thinspace(?![A-Za-z])|~", " "),
    (r"\\(?:[dtc]|nice|s)frac(?![A-Za-z])", r"\\frac"),
    (r"\\[dt]binom(?![A-Za-z])", r"\\binom"),
    (r"\\binom\s*(\d)\s*(\d)", r"\\binom{\1}{\2}"),
    (r"\{\s*([^{}\\]+)\\choose(?![A-Za-z])([^{}\\]+)\}", r"\\binom{\1}{\2}"),
    (r"\\bigcup(?![A-Za-z])(?!\s*[_^])", r"\\cup "),
    (r"\\(?:mathbb|Bbb)\s*\{?\s*([A-Z])(?![A-Za-z])\s*\}?", r"\\mathbb{\1}"),
    (r"\\\{\s+\\\}", r"\\{\\}"),
    (r"\\log\s*_\s*(?:e|\{\s*e\s*\})(?![A-Za-z])", r"\\ln "),
    (r"\\pmod\s*(\d)", r"\\pmod{\1}"),
    (r"\^\s*(?:\\prime|\{\s*\\prime\s*\})(?![A-Za-z])", "'"),
    (r"\\(?:varnothing|empty)(?![A-Za-z])", r"\\emptyset"),
    (r"\\(?:geqslant|geq)(?![A-Za-z])", r"\\ge"),
    (r"\\(?:leqslant|leq)(?![A-Za-z])", r"\\le"),
    (r"\\(?:neq(?![A-Za-z])|not\s*=)|(?<=[A-Za-z ])!=", r"\\ne "),
    (r"\s+(?=[_^])", ""),
    (r"\\gt(?![A-Za-z])", ">"),
    (r"\\lt(?![A-Za-z])", "<"),
    (r"\\lbrace(?![A-Za-z])", r"\\{"),
    (r"\\rbrace(?![A-Za-z])", r"\\}"),
    (r":=", "="),
    (r"<=", r"\\le "),
    (r">=", r"\\ge "),
    (r"\^\s*\{\s*\\circ\s*\}|\^\s*\\circ(?![A-Za-z])|\\(?:text)?degree(?![A-Za-z])", r"^\\circ "),
    (r"(?<!\\)%", r"\\%"),
    # \mathbf{8}, \text{8.5}: fonts around a number
    (r"\\(?:math(?:bf|rm|it|sf|tt)|bm|boldsymbol|text(?:bf|rm|it|normal)?|mbox|emph|underline)"
     r"\s*\{\s*([-+]?[\d.,]*\d)\s*\}", r"\1"),
    # mathematics in words: \text{1:2}, \text{3:45 PM}, \text{2 and 3}, \text{A, C}, \text{x = 5}, \text{, }, \text{\%}
    (r"\\(?:text(?:bf|rm|it|normal)?|mathrm|mbox)\s*\{\s*(\d{1,2} ?: ?\d\d(?: ?[AaPp]\.? ?[Mm]\.?)?|"
     r"\d+(?: ?: ?\d+)+|\d[\d.]*(?:,? (?:and|or) \d[\d.]*)+|[A-Z](?:\s*(?:,|,? and|,? or)\s*[A-Z])+|"
     r"[A-Za-z]{1,12} ?= ?[-+]?\d[\d.]*|\s*[,;]|\\%)\s*\}", r" \1 "),
    (r"\\frac\s*\{\s*(\\(?:text|mathrm)\s*\{[A-Za-z ]*\})\s*\}\s*\{\s*(\\(?:text|mathrm)\s*\{[A-Za-z ]*\}"
     r"(?:\^\{?\d\}?)?)\s*\}$", r"\1/\2"),
    (r"\s*\\(?:l?or|vee)(?![A-Za-z])\s*(?=[A-Za-z]\w* ?=)", r" \\text{ or } "),  # x = 1 \lor x = 2
    (r"(\\(?:sin|cos|tan|cot|sec|csc|ln|log))\s+([a-z]|\\[a-z]+)\s*(?=\\(?:cdot|times)(?![A-Za-z]))", r"\1(\2) "),
    # {\bf 8}, \textcolor{red}{8}, the upright i and e
    (r"\{\s*\\(?:bf|rm|it|sf|tt)\s*([-+]?[\d.,]*\d)\s*\}", r"\1"),
    (r"\\(?:text)?color\s*\{\s*[a-z]+\s*\}", ""),
    (r"\\(?:mathrm|operatorname|rm)\s*\{\s*([ie])\s*\}", r" \1"),
    # degrees in a function: the parser drops the sign and would take radians
    (r"(\\(?:sin|cos|tan|cot|sec|csc)(?:\s*\^\s*\{?\d\}?)?)\s*(?:\(\s*(\d+(?:\.\d+)?)\s*\^\\circ\s*\)|"
     r"\{\s*(\d+(?:\.\d+)?)\s*\^\\circ\s*\}|(\d+(?:\.\d+)?)\s*\^\\circ )",
     lambda match: rf"{match[1]}(\frac{{{match[2] or match[3] or match[4]}\pi}}{{180}})"),
    # 12 million
    (r"(?<=[\d}])\s*(?:\\text\s*\{\s*(hundred|thousand|million|billion|trillion)(?![A-Za-z])([^{}]*)\}|"
     r"(hundred|thousand|million|billion|trillion)(?![A-Za-z]))",
     lambda match: _scaled(match[1] or match[3], match[2])),
    # digit groups that cannot be lists: 1{,}234  10,\!080  10\,000
    (r"(?<=\d)\s*\{\s*,\s*\}\s*(?=\d{3}(?!\d))", ""),
    (r"(?<![\d.])([-+]?\d+(?:\.\d+)?)[eE]([-+]?\d+)(?![\dA-Za-z]|\.\d)",
     lambda match: rf"{match[1]}\times 10^{{{int(match[2])}}}"),
    (r"(?<==)(\s*[-+]?\d{1,3})((?:,\d{3})+)(?=(?:\.\d+)?$)", lambda match: match[1] + match[2].replace(",", "")),
    (r"(?<![\d.])(\d*)\.(\d*)(?:\\(?:overline|bar|dot)\s*\{?(\d+)\}?|(?<=\.)\((\d+)\)$)",
     lambda match: _repeating(match[1], match[2], match[3] or match[4])),
)]
_SPACED_GROUPS = re.compile(r"(?<![\d.,])(\d{1,3})((?:\s*(?:\\,|,?\s*\\!)\s*\d{3})+)(?!\d)")
_LABEL = re.compile(r"^(?:\\therefore(?![A-Za-z])|\\approx(?![A-Za-z])|=|"
                    r"\\text\s*\{\s*(?:[Tt]he )?(?:[Ff]inal )?[Aa]nswer(?: is)?\s*:?\s*\}\s*:?)\s*")
_TAIL = re.compile(r"(?:\s|(?<!\.)\.|[,;]|\\)+$")
"""Three dots are no full stop: 42... is not 42."""
_BOLD = re.compile(r"\\(?:math(?:bf|rm)|bm|boldsymbol)\s*(?=\{.*[\\^/].*\}$)")
_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|.", re.DOTALL)
_OPEN, _CLOSE = {"(", "[", "{", r"\{", r"\lfloor", r"\lceil"}, {")", "]", "}", r"\}", r"\rfloor", r"\rceil"}


def normalize(latex: str) -> str:
    """One spelling for what means the same; never longer than a few times the input."""
    text = _INVISIBLE.sub("", latex).translate(_CHARACTERS)
    text = _SPACED_GROUPS.sub(lambda match: match[1] + re.sub(r"\D", "", match[2]), text)
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    text = re.sub(r"\s+", " ", text).strip()
    while True:
        before = text
        text = _TAIL.sub("", _LABEL.sub("", text))
        bold = _BOLD.match(text)
        if bold and closes_at(text[bold.end() :]) == len(text) - bold.end() - 1:  # \mathbf{\frac{1}{2}}
            text = text[bold.end() :]
        wrapped = text.startswith("{") or (text.startswith("((") and closes_at(text[1:-1]) == len(text) - 3)
        if wrapped and closes_at(text) == len(text) - 1:  # ((5)): the parser's time doubles with every pair
            text = text[1:-1].strip()
        if text == before:
            return text


def squeezed(text: str) -> str:
    """Normalized text without the spaces that mean nothing: two answers with the same squeezed text are identical.

    One between two digits means something: `1 0` is not 10.
    """
    return re.sub(r"(\\[A-Za-z]+ (?=[A-Za-z])|(?<=\d) (?=\d))| ", lambda match: match[1] or "", text)


def split_top(text: str, separators: frozenset[str]) -> list[str]:
    """Parts of `text` between those separators (single tokens) that stand outside all brackets, stripped."""
    parts, depth, start = [], 0, 0
    for match in _TOKEN.finditer(text):
        token = match[0]
        depth += (token in _OPEN) - (token in _CLOSE)
        if depth == 0 and token in separators:
            parts.append(text[start : match.start()].strip())
            start = match.end()
    return [*parts, text[start:].strip()]


def nesting(text: str) -> int:
    """Greatest depth of brackets and braces."""
    depth = deepest = 0
    for match in _TOKEN.finditer(text):
        depth += (match[0] in _OPEN) - (match[0] in _CLOSE)
        deepest = max(deepest, depth)
    return deepest


def variables(text: str) -> set[str]:
    """Single letters that stand for themselves (not part of a command or of running text), case kept."""
    bare = re.sub(r"\\(?:text|mathrm|mathbb|mbox|operatorname|textbf|begin|end)\s*\{[^{}]*\}", "", text)
    return {match[0] for match in _TOKEN.finditer(bare) if match[0].isascii() and match[0].isalpha()}


def rename(text: str, new_names: dict[str, str]) -> str:
    """Replace single letters outside commands."""
    return "".join([new_names.get(match[0], match[0]) for match in _TOKEN.finditer(text)])


def closes_at(text: str) -> int:
    """Index of the bracket that closes the one at 0, or -1."""
    depth = 0
    for match in _TOKEN.finditer(text):
        depth += (match[0] in _OPEN) - (match[0] in _CLOSE)
        if depth == 0:
            return match.start()
    return -1


_POWERS = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}


def _scaled(word: str, unit: str | None) -> str:
    """The power of ten for a word, and the rest of its group: a unit or nothing."""
    return rf"\times 10^{{{_POWERS[word]}}}" + (rf"\text{{{unit}}}" if unit and unit.strip() else "")


def _repeating(whole: str, fixed: str, period: str) -> str:
    r"""0.1\overline{6} -> \frac{15}{90}: (16 - 1) / 90."""
    digits = int((whole or "0") + fixed + period) - int((whole or "0") + fixed)
    return rf"\frac{{{digits}}}{{{'9' * len(period)}{'0' * len(fixed)}}}"
