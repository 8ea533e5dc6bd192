"""Memory and time of a training by arithmetic: bytes per GPU from the shape of a model, before anything loads.

Pure formulas, no torch. All sizes are bytes per process (one GPU each). They count what is known to be held: weights,
gradients, optimizer state, saved activations, caches. What they leave out (allocator fragmentation, cuBLAS workspaces)
is covered by `USABLE`. Times are ranges of a roofline: see `Gpu` and the shares below it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Sharding = Literal["ddp", "zero2", "zero3", "fsdp2"]
GIB = 2**30
USABLE = 0.92
"""Share of a GPU's memory that tensors can take: the context of CUDA and NCCL takes 1 to 2 GiB, and some is lost to
fragmentation. vLLM's own default for what it may take is 0.9."""
LOGITS_TILE = 4096 * 32768
"""Numbers in TRL's tile of logits: TOKEN_CHUNK_SIZE x chunk size of its fused head (trl/kernels/chunked_logprob.py)."""
ZERO3_LIVE = 10**9
"""Weights that ZeRO-3 holds gathered at a time: DeepSpeed's default of stage3_max_live_parameters."""
ZERO_BUCKETS = 2 * 5 * 10**8
"""Numbers in DeepSpeed's reduce and all-gather buckets: the defaults of reduce_bucket_size and
allgather_bucket_size."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What of a model's config.json decides its size."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_size: int
    vocabulary: int
    tied: bool = False
    """Whether the head shares the embedding's weights."""
    qkv_bias: bool = False
    qk_norm: bool = False
    beside: int = 0
    """Weights beside the language model, such as a vision tower, which is trained too."""

    @property
    def layer_parameters(self) -> int:
        wide = self.hidden * self.head_size
        attention = 2 * wide * (self.heads + self.kv_heads)
        bias = self.qkv_bias * self.head_size * (self.heads + 2 * self.kv_heads)
        return attention + bias + 3 * self.hidden * self.intermediate + 2 * self.hidden \
            + self.qk_norm * 2 * self.head_size

    @property
    def parameters(self) -> int:
        embeddings = self.vocabulary * self.hidden * (1 if self.tied else 2)
        return embeddings + self.layers * self.layer_parameters + self.hidden + self.beside

    def lora_parameters(self, rank: int) -> int:
        """Of adapters on all linear layers of the blocks: rank x (inputs + outputs) each."""
        query, key = self.heads * self.head_size, self.kv_heads * self.head_size
        sides = 2 * (self.hidden + query) + 2 * (self.hidden + key) + 3 * (self.hidden + self.intermediate)
        return self.layers * rank * sides

    @property
    def cache_numbers(self) -> int:
        """Keys and values per token."""
        return 2 * self.layers * self.kv_heads * self.head_size


def shape_of(config: Mapping[str, Any]) -> Shape | None:
    """From a config.json of a dense decoder of the Llama family (Llama, Mistral, Qwen2, Qwen2.5-VL's text, Qwen3).

    None for any other kind: mixtures of experts, shared layers and other attention are not covered by these formulas.
    """
    text = {**config, **config.get("text_config", {})}
    kind = str(text.get("model_type", "")).removesuffix("_text")
    if kind not in ("llama", "mistral", "qwen2", "qwen2_5_vl", "qwen2_vl", "qwen3"):
        return None
    hidden, heads = text["hidden_size"], text["num_attention_heads"]
    return Shape(
        layers=text["num_hidden_layers"], hidden=hidden, intermediate=text["intermediate_size"], heads=heads,
        kv_heads=text.get("num_key_value_heads") or heads, head_size=text.get("head_dim") or hidden // heads,
        vocabulary=text["vocab_size"], tied=bool(config.get("tie_word_embeddings", text.get("tie_word_embeddings"))),
        qkv_bias=kind.startswith("qwen2") or bool(text.get("attention_bias")), qk_norm=kind == "qwen3",
    )


KNOWN = {
    "Qwen/Qwen2.5-0.5B": Shape(24, 896, 4864, 14, 2, 64, 151936, tied=True, qkv_bias=True),
    "Qwen/Qwen2.5-1.5B": Shape(28, 1536, 8960, 12, 2, 128, 151936, tied=True, qkv_bias=True),
    "Qwen/Qwen2.5-3B": Shape(36, 2048, 11008, 16, 2, 128, 151936, tied=True, qkv_bias=True),
    "Qwen/Qwen2.5-7B": Shape(28, 3584, 18944, 28, 4, 128, 152064, qkv_bias=True),
    "Qwen/Qwen2.5-14B": Shape(48, 5120, 13824, 40, 8, 128, 152064, qkv_bias=True),
    "Qwen/Qwen2.5-32B": Shape(64, 5120, 27648, 40, 8, 128, 152064, qkv_bias=True),
    # Its vision tower: 8.292 B parameters on the model card's file index less 7.616 B of the text model.
    "Qwen/Qwen2.5-VL-7B": Shape(28, 3584, 18944, 28, 4, 128, 152064, qkv_bias=True, beside=676_000_000),
}
"""Shapes of the hub models that the shipped recipes name, from their config.json; the variants -Instruct and -Math of a
size have the same."""


