"""What the Hydra settings of verl's PPO trainer are called here; see `rlvr.config.foreign_keys`."""

from __future__ import annotations

from rlvr.config.foreign_keys import Here

_LAUNCH = "belongs to the launcher: choose a file of launch/accelerate"
_ENGINE = "settings of the engine have their defaults here, see train.vllm"
_PROBES = "probes measure instead of a validation, see the section `probes`"
_REWARD = "a verifier judges (data.train.verifier), train.rewards adds terms"

VERL: dict[str, Here] = {
    "data.train_files": Here("data.train.source", "JSONL or Parquet, one file; columns by data.train.prompt and gold"),
    "data.val_files": Here("data.probe.source", "JSONL or Parquet, one file"),
    "data.prompt_key": Here("data.train.prompt", "a column of chat messages needs data.train.chat: true"),
    "data.image_key": Here("data.train.image"),
    "data.train_batch_size": Here("train.prompts_per_step"),
    "data.max_prompt_length": Here("train.max_prompt_tokens"),
    "data.max_response_length": Here("train.max_new_tokens"),
    "data.filter_overlong_prompts": Here("data.prompts_too_long", "true: drop"),
    "data.truncation": Here(None, "prompts are never cut: data.prompts_too_long is error or drop"),
    "data.seed": Here("seed"),
    "data.shuffle": Here(None, "every pass over the problems has its own seeded order"),
    "data.apply_chat_template_kwargs": Here("model.chat_template_kwargs"),
    "data.trust_remote_code": Here("model.trust_remote_code"),
    "data.reward_fn_key": Here(None, _REWARD),
    "data.val_batch_size": Here("probes.batch_size"),
    "actor_rollout_ref.model.path": Here("model.path"),
    "actor_rollout_ref.model.trust_remote_code": Here("model.trust_remote_code"),
    "actor_rollout_ref.model.enable_gradient_checkpointing": Here("train.gradient_checkpointing"),
    "actor_rollout_ref.model.lora_rank": Here("model.lora.r", "0: no adapters"),
    "actor_rollout_ref.model.lora_alpha": Here("model.lora.alpha"),
    "actor_rollout_ref.model.target_modules": Here("model.lora.target_modules"),
    "actor_rollout_ref.model.exclude_modules": Here("model.lora.exclude_modules"),
    "actor_rollout_ref.model.use_remove_padding": Here("train.padding_free", "with train.micro_batch_tokens"),
    "actor_rollout_ref.model.override_config": Here("model.config"),
    "actor_rollout_ref.model.custom_chat_template": Here("model.chat_template", "the path of a file"),
    "actor_rollout_ref.actor.ppo_mini_batch_size": Here("train.updates_per_rollout",
                                                        "data.train_batch_size / ppo_mini_batch_size"),
    "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu": Here("train.micro_batch_size"),
    "actor_rollout_ref.actor.ppo_max_token_len_per_gpu": Here("train.micro_batch_tokens", "with use_dynamic_bsz"),
    "actor_rollout_ref.actor.use_dynamic_bsz": Here("train.micro_batch_tokens", "null: not dynamic"),
    "actor_rollout_ref.actor.ppo_epochs": Here("train.epochs_per_rollout"),
    "actor_rollout_ref.actor.shuffle": Here(None, "the order within a rollout batch has no effect on its updates' sum"),
    "actor_rollout_ref.actor.grad_clip": Here("train.max_grad_norm"),
    "actor_rollout_ref.actor.clip_ratio": Here("algorithm.clip_low", "and clip_high"),
    "actor_rollout_ref.actor.clip_ratio_low": Here("algorithm.clip_low"),
    "actor_rollout_ref.actor.clip_ratio_high": Here("algorithm.clip_high"),
    "actor_rollout_ref.actor.clip_ratio_c": Here("algorithm.dual_clip"),
    "actor_rollout_ref.actor.loss_agg_mode": Here("algorithm.aggregation"),
    "actor_rollout_ref.actor.entropy_coeff": Here("algorithm.entropy_coef"),
    "actor_rollout_ref.actor.use_kl_loss": Here("algorithm.kl_loss_coef", "false: 0"),
    "actor_rollout_ref.actor.kl_loss_coef": Here("algorithm.kl_loss_coef"),
    "actor_rollout_ref.actor.kl_loss_type": Here("algorithm.kl_loss_kind", "kl: k1, mse: k2, low_var_kl: k3"),
    "actor_rollout_ref.actor.optim.lr": Here("train.learning_rate"),
    "actor_rollout_ref.actor.optim.lr_warmup_steps": Here("train.warmup_steps"),
    "actor_rollout_ref.actor.optim.lr_warmup_steps_ratio": Here("train.warmup_steps", "as a share of train.steps"),
    "actor_rollout_ref.actor.optim.lr_scheduler_type": Here("train.lr_schedule"),
    "actor_rollout_ref.actor.optim.warmup_style": Here("train.lr_schedule"),
    "actor_rollout_ref.actor.optim.weight_decay": Here("train.weight_decay"),
    "actor_rollout_ref.actor.optim.betas": Here("train.adam_beta1", "and adam_beta2"),
    "actor_rollout_ref.actor.policy_loss.loss_mode": Here("algorithm.name", "gspo, clip_cov and kl_cov are algorithms"),
    "actor_rollout_ref.rollout.n": Here("train.group_size"),
    "actor_rollout_ref.rollout.name": Here("train.vllm", "vllm; hf: null; sglang has no counterpart"),
    "actor_rollout_ref.rollout.temperature": Here("train.temperature"),
    "actor_rollout_ref.rollout.top_p": Here(None, "1: rollouts of a cut distribution would bend the policy gradient"),
    "actor_rollout_ref.rollout.top_k": Here(None, "off: rollouts of a cut distribution would bend the policy gradient"),
    "actor_rollout_ref.rollout.gpu_memory_utilization": Here("train.vllm.gpu_memory_utilization"),
    "actor_rollout_ref.rollout.tensor_model_parallel_size": Here("train.vllm.tensor_parallel_size"),
    "actor_rollout_ref.rollout.max_model_len": Here("train.vllm.max_model_length"),
    "actor_rollout_ref.rollout.free_cache_engine": Here("train.vllm.enable_sleep_mode"),
    "actor_rollout_ref.rollout.val_kwargs.temperature": Here("probes.temperature"),
    "actor_rollout_ref.rollout.val_kwargs.top_p": Here("probes.top_p"),
    "actor_rollout_ref.rollout.val_kwargs.top_k": Here(None, "probes cut by top_p alone"),
    "actor_rollout_ref.rollout.val_kwargs.do_sample": Here(None, "probes always sample: pass@k needs it"),
    "actor_rollout_ref.rollout.val_kwargs.n": Here("probes.plan", "a plan decides how many samples a problem gets"),
    "critic.optim.lr": Here("algorithm.critic_learning_rate"),
    "critic.cliprange_value": Here("algorithm.value_clip"),
    "critic.model.path": Here(None, "the critic begins as a copy of the policy"),
    "algorithm.adv_estimator": Here("algorithm.name", "gae: ppo, reinforce_plus_plus: reinforce_pp, grpo_passk: passk"),
    "algorithm.gamma": Here("algorithm.gamma", "of ppo and reinforce_pp"),
    "algorithm.lam": Here("algorithm.lam", "of ppo"),
    "algorithm.use_kl_in_reward": Here("algorithm.kl_coef", "false: 0"),
    "algorithm.kl_ctrl.kl_coef": Here("algorithm.kl_coef"),
    "algorithm.norm_adv_by_std_in_grpo": Here("algorithm.scale_by_std"),
    "algorithm.filter_groups.enable": Here("algorithm.name", "true: dapo, whose dynamic sampling is on"),
    "algorithm.filter_groups.max_num_gen_batches": Here("algorithm.max_num_gen_batches", "of dapo"),
    "algorithm.filter_groups.metric": Here(None, "the accuracy decides"),
    "reward_model.overlong_buffer.enable": Here("algorithm.overlong_buffer", "of dapo; false: 0"),
    "reward_model.overlong_buffer.len": Here("algorithm.overlong_buffer", "of dapo"),
    "reward_model.overlong_buffer.penalty_factor": Here("algorithm.overlong_penalty", "of dapo"),
    "trainer.total_training_steps": Here("train.steps"),
    "trainer.total_epochs": Here("train.steps", "steps = epochs x problems / train.prompts_per_step"),
    "trainer.save_freq": Here("train.save_every"),
    "trainer.test_freq": Here("probes.every"),
    "trainer.val_before_train": Here(None, "the base is always probed"),
    "trainer.max_actor_ckpt_to_keep": Here("train.keep_checkpoints"),
    "trainer.default_local_dir": Here("run_dir"),
    "trainer.experiment_name": Here("name"),
    "trainer.project_name": Here("tracking.project"),
    "trainer.logger": Here("tracking.wandb", "run directory and report hold everything anyway"),
    "trainer.critic_warmup": Here("algorithm.critic_pretraining_steps", "of ppo"),
    "trainer.resume_mode": Here(None, "start the run again with --resume"),
    "trainer.n_gpus_per_node": Here(None, _LAUNCH),
    "trainer.nnodes": Here(None, _LAUNCH),
    "trainer.device": Here(None, _LAUNCH),
}
"""Dotted settings -> their counterparts."""

