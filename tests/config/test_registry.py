"""Names find their classes, and every way of getting one wrong says what to do.

Run: python -m pytest tests/config/test_registry.py
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from rlvr.config.registry import BUILT_IN, names, resolve, resolve_reader
from rlvr.interfaces import Algorithm, Verifier
from rlvr.types import Reading, UserError
from tests.support.verifiers_for_tests import Obedient

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, table in BUILT_IN.items() for name in table])
def test_every_built_in_name_is_of_its_kind(kind: str, name: str) -> None:
    if kind == "readers":
        assert callable(resolve_reader(name))
    else:
        assert issubclass(resolve(kind, name), {"algorithms": Algorithm, "verifiers": Verifier}[kind])


def test_a_reader_is_a_function_and_a_verifier_is_not() -> None:
    assert resolve_reader("tests.config.test_registry:rows_for_tests") is rows_for_tests
    with pytest.raises(UserError, match=r"Obedient' in readers is a ABCMeta, expected a function of a row"):
        resolve_reader("tests.support.verifiers_for_tests:Obedient")
    with pytest.raises(UserError, match="unknown name 'mbpp_plus' in verifiers"):
        resolve("verifiers", "mbpp_plus")


def rows_for_tests(row: Mapping[str, Any]) -> Reading:
    return Reading(row["q"], row["a"], {})


def test_a_class_of_ones_own_is_written_with_a_colon() -> None:
    assert resolve("verifiers", "tests.support.verifiers_for_tests:Obedient") is Obedient


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("algorithms", "gpro", "unknown name 'gpro' in algorithms: did you mean 'gspo' or 'grpo'"),
        ("verifiers", "maths", "did you mean 'math'"),
        ("verifiers", "zzz", "known are countdown, exact_string, gym, math"),
        ("verifiers", "no_such_package:Thing", "cannot be loaded: ModuleNotFoundError: No module named"),
        ("verifiers", "rlvr.types:Nothing", "has no 'Nothing'; it defines "),
        ("verifiers", "rlvr.types:Problm", "has no 'Problm'; did you mean rlvr.types:Problem? it defines"),
        ("verifiers", "rlvr.types:NOT_JUDGED", "is a frozenset, expected a class"),
    ],
)
def test_what_cannot_be_found_is_one_helpful_line(kind: str, name: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        resolve(kind, name)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_kind_is_a_programming_error() -> None:
    with pytest.raises(ValueError, match="unknown kind 'rewards'"):
        names("rewards")


@pytest.fixture
def plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like an installed package offering four verifiers."""
    info = tmp_path / "some_plug_in-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: some-plug-in\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[rlvr.verifiers]\nkind = some_plug_in_module:Kind\nbroken = some_broken_module:Thing\n"
        "math = some_plug_in_module:Kind\n"
    )
    (tmp_path / "some_plug_in_module.py").write_text("class Kind: pass\n")
    (tmp_path / "some_broken_module.py").write_text("import a_missing_dependency\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_plug_ins_are_found_by_their_entry_points(plug_in: Path) -> None:
    assert resolve("verifiers", "kind").__name__ == "Kind"


def test_a_built_in_name_cannot_be_taken_over(plug_in: Path) -> None:
    """Bug: installing a package changes what `math` means in every recipe."""
    assert resolve("verifiers", "math").__name__ == "MathVerifier"


def test_a_broken_plug_in_is_not_an_unknown_name(plug_in: Path) -> None:
    """Bug: the import error is swallowed and the user is told that the name does not exist."""
    with pytest.raises(UserError) as caught:
        resolve("verifiers", "broken")
    assert "'broken' in verifiers (some_broken_module:Thing) cannot be loaded" in str(caught.value)
    assert "No module named 'a_missing_dependency'" in str(caught.value)


def test_listing_names_imports_nothing(plug_in: Path) -> None:
    """Bug: one broken plug-in breaks `--help` for everybody."""
    assert names("verifiers") == ["broken", "countdown", "exact_string", "gym", "kind", "math", "math_verify",
                                  "unit_tests", "visual_answer"]
    assert "some_broken_module" not in sys.modules


def test_two_packages_with_one_name_are_an_error(plug_in: Path) -> None:
    """Bug: which of them wins depends on the order of sys.path."""
    info = plug_in / "other_plug_in-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-plug-in\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[rlvr.verifiers]\nkind = other_module:Kind\n")
    with pytest.raises(UserError, match="two installed packages offer 'kind'"):
        names("verifiers")


def test_neither_registry_nor_verifiers_import_torch() -> None:
    """Bug: `rlvr --help` and every judge worker take seconds to start."""
    code = ("import sys, rlvr.config.registry as r; r.names('algorithms'); r.resolve('verifiers', 'countdown'); "
            "r.resolve('verifiers', 'math'); print(sorted({'torch', 'sympy', 'numpy'} & set(sys.modules)))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("folder", ["algorithms", "rewards"])
def test_the_folders_are_not_packages_of_their_own(folder: str) -> None:
    """Bug: `import rewards` makes a second copy of every class, which isinstance does not recognise."""
    done = subprocess.run([sys.executable, "-c", f"import {folder}"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1] == (
        f"ImportError: this folder is the package rlvr.{folder}: write `import rlvr.{folder}`, not `import {folder}`"
    )
