"""The front of a dial, by hand."""

import math

import numpy as np
import pytest

from tests.benchmarks.boundary_search import kept_at

ONE, MANY = np.array([10.0, 14.0, 12.0]), np.array([98.0, 90.0, 95.0])
"""A dial that turns: pass@1 rises to 14 at 90 and falls back to 12 at 95."""


@pytest.mark.parametrize(("least", "kept"), [(10.0, 98.0), (11.0, 96.0), (12.0, 95.0), (13.0, 92.5), (14.0, 90.0)])
def test_most_pass_at_256_that_a_dial_keeps_with_this_much_pass_at_1(least: float, kept: float) -> None:
    assert kept_at(least, ONE, MANY) == pytest.approx(kept, abs=0.1)


def test_nothing_is_kept_above_the_largest_pass_at_1() -> None:
    assert math.isnan(kept_at(14.5, ONE, MANY))
