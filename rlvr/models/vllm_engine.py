"""Samples from a vLLM engine of the probe's own: one process drives all replicas, each over one GPU or several."""

from __future__ import annotations

import asyncio
import math
from hashlib import sha256
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

from rlvr.config.probes import VllmEngineSpec
from rlvr.config.sections import ModelSpec
from rlvr.interfaces import SampleRequest
from rlvr.models.background import BackgroundSampler
from rlvr.models.endpoint import Promises, mean_entropy
from rlvr.models.loading import adapter_of, source
from rlvr.models.prompts import prompt_ids, stop_ids, tokenizer_of
from rlvr.models.seeded import row_key
from rlvr.models.vllm_sampler import ENTROPY_SAMPLES
from rlvr.types import Completion, Decoding, UserError

TOP_LOGPROBS = 20
"""Most likely tokens that bound an entropy: vLLM's own limit unless told otherwise."""
CPU_TOKENS = 4096
"""Tokens that a step of vLLM computes on CPUs, at most, unless told otherwise."""


def check_installed() -> None:
    """Raises UserError without vLLM."""
    if find_spec("vllm") is None:
        raise UserError("probes.engine: vllm is not installed; pip install 'rlvr[vllm]', serve the model with vLLM "
                        "elsewhere and use probes.engine=openai, or leave transformers")


class VllmSampler(BackgroundSampler):
    """An `rlvr.interfaces.AsyncSampler` over vLLM's AsyncLLM. Every request has a seed of its own.

    Entropies are those of the first `ENTROPY_SAMPLES` samples of each problem, bounded by the most likely tokens; exact
    where the vocabulary is no larger than that.

    Args:
        model: its base model's path and dtype; `path` names the one to load, None: the base.
        max_length: longest prompt and answer together, in tokens.
    """

    def __init__(
        self, model: ModelSpec, tokenizer: Any, spec: VllmEngineSpec, *, max_length: int, path: str | None = None
    ) -> None:
        super().__init__()
        self.path = source(model.path if path is None else path)
        if adapter_of(self.path) is not None:
            raise UserError(f"{self.path}: holds adapters, which probes.engine=vllm does not load; merge them first "
                            "(peft: merge_and_unload, save_pretrained), or probe with transformers")
        self._tokenizer = tokenizer
        self._revision = model.revision if path in (None, model.path) else None
        options = {
            "model": self.path, "tokenizer": self.path, "revision": self._revision, "dtype": model.dtype,
            "max_model_len": spec.max_model_length or max_length, "tensor_parallel_size": spec.tensor_parallel,
            "data_parallel_size": spec.data_parallel, "gpu_memory_utilization": spec.gpu_memory,
            "enable_log_requests": False, "disable_log_stats": True,
            **_of_the_platform(spec.max_model_length or max_length), **spec.options,
        }
        self._weights = files_hash(self.path, self._revision)
        self._numbers = count()
        self._engine: Any = asyncio.run_coroutine_threadsafe(_started(options), self.loop).result()
        self._stops = stop_ids(_generation_config(self.path, self._revision), tokenizer)
        self._vocabulary = self._engine.model_config.get_vocab_size()
        self._top = min(TOP_LOGPROBS, self._vocabulary)
        self.promises = Promises(
            engine="vllm", api="token ids", seeds="every request", logprobs=self._top,
            entropy="exact" if self._top == self._vocabulary else f"bounds from the {self._top} most likely tokens",
            stops=f"token ids {', '.join(map(str, self._stops))}",
        )

    async def draw(self, request: SampleRequest, decoding: Decoding, *, seed: int, stream: str) -> Completion:
        """See `BackgroundSampler.draw`."""
        from vllm import SamplingParams  # pyright: ignore[reportMissingImports]
        from vllm.sampling_params import RequestOutputKind  # pyright: ignore[reportMissingImports]

        problem, wanted = request.problem, request.sample < ENTROPY_SAMPLES
        parameters = SamplingParams(
            temperature=decoding.temperature, top_p=decoding.top_p, max_tokens=decoding.max_new_tokens,
            seed=row_key(seed, stream, problem.id, request.sample) % 2**63, stop_token_ids=self._stops,
            logprobs=self._top if wanted else None, detokenize=False, output_kind=RequestOutputKind.FINAL_ONLY,
        )
        asked = {"prompt_token_ids": prompt_ids(self._tokenizer, problem)}
        answers = [one async for one in self._engine.generate(asked, parameters, str(next(self._numbers)))]
        output = answers[-1].outputs[0]
        ids = list(output.token_ids)
        entropy, error = math.nan, 0.0
        if wanted and ids:
            entropy, error = mean_entropy(
                [sorted((each.logprob for each in token.values()), reverse=True)[: self._top]
                 for token in output.logprobs], decoding.temperature, self._vocabulary)
        return Completion(
            problem_id=problem.id,
            sample=request.sample,
            text=tokenizer_of(self._tokenizer).decode(ids, skip_special_tokens=True),
            num_tokens=len(ids),
            truncated=not ids or ids[-1] not in self._stops,
            entropy=entropy,
            entropy_error=error,
        )

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self._engine.shutdown)
        super().close()

    def identity(self) -> dict[str, Any]:
        """What tells its samples from those of another engine or other weights."""
        return {"weights": self._weights, "sampler": "vllm"}


def files_hash(path: str, revision: str | None) -> str:
    """Of the files of a model's weights and its config, wherever they are kept."""
    from transformers.utils.hub import cached_file

    config = cached_file(path, "config.json", revision=revision or "main")
    digest = sha256()
    folder = Path(str(config)).parent
    for file in sorted(each for each in folder.iterdir() if each.suffix in (".safetensors", ".bin", ".json")):
        if file.suffix != ".json" or file.name == "config.json":
            digest.update(file.name.encode())
            with open(file, "rb") as opened:
                while chunk := opened.read(2**24):
                    digest.update(chunk)
    return digest.hexdigest()


def _of_the_platform(length: int) -> dict[str, Any]:
    """On CPUs a prompt is computed whole: where one is computed in parts vLLM turns its request's random numbers back,
    which PyTorch's generators on CPUs cannot, and the engine dies."""
    from vllm.platforms import current_platform  # pyright: ignore[reportMissingImports]

    if not current_platform.is_cpu():
        return {}
    return {"enable_chunked_prefill": False, "max_num_batched_tokens": max(length, CPU_TOKENS)}


async def _started(options: dict[str, Any]) -> Any:
    """The engine, made on the loop that will drive it."""
    from vllm.engine.arg_utils import AsyncEngineArgs  # pyright: ignore[reportMissingImports]
    from vllm.v1.engine.async_llm import AsyncLLM  # pyright: ignore[reportMissingImports]

    return AsyncLLM.from_engine_args(AsyncEngineArgs(**options))


def _generation_config(path: str, revision: str | None) -> Any:
    """As transformers gives it to the model."""
    from transformers import AutoConfig, GenerationConfig

    try:
        return GenerationConfig.from_pretrained(path, revision=revision or "main")
    except OSError:  # no file of its own
        return GenerationConfig.from_model_config(AutoConfig.from_pretrained(path, revision=revision or "main"))
