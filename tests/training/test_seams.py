"""The private names of TRL, transformers and PEFT that the trainer uses: all are listed, and all still exist."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path

import pytest
from trl.trainer.grpo_trainer import GRPOTrainer

from rlvr.algorithms.grpo import GRPO, GRPOConfig
from rlvr.lab.model import build_tokenizer
from rlvr.training.prompt_stream import PromptStream
from rlvr.training.seams import OTHERS, SEAMS, TRAINER_ATTRIBUTES, TRAINER_METHODS
from rlvr.training.trainer import RLVRTrainer
from tests.support.tiny import ParityJudge, config, tiny_model, train_problems

ROOT = Path(__file__).parents[2]
FILES = sorted([*(ROOT / "rlvr/training").glob("*.py"), ROOT / "rlvr/models/vllm_sampler.py",
                ROOT / "rlvr/probes/world.py"])


@pytest.mark.parametrize("name", TRAINER_METHODS)
def test_trl_still_has_the_method(name: str) -> None:
    # An upgrade of TRL that renames a method would otherwise leave our override uncalled, in silence.
    assert callable(getattr(GRPOTrainer, name, None)), f"trl.GRPOTrainer.{name} is gone"


def test_trl_still_has_the_attributes(tmp_path: Path) -> None:
    trainer = RLVRTrainer(
        tiny_model(), algorithm=GRPO(GRPOConfig()), problems=train_problems(), judge=ParityJudge(),
        args=config(tmp_path), processing_class=build_tokenizer(),
    )
    assert [name for name in TRAINER_ATTRIBUTES if not hasattr(trainer, name)] == []


@pytest.mark.parametrize("owner", OTHERS)
def test_other_libraries_still_have_the_names(owner: str) -> None:
    module, name = owner.split(":")
    source = inspect.getsource(getattr(importlib.import_module(module), name))
    assert [attribute for attribute in OTHERS[owner] if attribute not in source] == []


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("_calculate_rewards", ["inputs", "prompts", "completions", "completion_ids_list"]),
        ("_generate_and_score_completions", ["inputs"]),
        ("_prepare_inputs", ["generation_batch"]),
        ("_compute_loss", ["model", "inputs"]),
        ("_generate_single_turn", ["prompt_ids", "images", "multimodal_fields", "num_generations", "has_tool_images"]),
        ("_tokenize_prompts", ["prompts"]),
        ("_generate", ["prompts"]),
    ],
)
def test_trl_methods_take_what_we_pass(name: str, parameters: list[str]) -> None:
    assert list(inspect.signature(getattr(GRPOTrainer, name)).parameters)[1:] == parameters


def test_every_trl_method_the_trainer_overrides_is_listed() -> None:
    overridden = {name for name, value in vars(RLVRTrainer).items()
                  if callable(value) and hasattr(GRPOTrainer, name) and name[:2] != "__"}
    assert overridden <= SEAMS


def test_the_trainer_hides_no_attribute_of_trl(tmp_path: Path) -> None:
    # Else TRL would read our value under its own name.
    plain = GRPOTrainer(
        tiny_model(), lambda completions, **_: [0.0] * len(completions), args=config(tmp_path),
        train_dataset=PromptStream(train_problems(), prompts_per_step=4, seed=0).dataset(12),
        processing_class=build_tokenizer(),
    )
    ours = {node.attr for node in ast.walk(ast.parse((ROOT / "rlvr/training/trainer.py").read_text()))
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
            and isinstance(node.value, ast.Name) and node.value.id == "self"}
    assert ours & vars(plain).keys() == {"rollout_func", "_buffered_inputs"}  # wrapped and cut further on purpose


def private_names(path: Path) -> set[str]:
    """Private attributes that a file reads or sets of objects it does not define: all but those that one of its own
    classes or its module defines."""
    tree = ast.parse(path.read_text())
    modules = {alias.asname or alias.name for node in ast.walk(tree) if isinstance(node, ast.Import)
               for alias in node.names}
    own, used = set[str](), set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            own.add(node.name)
        if not isinstance(node, ast.Attribute) or node.attr[0] != "_" or node.attr[:2] == "__":
            continue
        if node.attr in ("_asdict", "_replace") or (isinstance(node.value, ast.Name) and node.value.id in modules):
            continue  # documented in spite of the underscore, as os._exit is
        used.add(node.attr)
        if isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name) and node.value.id == "self":
            own.add(node.attr)
    return used - own | (used & SEAMS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_private_name_in_use_is_listed(path: Path) -> None:
    assert private_names(path) <= SEAMS


def test_the_list_holds_nothing_else() -> None:
    overridden = {name for name in vars(RLVRTrainer) if hasattr(GRPOTrainer, name)}
    assert SEAMS - set().union(*map(private_names, FILES)) - overridden == set()


def test_only_the_training_room_uses_them() -> None:
    others = [path for path in (ROOT / "rlvr").rglob("*.py") if path not in FILES]
    own = {"_save", "_generate", "_step", "_metrics"}  # words that a class of ours may well use for itself
    assert {str(path): used for path in others if (used := private_names(path) & SEAMS - own)} == {}
