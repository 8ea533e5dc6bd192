"""A recipe written from settings: sections in their usual order, each key with what it means; never over a file."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from rlvr.config.fields import fields_of, meanings, members
from rlvr.config.presets import expand
from rlvr.config.recipe import Recipe, validate
from rlvr.config.strict import from_dict
from rlvr.types import UserError

ORDER = ("name", "seed", "run_dir", "model", "data", "algorithm", "train", "probes", "judge", "tracking")
WIDTH = 118


def write_recipe(tree: Mapping[str, Any], header: Sequence[str], output: Path | None) -> None:
    """Check the recipe and write it to `output`, or to stdout for None.

    Raises: UserError for a recipe that does not hold together, and for a file that is there.
    """
    checked(tree)
    text = recipe_text(tree, header)
    if output is None:
        sys.stdout.write(text)
        return
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UserError(f"{output} is there already and is left as it is; choose another file by -o") from None
    except OSError as error:
        raise UserError(f"{output} cannot be written: {error.strerror}") from None


def checked(tree: Mapping[str, Any]) -> Recipe:
    """The recipe of the settings. Raises UserError as `load_recipe` does."""
    data = {key: expand(spec, f"data.{key}") if isinstance(spec, Mapping) else spec
            for key, spec in tree["data"].items()}
    recipe = from_dict(Recipe, {**tree, "data": data})
    validate(recipe)
    return recipe


def recipe_text(tree: Mapping[str, Any], header: Sequence[str]) -> str:
    lines = [f"# {line}".rstrip() for line in header]
    for key in [*(key for key in ORDER if key in tree), *(key for key in tree if key not in ORDER)]:
        value = tree[key]
        if isinstance(value, Mapping):
            lines += ["", f"{key}:", *_section(value, _class_of(Recipe, key), "  ")]
        else:
            lines.append(_line(key, value, "", ""))
    return "\n".join(lines) + "\n"


def _section(values: Mapping[str, Any], cls: type | None, indent: str) -> list[str]:
    said = meanings(cls) if cls is not None else {}
    lines = []
    for key, value in values.items():
        below = _class_of(cls, key)
        if below is not None and isinstance(value, Mapping) and value:
            lines += [f"{indent}{key}:", *_section(value, below, f"{indent}  ")]
        else:
            lines.append(_line(key, value, indent, said.get(key, "")))
    return lines


def _line(key: str, value: Any, indent: str, meaning: str) -> str:
    """`key: value  # the first sentence of what it means`, if that fits."""
    flow = yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True, sort_keys=False)
    text = f"{indent}{key}: {flow.removesuffix(chr(10)).removesuffix('...').strip()}"
    first = re.split(r"(?<=[^.]{3}[.;])\s", meaning, maxsplit=1)[0].rstrip(".;").replace("`", "")
    comment = f"{text:<32}  # {first}"
    return comment if first and len(comment) <= WIDTH else text


def _class_of(cls: type | None, key: str) -> type | None:
    """The dataclass of a section, None for a plain value."""
    if cls is None:
        return None
    found = [each for each in members(fields_of(cls).get(key, Any)) if dataclasses.is_dataclass(each)]
    return found[0] if found and isinstance(found[0], type) else None
