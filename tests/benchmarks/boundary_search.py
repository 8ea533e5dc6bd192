"""Which setting keeps the boundary? Trains many on the lab; exact pass@1 and pass@256 of each and of its dial.

    python tests/benchmarks/boundary_search.py OUT.jsonl --work DIR [--arms grpo maxrl] [--seeds 0 1] [--file FILE]
    python tests/benchmarks/boundary_search.py OUT.jsonl --table
    python tests/benchmarks/boundary_search.py OUT.jsonl --chosen passk_12 0.4 T=0.7
    python tests/benchmarks/boundary_search.py OUT.jsonl --picture FILE.png

The arms are those of a comparison file, by default boundary_search.yaml beside this script. One JSON line a model: arm,
seeds, step, share of the way from the base, tokens that its training generated, percent by decoding and split, and the
success probability of every problem. What
OUT.jsonl holds is not repeated, so a killed search goes on, and several may fill one file. Averages of seeds cost the
tokens of all of them: two seeds at step 50 are what one costs at step 100. The probes of the runs are off: exact values
need no samples. A model at temperature 0.8 is the model whose last norm is divided by 0.8, sampled at temperature 1: it
needs no training, so what a temperature gives is shown beside what a training gives.
"""

from __future__ import annotations

import argparse
import fcntl
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlvr.report.comparison.front import Model, Referee, Way, judged
from rlvr.report.comparison.front_page import markdown
from rlvr.report.comparison.front_page import rows as table_rows
from rlvr.report.comparison.standings import difference
from rlvr.runs.files import append_jsonl, read_jsonl
from rlvr.runs.run_dir import COMPLETE, RunDir
from rlvr.types import Decoding

ARMS = Path(__file__).with_suffix(".yaml")
SHARES = (0.3, 0.4, 0.5, 0.6, 0.7, 1.0)
SPLITS = ("test", "hard")
PROBLEMS = 128
KS = (1, 16, 256)
DECODINGS = {f"T={T:g}": Decoding(T, 1.0, 18) for T in (1.0, 0.9, 0.8, 0.7, 0.6)} | {
    "T=0.6, top_p 0.95": Decoding(0.6, 0.95, 18)}
"""The first is that of training, the last the paper's."""
State = Mapping[str, Any]
"""Tensors by name. What needs torch is imported where it is used: tables are made without it."""
WEIGHTS, PROGRESS = "model.safetensors", "rlvr_state.json"
"""In a checkpoint."""
BASE: dict[str, Any] = {"arm": "base", "seeds": [], "step": 0, "share": 0.0, "tokens": 0}


def success(state: State) -> dict[str, dict[str, list[float]]]:
    """Decoding -> split -> exact success probability of every problem, of a lab model with these weights."""
    from rlvr.lab.countdown import problems
    from rlvr.lab.exact import exact_successes
    from rlvr.lab.model import load_lab_model

    model, tokenizer = load_lab_model("lab")
    model.load_state_dict(dict(state))
    found: dict[str, dict[str, list[float]]] = {name: {} for name in DECODINGS}
    for split in SPLITS:
        successes = exact_successes(model, tokenizer, problems(split, PROBLEMS), list(DECODINGS.values()))
        for name, p_P in zip(DECODINGS, successes, strict=True):
            found[name][split] = np.round(p_P, 7).tolist()
    return found


def dialled(states: Sequence[State], share: float) -> State:
    """The weights at `share` of the way from the lab's base to the mean of `states`."""
    from rlvr.models.merge import between

    base = base_state()
    return {name: between(weight, [state[name] for state in states], share, weight.dtype)
            for name, weight in base.items()}


def base_state() -> State:
    from safetensors.torch import load_file

    from rlvr.lab.model import BASE_DIR

    return load_file(BASE_DIR / WEIGHTS)


