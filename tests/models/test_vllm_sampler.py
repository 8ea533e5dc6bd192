"""Rollouts and probes through a trainer's vLLM engine: seeds, decoding, truncation, entropies, weights of the step."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import LoraConfig
from trl.trainer import grpo_trainer

from rlvr.algorithms.grpo import GRPO, GRPOConfig
from rlvr.algorithms.remax import ReMax, ReMaxConfig
from rlvr.config.recipe import SHIPPED, load_recipe
from rlvr.interfaces import SampleRequest
from rlvr.lab.countdown import problems
from rlvr.lab.model import build_tokenizer
from rlvr.models.sampler import TransformersSampler
from rlvr.models.seeded import row_key
from rlvr.runs.waiting import told
from rlvr.training.engine import fit_engine, room_for
from rlvr.training.trainer import RLVRTrainer
from rlvr.types import Decoding
from tests.support import fake_engine
from tests.support.tiny import ParityJudge, config, tiny_model, train_problems

PROBE = Decoding(temperature=0.6, top_p=0.95, max_new_tokens=12)


def make(folder: Path, algorithm: Any = None, model: Any = None, peft_config: Any = None, **changes: Any) -> Any:
    # Any: the engine that the trainer holds is the stand-in, which knows more than TRL's.
    return RLVRTrainer(
        model or tiny_model(),
        peft_config=peft_config,
        algorithm=algorithm or GRPO(GRPOConfig()),
        problems=train_problems(),
        judge=ParityJudge(),
        args=config(folder, use_vllm=True, vllm_mode="colocate", vllm_importance_sampling_correction=False, **changes),
        processing_class=build_tokenizer(),
    )


@pytest.fixture(autouse=True)
def _engine(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_engine.install(monkeypatch)


def requests(samples: int = 6) -> list[SampleRequest]:
    return [SampleRequest(problem, sample) for problem in problems("test", 3) for sample in range(samples)]


def test_probe_draws_what_the_transformers_sampler_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The stand-in samples by the same rule as ours, so equal keys must give equal completions, token for token.
    monkeypatch.setattr("rlvr.models.vllm_sampler.row_key", small_key)
    monkeypatch.setattr("rlvr.models.sampler.row_key", small_key)
    trainer = make(tmp_path)
    ours = trainer.live_sampler().sample(requests(), PROBE, seed=3, stream="probe/7")
    theirs = TransformersSampler(trainer.model, trainer.processing_class).sample(
        requests(), PROBE, seed=3, stream="probe/7"
    )
    assert len({c.text for c in ours}) > 9  # samples of a problem differ
    for a, b in zip(ours, theirs, strict=True):
        assert (a.problem_id, a.sample, a.text, a.num_tokens, a.truncated) == (
            b.problem_id, b.sample, b.text, b.num_tokens, b.truncated
        )
        if a.sample < 4:
            assert a.entropy == pytest.approx(b.entropy, abs=1e-5)
        else:
            assert a.entropy != a.entropy  # NaN: not computed
    assert {c.truncated for c in ours} == {True, False}


def small_key(*args: Any) -> int:
    return row_key(*args) % 2**63  # what an engine's signed seed can hold


def test_every_request_has_the_seed_of_its_key_and_the_decoding_of_the_probe(tmp_path: Path) -> None:
    trainer = make(tmp_path)
    trainer.live_sampler().sample(requests(), PROBE, seed=3, stream="probe/7")
    (call,) = trainer.vllm_generation.llm.calls
    assert [p.seed for p in call] == [row_key(3, "probe/7", r.problem.id, r.sample) % 2**63 for r in requests()]
    assert {(p.temperature, p.top_p, p.max_tokens) for p in call} == {(0.6, 0.95, 12)}
    assert "generate" not in vars(trainer.vllm_generation.llm)  # the engine is as it was
    assert trainer.vllm_generation.temperature == trainer.args.temperature == 1.0
    assert trainer.vllm_generation.max_completion_length == 8


def test_a_rank_with_fewer_requests_sends_fillers_of_one_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make(tmp_path)
    monkeypatch.setattr("rlvr.models.vllm_sampler.gather_object", lambda counts: [*counts, counts[0] + 2])
    found = trainer.live_sampler().sample(requests(1), PROBE, seed=0, stream="probe/1")
    (call,) = trainer.vllm_generation.llm.calls
    assert [p.max_tokens for p in call] == [12, 12, 12, 1, 1]
    assert [c.problem_id for c in found] == [r.problem.id for r in requests(1)]
    found = trainer.live_sampler().sample([], PROBE, seed=0, stream="probe/1")
    assert found == []
    assert [p.max_tokens for p in trainer.vllm_generation.llm.calls[-1]] == [1, 1]


def test_rollouts_are_seeded_by_problem_and_place(tmp_path: Path) -> None:
    trainer = make(tmp_path, max_steps=2)
    trainer.train()
    first, second = trainer.vllm_generation.llm.calls
    rows = trainer.stream.take(0, 4)
    assert [p.seed for p in first] == [
        row_key(0, "train/0", row["problem_id"], j) % 2**63 for row in rows for j in range(4)
    ]
    assert not {p.seed for p in first} & {p.seed for p in second}
    assert {(p.temperature, p.top_p, p.max_tokens) for p in first} == {(1.0, 1.0, 8)}


def test_greedy_baseline_is_greedy(tmp_path: Path) -> None:
    trainer = make(tmp_path, ReMax(ReMaxConfig()), max_steps=1)
    trainer.train()
    sampled, greedy = trainer.vllm_generation.llm.calls
    assert [p.temperature for p in sampled] == [1.0] * 16
    assert [p.temperature for p in greedy] == [0.0] * 4


def test_probe_after_an_update_has_its_weights_and_training_does_not_sync_again(tmp_path: Path) -> None:
    trainer = make(tmp_path, max_steps=1)
    trainer.train()
    engine = trainer.vllm_generation
    assert engine.syncs == 1
    sampler = trainer.live_sampler()
    sampler.sample(requests(1), PROBE, seed=0, stream="probe/1")
    sampler.sample(requests(1), PROBE, seed=0, stream="probe/1")
    assert engine.syncs == 2  # once for the step, not once a batch
    live = trainer.model.state_dict()
    assert all(torch.equal(live[name], value) for name, value in engine.llm.model.state_dict().items())


def test_another_call_than_trls_is_noticed(tmp_path: Path) -> None:
    from rlvr.models.vllm_sampler import drawn

    trainer = make(tmp_path)
    with drawn(trainer.vllm_generation, PROBE, [1, 2]), pytest.raises(RuntimeError, match="1 prompts for 2 seeds"):
        trainer.vllm_generation.generate(prompts=[[1]], images=None, num_generations=1)


def test_synchronising_adapters_leaves_the_base_as_it_was(tmp_path: Path) -> None:
    """TRL merges and unmerges in place: in bfloat16 that moves the base a little at every step."""
    trainer = make(tmp_path, model=tiny_model().to(torch.bfloat16),
                   peft_config=LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "embed_tokens"], bias="all"))
    model, engine = trainer.model, trainer.vllm_generation
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    synced = {}
    for _ in range(3):
        synced = {name: value.clone() for name, value in engine._iter_named_params()}
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    merged = model.merge_and_unload()
    assert synced.keys() == dict(merged.named_parameters()).keys()
    assert all(torch.equal(value, synced[name]) for name, value in merged.named_parameters())
    moved = synced["model.layers.0.self_attn.q_proj.weight"]
    assert not torch.equal(moved, before["base_model.model.model.layers.0.self_attn.q_proj.base_layer.weight"])


def test_the_engine_has_room_for_a_batch_of_a_probe(tmp_path: Path) -> None:
    assert make(tmp_path).vllm_generation.max_num_seqs == 16  # TRL's: the rollouts of this process
    assert make(tmp_path, vllm_sequences=300).vllm_generation.max_num_seqs == 300
    assert make(tmp_path, vllm_sequences=3).vllm_generation.max_num_seqs == 16


@pytest.mark.parametrize(("mode", "awaited"), [("server", "the vLLM server at http://x:1 to answer"),
                                               ("colocate", "the vLLM engine to start")])
def test_a_long_start_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], mode: str,
                              awaited: str) -> None:
    """Bug: a run whose server was not up waited for four minutes without a word."""
    monkeypatch.setattr("rlvr.training.engine.told", partial(told, patience=0.05))
    trl: Any = grpo_trainer
    monkeypatch.setattr(trl, "VLLMGeneration", lambda **_: time.sleep(0.3))
    with room_for(None):
        trl.VLLMGeneration(max_num_seqs=1, mode=mode, server_base_url="http://x:1")
    assert capsys.readouterr().err.startswith(f"waiting for {awaited}")


def test_an_engine_that_sleeps_gets_its_weights_once_per_probe(tmp_path: Path) -> None:
    trainer = make(tmp_path, vllm_enable_sleep_mode=True)
    engine, sampler = trainer.vllm_generation, trainer.live_sampler()
    for _ in range(2):
        sampler.sample(requests(1), PROBE, seed=3, stream="probe/7")
    assert engine.syncs == 2 and engine.llm.slept == ["wake kv_cache", "sleep 2"] * 2  # as TRL has it
    with trainer.probing():
        for _ in range(3):
            sampler.sample(requests(1), PROBE, seed=3, stream="probe/7")
    assert engine.syncs == 3 and engine.llm.slept[4:] == ["wake kv_cache", "sleep 2"]
    sampler.sample(requests(1), PROBE, seed=3, stream="probe/8")
    assert engine.syncs == 4  # asleep again


@pytest.mark.parametrize(("given", "longest", "expected"), [
    (["train.max_prompt_tokens=20"], 25, 25 + 30), (["train.max_prompt_tokens=20"], 60, 64),
    (["train.max_prompt_tokens=20", "train.vllm.max_model_length=60"], 25, 60),
])
def test_the_engine_is_as_long_as_the_longest_sequence(given: list[str], longest: int, expected: int) -> None:
    """At most what the model declares: 64 for the lab's."""
    recipe = load_recipe(SHIPPED / "quickstart/lab_grpo.yaml",
                         ["train.vllm.mode=colocate", "probes.max_new_tokens=24", "probes.batch_size=100", *given])
    args = SimpleNamespace(vllm_max_model_length=recipe.train.vllm.max_model_length)  # type: ignore[union-attr]
    fit_engine(args, recipe, [recipe.probe_decoding, Decoding(max_new_tokens=30)], longest)
    assert (args.vllm_max_model_length, args.vllm_sequences) == (expected, 100)
