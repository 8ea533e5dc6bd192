"""The columns of one's own file are found by their names, by every command that takes --data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rlvr.cli.columns import usual_columns
from rlvr.cli.main import main
from rlvr.cli.probe import _chat_note
from rlvr.cli.probe_request import probe_request

SUMS = [{"question": "1 + 1?", "answer": "2", "note": "x"}, {"question": "2 + 3?", "answer": "5", "note": "y"}]


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.mark.parametrize(("row", "found"), [
    (SUMS[0], {"prompt": "question", "gold": "answer"}),
    ({"prompt": [{"role": "user", "content": "?"}], "target": 1}, {"prompt": "prompt", "gold": "target", "chat": True}),
    ({"problem": "p", "question": "q", "answer": "1"}, {"prompt": "problem", "gold": "answer"}),
    ({"text": "p", "answer": "1"}, {"gold": "answer"}),
])
def test_usual_names(tmp_path: Path, row: dict[str, Any], found: dict[str, Any]) -> None:
    assert usual_columns(write(tmp_path / "d.jsonl", [row])) == found


def test_what_cannot_be_read_is_left_to_its_reader(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text("[1]\n")
    (tmp_path / "e.jsonl").write_bytes(b"\xff\n")
    for source in (*(str(tmp_path / name) for name in ("d.jsonl", "e.jsonl", "none.jsonl")), "lab", "openai/gsm8k"):
        assert usual_columns(source) == {}


def test_a_probe_finds_them(tmp_path: Path) -> None:
    """Bug: `rlvr init` read such a file, and `rlvr probe` ended with "no column 'problem'"."""
    data = write(tmp_path / "d.jsonl", SUMS)
    spec = probe_request(["lab"], data=data).recipe.data.probe_set
    assert (spec.prompt, spec.gold) == ("question", "answer")
    spec = probe_request(["lab", "data.probe.gold=note"], data=data).recipe.data.probe_set
    assert (spec.prompt, spec.gold) == ("question", "note")
    chats = write(tmp_path / "c.jsonl", [{"messages": [{"role": "user", "content": "1 + 1?"}], "plain": "1 + 1?",
                                          "answer": "2"}])
    assert probe_request(["lab"], data=chats).recipe.data.probe_set.chat
    assert not probe_request(["lab", "data.probe.prompt=plain"], data=chats).recipe.data.probe_set.chat
    spec = probe_request(["lab", "data.probe.preset=math500"], data=data).recipe.data.probe_set
    assert spec.prompt == "problem"  # a preset names its own


def test_an_audit_finds_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write(tmp_path / "d.jsonl", SUMS)
    assert main(["audit", "--data", data, "--second", "exact_string", "--workers", "1"]) == 0
    assert "gold accepts gold   2 of 2" in capsys.readouterr().out


def test_an_unusual_name_is_answered_with_the_key_that_says_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write(tmp_path / "d.jsonl", [{"text": "1 + 1?", "answer": "2"}])
    assert main(["audit", "--data", data, "--workers", "1"]) == 2
    assert "d.jsonl:1: no column 'problem'; set data.prompt to one of: text, answer" in capsys.readouterr().err
    assert main(["audit", "--data", data, "--workers", "1", "data.prompt=text", "--second", "exact_string"]) == 0


def test_a_chat_model_that_is_sent_plain_text_is_noted(tmp_path: Path) -> None:
    """Bug: such a model was measured as one that solves hardly anything, without a word."""
    data = write(tmp_path / "d.jsonl", SUMS)
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "chat_template.jinja").write_text("{{ messages }}")
    (tmp_path / "tiny" / "config.json").write_text("{}")
    tiny = str(tmp_path / "tiny")
    assert "tiny reads chats, and prompts are sent as plain text: data.probe.chat=true" in _chat_note(
        probe_request([tiny], data=data).recipe)
    assert _chat_note(probe_request([tiny, "data.probe.chat=true"], data=data).recipe) == ""
    assert _chat_note(probe_request(["lab"], data=data).recipe) == ""
