"""A run directory that looks real, from a seed: counts drawn from success probabilities that drift during "training".

Each problem has a true success probability p, Beta distributed before training. Training moves its logit by
`strength * (sharpening + a part of its own)`, so the mean rises while a tail of problems is lost; a negative `tail`
makes every problem easier instead, and `strength=0` changes nothing. Counts are drawn with the sequential plan, so
every (n, c) is an endpoint of it.

Look at the page with: python -m tests.support.fake_run /tmp/run && rlvr report /tmp/run
"""

from __future__ import annotations

import gzip
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlvr.runs.run_dir import RunDir
from rlvr.runs.samples import read_samples, write_samples
from rlvr.statistics.boundary_row import Measurement, sequential_verdicts
from rlvr.statistics.companions import companions, guess_controls
from rlvr.statistics.guess import baseline_of_samples
from rlvr.statistics.plan import PLANS, RETIRED, SamplingPlan
from rlvr.types import Counts

ALL_PLANS = PLANS | RETIRED
KS = [1, 2, 4, 8, 16, 32, 64, 128, 256]
WRONG = [("wrong_answer", 0.55), ("false_equation", 0.2), ("multiset", 0.15), ("truncated", 0.1)]


@dataclass(frozen=True)
class FakeRun:
    """What to make up. `steps` are the probe steps, the first is the base."""

    steps: tuple[int, ...] = (0, 10, 20, 30, 40, 50, 60)
    problems: int = 128
    strength: float = 1.0
    tail: float = 1.0
    plan: str = "balanced"
    base_plan: str = "balanced"
    lab: bool = True
    seed: int = 0
    base_seed: int | None = None
    """Runs with one `base_seed` share problems and base probe, as in a comparison; None: all from `seed`."""
    recipe_seed: int | None = None
    """Seed that the recipe names; None: `seed`."""
    algorithm: str = "grpo"
    group: str | None = None
    tokens_per_step: int = 20_000
    used: float = 1.0
    """Share of the generated rollouts that is trained on."""
    folder: str = "countdown/test"
    """What every problem id starts with."""
    prompt: str | None = None
    """Replaces every prompt, as `text` replaces every completion and extracted answer."""
    text: str | None = None
    old: bool = False
    """Write what runs wrote before they kept verdicts and companion metrics."""


def write_fake_run(path: Path, fake: FakeRun | None = None) -> Path:
    """Write the run directory `path` and return it."""
    fake = fake or FakeRun()
    rng = np.random.default_rng(fake.seed)
    common = rng if fake.base_seed is None else np.random.default_rng(fake.base_seed)
    base_P = common.beta(0.55, 1.9, fake.problems) * 0.97 + 0.004
    own_P = common.standard_normal(fake.problems)
    (path / "samples").mkdir(parents=True)
    problems = [_problem(index, common, fake) for index in range(fake.problems)]
    _write_jsonl(path / "problems.jsonl", problems)
    (path / "recipe.json").write_text(json.dumps({
        "recipe": {"name": "lab_grpo", "algorithm": {"name": fake.algorithm, "scale_by_std": True},
                   "model": {"path": "lab"}, "seed": fake.seed if fake.recipe_seed is None else fake.recipe_seed,
                   "trainer": {"learning_rate": 1e-4, "max_steps": max(fake.steps)},
                   "tracking": {"group": fake.group}},
        "versions": {"rlvr": "0.1.0", "torch": "2.13.0", "trl": "1.16.0", "python": "3.11.7"},
        "git": "3f2a9c1d-dirty", "created": "2026-03-01T12:00:00+00:00", "lab": fake.lab,
    }))
    _write_metrics(path / "metrics.jsonl", fake, base_P, rng)
    boundary, rows, base, tokens = [], [], None, 0
    measured: list[Measurement] = []
    for step in fake.steps:
        plan_name = fake.base_plan if step == 0 else fake.plan
        share = step / max(*fake.steps, 1)
        p_P = _drift(base_P, own_P, fake, share)
        drawn_by = common if step == fake.steps[0] else rng
        probe = [_sample(ALL_PLANS[plan_name], p, drawn_by) for p in p_P]
        base = base or _Probe(ALL_PLANS[plan_name], probe, p_P)
        now = _Probe(ALL_PLANS[plan_name], probe, p_P)
        step_rows = [_row(step, share, problem["id"], p, outcomes, ALL_PLANS[plan_name], rng, fake)
                     for problem, p, outcomes in zip(problems, p_P, probe, strict=True)]
        rows += step_rows
        tokens += sum(row["tokens"] for row in step_rows)
        boundary.append(_boundary_row(step, plan_name, base, now, step_rows, tokens, fake))
        measured.append(Measurement([Counts(row["problem_id"], row["n"], row["c"]) for row in step_rows],
                                    ALL_PLANS[plan_name]))
        _write_samples(path / "samples" / f"step-{step:06d}.jsonl.gz", step_rows, probe, problems, rng, fake)
        if not fake.old:
            boundary[-1] |= _beside(measured, path, problems, fake, step)
            boundary[-1]["sequential"] = None if step == fake.steps[0] else sequential_verdicts(
                measured[0], measured[1:], KS, len(fake.steps) - 1)
    _write_jsonl(path / "probes.jsonl", rows)
    _write_jsonl(path / "boundary.jsonl", boundary)
    if not fake.old:
        _write_rollouts(path, problems, fake)
    return path


