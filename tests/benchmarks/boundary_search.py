"""Which setting keeps the boundary? Trains many on the lab; exact pass@1 and pass@256 of each and of its dial.

    python tests/benchmarks/boundary_search.py OUT.jsonl --work DIR [--arms grpo maxrl] [--seeds 0 1] [--steps 100]
    python tests/benchmarks/boundary_search.py OUT.jsonl --table

One JSON line a model: arm, seeds, step, share of the way from the base, tokens that its training generated, and
percent by decoding and split. What OUT.jsonl holds is not repeated, so a killed search goes on. Averages of seeds cost
the tokens of all of them: two seeds at step 50 are what one costs at step 100. The probes of the runs are off: exact
values need no samples.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from rlvr.config.comparison import load_comparison
from rlvr.lab.countdown import ANSWER_TOKENS, problems
from rlvr.lab.exact import exact_pass_at_k, exact_success
from rlvr.lab.model import BASE_DIR, load_lab_model
from rlvr.models.merge import SINGLE, between
from rlvr.runs.files import append_jsonl, read_jsonl
from rlvr.runs.owner import release
from rlvr.runs.run_dir import COMPLETE, RunDir
from rlvr.train import run
from rlvr.training.step import STATE_FILE
from rlvr.types import Decoding

RECIPE = "recipes/compare/lab_boundary.yaml"
SHARES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.85, 1.0)
SPLITS = ("test", "hard")
PROBLEMS = 128
DECODINGS = {"T=1": Decoding(1.0, 1.0, ANSWER_TOKENS), "T=0.6": Decoding(0.6, 0.95, ANSWER_TOKENS)}
"""That of training, and the paper's."""
State = Mapping[str, torch.Tensor]


def exact(state: State) -> dict[str, dict[str, list[float]]]:
    """Decoding -> split -> exact [pass@1, pass@256] in percent, of a lab model with these weights."""
    model, tokenizer = load_lab_model("lab")
    model.load_state_dict(dict(state))
    found: dict[str, dict[str, list[float]]] = {}
    for name, decoding in DECODINGS.items():
        found[name] = {}
        for split in SPLITS:
            p_P = exact_success(model, tokenizer, problems(split, PROBLEMS), decoding)
            found[name][split] = [round(100 * value, 3) for value in exact_pass_at_k(p_P, [1, 256]).values()]
    return found


def dialled(states: Sequence[State], share: float) -> State:
    """The weights at `share` of the way from the lab's base to the mean of `states`."""
    base = load_file(BASE_DIR / SINGLE)
    return {name: between(weight, [state[name] for state in states], share, weight.dtype)
            for name, weight in base.items()}


def search(output: Path, work: Path, arms: Sequence[str], seeds: Sequence[int], steps: int) -> None:
    """Train what is missing, then write a line for every checkpoint, mean over seeds, and share."""
    overrides = [f"train.steps={steps}", f"train.save_every={max(1, steps // 4)}", "train.keep_checkpoints=9",
                 "tracking.wandb=disabled", f"run_dir={work}/{{arm}}-{{seed}}",
                 f"seeds={list(seeds)}"]
    runs: defaultdict[str, dict[int, RunDir]] = defaultdict(dict)
    for planned in load_comparison(RECIPE, overrides, arms or None):
        folder = RunDir(planned.path)
        if not (folder.checkpoint(steps) / COMPLETE).is_file():
            run(planned.recipe_file, [*planned.overrides, "probes.enabled=false"], resume=folder.recipe.is_file())
            release()
        runs[planned.arm][planned.seed] = folder
        _measure(output, planned.arm, runs[planned.arm])


def _measure(output: Path, arm: str, runs: Mapping[int, RunDir]) -> None:
    """Lines of the newest seed alone and, if there are more, of the mean over all so far."""
    known = {_key(row) for row in read_jsonl(output)}
    newest = max(runs, key=list(runs).index)
    for seeds in ([newest], list(runs)) if len(runs) > 1 else ([newest],):
        for step, _ in runs[newest].complete_checkpoints():
            folders = [runs[seed].checkpoint(step) for seed in seeds]
            tokens = sum(json.loads((folder / STATE_FILE).read_text())["generated_tokens"] for folder in folders)
            for share in SHARES:
                row = {"arm": arm, "seeds": seeds, "step": step, "share": share, "tokens": tokens}
                if _key(row) not in known:
                    states = [load_file(folder / SINGLE) for folder in folders]
                    append_jsonl(output, [row | {"exact": exact(dialled(states, share))}])


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["arm"], tuple(row["seeds"]), row["step"], row["share"]


def table(output: Path) -> str:
    """Per decoding: each arm's best setting that loses at most 2 points of pass@256 on `test`, and at most 5. A setting
    is a step, a share and a number of seeds averaged; its values are means over all it was tried with, and it is chosen
    by them, so a new search with other seeds has to confirm it."""
    base = exact(load_file(BASE_DIR / SINGLE))
    lines = ["decoding | arm | lost at most | step | share | seeds averaged | tried | tokens | test | hard",
             "--- | --- | --- | --- | --- | --- | --- | --- | --- | ---"]
    settings: defaultdict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in read_jsonl(output):
        settings[row["arm"], row["step"], row["share"], len(row["seeds"])].append(row)
    for decoding in DECODINGS:
        of_base = base[decoding]
        lines.append(f"{decoding} | base | | | | | | | {_pair(of_base['test'])} | {_pair(of_base['hard'])}")
        for arm in dict.fromkeys(arm for arm, *_ in settings):
            for lost in (2.0, 5.0):
                means = {key: {split: _mean(row["exact"][decoding][split] for row in tried) for split in SPLITS}
                         for key, tried in settings.items() if key[0] == arm}
                within = {key: found for key, found in means.items() if of_base["test"][1] - found["test"][1] <= lost}
                if not within:
                    lines.append(f"{decoding} | {arm} | {lost:g} | none")
                    continue
                key = max(within, key=lambda key: within[key]["test"][0])
                tried = settings[key]
                lines.append(" | ".join([
                    decoding, arm, f"{lost:g}", *(f"{part:g}" for part in key[1:]), str(len(tried)),
                    f"{sum(row['tokens'] for row in tried) / len(tried):,.0f}", _pair(within[key]["test"]),
                    _pair(within[key]["hard"])]))
    return "\n".join(lines)


def _mean(pairs: Iterable[Sequence[float]]) -> list[float]:
    rows = list(pairs)
    return [sum(row[i] for row in rows) / len(rows) for i in (0, 1)]


def _pair(values: Sequence[float]) -> str:
    return f"{values[0]:.1f} / {values[1]:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("output", type=Path, metavar="OUT.jsonl")
    parser.add_argument("--work", type=Path, help="where the runs are kept; without it nothing is trained")
    parser.add_argument("--arms", nargs="+", default=[], help="of the comparison (default: all)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--table", action="store_true", help="print what was found")
    arguments = parser.parse_args()
    if arguments.work is not None:
        search(arguments.output, arguments.work, arguments.arms, arguments.seeds, arguments.steps)
    if arguments.table:
        print(table(arguments.output))


if __name__ == "__main__":
    main()
