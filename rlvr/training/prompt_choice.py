"""Which problems a step trains on, drawn by what they can still add to pass@k: recipe section `train.choose_prompts`.

A problem's weight is its marginal pass@k, k E[(1 - p)^(k - 1)], in expectation over what its rollouts so far leave open
about p: 2606.15455 as read from its abstract; formula and scale are ours, as in `algorithms/boundary_gate.py`. There
the weight scales the credit of prompts that are drawn equally often; here no rollout is spent on what is known to be
solved. The history is the same on all processes and saved in checkpoints, so all of them, and a resumed run, draw the
same problems. Axis: P training problems.
"""

from __future__ import annotations

from typing import Any

import torch

from rlvr.algorithms.boundary_gate import marginal_gain
from rlvr.config.sections import PromptChoice
from rlvr.models.seeded import row_key


def weights(history_P2: torch.Tensor, choice: PromptChoice) -> torch.Tensor:
    """Of all problems, mean 1, from their judged and correct rollouts so far."""
    seen_P, solved_P = history_P2.double().unbind(1)
    gain_P = marginal_gain(seen_P, solved_P, choice.k, choice.prior_right, choice.prior_wrong)
    return (1 - choice.uniform) * gain_P / gain_P.mean() + choice.uniform


def draw(weights_P: torch.Tensor, count: int, seed: int) -> list[int]:
    """Places of `count` different problems: one after the other, each by its weight among those that are left.

    The largest log(u) / weight with u uniform have that distribution (Efraimidis and Spirakis 2006).
    """
    uniform_P = torch.rand(len(weights_P), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (uniform_P.log() / weights_P).topk(count).indices.tolist()


def chosen_rows(trainer: Any) -> list[dict[str, Any]]:
    """This process's rows of the step, every prompt once per rollout of its group."""
    rows, accelerator = trainer.stream.rows, trainer.accelerator
    weights_P = weights(trainer.progress.history_of([row["problem_id"] for row in rows]), trainer.prompt_choice)
    seed = row_key(trainer.rollout_seed, "prompts", f"step {trainer.state.global_step}", 0) % 2**63
    places = draw(weights_P, trainer.prompts_per_step, seed)
    share = trainer.prompts_per_step // accelerator.num_processes
    first = accelerator.process_index * share
    return [dict(rows[place]) for place in places[first : first + share] for _ in range(trainer.num_generations)]