@dataclass(frozen=True)
class _Probe:
    plan: SamplingPlan
    outcomes: list[np.ndarray]
    p_P: np.ndarray

    def estimates_P(self, k: int) -> np.ndarray:
        return np.array([self.plan.estimate(len(o), int(o.sum()), k) for o in self.outcomes])

    def exact(self, k: int) -> float:
        return float(np.mean(1 - (1 - self.p_P) ** k))

    def within(self, k: int) -> float:
        return math.sqrt(sum(self.plan.variance(float(p), k) for p in self.p_P)) / len(self.p_P)


def _drift(base_P: np.ndarray, own_P: np.ndarray, fake: FakeRun, share: float) -> np.ndarray:
    logit_P = np.log(base_P / (1 - base_P))
    sharpen_P = 0.55 * (logit_P + 1.9) + 1.5 * own_P if fake.tail > 0 else np.full_like(own_P, 1.2)
    return 1 / (1 + np.exp(-(logit_P + fake.strength * share * (0.5 + abs(fake.tail) * sharpen_P))))


def _sample(plan: SamplingPlan, p: float, rng: np.random.Generator) -> np.ndarray:
    outcomes = np.zeros(0, dtype=bool)
    while size := plan.next_round(len(outcomes), int(outcomes.sum())):
        outcomes = np.concatenate([outcomes, rng.random(size) < p])
    return outcomes


def _problem(index: int, rng: np.random.Generator, fake: FakeRun) -> dict[str, Any]:
    numbers, target = rng.integers(1, 14, 4).tolist(), int(rng.integers(1, 100))
    prompt = fake.prompt or f"{' '.join(map(str, numbers))} -> {target} :"
    return {"id": f"{fake.folder}/{index}", "prompt": prompt, "gold": str(target), "verifier": "countdown"}


def _row(step: int, share: float, problem_id: str, p: float, outcomes: np.ndarray, plan: SamplingPlan,
         rng: np.random.Generator, fake: FakeRun) -> dict[str, Any]:
    n, c = len(outcomes), int(outcomes.sum())
    wrong = rng.multinomial(n - c, [share for _, share in WRONG])
    reasons = {name: int(count) for (name, _), count in zip(WRONG, wrong, strict=True) if count}
    return {
        "step": step, "problem_id": problem_id, "n": n, "c": c, "c_first": int(outcomes[:plan.first_round].sum()),
        "tokens": 17 * n, "distinct_answers": int(rng.integers(1, n + 1)), "length": 17.2,
        "entropy": 0.9 * (1 - 0.5 * share) + 0.2 * abs(0.5 - float(p)),
        "truncated": reasons.get("truncated", 0), "reasons": reasons | ({"exact_number": c} if c else {}),
        "exact_p": float(p) if fake.lab else None,
    }


