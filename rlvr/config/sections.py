"""Sections of a recipe: model, training, judge, tracking. Each default and each range is written here and nowhere else.

The docstring below a field is its entry in the recipe reference and in the schema that editors read.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from rlvr.config.anchor import AnchorSpec
from rlvr.config.fields import (
    MOST,
    AtLeastOne,
    Count,
    NotNegative,
    Positive,
    PositiveShare,
    Rate,
    Says,
    Seconds,
    ShareBelowOne,
)
from rlvr.config.rehearsal import RehearsalSpec
from rlvr.config.rewards import RewardSection
from rlvr.interfaces import Prior, Tries


@dataclass(frozen=True, slots=True)
class LoraSpec:
    """Train low-rank adapters (LoRA) instead of all weights."""

    r: AtLeastOne = 16
    """Rank of the adapters. A small rank has little capacity; a large one comes close to full training in memory and
    effect."""
    alpha: Positive = 32.0
    """Scale: updates are multiplied by alpha / r. Far above 2 r it acts like a larger learning rate."""
    dropout: ShareBelowOne = 0.0
    """Share of the adapters' inputs that is dropped. Above 0, two passes over the same text give different
    log-probabilities, which adds noise to the importance ratio."""
    target_modules: str | tuple[str, ...] = "all-linear"
    """Names of the modules to adapt, or `all-linear`."""
    exclude_modules: tuple[str, ...] = ()
    """Names of modules to leave as they are, of those that `target_modules` names."""
    modules_to_save: tuple[str, ...] = ()
    """Names of modules to train whole beside the adapters, such as `lm_head`. They cost as much memory as in full
    training."""
    dora: bool = False
    """true: DoRA, which learns the length of each weight column apart from its direction. Slower; closer to full
    training at a small rank."""
    rslora: bool = False
    """true: updates are multiplied by alpha / sqrt(r) in place of alpha / r, so that a large rank still learns."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The base model: the one to train, and the one that the boundary is compared with."""

    path: Annotated[str, Field(min_length=1), Says("'lab', a hub id or a directory")]
    """`lab` (the tiny model that comes with rlvr), the id of a model on the hub, or a local directory: of a model or
    of LoRA adapters, which are then trained on (without `lora`); the base of the boundary is the model with them."""
    revision: str | None = None
    """Commit, tag or branch of a hub model. null: the newest on the day of the run."""
    dtype: Literal["float32", "bfloat16", "float16", "auto"] = "float32"
    """Type of the trained weights; `auto`: as stored. An update of 1e-6 is lost to rounding in bfloat16: keep float32
    (with `train.bf16` for speed) unless you train adapters or DeepSpeed keeps float32 copies."""
    attn_implementation: str | None = None
    """`sdpa`, `eager`, `flash_attention_2`, ...; null: the default of transformers."""
    chat_template: str | None = None
    """Path of a Jinja chat template to use instead of the tokenizer's. null: the tokenizer's own."""
    chat_template_kwargs: dict[str, Any] = field(default_factory=dict)
    """Variables for the chat template, as in `{enable_thinking: false}`; in training, probes, arms and perplexity
    alike."""
    config: dict[str, Any] = field(default_factory=dict)
    """Values that replace those of the model's config.json, as in `{rope_parameters: {rope_type: yarn, factor: 4.0,
    original_max_position_embeddings: 32768}}`. A section is merged with the one that is there. Checkpoints carry
    them."""
    trust_remote_code: bool = False
    """true: run the Python files that come with a model or tokenizer. They run with your rights: read them, and pin
    `revision`."""
    quantization: Literal["4bit", "8bit"] | None = None
    """Keep the frozen weights in 4 bits (NF4) or 8 bits by bitsandbytes, for training adapters (QLoRA); needs `lora`.
    The model in memory is then the quantized one, in probes too. null: as `dtype` says."""
    lora: LoraSpec | None = None
    """Settings of LoRA. null: train all weights."""


