"""The words that every room shares."""

from __future__ import annotations

import copy
import pickle

import pytest

from rlvr.types import UserError


def test_a_user_error_is_where_and_message() -> None:
    error = UserError("found 0, expected at least 1", where="train.steps")
    assert str(error) == "train.steps: found 0, expected at least 1" and error.where == "train.steps"


def test_an_error_seen_from_further_out_names_the_outer_place_first() -> None:
    error = UserError("found 0", where="train.steps").within("recipe.yaml")
    assert str(error) == "recipe.yaml: train.steps: found 0" and error.where == "recipe.yaml"


def test_without_a_place_the_message_stands_alone() -> None:
    assert (str(UserError("no such run")), UserError("no such run").where) == ("no such run", "")


@pytest.mark.parametrize("duplicate", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_a_user_error_keeps_its_place_on_the_way_between_processes(duplicate) -> None:
    error = duplicate(UserError("found 0", where="train.steps"))
    assert (str(error), error.where) == ("train.steps: found 0", "train.steps")