def _boundary_row(step: int, plan_name: str, base: _Probe, now: _Probe, rows: list[dict[str, Any]], tokens: int,
                  fake: FakeRun) -> dict[str, Any]:
    estimates = {f"boundary/pass@{k}": _cut(_interval(now.estimates_P(k))) for k in KS}
    benchmark = {f"boundary/pass@{k}": _cut(_around(float(now.estimates_P(k).mean()), now.within(k))) for k in KS}
    exact = {f"boundary/pass@{k}": now.exact(k) for k in KS}
    base_max_P = base.estimates_P(KS[-1])
    estimates["boundary/delta_se"] = _interval(base_max_P - now.estimates_P(1))
    exact["boundary/delta_se"] = base.exact(KS[-1]) - now.exact(1)
    for k in (64, 128, 256):
        estimates[f"boundary/shrinkage@{k}"] = _interval(base.estimates_P(k) - now.estimates_P(k))
        exact[f"boundary/shrinkage@{k}"] = base.exact(k) - now.exact(k)
    share = step / max(*fake.steps, 1)
    estimates["boundary/entropy"] = _around(0.95 - 0.6 * share, 0.02)
    estimates["boundary/length"] = _around(17.2 - 0.3 * share, 0.05)
    estimates["boundary/format_rate"] = _around(0.96 + 0.02 * share, 0.01)
    if not fake.old:
        estimates["boundary/answer_entropy"] = _around(1.9 - 0.8 * share, 0.06)
        estimates["boundary/answer_agreement"] = _around(0.2 + 0.3 * share, 0.03)
        estimates["boundary/distinct_at_8"] = _around(5.8 - 2 * share, 0.2)
    before = [int(o.sum()) for o in base.outcomes]
    return {
        "step": step, "kind": "base" if step == fake.steps[0] else "probe", "plan": plan_name,
        "first_round": now.plan.first_round, "problems": fake.problems, "samples": sum(row["n"] for row in rows),
        "decoding": {"temperature": 1.0, "top_p": 1.0, "max_new_tokens": 24}, "tokens": 17 * sum(r["n"] for r in rows),
        "seconds": 11.25, "token_share": tokens / (tokens + 20_000 * step), "verifier": "countdown/1",
        "estimates": estimates, "benchmark": benchmark, "exact": exact if fake.lab else None,
        "lost": [row["problem_id"] for row, was in zip(rows, before, strict=True) if was and not row["c"]],
        "gained": [row["problem_id"] for row, was in zip(rows, before, strict=True) if row["c"] and not was],
    }


def _beside(measured: list[Measurement], path: Path, problems: list[dict[str, Any]], fake: FakeRun, step: int
            ) -> dict[str, Any]:
    """What the probes of a real run record beside pass@k."""
    base, now = measured[0], measured[-1]
    guess = baseline_of_samples(read_samples(path / "samples" / f"step-{fake.steps[0]:06d}.jsonl.gz"),
                                {problem["id"]: problem["gold"] for problem in problems})
    return {
        "companions": companions(now.counts, now.plan, None if len(measured) == 1 else (base.counts, base.plan), 256),
        "guess": guess_controls(guess, now.counts, now.plan, KS),
    }


def _interval(values_P: np.ndarray) -> dict[str, float]:
    """Mean with a plain normal interval; the widening by half a problem keeps it from closing at 0 and 1."""
    spread = float(values_P.std(ddof=1)) / math.sqrt(len(values_P)) + 0.5 / len(values_P)
    return _around(float(values_P.mean()), spread)


def _around(value: float, standard_error: float) -> dict[str, float]:
    half = 1.96 * standard_error
    return {"value": value, "low": value - half, "high": value + half}


def _cut(estimate: dict[str, float]) -> dict[str, float]:
    return {part: min(max(number, 0.0), 1.0) for part, number in estimate.items()}


