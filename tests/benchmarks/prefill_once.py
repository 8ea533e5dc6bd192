"""Samples per second with each distinct prompt computed once, and with the prompt computed for every sample.

A random Qwen2 (4 layers, 256 wide) answers prompts of 32, 256 and 1,024 tokens, 16 samples of each of 2 prompts, with
24 tokens each; the two ways run in turn and draw the same tokens. Probes and the rollouts of a group in training go
through this same `seeded_generation`.

Usage: python tests/benchmarks/prefill_once.py [--turns 3] [--samples 16]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from transformers import GenerationConfig, Qwen2Config, Qwen2ForCausalLM

from rlvr.models.seeded import SeededSampling, seeded_generation

TOKENS = 24


def model() -> Any:
    torch.manual_seed(0)
    return Qwen2ForCausalLM(Qwen2Config(
        vocab_size=4096, hidden_size=256, intermediate_size=768, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2,
    )).eval()


@contextmanager
def once(enabled: bool) -> Iterator[None]:
    """Within the block prompts are computed once per prompt, or as `generate` does."""
    if enabled:
        yield
    else:
        with mock.patch("rlvr.models.seeded.repeated_prefix", lambda *_: {}):
            yield


@torch.no_grad()
def draw(policy: Any, prompts_PL: torch.Tensor, samples: int) -> torch.Tensor:
    """Token ids (N, TOKENS) of `samples` completions per prompt."""
    ids_NL = prompts_PL.repeat_interleave(samples, dim=0)
    sampling = SeededSampling(range(len(ids_NL)), temperature=1.0, top_p=1.0)
    config = GenerationConfig(max_new_tokens=TOKENS, eos_token_id=None, pad_token_id=0)
    with seeded_generation(policy, sampling):
        output = policy.generate(
            input_ids=ids_NL, attention_mask=torch.ones_like(ids_NL), generation_config=config)
    return output[:, ids_NL.size(1) :]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--samples", type=int, default=16)
    options = parser.parse_args()
    policy = model()
    print(f"{'prompt tokens':>13} {'once per sample':>16} {'once per prompt':>16} {'ratio':>6}   samples/s, "
          f"{options.samples} samples of 2 prompts, {TOKENS} tokens each, {torch.get_num_threads()} thread(s)")
    for length in (32, 256, 1024):
        prompts_PL = torch.randint(1, 4096, (2, length))
        seconds, drawn = {True: 0.0, False: 0.0}, {}
        for turn in range(options.turns + 1):
            for enabled in (False, True):
                with once(enabled):
                    started = time.perf_counter()
                    drawn[enabled] = draw(policy, prompts_PL, options.samples)
                    seconds[enabled] += (time.perf_counter() - started) * (turn > 0)  # the first turn warms up
        assert torch.equal(drawn[True], drawn[False]), "other tokens were drawn"
        rate = {key: options.turns * 2 * options.samples / value for key, value in seconds.items()}
        print(f"{length:13,} {rate[False]:16.1f} {rate[True]:16.1f} {rate[True] / rate[False]:5.1f}x", flush=True)


if __name__ == "__main__":
    main()
