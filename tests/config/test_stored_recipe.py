"""Runs that were started by an earlier version: their recipe.json has keys that are gone.

Run: python -m pytest tests/config/test_stored_recipe.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rlvr.config.recipe import Recipe, load_recipe, resolved
from rlvr.config.strict import from_dict
from rlvr.runs.removed_keys import REMOVED
from rlvr.runs.run_dir import RunDir
from rlvr.types import UserError

MATCHED = ["probes.arms.matched={match_entropy: true}"]


def stored(tmp_path: Path, **held: Any) -> tuple[RunDir, dict[str, Any]]:
    """A run directory whose recipe has all removed keys, with the values that are fixed now or those `held`."""
    run = RunDir.create(tmp_path / "run")
    tree = json.loads(json.dumps(resolved(load_recipe("quickstart/lab_grpo.yaml", MATCHED))))
    old = json.loads(json.dumps(tree))
    for pattern, fixed in REMOVED.items():
        *path, name = pattern.replace("*", "matched").split(".")
        section = old
        for part in path:
            section = section.setdefault(part, {})
        section[name] = held.get(name, fixed)
    run.write_recipe(old)
    return run, tree


@pytest.mark.parametrize("held", [{}, {"loss": "trl"}])
def test_removed_keys_are_left_out_whatever_they_held(tmp_path: Path, held: dict[str, Any]) -> None:
    run, tree = stored(tmp_path, **held)
    assert from_dict(Recipe, {key: run.read_recipe()["recipe"][key] for key in tree}) == from_dict(Recipe, tree)


def test_a_run_resumes_only_if_it_held_what_is_fixed_now(tmp_path: Path) -> None:
    run, tree = stored(tmp_path / "a")
    run.write_recipe(tree)
    other, tree = stored(tmp_path / "b", loss="trl")
    with pytest.raises(UserError, match=r'^train.loss: the run in .* was started with "trl", the recipe no longer has'):
        other.write_recipe(tree)


def test_exactly_the_removed_keys_are_tolerated(tmp_path: Path) -> None:
    run, tree = stored(tmp_path)
    tree["train"]["losses"] = 1
    run.recipe.unlink()
    run.write_recipe(tree)
    with pytest.raises(UserError, match=r"^train.losses: unknown key"):
        from_dict(Recipe, run.read_recipe()["recipe"])