def _write_metrics(path: Path, fake: FakeRun, base_P: np.ndarray, rng: np.random.Generator) -> None:
    rows = []
    for step in range(1, max(fake.steps) + 1):
        share = step / max(fake.steps)
        reward = float(np.clip(base_P.mean() + 0.16 * fake.strength * share + rng.normal(0, 0.02), 0, 1))
        truncated = float(abs(rng.normal(0.04 * (1 - share), 0.005)))
        rows.append({
            "step": step, "train/reward": reward, "train/accuracy": reward, "train/loss": float(rng.normal(0, 0.02)),
            "train/entropy": 0.95 - 0.6 * share + float(rng.normal(0, 0.02)),
            "train/completion_length": 17.2 - 0.3 * share + float(rng.normal(0, 0.1)),
            "train/truncated_frac": truncated, "train/zero_signal_frac": 0.3 + 0.2 * share,
            "train/grad_norm": 0.4, "train/lr": 1e-4, "verdict/exact_number": reward,
            "verdict/truncated": truncated, "verdict/false_equation": 0.2 * (1 - reward - truncated),
            "verdict/multiset": 0.15 * (1 - reward - truncated),
            "verdict/wrong_answer": 0.65 * (1 - reward - truncated),
            "perf/step_seconds": 1.9, "perf/generated_tokens": fake.tokens_per_step * step,
            "perf/generated_rollouts": fake.tokens_per_step / 17 * step,
            "perf/used_rollouts": fake.used * fake.tokens_per_step / 17 * step,
        })
    _write_jsonl(path, rows)


def _write_samples(path: Path, rows: list[dict[str, Any]], probe: list[np.ndarray],
                   problems: list[dict[str, Any]], rng: np.random.Generator, fake: FakeRun) -> None:
    """One gzip member per batch of problems, as a probe writes them."""
    header: dict[str, Any] = {"step": rows[0]["step"], "seed": fake.seed}
    if fake.base_seed is not None:
        header |= {"weights": f"w{fake.base_seed}" if rows[0]["step"] == 0 else f"w{fake.seed}-{rows[0]['step']}"}
    batches = [range(start, min(start + 16, len(rows))) for start in range(0, len(rows), 16)]
    with path.open("wb") as file:
        for number, batch in enumerate(batches):
            opening: dict[str, Any] = {"batch": number} if number else {"header": header}
            lines = [opening]
            for index in batch:
                wrong = [name for name, count in rows[index]["reasons"].items() if name != "exact_number"
                         for _ in range(count)]
                rng.shuffle(wrong)
                for sample, correct in enumerate(probe[index].tolist()):
                    reason = "exact_number" if correct else wrong.pop()
                    a, b, c = rng.integers(1, 14, 3).tolist()
                    text = fake.text or f"{a} * {b} = {a * b} ; {a * b} - {c} = {a * b - c}"
                    lines.append({
                        "problem_id": rows[index]["problem_id"], "sample": sample, "text": text, "tokens": 17,
                        "truncated": reason == "truncated", "entropy": 0.9, "correct": correct, "reason": reason,
                        "extracted": fake.text or (problems[index]["gold"] if correct else str(a * b - c)), "ms": 0.1,
                    })
            file.write(gzip.compress("".join(json.dumps(line) + "\n" for line in lines).encode(), mtime=0))


def _write_rollouts(path: Path, problems: list[dict[str, Any]], fake: FakeRun) -> None:
    """Eight rollouts of the first step and of every probed one; the first two are of a problem that is also probed."""
    rng = np.random.default_rng([fake.seed, 1])
    for step in (1, *fake.steps[1:]):
        asked = [{**problems[0], "id": "countdown/train/0"},
                 *(_problem(int(i), rng, fake) | {"id": f"{fake.folder}-train/{i}"} for i in rng.integers(1, 999, 6))]
        rows = []
        for i, problem in enumerate([asked[0], *asked]):
            right = bool(rng.random() < 0.4)
            rows.append({
                "problem_id": problem["id"], "sample": i, "text": fake.text or f"3 * {i} = {3 * i}", "tokens": 9 + i,
                "truncated": False, "entropy": None, "correct": right, "extracted": fake.text or str(3 * i), "ms": 0.1,
                "reason": "exact_number" if right else "wrong_answer", "reward": float(right), "credit": right - 0.4,
            })
        header = {"step": step, "seed": fake.seed, "kept": 8, "rollouts": 256, "problems": asked}
        write_samples(RunDir(path).rollouts(step), header, rows)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a JSONL file, as plain as can be."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def _write_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    write_fake_run(Path(sys.argv[1]))
