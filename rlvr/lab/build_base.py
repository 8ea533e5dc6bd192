"""Trains the lab's base model from scratch: next-token prediction on random right answers to training problems."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import torch
import transformers
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM

from rlvr.lab.countdown import LARGEST_NUMBER, MAX_VALUE, NUM_NUMBERS, derivations, format_prompt, problems, stream
from rlvr.lab.exact import exact_pass_at_k, exact_success, format_exact_table
from rlvr.lab.model import EOS, build_model, build_tokenizer
from rlvr.types import Decoding, UserError

POOL = 32768
"""Training problems the base sees; each comes back many times with other answers."""
SOFTENING = 1.35
"""The trained logits are divided by this. Trained on so small a world, the model is surer of itself than it is right;
softened, it is a base as RL finds one: often right in many tries, seldom in one."""
CARD_SIZES = (128, 256)
CARD_DECODING = Decoding(temperature=1.0, top_p=1.0, max_new_tokens=24)


def build_base(
    out_dir: str | Path,
    seed: int = 0,
    steps: int = 2000,
    batch_size: int = 128,
    lr: float = 2e-3,
    weight_decay: float = 0.01,
    layers: int = 3,
    hidden: int = 96,
    threads: int = 2,
    progress: bool = True,
) -> dict[int, dict[int, float]]:
    """Train, save model, tokenizer and CARD.md to `out_dir`; returns exact pass@k by number of test problems.

    Takes about 4 minutes on two CPU cores. The same arguments give the same weights on the same machine and versions;
    elsewhere, float rounding makes a slightly different model. Refuses a directory that is not empty.
    """
    out_dir = Path(out_dir)
    if out_dir.exists() and any(out_dir.iterdir()):
        raise UserError(f"{out_dir}: not empty, expected a new directory for the base; remove it or name another")
    threads_before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            tokenizer = build_tokenizer()
            model = build_model(tokenizer, layers, hidden)
            next_batch = training_batches(tokenizer, seed, batch_size, progress)
            train(model, next_batch, steps, lr, weight_decay, progress)
            with torch.no_grad():
                model.lm_head.weight /= SOFTENING
        results = {n: exact_pass_at_k(exact_success(model, tokenizer, problems("test", n), CARD_DECODING))
                   for n in CARD_SIZES}
    finally:
        torch.set_num_threads(threads_before)
    model.save_pretrained(out_dir)
    tokenizer.save_pretrained(out_dir)
    card = _card(model, results, f"--seed {seed} --steps {steps}", seed, steps, batch_size, lr, threads)
    (out_dir / "CARD.md").write_text(card)
    return results


def training_batches(
    tokenizer: PreTrainedTokenizerFast, seed: int, batch_size: int, progress: bool = False
) -> Callable[[], tuple[torch.Tensor, torch.Tensor]]:
    """A function that draws (input ids, labels), both int64 (B, T): all answers to all pool problems equally likely.

    So problems with few answers are rare in training, as hard problems are in a pre-training corpus. Labels are -100
    on the prompt; the answer's end-of-sequence token is part of the labels.
    """
    # Words are looked up directly: the tokenizer, called for a million short texts, would take a minute.
    ids = tokenizer.get_vocab()
    rows: list[list[int]] = []
    for problem in tqdm(islice(stream("train", seed), POOL), total=POOL, desc="solving", disable=not progress):
        for text in derivations(problem.extra["numbers"], int(problem.gold), problem.extra["max_value"]):
            rows.append([ids[word] for word in f"{problem.prompt} {text} {EOS}".split()])
    corpus = torch.tensor(rows, dtype=torch.int16)
    prompt_length = len(format_prompt([1] * NUM_NUMBERS, 1).split())
    generator = torch.Generator().manual_seed(seed)

    def next_batch() -> tuple[torch.Tensor, torch.Tensor]:
        tokens = corpus[torch.randint(len(corpus), (batch_size,), generator=generator)].long()
        labels = tokens.clone()
        labels[:, :prompt_length] = -100
        return tokens, labels

    return next_batch


def train(
    model: Qwen2ForCausalLM,
    next_batch: Callable[[], tuple[torch.Tensor, torch.Tensor]],
    steps: int,
    lr: float,
    weight_decay: float,
    progress: bool,
) -> None:
    """AdamW with a short warm-up, then a cosine to zero, on batches as `training_batches` draws them. Leaves the model
    in eval mode."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.98), weight_decay=weight_decay)
    warmup = max(1, min(100, steps // 10))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda i: min((i + 1) / warmup, 0.5 * (1 + math.cos(math.pi * i / steps)))
    )
    bar = tqdm(range(steps), desc="training", disable=not progress)
    for step in bar:
        tokens, labels = next_batch()
        logits = model(input_ids=tokens[:, :-1], use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 20 == 0:
            bar.set_postfix(loss=f"{loss.item():.3f}")
    model.eval()


def _card(
    model: Qwen2ForCausalLM, results: dict[int, dict[int, float]], flags: str, seed: int, steps: int,
    batch_size: int, lr: float, threads: int,
) -> str:
    table = format_exact_table({f"first {n} test problems": values for n, values in results.items()})
    return f"""# Lab base model

A decoder (Qwen2 architecture, {sum(p.numel() for p in model.parameters()):,} parameters, float32) for the countdown
task: combine four integers between 1 and {LARGEST_NUMBER} by + - * into a target, every result between 0 and
{MAX_VALUE}. Trained from scratch on the right answers to {POOL:,} problems of the train split, each answer drawn
equally often; the loss covers the answer and its end-of-sequence token. Then the output layer was divided by
{SOFTENING:g}, which softens every next-token distribution as a temperature does.

Exact pass@k in percent at temperature {CARD_DECODING.temperature:g}, top_p {CARD_DECODING.top_p:g}: the sum over all
right answers of their probability, no sampling.

{table}

Numbers: `rlvr lab exact lab`. Weights: `rlvr lab build-base DIR {flags}`
(seed {seed}, {steps} steps of {batch_size}, lr {lr:g}, {threads} CPU threads).
Versions: torch {torch.__version__}, transformers {transformers.__version__}, Python {platform.python_version()}.
Other versions, processors or thread counts round differently and give a slightly different model.
"""
