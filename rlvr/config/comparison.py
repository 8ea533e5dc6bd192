"""A comparison file -> the runs it plans: every arm with every seed, each with a resolved recipe.

The file names a shared recipe and, per arm, what differs from it. All of it is resolved before the first run starts,
and what decides the base probe must be the same in all arms, so that they share one through the baseline store. An arm
is a training by `rlvr train` or, as `command: lab distill`, the lab's distillation with the same probes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from rlvr.config.checks import check_braces
from rlvr.config.fields import Name, Seed
from rlvr.config.overrides import apply_overrides
from rlvr.config.recipe import Recipe, find_recipe, load_recipe, resolved
from rlvr.config.strict import from_dict
from rlvr.config.wording import describe, did_you_mean
from rlvr.config.yaml_text import parse_yaml
from rlvr.runs.kept_checkpoints import ended_by
from rlvr.runs.owner import NAME as OWNER
from rlvr.runs.run_dir import RunDir, flat
from rlvr.types import UserError

_NAME = re.compile(r"[._-]*[A-Za-z0-9][A-Za-z0-9._-]*")
_OWNED = {"name": "name", "seed": "seeds", "run_dir": "run_dir"}
"""Recipe keys that the comparison sets, and the key of the comparison that decides them."""
_MAY_DIFFER = re.compile(r"probes\.(every|batch_size)|data\.probe\.[^.]+\.every|model\.lora(\..*)?")
"""Of the model and the probes, what arms may differ in without needing a base probe of their own."""
TRAIN, DISTILL = "train", "lab distill"
_DISTILL_READS = re.compile(r"train\.(steps|save_every|keep_checkpoints|log_every)|(probes|judge|tracking)\..*")
"""Keys that an arm of `DISTILL` may set; for the rest distillation has its own values (rlvr.config.distillation)."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A list of arms to run with every seed."""

    name: Name
    """Letters, digits, `.`, `_`, `-`: directories are named after it."""
    recipe: str
    """Path of the recipe that all arms share."""
    seeds: tuple[Seed, ...]
    """Every arm is run once with each. Two or more give intervals over seeds."""
    arms: dict[str, dict[str, Any]]
    """Arm -> what differs: `algorithm`, a section that replaces the recipe's, and dotted keys as `train.steps: 30`; or
    `command: lab distill` in place of an algorithm."""
    shared: dict[str, Any] = field(default_factory=dict)
    """What differs from the recipe in all arms, as dotted keys; an arm's own keys win."""
    run_dir: str = "runs/{name}/{arm}-{seed}"
    """Where each run is written; {name}, {arm} and {seed} are filled in. Relative to the current directory."""


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One run of a comparison."""

    arm: str
    seed: int
    recipe_file: Path
    recipe: Recipe
    overrides: tuple[str, ...]
    """With these, `rlvr COMMAND` on the recipe's file does this run."""
    file: Path
    """The comparison."""
    overruled: tuple[str, ...]
    """The arm's own settings that the command line replaced."""
    command: str = TRAIN
    """`train` or `lab distill`."""

    @property
    def path(self) -> Path:
        return self.recipe.run_path

    @property
    def log(self) -> Path:
        """Log file of the run, beside its directory (which has to be empty when the run starts)."""
        return self.path.with_name(f"{self.path.name}.log")

    @property
    def begun(self) -> bool:
        return self.path.is_dir() and any(entry.name != OWNER for entry in self.path.iterdir())

    @property
    def finished(self) -> bool:
        """Its last probe is on disk, and with it the report or the last checkpoint, which are written after it.

        The last probe is that of the last step, or the one at which `train.stop_on` ended the run. An extended run is
        resumed once all the same: its recipe has to have the steps of the others.
        """
        run, train = RunDir(self.path), self.recipe.train
        rows, rule = run.read_jsonl(run.boundary), train.stop_on and train.stop_on.shrunk
        ended = bool(rows) and ended_by(rows[-1], rule) and run.read_recipe()["recipe"]["train"]["steps"] == train.steps
        last = rows[-1]["step"] if ended else train.steps
        if not any(row.get("step") == last for row in rows):
            return False
        latest = run.latest_checkpoint()
        return run.report.is_file() or (latest is not None and latest == run.checkpoint(last))


