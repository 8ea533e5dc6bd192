"""Checkpoints of a training that goes on elsewhere: which are in its directory, and which of them are whole."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path

from rlvr.runs.run_dir import COMPLETE, RunDir
from rlvr.runs.step_names import step_of

logger = logging.getLogger(__name__)

POLL = 10.0
"""Seconds between two looks at the directory."""
CONFIGS = ("config.json", "adapter_config.json")


def appearing(folder: Path, *, until: int | None, after: int = -1) -> Iterator[tuple[int, str]]:
    """(step, path) of each checkpoint in `folder`, as soon as it is whole, by step; waits for the next one for ever, or
    until one of step `until` or later was given.

    Of a run of rlvr those with its marker; of any other trainer those whose weights are whole and whose files have not
    changed between two looks. One that is not of a later step than the last one given, or than `after`, is left out,
    which is said of those whose step was not given.
    """
    last = after
    looks: dict[Path, object] = {}
    told = {path for step, path in _checkpoints(folder) if step <= after}
    while until is None or last < until:
        ready = []
        for step, path in _checkpoints(folder):
            if step <= last:
                if path not in told:
                    told.add(path)
                    logger.warning("%s: became whole after step %d was measured; left out", path, last)
                continue
            look = _look(path)
            if (path / COMPLETE).is_file() or (is_whole(path) and looks.get(path) == look):
                ready.append((step, path))
            elif not RunDir(folder).recipe.is_file():
                looks[path] = look
        if ready:
            last, path = min(ready)
            told.add(path)
            yield last, str(path)
        else:
            time.sleep(POLL)


def is_whole(checkpoint: Path) -> bool:
    """Whether a folder holds a model with all its weights, each file to its last byte as far as it says its length."""
    if not any((checkpoint / name).is_file() for name in CONFIGS):
        return False
    try:
        files = list(checkpoint.glob("*.safetensors")) or list(checkpoint.glob("*.bin"))
        for index in checkpoint.glob("*.index.json"):
            named = json.loads(index.read_bytes())["weight_map"].values()
            files += [checkpoint / name for name in named]
        return bool(files) and all(map(_is_whole_file, set(files)))
    except (OSError, ValueError, LookupError):  # written or removed just now
        return False


def _is_whole_file(file: Path) -> bool:
    """A safetensors file begins with the length of a JSON header, which says where its last tensor ends."""
    if file.suffix != ".safetensors":
        return file.stat().st_size > 0
    with open(file, "rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        header = json.loads(opened.read(length))
    end = max((value["data_offsets"][1] for name, value in header.items() if name != "__metadata__"), default=0)
    return file.stat().st_size == 8 + length + end


def _checkpoints(folder: Path) -> list[tuple[int, Path]]:
    home = RunDir(folder).checkpoints if RunDir(folder).recipe.is_file() else folder
    if not home.is_dir():
        return []
    found = [(step_of(path.name), path) for path in home.iterdir() if path.is_dir()]
    return sorted((step, _model_in(path)) for step, path in found if step)


def _model_in(checkpoint: Path) -> Path:
    """The folder itself, or the merged model that verl keeps in `actor/huggingface` of it."""
    below = checkpoint / "actor" / "huggingface"
    return below if not any((checkpoint / name).is_file() for name in CONFIGS) and below.is_dir() else checkpoint


def _look(checkpoint: Path) -> object:
    try:
        return [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(checkpoint.iterdir())]
    except OSError:  # removed just now
        return time.monotonic()
