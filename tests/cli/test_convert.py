"""`rlvr convert`: every setting of TRL or verl is in the recipe or in the list of those without a counterpart.

Run: python -m pytest tests/cli/test_convert.py
"""

from __future__ import annotations

import copy
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from rlvr.cli import convert_trl, convert_verl
from rlvr.cli.convert import Converted, settings_of
from rlvr.cli.convert_trl import from_trl
from rlvr.cli.convert_verl import from_verl
from rlvr.cli.main import main
from rlvr.cli.new_recipe import checked
from rlvr.config.data import DataSpec
from rlvr.config.foreign_keys import TRL
from rlvr.config.recipe import load_recipe
from rlvr.config.verl_keys import VERL
from rlvr.types import UserError

ACTOR, ROLLOUT = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"


def seen(found: Converted) -> tuple[Any, Any]:
    return copy.deepcopy(found.tree), sorted(name for name, _, _ in found.left_out)


def test_a_file_of_trl_as_a_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """4 processes x 4 rows x 8 micro-batches = 128 rollouts an update: 8 prompts of 16."""
    (tmp_path / "trl.yaml").write_text(
        "{learning_rate: 2e-6, per_device_train_batch_size: 4, gradient_accumulation_steps: 8, num_generations: 16, "
        "max_steps: 400, num_iterations: 2, beta: 0.04, epsilon_high: 0.28, loss_type: grpo, scale_rewards: none, "
        "use_vllm: true, top_k: 20, adam_epsilon: 1e-6, use_peft: true, lora_r: 8, use_dora: true, load_in_4bit: true, "
        "reward_funcs: [accuracy_reward], "
        "model_name_or_path: Qwen/Qwen2.5-7B, dataset_name: openai/gsm8k, save_steps: 100, use_vllm: false}")
    out = tmp_path / "mine.yaml"
    assert main(["convert", "trl", str(tmp_path / "trl.yaml"), "--processes", "4", "-o", str(out)]) == 0
    recipe = load_recipe(out)
    train = recipe.train
    assert (train.prompts_per_step, train.group_size, train.updates_per_rollout, train.steps) == (8, 16, 1, 400)
    assert (train.learning_rate, train.epochs_per_rollout, train.trl) == (2e-6, 2, {"adam_epsilon": 1e-6})
    assert (train.lr_schedule, train.weight_decay, train.max_new_tokens) == ("linear", 0.0, 512)  # TRL's defaults
    assert recipe.algorithm == {
        "name": "grpo", "std_eps": 1e-4, "clip_low": 0.2, "clip_high": 0.28, "kl_loss_coef": 0.04,
        "aggregation": "seq-mean-token-mean", "scale_by_std": False}
    assert recipe.model.lora is not None and (recipe.model.lora.r, recipe.model.lora.dora) == (8, True)
    assert recipe.model.quantization == "4bit" and train.vllm is None
    said = capsys.readouterr().err
    data = recipe.data.train
    assert isinstance(data, DataSpec) and (data.prompt, data.gold) == ("prompt", "solution")
    assert "data.train.prompt and data.train.gold: the columns that TRL" in " ".join(out.read_text().split("\n#    "))
    assert said.count("\n") == 3
    assert "reward_funcs = ['accuracy_reward']: a reward of right and wrong is a verifier" in said
    assert "top_k = 20: the rollouts would come from another distribution" in said
    assert main(["convert", "trl", str(tmp_path / "trl.yaml"), "-o", str(out)]) == 2
    assert "mine.yaml is there already and is left as it is" in capsys.readouterr().err


def test_overrides_of_verl_as_a_recipe(tmp_path: Path) -> None:
    """1,024 prompts in updates of 256: four updates per rollout batch, so 20 batches between saves are 80 updates."""
    script = tmp_path / "run.sh"
    script.write_text(
        "# a comment\npython3 -m verl.trainer.main_ppo algorithm.adv_estimator=gae \\\n"
        f"  data.train_batch_size=1024 {ACTOR}.ppo_mini_batch_size=256 {ROLLOUT}.n=4 trainer.save_freq=20 \\\n"
        f"  {ACTOR}.optim.betas='[0.9,0.95]' critic.optim.lr=2e-5 critic.strategy=fsdp {ACTOR}.kl_loss_coef=0.1 \\\n"
        "  +actor_rollout_ref.model.override_config.max_position_embeddings=99 trainer.test_freq=-1 $@\n")
    found = from_verl(settings_of([str(script), "trainer.total_training_steps=50", f"{ROLLOUT}.name=hf"]))
    found.fill()
    recipe = checked(found.tree)
    assert recipe.algorithm == {"name": "ppo", "critic_learning_rate": 2e-5, "clip_low": 0.2, "clip_high": 0.2,
                                "dual_clip": 3.0}
    train = recipe.train
    assert (train.steps, train.save_every, train.updates_per_rollout, train.group_size) == (200, 80, 4, 4)
    assert (train.adam_beta2, recipe.model.config, recipe.probes.every) == (0.95, {"max_position_embeddings": 99}, 48)
    assert [name for name, _, _ in found.left_out] == ["critic.strategy", f"{ACTOR}.kl_loss_coef"]


