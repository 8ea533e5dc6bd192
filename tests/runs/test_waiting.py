"""A long wait is told once, a short one not."""

from __future__ import annotations

import time

import pytest

from rlvr.runs.waiting import told


def test_only_a_long_wait_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with told("waiting for somebody", patience=0.05):
        time.sleep(0.3)
    with told("waiting for nobody", patience=0.5):
        pass
    time.sleep(0.6)
    assert capsys.readouterr().err == "waiting for somebody\n"
