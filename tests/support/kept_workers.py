"""Judge workers that serve one test after another: the algebra of `math` takes a second of a core to load.

A worker is kept where its pool is closed if it is idle and has loaded `math` and no verifier that is not listed here:
these keep nothing from one completion to the next and read no environment. The next pool with the same settings that
has a problem for `math` takes it. The tests of the pool itself, in tests/judging/test_judge.py, use other
verifiers, and so workers of their own.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections import defaultdict, deque
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Any

from rlvr.judging.pool import Item, Pool

SLOW, QUICK = "math", {"exact_string", "countdown"}
"""Verifiers of a worker that is kept."""


@contextmanager
def kept_workers() -> Iterator[None]:
    """Within it, pools take and leave workers."""
    idle: defaultdict[Hashable, list[tuple[Any, dict[str, str]]]] = defaultdict(list)
    of_pool: Any = Pool
    assign, close = of_pool._assign, of_pool.close

    def settings(pool: Any) -> Hashable:
        return pool._memory_bytes, pool._packages, tuple(sys.path)

    def take(pool: Any, waiting: deque[Item]) -> None:
        kept = idle[settings(pool)]
        wanted = min(pool._size, len(waiting)) if waiting and pickle.loads(waiting[0].problem).verifier == SLOW else 0
        while kept and len(pool._workers) < wanted:
            worker, versions = kept.pop()
            if worker.process.poll() is None:
                pool._workers.append(worker)
                pool.versions |= versions
        assign(pool, waiting)

    def leave(pool: Any) -> None:
        if {SLOW} == set(pool.versions) - QUICK and os.getpid() == pool._pid:
            kept = [worker for worker in pool._workers
                    if worker.served and not worker.chunk and not worker.garbled and worker.process.poll() is None]
            pool._workers = [worker for worker in pool._workers if worker not in kept]
            idle[settings(pool)] += [(worker, dict(pool.versions)) for worker in kept]
        close(pool)

    of_pool._assign, of_pool.close = take, leave
    try:
        yield
    finally:
        of_pool._assign, of_pool.close = assign, close
        for worker, _ in [each for kept in idle.values() for each in kept]:
            worker.kill()
            worker.release()
