"""Recipes that are small as text and huge, endless or harmful once they are read: one line each, within a second.

Run: python -m pytest tests/config/test_hostile_text.py
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from rlvr.cli.main import main
from rlvr.config.comparison import load_comparison
from rlvr.config.recipe import load_recipe
from rlvr.types import UserError
from tests.fuzz.driver import at_most

BASE = (Path(__file__).parents[2] / "recipes/quickstart/lab_grpo.yaml").read_text()
NO_SEED = BASE.replace("\nseed:", "\n#")
TENFOLD = ", ".join(["*a{0}"] * 10)
LISTS = "a0: &a0 [x]\n" + "".join(f"a{i + 1}: &a{i + 1} [{TENFOLD.format(i)}]\n" for i in range(9))
MERGES = "a0: &a0 {k0: 1}\n" + "".join(f"a{i + 1}: &a{i + 1} {{<<: [{TENFOLD.format(i)}], k{i + 1}: 1}}\n"
                                       for i in range(9))


@pytest.mark.parametrize(("text", "fragment"), [
    (LISTS + f"run_dir: [{TENFOLD.format(9)}]\n" + BASE, "more than 20,000 values once its anchors"),
    (LISTS + f"{BASE}\nalgorithm: {{name: *a9}}\n", "key 'algorithm' again"),
    (MERGES + BASE, "more than 20,000 keys once `<<` is followed"),
    (BASE.replace("algorithm:", "algorithm: &al\n  foo: *al", 1), "an anchor (&name) holds itself"),
    ("a: &a [*a]\n" + BASE, "an anchor (&name) holds itself"),
    ("a: &a {<<: *a}\n" + BASE, "a: unknown key"),
    ("a: " + "[" * 5_000 + "\n" + BASE, "nested too deeply"),
    ("a: " + "[" * 200_000 + "\n" + BASE, "nested too deeply"),
    ("a: " + "{a: " * 5_000 + "\n" + BASE, "nested too deeply"),
    ("a: " + "[" * 40 + "]" * 40 + "\n" + BASE, "nested more than 32 levels deep"),
    ("seed: 0x" + "f" * 10_000 + "\n" + NO_SEED, "seed: found a number of 40,000 bits (whole number), expected"),
    ("seed: " + "9" * 10_000 + "\n" + NO_SEED, "not valid YAML: "),
    ("name: \"\\ud800\"\n" + BASE.replace("\nname:", "\n#"), "half of a surrogate pair"),
    ("run_dir: !!python/object/apply:os.system [ls]\n" + BASE, "could not determine a constructor"),
    ("seed: !!set {1, 2}\n" + NO_SEED, "seed: found {1, 2} (set), expected a whole number"),
    ("name: 2024-01-01\n" + BASE.replace("\nname:", "\n#"), "expected text; put it in quotes if you mean the text"),
    ("seed: 010\n" + NO_SEED, "seed: found '010' (text), expected a whole number"),
    ("seed: 1:40\n" + NO_SEED, "seed: found '1:40' (text), expected a whole number"),
    ("seed: 1\nname: a\x07b\n" + BASE, "line 2, column 8: not valid YAML: the character U+0007; remove it"),
    ("\n\n  \x1b[2J" + BASE, "line 3, column 3: not valid YAML: the character U+001B; remove it"),
    ("seed: 1\nseed: 2\n" + BASE, "line 2: key 'seed' again, first given in line 1"),
])
def test_a_recipe_that_means_harm_is_one_line(tmp_path: Path, text: str, fragment: str) -> None:
    file = tmp_path / "hostile.yaml"
    file.write_text(text)
    begun = time.process_time()
    with at_most(20.0), pytest.raises(UserError) as caught:  # a bomb that goes off does not end
        load_recipe(file)
    assert fragment in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 600
    assert time.process_time() - begun < 5.0, "small text took long"


@pytest.mark.parametrize(("override", "fragment"), [
    ("train.steps=9999999999999999999999", "found 9999999999999999999999 (whole number), expected one between -2**63"),
    ("train.steps=4000000000", "found 4000000000 (whole number), expected at least 1 and at most 1000000000"),
    ("data.train.shuffle=-1", "expected 0 <= seed < 2**32, or null"), ("judge.timeout=1e300", "at most 10000000"),
    ("probes.temperature=1e-300", "expected 0.001 to 1000: greedy"), ("train.trl={a: 99999999999999999999}", "-2**63"),
    ("model.path=a\x1b[31mb", r"model.path: found 'a\x1b[31mb' (text) with the character U+001B, expected"),
    ("model.path=a\nb", "U+000A, expected text without control characters in one line; remove it"),
    ("model.path=\u202ea", "U+202E"), ("run_dir=runs/\x9b", "U+009B"), ('judge.packages=["a\\eb"]', "U+001B"),
    ("data.train.template={prompt}\x1b[2J", "U+001B, expected text without control characters; remove it"),
    ('probes.arms={"a\\eb": {temperature: 1.2}}', "probes.arms: found 'a\\x1bb' (text) with the character U+001B"),
    ("tr\x1bain.steps=4", r"found 'tr\x1bain' (text) with the character U+001B"),
])
def test_numbers_that_overflow_and_hidden_characters_are_refused(override: str, fragment: str) -> None:
    """Bug: these passed `rlvr check`, and a terminal followed them."""
    with pytest.raises(UserError) as caught:
        load_recipe("quickstart/lab_grpo.yaml", [override])
    assert fragment in str(caught.value) and str(caught.value).isprintable()


def test_a_prompt_may_have_lines_and_a_path_other_letters() -> None:
    recipe = load_recipe("paper/grpo.yaml", ["data.train.template=Solve:\n\t{prompt}",
                                             "model.path=modèle/模型 \U0001f600"])
    assert recipe.data.train_set.template == "Solve:\n\t{prompt}" and recipe.model.path == "modèle/模型 \U0001f600"


@pytest.mark.parametrize("run_dir", ["runs/{seed:>1000000000}", "runs/{name.__class__.__mro__}", "{name!r}", "{0}",
                                     "{}", "{name[0]}", "{seed:{name}}", "x/{host}", "x/{name", "x/}"])
def test_braces_of_a_run_dir_hold_nothing_but_a_name(run_dir: str) -> None:
    """Bug: a format fills the memory, and an attribute writes Python's insides into a path."""
    with pytest.raises(UserError, match=r"^[^\n]*run_dir: found .*, expected a path with no other braces than \{name"):
        load_recipe("quickstart/lab_grpo.yaml", [f"run_dir={run_dir}"])
    with pytest.raises(UserError, match=r"^[^\n]*run_dir: found .*, expected a path with .*\{name"):
        load_comparison("compare/lab_six.yaml", [f"run_dir={run_dir}/{{arm}}-{{seed}}"])
    recipe = load_recipe("quickstart/lab_grpo.yaml", ["run_dir=a{{b}}/{name}-{algorithm}-{seed}"])
    assert str(recipe.run_path) == "a{b}/lab_grpo-grpo-0"


@pytest.mark.parametrize("arguments", [["run_dir=runs/{seed:>1000000000}"], ["run_dir=a\0b"], ["train.steps=[[[["], [
    f"algorithm={'[' * 5000}"]])
def test_the_command_line_ends_with_code_2(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert main(["check", "recipes/quickstart/lab_grpo.yaml", *arguments]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("error: ") and shown.count("\n") == 1
