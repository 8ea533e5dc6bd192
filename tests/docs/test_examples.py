"""The Python of the pages runs as it stands. The scripts of docs/probes.md are run by tests/probes/test_examples.py."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from trl.trainer.grpo_trainer import GRPOTrainer

import rlvr
from rlvr.config.registry import resolve
from rlvr.judging.judge import Judge
from rlvr.lab.countdown import problems
from rlvr.lab.model import build_tokenizer
from rlvr.probes.callback import BoundaryProbeCallback
from rlvr.runs.run_dir import RunDir
from rlvr.statistics.plan import SamplingPlan
from rlvr.training.prompt_stream import PromptStream
from rlvr.training.trainer import RLVRTrainer
from rlvr.types import Decoding, Problem
from tests.docs.pages import PAGES, ROOT, blocks, hooks, text_of
from tests.support.small_run import rows
from tests.support.tiny import ParityJudge, config, tiny_model, train_problems

ALGORITHMS, VERIFIERS = text_of("docs/algorithms.md"), text_of("docs/verifiers.md")
RUN_HERE = {"README.md": 1, "docs/algorithms.md": 3, "docs/verifiers.md": 3, "docs/api.md": 1}
RUN_ELSEWHERE = {"docs/probes.md": 3}


def test_every_block_of_python_is_run_by_a_test() -> None:
    found = {str(page.relative_to(ROOT)): count for page in PAGES
             if (count := len(blocks(page.read_text(encoding="utf-8"), "python", "py")))}
    assert found == RUN_HERE | RUN_ELSEWHERE


def test_your_own_algorithm_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    algorithm_code, test_code, _ = blocks(ALGORITHMS, "python")
    (tmp_path / "my_readme_module.py").write_text(algorithm_code)
    monkeypatch.syspath_prepend(tmp_path)
    found = resolve("algorithms", "my_readme_module:BatchMean")
    algorithm = found(found.Config(scale=0.5))  # pyright: ignore[reportAttributeAccessIssue]
    trainer = RLVRTrainer(
        tiny_model(), algorithm=algorithm, problems=train_problems(), judge=ParityJudge(),
        args=config(tmp_path, max_steps=1), processing_class=build_tokenizer(),
    )
    before = [p.clone() for p in trainer.model.parameters()]
    trainer.train()
    assert any(not torch.equal(a, b) for a, b in zip(before, trainer.model.parameters(), strict=True))
    accuracy = trainer.state.log_history[0]["train/accuracy"]
    credit = torch.cat([s["advantages"][s["loss_mask"] > 0] for s in trainer._buffered_inputs or []])
    assert sorted({round(x, 4) for x in credit.tolist()}) == [round(-accuracy / 2, 4), round((1 - accuracy) / 2, 4)]
    namespace: dict[str, Any] = {"BatchMean": found, "Config": found.Config}  # pyright: ignore
    exec(test_code, namespace)
    namespace["test_batch_mean"]()


def test_an_algorithm_that_asks_for_more_is_checked() -> None:
    *_, code = blocks(ALGORITHMS, "python")
    namespace: dict[str, Any] = {}
    exec(code, namespace)
    algorithm = namespace["GreedyImitation"](namespace["LossConfig"](kl_loss_coef=0.1))
    assert algorithm.needs.greedy_baseline and algorithm.needs.ref_logps  # what the base class says is kept
    assert (algorithm.loss.nll_coef, algorithm.loss.kl_loss_coef) == (0.1, 0.1)
    rlvr.check_algorithm(algorithm)


@pytest.mark.parametrize("number", [0, 1])
def test_a_script_that_judges_prints_what_the_page_says(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    script = blocks(VERIFIERS, "python")[number]
    exec(script, {})
    assert capsys.readouterr().out.strip() == script.rstrip().rpartition("\n# ")[2]


def test_your_own_verifier_judges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = [block for block in blocks(VERIFIERS, "python") if "class LastWord" in block]
    (tmp_path / "readme_verifiers.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    name = "readme_verifiers:LastWord"
    good, bad = Problem("a", "?", "Paris", name), Problem("b", "?", "New York", name)
    with Judge(workers=1) as judge:
        verdicts = judge.judge([good] * 3, ["It is Paris.", "Paris or Rome", ""])
        assert [(v.correct, v.reason.value, v.extracted) for v in verdicts] == [
            (True, "identical", "paris."), (False, "wrong_answer", "rome"), (False, "empty", None)]
        assert judge.check_golds([good, bad]) == [None, "expected one word, found 'New York'"]


def test_the_page_of_the_api_has_every_public_name() -> None:
    (script,) = blocks(text_of("docs/api.md"), "python")
    exec(script, {})
    shown = [name for group in hooks().API.values() for name in group]
    assert {f"{module}.{name}" for name, module in rlvr._PLACES.items()} <= set(shown)
    assert len(shown) == len(set(shown))


def plain_trainer(folder: Path) -> GRPOTrainer:
    """trl.GRPOTrainer as it is, for two steps."""

    def reward(completions: list[str], **_: Any) -> list[float | None]:
        return [float(len(c) % 2) for c in completions]

    return GRPOTrainer(
        tiny_model(), reward, args=config(folder, max_steps=2), processing_class=build_tokenizer(),
        train_dataset=PromptStream(train_problems(), prompts_per_step=4, seed=0).dataset(2 * 4),
    )


def trained(trainer: GRPOTrainer) -> list[torch.Tensor]:
    assert trainer.model is not None
    return list(trainer.model.parameters())


def test_the_readmes_callback_measures_and_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a cheaper plan and fewer tokens than its defaults, on a model that solves nothing."""
    (script,) = blocks(text_of("README.md"), "python")
    asked: dict[str, Any] = {}

    class Small(BoundaryProbeCallback):
        def __init__(self, *arguments: Any, **given: Any) -> None:
            asked.update(given)
            super().__init__(*arguments, **(given | {
                "every": 1, "plan": SamplingPlan((4, 8), (2,)), "base_plan": SamplingPlan((8,)), "ks": (1, 4),
                "decoding": Decoding(1.0, 1.0, 8), "baselines": tmp_path / "baselines"}))

    monkeypatch.chdir(tmp_path)
    plain = plain_trainer(tmp_path / "a")  # TRL seeds its draws when a trainer is made
    plain.train()
    probed = plain_trainer(tmp_path / "b")
    exec(re.sub(r"\bBoundaryProbeCallback\(", "Small(", script),
         {"trainer": probed, "problems": problems("test", 3), "Small": Small})
    for a, b in zip(trained(probed), trained(plain), strict=True):
        assert torch.equal(a, b)
    run = RunDir(tmp_path / "runs/mine")
    assert asked["every"] == 50 and [r["step"] for r in rows(run.boundary)] == [0, 1, 2]
    assert [r["n"] for r in rows(run.probes)] == [8] * 9  # a random model solves nothing: no early stop
