"""A tiny random lab model and an in-process judge: everything the trainer's tests need, in milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from rlvr.lab.countdown import problems
from rlvr.lab.model import build_model, build_tokenizer
from rlvr.training.trl_settings import RLVRConfig
from rlvr.types import Problem, Reason, Verdict


def tiny_model(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    model = build_model(build_tokenizer(), layers=1, hidden=24)
    model.config._name_or_path = "tiny"
    return model


class ParityJudge:
    """Correct if the completion has an even number of characters: rewards that differ within every group."""

    def judge(self, problems: Sequence[Problem], texts: Sequence[str]) -> list[Verdict]:
        return [
            Verdict(True, Reason.IDENTICAL, extracted=t[:3]) if len(t) % 2 == 0 else
            Verdict(False, Reason.WRONG_ANSWER, extracted=t[:3])
            for t in texts
        ]


def config(folder: Path, **changes: Any) -> RLVRConfig:
    settings: dict[str, Any] = {
        "output_dir": str(folder),
        "per_device_train_batch_size": 8,
        "gradient_accumulation_steps": 2,
        "steps_per_generation": 2,
        "num_generations": 4,
        "max_completion_length": 8,
        "max_steps": 3,
        "learning_rate": 1e-3,
        "lr_scheduler_type": "constant",
        "report_to": [],
        "logging_steps": 1,
        "save_strategy": "no",
        "disable_tqdm": True,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "seed": 0,
    }
    return RLVRConfig(**(settings | changes))


def train_problems(size: int = 16) -> list[Problem]:
    return problems("train", size)


def max_difference(a: Any, b: Any) -> float:
    return max(
        (x - y).abs().max().item() for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    )
