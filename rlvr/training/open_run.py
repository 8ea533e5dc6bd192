"""Prepares the run directory before the first step: a new one, or one that is resumed from its last checkpoint."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlvr.data.problem_sets import problem_rows
from rlvr.models.loading import source
from rlvr.runs.run_dir import RunDir
from rlvr.types import Problem, UserError

_SHAPE_KEYS = ("model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
               "num_attention_heads", "num_key_value_heads")


def open_run(
    run_dir: RunDir, tree: dict[str, Any], problems: Sequence[Problem], *, lab: bool, resume: bool = False
) -> str | None:
    """On rank 0: write recipe and problems, or compare them with those there, and drop rows that the resumed run will
    write again. Returns the checkpoint to resume from, None for a new run."""
    run_dir.write_recipe(tree, lab=lab)
    run_dir.write_problems(problem_rows(problems))
    checkpoint = run_dir.latest_checkpoint(discard_incomplete=True) if resume else None
    if checkpoint is not None:
        check_checkpoint(checkpoint, source(tree["model"]["path"]))
    run_dir.truncate_after(int(checkpoint.name.split("-")[1]) if checkpoint else -1)
    return None if checkpoint is None else str(checkpoint)


def check_checkpoint(checkpoint: Path, model: str) -> None:
    """Raises UserError if the checkpoint's weights cannot be `model`'s. Adapters carry no config: not checked."""
    file = checkpoint / "config.json"
    if not file.is_file():
        return
    from transformers import PreTrainedConfig

    found = json.loads(file.read_text())
    expected = PreTrainedConfig.get_config_dict(model)[0]
    for key in _SHAPE_KEYS:
        if found.get(key) != expected.get(key):
            raise UserError(f"{file}: {key} is {found.get(key)!r}, but the model of the recipe has "
                            f"{expected.get(key)!r}: it is a checkpoint of another model; restore it, or delete "
                            f"{checkpoint} to resume from the one before")