@dataclass(frozen=True, slots=True)
class RolloutCorrection:
    """Importance weights w = exp(logp - logp_sampler) that correct for differences between the sampling engine and the
    trainer."""

    mode: Literal["token_truncate", "token_mask", "sequence_truncate", "sequence_mask"] = "token_truncate"
    """One weight per token or per sequence (the product over its tokens); weights outside the bounds are truncated to
    them, or their tokens or sequences are masked out. Over thousands of tokens, sequence weights are mostly noise."""
    cap: Annotated[float, Field(gt=1)] = 2.0
    """Upper bound of w, above 1. A very large cap leaves the variance of the weights unbounded."""
    floor: Annotated[float, Field(ge=0, lt=1), Says("a number in [0, 1)")] = 0.0
    """Lower bound of w, in [0, 1). 0: no lower bound."""


@dataclass(frozen=True, slots=True)
class VllmSpec:
    """Sample rollouts and probes with vLLM, each with its own decoding, using the weights of the current step."""

    mode: Literal["colocate", "server"] = "colocate"
    """`colocate`: inside the training processes; every request has its own seed, as without vLLM. `server`: on a vLLM
    server that you start beside the training; it uses random numbers of its own, so a repeated run has other
    samples."""
    server_base_url: str | None = None
    """Address of the server for mode `server`, such as http://localhost:8000."""
    gpu_memory_utilization: PositiveShare = 0.3
    """Share of each GPU's memory that vLLM may use in mode `colocate`, in (0, 1]. If it is too high, training runs out
    of memory; if it is low, few sequences are sampled at a time."""
    tensor_parallel_size: AtLeastOne = 1
    """Number of GPUs per vLLM engine in mode `colocate`."""
    max_model_length: AtLeastOne | None = None
    """Longest prompt plus answer in tokens, in training and probes. null: the longest that these can ask for, at most
    the model's own limit."""
    enable_sleep_mode: bool = False
    """true: vLLM frees its memory during the update. Larger models fit, but every step takes longer."""


@dataclass(frozen=True, slots=True)
class StopSpec:
    """Ends a run early, with a checkpoint of the step at which it ends."""

    shrunk: AtLeastOne
    """k: the run ends at the first probe with the verdict `shrunk` on pass@k. With a shrinking boundary, that is; at
    most one run in twenty whose boundary does not shrink is ended by chance."""


@dataclass(frozen=True, slots=True)
class PromptChoice:
    """Draws the prompts of a step by what they can still add to pass@k, k E[(1 - p)^(k - 1)], from the run's own
    verdicts on them so far: problems that are solved often are drawn less (2606.15455)."""

    k: Tries = 256
    """Of the pass@k to keep. Larger: a problem is drawn less after fewer correct rollouts."""
    prior_right: Prior = 1.0
    """Correct rollouts that the prior of p counts for. With 1 and 1 a problem that has not been seen is as likely to
    have any p."""
    prior_wrong: Prior = 1.0
    """Wrong ones."""
    uniform: ShareBelowOne = 0.1
    """Part of the weight that is the same for all problems, in [0, 1). 0: what is solved is hardly seen again."""