def search(output: Path, work: Path, file: Path, arms: Sequence[str], seeds: Sequence[int]) -> None:
    """Train what is missing, then write a line for every share of every seed and of the means of the first 2, 3, ..."""
    from rlvr.config.comparison import load_comparison
    from rlvr.runs.owner import release
    from rlvr.train import run

    _add(output, BASE, [])
    overrides = [f"run_dir={work}/{{arm}}-{{seed}}", f"seeds={list(seeds)}"]
    runs: defaultdict[str, dict[int, RunDir]] = defaultdict(dict)
    for planned in load_comparison(file, overrides, arms or None):
        folder, steps = RunDir(planned.path), planned.recipe.train.steps
        if not (folder.checkpoint(steps) / COMPLETE).is_file():
            run(planned.recipe_file, [*planned.overrides, "probes.enabled=false"], resume=folder.recipe.is_file())
            release()
        runs[planned.arm][planned.seed] = folder
        _measure(output, planned.arm, {planned.seed: folder}, steps)
        _measure(output, planned.arm, runs[planned.arm], steps)


def _measure(output: Path, arm: str, runs: Mapping[int, RunDir], steps: int) -> None:
    """Lines of the mean over these seeds, at the step at which they cost together what one costs; none if there is no
    checkpoint at it."""
    step, seeds = steps // len(runs), list(runs)
    folders = [run.checkpoint(step) for run in runs.values()]
    if not all((folder / COMPLETE).is_file() for folder in folders):
        return
    tokens = sum(json.loads((folder / PROGRESS).read_text())["generated_tokens"] for folder in folders)
    for share in SHARES:
        _add(output, {"arm": arm, "seeds": seeds, "step": step, "share": share, "tokens": tokens}, folders)


def _add(output: Path, row: dict[str, Any], folders: Sequence[Path]) -> None:
    """Measure the row's model and append it, unless the file has it."""
    if _key(row) in {_key(known) for known in read_jsonl(output)}:
        return
    from safetensors.torch import load_file

    states = [load_file(folder / WEIGHTS) for folder in folders]
    found = success(dialled(states, row["share"]) if states else base_state())
    percent = {decoding: {split: _percent(p_P) for split, p_P in splits.items()} for decoding, splits in found.items()}
    row |= {"exact": percent, "success": found}
    with output.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several searches may fill one file
        if _key(row) not in {_key(known) for known in read_jsonl(output)}:
            append_jsonl(output, [row])


def _percent(p_P: Sequence[float]) -> list[float]:
    return [round(100 * float((1 - (1 - np.array(p_P)) ** k).mean()), 3) for k in KS]


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["arm"], tuple(row["seeds"]), row["step"], row["share"]


def referee(output: Path, decoding: str, split: str = "test", *, cooled: bool = False) -> Referee:
    """The referee's judgement under one decoding on one split: every arm's last model and its dial, against GRPO.

    With `cooled` the models at lower temperatures too, against the base at the best of these: what does a training add
    to what cooling the base gives? Losses are to the base at `decoding` all the same.
    """
    temperatures = [name for name in DECODINGS if "top_p" not in name] if cooled else [decoding]
    rows = read_jsonl(output)
    of_base = [row for row in rows if row["arm"] == "base"]
    base = _model("base", of_base, decoding, split, seedless=True)
    found = [Way("base, cooled", "base", False, tuple(_model(name, of_base, name, split, seedless=True)
                                                      for name in temperatures[1:]))] if cooled else []
    for (arm, averaged), of_arm in _by_arm(rows).items():
        shares = [share for share in SHARES if len(_at(of_arm, share)) == len({tuple(row["seeds"]) for row in of_arm})]
        name = arm if averaged == 1 else f"{arm}, mean of {averaged}"
        end = tuple(_model(f"end, {temperature}" if cooled else "end", _at(of_arm, 1.0), temperature, split)
                    for temperature in temperatures)
        found.append(Way(f"{name}, cooled" if cooled else name, arm, False, end))
        between = tuple(_model(f"{share:.0%}, {temperature}" if cooled else f"{share:.0%}", _at(of_arm, share),
                               temperature, split) for share in shares if share < 1 for temperature in temperatures)
        found.append(Way(f"{name}, dialled{' and cooled' if cooled else ''}", arm, True, between))
    reference = found[0] if cooled else next(way for way in found if way.name == "grpo")
    return judged(base, found, reference, exact=True)


