"""Several probe sets and several sources of training problems: `data.probe` and `data.train` as mappings."""

from __future__ import annotations

import json
from fractions import Fraction
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import pytest

from rlvr.config.mixture import most_per_step, shares, sources_in_turn
from rlvr.config.probe_recipe import of_sets, own_set, sole_set, trees_of_sets
from rlvr.config.recipe import Recipe, load_recipe, resolved
from rlvr.config.strict import from_dict
from rlvr.config.yaml_text import parse_yaml
from rlvr.types import UserError
from tests.support.small_run import RECIPE, write_recipe

TWO = {"test": {"source": "lab", "split": "test", "size": 12, "ks": [1, 8]},
       "hard": {"source": "lab", "split": "hard", "size": 6, "every": 4, "plan": "cheap", "base_plan": "fixed",
                "temperature": 0.5, "top_p": 0.9, "max_new_tokens": 9, "ks": [1, 4]}}
MIX = {"easy": {"source": "lab", "split": "train", "size": 64},
       "b": {"source": "lab", "split": "hard", "size": 30, "weight": 3}}


def recipe(folder: Path, *overrides: str, **data: Any) -> Recipe:
    path, *settings = write_recipe(folder)
    tree = parse_yaml(RECIPE)
    Path(path).write_text(json.dumps({**tree, "data": {**tree["data"], **data}}))
    return load_recipe(path, [*settings, *overrides])


def test_each_set_is_a_recipe_of_its_own(tmp_path: Path) -> None:
    whole = recipe(tmp_path, "probes.arms.hot.temperature=2", "train.stop_on.shrunk=8", probe=TWO)
    assert from_dict(Recipe, resolved(whole)) == whole
    test, hard = of_sets(whole).values()
    assert list(of_sets(whole)) == ["test", "hard"] and own_set(whole) == test
    assert (test.data.probe_set.split, test.probes.every, test.probes.plan, test.probes.ks) == (
        "test", 2, "balanced", (1, 8))
    probes = hard.probes
    assert (hard.data.probe_set.size, probes.every, probes.plan, probes.base_plan, probes.ks) == (
        6, 4, "cheap", "fixed", (1, 4))
    assert (probes.temperature, probes.top_p, probes.max_new_tokens, hard.probe_decoding.temperature) == (
        0.5, 0.9, 9, 0.5)
    # What ends a run, and other conditions, are of the run's own set.
    assert (list(test.probes.arms), list(probes.arms)) == (["hot"], [])
    assert test.train.stop_on is not None and hard.train.stop_on is None
    trees = trees_of_sets({**resolved(whole), "probed": "x"}, of_sets(whole))
    assert trees["hard"]["data"]["probe"]["split"] == "hard" and trees["hard"]["probes"]["plan"] == "cheap"
    assert (trees["hard"]["set"], trees["hard"]["probed"]) == ("hard", "x")
    with pytest.raises(UserError, match=r"data.probe: found 2 probe sets \(test, hard\), expected one for a distill"):
        sole_set(whole, "a distillation")


def test_one_set_without_a_name_is_the_recipe_itself(tmp_path: Path) -> None:
    whole = recipe(tmp_path)
    assert of_sets(whole) == {"": whole} and sole_set(whole, "x") is whole
    assert shares(whole.data.train) == {"": 1} and most_per_step(whole.data.train, 8) == {"": 8}


@pytest.mark.parametrize(("override", "said"), [
    ("data.probe.hard.ks=[4, 1]", r"data.probe.hard.ks: found \[4, 1\] \(list\), expected whole numbers"),
    ("data.probe.hard.plan=best", "data.probe.hard.plan: unknown plan 'best'"),
    ("data.probe.hard.every=3", "data.probe.hard.every: found 3, expected a multiple of train.updates_per_rollout"),
    ("data.probe.hard.split=harder", "data.probe.hard.split: lab split 'harder' does not exist"),
    ("data.probe.hard.eevry=3", "data.probe.hard.eevry: unknown key; did you mean 'every'"),
    ("data.probe.hard.temperature=0", "data.probe.hard.temperature: found 0 .*, expected a number of at least 0.001"),
    ("probes.base_plan=none", "probes.base_plan: unknown plan 'none'"),
    ("probes.ks=[1, 512]", "probes.ks: found k = 512"),
    ("data.probe.size=3", "data.probe: found the key 'size' beside sections .test, hard.*write data.probe.test.size"),
    ("data.probe.a b={source: lab, size: 3}", "data.probe.a b: found 'a b' .text., expected a name of letters"),
    ("data.train.b.size=5", "data.train.b.size: found 5, expected at least its share of train.prompts_per_step .6."),
    ("data.train.b.weight=0", "data.train.b.weight: found 0 .*, expected a number above 0"),
    ("data.train.c={split: train}", "data.train.c.source .text.: missing"),
])
def test_mistakes_name_the_set_and_its_key(override: str, said: str, tmp_path: Path) -> None:
    own = {"ks": [1, 8]} if not override.startswith("probes.ks") else {}
    probe = {**TWO, "test": {"source": "lab", "split": "test", "size": 12, **own}}
    with pytest.raises(UserError, match=said):
        recipe(tmp_path, "train.updates_per_rollout=2", override, probe=probe, train=MIX)


