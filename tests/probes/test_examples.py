"""The scripts of docs/probes.md run as they stand, and their probes change nothing of the training."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from rlvr.lab.model import load_lab_model
from rlvr.report.page import write_report
from rlvr.runs.run_dir import RunDir
from tests.support.small_run import rows

PAGE = (Path(__file__).parents[2] / "docs" / "probes.md").read_text()
SCRIPTS = dict(re.findall(r"### (\S+)\n(?:(?!###).)*?```python\n(.*?)```", PAGE, re.DOTALL))
PROBED = "    trainer.add_callback(probes)\n"


def test_the_page_has_one_script_per_trainer() -> None:
    assert list(SCRIPTS) == ["trl.GRPOTrainer", "trl.SFTTrainer", "transformers.Trainer"]


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_script_probes_and_trains_as_without_probes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RLVR_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    script = SCRIPTS[name]
    assert script.count(PROBED) == 1
    probed: dict[str, Any] = {}
    exec(script, probed)
    plain: dict[str, Any] = {}
    exec(script.replace(PROBED, ""), plain)
    pairs = list(zip(probed["model"].parameters(), plain["model"].parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    base = load_lab_model("lab")[0]
    assert not all(torch.equal(a, b) for (a, _), b in zip(pairs, base.parameters(), strict=True))  # it did train
    run = probed["probes"].prober.run_dir
    assert [(r["step"], r["problems"]) for r in rows(run.boundary)] == [(0, 4), (1, 4), (2, 4)]
    assert all(r["n"] >= 8 and 0 <= r["c"] <= r["n"] for r in rows(run.probes))
    assert sum(r["c"] for r in rows(run.probes)) > 0
    assert write_report(run.path) == RunDir(run.path).report
