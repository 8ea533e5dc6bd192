"""The countdown task: combine four integers by + - * into a target, one step at a time.

A problem reads `3 5 7 4 -> 18 :` and one of its answers `3 * 5 = 15 ; 15 + 7 = 22 ; 22 - 4 = 18`: each step takes two
of the numbers that are left and puts its result back, every result lies in 0..max_value, all four numbers are used
once, the last result is the target. The set of right answers of a problem is small enough to list (tens), which is
what makes the exact success probability of a model computable.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import combinations, islice
from types import MappingProxyType

from rlvr.types import Problem, UserError

MAX_VALUE = 99
"""Largest number a step may produce; every integer 0..MAX_VALUE is one token of the lab's vocabulary."""
LARGEST_NUMBER = 13
"""The given numbers are 1..LARGEST_NUMBER."""
NUM_NUMBERS = 4
ANSWER_TOKENS = 6 * (NUM_NUMBERS - 1)
"""Length of every right answer: five tokens a step (`3 * 5 = 15`), and a `;` or the end-of-sequence token behind it."""
SPLITS = {"train": 63_806, "test": 9_308, "hard": 666}
"""With the number of their problems, which takes longer to count than to draw those of a run. `hard`: the problems of
the test split with at most HARD_ANSWERS right answers."""
HARD_ANSWERS = 2
"""666 of 9,308 test problems have so few. The shipped base solves them in 1.7% of single tries and 87.7% of 256, so
there is room above it; and as no model chose them, no model is at a disadvantage on them."""
TEST_SHARE = 8
"""One number set in TEST_SHARE belongs to the test split."""
OPERATORS = ("+", "-", "*")


def format_prompt(numbers: Sequence[int], target: int) -> str:
    """The prompt text of a problem, e.g. `3 5 7 4 -> 18 :`; one token per word."""
    return f"{' '.join(map(str, numbers))} -> {target} :"


def split_of(numbers: Sequence[int]) -> str:
    """The split a set of numbers belongs to, "train" or "test"; their order and the target do not matter."""
    key = " ".join(map(str, sorted(numbers)))
    digest = hashlib.sha256(key.encode()).digest()
    return "test" if int.from_bytes(digest[:8], "big") % TEST_SHARE == 0 else "train"


def problems(split: str, size: int, seed: int = 0) -> list[Problem]:
    """The first `size` problems of a split: solvable, without duplicates, in an order that `seed` fixes.

    `train` shares no set of numbers with the others. A longer list starts with the shorter one of the same seed.
    Raises UserError when the split has fewer problems.
    """
    if split not in SPLITS:
        raise UserError(f"lab split {split!r} does not exist: choose one of {', '.join(SPLITS)}")
    if size > SPLITS[split]:
        raise UserError(f"lab split {split!r}: {size} problems asked for, it has {SPLITS[split]}; ask for fewer")
    return list(islice(stream(split, seed), size))


def _is_hard(numbers: Sequence[int], target: int) -> bool:
    return len(derivations(numbers, target, MAX_VALUE)) <= HARD_ANSWERS


def stream(split: str, seed: int = 0) -> Iterator[Problem]:
    """All problems of a split, each once: four numbers drawn uniformly, the target uniformly from what they reach.

    Those of `hard` are problems of `test` under their own ids, in the same order.
    """
    if split == "hard":
        yield from (p for p in stream("test", seed) if _is_hard(p.extra["numbers"], int(p.gold)))
        return
    rng = random.Random(f"countdown/{split}/{seed}")
    folder = f"countdown/{split}" if seed == 0 else f"countdown/{split}-seed{seed}"
    seen: set[tuple[tuple[int, ...], int]] = set()
    while len(seen) < SPLITS[split]:
        numbers = [rng.randint(1, LARGEST_NUMBER) for _ in range(NUM_NUMBERS)]
        if split_of(numbers) != split:
            continue
        key = tuple(sorted(numbers))
        # 0 is left out as a target: multiplying by it makes answers by the hundred.
        target = rng.choice(sorted(reachable(key, MAX_VALUE) - {0}))
        if (key, target) in seen:
            continue
        seen.add((key, target))
        yield Problem(
            id=f"{folder}/{len(seen) - 1}",
            prompt=format_prompt(numbers, target),
            gold=str(target),
            verifier="countdown",
            extra=MappingProxyType({"numbers": numbers, "max_value": MAX_VALUE}),
        )


def derivations(numbers: Sequence[int], target: int, max_value: int) -> list[str]:
    """Every completion text that solves the problem: all orders of steps and of operands, distinct, sorted.

    Empty when the target cannot be reached. `numbers` are non-negative, in any order.
    """
    return sorted(" ; ".join(steps) for steps in _solutions(tuple(sorted(numbers)), target, max_value))


@cache
def reachable(numbers: tuple[int, ...], max_value: int) -> frozenset[int]:
    """All results that the sorted `numbers` can be combined into, each used once."""
    if len(numbers) == 1:
        return frozenset(numbers)
    return frozenset(
        result for _, rest in _steps(numbers, max_value) for result in reachable(rest, max_value)
    )


def _solutions(numbers: tuple[int, ...], target: int, max_value: int) -> Iterator[tuple[str, ...]]:
    """Distinct step sequences from the sorted `numbers` to the target."""
    if len(numbers) == 1:
        if numbers[0] == target:
            yield ()
        return
    for text, rest in _steps(numbers, max_value):
        if target in reachable(rest, max_value):
            for tail in _solutions(rest, target, max_value):
                yield (text, *tail)


@cache
def _steps(numbers: tuple[int, ...], max_value: int) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """The distinct next steps from the sorted `numbers`: (text, the sorted numbers that are then left)."""
    steps = []
    for low, high in sorted(set(combinations(numbers, 2))):
        rest = list(numbers)
        rest.remove(low)
        rest.remove(high)
        candidates = {(low, "+", high, low + high), (high, "+", low, low + high), (high, "-", low, high - low),
                      (low, "*", high, low * high), (high, "*", low, low * high)}
        for left, operator, right, result in sorted(candidates):
            if result <= max_value:
                steps.append((f"{left} {operator} {right} = {result}", tuple(sorted([*rest, result]))))
    return tuple(steps)
