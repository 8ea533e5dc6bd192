r"""Answers as people and models write them in LaTeX -> one spelling.

Everything here is text to text and keeps the meaning: unicode signs, spacing, sizes, fonts around digits, digit
groups, e-notation, repeating decimals, a full stop at the end. `normalize` is idempotent.
"""

# ruff: noqa: RUF001 (characters that look like others are the subject of this file)
from __future__ import annotations

import re
from collections.abc import Callable

from rlvr.rewards.math.latex import closes_at
from rlvr.rewards.math.notation import in_usual_notation, without_cis
from rlvr.rewards.math.plain_text import with_commands
from rlvr.rewards.math.units import is_unit

_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")

_CHARACTERS = {
    **{code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)},  # fullwidth forms
    **{ord(char): "-" for char in "\u2212\u2010\u2011\u2012\u2013\ufe63"},
    **{ord(char): " " for char in "\u00a0\u2002\u2003\u2009\u202f\u3000\t\r\n"},
    **{ord(sign): f" {command} " for sign, command in {
        "×": r"\times", "÷": r"\div", "·": r"\cdot", "⋅": r"\cdot", "±": r"\pm", "∞": r"\infty", "∪": r"\cup",
        "∩": r"\cap", "∈": r"\in", "∅": r"\emptyset", "≤": r"\le", "⩽": r"\le", "≥": r"\ge", "⩾": r"\ge", "≠": r"\ne",
        "≈": r"\approx", "≅": r"\cong", "≃": r"\simeq", "∼": r"\sim",
        "≒": r"\doteq", "≐": r"\doteq", "≊": r"\approxeq", "≡": r"\equiv", "∴": r"\therefore",
        "ℝ": r"\mathbb{R}", "ℕ": r"\mathbb{N}", "ℤ": r"\mathbb{Z}", "ℚ": r"\mathbb{Q}",
        "ħ": r"\hbar", "ℏ": r"\hbar", "ℓ": r"\ell", "Å": r"\AA", "\u212b": r"\AA", "∖": r"\setminus", "→": r"\to",
        "α": r"\alpha", "β": r"\beta", "γ": r"\gamma", "δ": r"\delta", "ε": r"\epsilon", "ϵ": r"\epsilon", "η": r"\eta",
        "ϕ": r"\phi", "ψ": r"\psi",
        "ξ": r"\xi", "κ": r"\kappa", "ν": r"\nu", "θ": r"\theta",
        "λ": r"\lambda", "μ": r"\mu", "π": r"\pi", "ρ": r"\rho", "σ": r"\sigma", "τ": r"\tau", "φ": r"\phi",
        "ω": r"\omega", "⌊": r"\lfloor", "⌋": r"\rfloor", "⟨": r"\langle", "⟩": r"\rangle",
        "⌈": r"\lceil", "⌉": r"\rceil", "Δ": r"\Delta", "Ω": r"\Omega"}.items()},
    **{ord(sign): rf"\frac{{{a}}}{{{b}}}" for sign, a, b in ("½12", "⅓13", "⅔23", "¼14", "¾34", "⅕15", "⅛18")},
    ord("°"): r"^\circ",
    ord("、"): ",",
    ord("∶"): ":",
}
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ", "0123456789-+n")
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")

_GAP = r"(?:\s|,|~|\\q?quad(?![A-Za-z])|\\[,;: ])*"

