"""Where the program stands in a completion: in the last fenced block of Python after the last `</think>`.

A block is Python if its fence says so: ```python, ```py, ```python3.11, ```python title="main.py", ```{.python}. A
fence that names no language counts only where no block says that it is Python, since models often show sample output
in a bare fence after their program. Blocks of other languages are passed over.

Fences may be indented, quoted (`> `), in a list (`1. `), or follow a tag or words on the same line
(`<answer>```python`). A closing fence may be followed by tags (```` ```</answer> ````, ```` ```<|im_end|> ````).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from rlvr.rewards.boxed import END_THINK, THINK
from rlvr.types import Reason

MAX_CHARS = 200_000
"""Longer programs are refused: the longest accepted ones of contests have 64 KiB."""

_FENCE = re.compile(r"`{3,}|~{3,}")
_PYTHON = re.compile(r"\{?[ \t]*\.?(?:c?python|py|pypy)[ \t]?[\d.]*(?![\w+#-])", re.IGNORECASE)
_MARKS = re.compile(r"(?:[ \t>]|[-*+](?=[ \t])|\d{1,3}[.)](?=[ \t])|<[^<>`\s]{1,40}>)*")
"""What may stand before a fence that names no language: blanks, quotes, list markers, tags."""
_LIST = re.compile(r"[ \t]*(?:[-*+]|\d{1,3}[.)])[ \t]+")
_TAGS = re.compile(r"(?:[ \t\r]|<[^<>`\s]{1,40}>)*")
_END_OF_TURN = re.compile(r"(?:<\|[^<>|\s]{1,40}\|>|</s>|<eos>|<end_of_turn>|<\uff5c[^<>\uff5c\s]{1,40}\uff5c>)\s*\Z")
"""The text of an end-of-turn token: the model had finished, so a fence it left open is no cut completion."""


@dataclass
class _Block:
    """A fenced block that is being read."""

    prefix: str
    """What stands before the fence in its line."""
    fence: str
    language: str
    """"python", "" for a fence that names no language, or "other"."""
    lines: list[str] = field(default_factory=list)

    def closed_by(self, line: str) -> bool:
        """Whether the line is this block's closing fence: at most three columns further right than the opening one."""
        line = _unquoted(line, self.prefix)
        text = line.lstrip(" \t")
        if not text.startswith(self.fence) or len(line) - len(text) > _columns(self.prefix) + 3:
            return False
        return _TAGS.fullmatch(text.lstrip(self.fence[0])) is not None

    def text(self) -> str:
        """Its lines; where fence and code stand indented in a list or quote alike, they are moved to the margin."""
        lines = [_unquoted(line, self.prefix) for line in self.lines]
        margin = self.prefix if not self.prefix.strip() else " " * _columns(self.prefix)
        if all(line.startswith(margin) or not line.strip() for line in lines):
            lines = [line[len(margin) :] for line in lines]
        return "\n".join(lines) + "\n"


def last_program(text: str) -> str | Reason:
    """The program, or the Reason why there is none.

    `no_box`: there is no fenced block of Python. `unbalanced`: the last one is not closed, the completion was cut
    short. `unfinished_think`, `empty`, `too_long`.
    """
    answer_part = text[text.rfind(END_THINK) + len(END_THINK) :] if END_THINK in text else text
    if THINK in answer_part:
        return Reason.UNFINISHED_THINK
    ended = _END_OF_TURN.search(answer_part, max(0, len(answer_part) - 60))
    found: dict[str, str | Reason] = {}
    block: _Block | None = None
    for line in answer_part[: ended.start() if ended else None].split("\n"):
        if block is None:
            block = _opened(line)
        elif block.closed_by(line):
            found[block.language] = block.text()
            block = None
        else:
            block.lines.append(line)
    if block is not None:
        found[block.language] = block.text() if ended else Reason.UNBALANCED
    program = found.get("python", found.get("", Reason.NO_BOX))
    if isinstance(program, Reason):
        return program
    if not program.strip():
        return Reason.EMPTY
    return program if len(program) <= MAX_CHARS else Reason.TOO_LONG


def _opened(line: str) -> _Block | None:
    """The block that a line opens; None if it opens none."""
    match = _FENCE.search(line)
    if match is None:
        return None
    prefix, info = line[: match.start()], line[match.end() :].strip()
    if "`" in info and match[0][0] == "`":
        return None
    python = _PYTHON.match(info) is not None
    if not python and _MARKS.fullmatch(prefix) is None:
        return None
    return _Block(prefix, match[0], "python" if python else "other" if info else "")


def _unquoted(line: str, prefix: str) -> str:
    """A line of a block that stands in a quote, without the quote's mark."""
    return re.sub(r"^[ \t]*> ?", "", line) if prefix.lstrip(" \t").startswith(">") else line


def _columns(prefix: str) -> int:
    """How far the text of a block is indented: the blanks before its fence, and the width of a list's marker."""
    prefix = _unquoted(prefix, prefix)
    marker = _LIST.match(prefix)
    return marker.end() if marker else len(prefix) - len(prefix.lstrip(" \t"))


def in_block(program: str) -> str:
    """A completion whose last program is `program`: its fence is longer than any in it."""
    longest = max((len(found) for found in re.findall("`+", program)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}python\n{program}\n{fence}"