def load_comparison(
    path: str | Path, overrides: Sequence[str] = (), arms: Sequence[str] | None = None
) -> list[PlannedRun]:
    """Read a comparison and resolve every run of it: all arms with the first seed, then with the second, and so on.

    `arms`: only these, in this order; None: all of the file. Overrides of name, recipe, seeds, arms and run_dir change
    the comparison; all others are settings of every arm's recipe. Raises UserError, one line that starts with the file.
    """
    file = find_recipe(path)
    own = {key.name for key in fields(Comparison)}
    split: dict[bool, list[str]] = {True: [], False: []}
    for override in overrides:
        split[re.split("[.=]", override, maxsplit=1)[0] in own].append(override)
    try:
        tree = parse_yaml(file.read_text(encoding="utf-8"))
        if not isinstance(tree, dict):
            raise UserError("found no keys; expected a comparison with name, recipe, seeds and arms")
        if "algorithm" in tree and "arms" not in tree:
            raise UserError("this is the recipe of one run, expected a comparison (name, recipe, seeds, arms); train "
                            f"it by `rlvr train {path}`")
        comparison = from_dict(Comparison, apply_overrides(tree, split[True]))
        _validate(comparison)
        chosen = list(comparison.arms) if arms is None else _chosen(arms, list(comparison.arms))
        runs = [_planned(file, comparison, arm, seed, split[False]) for seed in comparison.seeds for arm in chosen]
        _check_shared(runs)
    except (UserError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: {error}") from None
    return runs


def overruled_text(runs: Sequence[PlannedRun]) -> str:
    """Which settings of single arms the command line replaced, in one line; empty when none."""
    arms = {run.arm: run.overruled for run in runs if run.overruled}
    found = "; ".join(f"{', '.join(keys)} of {arm}" for arm, keys in arms.items())
    return f"note: the command line, which is for all arms, replaces {found}" if found else ""


def _validate(comparison: Comparison) -> None:
    if not comparison.seeds or len(set(comparison.seeds)) < len(comparison.seeds):
        raise UserError(f"seeds: found {list(comparison.seeds)}, expected at least one, each once, as in [0, 1, 2]")
    if not comparison.arms:
        raise UserError("arms: found none, expected a section per arm, as in grpo: {algorithm: {name: grpo}}")
    for arm in comparison.arms:
        if not _NAME.fullmatch(arm):
            raise UserError(f"arms: found the name {arm!r}, expected letters, digits, '.', '_' or '-'")
    check_braces(comparison.run_dir, ("name", "arm", "seed"))
    paths = {comparison.run_dir.format(name="", arm=arm, seed=seed) for arm in "ab" for seed in (0, 1)}
    if len(paths) < 4:
        raise UserError(f"found {comparison.run_dir!r}, expected a path with {{arm}} and {{seed}} in it, and {{name}} "
                        "if you like", where="run_dir")


def _chosen(arms: Sequence[str], known: Sequence[str]) -> list[str]:
    for arm in arms:
        if arm not in known:
            raise UserError(f"--arms: no arm {arm!r}{did_you_mean(arm, known)}")
    return list(dict.fromkeys(arms))


def _planned(file: Path, comparison: Comparison, arm: str, seed: int, overrides: Sequence[str]) -> PlannedRun:
    for override in overrides:
        key = override.partition("=")[0]
        if key in _OWNED:
            raise UserError(f"override {override!r}: the comparison sets it; change {_OWNED[key]} instead")
    run_dir = comparison.run_dir.format(name=comparison.name, arm=arm, seed=seed)
    own, mine = dict(comparison.arms[arm]), f"arm {arm!r}"
    command = own.pop("command", TRAIN)
    shared = {key: value for key, value in comparison.shared.items() if key not in own}
    try:
        _check_command(command, own)
        settings, rest = _arm_settings(shared | own, overrides)
        sourced = [("shared" if key in shared else mine, setting) for key, setting in settings.items()]
        first, last = [f"name={comparison.name}", f"tracking.group={arm}"], [f"seed={seed}", f"run_dir={run_dir}"]
        recipe = load_recipe(comparison.recipe, [*rest, *last], sourced=[*((mine, word) for word in first), *sourced])
        if not recipe.probes.enabled:
            raise UserError("probes.enabled: found false, expected true: the probes are what is compared")
    except UserError as error:
        if error.where in ("shared", mine):
            raise
        raise error.within(mine) from None
    return PlannedRun(arm, seed, find_recipe(comparison.recipe), recipe, (*first, *settings.values(), *rest, *last),
                      file, _overruled(own, overrides), command)


def _check_command(command: object, keys: Mapping[str, Any]) -> None:
    """UserError for an unknown command, and for keys of an arm that its command would not read."""
    if command not in (TRAIN, DISTILL):
        raise UserError(f"command: found {describe(command)}, expected {TRAIN!r} or {DISTILL!r}")
    unread = [key for key in keys if command == DISTILL and not _DISTILL_READS.fullmatch(key)]
    if unread:
        raise UserError(f"{unread[0]}: {DISTILL!r} has a value of its own for it; expected train.steps, "
                        "train.save_every or keys of probes, judge or tracking; remove it from this arm")


def _overruled(own: Mapping[str, Any], overrides: Sequence[str]) -> tuple[str, ...]:
    """Keys of an arm that an override replaces, whole or by a section above them."""
    keys = [f"algorithm.{key}" for key in own.get("algorithm", {})] if isinstance(own.get("algorithm"), dict) else []
    keys += [key for key in own if key != "algorithm"]
    given = [override.partition("=")[0] for override in overrides]
    return tuple(key for key in keys if any(key == word or key.startswith(f"{word}.") for word in given))


def _arm_settings(arm: Mapping[str, Any], overrides: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """An arm's keys as overrides of the recipe, the algorithm first, and the command line's that come after them."""
    settings: dict[str, str] = {}
    rest = list(overrides)
    for key, value in arm.items():
        if key == "algorithm" and isinstance(value, Mapping):
            # Whole, as the recipe's own section may hold keys of another algorithm; so overrides below it go inside.
            section, rest = dict(value), []
            for override in overrides:
                name, _, text = override.partition("=")
                if name.startswith("algorithm."):
                    section[name.removeprefix("algorithm.")] = parse_yaml(text, command_line=True)
                else:
                    rest.append(override)
            settings = {key: f"algorithm={json.dumps(section)}", **settings}
        elif "." in key:
            settings[key] = f"{key}={json.dumps(value)}"
        else:
            raise UserError(f"{key}: found {describe(value)}, expected the section `algorithm` or dotted keys of the "
                            "recipe, as in train.learning_rate: 1.0e-4")
    return settings, rest


def _check_shared(runs: Sequence[PlannedRun]) -> None:
    """UserError when an arm would have a base probe of its own, or probes that cannot be compared."""
    first = _shared(runs[0].recipe)
    for run in runs[1:]:
        mine = _shared(run.recipe)
        for key in [*first, *(key for key in mine if key not in first)]:
            if first.get(key) != mine.get(key):
                raise UserError(f"arm {run.arm!r}: {key} is {mine.get(key)!r}, but {first.get(key)!r} in arm "
                                f"{runs[0].arm!r}: all arms share one base probe; set it in the shared recipe")


def _shared(recipe: Recipe) -> dict[str, Any]:
    tree = flat(resolved(recipe))
    return {key: value for key, value in tree.items()
            if key.startswith(("model.", "data.probe.", "probes.")) and not _MAY_DIFFER.fullmatch(key)}
