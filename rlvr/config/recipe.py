"""The recipe of a run: one YAML file -> frozen dataclasses -> `recipe.json`. Defaults live here and nowhere else.

The defaults are those of the comparison in 2504.13837 (256 prompts x 8 rollouts, one update per rollout batch,
constant learning rate 1e-6, temperature 1, no KL). Overrides on the command line are `key.sub=value`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlvr.config.checks import check_anchor, check_training
from rlvr.config.data import OF_ONE, OWN, DataSection, is_several, path_of
from rlvr.config.overrides import COMMAND_LINE, CommandLine, apply_overrides
from rlvr.config.presets import expand, opened
from rlvr.config.probe_recipe import ProbeRecipe, data_of_sets, of_sets, told_of_set, validate_probe
from rlvr.config.sections import ModelSpec, TrackingSection, TrainSection
from rlvr.config.strict import from_dict, to_tree
from rlvr.config.wording import did_you_mean
from rlvr.config.yaml_text import parse_yaml
from rlvr.types import UserError

SHIPPED = Path(__file__).parents[1] / "recipes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe(ProbeRecipe):
    """Everything that decides a run."""

    model: ModelSpec
    """The model to train, which is also the base that the boundary is compared with."""
    data: DataSection
    """Where the problems come from."""
    algorithm: dict[str, Any]
    """`name` (a name from `rlvr list` or `package.module:Class`) and the settings of that algorithm."""
    train: TrainSection
    """Rollouts, updates and checkpoints."""
    run_dir: str = "runs/{name}"
    """Directory of the run, relative to the current directory; {name}, {algorithm} and {seed} are filled in."""
    tracking: TrackingSection = field(default_factory=TrackingSection)
    """Weights & Biases."""

    @property
    def algorithm_name(self) -> str:
        return self.algorithm["name"]

    @property
    def probes_here(self) -> bool:
        """Whether the training itself probes."""
        return self.probes.enabled and not self.train.probe_elsewhere

    @property
    def run_path(self) -> Path:
        """`run_dir` with its fields filled in."""
        return Path(self.run_dir.format(name=self.name, algorithm=self.algorithm_name, seed=self.seed)).expanduser()


def validate(recipe: Recipe) -> None:
    """Check what the types of single fields do not say. Raises UserError with path, found, expected and the way out."""
    for name, one in of_sets(recipe).items():
        with told_of_set(name, data_of_sets(recipe)[name]):
            check_training(one.model, one.algorithm, one.data, one.train, one.probes, one.run_dir)
    check_anchor(recipe.train, recipe.model)
    validate_probe(recipe)


def load_recipe(
    path: str | Path, overrides: Sequence[str] = (), *, sourced: Sequence[tuple[str, str]] = ()
) -> Recipe:
    """Read, override and validate a recipe. A path that is no file here may name a shipped recipe, as in
    `recipes/quickstart/lab_grpo.yaml`. `sourced`: overrides from elsewhere, which `overrides` win over, each behind
    the place it comes from, as in ("shared", "train.steps=4"). Raises UserError, one line that starts with the file, or
    with that place.
    """
    file = find_recipe(path)
    try:
        tree = parse_yaml(file.read_text(encoding="utf-8"))
        if not isinstance(tree, dict):
            raise UserError("found no keys; expected a recipe with name, model, data, algorithm, train and probes")
        if "arms" in tree:
            raise UserError("this is a comparison of several arms, expected the recipe of one run; run it by "
                            f"`rlvr compare {path}`")
        for source, override in sourced:
            apply_overrides(tree, [override], source)
        recipe = from_dict(Recipe, with_presets(apply_overrides(tree, overrides)))
        validate(recipe)
    except UserError as error:
        if any(error.where == source for source, _ in sourced):
            raise
        raise error.within(str(file)) from None
    except UnicodeDecodeError as error:
        raise UserError(str(error), where=str(file)) from None
    return recipe


def with_presets(tree: dict[str, Any]) -> dict[str, Any]:
    """`data.train` and `data.probe`, or the sections in them, with the keys that their `preset` stands for
    (rlvr.config.presets), and without those that the command line sets for all probe sets."""
    data = tree.get("data")
    if not isinstance(data, dict):
        return tree
    sections = {name: expand_all(data[name], f"data.{name}") for name in ("train", "probe") if name in data}
    if is_several(sections.get("probe")):
        sections["probe"] = _without_overridden(sections["probe"], opened(tree.get("probes")))
    return {**tree, "data": {**data, **sections}}


def _without_overridden(sets: Mapping[str, Mapping[str, Any]], probes: Any) -> dict[str, dict[str, Any]]:
    """Probe sets without their own value of a key of `probes` that was set nearer to the user's hand: a set's `plan`
    wins over that of the same file, and `probes.plan=cheap` on the command line wins over both."""
    given = probes if isinstance(probes, Mapping) else {}
    return {name: {key: value for key, value in one.items()
                   if key not in OWN or _nearness(given.get(key)) <= _nearness(value)} for name, one in sets.items()}


def _nearness(value: Any) -> int:
    """0: from the recipe's file; 1: an override from elsewhere, as of a comparison; 2: from the command line."""
    return 0 if not isinstance(value, CommandLine) else 2 if value.source == COMMAND_LINE else 1


def expand_all(section: Any, where: str) -> Any:
    """As `expand`, of a section or of each in a mapping of several. Raises UserError for a mixture of both."""
    section = opened(section)
    if not isinstance(section, Mapping):
        return section
    own = [key for key in section if key not in OF_ONE]
    section = {**section, **{key: opened(section[key]) for key in own}}
    if is_several(section):
        return {name: expand(each, path_of(where, name)) for name, each in section.items()}
    sections = [key for key in own if isinstance(section[key], Mapping)]
    if sections and len(sections) == len(own):
        key = next(key for key in section if key in OF_ONE)
        raise UserError(f"found the key {key!r} beside sections ({', '.join(map(str, sections))}), expected keys of "
                        f"one section or sections alone; write {where}.{sections[0]}.{key}", where=where)
    return expand(section, where)


def resolved(recipe: Recipe) -> dict[str, Any]:
    """The whole recipe, defaults included, as JSON data; `from_dict(Recipe, ...)` reads it back unchanged."""
    return to_tree(recipe)


def find_recipe(path: str | Path) -> Path:
    """The file that `path` names: one that is there, or a shipped one. Raises UserError with the closest known."""
    file = Path(path)
    if file.is_file():
        return file
    shipped = SHIPPED / Path(*file.parts[1:] if file.parts[:1] == ("recipes",) else file.parts)
    if not file.is_absolute() and shipped.is_file():
        return shipped
    known = sorted(f"recipes/{found.relative_to(SHIPPED)}" for found in SHIPPED.glob("*/*.yaml"))
    raise UserError(f"no recipe file {str(path)!r}{did_you_mean(str(path), known)}")
