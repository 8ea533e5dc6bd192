"""One run on disk: its files, its checkpoints, and what happens to them when the run is resumed.

Standard library only. One process (rank 0) writes; any process may read, also during the run.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from rlvr.runs import owner
from rlvr.runs.files import (
    CHECK,
    append_jsonl,
    checksum,
    dumps,
    fingerprints,
    jsonl_lines,
    nan_to_null,
    null_to_nan,
    read_jsonl,
    replace,
    rewrite_jsonl,
    sync,
    temporary,
    write_json_atomic,
)
from rlvr.runs.removed_keys import ADDED, is_fixed, without_removed
from rlvr.types import UserError

__all__ = [
    "RunDir", "append_jsonl", "flat", "git_commit", "nan_to_null", "null_to_nan", "read_jsonl", "versions",
    "write_json_atomic",
]

logger = logging.getLogger(__name__)

COMPLETE = "COMPLETE"
"""Name of the empty file that is written last into a checkpoint."""
VERSIONED = ("rlvr", "torch", "transformers", "trl")
MAY_DIFFER = ("tracking", "judge", "run_dir", "probes.endpoint", "probes.vllm", "train.keep_rollouts")
"""Parts of a recipe that may change on resume: they say where and how to run and what to keep, not what to learn."""
STEPS = "train.steps"
"""What may grow on resume, unless the learning rate depends on it."""
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")


class RunDir:
    """Paths and operations of one run directory. `RunDir(path)` touches nothing; a new run calls `create`."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def recipe(self) -> Path:
        """{"recipe": resolved tree, "versions", "git", "created", "lab"}"""
        return self.path / "recipe.json"

    @property
    def metrics(self) -> Path:
        """One row per logged training step."""
        return self.path / "metrics.jsonl"

    @property
    def probes(self) -> Path:
        """One row per probe step and problem."""
        return self.path / "probes.jsonl"

    @property
    def boundary(self) -> Path:
        """One row per probe step, appended after the step's rows of `probes`."""
        return self.path / "boundary.jsonl"

    @property
    def rehearsal(self) -> Path:
        """Right answers of the base to training problems (`train.rehearse`), one row per problem."""
        return self.path / "rehearsal.jsonl"

    @property
    def problems(self) -> Path:
        """One row per probe problem."""
        return self.path / "problems.jsonl"

    @property
    def samples_dir(self) -> Path:
        return self.path / "samples"

    def samples(self, step: int) -> Path:
        """Completions of the probe at `step`."""
        return self.samples_dir / f"step-{step:06d}.jsonl.gz"

    def rollouts(self, step: int) -> Path:
        """What was kept of the rollouts that the update `step` was the first to learn from (`train.keep_rollouts`)."""
        return self.path / "rollouts" / f"step-{step:06d}.jsonl.gz"

    def rollout_steps(self) -> list[int]:
        """Steps with kept rollouts, ascending."""
        return sorted(int(path.name[5:11]) for path in (self.path / "rollouts").glob("step-*.jsonl.gz"))

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def audit(self) -> Path:
        """What an audit of the verifier found: {"wrong_answers", "accepted"}. Written by hand or by a script."""
        return self.path / "audit.json"

    @property
    def other_verdicts(self) -> Path:
        """Of samples that another program judged as well: one row per probe, how its verdicts and ours differ."""
        return self.path / "other_verdicts.jsonl"

    @property
    def arms(self) -> dict[str, RunDir]:
        """Measurements under other decodings and prompts (`probes.arms`), each laid out like a run; {} without."""
        return self._runs_in("arms")

    def arm(self, name: str) -> RunDir:
        return RunDir(self.path / "arms" / name)

    @property
    def sets(self) -> dict[str, RunDir]:
        """Measurements on further probe sets (`data.probe` as a mapping), each laid out like a run; {} without. The
        first set is measured in the run itself."""
        return self._runs_in("sets")

    def probe_set(self, name: str) -> RunDir:
        return RunDir(self.path / "sets" / name)

    def _runs_in(self, folder: str) -> dict[str, RunDir]:
        home = self.path / folder
        entries = sorted(home.iterdir()) if home.is_dir() else []
        return {path.name: RunDir(path) for path in entries if RunDir(path).recipe.is_file()}

    @property
    def wandb_id(self) -> str:
        """The id of its run at W&B, "" where it has none. UserError for a file that holds no id."""
        path = self.path / "wandb_id"
        text = path.read_bytes() if path.is_file() else b""
        if text and not re.fullmatch(rb"\s*[\w-]{1,64}\s*", text):
            raise UserError(f"{path}: holds no id of a W&B run; restore it, or delete it to do without that run")
        return text.decode().strip()

    @property
    def entropy_matches(self) -> Path:
        """Of an arm with `match_entropy`: one row per trained model, what the search for its temperature found."""
        return self.path / "entropy_match.jsonl"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    # ---------------------------------------------------------------- start and resume

    @classmethod
    def create(
        cls, path: str | Path, *, resume: bool = False, quiet: bool = False, own: bool = False
    ) -> RunDir:
        """Make the directory, or with `resume` take the one of an earlier run.

        Raises UserError for a non-empty directory without `resume`, for one without a run in it even with `resume`,
        and for a path that cannot be a directory. Resuming an empty or missing directory starts a new run and, unless
        `quiet`, says so on stderr. With `own` this process alone may write it until `rlvr.runs.owner.release`; then
        UserError also for a directory that another process writes.
        """
        run = cls(path)
        run.check_usable(resume=resume)
        if resume and not quiet and not run.recipe.is_file():
            sys.stderr.write(f"--resume: there is no run in {run.path} yet: starting one\n")
        try:
            run.path.mkdir(parents=True, exist_ok=True)
            if own:
                owner.own(run.path)
        except OSError as error:
            raise UserError(f"run_dir {run.path}: cannot be used: {error.strerror}; choose another run_dir") from None
        if own:
            run.check_usable(resume=resume)  # another process may have begun a run since
        return run

    def check_usable(self, *, resume: bool) -> None:
        """Raises UserError for a path that `create` would refuse; creates nothing."""
        try:
            entries = sorted(entry.name for entry in self.path.iterdir())
        except FileNotFoundError:
            return
        except OSError as error:
            raise UserError(f"run_dir {self.path}: cannot be used: {error.strerror}; choose another run_dir") from None
        entries = [name for name in entries if name != owner.NAME]
        names = ", ".join(entries[:3]) + (", ..." if len(entries) > 3 else "")
        # A kill inside write_recipe leaves these and nothing else: no run was started.
        begun = [name for name in entries if name != temporary(self.recipe).name]
        if begun and not resume:
            raise UserError(f"run_dir {self.path}: found {len(entries)} entries ({names}), expected an empty "
                            "directory; continue that run with --resume, or choose another run_dir")
        if begun and not self.recipe.is_file():
            raise UserError(f"run_dir {self.path}: found {len(entries)} entries ({names}) but no recipe.json, so it is "
                            "not a run and cannot be resumed; choose another run_dir")

    def write_recipe(
        self, tree: Mapping[str, Any], *, lab: bool = False, left_out: Mapping[str, int] | None = None
    ) -> None:
        """Write recipe.json; if it exists, as in a resumed run, compare with it instead.

        `left_out`: why training problems were left out -> how many.

        More `train.steps` than before extend the run: recipe.json then has them, and `extended` says from how many.

        Raises UserError naming the first key of the recipe that differs (those below `MAY_DIFFER` may), and for more
        steps where the learning rate falls towards the last one.
        """
        if self.recipe.exists():
            return self._check_same_recipe(tree)
        start = {
            "recipe": tree,
            "versions": versions(),
            "git": git_commit(),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "lab": lab,
            **({"left_out": dict(left_out)} if left_out else {}),
        }
        write_json_atomic(self.recipe, {**start, CHECK: checksum(start)})

    def read_recipe(self) -> dict[str, Any]:
        """recipe.json, without keys of the recipe that this version no longer has. UserError: missing or damaged."""
        stored = self._stored_recipe()
        return stored | {"recipe": without_removed(stored["recipe"])}

    def _stored_recipe(self) -> dict[str, Any]:
        """recipe.json as it was written."""
        try:
            text = self.recipe.read_bytes()
            stored = json.loads(text)
        except FileNotFoundError:
            raise UserError(f"{self.recipe}: not found; expected the directory of a run") from None
        except ValueError as error:
            raise UserError(f"{self.recipe}: not JSON ({error}); restore it or choose another run_dir") from None
        if not isinstance(stored, dict) or not isinstance(stored.get("recipe"), dict):
            raise UserError(f"{self.recipe}: found no 'recipe' in it; restore it or choose another run_dir")
        moved = CHECK not in stored and f'"{CHECK}":'.encode() in text  # runs of 0.1.0 have none
        if moved or stored.get(CHECK, checksum(stored)) != checksum(stored):
            raise UserError(f"{self.recipe}: not as it was written (its checksum differs); restore it or choose "
                            "another run_dir")
        return {key: value for key, value in stored.items() if key != CHECK}

    def truncate_after(self, step: int) -> None:
        """Drop what a run that resumes at `step` will write again: rows of later steps, torn lines, and probe rows
        without a boundary row. Samples stay: a probe continues from them."""
        rewrite_jsonl(self.boundary, lambda row: _step(row) <= step)
        probed = {_step(row) for row in read_jsonl(self.boundary)}
        rewrite_jsonl(self.metrics, lambda row: _step(row) <= step)
        rewrite_jsonl(self.probes, lambda row: _step(row) in probed)
        rewrite_jsonl(self.entropy_matches, lambda row: _step(row) <= step)
        for later in (one for one in self.rollout_steps() if one > step):
            self.rollouts(later).unlink()
        for part in (*self.arms.values(), *self.sets.values()):
            part.truncate_after(step)

    def write_start(
        self, tree: Mapping[str, Any], problems: Iterable[Mapping[str, Any]], *, lab: bool = False,
        left_out: Mapping[str, int] | None = None,
    ) -> None:
        """What a run has on disk before its first row: recipe.json as `write_recipe` does, and problems.jsonl."""
        self.write_recipe(tree, lab=lab, left_out=left_out)
        self.write_problems(problems)

    # ---------------------------------------------------------------- checkpoints

    def checkpoint(self, step: int) -> Path:
        return self.checkpoints / f"checkpoint-{step}"

    def latest_checkpoint(self, *, discard_incomplete: bool = False) -> Path | None:
        """The newest complete checkpoint, or None; `discard_incomplete` deletes newer ones that a kill left behind.

        Only the process that resumes the run may discard: a checkpoint that is being written looks the same.
        """
        for _, path in sorted(self._checkpoints(), reverse=True):
            if (path / COMPLETE).is_file():
                return path
            if discard_incomplete:
                logger.warning("%s: deleted, its save was interrupted (no file %s)", path, COMPLETE)
                shutil.rmtree(path)
        return None

    def complete_checkpoints(self) -> list[tuple[int, Path]]:
        """(step, path) of every checkpoint that was written to its end, by step."""
        return sorted((step, path) for step, path in self._checkpoints() if (path / COMPLETE).is_file())

    def _checkpoints(self) -> Iterator[tuple[int, Path]]:
        if self.checkpoints.is_dir():
            for path in self.checkpoints.iterdir():
                match = _CHECKPOINT.fullmatch(path.name)
                if match and path.is_dir():
                    yield int(match.group(1)), path

    @staticmethod
    def mark_complete(checkpoint: Path) -> None:
        """Write the marker, which `files.check_saved` reads, after everything else is on the disk."""
        for folder, _, files in os.walk(checkpoint):
            for name in files:
                sync(Path(folder, name))
            sync(Path(folder))
        write_json_atomic(checkpoint / COMPLETE, fingerprints(checkpoint, COMPLETE))

    # ---------------------------------------------------------------- files

    append_jsonl = staticmethod(append_jsonl)
    read_jsonl = staticmethod(read_jsonl)
    write_json_atomic = staticmethod(write_json_atomic)

    def write_problems(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write problems.jsonl whole and atomically."""
        replace(self.problems, jsonl_lines(rows))

    def _check_same_recipe(self, tree: Mapping[str, Any]) -> None:
        old = {key: value for key, value in flat(self._stored_recipe()["recipe"]).items()
               if not is_fixed(key, value)}
        new = flat(json.loads(dumps(tree)))
        old = {key: value for key, value in ADDED.items() if key in new and new[key] == value} | old
        before, after = old.get(STEPS), new.get(STEPS)
        longer = (before, after) if isinstance(before, int) and isinstance(after, int) and after > before else None
        if longer and new.get("train.lr_schedule", "constant") != "constant":
            raise UserError(f"{STEPS}: the run in {self.path} was started with {before}, the recipe now says {after}; "
                            f"it cannot be extended, because with lr_schedule {new['train.lr_schedule']!r} its "
                            "learning rate has fallen towards the last step: set it back, or choose another run_dir")
        for key in [*new, *(key for key in old if key not in new)]:
            free = f"{key}.".startswith(tuple(f"{part}." for part in MAY_DIFFER))
            if free or (longer and key == STEPS):
                continue
            if key in old and key in new and old[key] == new[key]:
                continue
            was, now = (json.dumps(side[key]) if key in side else None for side in (old, new))
            begun = "was started without it" if was is None else f"was started with {was}"
            says = "no longer has it" if now is None else f"now says {now}"
            raise UserError(f"{key}: the run in {self.path} {begun}, the recipe {says}; a run "
                            "resumes with the recipe it began with: set it back, or choose another run_dir")
        if longer:
            self._extend(*longer)

    def _extend(self, before: int, after: int) -> None:
        stored = self._stored_recipe()
        stored["recipe"]["train"]["steps"] = after
        stored["extended"] = [*stored.get("extended", []), before]
        write_json_atomic(self.recipe, {**stored, CHECK: checksum(stored)})


def versions() -> dict[str, str | None]:
    """Versions of what decides a run's numbers, without importing it; None: not installed as a distribution."""
    installed: dict[str, str | None] = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in VERSIONED:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            installed[name] = None
    return installed


def git_commit() -> str | None:
    """Commit of the current directory's repository, `-dirty` behind it when tracked files differ; None without one."""
    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True, timeout=60)
        return done.stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("-dirty" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (FileNotFoundError, subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return None


def flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted keys of a tree; an empty section and a list are values."""
    if not isinstance(tree, Mapping) or not tree:
        return {prefix: tree}
    dotted: dict[str, Any] = {}
    for key, value in tree.items():
        dotted |= flat(value, f"{prefix}.{key}" if prefix else key)
    return dotted


def _step(row: Mapping[str, Any]) -> int:
    step = row.get("step")
    if not isinstance(step, int):
        raise UserError(f"found a row whose step is {step!r}, expected a whole number; restore the file")
    return step
