"""The temperature at which a trained model's output is as random as the base model's (2504.13837, figure 17).

RL lowers the entropy of the output, and lower entropy alone lowers pass@k at large k. Comparing at equal entropy takes
that part out. The entropy is that of the probes (`boundary/entropy`): per token, of the distribution sampled from,
after temperature and before top-p, the mean over a completion, then over problems. It is measured anew at every
temperature, as other temperatures write other texts.

The search asks for entropies at few temperatures: outward from `start` until the target is bracketed, then inward.
Entropy need not rise with temperature everywhere (a model may ramble at one and stop at another), so the result is a
temperature at which the entropies agree, not the only one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from rlvr.interfaces import Sampler, SampleRequest
from rlvr.probes.world import World, share
from rlvr.types import Decoding, Problem

STREAM = "entropy"
"""Not the samples of the probe that follows: the entropy that the probe measures is not biased by the search."""
STEP = 1.25
"""Factor between temperatures while the target is not bracketed: six steps from 0.6 to 2."""
DIGITS = 4
"""Temperatures are rounded to this many decimals, so that the one reported is the one measured."""
MOST_TRIES = 24
"""A bracket of temperatures from 0.05 to 3, halved so often, is narrower than `DIGITS` can tell."""


Outcome = Literal["matched", "too low", "too high", "jumps"]


@dataclass(frozen=True, slots=True)
class EntropyMatch:
    """How the search ended."""

    outcome: Outcome
    """`too low`, `too high`: the entropy stays below or above the target up to the last temperature allowed. `jumps`:
    it crosses the target between two neighbouring temperatures without coming near it."""
    temperature: float | None
    """None unless matched: there is nothing to measure at."""
    entropy: float
    """Nats per token at that temperature; unless matched, the closest there was."""
    target: float
    tolerance: float
    path: tuple[tuple[float, float], ...]
    """(temperature, entropy) in the order in which they were measured."""


def match_entropy(
    entropy_at: Callable[[float], float],
    target: float,
    *,
    start: float,
    tolerance: float,
    lowest: float,
    highest: float,
) -> EntropyMatch:
    """A temperature in [lowest, highest] whose entropy is within `tolerance` nats of `target`.

    Args:
        entropy_at: measures the mean token entropy, nats, at a temperature; must give one value for one temperature.
        start: where to begin, in [lowest, highest]; where the target was measured.

    Raises: ValueError for a target or an entropy that is not finite, and for a start outside the range.
    """
    if not math.isfinite(target):
        raise ValueError(f"match_entropy: target {target}; expected the entropy of the base, in nats")
    if not 0 < lowest <= start <= highest:
        raise ValueError(f"match_entropy: start {start} outside [{lowest}, {highest}]")
    path: list[tuple[float, float]] = []

    def gap_at(temperature: float) -> float:
        entropy = entropy_at(temperature)
        if not math.isfinite(entropy):
            raise ValueError(f"match_entropy: entropy {entropy} at temperature {temperature}; expected a finite number")
        path.append((temperature, entropy))
        return entropy - target

    outcome = _outward(gap_at, start, tolerance, lowest, highest)
    if not isinstance(outcome, str):
        outcome = _inward(gap_at, *outcome, tolerance, tries=MOST_TRIES - len(path))
    temperature, entropy = min(path, key=lambda point: abs(point[1] - target))
    return EntropyMatch(outcome, temperature if outcome == "matched" else None, entropy, target, tolerance, tuple(path))


def _outward(
    gap_at: Callable[[float], float], start: float, tolerance: float, lowest: float, highest: float
) -> Outcome | tuple[float, float, float, float]:
    """Step away from `start` until the gap changes its sign: (low, gap there, high, gap there), or how it ended."""
    near, gap = start, gap_at(start)
    if abs(gap) <= tolerance:
        return "matched"
    below = gap < 0
    while True:
        if near == (highest if below else lowest):
            return "too low" if below else "too high"
        far = min(round(near * STEP, DIGITS), highest) if below else max(round(near / STEP, DIGITS), lowest)
        far_gap = gap_at(far)
        if abs(far_gap) <= tolerance:
            return "matched"
        if (far_gap < 0) != below:
            return (near, gap, far, far_gap) if below else (far, far_gap, near, gap)
        near, gap = far, far_gap


def _inward(
    gap_at: Callable[[float], float], low: float, low_gap: float, high: float, high_gap: float, tolerance: float,
    *, tries: int,
) -> Outcome:
    """Narrow the bracket [low, high] until the gap is within the tolerance or nothing is left between its ends."""
    for _ in range(tries):
        # Where a straight line meets the target, but never so close to an end that the bracket hardly shrinks.
        share = min(max(low_gap / (low_gap - high_gap), 0.1), 0.9)
        middle = round(low + share * (high - low), DIGITS)
        if middle in (low, high):
            return "jumps"
        gap = gap_at(middle)
        if abs(gap) <= tolerance:
            return "matched"
        if gap < 0:
            low, low_gap = middle, gap
        else:
            high, high_gap = middle, gap
    return "jumps"


def mean_entropy(
    problems: Sequence[Problem], sampler: Sampler, decoding: Decoding, *, samples: int, seed: int, batch_size: int,
    world: World,
) -> float:
    """Mean token entropy (nats) of the first `samples` completions of every problem, as `boundary/entropy` has it:
    problems count alike, each by those of its samples whose entropy the sampler knows.

    Every rank of `world` calls it with equal arguments and gets the same number. The uniforms behind the draws are the
    same at every temperature, so that entropies at two temperatures differ by the temperature, not by luck. NaN if no
    entropy of some problem is known.
    """
    requests = [SampleRequest(problem, index) for index in range(samples) for problem in problems]
    known: dict[str, list[float]] = {problem.id: [] for problem in problems}
    for start in range(0, len(requests), batch_size):
        mine = share(requests[start : start + batch_size], world)
        drawn = sampler.sample(mine, decoding, seed=seed, stream=STREAM)
        for problem_id, entropy in world.gather([(one.problem_id, one.entropy) for one in drawn]):
            if not math.isnan(entropy):
                known[problem_id].append(entropy)
    if not all(known.values()):
        return math.nan
    return math.fsum(math.fsum(entropies) / len(entropies) for entropies in known.values()) / len(known)
