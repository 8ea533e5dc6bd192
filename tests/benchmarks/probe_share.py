"""Our own share of a probe's time, and its memory: 821 problems x 256 samples from a sampler that answers at once.

Measured is everything beside generation and judging: requests, journal, counts, estimates, verdicts, the rows on disk;
first a base, then a trained model. The share is what that takes beside a generation at `--rate` samples a second. Ends
with exit code 1 above a share of 3% or 1 GB of memory (what Python and torch take included).

Usage: python tests/benchmarks/probe_share.py [--problems 821] [--rate 50] [--characters 1500]
"""

from __future__ import annotations

import argparse
import math
import random
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlvr.interfaces import SampleRequest
from rlvr.probes.prober import Prober
from rlvr.probes.settings import ProbeSettings
from rlvr.types import Completion, Decoding, Problem, Reason, Verdict

SHARE, GIGABYTE = 0.03, 1.0
SAMPLES = 256


class Timed:
    """CPU seconds of what is not ours."""

    def __init__(self) -> None:
        self.seconds = 0.0


class Instant(Timed):
    """Right with the problem's own chance; the rest of a completion is text of the given length."""

    def __init__(self, success: dict[str, float], characters: int) -> None:
        super().__init__()
        self.success, self.text = success, "So the next step of the derivation is " * (characters // 38)

    def sample(
        self, requests: Sequence[SampleRequest], decoding: Decoding, *, seed: int, stream: str
    ) -> list[Completion]:
        started, found = time.process_time(), []
        for request in requests:
            rng = random.Random(f"{seed}/{stream}/{request.problem.id}/{request.sample}")
            answer = 1 if rng.random() < self.success[request.problem.id] else rng.randint(2, 40)
            found.append(Completion(request.problem.id, request.sample, f"{self.text}{rng.random()} {answer}",
                                    len(self.text) // 3, False, 0.4))
        self.seconds += time.process_time() - started
        return found


class LastWord(Timed):
    def judge(self, problems: Sequence[Problem], texts: Sequence[str]) -> list[Verdict]:
        started = time.process_time()
        answers = [text.rpartition(" ")[2] for text in texts]
        found = [Verdict(one == "1", Reason.IDENTICAL if one == "1" else Reason.WRONG_ANSWER, one) for one in answers]
        self.seconds += time.process_time() - started
        return found


class Model:
    """A `ProbedModel` around the sampler."""

    name, shares_base, promises = "simulated", False, None

    def __init__(self, sampler: Instant) -> None:
        self.sampler: Any = sampler

    def identity(self, problems: Sequence[Problem], decoding: Decoding, world: Any) -> dict[str, Any]:
        return {"weights": "simulated", "problems": "simulated"}

    def exact_p(self, problems: Sequence[Problem], decoding: Decoding) -> None:
        return None

    def drawn_with(self, decoding: Decoding) -> Decoding:
        return decoding


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--problems", type=int, default=821)
    parser.add_argument("--rate", type=float, default=50, help="samples a second that the generation takes")
    parser.add_argument("--characters", type=int, default=1500, help="of a completion")
    options = parser.parse_args()
    chances = np.random.default_rng(0).beta(0.4, 1.2, options.problems)
    problems = [Problem(id=f"p{i}", prompt=f"Problem {i}?", gold="1", verifier="") for i in range(options.problems)]
    print(f"{'probe':8} {'samples':>9} {'own, s':>8} {'us a sample':>12} {'judge, s':>9} {'share at the rate':>18}")
    worst = slowest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        judge = LastWord()
        prober = Prober(problems, ProbeSettings(plan="fixed", base_plan="fixed", planned_looks=1), judge=judge,
                        run_dir=Path(folder) / "run")
        for step, name in ((0, "base"), (10, "trained")):
            better = {p.id: 1 - (1 - chance) ** (1 + step / 10) for p, chance in zip(problems, chances, strict=True)}
            sampler, judge.seconds = Instant(better, options.characters), 0.0
            started = time.process_time()
            row = prober.measure(step, Model(sampler))
            own = time.process_time() - started - sampler.seconds - judge.seconds
            assert row is not None and row["samples"] == options.problems * SAMPLES
            share = own / (own + judge.seconds + row["samples"] / options.rate)
            worst, slowest = max(worst, share), max(slowest, own / row["samples"])
            print(f"{name:8} {row['samples']:9,} {own:8.1f} {1e6 * own / row['samples']:12.0f} {judge.seconds:9.1f} "
                  f"{share:17.2%}", flush=True)
    gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    limit = math.floor(SHARE / (1 - SHARE) / slowest)
    print(f"{gigabytes:.2f} GB of memory at most; the share stays within {SHARE:.0%} up to {limit:,} samples a second")
    return int(worst > SHARE or gigabytes > GIGABYTE)


if __name__ == "__main__":
    sys.exit(main())
