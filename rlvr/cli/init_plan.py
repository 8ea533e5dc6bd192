"""What `rlvr init` chooses for a model, data, an algorithm and hardware: batch, precision, sharding, vLLM."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlvr.cli.hardware import fits, gpu_of, load_for, shape_for
from rlvr.cli.new_recipe import checked
from rlvr.config.registry import target_of
from rlvr.config.steps import plan_of_steps
from rlvr.models.memory import GIB, Sharding, memory
from rlvr.types import UserError

PLACES = re.compile(r"(?:(\d+)\s*x\s*)?([A-Za-z]\w*)")
WAYS: tuple[tuple[Sharding, dict[str, Any]], ...] = (
    ("ddp", {"model.dtype": "float32"}),
    ("zero3", {"model.dtype": "bfloat16"}),
    ("zero3", {"model.dtype": "bfloat16", "train.micro_batch_size": 1}),
    ("ddp", {"model.dtype": "bfloat16", "model.lora": {"r": 32}, "train.learning_rate": 1e-5}),
    ("zero3", {"model.dtype": "bfloat16", "model.lora": {"r": 32}, "train.learning_rate": 1e-5,
               "train.micro_batch_size": 1}),
)
"""From the simplest to the smallest: the first that fits is taken. Adapters take ten times the learning rate."""


LONGEST = 1024
"""Tokens of a prompt and of an answer."""
GENERATED_AT_A_TIME = 65536
"""Tokens per process: the caches of a 7B model then take 3.5 GiB."""


def tree_of(
    answers: Mapping[str, str], data: dict[str, Any], rows: int | None
) -> tuple[dict[str, Any], list[str], str]:
    """(recipe, notes for its header, command that trains it). `rows`: problems to train on, None where not known.

    Raises: UserError for an unknown algorithm or GPU, and for too few problems.
    """
    target_of("algorithms", answers["algorithm"])
    processes, gpu_name = places_of(answers["hardware"])
    lab = answers["model"] == "lab"
    name = re.sub(r"[^A-Za-z0-9._-]", "_", f"{Path(answers['model']).name}_{answers['algorithm']}").lower()
    prompts = _prompts_per_step(rows, processes)
    room = _room(Path(answers["model"]))
    limit = 18 if lab else room
    tree: dict[str, Any] = {
        "name": name, "seed": 0, "run_dir": "runs/{name}-seed{seed}",
        "model": {"path": answers["model"], "dtype": "float32"},
        "data": data,
        "algorithm": {"name": answers["algorithm"]},
        "train": {"steps": 100, "prompts_per_step": prompts, "group_size": 8, "micro_batch_size": 8,
                  "learning_rate": 2e-4 if lab else 1e-6, "max_prompt_tokens": room, "max_new_tokens": limit,
                  "save_every": 25},
        "probes": {"every": 25, "temperature": 1.0 if lab else 0.6, "top_p": 1.0 if lab else 0.95,
                   "max_new_tokens": limit},
    }
    if gpu_name is None:
        note = ("On CPUs only the lab's model and others of its size train in minutes. These need larger steps than "
                "1e-6: the lab's recipe has train.learning_rate 2e-4.")
        return tree, [note] * (not lab), "rlvr train"
    tree["train"] |= {"bf16": True, "gradient_checkpointing": True, "rollout_batch_tokens": GENERATED_AT_A_TIME}
    notes, sharding = _sized(tree, processes, gpu_name)
    notes.append("Sampling is faster with vLLM: pip install 'rlvr[vllm]', and in train write vllm: {} in place "
                 "of rollout_batch_tokens.")
    launch = "rlvr train" if processes == 1 and sharding == "ddp" else (
        f"accelerate launch --config_file launch/accelerate/{sharding}.yaml --num_processes {processes} -m rlvr.train")
    return tree, notes, launch


def _room(model: Path) -> int:
    """Tokens for a prompt and as many for an answer: 1,024, or half the positions of a local model that has fewer."""
    config = model / "config.json"
    try:
        declared = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
    except ValueError as error:
        raise UserError(f"{config} is not JSON ({error})", where="--model") from None
    positions = (declared.get("text_config") or declared).get("max_position_embeddings") or 2 * LONGEST
    return min(LONGEST, max(1, positions // 2))


def places_of(hardware: str) -> tuple[int, str | None]:
    """(processes, GPU or None for a CPU), as in `8xh100`, `h100` or `cpu`. Raises UserError."""
    found = PLACES.fullmatch(hardware.strip())
    if found is None or int(found[1] or 1) < 1:
        raise UserError(f"found {hardware!r}, expected cpu, or GPUs as in 8xh100", where="--hardware")
    if found[2].lower() == "cpu":
        return int(found[1] or 1), None
    try:
        gpu_of(found[2])
    except UserError as error:
        raise UserError(str(error).removeprefix("--gpu: "), where="--hardware") from None
    return int(found[1] or 1), found[2].lower()


def _prompts_per_step(rows: int | None, processes: int) -> int:
    """64, or less for few problems: a multiple of the processes and not more than there are."""
    most = 64 if rows is None else min(64, rows)
    if most < processes:
        raise UserError(f"found {rows} problems to train on, expected at least one per process ({processes})",
                        where="--data")
    return most // processes * processes


def _sized(tree: dict[str, Any], processes: int, gpu_name: str) -> tuple[list[str], Sharding]:
    """Change the tree to the first way that fits. Returns notes on memory and the sharding."""
    gpu, recipe = gpu_of(gpu_name), checked(tree)
    try:
        shape = shape_for(recipe)
    except UserError:
        return [f"The size of {recipe.model.path} is not known here: before a GPU is spent, run rlvr check "
                f"--gpu {gpu_name} --model-config FILE with its config.json."], "ddp"
    for sharding, changes in WAYS:
        trial = {key: dict(value) if isinstance(value, dict) else value for key, value in tree.items()}
        for key, value in changes.items():
            section, field = key.split(".")
            trial[section][field] = value
        recipe = checked(trial)
        plan_of_steps(recipe.train, processes)
        load = load_for(recipe, shape, processes, sharding)
        found = memory(load, gpu.memory)
        if fits(found, gpu, load):
            tree.update(trial)
            return [f"Forecast: {found.peak / GIB:.1f} GiB per GPU with {sharding} (rlvr check --processes {processes} "
                    f"--gpu {gpu_name} --sharding {sharding})."], sharding
    raise UserError(f"{shape.parameters / 1e9:.1f} B weights do not fit {processes} x {gpu_name}, not even with "
                    "adapters; use more or larger GPUs, or a smaller model", where="--hardware")


def header(answers: Mapping[str, str], file: str, notes: Sequence[str], launch: str) -> list[str]:
    """The comment at the top of the recipe."""
    import textwrap

    lines = [f"{answers['algorithm']} on {answers['data']} with {answers['model']}, written by `rlvr init`.", ""]
    lines += [f"  check      rlvr check {file}", f"  command    {launch} {file}", f"  hardware   {answers['hardware']}"]
    lines += [f"             {part}" for note in notes for part in textwrap.wrap(note, 100)]
    return lines
