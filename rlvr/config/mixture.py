"""Training on several sources at once (`data.train` as a mapping): which source each prompt of a run comes from.

The proportions are exact: among the first n prompts of a run each source has its share of n to within less than one
prompt, whatever n. That is Tijdeman's algorithm for the chairman assignment problem (1980, Discrete Mathematics
32:323): for k sources with shares w no count ever differs from w n by more than 1 - 1 / (2k - 2), which is the best
possible bound. Drawing sources at random would leave a step of 256 prompts off by 8 for a share of one half.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction

from rlvr.config.data import DataSpec, MixtureSpec, by_name


def shares(train: DataSpec | Mapping[str, MixtureSpec]) -> dict[str, Fraction]:
    """Name of each source -> its share of the prompts, exactly; {"": 1} for a single source, which has no name."""
    weights = {name: Fraction(str(spec.weight)) if isinstance(spec, MixtureSpec) else Fraction(1)
               for name, spec in by_name(train).items()}
    return {name: weight / sum(weights.values()) for name, weight in weights.items()}


def most_per_step(train: DataSpec | Mapping[str, MixtureSpec], prompts_per_step: int) -> dict[str, int]:
    """Name of each source -> the most prompts that a step of the run takes from it."""
    parts = shares(train)
    off = _bound(len(parts))
    return {name: int(exact) if (exact := share * prompts_per_step).denominator == 1 else math.ceil(exact + 2 * off) - 1
            for name, share in parts.items()}


def sources_in_turn(shares: Sequence[Fraction]) -> Iterator[int]:
    """Number of the source of the first prompt, of the second, and so on for ever. `shares` add up to 1."""
    whole = math.lcm(*(share.denominator for share in shares))
    weights = [int(share * whole) for share in shares]  # whole numbers: a run has hundreds of thousands of prompts
    scale = [math.lcm(*weights) // weight for weight in weights]
    parts = max(2 * len(shares) - 2, 1)
    owed = [0] * len(shares)  # how far each is behind its share, times `whole`
    while True:
        owed = [behind + weight for behind, weight in zip(owed, weights, strict=True)]
        # Of those that may be served already, the one that has to be served first.
        ready = [i for i, behind in enumerate(owed) if parts * behind >= whole]
        turn = min(ready, key=lambda i: ((parts - 1) * whole - parts * owed[i]) * scale[i])
        owed[turn] -= whole
        yield turn


def _bound(sources: int) -> Fraction:
    """By how much a count may differ from its share."""
    return 1 - Fraction(1, 2 * sources - 2) if sources > 1 else Fraction(0)
