"""`rlvr list`: what a recipe may name, with one line each, and the settings of one of them with their meaning."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import sys
import textwrap
import typing
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from rlvr.config.fields import fields_of, meanings
from rlvr.config.presets import PRESETS
from rlvr.config.recipe import Recipe
from rlvr.config.registry import BUILT_IN, names, resolve, resolve_reader
from rlvr.config.rewards import RewardSection
from rlvr.config.wording import did_you_mean
from rlvr.interfaces import Algorithm, Verifier
from rlvr.statistics.plan import PLANS
from rlvr.statistics.schedule import DIFFICULTIES
from rlvr.types import UserError

SECTIONS = {
    "algorithms": "algorithm: {name: NAME}",
    "verifiers": "data.train.verifier: NAME; they judge completions",
    "readers": "data.train.reader: NAME; they turn rows that bring tests along into prompt, gold and tests",
    "sampling plans": "probes.plan: NAME; when a problem stops being sampled",
    "data presets": "data.train: {preset: NAME}; public benchmarks with columns and verifier",
    "reward terms": "train.rewards: {NAME: {weight: 0.1}}; form and length beside the accuracy",
}
"""What there is to name, and how a recipe names it."""
LISTED = {"data presets": list(PRESETS), "sampling plans": list(PLANS),
          "reward terms": [term.name for term in dataclasses.fields(RewardSection)]}
"""Names of the kinds that no plug-in adds to."""
TYPICAL = "medium (7B base model on MATH500)"
"""The difficulty for which a plan's line gives its samples."""


class Setting(NamedTuple):
    """A field of a Config."""

    name: str
    kind: str
    """Its type, or the values to choose from."""
    default: str
    """"required" if there is none."""
    meaning: str
    """The docstring below the field; empty if it has none."""


def overview() -> str:
    """All algorithms, verifiers and readers, plug-ins included, sampling plans and presets of public benchmarks, a line
    each."""
    lines: list[str] = []
    for kind, use in SECTIONS.items():
        table = {name: _summary(kind, name) for name in _names(kind)}
        width = max(map(len, table))
        lines += [f"{kind}  ({use})", *(f"  {name:<{width}}  {about}" for name, about in table.items()), ""]
    return "\n".join([*lines, "rlvr list NAME shows the settings of one of them."])


def details(name: str) -> str:
    """Formula and settings of one algorithm or verifier, what a preset stands for; a name that several kinds have is
    shown for each. UserError for an unknown name."""
    kinds = [kind for kind in SECTIONS if name in _names(kind)]
    if not kinds and ":" in name:
        kinds = ["algorithms"]  # a class of any kind: only its docstring and its Config are read
    if not kinds and name.partition(".")[0] in fields_of(Recipe):
        raise UserError(f"{name!r} is a key of recipes and no name that one may hold; `rlvr schema` prints all keys "
                        "with their meaning, docs/recipes.md too")
    if not kinds:
        known = dict.fromkeys(known for kind in SECTIONS for known in _names(kind))
        raise UserError(f"{name!r} names no algorithm, verifier, reader, plan, preset or reward term"
                        f"{did_you_mean(name, list(known))}")
    texts = [_details(kind, name) for kind in kinds]
    if len(kinds) > 1:
        texts = [f"{kind}  ({SECTIONS[kind]})\n\n{text}" for kind, text in zip(kinds, texts, strict=True)]
    return "\n\n".join(texts)


def _names(kind: str) -> list[str]:
    return LISTED.get(kind) or names(kind)


def _details(kind: str, name: str) -> str:
    if kind == "data presets":
        fields = PRESETS[name].fields
        return "\n".join([f"{name}: {PRESETS[name].about}", "", f"  preset: {name}  # in data.train or data.probe is",
                          *(f"  {key}: {_yaml(value)}" for key, value in fields.items())])
    if kind == "sampling plans":
        return _plan_details(name)
    if kind == "reward terms":
        return "\n".join([f"{name}: {_summary(kind, name)}", "", *_setting_lines(_term(name))])
    target = resolve_reader(name) if kind == "readers" else resolve(kind, name)
    summary, text = _summary(kind, name), inspect.cleandoc(target.__doc__ or "")
    of_file = inspect.cleandoc(sys.modules[target.__module__].__doc__ or summary)
    lines = [f"{name}: {text}"] if text.startswith(summary) else [f"{name}: {of_file}", "", text]
    config = getattr(target, "Config", None)
    if config is not None:
        about = inspect.cleandoc(config.__doc__ or "")
        # A dataclass without a docstring gets its signature as one, which the settings below repeat.
        lines += [*(() if about.startswith(f"{config.__name__}(") else ("", about)), ""]
        lines += _setting_lines(config)
    return "\n".join(lines)


