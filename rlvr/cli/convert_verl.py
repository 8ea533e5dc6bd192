"""Hydra settings of verl's PPO trainer as a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlvr.cli.convert import Converted, check_types
from rlvr.config.verl_keys import VERL, verl_counterpart
from rlvr.types import UserError

ALGORITHMS: dict[str, dict[str, Any]] = {
    "gae": {"name": "ppo"}, "grpo": {"name": "grpo"}, "rloo": {"name": "rloo"}, "remax": {"name": "remax"},
    "reinforce_plus_plus": {"name": "reinforce_pp", "variant": "base"},
    "reinforce_plus_plus_baseline": {"name": "reinforce_pp", "variant": "baseline"}, "grpo_passk": {"name": "passk"},
}
LOSSES = {"gspo": "gspo", "clip_cov": "clip_cov", "kl_cov": "kl_cov"}
KINDS = {"kl": "k1", "k1": "k1", "mse": "k2", "k2": "k2", "low_var_kl": "k3", "k3": "k3"}
ACTOR, ROLLOUT = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"
BY_HAND = {
    f"{ACTOR}.ppo_mini_batch_size", f"{ACTOR}.clip_ratio", f"{ACTOR}.clip_ratio_low", f"{ACTOR}.clip_ratio_high",
    f"{ACTOR}.use_dynamic_bsz", f"{ACTOR}.ppo_max_token_len_per_gpu", f"{ACTOR}.use_kl_loss", f"{ACTOR}.kl_loss_coef",
    f"{ACTOR}.kl_loss_type", f"{ACTOR}.optim.lr_warmup_steps_ratio", f"{ACTOR}.optim.betas",
    f"{ACTOR}.optim.lr_warmup_steps", f"{ACTOR}.policy_loss.loss_mode", "algorithm.adv_estimator",
    "algorithm.filter_groups.enable", "algorithm.use_kl_in_reward", "algorithm.kl_ctrl.kl_coef", f"{ROLLOUT}.name",
    "reward_model.overlong_buffer.enable", "trainer.total_epochs", "trainer.logger", "trainer.max_actor_ckpt_to_keep",
    "data.filter_overlong_prompts", "data.truncation", "actor_rollout_ref.model.lora_rank",
    "actor_rollout_ref.model.use_remove_padding", f"{ROLLOUT}.val_kwargs.n", "data.train_files", "data.val_files",
    "data.val_batch_size", f"{ROLLOUT}.top_p", f"{ROLLOUT}.top_k", "trainer.n_gpus_per_node", "trainer.nnodes",
    "trainer.critic_warmup", "trainer.experiment_name",
}
COUNTS = {f"{ACTOR}.ppo_epochs", f"{ACTOR}.ppo_mini_batch_size", "data.train_batch_size", f"{ROLLOUT}.n"}
NUMBERS = {f"{ACTOR}.optim.lr_warmup_steps", f"{ACTOR}.optim.lr_warmup_steps_ratio", "trainer.max_actor_ckpt_to_keep"}
NAMES = {"algorithm.adv_estimator", f"{ACTOR}.policy_loss.loss_mode", f"{ACTOR}.kl_loss_type"}


def from_verl(given: Mapping[str, Any]) -> Converted:
    """The recipe's settings. Raises UserError for batch sizes that do not divide, and for a value of another type."""
    check_types(given, counts=COUNTS, numbers=NUMBERS, names=NAMES)
    found = Converted()
    _algorithm(found, given)
    engine = given.get(f"{ROLLOUT}.name", "vllm") == "vllm"
    for name, value in given.items():
        if name in BY_HAND or value is None:
            continue
        here = verl_counterpart(name)
        key = here.key or ""
        if here.key is None or (key.startswith("train.vllm") and not engine) or (
                key.startswith("model.lora") and not given.get("actor_rollout_ref.model.lora_rank")):
            found.left_out.append((name, value, here.note))
        elif key.startswith("algorithm.") and not _known(found, key):
            found.left_out.append((name, value, f"{found.get('algorithm.name')} has no such setting"))
        else:
            found.set(key, value)
    _data(found, given)
    _batch(found, given)
    _loss(found, given)
    _rest(found, given, engine=engine)
    return found