def known_shape(path: str) -> Shape | None:
    """The shape of a hub model by its id, None if it is not in the table."""
    return KNOWN.get(path.removesuffix("-Instruct").replace("-Math-", "-"))


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU by its data sheet: memory in bytes, dense bfloat16 FLOP per second, memory bandwidth in bytes per
    second."""

    memory: int
    flops: float
    bandwidth: float


GPUS = {
    "a100": Gpu(80 * GIB, 312e12, 2.04e12),  # NVIDIA A100 80GB SXM data sheet
    "h100": Gpu(80 * GIB, 989e12, 3.35e12),  # NVIDIA H100 SXM data sheet, without sparsity
    "h200": Gpu(141 * 10**9, 989e12, 4.8e12),  # NVIDIA H200 SXM data sheet
    "l40s": Gpu(48 * GIB, 362e12, 0.864e12),  # NVIDIA L40S data sheet, without sparsity
    "a10g": Gpu(24 * GIB, 70e12, 0.6e12),  # AWS's variant of the A10
    "rtx4090": Gpu(24 * GIB, 165e12, 1.01e12),  # NVIDIA Ada architecture paper: float32 accumulation
}
TRAIN_SHARE = (0.2, 0.45)
"""Share of the peak FLOP that training reaches, low and high. The PaLM paper (2204.02311, table 3) lists 21% (GPT-3) to
46% (PaLM) of the peak for trainings of whole models."""
ENGINE_SHARE = (0.25, 0.6)
"""Share of the memory bandwidth that vLLM's decoding reaches over a rollout batch: its last answers run nearly alone.
An assumption, until it is measured by tests/gpu."""
GENERATE_SHARE = (0.05, 0.25)
"""The same for `generate` of transformers."""
LAUNCH = (0.015, 0.04)
"""Seconds that transformers takes per token and model of some 30 layers whatever the batch, for Python and kernel
launches. An assumption, as above."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a recipe asks of one process."""

    shape: Shape
    processes: int
    sharding: Sharding
    weight_bytes: float
    """Per stored weight: 4 float32, 2 bfloat16, 1 and about 0.55 quantized."""
    bf16: bool
    """Whether it computes in bfloat16."""
    rows: int
    """Rollouts in a micro-batch."""
    row_tokens: int
    """Longest prompt and answer."""
    sampled_rows: int
    """Rollouts that this process draws at a time with `generate`."""
    checkpointing: bool = False
    lora: int | None = None
    """Rank of the adapters."""
    reference: bool = False
    """Whether a second copy of the base is held for the KL."""
    critic: bool = False
    optimizer_bytes: float = 8.0
    """Of the optimizer's state per trained weight: 8 AdamW in float32, 2 in 8 bits."""
    engine_share: float = 0.0
    """Of the GPU's memory, for vLLM in the same process."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of one process, by what holds them."""

    weights: float
    reference: float
    gradients: float
    optimizer: float
    buffers: float
    """Gathered weights, casts of weights for autocast, and buckets of the launcher."""
    activations: float
    logits: float
    cache: float
    """Keys and values while `generate` samples, with the weights that are gathered for it."""
    engine: float
    checkpoint_model: float
    """On disk, written by all processes together."""
    checkpoint_optimizer: float
    """On disk per process."""

    @property
    def held(self) -> float:
        """What stays from step to step."""
        return self.weights + self.reference + self.optimizer + self.engine

    @property
    def peak(self) -> float:
        """Sampling and updating take turns: the larger of the two on top of what stays."""
        update = self.gradients + self.buffers + self.activations + self.logits
        return self.held + max(update, self.cache)