def _by_arm(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, int], list[Mapping[str, Any]]]:
    """(arm, seeds averaged) -> rows that cost what a whole training costs, of those that are measured up to their end.
    """
    grouped: defaultdict[tuple[str, int], list[Mapping[str, Any]]] = defaultdict(list)
    ends = {row["arm"]: max(other["step"] for other in rows if other["arm"] == row["arm"]) for row in rows}
    for row in rows:
        if row["seeds"] and row["step"] == ends[row["arm"]] // len(row["seeds"]):
            grouped[row["arm"], len(row["seeds"])].append(row)
    return {key: of_arm for key, of_arm in grouped.items() if _at(of_arm, 1.0)}


def _at(rows: Sequence[Mapping[str, Any]], share: float) -> list[Mapping[str, Any]]:
    return [row for row in rows if row["share"] == share]


def _model(
    label: str, rows: Sequence[Mapping[str, Any]], decoding: str, split: str, *, seedless: bool = False
) -> Model:
    return Model(label, _pass_SP(rows, decoding, split, 1), _pass_SP(rows, decoding, split, KS[-1]), seedless)


def settings(output: Path) -> list[str]:
    """Means of every setting, in percent pass@1 / pass@16 / pass@256, on `test` and `hard`: one line each."""
    rows = read_jsonl(output)
    lines = ["arm | averaged | share | seeds | tokens | decoding | test | hard", " | ".join(["---"] * 8)]
    groups = {("base", 0): [row for row in rows if row["arm"] == "base"], **_by_arm(rows)}
    for (arm, averaged), of_arm in groups.items():
        for share in sorted({row["share"] for row in of_arm}):
            some = _at(of_arm, share)
            tokens = sum(row["tokens"] for row in some) / len(some)
            for decoding in DECODINGS:
                cells = [_triple(_mean(row["exact"][decoding][split] for row in some)) for split in SPLITS]
                lines.append(" | ".join([arm, str(averaged), f"{share:g}", str(len(some)), f"{tokens:,.0f}", decoding,
                                         *cells]))
    return lines


def chosen(output: Path, arm: str, share: float, decoding: str) -> list[str]:
    """One setting seed by seed, and its differences to GRPO's end and the base: intervals over seeds and problems."""
    rows = [row for row in read_jsonl(output) if len(row["seeds"]) <= 1]
    mine = [row for row in rows if row["arm"] == arm and row["share"] == share]
    lines = ["seed | test | hard"]
    lines += [f"{row['seeds'][0]} | " + " | ".join(_triple(row["exact"][decoding][split]) for split in SPLITS)
              for row in mine]
    lines.append("mean | " + " | ".join(_triple(_mean(row["exact"][decoding][split] for row in mine))
                                        for split in SPLITS))
    others = {name: [row for row in rows if row["arm"] == name and row["share"] == at]
              for name, at in (("grpo", 1.0), ("base", 0.0))}
    for name, of_other in ((name, found) for name, found in others.items() if found):
        for at in dict.fromkeys((next(iter(DECODINGS)), decoding)):
            for split in SPLITS:
                for k in KS:
                    a_SP, b_SP = _pass_SP(mine, decoding, split, k), _pass_SP(of_other, at, split, k)
                    found = difference(a_SP, b_SP)
                    lines.append(f"minus {name} ({len(of_other)}) at {at}, {split}, pass@{k}: "
                                 f"{100 * found.value:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]")
    return lines


def trainings(output: Path, share: float, decoding: str) -> list[str]:
    """Every training: its end as it was trained, and at `share` of the way from the base; means over its seeds."""
    heads = ["training", "seeds", f"its end at {next(iter(DECODINGS))}: test", "hard",
             f"{share:.0%} of the way at {decoding}: test", "hard"]
    found = []
    for (arm, averaged), rows in _by_arm(read_jsonl(output)).items():
        if averaged == 1:
            models = [(_at(rows, 1.0), next(iter(DECODINGS))), (_at(rows, share), decoding)]
            means = [_mean(row["exact"][sampled][split] for row in of_model)
                     for of_model, sampled in models for split in SPLITS]
            found.append((means[-1][-1], [f"`{arm}`", str(len(models[0][0])), *map(_triple, means)]))
    return _markdown(heads, [cells for _, cells in sorted(found, reverse=True)])