def _known(found: Converted, key: str) -> bool:
    """Whether the algorithm has this setting."""
    import dataclasses

    from rlvr.config.registry import resolve

    config = resolve("algorithms", found.get("algorithm.name")).Config
    return key.split(".")[1] in {field.name for field in dataclasses.fields(config)}


def _algorithm(found: Converted, given: Mapping[str, Any]) -> None:
    name, loss = given.get("algorithm.adv_estimator", "gae"), given.get(f"{ACTOR}.policy_loss.loss_mode", "vanilla")
    found.tree["algorithm"] = dict(ALGORITHMS.get(name, {"name": "grpo"}))
    if name not in ALGORITHMS:
        found.left_out.append(("algorithm.adv_estimator", name, "no algorithm here; grpo in its place"))
    if given.get("algorithm.filter_groups.enable"):
        found.tree["algorithm"] = {"name": "dapo"}
    if loss in LOSSES:
        found.tree["algorithm"] = {"name": LOSSES[loss]}
    elif loss != "vanilla":
        found.left_out.append((f"{ACTOR}.policy_loss.loss_mode", loss, "no algorithm here has this loss"))


def _data(found: Converted, given: Mapping[str, Any]) -> None:
    for part, name in (("train", "data.train_files"), ("probe", "data.val_files")):
        files = given.get(name)
        files = files if isinstance(files, list) else [files] if files else []
        if len(files) > 1:
            found.left_out.append((name, files[1:], "a source is one file"))
        if files:
            prompt = given.get("data.prompt_key", "prompt")
            # verl's rows hold chat messages, and the answer in reward_model.ground_truth.
            found.set(f"data.{part}.source", files[0])
            found.set(f"data.{part}.prompt", prompt)
            found.set(f"data.{part}.chat", True)
            found.chosen.append(f"data.{part}.gold: answer; verl's rows have it in reward_model.ground_truth: write it "
                                "into a column of its own")
    if given.get("data.filter_overlong_prompts"):
        found.set("data.prompts_too_long", "drop")


