"""`rlvr train` and `rlvr probe` on a model directory that sees, from files: the loading code of real models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rlvr.cli.main import main
from rlvr.models.loading import load_processing
from rlvr.types import UserError
from tests.support.small_run import rows
from tests.support.tiny_vision import picture, save_llava

RECIPE = """
name: seeing
model: {{path: {folder}/model}}
data:
  train: &rows
    source: {folder}/rows.jsonl
    image: picture
    chat: true
    verifier: visual_answer
    choices: options
    multiple_choice: drop
    size: 8
  probe: {{<<: *rows, skip: 8, size: 2}}
algorithm: {{name: grpo}}
train:
  steps: 2
  prompts_per_step: 4
  group_size: 4
  micro_batch_size: 8
  max_prompt_tokens: 128
  max_new_tokens: 8
  save_every: 2
  rewards: {{boxed: {{weight: 0.1}}, length: {{free: 2, worst: 6}}}}
probes: {{every: 2, max_new_tokens: 8, batch_size: 256, plan: cheap, base_plan: cheap, ks: [1, 256]}}
judge: {{workers: 1}}
tracking: {{wandb: disabled}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lines = []
    for i in range(14):
        (tmp_path / f"{i}.png").write_bytes(picture(i))
        lines.append({"problem": "Find x.", "answer": "7", "picture": f"{i}.png", "options": ["7", "8"] * (i < 2)})
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    save_llava(tmp_path / "model")
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(folder=tmp_path))
    return tmp_path


@pytest.mark.slow
def test_train_check_and_probe(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(folder / "recipe.yaml"), f"run_dir={folder}/run", f"probes.baselines={folder}/baselines"]
    assert main(["check", *arguments]) == 0
    assert "8 train, 2 probe, 0 in both" in capsys.readouterr().out  # the same question, other pictures
    assert main(["train", *arguments]) == 0
    metrics = rows(folder / "run" / "metrics.jsonl")
    assert [row["step"] for row in metrics] == [1, 2]
    assert metrics[0]["train/boxed_reward"] == 0 and -1 <= metrics[0]["train/length_reward"] < 0
    probes = rows(folder / "run" / "probes.jsonl")
    assert [(row["step"], row["n"]) for row in probes] == [(step, 256) for step in (0, 2) for _ in range(2)]
    assert [row["problem_id"] for row in probes[:2]] == ["rows/10", "rows/11"]
    checkpoint = folder / "run" / "checkpoints" / "checkpoint-2"
    assert load_processing(str(checkpoint), images=True).image_processor.crop_size["height"] == 16
    assert main(["probe", str(checkpoint), arguments[0], arguments[2], "-o", str(folder / "probe")]) == 0
    again = rows(folder / "probe" / "probes.jsonl")
    assert again[:2] == probes[:2]  # the base's, from the store
    assert [row["tokens"] for row in again[2:]] == [row["tokens"] for row in probes[2:]]


def test_what_a_processor_needs_is_said_in_one_line(folder: Path) -> None:
    with pytest.raises(UserError, match=r"model.path: the data has pictures, and 'lab' reads text only"):
        load_processing("lab", images=True)
    with pytest.raises(UserError, match=r"model.path: no image processor at") as caught:
        load_processing(str(folder / "nothing"), images=True)
    assert "\n" not in str(caught.value)
