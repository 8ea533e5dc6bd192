"""The base model's measurement, stored once under what it depends on.

Key: model weights, prompts as token ids, golds, verifier versions, decoding, plan and kind of sampler (engines round
differently). Six algorithms that start from one base pay for its pass@256 once; another seed or batch size reuses it,
another weight does not.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import socket
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from rlvr.runs.files import replace
from rlvr.runs.waiting import told

logger = logging.getLogger(__name__)


def default_store() -> Path:
    """$RLVR_CACHE/baselines, else ~/.cache/rlvr/baselines."""
    return Path(os.environ.get("RLVR_CACHE", Path.home() / ".cache" / "rlvr")) / "baselines"


def entry_name(key: dict[str, Any]) -> str:
    """Name of the entry that holds the measurement with this key: a hash of all that it depends on."""
    return sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:24]


def newest_probe(
    store: Path, model: str, problem_ids: Collection[str], **measured: Any
) -> dict[str, Any] | None:
    """The newest complete measurement of the base that was loaded from `model` on these problems; None without one.

    `measured`: parts of the key that must agree (verifiers, decoding, plan). A name is no hash: the weights may have
    changed since. For forecasts only.
    """
    for path in sorted(store.glob("*/probe.json"), key=lambda path: path.stat().st_mtime, reverse=True):
        key, stored = _read(path.parent / "key.json"), _measurement(path)
        if key is None or stored is None or any(key.get(name) != value for name, value in measured.items()):
            continue
        measured_ids = {row["problem_id"] for row in stored["problems"]} | set(stored.get("unjudged") or ())
        if stored.get("model") == model and measured_ids == set(problem_ids):
            return stored
    return None


def _read(path: Path) -> dict[str, Any] | None:
    """A JSON object of the store; None if it is damaged."""
    try:
        stored = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return stored if isinstance(stored, dict) else None


def _measurement(path: Path) -> dict[str, Any] | None:
    """A probe.json as it was saved; None if it is damaged. Those of older versions have no checksum."""
    stored = _read(path) or {}
    checksum = stored.pop("sha256", None)
    try:
        rows = [(row["problem_id"], row["n"], row["c"]) for row in stored["problems"]]
        good = bool(rows) and all(0 <= c <= n for _, n, c in rows)
    except (LookupError, TypeError):
        return None
    return stored if good and checksum in (None, _checksum(stored)) else None


def _checksum(measurement: dict[str, Any]) -> str:
    return sha256(json.dumps(measurement, sort_keys=True).encode()).hexdigest()


class Baseline:
    """One entry of the store: a folder with `key.json`, the samples journal and, once complete, `probe.json`."""

    def __init__(self, store: Path, key: dict[str, Any]) -> None:
        self.folder = store / entry_name(key)
        self._key = key

    @property
    def samples(self) -> Path:
        return self.folder / "samples.jsonl.gz"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Only one run measures an entry at a time; the others wait for it and then read it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        replace(self.folder / "key.json", json.dumps(self._key, indent=2, sort_keys=True).encode())
        with open(self.folder / "lock", "a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                with told(f"waiting for {lock.read() or 'another process'}, which measures the same base "
                          f"({self.folder}); its result is used. To go on without it, set probes.baselines to another "
                          "directory"):
                    fcntl.flock(lock, fcntl.LOCK_EX)
            lock.truncate(0)
            lock.write(f"process {os.getpid()} on {socket.gethostname()}")
            lock.flush()
            yield

    def load(self) -> dict[str, Any] | None:
        """`{"problems": [rows], "samples": n, "tokens": n, "seconds": s, "model": where it was loaded from}`, or None
        if not measured yet. A damaged one is moved aside and measured again, from the stored samples where they are."""
        path = self.folder / "probe.json"
        if not path.exists():
            return None
        stored = _measurement(path)
        if stored is None:
            aside = path.replace(path.with_name("probe.json.damaged"))
            logger.error("%s: damaged; kept as %s, and the base is measured again from its stored samples", path, aside)
        return stored

    def save(self, measurement: dict[str, Any]) -> None:
        """Mark the entry complete."""
        plain = json.loads(json.dumps(measurement))
        replace(self.folder / "probe.json", json.dumps({**plain, "sha256": _checksum(plain)}).encode())

    def copy_samples(self, target: Path) -> None:
        """Put the base's samples beside those of the run."""
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.samples, target)