def memory(load: Load, gpu_memory: int) -> Memory:
    """Bytes of one process of this load."""
    shape, n = load.shape, load.processes
    whole, compute = shape.parameters, 2 if load.bf16 else 4
    deepspeed = load.sharding.startswith("zero")
    split_weights, split_rest = (n if load.sharding in ("zero3", "fsdp2") else 1), (1 if load.sharding == "ddp" else n)
    critic = (whole - (0 if shape.tied else shape.vocabulary * shape.hidden)) * load.critic
    trained = whole + critic if load.lora is None else shape.lora_parameters(load.lora) * (1 + load.critic)
    base_bytes = load.weight_bytes * (whole + (critic if load.lora is None else 0))
    trained_bytes = 4.0 if load.lora is not None or load.weight_bytes == 4 else load.weight_bytes
    weights = (base_bytes + (4.0 * trained if load.lora is not None else 0)) / split_weights
    # DeepSpeed in bfloat16 keeps a float32 copy of what it trains for the optimizer, and sums gradients in float32.
    master = 4.0 * trained if deepspeed and trained_bytes < 4 else 0.0
    optimizer = (master + load.optimizer_bytes * trained * (trained_bytes / 4 if not deepspeed else 1)) / split_rest
    gradients = trained * (4.0 if deepspeed else trained_bytes) / split_rest
    gathered = {"ddp": 0.0, "zero2": 0.0, "zero3": min(whole, ZERO3_LIVE) * 2.0 * (n > 1),
                "fsdp2": 2.0 * compute * max(shape.layer_parameters, shape.vocabulary * shape.hidden) * (n > 1)}
    casts = 2.0 * whole / split_weights if load.bf16 and load.weight_bytes == 4 and load.sharding == "ddp" else 0.0
    ddp = 4.0 * trained * (load.sharding == "ddp" and n > 1)
    buckets = min(2.0 * ZERO_BUCKETS, 4.0 * trained) if deepspeed else ddp
    tokens = load.rows * load.row_tokens
    per_layer = layer_activations(shape, tokens, compute)
    kept = shape.layers * per_layer
    if load.checkpointing:  # the input of every block, and all of one block while it is computed again
        kept = shape.layers * tokens * shape.hidden * compute + per_layer
    cache = 0.0
    if not load.engine_share:
        cache = load.sampled_rows * load.row_tokens * shape.cache_numbers * float(compute)
        cache += base_bytes * (split_weights > 1)  # generation gathers the weights
    reference = load.weight_bytes * whole / split_weights * (load.reference and load.lora is None)
    return Memory(
        weights=weights, reference=reference, gradients=gradients, optimizer=optimizer,
        buffers=gathered[load.sharding] + casts + buckets, activations=kept * (1 + load.critic),
        logits=min(LOGITS_TILE, tokens * shape.vocabulary) * 4.0, cache=cache, engine=load.engine_share * gpu_memory,
        checkpoint_model=4.0 * trained if load.lora is not None else base_bytes,
        checkpoint_optimizer=(master + load.optimizer_bytes * trained) / split_rest,
    )


def layer_activations(shape: Shape, tokens: int, compute: int) -> float:
    """Bytes that one block keeps for its backward pass, with an attention that stores no scores (sdpa, flash).

    Per token: two norms that work in float32 (their input, normalised input and output), queries, keys, values and what
    attention gives, and four times the width of the feed-forward part (gate, its activation, up, their product).
    """
    norms = 2 * (4 * shape.hidden + 2 * compute * shape.hidden)
    attention = compute * 2 * shape.head_size * (shape.heads + shape.kv_heads)
    return float(tokens) * (norms + attention + 4 * compute * shape.intermediate)


def seconds_of_update(load: Load, tokens: float, gpu: Gpu) -> tuple[float, float]:
    """(low, high) seconds of the passes over `tokens` of one process: 2 FLOP per weight and token forward, 4 backward,
    2 more with checkpointing; a critic as much again, a reference 2."""
    passes = 6 + 2 * load.checkpointing
    flops = load.shape.parameters * tokens * (passes * (1 + load.critic) + 2 * load.reference)
    peak = gpu.flops if load.bf16 else gpu.flops / 8  # float32 runs as TF32 at best
    return flops / (peak * TRAIN_SHARE[1]), flops / (peak * TRAIN_SHARE[0])


def seconds_of_sampling(load: Load, rows: int, tokens_each: float, gpu: Gpu, budget: float) -> tuple[float, float]:
    """(low, high) seconds in which one process draws `rows` answers of `tokens_each` tokens.

    Decoding reads all weights and the caches of all rows for every token; `budget`: bytes for caches, which limits how
    many rows run at a time.
    """
    bytes_each = load.shape.cache_numbers * 2.0 * (load.row_tokens if not load.engine_share else tokens_each)
    at_a_time = max(1, min(rows, int(budget / bytes_each))) if load.engine_share else min(rows, load.sampled_rows)
    rounds = math.ceil(rows / at_a_time)
    width = 2.0 if load.bf16 else 4.0
    read = load.shape.parameters * width + at_a_time * tokens_each / 2 * load.shape.cache_numbers * width
    shares, launch = (ENGINE_SHARE, (0.0, 0.0)) if load.engine_share else (GENERATE_SHARE, LAUNCH)
    low, high = (max(read / (gpu.bandwidth * share), slow) for share, slow in zip(shares[::-1], launch, strict=True))
    return rounds * tokens_each * low, rounds * tokens_each * high
