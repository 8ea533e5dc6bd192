"""Seeded sampling: the right distribution, no global randomness, the same draws in any batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers

from rlvr.interfaces import SampleRequest
from rlvr.lab.countdown import problems
from rlvr.lab.model import build_tokenizer
from rlvr.models import prefix, seeded
from rlvr.models.sampler import TransformersSampler
from rlvr.models.seeded import SeededSampling, pick_tokens, row_key, seeded_generation, uniforms
from rlvr.types import Decoding
from tests.support.tiny import tiny_model


def logs(*p: float) -> torch.Tensor:
    return torch.tensor([p]).log()


@pytest.mark.parametrize(
    ("u", "token"), [(0.0, 0), (0.0999, 0), (0.1001, 1), (0.2999, 1), (0.3001, 2), (0.9999, 2), (1 - 2**-53, 2)]
)
def test_inverse_transform_by_hand(u: float, token: int) -> None:
    # p = .1 .2 .7: the boundaries of the distribution function are .1 and .3
    p = torch.tensor([[0.1, 0.2, 0.7]], dtype=torch.float64).log()
    assert pick_tokens(p, torch.tensor([u], dtype=torch.float64), 1.0).item() == token


def test_a_token_without_mass_is_never_drawn() -> None:
    p = torch.tensor([[0.0, 0.5, 0.0, 0.5, 0.0]], dtype=torch.float64).log()
    draws = {
        int(pick_tokens(p, torch.tensor([u], dtype=torch.float64), top_p))
        for u in (0.0, 0.25, 0.5, 0.75, 1 - 2**-53)
        for top_p in (1.0, 0.9)
    }
    assert draws == {1, 3}


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [
        (0.4, [1]),  # .5 reaches .4 by itself
        (0.5, [1]),
        (0.6, [1, 2]),  # .5 does not, .5 + .3 does: the crossing token is in
        (0.8, [1, 2]),
        (0.81, [0, 1, 2]),
        (0.96, [0, 1, 2, 3]),
    ],
)
def test_nucleus_by_hand(top_p: float, kept: list[int]) -> None:
    p = torch.tensor([[0.15, 0.5, 0.3, 0.05]], dtype=torch.float64)
    u_N = torch.arange(2000, dtype=torch.float64) / 2000
    tokens_N = pick_tokens(p.log().expand(2000, -1), u_N, top_p)
    assert sorted(set(tokens_N.tolist())) == kept
    mass = p[0, kept].sum()
    for token in kept:  # renormalised inside the nucleus
        assert (tokens_N == token).double().mean().item() == pytest.approx((p[0, token] / mass).item(), abs=1e-3)


@pytest.mark.parametrize("spread", [0.01, 1.0, 6.0])
@pytest.mark.parametrize("ties", [False, True])
def test_a_large_vocabulary_is_drawn_from_as_if_it_were_sorted(
    spread: float, ties: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nuclei of a few tokens, of thousands, and that end among equally likely ones; equal to a sort of everything."""
    generator = torch.Generator().manual_seed(0)
    logits_NV = torch.randn(40, 3000, generator=generator) * spread
    if ties:
        logits_NV = (logits_NV * 2).round() / 2
    logp_NV = logits_NV.log_softmax(-1)
    u_N = torch.rand(40, generator=generator, dtype=torch.float64)
    found = {top_p: pick_tokens(logp_NV, u_N, top_p) for top_p in (0.02, 0.5, 0.95)}
    monkeypatch.setattr(seeded, "LIKELIEST", 3000)
    for top_p, tokens_N in found.items():
        assert tokens_N.equal(pick_tokens(logp_NV, u_N, top_p))
    assert len(found[0.95].unique()) > 5


