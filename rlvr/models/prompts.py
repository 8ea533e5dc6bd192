"""Problems as the token ids that a model reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from rlvr.data.images import decode, filled
from rlvr.types import Problem, UserError

if TYPE_CHECKING:
    import torch


def eos_ids(model: Any, tokenizer: Any) -> list[int]:
    """Every id that ends a completion: the tokenizer's EOS and all the model's generation config declares."""
    return stop_ids(model.generation_config, tokenizer)


def stop_ids(generation_config: Any, tokenizer: Any) -> list[int]:
    """See `eos_ids`; empty where nothing is declared."""
    declared = generation_config.eos_token_id
    declared = [] if declared is None else [declared] if isinstance(declared, int) else list(declared)
    return [stop for stop in dict.fromkeys([tokenizer_of(tokenizer).eos_token_id, *declared]) if stop is not None]


def tokenizer_of(processing_class: Any) -> Any:
    """The tokenizer inside a processor, or the tokenizer itself."""
    return processing_class.tokenizer if is_processor(processing_class) else processing_class


def is_processor(processing_class: Any) -> bool:
    """Whether this reads pictures beside text."""
    from transformers import ProcessorMixin  # loads torch, and a recipe is checked without it

    return isinstance(processing_class, ProcessorMixin)


def prompt_ids(tokenizer: Any, problem: Problem, chat_template: str | None = None) -> list[int]:
    """Token ids of the prompt, rendered exactly as the trainer renders it; with a processor, a picture's too."""
    if is_processor(tokenizer):
        return prompt_inputs(tokenizer, problem, chat_template)["input_ids"][0].tolist()
    if problem.images:
        raise UserError(f"problem {problem.id!r} has a picture, and the model was loaded without an image processor")
    if isinstance(problem.prompt, str):
        return list(tokenizer(text=problem.prompt)["input_ids"])
    rendered = tokenizer.apply_chat_template(
        conversation=[dict(m) for m in problem.prompt],
        chat_template=chat_template,
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
    )
    return list(rendered["input_ids"])


def decoded_prompt(tokenizer: Any, problem: Problem) -> str:
    """The prompt as the model reads it, special tokens included."""
    return tokenizer_of(tokenizer).decode(prompt_ids(tokenizer, problem))


def prompt_inputs(processing_class: Any, problem: Problem, chat_template: str | None = None) -> dict[str, torch.Tensor]:
    """What a model reads of one prompt: token fields of shape (1, L), and pictures as its processor lays them out."""
    if not is_processor(processing_class):
        import torch

        return {"input_ids": torch.tensor([prompt_ids(processing_class, problem, chat_template)])}
    processor: Any = processing_class
    if isinstance(problem.prompt, str):
        inputs = processor(text=[problem.prompt], return_tensors="pt")
    else:
        inputs = processor.apply_chat_template(
            conversation=[filled(problem.prompt, [decode(image) for image in problem.images])],
            chat_template=chat_template,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
    return {name: value for name, value in inputs.items() if name != "attention_mask"}


def prompt_fingerprint(processing_class: Any, problem: Problem) -> Any:
    """JSON data that changes whenever the input a model gets for this prompt changes. Decodes no picture."""
    if not problem.images:
        return prompt_ids(processing_class, problem)
    assert not isinstance(problem.prompt, str)
    text = processing_class.apply_chat_template(
        conversation=filled(problem.prompt, [None] * len(problem.images)), add_generation_prompt=True, tokenize=False
    )
    settings = processing_class.image_processor.to_json_string()
    return [tokenizer_of(processing_class)(text=text)["input_ids"], settings,
            [blake2b(image, digest_size=16).hexdigest() for image in problem.images]]


def prompt_lengths(tokenizer: Any, problems: Sequence[Problem]) -> dict[str, int]:
    """Problem id -> tokens of its prompt. Raises UserError for a prompt that the tokenizer cannot render."""
    lengths = {}
    for problem in problems:
        try:
            lengths[problem.id] = len(prompt_ids(tokenizer, problem))
        except Exception as error:  # tokenizers and chat templates raise what they like
            raise UserError(f"problem {problem.id!r}: the tokenizer of model.path cannot render its prompt "
                            f"({str(error).splitlines()[0]}); use a model and a template that fit the data") from error
    return lengths


def check_prompt_lengths(tokenizer: Any, problems: Sequence[Problem], limit: int) -> int:
    """As `longest_prompt`, of problems."""
    return longest_prompt(prompt_lengths(tokenizer, problems), limit)


def longest_prompt(lengths: Mapping[str, int], limit: int) -> int:
    """Tokens of the longest prompt, 0 without problems. Raises UserError if it exceeds the limit: truncating it would
    change the problem. `lengths`: see `prompt_lengths`."""
    longest = max(lengths, key=lengths.__getitem__, default=None)
    if longest is not None and lengths[longest] > limit:
        over = sum(n > limit for n in lengths.values())
        raise UserError(
            f"train.max_prompt_tokens: found {limit}, but problem {longest!r} has {lengths[longest]} prompt tokens "
            f"({over} of {len(lengths)} problems are longer); raise the limit, leave out such training problems by "
            "data.prompts_too_long: drop, or drop them from the data"
        )
    return 0 if longest is None else lengths[longest]
