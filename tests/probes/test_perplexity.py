"""Perplexity of completions: against exact log-probabilities, a uniform model, and on a whole run.

Run: python -m pytest tests/probes/test_perplexity.py
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from rlvr.lab.countdown import derivations, problems
from rlvr.lab.exact import answer_logits, step_logps
from rlvr.lab.model import build_tokenizer, load_lab_model
from rlvr.probes import perplexity
from rlvr.probes.perplexity import Surprise, Text, measure, summary, surprises
from rlvr.report.panels import perplexities
from rlvr.runs.run_dir import RunDir
from rlvr.types import Decoding, UserError
from tests.support.small_run import write_recipe
from tests.support.tiny import tiny_model


def solutions(count: int) -> list[Text]:
    return [Text(p, 0, next(iter(derivations(p.extra["numbers"], int(p.gold), p.extra["max_value"]))), True)
            for p in problems("test", count)]


@pytest.mark.parametrize("batch_size", [1, 5])
def test_equals_the_exact_log_probability(batch_size: int) -> None:
    model, tokenizer = load_lab_model("lab")
    texts = solutions(7)
    texts[2] = texts[2]._replace(text=" ".join(texts[2].text.split()[:5]), ended=False)  # shorter: padding, no EOS
    found = surprises(model, tokenizer, texts, batch_size=batch_size)
    for text, surprise in zip(texts, found, strict=True):
        answer: Any = tokenizer.encode(text.text, add_special_tokens=False) + [tokenizer.eos_token_id] * text.ended
        prompt: Any = tokenizer.encode(str(text.problem.prompt), add_special_tokens=False)
        with torch.no_grad():
            logits, targets = answer_logits([prompt], [answer], model)
        logp = step_logps(logits, targets, Decoding(1.0, 1.0, 18)).sum().item()
        assert surprise.tokens == len(answer)
        assert surprise.nll == pytest.approx(-logp, rel=1e-5)
        assert surprise.perplexity == pytest.approx(np.exp(-logp / len(answer)), rel=1e-5)


def test_a_completion_ends_by_any_stop_token() -> None:
    """Bug: the tokenizer's EOS was charged, though the model stops by another token just as well."""
    model, tokenizer = load_lab_model("lab")
    (text,) = solutions(1)
    text = text._replace(text=" ".join(text.text.split()[:5]))  # where the tokenizer's EOS is unlikely
    answer: Any = tokenizer.encode(text.text, add_special_tokens=False)
    prompt: Any = tokenizer.encode(str(text.problem.prompt), add_special_tokens=False)
    with torch.no_grad():
        logp = model(torch.tensor([[*prompt, *answer]])).logits[0].float().log_softmax(-1)
    of_answer = sum(logp[len(prompt) - 1 + place, token].item() for place, token in enumerate(answer))
    other = int(logp[-1].argmax())
    assert logp[-1, tokenizer.eos_token_id] < -5 and other != tokenizer.eos_token_id  # else this tests nothing
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, other]
    stop = (logp[-1, tokenizer.eos_token_id].exp() + logp[-1, other].exp()).log().item()
    cut = text._replace(text="3", ended=False)  # another length, so the batch is padded
    found, _ = surprises(model, tokenizer, [text, cut])
    assert found.nll == pytest.approx(-of_answer - stop, rel=1e-5) and found.tokens == len(answer) + 1


def test_a_uniform_model_has_the_perplexity_of_its_vocabulary() -> None:
    model = tiny_model()
    with torch.no_grad():
        model.lm_head.weight.zero_()
    (found,) = surprises(model, build_tokenizer(), solutions(1))
    assert found.perplexity == pytest.approx(model.config.vocab_size, rel=1e-5)


def test_quartiles() -> None:
    rows = [{"step": 0, "model": "base", "texts": "base", "nll": np.log(x) * 3, "tokens": 3} for x in (1, 2, 3, 4, 5)]
    rows.append({"step": 0, "model": "base", "texts": "base", "nll": 0.0, "tokens": 0})  # no tokens: not counted
    assert summary(rows).splitlines()[1].split() == ["0", "base", "base", "2.000", "3.000", "4.000", "5"]
    assert np.isnan(Surprise(0.0, 0).perplexity)


def test_the_report_draws_quartiles(tmp_path: Path) -> None:
    rows = [{"step": step, "model": "base", "texts": texts, "nll": float(np.log(x)) * 2, "tokens": 2}
            for step, texts, shift in ((0, "base", 0), (5, "trained", 10)) for x in range(1 + shift, 12 + shift)]
    RunDir.append_jsonl(tmp_path / "perplexity.jsonl", [*rows, {**rows[0], "tokens": 0}])
    run: Any = SimpleNamespace(path=tmp_path)
    traces: Any = perplexities(run).data
    wide, half, _, trained = traces
    assert (half.y, half.text, wide.text) == ((6,), ("3.5 to 8.5",), ("2 to 10",))
    assert (half.error_y.array, half.error_y.arrayminus) == ((2.5,), (2.5,))
    assert (trained.y, trained.name) == ((16,), "trained, by base")
    assert not perplexities(SimpleNamespace(path=tmp_path / "other")).data  # pyright: ignore[reportArgumentType]


def test_a_run_is_measured_at_its_probed_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bug: perplexity loaded models its own way, without the recipe's revision and chat template."""
    from rlvr.train import run

    asked: list[Any] = []
    for name in ("model_of", "processing_of"):
        real = getattr(perplexity, name)

        def load(spec: Any, path: str | None = None, *, real: Any = real) -> Any:
            asked.append((spec.revision, spec.chat_template, path))
            return real(spec, path)

        monkeypatch.setattr(perplexity, name, load)
    template = tmp_path / "t.jinja"
    template.write_text("{{ messages[0].content }}")
    recipe, *overrides = write_recipe(tmp_path)
    done = run(recipe, [*overrides, "train.steps=2", "train.save_every=2", "probes.every=2",
                         "tracking.wandb=disabled", "model.revision=v2", f"model.chat_template={template}"])
    rows = RunDir.read_jsonl(measure(done.path, samples=2))
    assert asked == [("v2", str(template), path) for path in (None, None, str(done.checkpoint(2)))]
    count = len(RunDir.read_jsonl(done.problems))
    sizes = {key: sum((r["step"], r["texts"], r["model"]) == key for r in rows) for key in [
        (0, "base", "base"), (0, "reference", "base"), (2, "trained", "base"), (2, "trained", "trained")]}
    assert list(sizes.values()) == [2 * count, count, 2 * count, 2 * count] and sum(sizes.values()) == len(rows)
    base, trained = ([r for r in rows if r["texts"] == "trained" and r["model"] == m] for m in ("base", "trained"))
    assert [r["tokens"] for r in base] == [r["tokens"] for r in trained]  # both read the same texts
    assert [r["nll"] for r in base] != [r["nll"] for r in trained]
    with pytest.raises(UserError, match="no checkpoint of one of them"):
        for path in done.checkpoints.iterdir():
            path.rename(tmp_path / path.name)
        measure(done.path)
