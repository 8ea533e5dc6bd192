"""What a trainer computes of rollouts in forward passes: log-probabilities, entropies and values, without padding.

With `micro_batch_tokens` rows of text are `forward.Compact` and share passes by their length; else a pass takes as
many rows as TRL says, without the columns that are padding in all of them. Either way the results are where TRL expects
them: (B, T), padded on the right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from accelerate.utils import DistributedType

from rlvr.training.critic import read_values
from rlvr.training.forward import Compact, Sequences, multimodal, sequences, trimmed, with_positions
from rlvr.training.micro_batches import PARTS, gather_rows, plan, row_lengths, take_rows
from rlvr.training.objective import Measured

PER_TOKEN = ("token_type_ids", "mm_token_type_ids")
"""Inputs of vision models that are as wide as the rows."""
Scores = tuple[torch.Tensor, torch.Tensor | None, None]
"""Log-probabilities, entropies if asked for, and TRL's loss of experts, which is not used."""


def by_tokens(trainer: Any) -> bool:
    """Whether micro-batches are cut by a budget of tokens."""
    return getattr(trainer.args, "micro_batch_tokens", None) is not None


def compact(trainer: Any) -> bool:
    """Whether rows are laid out anew. Vision models may need to see where their rows are padded."""
    return by_tokens(trainer) and not trainer._is_vlm


def positioned(trainer: Any, model: Any) -> Any:
    """The model, told the positions of its tokens if they are learned."""
    return with_positions(model) if trainer.learned_positions else model


def scores(
    trainer: Any, trl: Callable[..., Scores], model: Any, *padded_rows: Any, in_parts: bool, entropy: bool, **more: Any
) -> Scores:
    """Log-probabilities of the response tokens, and entropies before them.

    Args:
        trl: TRL's own pass.
        padded_rows: `forward.Sequences`.
        in_parts: in as many passes as it takes; only without gradient.
        more: pictures, and what else TRL asks of its pass.
    """
    rows = Sequences(*padded_rows)

    def computed(real: torch.Tensor) -> None:
        if not in_parts:
            trainer.means.add({"perf/real_token_frac": Measured(real, torch.ones_like(real))})

    def one_pass(part: dict[str, Any]) -> Scores:
        of_part = Sequences(part.pop("input_ids"), part.pop("attention_mask"), rows.response_tokens)
        if compact(trainer):
            layout = Compact.of(of_part, packed=trainer.args.padding_free)
            computed(layout.real)
            with trainer.accelerator.autocast():
                output = model(**layout.inputs, labels=layout.labels, fused_lm_head=True)
            return layout.read(output.log_probs), layout.read(output.entropy) if entropy else None, None
        left, columns = trimmed(of_part)
        computed(left.attention_mask)
        part |= {name: part[name][:, columns] for name in PER_TOKEN if name in part}
        logps, entropies, aux_loss = trl(positioned(trainer, model), *left, compute_entropy=entropy, **part)
        return padded(logps, rows), None if entropies is None else padded(entropies, rows), aux_loss

    tensors = {"input_ids": rows.input_ids, "attention_mask": rows.attention_mask}
    tensors |= {name: value for name, value in more.items() if value is not None}
    return in_micro_batches(trainer, one_pass, tensors) if in_parts else one_pass(tensors)


def values(trainer: Any, model: Any, tensors: Mapping[str, Any]) -> torch.Tensor:
    """The critic's V of every response token of these rows, (B, T), from one pass; `model` is the wrapped one."""
    rows = sequences(tensors)
    with trainer.accelerator.autocast():
        if compact(trainer):
            layout = Compact.of(rows, packed=trainer.args.padding_free)
            return layout.read(model(**layout.inputs, value_pass=True))
        left, _ = trimmed(rows)
        return padded(read_values(positioned(trainer, model), *left), rows)


@torch.no_grad()
def old_logps(trainer: Any, rollouts: Mapping[str, Any]) -> torch.Tensor:
    """Log-probabilities of this rank's rollouts under the policy before any of their updates, (n, T)."""
    size = trainer.args.per_device_train_batch_size
    return trainer._get_per_token_logps_and_entropies(
        trainer.model, *sequences(rollouts), batch_size=size, **multimodal(rollouts)
    )[0]


