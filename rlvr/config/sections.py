"""Sections of a recipe: model, training, judge, tracking. Each default lives here and nowhere else."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, Literal

from rlvr.config.rewards import RewardSection


@dataclass(frozen=True, slots=True)
class LoraSpec:
    """Train low-rank adapters instead of all weights."""

    r: int = 16
    """Rank. Small: little capacity; large: approaches full training in memory and effect."""
    alpha: float = 32.0
    """Scale: updates are multiplied by alpha / r. Far above 2 r acts like a larger learning rate."""
    dropout: float = 0.0
    """Share of adapter inputs dropped. Above 0, old and new log-probabilities of one text differ by noise."""
    target_modules: str | tuple[str, ...] = "all-linear"
    """Module names to adapt, or `all-linear`."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The base model: what is trained, and what the boundary is compared with."""

    path: str
    """`lab` (the shipped tiny model), the id of a hub model or a local directory."""
    revision: str | None = None
    """Commit, tag or branch of a hub model; null: whatever is newest on the day of the run."""
    dtype: Literal["float32", "bfloat16", "float16", "auto"] = "float32"
    """Type of the trained weights; `auto`: as stored. In bfloat16 an update of 1e-6 is lost to rounding: keep float32
    (with `train.bf16`) unless adapters are trained or DeepSpeed holds float32 copies."""
    attn_implementation: str | None = None
    """`sdpa`, `eager`, `flash_attention_2`, ...; null: the library's choice."""
    chat_template: str | None = None
    """Path of a Jinja chat template that replaces the tokenizer's; null: the tokenizer's own."""
    lora: LoraSpec | None = None
    """null: train all weights."""


@dataclass(frozen=True, slots=True)
class RolloutCorrection:
    """Weights w, from exp(logp - logp_sampler), for the mismatch between the engine that samples and the trainer."""

    mode: Literal["token_truncate", "token_mask", "sequence_truncate", "sequence_mask"] = "token_truncate"
    """Per token or per sequence (the product over its tokens); truncate to the bounds, or drop what lies outside them.
    Sequence modes act on noise for answers of thousands of tokens."""
    cap: float = 2.0
    """Upper bound of w, above 1. Very large: no correction of what the sampler underrated."""
    floor: float = 0.0
    """Lower bound of w, in [0, 1). 0: none."""


@dataclass(frozen=True, slots=True)
class VllmSpec:
    """Sample the rollouts and the probes with vLLM, each at its own decoding, with the weights of the step."""

    mode: Literal["colocate", "server"] = "colocate"
    """In the training processes, where every request is seeded like a rollout without vLLM; or on a server started
    beside them, which draws for itself: a repeated run there has other samples."""
    server_base_url: str | None = None
    """Such as http://localhost:8000; needed by mode `server`."""
    gpu_memory_utilization: float = 0.3
    """Share of a GPU's memory for vLLM in mode `colocate`, in (0, 1]. High: training runs out of memory; low: few
    sequences at a time."""
    tensor_parallel_size: int = 1
    """GPUs per vLLM engine in mode `colocate`."""
    max_model_length: int | None = None
    """Longest prompt plus answer, in tokens, of training and probes; null: the model's own limit."""
    enable_sleep_mode: bool = False
    """Free vLLM's memory during the update: fits larger models, costs time at every step."""


@dataclass(frozen=True, slots=True)
class TrainSection:
    """Rollouts, updates and checkpoints."""

    steps: int
    """Optimizer updates. Metrics, probes and checkpoints count in these."""
    micro_batch_size: int
    """Rollouts per device and forward pass. Costs memory; never changes the update."""
    max_new_tokens: int
    """Longest answer in tokens; longer ones are cut and judged as they stand."""
    prompts_per_step: int = 256
    """Prompts per rollout batch, over all processes."""
    group_size: int = 8
    """Rollouts per prompt. Small: most groups are all right or all wrong and teach nothing; large: long generation."""
    updates_per_rollout: int = 1
    """Optimizer updates per rollout batch. 1: on-policy, no clip is ever active; more: staler data per update."""
    learning_rate: float = 1e-6
    """Peak of AdamW. Too high: entropy and pass@256 collapse within tens of steps; 0: nothing is learned."""
    lr_schedule: Literal["constant", "linear", "cosine"] = "constant"
    """After the warm-up: constant, or down to 0 at the last step."""
    warmup_steps: int = 0
    """Updates over which the learning rate rises from 0."""
    weight_decay: float = 0.01
    """AdamW's decoupled weight decay."""
    adam_beta1: float = 0.9
    """Memory of the gradient's mean, in [0, 1)."""
    adam_beta2: float = 0.999
    """Memory of the gradient's square, in [0, 1)."""
    max_grad_norm: float = 1.0
    """Gradients are scaled down to this norm; 0 switches it off. Far below the usual norm it fixes the step length."""
    max_prompt_tokens: int = 1024
    """A longer prompt is an error: a cut problem is another problem."""
    temperature: float = 1.0
    """Of the rollouts, above 0. Below 1 narrows exploration; above 1 fills answers with noise. top_p is always 1."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""
    bf16: bool = False
    """Compute in bfloat16 (weights keep `model.dtype`)."""
    save_every: int = 50
    """Updates between checkpoints. A killed run loses at most this many."""
    keep_checkpoints: int = 2
    """How many to keep, at least 2: a kill in the middle of a save must leave one that is complete."""
    log_every: int = 1
    """Updates between rows of metrics.jsonl."""
    loss: Literal["rlvr", "trl"] = "rlvr"
    """Whose policy loss; `trl` is for comparison with TRL's own."""
    truncated: Literal["as_is", "wrong", "mask"] = "as_is"
    """Answers that hit `max_new_tokens`: judge them as they stand, count them as wrong (as probes do), or judge them
    and leave them out of the loss (they stay in the statistics of their group). Masked, nothing pushes against
    growing length."""
    rewards: RewardSection = field(default_factory=RewardSection)
    """Shaped rewards beside the accuracy, as in `{think_answer: {weight: 0.1}}`; none by default."""
    rollout_correction: RolloutCorrection | None = None
    """null: trust that sampler and trainer agree, as the paper did. Needs `vllm`."""
    vllm: VllmSpec | None = None
    """null: sample with the training model itself."""


@dataclass(frozen=True, slots=True)
class JudgeSection:
    """The worker processes that run verifiers."""

    workers: int = 2
    """Per training process, at most: fewer where the processes of a machine would together have more workers than it
    has cores, which would make time-outs depend on the load."""
    timeout: float = 10.0
    """Seconds of wall clock per verdict; then the worker is killed and the answer is wrong (`timeout`)."""

    def options(self) -> dict[str, Any]:
        """Arguments of `rlvr.judging.judge.Judge` for this process; launchers tell LOCAL_WORLD_SIZE, the
        processes here."""
        cores = len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        return {"workers": max(1, min(self.workers, cores)), "timeout": self.timeout}


@dataclass(frozen=True, slots=True)
class TrackingSection:
    """Mirrors of the metrics; the run directory always has them."""

    wandb: Literal["auto", "online", "offline", "disabled"] = "auto"
    """`auto`: online when an API key is configured, else offline (files to sync later)."""
    project: str = "rlvr"
    entity: str | None = None
    """Team or user; null: the account's default."""
    group: str | None = None
    """Runs that belong together, such as the seeds of one arm."""
    tags: tuple[str, ...] = ()
