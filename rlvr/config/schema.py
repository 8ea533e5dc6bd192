"""The JSON schema of recipes and comparisons: with it editors complete keys, show what they mean and mark mistakes.

`recipes/recipe.schema.json` and `recipes/comparison.schema.json` are written by `rlvr schema`; the first line of a
recipe names its schema. Needs torch, because the settings of each algorithm are those of its Config.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterable
from typing import Any

from pydantic import PydanticUserError

from rlvr.config.comparison import DISTILL, TRAIN, Comparison
from rlvr.config.fields import fields_of, meanings, members
from rlvr.config.presets import PRESETS
from rlvr.config.recipe import Recipe
from rlvr.config.registry import BUILT_IN, names, resolve
from rlvr.config.strict import adapter_of
from rlvr.config.wording import first_line
from rlvr.statistics.plan import PLANS
from rlvr.types import UserError

DRAFT = "https://json-schema.org/draft/2020-12/schema"
OWN_CLASS = {"type": "string", "pattern": "^[^:]+:[^:]+$"}
"""package.module:Class"""


def recipe_schema(*, plug_ins: bool = False) -> dict[str, Any]:
    """The schema of a recipe; with `plug_ins`, the names that installed packages add are known too."""
    parts = _parts_of(Recipe)
    condition, probes = (parts[name]["properties"] for name in ("ConditionSpec", "ProbeSection"))
    for name in ("DataSpec", "MixtureSpec", "ProbeSetSpec"):
        data = parts[name]["properties"]
        data["preset"] = {"enum": list(PRESETS), "description": "Name of a public benchmark that fills in the keys of "
                                                                "this section (`rlvr list`). Keys that you give win."}
        parts[name]["anyOf"] = [{"required": parts[name].pop("required")}, {"required": ["preset"]}]
        for key, kind in (("verifier", "verifiers"), ("reader", "readers")):
            data[key]["anyOf"] = [{"enum": _names(kind, plug_ins)}, OWN_CLASS, {"type": "null"}]
    for key in ("plan", "base_plan"):
        probes[key] = {"enum": list(PLANS), **{k: v for k, v in probes[key].items() if k != "type"}}
        parts["ProbeSetSpec"]["properties"][key]["anyOf"] = [{"enum": list(PLANS)}, {"type": "null"}]
    condition["plan"]["anyOf"] = [{"enum": list(PLANS)}, {"type": "null"}]
    for field in parts["DataSection"]["properties"].values():
        if "oneOf" in field:
            field["anyOf"] = field.pop("oneOf")
    algorithms, own = _algorithms(plug_ins)
    whole = parts.pop("Recipe")
    whole["properties"]["algorithm"] = {"description": whole["properties"]["algorithm"]["description"]} | own
    return {"$schema": DRAFT, "title": "Recipe of an rlvr run", **whole, "$defs": parts | algorithms}


def comparison_schema(*, plug_ins: bool = False) -> dict[str, Any]:
    """The schema of a comparison, as of `recipe_schema`."""
    whole = _parts_of(Comparison)["Comparison"]
    algorithms, own = _algorithms(plug_ins)
    dotted = {r"^[a-z_]+\..+$": {"description": "A dotted key of the recipe, as in train.steps."}}
    settings = {"type": "object", "additionalProperties": False, "patternProperties": dotted, "properties": {
        "algorithm": own, "command": {"enum": [TRAIN, DISTILL]}}}
    whole["properties"]["arms"]["additionalProperties"] = settings
    whole["properties"]["shared"] |= {"additionalProperties": False, "patternProperties": dotted,
                                      "properties": {"algorithm": own}}
    return {"$schema": DRAFT, "title": "Comparison of rlvr runs", **whole, "$defs": algorithms}


def _algorithms(plug_ins: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """The section `algorithm` of each algorithm by its name, and the choice between them."""
    parts: dict[str, Any] = {}
    for name in _names("algorithms", plug_ins):
        try:
            found: Any = resolve("algorithms", name)
            own = _parts_of(found.Config)
        except (UserError, PydanticUserError, NameError) as error:
            if name in BUILT_IN["algorithms"]:
                raise
            about = f"Its settings are not known: {first_line(error)}"  # a plug-in that cannot be read hides no other
            parts[f"algorithm.{name}"] = {"type": "object", "required": ["name"], "description": about,
                                          "properties": {"name": {"const": name}}}
            continue
        section = own.pop(found.Config.__name__)
        section["properties"] = {"name": {"const": name}, **section["properties"]}
        section["required"] = ["name", *section.get("required", [])]
        section["description"] = inspect.cleandoc(found.__doc__ or "")
        parts |= own | {f"algorithm.{name}": section}
    choices = [{"$ref": f"#/$defs/{name}"} for name in parts if name.startswith("algorithm.")]
    other = {"type": "object", "properties": {"name": OWN_CLASS}, "required": ["name"]}
    return parts, {"anyOf": [*choices, other]}


def _names(kind: str, plug_ins: bool) -> list[str]:
    return names(kind) if plug_ins else sorted(BUILT_IN[kind])


def _parts_of(cls: type) -> dict[str, Any]:
    """Class name -> schema, for a dataclass and those below it, with the docstrings of fields as descriptions."""
    parts: dict[str, Any] = adapter_of(cls).json_schema()["$defs"]
    for section in _dataclasses([cls]):
        part, texts = parts[section.__name__], meanings(section)
        part.pop("title", None)
        part["description"] = " ".join(inspect.cleandoc(section.__doc__ or "").split())
        for name, field in part["properties"].items():
            field.pop("title", None)
            field |= {"description": texts[name]} if texts[name] else {}
    return parts


def _dataclasses(found: Iterable[Any]) -> list[Any]:
    """Dataclasses and all that are among the types of their fields, in lists and unions too."""
    sections: list[Any] = []
    waiting = list(found)
    while waiting:
        hint = waiting.pop()
        if dataclasses.is_dataclass(hint) and hint not in sections:
            sections.append(hint)
            waiting += fields_of(hint).values()
        elif not dataclasses.is_dataclass(hint):
            waiting += [each for member in members(hint) for each in (member, *getattr(member, "__args__", ()))
                        if each is not hint]
    return sections
