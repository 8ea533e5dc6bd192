"""How much of pass@k could be lucky guessing: a baseline made from the model's own wrong answers.

The stopping rule of a plan sees right and wrong only. Given how many samples of a problem failed, its wrong answers
are therefore independent draws from the problem's wrong-answer law W, under every plan. The guess rate of problem i
is the chance that a wrong answer to another problem would have been right here,

    g_i = mean over donors j of (share of j's wrong answers equal to i's gold answer),

with donors j of the same answer type, another gold answer and at least one failed sample. Wrong answers alone are
used, so real knowledge of problem j is not counted as luck; "no answer" counts as a wrong answer that matches nothing.

If a sample solves with chance s and else guesses right with chance g, it fails with q = (1 - s)(1 - g), so

    pass@k without luck = 1 - q^k / (1-g)^k = (pass@k - b(k)) / (1 - b(k)),    b(k) = 1 - (1-g)^k

(Abbott's correction at the level of k). It is linear in the unbiased estimate of q^k, so unbiased for a known g under
any plan; noise in g adds a bias of order k^2 Var(g). Average first and clip after, never per problem.

What it is not: a bound from above on luck. A model that guesses better on its own problem than on others (range,
parity, numbers in the text) escapes it: the corrected pass@k is an upper bound on solving. Right answers from wrong
reasoning need a look at the reasoning.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from rlvr.statistics.intervals import failures_P
from rlvr.statistics.plan import SamplingPlan
from rlvr.types import Counts, UserError

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FailedSamples:
    """The failed samples of one problem in the base probe."""

    problem_id: str
    gold: str
    """In the same canonical form as `answers`."""
    failed: int
    """Samples judged wrong, those without a readable answer included."""
    answers: Mapping[str, int]
    """Readable wrong answer -> times; sums to at most `failed`."""


@dataclass(frozen=True)
class GuessBaseline:
    """Guess rates frozen from the base model's probe, so that the filtered problem set never moves during training."""

    rates: Mapping[str, float]
    """Problem id -> g in [0, 1]; NaN where no donor of the problem's answer type exists."""

    def rate(self, problem_id: str) -> float:
        """g of one problem. Raises UserError for a problem that the base probe did not hold."""
        if problem_id not in self.rates:
            raise UserError(f"guess rate of problem {problem_id!r} is unknown; expected a problem of the base probe")
        return self.rates[problem_id]

    def guessable(self, problem_id: str, k: int) -> bool:
        """True when k guesses alone solve the problem with a chance above 1/2: b(k) > 1/2.

        Beyond that the correction multiplies noise too much (its variance grows as (1-g)^-2k). The rule sees g alone,
        never the probe at hand. False where g is NaN: nothing is known against the problem.
        """
        return 1.0 - (1.0 - self.rate(problem_id)) ** k > 0.5

    def baseline(self, problem_ids: Sequence[str], k: int) -> FloatArray:
        """(P,) b(k) = 1 - (1-g)^k, pass@k of guessing alone, in [0, 1]; NaN where g is NaN."""
        return 1.0 - (1.0 - np.array([self.rate(problem_id) for problem_id in problem_ids])) ** k


@dataclass(frozen=True, slots=True)
class CorrectedPassAtK:
    """pass@k over the problems that are not guessable at k. NaN when all are."""

    k: int
    pass_at_k: float
    """Uncorrected mean over the kept problems, in [0, 1]."""
    baseline: float
    """Mean b(k) over the kept problems; an unknown g counts as 0."""
    corrected: float
    """Mean of (pass@k - b) / (1 - b) over the kept problems, clipped to [0, 1] after averaging."""
    kept_ids: tuple[str, ...]
    guessable_ids: tuple[str, ...]


CONTRADICTIONS = 0.01
"""Largest share of readable samples whose answer was judged both ways at which the answer still decides the verdict.
Time-outs and answers cut to 200 characters make a few; a verifier of derivations or programs makes many more."""


def baseline_of_samples(
    samples: Iterable[Mapping[str, Any]], golds: Mapping[str, str],
    keys: Mapping[str, Callable[[str], str]] | None = None,
) -> GuessBaseline | None:
    """Guess rates from the base probe's samples, or None where guessing an answer would not be enough.

    Args:
        samples: rows with problem_id, correct and extracted (the answer read, None if none), as in samples/.
        golds: problem id -> gold answer, for every problem of the probe.
        keys: problem id -> canonical form of a gold or extracted answer (`Verifier.answer_key`), so that `0.5` counts
            as a guess of `\\frac{1}{2}`; problems that are missing are compared as stripped text.

    None: no sample has a readable answer, or the verdict does not follow from the answer (a verifier that also checks
    the derivation, or runs a program, judges equal answers of one problem both ways).
    """
    seen: defaultdict[str, Counter[tuple[str, bool]]] = defaultdict(Counter)
    failed: Counter[str] = Counter()
    for row in samples:
        failed[row["problem_id"]] += not row["correct"]
        if row["extracted"] is not None:
            seen[row["problem_id"]][row["extracted"].strip(), bool(row["correct"])] += 1
    readable = sum(times for answers in seen.values() for times in answers.values())
    both_ways = sum(
        min(times, answers[answer, False]) for answers in seen.values() for (answer, right), times in answers.items()
        if right
    )
    if not readable or both_ways > CONTRADICTIONS * readable:
        return None
    wrong = []
    for problem_id, gold in golds.items():
        key = (keys or {}).get(problem_id, str.strip)
        answers: Counter[str] = Counter()
        for (answer, right), times in seen[problem_id].items():
            answers[key(answer)] += times * (not right)
        wrong.append(FailedSamples(problem_id, key(gold), failed[problem_id], answers))
    return guess_baseline(wrong)


