"""What `rlvr probe` shall measure: turns a recipe, the recipe of a run, or the command line into a `ProbeRecipe`.

A probe without a training needs no training section. `ProbeRecipe` is the part of a recipe that it does need, with the
same keys, defaults and checks.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from rlvr.cli.columns import usual_columns
from rlvr.cli.model_paths import by_step, check_there, expanded
from rlvr.config.overrides import apply_overrides
from rlvr.config.probe_recipe import ProbeRecipe, ProbeRequest, validate_probe
from rlvr.config.recipe import load_recipe, with_presets
from rlvr.config.strict import from_dict
from rlvr.runs.run_dir import RunDir
from rlvr.types import UserError

MAX_NEW_TOKENS = 4096
"""Without a recipe. A model that thinks longer is cut, which the report shows as `truncated`: raise it then."""
_OVERRIDE = re.compile(r"[A-Za-z_]\w*(\.\w+)*=")
_RECIPE = (".yaml", ".yml")


def probe_request(
    words: Sequence[str], *, data: str | None = None, base: str | None = None, plan: str | None = None,
    verifier: str | None = None, samples: Path | None = None, engine: str | None = None, base_urls: Sequence[str] = (),
    watched: Path | None = None,
) -> ProbeRequest:
    """Sort the words of `rlvr probe MODEL ... [RECIPE] [key=value ...]` and resolve the recipe.

    The recipe is the file among the words, else the one of the run that all models come from, else what `data`,
    `plan` and `verifier` say. `base` replaces the model that the others are compared with; without it that is the
    recipe's, else the first model. With `samples` (the file or folder of some that are drawn already) there are no
    models, and without `data` and a recipe the problems are those in the files. `engine` and `base_urls` set what
    draws; with an endpoint, models are the names under which it serves them. The checkpoints in `watched` are still to
    come; a directory of a run gives the recipe.

    Raises: UserError, one line.
    """
    recipes, models, settings = _sorted_words(words)
    if plan is not None:
        settings = [f"probes.plan={plan}", f"probes.base_plan={plan}", *settings]
    if verifier is not None:
        settings = [f"data.probe.verifier={verifier}", *settings]
    if base_urls and engine not in (None, "openai"):
        raise UserError(f"--base-url: found beside --engine {engine}, which asks no server; remove one, or choose "
                        "--engine openai")
    if base_urls:
        engine = "openai"
    if engine is not None:
        settings = [f"probes.engine={engine}", *settings]
    if base_urls:
        settings = [f"probes.endpoint.base_url={json.dumps(base_urls)}", *settings]
    served = "probes.engine=openai" in settings
    _check_source(recipes, models, samples, watched, served)
    if base is not None and samples is None and not served:
        check_there(base)
    paths = list(models) if served else [path for model in models for path in expanded(model)]
    stated = {word.partition("=")[0] for word in settings}
    if "probes.budget" in stated:
        raise UserError("probes.budget: a share of what a training generates, and `rlvr probe` trains nothing; remove "
                        "it, or choose a cheaper --plan or a smaller data.probe.size")
    if recipes:
        if data is not None:
            raise UserError(f"found the recipe {recipes[0]!r} and --data {data}: a recipe names its own problems; "
                            f"remove one, or set data.probe.source={data}")
        settings = [*settings, f"model.path={base}"] if base is not None else settings
        trained = load_recipe(recipes[0], settings)
        return ProbeRequest(trained, by_step(paths, None if samples is not None else trained.model.path), True)
    run = _common_run(models if watched is None else [str(watched)])
    if watched is not None and run is None and base is None:
        raise UserError(f"--watch {watched}: no run of rlvr, so what its checkpoints are compared with is unknown; "
                        "give the model that the training began with as --base")
    own_problems = run is None and data is None and samples is not None
    if own_problems:
        data = str(samples)
        _check_settings_of_own_problems(stated)
    recipe = _recipe(run, data, settings, base or (paths[0] if paths else None), replace=base is not None)
    given = {"probes.temperature", "probes.top_p", "probes.max_new_tokens"} <= stated
    models_by_step = by_step(paths, recipe.model and recipe.model.path)
    return ProbeRequest(recipe, models_by_step, given or run is not None, own_problems, _schedule(run))


def _check_source(
    recipes: Sequence[str], models: Sequence[str], samples: Path | None, watched: Path | None, served: bool
) -> None:
    """Raises UserError unless there are models or, instead of them, samples or a directory to watch."""
    if watched is not None and (models or samples is not None or served):
        raise UserError("found models, --from or an endpoint beside --watch, which probes the checkpoints in its "
                        "directory; remove them")
    if samples is None and not models and watched is None:
        raise UserError("found no model to probe; expected `lab`, hub ids, directories of models, or a run directory")
    if samples is not None and recipes and not recipes[0].endswith(_RECIPE):
        raise UserError(f"--from: found a second file, {recipes[0]}; expected one file, or the folder that holds them "
                        "all")
    if samples is not None and models:
        raise UserError(f"found the model {models[0]!r} beside --from, whose samples are drawn already; remove one")
    if samples is not None and not samples.exists():
        raise UserError(f"{samples}: no such file or folder; expected completions, one JSON object per line with "
                        "problem_id, sample, text, or what another program wrote")


def _recipe(
    run: RunDir | None, data: str | None, settings: Sequence[str], model: str | None, *, replace: bool
) -> ProbeRecipe:
    """That of `run`, or one of defaults, with other problems and settings. Its model, where it has none or with
    `replace`, is `model`."""
    if run is None and data is None:
        raise UserError("found no recipe and no --data; expected a RECIPE (.yaml), --data with a .jsonl or .parquet "
                        "file, a hub id or `lab`, or a model that lies in a run directory")
    tree = _skeleton() if run is None else _stored(run)
    if data is not None:
        stated = {key: value for key, _, value in (setting.partition("=") for setting in settings)}
        found = {} if stated.keys() & {"data.probe.preset", "data.probe.reader"} else usual_columns(
            data, stated.get("data.probe.prompt"))
        tree["data"] = {"probe": {"source": data, **found}}
    if replace or "model" not in tree:
        tree["model"] = None if model is None else {"path": model}
    try:
        recipe = from_dict(ProbeRecipe, with_presets(apply_overrides(tree, settings)))
        validate_probe(recipe)
    except UserError as error:
        raise UserError(f"{run.recipe}: {error}" if run is not None else str(error)) from None
    return recipe


def _check_settings_of_own_problems(stated: set[str]) -> None:
    """Raises UserError for a setting of data.probe that would change problems which the files of samples hold."""
    for key in sorted(stated):
        if key.startswith("data.") and key not in ("data.probe.verifier", "data.probe.drop_bad_golds"):
            raise UserError(f"{key}: found without --data, so the problems are those in the files of --from; remove "
                            "it, or name the problems with --data")


def is_setting(word: str) -> bool:
    """Whether a word of the command line is key=value and no file. (`Path.exists` raises OSError for a long word.)"""
    return _OVERRIDE.match(word) is not None and not os.path.exists(word)


def _sorted_words(words: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """(recipes, models, overrides)"""
    recipes, models, settings = [], [], []
    for word in words:
        if is_setting(word):
            settings.append(word)
        elif word.endswith(_RECIPE) or os.path.isfile(word):
            recipes.append(word)
        else:
            models.append(word)
    if len(recipes) > 1:
        raise UserError(f"found {len(recipes)} recipes ({', '.join(recipes)}), expected one; probe them one by one")
    return recipes, models, settings


def _common_run(models: Sequence[str]) -> RunDir | None:
    """The run directory that all models are or lie in (RUN, RUN/checkpoints/checkpoint-60); None if there is none."""
    homes = set()
    for model in models:
        folder = Path(model)
        homes.add(folder if RunDir(folder).recipe.is_file() else folder.parent.parent)
    if len(homes) != 1:
        return None
    run = RunDir(homes.pop())
    return run if run.recipe.is_file() else None


def _stored(run: RunDir) -> dict[str, Any]:
    """The probe's part of a run's recipe, as a tree that overrides may change."""
    tree = run.read_recipe()["recipe"]
    kept = {each.name: tree[each.name] for each in fields(ProbeRecipe) if each.name in tree}
    if isinstance(kept.get("data"), dict):
        kept["data"] = {key: value for key, value in kept["data"].items() if key == "probe"}
    return kept


def _schedule(run: RunDir | None) -> Mapping[str, Any] | None:
    rows = run.read_jsonl(run.boundary) if run is not None else []
    return rows[0].get("schedule") if rows else None


def _skeleton() -> dict[str, Any]:
    return {"name": "probe", "probes": {"every": 1, "max_new_tokens": MAX_NEW_TOKENS}}
