"""`rlvr init`: a recipe that passes `rlvr check`, for a model and data of one's own.

Run: python -m pytest tests/cli/test_init.py
"""

from __future__ import annotations

import io
import json
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from rlvr.cli import init_rows
from rlvr.cli.init import data_of
from rlvr.cli.main import main
from rlvr.config.recipe import load_recipe
from rlvr.judging.judge import Judge


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, judge: Judge) -> Path:
    """The current directory, with 200 rows in it. Gold answers are judged by the worker that all tests share."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(init_rows, "Judge", lambda workers: nullcontext(judge))
    monkeypatch.setattr("rlvr.judging.judge.Judge", lambda **options: nullcontext(judge))  # that of `rlvr check`
    rows = [{"question": f"What is {i} + 1?", "answer": i + 1} for i in range(200)]
    (tmp_path / "my.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    none = [{"question": "What?", "answer": r"\frac{1}{0}"}] * 14
    (tmp_path / "none.jsonl").write_text("".join(json.dumps(row) + "\n" for row in none))
    return tmp_path


def test_the_lab_by_options(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--model", "lab", "--data", "lab", "--algorithm", "dapo", "--hardware", "cpu"]) == 0
    assert "wrote lab_dapo.yaml; next: rlvr check lab_dapo.yaml" in capsys.readouterr().out
    assert main(["check", "lab_dapo.yaml"]) == 0
    text = (folder / "lab_dapo.yaml").read_text()
    assert "  steps: 100" in text and "# Number of optimizer updates" in text
    assert main(["init", "--model", "lab", "--data", "lab", "--algorithm", "dapo", "--hardware", "cpu"]) == 2
    assert "lab_dapo.yaml is there already and is left as it is" in capsys.readouterr().err


def test_own_model_and_rows_on_gpus(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The forecast decides: PPO of a 7B model needs ZeRO-3, a 0.5B model one GPU, 32B on four of them adapters."""
    def made(model: str, algorithm: str, hardware: str, name: str) -> str:
        assert main(["init", "--model", model, "--data", "my.jsonl", "--algorithm", algorithm, "--hardware", hardware,
                     "-o", name]) == 0
        assert main(["check", "--offline", name, "--processes", hardware.split("x")[0]]) == 0
        return (folder / name).read_text()

    text = made("Qwen/Qwen2.5-7B-Instruct", "ppo", "8xh100", "a.yaml")
    assert "launch/accelerate/zero3.yaml --num_processes 8" in text
    recipe = load_recipe("a.yaml")
    train = recipe.data.train_set
    assert train.prompt == "question" and train.chat and recipe.model.dtype == "bfloat16"
    assert (recipe.data.probe_set.size, train.skip, recipe.train.prompts_per_step) == (50, 50, 64)
    assert "command    rlvr train b.yaml" in made("Qwen/Qwen2.5-0.5B", "grpo", "1xh100", "b.yaml")
    base = load_recipe("b.yaml").data.train_set
    assert base.template.startswith("{prompt}") and not base.chat
    made("Qwen/Qwen2.5-32B", "grpo", "4xh200", "c.yaml")
    assert load_recipe("c.yaml").model.lora is not None
    assert "size of some/model is not known here" in made("some/model", "grpo", "1xa100", "d.yaml").replace("\n# ", " ")


def small_model(folder: Path) -> str:
    """A model of two layers whose tokens are bytes, so that it reads any prompt."""
    alphabet = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "<eos>"]
    inner = Tokenizer(models.BPE({byte: i for i, byte in enumerate(alphabet)}, []))
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<eos>", pad_token="<eos>")
    tokenizer.save_pretrained(folder / "small")
    Qwen2ForCausalLM(Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=4096, eos_token_id=256, pad_token_id=256, bos_token_id=None,
    )).save_pretrained(folder / "small")
    return str(folder / "small")


def test_a_local_model_and_its_rows_pass_the_whole_check(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"question": f"{i} {i + 1}", "answer": str(i)} for i in range(1, 60)]
    (folder / "words.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["init", "--model", small_model(folder), "--data", "words.jsonl", "--algorithm", "grpo",
                 "--hardware", "cpu", "-o", "mine.yaml"]) == 0
    assert ("wrote mine.yaml (question: question, answer: answer, 45 problems to train on and 14 kept for the probes); "
            "next: rlvr check mine.yaml\n") in capsys.readouterr().out
    assert "train.learning_rate 2e-4" in (folder / "mine.yaml").read_text()
    assert load_recipe("mine.yaml").train.prompts_per_step == 45  # 59 rows, a quarter of them held out
    assert main(["check", "--offline", "mine.yaml"]) == 0