@torch.no_grad()
def old_values(trainer: Any, rollouts: Mapping[str, Any]) -> torch.Tensor:
    """V of a whole rollout batch before any of its updates, (n, T)."""
    tensors = {key: rollouts[key] for key in ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask")}
    tensors["attention_mask"] = sequences(tensors).attention_mask
    (values_nT,) = in_micro_batches(trainer, lambda part: (values(trainer, trainer.model, part),), tensors)
    return values_nT


def padded(x: torch.Tensor, rows: Sequences) -> torch.Tensor:
    """As wide again as the responses were before `trimmed`."""
    return torch.nn.functional.pad(x, (0, rows.response_tokens - x.size(1)))


def in_micro_batches(
    trainer: Any, one_pass: Callable[[dict[str, Any]], Sequence[Any]], tensors: Mapping[str, Any]
) -> Any:
    """Run a pass without gradient over this rank's rollouts in parts; its results in the order of the rows.

    Args:
        one_pass: gives a tuple of (B, T) or None for some rows, from their tensors.
        tensors: by name, one row per rollout, with an `attention_mask`.
    """
    parts = own_plan(trainer, tensors["attention_mask"].sum(1).tolist())
    found = zip(*(one_pass(take_rows(tensors, part)) for part in parts), strict=True)
    place = torch.tensor([row for part in parts for row in part]).argsort()
    return tuple(None if results[0] is None else torch.cat(results)[place] for results in found)


def own_plan(trainer: Any, lengths_n: Sequence[int]) -> list[list[int]]:
    """Micro-batches of this rank's own rows, as many on every rank."""
    if not by_tokens(trainer):
        size = trainer.args.per_device_train_batch_size
        return [list(range(i, min(i + size, len(lengths_n)))) for i in range(0, len(lengths_n), size)]
    count = torch.tensor([len(plan(lengths_n, **budget(trainer))[0])], device=trainer.accelerator.device)
    return plan(lengths_n, **budget(trainer), at_least=int(trainer.accelerator.gather(count).max()))[0]


def budget(trainer: Any) -> dict[str, Any]:
    """The limits of a micro-batch, for `micro_batches.plan`."""
    args = trainer.args
    rows = args.micro_batch_rows or args.per_device_train_batch_size
    return {"tokens": args.micro_batch_tokens, "rows": rows, "packed": args.padding_free}


def cut_window(trainer: Any, window: dict[str, Any]) -> dict[str, Any]:
    """The rollouts of an update as micro-batches, see `micro_batches.parts`. Ranks exchange rollouts until each has
    about as many tokens; those with pictures stay where they are."""
    accelerator, counts = trainer.accelerator, window.pop("window_counts")
    lengths_n = row_lengths(window)
    if trainer._is_vlm or accelerator.num_processes == 1:
        plan_n = own_plan(trainer, lengths_n.tolist())
    else:
        lengths_N = accelerator.gather(lengths_n).tolist()
        plan_N = plan(lengths_N, **budget(trainer), ranks=accelerator.num_processes)[accelerator.process_index]
        own = [row for part in plan_N for row in part]
        window = gather_rows(window, own or [0], gather=accelerator.gather, pad=accelerator.pad_across_processes)
        place = {row: i for i, row in enumerate(own)}
        plan_n = [[place[row] for row in part] for part in plan_N]
    return {PARTS: [take_rows(window, part) | {"window_counts": counts} for part in plan_n]}


@contextmanager
def without_sync(accelerator: Any, model: Any) -> Iterator[None]:
    """Within the block gradients are added up on this rank: more micro-batches of the update follow."""
    at_once = accelerator.gradient_state.plugin_kwargs.get("sync_each_batch", False)
    at_once |= accelerator.distributed_type == DistributedType.DEEPSPEED  # told by the next line
    accelerator.sync_gradients = False  # or it would take its optimizer step
    try:
        with nullcontext() if at_once else accelerator.no_sync(model):
            yield
    finally:
        accelerator.sync_gradients = True
