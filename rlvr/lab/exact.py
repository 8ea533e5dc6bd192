"""Exact success probability of a lab model: no sampling, hence no error bar.

A problem's right answers can be listed (rlvr.lab.countdown.derivations), and a sample is judged correct exactly if it
is one of them followed by the end-of-sequence token. So p = sum over the answers of the product of their tokens'
probabilities, and pass@k of n problems is the mean of 1 - (1 - p)^k, for every k.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlvr.lab.countdown import derivations
from rlvr.types import DEFAULT_KS, Decoding, Problem, UserError


def exact_success(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    problems: Sequence[Problem],
    decoding: Decoding,
    batch_size: int = 1024,
) -> np.ndarray:
    """Probability, per problem, that one completion sampled with `decoding` is judged correct.

    Returns float64 of shape (P,), in [0, 1]. At temperature 0 (greedy) each value is 0 or 1. A completion that does
    not reach its end-of-sequence token within `max_new_tokens` counts as wrong. The model keeps its train/eval mode;
    `batch_size` is in sequences, one per right answer.
    """
    return exact_successes(model, tokenizer, problems, [decoding], batch_size)[0]


def exact_successes(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    problems: Sequence[Problem],
    decodings: Sequence[Decoding],
    batch_size: int = 1024,
) -> list[np.ndarray]:
    """`exact_success` under each of several decodings, from one pass of the model over the answers."""
    prompts, answers, owners = [], [], []
    longest = max(decoding.max_new_tokens for decoding in decodings)
    for index, problem in enumerate(problems):
        if problem.verifier != "countdown" or not isinstance(problem.prompt, str):
            raise UserError(f"problem {problem.id}: verifier {problem.verifier!r}, expected a lab problem (countdown, "
                            "plain-text prompt); exact probabilities exist only where all right answers can be listed")
        prompt = tokenizer.encode(problem.prompt, add_special_tokens=False)
        for text in derivations(problem.extra["numbers"], int(problem.gold), problem.extra["max_value"]):
            answer = [*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id]
            if len(answer) <= longest:
                prompts.append(prompt)
                answers.append(answer)
                owners.append(index)
    success_DP = np.zeros((len(decodings), len(problems)))
    by_shape: dict[tuple[int, int], list[int]] = {}
    for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        by_shape.setdefault((len(prompt), len(answer)), []).append(row)
    was_training = model.training
    model.eval()
    try:
        # Rows of one shape share a batch, so nothing is ever padded.
        for (_, width), rows in by_shape.items():
            for start in range(0, len(rows), batch_size):
                batch = rows[start : start + batch_size]
                logits, targets = answer_logits([prompts[r] for r in batch], [answers[r] for r in batch], model)
                for success_P, decoding in zip(success_DP, decodings, strict=True):
                    if width <= decoding.max_new_tokens:
                        logps = step_logps(logits, targets, decoding).sum(dim=1).cpu().numpy()
                        np.add.at(success_P, [owners[r] for r in batch], np.exp(logps))
    finally:
        model.train(was_training)
    return list(np.minimum(success_DP, 1.0))


@torch.no_grad()
def answer_logits(
    prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]], model: PreTrainedModel
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (B, T, V) of each answer's tokens after its prompt, and the tokens (B, T).

    All prompts have one length, and so have all answers.
    """
    width = len(answers[0])
    targets = torch.tensor(answers, device=model.device)
    tokens = torch.cat([torch.tensor(prompts, device=model.device), targets], dim=1)[:, :-1]
    return model(input_ids=tokens, use_cache=False, logits_to_keep=width).logits.float(), targets


def step_logps(logits: torch.Tensor, targets: torch.Tensor, decoding: Decoding) -> torch.Tensor:
    """Log-probability of drawing `targets` (B, T) from `logits` (B, T, V) with `decoding`: float64 (B, T).

    Temperature first, then the nucleus: the smallest set of most likely tokens whose mass reaches top_p, the token
    that crosses it included; its probabilities are renormalised.
    """
    if decoding.temperature == 0:
        return torch.where(logits.argmax(dim=-1) == targets, 0.0, -torch.inf).double()
    logps = (logits.double() / decoding.temperature).log_softmax(dim=-1)
    if decoding.top_p < 1:
        ordered, order = logps.sort(dim=-1, descending=True)
        mass_before = ordered.exp().cumsum(dim=-1) - ordered.exp()
        outside = torch.empty_like(order, dtype=torch.bool).scatter_(-1, order, mass_before >= decoding.top_p)
        logps = logps.masked_fill(outside, -torch.inf).log_softmax(dim=-1)
    return logps.gather(-1, targets.unsqueeze(-1)).squeeze(-1)


def exact_pass_at_k(p_P: np.ndarray, ks: Iterable[int] = DEFAULT_KS) -> dict[int, float]:
    """Exact pass@k = mean over problems of 1 - (1 - p)^k, in [0, 1], from success probabilities (P,)."""
    p_P = np.asarray(p_P, dtype=np.float64)
    if p_P.size == 0:
        raise ValueError("pass@k of no problems is undefined")
    with np.errstate(divide="ignore"):
        # expm1/log1p keep the digits that 1 - (1 - p)^k loses at tiny p.
        return {k: float(-np.expm1(k * np.log1p(-p_P)).mean()) for k in ks}


def format_exact_table(rows: Mapping[str, Mapping[int, float]]) -> str:
    """Markdown table of exact pass@k: one line per named entry, one column per k, values in percent.

    Example: `format_exact_table({"lab": {1: 0.21, 256: 0.98}})`. All entries have the same ks.
    """
    ks = list(next(iter(rows.values())))
    name_width = max(len("exact, %"), *map(len, rows))
    lines = [f"| {'exact, %':<{name_width}} | " + " | ".join(f"{f'pass@{k}':>8}" for k in ks) + " |",
             f"|{'-' * (name_width + 2)}|" + "|".join(["---------:"] * len(ks)) + "|"]
    for name, values in rows.items():
        lines.append(f"| {name:<{name_width}} | " + " | ".join(f"{100 * values[k]:8.2f}" for k in ks) + " |")
    return "\n".join(lines)
