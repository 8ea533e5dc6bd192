"""What `rlvr check --gpu` says: memory of one process, whether it fits, tokens and seconds per step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rlvr.config.algorithm import build_algorithm
from rlvr.config.recipe import Recipe
from rlvr.config.sections import TrainSection
from rlvr.config.steps import plan_of_steps
from rlvr.config.wording import did_you_mean
from rlvr.models.loading import source
from rlvr.models.memory import (
    GIB,
    GPUS,
    USABLE,
    Gpu,
    Load,
    Memory,
    Shape,
    Sharding,
    known_shape,
    memory,
    seconds_of_sampling,
    seconds_of_update,
    shape_of,
)
from rlvr.types import UserError

SHARDINGS: tuple[Sharding, ...] = ("ddp", "zero2", "zero3", "fsdp2")
STORED = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0, "auto": 2.0}
"""Bytes per stored weight; `auto` is bfloat16 in nearly all models of today."""
QUANTIZED = {"8bit": 1.0, "4bit": 0.55}
"""4 bits and a constant per 64 weights, itself in 8 bits (2305.14314, section 3)."""
OPTIMIZER_BYTES = (("8bit", 2.0), ("adafactor", 0.1), ("lion", 4.0), ("sgd", 0.0), ("rmsprop", 4.0), ("adagrad", 4.0))
"""Part of an optimizer's name -> bytes of its state per trained weight; AdamW's is 8."""


def gpu_of(name: str) -> Gpu:
    """The GPU of this name. Raises UserError."""
    if name.lower() not in GPUS:
        raise UserError(f"unknown GPU {name!r}{did_you_mean(name.lower(), list(GPUS))}", where="--gpu")
    return GPUS[name.lower()]


def shape_for(recipe: Recipe, config_file: Path | None = None) -> Shape:
    """The shape of the recipe's model: of `config_file`, a config.json, of the model's own if it is here, or of the
    table of hub models. Raises UserError where it is not known."""
    path, found = recipe.model.path, None
    file = config_file or Path(source(path)) / "config.json"
    if file.is_file():
        try:
            config: dict[str, Any] = json.loads(file.read_text())
            found = shape_of(config | recipe.model.config)
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{file} is no config.json of a model: {error!r}", where="--model-config") from None
        if found is None:
            raise UserError(f"{file} describes a {config.get('model_type')!r} model, whose memory is not "
                            "forecast; leave it out", where="--gpu")
        return found
    if config_file is not None:
        raise UserError(f"no file {str(file)!r}", where="--model-config")
    found = known_shape(path)
    if found is None:
        raise UserError(f"the shape of {path!r} is not known here; give its config.json by --model-config FILE",
                        where="--gpu")
    return found


def load_for(recipe: Recipe, shape: Shape, processes: int, sharding: Sharding) -> Load:
    """What the recipe asks of each of its processes."""
    train, model, algorithm = recipe.train, recipe.model, build_algorithm(recipe)
    steps = plan_of_steps(train, processes)
    longest = train.max_prompt_tokens + train.max_new_tokens
    sampled = max(1, (train.rollout_batch_tokens or steps.rollouts_per_process * longest) // longest)
    colocated = train.vllm is not None and train.vllm.mode == "colocate"
    return Load(
        shape=shape, processes=processes, sharding=sharding,
        weight_bytes=QUANTIZED.get(model.quantization or "", STORED[model.dtype]),
        bf16=train.bf16 or model.dtype in ("bfloat16", "float16"), rows=_rows(train),
        row_tokens=longest, sampled_rows=min(sampled, steps.rollouts_per_process),
        checkpointing=train.gradient_checkpointing, lora=None if model.lora is None else model.lora.r,
        reference=bool(algorithm.loss.kl_loss_coef) or algorithm.needs.ref_logps, critic=algorithm.needs.values,
        optimizer_bytes=next((size for part, size in OPTIMIZER_BYTES if part in train.optim), 8.0),
        engine_share=train.vllm.gpu_memory_utilization if colocated and train.vllm is not None else 0.0,
    )


def _rows(train: TrainSection) -> int:
    """Rollouts of the greatest length in a micro-batch."""
    if train.micro_batch_tokens is None:
        return train.micro_batch_size
    longest = train.max_prompt_tokens + train.max_new_tokens
    return max(1, min(train.micro_batch_size, train.micro_batch_tokens // longest))


def fits(found: Memory, gpu: Gpu, load: Load) -> bool:
    """Whether the peak stays within what tensors can take, and the engine's share holds its weights and one row."""
    engine = not load.engine_share or found.engine > load.shape.parameters * 2.0 + load.row_tokens * (
        load.shape.cache_numbers * 2.0)
    return engine and found.peak <= USABLE * gpu.memory


