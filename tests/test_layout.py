"""The house: who may import whom, the packages and links, the guards, the wheel, the recipes, the glossary."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from rlvr.cli.compare import load_comparison
from rlvr.config.recipe import SHIPPED, build_algorithm, load_recipe
from rlvr.training.tracking import GLOSSARY

ROOT = Path(__file__).parents[1]
THIRD_PARTY = {"torch", "trl", "transformers", "accelerate", "datasets", "peft", "wandb", "numpy", "scipy", "plotly",
               "rich", "yaml", "tqdm", "safetensors", "tokenizers", "math_verify", "sympy", "jinja2", "markupsafe",
               "latex2sympy2_extended", "pyarrow", "PIL", "reasoning_gym"}

VOCABULARY = {"rlvr.types", "rlvr.interfaces"}
TRAINER = VOCABULARY | {
    "rlvr.training.loss", "rlvr.models.sampler", "rlvr.training.prompt_stream", "rlvr.training.critic", "rlvr.training.reward_functions", "rlvr.training.step_metrics",
    "rlvr.training.trl_loss", "rlvr.training.generation", "rlvr.training.policy", "rlvr.training.value", "rlvr.training.shaping",
    "rlvr.data.images", "trl", "torch", "accelerate",
}
MAY_IMPORT: dict[str, set[str]] = {
    "rlvr/types.py": set(),
    "rlvr/config/registry.py": {"rlvr.types"},
    "rlvr/interfaces.py": {"rlvr.types", "torch"},
    "rlvr/training/loss.py": {"torch"},
    "algorithms/checks.py": VOCABULARY | {"torch"},
    "rlvr/algorithms/": VOCABULARY | {"torch", "rlvr.algorithms"},
    "rlvr/rewards/": VOCABULARY | {"math_verify", "sympy", "latex2sympy2_extended", "reasoning_gym", "rlvr.rewards"},
    "rlvr/models/sampler.py": VOCABULARY | {"rlvr.data.images", "torch", "transformers", "numpy"},
    "rlvr/judging/judge.py": VOCABULARY | {"rlvr.config.registry", "rlvr.judging.pool"},
    "rlvr/judging/pool.py": VOCABULARY | {"rlvr.config.registry", "rlvr.judging.worker"},
    "rlvr/judging/worker.py": VOCABULARY | {"rlvr.config.registry"},
    "rlvr/data/images.py": {"rlvr.types", "PIL"},
    "rlvr/config/presets.py": {"rlvr.types", "rlvr.config.strict"},
    "rlvr/data/": VOCABULARY | {"rlvr.data", "rlvr.data.images", "rlvr.config.registry", "rlvr.config.presets", "rlvr.rewards._extract",
                                "datasets", "pyarrow", "reasoning_gym", "numpy", "rlvr.lab"},
    "rlvr/data/completions.py": VOCABULARY | {"rlvr.data", "rlvr.statistics.plan", "rlvr.runs.samples"},
    "rlvr/runs/run_dir.py": {"rlvr.types", "rlvr.runs.files"},
    "rlvr/training/prompt_stream.py": VOCABULARY | {"rlvr.models.sampler", "torch", "datasets"},
    "rlvr/training/critic.py": VOCABULARY | {"torch", "safetensors", "transformers", "peft"},
    "rlvr/training/processes.py": {"rlvr.types", "torch", "accelerate"},
    "rlvr/models/quiet.py": {"transformers", "datasets"},
    "rlvr/training/open_run.py": {"rlvr.types", "rlvr.data", "rlvr.models.loading", "rlvr.runs.run_dir", "transformers"},
    "rlvr/data/checks.py": {"rlvr.types", "rlvr.data", "rlvr.config.recipe", "rlvr.models.sampler"},
    "rlvr/probes/settings.py": {"rlvr.types", "rlvr.config.recipe", "rlvr.cli.probe_request", "rlvr.config.registry",
                               "rlvr.probes.callback", "rlvr.lab"},
    "rlvr/training/arguments.py": {"rlvr.training.processes", "rlvr.config.recipe", "rlvr.runs.run_dir", "rlvr.training.trainer", "rlvr.training.shaping",
                                   "rlvr.rewards.format", "peft", "torch"},
    "rlvr/training/step_metrics.py": VOCABULARY | {"rlvr.training.reward_functions", "rlvr.training.prompt_stream", "numpy", "torch"},
    "rlvr/training/shaping.py": {"torch"},
    "rlvr/training/generation.py": TRAINER | {"rlvr.models.vllm_sampler"},
    "rlvr/models/vllm_sampler.py": VOCABULARY | {"rlvr.data.images", "rlvr.models.sampler", "torch", "accelerate"},
    "rlvr/training/value.py": TRAINER | {"transformers"},
    "rlvr/training/policy.py": TRAINER,
    "rlvr/training/trainer.py": TRAINER,
    "rlvr/probes/callback.py": VOCABULARY
    | {"rlvr.probes", "rlvr.config.registry", "rlvr.runs.run_dir", "rlvr.models.sampler", "torch", "transformers", "accelerate", "numpy"},
    "rlvr/models/weights.py": {"torch"},
    "rlvr/probes/": VOCABULARY | {"rlvr.probes", "numpy", "scipy"},
    "rlvr/report/": {"rlvr.types", "rlvr.runs.files", "rlvr.runs.run_dir", "rlvr.report", "rlvr.statistics.intervals",
                     "rlvr.statistics.plan", "rlvr.statistics.pass_at_k", "rlvr.statistics.seeds",
                     "rlvr.statistics.paired_tests", "rlvr.probes.baseline", "rlvr.statistics.verdicts",
                     "rlvr.statistics.ledger", "rlvr.statistics.companions",
                     "rlvr.statistics.false_positives", "rlvr.statistics.direct_answer", "plotly", "rich", "jinja2",
                     "markupsafe", "numpy"},
}
NEVER_IN_LAB = {"rlvr.training.trainer", "rlvr.train", "rlvr.cli"}


def sources() -> list[Path]:
    return sorted(p for p in (ROOT / "rlvr").rglob("*.py")) + sorted(
        p for folder in ("algorithms", "rewards") for p in (ROOT / "rlvr" / folder).glob("*.py")
    )


def imported(path: Path) -> set[str]:
    """Full names of the first-party and third-party modules that a file imports anywhere, also inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
    return {name for name in found if name.split(".")[0] in THIRD_PARTY | {"rlvr"}}


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_one_way(path: Path) -> None:
    name = str(path.relative_to(ROOT))
    if name.startswith("rlvr/lab/"):
        assert not imported(path) & NEVER_IN_LAB
        return
    rule = max((key for key in MAY_IMPORT if name == key or (key.endswith("/") and name.startswith(key))),
               key=len, default=None)
    if rule is None:
        return
    allowed = MAY_IMPORT[rule]
    for module in imported(path):
        parents = {".".join(module.split(".")[: i + 1]) for i in range(len(module.split(".")))}
        assert parents & allowed, f"{name} imports {module}, which {rule} may not"


