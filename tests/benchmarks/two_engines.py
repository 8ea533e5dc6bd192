r"""A pretrained chat model measured by two engines: tokens per second side by side, and whether they draw alike.

32 sums of one-digit numbers (reasoning-gym's chain_sum), two worked ones before each in the model's chat format,
answers of at most 16 tokens, plan `cheap`: 8 to 256 samples a problem. The first command is run once for each engine,
each where it is installed; the second judges both engines' samples again as if the first were a base and the second a
trained model. Its page, verdicts included, is then a test of equality: the samples are of one model.

Usage: python tests/benchmarks/two_engines.py draw MODEL -o runs/by-vllm --engine vllm
       python tests/benchmarks/two_engines.py compare runs/by-transformers runs/by-vllm -o runs/two-engines
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path

from scipy.stats import chi2

from rlvr.cli.main import main as rlvr
from rlvr.report.load import load_run
from rlvr.runs.run_dir import RunDir
from rlvr.runs.samples import read_samples

ASKED = "State the final answer to the following arithmetic problem: "
TURN = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
TEMPLATE = "".join(f"{TURN.format(f'{ASKED}{question} =')}<answer>{answer}</answer><|im_end|>\n"
                   for question, answer in (("7 + 5", 12), ("3 - 8", -5))) + TURN.format("{prompt}")
PROBLEMS = [
    "--data", "gym:chain_sum", "data.probe.split=test", "data.probe.size=32",
    "data.probe.params={min_terms: 2, max_terms: 2, min_digits: 1, max_digits: 1}",
    f"data.probe.template={json.dumps(TEMPLATE)}", "--plan", "cheap", "probes.max_new_tokens=16",
    "probes.temperature=0.6", "probes.top_p=0.95", "judge.workers=1",
]


def draw(model: str, engine: str, output: Path) -> int:
    """Measure the model by one engine."""
    # Else vLLM compiles for minutes, and starts a process of its own for one CPU.
    cpu = ["probes.vllm.options={enforce_eager: true, distributed_executor_backend: uni}"] if engine == "vllm" else []
    return rlvr(["probe", model, *PROBLEMS, *cpu, "--engine", engine, "-o", str(output)])


def compare(runs: list[Path], output: Path) -> int:
    """Print rates and tests, and write the page that compares the samples of two runs."""
    output.mkdir(parents=True, exist_ok=True)
    first_rounds = []
    for path in runs:
        (base,) = load_run(path).probes
        (row,) = RunDir(path).read_jsonl(RunDir(path).boundary)
        engine = (row.get("sampled") or {"engine": "transformers"})["engine"]
        rows = list(read_samples(RunDir(path).samples(0)))
        with open(output / f"{path.name}.jsonl", "w", encoding="utf-8") as file:
            for sample in rows:
                kept = {key: sample[key] for key in ("problem_id", "sample", "text", "truncated") if key in sample}
                file.write(json.dumps(kept) + "\n")
        first_rounds.append(counts(rows))
        estimates = ", ".join(f"pass@{k} {100 * base.get(f'pass@{k}').value:.1f}" for k in (1, 16, 256))
        print(f"{engine:12} {row['samples']:6,} samples {row['tokens']:7,} tokens {row['seconds']:7.1f} s "
              f"{row['tokens'] / row['seconds']:7.1f} tokens/s; {estimates}")
    statistic, freedom = homogeneity(*first_rounds)
    print(f"first 8 samples of every problem: chi-square {statistic:.1f} with {freedom} degrees of freedom, "
          f"p = {chi2.sf(statistic, freedom):.2f}")
    base, other = (str(output / f"{path.name}.jsonl") for path in runs)
    return rlvr(["probe", "--from", other, "--base", base, *PROBLEMS, "-o", str(output / "two-engines")])


def counts(rows: list[dict[str, object]]) -> dict[str, int]:
    """Problem -> right ones of the first eight samples, which every problem has whatever came out."""
    right: dict[str, int] = {}
    for row in rows:
        if int(str(row["sample"])) < 8:
            name = str(row["problem_id"])
            right[name] = right.get(name, 0) + (row["correct"] is True)
    return right


def homogeneity(first: dict[str, int], second: dict[str, int], n: int = 8) -> tuple[float, int]:
    """(sum over problems of the squared difference over its variance, number of problems that can differ)."""
    assert first.keys() == second.keys()
    statistic, freedom = 0.0, 0
    for name, c in first.items():
        pooled = (c + second[name]) / (2 * n)
        if 0 < pooled < 1:
            # The variance of a difference of two means with the rate estimated from both, unbiased.
            variance = 2 * pooled * (1 - pooled) / n * (2 * n / (2 * n - 1))
            statistic += ((c - second[name]) / n) ** 2 / variance
            freedom += 1
    return (statistic, freedom) if freedom else (math.nan, 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(required=True, dest="command")
    one = commands.add_parser("draw")
    one.add_argument("model")
    one.add_argument("--engine", choices=("transformers", "vllm"), required=True)
    two = commands.add_parser("compare")
    two.add_argument("runs", nargs=2, type=Path)
    for each in (one, two):
        each.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    if options.command == "draw":
        return draw(options.model, options.engine, options.output)
    return compare(options.runs, options.output)


if __name__ == "__main__":
    sys.exit(main())