def _term(name: str) -> type:
    """The dataclass of the settings of a reward term."""
    return next(hint for hint in typing.get_args(typing.get_type_hints(RewardSection)[name]) if hint is not type(None))


def _setting_lines(config: type) -> list[str]:
    lines = []
    for setting in settings(config):
        lines.append(f"  {setting.name} = {setting.default}  ({setting.kind})")
        lines += textwrap.wrap(setting.meaning, 110, initial_indent="      ", subsequent_indent="      ")
    return lines


def _plan_summary(name: str) -> str:
    plan = PLANS[name]
    mean = plan.expected_samples_beta(*DIFFICULTIES[TYPICAL])
    first = f"{plan.first_round} samples" + (f", stops with {plan.stop_at[0]} right, ..." if plan.stop_at else "")
    return f"{first}; at most {plan.max_samples} of a problem, {mean:.0f} on average at a typical base"


def _plan_details(name: str) -> str:
    plan = PLANS[name]
    rounds = [f"  after {n:>3} samples: stops with at least {c} right"
              for n, c in zip(plan.checkpoints, plan.stop_at, strict=False)]
    means = [f"  {plan.expected_samples_beta(a, b):>5.0f}  if problems are {kind}, accuracies Beta({a:g}, {b:g})"
             for kind, (a, b) in DIFFICULTIES.items()]
    return "\n".join([
        f"{name}: {_plan_summary(name)}", "", f"  plan: {name}  # in probes, or base_plan: {name}", *rounds,
        f"  after {plan.max_samples:>3} samples: stops, so k is at most {plan.max_samples}", "",
        "samples per problem, expected:", *means,
    ])


def settings(config: type) -> list[Setting]:
    """The fields of a dataclass with their docstrings, which are read from its source; inherited ones included."""
    hints, texts = typing.get_type_hints(config), meanings(config)
    return [
        Setting(
            field.name, _kind(hints[field.name]),
            "required" if field.default is dataclasses.MISSING else _yaml(field.default), texts[field.name],
        )
        for field in dataclasses.fields(config)
    ]


def _kind(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return " | ".join(map(_yaml, typing.get_args(hint)))
    return " or ".join(map(_kind, typing.get_args(hint))) if typing.get_args(hint) else _YAML_TYPES.get(hint, str(hint))


_YAML_TYPES = {int: "whole number", float: "number", bool: "true | false", str: "text", type(None): "null"}


def _yaml(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _summary(kind: str, name: str) -> str:
    """One line; a plug-in that cannot be imported says so here instead of hiding the others."""
    if kind == "data presets":
        return PRESETS[name].about
    if kind == "sampling plans":
        return _plan_summary(name)
    if kind == "reward terms":
        return meanings(RewardSection)[name] or inspect.cleandoc(_term(name).__doc__ or "").splitlines()[0]
    try:
        texts = _written(BUILT_IN[kind][name]) if name in BUILT_IN[kind] else _live(kind, name)
    except UserError as error:
        return f"(not usable: {error})"
    text = next((text.strip() for text in texts if text and text.strip()), "(no description)")
    return text.splitlines()[0]


def _written(target: str) -> tuple[str | None, str | None]:
    """Docstrings of a built-in, the preferred one first, read from its source so that the list needs no torch."""
    module, _, name = target.partition(":")
    spec = find_spec(module)
    assert spec is not None and spec.origin is not None
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    own = next(node for node in tree.body
               if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name == name)
    neighbours = sum(other.startswith(f"{module}:") for table in BUILT_IN.values() for other in table.values())
    return _preferred(ast.get_docstring(tree), ast.get_docstring(own), neighbours)


def _live(kind: str, name: str) -> tuple[str | None, str | None]:
    """The same of a plug-in, which is imported: whether it can be is what its user wants to know."""
    target = resolve_reader(name) if kind == "readers" else resolve(kind, name)
    module = sys.modules[target.__module__]
    neighbours = [value for value in vars(module).values()
                  if isinstance(value, type) and issubclass(value, (Algorithm, Verifier))
                  and value.__module__ == module.__name__]
    return _preferred(module.__doc__, target.__doc__, len(neighbours))


def _preferred(of_file: str | None, own: str | None, neighbours: int) -> tuple[str | None, str | None]:
    """A file's first line says what the one class in it does; of several, each speaks for itself."""
    return (of_file, own) if neighbours == 1 else (own, of_file)
