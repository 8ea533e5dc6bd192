"""A third-party package brings an algorithm by entry point: installed with pip, listed, and trained with.

Run: python -m pytest tests/algorithms/test_plugin.py
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from rlvr.algorithms.checks import check_algorithm
from rlvr.algorithms.ppo import PPOConfig
from rlvr.cli.catalog import details, overview, settings
from rlvr.config.algorithm import algorithm_config
from rlvr.config.recipe import load_recipe
from rlvr.config.registry import BUILT_IN, resolve
from rlvr.interfaces import Algorithm, Credit, LossConfig, LossSpec, Needs, RolloutBatch
from rlvr.runs.run_dir import RunDir
from rlvr.types import UserError
from tests.support import warm
from tests.support.small_run import rows, write_recipe

ROOT = Path(__file__).parents[2]
PYPROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "batch-mean"
version = "1.0"

[project.entry-points."rlvr.algorithms"]
batch_mean = "my_algorithms:BatchMean"
broken = "my_algorithms:NotThere"

[tool.setuptools]
py-modules = ["my_algorithms"]
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package of docs/algorithms.md installed into it."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    page = (ROOT / "docs/algorithms.md").read_text()
    (code,) = [b for b in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "class BatchMean" in b]
    (source / "my_algorithms.py").write_text('"""Batch mean: the plainest baseline."""\n' + code)
    (source / "pyproject.toml").write_text(PYPROJECT)
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target", target,
         source], check=True, capture_output=True, timeout=120,
    )
    return target


def command(site: Path, *arguments: str) -> dict[str, Any]:
    return {"args": [sys.executable, "-m", "rlvr.cli", *arguments], "timeout": 300, "cwd": ROOT,
            "env": {**os.environ, "PYTHONPATH": str(site)}}


def rlvr(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(**command(site, *arguments), capture_output=True, text=True)


def test_an_installed_algorithm_is_listed_beside_a_broken_one(site: Path) -> None:
    done = rlvr(site, "list")
    assert done.returncode == 0, done.stderr
    assert re.search(r"batch_mean +Batch mean: the plainest baseline\.", done.stdout)
    assert re.search(r"broken +\(not usable: 'broken' in algorithms \(my_algorithms:NotThere\) cannot", done.stdout)
    assert all(f"  {name} " in done.stdout for kind in BUILT_IN.values() for name in kind)


def test_an_installed_algorithm_trains(site: Path, tmp_path: Path) -> None:
    start = command(site, "train", *write_recipe(tmp_path, 2), "tracking.wandb=disabled", "algorithm.name=batch_mean",
                    "algorithm.scale=0.5", "train.steps=2")
    done = warm.run(start.pop("args"), **start)
    assert done.returncode == 0, done.stderr
    run = RunDir(tmp_path / "run")
    assert run.read_recipe()["recipe"]["algorithm"] == {"name": "batch_mean", "scale": 0.5}
    assert [row["step"] for row in rows(run.metrics)] == [1, 2]


def test_settings_are_checked_and_explained() -> None:
    @dataclass(frozen=True)
    class Base:
        share: float = 0.5
        """Of the whole,
        in [0, 1]."""

    @dataclass(frozen=True)
    class Config(Base):
        kind: Literal["a", "b"] | None = None
        must: int = field(kw_only=True)
        """Needed."""

    found = [tuple(setting) for setting in settings(resolve("algorithms", "rloo").Config)]  # pyright: ignore
    assert ("kl_coef", "number", "0.0") in [setting[:3] for setting in found]
    assert all(meaning for *_, meaning in found)
    globals().update(Base=Base, Config=Config)
    assert [tuple(s) for s in settings(Config)] == [
        ("share", "number", "0.5", "Of the whole, in [0, 1]."),
        ("kind", "a | b or null", "null", ""),
        ("must", "whole number", "required", "Needed."),
    ]


def test_every_shipped_algorithm_explains_itself() -> None:
    for name in BUILT_IN["algorithms"]:
        text = details(name)
        assert "A" in text and "  clip_low = " in text and re.search(rf"^{name}: .+\.$", text, re.MULTILINE), name
        config = resolve("algorithms", name).Config  # pyright: ignore[reportAttributeAccessIssue]
        assert all(setting.meaning for setting in settings(config)), name
    assert "not usable" not in overview()


def test_no_two_names_share_a_description() -> None:
    """Bug: nsr, psr and w_reinforce, which lie in one file, are all described by its first line."""
    lines = [line for line in overview().splitlines() if line.startswith("  ")]
    abouts = [line.split(maxsplit=1)[1] for line in lines]
    assert len(abouts) == len(set(abouts)) and "psr            PSR: " in overview()


def test_a_name_of_two_kinds_is_shown_for_both() -> None:
    """Bug: `rlvr list math` shows the preset and hides the verifier of that name."""
    text = details("math")
    assert "verifiers  (data.train.verifier: NAME" in text and "Final answers of mathematics" in text
    assert "data presets  (data.train: {preset: NAME}" in text and "source: DigitalLearningGmbH" in text
    assert "the function. Gold" in details("mbpp_plus")  # a reader


@pytest.mark.parametrize(("name", "meant"), [("dappo", "dapo"), ("math50", "math500"), ("countdwn", "countdown")])
def test_a_misspelt_name_is_answered_with_the_nearest(name: str, meant: str) -> None:
    with pytest.raises(UserError, match=f"'{name}' names no algorithm, verifier, .*did you mean '{meant}'") as caught:
        details(name)
    known, _, rest = str(caught.value).partition("(known: ")[2].rstrip(")").partition(" and ")
    assert meant in known.split(", ") and len(known.split(", ")) == 10 and rest.endswith(" more")


def test_a_learning_rate_that_no_critic_can_have() -> None:
    with pytest.raises(UserError, match=r"critic_learning_rate is 1000000000\.0, expected a number from 0 to 1"):
        PPOConfig(critic_learning_rate=1e9)
    assert PPOConfig(critic_learning_rate=1.0).critic_learning_rate == 1.0


@pytest.mark.parametrize("name", ["train", "data.train", "algorithm", "probes"])
def test_a_section_of_a_recipe_is_no_misspelt_name(name: str) -> None:
    """Bug: `rlvr list train` asked whether `think` was meant."""
    with pytest.raises(UserError, match=f"'{name}' is a key of recipes and .*`rlvr schema` prints all keys"):
        details(name)


def test_a_plug_in_without_a_module_docstring_is_shown_once(site: Path) -> None:
    """Its class docstring is both summary and formula, and its Config has none."""
    file = site / "plain_plug_in.py"
    file.write_text((site / "my_algorithms.py").read_text().split("\n", 1)[1])
    done = rlvr(site, "list", "plain_plug_in:BatchMean")
    assert done.stdout.count("A_i = scale * (r_i - mean of the batch)") == 1 and "Config(" not in done.stdout
    assert "  scale = 1.0  (number)" in done.stdout and "  clip_low = 0.2  (number)" in done.stdout


@dataclass(frozen=True)
class ShortConfig(LossConfig):
    """The settings that every algorithm has."""

    clip_high: float = 0.3


class Short(Algorithm[ShortConfig]):
    """A_i = r_i: a formula and nothing else."""

    Config = ShortConfig

    def advantages(self, batch: RolloutBatch) -> Credit:
        return Credit(batch.rewards_N.nan_to_num().unsqueeze(1) * batch.mask_NT)


def test_an_algorithm_that_needs_nothing_special_is_its_formula() -> None:
    """Bug: the settings of the loss are in the recipe and never reach the trainer."""
    check_algorithm(Short(ShortConfig()))
    assert Short(ShortConfig()).needs == Needs()
    assert Short(ShortConfig(kl_loss_coef=0.1)).needs == Needs(ref_logps=True)
    assert Short(ShortConfig(entropy_coef=0.2)).loss == LossSpec(clip_high=0.3, entropy_coef=0.2)


class OfTypesUnknown(Short):
    @dataclass(frozen=True)
    class Config(LossConfig):
        """Its type is imported for type checkers alone."""

        device: NotImported | None = None  # noqa: F821  # pyright: ignore[reportUndefinedVariable]


def test_types_that_only_a_type_checker_sees_are_told() -> None:
    recipe = load_recipe("quickstart/lab_grpo.yaml", ["algorithm.name=tests.algorithms.test_plugin:OfTypesUnknown"])
    with pytest.raises(UserError, match=r"^algorithm.name: .*OfTypesUnknown': the types of its Config cannot be read: "
                                        r"name 'NotImported' is not defined; import what they name outside"):
        algorithm_config(recipe)
