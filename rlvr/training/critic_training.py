"""How `RLVRTrainer` trains a critic beside the policy: values, gradients, further updates.

The model is the joint one of `critic.attach_critic`. For algorithms without a critic nothing here is called.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from accelerate.utils import DistributedType
from transformers import TrainerCallback

from rlvr.interfaces import CriticSpec
from rlvr.training.checks import check_gradient
from rlvr.training.critic import attach_critic, is_critic
from rlvr.training.micro_batches import parts
from rlvr.training.objective import critic_objective
from rlvr.types import UserError

CLIPS_APART = (DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU)
"""Where gradients of policy and critic are clipped apart; DeepSpeed and FSDP clip them together."""


class ExtraCriticUpdates(TrainerCallback):
    """After each update of the policy: further ones of the critic on the same micro-batches."""

    def __init__(self, trainer: Any, count: int) -> None:
        self.trainer = trainer
        self.count = count

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        for _ in range(self.count):
            update_critic(self.trainer)


def give_critic(trainer: Any, peft_config: Any | None) -> None:
    """Give a trainer's policy its value model. Raises UserError where the run cannot have one."""
    spec, engine = trainer.algorithm.critic, trainer.accelerator.distributed_type
    if engine == DistributedType.DEEPSPEED and spec.updates_per_rollout > 1:
        raise UserError(f"algorithm.critic_updates_per_rollout: found {spec.updates_per_rollout}, expected 1 with "
                        "DeepSpeed, whose one optimizer steps policy and critic together")
    if trainer._is_vlm:
        raise UserError("algorithm: a critic does not read images; train this model with an algorithm without one")
    attach_critic(trainer.model, peft_config)
    if spec.updates_per_rollout > 1:
        trainer.add_callback(ExtraCriticUpdates(trainer, spec.updates_per_rollout - 1))
    if trainer.use_vllm:
        hide_critic_from_vllm(trainer.vllm_generation)


def hide_critic_from_vllm(generation: Any) -> None:
    """Let TRL's vLLM driver synchronise the weights of the policy alone."""
    policy_and_critic = generation._iter_named_params
    generation._iter_named_params = lambda: (
        (name, parameter) for name, parameter in policy_and_critic() if not is_critic(name)
    )


def update_critic(trainer: Any) -> None:
    """One more optimizer step of the critic on the micro-batches that were just trained on."""
    width = trainer.args.gradient_accumulation_steps
    first = (trainer._step - width) % trainer.args.steps_per_generation
    model = trainer.model_wrapped
    micro_batches = [part for inputs in trainer._buffered_inputs[first : first + width] for part in parts(inputs)]
    for i, inputs in enumerate(micro_batches):
        with trainer.accelerator.no_sync(model) if i < len(micro_batches) - 1 else nullcontext():
            loss = critic_objective(
                trainer.forward(model, inputs), trainer.algorithm, world_size=trainer.accelerator.num_processes,
                max_length=trainer.max_completion_length,
            )
            trainer.accelerator.backward(loss)
    rest_policy(trainer.model)
    clip_critic(trainer.model, trainer.accelerator, trainer.algorithm.critic)
    trainer.optimizer.step()
    trainer.optimizer.zero_grad()


def critic_parameters(model: Any) -> list[torch.nn.Parameter]:
    """Parameters of the value model."""
    return [parameter for name, parameter in model.named_parameters() if is_critic(name)]


def policy_parameters(model: Any) -> list[torch.nn.Parameter]:
    """All others."""
    return [parameter for name, parameter in model.named_parameters() if not is_critic(name)]


def rest_policy(model: Any) -> None:
    """Keep the next optimizer step from changing the policy, by removing its gradients. AdamW skips parameters without
    a gradient; with a gradient of 0 it would still move them by their moments, and let these decay."""
    for parameter in policy_parameters(model):
        parameter.grad = None


def clip_apart(trainer: Any) -> torch.Tensor:
    """Scale the gradients of policy and critic down, each to its own norm. The policy's norm before."""
    norm = trainer.accelerator.clip_grad_norm_(policy_parameters(trainer.model), trainer.args.max_grad_norm)
    if trainer.policy_rests:
        rest_policy(trainer.model)
    critic_norm = clip_critic(trainer.model, trainer.accelerator, trainer.algorithm.critic)
    trainer.record({"train/critic_grad_norm": critic_norm.item()})
    return norm


def clip_critic(model: Any, accelerator: Any, spec: CriticSpec) -> torch.Tensor:
    """Scale the critic's gradients down to its own norm; the norm before. Raises NonFiniteError."""
    norm = accelerator.clip_grad_norm_(critic_parameters(model), spec.max_grad_norm or float("inf"))
    check_gradient(norm, model)
    return norm
