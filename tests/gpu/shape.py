"""What the ten minutes run: a random Qwen2 of 0.5B shape, its words, its problems, and a verifier it can satisfy."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rlvr.interfaces import Verifier
from rlvr.types import Problem, Reason, Verdict


@dataclass(frozen=True)
class Shape:
    """Sizes of model and work."""

    width: int = 896
    layers: int = 24
    heads: int = 14
    inner: int = 4864
    vocabulary: int = 151_936
    longest: int = 8192
    """Tokens of the completion whose update is measured."""
    samples: int = 128
    """Rows of the batch that the sampler draws."""
    answer: int = 256
    """Tokens of a rollout and of a sample."""
    ragged: int = 2048
    """Longest of the completions whose update is timed beside TRL's."""

    @classmethod
    def of(cls, *, tiny: bool) -> Shape:
        return cls(64, 2, 4, 128, 512, 256, 8, 8, 64) if tiny else cls()


class Parity(Verifier):
    """Right if the text has an even number of characters: random text is right about every other time."""

    name = "parity"
    version = "1"

    def check_gold(self, problem: Problem) -> str | None:
        return None

    def gold_completion(self, problem: Problem) -> str:
        return "ab"

    def verify(self, problem: Problem, text: str) -> Verdict:
        right = len(text) % 2 == 0
        return Verdict(right, Reason.IDENTICAL if right else Reason.WRONG_ANSWER)


class ParityJudge:
    """The same in this process."""

    def judge(self, problems: Any, texts: Any) -> list[Verdict]:
        verifier = Parity()
        return [verifier.verify(problem, text) for problem, text in zip(problems, texts, strict=True)]


def problems(count: int) -> list[Problem]:
    return [Problem(id=f"p{i}", prompt=f"w{i % 100} w{i // 100} w7", gold="ab", verifier="tests.gpu.shape:Parity")
            for i in range(count)]


def model(shape: Shape) -> Any:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    return Qwen2ForCausalLM(Qwen2Config(
        hidden_size=shape.width, num_hidden_layers=shape.layers, num_attention_heads=shape.heads,
        num_key_value_heads=2, intermediate_size=shape.inner, vocab_size=shape.vocabulary, tie_word_embeddings=True,
        max_position_embeddings=shape.longest + 1024, bos_token_id=None, eos_token_id=0, pad_token_id=0,
    ))


def tokenizer(shape: Shape) -> Any:
    """One word a token: `<eos>`, w1, w2, ..."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({f"w{i}" if i else "<eos>": i for i in range(shape.vocabulary)}, unk_token="w1"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<eos>", pad_token="<eos>", padding_side="left")


def write(folder: Path, shape: Shape) -> None:
    """Model, tokenizer and problems, as a recipe reads them."""
    model(shape).save_pretrained(folder / "model")
    tokenizer(shape).save_pretrained(folder / "model")
    for name, first, count in (("train", 0, 64), ("probe", 64, 8)):
        rows = [{"problem": p.prompt, "answer": p.gold} for p in problems(first + count)[first:]]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
