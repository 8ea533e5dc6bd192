"""`--hours N`: how long the fuzzers run, all together. Without it each gets a few seconds."""

from __future__ import annotations

import pytest

SURFACES = 7
QUICK = 6.0
"""Seconds for each surface in an ordinary test run."""


@pytest.fixture
def seconds(request: pytest.FixtureRequest) -> float:
    """The budget of one surface."""
    hours: float | None = request.config.getoption("--hours")
    return QUICK if hours is None else hours * 3600 / SURFACES
