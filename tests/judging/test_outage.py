"""A verifier whose service hangs is an outage, not a batch of wrong answers."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from rlvr.judging import outage
from rlvr.judging.judge import Judge
from rlvr.types import Problem, Reason, UserError

REMOTE = "tests.support.verifiers_for_tests:Remote"
PROBLEMS = [Problem(id=f"p/{number}", prompt="?", gold=str(number), verifier=REMOTE) for number in range(8)]
ANSWERS = [problem.gold if number % 2 else "no" for number, problem in enumerate(PROBLEMS)]


@pytest.fixture
def hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The service hangs as long as this file exists; the pauses are short."""
    file = tmp_path / "hangs"
    monkeypatch.setenv("RLVR_TEST_HANGS", str(file))
    monkeypatch.setattr(outage.wait_out, "__defaults__", ((0.1, 0.1),))
    return file


def test_a_service_that_comes_back_costs_time_and_no_verdict(
    hangs: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Bug: the gold check passed, then every completion was `timeout`: reward 0 and a falling pass@k."""
    with Judge(workers=4, timeout=1.0) as judge:
        assert judge.check_golds(PROBLEMS) == [None] * 8
        hangs.touch()
        monkeypatch.setattr(judge, "_sleep", lambda seconds: hangs.unlink())
        verdicts = judge.judge(PROBLEMS, ANSWERS)
    assert [verdict.correct for verdict in verdicts] == [bool(number % 2) for number in range(8)]
    assert "does not answer: 8 of 8 verdicts timed out, and so did the gold answers" in caplog.text


def test_a_service_that_stays_away_stops_the_run(hangs: Path) -> None:
    with Judge(workers=4, timeout=0.1) as judge:
        judge.check_golds(PROBLEMS[:1])
        hangs.touch()
        with pytest.raises(UserError, match=r"does not answer: 8 of 8 .* 3 times in a row; restore the service"):
            judge.judge(PROBLEMS, ANSWERS)


def test_completions_that_take_too_long_are_wrong_though_they_are_many(hangs: Path) -> None:
    """The gold answers, which are quick, tell them from an outage."""
    with Judge(workers=4, timeout=0.3) as judge:
        judge.check_golds(PROBLEMS)
        verdicts = judge.judge(PROBLEMS, ["sleep 9"] * 8)
    assert {(verdict.correct, verdict.reason) for verdict in verdicts} == {(False, Reason.TIMEOUT)}


def test_closing_the_judge_ends_the_wait(hangs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outage.wait_out, "__defaults__", ((60.0,),))
    with Judge(workers=4, timeout=0.1) as judge:
        judge.check_golds(PROBLEMS[:1])
        hangs.touch()
        threading.Timer(1.5, judge.close).start()
        with pytest.raises(RuntimeError, match="was closed while"):
            judge.judge(PROBLEMS, ANSWERS)
