"""RLVRTrainer: TRL's GRPO trainer with pluggable credit, its own loss and seeded rollouts.

With its parts, `_generation`, `_policy_training` and `_value_training`, the only module that touches TRL's private
seams; `SEAMS` names each, and a test fails with the name of what moved when TRL is upgraded. TRL keeps what it is good
at: distributed set-up, generation back ends, padding, reference model, optimizer, checkpoints. Ours are the rollout
seeds, dynamic sampling, the credit (an `Algorithm`), the loss (`rlvr.training.loss`) with denominators that are exact
over micro-batches and ranks, and the metrics.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate.utils import gather_object
from trl.models.utils import unwrap_model_for_generation
from trl.trainer.grpo_config import GRPOConfig

import rlvr.training.critic as critic
from rlvr.data.images import decode
from rlvr.interfaces import Algorithm, Credit, RolloutBatch, Sampler
from rlvr.models.sampler import TransformersSampler
from rlvr.models.seeded import row_key
from rlvr.training.dynamic_sampling import Refill
from rlvr.training.generation import Progress, RolloutGeneration
from rlvr.training.policy import PolicyTraining, multimodal
from rlvr.training.prompt_stream import PromptStream
from rlvr.training.reward_functions import (
    AccuracyReward,
    CompletionJudge,
    Judged,
    ShapedReward,
    TermReward,
    TruncationPolicy,
    shaped_reward,
    shaping_metrics,
)
from rlvr.training.step_metrics import judge_metrics, refill_metrics, rollout_metrics
from rlvr.training.trl_loss import TRL_LOSS_TYPE, check_trl_loss
from rlvr.types import Problem, UserError

SEAMS = (
    "_calculate_rewards",
    "_generate",
    "_generate_single_turn",
    "_tokenize_prompts",
    "_generate_and_score_completions",
    "_prepare_inputs",
    "_get_per_token_logps_and_entropies",
    "_compute_loss",
    "training_step",
    "create_optimizer",
    "create_scheduler",
    "_clip_grad_norm",
    "_save",
    "_save_checkpoint",
    "_load_from_checkpoint",
    "_load_optimizer_and_scheduler",
    "log",
)
"""Methods of GRPOTrainer, or of the Trainer below it, that ours override or call."""

STATE_FILE = "rlvr_state.json"
"""What a checkpoint keeps beside weights, optimizer and the libraries' own state: a `Progress`."""


@dataclass
class RLVRConfig(GRPOConfig):
    """`trl.GRPOConfig` that also takes `num_generations=1`, for algorithms that compare no rollouts of a prompt."""

    def __post_init__(self) -> None:
        single = self.num_generations == 1
        if single:
            self.num_generations = 2  # the least TRL accepts; an even rollout batch divides by it as well
        super().__post_init__()
        if single:
            self.num_generations = 1


