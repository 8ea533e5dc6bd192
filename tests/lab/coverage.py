"""How often exact pass@k lies inside the 95% benchmark intervals: 5 seeds of the quickstart x all probes x all k.

Each seed is a whole run with a baseline store of its own, so that its base probe is a fresh measurement.

Usage: python tests/lab/coverage.py OUTPUT [--seeds 5] [key=value ...]     (minutes per seed; finished seeds are reused)
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

from rlvr.cli.main import main as rlvr

RECIPE = Path(__file__).parents[2] / "recipes/quickstart/lab_grpo.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    inside: dict[int, list[bool]] = defaultdict(list)
    for seed in range(options.seeds):
        run = options.output / f"seed-{seed}"
        if not (run / "report.html").exists():
            overrides = [f"seed={seed}", f"run_dir={run}", f"probes.baselines={run}-baselines",
                         "tracking.wandb=disabled", *options.overrides]
            assert rlvr(["train", str(RECIPE), "--resume", *overrides]) == 0
        rows = [json.loads(line) for line in (run / "boundary.jsonl").read_text().splitlines()]
        for row in rows:
            for key, interval in row["benchmark"].items():
                if key.startswith("boundary/pass@"):
                    inside[int(key.split("@")[1])].append(interval["low"] <= row["exact"][key] <= interval["high"])
        first, last = rows[0]["exact"], rows[-1]["exact"]
        print(f"seed {seed}: exact pass@1 {first['boundary/pass@1']:.4f} -> {last['boundary/pass@1']:.4f} "
              f"(x{last['boundary/pass@1'] / first['boundary/pass@1']:.2f}), exact pass@256 "
              f"{first['boundary/pass@256']:.4f} -> {last['boundary/pass@256']:.4f} "
              f"({100 * (last['boundary/pass@256'] - first['boundary/pass@256']):+.1f} points)", flush=True)
    for k in sorted(inside):
        print(f"pass@{k:<4} {sum(inside[k]):>3} of {len(inside[k])} inside")
    everything = [x for values in inside.values() for x in values]
    print(f"all      {sum(everything)} of {len(everything)} inside: {sum(everything) / len(everything):.1%}")


if __name__ == "__main__":
    main()
