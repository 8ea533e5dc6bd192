"""Verifiers in killable worker processes, under a wall clock: always a Verdict, never an exception of a verifier.

    with Judge(workers=2, timeout=10.0) as judge:
        verdicts = judge.judge(problems, texts)

A completion is wrong if its verdict takes longer than `timeout` (`timeout`) or kills its worker twice (`crashed`). An
exception in the verifier is not the completion's fault: it is not judged (correct=None, `harness_error`), and neither
is one whose gold answer the verifier rejects (`gold_error`). The other completions of a batch are not affected.
Processes and clocks are in `rlvr.judging.pool`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import math
import pickle
import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType

from rlvr.config.registry import resolve
from rlvr.judging.outage import wait_out
from rlvr.judging.pool import Item, Pool
from rlvr.types import Problem, Reason, UserError, Verdict

log = logging.getLogger("rlvr.judging.judge")

NEVER_CACHED = frozenset({Reason.TIMEOUT, Reason.CRASHED, Reason.HARNESS_ERROR})
"""They depend on the machine's load and health, not on the completion alone."""


class GoldComplaint(str):
    """What is wrong with a gold answer, as a sentence."""

    verifier_failed = False
    """True: the verifier raised an exception, which says nothing about the answer."""


@dataclass(frozen=True, slots=True)
class JudgeStats:
    """What a Judge did since the last call of `stats()`."""

    counts: dict[Reason, int]
    """Verdicts returned by reason, repeated and cached ones included; reasons that did not occur are left out."""
    computed: int
    """Verdicts that a worker computed; the others were repeats within a call or came from the cache."""
    p50_ms: float
    """Median wall-clock milliseconds of the computed verdicts (of the last 100,000); NaN if there were none."""
    p99_ms: float
    max_ms: float


