"""Tasks of reasoning-gym as problems: `{source: "gym:leg_counting", split: train, size: 2000}`; extra `rlvr[gym]`.

The package generates problems without end and scores answers itself (verifier `gym`). The splits `train` and `test`
share no question, for any seeds. Problems are fixed by task, params, seed, split, size and the package's version.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rlvr.config.data import GYM, DataSpec
from rlvr.data.rows import prompt_of
from rlvr.rewards.gym_task import gold_of
from rlvr.types import Problem, UserError

HALVES = {"train": 0, "test": 1}


def gym_problems(spec: DataSpec, where: str) -> list[Problem]:
    """The problems of a `gym:` source. `extra["gym"]` holds task, params and the entry that the scorer wants back.

    Raises UserError: package not installed, no such task, settings the task refuses, fewer problems than `size`.
    """
    if find_spec("reasoning_gym") is None:
        raise UserError(f"{where}.source: {spec.source!r} needs the package reasoning-gym, which is not installed: "
                        "pip install 'rlvr[gym]'")
    task, params = spec.source.removeprefix(GYM), dict(spec.params or {})
    seed = spec.seed or 0
    problems = []
    for index, entry in enumerate(_entries(spec, task, params, seed, where)):
        at = f"{spec.source}: problem {index}"
        problems.append(Problem(
            f"{spec.source}/{spec.split}/{seed}/{index}", prompt_of(entry["question"], at, spec, where),
            gold_of(entry), spec.judged_by,
            MappingProxyType({"gym": {"task": task, "params": params, "entry": entry}})))
    return problems


def _entries(spec: DataSpec, task: str, params: dict[str, Any], seed: int, where: str) -> list[dict[str, Any]]:
    request = {"task": task, "params": params, "seed": seed, "size": spec.size, "half": HALVES[spec.split]}
    child = subprocess.run(
        [sys.executable, "-P", str(Path(__file__).with_name("_gym_child.py"))], input=pickle.dumps(request),
        capture_output=True, check=False,
        env={**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))})
    if child.returncode:
        last = child.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise UserError(f"{where}.source: reasoning-gym failed on {spec.source!r} with {params}: "
                        f"{' '.join(last) or f'exit code {child.returncode}'}; choose other params or another task")
    reply: dict[str, Any] = pickle.loads(child.stdout)
    if "error" in reply:
        raise UserError(f"{where}.source: {reply['error']}")
    return reply["entries"]
