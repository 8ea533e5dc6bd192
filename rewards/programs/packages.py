"""Packages that programs may import: found where this process has them installed, read-only in every jail.

Compiled parts must fit the Python of the jails, and the jails' user must be able to read the files.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from rlvr.rewards.programs.jail_command import identity, interpreter
from rlvr.types import UserError


@dataclass(frozen=True)
class Packages:
    """What jails may import besides the standard library; by default nothing."""

    roots: tuple[str, ...] = ()
    """Directories to be searched, of which only `paths` can be read."""
    paths: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    """Imported while a jail waits for work."""
    versions: tuple[str, ...] = ()
    """`numpy-2.4.6`: part of the verifier's version, since a verdict may depend on it."""


@lru_cache(maxsize=8)
def find(names: tuple[str, ...]) -> Packages:
    """The packages of these names with what they require. UserError, one line, for one that jails cannot import."""
    if not names:
        return Packages()
    wanted, found = list(names), dict[str, Distribution]()
    for name in wanted:
        if _key(name) not in found:
            found[_key(name)] = _distribution(name)
            wanted += [match[0] for line in found[_key(name)].requires or () if ";" not in line
                       and (match := re.match(r"[\w.-]+", line))]
    roots, paths, modules = set(), set(), []
    for key, package in found.items():
        root = Path(str(package.locate_file(""))).resolve()
        entries = {path.parts[0] for path in package.files or () if path.parts[0] not in ("..", "__pycache__")}
        roots.add(str(root))
        paths |= {str(root / entry) for entry in entries}
        if key in map(_key, names):
            modules += sorted(entry.removesuffix(".py") for entry in entries
                              if (root / entry / "__init__.py").exists() or entry.endswith(".py"))
    versions = tuple(sorted(f"{_key(name)}-{found[_key(name)].version}" for name in names))
    packages = Packages(tuple(sorted(roots)), tuple(sorted(paths)), tuple(modules), versions)
    _try(packages, names)
    return packages


def _key(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _distribution(name: str) -> Distribution:
    try:
        return distribution(name)
    except PackageNotFoundError:
        raise UserError(f"judge.packages: {name!r} is not installed here: pip install {name}") from None


def _try(packages: Packages, names: tuple[str, ...]) -> None:
    """Import them as the jails' user with the jails' Python."""
    before, giving_up = identity()
    code = "\n".join([f"import sys; sys.path += {list(packages.roots)!r}",
                      *(f"import {name}" for name in packages.modules)])
    done = subprocess.run([*before, interpreter().executable, "-s", "-S", "-c", code], capture_output=True, text=True,
                          env={"OPENBLAS_NUM_THREADS": "1"}, stdin=subprocess.DEVNULL, cwd="/", **giving_up)
    if done.returncode:
        last = " ".join(done.stderr.strip().splitlines()[-1:])
        versions = ".".join(map(str, interpreter().version[:2])), ".".join(map(str, sys.version_info[:2]))
        user = "another user" if os.geteuid() == 0 else "this user"
        raise UserError(f"judge.packages: Python {versions[0]} of the jails, run by {user}, cannot import "
                        f"{', '.join(names)} of this Python {versions[1]} ({last}); install both for the same Python, "
                        "outside root's home")
