"""False positives of a verifier: closed forms, printed floors, guaranteed coverage."""

from __future__ import annotations

import math

import pytest

from rlvr.statistics.false_positives import audit, clopper_pearson_upper, false_positive_floor


@pytest.mark.parametrize(
    ("percent", "points"), [(0.01, 2.5), (0.05, 12.0), (0.1, 22.6), (0.5, 72.3)]
)
def test_floor_of_pass_at_256(percent: float, points: float):
    """1 - (1 - e)^256, in points, as computed independently in the project's science notes (72 for 0.5%)."""
    assert 100 * false_positive_floor(percent / 100, 256) == pytest.approx(points, abs=0.05)
    assert false_positive_floor(1.0, 3) == 1.0
    assert false_positive_floor(1e-12, 256) == pytest.approx(2.56e-10, rel=1e-9)


def test_upper_bound_closed_forms():
    """No hit: 1 - .05^(1/m). One hit of two: u with (1-u)^2 + 2u(1-u) = 1 - u^2 = .05. All: 1."""
    assert clopper_pearson_upper(0, 100, 0.95) == pytest.approx(1 - 0.05**0.01, rel=1e-12)
    assert clopper_pearson_upper(1, 2, 0.95) == pytest.approx(math.sqrt(0.95), rel=1e-12)
    assert clopper_pearson_upper(2, 2, 0.95) == 1.0
    # two-sided 95% for 3 of 20, printed tables: upper .3789
    assert clopper_pearson_upper(3, 20, 0.975) == pytest.approx(0.3789, abs=5e-5)


def test_upper_bound_covers_at_least_the_confidence():
    """Exact coverage over p: the sum of binomial chances of outcomes whose bound is at least p."""
    bounds = [clopper_pearson_upper(hits, 30, 0.95) for hits in range(31)]
    for p in (0.001, 0.05, 0.1, 0.33, 0.7, 0.99):
        coverage = sum(
            math.comb(30, hits) * p**hits * (1 - p) ** (30 - hits) for hits in range(31) if bounds[hits] >= p
        )
        assert coverage >= 0.95


def test_audit_by_hand():
    """0 of 29,956: below 1e-4. pass@256 of an unsolvable problem stays below 2.53 points; a measured .70 is at least
    (.70 - .02528) / (1 - .02528) = .6922."""
    result = audit(29_956, 0)
    assert result.rate.high == pytest.approx(1e-4, rel=1e-4)
    assert (result.rate.value, result.rate.low) == (0.0, 0.0)
    assert result.floor(256) == pytest.approx(0.025276, abs=2e-6)
    assert result.worst_case(0.70, 256) == pytest.approx((0.70 - 0.025276) / (1 - 0.025276), abs=1e-5)
    assert result.worst_case(0.01, 256) == 0.0
    assert audit(2, 2).worst_case(0.9, 256) == 0.0


def test_impossible_arguments_are_refused():
    with pytest.raises(ValueError, match="3 accepted of 2"):
        audit(2, 3)
    with pytest.raises(ValueError, match="at least one answer"):
        audit(0, 0)
    with pytest.raises(ValueError, match=r"confidence=1\.0"):
        clopper_pearson_upper(0, 2, 1.0)
    with pytest.raises(ValueError, match=r"rate 1\.5"):
        false_positive_floor(1.5, 1)
    with pytest.raises(ValueError, match="mean in"):
        audit(2, 0).worst_case(1.5, 1)