FAMILIES = {
    "actor_rollout_ref.actor.fsdp_config": _LAUNCH, "actor_rollout_ref.ref": _LAUNCH,
    "critic.model.fsdp_config": _LAUNCH,
    "actor_rollout_ref.actor.ulysses_sequence_parallel_size": "sequences are not split over GPUs",
    "actor_rollout_ref.actor.strategy": _LAUNCH, "critic.strategy": _LAUNCH, "critic": "the critic shares the policy's",
    "actor_rollout_ref.rollout": _ENGINE, "reward_model": _REWARD, "custom_reward_function": _REWARD, "ray_init":
    "there is no Ray", "ray_kwargs": "there is no Ray", "trainer.val": _PROBES, "trainer.log_val_generations": _PROBES,
    "actor_rollout_ref.actor.checkpoint": "checkpoints hold model and optimizer; see train.save_only_model",
}
"""Beginnings of dotted settings that have no counterpart -> why."""


def verl_counterpart(name: str) -> Here:
    """The counterpart of a dotted setting, also of one that the tables do not hold."""
    bare = name.lstrip("+~")
    if bare in VERL:
        return VERL[bare]
    if bare.startswith("actor_rollout_ref.model.override_config."):
        return Here(f"model.config.{bare.removeprefix('actor_rollout_ref.model.override_config.')}")
    reason = next((why for start, why in FAMILIES.items() if bare == start or bare.startswith(f"{start}.")), None)
    return Here(None, reason or "not known here")