def hardware_lines(
    recipe: Recipe, *, processes: int, gpu_name: str, sharding: Sharding, config_file: Path | None = None
) -> list[tuple[str, str]]:
    """The lines that `rlvr check` prints. Raises UserError for a GPU or a model that is not known."""
    gpu, shape = gpu_of(gpu_name), shape_for(recipe, config_file)
    load = load_for(recipe, shape, processes, sharding)
    found = memory(load, gpu.memory)
    parts = {"weights": found.weights, "reference": found.reference, "gradients": found.gradients,
             "optimizer": found.optimizer, "gathered and buckets": found.buffers, "activations": found.activations,
             "logits tile": found.logits, "vLLM": found.engine, "KV cache and gathered weights to sample": found.cache}
    words = ", ".join(f"{name} {size / GIB:.1f}" for name, size in parts.items() if size >= 0.05 * GIB)
    answer = f"fits {processes} x {gpu_name} with {sharding}" if fits(found, gpu, load) else (
        f"does NOT fit {processes} x {gpu_name} with {sharding}{_way_out(recipe, shape, processes, gpu)}")
    low, high = _seconds(recipe, load, gpu, found)
    steps = recipe.train.steps
    rows = plan_of_steps(recipe.train, processes).rollouts
    return [
        ("memory", f"{answer}: peak {found.peak / GIB:.1f} of {USABLE * gpu.memory / GIB:.1f} usable GiB per GPU"),
        ("", f"GiB: {words or 'less than 0.05 each'}"),
        ("", f"{shape.parameters / 1e9:.2f} B weights; a checkpoint is {found.checkpoint_model / GIB:.1f} GiB of "
             f"weights{_optimizer_too(recipe, found)}"),
        ("time", f"{low:,.0f} to {high:,.0f} s per rollout batch of at most {rows * load.row_tokens:,} tokens, "
                 f"{_hours(low, high, steps / _per_batch(recipe))} for {steps:,} updates"),
        ("", "without probes, for answers of a quarter of the limit to all of it; from data sheets, not measured"),
    ]


def _optimizer_too(recipe: Recipe, found: Memory) -> str:
    size = found.checkpoint_optimizer / GIB
    return "" if recipe.train.save_only_model else f" and {size:.1f} GiB of optimizer state per process"


def _per_batch(recipe: Recipe) -> int:
    return recipe.train.updates_per_rollout * recipe.train.epochs_per_rollout


def _hours(low: float, high: float, batches: float) -> str:
    return f"{low * batches / 3600:,.1f} to {high * batches / 3600:,.1f} hours"


def _way_out(recipe: Recipe, shape: Shape, processes: int, gpu: Gpu) -> str:
    """Which other launcher would fit, if any."""
    others = []
    for sharding in SHARDINGS:
        load = load_for(recipe, shape, processes, sharding)
        if fits(memory(load, gpu.memory), gpu, load):
            others.append(sharding)
    return f" ({', '.join(others)} would)" if others else ""


def _seconds(recipe: Recipe, load: Load, gpu: Gpu, found: Memory) -> tuple[float, float]:
    """(low, high) seconds of one rollout batch: answers of a quarter of the limit, and all at the limit."""
    train = recipe.train
    rows = plan_of_steps(train, load.processes).rollouts_per_process
    budget = max(found.engine - load.shape.parameters * 2.0, GIB)
    times = []
    for which, share in ((0, 0.25), (1, 1.0)):
        answer = share * train.max_new_tokens
        sampled = seconds_of_sampling(load, rows, answer, gpu, budget)[which]
        tokens = rows * (answer + share * train.max_prompt_tokens)
        times.append(sampled + train.epochs_per_rollout * seconds_of_update(load, tokens, gpu)[which])
    return times[0], times[1]
