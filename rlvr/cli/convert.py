"""`rlvr convert`: settings of TRL or verl as a recipe, and a list of those that have no counterpart."""

from __future__ import annotations

import argparse
import math
import shlex
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlvr.cli.arguments import add_command, at_least_one
from rlvr.types import UserError


def add_parser(commands: Any) -> None:
    parser = add_command(commands, "convert", "write a recipe from the settings of TRL or verl",
                         "rlvr convert trl grpo_config.yaml -o my_run.yaml")
    parser.add_argument("source", choices=("trl", "verl"), help="whose settings they are")
    parser.add_argument("words", nargs="+", metavar="FILE | key=value",
                        help="a YAML file, a shell script with Hydra overrides, or settings; later ones win")
    parser.add_argument("--processes", type=at_least_one, default=1, metavar="N",
                        help="processes that trained with them, as TRL's batch sizes are per process (default: 1)")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="file to write (default: stdout)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    from rlvr.cli.new_recipe import write_recipe

    given = settings_of(arguments.words)
    if arguments.source == "trl":
        from rlvr.cli.convert_trl import from_trl

        found = from_trl(given, arguments.processes)
    else:
        from rlvr.cli.convert_verl import from_verl

        found = from_verl(given)
    found.fill()
    left = [f"{name} = {value!r}: {why}" for name, value, why in found.left_out]
    header = [f"Converted from settings of {arguments.source} by `rlvr convert`; look it through and run `rlvr check`."]
    header += ["", "Not given there, so chosen here:", *(f"  {line}" for line in found.chosen)] * bool(found.chosen)
    header += ["", "Without a counterpart:", *(f"  {line}" for line in left)] * bool(left)
    write_recipe(found.tree, [part for line in header for part in _wrapped(line)], arguments.output)
    if left:
        sys.stderr.write("without a counterpart:\n" + "".join(f"  {line}\n" for line in left))


def _wrapped(line: str) -> list[str]:
    import textwrap

    return textwrap.wrap(line, 116, subsequent_indent="    ", break_long_words=False) or [""]


class Converted:
    """A recipe in the making."""

    def __init__(self) -> None:
        self.tree: dict[str, Any] = {}
        self.left_out: list[tuple[str, Any, str]] = []
        """(foreign name, value, why)"""
        self.chosen: list[str] = []

    def set(self, key: str, value: Any) -> None:
        *sections, name = key.split(".")
        node = self.tree
        for section in sections:
            node = node.setdefault(section, {})
        node[name] = value

    def get(self, key: str, default: Any = None) -> Any:
        node: Any = self.tree
        for part in key.split("."):
            if not isinstance(node, Mapping) or part not in node:
                return default
            node = node[part]
        return node

    def fill(self) -> None:
        """The keys that a recipe has to have and these settings do not."""
        limit = self.get("train.max_new_tokens", 1024)
        steps = self.get("train.steps", 200)
        updates = self.get("train.updates_per_rollout", 1) * self.get("train.epochs_per_rollout", 1)
        every = max(updates, steps // 4 // updates * updates)
        needed = {
            "name": "converted", "model.path": "Qwen/Qwen2.5-0.5B-Instruct", "data.train.source": "openai/gsm8k",
            "algorithm.name": "grpo", "train.steps": steps, "train.micro_batch_size": 8, "train.max_new_tokens": limit,
            "probes.every": every, "probes.max_new_tokens": limit,
        }
        if self.get("data.train.source") is None:
            needed = {key: value for key, value in needed.items() if key != "data.train.source"}
            needed["data.train.preset"] = "gsm8k"
        for key, value in needed.items():
            if self.get(key) is None:
                self.set(key, value)
                self.chosen.append(f"{key}: {value}")
        if self.get("data.probe") is None:
            self.set("data.probe.preset", "math500")
            self.chosen.append("data.probe: the preset math500; choose what you care about")
        saved = self.get("train.save_every", 50)
        if isinstance(saved, int) and saved % updates:
            self.set("train.save_every", every)
            self.chosen.append(f"train.save_every: {every}")


def check_types(
    given: Mapping[str, Any], *, counts: Collection[str], numbers: Collection[str], names: Collection[str]
) -> None:
    """UserError for a setting that is divided by and no whole number above 0, calculated with and no number, or looked
    up and no text. The others are checked as the keys of the recipe that they become."""
    for name, value in given.items():
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        for those, fits, expected in ((counts, number and value >= 1 and value % 1 == 0, "a whole number above 0"),
                                      (numbers, number, "a number"), (names, isinstance(value, str), "a name")):
            if name in those and value is not None and not fits:
                raise UserError(f"found {value!r}, expected {expected}", where=name)


def settings_of(words: Sequence[str]) -> dict[str, Any]:
    """Dotted name -> value, of files and `key=value` words, in their order.

    Raises: UserError for a file that is not there or holds no settings.
    """
    given: dict[str, Any] = {}
    for word in words:
        if "=" in word and not Path(word).is_file():
            name, _, text = word.partition("=")
            given[name.lstrip("+")] = _value(text)
            continue
        path = Path(word)
        if not path.is_file():
            raise UserError(f"found {word!r}, expected a file or key=value")
        text = path.read_text(encoding="utf-8")
        if path.suffix in (".yaml", ".yml", ".json"):
            import yaml

            try:
                tree = yaml.safe_load(text)
            except yaml.YAMLError as error:
                raise UserError(f"not YAML: {str(error).splitlines()[0]}", where=str(path)) from None
            if not isinstance(tree, dict):
                raise UserError("found no settings, expected a mapping", where=str(path))
            given |= _flat(tree)
        else:
            tokens = shlex.split(text.replace("\\\n", " "), comments=True)
            given |= settings_of([token for token in tokens if "=" in token and "." in token.partition("=")[0]])
    if not given:
        raise UserError("found no settings in these files, expected key=value words or a YAML mapping")
    return given


def _value(text: str) -> Any:
    import yaml

    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    if isinstance(value, str):
        try:
            return float(value)  # 1e-6, which YAML reads as text
        except ValueError:
            return value
    return value


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, Mapping) and value and not str(key).endswith("kwargs"):
            found |= _flat(value, name)
        else:
            found[name] = _value(value) if isinstance(value, str) else value
    return found
