"""Problem histories by hand, and luck against simulation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from rlvr.statistics.ledger import Event, build_ledger, luck, newly_solved
from rlvr.statistics.plan import PLANS
from rlvr.types import UserError
from tests.statistics.coverage_table import FITS, draw_counts

FLAT = (1.0, 1.0)


def rows(problem_id: str, *counts: tuple[int, int]) -> list[dict[str, Any]]:
    """(n, c) at steps 0, 50, 100, ..."""
    return [{"step": 50 * i, "problem_id": problem_id, "n": n, "c": c} for i, (n, c) in enumerate(counts)]


def test_luck_by_hand():
    """Flat prior, 1 of 2 seen: Beta(2, 2); two failures: (2/4)(3/5) = .3. Nothing seen: one failure is 1/2."""
    assert luck(2, 1, 2, FLAT) == pytest.approx(0.3, rel=1e-12)
    assert luck(0, 0, 1, FLAT) == pytest.approx(0.5, rel=1e-12)
    assert luck(2, 1, 0, FLAT) == 1.0
    # Jeffreys, 1 of 256, another 256: product over i of (255.5 + i) / (257 + i)
    assert luck(256, 1, 256) == pytest.approx(math.prod((255.5 + i) / (257 + i) for i in range(256)), rel=1e-10)


def test_a_history_by_hand():
    """Base 8 of 8, flat prior, level .05, 8 samples per probe. One failed probe: B(9, 9)/B(9, 1) = 9 / 9 C(17, 8) =
    1/24310, lost. Solved: regained. It is solved at the newest probe."""
    ledger = build_ledger(rows("a", (8, 8), (8, 0), (8, 0), (8, 3)), 8, prior=FLAT)
    history = ledger.problems["a"]
    assert [(e.step, e.event) for e in history.events] == [
        (0, Event.FIRST_SOLVED), (50, Event.LOST), (150, Event.REGAINED)
    ]
    assert history.events[1].luck == pytest.approx(1 / 24310, rel=1e-9)
    assert (history.solved_now, history.lost_now) == (True, False)
    assert math.isnan(history.luck_now)
    backwards = build_ledger(rows("a", (8, 8), (8, 0), (8, 0), (8, 3))[::-1], 8, prior=FLAT)
    assert [e.step for e in backwards.problems["a"].events] == [0, 50, 150]
    assert (history.step_of(Event.LOST), ledger.ids(Event.LOST, 50), ledger.ids(Event.LOST, 100)) == (50, ["a"], [])


def test_a_rarely_solved_problem_needs_more_tries_to_be_lost():
    """Base 1 of 4, flat prior: Beta(2, 4). After 4, 8, 12 failures: luck B(2, 4 + m)/B(2, 4) = 20/((4+m)(5+m)) = .278,
    .128, .0735; after 16: .0476, lost. Failures before a success do not count on."""
    ledger = build_ledger(rows("a", (4, 1), (4, 0), (4, 0), (4, 0), (4, 0)), 4, prior=FLAT)
    history = ledger.problems["a"]
    assert [e.step for e in history.events if e.event == Event.LOST] == [200]
    assert history.events[-1].luck == pytest.approx(20 / (20 * 21), rel=1e-9)
    assert (history.lost_now, history.luck_now) == (True, pytest.approx(1 / 21, rel=1e-9))
    interrupted = build_ledger(rows("a", (4, 1), (4, 0), (4, 0), (4, 1), (4, 0), (4, 0)), 4, prior=FLAT).problems["a"]
    assert [e.event for e in interrupted.events] == [Event.FIRST_SOLVED]
    assert (interrupted.solved_now, interrupted.lost_now) == (False, False)
    assert interrupted.luck_now == pytest.approx(20 / (12 * 13), rel=1e-9)


def test_a_problem_first_solved_by_training_says_how_lucky_the_base_was():
    """Base 0 of 4, later 1 of 4, flat prior: the base fails with B(2, 8)/B(2, 4) = 20/72. That probe is the reference:
    four failures after it have luck 20/72 again."""
    ledger = build_ledger([*rows("a", (4, 0), (4, 1), (4, 0)), *rows("b", (4, 0), (4, 0), (4, 0))], 4, prior=FLAT)
    (entry,) = ledger.problems["a"].events
    assert (entry.step, entry.event, entry.luck) == (50, Event.FIRST_SOLVED, pytest.approx(20 / 72, rel=1e-9))
    assert ledger.problems["a"].luck_now == pytest.approx(20 / 72, rel=1e-9)
    assert ledger.problems["b"].events == ()
    assert math.isnan(ledger.problems["b"].luck_now)
    assert (ledger.unsolved_now, ledger.unsolved_by_luck) == (0, 0.0)  # the base solved nothing


def test_newly_solved_is_more_than_one_lucky_sample():
    """Base 0 of 4, flat prior. Later 4 of 4: the base fails with B(5, 5)/B(5, 1) = 5/630, news. Later 1 of 4: 20/72,
    none. Solved once and not now: no news either, whatever it was."""
    ledger = build_ledger([
        *rows("a", (4, 0), (4, 4), (4, 1)), *rows("b", (4, 0), (4, 0), (4, 1)), *rows("c", (4, 0), (4, 4), (4, 0)),
        *rows("d", (4, 1), (4, 4), (4, 4)),
    ], 4, prior=FLAT)
    assert [ledger.problems[i].events[0].luck for i in "abc"] == pytest.approx([5 / 630, 20 / 72, 5 / 630], rel=1e-9)
    assert newly_solved(ledger) == ["a"]


def test_expected_losses_by_hand():
    """Base 1 of 4 and 4 of 4, flat prior, 4 samples: 20/72 + B(5, 5)/B(5, 1) = .27778 + 5/(9 C(8, 4)) = .27778 +
    .0079365; one of them is unsolved now."""
    ledger = build_ledger([*rows("b", (4, 4), (4, 2)), *rows("a", (4, 1), (4, 0))][::-1], 4, prior=FLAT)
    assert ledger.unsolved_now == 1
    assert ledger.unsolved_by_luck == pytest.approx(20 / 72 + 5 / 630, rel=1e-9)
    assert build_ledger(rows("a", (4, 1)), 4, prior=FLAT).unsolved_by_luck == 0.0


def test_luck_explains_what_goes_missing_when_nothing_changes():
    """400 problems, base with up to 512 samples, probe with up to 256, same p: dozens of base-solved problems are
    unsolved, as many as luck says (prior fitted), and far fewer than level * problems are called lost."""
    rng, runs = np.random.default_rng(0), 25
    p = rng.beta(*FITS["Omni base"], (runs, 400))
    missing, expected, lost = [], [], []
    bases, probes = draw_counts(p, PLANS["reference-512"], rng), draw_counts(p, PLANS["balanced"], rng)
    for base, now in zip(bases, probes, strict=True):
        table = [{"step": step, "problem_id": x.problem_id, "n": x.n, "c": x.c}
                 for step, counts in ((0, base), (10, now)) for x in counts]
        ledger = build_ledger(table, 256)
        missing.append(ledger.unsolved_now)
        expected.append(ledger.unsolved_by_luck)
        lost.append(len(ledger.ids(Event.LOST, 10)))
    assert np.mean(missing) > 20
    noise = float(np.std(np.subtract(missing, expected), ddof=1)) / math.sqrt(runs)
    assert abs(np.mean(missing) - np.mean(expected)) < 3 * noise
    assert np.mean(lost) < 1.0


def test_no_fit_falls_back_to_jeffreys():
    assert build_ledger(rows("a", (4, 4)), 4).prior == (0.5, 0.5)


def test_impossible_rows_are_refused():
    with pytest.raises(UserError, match="no probe rows"):
        build_ledger([], 4)
    with pytest.raises(UserError, match="'a' occurs twice at step 0"):
        build_ledger([*rows("a", (4, 1)), *rows("a", (4, 1))], 4)
    with pytest.raises(UserError, match="step 50 holds other problems"):
        build_ledger([*rows("a", (4, 1), (4, 1)), *rows("b", (4, 1))], 4)
    with pytest.raises(UserError, match="no success in 2 samples; expected 4"):
        build_ledger(rows("a", (4, 1), (2, 0)), 4)
    with pytest.raises(ValueError, match="3 correct of 2"):
        luck(2, 3, 1)
