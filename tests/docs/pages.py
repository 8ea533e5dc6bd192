"""The Markdown pages of the repository, and what is in their fenced blocks."""

from __future__ import annotations

import importlib.util
import re
from functools import cache
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "AGENTS.md", *(ROOT / "docs").glob("*.md"),
                *(ROOT / folder / "README.md" for folder in ("algorithms", "recipes", "rewards", "rlvr/probes"))])
SHELLS = ("bash", "sh", "shell", "console")


def text_of(page: str) -> str:
    """The text of a page by its path from the root."""
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(text: str, *languages: str) -> list[str]:
    """The fenced blocks of these languages, in order."""
    return re.findall(rf"^```(?:{'|'.join(languages)})\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@cache
def hooks() -> ModuleType:
    """docs/hooks.py, which makes parts of the pages from the code."""
    spec = importlib.util.spec_from_file_location("docs_hooks", ROOT / "docs" / "hooks.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
