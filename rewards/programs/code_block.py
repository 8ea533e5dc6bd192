"""Where the program stands in a completion: in the last fenced block of Python after the last `</think>`."""

from __future__ import annotations

import re

from rlvr.rewards.boxed import END_THINK, THINK
from rlvr.types import Reason

MAX_CHARS = 200_000
"""Longer programs are refused: the longest accepted ones of contests have 64 KiB."""
PYTHON = frozenset({"", "python", "python3", "py", "py3", "python 3"})

_FENCE = re.compile(r"( {0,3})(`{3,}|~{3,})([^`]*)")


def last_program(text: str) -> str | Reason:
    """The program, or the Reason why there is none.

    Blocks of another language (```text, ```bash) are passed over. `no_box`: there is no fenced block of Python.
    `unbalanced`: the last one is not closed, the completion was cut short. `unfinished_think`, `empty`, `too_long`.
    """
    answer_part = text[text.rfind(END_THINK) + len(END_THINK) :] if END_THINK in text else text
    if THINK in answer_part:
        return Reason.UNFINISHED_THINK
    program: str | Reason = Reason.NO_BOX
    indent, fence, language, lines = "", "", "", []
    for line in answer_part.split("\n"):
        match = _FENCE.fullmatch(line)
        if fence:
            if match and not match[3].strip() and match[2][0] == fence[0] and len(match[2]) >= len(fence):
                program = _text(lines, indent) if language in PYTHON else program
                fence = ""
            else:
                lines.append(line)
        elif match:
            indent, fence, language, lines = match[1], match[2], match[3].strip().lower(), []
    if fence and language in PYTHON:
        return Reason.UNBALANCED
    if isinstance(program, Reason):
        return program
    if not program.strip():
        return Reason.EMPTY
    return program if len(program) <= MAX_CHARS else Reason.TOO_LONG


def _text(lines: list[str], indent: str) -> str:
    """The block's text; a block that stands indented in a list, fence and code alike, is moved to the margin."""
    if all(line.startswith(indent) or not line.strip() for line in lines):
        lines = [line[len(indent) :] for line in lines]
    return "\n".join(lines) + "\n"


def in_block(program: str) -> str:
    """A completion whose last program is `program`: its fence is longer than any in it."""
    longest = max((len(found) for found in re.findall("`+", program)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}python\n{program}\n{fence}"
