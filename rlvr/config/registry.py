"""Names -> classes: `resolve("algorithms", "grpo")`, `resolve("verifiers", "my_package.module:MyVerifier")`.

A name is looked up in the built-in table, then among the entry points of installed packages (groups
`rlvr.algorithms`, `rlvr.verifiers`, `rlvr.readers`), then read as `package.module:Class` (readers are functions).
Nothing is imported before it is asked for, so listing the names is instant and a broken plug-in hurts only those who
use it.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Mapping
from typing import Any

from rlvr.types import Reading, UserError

BUILT_IN: dict[str, dict[str, str]] = {
    "algorithms": {
        "boundary_gate": "rlvr.algorithms.boundary_gate:BoundaryGate",
        "cispo": "rlvr.algorithms.cispo:CISPO",
        "clip_cov": "rlvr.algorithms.clip_cov:ClipCov",
        "dapo": "rlvr.algorithms.dapo:DAPO",
        "difficulty": "rlvr.algorithms.difficulty:Difficulty",
        "ds_grpo": "rlvr.algorithms.ds_grpo:DSGRPO",
        "gpg": "rlvr.algorithms.gpg:GPG",
        "grpo": "rlvr.algorithms.grpo:GRPO",
        "gspo": "rlvr.algorithms.gspo:GSPO",
        "kl_cov": "rlvr.algorithms.kl_cov:KLCov",
        "maxrl": "rlvr.algorithms.maxrl:MaxRL",
        "nsr": "rlvr.algorithms.nsr:NSR",
        "passk": "rlvr.algorithms.passk:PassK",
        "ppo": "rlvr.algorithms.ppo:PPO",
        "psr": "rlvr.algorithms.nsr:PSR",
        "random_reward": "rlvr.algorithms.random_reward:RandomReward",
        "reinforce_pp": "rlvr.algorithms.reinforce_pp:ReinforcePP",
        "remax": "rlvr.algorithms.remax:ReMax",
        "rloo": "rlvr.algorithms.rloo:RLOO",
        "rs_grpo": "rlvr.algorithms.rs_grpo:RSGRPO",
        "unlikeliness": "rlvr.algorithms.unlikeliness:Unlikeliness",
        "w_reinforce": "rlvr.algorithms.nsr:WReinforce",
    },
    "verifiers": {
        "countdown": "rlvr.rewards.countdown:CountdownVerifier",
        "exact_string": "rlvr.rewards.plain_graders:ExactString",
        "gym": "rlvr.rewards.gym_task:GymVerifier",
        "math": "rlvr.rewards.math_answer:MathVerifier",
        "math_verify": "rlvr.rewards.plain_graders:MathVerifyAlone",
        "unit_tests": "rlvr.rewards.unit_tests:UnitTestsVerifier",
        "visual_answer": "rlvr.rewards.visual_answer:VisualVerifier",
    },
    "readers": {
        "code_r1": "rlvr.rewards.programs.code_rows:code_r1",
        "humaneval_plus": "rlvr.rewards.programs.code_rows:humaneval_plus",
        "livecodebench": "rlvr.rewards.programs.code_rows:livecodebench",
        "mbpp_plus": "rlvr.rewards.programs.code_rows:mbpp_plus",
    },
}


def names(kind: str) -> list[str]:
    """Sorted names known for `kind` ("algorithms", "verifiers" or "readers"); imports none of them."""
    return sorted({*_built_in(kind), *_plug_ins(kind)})


def resolve(kind: str, name: str) -> type:
    """The class called `name` among `kind` ("algorithms" or "verifiers").

    Raises UserError when there is no such name (with the nearest ones) and when its module cannot be imported
    (with the cause: a broken plug-in is never reported as an unknown name). ValueError: no such kind.
    """
    found, where = _find(kind, name)
    if not isinstance(found, type):
        raise UserError(f"{where} is a {type(found).__name__}, expected a class")
    return found


def resolve_reader(name: str) -> Callable[[Mapping[str, Any]], Reading]:
    """The function called `name` that reads a dataset row; errors as of `resolve`."""
    found, where = _find("readers", name)
    if isinstance(found, type) or not callable(found):
        raise UserError(f"{where} is a {type(found).__name__}, expected a function of a row")
    reader: Any = found
    return reader


def target_of(kind: str, name: str) -> str:
    """`package.module:Class` of a name; imports nothing. UserError, with the nearest ones, for an unknown name."""
    target = _built_in(kind).get(name) or _plug_ins(kind).get(name)
    if target is None and ":" in name:
        target = name
    if target is None:
        known = names(kind)
        close = difflib.get_close_matches(name, known, n=3)
        hint = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
        raise UserError(f"unknown name {name!r} in {kind}: {hint}known are {', '.join(known)}; "
                        "a class of your own is written package.module:Class")
    return target


def _find(kind: str, name: str) -> tuple[Any, str]:
    """What the name stands for, and how to call it in a message."""
    target = target_of(kind, name)
    module_name, _, class_name = target.partition(":")
    where = f"{name!r} in {kind}" + ("" if target == name else f" ({target})")
    try:
        module = importlib.import_module(module_name)
        there = hasattr(module, class_name)
    except Exception as error:  # whatever a plug-in's import raises is its user's to see, with its name on it
        raise UserError(f"{where} cannot be loaded: {type(error).__name__}: {error}") from error
    if not there:
        own = [key for key, value in vars(module).items()
               if callable(value) and getattr(value, "__module__", None) == module_name and not key.startswith("_")]
        close = difflib.get_close_matches(class_name, own, n=1)
        hint = f"did you mean {module_name}:{close[0]}? " if close else ""
        raise UserError(f"{where} cannot be loaded: {module_name} ({module.__file__}) has no {class_name!r}; {hint}"
                        f"it defines {', '.join(own) or 'no class'}")
    return getattr(module, class_name), where


def _built_in(kind: str) -> dict[str, str]:
    if kind not in BUILT_IN:
        raise ValueError(f"unknown kind {kind!r}, expected one of {', '.join(BUILT_IN)}")
    return BUILT_IN[kind]


def _plug_ins(kind: str) -> dict[str, str]:
    from importlib.metadata import entry_points  # 30 ms: not at the import of the command line

    found: dict[str, str] = {}
    for entry in entry_points(group=f"rlvr.{kind}"):
        if found.setdefault(entry.name, entry.value) != entry.value:
            both = f"{found[entry.name]}, {entry.value}"
            raise UserError(f"two installed packages offer {entry.name!r} in {kind} ({both}): uninstall one, or name "
                            "the class itself as package.module:Class")
    return found
