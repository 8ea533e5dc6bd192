"""Prepares the run directory before the first step: a new one, or one that is resumed from its last checkpoint."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rlvr.data.problem_sets import problem_rows
from rlvr.models.loading import source
from rlvr.probes import past
from rlvr.runs.files import check_saved
from rlvr.runs.run_dir import COMPLETE, RunDir
from rlvr.training.processes import world_size
from rlvr.types import Problem, UnsoundError, UserError

SHAPE = ("model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
         "num_key_value_heads")
"""Fields of a text model's config that decide the shapes of its weights."""


def open_run(
    run_dir: RunDir, tree: dict[str, Any], problems: Sequence[Problem], *, lab: bool, resume: bool = False,
    left_out: Mapping[str, int] | None = None,
) -> str | None:
    """On rank 0: write recipe and problems, or compare them with those there, and drop rows that the resumed run will
    write again. Returns the checkpoint to resume from, None for a new run. Says what more steps than before mean.

    `left_out`: why training problems were left out -> how many, for recipe.json.
    """
    before = run_dir.read_recipe()["recipe"] if run_dir.recipe.is_file() else tree
    run_dir.write_start(tree, problem_rows(problems), lab=lab, left_out=left_out or {})
    if tree["train"]["steps"] > before["train"]["steps"]:
        sys.stderr.write(_extended(run_dir, before["train"]["steps"], tree["train"]["steps"]))
    checkpoint = run_dir.latest_checkpoint(discard_incomplete=True) if resume else None
    if checkpoint is not None:
        if tree["train"]["save_only_model"]:
            raise UserError("found true: the checkpoints of this run hold no optimizer state, so it cannot be resumed; "
                            "start anew in another run_dir", where="train.save_only_model")
        check_saved(checkpoint, COMPLETE)
        check_checkpoint(checkpoint, source(tree["model"]["path"]), tree["model"]["revision"],
                         trust_remote_code=tree["model"]["trust_remote_code"])
    run_dir.truncate_after(int(checkpoint.name.split("-")[1]) if checkpoint else -1)
    return None if checkpoint is None else str(checkpoint)


def _extended(run_dir: RunDir, before: int, after: int) -> str:
    """What an extension does to the verdicts on the boundary, whose error was divided among the probes of the plan."""
    words, looks = f"note: the run is extended from {before} to {after} steps", past.planned_looks(run_dir, None)
    if looks is not None:
        words += (f"; its verdicts on the boundary were planned for {looks} probe{'s' if looks != 1 else ''} and hold "
                  "for them. Later probes are measured and reported, but have no error left to spend: what is "
                  "undecided then stays undecided. For verdicts over all steps start a new run")
    return words + "\n"


@contextmanager
def resume_explained(run_dir: RunDir, recipe: str | Path, overrides: Sequence[str]) -> Iterator[None]:
    """A training that ends early in this block, by Ctrl-C or numbers that cannot be right, says how to go on."""
    try:
        yield
    except (KeyboardInterrupt, UnsoundError) as error:
        raise type(error)(f"{error}; {how_to_resume(run_dir, recipe, overrides)}") from None


def how_to_resume(run_dir: RunDir, recipe: str | Path, overrides: Sequence[str]) -> str:
    """For a training that ends early: its last checkpoint and the command that goes on from there."""
    checkpoint = run_dir.latest_checkpoint()
    if checkpoint is None:
        return f"{run_dir.path} has no checkpoint yet"
    command = shlex.join(["rlvr", "train", str(recipe), *overrides, "--resume"])
    way = command if world_size() == 1 else "start it as before, with --resume"
    return f"the last checkpoint is {checkpoint}; to go on from it: {way}"


def check_checkpoint(
    checkpoint: Path, model: str, revision: str | None = None, *, trust_remote_code: bool = False
) -> None:
    """Raises UserError if the checkpoint's weights cannot be `model`'s. Adapters carry no config: not checked.

    Both configs are parsed by transformers, because the same config is written in several shapes: the flat one of
    Qwen2.5-VL on the hub is saved with a nested text config.
    """
    if not (checkpoint / "config.json").is_file():
        return
    from transformers import AutoConfig

    configs: list[Any] = [
        AutoConfig.from_pretrained(path, revision=version, trust_remote_code=trust_remote_code)
        for path, version in ((str(checkpoint), "main"), (model, revision or "main"))
    ]
    found, expected = (config.get_text_config() for config in configs)
    for key in SHAPE:
        there, here = getattr(found, key, None), getattr(expected, key, None)
        if there != here:
            raise UserError(
                f"{checkpoint}: {key} is {there!r}, but the model of the recipe, {model}, has {here!r}: this run "
                "trained another model; set model.path to that one, or give a new run_dir"
            )
