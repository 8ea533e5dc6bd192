"""`key.sub=value` settings of a command line, put into the tree of a recipe before their types are known."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rlvr.config.wording import describe
from rlvr.types import UserError

COMMAND_LINE = "command line"
"""The place that an error about an override names first."""


@dataclass(frozen=True, slots=True)
class CommandLine:
    """The value of an override before the type of its field is known."""

    text: str
    source: str = COMMAND_LINE
    """The place that an error about it names first."""


def apply_overrides(tree: Any, overrides: Iterable[str], source: str = COMMAND_LINE) -> Any:
    """Set `a.b=value` overrides in a tree of mappings, in place; of two for one key the later wins.

    `source` is the place that errors about them name first. Values stay `CommandLine` until `from_dict` knows their
    type. Raises UserError for what is no `key=value`, and for a key below something that is not a section.
    """
    for override in overrides:
        key, equals, text = override.partition("=")
        parts, where = key.split("."), f"override {override!r}"
        if not equals or not all(parts):
            raise UserError("expected key=value with a dotted key, as in train.steps=100", where=where)
        if text.lstrip().startswith("#"):
            raise UserError("YAML reads a value that starts with # as a comment; quote it, as in "
                            f"'{key}=\"{text}\"'", where=where)
        node = tree
        for depth, part in enumerate(parts[:-1], start=1):
            if node.get(part) is None:
                node[part] = {}
            node = node[part]
            if not isinstance(node, dict):
                found = repr(node.text) if isinstance(node, CommandLine) else describe(node)
                raise UserError(f"{'.'.join(parts[:depth])} is {found}, not a section with keys below it", where=where)
        node[parts[-1]] = CommandLine(text, source)
    return tree