def _batch(found: Converted, given: Mapping[str, Any]) -> None:
    prompts = given.get("data.train_batch_size", 1024)
    mini = given.get(f"{ACTOR}.ppo_mini_batch_size", 256)
    if prompts % mini:
        raise UserError(f"found {prompts}, expected a multiple of ppo_mini_batch_size ({mini})",
                        where="data.train_batch_size")
    found.set("train.prompts_per_step", prompts)
    found.set("train.updates_per_rollout", prompts // mini)
    found.set("train.group_size", given.get(f"{ROLLOUT}.n", 1))
    found.set("train.max_prompt_tokens", given.get("data.max_prompt_length", 512))
    found.set("train.max_new_tokens", given.get("data.max_response_length", 512))
    if given.get(f"{ACTOR}.use_dynamic_bsz"):
        found.set("train.micro_batch_tokens", given.get(f"{ACTOR}.ppo_max_token_len_per_gpu", 16384))
        if given.get("actor_rollout_ref.model.use_remove_padding"):
            found.set("train.padding_free", True)
    for name in (f"{ACTOR}.ppo_max_token_len_per_gpu", "actor_rollout_ref.model.use_remove_padding"):
        if given.get(name) and not given.get(f"{ACTOR}.use_dynamic_bsz"):
            found.left_out.append((name, given[name], "goes with use_dynamic_bsz, as train.micro_batch_tokens"))
    # verl counts rollout batches, a recipe counts updates.
    updates = prompts // mini * given.get(f"{ACTOR}.ppo_epochs", 1)
    for key in ("train.steps", "train.save_every", "probes.every"):
        count = found.get(key)
        if isinstance(count, int) and count > 0:
            found.set(key, count * updates)
        elif count is not None:  # -1: never
            section, name = key.split(".")
            found.tree[section].pop(name)
    if "trainer.total_epochs" in given:
        name = "trainer.total_epochs"
        found.left_out.append((name, given[name], VERL[name].note))


def _loss(found: Converted, given: Mapping[str, Any]) -> None:
    both = given.get(f"{ACTOR}.clip_ratio", 0.2)
    dual = given.get(f"{ACTOR}.clip_ratio_c", 3.0)
    for key, value in (("clip_low", given.get(f"{ACTOR}.clip_ratio_low", both)),
                       ("clip_high", given.get(f"{ACTOR}.clip_ratio_high", both)), ("dual_clip", dual)):
        if _known(found, f"algorithm.{key}"):
            found.set(f"algorithm.{key}", value)
    if given.get(f"{ACTOR}.use_kl_loss"):
        found.set("algorithm.kl_loss_coef", given.get(f"{ACTOR}.kl_loss_coef", 0.001))
        kind = given.get(f"{ACTOR}.kl_loss_type", "low_var_kl")
        if kind in KINDS:
            found.set("algorithm.kl_loss_kind", KINDS[kind])
        else:
            found.left_out.append((f"{ACTOR}.kl_loss_type", kind, "k1, k2 or k3"))
    if given.get("algorithm.use_kl_in_reward"):
        if _known(found, "algorithm.kl_coef"):
            found.set("algorithm.kl_coef", given.get("algorithm.kl_ctrl.kl_coef", 0.001))
        else:
            found.left_out.append(("algorithm.use_kl_in_reward", True,
                                   f"{found.get('algorithm.name')} takes a KL in the loss alone: kl_loss_coef"))
    if not given.get("reward_model.overlong_buffer.enable"):
        found.tree["algorithm"].pop("overlong_buffer", None)
    elif found.get("algorithm.overlong_buffer") is None:
        found.left_out.append(("reward_model.overlong_buffer.enable", True, "dapo has it, with a length"))
    if given.get("trainer.critic_warmup"):
        key = "algorithm.critic_pretraining_steps"
        if _known(found, key):
            found.set(key, given["trainer.critic_warmup"])
        else:
            found.left_out.append(("trainer.critic_warmup", given["trainer.critic_warmup"], "of ppo"))


def _rest(found: Converted, given: Mapping[str, Any], *, engine: bool) -> None:
    warmup = given.get(f"{ACTOR}.optim.lr_warmup_steps", -1)
    share = given.get(f"{ACTOR}.optim.lr_warmup_steps_ratio", 0.0)
    found.set("train.warmup_steps", max(int(warmup), int(share * found.get("train.steps", 0)), 0))
    if isinstance(betas := given.get(f"{ACTOR}.optim.betas"), list) and len(betas) == 2:
        found.set("train.adam_beta1", betas[0])
        found.set("train.adam_beta2", betas[1])
    if rank := given.get("actor_rollout_ref.model.lora_rank"):
        found.set("model.lora.r", rank)
    if "trainer.max_actor_ckpt_to_keep" in given:
        found.set("train.keep_checkpoints", max(2, given["trainer.max_actor_ckpt_to_keep"] or 2))
    if name := given.get("trainer.experiment_name"):
        found.set("name", "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in str(name)))
    if engine:
        found.tree["train"].setdefault("vllm", {}).setdefault("mode", "colocate")
    elif given.get(f"{ROLLOUT}.name") != "hf":
        found.left_out.append((f"{ROLLOUT}.name", given[f"{ROLLOUT}.name"], VERL[f"{ROLLOUT}.name"].note))
    for name, off in ((f"{ROLLOUT}.top_p", 1), (f"{ROLLOUT}.top_k", -1)):
        if given.get(name, off) not in (off, 0 if name.endswith("k") else off):
            found.left_out.append((name, given[name], VERL[name].note))
    if given.get("algorithm.kl_ctrl.kl_coef") and not given.get("algorithm.use_kl_in_reward"):
        found.left_out.append(("algorithm.kl_ctrl.kl_coef", given["algorithm.kl_ctrl.kl_coef"],
                               "use_kl_in_reward is not set"))
    for name in (f"{ACTOR}.kl_loss_coef", f"{ACTOR}.kl_loss_type"):
        if name in given and not given.get(f"{ACTOR}.use_kl_loss"):
            found.left_out.append((name, given[name], "use_kl_loss is not set"))
    for name in (f"{ROLLOUT}.val_kwargs.n", "data.val_batch_size", "trainer.n_gpus_per_node", "trainer.nnodes"):
        if name in given:
            found.left_out.append((name, given[name], VERL[name].note or "probes.batch_size is completions per batch"))
    if given.get("data.truncation", "error") != "error":
        found.left_out.append(("data.truncation", given["data.truncation"], VERL["data.truncation"].note))
    if not isinstance(given.get("trainer.logger", "wandb"), str | list):
        found.left_out.append(("trainer.logger", given["trainer.logger"], VERL["trainer.logger"].note))
