"""Any text as a recipe either loads or is refused in one line, soon, and never expands into what was not written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import strategies as st

from rlvr.config.recipe import SHIPPED, load_recipe
from rlvr.types import UserError
from tests.fuzz.driver import SLOWEST, at_most, fuzz

RECIPES = [path.read_text() for path in sorted(SHIPPED.glob("*/*.yaml")) if path.parent.name != "compare"]
LINES = sorted({line for text in RECIPES for line in text.splitlines() if line.strip() and "#" not in line})
NESTED = "[" * 20_000
ODD = [
    "'{seed:>100000000}'",
    "'{name.__class__}'",
    "{seed:>100000000}",
    "{name.__class__}",
    "{0}",
    "{",
    "*a",
    "&a {b: *a}",
    "&a [*a]",
    "<<: *a",
    "!!python/name:os.system",
    "!!binary aGk=",
    "NESTED",
    "1e999",
    "-.nan",
    ".inf",
    "0x10",
    "1_000",
    "on",
    "null",
    "~",
    "2026-11-29",
    "\x00",
    "\ud800",
    "\u2028",
    "? [a]\n: b",
    "'",
    "|\n  x",
    "- -",
]

values = st.one_of(st.sampled_from(ODD), st.integers().map(str), st.floats().map(str), st.text(max_size=20))


@st.composite
def recipe_texts(draw: st.DrawFn) -> str:
    """A shipped recipe with a few lines changed, moved, doubled or dropped."""
    lines = draw(st.sampled_from(RECIPES)).splitlines()
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        action = draw(st.sampled_from(["value", "drop", "double", "insert", "indent"]))
        if action == "value":
            value = draw(values)
            lines[at] = f"{lines[at].partition(':')[0]}: {NESTED if value == 'NESTED' else value}"
        elif action == "drop":
            del lines[at]
        elif action == "double":
            lines.insert(at, lines[at])
        elif action == "insert":
            lines.insert(at, draw(st.sampled_from(LINES)))
        else:
            lines[at] = " " * draw(st.integers(1, 3)) + lines[at]
    return "\n".join(lines)


@st.composite
def one_odd_value(draw: st.DrawFn) -> str:
    """A shipped recipe in which one of two keys holds something odd: few enough that all are met soon."""
    key, value = draw(st.sampled_from(["run_dir", "name"])), draw(st.sampled_from(ODD))
    text = re.sub(rf"^{key}:.*\n(?: .*\n|\n)*", "", draw(st.sampled_from(RECIPES)), flags=re.MULTILINE)
    return f"{key}: {NESTED if value == 'NESTED' else value}\n{text}"


def bomb(depth: int) -> str:
    """Nine references a level: 9^depth nodes if they are expanded."""
    levels = "\n".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]" for i in range(1, depth))
    return f"l0: &l0 [x]\n{levels}\nrun_dir: *l{depth - 1}\n"


def refused_or_loaded(text: str, file: Path) -> None:
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        recipe = load_recipe(file)
        path = str(recipe.run_path)
    except UserError as error:
        assert str(error) and "\n" not in str(error), "one line"
        assert len(str(error)) < 2000
    else:
        assert len(path) < 4096


def test_a_recipe_loads_or_is_refused_in_a_line(tmp_path: Path, seconds: float) -> None:
    inputs = st.one_of(recipe_texts(), one_odd_value(), one_odd_value(), st.text(max_size=200),
                       st.integers(2, 30).map(bomb))
    fuzz(inputs, lambda text: refused_or_loaded(text, tmp_path / "recipe.yaml"), seconds)


@pytest.mark.parametrize("text", [bomb(25), "a: &a {b: *a}\n", "[" * 5000, f"name: x\nrun_dir: {ODD[0]!r}\n"])
def test_bombs_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(text)
    with at_most(3 * SLOWEST), pytest.raises(UserError):
        load_recipe(tmp_path / "recipe.yaml")