_Rule = tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]
_RULES: list[_Rule] = [(re.compile(pattern), replacement) for pattern, replacement in (
    (r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ]+", lambda match: f"^{{{match[0].translate(_SUPERSCRIPTS)}}}"),
    (r"[₀₁₂₃₄₅₆₇₈₉]+", lambda match: f"_{{{match[0].translate(_SUBSCRIPTS)}}}"),
    (r"√\s*(?:\(([^()]*)\)|\{([^{}]*)\}|(\d+(?:\.\d+)?|[A-Za-z]))",
     lambda match: rf"\sqrt{{{match[1] or match[2] or match[3] or ''}}}"),
    (r"∛\s*(\d+|[A-Za-z])|\\sqrt\s*\[\s*3\s*\]\s*(\d|[A-Za-z])",
     lambda match: rf"\sqrt[3]{{{match[1] or match[2]}}}"),
    (r"\\(?:textnormal|textsf|textsc|texttt|textup|textrm)(?![A-Za-z])", r"\\text"),
    (r"\\math(?:sf|tt|normal)(?![A-Za-z])", r"\\mathrm"),
    (r"\\(?:tiny|scriptsize|footnotesize|small|normalsize|[lL]arge|LARGE|[hH]uge|middle)(?![A-Za-z])", " "),
    (r"\\(?:mid|vert|[lr]vert)(?![A-Za-z])", "|"),
    (r"\\(?:Vert|[lr]Vert)(?![A-Za-z])", r"\\|"),
    (r"\\(?:backslash|smallsetminus)(?![A-Za-z])", r"\\setminus"),
    (r"\\([ij])math(?![A-Za-z])", r" \1"),
    (r"\\hat\s*\{?\s*\\(?:mathbf|mathrm|bm|boldsymbol|vec)\s*\{\s*([a-z])\s*\}\s*\}?", r"\\hat{\1}"),
    (r"\\hat\s*([a-z])(?![A-Za-z])", r"\\hat{\1}"),
    (r"\\hat\s*\{\s*([a-z])\s*\}", r"\\hat{\1}"),
    (r"\\mathcal\s*\{?\s*O\s*\}?\s*(?=\()", "O"),
    (r"\^\s*(?:\{\s*(?:\*|\\(?:ast|star))\s*\}|\\(?:ast|star)(?![A-Za-z]))", "^*"),
    (_GAP + r"\\(?:text|mathrm|mbox|textbf)\s*\{\s*(,?\s*(?:and|or))\s*\}" + _GAP, r" \\text{ \1 } "),
    (r"(?<=[\d})])\s*,?\s*\\q?quad\s*(?=(?:[A-Za-z]|\\[a-z]+)(?:\s*_\s*(?:\{[^{}]*\}|\w))?\s*=)", ", "),
    (r"\\[hv]?phantom\s*\{[^{}]*\}", ""),  # is not printed
    (r"\\(?:boxed|fbox)\s*(?=\{)", ""),
    (r"\\\\\s*\[\s*-?\d*\.?\d+\s*(?:pt|em|ex|mm|cm)\s*\]|\\cr(?![A-Za-z])", r"\\\\"),
    (r"\\\$|\$|(?<!\\)\\[()\[\]]", " "),  # dollar signs and math delimiters: what is left is all math
    (r"\\(?:left|right|[bB]igg?[lr]?|displaystyle|textstyle|limits|nolimits)(?![A-Za-z])\s*\.?", ""),
    (r"\\langle(?![A-Za-z])((?:(?!\\[lr]angle).)*,(?:(?!\\[lr]angle).)*)\\rangle(?![A-Za-z])|"
     r"^\s*<([^<>=]*,[^<>=]*)>\s*$", lambda match: f"({match[1] or match[2]})"),  # a vector
    (r"(?<!\\)\\!", ""),
    (r"(?<=\d)(?:\\(?:text|mathrm|mbox)\s*)?\{\s*(\\,|[.:])\s*\}(?=\d)", r"\1"),  # 3{:}30, 2\text{.}5, 12{\,}345
    (r"\\colon(?![A-Za-z])", ":"),
    (r"(?<![(][A-E][)])(?<![(][A-E][)][}])(?<=[\d})])\s*\\q?quad\s*(?=[-+]?\d)", ", "),
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
    (r"^\s*\\(?:text|mathrm)\s*\{\s*([-+]?)\s*[Ii]nfinity\s*\}\s*$", r"\1\\infty "),
    (r"\\(?:geqslant|geq)(?![A-Za-z])", r"\\ge"),
    (r"\\(?:leqslant|leq)(?![A-Za-z])", r"\\le"),
    (r"\\(?:neq(?![A-Za-z])|not\s*=)|(?<=[A-Za-z ])!=", r"\\ne "),
    (r"\s+(?=[_^])", ""),
    (r"\\gt(?![A-Za-z])", ">"),
    (r"\\lt(?![A-Za-z])", "<"),
    (r"\\(?:mathopen|mathclose)\s*\{?\s*([\[\]()])\s*\}?", r"\1"),
    (r"\\lbrack(?![A-Za-z])", "["),
    (r"\\rbrack(?![A-Za-z])", "]"),
    (r"\\lparen(?![A-Za-z])", "("),
    (r"\\rparen(?![A-Za-z])", ")"),
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
     r"\d+(?: ?: ?\d+)+|-?\d[\d.]*(?:,? (?:and|or) -?\d[\d.]*)+|-?\d[\d.]*(?:, ?-?\d[\d.]*)+|"
     r"[A-Z](?:\s*(?:,|,? and|,? or)\s*[A-Z])+|"
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
_LABEL_WORDS = (
    r"\s*(?i:(?:(?:so|thus|hence|therefore|and),? )?(?:the |our |its )?(?:(?:final|correct|required|desired|total|"
    r"least|greatest|smallest|largest|maximum|minimum|exact) )?"
    r"(?:answer|result|value|solution|number|total|sum|product|area|"
    r"volume|probability|length|perimeter|cost|price|distance|time|remainder|ratio|radius|maximum|minimum|it)"
    r"(?: of [a-z ]{1,30}?)?)")
_LABEL = re.compile(r"^(?:\\therefore(?![A-Za-z])|\\(?:approx|cong|simeq|approxeq)(?![A-Za-z])|=|"
                    r"\\text\s*\{\s*(?:[Tt]he )?(?:[Ff]inal )?[Aa]nswer(?: is)?\s*:?\s*\}\s*:?|"
                    r"(?:[Tt]he )?(?:[Ff]inal )?[Aa]nswer\s*:|"
                    r"\\text\s*\{\s*(?:[Tt]herefore|[Ss]o|[Tt]hus|[Hh]ence),?\s*\}|"
                    rf"\\text\s*\{{{_LABEL_WORDS}(?: (?:is|are|equals)|\s*:)\s*:?\s*\}}(?=\s*[-+\\\d(]))\s*")
_LABELLED = re.compile(rf"\\text\s*\{{{_LABEL_WORDS}(?: (?:is|are|equals)|\s*[:=])"
                       r"\s*([-+]?\d[\d.,]*|[A-E])\s*\.?\s*\}")
"""A label and a number in one group: \text{Answer: 7}."""
_WITH_UNIT = re.compile(r"^\s*\\text\s*\{\s*(-?\d[\d.,]*)( [A-Za-z][A-Za-z /]*)\}\s*$")
"""\text{5 cm}"""
_TAIL = re.compile(r"(?:\s|(?<!\.)\.|[,;]|\\)+$")
"""Three dots are no full stop: 42... is not 42."""
_BOLD = re.compile(r"\\(?:math(?:bf|rm)|bm|boldsymbol)\s*(?=\{.*[\\^/].*\}$)")


def normalize(latex: str) -> str:
    """One spelling for what means the same; never longer than a few times the input."""
    text = with_commands(_INVISIBLE.sub("", latex).translate(_CHARACTERS))
    text = _SPACED_GROUPS.sub(lambda match: match[1] + re.sub(r"\D", "", match[2]), text)
    text = without_cis(text) if "cis" in text else text
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    text = _LABELLED.sub(r"\1", in_usual_notation(text))
    text = _WITH_UNIT.sub(lambda match: rf"{match[1]}\text{{{match[2]}}}" if is_unit(match[2]) else match[0], text)
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


_POWERS = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}


def _scaled(word: str, unit: str | None) -> str:
    """The power of ten for a word, and the rest of its group: a unit or nothing."""
    return rf"\times 10^{{{_POWERS[word]}}}" + (rf"\text{{{unit}}}" if unit and unit.strip() else "")


def _repeating(whole: str, fixed: str, period: str) -> str:
    r"""0.1\overline{6} -> \frac{15}{90}: (16 - 1) / 90."""
    digits = int((whole or "0") + fixed + period) - int((whole or "0") + fixed)
    return rf"\frac{{{digits}}}{{{'9' * len(period)}{'0' * len(fixed)}}}"
