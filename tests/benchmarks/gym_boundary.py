"""Does the setting that keeps the lab's boundary keep another's? The same recipe on a task of reasoning-gym.

The task: products of two numbers of two digits, asked in words. A model of the lab's size learns them from the train
half of the task, for so short a time that it is seldom right in one try and often in many; then `lab_keep.yaml` and
`lab_grpo.yaml` train it, changed in nothing but model, data and the tokens of a prompt. Prints pass@k of both, of the
dial, and of the base, at several temperatures. A right answer is its digits in `<answer>` tags, so its probability is
exact; reasoning-gym accepts leading zeros as well, which a model that never saw them hardly writes.

Usage: python tests/benchmarks/gym_boundary.py WORK [--steps 700] [--softening 1.35] [--seeds 0 1]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM

from rlvr.config.data import DataSpec
from rlvr.data.gym import gym_problems
from rlvr.lab.build_base import train
from rlvr.lab.model import EOS, build_model
from rlvr.models.merge import between
from rlvr.runs.run_dir import COMPLETE, RunDir
from rlvr.train import run
from rlvr.types import Problem

TASK = {"source": "gym:products", "params": {"min_terms": 2, "max_terms": 2, "min_digits": 2, "max_digits": 2}}
TRAIN, TEST = {**TASK, "split": "train", "size": 3600}, {**TASK, "split": "test", "size": 256}
KS = (1, 16, 256)
TEMPERATURES = (1.0, 0.8, 0.7, 0.6)
SHARES = (0.3, 0.4, 0.5, 1.0)
LONGEST_PROMPT = 40
"""In tokens."""
RECIPES = {"grpo": "recipes/quickstart/lab_grpo.yaml", "keep": "recipes/quickstart/lab_keep.yaml"}


def tokenizer_of(texts: Sequence[str]) -> PreTrainedTokenizerFast:
    """Whole words are tokens, and digits are tokens of their own, as in models that are trained to calculate."""
    words = Tokenizer(models.BPE())
    digits = pre_tokenizers.Digits(individual_digits=True)
    words.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    words.decoder = decoders.ByteLevel()
    words.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=400, special_tokens=[EOS], show_progress=False))
    return PreTrainedTokenizerFast(tokenizer_object=words, eos_token=EOS, pad_token=EOS, padding_side="left",
                                   model_max_length=64, clean_up_tokenization_spaces=False)


def build_base(folder: Path, problems: Sequence[Problem], steps: int, softening: float) -> None:
    """Next-token prediction of the answers to the train half, with the lab's optimizer, then softened as the lab's."""
    torch.manual_seed(0)
    tokenizer = tokenizer_of([f"{problem.prompt}{answer_of(problem)}" for problem in problems])
    model = build_model(tokenizer)
    rows = [encoded(tokenizer, problem) for problem in problems]
    width = max(len(prompt) + len(answer) for prompt, answer in rows)
    tokens_NT = torch.full((len(rows), width), end_of(tokenizer))
    labels_NT = torch.full((len(rows), width), -100)
    for row, (prompt, answer) in enumerate(rows):
        end = len(prompt) + len(answer)
        tokens_NT[row, :end] = torch.tensor([*prompt, *answer])
        labels_NT[row, len(prompt):end] = torch.tensor(answer)
    generator = torch.Generator().manual_seed(0)

    def next_batch() -> tuple[torch.Tensor, torch.Tensor]:
        chosen_B = torch.randint(len(rows), (128,), generator=generator)
        return tokens_NT[chosen_B], labels_NT[chosen_B]

    train(model, next_batch, steps, lr=2e-3, weight_decay=0.01, progress=True)
    with torch.no_grad():
        model.lm_head.weight /= softening
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def encoded(tokenizer: PreTrainedTokenizerFast, problem: Problem) -> tuple[list[int], list[int]]:
    """Tokens of the prompt, and of the right answer with its end."""
    answer = tokenizer.encode(answer_of(problem), add_special_tokens=False)
    return tokenizer.encode(str(problem.prompt), add_special_tokens=False), [*answer, end_of(tokenizer)]


def end_of(tokenizer: PreTrainedTokenizerFast) -> int:
    return tokenizer.get_vocab()[EOS]


def answer_of(problem: Problem) -> str:
    return f"<answer>{problem.gold}</answer>"


@torch.inference_mode()
def success(folder: Path, weights: Mapping[str, torch.Tensor] | None, problems: Sequence[Problem]) -> np.ndarray:
    """float64 (temperatures, problems): the probability of the right answer, of the folder's model with `weights`."""
    model = Qwen2ForCausalLM.from_pretrained(folder, dtype="float32").eval()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    if weights is not None:
        model.load_state_dict(dict(weights))
    p_TP = np.zeros((len(TEMPERATURES), len(problems)))
    for index, problem in enumerate(problems):
        prompt, answer = encoded(tokenizer, problem)
        logits = model(input_ids=torch.tensor([[*prompt, *answer[:-1]]]), use_cache=False).logits[0, len(prompt) - 1:]
        for row, temperature in enumerate(TEMPERATURES):
            logps = torch.log_softmax(logits.double() / temperature, dim=-1)
            p_TP[row, index] = logps[range(len(answer)), answer].sum().exp().item()
    return p_TP


def line(name: str, p_TP: np.ndarray) -> str:
    """pass@1 / pass@16 / pass@256 in percent at each temperature."""
    cells = [" / ".join(f"{100 * (1 - (1 - p_P) ** k).mean():.1f}" for k in KS) for p_P in p_TP]
    return f"| {name} | {' | '.join(cells)} |"


def trained(work: Path, algorithm: str, seed: int, base: Path) -> RunDir:
    folder = RunDir(work / f"{algorithm}-{seed}")
    data: dict[str, Any] = {"data.train": TRAIN, "data.probe": TEST}
    overrides = [f"run_dir={folder.path}", f"seed={seed}", f"model.path={base}", "probes.enabled=false",
                 f"train.max_prompt_tokens={LONGEST_PROMPT}", "tracking.wandb=disabled",
                 *(f"{key}={json.dumps(value)}" for key, value in data.items())]
    if not (folder.checkpoint(100) / COMPLETE).is_file():
        run(RECIPES[algorithm], overrides, resume=folder.recipe.is_file())
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--steps", type=int, default=700, help="of the base's own training")
    parser.add_argument("--softening", type=float, default=1.35, help="what the base's logits are divided by")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    arguments = parser.parse_args()
    base, test = arguments.work / "base", gym_problems(DataSpec(**TEST), "data.probe")
    if not (base / "config.json").is_file():
        build_base(base, gym_problems(DataSpec(**TRAIN), "data.train"), arguments.steps, arguments.softening)
    print(f"| pass@1 / @16 / @256 | {' | '.join(f'at {t:g}' for t in TEMPERATURES)} |", flush=True)
    print(line("base", success(base, None, test)), flush=True)
    start = load_file(base / "model.safetensors")
    for algorithm in RECIPES:
        for seed in arguments.seeds:
            end = load_file(trained(arguments.work, algorithm, seed, base).checkpoint(100) / "model.safetensors")
            for share in SHARES:
                weights = {name: between(weight, [end[name]], share, weight.dtype) for name, weight in start.items()}
                print(line(f"{algorithm}, seed {seed}, {share:.0%}", success(base, weights, test)), flush=True)


if __name__ == "__main__":
    main()
