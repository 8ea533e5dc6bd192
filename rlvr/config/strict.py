"""Strict YAML into frozen dataclasses: nothing unknown, nothing converted in silence, every error with its path.

Reads YAML 1.1 as PyYAML does, except that a key given twice is an error. Not a schema language: it knows the field
types recipes and algorithm configs are made of (int, float, bool, str, None, unions, Literal, tuple, list, dict with
text keys, nested dataclasses, Any for plain data).
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, Union

import yaml

from rlvr.types import UserError

T = TypeVar("T")

COMMAND_LINE = "command line"
"""The place that an error about an override names first."""
_NUMBER_AS_TEXT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a mapping with one key twice: PyYAML would keep the last one without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        lines: dict[str, int] = {}
        for key_node, _ in node.value:
            line = key_node.start_mark.line + 1
            if isinstance(key_node, yaml.ScalarNode):
                if key_node.value in lines:
                    raise UserError(f"line {line}: key {key_node.value!r} again, first given in line "
                                    f"{lines[key_node.value]}; a key may appear once: remove one of the two")
                lines[key_node.value] = line
        return super().construct_mapping(node, deep=deep)


class _CommandLineLoader(_Loader):
    """Reads 1e-6 as a number: on a command line everything is text, so there is nothing to mistake it for."""


_CommandLineLoader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(rf"^{_NUMBER_AS_TEXT.pattern}$"),
                                         list("-+0123456789"))


@dataclass(frozen=True, slots=True)
class CommandLine:
    """The value of a `key=value` override before the type of its field is known."""

    text: str
    source: str = COMMAND_LINE
    """The place that an error about it names first."""


def parse_yaml(text: str, *, command_line: bool = False) -> Any:
    """One YAML document as plain data. UserError (one line, with the line number) for what is not YAML."""
    try:
        # Both loaders are SafeLoaders: they build plain data only.
        return yaml.load(text, Loader=_CommandLineLoader if command_line else _Loader)
    except UserError:
        raise
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise UserError(f"{at}not valid YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"not valid YAML: {' '.join(str(error).split())}") from None


def apply_overrides(tree: Any, overrides: Iterable[str], source: str = COMMAND_LINE) -> Any:
    """Set `a.b=value` overrides in a tree of mappings, in place; of two for one key the later wins.

    `source` is the place that errors about them name first. Values stay `CommandLine` until `from_dict` knows their
    type. Raises UserError for what is no `key=value`, and for a key below something that is not a section.
    """
    for override in overrides:
        key, equals, text = override.partition("=")
        parts = key.split(".")
        if not equals or not all(parts):
            raise UserError(f"override {override!r}: expected key=value with a dotted key, as in train.steps=100")
        if text.lstrip().startswith("#"):
            raise UserError(f"override {override!r}: YAML reads a value that starts with # as a comment; quote it, "
                            f"as in '{key}=\"{text}\"'")
        node = tree
        for depth, part in enumerate(parts[:-1], start=1):
            if node.get(part) is None:
                node[part] = {}
            node = node[part]
            if not isinstance(node, dict):
                raise UserError(f"override {override!r}: {'.'.join(parts[:depth])} is {describe(node)}, not a section "
                                "with keys below it")
        node[parts[-1]] = CommandLine(text, source)
    return tree


def from_dict(cls: type[T], tree: Any, path: str = "") -> T:
    """Build the dataclass `cls` from plain data, checking every key and every type.

    `path` is the dotted prefix of error messages ("" at the root). Raises UserError: unknown or missing key, wrong
    type, a number given as text, a number that is not finite; a ValueError of the class itself gets the path.
    """
    names = [field.name for field in dataclasses.fields(_dataclass(cls)) if field.init]
    if not isinstance(tree, Mapping):
        raise UserError(f"{path or 'recipe'}: found {describe(tree)}, expected a section with the keys "
                        f"{', '.join(names)}")
    for key, value in tree.items():
        if key not in names:
            guess = did_you_mean(str(key), names, _paths_below(cls, path))
            error = UserError(f"unknown key; {guess}", where=_at(path, key))
            raise error.within(source) if (source := _source(value)) else error
    hints = typing.get_type_hints(cls)
    missing = [field.name for field in dataclasses.fields(_dataclass(cls))
               if field.init and field.name not in tree
               and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING]
    if missing:
        wanted = ", ".join(f"{_at(path, name)} ({expected(hints[name])})" for name in missing)
        raise UserError(f"{wanted}: missing; there is no default, so the recipe has to set it")
    values = {name: _convert(hints[name], tree[name], _at(path, name)) for name in names if name in tree}
    try:
        return cls(**values)
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{path or 'recipe'}: {error}") from None


def to_tree(value: Any) -> Any:
    """Dataclasses, tuples and mappings as dicts and lists: what `json.dumps` takes and `from_dict` reads back."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_tree(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: to_tree(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_tree(item) for item in value]
    return value