def test_the_command_line_wins_over_what_a_set_of_the_file_says(tmp_path: Path) -> None:
    """Bug: `rlvr probe RUN --plan cheap` measured a set with a plan of its own by that plan."""
    def plans(*overrides: str) -> list[tuple[str, str, float]]:
        sets = of_sets(recipe(tmp_path, *overrides, probe=TWO)).values()
        return [(one.probes.plan, one.probes.base_plan, one.probes.temperature) for one in sets]

    assert plans() == [("balanced", "reference-512", 1.0), ("cheap", "fixed", 0.5)]
    assert plans("probes.plan=fixed", "probes.temperature=0.9") == [
        ("fixed", "reference-512", 0.9), ("fixed", "fixed", 0.9)]
    # What is said of the one set there is the more precise.
    assert plans("probes.plan=fixed", "data.probe.hard.plan=balanced")[1][0] == "balanced"
    assert plans("probes.plan=fixed", "data.probe.hard={source: lab, split: hard, size: 6, plan: balanced, ks: [1, 4]}"
        )[1] == ("balanced", "reference-512", 1.0)
    path, *settings = write_recipe(tmp_path)
    Path(path).write_text(json.dumps({**parse_yaml(RECIPE), "data": {**parse_yaml(RECIPE)["data"], "probe": TWO}}))
    hard = list(of_sets(load_recipe(path, settings, sourced=[("shared", "data.probe.hard.plan=balanced"),
                                                             ("shared", "probes.base_plan=cheap")])).values())[1]
    assert (hard.probes.plan, hard.probes.base_plan) == ("balanced", "cheap")
    hard = list(of_sets(load_recipe(path, [*settings, "probes.plan=fixed"], sourced=[
        ("shared", "data.probe.hard.plan=balanced")])).values())[1]
    assert hard.probes.plan == "fixed"


def test_proportions_are_exact_at_every_prompt() -> None:
    """Tijdeman's bound: no count is ever off by more than 1 - 1 / (2k - 2)."""
    random = Random(0)
    drawn = [[random.randint(1, 50) for _ in range(sources)] for sources in (1, 2, 2, 3, 3, 4, 6)]
    for weights in [*drawn, [40, 20, 3, 1, 40, 1]]:  # the last breaks the bound if small sources are not served in time
        sources = len(weights)
        parts = [Fraction(weight, sum(weights)) for weight in weights]
        bound = 1 - Fraction(1, 2 * sources - 2) if sources > 1 else 0
        counts, worst = [0] * sources, Fraction(0)
        for n, turn in enumerate(islice(sources_in_turn(parts), 3 * sum(weights)), start=1):
            counts[turn] += 1
            worst = max(worst, *(abs(n * part - count) for part, count in zip(parts, counts, strict=True)))
        assert worst <= bound and counts == [3 * weight for weight in weights]


def test_turns_and_shares_by_hand(tmp_path: Path) -> None:
    assert list(islice(sources_in_turn([Fraction(1, 4), Fraction(3, 4)]), 8)) == [1, 0, 1, 1, 1, 0, 1, 1]
    train = recipe(tmp_path, train=MIX).data.train
    assert shares(train) == {"easy": Fraction(1, 4), "b": Fraction(3, 4)}
    assert most_per_step(train, 8) == {"easy": 2, "b": 6}  # whole numbers: as many at every step
    assert most_per_step(train, 6) == {"easy": 2, "b": 5}  # 1.5 and 4.5, off by one half at most on either side


@pytest.mark.parametrize(("weights", "prompts"), [((1, 2, 4), 8), ((1, 1, 1), 4), ((5, 3), 7), ((1, 9, 30, 60), 16),
                                                    ((1, 1, 11), 7)])
def test_no_step_takes_more_than_is_said(weights: tuple[int, ...], prompts: int, tmp_path: Path) -> None:
    sources = {f"s{i}": {"source": "lab", "size": 500, "weight": weight} for i, weight in enumerate(weights)}
    train = recipe(tmp_path, train=sources).data.train
    most, turns = most_per_step(train, prompts), sources_in_turn(list(shares(train).values()))
    for _ in range(200):
        step = list(islice(turns, prompts))
        assert all(step.count(i) <= most[f"s{i}"] for i in set(step))
