"""Cutting up LaTeX: tokens, parts at the top level, depth of brackets, single letters."""

from __future__ import annotations

import re

_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|.", re.DOTALL)
_OPEN, _CLOSE = {"(", "[", "{", r"\{", r"\lfloor", r"\lceil"}, {")", "]", "}", r"\}", r"\rfloor", r"\rceil"}


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
