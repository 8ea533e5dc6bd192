"""What our own parts cost as a run grows: CPU seconds at three sizes, and the exponent of growth (1: in proportion).

    journal   reading a probe's samples back, by batches of 256 samples
    plan      cutting an update into micro-batches by tokens, by rollouts
    compare   loading finished runs and writing their page, by runs of 15 probes

Runs are made up (`tests.support.fake_run`). A fit above 1.1 ends with exit code 1.

Usage: python -m tests.benchmarks.own_overhead [--problems 821]
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlvr.report.comparison.arms import load_arms
from rlvr.report.comparison.page import comparison_summary, write_comparison
from rlvr.runs.samples import Journal, read_samples
from rlvr.training.micro_batches import plan
from tests.support import fake_run

LIMIT = 1.1


def seconds(work: Callable[[], Any], times: int = 1) -> float:
    """CPU seconds, the least of `times` where they are few: what else runs makes caches cold."""
    costs = []
    for _ in range(times):
        started = time.process_time()
        work()
        costs.append(time.process_time() - started)
    return min(costs)


def journal(batches: int, folder: Path, _: int) -> float:
    path = folder / f"{batches}.jsonl.gz"
    written = Journal(path, {"probe": 1})
    rng = np.random.default_rng(0)
    for batch in range(batches):
        written.append([{"problem_id": f"p{batch}", "sample": i, "text": rng.bytes(300).hex(), "correct": i % 2 == 0}
                        for i in range(256)])
    return seconds(lambda: sum(1 for _ in read_samples(path)), times=5)


def compare(runs: int, folder: Path, problems: int) -> float:
    first = folder / "first"
    if not first.exists():
        fake_run.write_fake_run(first, fake_run.FakeRun(
            steps=tuple(range(0, 150, 10)), problems=problems, old=True, lab=False, base_seed=0))
    directory = folder / str(runs)
    for i in range(runs):
        shutil.copytree(first, directory / f"run-{i}", ignore=shutil.ignore_patterns("samples"))
        recipe = json.loads((first / "recipe.json").read_text())
        recipe["recipe"] |= {"seed": i % 3, "algorithm": {"name": f"algorithm-{i // 3}"}}
        (directory / f"run-{i}" / "recipe.json").write_text(json.dumps(recipe))

    def work() -> None:
        arms = load_arms([directory])
        write_comparison(arms, directory / "compare.html")
        comparison_summary(arms)

    return seconds(work)


def cut(rollouts: int, _: Path, __: int) -> float:
    rng = np.random.default_rng(0)
    lengths = np.minimum(rng.lognormal(7.2, 0.6, rollouts).astype(int) + 1, 8192).tolist()
    return seconds(lambda: plan(lengths, tokens=16384, rows=rollouts, ranks=8), times=5)


PARTS: dict[str, tuple[Callable[[int, Path, int], float], Sequence[int]]] = {
    "journal": (journal, (64, 128, 256)), "plan": (cut, (8192, 32768, 131072)), "compare": (compare, (6, 12, 18)),
}


def header_only(path: Path, rows: list[dict[str, Any]], *_: Any) -> None:
    """Samples cost most of a made-up run's time, and the comparison does not read them."""
    path.write_bytes(gzip.compress((json.dumps({"header": {"step": rows[0]["step"]}}) + "\n").encode(), mtime=0))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--problems", type=int, default=821, help="probe problems of a compared run")
    options = parser.parse_args()
    fake_run._write_samples = header_only
    steep = False
    for name, (work, sizes) in PARTS.items():
        folder = Path(tempfile.mkdtemp())
        costs = [work(size, folder, options.problems) for size in sizes]
        shutil.rmtree(folder)
        exponent = float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])
        steep |= exponent > LIMIT
        print(f"{name:8} " + ", ".join(f"{size:,}: {cost:.3g} s" for size, cost in zip(sizes, costs, strict=True))
              + f"; growth {exponent:.2f}", flush=True)
    return int(steep)


if __name__ == "__main__":
    sys.exit(main())
