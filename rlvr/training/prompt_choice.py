"""Which problems a step trains on, drawn by what they can still add to pass@k: recipe section `train.choose_prompts`.

A problem's weight is its marginal pass@k, k E[(1 - p)^(k - 1)], in expectation over what its rollouts so far leave open
about p: 2606.15455 as read from its abstract; formula and scale are ours, as in `algorithms/boundary_gate.py`. There
the weight scales the credit of prompts that are drawn equally often; here no rollout is spent on what is known to be
solved. The history is the same on all processes and saved in checkpoints, so all of them, and a resumed run, draw the
same problems. Axis: P training problems.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from rlvr.algorithms.boundary_gate import log_marginal_gain
from rlvr.config.sections import PromptChoice
from rlvr.models.seeded import row_key


def log_weights(history_P2: torch.Tensor, choice: PromptChoice) -> torch.Tensor:
    """Of all problems, from their judged and correct rollouts so far: logarithms of weights with mean 1.

    Logarithms, because a weight may be less than any float above 0, and would then be drawn by its place.
    """
    seen_P, solved_P = history_P2.unbind(1)
    log_P = log_marginal_gain(seen_P, solved_P, choice.k, choice.prior_right, choice.prior_wrong)
    log_P = log_P - log_P.logsumexp(0) + math.log(len(log_P))
    if choice.uniform == 0:
        return log_P
    return torch.logaddexp(log_P + math.log1p(-choice.uniform), torch.full_like(log_P, math.log(choice.uniform)))


def draw(log_weights_P: torch.Tensor, count: int, seed: int) -> list[int]:
    """Places of `count` different problems: one after the other, each by its weight among those that are left.

    The largest log(u) / weight with u uniform have that distribution (Efraimidis and Spirakis 2006), and so have the
    largest log(weight) - log(-log(u)).
    """
    uniform_P = torch.rand(len(log_weights_P), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (log_weights_P - (-uniform_P.log()).log()).topk(count).indices.tolist()


def chosen_rows(trainer: Any) -> list[dict[str, Any]]:
    """This process's rows of the step, every prompt once per rollout of its group."""
    rows, accelerator = trainer.stream.rows, trainer.accelerator
    history_P2 = trainer.progress.history_of([row["problem_id"] for row in rows])
    seed = row_key(trainer.rollout_seed, "prompts", f"step {trainer.state.global_step}", 0) % 2**63
    places = draw(log_weights(history_P2, trainer.prompt_choice), trainer.prompts_per_step, seed)
    share = trainer.prompts_per_step // accelerator.num_processes
    first = accelerator.process_index * share
    return [dict(rows[place]) for place in places[first : first + share] for _ in range(trainer.num_generations)]
