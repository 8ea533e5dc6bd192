"""`rlvr init`: a first recipe for one's own model and data, by four questions or four options."""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from rlvr.cli.arguments import add_command
from rlvr.types import UserError

QUESTIONS = {
    "model": ("Model: lab, a hub id or a directory", "lab"),
    "data": ("Data: lab, a .jsonl or .parquet file, a preset (`rlvr list`), gym:TASK or a hub id", "lab"),
    "algorithm": ("Algorithm: grpo, ppo, rloo, reinforce_pp, remax, dapo", "grpo"),
    "hardware": ("Hardware: cpu, or GPUs as in 8xh100", "cpu"),
}
BOXED = "Please reason step by step, and put your final answer within \\boxed{}."
IN_TAGS = "Think step by step, then give the final answer alone, as in <answer>12</answer>."
"""What the scorers of reasoning-gym read."""
HELD_OUT = 256
"""Most problems that are kept out of the training for the probes, and at most a quarter of them."""


def add_parser(commands: Any) -> None:
    parser = add_command(commands, "init", "write a first recipe for a model and data of your own",
                         "rlvr init --model Qwen/Qwen2.5-0.5B-Instruct --data my.jsonl --algorithm grpo "
                         "--hardware 1xh100")
    for name, (question, _) in QUESTIONS.items():
        parser.add_argument(f"--{name}", help=question.partition(": ")[2])
    parser.add_argument("--prompt", metavar="COLUMN", help="column of the question (default: found by its name)")
    parser.add_argument("--gold", metavar="COLUMN", help="column of the answer (default: found by its name)")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="file to write (default: NAME.yaml)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    from rlvr.cli.init_plan import header, tree_of
    from rlvr.cli.init_rows import usable_rows
    from rlvr.cli.new_recipe import write_recipe
    from rlvr.config.data import is_file

    answers = {name: getattr(arguments, name) or _ask(name) for name in QUESTIONS}
    if answers["model"] == "lab" and answers["data"] != "lab":
        raise UserError(f"the lab's model reads the lab's problems alone, not {answers['data']!r}; write --data lab, "
                        "or choose a model of your own (a hub id or a directory)", where="--model")
    model = answers["model"]
    if model.startswith((".", "/", "~")) and not Path(model).is_dir():
        raise UserError(f"no directory {model!r}; expected lab, a hub id or the directory of a model", where="--model")
    data, rows = data_of(answers["data"], arguments.prompt, arguments.gold, chat=reads_chats(answers["model"]))
    dropped = []
    if rows is not None and is_file(answers["data"]):
        rows, dropped = usable_rows(data)
    tree, notes, launch = tree_of(answers, data, rows)
    notes += dropped
    output = arguments.output or Path(f"{tree['name']}.yaml")
    write_recipe(tree, header(answers, str(output), notes, launch), output)
    sys.stdout.write(f"wrote {output}{_chosen(tree['data'], rows)}{_hub(model)}; next: rlvr check {output}\n")


def _hub(model: str) -> str:
    """A word on a model that is no directory here: it may be a misspelt one."""
    return "" if model == "lab" or Path(model).is_dir() else f"; the model {model} is a hub id, not looked up here"


def _chosen(data: dict[str, Any], rows: int | None) -> str:
    """What was decided about a file or a dataset with columns of its own; nothing for others."""
    train, probe = data["train"], data["probe"]
    if "prompt" not in train:
        return ""
    counts = "" if rows is None else f", {rows:,} problems to train on and {probe['size']:,} kept for the probes"
    return f" (question: {train['prompt']}, answer: {train['gold']}{counts})"


def _ask(name: str) -> str:
    """The answer to a question on a terminal. Raises UserError elsewhere, so that a script never waits."""
    question, default = QUESTIONS[name]
    if not sys.stdin.isatty():
        raise UserError(f"missing, and there is no terminal to ask on; expected {question.partition(': ')[2]}",
                        where=f"--{name}")
    sys.stderr.write(f"{question} [{default}] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip() or default


def reads_chats(model: str) -> bool:
    """Whether a model reads chat messages: by its files, or by its name on the hub."""
    folder = Path(model)
    if not folder.is_dir():
        return bool(re.search(r"instruct|chat|-it\b|qwen3(?!.*base)", model, re.IGNORECASE))
    config = folder / "tokenizer_config.json"
    return (folder / "chat_template.jinja").is_file() or (config.is_file() and "chat_template" in json.loads(
        config.read_text(encoding="utf-8")))


def data_of(source: str, prompt: str | None, gold: str | None, *, chat: bool) -> tuple[dict[str, Any], int | None]:
    """(the section `data`, with problems held out for the probes; how many there are to train on, where that is known).

    Raises: UserError for columns that are not found.
    """
    from rlvr.cli.columns import GOLDS, PROMPTS, column, first_row
    from rlvr.config.data import GYM, is_file
    from rlvr.config.presets import PRESETS

    if source == "lab":
        return {"train": {"source": "lab", "split": "train", "size": 2048},
                "probe": {"source": "lab", "split": "test", "size": 128}}, 2048
    if source.startswith(GYM):
        held = {"source": source} | (
            {"chat": True, "system": IN_TAGS} if chat else {"template": "{prompt}\n" + IN_TAGS + "\n"})
        return {"train": {**held, "split": "train", "size": 2048},
                "probe": {**held, "split": "test", "size": 128}}, 2048
    asked: dict[str, Any] = {"chat": True, "system": BOXED} if chat else {"template": "{prompt}\n" + BOXED + "\n"}
    if source in PRESETS:
        if PRESETS[source].fields.get("verifier") != "math":
            asked = {"chat": True} if chat else {}
        if source == "gsm8k":
            return {"train": {"preset": "gsm8k", "split": "train", **asked},
                    "probe": {"preset": "gsm8k", "split": "test", "size": HELD_OUT, **asked}}, 7473
        held = {"preset": source, "shuffle": 0, **asked}
        return {"train": {**held, "skip": HELD_OUT, "drop_bad_golds": True},
                "probe": {**held, "size": HELD_OUT, "drop_bad_golds": True}}, None
    found, rows = (first_row(Path(source)) if is_file(source) else ({}, None))
    columns: dict[str, Any] = {"prompt": column(found, prompt, PROMPTS, source, "prompt"),
                               "gold": column(found, gold, GOLDS, source, "gold")}
    if isinstance(found.get(columns["prompt"]), list):
        asked = {"chat": True}
    held = {"source": source, **columns, "verifier": "math", "shuffle": 0, **asked}
    size = HELD_OUT if rows is None else max(1, min(HELD_OUT, rows // 4))
    return {"train": {**held, "skip": size}, "probe": {**held, "size": size}}, (
        None if rows is None else rows - size)