def test_uniforms_are_uniform_and_independent() -> None:
    keys_N = np.array([row_key(0, "s", f"p{i % 100}", i // 100) for i in range(4000)], dtype=np.uint64)
    u_NT = np.stack([uniforms(keys_N, t) for t in range(8)], axis=1)
    assert u_NT.min() >= 0 and u_NT.max() < 1
    counts, _ = np.histogram(u_NT, bins=32, range=(0, 1))
    chi2 = ((counts - 1000) ** 2 / 1000).sum()  # 31 degrees of freedom: 99.9% quantile is 61.1
    assert chi2 < 61.1
    correlation = np.corrcoef(u_NT, rowvar=False) - np.eye(8)
    assert np.abs(correlation).max() < 4 / np.sqrt(4000)
    assert len(np.unique(u_NT)) == u_NT.size


def test_keys_depend_on_every_part() -> None:
    keys = {row_key(*k) for k in [(0, "a", "p", 0), (1, "a", "p", 0), (0, "b", "p", 0), (0, "a", "q", 0),
                                  (0, "a", "p", 1), (0, "a", "p1", 0), (0, "a", "p", 10)]}
    assert len(keys) == 7


def test_temperature_entropy_and_logp_are_recorded() -> None:
    sampling = SeededSampling([5], temperature=0.5, top_p=1.0)
    scores = torch.tensor([[0.0, 1.0]])
    out = sampling(torch.zeros(1, 1), scores)
    q = torch.tensor([0.0, 2.0]).softmax(0)  # logits / 0.5
    token = int(out.argmax())
    assert sampling.logps[0].item() == pytest.approx(q[token].log().item(), rel=1e-6)
    assert sampling.entropies[0].item() == pytest.approx(-(q * q.log()).sum().item(), rel=1e-6)


def sample(batch: list[tuple[int, int]], decoding: Decoding, seed: int = 0, stream: str = "s") -> list[str]:
    tokenizer, model = build_tokenizer(), tiny_model()
    items = problems("test", 4)
    requests = [SampleRequest(items[p], s) for p, s in batch]
    return [c.text for c in TransformersSampler(model, tokenizer).sample(requests, decoding, seed=seed, stream=stream)]


def test_draws_do_not_depend_on_batch_or_global_state() -> None:
    decoding = Decoding(max_new_tokens=8)
    batch = [(p, s) for p in range(4) for s in range(4)]
    torch.manual_seed(1)
    one = dict(zip(batch, sample(batch, decoding), strict=True))
    torch.manual_seed(2)
    other = dict(zip(batch[::-1], sample(batch[::-1], decoding), strict=True))
    assert one == other
    assert sample(batch[5:6], decoding) == [one[batch[5]]]
    assert len(set(one.values())) == 16
    state = torch.get_rng_state()
    sample(batch[:2], decoding)
    assert torch.equal(state, torch.get_rng_state())


def test_what_a_model_declares_does_not_change_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bug: the repetition_penalty in the generation_config.json of an instruct model bends rollouts and probes."""
    told: list[str] = []
    monkeypatch.setattr("transformers.generation.configuration_utils.logger.warning_once", told.append)
    tokenizer, model = build_tokenizer(), tiny_model()
    sampler = TransformersSampler(model, tokenizer)
    requests = [SampleRequest(problem, s) for problem in problems("test", 4) for s in range(4)]
    before = sampler.sample(requests, Decoding(max_new_tokens=8), seed=0, stream="s")
    declared = model.generation_config
    declared.update(repetition_penalty=3.0, top_k=5, temperature=0.1, no_repeat_ngram_size=1)
    assert sampler.sample(requests, Decoding(max_new_tokens=8), seed=0, stream="s") == before
    assert model.generation_config is declared and declared.repetition_penalty == 3.0
    assert told == []


def test_seed_and_stream_change_the_draws_and_zero_temperature_is_greedy() -> None:
    decoding = Decoding(max_new_tokens=8)
    assert sample([(0, 0)], decoding) != sample([(0, 0)], decoding, seed=1)
    assert sample([(0, 0)], decoding) != sample([(0, 0)], decoding, stream="t")
    greedy = Decoding(temperature=0.0, max_new_tokens=8)
    assert sample([(0, 0)], greedy) == sample([(0, 7)], greedy, seed=3)


def test_length_truncation_and_entropy_of_completions() -> None:
    tokenizer, model = build_tokenizer(), tiny_model()
    with torch.no_grad():  # all logits 0 but the EOS: entropy and stop rate are known
        model.lm_head.weight.zero_()
    requests = [SampleRequest(problems("test", 1)[0], s) for s in range(400)]
    rows = TransformersSampler(model, tokenizer).sample(requests, Decoding(max_new_tokens=20), seed=0, stream="s")
    vocabulary = len(tokenizer)
    stopped = sum(not c.truncated for c in rows) / 400
    expected = 1 - (1 - 1 / vocabulary) ** 20  # uniform tokens
    assert stopped == pytest.approx(expected, abs=4 * (expected * (1 - expected) / 400) ** 0.5)
    for c in rows:
        assert c.entropy == pytest.approx(np.log(vocabulary), rel=1e-5)
        assert c.truncated == (c.num_tokens == 20 and len(c.text.split()) == 20)
        assert c.num_tokens is not None and len(c.text.split()) == c.num_tokens - (not c.truncated)


def test_training_mode_is_restored() -> None:
    tokenizer, model = build_tokenizer(), tiny_model()
    model.train()
    TransformersSampler(model, tokenizer).sample([], Decoding(), seed=0, stream="s")
    assert model.training and "generate" not in vars(model)


def architectures() -> list[Any]:
    """Keys and values per token; learned positions; a sliding window shorter than the prompts; linear attention."""
    torch.manual_seed(0)
    small: dict[str, Any] = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2}
    heads: dict[str, Any] = {
        "intermediate_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16}
    return [
        transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**small, **heads)),
        transformers.GPT2LMHeadModel(transformers.GPT2Config(
            vocab_size=50, n_embd=32, n_layer=2, n_head=2, n_positions=64, bos_token_id=1, eos_token_id=1)),
        transformers.Gemma3ForCausalLM(transformers.Gemma3TextConfig(
            **small, **heads, sliding_window=8, layer_types=["sliding_attention", "full_attention"])),
        transformers.MambaForCausalLM(transformers.MambaConfig(**small, state_size=4)),
    ]


@pytest.mark.parametrize("length", [20, 1])
def test_each_prompt_is_computed_once_and_the_draws_stay(
    length: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ids_PL = torch.randint(3, 50, (3, length), generator=torch.Generator().manual_seed(0))
    mask_PL = torch.ones_like(ids_PL)
    mask_PL[1, : length // 3] = 0
    order_N = torch.tensor([0, 1, 1, 2, 0, 0, 1, 2, 2])

    def draw(model: Any) -> tuple[torch.Tensor, torch.Tensor]:
        sampling = SeededSampling(range(9), temperature=1.0, top_p=1.0)
        with torch.no_grad(), seeded_generation(model.eval(), sampling):
            out = model.generate(
                input_ids=ids_PL[order_N], attention_mask=mask_PL[order_N],
                generation_config=transformers.GenerationConfig(max_new_tokens=12, pad_token_id=0))
        return out, torch.stack(sampling.logps)

    models = architectures()
    for model in models:
        passes: list[tuple[int, int]] = []
        model.register_forward_pre_hook(
            lambda _, __, kwargs, passes=passes: passes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True)
        tokens, logps = draw(model)
        repeats = "Mamba" not in type(model).__name__
        if length > 1:
            assert passes[:2] == [(3, length - 1), (9, 1)] if repeats else passes[0] == (9, length), type(model)
        with monkeypatch.context() as patched:
            patched.setattr("rlvr.models.seeded.repeated_prefix", lambda *_: {})
            plain_tokens, plain_logps = draw(model)
        assert torch.equal(tokens, plain_tokens), type(model)
        torch.testing.assert_close(logps, plain_logps, rtol=0, atol=2e-6)
        assert len({tuple(row) for row in tokens[:, length:].tolist()}) == 9
    monkeypatch.setattr(prefix, "_told", set())
    caplog.clear()
    for _ in range(2):
        draw(models[-1])
    assert [r.message for r in caplog.records if "once per prompt" in r.message] == [
        "prompts are computed once per sample, not once per prompt: MambaForCausalLM keeps a cache that cannot be "
        "repeated"]