def test_a_model_that_is_not_here_is_said_to_be_a_hub_id(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Bug: a directory in another place was taken for a hub id without a word."""
    assert main(["init", "--model", "tiny", "--data", "my.jsonl", "--algorithm", "grpo", "--hardware", "cpu"]) == 0
    assert "; the model tiny is a hub id, not looked up here; next: rlvr check" in capsys.readouterr().out


def test_rows_that_cannot_be_judged_do_not_count(folder: Path) -> None:
    """Bug: the batch was as large as the number of rows, and its recipe did not pass the check."""
    golds = [r"\frac{1}{0}" if i % 2 else "" if i % 4 == 0 else str(i) for i in range(80)]
    rows = [{"question": f"{i} {i + 1}", "answer": gold} for i, gold in enumerate(golds)]
    (folder / "bad.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["init", "--model", small_model(folder), "--data", "bad.jsonl", "--algorithm", "grpo", "--hardware",
                 "cpu", "-o", "mine.yaml"]) == 0
    recipe = load_recipe("mine.yaml")
    assert recipe.data.train_set.drop_bad_golds and recipe.data.probe_set.drop_bad_golds
    assert "the gold answers of 45 of 60 rows cannot be judged" in (folder / "mine.yaml").read_text()
    assert recipe.train.prompts_per_step == 15 and main(["check", "--offline", "mine.yaml"]) == 0


def test_rows_that_were_not_tried_are_not_called_good(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bug: 11 bad rows of which 8 are tried counted as 3 good ones."""
    monkeypatch.setattr(init_rows, "TRIED", 8)
    words = ["init", "--model", "some/model", "--algorithm", "grpo", "--hardware", "cpu"]
    assert main([*words, "--data", "none.jsonl"]) == 2
    assert "no row of 8 in data.train has a gold answer" in capsys.readouterr().err


@pytest.mark.parametrize("chat", [False, True])
def test_a_task_of_reasoning_gym(folder: Path, chat: bool) -> None:
    """Bug: a recipe that no part of the program took, as it read the task for a dataset of the hub."""
    name = "Qwen/Qwen2.5-0.5B" + "-Instruct" * chat
    words = ["init", "--model", name, "--data", "gym:leg_counting", "--algorithm", "grpo", "--hardware", "cpu"]
    assert main([*words, "-o", "gym.yaml"]) == 0
    data = load_recipe("gym.yaml").data
    assert (data.train_set.split, data.train_set.size) == ("train", 2048)
    assert (data.probe_set.split, data.probe_set.size) == ("test", 128)
    asked = data.train_set.system if chat else data.train_set.template
    assert data.train_set.chat is chat and "<answer>12</answer>" in str(asked)


def test_a_model_with_few_positions_has_room_for_both(folder: Path) -> None:
    """Bug: a recipe for a model of 512 positions asked for answers of 1,024 tokens, and did not pass its check."""
    for name, config, room in (("small", {"max_position_embeddings": 512}, 256),
                               ("nested", {"text_config": {"max_position_embeddings": 600}}, 300),
                               ("large", {"max_position_embeddings": 40960}, 1024), ("silent", {}, 1024)):
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(json.dumps(config))
        assert main(["init", "--model", name, "--data", "my.jsonl", "--algorithm", "grpo", "--hardware", "cpu"]) == 0
        recipe = load_recipe(f"{name}_grpo.yaml")
        assert recipe.train.max_prompt_tokens == recipe.train.max_new_tokens == recipe.probes.max_new_tokens == room


def test_questions_are_asked_on_a_terminal_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal("\nlab\n\n\n"))  # Enter takes the default
    assert main(["init"]) == 0
    assert capsys.readouterr().err.count("? ") == 0 and load_recipe("lab_grpo.yaml").model.path == "lab"
    monkeypatch.setattr(sys, "stdin", io.StringIO("lab\n"))
    assert main(["init", "--model", "lab"]) == 2
    assert "--data: missing, and there is no terminal to ask on; expected lab, a .jsonl" in capsys.readouterr().err


@pytest.mark.parametrize(("options", "message"), [
    (["--hardware", "8xh1000"], "--hardware: unknown GPU 'h1000'; did you mean 'h100'?"),
    (["--model", "./no_model"], "--model: no directory './no_model'; expected lab, a hub id or the directory"),
    (["--hardware", "eight"], "--hardware: unknown GPU 'eight'"),
    (["--algorithm", "grop"], "unknown name 'grop' in algorithms: did you mean 'grpo'?"),
    (["--data", "no.jsonl"], "--data: no file 'no.jsonl'"),
    (["--gold", "nothing"], "--gold: my.jsonl: no column 'nothing' (columns: question, answer)"),
    (["--model", "Qwen/Qwen2.5-32B", "--hardware", "1xa10g"], "--hardware: 32.8 B weights do not fit 1 x a10g"),
    (["--model", "lab"], "--model: the lab's model reads the lab's problems alone, not 'my.jsonl'; write --data lab, "
                         "or choose a model of your own"),
    (["--data", "none.jsonl"], "--data: no row of 11 in data.train has a gold answer that can be judged: "),
    (["--hardware", "200xh100"], "--data: found 150 problems to train on, expected at least one per process (200)"),
])
def test_mistakes(folder: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str) -> None:
    given = {"--model": "Qwen/Qwen2.5-7B", "--data": "my.jsonl", "--algorithm": "grpo", "--hardware": "8xh100"}
    given |= dict(zip(options[::2], options[1::2], strict=True))
    assert main(["init", *(word for pair in given.items() for word in pair)]) == 2
    assert message in capsys.readouterr().err and not list(folder.glob("*.yaml"))


def test_presets_hold_problems_out() -> None:
    data, rows = data_of("gsm8k", None, None, chat=False)
    assert (data["train"]["split"], data["probe"]["split"], rows) == ("train", "test", 7473)
    data, _ = data_of("math", None, None, chat=True)
    assert data["train"]["skip"] == data["probe"]["size"] == 256
    assert data["train"]["shuffle"] == data["probe"]["shuffle"] == 0


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_knows_commands_and_options(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--completion", shell])
    script = capsys.readouterr().out
    assert ended.value.code == 0 and "convert" in script and "sharding" in script
