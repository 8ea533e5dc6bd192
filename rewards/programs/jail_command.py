"""What a jail is started as: the interpreter, the command line of each tier, and the modules that are sent into it."""

from __future__ import annotations

import importlib.util
import json
import marshal
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from rlvr.types import UserError

NOBODY = 65534
_AS_NOBODY: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
_MODULES = ("leetcode", "wire_rare", "wire", "seccomp", "landlock", "jail_child", "coroutines",
            "jail_program", "pytest_shim", "remote", "link", "test_code", "jail_tests")
ENVIRONMENT = {"PYTHONHASHSEED": "0", "MALLOC_ARENA_MAX": "2", "OPENBLAS_NUM_THREADS": "1"}
"""Of a jail, which forgets it once its interpreter runs. Each arena of a thread would take 128 MiB of address space."""
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")

_BOOT = """
import sys
sys.path[:] = [entry for entry in sys.path if entry]
import marshal, os
def read(size):
    data = b""
    while len(data) < size:
        piece = os.read(0, size - len(data))
        if not piece:
            os._exit(0)
        data += piece
    return data
options, modules = marshal.loads(read(int.from_bytes(read(4), "big")))
package = sys.modules["rlvr.rewards.programs"] = type(sys)("rlvr.rewards.programs")
for name, code in modules:
    module = type(sys)("rlvr.rewards.programs." + name)
    sys.modules[module.__name__] = module
    setattr(package, name, module)
    exec(compile(code, name, "exec", dont_inherit=True) if isinstance(code, str) else code, module.__dict__)
sys.modules["rlvr.rewards.programs.jail_child"].main(options)
"""

_ABOUT = """
import importlib.util, json, os, sys
directories = {os.path.dirname(os.__file__), *sys.path}
with open("/proc/self/maps") as maps:
    directories |= {os.path.dirname(line.split(None, 5)[5].strip()) for line in maps if ".so" in line}
print(json.dumps({"executable": os.path.realpath(sys.executable), "version": list(sys.version_info[:3]),
                  "magic": importlib.util.MAGIC_NUMBER.hex(),
                  "directories": sorted(d for d in directories if d.startswith("/") and os.path.isdir(d))}))
"""


class SandboxError(RuntimeError):
    """Our machinery failed, not the candidate: the completion is not judged."""


@dataclass(frozen=True)
class Interpreter:
    """The Python that runs in the jails: one that the jail's user may execute."""

    executable: str
    version: tuple[int, int, int]
    magic: str
    directories: tuple[str, ...]
    """Standard library and shared libraries, none inside another."""


@lru_cache(maxsize=1)
def interpreter() -> Interpreter:
    """This process's Python if the jail's user may run it, else the system's. UserError if there is none."""
    tried = []
    for path in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        try:
            # not by setpriv, which finds its program as root
            done = subprocess.run([path, "-s", "-S", "-c", _ABOUT], env={}, capture_output=True, text=True, timeout=20,
                                  stdin=subprocess.DEVNULL, cwd="/", **(_AS_NOBODY if os.geteuid() == 0 else {}))
        except (OSError, subprocess.SubprocessError) as error:
            tried.append(f"{path}: {type(error).__name__}")
            continue
        about = json.loads(done.stdout) if done.returncode == 0 else None
        if about is None or about["version"] < [3, 10]:
            tried.append(f"{path}: {'older than 3.10' if about else 'does not run'}")
            continue
        return Interpreter(about["executable"], tuple(about["version"]), about["magic"],
                           _outermost(about["directories"]))
    raise UserError(f"no sandbox for candidate programs: no Python 3.10 or newer that uid {NOBODY} can execute "
                    f"({'; '.join(tried)}); install one outside root's home (apt-get install python3)")


@lru_cache(maxsize=1)
def identity() -> tuple[list[str], dict[str, Any]]:
    """How a child of root gives up root: words before its command, or arguments of Popen. Neither for other users.

    With the arguments Popen copies this process's page tables: that takes 15 times as long for a judge worker.
    """
    if os.geteuid() != 0:
        return [], {}
    setpriv = shutil.which("setpriv")
    if setpriv is not None:
        words = [setpriv, "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"]
        trial = subprocess.run([*words, setpriv, "--dump"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if trial.returncode == 0 and f"uid: {NOBODY}\n" in trial.stdout:  # BusyBox has a setpriv that cannot
            return words, {}
    return [], _AS_NOBODY


def _outermost(paths: list[str]) -> tuple[str, ...]:
    kept: list[str] = []
    for path in sorted({os.path.realpath(path) for path in paths}):
        if not any(path.startswith(f"{above}/") for above in kept):
            kept.append(path)
    return tuple(kept)


@lru_cache(maxsize=8)
def payload(landlock: bool, parent: int, packages: Any = None) -> bytes:
    """What a jail is sent first: options and the modules it runs, compiled where its Python reads our bytecode.

    `packages`: what programs may import besides the standard library (`rlvr.rewards.programs.packages.Packages`).
    """
    python = interpreter()
    ours = importlib.util.MAGIC_NUMBER.hex() == python.magic
    modules = []
    for name in _MODULES:
        source = (Path(__file__).parent / f"{name}.py").read_text(encoding="utf-8")
        modules.append((name, compile(source, name, "exec", dont_inherit=True) if ours else source))
    options = {"landlock": landlock, "parent": parent, "readable": [*python.directories, *_DEVICES],
               "roots": [], "modules": []}
    if packages is not None:
        options["readable"] += packages.paths
        options.update(roots=list(packages.roots), modules=list(packages.modules))
    data = marshal.dumps((options, modules), 4)
    return len(data).to_bytes(4, "big") + data


@lru_cache(maxsize=8)
def command(tier: str, packages: Any = None) -> list[str]:
    """What `identity` is put before; `{info}` stands for the descriptor on which bubblewrap names its child."""
    python = interpreter()
    run = [python.executable, "-s", "-S", "-X", "utf8", "-c", _BOOT]
    if tier == "landlock":
        return run
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise SandboxError("the program bwrap is not installed")
    words = [bwrap, "--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts",
             "--unshare-cgroup-try", "--uid", str(NOBODY), "--gid", str(NOBODY), "--hostname", "jail",
             "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--clearenv"]
    for name, value in ENVIRONMENT.items():
        words += ["--setenv", name, value]
    for directory in python.directories:
        words += ["--ro-bind", directory, directory]
    if not python.executable.startswith(python.directories):
        words += ["--ro-bind", python.executable, python.executable]
    for path in packages.paths if packages is not None else ():
        words += ["--ro-bind", path, path]
    for name in ("/lib", "/lib64", "/usr/lib64"):  # where the program loader is looked for
        if os.path.islink(name):
            words += ["--symlink", os.readlink(name), name]
        elif os.path.isdir(name):
            words += ["--ro-bind", name, name]
    for device in _DEVICES:
        words += ["--dev-bind", device, device]
    return [*words, "--chdir", "/", "--remount-ro", "/", "--info-fd", "{info}", *run]
