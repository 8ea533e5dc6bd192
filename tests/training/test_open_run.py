"""Whether a checkpoint can be of the recipe's model: by configs as transformers parses them, whatever their shape."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig

from rlvr.training.open_run import check_checkpoint
from rlvr.training.step import Progress
from rlvr.types import UserError

QWEN_VL: dict[str, Any] = {
    "model_type": "qwen2_5_vl", "architectures": ["Qwen2_5_VLForConditionalGeneration"], "vocab_size": 128,
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vision_config": {"model_type": "qwen2_5_vl", "hidden_size": 32, "depth": 1},
}
"""As on the hub: the sizes of the text model at the top."""


def write(folder: Path, **changes: Any) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(QWEN_VL | changes))
    return folder


def test_a_flat_config_is_the_nested_one_that_training_saves(tmp_path: Path) -> None:
    model = write(tmp_path / "model")
    AutoConfig.from_pretrained(model).save_pretrained(tmp_path / "checkpoint-2")
    saved = json.loads((tmp_path / "checkpoint-2" / "config.json").read_text())
    assert "hidden_size" not in saved and saved["text_config"]["hidden_size"] == 64  # else this tests nothing
    check_checkpoint(tmp_path / "checkpoint-2", str(model))


@pytest.mark.parametrize(("key", "value"), [("vocab_size", 256), ("num_hidden_layers", 4), ("num_key_value_heads", 4)])
def test_another_model_is_refused_and_nothing_is_to_be_deleted(tmp_path: Path, key: str, value: int) -> None:
    AutoConfig.from_pretrained(write(tmp_path / "model")).save_pretrained(tmp_path / "checkpoint-2")
    other = write(tmp_path / "other", **{key: value})
    with pytest.raises(UserError, match=f"checkpoint-2: {key} is .*, but the model of the recipe, .* {value}") as error:
        check_checkpoint(tmp_path / "checkpoint-2", str(other))
    assert "delete" not in str(error.value)


def test_adapters_are_not_compared(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-2").mkdir()
    check_checkpoint(tmp_path / "checkpoint-2", str(write(tmp_path / "model")))


def test_progress_survives_a_checkpoint(tmp_path: Path) -> None:
    progress = Progress(prompt_position=7, used_tokens=3, entropy_coef=0.5, entropy=1.25)
    progress.save(tmp_path)
    assert Progress.load(tmp_path) == progress
    with pytest.raises(UserError, match="is missing: the checkpoint is not complete") as error:
        Progress.load(tmp_path / "other")
    assert "delete" not in str(error.value)
