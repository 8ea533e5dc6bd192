"""TRL's settings as an algorithm needs them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from trl.trainer.grpo_config import GRPOConfig

from rlvr.interfaces import Algorithm
from rlvr.training.processes import check_parts
from rlvr.types import Problem, UserError


class OwnCard:
    """A trainer that leaves the model card to `CheckpointMarker`. TRL's own names one algorithm for all, and lies
    beside the checkpoints, not in them."""

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Nothing."""


@dataclass
class RLVRConfig(GRPOConfig):
    """`trl.GRPOConfig` that also takes `num_generations=1`, for algorithms that compare no rollouts of a prompt, and
    budgets of tokens."""

    micro_batch_tokens: int | None = None
    """Prompt and completion tokens in one forward pass. With it `per_device_train_batch_size` are the rollouts of a
    whole update on one device, and `gradient_accumulation_steps` is 1."""
    micro_batch_rows: int | None = None
    """Largest number of rollouts in it; None: no limit."""
    padding_free: bool = False
    """Whether the rows of a forward pass lie end to end in one, without any padding."""
    rollout_batch_tokens: int | None = None
    """Tokens of the prompts and longest completions that the training model generates at a time."""

    vllm_sequences: int | None = None
    """How many sequences the colocated engine shall be able to draw at a time; None: the rollouts of a process."""

    def __post_init__(self) -> None:
        single = self.num_generations == 1
        if single:
            self.num_generations = 2  # the least TRL accepts; an even rollout batch divides by it as well
        super().__post_init__()
        if single:
            self.num_generations = 1


def check_fit(algorithm: Algorithm[Any], problems: Sequence[Problem], args: GRPOConfig) -> None:
    """Raises ValueError for groups too small for the algorithm, UserError for images that it cannot take."""
    needs = algorithm.needs
    if getattr(args, "micro_batch_tokens", None) is not None and args.gradient_accumulation_steps != 1:
        raise ValueError(
            f"micro_batch_tokens: gradient_accumulation_steps is {args.gradient_accumulation_steps}, expected 1, with "
            "per_device_train_batch_size as the rollouts of a whole update"
        )
    if needs.group_filter and any(problem.images for problem in problems):
        raise UserError("algorithm: dynamic sampling does not take prompts with images; use dynamic_sampling: "
                        "false or another algorithm")
    assert args.num_generations
    if args.num_generations < needs.min_group_size:
        raise ValueError(
            f"{type(algorithm).__name__} needs groups of at least {needs.min_group_size} rollouts, "
            f"num_generations is {args.num_generations}"
        )


def check_engine(model: Any, problems: Sequence[Problem], accelerator: Any) -> None:
    """Raises UserError for a model that its engine holds in parts where `check_parts` refuses."""
    plugin = accelerator.state.deepspeed_plugin
    if accelerator.is_fsdp2 or (plugin is not None and plugin.zero_stage == 3):
        check_parts(problems, quantized=getattr(model, "is_quantized", False))


def give_loss_settings(algorithm: Algorithm[Any], args: GRPOConfig) -> None:
    """Overwrite the fields of `args` that the algorithm owns. They steer what TRL computes; the loss is ours."""
    needs, spec = algorithm.needs, algorithm.loss
    args.epsilon, args.epsilon_high, args.delta = spec.clip_low, spec.clip_high, spec.dual_clip
    # Any beta != 0 makes TRL compute the reference log-probabilities; our loss takes its coefficient from the spec.
    args.beta = spec.kl_loss_coef or (1.0 if needs.ref_logps else 0.0)
    args.loss_type = "dapo"
    args.use_bias_correction_kl = False
    args.disable_dropout = True
    args.entropy_coef = 0.0
    if args.max_grad_norm == 0:  # 0 would skip `_clip_grad_norm`, which also checks that the gradient is finite
        args.max_grad_norm = float("inf")
    args.shuffle_dataset = False  # the prompt stream already lays out the order of the whole run


def accumulate_in_float32(accelerator: Any) -> None:
    """Let DeepSpeed and FSDP2 add up the gradients of micro-batches in float32, unless DeepSpeed's config says
    otherwise. By default they do in bfloat16, where a sum of 64 loses what is below 1/256 of it, and FSDP2 rounds what
    a model gives to bfloat16, log-probabilities and values too."""
    plugin = accelerator.state.deepspeed_plugin
    if plugin is not None:
        plugin.deepspeed_config.setdefault("data_types", {}).setdefault("grad_accum_dtype", "fp32")
    if accelerator.is_fsdp2 and (policy := accelerator.state.fsdp_plugin.mixed_precision_policy) is not None:
        accelerator.state.fsdp_plugin.mixed_precision_policy = dataclasses.replace(
            policy, reduce_dtype=torch.float32, output_dtype=None)
