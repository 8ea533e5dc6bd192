"""What `rlvr check` says before anything is loaded: settings, notes, and the price of the probes."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from rlvr.cli.main import main
from rlvr.config.algorithm import critic_note
from rlvr.config.recipe import load_recipe
from rlvr.config.registry import resolve
from rlvr.interfaces import Algorithm, Credit, RolloutBatch, TokenBatch
from rlvr.probes.budget_checks import generated_per_used
from rlvr.statistics.schedule import mixed_of_beta

LAB = "recipes/quickstart/lab_grpo.yaml"


def algorithm(name: str, **settings: Any) -> Algorithm[Any]:
    found: Any = resolve("algorithms", name)
    return found(found.Config(**settings))


def test_rollouts_generated_per_rollout_used_by_hand() -> None:
    """Uniform p: E[p^2] = 1/3, so a third of groups of 2 are mixed, 3 batches; E[p^4] = 1/5, 3/5 mixed, 2 batches."""
    def uniform(name: str, group_size: int, **settings: Any) -> float:
        return generated_per_used(algorithm(name, **settings), group_size, mixed_of_beta(1, 1, group_size))

    assert uniform("grpo", 4) == 1 and uniform("remax", 4) == 1.25
    assert uniform("dapo", 2) == 3 and uniform("dapo", 4) == 2
    assert uniform("dapo", 2, max_num_gen_batches=2) == 2  # no more are allowed
    assert uniform("dapo", 2, dynamic_sampling=False) == 1
    assert mixed_of_beta(1, 5, 2) == pytest.approx(5 / 21)  # 1 - 1/21 - 15/21


def test_the_share_of_the_probes_counts_all_that_training_generates(capsys: pytest.CaptureFixture[str]) -> None:
    """Samples s of the hard case against 30,720 rollouts used: s / (s + 3 * 30720) with dynamic sampling."""
    shares = {}
    for name in ("grpo", "dapo"):
        assert main(["check", LAB, f"algorithm.name={name}"]) == 0
        (line,) = [line for line in capsys.readouterr().out.splitlines() if "Omni-MATH" in line]
        samples = int(line.split(": ")[1].split()[0].replace(",", ""))
        threefold = "generates 3 completions per rollout it uses" in line
        shares[name] = (samples, line.split("samples, ")[1].split("%")[0], threefold)
    samples = shares["grpo"][0]
    assert shares["grpo"] == (samples, f"{100 * samples / (samples + 51_200):.0f}", False)
    assert shares["dapo"] == (samples, f"{100 * samples / (samples + 3 * 51_200):.0f}", True)


def test_settings_are_listed_in_lines_that_fit(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", LAB, "algorithm.std_eps=0.25"]) == 0
    lines = capsys.readouterr().out.splitlines()
    at = next(i for i, line in enumerate(lines) if line.split() == ["algorithm", "grpo"])
    assert lines[at + 1].strip() == "set: std_eps=0.25" and "default: clip_low=0.2, " in lines[at + 2]
    assert any("dual_clip=null" in line for line in lines[at:]) and max(map(len, lines)) <= 120


def test_data_decoding_and_reward_terms_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    length = "train.rewards={length: {weight: 0.1, free: 9, worst: 18}, boxed: {}}"
    assert main(["check", LAB, length, "probes.temperature=0.6", "data.probe.verifier=exact_string"]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert "train: lab train, verifier countdown; temperature 1, at most 18 tokens" in lines
    assert "probe: lab test, verifier exact_string; temperature 0.6, top_p 1, at most 18 tokens" in lines
    (terms,) = [line for line in lines if line.startswith("rewards")]
    assert "boxed {weight: 0.0, only_if_correct: true}; length {weight: 0.1, only_if_correct: true, free: 9" in terms
    assert main(["check", LAB, length.replace("free: 9", "free: 18")]) == 2
    assert "length.free: found 18 (whole number), expected less than train.max_new_tokens" in capsys.readouterr().err


def test_who_has_no_gpu_is_told_how_to_time_a_step(capsys: pytest.CaptureFixture[str]) -> None:
    """Bug: without --gpu not a word about time."""
    assert main(["check", LAB, "algorithm.name=rloo"]) == 0
    words, *command = capsys.readouterr().out.splitlines()[-3:]
    assert words.startswith("time") and "A CPU is not forecast" in words
    given = shlex.split(" ".join(command).replace("\\", ""))
    assert given == ["rlvr", "train", LAB, "algorithm.name=rloo", "train.steps=3", "probes.enabled=false",
                     "run_dir=$(mktemp -d)/timed"]
    assert load_recipe(LAB, given[3:]).train.steps == 3
    assert main(["check", LAB, "--gpu", "h100"]) == 0
    assert "A CPU is not forecast" not in capsys.readouterr().out


def test_a_critic_slower_than_the_policy_is_noted(capsys: pytest.CaptureFixture[str]) -> None:
    """At a tenth of the policy's rate and below; an algorithm without a critic has none to be slow."""
    assert "the critic's learning rate is 1e-05, the policy's 0.0001" in critic_note(algorithm("ppo"), 1e-4)
    assert critic_note(algorithm("ppo"), 9e-5) == "" == critic_note(algorithm("grpo"), 1.0)
    assert main(["check", LAB, "algorithm.name=ppo"]) == 0
    assert "note: the critic's learning rate is 1e-05, the policy's 0.0002" in capsys.readouterr().out


@dataclass(frozen=True)
class Broken:
    how: str = "shape"
    """What is wrong."""


class BrokenAlgorithm(Algorithm[Broken]):
    """A plug-in with the mistakes that plug-ins have."""

    Config = Broken

    def token_loss(self, tokens: TokenBatch) -> torch.Tensor | None:
        return tokens.logps_BT.sum(1) if self.config.how == "loss" else None

    def advantages(self, batch: RolloutBatch) -> Credit:
        if self.config.how == "raise":
            raise KeyError("values_NT")
        credit_N = batch.rewards_N if self.config.how == "nan" else batch.rewards_N.nan_to_num(0.0)
        return Credit(credit_N if self.config.how == "shape" else credit_N[:, None] * batch.mask_NT)


@pytest.mark.parametrize("verb", ["check", "train"])
@pytest.mark.parametrize(("how", "words"), [
    ("shape", "advantages_NT has shape (20,) on an ordinary batch, expected (20, 6)"),
    ("nan", "advantages_NT is not finite on an ordinary batch"),
    ("raise", "advantages raises KeyError on an ordinary batch: 'values_NT'"),
    ("loss", "token_loss has shape (20,), expected (20, 6)"),
])
def test_a_broken_plug_in_is_found_before_the_base_probe(
    tmp_path: Any, capsys: pytest.CaptureFixture[str], verb: str, how: str, words: str
) -> None:
    name = "tests.cli.test_check:BrokenAlgorithm"
    assert main([verb, LAB, f"algorithm.name={name}", f"algorithm.how={how}", f"run_dir={tmp_path}/run"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"algorithm.name: '{name}' fails on a small made-up batch: BrokenAlgorithm: {words}" in line
    assert not (tmp_path / "run").exists()
