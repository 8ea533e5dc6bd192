"""Fronts of pass@1 against pass@k: by hand."""

from __future__ import annotations

import math
from statistics import NormalDist

import pytest

from rlvr.statistics.front import best_within, chosen_difference, front, hypervolume
from rlvr.types import Estimate

BASE = (0.10, 0.98)


def test_a_front_leaves_out_what_another_point_beats() -> None:
    points = [(0.16, 0.88), (0.14, 0.92), (0.13, 0.91), (0.12, 0.97), (0.14, 0.90), (0.12, 0.97)]
    assert front(points) == [3, 1, 0]  # of the two equal ones the first
    assert front([]) == []


def test_a_hypervolume_is_the_area_of_the_staircase() -> None:
    # Above (0.10, 0.88): strips 0.02 wide and 0.09 high, 0.02 and 0.04; (0.18, 0.87) loses more than ten points.
    points = [(0.14, 0.92), (0.12, 0.97), (0.13, 0.90), (0.18, 0.87)]
    assert hypervolume(points, BASE, 0.10) == pytest.approx(0.02 * 0.09 + 0.02 * 0.04)
    assert hypervolume([BASE, (0.09, 0.99)], BASE, 0.10) == 0.0
    # A boundary that grew counts for more than the depth.
    assert hypervolume([(0.12, 0.99)], BASE, 0.10) == pytest.approx(0.02 * 0.11)


def test_the_best_point_within_a_tolerance() -> None:
    points = [(0.16, 0.92), (0.135, 0.96), (0.13, 0.965), (0.12, 0.97), (0.09, 0.99)]
    assert best_within(points, BASE, 0.02) == 1  # exactly two points are within two points
    assert best_within(points, BASE, 0.061) == 0
    assert best_within([(0.13, 0.965), (0.13, 0.97)], BASE, 0.02) == 1  # of equal pass@1 the larger pass@k
    assert best_within(points, BASE, 0.005) is None  # only the one below the base keeps it, and it gains nothing


def test_a_chosen_difference_pays_for_the_choice() -> None:
    def normal(confidence: float) -> Estimate:
        half = 0.01 * NormalDist().inv_cdf((1 + confidence) / 2)
        return Estimate(0.03, 0.03 - half, 0.03 + half)

    alone, p = chosen_difference(normal, 1)
    assert (alone.low, p) == (pytest.approx(0.03 - 0.0196, abs=1e-5), pytest.approx(0.0027, abs=1e-5))
    of_four, p = chosen_difference(normal, 4)
    assert (of_four.low, p) == (pytest.approx(0.03 - 0.024977, abs=1e-5), pytest.approx(0.0108, abs=1e-5))
    assert math.isclose(chosen_difference(normal, 1000)[1], 1.0)
