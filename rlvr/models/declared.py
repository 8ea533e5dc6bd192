"""Checks of a model's config and tokenizer files against a recipe, without loading the weights.

Each one finds a fault that would otherwise show after hours: at the first checkpoint, or as completions that never end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rlvr.config.probe_recipe import of_sets
from rlvr.config.recipe import Recipe
from rlvr.config.sections import ModelSpec
from rlvr.models.loading import (
    check_trainable,
    config_overrides,
    load_config,
    processing_of,
    source,
    whole_model,
)
from rlvr.models.prompts import longest_prompt, prompt_lengths, stop_ids, tokenizer_of
from rlvr.types import Problem, UserError

WHERE = "model.path"


class Stops(NamedTuple):
    """What ends a completion."""

    tokens: str
    """As text, separated by commas."""
    note: str | None
    """What is wrong with them, if chat messages do not end with one."""


class Checked(NamedTuple):
    """What `check_model` finds."""

    processing: Any
    """The model's tokenizer, or the processor where problems have pictures."""
    stops: Stops
    train: list[Problem]
    """The training problems without those whose prompts are too long, where `data.prompts_too_long` says so."""


def check_model(recipe: Recipe, train: Sequence[Problem], probe: Sequence[Problem]) -> Checked:
    """Raises UserError for a model, by its files without the weights, or a prompt that the recipe cannot train on."""
    check_trainable(recipe.model)
    processing = processing_of(recipe.model, images=any(problem.images for problem in [*train, *probe]))
    limit, asked = recipe.train.max_prompt_tokens, prompt_lengths(processing, train)
    if recipe.data.prompts_too_long == "drop":
        train = [problem for problem in train if asked[problem.id] <= limit]
        asked = {problem.id: asked[problem.id] for problem in train}
    longest = [longest_prompt(each, limit) for each in (asked, prompt_lengths(processing, probe))]
    limits = {"train.max_new_tokens": recipe.train.max_new_tokens,
              "probes.max_new_tokens": max(one.probes.max_new_tokens for one in of_sets(recipe).values())}
    lengths = {key: length + limit for length, (key, limit) in zip(longest, limits.items(), strict=True) if length}
    chat = any(not isinstance(problem.prompt, str) for problem in [*train, *probe])
    return Checked(processing, check_declared(recipe.model, processing, lengths, chat=chat), list(train))


def declared(model: ModelSpec) -> tuple[Any, Any]:
    """(config, generation config) of a model; of a directory with adapters, those of their base."""
    from transformers import GenerationConfig

    path, revision = whole_model(model)
    config = load_config(path, revision=revision, trust_remote_code=model.trust_remote_code, **config_overrides(model))
    path, revision = source(path), revision or "main"
    try:
        return config, GenerationConfig.from_pretrained(path, revision=revision)
    except OSError:  # it has no file of its own
        return config, GenerationConfig.from_model_config(config)


def check_declared(model: ModelSpec, processing: Any, lengths: Mapping[str, int], *, chat: bool) -> Stops:
    """Raises UserError for a model whose files contradict the recipe. Returns what ends its completions.

    `lengths`: recipe key of a token limit -> longest prompt plus that limit. `chat`: prompts are chat messages.
    """
    config, generation = declared(model)
    tokenizer = tokenizer_of(processing)
    _check_savable(generation)
    _check_positions(config, lengths)
    stops = stop_ids(generation, tokenizer)
    if not stops:
        raise UserError("neither its tokenizer nor its generation_config.json names an end-of-sequence token, so no "
                        "completion would ever end; set eos_token in tokenizer_config.json", where=WHERE)
    if tokenizer(text="1")["input_ids"][-1:] == [tokenizer.eos_token_id]:
        raise UserError(f"its tokenizer appends {tokenizer.eos_token!r} to every text, so a plain prompt would end "
                        "before the answer begins; set add_eos_token to false in tokenizer_config.json", where=WHERE)
    words, note = ", ".join(tokenizer.convert_ids_to_tokens(stops)), None
    turn = end_of_turn(tokenizer) if chat else None
    if turn is not None and turn not in stops:
        note = (f"the chat template ends a turn with {tokenizer.convert_ids_to_tokens(turn)}, which is not among them: "
                "completions that end so run on to the token limit, unless you add it to eos_token_id in "
                "generation_config.json")
    return Stops(words, note)


def end_of_turn(tokenizer: Any) -> int | None:
    """The token that the chat template puts behind an assistant's message; None if it puts no special token there."""
    mark = "0123456789"
    messages = [{"role": "user", "content": "?"}, {"role": "assistant", "content": mark}]
    try:
        text = tokenizer.apply_chat_template(conversation=messages, tokenize=False)
    except Exception:  # templates raise what they like; a prompt that cannot be rendered is reported elsewhere
        return None
    behind = tokenizer(text=text.rpartition(mark)[2].lstrip(), add_special_tokens=False)["input_ids"]
    return behind[0] if behind and behind[0] in tokenizer.all_special_ids else None


def _check_savable(generation: Any) -> None:
    """Refuse a generation config that contradicts itself: transformers would fail to save it with a checkpoint."""
    if not generation.do_sample and any(getattr(generation, name, None) not in (None, neutral)
                                        for name, neutral in (("temperature", 1.0), ("top_p", 1.0))):
        raise UserError("generation_config.json sets temperature or top_p without do_sample, which cannot be saved "
                        "with a checkpoint; add \"do_sample\": true to it", where=WHERE)


def _check_positions(config: Any, lengths: Mapping[str, int]) -> None:
    most = getattr(config.get_text_config(), "max_position_embeddings", None)
    for key, length in lengths.items():
        if most is not None and length > most:
            raise UserError(f"the longest prompt and a completion take {length:,} tokens, but the model has "
                            f"{most:,} positions; lower it, or drop the longest prompts", where=key)
