"""What the settings of TRL and of verl are called here, or why there is no such setting.

One table serves the errors about unknown keys, the fields that `train.trl` refuses, `rlvr convert` and the page *Coming
from TRL or verl*.
"""

from __future__ import annotations

from typing import NamedTuple


class Here(NamedTuple):
    """The counterpart of a foreign setting."""

    key: str | None
    """Dotted key of a recipe; None: there is none."""
    note: str = ""
    """How it differs; with no key, why there is none."""


_LOSS = "the loss is rlvr's; an algorithm of your own may compute any other (`rlvr list`, docs: Algorithms)"
_LAUNCH = "belongs to the launcher: choose a file of launch/accelerate"
_PROBES = "probes measure, see the section `probes`"
_STREAM = "the prompt stream is laid out by seed, so that a resumed run draws the same prompts"
_POLICY = ("the rollouts would come from another distribution than the one whose log-probabilities the gradient uses, "
           "which bends the policy gradient; shape what is sampled by train.temperature alone")
_SAMPLER = "rollouts are drawn by a seeded sampler with settings of its own; train.vllm samples faster"
_TRACKING = "see the section `tracking`"

TRL: dict[str, Here] = {
    "output_dir": Here("run_dir", "checkpoints are in it, under checkpoints/"),
    "run_name": Here("name"),
    "seed": Here("seed"),
    "data_seed": Here("seed"),
    "max_steps": Here("train.steps"),
    "num_train_epochs": Here("train.steps", "steps = epochs x problems / train.prompts_per_step"),
    "per_device_train_batch_size": Here("train.micro_batch_size"),
    "gradient_accumulation_steps": Here("train.prompts_per_step",
                                        "follows from prompts_per_step, group_size, micro_batch_size and processes"),
    "generation_batch_size": Here("train.prompts_per_step", "generation_batch_size / num_generations"),
    "steps_per_generation": Here("train.updates_per_rollout",
                                 "steps_per_generation / gradient_accumulation_steps"),
    "num_iterations": Here("train.epochs_per_rollout"),
    "num_generations": Here("train.group_size"),
    "max_completion_length": Here("train.max_new_tokens"),
    "learning_rate": Here("train.learning_rate"),
    "lr_scheduler_type": Here("train.lr_schedule", "constant, linear or cosine"),
    "warmup_steps": Here("train.warmup_steps"),
    "weight_decay": Here("train.weight_decay"),
    "adam_beta1": Here("train.adam_beta1"),
    "adam_beta2": Here("train.adam_beta2"),
    "max_grad_norm": Here("train.max_grad_norm"),
    "optim": Here("train.optim"),
    "gradient_checkpointing": Here("train.gradient_checkpointing"),
    "bf16": Here("train.bf16"),
    "ddp_timeout": Here("train.ddp_timeout"),
    "ddp_find_unused_parameters": Here(None, "always false: every parameter has a gradient"),
    "disable_dropout": Here(None, "always true: with dropout the ratio of an on-policy update would not be 1"),
    "save_steps": Here("train.save_every"),
    "save_total_limit": Here("train.keep_checkpoints"),
    "save_only_model": Here("train.save_only_model"),
    "save_strategy": Here("train.save_every", "always by steps"),
    "enable_jit_checkpoint": Here("train.save_every", "a run saves between rollout batches only"),
    "resume_from_checkpoint": Here(None, "start the run again with --resume"),
    "ignore_data_skip": Here(None, _STREAM),
    "restore_callback_states_from_checkpoint": Here(None, "a run directory keeps what a resumed run needs"),
    "logging_steps": Here("train.log_every"),
    "logging_strategy": Here("train.log_every", "always by steps"),
    "logging_nan_inf_filter": Here(None, "always false: a loss that is not finite stops the run"),
    "disable_tqdm": Here(None, "a run has a progress line of its own"),
    "report_to": Here("tracking.to", "run directory and report hold everything anyway"),
    "project": Here("tracking.project"),
    "trackio_space_id": Here(None, _TRACKING),
    "trackio_bucket_id": Here(None, _TRACKING),
    "trackio_static_space_id": Here(None, _TRACKING),
    "hub_token": Here(None, "a secret does not belong into a recipe, which every run stores; set HF_TOKEN"),
    "model_init_kwargs": Here("model.config", "and dtype, revision, attn_implementation of `model`"),
    "trust_remote_code": Here("model.trust_remote_code"),
    "chat_template_kwargs": Here("model.chat_template_kwargs"),
    "temperature": Here("train.temperature"),
    "top_p": Here(None, _POLICY),
    "top_k": Here(None, _POLICY),
    "min_p": Here(None, _POLICY),
    "repetition_penalty": Here(None, _POLICY),
    "generation_kwargs": Here(None, _POLICY),
    "vllm_structured_outputs_regex": Here(None, _POLICY),
    "cache_implementation": Here(None, _SAMPLER),
    "use_transformers_continuous_batching": Here(None, _SAMPLER),
    "transformers_continuous_batching_config": Here(None, _SAMPLER),
    "use_transformers_paged": Here(None, _SAMPLER),
    "use_vllm": Here("train.vllm"),
    "vllm_mode": Here("train.vllm.mode"),
    "vllm_server_base_url": Here("train.vllm.server_base_url"),
    "vllm_server_host": Here("train.vllm.server_base_url", "as http://host:port"),
    "vllm_server_port": Here("train.vllm.server_base_url", "as http://host:port"),
    "vllm_gpu_memory_utilization": Here("train.vllm.gpu_memory_utilization"),
    "vllm_tensor_parallel_size": Here("train.vllm.tensor_parallel_size"),
    "vllm_max_model_length": Here("train.vllm.max_model_length"),
    "vllm_enable_sleep_mode": Here("train.vllm.enable_sleep_mode"),
    "vllm_importance_sampling_correction": Here("train.rollout_correction"),
    "vllm_importance_sampling_mode": Here("train.rollout_correction.mode"),
    "vllm_importance_sampling_clip_max": Here("train.rollout_correction.cap"),
    "vllm_importance_sampling_cap": Here("train.rollout_correction.cap"),
    "vllm_importance_sampling_clip_min": Here("train.rollout_correction.floor"),
    "beta": Here("algorithm.kl_loss_coef", "rloo, reinforce_pp and ppo also take kl_coef, in the reward"),
    "use_bias_correction_kl": Here(None, _LOSS),
    "epsilon": Here("algorithm.clip_low", "and clip_high, unless epsilon_high is set"),
    "epsilon_high": Here("algorithm.clip_high"),
    "delta": Here("algorithm.dual_clip"),
    "loss_type": Here("algorithm.aggregation", "grpo: seq-mean-token-mean; dapo and bnpo: token-mean; dr_grpo: "
                                               "seq-mean-token-sum-norm; cispo: algorithm.name"),
    "scale_rewards": Here("algorithm.scale_by_std", "group or none; `batch` has no counterpart"),
    "importance_sampling_level": Here("algorithm.name", "`sequence` is gspo"),
    "mask_truncated_completions": Here("train.truncated", "true: mask"),
    "reward_weights": Here("train.rewards", "each term has a weight; the accuracy's is 1"),
    "multi_objective_aggregation": Here("train.rewards", "terms are added, then the algorithm forms its credit"),
    "entropy_coef": Here("algorithm.entropy_coef"),
    "use_adaptive_entropy": Here("algorithm.entropy_target", "a target switches it on"),
    "entropy_target": Here("algorithm.entropy_target"),
    "entropy_coef_delta": Here("algorithm.entropy_step"),
    "entropy_coef_min": Here(None, "0"),
    "entropy_coef_max": Here(None, "no upper bound"),
    "top_entropy_quantile": Here(None, _LOSS),
    "off_policy_mask_threshold": Here(None, _LOSS),
    "sapo_temperature_neg": Here(None, _LOSS),
    "sapo_temperature_pos": Here(None, _LOSS),
    "vespo_k_pos": Here(None, _LOSS),
    "vespo_lambda_pos": Here(None, _LOSS),
    "vespo_k_neg": Here(None, _LOSS),
    "vespo_lambda_neg": Here(None, _LOSS),
    "router_aux_loss_coef": Here(None, _LOSS),
    "label_smoothing_factor": Here(None, _LOSS),
    "average_tokens_across_devices": Here(None, "denominators are exact over micro-batches and processes"),
    "use_liger_kernel": Here(None, "its fused loss would replace rlvr's"),
    "liger_kernel_config": Here(None, "its fused loss would replace rlvr's"),
    "neftune_noise_alpha": Here(None, "noise in the forward pass makes training disagree with sampling"),
    "auto_find_batch_size": Here("train.micro_batch_size", "it has to divide the rollouts of an update"),
    "shuffle_dataset": Here(None, _STREAM),
    "train_sampling_strategy": Here(None, _STREAM),
    "dataloader_drop_last": Here(None, _STREAM),
    "remove_unused_columns": Here(None, "always false: rewards need the columns"),
    "label_names": Here(None, "rollouts have no labels"),
    "length_column_name": Here(None, _STREAM),
    "accelerator_config": Here(None, _LAUNCH),
    "parallelism_config": Here(None, _LAUNCH),
    "fsdp": Here(None, _LAUNCH),
    "fsdp_config": Here(None, _LAUNCH),
    "deepspeed": Here(None, _LAUNCH),
    "use_cpu": Here(None, "a GPU is used where there is one"),
    "dataloader_pin_memory": Here(None, "true on a GPU"),
    "local_rank": Here(None, _LAUNCH),
    "max_tool_calling_iterations": Here(None, "rollouts call no tools"),
    **dict.fromkeys((
        "do_train", "do_eval", "do_predict", "eval_strategy", "eval_steps", "eval_delay", "eval_on_start",
        "per_device_eval_batch_size", "num_generations_eval", "prediction_loss_only", "eval_do_concat_batches",
        "eval_use_gather_object", "eval_accumulation_steps", "include_for_metrics", "batch_eval_metrics",
        "bf16_full_eval", "fp16_full_eval", "load_best_model_at_end", "metric_for_best_model", "greater_is_better",
    ), Here("probes.every", _PROBES)),
}
"""Fields of `trl.GRPOConfig`, those of `transformers.TrainingArguments` included, that a recipe says by a key of its
own or that have no place here. All others pass by `train.trl`."""

UNKNOWN_TO_RECIPES = {name: here.note for name, here in TRL.items() if here.key is None} | {
    "probes.top_k": "probes sample by temperature and top_p, which the exact truth of the lab, the store of base "
                    "measurements and every sampler know; set those",
    "probes.min_p": "probes sample by temperature and top_p, which the exact truth of the lab, the store of base "
                    "measurements and every sampler know; set those",
}
"""Name of a setting, with its section where only there -> why a recipe has none."""
