"""`rlvr audit --completions`: what is read first. Run: python -m pytest tests/cli/test_audit_completions.py"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rlvr.cli.main import main


def test_disagreements_on_own_completions_come_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Bug: they stood behind hundreds of disagreements on made-up answers, of which five are shown."""
    data, file = tmp_path / "d.jsonl", tmp_path / "c.jsonl"
    data.write_text("".join(json.dumps({"problem": "p", "answer": gold}) + "\n" for gold in ("204", "7", "5")))
    texts = [("d/0", r"so \boxed{205=204}"), ("d/1", r"\boxed{7.0}"), ("d/2", "it is 5")]
    file.write_text("".join(json.dumps({"problem_id": name, "text": text}) + "\n" for name, text in texts))
    assert main(["audit", "--data", str(data), "--completions", str(file), "--cross", "2", "--workers", "1"]) == 0
    shown = capsys.readouterr().out
    own, _, rest = shown.partition("wrong answers")
    assert "completions         judged 3, correct 1" in own
    assert r"False (false_equation), second True: 'so \\boxed{205=204}' for gold '204' (d/0)" in own
    assert "False (no_box), second True: 'it is 5' for gold '5' (d/2)" in own
    assert "(d/1)" not in own and "second grader" in rest and r"so \\boxed{205=204}" not in rest
