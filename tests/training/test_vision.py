"""Training on prompts with pictures: TRL's path, seeded sampling, probes; a tiny Qwen2.5-VL on the CPU."""

from __future__ import annotations

import dataclasses
import math
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from rlvr.algorithms.dapo import DAPO, DAPOConfig
from rlvr.algorithms.grpo import GRPO, GRPOConfig
from rlvr.algorithms.ppo import PPO, PPOConfig
from rlvr.algorithms.remax import ReMax, ReMaxConfig
from rlvr.interfaces import SampleRequest
from rlvr.judging.judge import Judge
from rlvr.lab.model import build_tokenizer as lab_tokenizer
from rlvr.models.prompts import prompt_fingerprint, prompt_inputs
from rlvr.models.sampler import TransformersSampler
from rlvr.probes.callback import BoundaryProbeCallback
from rlvr.runs.run_dir import RunDir
from rlvr.statistics.plan import SamplingPlan
from rlvr.training import passes
from rlvr.training.step import Step
from rlvr.training.trainer import RLVRTrainer
from rlvr.training.trl_settings import check_engine
from rlvr.types import Completion, Decoding, Problem, UserError
from tests.support.tiny import ParityJudge, config, max_difference
from tests.support.tiny_vision import build_model, build_processor, picture, vision_problems

IMAGE_PAD = 260


def make(
    folder: Path, algorithm: Any = None, model: Any = None, problems: Any = None, trainer: Any = RLVRTrainer,
    **changes: Any,
) -> Any:
    return trainer(
        model or build_model(),
        algorithm=algorithm or GRPO(GRPOConfig()),
        problems=problems or vision_problems(),
        judge=ParityJudge(),
        args=config(folder, **changes),
        processing_class=build_processor(),
    )


def sample(batch: list[tuple[int, int]], model: Any = None, stream: str = "s") -> list[Completion]:
    items = vision_problems()
    requests = [SampleRequest(items[p], s) for p, s in batch]
    sampler = TransformersSampler(model or build_model(), build_processor())
    return sampler.sample(requests, Decoding(max_new_tokens=8), seed=0, stream=stream)


def logps_of_next_tokens(problem: Problem) -> torch.Tensor:
    model, inputs = build_model(), prompt_inputs(build_processor(), problem)
    with torch.no_grad():
        return model(**inputs).logits[0, -1].log_softmax(-1)


def test_a_picture_takes_its_place_in_the_prompt() -> None:
    # 24 x 16 pixels are 6 x 4 patches of 4 x 4, four of which make a token: 6 places.
    inputs = prompt_inputs(build_processor(), vision_problems()[1])
    assert inputs["pixel_values"].shape == (24, 3 * 2 * 4 * 4) and inputs["image_grid_thw"].tolist() == [[1, 4, 6]]
    assert (inputs["input_ids"] == IMAGE_PAD).sum() == 6
    text = build_processor().tokenizer.decode(inputs["input_ids"][0])
    assert text.startswith("<|im_start|>system\nAnswer in a box.<|im_end|>\n<|im_start|>user\n<|vision_start|>")
    assert text.endswith("<|image_pad|><|vision_end|>Find x.<|im_end|>\n<|im_start|>assistant\n")


def test_other_pixels_give_other_log_probabilities() -> None:
    problem = vision_problems()[0]
    other = dataclasses.replace(problem, images=(picture(99),))
    logps, again, seen = map(logps_of_next_tokens, (problem, problem, other))
    assert torch.equal(logps, again)
    assert (logps - seen).abs().max() > 0.1
    assert prompt_fingerprint(build_processor(), problem) != prompt_fingerprint(build_processor(), other)


def test_same_samples_in_another_batch() -> None:
    batch = [(p, s) for p in range(4) for s in range(3)]
    one = dict(zip(batch, sample(batch), strict=True))
    other = dict(zip(batch[::-1], sample(batch[::-1]), strict=True))
    assert {k: c.text for k, c in one.items()} == {k: c.text for k, c in other.items()}
    assert sample([(2, 1)])[0].text == one[2, 1].text
    assert len({c.text for c in one.values()}) == 12
    assert [(c.problem_id, c.sample) for c in one.values()] == [(f"v/{p}", s) for p, s in batch]


