"""`probes.engine`: the model of a stand-alone probe, as the engine of the recipe holds it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rlvr.config.probe_recipe import ProbeRecipe, of_sets
from rlvr.models.endpoint import EndpointSampler
from rlvr.models.loading import load_tokenizer, model_of, processing_of
from rlvr.models.prompts import prompt_ids
from rlvr.models.vllm_engine import VllmSampler, check_installed
from rlvr.probes.models import LoadedModel, ProbedModel, ServedModel
from rlvr.probes.settings import truth_for
from rlvr.probes.world import all_processes
from rlvr.types import Problem, UserError


def tokenizer_for(recipe: ProbeRecipe, path: str, *, images: bool) -> Any:
    """What renders the prompts of the model at `path`; None: its server does. Checks that the engine can be used.

    Raises: UserError.
    """
    probes = recipe.probes
    if probes.engine != "transformers":
        _check_usable(probes.engine, images)
    if probes.engine != "openai":
        assert recipe.model is not None
        return processing_of(recipe.model, _with_tokenizer(path, recipe.model.path), images=images, where="model")
    named = probes.endpoint.tokenizer
    return None if named is None else load_tokenizer(named, where="probes.endpoint.tokenizer")


@contextmanager
def opened(recipe: ProbeRecipe, path: str, tokenizer: Any, problems: Sequence[Problem]) -> Iterator[ProbedModel]:
    """The model at `path`, ready to be measured on `problems`; an engine is stopped at the end of the block."""
    probes, model = recipe.probes, recipe.model
    assert model is not None
    if probes.engine == "transformers":
        yield LoadedModel(model_of(model, path), tokenizer, truth=truth_for(recipe, tokenizer))
        return
    if probes.engine == "vllm":
        limits = [*(one.probes.max_new_tokens for one in of_sets(recipe).values()),
                  *(arm.max_new_tokens or 0 for arm in probes.arms.values())]
        longest = max(len(prompt_ids(tokenizer, problem)) for problem in problems)
        sampler: Any = VllmSampler(model, tokenizer, probes.vllm, max_length=longest + max(limits), path=path)
    else:
        sampler = EndpointSampler(path, probes.endpoint, tokenizer)
    try:
        if probes.engine == "openai":
            sampler.examined(problems[0])
        yield ServedModel(sampler, path, tokenizer, weights_known=probes.engine == "vllm")
    finally:
        sampler.close()


def _with_tokenizer(path: str, base: str) -> str:
    """The model at `path`, or its base if it is a directory of weights alone, as some trainers save it."""
    folder = Path(path)
    alone = (folder / "config.json").is_file() and not any(folder.glob("tokenizer*"))
    return base if alone else path


def _check_usable(engine: str, images: bool) -> None:
    if images:
        raise UserError(f"probes.engine: {engine} gets no pictures yet; use transformers for these problems")
    if all_processes().size > 1:
        raise UserError(f"probes.engine: one process drives {engine}, and this probe was started with several; start "
                        "one, with probes.vllm.data_parallel or several URLs")
    if engine == "vllm":
        check_installed()
