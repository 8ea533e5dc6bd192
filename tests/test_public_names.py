"""What code outside this repository imports: the names of `rlvr`, and the paths of before the rooms."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import rlvr
from rlvr.config.registry import resolve, resolve_reader
from rlvr.types import UserError

PUBLIC = {
    "Problem", "Completion", "Verdict", "Reason", "Decoding", "Counts", "Estimate", "UserError", "Algorithm",
    "Verifier", "Sampler", "Judge", "SamplingPlan", "pass_at_k", "BoundaryProbeCallback", "RLVRTrainer", "load_recipe",
    "check_algorithm",
}
OLD = """
    from rlvr.registry import resolve, resolve_reader, names
    from rlvr.loss import policy_loss, value_loss, kl_estimate, aggregate
    from rlvr.probes.pass_at_k import pass_at_k
    from rlvr.probes.plan import PLANS, SamplingPlan
    from rlvr.probes.statistics import population_ci
    from rlvr.judge import Judge
    from rlvr.trainer import RLVRTrainer
    from rlvr.algorithm_checks import check_algorithm
    from rlvr.run_dir import RunDir, read_jsonl, append_jsonl
    from rlvr.recipe import load_recipe, Recipe, ModelSpec, TrainSection, ProbeSection, build_algorithm, SHIPPED
    from rlvr.samplers import TransformersSampler, prompt_ids, pick_tokens, uniforms
    from rlvr.critic import attach_critic, explained_variance
    from rlvr.data import DataSpec, load_problems, problem_set_hash, check_overlap, jsonl_rows
    from rlvr.data.spec import LAB
    from rlvr.golds import usable
    from rlvr.audit import run_audit
    from rlvr.presets import PRESETS
    from rlvr.tracking import GLOSSARY, WandbRun, ProgressLine, MetricsCallback
    from rlvr.compare import load_comparison, run_all
    from rlvr.lab.distill import distill
    from rlvr.report.comparison import write_comparison, comparison_summary
    from rlvr.report.standings import equal_tokens
"""
"""Documented paths, and some of each kind of move: a module, one split in several, names of a package."""
NEW = """
    from rlvr.interfaces import Algorithm, Verifier, RolloutBatch, Credit, Sampler
    from rlvr.types import Problem, Verdict
    from rlvr.probes.callback import BoundaryProbeCallback
"""
"""Documented paths that did not move."""


def imports(text: str) -> list[tuple[str, str]]:
    return [(module, name.strip()) for line in text.split("from ")[1:]
            for module, _, names in [line.partition(" import ")] for name in names.split(",")]


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_a_public_name_is_what_its_module_defines(name: str) -> None:
    found = getattr(rlvr, name)
    assert found is getattr(importlib.import_module(found.__module__), name) and found.__module__.startswith("rlvr.")


def test_the_lists_of_public_names_agree() -> None:
    """`__all__`, the lazy table and what type checkers read."""
    tree = ast.parse(Path(rlvr.__file__ or "").read_text())
    (typed,) = [node for node in tree.body if isinstance(node, ast.If)]
    for_checkers = {(node.module, alias.name) for node in typed.body if isinstance(node, ast.ImportFrom)
                    for alias in node.names}
    assert set(rlvr.__all__) == PUBLIC <= set(dir(rlvr))
    assert for_checkers == {(module, name) for name, module in rlvr._PLACES.items()}


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'rlvr' has no attribute 'Judgement'"):
        _ = rlvr.Judgement
    with pytest.raises(ImportError, match=r"rlvr\.nothing"):
        importlib.import_module("rlvr.nothing")


@pytest.mark.parametrize("code", [
    "import rlvr; rlvr.UserError; rlvr.Problem",
    "import rlvr.judge, rlvr.trainer, rlvr.probes.plan",  # an old path loads nothing before a name is asked for
])
def test_import_rlvr_is_light(code: str) -> None:
    code += "; import sys; assert not {'torch', 'wandb', 'transformers', 'numpy'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(("module", "name"), imports(OLD), ids=lambda word: word)
def test_an_old_path_gives_the_same_object_and_names_the_new_place(module: str, name: str) -> None:
    with pytest.warns(DeprecationWarning, match=rf"^{module}.{name} is now rlvr\.") as caught:
        found = getattr(importlib.import_module(module), name)
    place = str(caught[-1].message).rpartition(" ")[2].rpartition(".")
    assert found is getattr(importlib.import_module(place[0]), place[2]) and caught[-1].filename == __file__


@pytest.mark.parametrize(("module", "name"), imports(NEW), ids=lambda word: word)
def test_a_path_that_stayed_is_told_nothing(module: str, name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        assert getattr(importlib.import_module(module), name)


def test_a_statement_with_an_old_path_warns_where_it_stands() -> None:
    with pytest.warns(DeprecationWarning, match="now rlvr.judging.judge.Judge") as caught:
        exec("from rlvr.judge import Judge")
    assert caught[0].filename == "<string>"


def test_an_old_module_without_the_name_says_where_to_look() -> None:
    with pytest.raises(AttributeError, match=r"'rlvr.judge' has no attribute 'Jugde'. Moved to rlvr.judging.judge"):
        _ = importlib.import_module("rlvr.judge").Jugde


def test_a_recipe_may_name_a_class_by_its_old_place() -> None:
    assert resolve("verifiers", "rlvr.audit:Audit") is importlib.import_module("rlvr.judging.audit").Audit
    found = resolve_reader("rlvr.rewards._code_rows:code_r1")
    assert found is importlib.import_module("rlvr.rewards.programs.code_rows").code_r1
    with pytest.raises(UserError, match="has no 'code_r2'"):
        resolve_reader("rlvr.rewards._code_rows:code_r2")