VALUES: dict[str, Any] = {
    "per_device_train_batch_size": 16, "num_generations": 4, "data.train_batch_size": 1024, f"{ROLLOUT}.n": 4,
    "generation_batch_size": 64, "steps_per_generation": 4, "gradient_accumulation_steps": 4, "epsilon": 0.3,
    "epsilon_high": 0.4, "loss_type": "dr_grpo", "scale_rewards": "batch", "beta": 0.1, "use_vllm": True,
    "report_to": "mlflow", "max_steps": 7, "num_train_epochs": 2, "lr_scheduler_type": "polynomial",
    "optim": "adafactor", "output_dir": "x", "vllm_server_host": "h", "vllm_server_port": 1,
    "importance_sampling_level": "sequence",
    "save_strategy": "epoch", "logging_strategy": "epoch", "model_init_kwargs": {"a": 1}, "warmup_steps": 3,
    "save_total_limit": 5, "vllm_importance_sampling_correction": False,
    f"{ACTOR}.ppo_mini_batch_size": 512, f"{ACTOR}.clip_ratio": 0.3, f"{ACTOR}.clip_ratio_low": 0.1,
    f"{ACTOR}.clip_ratio_high": 0.4, f"{ACTOR}.ppo_max_token_len_per_gpu": 99, f"{ACTOR}.kl_loss_coef": 0.1,
    f"{ACTOR}.kl_loss_type": "mse", f"{ACTOR}.optim.betas": [0.8, 0.9], f"{ACTOR}.optim.lr_warmup_steps": 3,
    f"{ACTOR}.optim.lr_warmup_steps_ratio": 0.5, f"{ACTOR}.policy_loss.loss_mode": "gspo",
    "algorithm.adv_estimator": "grpo", "algorithm.kl_ctrl.kl_coef": 0.1, f"{ROLLOUT}.name": "sglang",
    "trainer.total_epochs": 3, "trainer.logger": 5, "trainer.max_actor_ckpt_to_keep": 4, "data.truncation": "left",
    "actor_rollout_ref.model.lora_rank": 8, f"{ROLLOUT}.val_kwargs.n": 8, "data.train_files": "a.parquet",
    "data.val_files": "b.parquet", "data.val_batch_size": 8, f"{ROLLOUT}.top_p": 0.9, f"{ROLLOUT}.top_k": 50,
    "num_iterations": 2, f"{ACTOR}.ppo_epochs": 2,
    "trainer.n_gpus_per_node": 8, "trainer.nnodes": 2, "trainer.critic_warmup": 5, "trainer.experiment_name": "n",
}
"""A value that is not the default, of the settings that are converted by rules; of the others: true."""


@pytest.mark.parametrize("name", sorted(convert_trl.BY_HAND | convert_trl.SCRIPT.keys() | TRL.keys()))
def test_no_setting_of_trl_is_dropped_in_silence(name: str) -> None:
    if name == "use_adaptive_entropy":
        assert seen(from_trl({name: True}, 1)) != seen(from_trl({}, 1))
        return
    base = {"num_generations": 8, "max_steps": 10}
    value = VALUES.get(name, name != "gradient_checkpointing")  # which is on in TRL
    before, after = from_trl(base, 1), from_trl(base | {name: value}, 1)
    assert seen(before) != seen(after), name


@pytest.mark.parametrize("name", sorted(convert_verl.BY_HAND | VERL.keys()))
def test_no_setting_of_verl_is_dropped_in_silence(name: str) -> None:
    base = {"trainer.total_training_steps": 10, "data.train_batch_size": 512, f"{ACTOR}.ppo_mini_batch_size": 256}
    value = VALUES.get(name, 20 if name.endswith("_steps") else True)
    before, after = from_verl(base), from_verl(base | {name: value})
    assert seen(before) != seen(after), name


ODD: list[Any] = [[1], {"a": 1}, [], "", "x", True, -1, 0, 2.5, float("inf"), float("nan")]


@pytest.mark.parametrize("value", ODD, ids=repr)
def test_a_value_of_another_type_is_converted_or_refused_in_a_line(value: Any) -> None:
    """Bug: a list as `loss_type`, a word as a batch size or 0 accumulation steps ended in a traceback."""
    refused = set()
    for name in convert_trl.BY_HAND | convert_trl.SCRIPT.keys() | TRL.keys():
        for base in ({}, {"use_vllm": True, "use_peft": True}):
            with suppress(UserError):
                from_trl(base | {name: value}, 1).fill()
                continue
            refused.add(name)
    whole: dict[str, Any] = {f"{ACTOR}.use_kl_loss": True, "algorithm.use_kl_in_reward": True}
    for name in convert_verl.BY_HAND | VERL.keys():
        for base in ({}, whole):
            with suppress(UserError):
                from_verl(base | {name: value}).fill()
                continue
            refused.add(name)
    assert {"num_generations", "data.train_batch_size"} <= refused


@pytest.mark.parametrize(("words", "message"), [
    (["nothing.yaml"], "found 'nothing.yaml', expected a file or key=value"),
    (["per_device_train_batch_size=3"], "a generation batch of 3 rollouts does not divide into groups of 8"),
])
def test_what_cannot_be_converted(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_trl(settings_of(words), 1)
