"""Types of recipe fields with the range they allow; how types and ranges read in messages; what a field means."""

from __future__ import annotations

import ast
import dataclasses
import difflib
import inspect
import itertools
import re
import textwrap
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal, Union

from pydantic import Field, Tag

from rlvr.config.yaml_text import NUMBER_AS_TEXT


@dataclass(frozen=True, slots=True)
class Says:
    """What an error about a field says was expected, where the range alone does not say enough."""

    expected: str


class ManyLines:
    """Marks text that may have line breaks; all other text of a recipe is one line."""


MOST = 10**9
"""Largest count: a billion steps, tokens or problems are beyond any run, and more overflow libraries below."""

AtLeastOne = Annotated[int, Field(ge=1, le=MOST)]
Count = Annotated[int, Field(ge=0, le=MOST)]
NotNegative = Annotated[float, Field(ge=0)]
Rate = Annotated[float, Field(ge=0, le=1)]
"""A learning rate or a weight decay: AdamW moves every weight by about so much in each update."""
Positive = Annotated[float, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0, le=1e7)]
"""Up to four months; the system's timers overflow beyond."""
Temperature = Annotated[float, Field(ge=0.001, le=1000)]
"""Logits divided by less are infinite in float32."""
Lines = Annotated[str, ManyLines()]
ShareBelowOne = Annotated[float, Field(ge=0, lt=1), Says("a share in [0, 1)")]
PositiveShare = Annotated[float, Field(gt=0, le=1), Says("a share in (0, 1]")]
TopP = Annotated[float, Field(gt=0, le=1), Says("a number in (0, 1]; 1 keeps the whole distribution")]
Seed = Annotated[int, Field(ge=0, lt=2**32), Says("0 <= seed < 2**32")]
Name = Annotated[str, Field(pattern=r"^[._-]*[A-Za-z0-9][A-Za-z0-9._-]*$"), Says(
    "letters, digits, '.', '_' or '-', and not '.' or '..' alone")]


def one_line(hint: Any) -> bool:
    """Whether text of a field of this type is one line."""
    ranged = [hint, *typing.get_args(hint)]
    marked = any(isinstance(part, ManyLines) for one in ranged if typing.get_origin(one) is Annotated
                 for part in one.__metadata__)
    return takes_text(hint) and not marked


def members(hint: Any) -> tuple[Any, ...]:
    """The types of a union, null included, without their ranges; of any other type itself alone."""
    hint = plain(hint)
    return tuple(map(plain, typing.get_args(hint))) if typing.get_origin(hint) in (Union, types.UnionType) else (hint,)


def plain(hint: Any) -> Any:
    """A type without its range."""
    return typing.get_args(hint)[0] if typing.get_origin(hint) is Annotated else hint


@lru_cache(maxsize=128)
def fields_of(cls: Any) -> Mapping[str, Any]:
    """Name -> type, ranges included, of the fields of a dataclass that its constructor takes."""
    hints = typing.get_type_hints(cls, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls) if field.init}


def tagged(hint: Any) -> Mapping[Any, Any]:
    """Tag -> member of a union whose members pydantic tells apart by tags; they are in the places of its errors."""
    return {part.tag: plain(member) for member in typing.get_args(plain(hint)) if typing.get_origin(member) is Annotated
            for part in member.__metadata__ if isinstance(part, Tag)}


def below(hint: Any, key: object) -> Any:
    """The type of what a section or list of type `hint` holds under `key`; Any where it cannot be told."""
    for member in members(hint):
        if dataclasses.is_dataclass(member):
            if str(key) in fields_of(member):
                return fields_of(member)[str(key)]
            continue
        origin, args = typing.get_origin(member), typing.get_args(member)
        if args and origin in ((dict, Mapping) if isinstance(key, str) else (list, tuple)):
            return args[1] if isinstance(key, str) else args[0]
    return Any


def expected(hint: Any) -> str:
    """A field type in a user's words."""
    hint = plain(hint)
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return "plain data"
    if origin in (Union, types.UnionType):
        words = [expected(arg) for arg in args if arg is not types.NoneType]
        return " or ".join([*words, "null"] if types.NoneType in args else words)
    if origin is Literal:
        return f"one of {', '.join(str(arg) for arg in args)}"
    if origin in (tuple, list):
        return f"a list, each {expected(args[0])}" if args else "a list"
    if dataclasses.is_dataclass(hint):
        keys = list(fields_of(hint))
        more = f" and {len(keys) - _KEYS} more" if len(keys) > _KEYS else ""
        return f"a section with the keys {', '.join(keys[:_KEYS])}{more}"
    return {int: "a whole number", float: "a number", bool: "true or false", str: "text"}.get(hint, "a section")


def expected_range(hint: Any, *, above: bool = False) -> str:
    """The range of a field in a user's words; the end of all counts only for a value that is `above` it."""
    ranged = [hint, *typing.get_args(hint)]
    limits: dict[str, Any] = {}
    says = ""
    for part in (part for one in ranged if typing.get_origin(one) is Annotated for part in one.__metadata__):
        if isinstance(part, Says):
            says = part.expected
        for limit in (part, *getattr(part, "metadata", ())):
            limits |= {name: getattr(limit, name) for name in ("ge", "gt", "le", "lt") if hasattr(limit, name)}
    if limits.get("le") == MOST and not above:
        del limits["le"]
    if says and not (above and limits.get("le") == MOST):
        return says + (", or null" if types.NoneType in members(hint) else "")
    words = [f"{name} {limits[key]}" for key, name in _RANGE_WORDS.items() if key in limits]
    number = "" if int in members(hint) else "a number of " if "ge" in limits else "a number "
    return number + " and ".join(words) + (", or null" if types.NoneType in members(hint) else "")


_KEYS = 10
"""Of a section, in a message."""
_RANGE_WORDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


def meanings(cls: type) -> dict[str, str]:
    """The docstring below each field of a dataclass, inherited fields included, "" where there is none."""
    found = {field.name: "" for field in dataclasses.fields(cls)}
    for base in reversed(cls.__mro__):
        if dataclasses.is_dataclass(base):
            tree = ast.parse(textwrap.dedent(inspect.getsource(base)))
            body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
            for node, below_it in itertools.pairwise(body):
                if (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
                        and isinstance(below_it, ast.Expr) and isinstance(below_it.value, ast.Constant)):
                    found[node.target.id] = " ".join(str(below_it.value.value).split())
    return found


def takes_text(hint: Any) -> bool:
    return any(member is str or typing.get_origin(member) is Literal for member in members(hint))


def way_out(hint: Any, value: Any) -> str:
    """What to write instead of a value of the wrong type, where that can be told; begins with a semicolon."""
    if isinstance(value, str):
        if {int, float} & set(members(hint)) and NUMBER_AS_TEXT.fullmatch(value):
            mantissa, exponent = re.split("[eE]", value)
            point = mantissa if "." in mantissa else f"{mantissa}.0"
            sign = exponent if exponent[0] in "+-" else f"+{exponent}"
            return f"; YAML reads {value} as text, write {point}e{sign}"
        choices = [choice for member in members(hint) if typing.get_origin(member) is Literal
                   for choice in typing.get_args(member)]
        close = difflib.get_close_matches(value, map(str, choices), n=1)
        return f"; did you mean {close[0]!r}?" if close else ""
    if takes_text(hint) and value is not None and not isinstance(value, list | tuple | Mapping):
        return "; put the value in quotes if you mean the text"
    return ""
