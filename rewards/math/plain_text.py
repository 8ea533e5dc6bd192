r"""Mathematics as it is typed without LaTeX: `5pi/6`, `sqrt(3)/2`, `exp(-2)`, `x**2`, `(-oo, 3]`, `**8**`.

Text to text. What stands in `\text{}` is left alone, and so are answers in words.
"""

from __future__ import annotations

import re

from rlvr.rewards.math.latex import closes_at

_FUNCTIONS = ("arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "sin", "cos", "tan", "cot", "sec", "csc", "ln",
              "log", "gcd", "lcm", "min", "max")
_GREEK = ("alpha", "beta", "gamma", "delta", "epsilon", "varepsilon", "zeta", "eta", "theta", "iota", "kappa",
          "lambda", "mu", "nu", "xi", "pi", "rho", "sigma", "tau", "phi", "varphi", "chi", "psi", "omega",
          "Gamma", "Delta", "Theta", "Lambda", "Pi", "Sigma", "Phi", "Psi", "Omega")
_INVERSE = ("asin", "acos", "atan")
_INFINITY = ("infinity", "Infinity", "infty", "inf", "oo")
_WITH_BRACKETS = {"sqrt": (r"\sqrt{", "}"), "cbrt": (r"\sqrt[3]{", "}"), "exp": ("e^{", "}"),
                  "floor": (r"\lfloor ", r"\rfloor "),
                  "ceil": (r"\lceil ", r"\rceil "), "ceiling": (r"\lceil ", r"\rceil "), "abs": ("|", "|")}
_NAME = re.compile(
    r"\\(?:text[a-z]*|mathrm|mbox|operatorname|begin|end)\s*\{[^{}]*\}|\\[A-Za-z]+|"
    rf"(?<![A-Za-z])(?P<name>{'|'.join((*_WITH_BRACKETS, *_FUNCTIONS, *_INVERSE, *_GREEK, *_INFINITY))})(?![A-Za-z])")
_SENTENCE = re.compile(r"[A-Za-z]{2,}(?:[ ,.'-]+[A-Za-z]+)+[.]?")
_SQUARE_ROOT = re.compile(r"(?<![A-Za-z\\])sqrt\s*(\d+|[a-z](?![a-z]))")
_LOGARITHM = re.compile(r"(?<![A-Za-z\\])log_(\d+)")
_POWER = re.compile(r"\s*\*\*\s*(?:\(([^()]*)\)|([-+]?\s*(?:\d+(?:\.\d+)?|[A-Za-z](?![A-Za-z]))))")
_BOLD = re.compile(r"(?:^|(?<=[ :]))\*\*\s*([^*]+?)\s*\*\*(?=[ .,]|$)")
_IMAGINARY = re.compile(r"(?<=[\d)}])\s*\*\s*I(?![A-Za-z_])")


def with_commands(text: str) -> str:
    """Names of functions, letters and infinity with their backslash, powers with `^`, without Markdown's bold."""
    if "*" in text:
        text = _BOLD.sub(r"\1", text.strip())
        text = _IMAGINARY.sub("i", _POWER.sub(lambda power: f"^{{{power[1] or power[2]}}}", text))
    if not _NAME.search(text) or _is_sentence(text):
        return text
    text = _LOGARITHM.sub(r"log_{\1}", text)
    text = _SQUARE_ROOT.sub(r"\\sqrt{\1}", text)
    for name, (left, right) in _WITH_BRACKETS.items():
        text = _bracketed(text, name, left, right)
    return _NAME.sub(_command, text)


def _is_sentence(text: str) -> bool:
    """Whether these are words, not `sin x` or `log log n`."""
    return _SENTENCE.fullmatch(text.strip()) is not None and text.split()[0] not in (*_FUNCTIONS, *_GREEK)


def _bracketed(text: str, name: str, left: str, right: str) -> str:
    r"""`sqrt(3)` and `sqrt{3}` -> `\sqrt{3}`."""
    pattern = re.compile(rf"(?<![A-Za-z\\]){name}\s*(?=[({{])")
    start = 0
    while match := pattern.search(text, start):
        inside = text[match.end() :]
        end = closes_at(inside)
        if end < 0:
            start = match.end()
            continue
        text = text[: match.start()] + left + inside[1:end] + right + inside[end + 1 :]
        start = match.start() + len(left)
    return text


def _command(match: re.Match[str]) -> str:
    name = match["name"]
    if name is None or name in _WITH_BRACKETS:
        return match[0]
    if name in _INVERSE:
        return rf"\arc{name[1:]} "
    return rf"\{'infty' if name in _INFINITY else name} "