class Rollouts(RLVRTrainer):
    """Keeps what was sampled and what a forward pass over the padded batch says of it."""

    def _generate_single_turn(self, prompt_ids: Any, *args: Any, **kwargs: Any) -> Any:
        self.prompt_lengths = [len(ids) for ids in prompt_ids]
        self.sampled = super()._generate_single_turn(prompt_ids, *args, **kwargs)
        return self.sampled

    def gathered_batch(self, step: Step, tensors: dict[str, Any]) -> Any:
        self.forward_logps = passes.old_logps(self, tensors)
        return super().gathered_batch(step, tensors)


def test_sampled_log_probabilities_are_those_of_a_forward_pass(tmp_path: Path) -> None:
    # Positions of a picture are three-dimensional: a slip in the cache, the padding or the split shows here.
    trainer = make(tmp_path, trainer=Rollouts, max_steps=1, learning_rate=0.0)
    trainer.generation_config.suppress_tokens = None  # else the sampler's distribution lacks one token
    trainer.train()
    assert len(set(trainer.prompt_lengths)) > 1
    for forward, sampled in zip(trainer.forward_logps, trainer.sampled[1], strict=True):
        assert forward[: len(sampled)].tolist() == pytest.approx(sampled, abs=2e-5)


def test_trainer_and_probe_draw_the_same_samples(tmp_path: Path) -> None:
    trainer = make(tmp_path, trainer=Rollouts, max_steps=1, learning_rate=0.0)
    trainer.train()
    problems = {p.id: p for p in vision_problems()}
    requests = [SampleRequest(problems[row["problem_id"]], i % 4) for i, row in enumerate(trainer.step.rows)]
    sampler = TransformersSampler(build_model(), build_processor())
    probe = sampler.sample(requests, Decoding(max_new_tokens=8), seed=0, stream="train/0")
    decode = build_processor().tokenizer.decode
    assert [c.text for c in probe] == [decode(ids, skip_special_tokens=True) for ids in trainer.sampled[0]]


def test_the_picture_token_is_never_drawn(tmp_path: Path) -> None:
    model = build_model()
    with torch.no_grad():
        model.lm_head.weight.zero_()  # all tokens alike
    probe = sample([(0, s) for s in range(16)], model)
    assert [c.entropy for c in probe] == pytest.approx([math.log(model.config.text_config.vocab_size - 1)] * 16)
    trainer = make(tmp_path, trainer=Rollouts, model=model, max_steps=1, learning_rate=0.0, max_completion_length=64)
    trainer.train()
    drawn = [token for ids in trainer.sampled[0] for token in ids]
    assert len(drawn) > 500 and IMAGE_PAD not in drawn  # of 500 uniform tokens 2 would be


def test_three_steps_of_grpo_move_language_and_vision(tmp_path: Path) -> None:
    trainer, start = make(tmp_path), build_model()
    trainer.train()
    moved: dict[str, float] = dict.fromkeys(("language_model", "visual", "lm_head"), 0.0)
    for (name, now), (_, before) in zip(trainer.model.named_parameters(), start.named_parameters(), strict=True):
        part = next(part for part in moved if part in name)
        moved[part] = max(moved[part], (now - before).abs().max().item())
    # Adam moves a parameter by about its learning rate, 1e-3, per step
    assert all(1e-3 < distance < 4e-3 for distance in moved.values()), moved
    for log in trainer.state.log_history[:3]:
        assert math.isfinite(log["loss"]) and log["grad_norm"] > 0 and 0 < log["train/accuracy"] < 1
        assert log["train/entropy"] == pytest.approx(math.log(262), abs=1.0)


def test_the_pixels_reach_the_loss(tmp_path: Path) -> None:
    def gradient(seed: int) -> float:
        problems = [dataclasses.replace(p, images=(picture(seed + i),)) for i, p in enumerate(vision_problems(4))]
        trainer = make(tmp_path, problems=problems, max_steps=1)
        trainer.train()
        return trainer.state.log_history[0]["grad_norm"]

    one = gradient(0)
    assert gradient(0) == one != gradient(50)


