"""The files of rlvr/config import one way: sections <- checks <- ProbeRecipe <- Recipe.

Run: python -m pytest tests/config/test_order.py
"""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

CONFIG = Path(__file__).parents[2] / "rlvr/config"


def imported_from(path: Path) -> set[str]:
    return {node.module or "" for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)}


def test_no_circle_not_even_inside_functions_or_for_type_checkers() -> None:
    """Bug: a check takes the whole recipe and the recipe calls the check, so one of the two imports is hidden."""
    graph = {path.stem: {module.removeprefix("rlvr.config.") for module in imported_from(path)
                         if module.startswith("rlvr.config.")}
             for path in CONFIG.glob("*.py")}
    order = list(TopologicalSorter(graph).static_order())  # CycleError, with the circle, if there is one
    spine = ["sections", "checks", "probe_recipe", "recipe"]
    assert [name for name in order if name in spine] == spine