@pytest.mark.parametrize("module", ["rlvr", "rlvr.cli", "rlvr.config.recipe", "rlvr.runs.run_dir", "rlvr.cli.compare",
                                    "rlvr.report.page", "rlvr.report.comparison.page"])
def test_light_modules_do_not_import_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules or 'wandb' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_packages_links_and_mapping_agree() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    for folder in ("algorithms", "rewards", "recipes"):
        link = ROOT / "rlvr" / folder
        assert link.is_symlink() and str(link.readlink()) == f"../{folder}"
        assert settings["package-dir"][f"rlvr.{folder}"] == folder
    real = {"rlvr", *(f"rlvr.{p.parent.name}" for p in (ROOT / "rlvr").glob("*/__init__.py")), "rlvr.recipes"}
    assert set(settings["packages"]) == real


@pytest.mark.parametrize("name", ["algorithms", "rewards"])
def test_top_level_import_is_refused_with_a_sentence(name: str) -> None:
    done = subprocess.run([sys.executable, "-c", f"import {name}"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0 and f"rlvr.{name}" in done.stderr.strip().splitlines()[-1]


def test_wheel_holds_everything_once(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)],
        check=True, capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for needed in ("rlvr/cli/main.py", "rlvr/algorithms/grpo.py", "rlvr/rewards/math_answer.py", "rlvr/statistics/plan.py",
                   "rlvr/recipes/quickstart/lab_grpo.yaml", "rlvr/lab/base/model.safetensors",
                   "rlvr/report/page.html", "rlvr/report/page.css", "rlvr/report/page.js",
                   "rlvr/report/compare.html", "rlvr/report/compare.css", "rlvr/report/compare.js",
                   "rlvr/recipes/compare/lab_six.yaml"):
        assert names.count(needed) == 1, needed
    assert not [n for n in names if n.startswith(("algorithms/", "rewards/", "recipes/", "tests/"))]
    assert sum(i.file_size for i in zipfile.ZipFile(wheel).infolist()) < 5_000_000


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*/*.yaml")), ids=lambda p: p.stem)
def test_every_recipe_loads_and_says_how_to_run_it(path: Path) -> None:
    if path.parent.name == "compare":
        for run in load_comparison(path):
            build_algorithm(run.recipe)
    else:
        build_algorithm(load_recipe(path))
    head = path.read_text().split("\nname:")[0]
    for word in ("command", "hardware", "expect"):
        assert f"#   {word}" in head, f"{path}: header lacks {word!r}"


def test_glossary_of_the_readme_is_what_is_logged() -> None:
    rows = re.findall(r"^\| `([^`]+)` \| ([^|]+) \| ([^|]*) \|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    documented = {key: (meaning.strip(), direction.strip()) for key, meaning, direction in rows}
    for key, definition in GLOSSARY.items():
        assert documented.get(key) == definition, key


def test_docs_name_only_files_that_exist() -> None:
    for document in ("README.md", "AGENTS.md", "algorithms/README.md", "recipes/README.md", "rlvr/probes/README.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / document).read_text()):
            if not target.startswith("http"):
                assert ((ROOT / document).parent / target).exists(), f"{document} links to {target}"
