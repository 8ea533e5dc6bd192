"""The house: who may import whom, the packages and links, the guards, the wheel, the recipes."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
import zipfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from rlvr._moved import MOVED
from rlvr.config.algorithm import build_algorithm
from rlvr.config.comparison import load_comparison
from rlvr.config.recipe import SHIPPED, load_recipe

ROOT = Path(__file__).parents[1]
ORDER = (("types", "_moved"), ("interfaces",), ("lab", "statistics", "runs", "algorithms", "rewards"), ("config",),
         ("data",), ("judging", "models"), ("probes",), ("report",), ("training",), ("train",), ("cli",))
"""Rooms of the house: a room imports from those left of it, never from its neighbours in the same group."""
THIRD_PARTY: dict[str, set[str]] = {
    "types": set(),
    "_moved": set(),
    "interfaces": {"torch"},
    "lab": {"torch", "transformers", "numpy", "tokenizers", "safetensors"},
    "statistics": {"numpy", "scipy"},
    "runs": {"numpy"},
    "algorithms": {"torch"},
    "rewards": {"math_verify", "sympy", "latex2sympy2_extended", "reasoning_gym"},
    "config": {"yaml", "pydantic"},
    "data": {"datasets", "pyarrow", "reasoning_gym", "numpy", "PIL"},
    "judging": {"numpy"},
    "models": {"torch", "transformers", "accelerate", "numpy", "datasets", "peft", "safetensors", "httpx", "vllm"},
    "probes": {"torch", "transformers", "accelerate", "numpy"},
    "report": {"plotly", "jinja2", "markupsafe", "numpy", "matplotlib", "huggingface_hub", "pyarrow",
               "wandb", "wandb_workspaces"},
    "training": {"torch", "trl", "transformers", "accelerate", "peft", "datasets", "wandb", "numpy",
                 "safetensors"},
    "train": {"accelerate", "transformers"},
}
"""What a room may import from outside, of the packages that are heavy or that another room is there to hide. `cli` may
import anything."""
WATCHED = set().union(*THIRD_PARTY.values())


def sources() -> list[Path]:
    """Every Python file of the package, the mapped folders included."""
    return sorted(path for folder in ("rlvr", "algorithms", "rewards") for path in (ROOT / folder).rglob("*.py")
                  if "__pycache__" not in path.parts)


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def room_of(path: Path) -> str:
    parts = path.relative_to(ROOT).parts
    return (parts[1] if parts[0] == "rlvr" else parts[0]).removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Full names of the modules that a file imports anywhere, also inside functions."""
    modules: set[str] = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module != "rlvr" or room_of(path) == "__init__", f"{path}: import from the module, not rlvr"
            modules.add(node.module or "")
    return modules


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_one_way(path: Path) -> None:
    room = room_of(path)
    if room == "__init__":
        return
    left = {name for group in ORDER[: next(i for i, group in enumerate(ORDER) if room in group)] for name in group}
    for module in imported(path):
        first, _, rest = module.partition(".")
        if first == "rlvr":
            assert rest.split(".")[0] in left | {room}, f"{path}: imports {module}, which is not left of {room}"
        else:
            assert first not in WATCHED - THIRD_PARTY.get(room, WATCHED), f"{path}: {room} may not import {first}"


def test_files_and_rooms_stay_small() -> None:
    """A stranger finds a line in seconds: at most 16 entries beside the links, no file above 400 lines."""
    entries = [path for path in (ROOT / "rlvr").iterdir() if not path.is_symlink() and path.name != "__pycache__"]
    assert len(entries) <= 16, sorted(path.name for path in entries)
    long = {str(path.relative_to(ROOT)): count for path in sources()
            if (count := len(path.read_text().splitlines())) > 400}
    assert not long, long


def test_a_function_fits_on_a_screen() -> None:
    long = {f"{path.relative_to(ROOT)}:{node.name}"
            for path in sources() for node in ast.walk(parsed(path))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and node.end_lineno is not None and node.end_lineno - node.lineno >= 60}
    assert not long, f"{sorted(long)}: at most 60 lines, split them"


@pytest.mark.parametrize("old", MOVED)
def test_an_old_path_is_gone_and_its_new_places_exist(old: str) -> None:
    assert MOVED[old] and all(find_spec(f"rlvr.{new}") for new in MOVED[old].split())
    spec = find_spec(f"rlvr.{old}")
    assert spec is not None and spec.origin is None, f"rlvr.{old} exists: take it out of rlvr/_moved.py"


@pytest.mark.parametrize("module", ["rlvr", "rlvr.cli.main", "rlvr.config.recipe", "rlvr.runs.run_dir",
                                    "rlvr.config.comparison", "rlvr.report.page",
                                    "rlvr.report.comparison.page"])
def test_light_modules_do_not_import_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules or 'wandb' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_packages_links_and_mapping_agree() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    for folder in ("algorithms", "rewards", "recipes"):
        link = ROOT / "rlvr" / folder
        assert link.is_symlink() and str(link.readlink()) == f"../{folder}"
        assert settings["package-dir"][f"rlvr.{folder}"] == folder
    real = {"rlvr.recipes", *(".".join(("rlvr", *path.parent.relative_to(ROOT / top).parts))
                              for top in ("rlvr", ".") for path in (ROOT / top).rglob("__init__.py")
                              if top == "rlvr" or path.relative_to(ROOT).parts[0] in ("algorithms", "rewards"))}
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
    for needed in ("rlvr/cli/main.py", "rlvr/algorithms/grpo.py", "rlvr/rewards/math_answer.py",
                   "rlvr/statistics/plan.py",
                   "rlvr/recipes/quickstart/lab_grpo.yaml", "rlvr/lab/base/model.safetensors",
                   "rlvr/report/card.md", "rlvr/report/page.html", "rlvr/report/page.css", "rlvr/report/page.js",
                   *(f"rlvr/report/comparison/compare.{kind}" for kind in ("html", "css", "js")),
                   "rlvr/recipes/compare/lab_six.yaml", "rlvr/recipes/recipe.schema.json",
                   "rlvr/report/vendor/plotly-basic.min.js"):
        assert names.count(needed) == 1, needed
    assert not [n for n in names if n.startswith(("algorithms/", "rewards/", "recipes/", "tests/"))]
    assert sum(i.file_size for i in zipfile.ZipFile(wheel).infolist()) < 5_500_000


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


def test_scripts_run_as_they_say() -> None:
    """Bug: one that imports `tests` said to be run by its path, from which Python does not find `tests`."""
    scripts = {path: path.read_text() for path in (ROOT / "tests").rglob("*.py")}
    said = {path for path, text in scripts.items() if f"python {path.relative_to(ROOT)}" in text}
    assert len(said) >= 8
    assert [path.name for path in said if "\nfrom tests" in scripts[path] or "\nimport tests" in scripts[path]] == []