def dials(output: Path, decoding: str, split: str) -> list[str]:
    """The rows of the referee's table that are dials, the largest pass@1 losing at most 5 points first."""
    found = referee(output, decoding, split)
    rows = [(standing, row) for standing, row in zip(found.standings, table_rows(found), strict=True)
            if standing.way.dialled and ", mean of" not in standing.way.name]
    rows.sort(key=lambda pair: pair[0].best[-1].model.point[0], reverse=True)
    heads = ["training", "seeds", "losing at most 2 points", "losing at most 5", "minus GRPO's end", "area",
             "minus GRPO's end"]
    return _markdown(heads, [[f"`{row['arm']}`", str(row["seeds"]),
                              *(f"{best['label']}: {best['one']} / {best['many']}" for best in row["best"]),
                              f"{row['best'][-1]['against']}, p {row['best'][-1]['p']}", row["area"]["value"],
                              f"{row['area']['against']}, p {row['area']['p']}"]
                             for _, row in rows])


def against_dials(output: Path, decoding: str) -> list[str]:
    """Does a setting buy anything that the dial does not? Points of pass@256 that the end of a training has above the
    dial of the training that its name extends (`grpo_kl`: `grpo`) at the same pass@1, by seed; empty where that dial
    has nowhere as much pass@1.
    """
    singles = {arm: rows for (arm, averaged), rows in _by_arm(read_jsonl(output)).items() if averaged == 1}
    (base,) = [row for row in read_jsonl(output) if row["arm"] == "base"]
    found = []
    for arm, rows in singles.items():
        plain = max((name for name in singles if arm.startswith(f"{name}_")), key=len, default=None)
        if plain is None:
            continue
        ends = _at(rows, 1.0)
        cells = [f"`{arm}`", f"`{plain}`", str(len(ends))]
        for split in SPLITS:
            cells.append(_triple(_mean(end["exact"][decoding][split] for end in ends)))
            gaps = []
            for end in ends:
                path = [base, *(row for row in singles[plain] if row["seeds"] == end["seeds"])]
                one, _, many = zip(*(row["exact"][decoding][split] for row in path), strict=True)
                x, _, y = end["exact"][decoding][split]
                gaps.append(y - kept_at(x, np.array(one), np.array(many)))
            cells.append(", ".join("" if np.isnan(gap) else f"{gap:+.1f}" for gap in gaps))
        found.append(cells)
    heads = ["training", "against the dial of", "seeds", "its end: test", "minus that dial's pass@256", "hard",
             "minus that dial's pass@256"]
    return _markdown(heads, found)


def kept_at(least: float, one_K: np.ndarray, many_K: np.ndarray) -> float:
    """The largest pass@256 on the line through these points (pass@1, pass@256) where pass@1 is at least `least`.

    NaN where it is nowhere.
    """
    at, places = np.linspace(0, len(one_K) - 1, 100 * (len(one_K) - 1) + 1), np.arange(len(one_K))
    reached = np.interp(at, places, one_K) >= least
    return float(np.interp(at, places, many_K)[reached].max()) if reached.any() else float("nan")


def _markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (heads, ["---"] * len(heads), *rows)]