class Judge:
    """Judges completions in `workers` processes that start at first use and live until `close`.

    May be called from any thread; calls run one after the other. Verdicts (`Verdict.ms` aside) do not depend on the
    number of workers, on the order of the completions or on earlier calls, as long as the verifiers keep no state.
    Equal completions of one problem share one verdict object, also between calls; `Verifier.decisive` says what counts
    as equal (for mathematics: the last box).

    Args:
        workers: number of processes, at least 1.
        timeout: wall-clock seconds for one verdict, counted from the moment a worker begins it. A verifier that ends
            its verdicts itself may ask for more (`Verifier.granted`).
        memory_gib: how much memory a worker may use beyond its loaded verifiers, in GiB (RLIMIT_AS). A verifier
            that needs more dies, which counts as a crash. None: no limit.
        cache_size: verdicts kept between calls; 0 keeps none.
        packages: for a verifier whose constructor takes them: what programs may import besides the standard library.
    """

    def __init__(
        self, workers: int = 2, timeout: float = 10.0, *, memory_gib: float | None = 4.0, cache_size: int = 65536,
        packages: Sequence[str] = (),
    ) -> None:
        if workers < 1:
            raise ValueError(f"Judge(workers={workers}): expected at least 1")
        if not (0 < timeout < math.inf):
            raise ValueError(f"Judge(timeout={timeout}): expected a positive number of seconds")
        if memory_gib is not None and memory_gib <= 0:
            raise ValueError(f"Judge(memory_gib={memory_gib}): expected a positive number, or None for no limit")
        self.workers, self.timeout = workers, timeout
        self._pool = Pool(workers, timeout, None if memory_gib is None else int(memory_gib * 2**30), packages)
        self._cache: OrderedDict[tuple[str, bytes], Verdict] = OrderedDict()
        self._cache_size = cache_size
        self._decisives: dict[str, Callable[[str], str]] = {}
        self._lock = threading.Lock()
        self._closed = False
        self._closing = threading.Event()
        self._counts: Counter[Reason] = Counter()
        self._computed = 0
        self._times_ms: deque[float] = deque(maxlen=100_000)

    def __enter__(self) -> Judge:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the worker processes; none is left when this returns. The Judge cannot be used afterwards.

        A call that another thread waits for ends with a RuntimeError.
        """
        self._closing.set()
        self._pool.stop()
        with self._lock:
            self._closed = True
            self._pool.close()

    def judge(self, problems: Sequence[Problem], texts: Sequence[str]) -> list[Verdict]:
        """The verdict on `texts[i]` as an answer to `problems[i]`, for every i, in order.

        While a verifier answers neither the completions nor their gold answers (rlvr.judging.outage) it waits. Raises
        UserError when that does not end and when a verifier is unknown or cannot be loaded; ValueError when the lengths
        differ.
        """
        if isinstance(problems, Problem) or isinstance(texts, str):
            raise TypeError("judge() takes a list of problems and a list of texts: found one alone")
        if wrong := [number for number, text in enumerate(texts) if not isinstance(text, str)]:
            raise TypeError(f"judge(): texts[{wrong[0]}] is {type(texts[wrong[0]]).__name__}, expected the completion "
                            "as text")
        if len(problems) != len(texts):
            raise ValueError(f"judge() got {len(problems)} problems and {len(texts)} texts: expected one text each")
        with self._lock:
            pickled = _Pickled()
            known: dict[bytes, Verdict] = {}
            items: dict[bytes, Item] = {}
            names: dict[bytes, str] = {}
            keys: list[bytes] = []
            for problem, text in zip(problems, texts, strict=True):
                data, digest = pickled(problem)
                text = self._decisive(problem.verifier, text)
                digest = digest.copy()
                digest.update(text.encode("utf-8", "surrogatepass"))
                key = digest.digest()
                keys.append(key)
                if key in known or key in items:
                    continue
                cached = self._recall(problem.verifier, key)
                if cached is None:
                    items[key] = Item(data, problem.id, text, self._granted(problem))
                    names[key] = problem.verifier
                else:
                    known[key] = cached
            self._run(list(items.values()))
            for name in dict.fromkeys(names.values()):
                wait_out(name, [items[key] for key in items if names[key] == name], self._run, self._sleep)
            for key, item in items.items():
                assert item.verdict is not None
                known[key] = item.verdict
                self._remember(names[key], key, item.verdict)
            _log_harness_errors(items, names)
            verdicts = [known[key] for key in keys]
            self._counts.update([verdict.reason for verdict in verdicts])
            self._computed += len(items)
            self._times_ms.extend([known[key].ms for key in items])
            return verdicts

    def check_golds(self, problems: Sequence[Problem]) -> list[GoldComplaint | None]:
        """For each problem None if its gold answer is usable, else a sentence that says what is wrong with it.

        Usable: the verifier's `check_gold` has no complaint, it judges its own `gold_completion` correct, and it asks
        for less time than this Judge grants.
        """
        pickled = _Pickled()
        items = [Item(pickled(problem)[0], problem.id, None, self._granted(problem)) for problem in problems]
        with self._lock:
            self._run(items)
        verifiers = {name: resolve("verifiers", name) for name in {problem.verifier for problem in problems}}
        return [self._too_slow(verifiers[problem.verifier].own_limit(problem)) or _gold_complaint(item)
                for problem, item in zip(problems, items, strict=True)]

    def _too_slow(self, seconds: float | None) -> GoldComplaint | None:
        if seconds is None or seconds < self.timeout:
            return None
        return GoldComplaint(f"its limits allow a verdict {seconds:g} s, and the judge ends it after {self.timeout:g} "
                             "s; raise judge.timeout above that, or lower the limit")

    def stats(self) -> JudgeStats:
        """Counts and times since the last call (or since the start), which it resets."""
        with self._lock:
            times = sorted(self._times_ms)
            stats = JudgeStats(dict(self._counts), self._computed, _quantile(times, 0.5), _quantile(times, 0.99),
                               times[-1] if times else math.nan)
            self._counts, self._computed = Counter(), 0
            self._times_ms.clear()
            return stats

    def _sleep(self, seconds: float) -> None:
        if self._closing.wait(seconds):
            raise RuntimeError("this Judge was closed while it waited for a verifier")

    def _run(self, items: list[Item]) -> None:
        if self._closed:
            raise RuntimeError("this Judge is closed")
        self._pool.run(items)

    def _decisive(self, verifier: str, text: str) -> str:
        """The part of the text that decides the verdict; all of it if the verifier cannot be loaded here (its worker
        reports that) or if its `decisive` fails."""
        if verifier not in self._decisives:
            try:
                self._decisives[verifier] = resolve("verifiers", verifier).decisive
            except (UserError, AttributeError):
                self._decisives[verifier] = _all_of_it
        try:
            return self._decisives[verifier](text)
        except Exception as error:
            log.error("verifier %s: decisive() failed, the whole text is judged: %s: %s", verifier,
                      type(error).__name__, error)
            self._decisives[verifier] = _all_of_it
            return text

    def _granted(self, problem: Problem) -> float:
        """Seconds that its verifier asks for; 0 where it asks for none, or cannot be loaded here."""
        try:
            return resolve("verifiers", problem.verifier).granted(problem) or 0.0
        except (UserError, AttributeError):
            return 0.0

    def _recall(self, verifier: str, key: bytes) -> Verdict | None:
        """The cached verdict of this version of the verifier, which is known once a worker has loaded it."""
        where = (self._pool.versions.get(verifier, ""), key)
        verdict = self._cache.get(where)
        if verdict is not None:
            self._cache.move_to_end(where)
        return verdict

    def _remember(self, verifier: str, key: bytes, verdict: Verdict) -> None:
        if verdict.reason in NEVER_CACHED or not self._cache_size:
            return
        self._cache[self._pool.versions[verifier], key] = verdict
        if len(self._cache) > self._cache_size:
            self._cache.popitem(last=False)


def _all_of_it(text: str) -> str:
    return text


class _Pickled:
    """Pickles each problem of a call once, with a digest that identifies it.

    Pictures are left out: verifiers do not get them.
    """

    def __init__(self) -> None:
        self._by_id: dict[int, tuple[bytes, hashlib.blake2b]] = {}

    def __call__(self, problem: Problem) -> tuple[bytes, hashlib.blake2b]:
        pickled = self._by_id.get(id(problem))
        if pickled is None:
            try:
                data = pickle.dumps(dataclasses.replace(problem, images=()), protocol=5)
            except Exception as error:
                raise UserError(f"problem {problem.id}: it cannot be sent to a judge worker "
                                f"({type(error).__name__}: {error}); keep plain data in prompt and extra") from error
            pickled = self._by_id[id(problem)] = (data, hashlib.blake2b(data, digest_size=16))
        return pickled


def _log_harness_errors(items: dict[bytes, Item], names: dict[bytes, str]) -> None:
    """Log one line per distinct exception: a broken verifier fails on every item of a batch."""
    seen: dict[tuple[str, str], list[Item]] = {}
    for key, item in items.items():
        if item.verdict is not None and item.verdict.reason is Reason.HARNESS_ERROR:
            seen.setdefault((names[key], item.note), []).append(item)
    for (name, note), failed in seen.items():
        log.error("verifier %s failed on %d completion(s), which are not judged (first: problem %s): %s", name,
                  len(failed), failed[0].label, note)


def _gold_complaint(item: Item) -> GoldComplaint | None:
    assert item.verdict is not None
    if item.verdict.correct is True:
        return None
    if item.verdict.reason is Reason.HARNESS_ERROR:
        complaint = GoldComplaint(f"the verifier failed on the gold answer: {item.note}")
        complaint.verifier_failed = True
        return complaint
    return GoldComplaint(item.note or f"judging the gold answer itself ends in {item.verdict.reason}")


def _quantile(ordered: list[float], q: float) -> float:
    """Nearest rank; NaN of an empty list."""
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)] if ordered else math.nan
