"""Verdicts of the math verifier on `gold <- answer` pairs, one a line."""

from __future__ import annotations

from rlvr.rewards.math_answer import MathVerifier
from rlvr.types import Problem


def judged(verifier: MathVerifier, pairs: str) -> dict[str, bool | None]:
    verdicts = {}
    for pair in pairs.strip().splitlines():
        gold, answer = pair.split(" <- ")
        problem = Problem(id="m", prompt="?", gold=gold, verifier="math")
        verdicts[pair] = verifier.verify(problem, rf"So $\boxed{{{answer}}}$.").correct
    return verdicts
