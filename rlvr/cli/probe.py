"""`rlvr probe`: measure the boundary of models, or of completions sampled elsewhere."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr.cli.arguments import add_command, add_resume, at_least_one, count
from rlvr.types import UserError

if TYPE_CHECKING:
    from rlvr.config.probe_recipe import ProbeRecipe


def add_parser(commands: Any) -> None:
    parser = add_command(commands, "probe", "measure the boundary of checkpoints, or of samples drawn elsewhere",
                         "rlvr probe runs/longer -o runs/longer-probed")
    parser.add_argument(
        "words", nargs="*", default=[], metavar="MODEL | RECIPE | key=value",
        help="MODEL, one or more: `lab`, a hub id, a directory, or a run directory for all its checkpoints. RECIPE: "
             "sets base, problems, decoding and plans (default: the recipe of the models' run). key=value: changes a "
             "setting of the recipe",
    )
    parser.add_argument("--data", metavar="FILE|ID", help="problems (.jsonl, .parquet, hub id, `lab`): needs no recipe")
    parser.add_argument("--base", metavar="MODEL|FILE", help="what to compare with (default: the recipe's base, else "
                                                             "the first MODEL); with --from, the base's completions")
    parser.add_argument("--plan", help="sampling plan, for the base too: balanced, fixed, cheap or reference-512")
    parser.add_argument("--verifier", help="math, countdown, ... or package.module:Class")
    parser.add_argument("--from", dest="samples", type=Path, metavar="FILE|DIR",
                        help="judge completions drawn elsewhere: rows of {problem_id, sample, text}, or files of verl, "
                             "prime-rl, TRL, OpenRLHF, lm-eval, lighteval or inspect-ai; --data is needed only where "
                             "they hold no gold answers")
    parser.add_argument("--step", type=count, metavar="N", help="with --from: only the completions of this step")
    parser.add_argument("--engine", choices=("transformers", "vllm", "openai"),
                        help="what draws the samples (default: the recipe's); openai: a server, MODEL a name there")
    parser.add_argument("--base-url", action="append", metavar="URL",
                        help="of a server, as in http://localhost:8000/v1; several: one --base-url each")
    parser.add_argument("--watch", type=Path, metavar="DIR",
                        help="probe every checkpoint that appears in DIR, of any trainer; rlvr's run gives the recipe")
    parser.add_argument("--until", type=at_least_one, metavar="STEP",
                        help="end --watch with the checkpoint of this step (default: the run's last; else never)")
    parser.add_argument("--wandb", choices=("auto", "online", "offline", "disabled"),
                        help="W&B run of a --watch (default: as the watched run's recipe says, else disabled)")
    parser.add_argument("-o", "--output", type=Path, required=True, help="run directory to write")
    add_resume(parser, "the probe in the output directory")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    from rlvr.cli.probe_request import probe_request
    from rlvr.cli.report import write_and_print
    from rlvr.runs.run_dir import RunDir
    from rlvr.training.processes import rank

    samples = arguments.samples
    if arguments.step is not None and samples is None:
        raise UserError(f"--step {arguments.step}: found without --from, whose files may hold several steps; remove it")
    request = probe_request(
        arguments.words, data=arguments.data, plan=arguments.plan, verifier=arguments.verifier,
        base=arguments.base if samples is None else None, samples=samples,
        engine=arguments.engine, base_urls=arguments.base_url or (), watched=arguments.watch,
    )
    if arguments.watch is None and (arguments.until is not None or arguments.wandb is not None):
        raise UserError("--until and --wandb: found without --watch; remove them, or give the directory to watch")
    if rank() == 0:
        RunDir(arguments.output).check_usable(resume=arguments.resume)
        if arguments.data is not None and samples is None:
            sys.stderr.write(_chat_note(request.recipe))
    from rlvr.probes.elsewhere import judge_file  # loads torch: only once the request is valid
    from rlvr.probes.offline import probe
    from rlvr.runs.files import full_disk_explained

    with full_disk_explained(arguments.output):
        if arguments.watch is not None:
            from rlvr.cli.watch import watch

            watch(request, arguments.watch, arguments.output, resume=arguments.resume, until=arguments.until,
                  wandb=arguments.wandb)
        elif samples is None:
            probe(request, arguments.output, resume=arguments.resume)
        else:
            base = None if arguments.base is None else Path(arguments.base)
            judge_file(request, samples, arguments.output, base=base, plan=arguments.plan, step=arguments.step,
                       resume=arguments.resume)
        if rank() == 0:
            write_and_print(arguments.output)


def _chat_note(recipe: ProbeRecipe) -> str:
    """A line for a model with a chat template whose prompts go as plain text, as `--data` alone sends them; else ""."""
    from rlvr.cli.init import reads_chats
    from rlvr.config.probe_recipe import data_of_sets

    if recipe.model is None or not reads_chats(recipe.model.path) or any(
            spec.chat for spec in data_of_sets(recipe).values()):
        return ""
    return (f"note: {recipe.model.path} reads chats, and prompts are sent as plain text: data.probe.chat=true uses its "
            "template, data.probe.system='...' asks for the form of answer\n")
