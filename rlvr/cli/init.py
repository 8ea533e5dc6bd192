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
PROMPTS = ("problem", "question", "prompt", "messages", "query", "instruction", "input")
GOLDS = ("answer", "gold", "solution", "final_answer", "target", "label", "output")
"""Usual names of the columns, the likeliest first."""
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
    data, rows = data_of(answers["data"], arguments.prompt, arguments.gold, chat=_chats(answers["model"]))
    dropped = []
    if rows is not None and is_file(answers["data"]):
        rows, dropped = usable_rows(data)
    tree, notes, launch = tree_of(answers, data, rows)
    notes += dropped
    output = arguments.output or Path(f"{tree['name']}.yaml")
    write_recipe(tree, header(answers, str(output), notes, launch), output)
    sys.stdout.write(f"wrote {output}; next: rlvr check {output}\n")


def _ask(name: str) -> str:
    """The answer to a question on a terminal. Raises UserError elsewhere, so that a script never waits."""
    question, default = QUESTIONS[name]
    if not sys.stdin.isatty():
        raise UserError(f"missing, and there is no terminal to ask on; expected {question.partition(': ')[2]}",
                        where=f"--{name}")
    sys.stderr.write(f"{question} [{default}] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip() or default


def _chats(model: str) -> bool:
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
    found, rows = (_first_row(Path(source)) if is_file(source) else ({}, None))
    columns: dict[str, Any] = {"prompt": _column(found, prompt, PROMPTS, source, "prompt"),
                               "gold": _column(found, gold, GOLDS, source, "gold")}
    if isinstance(found.get(columns["prompt"]), list):
        asked = {"chat": True}
    held = {"source": source, **columns, "verifier": "math", "shuffle": 0, **asked}
    size = HELD_OUT if rows is None else max(1, min(HELD_OUT, rows // 4))
    return {"train": {**held, "skip": size}, "probe": {**held, "size": size}}, (
        None if rows is None else rows - size)


def _first_row(path: Path) -> tuple[dict[str, Any], int]:
    """(first row, number of rows) of a local file."""
    if not path.is_file():
        raise UserError(f"no file {str(path)!r}", where="--data")
    if path.suffix == ".parquet":
        from pyarrow.parquet import ParquetFile

        table = ParquetFile(path)
        first = next(table.iter_batches(batch_size=1), None)
        return (first.to_pylist()[0] if first is not None else {}), table.metadata.num_rows
    with path.open(encoding="utf-8") as file:
        lines = [line for line in file if line.strip()]
    try:
        row = json.loads(lines[0]) if lines else {}
    except ValueError as error:
        raise UserError(f"{path}: line 1 is not JSON ({error})", where="--data") from None
    if not lines or not isinstance(row, dict):
        raise UserError(f"{path}: found no rows, expected an object per line", where="--data")
    return row, len(lines)


def _column(row: dict[str, Any], given: str | None, usual: tuple[str, ...], source: str, name: str) -> str:
    if given is not None:
        if row and given not in row:
            raise UserError(f"{source}: no column {given!r} (columns: {', '.join(row)})", where=f"--{name}")
        return given
    if not row:  # a hub dataset: not looked up here
        return usual[0]
    found = next((column for column in usual if column in row), None)
    if found is None:
        raise UserError(f"{source}: no column with a usual name (columns: {', '.join(row)}); say which it is",
                        where=f"--{name}")
    return found
