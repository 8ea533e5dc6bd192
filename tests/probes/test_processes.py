"""`accelerate launch -m rlvr.cli probe`: two processes draw the samples of one, and one of them writes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from rlvr.cli.main import main
from rlvr.runs.run_dir import RunDir
from tests.support import warm
from tests.support.probe_processes import LAUNCH, ROOT, difference

WORDS = ["probe", "lab", "--data", "lab", "data.probe.split=test", "data.probe.size=12", "--plan", "cheap",
         "probes.max_new_tokens=18", "probes.temperature=1", "probes.top_p=1", "probes.batch_size=128",
         "judge.workers=1"]


def test_two_processes_draw_what_one_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    monkeypatch.setenv("RLVR_CACHE", str(tmp_path / "cache-one"))
    assert main([*WORDS, "-o", str(one)]) == 0
    done = warm.run([sys.executable, *LAUNCH, "-m", "rlvr.cli", *WORDS, "-o", str(two)], timeout=300, cwd=ROOT,
                    env=os.environ | {"RLVR_CACHE": str(tmp_path / "cache-two")})
    assert done.returncode == 0, done.stderr[-4000:]
    differ, total = difference(RunDir(one).samples(0), RunDir(two).samples(0))
    assert differ == 0 and total >= 12 * 8
    (a,), (b,) = (RunDir(path).read_jsonl(RunDir(path).boundary) for path in (one, two))
    assert a["estimates"] == b["estimates"] and a["samples"] == b["samples"]
    assert done.stdout.count("report: ") == 1 and (two / "report.html").is_file()