def probe(folder: Path, trainer: Any, problems: list[Problem]) -> BoundaryProbeCallback:
    plan = SamplingPlan(checkpoints=(4,), stop_at=())
    return BoundaryProbeCallback(
        problems, judge=ParityJudge(), run_dir=folder / "run", every=3, plan=plan, base_plan=plan, ks=(1, 4),
        decoding=Decoding(max_new_tokens=8), batch_size=6, baselines=folder / "baselines", sampler=trainer.live_sampler,
        unwrap=trainer.unwrapped,
    )


def test_probes_of_pictures_count_and_leave_the_training_alone(tmp_path: Path) -> None:
    plain = make(tmp_path / "plain")
    plain.train()
    probed = make(tmp_path / "probed")
    probed.add_callback(probe(tmp_path, probed, vision_problems()[4:]))
    probed.train()
    assert max_difference(plain.model, probed.model) == 0.0
    rows = RunDir(tmp_path / "run").read_jsonl(RunDir(tmp_path / "run").probes)
    expected = [(step, f"v/{i}", 4) for step in (0, 3) for i in range(4, 8)]
    assert [(r["step"], r["problem_id"], r["n"]) for r in rows] == expected
    for i, (base, trained) in enumerate(zip(rows[:4], rows[4:], strict=True), start=4):
        drawn = sample([(i, s) for s in range(4)], stream="base")
        assert base["c"] == sum(len(c.text) % 2 == 0 for c in drawn if not c.truncated)  # what ParityJudge says
        assert base["tokens"] == sum(int(c.num_tokens or 0) for c in drawn)
        assert base["entropy"] != trained["entropy"]


def test_greedy_baseline_reads_the_pictures(tmp_path: Path) -> None:
    trainer = make(tmp_path, ReMax(ReMaxConfig()), max_steps=1)
    trainer.train()
    assert 0 <= trainer.state.log_history[0]["train/greedy_accuracy"] <= 1


def test_what_cannot_be_done_with_pictures_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="algorithm: dynamic sampling does not take prompts with images"):
        make(tmp_path, DAPO(DAPOConfig()))
    with pytest.raises(UserError, match="algorithm: a critic does not read images"):
        make(tmp_path, PPO(PPOConfig()))
    sampler = TransformersSampler(build_model(), lab_tokenizer())
    with pytest.raises(UserError, match="'v/0' has a picture, and the model was loaded without an image processor"):
        sampler.sample([SampleRequest(vision_problems()[0], 0)], Decoding(), seed=0, stream="s")


@pytest.mark.parametrize("stage", [2, 3])
@pytest.mark.parametrize("fsdp2", [False, True])
def test_models_in_parts_refuse_what_ranks_could_not_gather_together(fsdp2: bool, stage: int) -> None:
    plugin = SimpleNamespace(zero_stage=stage)
    accelerator = SimpleNamespace(is_fsdp2=fsdp2, state=SimpleNamespace(deepspeed_plugin=None if fsdp2 else plugin))
    plain, (one, *rest) = SimpleNamespace(is_quantized=False), vision_problems(3)
    without = dataclasses.replace(one, images=())
    check_engine(plain, [one, *rest], accelerator)
    check_engine(plain, [without], accelerator)
    if not fsdp2 and stage == 2:
        check_engine(plain, [without, *rest], accelerator)
        check_engine(SimpleNamespace(is_quantized=True), [one], accelerator)
        return
    with pytest.raises(UserError, match=r"data\.train: 2 of 3 problems have pictures; ZeRO-3 and FSDP2 need"):
        check_engine(plain, [without, *rest], accelerator)
    with pytest.raises(UserError, match=r"model\.quantization: ZeRO-3 and FSDP2 do not cut quantized weights"):
        check_engine(SimpleNamespace(is_quantized=True), [one], accelerator)


def test_verifiers_never_get_a_picture() -> None:
    # The verdict may not depend on it, and pictures would weigh on every message to a worker.
    problem = Problem("a", "p", "0", "tests.support.verifiers_for_tests:CountsPictures", images=(b"x", b"y"))
    assert pickle.loads(pickle.dumps(problem)) == problem
    with Judge(workers=1, timeout=30.0) as judge:
        (verdict,) = judge.judge([problem], ["?"])
    assert verdict.extracted == "0"
