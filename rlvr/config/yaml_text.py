"""One YAML document -> plain data. YAML 1.1 as PyYAML reads it, but a key given twice is an error, and so is a document
that grows without end when its anchors are followed."""

from __future__ import annotations

import re
from typing import Any

import yaml

from rlvr.types import UserError

NUMBER_AS_TEXT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")
"""`1e-6` and the like: a number everywhere but in YAML 1.1, which wants a point and a sign (1.0e-6)."""
MOST_VALUES = 20_000
"""In one document, anchors followed; the longest recipe has some 150."""
DEEPEST = 32
"""Levels of lists and sections; a recipe has five."""


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a mapping with one key twice: PyYAML would keep the last one without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        lines: dict[str, int] = {}
        for key_node, _ in node.value:
            line = key_node.start_mark.line + 1
            if isinstance(key_node, yaml.ScalarNode):
                if key_node.value in lines:
                    raise UserError(f"key {key_node.value!r} again, first given in line {lines[key_node.value]}; a key "
                                    "may appear once: remove one of the two", where=f"line {line}")
                lines[key_node.value] = line
        return super().construct_mapping(node, deep=deep)

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        super().flatten_mapping(node)
        if len(node.value) > MOST_VALUES:
            raise UserError(f"more than {MOST_VALUES:,} keys once `<<` is followed; expected the few of a recipe",
                            where=f"line {node.start_mark.line + 1}")


_PLAIN_NUMBERS = {
    "tag:yaml.org,2002:int": re.compile(r"^[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)$"),
    "tag:yaml.org,2002:float": re.compile(r"^(?:[-+]?(?:[0-9][0-9_]*)\.[0-9_]*(?:[eE][-+][0-9]+)?"
                                          r"|[-+]?\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?|[-+]?\.(?:inf|Inf|INF)"
                                          r"|\.(?:nan|NaN|NAN))$"),
}
"""YAML 1.1 less what surprises: there 010 is 8, and 1:40 is 100. Both are text here."""
_Loader.yaml_implicit_resolvers = {
    first: [(tag, _PLAIN_NUMBERS.get(tag, pattern)) for tag, pattern in known]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()}


class _CommandLineLoader(_Loader):
    """Reads 1e-6 as a number: on a command line everything is text, so there is nothing to mistake it for."""


_CommandLineLoader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(rf"^{NUMBER_AS_TEXT.pattern}$"),
                                         list("-+0123456789"))


def parse_yaml(text: str, *, command_line: bool = False) -> Any:
    """One YAML document as plain data. UserError (one line, with the line number) for what is not YAML."""
    try:
        # Both loaders are SafeLoaders: they build plain data only.
        tree = yaml.load(text, Loader=_CommandLineLoader if command_line else _Loader)
        _refuse_bombs(tree)
    except UserError:
        raise
    except RecursionError:
        raise UserError(f"lists and sections are nested too deeply, expected at most {DEEPEST} levels") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise UserError(f"not valid YAML: {error.problem or error.context}", where=where) from None
    except yaml.reader.ReaderError as error:
        raise UserError(f"not valid YAML: the character U+{int(error.character):04X}; remove it",
                        where=_place(text, error.position)) from None
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"not valid YAML: {' '.join(str(error).split())}") from None
    return tree


def _place(text: str, position: int) -> str:
    before = text[:position]
    return f"line {before.count(chr(10)) + 1}, column {position - before.rfind(chr(10))}"


def _refuse_bombs(tree: Any) -> None:
    """UserError for a document that is small as text and huge, or endless, once its anchors are followed."""
    seen, level = 0, [tree]
    for _ in range(DEEPEST):
        level = [item for value in level if isinstance(value, dict | list | tuple | set)
                 for item in (value.values() if isinstance(value, dict) else value)]
        seen += len(level)
        if seen > MOST_VALUES:
            raise UserError(f"more than {MOST_VALUES:,} values once its anchors (&name, *name) are followed; expected "
                            "the few of a recipe: write out what you need")
        if not level:
            return
    raise UserError(f"lists and sections are nested more than {DEEPEST} levels deep, or an anchor (&name) holds itself "
                    "(*name); expected the few levels of a recipe")