class RLVRTrainer(RolloutGeneration, PolicyTraining):
    """Trains a policy with any `rlvr.interfaces.Algorithm` on verifiable rewards.

    Args:
        model: as for `trl.GRPOTrainer` (a path, hub id or model).
        algorithm: credit rule and loss.
        problems: training problems; each step draws whole groups of `args.num_generations` rollouts.
        judge: gives the verdicts; `rlvr.judging.judge.Judge`.
        args: `trl.GRPOConfig` or `RLVRConfig`; must set max_steps. Fields the algorithm owns (beta, epsilon,
            loss_type ...) are overwritten with what the algorithm says.
        seed: of prompt order and rollouts. Rollout j of a problem at a step depends on
            (seed, step, generation batch of the step, problem id, j) alone.
        loss: "rlvr" (our loss) or "trl" (TRL's own, for regression tests).
        truncated: what happens to completions cut at the token limit.
        shaped_rewards: terms beside the accuracy in the reward that algorithms get; dynamic sampling and everything
            that counts right and wrong sees the accuracy alone.
        kwargs: passed on to GRPOTrainer (processing_class, callbacks, peft_config, rollout_func ...).

    Raises: ValueError for an algorithm and arguments that do not fit, UserError for what a recipe can mend.
    """

    def __init__(
        self,
        model: Any,
        *,
        algorithm: Algorithm[Any],
        problems: Sequence[Problem],
        judge: CompletionJudge,
        args: GRPOConfig,
        seed: int = 0,
        loss: Literal["rlvr", "trl"] = "rlvr",
        truncated: TruncationPolicy = "as_is",
        shaped_rewards: Sequence[ShapedReward] = (),
        **kwargs: Any,
    ) -> None:
        needs, spec = algorithm.needs, algorithm.loss
        if needs.group_filter and any(problem.images for problem in problems):
            raise UserError("algorithm: dynamic sampling does not take prompts with images; use dynamic_sampling: "
                            "false or another algorithm")
        assert args.num_generations and args.steps_per_generation and args.generation_batch_size  # set by GRPOConfig
        if args.num_generations < needs.min_group_size:
            raise ValueError(
                f"{type(algorithm).__name__} needs groups of at least {needs.min_group_size} rollouts, "
                f"num_generations is {args.num_generations}"
            )
        if loss == "trl":
            check_trl_loss(algorithm)
        args.epsilon, args.epsilon_high, args.delta = spec.clip_low, spec.clip_high, spec.dual_clip
        # Any beta != 0 makes TRL compute the reference log-probabilities; our loss takes its coefficient from the spec.
        args.beta = spec.kl_coef or (1.0 if needs.ref_logps else 0.0)
        args.loss_type = TRL_LOSS_TYPE[spec.aggregation] if loss == "trl" else "dapo"
        args.use_bias_correction_kl = False
        args.entropy_coef = spec.entropy_coef if loss == "trl" else 0.0
        args.shuffle_dataset = False  # the stream already lays out the order of the whole run
        self.algorithm = algorithm
        self.rollout_seed = seed
        self.loss_implementation = loss
        self.truncated_policy: TruncationPolicy = truncated
        self.shaped_rewards = tuple(shaped_rewards)
        self.progress = Progress(entropy_coef=spec.entropy_coef)
        self.prompts_per_step = args.generation_batch_size // args.num_generations
        self.stream = PromptStream(problems, prompts_per_step=self.prompts_per_step, seed=seed)
        self._sums: dict[str, torch.Tensor] = {}
        self._window_entropy = torch.zeros(2)
        self._reward = AccuracyReward(judge, {p.id: p for p in problems}, truncated)
        batches = args.max_steps * args.gradient_accumulation_steps // args.steps_per_generation
        super().__init__(
            model,
            [self._reward, *map(TermReward, self.shaped_rewards)],
            args=args,
            train_dataset=self.stream.dataset(batches * self.prompts_per_step),
            **kwargs,
        )
        self._reward.eos_ids = frozenset(self.eos_token_ids)
        if needs.values:
            self.attach_critic(kwargs.get("peft_config"))

    def live_sampler(self) -> Sampler:
        """A sampler over the model as it is now, sharded or not: what probes use. With vLLM it is the engine that
        draws the rollouts too."""
        if self.use_vllm:
            return self.engine_sampler()
        return TransformersSampler(
            self.model, self.processing_class, unwrap=self.unwrapped, chat_template=self.chat_template
        )

    def unwrapped(self) -> AbstractContextManager[Any]:
        """The bare model with all its weights gathered, for the length of a `with` block."""
        model: Any = self.model_wrapped
        return unwrap_model_for_generation(
            model,
            self.accelerator,
            gather_deepspeed3_params=self.args.ds3_gather_for_generation,
            gradient_checkpointing_kwargs=self.args.gradient_checkpointing_kwargs,
        )

    # ---------------------------------------------------------------- credit

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """One rollout batch: TRL's tensors, with the advantages replaced by the algorithm's credit."""
        inputs = self._with_images(inputs)
        if not self.model.training:
            self._rows = inputs
            return super()._generate_and_score_completions(inputs)
        used_N: torch.Tensor | None = None
        refill: Refill | None = None
        self._round, self._rows, self._greedy_tokens = 0, inputs, 0
        if self.algorithm.needs.group_filter:
            refill = self._draw_groups()
            inputs, used_N = self._choose(refill)
        else:
            self.progress.prompt_position += self.prompts_per_step
        try:
            out = super()._generate_and_score_completions(inputs)
        finally:
            self._chosen = None
        if self.algorithm.needs.values:
            critic.mark_trainable(self.model)  # the reference pass of adapters freezes the inactive one
            out["old_values"] = self.old_values(out)
        if self.algorithm.needs.old_logps and "old_per_token_logps" not in out:
            out["old_per_token_logps"] = self._old_logps(out)
        batch = self._rollout_batch(out, used_N)
        credit = self.algorithm.advantages(batch)
        if credit.advantages_NT.shape != batch.mask_NT.shape:
            raise UserError(f"{type(self.algorithm).__name__}.advantages: found a tensor of shape "
                            f"{tuple(credit.advantages_NT.shape)}, expected one credit per token, (N, T) = "
                            f"{tuple(batch.mask_NT.shape)}; test it with rlvr.algorithms.checks.check_algorithm")
        self._add_credit(out, batch, credit)
        self._record_rollouts(batch, credit, refill)
        return out

    def _with_images(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The rows whose problems have pictures with these and their prompt, which the data set does not hold; each is
        decoded once for its group."""
        problems = [self._reward.problems[key] for key in {row["problem_id"] for row in rows}]
        extra = {
            problem.id: {
                "prompt": [dict(message) for message in problem.prompt if not isinstance(message, str)],
                "images": [decode(image) for image in problem.images],
            }
            for problem in problems if problem.images
        }
        return [row | extra.get(row["problem_id"], {}) for row in rows]

    def _rollout_batch(self, out: dict[str, Any], used_N: torch.Tensor | None) -> RolloutBatch:
        """Everything the algorithm may want, gathered over ranks."""
        mask_nT = out["completion_mask"] * out.get("tool_mask", 1)
        mask_NT = self._gather_rows(mask_nT)
        stopped_n = torch.isin(
            self._last_ids(out["completion_ids"], mask_nT), torch.tensor(self.eos_token_ids, device=mask_nT.device)
        )
        truncated_N = ~self.accelerator.gather(stopped_n)
        # Masked before the credit, so that whitening too sees only tokens of the loss; group statistics keep the row.
        kept_NT = mask_NT * ~truncated_N[:, None] if self.truncated_policy == "mask" else mask_NT
        if used_N is not None:
            kept_NT = kept_NT * used_N[:, None]
        rewards_N = shaped_reward(self._rewards_NF, self.shaped_rewards)
        return RolloutBatch(
            accuracy_N=self._rewards_NF[:, 0],
            rewards_N=rewards_N,
            group_N=torch.arange(len(rewards_N), device=rewards_N.device) // self.num_generations,
            mask_NT=kept_NT.to(rewards_N.dtype),
            lengths_N=mask_NT.sum(1),
            max_length=self.max_completion_length,
            truncated_N=truncated_N,
            old_logps_NT=self._gather_optional(out, "old_per_token_logps"),
            ref_logps_NT=self._gather_optional(out, "ref_per_token_logps"),
            values_NT=self._gather_optional(out, "old_values"),
            baseline_N=None if self._baseline_NF is None else shaped_reward(self._baseline_NF, self.shaped_rewards),
            seed=row_key(self.rollout_seed, "credit", str(self.state.global_step), 0) % 2**63,
        )

    def _add_credit(self, out: dict[str, Any], batch: RolloutBatch, credit: Credit) -> None:
        """Write this rank's rows of the credit into TRL's tensors."""
        n, T = out["completion_ids"].shape
        first = self.accelerator.process_index * n
        dtype = out["completion_mask"].dtype  # whole numbers: float32 stops counting at 2**24 tokens

        def local(x_NT: torch.Tensor) -> torch.Tensor:
            return x_NT[first : first + n, :T].contiguous()

        loss_mask_NT = batch.mask_NT if credit.loss_mask_NT is None else credit.loss_mask_NT
        out["advantages"] = local(credit.advantages_NT)
        out["loss_mask"] = local(loss_mask_NT).to(dtype)
        if credit.returns_NT is not None:
            out["returns"] = local(credit.returns_NT)
        if credit.nll_mask_NT is not None:
            out["nll_mask"] = local(credit.nll_mask_NT).to(dtype)
        for name, extra_NT in credit.extras_NT.items():
            out[f"extra/{name}"] = local(extra_NT)

    @staticmethod
    def _last_ids(ids_nT: torch.Tensor, mask_nT: torch.Tensor) -> torch.Tensor:
        last_n = (mask_nT * torch.arange(1, mask_nT.size(1) + 1, device=mask_nT.device)).argmax(1)
        return ids_nT.gather(1, last_n[:, None]).squeeze(1)

    def _gather_rows(self, x_nT: torch.Tensor) -> torch.Tensor:
        # Rounded lengths differ over ranks: pad to the longest before gathering.
        return self.accelerator.gather(self.accelerator.pad_across_processes(x_nT, dim=1))

    def _gather_optional(self, out: dict[str, Any], key: str) -> torch.Tensor | None:
        return self._gather_rows(out[key]) if key in out else None

    def _old_logps(self, out: dict[str, Any]) -> torch.Tensor:
        ids = torch.cat([out["prompt_ids"], out["completion_ids"]], dim=1)
        attention = torch.cat([out["prompt_mask"], out["completion_mask"]], dim=1)
        with torch.no_grad():
            logps_nT, _, _ = self._get_per_token_logps_and_entropies(
                self.model, ids, attention, out["completion_ids"].size(1),
                batch_size=self.args.per_device_train_batch_size, **multimodal(out),
            )
        return logps_nT

    def _prepare_inputs(self, generation_batch: Any) -> dict[str, Any]:
        """TRL's buffering; each new buffer learns the exact token and sequence counts of its optimizer windows."""
        before = self._buffered_inputs
        inputs = super()._prepare_inputs(generation_batch)
        buffer = self._buffered_inputs
        if self.model.training and buffer is not None and buffer is not before:
            self._count_windows(buffer)
        return inputs

    def _count_windows(self, slices: list[dict[str, Any]]) -> None:
        """Write the window's N_W (tokens), S_W (non-empty sequences), B_W (sequences) and tokens of the likelihood term
        into every slice."""
        width = self.args.gradient_accumulation_steps

        def counts(piece: dict[str, Any]) -> torch.Tensor:
            mask = piece["loss_mask"]
            nll = piece["nll_mask"].sum() if "nll_mask" in piece else mask.new_zeros(())
            return torch.stack([mask.sum(), (mask.sum(1) > 0).sum(), mask.new_tensor(len(mask)), nll])

        windows = [slices[i : i + width] for i in range(0, len(slices), width)]
        counts_W4 = torch.stack([torch.stack([counts(piece) for piece in window]).sum(0) for window in windows])
        counts_W4 = self.accelerator.reduce(counts_W4, reduction="sum")
        for window, total in zip(windows, counts_W4, strict=True):
            for piece in window:
                piece["window_counts"] = total

    # ---------------------------------------------------------------- checkpoints

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        if self.args.should_save:
            folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
            (folder / STATE_FILE).write_text(json.dumps(asdict(self.progress)) + "\n")

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            file = Path(checkpoint) / STATE_FILE
            if not file.is_file():
                raise UserError(f"{file} is missing: the checkpoint is not complete or not of this project; delete "
                                f"{checkpoint} to resume from the one before")
            self.progress = Progress(**json.loads(file.read_text()))

    # ---------------------------------------------------------------- metrics

    def _record_rollouts(self, batch: RolloutBatch, credit: Credit, refill: Refill | None) -> None:
        """Metrics of one rollout batch, from gathered tensors: equal on all ranks."""
        metrics = rollout_metrics(batch, credit) | shaping_metrics(self._rewards_NF, self.shaped_rewards)
        if refill is not None:
            metrics |= refill_metrics(refill)
        if credit.returns_NT is not None and batch.values_NT is not None:
            mask_NT = batch.mask_NT if credit.loss_mask_NT is None else credit.loss_mask_NT
            metrics["train/explained_variance"] = critic.explained_variance(
                batch.values_NT, credit.returns_NT, mask_NT
            )
        metrics |= judge_metrics(gather_object([self._reward.judged]))
        self._reward.judged = Judged()
        for name, value in metrics.items():
            self._metrics["train"][name].append(value)

        progress, mask_NT = self.progress, batch.mask_NT
        assert batch.lengths_N is not None
        if refill is None:
            progress.generated_rollouts += len(batch.lengths_N)
            progress.generated_tokens += int(batch.lengths_N.sum().item())
        else:
            rows = [row for group in refill.groups for row in group.columns]
            progress.generated_rollouts += len(rows)
            progress.generated_tokens += sum(len(row[1]) for row in rows)
        progress.generated_tokens += self._greedy_tokens
        progress.used_rollouts += int((mask_NT > 0).any(1).sum().item())
        progress.used_tokens += int((mask_NT > 0).sum().item())
        for name in ("generated_rollouts", "generated_tokens", "used_rollouts", "used_tokens"):
            self._metrics["train"][f"perf/{name}"] = [float(getattr(progress, name))]

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the running means of the step, reduced over ranks, to TRL's metrics."""
        if self._sums:
            names = sorted(self._sums)
            totals = self.accelerator.reduce(torch.stack([self._sums[k] for k in names]), reduction="sum")
            for name, (total, count) in zip(names, totals.tolist(), strict=True):
                self._metrics["train"][name] = [total / max(count, 1.0)]
            self._sums.clear()
        super().log(logs, start_time)
