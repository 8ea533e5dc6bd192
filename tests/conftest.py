"""Test-wide settings: one thread, no network, no logging to services."""

from __future__ import annotations

import fcntl
import functools
import gc
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from rlvr.judging.judge import Judge
from tests.support import warm
from tests.support.kept_workers import kept_workers

CACHE = Path(tempfile.gettempdir()) / f"rlvr-tests-{os.getuid()}"
"""Kept between test runs: DeepSpeed's operators take a minute to compile."""

os.environ.update(
    OMP_NUM_THREADS="1",
    HF_HUB_OFFLINE="1",
    TOKENIZERS_PARALLELISM="false",
    TRL_EXPERIMENTAL_SILENCE="1",
    WANDB_SILENT="true",
    TORCH_EXTENSIONS_DIR=str(CACHE / "torch_extensions"),
)
# Bytecode is kept whatever the shell says: else pytest rewrites every test, and hundreds of processes compile rlvr.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

PROCESSES = ("tests/training/test_two_processes.py", "tests/training/test_distributed.py", "tests/test_run.py",
             "tests/algorithms/test_plugin.py", "tests/cli/test_bad_input.py")
"""Files whose tests start several Python processes with torch: one at a time, or they starve each other."""
PURE = ("statistics", "algorithms", "config", "data", "report", "rewards", "runs", "lab", "judging", "cli")
"""Rooms that fail fastest, in the order in which they run."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--hours", type=float, help="how long tests/fuzz runs, all its surfaces together")


def pytest_configure(config: pytest.Config) -> None:
    """Remove locks of DeepSpeed's builds that were killed, for which every later build would wait, unless another test
    run is alive that may hold them. A worker of xdist imports what is slow to import once torch is loaded."""
    if hasattr(config, "workerinput"):
        gc.disable()  # until all is imported: nothing of that is garbage
        warm.load(warm.LATE[:1])
        return
    CACHE.mkdir(exist_ok=True)
    users = (CACHE / "users").open("w")
    config.add_cleanup(users.close)
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pass
    else:
        for lock in (CACHE / "torch_extensions").glob("**/lock"):
            lock.unlink()
    fcntl.flock(users, fcntl.LOCK_SH)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that start processes first, then the pure rooms: one worker begins with those, the others with these."""

    def place(item: pytest.Item) -> tuple[bool, int]:
        file = item.nodeid.split("::")[0]
        room = file.split("/")[1]
        return file not in PROCESSES, PURE.index(room) if room in PURE else len(PURE)

    items.sort(key=place)


def pytest_collection_finish(session: pytest.Session) -> None:
    """What was imported stays: collections of garbage, which every trainer asks for, need not walk over it, and
    accelerate need not read the metadata of packages at each step to see whether they are installed."""
    if imports := sys.modules.get("accelerate.utils.imports"):
        setattr(imports, "_is_package_available", functools.cache(imports._is_package_available))  # noqa: B010
    if hasattr(session.config, "workerinput"):
        warm.load()
    gc.freeze()
    gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """All is imported, and nothing has run. Of xdist's processes those that run tests do this."""
    if not session.config.pluginmanager.hasplugin("dsession"):
        warm.serve()


class ByFile(LoadScopeScheduling):
    """Each file stays on one worker, for its fixtures; the files that start processes all stay on the same one."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::")[0]
        return "processes" if file in PROCESSES else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    return ByFile(config, log)


@pytest.fixture(scope="module", autouse=True)
def small_heap() -> Iterator[None]:
    """What the tests of a file leave (caches, modules) is not walked over again by each trainer of the next files: the
    algebra of one file alone would add a quarter of a second to every collection of garbage."""
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def workers() -> Iterator[None]:
    with kept_workers():
        yield


@pytest.fixture(scope="session")
def judge() -> Iterator[Judge]:
    """One worker for all tests that want nothing but verdicts: its start takes a second."""
    with Judge(workers=1, timeout=20.0) as judge:
        yield judge


@pytest.fixture(autouse=True)
def no_shared_wandb_service() -> Iterator[None]:
    """A run inside the test process leaves its W&B service in the environment. Runs that later tests start and kill
    would share it, and a run whose process was killed would still be in use there when it is resumed."""
    yield
    os.environ.pop("WANDB_SERVICE", None)