def did_you_mean(name: str, known: Sequence[str], elsewhere: Mapping[str, Sequence[str]] | None = None) -> str:
    """The way out of an unknown name: the closest known one and the list of all.

    `elsewhere`: name -> where it is known too, as dotted paths; an exact match there is what was meant.
    """
    elsewhere = elsewhere or {}
    close: Sequence[str] = elsewhere.get(name) or difflib.get_close_matches(name, known, n=1)
    if not close:
        near = difflib.get_close_matches(name, elsewhere, n=1)
        close = elsewhere[near[0]] if near else ()
    guess = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
    return f"{guess}(known: {', '.join(known)})"


def describe(value: Any) -> str:
    """A found value and its type in a user's words, at most some 70 characters."""
    if value is None:
        return "null"
    if isinstance(value, CommandLine):
        return f"{value.text!r}"
    text, kind = repr(value), type(value).__name__
    if isinstance(value, bool):
        text, kind = str(value).lower(), "true/false"
    elif isinstance(value, int):
        kind = "whole number"
    elif isinstance(value, float):
        kind = "number"
    elif isinstance(value, str):
        kind = "text"
    elif isinstance(value, list | tuple):
        kind = "list"
    elif isinstance(value, Mapping):
        kind = "section"
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({kind})"


def expected(hint: Any) -> str:
    """A field type in a user's words."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return "plain data"
    if origin in (Union, types.UnionType):
        members = [expected(arg) for arg in args if arg is not types.NoneType]
        return " or ".join([*members, "null"] if types.NoneType in args else members)
    if origin is Literal:
        return f"one of {', '.join(str(arg) for arg in args)}"
    if origin in (tuple, list):
        return f"a list, each {expected(args[0])}" if args else "a list"
    if dataclasses.is_dataclass(hint):
        return f"a section with the keys {', '.join(field.name for field in dataclasses.fields(hint))}"
    return {int: "a whole number", float: "a number", bool: "true or false", str: "text"}.get(hint, "a section")


def _dataclass(cls: type) -> Any:
    if not dataclasses.is_dataclass(cls):
        raise TypeError(f"{cls!r} is not a dataclass")
    return cls


def _paths_below(cls: type, path: str) -> dict[str, list[str]]:
    """Key -> dotted paths of all fields of that name in the sections below `cls`, the nearest first."""
    found: dict[str, list[str]] = {}
    sections = [(path, cls)]
    for where, section in sections:
        hints = typing.get_type_hints(section)
        for field in dataclasses.fields(_dataclass(section)):
            if where != path:
                found.setdefault(field.name, []).append(_at(where, field.name))
            sections += [(_at(where, field.name), member) for member in _members(hints[field.name])
                         if dataclasses.is_dataclass(member) and isinstance(member, type)]
    return found


def _at(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


def _source(value: Any) -> str:
    """Where a value, or all that a section holds, was set by an override; empty where it was not."""
    if isinstance(value, CommandLine):
        return value.source
    sources = {_source(item) for item in value.values()} if isinstance(value, dict) else set()
    return sources.pop() if len(sources) == 1 else ""


def _members(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if typing.get_origin(hint) in (Union, types.UnionType) else (hint,)


def _takes_text(hint: Any) -> bool:
    return any(member is str or typing.get_origin(member) is Literal for member in _members(hint))


def _convert(hint: Any, value: Any, path: str, shown: Any = None) -> Any:
    """`shown` is the whole type of the field when `hint` is one member of it."""
    if isinstance(value, CommandLine):
        try:
            return _convert(hint, _read_text(hint, value.text, path), path, shown)
        except UserError as error:
            raise error.within(value.source) from None
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if isinstance(value, Mapping) and (hint is Any or origin in (dict, Mapping)):
        _check_text_keys(value, path)
        inner = args[1] if args else Any
        return {key: _convert(inner, item, _at(path, key)) for key, item in value.items()}
    if isinstance(value, list | tuple) and (hint is Any or origin in (tuple, list)):
        inner = args[0] if args else Any
        items = [_convert(inner, item, f"{path}[{index}]") for index, item in enumerate(value)]
        return tuple(items) if origin is tuple else items
    if hint is Any:
        return _plain(value, path)
    if origin in (Union, types.UnionType):
        return _convert_union(hint, value, path)
    if origin is Literal and any(type(value) is type(arg) and value == arg for arg in args):
        return value
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return from_dict(hint, value, path)
    if hint is bool and isinstance(value, bool):
        return value
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise UserError(f"{path}: found {value}, expected a finite number")
        return float(value)
    if hint is str and isinstance(value, str):
        return value
    wanted = hint if shown is None else shown
    raise UserError(f"{path}: found {describe(value)}, expected {expected(wanted)}{_way_out(wanted, value)}")


def _convert_union(hint: Any, value: Any, path: str) -> Any:
    if value is None and types.NoneType in _members(hint):
        return None
    members = [member for member in _members(hint) if member is not types.NoneType]
    for member in members[:-1]:
        try:
            return _convert(member, value, path, hint)
        except UserError:
            continue
    return _convert(members[-1], value, path, hint)


def _way_out(hint: Any, value: Any) -> str:
    members = _members(hint)
    if isinstance(value, str):
        if (int in members or float in members) and _NUMBER_AS_TEXT.fullmatch(value):
            mantissa, exponent = re.split("[eE]", value)
            point = mantissa if "." in mantissa else f"{mantissa}.0"
            sign = exponent if exponent[0] in "+-" else f"+{exponent}"
            return f"; YAML reads {value} as text, write {point}e{sign}"
        choices = [choice for member in members if typing.get_origin(member) is Literal
                   for choice in typing.get_args(member)]
        close = difflib.get_close_matches(value, map(str, choices), n=1)
        return f"; did you mean {close[0]!r}?" if close else ""
    if _takes_text(hint) and value is not None and not isinstance(value, list | tuple | Mapping):
        return "; put the value in quotes if you mean the text"
    return ""


def _read_text(hint: Any, text: str, path: str) -> Any:
    """An override's text as plain data of the kind the field wants: text fields take it as it stands."""
    members, takes_text = _members(hint), _takes_text(hint)
    try:
        value = parse_yaml(text, command_line=True)
    except UserError as error:
        if takes_text:
            return text
        raise UserError(f"{path}: {error}") from None
    if not takes_text or (value is None and types.NoneType in members):
        return value
    quoted = isinstance(value, str) and text[:1] in ("'", '"')
    wants_list = any(typing.get_origin(member) in (tuple, list) for member in members)
    return value if quoted or (wants_list and isinstance(value, list)) else text


def _plain(value: Any, path: str) -> Any:
    """A value JSON can hold; refuses what YAML builds beyond it (dates, sets, .nan)."""
    if value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise UserError(f"{path}: found {describe(value)}, expected text, finite numbers, true/false, null, lists or "
                    "sections")


def _check_text_keys(value: Mapping[Any, Any], path: str) -> None:
    """UserError for a key such as 1 or on (YAML's true), which would not survive the way through JSON."""
    for key in value:
        if not isinstance(key, str):
            raise UserError(f"{path}: found the key {describe(key)}, expected text; put it in quotes")