@dataclass(frozen=True, slots=True)
class TrainSection:
    """Rollouts, updates and checkpoints."""

    steps: AtLeastOne
    """Number of optimizer updates. Metrics, probes and checkpoints are counted in updates too. More of them, with
    `--resume`, extend a run."""
    micro_batch_size: AtLeastOne
    """Rollouts per device in one forward pass. Larger needs more memory and is faster; the update stays the same. With
    `micro_batch_tokens` the largest number of rollouts."""
    max_new_tokens: AtLeastOne
    """Longest answer in tokens. Longer ones are cut off; see `truncated`."""
    micro_batch_tokens: AtLeastOne | None = None
    """Tokens per device in one forward pass, prompts included. Rollouts of similar length then share a pass, so that
    little is padding, and all processes get about as many tokens. The update stays the same. A longer rollout has a
    pass of its own. null: `micro_batch_size` rollouts, as they come."""
    padding_free: bool = False
    """true: no padding at all; the rollouts of a pass lie end to end. Needs `micro_batch_tokens`. Worth it with
    `model.attn_implementation: flash_attention_2`; other attention computes between rollouts what it then masks."""
    rollout_batch_tokens: AtLeastOne | None = None
    """Without vLLM: tokens, prompts and longest answers, that each process generates at a time. This bounds the memory
    of the key-value cache; the samples stay the same. null: all rollouts of a step at once."""
    prompts_per_step: AtLeastOne = 256
    """Prompts per rollout batch, over all processes."""
    group_size: AtLeastOne = 8
    """Rollouts per prompt. With few, most groups are all correct or all wrong and give no gradient; with many,
    generation takes longer."""
    updates_per_rollout: AtLeastOne = 1
    """Optimizer updates per rollout batch. 1: on-policy, the clip never acts. More: the data of each update is
    older."""
    epochs_per_rollout: AtLeastOne = 1
    """Passes over each rollout batch, every one of `updates_per_rollout` updates: PPO's epochs. The ratio is to the
    policy that began the first pass."""
    learning_rate: Rate = 1e-6
    """Peak learning rate of AdamW. If it is too high, entropy and pass@256 collapse within tens of steps; with 0
    nothing is learned."""
    optim: Annotated[str, Field(min_length=1), Says("the name of an optimizer")] = "adamw_torch_fused"
    """Optimizer by its name in transformers: `adamw_8bit` and `paged_adamw_8bit` (bitsandbytes) keep its state in a
    quarter of the memory, `adafactor` in less. The ranges of this section are for AdamW."""
    lr_schedule: Literal["constant", "linear", "cosine"] = "constant"
    """What the learning rate does after the warm-up: stay constant, or fall to 0 at the last step. Only a run with a
    constant one can be extended."""
    warmup_steps: Count = 0
    """Updates over which the learning rate rises from 0."""
    weight_decay: Rate = 0.01
    """Decoupled weight decay of AdamW."""
    adam_beta1: Annotated[float, Field(ge=0, lt=1), Says("a number in [0, 1)")] = 0.9
    """Decay of AdamW's running mean of the gradient, in [0, 1)."""
    adam_beta2: Annotated[float, Field(ge=0, lt=1), Says("a number in [0, 1)")] = 0.999
    """Decay of AdamW's running mean of the squared gradient, in [0, 1)."""
    max_grad_norm: NotNegative = 1.0
    """Gradients are scaled down to this norm; 0: never. Far below the usual norm, all updates have the same length."""
    max_prompt_tokens: AtLeastOne = 1024
    """Longest prompt in tokens. A longer one is an error, or see `data.prompts_too_long`: prompts are never cut, as
    that would change the problem."""
    temperature: Annotated[float, Field(ge=0.001, le=1000), Says(
        "0.001 to 1000: greedy rollouts of one prompt are all alike and teach nothing; 1.0 is usual")] = 1.0
    """Sampling temperature of the rollouts, from 0.001 to 1000. Below 1 the model explores less; far above 1 answers
    turn into noise. top_p is always 1."""
    gradient_checkpointing: bool = False
    """true: recompute activations in the backward pass, which needs less memory and about a third more time."""
    bf16: bool = False
    """true: compute in bfloat16; the weights keep the type `model.dtype`."""
    save_every: AtLeastOne = 50
    """Updates between checkpoints. A run that is killed loses at most this many."""
    keep_checkpoints: Annotated[int, Field(ge=2, le=MOST), Says(
        "at least 2: a kill in the middle of a save must leave one complete checkpoint")] = 2
    """Number of newest checkpoints to keep, at least 2, so that one is complete if the run is killed while saving. The
    checkpoints of the best probes stay as well: `probes.keep`."""
    save_only_model: bool = False
    """true: checkpoints hold the weights without the optimizer's state, a quarter of the size or less, and the run
    cannot be resumed."""
    ddp_timeout: AtLeastOne = 1800
    """Seconds that a process waits for the others before it gives up."""
    probe_elsewhere: bool = False
    """true: leave the probes to `rlvr probe --watch`, which runs beside the training and measures every checkpoint:
    `save_every` then says how often. Keep enough of them (`keep_checkpoints`) for a probe that takes longer than the
    training from one to the next."""
    log_every: AtLeastOne = 1
    """Updates between rows of metrics.jsonl."""
    keep_rollouts: Literal["all", "none"] | AtLeastOne = 8
    """Rollouts of each step that stay on disk, to be read later in the report or in RUN/rollouts: `all`, `none`, or how
    many, drawn by the seed. With dynamic sampling those of the groups that are trained on."""
    truncated: Literal["as_is", "wrong", "mask"] = "as_is"
    """What to do with answers that reach `max_new_tokens`. as_is: judge what is there. wrong: count them as wrong, as
    probes do. mask: judge them, but leave them out of the loss (the statistics of their group still include them);
    then nothing keeps answers from growing longer."""
    rewards: RewardSection = field(default_factory=RewardSection)
    """Reward terms beside the accuracy, as in `{think_answer: {weight: 0.1}}`. Default: none."""
    stop_on: StopSpec | None = None
    """What ends a run early, as in `{shrunk: 256}`. null: nothing does."""
    anchor: AnchorSpec | None = None
    """Pulls the weights back to the base, or to their own average, as in `{share: 0.02, every: 10}`. null: never."""
    choose_prompts: PromptChoice | None = None
    """Draws problems by what they can still add to pass@k, as in `{k: 256}`. null: all equally often."""
    rehearse: RehearsalSpec | None = None
    """Keeps right answers of the base in the loss, as in `{samples: 8, coef: 0.05}`. null: no."""
    ref_sync: AtLeastOne | None = None
    """For algorithms with a KL to the reference model: updates after which it becomes the policy of that moment (ProRL,
    2505.24864), so that the KL does not hold a long training at the base. Not with adapters. null: it stays the
    base."""
    rollout_correction: RolloutCorrection | None = None
    """Corrects for differences between vLLM and the trainer; needs `vllm`. null: assume that they agree, as the paper
    did."""
    vllm: VllmSpec | None = None
    """Settings of vLLM. null: sample with the training model itself."""
    trl: dict[str, Any] = field(default_factory=dict)
    """Further fields of TRL's GRPOConfig by their names, as in `{adam_epsilon: 1.0e-6, torch_compile: true}`. A field
    that rlvr sets itself is an error that names its recipe key."""


