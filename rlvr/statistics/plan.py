"""Sequential sampling plans: easy problems stop early, and pass@k stays exactly unbiased.

A problem is sampled in rounds. After the round that ends at checkpoint N_j it stops once it has c >= m_j correct
samples; at the last checkpoint it always stops. Given the endpoint (n, c), all orders of right and wrong samples
that lead there without stopping earlier are equally likely, so the share of those orders that begin with k wrong
samples, T_k = K_k / K_0, has expectation (1-p)^k for every success probability p (Rao-Blackwell). pass@k = 1 - T_k.

This holds as long as stopping depends on (n, c) of this problem and this probe alone: decide only when a whole
round is judged, and never stop a problem without a success before the last checkpoint.

Suffix F: one entry per number of failures f = n - c = 0..N. A plan has exactly one endpoint for each f.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.special import betaln, xlogy

from rlvr.types import UserError

FloatArray = npt.NDArray[np.float64]


def _integers(name: str, values: Sequence[int]) -> tuple[int, ...]:
    try:
        return tuple(operator.index(value) for value in values)
    except TypeError:
        raise UserError(f"SamplingPlan.{name} is {values!r}; expected a list of integers") from None


@dataclass(frozen=True)
class SamplingPlan:
    """When to look at a problem and when to stop sampling it.

    Example: `SamplingPlan(checkpoints=(12, 24, 256), stop_at=(5, 2))` draws 12 samples; stops with 5 or more correct,
    else draws 12 more; stops with 2 or more correct of 24, else draws the remaining 232.
    """

    checkpoints: tuple[int, ...]
    """Total samples N_1 < N_2 < ... < N_L after each round. Lists are turned into tuples."""
    stop_at: tuple[int, ...] = ()
    """Thresholds m_1 .. m_{L-1}, each >= 1: stop at N_j once c >= m_j. At N_L every problem stops."""

    def __post_init__(self) -> None:
        """Raise UserError for a plan that cannot be run, or under which pass@k would be biased."""
        object.__setattr__(self, "checkpoints", _integers("checkpoints", self.checkpoints))
        object.__setattr__(self, "stop_at", _integers("stop_at", self.stop_at))
        if not self.checkpoints:
            raise UserError("SamplingPlan.checkpoints is empty; expected at least one number of samples, as in [256]")
        if any(later <= earlier for earlier, later in pairwise((0, *self.checkpoints))):
            raise UserError(f"SamplingPlan.checkpoints is {list(self.checkpoints)}; expected total samples after each "
                            "round, positive and strictly increasing, as in [16, 64, 256]")
        if len(self.stop_at) != len(self.checkpoints) - 1:
            raise UserError(f"SamplingPlan.stop_at has {len(self.stop_at)} thresholds for {len(self.checkpoints)} "
                            f"checkpoints; expected {len(self.checkpoints) - 1}, one for each but the last")
        if any(threshold < 1 for threshold in self.stop_at):
            raise UserError(f"SamplingPlan.stop_at is {list(self.stop_at)}; expected thresholds of at least 1: giving "
                            "up a problem without a success before the last checkpoint biases pass@k")

    @property
    def first_round(self) -> int:
        """Samples every problem gets."""
        return self.checkpoints[0]

    @property
    def max_samples(self) -> int:
        """N: samples of a problem that never stops early, and the largest k."""
        return self.checkpoints[-1]

    def next_round(self, n: int, c: int) -> int:
        """Samples to draw next when n are judged and c of them correct; 0 means stop.

        `next_round(0, 0)` is the first round. Raises ValueError when n is neither 0 nor a checkpoint: deciding
        before a round is complete biases every estimate.
        """
        if not 0 <= c <= n:
            raise ValueError(f"next_round: c={c} correct of n={n} samples; expected 0 <= c <= n")
        if n == 0:
            return self.first_round
        if n not in self.checkpoints:
            raise ValueError(f"next_round: n={n} is inside a round; expected 0 or one of {list(self.checkpoints)}: "
                             "wait until the whole round is judged")
        round_ = self.checkpoints.index(n)
        if round_ == len(self.stop_at) or c >= self.stop_at[round_]:
            return 0
        return self.checkpoints[round_ + 1] - n

    def estimate(self, n: int, c: int, k: int) -> float:
        """Unbiased pass@k of one problem that stopped at (n, c), in [0, 1] and not decreasing in k.

        Means and differences over problems are what it is for. One value may look odd: it can be 0 though c > 0.
        Show single problems with c/n. Raises ValueError for k outside 1..max_samples (no unbiased estimator
        exists) and for (n, c) at which this plan never stops.
        """
        return float(self.pass_at_k_F(k)[self.failures(n, c)])

    def failures(self, n: int, c: int) -> int:
        """f = n - c, the index into the `_F` arrays. Raises ValueError unless the plan stops at (n, c)."""
        f = operator.index(n) - operator.index(c)
        if not 0 <= c <= n:
            raise ValueError(f"c={c} correct of n={n} samples; expected 0 <= c <= n")
        stop_F = self.samples_F
        if f > self.max_samples or stop_F[f] != n:
            where = f"with {f} failures it stops at n={stop_F[f]}" if f <= self.max_samples else "it has too many"
            raise ValueError(f"n={n}, c={c} is not an endpoint of the plan {list(self.checkpoints)}, stop_at "
                             f"{list(self.stop_at)}: {where}; the probe is unfinished or used another plan")
        return f

    @property
    def samples_F(self) -> npt.NDArray[np.int64]:
        """(N+1,) samples n at the endpoint with f failures."""
        return _samples_F(self)

    def pass_at_k_F(self, k: int) -> FloatArray:
        """(N+1,) unbiased pass@k by number of failures, for 1 <= k <= max_samples. Read-only."""
        return _tables(self, self._valid_k(k))[0]

    def unsolved_F(self, k: int) -> FloatArray:
        """(N+1,) T_k = 1 - pass@k by number of failures, for 1 <= k <= max_samples. Read-only."""
        return _tables(self, self._valid_k(k))[1]

    def at_least_F(self, k: int, j: int) -> FloatArray:
        """(N+1,) chance that at least j of the first k samples were correct, by number of failures. Read-only.

        Unbiased for P(Bin(k, p) >= j) under this plan (given the endpoint all allowed orders are equally likely), in
        [0, 1]; `at_least_F(k, 1)` is `pass_at_k_F(k)`. For 1 <= j <= k <= max_samples. Raises UserError where the plan
        may stop before sample k with the event still open: then no unbiased estimate in [0, 1] exists at all.
        """
        k, j = self._valid_k(k), operator.index(j)
        if not 1 <= j <= k:
            raise ValueError(f"at_least_F: j={j} of k={k} samples; expected 1 <= j <= k")
        return _at_least_F(self, k, j)

    def endpoint_probabilities_F(self, p: float) -> FloatArray:
        """(N+1,) probability to stop with f failures when every sample is correct with probability p."""
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"p={p}; expected a probability in [0, 1]")
        failures_F = np.arange(self.max_samples + 1)
        log_F = _log_paths_F(self) + xlogy(self.samples_F - failures_F, p) + xlogy(failures_F, 1.0 - p)
        return np.exp(log_F)

    def expected_samples(self, p: float) -> float:
        """Mean number of samples drawn for a problem of success probability p."""
        return float(self.endpoint_probabilities_F(p) @ self.samples_F)

    def expected_samples_beta(self, a: float, b: float) -> float:
        """Mean number of samples per problem when success probabilities follow Beta(a, b), a, b > 0."""
        return float(self._endpoint_probabilities_beta_F(a, b) @ self.samples_F)

    def variance(self, p: float, k: int) -> float:
        """Exact variance of `estimate(., ., k)` for a problem of success probability p."""
        return float(self.endpoint_probabilities_F(p) @ (self.unsolved_F(k) - (1.0 - p) ** k) ** 2)

    def worst_variance(self, k: int) -> float:
        """Largest `variance(p, k)` over p, to about 1% (a grid of 200 values of pass@k)."""
        return _worst_variance(self, self._valid_k(k))

    def _endpoint_probabilities_beta_F(self, a: float, b: float) -> FloatArray:
        if not (a > 0.0 and b > 0.0):
            raise ValueError(f"Beta({a}, {b}); expected two positive parameters")
        failures_F = np.arange(self.max_samples + 1)
        correct_F = self.samples_F - failures_F
        return np.exp(_log_paths_F(self) + betaln(a + correct_F, b + failures_F) - betaln(a, b))

    def _valid_k(self, k: int) -> int:
        k = operator.index(k)
        if not 1 <= k <= self.max_samples:
            raise UserError(f"pass@{k} cannot be estimated without bias from at most {self.max_samples} samples per "
                            f"problem; expected k in 1..{self.max_samples}, or a plan that draws at least {k}")
        return k


PLANS: dict[str, SamplingPlan] = {
    "fixed": SamplingPlan((256,)),
    "balanced": SamplingPlan((12, 24, 48, 96, 192, 256), (5, 4, 2, 2, 1)),
    "cheap": SamplingPlan((8, 16, 32, 64, 128, 256), (2, 2, 2, 1, 1)),
    "reference-512": SamplingPlan((16, 32, 64, 128, 256, 512), (8, 6, 5, 4, 3)),
}
"""Plans by name. `balanced` is the default of a probe; `reference-512` is for a base model, measured once."""
RETIRED = {
    "exact": SamplingPlan((16, 32, 64, 128, 256), (12, 12, 5, 3)),
    "three-round": SamplingPlan((32, 96, 256), (2, 1)),
}
"""Plans that recipes can no longer name; stored runs that were measured with them are still read."""


def _advance(paths_by_c: dict[int, int], draws: int) -> dict[int, int]:
    """Number of paths by successes after `draws` more samples without a decision in between."""
    binomials = [math.comb(draws, gained) for gained in range(draws + 1)]
    after: dict[int, int] = {}
    for c, paths in paths_by_c.items():
        for gained, ways in enumerate(binomials):
            after[c + gained] = after.get(c + gained, 0) + paths * ways
    return after


def _count_paths_F(plan: SamplingPlan, k: int, correct: int = 0) -> list[int]:
    """By number of failures: unstopped ways from k samples, `correct` of them right, to each endpoint.

    K_k for correct = 0, K_0 (all ways) for k = 0. The caller knows that (k, correct) can be reached.
    """
    paths_F = [0] * (plan.max_samples + 1)
    n, paths_by_c = k, {correct: 1}
    for checkpoint, threshold in zip(plan.checkpoints, (*plan.stop_at, 0), strict=True):
        if checkpoint < k:
            continue  # a path that is at k was not stopped earlier; k wrong samples in a row never are
        alive = _advance(paths_by_c, checkpoint - n)
        paths_by_c = {}
        for c, paths in alive.items():
            if c >= threshold:
                paths_F[checkpoint - c] = paths
            else:
                paths_by_c[c] = paths
        n = checkpoint
    return paths_F


# Every cache below is keyed by the plan itself, which is hashable and never changes.
@lru_cache(maxsize=64)
def _paths_F(plan: SamplingPlan) -> tuple[int, ...]:
    return tuple(_count_paths_F(plan, 0))


@lru_cache(maxsize=64)
def _log_paths_F(plan: SamplingPlan) -> FloatArray:
    return _read_only([math.log(paths) for paths in _paths_F(plan)])


@lru_cache(maxsize=1024)
def _tables(plan: SamplingPlan, k: int) -> tuple[FloatArray, FloatArray]:
    """(pass@k, T_k) by number of failures: exact integer ratios, rounded once."""
    pairs = list(zip(_count_paths_F(plan, k), _paths_F(plan), strict=True))
    return _read_only([(total - k_fail) / total for k_fail, total in pairs]), _read_only([a / b for a, b in pairs])


@lru_cache(maxsize=256)
def _at_least_F(plan: SamplingPlan, k: int, j: int) -> FloatArray:
    n, at_k = 0, {0: 1}  # by successes: paths that reach sample k without being stopped before it
    for checkpoint, threshold in zip(plan.checkpoints[:-1], plan.stop_at, strict=True):
        if checkpoint >= k:
            break
        at_k = {c: paths for c, paths in _advance(at_k, checkpoint - n).items() if c < threshold}
        n = checkpoint
    at_k = _advance(at_k, k - n)
    # Sum over the side with fewer terms: successes j..k, or the complement 0..j-1.
    upper = 2 * j > k
    favourable_F = [0] * (plan.max_samples + 1)
    for c, paths in at_k.items():
        if (c >= j) == upper:
            for f, ways in enumerate(_count_paths_F(plan, k, c)):
                favourable_F[f] += paths * ways
    chance_F = []
    for f, (stop, favourable, total) in enumerate(
        zip(plan.samples_F.tolist(), favourable_F, _paths_F(plan), strict=True)
    ):
        c = stop - f
        if stop >= k:
            chance_F.append(favourable / total if upper else (total - favourable) / total)
        elif c >= j:
            chance_F.append(1.0)
        else:  # where stopping early rules the event out, another endpoint of the same round leaves it open
            raise UserError(f"the chance of at least {j} correct among {k} samples has no unbiased estimate in [0, 1] "
                            f"under the plan {list(plan.checkpoints)}, stop_at {list(plan.stop_at)}: it may stop after "
                            f"{stop} samples with {c} correct; expected k <= {plan.first_round}, fewer successes, or "
                            "a plan that stops later")
    return _read_only(chance_F)


@lru_cache(maxsize=64)
def _samples_F(plan: SamplingPlan) -> npt.NDArray[np.int64]:
    rules = list(zip(plan.checkpoints, (*plan.stop_at, 0), strict=True))
    samples_F = np.array([
        next(checkpoint for checkpoint, threshold in rules if checkpoint - f >= threshold)
        for f in range(plan.max_samples + 1)
    ])
    samples_F.flags.writeable = False
    return samples_F


@lru_cache(maxsize=1024)
def _worst_variance(plan: SamplingPlan, k: int) -> float:
    solved = np.linspace(0.0, 1.0, 201)[1:-1]
    return max(plan.variance(float(-np.expm1(np.log1p(-s) / k)), k) for s in solved)


def _read_only(values: Sequence[float]) -> FloatArray:
    array = np.array(values, dtype=np.float64)
    array.flags.writeable = False
    return array
