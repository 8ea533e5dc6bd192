"""How busy a probe keeps a sampler: wall time over (sum of work / capacity), batch by batch and one by one.

A simulated engine answers each request after a log-normal time, for real; 1.00 would be an engine that never idles. The
plan is `balanced`, the success probabilities are spread like those of a base model (Beta(0.4, 1.2)).

Usage: python -m tests.benchmarks.keep_fed [--problems 200] [--capacity 64] [--mean 0.03]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np

from rlvr.probes.engine import run_probe
from rlvr.statistics.plan import PLANS
from rlvr.types import Decoding, Problem, Reason, Verdict
from tests.support.simulated_engine import SimulatedEngine, SimulatedSampler


class OneIsRight:
    def judge(self, problems: Sequence[Problem], texts: Sequence[str]) -> list[Verdict]:
        return [Verdict(True, Reason.IDENTICAL, text) if text == "1" else Verdict(False, Reason.WRONG_ANSWER, text)
                for text in texts]


def busyness(kind: type[SimulatedSampler], problems: int, capacity: int, mean: float) -> tuple[float, float, list[int]]:
    """(wall seconds, wall over work / capacity, right answers by problem) of one probe."""
    p_P = np.random.default_rng(0).beta(0.4, 1.2, problems)
    asked = [Problem(id=str(i), prompt="", gold="1", verifier="") for i in range(problems)]
    sampler = kind({str(i): float(p) for i, p in enumerate(p_P)}, mean=mean)
    started = time.perf_counter()
    result = run_probe(asked, PLANS["balanced"], Decoding(), sampler, OneIsRight(), seed=0, stream="",
                       batch_size=capacity)
    wall = time.perf_counter() - started
    return wall, wall / (sampler.work / capacity), [each.c for each in result.problems]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--problems", type=int, default=200)
    parser.add_argument("--capacity", type=int, default=64)
    parser.add_argument("--mean", type=float, default=0.03)
    options = parser.parse_args()
    counts = []
    for name, kind in (("one by one", SimulatedEngine), ("batch by batch", SimulatedSampler)):
        wall, ratio, right = busyness(kind, options.problems, options.capacity, options.mean)
        counts.append(right)
        print(f"{name:15} {wall:6.1f} s, {ratio:.2f} times the sum of work over capacity {options.capacity}",
              flush=True)
    assert counts[0] == counts[1], "the two ways counted differently"


if __name__ == "__main__":
    main()
