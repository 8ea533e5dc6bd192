"""RLVRTrainer: TRL's GRPO trainer with pluggable credit, its own loss and seeded rollouts.

TRL keeps distributed set-up, generation back ends, padding, reference model, optimizer and checkpoints. Ours are the
seeds of rollouts, dynamic sampling, the credit (an `Algorithm`), the loss with denominators that are exact over
micro-batches and ranks, and the metrics. One training step, in the order of the methods below:

    training_step                          TRL's, once per micro-batch
      _prepare_inputs                      the next micro-batch; for the first of a step:
        _generate_and_score_completions    a new `Step`
          draw_mixed_groups                dynamic sampling only: generate and judge until enough groups are mixed
          TRL's own, which calls
            _generate                      and in it _generate_single_turn: completions, seeded per rollout
            _calculate_rewards             verdicts and shaped rewards; the greedy baseline where it is needed
                                           and then computes log-probabilities under the reference
          old_values, old_logps            under the models before the update, where the algorithm needs them
          gathered_batch                   what the algorithm sees: all ranks (`credit.rollout_batch`)
          credit.assign_credit             the algorithm
          credit.credit_tensors            this rank's rows of its credit
          record                           metrics (`step_metrics`)
        credit.write_window_counts         the denominators of each optimizer update
        passes.cut_window                  with `micro_batch_tokens`: the rollouts of an update, dealt to ranks and cut
      _compute_loss                        `forward` passes (`passes`) and `objective.objective`
    _clip_grad_norm, then the optimizer    at the last micro-batch of an update; an entropy target then moves its weight
    critic_training.update_critic          further updates of a critic, if the algorithm asks for them

What a step learns is in its `Step`; what outlives it, and a resume, in `Progress`. `credit` and `checks` stop the run
at what is not finite. The private names of TRL used here are listed in `seams`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from transformers.trainer_utils import rotate_checkpoints
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from rlvr.config.sections import PromptChoice
from rlvr.interfaces import Algorithm, RolloutBatch, Sampler
from rlvr.models.sampler import TransformersSampler
from rlvr.models.seeded import SeededSampling, row_key
from rlvr.models.vllm_sampler import EngineSampler
from rlvr.probes.world import meet
from rlvr.training import critic, critic_training, generation, passes
from rlvr.training.checks import check_gradient, check_loss, named
from rlvr.training.credit import assign_credit, credit_tensors, rollout_batch, stopped, write_window_counts
from rlvr.training.dynamic_sampling import draw_mixed_groups
from rlvr.training.engine import awake, keep_base_exact, room_for
from rlvr.training.forward import check_packable, has_learned_positions, multimodal, sequences, switch_off_dropout
from rlvr.training.gathered import whole_model
from rlvr.training.micro_batches import parts
from rlvr.training.objective import MicroBatch, entropy_weight, next_entropy_coef, objective
from rlvr.training.prompt_choice import chosen_rows
from rlvr.training.prompt_stream import PromptStream
from rlvr.training.reward_functions import AccuracyReward, CompletionJudge, ShapedReward, TermReward, TruncationPolicy
from rlvr.training.rollouts import never_empty, samples_every_token, to_trl, with_pictures
from rlvr.training.step import Progress, Step
from rlvr.training.step_metrics import RunningMeans, source_metrics, step_metrics
from rlvr.training.trl_settings import OwnCard, accumulate_in_float32, check_engine, check_fit, give_loss_settings
from rlvr.types import Problem


class RLVRTrainer(OwnCard, GRPOTrainer):
    """Trains a policy with any `rlvr.interfaces.Algorithm` on verifiable rewards.

    Args:
        model: as for `trl.GRPOTrainer` (a path, hub id or model).
        algorithm: credit rule and loss.
        problems: training problems; each step draws whole groups of `args.num_generations` rollouts.
        judge: gives the verdicts; `rlvr.judging.judge.Judge`.
        args: `trl.GRPOConfig` or `RLVRConfig`; must set max_steps. Fields the algorithm owns (beta, epsilon,
            loss_type ...) are overwritten with what the algorithm says.
        seed: of prompt order and rollouts: see `Step.keys`.
        truncated: what happens to completions cut at the token limit.
        shaped_rewards: terms added to the accuracy in the reward; dynamic sampling sees the accuracy alone.
        mixture: of several sources of problems: see `PromptStream`.
        on_credit: called on every process with each `Step` when its rollouts have their credit.
        prompt_choice: draws the prompts by the run's history of them; None: all equally often.
        kwargs: passed on to GRPOTrainer (processing_class, callbacks, peft_config, rollout_func ...).

    Raises: ValueError for an algorithm and arguments that do not fit, UserError for what a recipe can mend.
    """

    args: Any  # GRPOConfig, model and accelerator as TRL sets them; its own annotations are wider than what they hold
    model: Any
    model_wrapped: Any
    accelerator: Any
    processing_class: Any
    optimizer: Any
    num_generations: int
    max_completion_length: int

    def __init__(
        self,
        model: Any,
        *,
        algorithm: Algorithm[Any],
        problems: Sequence[Problem],
        judge: CompletionJudge,
        args: GRPOConfig,
        seed: int = 0,
        truncated: TruncationPolicy = "as_is",
        shaped_rewards: Sequence[ShapedReward] = (),
        mixture: Mapping[str, Fraction] | None = None,
        on_credit: Callable[[Step], None] | None = None,
        prompt_choice: PromptChoice | None = None,
        **kwargs: Any,
    ) -> None:
        check_fit(algorithm, problems, args)
        give_loss_settings(algorithm, args)
        assert args.num_generations and args.steps_per_generation and args.generation_batch_size  # set by GRPOConfig
        self.algorithm = algorithm
        self.rollout_seed = seed
        self.truncated_policy: TruncationPolicy = truncated
        self.shaped_rewards, self.on_credit = tuple(shaped_rewards), on_credit
        self.prompt_choice = prompt_choice
        self.progress = Progress(entropy_coef=algorithm.loss.entropy_coef)
        self.prompts_per_step = args.generation_batch_size // args.num_generations
        self.stream = PromptStream(problems, prompts_per_step=self.prompts_per_step, seed=seed, mixture=mixture)
        self.reward = AccuracyReward(judge, {p.id: p for p in problems}, truncated)
        self.step = Step(0, [])
        self.means = RunningMeans()  # of the loss terms since the last log
        self.update_means = RunningMeans()  # of the entropy since the last update
        batches = args.max_steps * args.gradient_accumulation_steps // (args.steps_per_generation * args.num_iterations)
        data = self.stream.dataset(batches * self.prompts_per_step)
        rewards = [self.reward, *map(TermReward, self.shaped_rewards)]
        with room_for(getattr(args, "vllm_sequences", None)):
            super().__init__(model, rewards, args=args, train_dataset=data, **kwargs)
        check_engine(self.model, problems, self.accelerator)
        accumulate_in_float32(self.accelerator)
        self.reward.eos_ids = frozenset(self.eos_token_ids)
        if self.rollout_func is not None:
            self.rollout_func = never_empty(self.rollout_func, self.eos_token_ids[0])
        self.sum_over_ranks = partial(self.accelerator.reduce, reduction="sum")
        self.learned_positions = not self._is_vlm and has_learned_positions(self.model)
        ours = not self.use_vllm and self.rollout_func is None and not (args.bf16 or args.fp16)
        self.sampler_is_exact = ours and self.model.dtype == torch.float32 and samples_every_token(self)
        if getattr(args, "padding_free", False):
            check_packable(self.model)
        if self.use_vllm and hasattr(self.model, "peft_config"):
            keep_base_exact(self.vllm_generation)
        if algorithm.needs.values:
            critic_training.give_critic(self, getattr(self.model, "peft_config", {}).get("default"))
        switch_off_dropout(self.model)

    # ---------------------------------------------------------------- a micro-batch; rollouts and their credit

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """TRL's, for one micro-batch. At the end of an update the entropy coefficient moves by the entropy it had."""
        with named(self.state.global_step + 1, self.accelerator.process_index):
            loss = super().training_step(*args, **kwargs)
        spec, progress = self.algorithm.loss, self.progress
        if spec.entropy_target is not None and self._step % self.args.gradient_accumulation_steps == 0:
            self.record({"train/entropy_coef": entropy_weight(spec, progress)})
            total, count = self.update_means.take(self.sum_over_ranks)["entropy"]
            if count:
                progress.entropy = total / count
                progress.entropy_coef = next_entropy_coef(spec, progress)
        return loss

    def _prepare_inputs(self, generation_batch: Any) -> dict[str, Any]:
        """TRL's next micro-batch. Those of a new step learn the exact counts of their optimizer updates, and are cut
        further where there is a budget of tokens."""
        before = self._buffered_inputs  # TRL makes a new list of micro-batches whenever it generates
        inputs = super()._prepare_inputs(generation_batch)
        buffered = self._buffered_inputs
        if self.model.training and buffered is not None and buffered is not before:
            write_window_counts(buffered, self.args.gradient_accumulation_steps, self.sum_over_ranks)
            if passes.by_tokens(self):
                self._buffered_inputs = [passes.cut_window(self, window) for window in buffered]
                inputs = self._buffered_inputs[self._step % len(buffered)]
        return inputs

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """One rollout batch: TRL's tensors, with its advantages replaced by the algorithm's credit."""
        needs = self.algorithm.needs
        if self.model.training and self.prompt_choice is not None:
            inputs = chosen_rows(self)
        self.step = step = Step(self.state.global_step, with_pictures(inputs, self.reward.problems))
        if not self.model.training:
            return super()._generate_and_score_completions(step.rows)
        if needs.group_filter:
            draw_mixed_groups(self, step)
        else:
            self.progress.prompt_position += self.prompts_per_step
        tensors = super()._generate_and_score_completions(step.rows)
        if needs.values:
            critic.mark_trainable(self.model)  # the reference pass of adapters froze the critic's
            tensors["old_values"] = passes.old_values(self, tensors)
        if needs.old_logps and "old_per_token_logps" not in tensors:
            tensors["old_per_token_logps"] = passes.old_logps(self, tensors)
        step.batch = self.gathered_batch(step, tensors)
        step.credit = assign_credit(self.algorithm, step.batch)
        tensors |= credit_tensors(step.batch, step.credit, tensors["completion_mask"], self.accelerator.process_index)
        self.record(step_metrics(step, self.shaped_rewards, gather_object([step.judged])))
        end, drawn = self.progress.prompt_position, len(step.refill.groups) if step.refill else self.prompts_per_step
        self.record(source_metrics(step, [self.stream.source(position) for position in range(end - drawn, end)]))
        self.progress.add(step, history=needs.history or self.prompt_choice is not None)
        self._metrics["train"] |= {name: [total] for name, total in self.progress.metrics().items()}
        if self.on_credit is not None:
            self.on_credit(step)
        return tensors

    def _generate(self, prompts: list[Any]) -> Any:
        """TRL's generation, or what dynamic sampling has generated and chosen before."""
        if self.step.chosen is not None:
            return to_trl([rollout for group in self.step.chosen for rollout in group.rollouts or ()])
        return super()._generate(prompts)

    def _generate_single_turn(self, prompt_ids: Any, *args: Any, **kwargs: Any) -> Any:
        """TRL's generation with every rollout drawn from its own seed."""
        first = self.accelerator.process_index * len(self.step.rows)
        keys = self.step.keys(self.rollout_seed, group_size=self.num_generations, first=first)
        return self.draw(keys, self.temperature, self.top_p, prompt_ids, *args, **kwargs)

    def draw(self, keys: list[int], temperature: float, top_p: float, *args: Any, **kwargs: Any) -> Any:
        """Completions and their log-probabilities, from transformers or vLLM; rollout i is drawn from `keys[i]`."""
        trl = partial(super()._generate_single_turn, *args, **kwargs)
        if self.use_vllm:
            return generation.from_engine(self, trl, keys, temperature, top_p)
        return generation.from_model(self, trl, SeededSampling(keys, temperature=temperature, top_p=top_p), args[0])

    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any) -> torch.Tensor:
        """Rewards of all ranks, (N, F): TRL's, or those of the groups that dynamic sampling has judged and chosen.
        They are stored in the step, because nothing later sees them before TRL normalises them."""
        step = self.step
        if step.chosen is None:
            step.rewards_NF = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
            step.judged.add(self.reward.take_judged())
            step.answers = self.reward.answers
            if self.model.training and self.algorithm.needs.greedy_baseline:
                every = slice(None, None, self.num_generations)
                judge = super()._calculate_rewards
                step.baseline_NF = generation.greedy_rewards(self, judge, step, inputs[every], prompts[every])
        assert step.rewards_NF is not None
        return step.rewards_NF

    def gathered_batch(self, step: Step, tensors: dict[str, Any]) -> RolloutBatch:
        """Everything the algorithm may want, of all ranks."""

        def gather(x_nT: torch.Tensor) -> torch.Tensor:
            # Widths differ over ranks: pad to the largest before gathering.
            return self.accelerator.gather(self.accelerator.pad_across_processes(x_nT, dim=1))

        mask_nT = tensors["completion_mask"] * tensors.get("tool_mask", 1)
        computed = {"old_logps_NT": "old_per_token_logps", "ref_logps_NT": "ref_per_token_logps",
                    "values_NT": "old_values"}
        ids_P = gather_object([row["problem_id"] for row in step.rows[:: self.num_generations]])
        assert step.rewards_NF is not None
        return rollout_batch(
            mask_NT=gather(mask_nT),
            stopped_N=self.accelerator.gather(stopped(tensors["completion_ids"], mask_nT, self.eos_token_ids)),
            rewards_NF=step.rewards_NF, baseline_NF=step.baseline_NF, used_N=step.used_N,
            terms=self.shaped_rewards, group_size=self.num_generations, truncated=self.truncated_policy,
            max_length=self.max_completion_length,
            seed=row_key(self.rollout_seed, "credit", str(step.number), 0) % 2**63, problem_ids=ids_P,
            history_P2=self.progress.history_of(ids_P) if self.algorithm.needs.history else None,
            **{name: gather(tensors[key]) for name, key in computed.items() if key in tensors},
        )

    # ---------------------------------------------------------------- the loss and its gradient

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        """The loss of TRL's micro-batch. If it was cut, the parts before the last have had their backward passes, and
        the last has the gradient."""
        *before, last = parts(inputs)
        done = torch.zeros((), device=self.accelerator.device)
        for part in before:
            with passes.without_sync(self.accelerator, model):
                loss = self.part_loss(model, part)
                self.accelerator.backward(loss)
            done += loss.detach()
        return self.part_loss(model, last) + done

    def part_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        """The loss of a micro-batch: its share of the loss of the optimizer update."""
        found = objective(
            self.forward(model, inputs),
            self.algorithm,
            entropy_weight=entropy_weight(self.algorithm.loss, self.progress),
            policy_weight=0.0 if self.policy_rests else 1.0,
            world_size=self.accelerator.num_processes,
            max_length=self.max_completion_length,
        )
        check_loss(found, sampler_is_exact=self.sampler_is_exact)
        self.means.add(found.measured)
        self.update_means.add({"entropy": found.measured["train/entropy"]})
        return found.loss

    def forward(self, model: Any, inputs: dict[str, Any]) -> MicroBatch:
        """A pass of the policy, and of the critic if there is one, over a micro-batch: the tensors of the loss."""
        logps_BT, entropies_BT, _ = self._get_per_token_logps_and_entropies(
            model, *sequences(inputs), compute_entropy=True, **multimodal(inputs)
        )
        values_BT = passes.values(self, model, inputs) if self.algorithm.needs.values else None
        return MicroBatch.of(inputs, logps_BT, entropies_BT, values_BT)

    def _get_per_token_logps_and_entropies(
        self, model: Any, *rows: Any, batch_size: int | None = None, compute_entropy: bool = False, **more: Any
    ) -> Any:
        """TRL's, of the policy and of the reference, with the positions that generation gave the tokens."""
        trl = super()._get_per_token_logps_and_entropies
        return passes.scores(self, trl, model, *rows, in_parts=batch_size is not None, entropy=compute_entropy, **more)

    @property
    def policy_rests(self) -> bool:
        """Whether only the critic learns at this step."""
        return self.algorithm.needs.values and self.state.global_step < self.algorithm.critic.pretraining_steps

    def _clip_grad_norm(self, model: Any) -> Any:
        """TRL's; a critic's gradients are clipped apart where the engine can, as a new critic's large ones would
        shrink the policy's step."""
        apart = self.algorithm.needs.values and self.accelerator.distributed_type in critic_training.CLIPS_APART
        with named(self.state.global_step + 1, self.accelerator.process_index):
            norm = critic_training.clip_apart(self) if apart else super()._clip_grad_norm(model)
            check_gradient(norm, self.model)
        return norm

    # ---------------------------------------------------------------- optimizer and checkpoints

    def create_optimizer(self, *args: Any, **kwargs: Any) -> torch.optim.Optimizer:
        fresh = self.optimizer is None
        optimizer = super().create_optimizer(*args, **kwargs)
        if fresh and self.algorithm.needs.values:
            critic.split_parameter_groups(optimizer, self.model, self.algorithm.critic.learning_rate)
        return optimizer

    def create_scheduler(self, *args: Any, **kwargs: Any) -> Any:
        fresh = self.lr_scheduler is None
        scheduler = super().create_scheduler(*args, **kwargs)
        if fresh and self.algorithm.needs.values:
            critic.schedule(scheduler, self.algorithm.critic)
        return scheduler

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """Save the policy as TRL does, and the critic in a file of its own."""
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

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        if self.args.should_save and self.args.save_total_limit:  # before, so that there are never more than that
            rotate_checkpoints(self.args.output_dir, self.args.save_total_limit - 1)
        meet()
        super()._save_checkpoint(model, trial)
        if self.args.should_save and not self.args.save_only_model:
            self.progress.save(Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}")
        meet()  # rank 0 may write for long

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            self.progress = Progress.load(Path(checkpoint))

    # ---------------------------------------------------------------- metrics and ranks

    def record(self, metrics: Mapping[str, float]) -> None:
        """Log these with the step; of several values under one key the mean."""
        for name, value in metrics.items():
            self._metrics["train"][name].append(value)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """TRL's, with the means over the micro-batches and the totals of the run."""
        for name, (total, count) in self.means.take(self.sum_over_ranks).items():
            self._metrics["train"][name] = [total / max(count, 1.0)]
        super().log(logs, start_time)

    # ---------------------------------------------------------------- the live model, for probes

    def live_sampler(self) -> Sampler:
        """A sampler over the model as it is now, sharded or not. With vLLM it is the engine that draws the rollouts."""
        if self.use_vllm:
            return EngineSampler(self, generate=super()._generate_single_turn, tokenize=self._tokenize_prompts)
        return TransformersSampler(self.model, self.processing_class, unwrap=self.unwrapped,
                                   chat_template=self.chat_template)

    def probing(self) -> AbstractContextManager[None]:
        """Around all batches of a probe with `live_sampler`."""
        return awake(self)

    def unwrapped(self) -> AbstractContextManager[Any]:
        """The bare model with all its weights gathered, for the length of a `with` block."""
        return whole_model(self)
