"""Models on the command line: a folder, hub id or `lab`, all checkpoints below a folder, and their training steps.

Weights that a distributed training left in shards cannot be loaded as they are: the error names the command of the
program that wrote them.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from rlvr.runs.run_dir import RunDir
from rlvr.runs.step_names import step_of
from rlvr.types import UserError

DEPTH = 3
"""Folders below the named one in which checkpoints are looked for: verl has global_step_60/actor/huggingface."""


def expanded(model: str) -> list[str]:
    """The model itself, or the checkpoints of a run directory or of any trainer's output directory, by step.

    Raises: UserError for a folder without models, for one whose weights are in shards, and for one that lacks a file.
    """
    folder = Path(model)
    check_there(model)
    if model == "lab" or not folder.is_dir():
        return [model]
    if RunDir(folder).recipe.is_file():
        saved = [path for _, path in RunDir(folder).complete_checkpoints()]
        if not saved:
            raise UserError(f"{model}: found no complete checkpoint-N in this run directory; expected a run that saved "
                            "checkpoints (train.save_every)")
        return [str(path) for path in saved]
    home = folder.absolute().parent
    below = [path for path in _folders(folder) if step_of(str(path.absolute().relative_to(home))) is not None]
    checkpoints = [path for path in below if _holds_model(path)]
    if not checkpoints and _is_model(folder):
        _check_whole(folder)
        return [model]
    merged = {step_of(str(path)) for path in checkpoints}
    unmerged = [path for path in (folder, *below) if merge_command(path) and step_of(str(path)) not in merged]
    sharded = list({step_of(str(path)): path for path in unmerged}.values())
    if not checkpoints and sharded:
        raise UserError(_unmerged(sharded[0], len(sharded)))
    if not checkpoints:
        raise UserError(f"{model}: found no config.json and no complete checkpoint-N in it; expected a model, or the "
                        "directory of a training that saved checkpoints")
    if sharded:
        sys.stderr.write(f"{model}: left out {len(sharded)} of {len(sharded) + len(checkpoints)} checkpoints; "
                         f"{_unmerged(sharded[0], len(sharded))}\n")
    if _holds_model(folder):
        sys.stderr.write(f"{model}: holds a model and {len(checkpoints)} checkpoints; the checkpoints are probed\n")
    for path in checkpoints:
        _check_whole(path)
    return [str(path) for path in sorted(checkpoints, key=lambda path: (step_of(str(path)) or 0, str(path)))]


def merge_command(folder: Path) -> str | None:
    """The command that makes a model of the shards in a folder; None if there are none.

    verl: docs/advance/checkpoint.rst; DeepSpeed: deepspeed/utils/zero_to_fp32.py, which it puts beside the shards;
    PyTorch FSDP by accelerate: `accelerate merge-weights`.
    """
    where = shlex.quote(str(folder))
    if any(folder.glob("model_world_size_*_rank_*.pt")) or (folder / "dist_ckpt").is_dir():
        backend = "megatron" if (folder / "dist_ckpt").is_dir() else "fsdp"
        return (f"python -m verl.model_merger merge --backend {backend} --local_dir {where} --target_dir "
                f"{shlex.quote(str(folder / 'huggingface'))}")
    if any(folder.glob("global_step*/*zero_pp_rank_*_optim_states.pt")) or any(
            folder.glob("global_step*/mp_rank_*_model_states.pt")):
        script = folder / "zero_to_fp32.py"
        program = shlex.quote(str(script)) if script.is_file() else "-m deepspeed.utils.zero_to_fp32"
        return f"python {program} {where} {where} --safe_serialization"
    if any(folder.glob("pytorch_model_fsdp_0/*.distcp")):
        return f"accelerate merge-weights {shlex.quote(str(folder / 'pytorch_model_fsdp_0'))} {where}"
    return None


def check_there(name: str) -> None:
    """Raises UserError for a local path that does not exist; what may be a hub id is left to the loader.

    A hub id is `name` or `owner/name`: with a third part, or where `owner` is a folder here, it is a path.
    """
    model = Path(name)
    if model.exists() or name == "lab":
        return
    home = next((run for run in (model, *model.parents[:2]) if RunDir(run).recipe.is_file()), None)
    if home is not None:
        saved = [f"checkpoint-{step}" for step, _ in RunDir(home).complete_checkpoints()]
        raise UserError(f"{name}: no such path; complete checkpoints in {RunDir(home).checkpoints}: "
                        f"{', '.join(saved) or 'none'}")
    local = model.is_absolute() or len(model.parts) > 2 or name.startswith((".", "~"))
    if local or (len(model.parts) == 2 and model.parent.is_dir()):
        raise UserError(f"{name}: no such path; expected `lab`, a hub id, the directory of a model or of a run")


def by_step(paths: Sequence[str], base: str | None) -> dict[int, str]:
    """Steps from the models' names; models without one are numbered from 1, in their order."""
    paths = [path for path in paths if path != base]
    steps = [step_of(path) for path in paths]
    if all(step is None for step in steps):
        return dict(enumerate(paths, start=1))
    found: dict[int, str] = {}
    for path, step in zip(paths, steps, strict=True):
        if step is None:
            raise UserError(f"{path}: no training step in its name, as in checkpoint-60, but {len(paths) - 1} other "
                            "model(s) beside it; rename it, or probe it into an output directory of its own")
        if step == 0:
            raise UserError(f"{path}: step 0 is the base's; name it as --base, or probe it on its own")
        if step in found:
            raise UserError(f"{path} and {found[step]} are both step {step}; probe them into two directories")
        found[step] = path
    return dict(sorted(found.items()))


def _folders(folder: Path) -> list[Path]:
    """All folders below it, `DEPTH` deep, but the critics that verl saves beside its actors."""
    found, level = [], [folder]
    for _ in range(DEPTH):
        level = sorted(path for parent in level for path in parent.iterdir()
                       if path.is_dir() and path.name != "critic")
        found += level
    return found


def _is_model(folder: Path) -> bool:
    return any((folder / f"{kind}.json").is_file() for kind in ("config", "adapter_config"))


def _holds_model(folder: Path) -> bool:
    """Whether there are weights as well: verl and ZeRO leave a config.json beside their shards."""
    return _is_model(folder) and any(any(folder.glob(kind)) for kind in (
        "*.safetensors", "*.safetensors.index.json", "pytorch_model*.bin", "adapter_model.bin"))


def _check_whole(folder: Path) -> None:
    """Raises UserError for weights that are in shards, and for an index that names a file which is not there."""
    if not _holds_model(folder):
        shards = next((path for path in (folder, folder.parent, folder / "actor") if merge_command(path)), None)
        if shards is not None:
            raise UserError(_unmerged(shards, 1))
    for index in (*folder.glob("*.safetensors.index.json"), *folder.glob("*.bin.index.json")):
        names = set(json.loads(index.read_bytes())["weight_map"].values())
        lacking = sorted(name for name in names if not (folder / name).is_file())
        if lacking:
            raise UserError(f"{index}: names {len(names)} files of weights, of which {len(lacking)} are not there "
                            f"(first: {lacking[0]}); copy them, or wait until the checkpoint is written")


def _unmerged(folder: Path, number: int) -> str:
    more = f" (and likewise {number - 1} more)" if number > 1 else ""
    return f"{folder}: its weights are in shards; merge them first{more}: {merge_command(folder)}"