def draw(output: Path, picture: Path) -> None:
    """pass@1 against pass@256 of every training and of its dial, means over seeds, sampled as in training.

    Trainings that lose pass@1 are left out: they would take the room of all others.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    from rlvr.report.style import BASE as GREY
    from rlvr.report.style import GRID, INK, MUTED, SECOND, THIRD, TRAINED

    rows, sampled = read_jsonl(output), next(iter(DECODINGS))
    marked = {"grpo": ("GRPO", SECOND), "maxrl": ("MaxRL", THIRD), "passk_12": ("pass@12", TRAINED)}
    with rc_context({"font.size": 9, "text.color": INK, "axes.labelcolor": MUTED, "xtick.color": MUTED,
                     "ytick.color": MUTED, "axes.edgecolor": GRID}):
        figure = Figure(figsize=(9, 4), layout="constrained")
        for axes, split in zip(figure.subplots(1, 2), SPLITS, strict=True):
            (base,) = [row["exact"][sampled][split] for row in rows if row["arm"] == "base"]
            for (arm, averaged), of_arm in _by_arm(rows).items():
                name, colour = marked.get(arm, ("other trainings", GREY))
                path = [base, *(_mean(row["exact"][sampled][split] for row in _at(of_arm, share)) for share in SHARES)]
                x, y = [point[0] for point in path], [point[-1] for point in path]
                if averaged > 1 or x[-1] < base[0]:
                    continue
                front = arm in marked
                label = name if name not in axes.get_legend_handles_labels()[1] else None
                axes.plot(x, y, color=colour, linewidth=2 if front else 0.9, alpha=1 if front else 0.55, label=label,
                          zorder=3 if front else 2)
                axes.plot(x[-1], y[-1], "o", color=colour, markersize=6 if front else 3.5, zorder=4 if front else 2)
            axes.plot(base[0], base[-1], "s", color=INK, markersize=7, zorder=5, label="the base")
            axes.set(title=f"split {split}", xlabel="exact pass@1, percent", ylabel="exact pass@256, percent")
            axes.grid(color=GRID)
            axes.set_axisbelow(True)
            axes.spines[["top", "right"]].set_visible(False)
        figure.axes[0].legend(frameon=False, loc="lower left")
        figure.savefig(picture, dpi=160, metadata={"Software": None})


def _pass_SP(rows: Sequence[Mapping[str, Any]], decoding: str, split: str, k: int) -> np.ndarray:
    """pass@k of every problem, a row a seed."""
    return 1 - (1 - np.array([row["success"][decoding][split] for row in rows])) ** k


def _mean(triples: Iterable[Sequence[float]]) -> list[float]:
    return [sum(values) / len(values) for values in zip(*triples, strict=True)]


def _triple(values: Sequence[float]) -> str:
    return " / ".join(f"{value:.1f}" for value in values)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("output", type=Path, metavar="OUT.jsonl")
    parser.add_argument("--work", type=Path, help="where the runs are kept; without it nothing is trained")
    parser.add_argument("--file", type=Path, default=ARMS, help="the comparison whose arms are tried")
    parser.add_argument("--arms", nargs="+", default=[], help="of the comparison (default: all)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--table", action="store_true", help="print what was found")
    parser.add_argument("--picture", type=Path, metavar="FILE.png", help="draw what was found")
    parser.add_argument("--chosen", nargs=3, metavar=("ARM", "SHARE", "DECODING"), help="print one setting in detail")
    arguments = parser.parse_args()
    if arguments.work is not None:
        search(arguments.output, arguments.work, arguments.file, arguments.arms, arguments.seeds)
    if arguments.table:
        for decoding in ("T=1", "T=0.6, top_p 0.95"):
            print(f"\n{decoding}\n", *markdown(referee(arguments.output, decoding), KS[-1]), sep="\n")
        cooled = referee(arguments.output, "T=1", cooled=True)
        print("\nT=1 and below\n", *markdown(cooled, KS[-1]), sep="\n")
        print("\nAll trainings\n", *trainings(arguments.output, 0.3, "T=0.7"), sep="\n")
        for split in SPLITS:
            print(f"\nAll dials, T=1, {split}\n", *dials(arguments.output, "T=1", split), sep="\n")
        print("\nAgainst dials, T=1\n", *against_dials(arguments.output, "T=1"), sep="\n")
        print("\nAll settings\n", *settings(arguments.output), sep="\n")
    if arguments.picture:
        draw(arguments.output, arguments.picture)
    if arguments.chosen:
        arm, share, decoding = arguments.chosen
        print(*chosen(arguments.output, arm, float(share), decoding), sep="\n")


if __name__ == "__main__":
    main()
