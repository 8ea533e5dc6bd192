"""The README's examples run as they stand."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from trl.trainer.grpo_trainer import GRPOTrainer

from rlvr.cli.main import parse
from rlvr.config.registry import resolve
from rlvr.judging.judge import Judge
from rlvr.lab.countdown import problems
from rlvr.lab.model import build_tokenizer
from rlvr.probes.callback import BoundaryProbeCallback
from rlvr.runs.run_dir import RunDir
from rlvr.statistics.plan import SamplingPlan
from rlvr.training.prompt_stream import PromptStream
from rlvr.training.trainer import RLVRTrainer
from rlvr.types import Decoding, Problem, Reason
from tests.support.small_run import rows
from tests.support.tiny import ParityJudge, config, tiny_model, train_problems

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
ALGORITHMS = (ROOT / "algorithms/README.md").read_text()
VERIFIERS = (ROOT / "rewards/README.md").read_text()


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def test_your_own_algorithm_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = [block for block in blocks("python", ALGORITHMS) if "class BatchMean" in block]
    (tmp_path / "my_readme_module.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    found = resolve("algorithms", "my_readme_module:BatchMean")
    algorithm = found(found.Config(clip=0.1))  # pyright: ignore[reportAttributeAccessIssue]
    trainer = RLVRTrainer(
        tiny_model(), algorithm=algorithm, problems=train_problems(), judge=ParityJudge(),
        args=config(tmp_path, max_steps=1), processing_class=build_tokenizer(),
    )
    before = [p.clone() for p in trainer.model.parameters()]
    trainer.train()
    assert any(not torch.equal(a, b) for a, b in zip(before, trainer.model.parameters(), strict=True))
    accuracy = trainer.state.log_history[0]["train/accuracy"]
    credit = torch.cat([s["advantages"][s["loss_mask"] > 0] for s in trainer._buffered_inputs or []])
    assert sorted({round(x, 4) for x in credit.tolist()}) == [round(-accuracy, 4), round(1 - accuracy, 4)]


def train_plain(folder: Path, probes: BoundaryProbeCallback | None) -> list[torch.Tensor]:
    """Two steps of trl.GRPOTrainer as it is; returns the trained parameters."""

    def reward(completions: list[str], **_: Any) -> list[float | None]:
        return [float(len(c) % 2) for c in completions]

    trainer = GRPOTrainer(
        tiny_model(), reward, args=config(folder, max_steps=2), processing_class=build_tokenizer(),
        train_dataset=PromptStream(train_problems(), prompts_per_step=4, seed=0).dataset(2 * 4),
    )
    if probes is not None:
        trainer.add_callback(probes)
    trainer.train()
    assert trainer.model is not None
    return list(trainer.model.parameters())


@pytest.mark.parametrize("number", [0, 1])
def test_a_script_that_judges_prints_what_the_page_says(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    script = blocks("python", VERIFIERS)[number]
    exec(script, {})
    assert capsys.readouterr().out.strip() == script.rstrip().rpartition("\n# ")[2]


def test_your_own_verifier_judges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = [block for block in blocks("python", VERIFIERS) if "class LastWord" in block]
    (tmp_path / "readme_verifiers.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    name = "readme_verifiers:LastWord"
    good, bad = Problem("a", "?", "Paris", name), Problem("b", "?", "New York", name)
    with Judge(workers=1) as judge:
        verdicts = judge.judge([good] * 3, ["It is Paris.", "Paris or Rome", ""])
        assert [(v.correct, v.reason.value, v.extracted) for v in verdicts] == [
            (True, "identical", "paris."), (False, "wrong_answer", "rome"), (False, "empty", None)]
        assert judge.check_golds([good, bad]) == [None, "expected one word, found 'New York'"]


def test_the_table_of_reasons_has_each_once() -> None:
    table = VERIFIERS.partition("## Reasons")[2].partition("\n\n|")[2]
    assert sorted(re.findall(r"`(\w+)`", table)) == sorted(reason.value for reason in Reason)


def test_probes_on_a_plain_trl_trainer_measure_and_change_nothing(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path / "run")
    with Judge(workers=1) as judge:
        callback = BoundaryProbeCallback(
            problems("test", 3), judge=judge, run_dir=run_dir.path, every=1, baselines=tmp_path / "baselines",
            plan=SamplingPlan((4, 8), (2,)), base_plan=SamplingPlan((8,)), ks=(1, 4), decoding=Decoding(1.0, 1.0, 8),
        )
        probed = train_plain(tmp_path / "a", callback)
    for a, b in zip(probed, train_plain(tmp_path / "b", None), strict=True):
        assert torch.equal(a, b)
    assert [r["step"] for r in rows(run_dir.boundary)] == [0, 1, 2]
    assert [r["n"] for r in rows(run_dir.probes)] == [8] * 9  # a random model solves nothing: no early stop


def test_every_rlvr_command_of_the_readme_parses() -> None:
    text = "\n".join([*blocks("bash"), *blocks("bash", VERIFIERS)]).replace("\\\n", " ")
    commands = [line.split("#")[0] for line in text.splitlines() if line.startswith("rlvr ")]
    assert len(commands) >= 5
    for command in commands:
        arguments = parse(shlex.split(command)[1:])
        for word in shlex.split(command):
            if word.startswith("recipes/"):
                assert (ROOT / word).is_file(), word
        assert callable(arguments.run)
