"""An update on rollouts of very different lengths: plain trl.GRPOTrainer beside RLVRTrainer, in turn, in one process.

Both get the same rollouts: lengths log-normal with a mean of a quarter of the longest, prompts of up to an eighth of
it. Each takes one SGD step of a random Llama of 135 M parameters (30 layers, 576 wide, 9 heads, 3 of them for keys and
values, 49,152 words, tied), and the weights after it show that the updates are the same. Nothing is generated: the
rollouts are given. Printed per kind: CPU seconds of the training (other work on the machine does not count), speed
beside TRL's, real tokens over those that went through the model, peak memory above that before, and how far the weights
are from TRL's.

Usage: python tests/benchmarks/ragged_update.py [--small] [--rollouts 128] [--longest 64] [--kinds trl tokens]
"""

from __future__ import annotations

import argparse
import gc
import resource
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PrinterCallback
from trl.trainer.grpo_trainer import GRPOTrainer

from rlvr.algorithms.grpo import GRPO
from rlvr.algorithms.grpo import GRPOConfig as Settings
from rlvr.lab.countdown import problems
from rlvr.lab.model import build_tokenizer
from rlvr.models.quiet import quiet
from rlvr.training.prompt_stream import PromptStream
from rlvr.training.trainer import RLVRTrainer
from rlvr.training.trl_settings import RLVRConfig
from rlvr.types import Reason, Verdict

GROUP = 4
SHAPES = {
    False: {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
            "num_key_value_heads": 3, "vocab_size": 49152},
    True: {"hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 6, "num_attention_heads": 3,
           "num_key_value_heads": 1, "vocab_size": 8192},
}


def model(small: bool, longest: int) -> Any:
    torch.manual_seed(0)
    shape: dict[str, Any] = SHAPES[small]
    return LlamaForCausalLM(LlamaConfig(**shape, tie_word_embeddings=True, max_position_embeddings=2 * longest,
                                        bos_token_id=107, eos_token_id=107, pad_token_id=107))


