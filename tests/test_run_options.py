"""One run with settings that most do not have: what each did is seen in the trainer, the checkpoints and the store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rlvr.cli.main import main
from rlvr.training.trainer import RLVRTrainer
from tests.support.small_run import write_recipe

TEMPLATE = "{{ messages[-1].content }}{% if think is defined and not think %} = {% endif %}"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str], list[RLVRTrainer]]:
    """(folder, its command line, the trainer)"""
    folder = tmp_path_factory.mktemp("options")
    rows = [{"problem": "1 2 3" + " 4" * (9 * (i % 4 == 0)), "answer": str(i)} for i in range(16)]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "probe.jsonl").write_text(json.dumps({"problem": "5 6", "answer": "1"}) + "\n")
    (folder / "t.jinja").write_text(TEMPLATE)
    arguments = [
        *write_recipe(folder), "train.steps=4", "train.save_every=2", "probes.every=4", "train.group_size=2",
        f"data.train={{source: {folder}/train.jsonl, chat: true}}", "train.micro_batch_size=8",
        f"data.probe={{source: {folder}/probe.jsonl, chat: true}}", "data.prompts_too_long=drop",
        "train.max_prompt_tokens=8", "train.epochs_per_rollout=2", "train.prompts_per_step=4", "train.max_new_tokens=4",
        "train.save_only_model=true", "train.optim=adafactor", "train.trl={adam_epsilon: 1.0e-6}",
        f"model.chat_template={folder}/t.jinja", "model.chat_template_kwargs={think: false}",
        "model.config={rope_parameters: {rope_type: linear, factor: 2.0}}", "model.lora={r: 4, dora: true}",
        "probes.plan=cheap", "probes.base_plan=cheap", "probes.ks=[1, 4]", "probes.max_new_tokens=4",
        "tracking.wandb=disabled",
    ]
    made: list[RLVRTrainer] = []
    train = RLVRTrainer.train

    def kept(self: RLVRTrainer, *args: Any, **kwargs: Any) -> Any:
        made.append(self)
        return train(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RLVRTrainer, "train", kept)
        assert main(["train", *arguments]) == 0
    return folder, arguments, made


def test_the_trainer_has_them(run: tuple[Path, list[str], list[RLVRTrainer]]) -> None:
    _, _, (trainer,) = run
    assert trainer.args.adam_epsilon == 1e-6 and type(trainer.optimizer.optimizer).__name__ == "Adafactor"
    assert trainer.model.config.rope_parameters["factor"] == 2.0
    assert any("lora_magnitude_vector" in name for name, _ in trainer.model.named_parameters())
    assert trainer.progress.prompt_position == 2 * 4  # four updates in two passes each


def test_long_prompts_are_left_out_and_counted(run: tuple[Path, list[str], list[RLVRTrainer]]) -> None:
    folder, _, (trainer,) = run
    assert json.loads((folder / "run/recipe.json").read_text())["left_out"] == {"prompts_too_long": 4}
    assert len(trainer.reward.problems) == 12


def test_training_renders_a_chat_as_probes_do(run: tuple[Path, list[str], list[RLVRTrainer]]) -> None:
    _, _, (trainer,) = run
    assert trainer.step.batch is not None
    ids, _, _ = trainer._tokenize_prompts([[{"role": "user", "content": "1 2 3"}]])
    assert trainer.processing_class.decode(ids[0]).split() == ["1", "2", "3", "="]


def test_a_changed_config_has_a_base_of_its_own(run: tuple[Path, list[str], list[RLVRTrainer]]) -> None:
    folder, _, _ = run
    (stored,) = [text for file in (folder / "baselines").glob("*/*.json") if "weights" in (text := file.read_text())]
    assert json.loads(stored) and '"factor": 2.0' in stored


def test_checkpoints_of_weights_alone_are_not_resumed(
    run: tuple[Path, list[str], list[RLVRTrainer]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, arguments, _ = run
    names = {file.name for file in (folder / "run/checkpoints/checkpoint-4").iterdir()}
    assert "adapter_model.safetensors" in names and not names & {"optimizer.pt", "rlvr_state.json"}
    assert main(["train", *arguments, "--resume"]) == 2
    assert "train.save_only_model: found true: the checkpoints of this run hold no optimizer" in capsys.readouterr().err


def test_check_renders_the_same_prompt(
    run: tuple[Path, list[str], list[RLVRTrainer]], capsys: pytest.CaptureFixture[str]
) -> None:
    _, arguments, _ = run
    assert main(["check", *arguments, "run_dir=elsewhere"]) == 0
    shown = capsys.readouterr().out
    assert "prompt: '1 2 3 ='" in shown and "4 with longer prompts than train.max_prompt_tokens are left out" in shown