@dataclass(frozen=True, slots=True)
class JudgeSection:
    """The worker processes that run verifiers."""

    workers: AtLeastOne = 2
    """Largest number of workers per training process. There are fewer where the processes of one machine would
    together have more workers than it has cores: time-outs would then depend on the load."""
    timeout: Seconds = 10.0
    """Seconds per verdict. After that the worker is killed and the answer is wrong, with the reason `timeout`. Programs
    against unit tests have as long as their tests allow."""
    packages: tuple[str, ...] = ()
    """Installed packages, as [numpy, sortedcontainers], that programs may import; [] for the standard library alone."""

    def options(self) -> dict[str, Any]:
        """Arguments of `rlvr.judging.judge.Judge` for this process. Launchers set LOCAL_WORLD_SIZE to the number of
        processes on this machine."""
        cores = len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        return {"workers": max(1, min(self.workers, cores)), "timeout": self.timeout,
                **({"packages": self.packages} if self.packages else {})}


@dataclass(frozen=True, slots=True)
class TrackingSection:
    """Trackers: Weights & Biases and others. The run directory holds all metrics anyway."""

    to: tuple[Literal["wandb", "trackio", "tensorboard", "mlflow"], ...] = ("wandb",)
    """Where metrics and probes go, as [wandb, tensorboard]; [] for nowhere else. Those beside wandb get the numbers,
    the recipe and the kept rollouts, without figures, and need their package: `pip install 'rlvr[trackio]'`."""

    wandb: Literal["auto", "online", "offline", "disabled"] = "auto"
    """`auto`: online if an API key is configured, else offline, which writes files to upload later."""
    project: str = "rlvr"
    """Project that the run belongs to."""
    entity: str | None = None
    """Team or user. null: the account's default."""
    group: str | None = None
    """Name that related runs share, such as the seeds of one arm."""
    tags: tuple[str, ...] = ()
    """Tags of the run."""
