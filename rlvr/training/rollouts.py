"""Rollouts as plain data, in the shapes in which TRL takes and gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from rlvr.data.images import decode
from rlvr.types import Problem, Verdict


class Rollout(NamedTuple):
    """What TRL's `_generate` gives for one prompt, in its order."""

    prompt_ids: list[int]
    completion_ids: list[int]
    tool_mask: list[int] | None
    completion: Any
    """A text, or the messages of a chat."""
    logps: list[float] | None
    """Of the drawn tokens, as the sampler saw them."""
    extra: dict[str, Any]
    """What a user's rollout function says beside these."""
    answer: tuple[str, Verdict] | None = None
    """Its text and the verdict on it, once it is judged."""


def from_trl(generated: tuple[Any, ...]) -> list[Rollout]:
    """The rollouts in what `_generate` returned."""
    prompt_ids, completion_ids, tool_mask, completions, logps, extra, _, _ = generated
    missing = [None] * len(prompt_ids)
    return [
        Rollout(*columns, {key: values[i] for key, values in extra.items()})
        for i, columns in enumerate(
            zip(prompt_ids, completion_ids, tool_mask or missing, completions, logps or missing, strict=True)
        )
    ]


def to_trl(rollouts: Sequence[Rollout]) -> tuple[Any, ...]:
    """What `_generate` would have returned for these rollouts; no images, no tool images."""
    prompt_ids, completion_ids, tool_mask, completions, logps, extra, _ = map(list, zip(*rollouts, strict=True))
    return (
        prompt_ids,
        completion_ids,
        None if tool_mask[0] is None else tool_mask,
        completions,
        None if logps[0] is None else logps,
        {key: [one[key] for one in extra] for key in extra[0]},
        None,
        [],
    )


def fill_empty(completion_ids: list[list[int]], logps: list[list[float]] | None, eos_id: int) -> None:
    """Replace each completion of no tokens, which TRL cannot hold, by a single EOS, in place: there is something to
    learn from stopping at once."""
    for i, ids in enumerate(completion_ids):
        if not ids:
            completion_ids[i] = [eos_id]
            if logps is not None:
                logps[i] = [float("nan")]  # not drawn, so its probability under the sampler is unknown


def never_empty(rollout_func: Callable[..., dict[str, Any]], eos_id: int) -> Callable[..., dict[str, Any]]:
    """A user's rollout function with its empty completions filled."""

    def filled(*args: Any) -> dict[str, Any]:
        output = rollout_func(*args)
        fill_empty(output["completion_ids"], output["logprobs"], eos_id)
        return output

    return filled


def samples_every_token(trainer: Any) -> bool:
    """Whether no token is kept from being sampled. TRL keeps those of pictures, which raises the probabilities of all
    others a little."""
    return not trainer.generation_config.suppress_tokens


def with_pictures(rows: Sequence[dict[str, Any]], problems: Mapping[str, Problem]) -> list[dict[str, Any]]:
    """The rows, with images and chat prompt added where the problem has images: the trainer's data set does not hold
    them. Each image is decoded once for its group."""
    extra = {
        problem.id: {
            "prompt": [dict(message) for message in problem.prompt if not isinstance(message, str)],
            "images": [decode(image) for image in problem.images],
        }
        for problem in (problems[key] for key in {row["problem_id"] for row in rows}) if problem.images
    }
    return [row | extra.get(row["problem_id"], {}) for row in rows]
