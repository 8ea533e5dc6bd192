"""What sequential plans save over drawing 256 samples of every problem, and what a probe costs beyond generation.

1. Samples per problem, `balanced` against `fixed`, exactly: for the lab's base and (with a run) its last checkpoint
   from exact success probabilities, and at published difficulty from Beta distributions. Beside it the ratio of the
   worst standard error over k: 1 means that the saving costs no precision at the k that is known worst; above 1 (the
   lab's base, where pass@256 is nearly 1 and middle k are the noisy ones) a part of it is paid for in noise.
2. One probe of the lab's base with the plan of a training probe, and one of 256 samples of every problem, the most a
   probe can draw: with worker processes judging and every statistic computed, seconds in the sampler against all
   seconds, by the clock and of CPU time (workers included), which a busy machine leaves nearly as it is.

Usage: python -m tests.benchmarks.probe_plans [RUN_DIR] [--problems 128] [--no-probe]
"""

from __future__ import annotations

import argparse
import math
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlvr.interfaces import SampleRequest
from rlvr.judging.judge import Judge
from rlvr.lab.countdown import problems
from rlvr.lab.exact import exact_success
from rlvr.lab.model import load_lab_model
from rlvr.models.quiet import quiet
from rlvr.models.sampler import TransformersSampler
from rlvr.probes.engine import run_probe
from rlvr.runs.run_dir import RunDir
from rlvr.runs.samples import Journal
from rlvr.statistics.boundary_row import Measurement, boundary_row
from rlvr.statistics.plan import PLANS, SamplingPlan
from rlvr.types import Completion, Decoding
from tests.support.plan_variance import variance_beta

KS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
DECODING = Decoding(temperature=1.0, top_p=1.0, max_new_tokens=18)
PUBLISHED = {
    "MATH base (pass@1 .35, pass@256 .96)": (0.581, 1.10),
    "MATH after RL": (0.371, 0.124),
    "Omni-MATH base": (0.218, 1.96),
    "Omni-MATH after RL": (0.140, 0.400),
}


class Timed:
    """A sampler that knows how long it took."""

    def __init__(self, sampler: TransformersSampler) -> None:
        self.sampler = sampler
        self.seconds = self.cpu_seconds = 0.0

    def sample(self, requests: Sequence[SampleRequest], decoding: Decoding, *, seed: int, stream: str
               ) -> list[Completion]:
        started, cpu_started = time.perf_counter(), time.process_time()
        try:
            return self.sampler.sample(requests, decoding, seed=seed, stream=stream)
        finally:
            self.seconds += time.perf_counter() - started
            self.cpu_seconds += time.process_time() - cpu_started


def on_problems(plan: SamplingPlan, p_P: np.ndarray) -> tuple[float, float]:
    """(expected samples per problem, worst standard error over k of the mean pass@k), exactly."""
    cost = float(np.mean([plan.expected_samples(float(p)) for p in p_P]))
    worst = max(math.sqrt(sum(plan.variance(float(p), k) for p in p_P)) / len(p_P) for k in KS)
    return cost, worst


def on_beta(plan: SamplingPlan, a: float, b: float) -> tuple[float, float]:
    """The same for success probabilities from Beta(a, b); the standard error is that of 100 problems."""
    worst = max(math.sqrt(max(variance_beta(plan, a, b, k)[0], 0.0) / 100) for k in KS)
    return plan.expected_samples_beta(a, b), worst


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run_dir", type=Path, nargs="?", help="a lab run, for its last checkpoint")
    parser.add_argument("--problems", type=int, default=128)
    parser.add_argument("--no-probe", action="store_true", help="only the exact numbers")
    options = parser.parse_args()
    quiet()
    chosen = problems("test", options.problems)
    checkpoint = RunDir(options.run_dir).latest_checkpoint() if options.run_dir else None
    balanced, fixed = PLANS["balanced"], PLANS["fixed"]
    print(f"{'':40} {'fixed':>6} {'balanced':>9} {'ratio':>6} {'worst-k standard error, balanced / fixed':>42}")

    def show(name: str, one: tuple[float, float], other: tuple[float, float]) -> None:
        print(f"{name:40} {other[0]:6.0f} {one[0]:9.1f} {other[0] / one[0]:5.2f}x {one[1] / other[1]:42.3f}",
              flush=True)

    for name, path in [("lab base", "lab"), *([("lab " + checkpoint.name, str(checkpoint))] if checkpoint else [])]:
        model, tokenizer = load_lab_model(path)
        p_P = exact_success(model, tokenizer, chosen, DECODING)
        show(f"{name}, {len(p_P)} problems", on_problems(balanced, p_P), on_problems(fixed, p_P))
    for name, fit in PUBLISHED.items():
        show(name, on_beta(balanced, *fit), on_beta(fixed, *fit))
    if not options.no_probe:
        for name in ("balanced", "fixed"):
            print(overhead(chosen, name), flush=True)


def cpu_seconds() -> float:
    """CPU time of this process and its children that still run (the judge's workers)."""
    ticks = 0
    for each in Path("/proc/self/task").glob("*/children"):
        for child in each.read_text().split():
            ticks += sum(map(int, Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[11:13]))
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def overhead(chosen: list[Any], plan_name: str) -> str:
    """One probe of the base from first sample to boundary row, in words."""
    plan = PLANS[plan_name]
    model, tokenizer = load_lab_model("lab")
    sampler = Timed(TransformersSampler(model, tokenizer))
    with tempfile.TemporaryDirectory() as folder, Judge(workers=2, timeout=10.0) as judge:
        judge.judge(chosen[:1], [""])  # workers start before the clock does
        started, cpu_started = time.perf_counter(), cpu_seconds()
        result = run_probe(chosen, plan, DECODING, sampler, judge, seed=0, stream="benchmark", batch_size=1024,
                           journal=Journal(Path(folder) / "samples.jsonl.gz", {}))
        drawn = time.perf_counter() - started
        now = Measurement([one.counts for one in result.problems], plan)
        boundary_row(
            step=1, now=now, base=now, problem_rows=[one.row() for one in result.problems], ks=KS, decoding=DECODING,
            plan_name=plan_name, verifier="countdown", samples=result.samples, tokens=result.tokens,
            seconds=result.seconds, token_share=None, planned_looks=4,
        )
        total, cpu = time.perf_counter() - started, cpu_seconds() - cpu_started
    return (f"one probe of the lab base, {len(chosen)} problems, plan {plan_name}, {result.samples:,} samples: "
            f"{total:.1f} s by the clock, {cpu:.1f} s of CPU on {torch.get_num_threads()} thread(s); beyond generation "
            f"{1 - sampler.seconds / total:.1%} by the clock (scheduling, judging and journal "
            f"{drawn - sampler.seconds:.2f} s, statistics {total - drawn:.2f} s), {1 - sampler.cpu_seconds / cpu:.1%} "
            "of CPU")


if __name__ == "__main__":
    main()
