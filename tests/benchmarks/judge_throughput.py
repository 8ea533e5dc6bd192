r"""Verdicts per second of `Judge` beside a single process of math-verify, on samples whose answers repeat.

Every problem gets `--samples` completions of a few thousand characters. Their answers repeat as those of a model do: a
third right in one of two spellings, the rest drawn from a dozen wrong answers with falling frequency, a few without
a box. The same completions go, in one run, to

    math-verify      parse(text), verify(gold, answer) in this process, as graders do
    math verifier    ours in this process, one completion after the other, nothing cached
    Judge            ours in worker processes, each different answer judged once, the cache empty at the start

No verdict may differ between the three. math-verify has false positives (rewards/math/guards.py), but none on this mix.

Usage: python -m tests.benchmarks.judge_throughput [--problems 48] [--samples 256] [--workers 2] [--data FILE.jsonl]
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path

from rlvr.judging.judge import Judge
from rlvr.judging.wrong_answers import wrong_answers
from rlvr.rewards.math_answer import MathVerifier
from rlvr.rewards.plain_graders import MathVerifyAlone
from rlvr.types import Problem

GOLDS = ["18", "1234", "-7", "204", r"\frac{3}{4}", r"2\sqrt{3}", r"\frac{\pi}{6}", "(1,2)", r"x^2+2x+1", "3.5",
         r"\frac{1+\sqrt{5}}{2}", "1,-2", r"\sqrt{51}", "0", r"(-\infty, 2]", "10000"]
RULES = {"neighbour", "scaled", "negated", "close decimal", "one added", "number changed", "digit added",
         "element dropped", "element added", "root or inverse"}
"""Wrong answers on which graders do not differ."""
FILLER = "We compute the value step by step, and then we check it against the condition of the problem. So $a+b={}$. "


def mix(golds: list[str], samples: int, seed: int = 0) -> list[tuple[Problem, str]]:
    """(problem, completion), the samples of a problem side by side."""
    rng = random.Random(seed)
    pairs: list[tuple[Problem, str]] = []
    for number, gold in enumerate(golds):
        problem = Problem(id=f"p/{number}", prompt="?", gold=gold, verifier="math")
        right = [gold, f" {gold} "]
        wrong = [answer for rule, answer in wrong_answers(gold) if rule in RULES] or ["17"]
        wrong = rng.sample(wrong, min(12, len(wrong)))
        weights = [1 / (rank + 1) for rank in range(len(wrong))]
        for _ in range(samples):
            kind = rng.random()
            answer = rng.choice(right) if kind < 0.33 else rng.choices(wrong, weights)[0]
            head = "".join(FILLER.format(rng.randrange(10**6)) for _ in range(rng.randrange(10, 40)))
            tail = rf"The answer is $\boxed{{{answer}}}$." if kind < 0.97 else "I do not know."
            pairs.append((problem, head + tail))
    return pairs


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--problems", type=int, default=48)
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--data", type=Path, help="JSONL whose `answer` holds gold answers, in place of the built-in")
    arguments = parser.parse_args()
    golds = GOLDS
    if arguments.data:
        golds = [str(json.loads(line)["answer"]) for line in arguments.data.read_text().splitlines()]
    golds = [golds[number % len(golds)] for number in range(arguments.problems)]
    pairs = mix(golds, arguments.samples)
    problems, texts = [problem for problem, _ in pairs], [text for _, text in pairs]
    plain, ours = MathVerifyAlone(), MathVerifier()
    rates: dict[str, float] = {}
    verdicts: dict[str, list[bool | None]] = {}
    for name, verifier in (("math-verify, one process", plain), ("math verifier, one process", ours)):
        begun = time.perf_counter()
        verdicts[name] = [verifier.verify(problem, text).correct for problem, text in pairs]
        rates[name] = len(pairs) / (time.perf_counter() - begun)
    with Judge(workers=arguments.workers, timeout=30.0) as judge:
        judge.judge([Problem("warm", "?", "1", "math")] * 8, [rf"\boxed{{{n}+x}}" for n in range(8)])
        judge.stats()
        begun = time.perf_counter()
        verdicts["Judge"] = [verdict.correct for verdict in judge.judge(problems, texts)]
        rates["Judge"] = len(pairs) / (time.perf_counter() - begun)
        stats = judge.stats()
    base = rates["math-verify, one process"]
    length = sum(map(len, texts)) // len(texts)
    print(f"{len(pairs):,} completions of {arguments.problems} problems, {length:,} characters each; "
          f"{stats.computed:,} different answers")
    print(f"{'':28} {'verdicts/s':>11} {'ratio':>7} {'differ from Judge':>18}")
    for name, rate in rates.items():
        differ = sum(a is not b for a, b in zip(verdicts[name], verdicts["Judge"], strict=True))
        print(f"{name:28} {rate:11,.0f} {rate / base:7.1f} {differ:18,}")
        if differ:
            raise SystemExit(f"{differ} verdicts differ between Judge and {name}")


if __name__ == "__main__":
    main()
