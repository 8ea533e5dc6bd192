"""`rlvr train`, `rlvr report` and the others: one entry per verb; each imports what it needs when it is called."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlvr.types import DEFAULT_KS, UserError

EXAMPLES = {
    "train": "rlvr train recipes/quickstart/lab_grpo.yaml train.steps=120 run_dir=runs/longer",
    "check": "rlvr check recipes/quickstart/lab_grpo.yaml algorithm.name=ppo",
    "probe": "rlvr probe runs/longer -o runs/longer-probed",
    "perplexity": "rlvr perplexity runs/longer",
    "report": "rlvr report runs/longer",
    "audit": "rlvr audit --data math500",
    "list": "rlvr list ppo",
    "compare": "rlvr compare recipes/compare/lab_six.yaml --arms grpo,ppo 'seeds=[0]'",
    "review": "rlvr review runs/longer -o review.html",
}
FAILED = {"compare": "a run failed (the others went on)", "audit": "the verifier refuses a gold answer"}
"""What exit code 1 means where it is not a fault of ours."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code. A user's mistake is one line on stderr and exit code 2."""
    arguments = parse(argv)
    # As with `python -m`: plug-ins named package.module:Class may lie in the current directory.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        return arguments.run(arguments) or 0
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; `run` is what to call with it. Exits with code 2 and a message for one that is wrong.

    argparse takes words before the first option only; ours may stand behind one too, as in `FILE --resume key=value`.
    """
    parser = _parser()
    arguments, rest = parser.parse_known_args(argv)
    words = next((name for name in ("overrides", "words") if name in arguments), None)
    if rest and (words is None or any(word.startswith("-") for word in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if words is not None:
        setattr(arguments, words, [*getattr(arguments, words), *rest])
    return arguments


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rlvr",
        description="Train language models by RL with verifiable rewards, and measure their reasoning boundary.",
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    train = _verb(verbs, "train", "run a recipe on this machine (several processes: accelerate launch)")
    _recipe_arguments(train)
    train.add_argument("--resume", action="store_true", help="go on with the run in the recipe's run_dir")
    train.set_defaults(run=_train)

    check = _verb(verbs, "check", "resolve a recipe, judge its gold answers and print what it will cost")
    _recipe_arguments(check)
    check.add_argument("--processes", type=_at_least_one, default=1, metavar="N", help="as many as will train")
    check.add_argument("--offline", action="store_true", help="leave out what would have to be downloaded")
    check.set_defaults(run=_check)

    probe = _verb(verbs, "probe", "measure the boundary of checkpoints, or of samples drawn elsewhere")
    probe.add_argument(
        "words", nargs="*", metavar="MODEL | RECIPE | key=value",
        help="models (`lab`, hub ids, directories) or the directory of a run, for all its checkpoints; the recipe that "
             "names base, problems, decoding and plans (default: the one of the models' run); settings to change",
    )
    probe.add_argument("--data", metavar="FILE|ID", help="problems (.jsonl, .parquet, hub id, `lab`): needs no recipe")
    probe.add_argument("--base", metavar="MODEL|FILE", help="what to compare with (default: the recipe's base, else "
                                                            "the first MODEL); with --from, the base's completions")
    probe.add_argument("--plan", help="sampling plan, for the base too: balanced, fixed, cheap or reference-512")
    probe.add_argument("--verifier", help="math, countdown, ... or package.module:Class")
    probe.add_argument("--from", dest="samples", type=Path, metavar="FILE.jsonl",
                       help="judge completions drawn elsewhere, one {problem_id, sample, text} a line")
    probe.add_argument("-o", "--output", type=Path, required=True, help="run directory to write")
    probe.add_argument("--resume", action="store_true", help="go on with the probe in the output directory")
    probe.set_defaults(run=_probe)

    perplexity = _verb(verbs, "perplexity", "how likely the base model finds what the trained one writes")
    perplexity.add_argument("run_dir", type=Path)
    perplexity.add_argument("--samples", type=_at_least_one, default=4, metavar="N", help="per problem and probe")
    perplexity.set_defaults(run=_perplexity)

    report = _verb(verbs, "report", "write report.html of a run and print its summary")
    report.add_argument("run_dir", type=Path)
    report.set_defaults(run=_report)

    audit = _verb(verbs, "audit", "how far a verifier can be trusted on a dataset")
    audit.add_argument("--data", required=True, metavar="D", help="a preset, a .jsonl or .parquet file, or a hub id")
    audit.add_argument("overrides", nargs="*", metavar="key=value", help="keys of a recipe's data section")
    audit.add_argument("--verifier", metavar="V", help="default: the one of the data")
    audit.add_argument("--second", metavar="V", help="grader to compare with (default: math_verify for math)")
    audit.add_argument("--completions", type=Path, metavar="F", help="JSONL of problem_id and text, or a run's samples")
    audit.add_argument("--cross", type=int, default=20, metavar="N", help="golds of other problems given to each one")
    audit.add_argument("--workers", type=_at_least_one, default=2, metavar="N")
    audit.add_argument("-o", "--output", type=Path, metavar="DIR", help="directory to write audit.json to")
    audit.set_defaults(run=_audit)

    listing = _verb(verbs, "list", "the algorithms, verifiers, sampling plans and data presets a recipe may name")
    listing.add_argument("name", nargs="?", help="show the formula and the settings of this one")
    listing.set_defaults(run=_list)

    compare = _verb(
        verbs, "compare", "train arms x seeds and compare them, or compare finished runs: one page of tables and curves"
    )
    compare.add_argument("what", help="a comparison, e.g. recipes/compare/lab_six.yaml, or a directory of runs")
    compare.add_argument("overrides", nargs="*", metavar="key=value | DIR", help="settings; or more directories")
    compare.add_argument("--arms", type=lambda text: text.split(","), metavar="A,B", help="only these arms of the file")
    compare.add_argument("--finished", action="store_true",
                         help="train nothing: compare the runs that are finished and name the others")
    compare.add_argument("--resume", action="store_true", help="skip finished runs and go on with the others")
    compare.add_argument("--launch", metavar="COMMAND", help='launcher of the runs, e.g. "accelerate launch"')
    compare.add_argument("-o", "--output", type=Path, help="page to write; .md and .csv go beside it")
    compare.set_defaults(run=_compare)

    review = _verb(verbs, "review", "collect rare right answers to hard problems, to check their reasoning")
    review.add_argument("run_dir", type=Path)
    review.add_argument("-o", "--output", type=Path, required=True, help="sheet to write: .html (ticks) or .csv")
    review.add_argument("--max-accuracy", type=float, default=0.05, metavar="P", help="hard: solved, but c/n below P")
    review.set_defaults(run=_review)

    lab = verbs.add_parser("lab", help="the laptop-sized task whose truth is known").add_subparsers(
        required=True, metavar="WHAT"
    )
    exact = lab.add_parser("exact", help="exact pass@k of a lab model: no sampling, no noise")
    exact.add_argument("model", help="`lab` or a directory, such as runs/lab_grpo/checkpoints/checkpoint-60")
    exact.add_argument("-k", type=_at_least_one, nargs="+", default=DEFAULT_KS, metavar="K")
    exact.add_argument("--problems", type=_at_least_one, default=128, metavar="N", help="the first N of the split")
    exact.add_argument("--split", choices=("train", "test", "hard"), default="test")
    exact.add_argument("--temperature", type=float, default=1.0)
    exact.add_argument("--top-p", type=float, default=1.0)
    exact.set_defaults(run=_lab_exact)
    distill = lab.add_parser("distill", help="SFT on the solver's answers to problems the base rarely solves, with the "
                                             "probes of a recipe")
    _recipe_arguments(distill)
    distill.add_argument("--resume", action="store_true", help="go on with the run in the recipe's run_dir")
    distill.set_defaults(run=_lab_distill)
    base = lab.add_parser("build-base", help="train the lab's base model from scratch (a few CPU minutes)")
    base.add_argument("output", type=Path, help="directory to write; must be empty or new")
    base.add_argument("--seed", type=int, default=0)
    base.add_argument("--steps", type=int, default=None, help="optimizer steps (default: as the shipped base)")
    base.set_defaults(run=_lab_build)
    return parser


def _verb(verbs: Any, name: str, does: str) -> argparse.ArgumentParser:
    """A verb whose help says what it does, how it is called and what its exit code means."""
    codes = f"0 done; 1 {FAILED.get(name, 'a fault')}; 2 a mistake, told in one line; 130 interrupted"
    return verbs.add_parser(
        name, help=does, description=f"{does[0].upper()}{does[1:]}.",
        epilog=f"example:     {EXAMPLES[name]}\nexit codes:  {codes}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"found {number}, expected at least 1")
    return number


def _recipe_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", help="path of a recipe, e.g. recipes/quickstart/lab_grpo.yaml")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="recipe settings to change")


def _train(arguments: argparse.Namespace) -> None:
    from rlvr.train import run

    run(arguments.recipe, arguments.overrides, resume=arguments.resume)


def _check(arguments: argparse.Namespace) -> None:
    from rlvr.cli.check import check
    from rlvr.config.recipe import load_recipe

    check(load_recipe(arguments.recipe, arguments.overrides), world_size=arguments.processes,
          offline=arguments.offline)


def _probe(arguments: argparse.Namespace) -> None:
    from rlvr.cli.probe_request import probe_request
    from rlvr.runs.run_dir import RunDir

    samples = arguments.samples
    request = probe_request(
        arguments.words, data=arguments.data, plan=arguments.plan, verifier=arguments.verifier,
        base=arguments.base if samples is None else None, samples_given=samples is not None,
    )
    RunDir(arguments.output).check_usable(resume=arguments.resume)
    from rlvr.probes.offline import judge_file, probe  # torch and all: not before the request is sound

    if samples is None:
        probe(request, arguments.output, resume=arguments.resume)
    else:
        base = None if arguments.base is None else Path(arguments.base)
        judge_file(request, samples, arguments.output, base=base, plan=arguments.plan, resume=arguments.resume)
    _write_report(arguments.output)


def _perplexity(arguments: argparse.Namespace) -> None:
    from rlvr.runs.run_dir import RunDir

    RunDir(arguments.run_dir).read_recipe()  # another directory than a run's is refused before torch loads
    from rlvr.probes.perplexity import run

    run(arguments.run_dir, samples=arguments.samples)


def _report(arguments: argparse.Namespace) -> None:
    _write_report(arguments.run_dir)


def _review(arguments: argparse.Namespace) -> None:
    from rlvr.report.review import write_review

    written = write_review(arguments.run_dir, arguments.output, max_accuracy=arguments.max_accuracy)
    sys.stdout.write(f"{written} right samples of hard problems: {arguments.output}\n")


def _write_report(run_dir: Path) -> None:
    from rlvr.report.page import write_report
    from rlvr.report.summary import summary_table

    page = write_report(run_dir)
    sys.stdout.write(f"{summary_table(run_dir)}\nreport: {page}\n")


def _list(arguments: argparse.Namespace) -> None:
    from rlvr.cli.list import details, overview

    sys.stdout.write((details(arguments.name) if arguments.name else overview()) + "\n")


def _compare(arguments: argparse.Namespace) -> int:
    from rlvr.report.comparison.page import comparison_summary, write_comparison

    if Path(arguments.what).suffix not in (".yaml", ".yml"):
        if arguments.resume or arguments.launch or arguments.arms:
            raise UserError(f"{arguments.what}: --resume, --launch and --arms are for a comparison file (.yaml); of "
                            "finished runs, name the directories that are wanted")
        paths = [Path(arguments.what), *map(Path, arguments.overrides)]
        page = write_comparison(paths, arguments.output or Path("compare.html"), finished=arguments.finished)
        sys.stdout.write(f"{comparison_summary(paths, finished=arguments.finished)}\npage: {page}\n")
        return 0

    from rlvr.cli.compare import Failure, check_runs, launcher, load_comparison, overruled_text, run_all

    runs = load_comparison(arguments.what, arguments.overrides, arguments.arms)
    if overruled := overruled_text(runs):
        sys.stderr.write(f"{overruled}\n")
    failures: list[Failure] = []
    if not arguments.finished:
        launch = launcher(arguments.launch)
        check_runs(runs, resume=arguments.resume, processes=None if arguments.launch else 1)
        failures = run_all(runs, launch)
    arms = {run.path: run.arm for run in runs if run.finished}
    missing = [f"{run.arm}, seed {run.seed}" for run in runs if not run.finished]
    if arguments.finished and not arms:
        raise UserError(f"{arguments.what}: none of its {len(runs)} runs is finished; train them without --finished")
    if arms:
        name = f"compare-{'-'.join(arguments.arms)}.html" if arguments.arms else "compare.html"
        output = arguments.output or runs[0].path.parent / name
        page = write_comparison(list(arms), output, arms=arms, missing=missing)
        sys.stdout.write(f"{comparison_summary(list(arms), arms=arms, missing=missing)}\npage: {page}\n")
    for failure in failures:
        sys.stderr.write(f"error: {failure}\n")
    return 1 if failures else 0


def _audit(arguments: argparse.Namespace) -> int:
    import json

    from rlvr.config.data import DataSpec
    from rlvr.config.presets import PRESETS, expand
    from rlvr.config.strict import apply_overrides, from_dict
    from rlvr.data.completions import read_texts
    from rlvr.data.load import load_problems
    from rlvr.judging.audit import run_audit, table
    from rlvr.runs.files import write_json_atomic

    named = {"preset": arguments.data} if arguments.data in PRESETS else {"source": arguments.data}
    spec = from_dict(DataSpec, expand(apply_overrides(named, arguments.overrides), "data"), "data")
    without_gold: list[str] = []
    problems = load_problems(spec, where="data", without_gold=without_gold)
    completions = read_texts(arguments.completions) if arguments.completions else []
    result = run_audit(problems, data=spec.source, verifier=arguments.verifier or problems[0].verifier,
                       second=arguments.second, completions=completions, without_gold=without_gold,
                       cross=arguments.cross, workers=arguments.workers)
    sys.stdout.write(table(result) + "\n")
    if arguments.output:
        arguments.output.mkdir(parents=True, exist_ok=True)
        write_json_atomic(arguments.output / "audit.json", json.loads(json.dumps(result.as_dict())))
        sys.stdout.write(f"written: {arguments.output / 'audit.json'}\n")
    return 0 if result.passed else 1


def _lab_exact(arguments: argparse.Namespace) -> None:
    from rlvr.lab.countdown import problems
    from rlvr.lab.exact import exact_pass_at_k, exact_success, format_exact_table
    from rlvr.lab.model import load_lab_model
    from rlvr.types import Decoding

    model, tokenizer = load_lab_model(arguments.model)
    chosen = problems(arguments.split, arguments.problems)
    p_P = exact_success(model, tokenizer, chosen, Decoding(arguments.temperature, arguments.top_p, 18))
    name = f"{arguments.model}, {len(chosen)} {arguments.split} problems"
    sys.stdout.write(format_exact_table({name: exact_pass_at_k(p_P, arguments.k)}) + "\n")


def _lab_distill(arguments: argparse.Namespace) -> None:
    from rlvr.config.recipe import load_recipe
    from rlvr.models.quiet import quiet

    recipe = load_recipe(arguments.recipe, arguments.overrides)
    quiet()
    from rlvr.cli.distill import distill

    run = distill(recipe, resume=arguments.resume)
    _write_report(run.path)


def _lab_build(arguments: argparse.Namespace) -> None:
    from rlvr.lab.build_base import build_base

    steps = {} if arguments.steps is None else {"steps": arguments.steps}
    build_base(arguments.output, seed=arguments.seed, **steps)


if __name__ == "__main__":
    sys.exit(main())
