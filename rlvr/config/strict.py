"""Plain data -> frozen dataclasses by pydantic: nothing unknown, nothing converted in silence, every error in one line
with its path, what was found, what was expected and the way out."""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import typing
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from rlvr.config.fields import (
    MOST,
    below,
    expected,
    expected_range,
    fields_of,
    members,
    one_line,
    tagged,
    takes_text,
    way_out,
)
from rlvr.config.known_keys import paths_of, why_none
from rlvr.config.overrides import CommandLine
from rlvr.config.wording import describe, did_you_mean
from rlvr.config.yaml_text import parse_yaml
from rlvr.types import UserError, hidden

T = TypeVar("T")
Place = tuple[str | int, ...]
"""Keys and list positions from the root to a value."""

RULES = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)


def from_dict(cls: type[T], tree: Any, path: str = "", *, whole: type | None = None) -> T:
    """Build the dataclass `cls` from plain data, checking every key, every type and every range.

    `path` is the dotted prefix of error messages ("" at the root); `whole`, the dataclass at the root, helps to find
    where a misplaced key belongs. Raises UserError: unknown or missing key, wrong
    type, a number given as text, a number that is not finite or out of range; a ValueError of the class itself gets
    the path.
    """
    data = _plain(cls, tree, path)
    try:
        # As JSON, which is what a run stores: from there lists are tuples, and 1 is a number like 1.0.
        return adapter_of(cls).validate_json(json.dumps([data]))[0]
    except ValidationError as error:
        raise _explained(cls, tree, data, path, error, whole) from None


