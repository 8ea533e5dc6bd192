"""The same probe of the lab's base on one process and on two (gloo): which share of its samples differs.

Every draw is a function of seed, problem and sample, so only float rounding may tell them apart: batches of another
shape are summed in another order. Exit code 1 if more than 1 sample of 1,000 differs.

Usage: python -m tests.support.probe_processes [--problems 128] [--plan balanced] [--batch-size 1024]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
LAUNCH = ["-m", "accelerate.commands.launch", "--config_file", str(ROOT / "launch/accelerate/cpu.yaml"),
          "--main_process_port", "0"]


def differing(arguments: Sequence[str]) -> tuple[int, int]:
    """`difference` of a probe run on one process and on two."""
    with tempfile.TemporaryDirectory() as folder:
        for name, launch in (("one", []), ("two", LAUNCH)):
            command = [sys.executable, *launch, "-m", "tests.support.probe_processes", *arguments, "--samples",
                       str(Path(folder) / name)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=ROOT)
            if done.returncode:
                raise RuntimeError(f"{name} process(es): {done.stderr[-4000:]}")
        return difference(Path(folder) / "one", Path(folder) / "two")


def difference(one: Path, two: Path) -> tuple[int, int]:
    """(samples that differ, or that only one of both drew; samples of the first)."""
    a, b = _samples(one), _samples(two)
    return sum(a.get(key) != b.get(key) for key in a.keys() | b.keys()), len(a)


def _samples(path: Path) -> dict[tuple[str, int], str]:
    from rlvr.runs.samples import read_samples

    return {(row["problem_id"], row["sample"]): row["text"] for row in read_samples(path)}


def probe(problem_count: int, plan: str, batch_size: int, output: Path) -> None:
    """This process's share of the probe; rank 0 writes the samples of all."""
    from accelerate import PartialState

    from rlvr.lab.countdown import problems
    from rlvr.lab.model import load_lab_model
    from rlvr.models.sampler import TransformersSampler
    from rlvr.probes.engine import run_probe
    from rlvr.probes.world import DistributedWorld
    from rlvr.runs.samples import Journal
    from rlvr.statistics.plan import PLANS
    from rlvr.types import Decoding
    from tests.lab.accuracy import InProcess

    state = PartialState(cpu=True)
    run_probe(
        problems("test", problem_count), PLANS[plan], Decoding(temperature=1.0, top_p=1.0, max_new_tokens=18),
        TransformersSampler(*load_lab_model("lab")), InProcess(), seed=0, stream="processes", batch_size=batch_size,
        journal=Journal(output, {"world": state.num_processes}) if state.is_main_process else None,
        world=DistributedWorld(state.process_index, state.num_processes),
    )


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--problems", type=int, default=128)
    parser.add_argument("--plan", default="balanced")
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--samples", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.samples:
        probe(options.problems, options.plan, options.batch_size, options.samples)
        return 0
    settings = (("problems", options.problems), ("plan", options.plan), ("batch-size", options.batch_size))
    differ, total = differing([word for name, value in settings for word in (f"--{name}", str(value))])
    sys.stdout.write(f"{differ} of {total:,} samples differ between one process and two ({differ / total:.2%})\n")
    return 0 if differ <= total / 1000 else 1


if __name__ == "__main__":
    from rlvr.training.processes import leave

    leave(main())
