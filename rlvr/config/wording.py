"""How values and exceptions appear in messages of one line."""

from __future__ import annotations

from typing import Any


def short(value: Any) -> str:
    """The value as Python writes it, at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def first_line(error: BaseException) -> str:
    """What the exception says, without a traceback's further lines; its type if it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
