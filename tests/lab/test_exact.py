"""The lab's exact success probability, against hand-computed values, plain loops and sampling."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from rlvr.lab import build_base as build_base_module
from rlvr.lab.build_base import build_base, training_batches
from rlvr.lab.countdown import derivations, problems
from rlvr.lab.exact import exact_pass_at_k, exact_success, format_exact_table, step_logps
from rlvr.lab.model import BASE_DIR, build_model, build_tokenizer, load_lab_model, vocabulary
from rlvr.types import Decoding, Problem, UserError

PLAIN = Decoding(temperature=1.0, top_p=1.0, max_new_tokens=24)
TWO = Problem("two", "3 4 -> 12 :", "12", "countdown", {"numbers": [3, 4], "max_value": 99})  # 3 * 4, 4 * 3
DIFFERENCE = Problem("difference", "9 4 -> 5 :", "5", "countdown", {"numbers": [9, 4], "max_value": 99})  # 9 - 4


class Unigram(torch.nn.Module):
    """A model that gives every next token the same fixed distribution, whatever came before."""

    device = torch.device("cpu")

    def __init__(self, probabilities):
        super().__init__()
        self.log_p = torch.tensor([probabilities.get(word, 0.0) for word in vocabulary()]).log()

    def forward(self, input_ids, use_cache, logits_to_keep):
        return SimpleNamespace(logits=self.log_p.expand(len(input_ids), logits_to_keep, -1))


UNIGRAM = {"<eos>": 0.3, "4": 0.2, "=": 0.15, "12": 0.12, "3": 0.1, "*": 0.08, "5": 0.05}
TOKENIZER = build_tokenizer()


@pytest.fixture(scope="module")
def random_model():
    torch.manual_seed(0)
    return build_model(TOKENIZER, layers=1, hidden=24).eval()


@pytest.fixture(scope="module")
def base():
    return load_lab_model("lab")


def test_uniform_model_by_hand(random_model):
    """Catches a forgotten EOS factor, a missing answer, or prompt tokens counted in."""
    uniform = build_model(TOKENIZER, layers=1, hidden=24)
    torch.nn.init.zeros_(uniform.lm_head.weight)
    some = problems("test", 5)
    counts = [len(derivations(p.extra["numbers"], int(p.gold), 99)) for p in some]
    # 3 steps of 5 tokens, 2 separators, 1 end: 18 tokens of probability 1/108 each
    expected = [n * 108.0**-18 for n in counts]
    np.testing.assert_allclose(exact_success(uniform, TOKENIZER, some, PLAIN), expected, rtol=1e-6)
    assert uniform.training  # it came in train mode and left in it


def test_unigram_model_by_hand():
    """Catches a temperature or nucleus applied in the wrong order, or a crossing token left out."""
    model: Any = Unigram(UNIGRAM)
    # "3 * 4 = 12 <eos>" and "4 * 3 = 12 <eos>": the same six tokens
    p = 2 * (0.1 * 0.08 * 0.2 * 0.15 * 0.12 * 0.3)
    assert exact_success(model, TOKENIZER, [TWO], PLAIN) == pytest.approx([p], rel=1e-6)
    # top_p 0.9: 0.3+0.2+0.15+0.12+0.1 = 0.87 < 0.9, so "*" (0.08) crosses and stays; "5" is out; mass 0.95
    assert exact_success(model, TOKENIZER, [TWO], Decoding(1.0, 0.9, 24)) == pytest.approx([p / 0.95**6], rel=1e-6)
    # top_p 0.86: "3" crosses, "*" is out, no answer is possible
    assert exact_success(model, TOKENIZER, [TWO], Decoding(1.0, 0.86, 24)) == [0.0]
    # temperature 0.5 squares the probabilities: p_i^2 / sum p_j^2
    squares = {w: q * q / sum(q * q for q in UNIGRAM.values()) for w, q in UNIGRAM.items()}
    tokens = ["3", "*", "4", "=", "12", "<eos>"]
    cooled = 2 * np.prod([squares[w] for w in tokens])
    assert exact_success(model, TOKENIZER, [TWO], Decoding(0.5, 1.0, 24)) == pytest.approx([cooled], rel=1e-6)
    # both: 0.09+0.04+0.0225+0.0144+0.01 of 0.1858 is 0.952 >= 0.95, so at T=0.5 "*" is outside top_p 0.95
    assert exact_success(model, TOKENIZER, [TWO], Decoding(0.5, 0.95, 24)) == [0.0]
    kept = sum(squares[w] for w in tokens)
    both = exact_success(model, TOKENIZER, [TWO], Decoding(0.5, 0.96, 24))
    assert both == pytest.approx([cooled / kept**6], rel=1e-6)


def test_answers_that_do_not_fit_count_as_wrong(random_model):
    """Catches an off-by-one at the token limit: six tokens with the end, so 5 is too few and 6 is enough."""
    fits = exact_success(random_model, TOKENIZER, [TWO], Decoding(1.0, 1.0, 6))
    assert fits[0] > 0
    assert fits == exact_success(random_model, TOKENIZER, [TWO], PLAIN)
    assert exact_success(random_model, TOKENIZER, [TWO], Decoding(1.0, 1.0, 5)) == [0.0]


def token_by_token(model, problem, temperature, top_p):
    """The definition, as a plain loop: one forward pass per token, python floats."""
    total = 0.0
    for text in derivations(problem.extra["numbers"], int(problem.gold), problem.extra["max_value"]):
        tokens, p = TOKENIZER.encode(problem.prompt), 1.0
        for token in [*TOKENIZER.encode(text), TOKENIZER.eos_token_id]:
            with torch.no_grad():
                logits = [x / temperature for x in model(input_ids=torch.tensor([tokens])).logits[0, -1].tolist()]
            weights = np.exp(np.array(logits) - max(logits))
            weights /= weights.sum()
            nucleus, mass = [], 0.0
            for i in np.argsort(-weights, kind="stable"):
                if mass < top_p:
                    nucleus.append(i)
                    mass += weights[i]
            p *= weights[token] / mass if token in nucleus else 0.0
            tokens.append(token)
        total += p
    return total


@pytest.mark.parametrize("temperature, top_p", [(1.0, 1.0), (0.6, 1.0), (1.0, 0.95), (0.6, 0.95)])
def test_equals_a_token_by_token_loop(base, temperature, top_p):
    """Catches shifted positions, mixed-up rows of a batch and any wrong bookkeeping of who owns an answer."""
    model, tokenizer = base
    few = sorted(problems("test", 64), key=lambda p: len(derivations(p.extra["numbers"], int(p.gold), 99)))[:6]
    mixed = [few[0], DIFFERENCE, *few[1:], TWO]
    expected = [token_by_token(model, p, temperature, top_p) for p in mixed]
    found = exact_success(model, tokenizer, mixed, Decoding(temperature, top_p, 24), batch_size=5)
    assert max(expected) > 1e-3
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-12)


def test_temperature_zero_is_greedy_and_the_limit(base):
    """Catches a greedy value that is not 0 or 1, or that cold sampling does not tend to."""
    model, tokenizer = base
    some = problems("test", 32)
    greedy = exact_success(model, tokenizer, some, Decoding(0.0, 1.0, 24))
    assert set(greedy) == {0.0, 1.0}
    cold = exact_success(model, tokenizer, some, Decoding(1e-4, 1.0, 24))
    np.testing.assert_allclose(cold, greedy, atol=1e-3)
    prompts = tokenizer([p.prompt for p in some], return_tensors="pt")
    out = model.generate(**prompts, max_new_tokens=24, do_sample=False)[:, prompts.input_ids.shape[1] :]
    texts = tokenizer.batch_decode(out, skip_special_tokens=True)
    right = [float(t in derivations(p.extra["numbers"], int(p.gold), 99)) for t, p in zip(texts, some, strict=True)]
    assert right == greedy.tolist()


@pytest.mark.parametrize("decoding", [PLAIN, Decoding(0.6, 0.95, 24)])
def test_equals_the_rate_of_right_samples(base, decoding):
    """Catches anything that separates the exact value from what a real sampler does. 5 standard errors."""
    model, tokenizer = base
    some, each = problems("test", 64), 60
    exact = exact_success(model, tokenizer, some, decoding)
    torch.manual_seed(0)
    prompts = tokenizer([p.prompt for p in some for _ in range(each)], return_tensors="pt")
    out = model.generate(**prompts, max_new_tokens=24, do_sample=True, temperature=decoding.temperature,
                         top_p=decoding.top_p, top_k=0)[:, prompts.input_ids.shape[1] :]
    texts = tokenizer.batch_decode(out, skip_special_tokens=True)
    answers = [set(derivations(p.extra["numbers"], int(p.gold), 99)) for p in some]
    rate = np.mean([text in answers[i // each] for i, text in enumerate(texts)])
    error = np.sqrt((exact * (1 - exact)).sum() / each) / len(some)
    assert abs(rate - exact.mean()) < 5 * error
    assert error < 0.008


def test_pass_at_k_by_hand():
    """Catches 1 - (1-p)^k in the wrong order of mean and power, and lost digits at tiny p."""
    values = exact_pass_at_k(np.array([0.5, 0.0, 1.0, 0.1]), [1, 2])
    assert values == pytest.approx({1: 0.4, 2: (0.75 + 0 + 1 + 0.19) / 4})
    assert exact_pass_at_k(np.array([1e-18]), [256]) == pytest.approx({256: 256e-18}, rel=1e-9, abs=0)
    with pytest.raises(ValueError, match="no problems"):
        exact_pass_at_k(np.array([]))


def test_step_logps_keep_float32_logits_precise():
    """Catches sums done in float32: two equal logits of 1e4 must give probability one half each."""
    logits = torch.tensor([[[1e4, 1e4, -1e4]]])
    targets = torch.tensor([[0]])
    assert step_logps(logits, targets, Decoding(1.0, 1.0, 1)).exp().tolist() == [[pytest.approx(0.5, rel=1e-12)]]


def test_table_shows_percent():
    """Catches swapped columns and fractions shown as percent."""
    assert format_exact_table({"lab": {1: 0.2051, 256: 0.9731}}).splitlines() == [
        "| exact, % |   pass@1 | pass@256 |",
        "|----------|---------:|---------:|",
        "| lab      |    20.51 |    97.31 |",
    ]


def test_what_is_not_a_lab_model_is_refused(tmp_path):
    """Catches exact numbers printed for a model whose tokens are not the task's words."""
    with pytest.raises(UserError, match=r'no config.json there, expected a lab model; give "lab"'):
        load_lab_model(tmp_path)
    build_model(build_tokenizer(20), layers=1, hidden=24).save_pretrained(tmp_path)
    build_tokenizer(20).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=": 29 tokens, not the lab's"):
        load_lab_model(tmp_path)
    model, tokenizer = load_lab_model("lab")
    with pytest.raises(UserError, match="problem gsm8k/1: verifier 'math', expected a lab problem"):
        exact_success(model, tokenizer, [Problem("gsm8k/1", "2+2?", "4", "math")], PLAIN)


