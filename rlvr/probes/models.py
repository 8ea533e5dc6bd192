"""What a Prober measures: a model in memory, one that an engine or endpoint serves, or samples drawn elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from hashlib import sha256
from typing import Any, Protocol

import numpy as np

from rlvr.interfaces import Sampler
from rlvr.models.endpoint import EndpointSampler, Promises
from rlvr.models.prompts import eos_ids, prompt_fingerprint
from rlvr.models.sampler import TransformersSampler
from rlvr.models.vllm_engine import VllmSampler
from rlvr.models.weights import weights_hash
from rlvr.probes.world import World
from rlvr.types import Decoding, Problem

Truth = Callable[[Any, Any, Sequence[Problem], Decoding], np.ndarray]
"""(model, tokenizer, problems, decoding) -> exact success probability per problem; only the lab has one."""


class ProbedModel(Protocol):
    """What one probe measures. Every process of the world has one and makes the same calls."""

    @property
    def sampler(self) -> Sampler:
        """What its samples come from."""
        ...

    @property
    def name(self) -> str:
        """Where the model was loaded from, as far as it is known."""
        ...

    @property
    def shares_base(self) -> bool:
        """Whether its measurement as a base may be taken from the baseline store, and put there."""
        ...

    @property
    def promises(self) -> Promises | None:
        """What can be said of the samples of an engine that is not ours; None: seeds and entropies are exact."""
        ...

    def identity(self, problems: Sequence[Problem], decoding: Decoding, world: World) -> dict[str, Any]:
        """JSON data that differs whenever the samples of these problems may differ."""
        ...

    def exact_p(self, problems: Sequence[Problem], decoding: Decoding) -> np.ndarray | None:
        """Exact success probabilities (P,), where they are known."""
        ...

    def drawn_with(self, decoding: Decoding) -> Decoding | None:
        """How samples that were asked for with `decoding` were really drawn; None if nobody knows."""
        ...


class LoadedModel:
    """A model in memory: the live one of a trainer, or a checkpoint.

    Args:
        model: what was trained or loaded; its weights name it in the baseline store.
        tokenizer: its tokenizer, or the processor of a model that sees.
        sampler: draws from the model; None: `TransformersSampler`.
        unwrap: context manager that yields the model with all its weights gathered, for `truth`.
        truth: exact success probabilities.
    """

    shares_base = True
    promises = None

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        sampler: Sampler | None = None,
        unwrap: Callable[[], AbstractContextManager[Any]] | None = None,
        truth: Truth | None = None,
    ) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.sampler = sampler or TransformersSampler(model, tokenizer)
        self.name = str(getattr(getattr(model, "config", None), "_name_or_path", ""))
        self._unwrap = unwrap or (lambda: nullcontext(model))
        self._truth = truth

    def identity(self, problems: Sequence[Problem], decoding: Decoding, world: World) -> dict[str, Any]:
        """Of weights, of all that model and verifier read, of the sampler (engines round differently) and decoding."""
        return {
            "weights": weights_hash(self.model, world.gather),
            "sampler": type(self.sampler).__name__,
            "problems": self._problems_hash(problems),
            "decoding": [decoding.temperature, decoding.top_p, decoding.max_new_tokens],
        }

    def exact_p(self, problems: Sequence[Problem], decoding: Decoding) -> np.ndarray | None:
        if self._truth is None:
            return None
        with self._unwrap() as full_model:
            return self._truth(full_model, self.tokenizer, problems, decoding)

    def drawn_with(self, decoding: Decoding) -> Decoding:
        return decoding

    def _problems_hash(self, problems: Sequence[Problem]) -> str:
        """Of what the model reads (prompt token ids, pictures, stop ids) and what the verifier reads."""
        return _hash(problems, lambda p: prompt_fingerprint(self.tokenizer, p), eos_ids(self.model, self.tokenizer))


class ServedModel:
    """A model that an engine or an endpoint draws from.

    Args:
        sampler: `EndpointSampler` or `VllmSampler`.
        name: where the engine has it from, or what the endpoint calls it.
        tokenizer: renders the prompts; None: the server does.
        weights_known: whether the sampler's identity holds a hash of the weights. A name is none, so what was measured
            under a name is no other run's base.
    """

    def __init__(
        self, sampler: EndpointSampler | VllmSampler, name: str, tokenizer: Any, *, weights_known: bool
    ) -> None:
        self.sampler, self.name, self._tokenizer = sampler, name, tokenizer
        self.shares_base = weights_known
        self.promises = sampler.promises

    def identity(self, problems: Sequence[Problem], decoding: Decoding, world: World) -> dict[str, Any]:
        def asked(problem: Problem) -> Any:
            if self._tokenizer is not None:
                return prompt_fingerprint(self._tokenizer, problem)
            return problem.prompt if isinstance(problem.prompt, str) else [dict(part) for part in problem.prompt]

        assert self.promises is not None
        return {
            **self.sampler.identity(),
            "problems": _hash(problems, asked, self.promises.stops),
            "decoding": [decoding.temperature, decoding.top_p, decoding.max_new_tokens],
        }

    def exact_p(self, problems: Sequence[Problem], decoding: Decoding) -> None:
        return None

    def drawn_with(self, decoding: Decoding) -> Decoding:
        return decoding


def _hash(problems: Sequence[Problem], asked: Callable[[Problem], Any], stops: Any) -> str:
    """Of what the model reads, as `asked` gives it, of what stops it, and of what the verifier reads."""
    parts = [[p.id, asked(p), p.gold, p.verifier, json.dumps(dict(p.extra), sort_keys=True, default=str)]
             for p in problems]
    return sha256(json.dumps([stops, parts]).encode()).hexdigest()


class DrawnSamples:
    """Samples of a model that is not here. The baseline store has no part in them.

    Args:
        sampler: hands out the samples, in their order.
        content: a hash of the samples and their problems, so that a killed measurement never goes on with others.
        decoding: how they were drawn; None if nobody knows.
    """

    shares_base = False
    promises = None
    name = ""

    def __init__(self, sampler: Sampler, content: str, decoding: Decoding | None) -> None:
        self.sampler = sampler
        self._content = content
        self._decoding = decoding

    def identity(self, problems: Sequence[Problem], decoding: Decoding, world: World) -> dict[str, Any]:
        return {"samples": self._content}

    def exact_p(self, problems: Sequence[Problem], decoding: Decoding) -> None:
        return None

    def drawn_with(self, decoding: Decoding) -> Decoding | None:
        return self._decoding
