"""What the tests of verifiers share."""

from __future__ import annotations

import pytest

from rlvr.rewards.math_answer import MathVerifier


@pytest.fixture(scope="session")
def verifier() -> MathVerifier:
    return MathVerifier()
