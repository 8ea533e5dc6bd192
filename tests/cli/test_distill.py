"""The distillation arm: taught by the solver, disjoint from what is probed, and the boundary grows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rlvr.cli.main import main
from rlvr.config.data import DataSpec
from rlvr.lab.countdown import derivations, problems, split_of
from rlvr.lab.exact import exact_pass_at_k, exact_success
from rlvr.lab.model import load_lab_model
from rlvr.report.load import load_run
from rlvr.runs.run_dir import RunDir
from rlvr.training.distillation import DECODING, RARELY, answers, rarely_solved
from rlvr.training.tracking import MetricsCallback
from rlvr.types import Problem
from tests.cli.test_bad_input import failure
from tests.support.small_run import file_hash, rows


def test_taught_problems_are_rarely_solved_and_every_answer_is_right() -> None:
    model, tokenizer = load_lab_model("lab")
    found = problems("train", 200)
    taught = rarely_solved(model, tokenizer, DataSpec(source="lab", split="train", size=200))
    p = exact_success(model, tokenizer, found, DECODING)
    assert [problem.id for problem in taught] == [f.id for f, x in zip(found, p, strict=True) if x < RARELY]
    assert 60 < len(taught) < 140
    data = answers(taught[:5], tokenizer)
    texts = []
    for row in data.to_list():
        assert row["labels"][:7] == [-100] * 7 and row["labels"][7:] == row["input_ids"][7:]
        assert row["input_ids"][-1] == tokenizer.eos_token_id
        texts.append(tokenizer.decode(row["input_ids"][:-1]))
    assert texts == [f"{t.prompt} {a}" for t in taught[:5] for a in derivations(t.extra["numbers"], int(t.gold), 99)]
    assert {split_of(t.extra["numbers"]) for t in taught} == {"train"}
    assert {split_of(h.extra["numbers"]) for h in problems("hard", 128)} == {"test"}


SHORT = ["recipes/quickstart/lab_grpo.yaml", "data.probe.split=hard", "data.probe.size=6", "train.steps=24",
         "train.save_every=12", "probes.every=24", "judge.workers=1", "tracking.wandb=disabled"]


def test_a_short_distillation_raises_the_exact_boundary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ended at step 18 in the first go: it goes on from step 12, to the very weights of a run that was not."""
    monkeypatch.setenv("RLVR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("rlvr.config.distillation.CANDIDATES", 256)
    chosen: dict[DataSpec, list[Problem]] = {}  # by all three trainings from the same base
    monkeypatch.setattr("rlvr.training.distillation.rarely_solved", lambda model, tokenizer, data: (
        chosen.get(data) or chosen.setdefault(data, rarely_solved(model, tokenizer, data))))
    run = RunDir(tmp_path / "run")
    command = ["lab", "distill", *SHORT]
    with monkeypatch.context() as once:
        once.setattr(MetricsCallback, "on_log", ended_at(18))
        with pytest.raises(OSError, match="interrupted"):
            main([*command, f"run_dir={run.path}"])
    assert [path.name for _, path in run.complete_checkpoints()] == ["checkpoint-12"]
    assert main([*command, f"run_dir={run.path}"]) == 2
    assert main([*command, f"run_dir={run.path}", "--resume"]) == 0
    assert main([*command, f"run_dir={tmp_path / 'whole'}"]) == 0
    whole = RunDir(tmp_path / "whole")
    weights = [file_hash(each.checkpoint(24) / "model.safetensors") for each in (run, whole)]
    assert weights[0] == weights[1] and run.probes.read_bytes() == whole.probes.read_bytes()
    assert [row["step"] for row in rows(run.metrics)] == list(range(1, 25))
    assert "pass@256" in capsys.readouterr().out and run.report.is_file()
    before, after = rows(run.boundary)
    assert (before["step"], after["step"], before["problems"]) == (0, 24, 6)
    assert before["plan"] == "reference-512" and after["plan"] == "balanced"
    recipe = load_run(run.path).recipe
    assert load_run(run.path).lab and recipe["data"]["train"]["size"] == 256
    assert recipe["algorithm"]["name"] == "distillation" and recipe["train"]["warmup_steps"] == 2
    assert rows(run.metrics)[-1]["train/loss"] < rows(run.metrics)[0]["train/loss"]
    asked = problems("hard", 100)
    exact = {}
    for model in ("lab", run.checkpoint(24)):
        exact[model] = exact_success(*load_lab_model(model), asked, DECODING)
    base, taught = (exact_pass_at_k(p, (1, 16, 64, 256)) for p in exact.values())
    assert taught[1] > 1.5 * base[1] and taught[16] > base[16] + 0.08
    assert taught[64] > base[64] + 0.05 and taught[256] > base[256]
    six = exact_pass_at_k(exact[run.checkpoint(24)][:6], (64,))[64]
    assert after["exact"]["boundary/pass@64"] == pytest.approx(six, abs=1e-6)


def ended_at(step: int) -> Any:
    """`MetricsCallback.on_log` of a training that is interrupted after `step`."""
    whole = MetricsCallback.on_log

    def on_log(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        whole(self, args, state, control, **kwargs)
        if state.global_step == step:
            raise OSError("interrupted")

    return on_log


@pytest.mark.parametrize(("setting", "expected"), [
    ("model.path=other/model", "model.path: found 'other/model', expected 'lab'"),
    ("data.probe={source: my.jsonl, prompt: p, gold: g, verifier: countdown}", "data.probe.source: found 'my.jsonl', "),
    ("data.probe.split=train", "data.probe.split: found 'train', whose problems are taught"),
    ("probes.enabled=false", "probes.enabled: found false"),
    ("probes.budget=0.1", "probes.budget: found 0.1, a share of the generated tokens, and distillation generates none"),
    ("probes.arms={hot: {temperature: 1.2}}", "probes.arms: found hot, but a distillation measures none"),
])
def test_recipes_that_cannot_be_distilled_are_one_line(
    setting: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert expected in failure(capsys, "lab", "distill", *SHORT, setting, f"run_dir={tmp_path / 'run'}")
    assert not (tmp_path / "run").exists()
