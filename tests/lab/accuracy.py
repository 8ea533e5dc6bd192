"""Estimates against the exact truth of the lab: many probes of several checkpoints of one run, sampled from the models.

Every probe draws its own samples from the real transformer with the plan of a training probe; the exact success
probabilities give the truth and the exact standard error. Printed per k: the mean error of pass@k in points and in
standard errors (an unbiased estimate stays within 3), and how often the 95% benchmark interval holds the truth: 92 to
99% below the plan's largest k, where only a bound of the variance exists and 95% or more are expected. Exit code 1 if
one of these fails.

Usage: python tests/lab/accuracy.py RUN_DIR [--probes 20] [--problems 128] [--plan balanced] [-o errors.jsonl]
RUN_DIR holds checkpoints of the lab (`rlvr train recipes/quickstart/lab_grpo.yaml train.keep_checkpoints=4`); the base
is always probed. About 8 seconds a probe; those that errors.jsonl holds already are not done again.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from rlvr.lab.countdown import problems
from rlvr.lab.exact import exact_success
from rlvr.lab.model import load_lab_model
from rlvr.models.quiet import quiet
from rlvr.models.sampler import TransformersSampler
from rlvr.probes.engine import run_probe
from rlvr.rewards.countdown import CountdownVerifier
from rlvr.runs.run_dir import RunDir
from rlvr.statistics.intervals import benchmark_ci
from rlvr.statistics.plan import PLANS
from rlvr.types import Decoding, Problem, Verdict

KS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
DECODING = Decoding(temperature=1.0, top_p=1.0, max_new_tokens=18)


class InProcess:
    """The countdown verifier without worker processes: it neither hangs nor crashes."""

    def __init__(self) -> None:
        self.verifier = CountdownVerifier()

    def judge(self, problems: Any, texts: Any) -> list[Verdict]:
        return [self.verifier.verify(problem, text) for problem, text in zip(problems, texts, strict=True)]


def checkpoint_paths(run_dir: Path, most: int = 5) -> list[str]:
    """`lab` and up to most - 1 checkpoints, evenly spread, the last among them."""
    saved = sorted(RunDir(run_dir).checkpoints.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    chosen = {round(i * (len(saved) - 1) / max(most - 2, 1)) for i in range(most - 1)} if saved else set()
    return ["lab", *(str(saved[i]) for i in sorted(chosen))]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--probes", type=int, default=20)
    parser.add_argument("--problems", type=int, default=128)
    parser.add_argument("--plan", choices=sorted(PLANS), default="balanced")
    parser.add_argument("-o", "--output", type=Path, help="one JSON row per probe; those it holds are kept")
    options = parser.parse_args()
    quiet()
    plan, chosen = PLANS[options.plan], problems("test", options.problems)
    done = finished(options.output)
    errors: dict[int, list[float]] = defaultdict(list)
    variances: dict[int, list[float]] = defaultdict(list)
    inside: dict[int, list[bool]] = defaultdict(list)
    for path in checkpoint_paths(options.run_dir):
        model, tokenizer = load_lab_model(path)
        p_P = exact_success(model, tokenizer, chosen, DECODING)
        truth = {k: float(np.mean(1.0 - (1.0 - p_P) ** k)) for k in KS}
        exact = {k: sum(plan.variance(float(p), k) for p in p_P) / len(p_P) ** 2 for k in KS}
        for seed in range(options.probes):
            key = f"{path}, {options.problems} problems, plan {options.plan}, seed {seed}"
            if key not in done:
                row = probe_once(model, tokenizer, chosen, plan, seed, f"{Path(path).name}/{seed}")
                done[key] = {str(k): estimate.as_dict() for k, estimate in row.items()}
                if options.output:
                    with options.output.open("a") as file:
                        file.write(json.dumps({"probe": key, "estimates": done[key]}) + "\n")
            for k in KS:
                estimate = done[key][str(k)]
                errors[k].append(estimate["value"] - truth[k])
                variances[k].append(exact[k])
                inside[k].append(estimate["low"] <= truth[k] <= estimate["high"])
        print(f"{Path(path).name}: exact " + ", ".join(f"pass@{k} {truth[k]:.4f}" for k in KS), flush=True)
    count = len(errors[1])
    print(f"{count} probes of {options.problems} problems, plan {options.plan}")
    print("k     mean error, points   its standard error   error / standard error   95% interval holds the truth")
    held = True
    for k in KS:
        mean, standard_error = float(np.mean(errors[k])), math.sqrt(sum(variances[k])) / count
        share = float(np.mean(inside[k]))
        held &= abs(mean) <= 3 * standard_error and (0.92 <= share <= 0.99 if k < plan.max_samples else share >= 0.95)
        print(f"{k:<5} {100 * mean:+18.3f} {100 * standard_error:20.3f} {mean / standard_error:+24.2f} "
              f"{sum(inside[k]):>14} of {count} ({share:.1%})")
    print("holds" if held else "does not hold")
    return 0 if held else 1


def finished(path: Path | None) -> dict[str, dict[str, Any]]:
    """Probe -> its intervals by k, of an earlier call."""
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path and path.exists() else []
    return {row["probe"]: row["estimates"] for row in rows}


def probe_once(model: Any, tokenizer: Any, chosen: list[Problem], plan: Any, seed: int, stream: str) -> dict[int, Any]:
    """k -> benchmark interval of one probe."""
    result = run_probe(chosen, plan, DECODING, TransformersSampler(model, tokenizer), InProcess(), seed=seed,
                       stream=stream, batch_size=1024)
    counts = [one.counts for one in result.problems]
    return {k: benchmark_ci(counts, plan, k) for k in KS}


if __name__ == "__main__":
    sys.exit(main())