def test_shipped_base_is_what_its_card_says(base):
    """Catches a base that was replaced without its card, or one outside the range the lab's recipes need."""
    model, tokenizer = base
    success = exact_success(model, tokenizer, problems("test", 128), PLAIN)
    values = exact_pass_at_k(success)
    assert f"| {100 * values[1]:8.2f} |" in (BASE_DIR / "CARD.md").read_text()
    assert 0.08 < values[1] < 0.25 and 0.90 < values[256] < 0.995
    assert sum(f.stat().st_size for f in BASE_DIR.iterdir()) < 3_000_000
    config = model.generation_config
    assert (config.temperature, config.top_p, config.top_k, config.do_sample) == (1.0, 1.0, 0, True)
    assert config.eos_token_id == config.pad_token_id == tokenizer.eos_token_id == 107


def test_build_base_is_reproducible_and_learns_the_answer_and_its_end(tmp_path, monkeypatch):
    """Catches unseeded batches or weights, a loss on the prompt, and a missing end-of-sequence label."""
    monkeypatch.setattr(build_base_module, "POOL", 32)
    monkeypatch.setattr(build_base_module, "CARD_SIZES", (4,))
    small = {"steps": 3, "batch_size": 8, "layers": 1, "hidden": 24, "threads": 1, "progress": False}
    first = build_base(tmp_path / "a", seed=5, **small)
    torch.manual_seed(99)
    assert build_base(tmp_path / "b", seed=5, **small) == first
    weights = [(tmp_path / d / "model.safetensors").read_bytes() for d in "ab"]
    assert weights[0] == weights[1]
    load_lab_model(tmp_path / "a")
    with pytest.raises(UserError, match="not empty, expected a new directory"):
        build_base(tmp_path / "a", **small)
    tokens, labels = training_batches(TOKENIZER, seed=5, batch_size=50)()
    assert torch.equal(training_batches(TOKENIZER, seed=5, batch_size=50)()[0], tokens)
    assert torch.equal(labels[:, 7:], tokens[:, 7:]) and set(labels[:, :7].flatten().tolist()) == {-100}
    assert tokens[:, -1].tolist() == [TOKENIZER.eos_token_id] * 50
    for row in tokens.tolist():
        *numbers, _, target, _ = row[:7]
        assert TOKENIZER.decode(row[7:-1]) in derivations(numbers, target, 99)
