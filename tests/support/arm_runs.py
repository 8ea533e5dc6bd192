"""Run directories with counts given by hand; as a script, a trainer that writes one instead of training.

Four samples per problem, so pass@1 of a problem is c/4 and pass@4 is 1 if c > 0.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PLAN = "checkpoints=[4] stop_at=[]"
BASE = (1, 0, 2, 0)
"""Right samples of the base per problem: pass@1 = 3/16, pass@4 = 1/2."""
A0, A1 = (2, 1, 2, 0), (4, 1, 0, 0)
B0, B1 = (0, 0, 4, 0), (1, 0, 2, 1)
"""Right samples of two trained arms, a and b, with two seeds each."""


def write_run(path: Path, algorithm: str, seed: int, counts: Mapping[int, Sequence[int]], /, *,
              base: Sequence[int] = BASE, tokens: int = 1000, weights: str = "w", entropy: float = 0.5,
              backwards: bool = False, **recipe: Any) -> Path:
    """A finished run. `counts`: probe step -> right samples of four, per problem; `tokens` are generated per step;
    `backwards`: the rows of the probes stand in the opposite order; `recipe`: further keys of the recipe."""
    probes = {0: base, **counts}
    (path / "samples").mkdir(parents=True)
    tree = {"name": "hand", "algorithm": {"name": algorithm}, "model": {"path": "lab"}, "seed": seed, **recipe}
    (path / "recipe.json").write_text(json.dumps({"recipe": tree, "versions": {}, "lab": False}))
    boundary = [{
        "step": step, "kind": "probe" if step else "base", "plan": PLAN, "verifier": "countdown/1",
        "problems": len(base), "samples": 4 * len(base),
        "decoding": {"temperature": 1.0, "top_p": 1.0, "max_new_tokens": 18},
        "estimates": {f"boundary/{name}": {"value": 0.5, "low": None, "high": None}
                      for name in ("pass@1", "pass@2", "pass@4", "shrinkage@4")},
    } for step in probes]
    rows = [{"step": step, "problem_id": f"p{i}", "n": 4, "c": c, "entropy": entropy + 0.01 * i}
            for step, each in probes.items()
            for i, c in (reversed(list(enumerate(each))) if backwards else enumerate(each))]
    metrics = [{"step": step, "train/accuracy": 0.1 * seed, "train/entropy": 0.4,
                "perf/generated_tokens": tokens * step,
                "perf/generated_rollouts": 10 * step, "perf/used_rollouts": 5 * step, "perf/step_seconds": 2.0}
               for step in range(1, max(probes) + 1)]
    problems = [{"id": f"p{i}", "prompt": f"{i} ->", "gold": "1", "verifier": "countdown"} for i in range(len(base))]
    for name, lines in (("boundary", boundary), ("probes", rows), ("metrics", metrics), ("problems", problems)):
        (path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    header = {"weights": weights, "problems": "h", "step": 0, "seed": seed}
    journal = gzip.compress(json.dumps({"header": header}).encode() + b"\n")
    (path / "samples" / "step-000000.jsonl.gz").write_bytes(journal)
    (path / "report.html").touch()
    return path


def main() -> int:
    """`arm_runs.py FOLDER -m rlvr.train RECIPE key=value ... [--resume]`: writes a line to FOLDER/calls, then the run.

    `-m rlvr.cli lab distill RECIPE ...` likewise. Fails while FOLDER/fail names the arm.
    """
    folder, words = Path(sys.argv[1]), sys.argv[7:] if sys.argv[3] == "rlvr.cli" else sys.argv[5:]
    recipe_file, settings = sys.argv[-len(words) - 1], dict(word.split("=", 1) for word in words if "=" in word)
    arm, resume = settings["tracking.group"], "--resume" in sys.argv
    with (folder / "calls").open("a") as file:
        file.write(f"{arm} {settings['seed']}{' resumed' if resume else ''}\n")
    if (folder / "fail").is_file() and (folder / "fail").read_text() == arm:
        Path(settings["run_dir"]).mkdir(parents=True)
        Path(settings["run_dir"], "recipe.json.tmp").touch()
        sys.stderr.write("step 1\rstep 2\nerror: the disk is on fire\n")
        return 3
    for left in Path(settings["run_dir"]).glob("*"):
        left.unlink()
    counts = {4: (2, int(settings["seed"]), 0, 1)}
    run = write_run(Path(settings["run_dir"]), "", int(settings["seed"]), counts)
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from rlvr.config.recipe import load_recipe, resolved

    recipe = load_recipe(recipe_file, [word for word in words if "=" in word])
    if sys.argv[4:6] == ["lab", "distill"]:
        from rlvr.config.distillation import distilled

        recipe = distilled(recipe)
    (run / "recipe.json").write_text(json.dumps({"recipe": resolved(recipe), "versions": {}, "lab": True}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