def to_tree(value: Any) -> Any:
    """Dataclasses, tuples and mappings as dicts and lists: what `json.dumps` takes and `from_dict` reads back."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_tree(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: to_tree(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_tree(item) for item in value]
    return value


@lru_cache(maxsize=64)
def adapter_of(cls: type) -> TypeAdapter[Any]:
    # pydantic takes no rules for a dataclass that is not its own, but passes those of a tuple on to its items.
    shape: Any = tuple[cls]  # pyright: ignore[reportInvalidTypeForm]
    return TypeAdapter(shape, config=RULES)


# ------------------------------------------------------------------------------------------- before pydantic


def _plain(hint: Any, value: Any, path: str) -> Any:
    """The value as JSON can hold it, with the text of overrides read as their fields' types ask."""
    if isinstance(value, CommandLine):
        try:
            return _plain(hint, _read_text(hint, value.text, path), path)
        except UserError as error:
            raise error.within(value.source) from None
    if isinstance(value, Mapping):
        for key in value:
            if isinstance(key, str):
                _check_letters(key, path or "recipe", one=True)
            if not isinstance(key, str) and not any(map(dataclasses.is_dataclass, members(hint))):
                raise UserError(f"found the key {describe(key)}, expected text; put it in quotes", where=path)
        return {str(key): _plain(below(hint, str(key)), item, _at(path, key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(below(hint, i), item, f"{path}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"found {value}, expected a finite number", where=path)
    if isinstance(value, str):
        _check_letters(value, path, one=one_line(hint))
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise UserError(f"found {describe(value)}, expected one between -2**63 and 2**63", where=path)
    if value is None or isinstance(value, str | float | int):
        return value
    wanted = "text, finite numbers, true/false, null, lists or sections" if hint is Any else expected(hint)
    quotes = "; put it in quotes if you mean the text" if isinstance(value, datetime.date) else ""
    raise UserError(f"found {describe(value)}, expected {wanted}{quotes}", where=path)


def _check_letters(text: str, path: str, *, one: bool) -> None:
    """UserError for text that a terminal, a path or a tokenizer would not take as it looks."""
    if text.isprintable():
        return
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise UserError(f"found {describe(text)}, expected text without half of a surrogate pair", where=path)
    bad = next((letter for letter in text if hidden(letter) and (one or letter not in "\t\n\r")), None)
    if bad is not None:
        raise UserError(f"found {describe(text)} with the character U+{ord(bad):04X}, expected text without control "
                        f"characters{' in one line' * one}; remove it", where=path)


def _read_text(hint: Any, text: str, path: str) -> Any:
    """An override's text as plain data of the kind the field wants: text fields take it as it stands."""
    text_field = takes_text(hint)
    try:
        value = parse_yaml(text, command_line=True)
    except UserError as error:
        if text_field:
            return text
        raise error.within(path) from None
    if not text_field or (value is None and type(None) in members(hint)):
        return value
    quoted = isinstance(value, str) and text[:1] in ("'", '"')
    wants_list = any(typing.get_origin(member) in (tuple, list) for member in members(hint))
    return value if quoted or (wants_list and isinstance(value, list)) else text


# -------------------------------------------------------------------------------------------- after pydantic


def _explained(
    cls: type, tree: Any, data: Any, path: str, error: ValidationError, whole: type | None
) -> UserError:
    """pydantic's errors as one of ours: an unknown key first, as it may be why another is missing; then what is
    missing; then the first value that is wrong."""
    found = [(_place(cls, each["loc"][1:]), each) for each in error.errors(include_url=False)]
    for place, each in sorted(found, key=lambda one: len(one[0])):
        if each["type"] == "unexpected_keyword_argument":
            return _from(tree, place, _unknown(cls, place, path, whole))
    lacking = [place for place, each in found if each["type"] == "missing"]
    if lacking:
        keys = [place[-1] for place in lacking if place[:-1] == lacking[0][:-1]]
        section = _hint(cls, lacking[0][:-1])
        wanted = ", ".join(f"{_text(path, (*lacking[0][:-1], key))} ({expected(below(section, key))})" for key in keys)
        return _from(tree, lacking[0][:-1],
                     UserError("missing; there is no default, so the recipe has to set it", where=wanted))
    place, first = found[0]
    if first["type"] == "value_error":
        cause = first.get("ctx", {})["error"]
        return cause if isinstance(cause, UserError) else UserError(str(cause), where=_text(path, place) or "recipe")
    value, hint = _value(data, place), _hint(cls, place)
    ranged = first["type"] in _OUT_OF_RANGE
    above = first["type"] == "less_than_equal"
    wanted = expected_range(hint, above=above) if ranged else expected(hint) + way_out(hint, value)
    if not ranged and isinstance(value, float) and abs(value) > MOST and members(hint)[0] is int:  # 1e30
        wanted += f", {expected_range(hint, above=True)}"
    return _from(tree, place, UserError(f"found {describe(value)}, expected {wanted}",
                                        where=_text(path, place) or "recipe"))


_OUT_OF_RANGE = ("greater_than", "greater_than_equal", "less_than", "less_than_equal", "string_pattern_mismatch",
                 "string_too_short", "too_short")


def _unknown(cls: type, place: Place, path: str, whole: type | None) -> UserError:
    section = _hint(cls, place[:-1])
    names = [name for member in members(section) if dataclasses.is_dataclass(member) for name in fields_of(member)]
    inside = _text(path, place[:-1])
    if reason := why_none(_text(path, place)):
        return UserError(f"unknown key: {reason}", where=_text(path, place))
    elsewhere = paths_of(cls, path, inside) if whole is None else paths_of(whole, "", inside)
    guess = did_you_mean(str(place[-1]), names, elsewhere)
    return UserError(f"unknown key{guess}", where=_text(path, place))


def _place(cls: type, loc: Sequence[str | int]) -> Place:
    """Where an error is: pydantic's place, without the names of a union's members that it puts in between."""
    place: list[str | int] = []
    hint: Any = cls
    parts = iter(loc)
    for part in parts:
        if part in tagged(hint):
            hint = tagged(hint)[part]
            continue
        if len([member for member in members(hint) if member is not type(None)]) > 1:
            break  # what is wrong inside a member of a union is told of the whole
        place.append(part)
        hint = below(hint, part)
    return tuple(place)


def _hint(cls: type, place: Place) -> Any:
    hint: Any = cls
    for key in place:
        hint = below(hint, key)
    return hint


def _value(data: Any, place: Place) -> Any:
    for key in place:
        data = data[key]
    return data


def _from(tree: Any, place: Place, error: UserError) -> UserError:
    """The error, with the place of the override that set the value, or all that a section holds, if one did."""
    for key in place:
        if isinstance(tree, CommandLine):
            break
        tree = tree.get(key) if isinstance(tree, Mapping) else tree[int(key)]
    sources = {leaf.source if isinstance(leaf, CommandLine) else "" for leaf in _leaves(tree)}
    return error.within(source) if len(sources) == 1 and (source := sources.pop()) else error


def _leaves(tree: Any) -> Iterator[Any]:
    if isinstance(tree, Mapping) and tree:
        for item in tree.values():
            yield from _leaves(item)
    else:
        yield tree


def _at(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


def _text(path: str, place: Place) -> str:
    for key in place:
        path = f"{path}[{key}]" if isinstance(key, int) else _at(path, key)
    return path
