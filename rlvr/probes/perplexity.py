"""How surprised the base model is by what the trained model writes: `rlvr perplexity RUN`.

Perplexity of a completion Y of prompt x under a model m: exp(-1/|Y| * sum_t log m(y_t | x, y_<t)), at temperature 1,
its end included unless the completion was cut. Four of them tell whether RL found anything new
(2504.13837, section 4.1 and figure 6): PPL_base(Y_RL) no higher than PPL_base(Y_base) says that the base model could
have written it; PPL_base(Y_reference), of the reference solutions, shows what foreign text costs.

Texts are tokenized again; a tokenizer that splits a sampled text differently from how it was sampled makes it look
a little less likely. All models read the same tokens, so comparisons between models are not touched.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tqdm import tqdm

from rlvr.config.probe_recipe import own_set
from rlvr.config.recipe import Recipe
from rlvr.data.load import load_problems
from rlvr.models.loading import model_of, processing_of
from rlvr.models.prompts import eos_ids, prompt_ids
from rlvr.models.quiet import quiet
from rlvr.runs.run_dir import RunDir
from rlvr.runs.samples import read_samples
from rlvr.types import Problem, UserError


class Text(NamedTuple):
    """A completion to be read by a model."""

    problem: Problem
    sample: int
    text: str
    ended: bool
    """Whether the end-of-sequence token belongs to it: false for a completion cut at the limit."""


class Surprise(NamedTuple):
    """Of one completion under one model."""

    nll: float
    """Sum over its tokens, nats."""
    tokens: int

    @property
    def perplexity(self) -> float:
        """NaN for a completion of no tokens."""
        return math.exp(self.nll / self.tokens) if self.tokens else math.nan


@torch.no_grad()
def surprises(model: Any, tokenizer: Any, texts: Sequence[Text], *, batch_size: int = 32) -> list[Surprise]:
    """Negative log-likelihood of each completion given its prompt, in the order of `texts`.

    The end of a completion counts with the probability that the model stops, by whichever of its stop tokens.
    """
    pairs, stops = [], eos_ids(model, tokenizer)
    for text in texts:
        answer = tokenizer.encode(text.text, add_special_tokens=False) + stops[:1] * text.ended
        pairs.append((prompt_ids(tokenizer, text.problem), answer))
    found: list[Surprise] = [Surprise(0.0, 0)] * len(texts)
    order = sorted(range(len(pairs)), key=lambda i: len(pairs[i][0]) + len(pairs[i][1]))  # little padding in a batch
    for start in tqdm(range(0, len(order), batch_size), desc="reading", unit="batch", leave=False):
        rows = order[start : start + batch_size]
        width = max(len(pairs[i][0]) + len(pairs[i][1]) for i in rows)
        ids = torch.full((len(rows), width), tokenizer.eos_token_id)
        attention, wanted = torch.zeros_like(ids), torch.zeros_like(ids)
        for row, i in enumerate(rows):
            prompt, answer = pairs[i]
            n = len(prompt) + len(answer)
            ids[row, :n] = torch.tensor([*prompt, *answer])
            attention[row, :n] = 1
            wanted[row, len(prompt) : n] = 1
        ids, attention, wanted = (x.to(model.device) for x in (ids, attention, wanted))
        logits = model(input_ids=ids, attention_mask=attention, use_cache=False).logits[:, :-1].float()
        nll = torch.nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
        if len(stops) > 1:
            for row, i in enumerate(rows):
                if texts[i].ended:
                    last = sum(map(len, pairs[i])) - 2
                    nll[row, last] = -logits[row, last].log_softmax(-1)[stops].logsumexp(-1)
        sums = (nll * wanted[:, 1:]).double().sum(1).tolist()
        for i, total in zip(rows, sums, strict=True):
            found[i] = Surprise(total, len(pairs[i][1]))
    return found


def measure(run_path: Path, *, samples: int = 4) -> Path:
    """Measure all probed checkpoints of a run; rewrites its perplexity.jsonl and returns the path.

    A row per completion: step, model ("base" or "trained"), texts ("base", "trained" or "reference"), problem_id,
    sample, nll (nats), tokens. `samples`: completions per problem and probe, the first ones drawn.

    Raises: UserError for a directory that is no run, or a run without probes or checkpoints.
    """
    from rlvr.config.strict import from_dict

    run = RunDir(run_path)
    tree = dict(run.read_recipe()["recipe"])
    tree.pop("probed", None)
    recipe = own_set(from_dict(Recipe, tree))
    kept = {row["problem_id"] for row in run.read_jsonl(run.probes)}  # under probes.budget the base drew for more
    problems = {p.id: p for p in load_problems(recipe.data.probe_set, where="data.probe") if p.id in kept}
    steps = [row["step"] for row in run.read_jsonl(run.boundary)]
    trained = [s for s in steps if s > 0 and run.checkpoint(s).is_dir()]
    if 0 not in steps or not trained:
        raise UserError(f"{run_path}: found probes at steps {steps} and no checkpoint of one of them; expected a base "
                        "probe and at least one probed checkpoint (train.save_every, train.keep_checkpoints)")
    base, tokenizer = model_of(recipe.model), processing_of(recipe.model)
    rows: list[dict[str, Any]] = []

    def read(model: Any, step: int, name: str, kind: str, texts: Sequence[Text]) -> None:
        for text, surprise in zip(texts, surprises(model, tokenizer, texts), strict=True):
            rows.append({
                "step": step, "model": name, "texts": kind, "problem_id": text.problem.id, "sample": text.sample,
                "nll": round(surprise.nll, 6), "tokens": surprise.tokens,
            })

    read(base, 0, "base", "base", list(_sampled(run, 0, problems, samples)))
    read(base, 0, "base", "reference", _references(problems.values()))
    for step in trained:
        texts = list(_sampled(run, step, problems, samples))
        read(base, step, "base", "trained", texts)
        model = model_of(recipe.model, str(run.checkpoint(step)))
        read(model, step, "trained", "trained", texts)
    path = run.path / "perplexity.jsonl"
    path.unlink(missing_ok=True)
    run.append_jsonl(path, rows)
    return path


def _sampled(run: RunDir, step: int, problems: dict[str, Problem], samples: int) -> Iterator[Text]:
    for row in read_samples(run.samples(step)):
        if row["sample"] < samples and row["problem_id"] in problems:
            yield Text(problems[row["problem_id"]], row["sample"], row["text"], not row["truncated"])


def _references(problems: Any) -> list[Text]:
    """Solutions that no model wrote: of the lab, its solver's; else the data's `solution`, if `data.probe.extra` keeps
    that column."""
    texts = []
    for problem in problems:
        if problem.verifier == "countdown":
            from rlvr.lab.countdown import derivations

            found = next(iter(derivations(problem.extra["numbers"], int(problem.gold), problem.extra["max_value"])))
            texts.append(Text(problem, 0, found, True))
        elif "solution" in problem.extra:
            texts.append(Text(problem, 0, str(problem.extra["solution"]), True))
    return texts


def summary(rows: Sequence[dict[str, Any]]) -> str:
    """Quartiles of the perplexities, a line per step, model and kind of text."""
    lines = [f"{'step':>5}  {'texts':<10} {'read by':<8} {'25%':>8} {'median':>8} {'75%':>8} {'n':>6}"]
    groups: dict[tuple[int, str, str], list[float]] = {}
    for row in rows:
        value = Surprise(row["nll"], row["tokens"]).perplexity
        if not math.isnan(value):
            groups.setdefault((row["step"], row["texts"], row["model"]), []).append(value)
    for (step, kind, model), values in groups.items():
        low, median, high = torch.tensor(values).double().quantile(torch.tensor([0.25, 0.5, 0.75]).double()).tolist()
        lines.append(f"{step:>5}  {kind:<10} {model:<8} {low:>8.3f} {median:>8.3f} {high:>8.3f} {len(values):>6}")
    return "\n".join(lines)


def run(run_path: Path, *, samples: int) -> None:
    """`rlvr perplexity`: measure and print."""
    quiet()
    path = measure(run_path, samples=samples)
    sys.stdout.write(summary(RunDir.read_jsonl(path)) + f"\nwritten to {path}; `rlvr report` draws it\n")
