"""What a model's files declare: each fault here used to show hours into a training, or never."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from tokenizers import processors

from rlvr.cli.main import main
from rlvr.config.sections import ModelSpec
from rlvr.lab.model import EOS, build_model, build_tokenizer
from rlvr.models.declared import Stops, check_declared, end_of_turn
from rlvr.models.loading import load_tokenizer
from rlvr.types import UserError

LAB = "recipes/quickstart/lab_grpo.yaml"


def model(folder: Path, *, config: dict[str, Any] | None = None, generation: dict[str, Any] | None = None,
          tokenizer: dict[str, Any] | None = None) -> ModelSpec:
    """The files of a small model without its weights, changed."""
    words = build_tokenizer()
    built = build_model(words, layers=1, hidden=24)
    words.save_pretrained(folder)
    built.config.save_pretrained(folder)
    built.generation_config.save_pretrained(folder)
    for name, changes in (("config", config), ("generation_config", generation), ("tokenizer_config", tokenizer)):
        path = folder / f"{name}.json"
        kept = json.loads(path.read_text()) | (changes or {})
        path.write_text(json.dumps({key: value for key, value in kept.items() if value is not None}))
    return ModelSpec(path=str(folder))


def check(spec: ModelSpec, *, longest: int = 26, chat: bool = False) -> str:
    return check_declared(spec, load_tokenizer(spec.path), {"train.max_new_tokens": longest}, chat=chat).tokens


def test_a_sound_model_names_its_stop_tokens(tmp_path: Path) -> None:
    assert check(model(tmp_path)) == "<eos>"
    assert check(model(tmp_path, generation={"eos_token_id": [107, 104]})) == "<eos>, ;"
    (tmp_path / "generation_config.json").unlink()
    assert check(ModelSpec(path=str(tmp_path))) == "<eos>"


@pytest.mark.parametrize("setting", [{"temperature": 0.6}, {"top_p": 0.9}])
def test_a_generation_config_that_no_checkpoint_can_hold(tmp_path: Path, setting: dict[str, float]) -> None:
    """Bug: Llama 2's way of writing it raised ValueError at the first checkpoint, and the training was lost."""
    spec = model(tmp_path, generation={"do_sample": None, "top_k": None, **setting})
    with pytest.raises(UserError, match=r'^model.path: generation_config.json sets .* add "do_sample": true to it'):
        check(spec)
    check(model(tmp_path, generation=setting))


def test_a_completion_that_does_not_fit(tmp_path: Path) -> None:
    """Bug: an IndexError on GPT-2, and silence elsewhere."""
    spec = model(tmp_path)
    check(spec, longest=64)
    with pytest.raises(UserError, match=r"^train.max_new_tokens: the longest .* take 65 tokens, .* has 64 positions"):
        check(spec, longest=65)


def test_a_model_without_any_stop_token(tmp_path: Path) -> None:
    """Bug: a TypeError in the sampler."""
    with pytest.raises(UserError, match="names an end-of-sequence token, so no completion would ever end"):
        check(model(tmp_path, generation={"eos_token_id": None}, tokenizer={"eos_token": None},
                    config={"eos_token_id": None}))


def test_a_tokenizer_that_ends_every_prompt(tmp_path: Path) -> None:
    spec = model(tmp_path)
    words = build_tokenizer()
    words.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {EOS}", special_tokens=[(EOS, words.get_vocab()[EOS])])
    words.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="its tokenizer appends '<eos>' to every text"):
        check(spec)


@pytest.mark.parametrize("stops", [[107], [107, 104]])
def test_chats_whose_turns_do_not_end_with_a_stop_token(tmp_path: Path, stops: list[int]) -> None:
    """Bug: on Qwen2.5's base (stops <|endoftext|>, template <|im_end|>) completions ran on, counted as truncated."""
    spec = model(tmp_path, generation={"eos_token_id": stops})
    tokenizer = load_tokenizer(spec.path)
    tokenizer.add_special_tokens({"additional_special_tokens": [";"]})
    tokenizer.chat_template = "{% for m in messages %}{{ '1' if m['role'] == 'user' else m['content'] }} ; {% endfor %}"
    assert end_of_turn(tokenizer) == 104
    note = check_declared(spec, tokenizer, {}, chat=True).note
    assert (note is not None and "ends a turn with ;, which is not among them" in note) == (stops == [107])
    assert check_declared(spec, tokenizer, {}, chat=False).note is None


@pytest.mark.parametrize(("files", "override", "said"), [
    ({"generation": {"do_sample": None, "top_k": None, "temperature": 0.6}}, "seed=0", "which cannot be saved"),
    ({}, "train.max_new_tokens=100", "take 107 tokens, but the model has 64 positions"),
    ({}, "data.probe={a: {source: lab, split: test, size: 2}, b: {source: lab, split: test, size: 2, max_new_tokens: "
     "100}}", "probes.max_new_tokens: the longest prompt and a completion take 107 tokens"),
])
def test_training_is_refused_for_what_check_refuses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], files: dict[str, Any], override: str, said: str
) -> None:
    """Bug: only `rlvr check` looked; the training that was started without it failed at its first checkpoint."""
    spec = model(tmp_path / "model", **files)
    run = tmp_path / "run"
    for command in ("check", "train"):
        assert main([command, LAB, f"model.path={spec.path}", f"run_dir={run}", override]) == 2
        assert said in capsys.readouterr().err
    assert not run.exists()


def test_training_says_that_chats_run_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stops = Stops("<eos>", "turns end with ;")
    monkeypatch.setattr("rlvr.train.check_model", lambda _, train, __: (None, stops, train))
    monkeypatch.setattr("rlvr.train.with_usable_golds", lambda *_: sys.exit(3))
    with pytest.raises(SystemExit):
        main(["train", LAB, f"run_dir={tmp_path / 'run'}"])
    assert "note: a completion ends with <eos>; turns end with ;\n" in capsys.readouterr().err


def test_check_shows_what_the_model_reads(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", LAB]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    at = lines.index("example prompt: '5 12 4 13 -> 77 :'")
    assert lines[at + 1 : at + 3] == [
        "a completion ends with: <eos>", "gold: '77'; judged correct: '13 + 4 = 17 ; 12 * 5 = 60 ; 60 + 17 = 77'"]


def test_check_refuses_a_recipe_whose_engine_is_not_installed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlvr.cli.forecast.find_spec", lambda name: None)
    assert main(["check", LAB, "train.vllm={mode: colocate}"]) == 2
    assert "train.vllm: the package vllm is not installed: pip install 'rlvr[vllm]'" in capsys.readouterr().err
