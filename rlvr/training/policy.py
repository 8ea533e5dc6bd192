"""The loss of an update: the algorithm's policy loss with its KL, entropy, likelihood and value terms."""

from __future__ import annotations

from typing import Any

import torch

from rlvr.interfaces import TokenBatch
from rlvr.training.generation import Progress
from rlvr.training.loss import aggregate, clip_fractions, kl_estimate, policy_loss, value_loss
from rlvr.training.value import ValueTraining


class PolicyTraining(ValueTraining):
    """The learning half of `RLVRTrainer`, which sets the attributes declared here."""

    loss_implementation: str
    progress: Progress
    _sums: dict[str, torch.Tensor]
    """Metric -> local masked sum and count since the last log, (2,)."""
    _window_entropy: torch.Tensor
    """The same for the entropy since the last update."""

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        """Policy loss, KL, entropy, likelihood and value terms, each with the window's exact denominators."""
        if self.loss_implementation == "trl":
            return super()._compute_loss(model, inputs)
        spec = self.algorithm.loss
        completion_ids, mask_BT = inputs["completion_ids"], inputs["loss_mask"]
        logps_BT, entropies_BT, _ = self._get_per_token_logps_and_entropies(
            model,
            torch.cat([inputs["prompt_ids"], completion_ids], dim=1),
            torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1),
            completion_ids.size(1),
            compute_entropy=True,
            **multimodal(inputs),
        )
        num_tokens, num_nonempty, num_sequences, num_nll = inputs["window_counts"].unbind()

        def mean(loss_BT: torch.Tensor) -> torch.Tensor:
            return aggregate(
                loss_BT,
                mask_BT,
                spec.aggregation,
                num_tokens=num_tokens,
                num_sequences=num_sequences if spec.aggregation == "seq-mean-token-sum-norm" else num_nonempty,
                world_size=self.accelerator.num_processes,
                max_length=self.max_completion_length,
            )

        # A pass for the critic alone still runs the policy: DDP waits for the gradient of every parameter.
        if self.critic_only:
            return mean(self._value_loss(model, inputs)) + 0.0 * logps_BT.sum()
        loss = mean(self._token_loss(logps_BT, inputs))
        if spec.kl_coef:
            kl_BT = kl_estimate(logps_BT, inputs["ref_per_token_logps"], spec.kl_kind)
            loss = loss + spec.kl_coef * mean(kl_BT)
            self._add("train/kl", kl_BT, mask_BT)
        entropy_coef = self._entropy_coef()
        if entropy_coef:
            loss = loss - entropy_coef * mean(entropies_BT)
        self._add("train/entropy", entropies_BT, mask_BT)
        self._window_entropy = self._window_entropy.to(mask_BT.device) + masked_sum(entropies_BT, mask_BT)
        if "nll_mask" in inputs:
            loss = loss + spec.nll_coef * aggregate(
                -logps_BT, inputs["nll_mask"], "token-mean", num_tokens=num_nll, num_sequences=1,
                world_size=self.accelerator.num_processes,
            )
            self._add("train/nll", -logps_BT, inputs["nll_mask"])
        if self.algorithm.needs.values:
            values_loss_BT = self._value_loss(model, inputs)
            self._add("train/value_loss", values_loss_BT, mask_BT)
            loss = loss * (0.0 if self.policy_rests else 1.0) + mean(values_loss_BT)
        return loss

    def _token_loss(self, logps_BT: torch.Tensor, inputs: dict[str, Any]) -> torch.Tensor:
        """The algorithm's loss of every token, or the clipped surrogate."""
        spec, mask_BT, weights = self.algorithm.loss, inputs["loss_mask"], inputs.get("importance_sampling_ratio")
        old_logps_BT = inputs.get("old_per_token_logps", logps_BT.detach())
        if "sampling_per_token_logps" in inputs:
            gap_BT = (old_logps_BT - inputs["sampling_per_token_logps"]).abs()
            self._add("train/sampler_gap", gap_BT, mask_BT * ~gap_BT.isnan())
        own_BT = self.algorithm.token_loss(
            TokenBatch(
                logps_BT, old_logps_BT, inputs["advantages"], mask_BT,
                {key.removeprefix("extra/"): x for key, x in inputs.items() if key.startswith("extra/")},
            )
        )
        if own_BT is not None:
            return own_BT if weights is None else own_BT * weights
        clips = {"clip_low": spec.clip_low, "clip_high": spec.clip_high, "dual_clip": spec.dual_clip}
        fractions = clip_fractions(logps_BT, old_logps_BT, inputs["advantages"], **clips)
        for name, indicator_BT in fractions._asdict().items():
            self._add(f"train/clip_{name.removesuffix('_BT')}_frac", indicator_BT, mask_BT)
        return policy_loss(logps_BT, old_logps_BT, inputs["advantages"], rollout_weights=weights, **clips)

    def _value_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        return value_loss(
            self.values(model, inputs), inputs["old_values"], inputs["returns"], clip=self.algorithm.critic.value_clip
        )

    def _entropy_coef(self) -> float:
        """Weight of the entropy bonus at this update."""
        target, measured = self.algorithm.loss.entropy_target, self.progress.entropy
        if target is None:
            return self.algorithm.loss.entropy_coef
        return self.progress.entropy_coef if measured is not None and measured <= target else 0.0

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """TRL's; at the end of an update the entropy controller learns the entropy it had."""
        loss = super().training_step(*args, **kwargs)
        spec = self.algorithm.loss
        if spec.entropy_target is not None and self._step % self.args.gradient_accumulation_steps == 0:
            total, count = self.accelerator.reduce(self._window_entropy, reduction="sum").tolist()
            self._window_entropy = torch.zeros(2)
            self._metrics["train"]["train/entropy_coef"].append(self._entropy_coef())
            if count:
                entropy = total / count
                move = spec.entropy_step if entropy < spec.entropy_target else -spec.entropy_step
                self.progress.entropy = entropy
                self.progress.entropy_coef = max(0.0, self.progress.entropy_coef + move)
        return loss

    def _add(self, name: str, values: torch.Tensor, mask: torch.Tensor) -> None:
        """Add local masked sums to a running mean; ranks are reduced once, when the step is logged."""
        total = masked_sum(values, mask)
        self._sums[name] = self._sums[name] + total if name in self._sums else total


def masked_sum(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Sum and count over the masked-in entries, (2,)."""
    values, mask = values.detach().float(), mask.float()
    return torch.stack([torch.where(mask > 0, values * mask, 0.0).sum(), mask.sum()])


_MULTIMODAL_KEYS = (
    "pixel_values",
    "image_grid_thw",
    "num_images",
    "pixel_attention_mask",
    "spatial_shapes",
    "num_tiles",
    "image_sizes",
    "token_type_ids",
    "mm_token_type_ids",
    "image_position_ids",
)


def multimodal(inputs: dict[str, Any]) -> dict[str, Any]:
    return {k: inputs[k] for k in _MULTIMODAL_KEYS if k in inputs}
