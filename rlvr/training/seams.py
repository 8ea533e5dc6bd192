"""Every private name of TRL, transformers, PEFT and torch's distributed parts that this package uses.

They may change in any release. `tests/training/test_seams.py` fails with the name of what moved, and also when code
uses a private name that is not listed here. Only files of `rlvr/training` use them,
and two others that the test names.
"""

from __future__ import annotations

TRAINER_METHODS = (
    "_calculate_rewards",
    "_clip_grad_norm",
    "_compute_loss",
    "_generate",
    "_generate_and_score_completions",
    "_generate_single_turn",
    "_get_per_token_logps_and_entropies",
    "_load_from_checkpoint",
    "_load_optimizer_and_scheduler",
    "_prepare_inputs",
    "_save",
    "_save_checkpoint",
    "_tokenize_prompts",
    "create_optimizer",
    "create_scheduler",
    "log",
    "training_step",
)
"""Methods of `trl.GRPOTrainer`, or of the Trainer below it, that ours overrides or calls. The public ones are here
because it overrides them."""
TRAINER_ATTRIBUTES = ("_buffered_inputs", "_is_vlm", "_metrics", "_step")
"""What its instances hold."""
OTHERS = {
    "trl.trainer.grpo_trainer:GRPOTrainer": ("_last_loaded_step",),
    "trl.generation.vllm_generation:VLLMGeneration": (
        "_dist", "_fix_param_name_to_vllm", "_iter_named_params", "_llm_weights_sleeping"),
    "transformers:PreTrainedModel": ("_is_stateful",),
    "transformers:PreTrainedConfig": ("_attn_implementation", "_name_or_path"),
    "torch.distributed:distributed_c10d": ("_get_default_store",),
    "torch.distributed.fsdp._fully_shard:_fully_shard": ("_get_fsdp_state",),
    "torch.distributed.fsdp._fully_shard._fsdp_state:FSDPState": ("_lazy_init", "_fsdp_param_groups"),
    "deepspeed.runtime.zero.stage3:DeepSpeedZeroOptimizer_Stage3": ("_z3_optimizer",),
    "peft.tuners.tuners_utils:BaseTunerLayer": ("_active_adapter",),
}
SEAMS = frozenset({*TRAINER_METHODS, *TRAINER_ATTRIBUTES, *(name for names in OTHERS.values() for name in names)})
