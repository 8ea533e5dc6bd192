"""The JSON schema that editors read: it is current, takes every shipped recipe and marks what the reader refuses.

Run: python -m pytest tests/config/test_schema.py
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rlvr.cli.main import main
from rlvr.config.recipe import SHIPPED
from rlvr.config.schema import comparison_schema, recipe_schema
from rlvr.config.yaml_text import parse_yaml

RECIPES = sorted(SHIPPED.glob("*/*.yaml"))
TYPES = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool,
         "null": type(None)}
LIMITS = {"minimum": lambda a, b: a >= b, "maximum": lambda a, b: a <= b, "exclusiveMinimum": lambda a, b: a > b,
          "exclusiveMaximum": lambda a, b: a < b}


def of_type(value: Any, kind: str) -> bool:
    return isinstance(value, TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def mistakes(value: Any, schema: dict[str, Any], root: dict[str, Any], path: str = "") -> Iterator[str]:
    """Where a value breaks a schema, by the keywords that ours uses."""
    if "$ref" in schema:
        yield from mistakes(value, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root, path)
    kind = schema.get("type")
    if kind and not of_type(value, kind):
        yield f"{path}: not of type {kind}"
        return
    if value not in schema.get("enum", [value]) or value != schema.get("const", value):
        yield f"{path}: not a known value"
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{path}: pattern"
    if "minLength" in schema and len(value) < schema["minLength"]:
        yield f"{path}: too short"
    yield from (f"{path}: {name}" for name, good in LIMITS.items() if name in schema and not good(value, schema[name]))
    if "anyOf" in schema and all([*mistakes(value, each, root, path)] for each in schema["anyOf"]):
        yield f"{path}: none of the choices"
    for i, item in enumerate(value if isinstance(value, list) else ()):
        yield from mistakes(item, schema.get("items", {}), root, f"{path}[{i}]")
    if isinstance(value, dict):
        yield from (f"{path}.{key}: missing" for key in schema.get("required", ()) if key not in value)
        for key, item in value.items():
            named = [each for pattern, each in schema.get("patternProperties", {}).items() if re.search(pattern, key)]
            below = schema.get("properties", {}).get(key) or next(iter(named), schema.get("additionalProperties", {}))
            if below is False:
                yield f"{path}.{key}: unknown key"
            elif isinstance(below, dict):
                yield from mistakes(item, below, root, f"{path}.{key}")


@pytest.fixture(scope="module")
def recipe() -> dict[str, Any]:
    return recipe_schema()


@pytest.mark.parametrize("name", ["recipe", "comparison"])
def test_the_file_is_current(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    option = ["--comparison"] if name == "comparison" else []
    assert main(["schema", "--built-in", *option]) == 0
    written = json.loads((SHIPPED / f"{name}.schema.json").read_text())
    assert written == json.loads(capsys.readouterr().out), (
        f"write it anew: rlvr schema --built-in {' '.join(option)} > recipes/{name}.schema.json")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_shipped_recipe_names_its_schema_and_follows_it(path: Path, recipe: dict[str, Any]) -> None:
    first, text = path.read_text().split("\n", 1)
    name = first.removeprefix("# yaml-language-server: $schema=")
    assert (path.parent / name).is_file(), first
    schema = comparison_schema() if path.parent.name == "compare" else recipe
    assert json.loads((path.parent / name).read_text())["title"] == schema["title"]
    assert [*mistakes(parse_yaml(text), schema, schema)] == []


@pytest.mark.parametrize(("old", "new"), [
    ("seed: 0", "sed: 0"), ("seed: 0", "seed: -1"), ("name: lab_grpo", "name: a/b"), ("steps: 100", "steps: 0"),
    ("steps: 100", "steps: many"), ("steps: 100", "stepz: 60"), ("name: grpo", "name: gropo"),
    ("name: grpo", "name: grpo\n  k: 2"), ("name: grpo", "name: passk\n  k: two"), ("source: lab, ", ""),
    ("source: lab", "preset: gsm"), ("every: 25", "every: 25\n  plan: balance"), ("path: lab", "path: ''"),
])
def test_what_the_reader_refuses_is_marked(old: str, new: str, recipe: dict[str, Any]) -> None:
    text = (SHIPPED / "quickstart/lab_grpo.yaml").read_text()
    assert old in text
    assert [*mistakes(parse_yaml(text.replace(old, new, 1)), recipe, recipe)]


def test_every_key_says_what_it_means(recipe: dict[str, Any]) -> None:
    silent = [f"{part}.{key}" for part, schema in [("Recipe", recipe), *recipe["$defs"].items()]
              for key, field in schema.get("properties", {}).items()
              if "description" not in field and "const" not in field]
    assert not silent, silent


def test_a_class_of_ones_own_and_a_preset_are_known(recipe: dict[str, Any]) -> None:
    text = (SHIPPED / "quickstart/lab_grpo.yaml").read_text()
    for old, new in (("name: grpo", "name: my.module:Rule\n  anything: 1"), ("source: lab, ", "preset: gsm8k, ")):
        assert [*mistakes(parse_yaml(text.replace(old, new, 1)), recipe, recipe)] == []
