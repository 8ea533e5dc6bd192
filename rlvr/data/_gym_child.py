"""Generates problems of a reasoning-gym task in a process of its own: `python -P _gym_child.py`.

Request (pickled dict, stdin): task, params, seed, size, half (0 or 1). Reply (pickled dict, stdout): `entries`, a list
of the package's own entries, or `error`, a sentence.

A process of its own because some tasks iterate over sets or use the global random state: under PYTHONHASHSEED=0, and
with that state seeded before each entry, the same request gives the same entries everywhere. A problem belongs to the
half that its normalised question hashes to, so the halves share no question for any seeds; repeated
questions are left out.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import os
import pickle
import random
import sys
import unicodedata
from typing import Any

SEED_STRIDE = 1_000_000
"""reasoning-gym seeds entry i with seed + i, so neighbouring seeds share nearly all entries: ours are far apart."""
DRAWS_PER_PROBLEM = 50
"""Draws after which a task is taken to have no further problems."""


def entries(task: str, params: dict[str, Any], seed: int, size: int, half: int) -> list[dict[str, Any]]:
    """The first `size` different entries of a half. Raises ValueError, one sentence, if that cannot be."""
    import numpy
    from reasoning_gym.factory import DATASETS, create_dataset

    if task not in DATASETS:
        close = difflib.get_close_matches(task, DATASETS, n=3)
        guess = f"did you mean {' or '.join(map(repr, close))}?" if close else f"it has {', '.join(sorted(DATASETS))}"
        raise ValueError(f"reasoning-gym has no task {task!r}; {guess}")
    settings = [field.name for field in dataclasses.fields(DATASETS[task][1]) if field.name not in ("seed", "size")]
    for name in params:
        if name not in settings:
            raise ValueError(f"task {task!r} has no setting {name!r} (params); it has {', '.join(settings)}")
    by_question: dict[str, dict[str, Any]] = {}
    drawn, most = 0, min(DRAWS_PER_PROBLEM * size + 1000, SEED_STRIDE)
    while len(by_question) < size and drawn < most:
        block = min(2 * (size - len(by_question)) + 64, most - drawn)
        try:
            dataset = create_dataset(task, **params, seed=seed * SEED_STRIDE + drawn, size=block)
        except (TypeError, ValueError, AssertionError) as error:
            raise ValueError(f"task {task!r} refuses these settings: {error or type(error).__name__}") from None
        for i in range(block):
            random.seed(seed * SEED_STRIDE + drawn + i)
            numpy.random.seed(seed * SEED_STRIDE + drawn + i)
            entry = dataset[i]
            question = normal(entry["question"])
            if hashlib.sha256(question.encode()).digest()[0] % 2 == half:
                by_question.setdefault(question, entry)
            if len(by_question) == size:
                break
        drawn += block
    if len(by_question) < size:
        raise ValueError(f"task {task!r} gave only {len(by_question)} different problems of this split in {drawn:,} "
                         "draws; ask for fewer, or for harder ones through params")
    return list(by_question.values())


def normal(text: str) -> str:
    """As the overlap of training and probe problems compares questions (rlvr.data.problem_sets)."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def main() -> None:
    reply = os.dup(1)
    os.dup2(2, 1)  # what the package prints must not end up in the reply
    try:
        answer: dict[str, Any] = {"entries": entries(**pickle.load(sys.stdin.buffer))}
    except ValueError as error:
        answer = {"error": " ".join(str(error).split())}
    with os.fdopen(reply, "wb") as pipe:
        pickle.dump(answer, pipe)


if __name__ == "__main__":
    main()