def guess_baseline(wrong: Sequence[FailedSamples], *, key: Callable[[str], str] = str.strip) -> GuessBaseline:
    """Guess rates of all problems from the wrong answers of the base probe.

    Args:
        wrong: one entry per problem, problems without failed samples included (they receive a rate, donate nothing).
        key: canonical form of an answer; answers with one key are the same answer.

    Raises: UserError for a problem that occurs twice, or more answers than failed samples.
    """
    if len({one.problem_id for one in wrong}) != len(wrong):
        raise UserError("guess_baseline: a problem occurs twice; expected one entry per problem")
    donors: Counter[str] = Counter()  # by answer type
    shares: defaultdict[tuple[str, str], float] = defaultdict(float)  # by answer type and answer, summed over donors
    own_donors: Counter[tuple[str, str]] = Counter()  # by answer type and gold answer: donors that do not count for it
    own_shares: defaultdict[tuple[str, str], float] = defaultdict(float)
    for one in wrong:
        answered = sum(one.answers.values())
        if answered > one.failed or any(times < 0 for times in one.answers.values()):
            raise UserError(f"guess_baseline: problem {one.problem_id!r} has {answered} wrong answers from "
                            f"{one.failed} failed samples; expected at most one each")
        if one.failed == 0:
            continue
        type_, gold = answer_type(one.gold), key(one.gold)
        donors[type_] += 1
        own_donors[type_, gold] += 1
        for answer, times in one.answers.items():
            shares[type_, key(answer)] += times / one.failed
            if key(answer) == gold:
                own_shares[type_, gold] += times / one.failed
    rates: dict[str, float] = {}
    for one in wrong:
        cell = answer_type(one.gold), key(one.gold)
        others = donors[cell[0]] - own_donors[cell]
        rates[one.problem_id] = (shares[cell] - own_shares[cell]) / others if others else float("nan")
    return GuessBaseline(MappingProxyType(rates))


def corrected_pass_at_k(
    counts: Sequence[Counts], plan: SamplingPlan, k: int, baseline: GuessBaseline
) -> CorrectedPassAtK:
    """Mean pass@k with the share of lucky guesses taken out, over the problems not guessable at k.

    Raises ValueError, naming the problem, for counts at which `plan` never stops; UserError for k beyond the plan or
    a problem without a guess rate.
    """
    unsolved_P = plan.unsolved_F(k)[failures_P(counts, plan)]
    keep_P = np.array([not baseline.guessable(one.problem_id, k) for one in counts], dtype=bool)
    ids = [one.problem_id for one in counts]
    kept = tuple(problem_id for problem_id, keep in zip(ids, keep_P, strict=True) if keep)
    b_P = np.nan_to_num(baseline.baseline(kept, k), nan=0.0)
    unsolved_P = unsolved_P[keep_P]
    return CorrectedPassAtK(
        k=k,
        pass_at_k=float(1.0 - unsolved_P.mean()) if kept else float("nan"),
        baseline=float(b_P.mean()) if kept else float("nan"),
        corrected=float(np.clip(1.0 - np.mean(unsolved_P / (1.0 - b_P)), 0.0, 1.0)) if kept else float("nan"),
        kept_ids=kept,
        guessable_ids=tuple(problem_id for problem_id in ids if problem_id not in set(kept)),
    )


def answer_type(gold: str) -> str:
    """What a guesser knows of the answer: choice, integer by size (10, 100, larger), number, collection, expression.

    Works on the plain text of the gold answer; two problems are compared within one type only.
    """
    text = gold.strip().strip("$").replace("\\!", "").replace("\\,", "").replace("{,}", "").strip()
    if re.fullmatch(r"(\\text\{)?\(?[A-Ja-j]\)?\}?", text):
        return "choice"
    if re.fullmatch(r"[+-]?\d+|[+-]?\d{1,3}(,\d{3})+", text):
        size = abs(int(text.replace(",", "")))
        return "integer <= 10" if size <= 10 else "integer <= 100" if size <= 100 else "integer > 100"
    if re.fullmatch(r"[+-]?(\d*\.\d+|\d+\s*/\s*\d+|\\[dt]?frac\{\d+\}\{\d+\})\s*(\\?%)?", text):
        return "number"
    if re.fullmatch(r"(\\left)?[({\[\\].*,.*[)}\]]", text, flags=re.DOTALL) or "," in text:
        return "collection"
    return "expression"
