"""Two processes whose collectives time out after 3 s; each in turn keeps the other waiting for longer."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from accelerate.utils import gather_object
from torch.distributed.distributed_c10d import _set_pg_timeout

from rlvr.interfaces import SampleRequest
from rlvr.judging.judge import GoldComplaint
from rlvr.lab.countdown import problems as problems_of
from rlvr.probes.baseline import entry_name
from rlvr.probes.prober import Prober
from rlvr.probes.settings import ProbeSettings
from rlvr.probes.world import World
from rlvr.statistics.plan import SamplingPlan
from rlvr.training.processes import GoldsOfAll, on_main, rank
from rlvr.training.reward_functions import AccuracyReward
from rlvr.types import Completion, Decoding, Problem, Reason, UserError, Verdict

TIMEOUT, SLOW = 3.0, 3.75
PLAN = SamplingPlan((4,))


class SlowJudge:
    """Everything is right; one rank's first verdicts take long."""

    def __init__(self, slow_rank: int) -> None:
        self.slow = rank() == slow_rank

    def judge(self, problems: Sequence[Problem], texts: Sequence[str]) -> Any:
        if self.slow:
            time.sleep(SLOW)
            self.slow = False
        return [Verdict(True, Reason.IDENTICAL)] * len(texts)

    def check_golds(self, problems: Sequence[Problem]) -> list[GoldComplaint | None]:
        return [GoldComplaint(f"rank {rank()}") for _ in problems]


class Echo:
    """A model and its sampler that says the same to everyone."""

    shares_base, name, promises = True, "echo", None

    @property
    def sampler(self) -> Any:
        return self

    def identity(self, problems: Sequence[Problem], decoding: Decoding, world: World) -> dict[str, Any]:
        return {"problems": "p"}

    def exact_p(self, problems: Sequence[Problem], decoding: Decoding) -> np.ndarray | None:
        return None

    def drawn_with(self, decoding: Decoding) -> Decoding | None:
        return decoding

    def sample(self, requests: Sequence[SampleRequest], *_: Any, **__: Any) -> list[Completion]:
        gather_object(["as a model in parts would"])
        return [Completion(r.problem.id, r.sample, "x" * r.sample, 1, False, 0.0) for r in requests]


def waited_for(folder: Path) -> list[str]:
    """What the processes waited for. `folder` is the same for both."""
    _set_pg_timeout(timedelta(seconds=TIMEOUT), None)
    if rank() == 1:
        _hold_lock_of_store(folder)
    judge, problems = SlowJudge(1), problems_of("train", 4)
    assert GoldsOfAll(judge, problems[:3]).check_golds(problems[:3]) == ["rank 0", "rank 1", "rank 1"]
    done = [on_main(lambda: time.sleep(SLOW) or "work of rank 0")]
    prober = Prober(
        problems, ProbeSettings(plan=PLAN, base_plan=PLAN, ks=[1], batch_size=8, baselines=folder / "store"),
        judge=judge, run_dir=folder / "run", listeners=[lambda row, rows: time.sleep(SLOW)],
    )
    row = prober.measure(0, Echo())
    assert row is not None and row["samples"] == 16 and not judge.slow
    done += [f"{len(list((folder / 'store').iterdir()))} lock of the store", "a judge in a probe", "a listener"]
    reward = AccuracyReward(SlowJudge(0), {p.id: p for p in problems}, "as_is")
    assert reward(completions=["xx"], completion_ids=[[1]], problem_id=[problems[0].id]) == [1.0]
    assert gather_object([rank()]) == [0, 1]
    done.append("a judge in a step")
    try:
        on_main(_refuse)
    except UserError as error:
        done.append(str(error))
    return done


def _hold_lock_of_store(folder: Path) -> None:
    """For a while after rank 0 wants it: as another run that measures the same base."""
    key = {"problems": "p", "verifiers": {"countdown": "1"}, "plan": [[4], []]}
    entry = folder / "store" / entry_name(key)
    entry.mkdir(parents=True)
    lock = os.open(entry / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    threading.Timer(3 * SLOW, os.close, [lock]).start()


def _refuse() -> None:
    raise UserError("refused on every rank")
