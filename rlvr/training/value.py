"""How a critic is trained beside the policy: optimizer groups, schedule, clipping, extra updates, checkpoints."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import DistributedType
from transformers import TrainerCallback
from trl.trainer.grpo_trainer import GRPOTrainer

import rlvr.training.critic as critic
from rlvr.interfaces import Algorithm
from rlvr.types import UserError


class ExtraCriticUpdates(TrainerCallback):
    """After an update: the further ones of the critic, on the same rollouts."""

    def __init__(self, trainer: ValueTraining) -> None:
        self.trainer = trainer

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        for _ in range(self.trainer.algorithm.critic.updates_per_rollout - 1):
            self.trainer.update_critic()


class ValueTraining(GRPOTrainer):
    """What `RLVRTrainer` does for an algorithm with `Needs.values`; nothing for the others."""

    args: Any  # GRPOConfig, model and accelerator as TRL sets them; its own annotations are wider than what they hold
    model: Any
    accelerator: Any
    algorithm: Algorithm[Any]
    optimizer: Any
    critic_only = False
    """While True the loss is the value loss alone."""

    def attach_critic(self, peft_config: Any | None) -> None:
        """Give the policy its value model. Raises UserError for what the distributed engine cannot do."""
        spec = self.algorithm.critic
        if self.accelerator.distributed_type == DistributedType.DEEPSPEED and spec.updates_per_rollout > 1:
            raise UserError(f"algorithm.critic_updates_per_rollout: found {spec.updates_per_rollout}, expected 1 with "
                            "DeepSpeed, whose one optimizer steps policy and critic together")
        if self._is_vlm:
            raise UserError("algorithm: a critic does not read images; train this model with an algorithm without one")
        critic.attach_critic(self.model, peft_config)
        if self.args.max_grad_norm == 0:  # 0 would skip the hook that clips the critic's gradients
            self.args.max_grad_norm = float("inf")
        if spec.updates_per_rollout > 1:
            self.add_callback(ExtraCriticUpdates(self))
        if self.use_vllm:
            policy_and_critic = self.vllm_generation._iter_named_params
            self.vllm_generation._iter_named_params = lambda: (
                (name, parameter) for name, parameter in policy_and_critic() if not critic.is_critic(name)
            )

    @property
    def policy_rests(self) -> bool:
        """Whether only the critic learns at this step."""
        return self.algorithm.needs.values and self.state.global_step < self.algorithm.critic.pretraining_steps

    def values(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        """V of every response token of these rows, (B, T), through the wrapped model."""
        with self.accelerator.autocast():
            return critic.read_values(
                model,
                torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1),
                torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1),
                inputs["completion_ids"].size(1),
            )

    @torch.no_grad()
    def old_values(self, rollouts: dict[str, Any]) -> torch.Tensor:
        """V of a whole rollout batch, in chunks of a micro-batch, before any of its updates."""
        size = self.args.per_device_train_batch_size
        keys = ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask")
        rows = range(0, len(rollouts["completion_ids"]), size)
        return torch.cat([self.values(self.model, {k: rollouts[k][i : i + size] for k in keys}) for i in rows])

    def update_critic(self) -> None:
        """One more optimizer step of the critic on the window that was just trained on."""
        width = self.args.gradient_accumulation_steps
        first = (self._step - width) % self.args.steps_per_generation
        assert self._buffered_inputs is not None
        window = self._buffered_inputs[first : first + width]
        model: Any = self.model_wrapped
        self.critic_only = True
        try:
            for i, inputs in enumerate(window):
                with self.accelerator.no_sync(model) if i < width - 1 else nullcontext():
                    self.accelerator.backward(self._compute_loss(model, inputs))
        finally:
            self.critic_only = False
        self._rest_policy()
        self._clip_critic()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def create_optimizer(self, *args: Any, **kwargs: Any) -> torch.optim.Optimizer:
        fresh = self.optimizer is None
        optimizer = super().create_optimizer(*args, **kwargs)
        if fresh and self.algorithm.needs.values:
            critic.split_parameter_groups(optimizer, self._critic(), self.algorithm.critic.learning_rate)
        return optimizer

    def create_scheduler(self, *args: Any, **kwargs: Any) -> Any:
        fresh = self.lr_scheduler is None
        scheduler = super().create_scheduler(*args, **kwargs)
        if fresh and self.algorithm.needs.values:
            critic.schedule(scheduler, self.algorithm.critic)
        return scheduler

    def _clip_grad_norm(self, model: Any) -> Any:
        """Policy and critic apart: a critic at its start would shrink the policy's step. DeepSpeed and FSDP clip
        jointly."""
        if not self.algorithm.needs.values or self.accelerator.distributed_type not in (
            DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU
        ):
            return super()._clip_grad_norm(model)
        policy = [p for n, p in self.model.named_parameters() if not critic.is_critic(n)]
        norm = self.accelerator.clip_grad_norm_(policy, self.args.max_grad_norm)
        if self.policy_rests:
            self._rest_policy()
        self._metrics["train"]["train/critic_grad_norm"].append(self._clip_critic().item())
        return norm

    def _clip_critic(self) -> torch.Tensor:
        return self.accelerator.clip_grad_norm_(
            self._critic(), self.algorithm.critic.max_grad_norm or float("inf")
        )

    def _rest_policy(self) -> None:
        # Without gradients AdamW skips a parameter, its moments included; zeros would age them.
        for name, parameter in self.model.named_parameters():
            if not critic.is_critic(name):
                parameter.grad = None

    def _critic(self) -> list[torch.nn.Parameter]:
        return [p for n, p in self.model.named_parameters() if critic.is_critic(n)]

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """The policy as ever; the critic in a file of its own."""
        if not self.algorithm.needs.values or not self.args.should_save:
            super()._save(output_dir, state_dict)
            return
        state = self.model.state_dict() if state_dict is None else state_dict
        adapters = hasattr(self.model, "peft_config")
        super()._save(output_dir, state_dict if adapters else critic.without_critic(state))
        critic.save_critic(Path(output_dir or self.args.output_dir), state)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        if self.algorithm.needs.values:
            critic.load_critic(Path(resume_from_checkpoint), self.model if model is None else model)
            critic.mark_trainable(self.model)