def rollouts(count: int, longest: int, words: int) -> list[tuple[list[int], list[int]]]:
    """(prompt, completion) of every rollout; rollouts of a group have one prompt."""
    generator = torch.Generator().manual_seed(0)
    lengths = (torch.randn(count, generator=generator) * 0.6 - 0.18 + torch.tensor(longest / 4).log()).exp()
    lengths = lengths.round().clamp(1, longest).long()
    lengths[0] = longest
    prompts = (torch.rand(count // GROUP, generator=generator) * longest / 8).long() + 1
    ids = [torch.randint(200, words, (int(n),), generator=generator).tolist() for n in prompts]
    return [(ids[i // GROUP], [*torch.randint(200, words, (int(n) - 1,), generator=generator).tolist(), 107])
            for i, n in enumerate(lengths)]


class Meter:
    """CPU seconds, tokens and peak memory of the updates of one kind."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.seconds: list[float] = []
        self.computed = 0
        self.peak = 0.0
        self.weights: torch.Tensor | None = None
        self.moved = 0.0

    def count(self, _: Any, args: Any, kwargs: Any) -> None:
        self.computed += (kwargs["input_ids"] if "input_ids" in kwargs else args[0]).numel()


def resident() -> float:
    """GiB of memory that the process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**30


class Peak:
    """The most memory within a `with` block, looked at every 10 ms."""

    def __enter__(self) -> Peak:
        self.base = self.most = resident()
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def watch(self) -> None:
        while not self.stop.wait(0.01):
            self.most = max(self.most, resident())

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()


class Half:
    """Rewards half of the rollouts, as every other one of a group is right."""

    def judge(self, problems: Any, texts: Any) -> list[Verdict]:
        return [Verdict(i % 2 == 0, Reason.IDENTICAL if i % 2 == 0 else Reason.WRONG_ANSWER)
                for i in range(len(texts))]


def update(meter: Meter, options: Any, data: list[tuple[list[int], list[int]]], **settings: Any) -> None:
    """One training of one update."""
    given = {"prompt_ids": [p for p, _ in data], "completion_ids": [c for _, c in data], "logprobs": None}
    args = RLVRConfig(
        output_dir=tempfile.mkdtemp(), max_steps=1, num_generations=GROUP, max_completion_length=options.longest,
        learning_rate=1.0, optim="sgd", max_grad_norm=1e9, weight_decay=0.0, lr_scheduler_type="constant", use_cpu=True,
        bf16=False, gradient_checkpointing=False, save_strategy="no", report_to=[], disable_tqdm=True,
        shuffle_dataset=False, dataloader_pin_memory=False, beta=0.0, loss_type="dapo", epsilon=0.2, **settings,
    )
    stream = PromptStream(problems("train", 1024), prompts_per_step=len(data) // GROUP, seed=0)
    policy: Any = model(options.small, options.longest)
    shared: dict[str, Any] = {"args": args, "processing_class": build_tokenizer(), "rollout_func": lambda *_: given}
    trainer: Any
    if meter.name == "trl":
        def right(completions: list[str], **_: Any) -> list[float | None]:
            return [float(i % 2 == 0) for i in range(len(completions))]

        trainer = GRPOTrainer(policy, right, train_dataset=stream.dataset(len(data) // GROUP), **shared)
    else:
        trainer = RLVRTrainer(policy, algorithm=GRPO(Settings(std_eps=1e-4)), problems=problems("train", 1024),
                              judge=Half(), **shared)
    trainer.remove_callback(PrinterCallback)
    meter.computed = 0
    policy.model.register_forward_pre_hook(meter.count, with_kwargs=True)
    before = policy.model.layers[0].self_attn.q_proj.weight.detach().clone()
    gc.collect()
    with Peak() as peak:
        started = time.process_time()
        trainer.train()
        meter.seconds.append(time.process_time() - started)
    meter.peak = max(meter.peak, peak.most - peak.base)
    meter.weights = policy.model.layers[0].self_attn.q_proj.weight.detach().clone()
    meter.moved = (meter.weights - before).abs().max().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--small", action="store_true", help="a model of 3 M parameters, for a quick look")
    parser.add_argument("--rollouts", type=int, default=128)
    parser.add_argument("--longest", type=int, default=64, help="tokens of the longest completion")
    parser.add_argument("--micro-batch", type=int, default=4, help="rollouts in one of TRL's forward passes")
    parser.add_argument("--tokens", type=int, help="in one of ours; as many as TRL pads its own to if left out")
    parser.add_argument("--blocks", type=int, default=1)
    parser.add_argument("--kinds", nargs="+", default=["trl", "rows", "tokens", "padding-free"])
    options = parser.parse_args()
    quiet()
    data = rollouts(options.rollouts, options.longest, SHAPES[options.small]["vocab_size"])
    real = sum(len(p) + len(c) for p, c in data)
    widest = max(len(p) for p, _ in data) + max(len(c) for _, c in data)
    tokens = options.tokens or options.micro_batch * widest
    by_rows = {"per_device_train_batch_size": options.micro_batch,
               "gradient_accumulation_steps": options.rollouts // options.micro_batch,
               "steps_per_generation": options.rollouts // options.micro_batch}
    by_tokens = {"per_device_train_batch_size": options.rollouts, "gradient_accumulation_steps": 1,
                 "steps_per_generation": 1, "micro_batch_tokens": tokens}
    kinds = {"trl": by_rows, "rows": by_rows, "tokens": by_tokens, "padding-free": by_tokens | {"padding_free": True}}
    kinds = {name: settings for name, settings in kinds.items() if name in options.kinds}
    meters = {name: Meter(name) for name in kinds}
    print(f"{options.rollouts} rollouts, {real:,} real tokens, the widest row {widest}; TRL's micro-batches are "
          f"{options.micro_batch} rows, ours {tokens:,} tokens", flush=True)
    for block in range(options.blocks):
        for name in (kinds if block % 2 == 0 else reversed(kinds)):
            update(meters[name], options, data, **kinds[name])
        print(f"block {block + 1}: " + ", ".join(f"{n} {m.seconds[-1]:.1f} s" for n, m in meters.items()), flush=True)
    print(f"{'':20} {'seconds':>8} {'speed':>6} {'real':>6} {'peak GiB':>9} {'apart':>8}")
    trl = meters["trl"]
    for name, meter in meters.items():
        speed = statistics.median(a / b for a, b in zip(trl.seconds, meter.seconds, strict=True))
        assert meter.weights is not None and trl.weights is not None
        apart = (meter.weights - trl.weights).abs().max().item()
        assert apart <= 1e-6 < meter.moved, (apart, meter.moved)
        print(f"{name:20} {statistics.median(meter.seconds):8.2f} {speed:5.2f}x {real / meter.computed:6.1%} "
              f"{meter.peak:9.2f} {apart:8.1e}")


if __name__ == "__main__":
    main()
