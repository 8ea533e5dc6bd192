"""The search for the temperature of equal entropy, and the direct-answer filter, by hand.

Run: python -m pytest tests/probes/test_entropy_match.py
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from rlvr.interfaces import SampleRequest
from rlvr.probes.entropy_match import EntropyMatch, match_entropy, mean_entropy
from rlvr.probes.world import Solo
from rlvr.statistics.direct_answer import guessable_ids
from rlvr.types import Completion, Counts, Decoding, Problem, UserError
from tests.probes.test_engine import Threads


def search(entropy_at: Callable[[float], float], target: float, **changes: Any) -> EntropyMatch:
    usual = {"start": 1.0, "tolerance": 0.001, "lowest": 0.05, "highest": 3.0}
    return match_entropy(entropy_at, target, **usual | changes)


@pytest.mark.parametrize(
    ("entropy_at", "target", "temperature"),
    [
        (lambda t: 0.5 * t, 0.8, 1.6),  # upward: 1, 1.25, 1.5625, 1.9531, then the straight line meets it
        (lambda t: 0.5 * t, 0.2, 0.4),  # downward
        (lambda t: math.exp(t), math.exp(2.0), 2.0),
        (lambda t: t**6, 0.5**6, 0.5),
        (lambda t: 1 / (1 + math.exp(-20 * (t - 2.2))), 0.5, 2.2),  # flat, then steep
        (lambda t: (t / 3) ** 40, 0.02, 3 * 0.02 ** (1 / 40)),  # a straight line alone would creep up from below
    ],
)
def test_the_temperature_is_found_on_either_side(
    entropy_at: Callable[[float], float], target: float, temperature: float
) -> None:
    found = search(entropy_at, target)
    assert found.outcome == "matched" and found.temperature is not None
    assert abs(entropy_at(found.temperature) - target) <= 0.001 and abs(found.temperature - temperature) < 0.02
    assert (found.path[0][0], found.path[-1]) == (1.0, (found.temperature, found.entropy))
    assert len(found.path) <= 14 and len(set(found.path)) == len(found.path)
    assert all(round(t, 4) == t for t, _ in found.path)


def test_equal_entropies_cost_one_measurement() -> None:
    assert search(lambda t: 0.4, 0.4005).path == ((1.0, 0.4),)
    assert search(lambda t: 0.4, 0.4015, lowest=1.0, highest=1.0).outcome == "too low"  # just beyond the tolerance


@pytest.mark.parametrize(
    ("entropy_at", "target", "outcome", "closest", "ends_at"),
    [
        (lambda t: 0.1 * t, 0.5, "too low", 0.3, 3.0),
        (lambda t: 0.7, 0.5, "too high", 0.7, 0.05),
        (lambda t: 0.2 if t < 1.7 else 0.9, 0.5, "jumps", 0.2, None),
    ],
)
def test_where_nothing_matches_there_is_no_temperature(
    entropy_at: Callable[[float], float], target: float, outcome: str, closest: float, ends_at: float | None
) -> None:
    found = search(entropy_at, target)
    assert (found.outcome, found.temperature) == (outcome, None)
    assert found.entropy == pytest.approx(closest)
    assert ends_at is None or found.path[-1][0] == ends_at
    if outcome == "jumps":
        assert 1.7 in [t for t, _ in found.path] and len(found.path) < 24


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_a_number_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="target"):
        search(lambda t: t, bad)
    with pytest.raises(ValueError, match=f"entropy {bad} at temperature 1.0"):
        search(lambda t: bad, 0.5)
    with pytest.raises(ValueError, match="start"):
        search(lambda t: t, 0.5, start=4.0)


class Entropic:
    """Entropy = temperature x (problem number + sample / 10)."""

    def __init__(self) -> None:
        self.drawn: list[tuple[str, int, str]] = []

    def sample(
        self, requests: Sequence[SampleRequest], decoding: Decoding, *, seed: int, stream: str
    ) -> list[Completion]:
        self.drawn += [(r.problem.id, r.sample, stream) for r in requests]
        return [Completion(r.problem.id, r.sample, "", 1, False,
                           decoding.temperature * (int(r.problem.id) + r.sample / 10)) for r in requests]


def test_mean_entropy_by_hand_on_one_and_several_processes() -> None:
    """Problems 1 and 4, samples 0, 1, 2: (1 + 1.1 + 1.2 + 4 + 4.1 + 4.2) / 6 = 2.6, times temperature 0.5."""
    problems = [Problem(str(i), "", "", "") for i in (1, 4)]

    def measured(sampler: Entropic, world: Any) -> float:
        return mean_entropy(problems, sampler, Decoding(0.5, 1.0, 8), samples=3, seed=0, batch_size=4, world=world)

    alone = Entropic()
    assert measured(alone, Solo()) == pytest.approx(1.3)
    assert {stream for *_, stream in alone.drawn} == {"entropy"}
    threads, samplers = Threads(3), [Entropic() for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(lambda rank: measured(samplers[rank], threads.world(rank)), range(3)))
    assert results == pytest.approx([1.3] * 3)
    assert sorted(x for s in samplers for x in s.drawn) == sorted(alone.drawn)  # each sample once


def test_unknown_entropies_are_left_out_and_problems_count_alike() -> None:
    """Of problem 1 only sample 0 is known (1), of problem 4 samples 0 and 1 (4 and 4.1): (1 + 4.05) / 2."""

    class Partly(Entropic):
        def sample(self, requests: Sequence[SampleRequest], decoding: Decoding, **how: Any) -> list[Completion]:
            known = {("1", 0), ("4", 0), ("4", 1)}
            return [one if (one.problem_id, one.sample) in known else replace(one, entropy=math.nan)
                    for one in super().sample(requests, decoding, **how)]

    def measured(*ids: int) -> float:
        problems = [Problem(str(i), "", "", "") for i in ids]
        return mean_entropy(problems, Partly(), Decoding(1.0, 1.0, 8), samples=3, seed=0, batch_size=9, world=Solo())

    assert measured(1, 4) == pytest.approx((1 + 4.05) / 2)
    assert math.isnan(measured(1, 4, 5))  # nothing is known of problem 5


def test_guessable_are_accuracies_strictly_between_0_and_5_percent() -> None:
    """Of 260 samples 5% are 13: exactly 5% is kept, as is 0."""
    counts = [Counts(f"c{c}", 260, c) for c in (0, 1, 12, 13, 14, 260)]
    assert guessable_ids(counts) == ["c1", "c12"]
    assert guessable_ids(counts, 0.004) == ["c1"]  # 1 / 260 = 0.0038
    assert guessable_ids([Counts("a", 60, 3)]) == [] and guessable_ids([Counts("a", 60, 2)]) == ["a"]


@pytest.mark.parametrize("sizes", [(256, 12), (0,), ()])
def test_direct_answers_of_unequal_number_are_refused(sizes: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="one number, at least 1"):
        guessable_ids([Counts(str(n), n, 0) for n in sizes])
