"""Recipes: what is refused and in which words, overrides, round trip, batch arithmetic.

Run: `pytest tests/config/test_recipe.py`.
"""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any, Literal

import pytest

from rlvr.config.algorithm import algorithm_config, build_algorithm
from rlvr.config.comparison import load_comparison
from rlvr.config.overrides import apply_overrides
from rlvr.config.recipe import SHIPPED, Recipe, load_recipe, resolved
from rlvr.config.sections import JudgeSection
from rlvr.config.steps import StepPlan, plan_of_steps
from rlvr.config.strict import from_dict, to_tree
from rlvr.config.yaml_text import parse_yaml
from rlvr.types import Decoding, UserError

MINIMAL = """
name: tiny
model: {path: lab}
data:
  train: {source: lab, split: train, size: 64}
  probe: {source: lab, split: test, size: 16}
algorithm: {name: grpo}
train: {steps: 4, prompts_per_step: 8, group_size: 4, micro_batch_size: 16, max_new_tokens: 18, save_every: 2}
probes: {every: 2, max_new_tokens: 18}
"""


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str = MINIMAL) -> Path:
        path = tmp_path / "tiny.yaml"
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return path

    return write


def error(*overrides: str, path: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_recipe(path, overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_minimal_recipe_gets_the_papers_defaults(write):
    """Names the bug: a default that drifts from the published comparison (256 x 8, one update, lr 1e-6, T=1)."""
    recipe = load_recipe(write(), ["train.prompts_per_step=256", "train.group_size=8", "data.train.size=256"])
    assert (recipe.train.learning_rate, recipe.train.lr_schedule, recipe.train.temperature) == (1e-6, "constant", 1.0)
    assert (recipe.train.weight_decay, recipe.train.adam_beta2, recipe.train.max_grad_norm) == (0.01, 0.999, 1.0)
    assert (recipe.train.updates_per_rollout, recipe.train.truncated) == (1, "as_is")
    assert recipe.train.rollout_correction is None
    assert recipe.probe_decoding == Decoding(temperature=0.6, top_p=0.95, max_new_tokens=18)
    assert recipe.probes.ks == (1, 2, 4, 8, 16, 32, 64, 128, 256)
    defaults = dataclasses.replace(load_recipe(write()).train, prompts_per_step=256, group_size=8)
    assert defaults == recipe.train


def test_resolved_recipe_is_json_and_reads_back_the_same(write):
    recipe = load_recipe(write(), ["model.lora.r=4", "tracking.tags=[a, b]", "algorithm.std_eps=1e-6"])
    tree = json.loads(json.dumps(resolved(recipe), allow_nan=False))
    assert tree["model"]["lora"] == {"r": 4, "alpha": 32.0, "dropout": 0.0, "target_modules": "all-linear",
                                     "exclude_modules": [], "modules_to_save": [], "dora": False, "rslora": False}
    assert tree["judge"] == {"workers": 2, "timeout": 10.0, "packages": []}
    assert tree["algorithm"] == {"name": "grpo", "std_eps": 1e-6}
    assert from_dict(Recipe, tree) == recipe


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*/*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_recipe_loads(path: Path):
    compared = path.parent.name == "compare"
    for recipe in [run.recipe for run in load_comparison(path)] if compared else [load_recipe(path)]:
        assert from_dict(Recipe, resolved(recipe)) == recipe
        build_algorithm(recipe)
    header = re.match(r"(#.*\n)*", path.read_text(encoding="utf-8"))
    for word in ("command", "hardware", "time", "expect"):
        assert header and word in header[0].lower(), f"{path}: the comment at its top does not say {word!r}"


def test_quickstart_is_the_measured_lab_setting():
    recipe = load_recipe("recipes/quickstart/lab_grpo.yaml")
    assert plan_of_steps(recipe.train, 1) == StepPlan(
        rollouts=512, rollouts_per_process=512, micro_batch_rows=256, gradient_accumulation=2, rollout_batches=100,
        total_rollouts=51200, max_tokens=51200 * 18)
    assert recipe.probe_decoding == Decoding(temperature=1.0, top_p=1.0, max_new_tokens=18)


# ------------------------------------------------------------------------------------------------ refused files


@pytest.mark.parametrize(("text", "fragments"), [
    ("name: a\nname: b\n", ["line 2: key 'name' again, first given in line 1", "remove one"]),
    ("train: {steps: 1, steps: 2}", ["key 'steps' again"]),
    ("name: [a", ["line 1, column 9: not valid YAML"]),
    ("", ["found no keys", "expected a recipe with name"]),
    ("- a", ["found no keys"]),
    ("name: a", ["model (a section with the keys path, ", "probes", ": missing", "the recipe has to set it"]),
    ("1: a", ["1: unknown key"]),
])
def test_broken_files(write, text, fragments):
    message = error(path=write(text))
    assert "tiny.yaml: " in message
    for fragment in fragments:
        assert fragment in message


def test_merge_keys_are_not_duplicates(write):
    """`<<: *anchor` beside a key that overrides it is YAML's way to share a section, not a mistake."""
    text = MINIMAL.replace("train: {source: lab, split: train, size: 64}",
                           "train: &lab {source: lab, split: train, size: 64}").replace(
        "probe: {source: lab, split: test, size: 16}", "probe: {<<: *lab, split: test}")
    probe = load_recipe(write(text)).data.probe_set
    assert (probe.split, probe.size) == ("test", 64)


@pytest.mark.parametrize(("old", "new", "fragments"), [
    ("micro_batch_size", "micro_batchsize",
     ["train.micro_batchsize: unknown key; did you mean 'micro_batch_size'?", "(known: ", " more)"]),
    ("probes:", "probs:", ["tiny.yaml: probs: unknown key; did you mean 'probes'?"]),
    ("steps: 4,", "steps: 4.0,", ["train.steps: found 4.0 (number), expected a whole number"]),
    ("steps: 4,", "steps: true,", ["train.steps: found true (true/false), expected a whole number"]),
    ("steps: 4,", "steps: '4',", ["train.steps: found '4' (text), expected a whole number"]),
    ("steps: 4,", "", ["train.steps (a whole number): missing"]),
    ("steps: 4,", "steps: 4, learning_rate: 1e-6,",
     ["train.learning_rate: found '1e-6' (text), expected a number; YAML reads 1e-6 as text, write 1.0e-6"]),
    ("steps: 4,", "steps: 4, learning_rate: 2.5e4,", ["YAML reads 2.5e4 as text, write 2.5e+4"]),
    ("steps: 4,", "steps: 4, learning_rate: .nan,", ["train.learning_rate: found nan, expected a finite number"]),
    ("steps: 4,", "steps: 4, learning_rate: true,", ["found true (true/false), expected a number"]),
    ("steps: 4,", "steps: 4, bf16: 1,", ["train.bf16: found 1 (whole number), expected true or false"]),
    ("steps: 4,", "steps: 4, truncated: wrog,",
     ["train.truncated: found 'wrog' (text), expected one of as_is, wrong, mask; did you mean 'wrong'?"]),
    ("{path: lab}", "{path: lab, revision: 2024}",
     ["model.revision: found 2024 (whole number), expected text or null; put the value in quotes"]),
    ("{path: lab}", "{path: lab, lora: 8}",
     ["model.lora: found 8 (whole number), expected a section with the keys r, alpha"]),
    ("{path: lab}", "{path: lab, lora: {rank: 8}}", ["model.lora.rank: unknown key"]),
    ("{path: lab}", "{path: null}", ["model.path: found null, expected text"]),
    ("{every: 2", "{every: 2, ks: [1, two]", ["probes.ks[1]: found 'two' (text), expected a whole number"]),
    ("{every: 2", "{every: 2, ks: 4", ["probes.ks: found 4 (whole number), expected a list, each a whole number"]),
    ("{name: grpo}", "grpo", ["algorithm: found 'grpo' (text), expected a section"]),
    ("{name: grpo}", "{name: grpo, since: 2024-01-01}", ["algorithm.since: found datetime.date(2024, 1, 1) (date)"]),
    ("{name: grpo}", "{name: grpo, on: 1}",
     ["algorithm: found the key true (true/false), expected text; put it in quotes"]),
])
def test_wrong_keys_and_types(write, old, new, fragments):
    assert old in MINIMAL
    message = error(path=write(MINIMAL.replace(old, new)))
    for fragment in fragments:
        assert fragment in message


def test_whole_numbers_are_numbers(write):
    """`learning_rate: 1` is a number, and it is stored as one kind so that recipes compare equal."""
    recipe = load_recipe(write(MINIMAL.replace("steps: 4,", "steps: 4, max_grad_norm: 1,")))
    assert isinstance(recipe.train.max_grad_norm, float) and recipe == load_recipe(write())


# ------------------------------------------------------------------------------------------------ overrides


@pytest.mark.parametrize(("override", "read", "value"), [
    ("train.learning_rate=1e-6", lambda r: r.train.learning_rate, 1e-6),
    ("train.max_grad_norm=2", lambda r: r.train.max_grad_norm, 2.0),
    ("train.bf16=true", lambda r: r.train.bf16, True),
    ("name=007", lambda r: r.name, "007"),
    ("name='a.b'", lambda r: r.name, "a.b"),
    ("model.revision=1e5", lambda r: r.model.revision, "1e5"),
    ("model.revision=null", lambda r: r.model.revision, None),
    ("model.revision='null'", lambda r: r.model.revision, "null"),
    ("model.lora.r=8", lambda r: (r.model.lora.r, r.model.lora.alpha), (8, 32.0)),
    ("model.lora={r: 2, alpha: 1e1}", lambda r: (r.model.lora.r, r.model.lora.alpha), (2, 10.0)),
    ("model.lora.target_modules=[q_proj, v_proj]", lambda r: r.model.lora.target_modules, ("q_proj", "v_proj")),
    ("model.lora.target_modules=q_proj", lambda r: r.model.lora.target_modules, "q_proj"),
    ("probes.ks=[1,256]", lambda r: r.probes.ks, (1, 256)),
    ("algorithm.std_eps=1e-5", lambda r: r.algorithm, {"name": "grpo", "std_eps": 1e-5}),
    ("algorithm.a={b: [1e-3]}", lambda r: r.algorithm["a"], {"b": [1e-3]}),
    ("run_dir=out/x={name}", lambda r: r.run_dir, "out/x={name}"),
    ("tracking.wandb=disabled", lambda r: r.tracking.wandb, "disabled"),
])
def test_overrides_take_the_type_of_their_field(write, override, read, value):
    assert read(load_recipe(write(), [override])) == value


def test_text_fields_keep_text_that_looks_like_yaml(write):
    """A prompt such as `Q: {prompt}` is YAML for a mapping; a text field takes it as it stands."""
    text = MINIMAL.replace("train: {source: lab, split: train, size: 64}", "train: {source: x.jsonl}")
    recipe = load_recipe(write(text), ["data.train.template=Q: {prompt} [A]:"])
    assert recipe.data.train_set.template == "Q: {prompt} [A]:"


def test_the_later_override_wins(write):
    assert load_recipe(write(), ["seed=1", "seed=2"]).seed == 2


@pytest.mark.parametrize(("override", "fragment"), [
    ("train.steps", "override 'train.steps': expected key=value with a dotted key"),
    ("=3", "override '=3': expected key=value"),
    ("train..steps=3", "expected key=value"),
    ("train.steps.x=3", "override 'train.steps.x=3': train.steps is 4 (whole number), not a section"),
    ("train.lerning_rate=1e-5", "command line: train.lerning_rate: unknown key; did you mean 'learning_rate'?"),
    ("trian.steps=4", "command line: trian: unknown key; did you mean 'train'?"),
    ("train.steps=1e30", "command line: train.steps: found 1e+30 (number), expected a whole number, at least 1 and at "
                         "most 1000000000"),
    ("seed=1e30", "seed: found 1e+30 (number), expected a whole number, 0 <= seed < 2**32"),
    ("train.learning_rate=1e9", "found 1000000000.0 (number), expected a number of at least 0 and at most 1"),
    ("train.weight_decay=20", "found 20 (whole number), expected a number of at least 0 and at most 1"),
    ("train.steps=1e3", "command line: train.steps: found 1000.0 (number), expected a whole number"),
    ("train.steps=", "command line: train.steps: found null, expected a whole number"),
    ("tracking.wandb=off", "command line: tracking.wandb: found 'off' (text), expected one of auto, online, offline"),
    ("probes.ks=[1", "command line: probes.ks: line 1, column 3: not valid YAML"),
    ("model.lora={r: x}", "command line: model.lora.r: found 'x' (text), expected a whole number"),
])
def test_wrong_overrides(write, override, fragment):
    assert fragment in error(override, path=write())


@pytest.mark.parametrize(("override", "fragment"), [
    ("train.num_generations=8", "train.num_generations: unknown key; did you mean 'train.group_size'? (known: "),
    ("train.per_device_train_batch_size=8", "did you mean 'train.micro_batch_size'?"),
    ("train.max_completion_length=8", "did you mean 'train.max_new_tokens'?"),
    ("train.beta=0.1", "did you mean 'algorithm.kl_loss_coef'?"),
    ("beta=0.1", "did you mean 'algorithm.kl_loss_coef'?"),
    ("train.clip_high=0.28", "did you mean 'algorithm.clip_high'?"),
    ("train.lr=1e-5", "did you mean 'train.learning_rate'?"),
    ("output_dir=x", "did you mean 'run_dir'?"),
    ("probes.group_size=4", "probes.group_size: unknown key; did you mean 'train.group_size'? (known: "),
    ("train.ks=[1]", "did you mean 'probes.ks'?"),
    ("train.run_dir=x", "did you mean 'run_dir'?"),
    ("train.system=x", "did you mean 'data.probe.system' or 'data.train.system'?"),
    ("judge.zzzzzz=1", "judge.zzzzzz: unknown key (known: workers, timeout, packages)"),
])
def test_a_misplaced_key_or_one_of_another_trainer_is_pointed_to_its_place(write, override, fragment):
    message = error(override, path=write())
    assert fragment in message and ";;" not in message and "; (" not in message


@pytest.mark.parametrize(("override", "fragment"), [
    ("algorithm.beta=0.1", "algorithm.beta: unknown key; did you mean 'algorithm.kl_loss_coef'?"),
    ("algorithm.epsilon=0.1", "did you mean 'algorithm.clip_low'?"),
    ("algorithm.group_size=4", "did you mean 'train.group_size'?"),
    ("algorithm.num_generations=4", "did you mean 'train.group_size'?"),
])
def test_keys_of_the_algorithm_too(write, override, fragment):
    with pytest.raises(UserError) as caught:
        algorithm_config(load_recipe(write(), [override]))
    assert fragment in str(caught.value)


# ------------------------------------------------------------------------------------------------ values


@pytest.mark.parametrize(("override", "fragment"), [
    ("name=a/b", "name: found 'a/b' (text), expected letters, digits"),
    ("seed=-1", "seed: found -1 (whole number), expected 0 <= seed < 2**32"),
    ("algorithm={}", "algorithm.name: found null, expected a name, as in grpo"),
    ("run_dir=x/{host}", "run_dir: found 'x/{host}', expected a path with no other braces than {name}"),
    ("model.lora.dropout=1", "model.lora.dropout: found 1 (whole number), expected a share in [0, 1)"),
    ("train.group_size=0", "train.group_size: found 0 (whole number), expected at least 1"),
    ("train.updates_per_rollout=0", "train.updates_per_rollout: found 0 (whole number), expected at least 1"),
    ("train.learning_rate=-1e-6", "train.learning_rate: found -1e-06 (number), expected a number of at least 0"),
    ("train.adam_beta2=1", "train.adam_beta2: found 1 (whole number), expected a number in [0, 1)"),
    ("train.warmup_steps=5", "train.warmup_steps: found 5 (whole number), expected 0 to train.steps (4)"),
    ("train.temperature=0", "train.temperature: found 0 (whole number), expected 0.001 to 1000: greedy rollouts"),
    ("train.keep_checkpoints=1", "train.keep_checkpoints: found 1 (whole number), expected at least 2: a kill"),
    ("train.updates_per_rollout=3", "train.steps: found 4, expected a multiple of train.updates_per_rollout (3)"),
    ("train.padding_free=true", "train.padding_free: found true (true/false), expected false without train.micro_b"),
    ("train.micro_batch_tokens=0", "train.micro_batch_tokens: found 0 (whole number), expected at least 1"),
    ("train.epochs_per_rollout=3", "train.steps: found 4, expected a multiple of train.updates_per_rollout x "
     "train.epochs_per_rollout (3)"),
    ("train.top_k=20", "train.top_k: unknown key: the rollouts would come from another distribution"),
    ("probes.min_p=0.1", "probes.min_p: unknown key: probes sample by temperature and top_p"),
    ("train.num_iterations=2", "train.num_iterations: unknown key; did you mean 'train.epochs_per_rollout'?"),
    ("train.trl={beta: 0.1}", "train.trl.beta: rlvr decides this field itself (rloo, reinforce_pp and ppo also take "
     "kl_coef, in the reward); set algorithm.kl_loss_coef"),
    ("train.trl.top_k=20", "train.trl.top_k: rlvr decides this field itself (the rollouts would come from another"),
    ("model.quantization=4bit", "model.quantization: found '4bit' (text), expected null without model.lora: quantized"),
    ("data.train.size=7", "data.train.size: found 7, expected at least train.prompts_per_step (8)"),
    ("train.vllm.mode=server", "train.vllm.server_base_url: found null, expected a URL with train.vllm.mode"),
    ("train.vllm.gpu_memory_utilization=1.5", "train.vllm.gpu_memory_utilization: found 1.5 (number), expected"),
    ("train.vllm.max_model_length=1000",
     "train.vllm.max_model_length: found 1000 (whole number), expected at least 1042: train.max_prompt_tokens and"),
    ("train.rollout_correction.cap=2", "train.rollout_correction: found 'token_truncate' (text), expected null"),
    ("probes.temperature=0", "probes.temperature: found 0 (whole number), expected 0.001 to 1000: greedy samples"),
    ("probes.top_p=0", "probes.top_p: found 0 (whole number), expected a number in (0, 1]"),
    ("probes.top_p=1.5", "probes.top_p: found 1.5 (number), expected a number in (0, 1]"),
    ("probes.ks=[]", "probes.ks: found [] (list), expected whole numbers from 1 on, rising"),
    ("probes.ks=[0, 1]", "probes.ks[0]: found 0 (whole number), expected at least 1"),
    ("probes.ks=[4, 2]", "probes.ks: found [4, 2] (list)"),
    ("probes.ks=[1, 512]", "probes.ks: found k = 512, expected at most 256: probes.plan 'balanced' draws no more"),
    ("probes.plan=balnced", "probes.plan: unknown plan 'balnced'; did you mean 'balanced'?"),
    ("probes.base_plan=none", "probes.base_plan: unknown plan 'none' (known: "),
    ("judge.workers=0", "judge.workers: found 0 (whole number), expected at least 1"),
    ("judge.timeout=0", "judge.timeout: found 0 (whole number), expected a number above 0"),
    ("data.probe.size=0", "data.probe.size: found 0 (whole number), expected at least 1, or null"),
    ("data.probe.skip=-1", "data.probe.skip: found -1 (whole number), expected at least 0"),
    ("data.probe.seed=-1", "data.probe.seed: found -1 (whole number), expected 0 to 4000, or null"),
    ("data.probe.template=x", "data.probe.template: found 'x', but the source 'lab' is"),
])
def test_wrong_values(write, override, fragment):
    assert fragment in error(override, path=write())


def test_vllm_decides_by_itself_how_many_rollouts_it_generates(write):
    message = error("train.vllm={}", "train.rollout_batch_tokens=9", path=write())
    assert "train.rollout_batch_tokens: found 9 (whole number), expected null with train.vllm" in message


def test_the_engine_would_load_another_model_than_the_one_in_training(write):
    assert "model.config: found {'vocab_size': 108} (section), expected none with train.vllm, whose engine" in error(
        "train.vllm={}", "model.config={vocab_size: 108}", path=write())
    assert "model.quantization: found '8bit' (text), expected none with train.vllm" in error(
        "train.vllm={}", "model.lora={}", "model.quantization=8bit", path=write())


@pytest.mark.parametrize("key", ["train.save_every", "probes.every"])
def test_saves_and_probes_fall_between_rollout_batches(write, key):
    fine = ["train.updates_per_rollout=2", "train.micro_batch_size=8"]
    load_recipe(write(), fine)
    message = error(*fine, f"{key}=3", path=write())
    assert f"{key}: found 3, expected a multiple of train.updates_per_rollout (2)" in message


def test_missing_file_lists_what_there_is(tmp_path: Path):
    message = error(path=tmp_path / "no.yaml")
    assert "no recipe file" in message and "recipes/quickstart/lab_grpo.yaml" in message
    message = error(path=Path("recipes/quickstart/lab_grop.yaml"))
    assert "did you mean 'recipes/quickstart/lab_grpo.yaml'?" in message


def test_shipped_recipes_are_found_from_any_directory(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_recipe("recipes/quickstart/lab_grpo.yaml") == load_recipe("quickstart/lab_grpo.yaml")


def test_run_path_fills_in_its_fields(write):
    recipe = load_recipe(write(), ["run_dir=runs/{name}-{algorithm}/{seed}", "seed=7"])
    assert recipe.run_path == Path("runs/tiny-grpo/7")


# ------------------------------------------------------------------------------------------------ arithmetic


def test_several_passes_over_a_rollout_batch_leave_fewer_of_them(write):
    recipe = load_recipe(write(), ["train.updates_per_rollout=2", "train.epochs_per_rollout=2",
                                   "train.micro_batch_size=8", "train.save_every=4", "probes.every=4"])
    plan = plan_of_steps(recipe.train, 1)
    assert (plan.rollout_batches, plan.total_rollouts, plan.gradient_accumulation) == (1, 32, 2)  # 4 steps / (2 x 2)


@pytest.mark.parametrize(("world", "updates", "micro", "accumulation"), [
    (1, 1, 16, 2),  # 8 x 4 = 32 rollouts / 16
    (2, 1, 16, 1),
    (2, 2, 4, 2),  # 32 / 2 processes / 2 updates = 8 = 2 x 4
    (8, 1, 4, 1),
])
def test_plan_of_steps(write, world, updates, micro, accumulation):
    recipe = load_recipe(write(), [f"train.updates_per_rollout={updates}", f"train.micro_batch_size={micro}"])
    plan = plan_of_steps(recipe.train, world)
    assert plan.gradient_accumulation == accumulation
    assert (plan.rollouts, plan.rollouts_per_process) == (32, 32 // world)
    assert (plan.rollout_batches, plan.total_rollouts) == (4 // updates, 32 * 4 // updates)
    assert plan.gradient_accumulation * micro * world * updates == plan.rollouts


def test_with_a_budget_of_tokens_trl_sees_one_micro_batch_per_update(write):
    recipe = load_recipe(write(), ["train.micro_batch_tokens=64", "train.micro_batch_size=5",
                                   "train.updates_per_rollout=2"])
    plan = plan_of_steps(recipe.train, 2)  # 8 x 4 rollouts over 2 processes and 2 updates
    assert (plan.micro_batch_rows, plan.gradient_accumulation) == (8, 1)


def test_plan_of_steps_refuses_what_does_not_divide(write):
    recipe = load_recipe(write())
    with pytest.raises(UserError, match=r"train.prompts_per_step: found 8, expected a multiple of the 3 processes"):
        plan_of_steps(recipe.train, 3)
    with pytest.raises(UserError, match=r"train.micro_batch_size: found 16, expected a divisor of 8: 8 prompts x 4"):
        plan_of_steps(recipe.train, 4)


# ------------------------------------------------------------------------------------------------ algorithms


def test_algorithm_config_is_as_strict_as_the_recipe(write):
    config = algorithm_config(load_recipe(write(), ["algorithm.std_eps=1e-3"]))
    assert config.std_eps == 1e-3
    with pytest.raises(UserError, match=r"algorithm.std_epss: unknown key; did you mean 'std_eps'"):
        algorithm_config(load_recipe(write(), ["algorithm.std_epss=1e-3"]))
    with pytest.raises(UserError, match=r"algorithm.std_eps: found 'small'"):
        algorithm_config(load_recipe(write(), ["algorithm.std_eps=small"]))
    for setting, expected in (  # bug: a negative std_eps was taken, and turned every advantage around
        ("algorithm.std_eps=-1", "std_eps: found -1 .*, expected a number of at least 0"),
        ("algorithm.clip_low=-0.1", "clip_low: found -0.1 .*, expected a number of at least 0"),
        ("algorithm.kl_loss_coef=-1", "kl_loss_coef: found -1 .*, expected a number of at least 0"),
        ("algorithm.dual_clip=0.5", "dual_clip: found 0.5 .*, expected a number above 1, or null"),
        ("algorithm={name: ppo, lam: 1.5}", "lam: found 1.5 .* of at least 0 and at most 1"),
        ("algorithm={name: difficulty, easy: 0.0}", "easy: found 0.0 .* above 0"),
        ("algorithm={name: boundary_gate, k: 0}", "k: found 0 .* at least 1 and at most 1000000"),
        ("algorithm={name: boundary_gate, prior_wrong: -1}", "prior_wrong: found -1 .* above 0 and at most 1000000"),
    ):
        with pytest.raises(UserError, match=rf"algorithm\.{expected}$"):
            algorithm_config(load_recipe(write(), [setting]))
    with pytest.raises(UserError, match=r"keep_checkpoints: found 1000000001 .* and at most 1000000000"):
        load_recipe(write(), ["train.keep_checkpoints=1000000001"])
    with pytest.raises(UserError, match="unknown name 'gropo' in algorithms: did you mean 'grpo'"):
        algorithm_config(load_recipe(write(), ["algorithm.name=gropo"]))
    with pytest.raises(UserError, match=r"'collections:OrderedDict' is not an algorithm: expected a subclass"):
        algorithm_config(load_recipe(write(), ["algorithm.name=collections:OrderedDict"]))


def test_group_size_must_suit_the_algorithm(write):
    recipe = load_recipe(write(), ["train.group_size=1", "train.micro_batch_size=8"])
    with pytest.raises(UserError, match=r"train.group_size: found 1, expected at least 2 for algorithm 'grpo'"):
        build_algorithm(recipe)


# ------------------------------------------------------------------------------------------------ the loader


@dataclasses.dataclass(frozen=True)
class Inner:
    mode: Literal["on", "off"] = "on"
    numbers: tuple[float, ...] = ()
    weights: dict[str, float] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.numbers) > 2:
            raise ValueError("at most two numbers")


@dataclasses.dataclass(frozen=True)
class Outer:
    inner: Inner | None = None
    either: int | str = 0
    anything: Any = None


def test_loader_on_nested_types():
    tree = parse_yaml("{inner: {mode: 'off', numbers: [1, 2.5], weights: {a: 1}}, either: x, anything: [{b: null}]}")
    outer = from_dict(Outer, tree)
    assert outer == Outer(Inner("off", (1.0, 2.5), {"a": 1.0}), "x", [{"b": None}])
    assert to_tree(outer) == {"inner": {"mode": "off", "numbers": [1.0, 2.5], "weights": {"a": 1.0}}, "either": "x",
                              "anything": [{"b": None}]}
    assert from_dict(Outer, to_tree(outer)) == outer


@pytest.mark.parametrize(("text", "fragment"), [
    ("{inner: {mode: off}}", "inner.mode: found false (true/false), expected one of on, off; put the value in quotes"),
    ("{inner: {numbers: [1, 2, 3]}}", "inner: at most two numbers"),
    ("{inner: {weights: {a: x}}}", "inner.weights.a: found 'x' (text), expected a number"),
    ("{either: 1.5}", "either: found 1.5 (number), expected a whole number or text; put the value in quotes"),
    ("{anything: [.inf]}", "anything[0]: found inf, expected a finite number"),
])
def test_loader_errors(text, fragment):
    with pytest.raises(UserError) as caught:
        from_dict(Outer, parse_yaml(text))
    assert fragment in str(caught.value)


def test_overrides_make_missing_sections():
    assert from_dict(Outer, apply_overrides({"inner": None}, ["inner.numbers=[1e1]"])).inner == Inner(numbers=(10.0,))


def test_importing_the_recipe_is_light():
    """`rlvr --help` and the report must not wait for torch."""
    code = ("import sys, rlvr.config.recipe, rlvr.runs.run_dir, rlvr.data; "
            "rlvr.config.recipe.load_recipe('quickstart/lab_grpo.yaml'); "
            "print([m for m in ('torch', 'transformers', 'trl', 'datasets', 'pyarrow', 'wandb') if m in sys.modules])")
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("cores", "ranks", "workers", "expected"), [
    (16, None, 4, 4), (16, "2", 32, 8), (16, "8", 2, 2), (2, "2", 2, 1), (2, "4", 2, 1)])
def test_judges_of_one_machine_share_its_cores(
    monkeypatch: pytest.MonkeyPatch, cores: int, ranks: str | None, workers: int, expected: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(cores)))
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    if ranks is not None:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", ranks)
    assert JudgeSection(workers, 3.0).options() == {"workers": expected, "timeout": 3.0}
