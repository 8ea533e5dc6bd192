"""Samples from any server that speaks OpenAI's protocol: vLLM, SGLang, a hosted API, several of them together.

What a server can promise differs, so it is asked before the first sample (`examined`), and the run directory records
the answers as `Promises`. A request that fails is sent again, with the same seed, and never counted as an answer.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import httpx

from rlvr.config.probes import EndpointSpec
from rlvr.config.wording import short
from rlvr.interfaces import SampleRequest
from rlvr.models.background import BackgroundSampler
from rlvr.models.prompts import prompt_ids, tokenizer_of
from rlvr.models.seeded import row_key
from rlvr.models.vllm_sampler import ENTROPY_SAMPLES
from rlvr.statistics.entropy_bounds import entropy_bounds
from rlvr.types import Completion, Decoding, EndpointError, Problem, UserError

logger = logging.getLogger(__name__)

EXTRA: dict[str, dict[str, Any]] = {
    "vllm": {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, "return_tokens_as_token_ids": True},
    "sglang": {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0},
}
"""By what a server's model cards say under `owned_by`: settings that it would else fill in from the model's generation
config, and tokens named by id, as two tokens may be one text."""
LARGEST_VOCABULARY = 2**20
"""Above that of any model; it only widens the upper bound of an entropy."""
LARGEST_ANSWER = 2**28
"""Bytes: more than 32k tokens with 100 log-probabilities each."""
ENDED = {"stop": False, "length": True, "eos_token": False, "stop_sequence": False}
"""What a server says of a whole completion -> whether it was cut at the token limit. The last two are TGI's."""
AGAIN = frozenset({408, 409, 425, 429})
"""HTTP states besides 5xx that may pass."""


@dataclass(frozen=True)
class Promises:
    """What can be said of the samples of an engine; written to the base's and every probe's row."""

    engine: str
    api: str
    """`completions of token ids`, `completions of text`, `chat`; of an engine of our own `token ids`."""
    seeds: str
    """`every request`: the same seed draws the same sample; `sent`: whether they are honoured nobody knows."""
    logprobs: int
    """Most likely tokens that are reported; 0: none."""
    entropy: str
    """`exact`, `bounds from the N most likely tokens`, or `unknown`."""
    stops: str
    """What ends a completion."""


class EndpointSampler(BackgroundSampler):
    """An `rlvr.interfaces.AsyncSampler` over OpenAI-compatible servers.

    Args:
        model: as the servers name it.
        spec: where they are and how patiently they are asked.
        tokenizer: of the model, to send prompts as token ids; None: as text or messages.
    """

    def __init__(self, model: str, spec: EndpointSpec, tokenizer: Any = None) -> None:
        super().__init__()
        self.model, self.spec, self.tokenizer = model, spec, tokenizer
        key = os.environ.get(spec.key_env)
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(spec.timeout, connect=30.0),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=None))
        self._urls = [url.rstrip("/") for url in spec.base_url]
        self._in_flight: Counter[str] = Counter(dict.fromkeys(self._urls, 0))
        self._kind = ""
        self._limit = "max_tokens"
        self._wanted = spec.top_logprobs
        self._raw_logprobs = False
        self._jitter = random.Random()
        self.promises: Promises | None = None

    # ---------------------------------------------------------------- what the servers can do

    def examined(self, problem: Problem) -> Promises:
        """Ask the servers which models they have, and for one token of `problem`, at two temperatures.

        Raises UserError for a server that refuses the request, and for a model that none of them serves.
        """
        self.promises = asyncio.run_coroutine_threadsafe(self._examine(problem), self.loop).result()
        return self.promises

    async def _examine(self, problem: Problem) -> Promises:
        await self._find_model()
        api = "completions of text" if isinstance(problem.prompt, str) else "chat"
        if self.tokenizer is not None:
            api = "completions of token ids"
        firsts = []
        for temperature in (1.0, 0.5):
            answer = await self._tried(problem, Decoding(temperature=temperature, max_new_tokens=1))
            firsts.append(_top_logprobs(answer["choices"][0], self._wanted)[:1])
        # The list of the most likely tokens is the same at both where temperature comes after it.
        known = self._wanted > 0 and all(firsts) and all(len(first[0]) > 1 for first in firsts)
        self._raw_logprobs = known and all(
            math.isclose(a, b, abs_tol=2e-3) for a, b in zip(firsts[0][0][:2], firsts[1][0][:2], strict=True))
        return Promises(
            engine="openai", api=api, seeds="every request" if self._kind == "vllm" else "sent",
            logprobs=self._wanted if known else 0,
            entropy=f"bounds from the {self._wanted} most likely tokens" if self._raw_logprobs else "unknown",
            stops="as the server reads the model's generation config",
        )

    async def _tried(self, problem: Problem, decoding: Decoding) -> dict[str, Any]:
        """An answer, after leaving out what the server does not know."""
        while True:
            try:
                return await self._answer(self._body(problem, decoding, 0, logprobs=self._wanted))
            except UserError as error:
                if "max_completion_tokens" in str(error) and self._limit == "max_tokens":
                    self._limit = "max_completion_tokens"
                elif self._wanted:
                    self._wanted = 0  # any other mistake comes again without log-probabilities
                else:
                    raise

    async def _find_model(self) -> None:
        """Keep the servers that have the model. A server that lists no models is taken at its word."""
        serving, listed = [], []
        for url in self._urls:
            try:
                response = await self._sent("GET", "models", None, url)
            except EndpointError as error:
                raise UserError(str(error)) from None
            if response.status_code in (401, 403):
                raise UserError(f"{url}: HTTP {response.status_code}, not allowed; put the key into the environment "
                                f"variable {self.spec.key_env}")
            if response.status_code != 200:
                serving.append(url)
                continue
            cards = _cards(response, url)
            listed += cards
            if self.model in cards:
                serving.append(url)
                self._kind = str(cards[self.model].get("owned_by", ""))
        if not serving:
            raise UserError(f"{', '.join(self._urls)}: no model {self.model!r} there; found "
                            f"{', '.join(sorted(set(listed))) or 'none'}")
        self._urls = serving

    # ---------------------------------------------------------------- one sample

    async def draw(self, request: SampleRequest, decoding: Decoding, *, seed: int, stream: str) -> Completion:
        """See `BackgroundSampler.draw`."""
        problem = request.problem
        key = row_key(seed, stream, problem.id, request.sample)
        wanted = self._wanted if self._raw_logprobs and request.sample < ENTROPY_SAMPLES else 0
        answer = await self._answer(self._body(problem, decoding, key, logprobs=wanted))
        choice = answer["choices"][0]
        ids = _token_ids(choice) if self.tokenizer is not None else None
        entropy, error = math.nan, 0.0
        if wanted:
            entropy, error = mean_entropy(_top_logprobs(choice, wanted), decoding.temperature, LARGEST_VOCABULARY)
        return Completion(
            problem_id=problem.id,
            sample=request.sample,
            # The server's own text may lack what a decoder of single tokens drops, such as spaces between words.
            text=_text(choice) if ids is None else tokenizer_of(self.tokenizer).decode(ids, skip_special_tokens=True),
            num_tokens=_tokens(answer) if ids is None else len(ids),
            truncated=ENDED[choice["finish_reason"]],
            entropy=entropy,
            entropy_error=error,
        )

    def _body(self, problem: Problem, decoding: Decoding, key: int, *, logprobs: int) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.model, self._limit: decoding.max_new_tokens, "temperature": decoding.temperature,
            "top_p": decoding.top_p, "seed": key % 2**31, "n": 1, **EXTRA.get(self._kind, {}),
        }
        if self.tokenizer is not None:
            body["prompt"] = prompt_ids(self.tokenizer, problem)
            body |= {"return_token_ids": True} if self._kind == "vllm" else {}
        elif isinstance(problem.prompt, str):
            body["prompt"] = problem.prompt
        else:
            body["messages"] = [dict(message) for message in problem.prompt]
        if logprobs:
            body |= {"logprobs": logprobs} if "prompt" in body else {"logprobs": True, "top_logprobs": logprobs}
        return body

    async def _answer(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The server's answer with a whole completion in it."""
        response = await self._sent("POST", "completions" if "prompt" in body else "chat/completions", body)
        if response.status_code >= 400:
            raise UserError(f"{response.url}: refused with HTTP {response.status_code}: {_said(response)}")
        return response.json()

    async def _sent(self, method: str, path: str, body: Mapping[str, Any] | None, url: str | None = None
                    ) -> httpx.Response:
        """What the server answers, unless it failed: then the request is sent again. Raises EndpointError after
        `retries`."""
        for attempt in range(self.spec.retries + 1):
            chosen = url or min(self._urls, key=lambda url: self._in_flight[url])
            self._in_flight[chosen] += 1
            wait = 0.0
            try:
                response = await self._whole(method, f"{chosen}/{path}", body)
                if response.status_code >= 500 or response.status_code in AGAIN:
                    what = f"HTTP {response.status_code} {response.reason_phrase}"
                    wait = _seconds(response.headers.get("retry-after"))
                elif response.status_code >= 400 or body is None or (what := _incomplete(response.json())) is None:
                    return response
            except (httpx.RequestError, ValueError, RecursionError) as error:
                what = f"{type(error).__name__} {error}".strip()
            finally:
                self._in_flight[chosen] -= 1
            if attempt == self.spec.retries:
                raise EndpointError(f"{chosen}: {attempt + 1} tries failed, the last with: {what}. No sample that was "
                                    "drawn is lost: mend the endpoint and go on with --resume")
            # Before the first sample somebody may still be watching, and a wrong port costs minutes.
            logger.log(logging.INFO if self.promises else logging.WARNING, "%s: %s; try %d of %d failed", chosen, what,
                       attempt + 1, self.spec.retries + 1)
            await asyncio.sleep(max(wait, min(0.5 * 2**attempt, 60.0) * self._jitter.uniform(0.5, 1.0)))
        raise AssertionError("unreachable")

    async def _whole(self, method: str, url: str, body: Mapping[str, Any] | None) -> httpx.Response:
        """The answer with all its content. Raises ValueError for one without end."""
        async with self._client.stream(method, url, json=body) as response:
            parts, size = [], 0
            async for part in response.aiter_bytes():
                parts.append(part)
                if (size := size + len(part)) > LARGEST_ANSWER:
                    raise ValueError(f"an answer of more than {LARGEST_ANSWER // 2**20} MiB")
            headers = {key: value for key, value in response.headers.items() if key != "content-encoding"}
            return httpx.Response(response.status_code, headers=headers, content=b"".join(parts),
                                  request=response.request)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._client.aclose(), self.loop).result()
        super().close()

    def identity(self) -> dict[str, Any]:
        """What tells its samples from those of another engine."""
        assert self.promises is not None  # examined first
        return {"served": self.model, **asdict(self.promises)}


def mean_entropy(top_logps: Sequence[Sequence[float]], temperature: float, vocabulary: int) -> tuple[float, float]:
    """(mean over tokens of the middle of the entropy's bounds, half the mean distance between them); NaN without."""
    if not top_logps or not all(top_logps):
        return math.nan, 0.0
    bounds = [entropy_bounds(logps, temperature, vocabulary) for logps in top_logps]
    low, high = (math.fsum(side) / len(bounds) for side in zip(*bounds, strict=True))
    return (low + high) / 2, (high - low) / 2


def _top_logprobs(choice: Mapping[str, Any], k: int) -> list[list[float]]:
    """Per token the k largest log-probabilities; [] where the server gives fewer.

    A server adds the drawn token to its k most likely ones. One that names tokens by their text shows fewer than k
    where two are spelled alike.
    """
    try:
        logprobs = choice.get("logprobs") or {}
        if logprobs.get("content"):  # chat
            tokens = [[each["logprob"] for each in token["top_logprobs"]] for token in logprobs["content"]]
        else:
            tokens = [list((token or {}).values()) for token in logprobs.get("top_logprobs") or []]
        return [sorted(token, reverse=True)[:k] if len(token) >= k and all(map(_is_logprob, token)) else []
                for token in tokens]
    except (AttributeError, LookupError, TypeError):  # in no form that is known
        return []


def _is_logprob(value: Any) -> bool:
    """Not NaN, nor above 0 by more than rounding."""
    return isinstance(value, int | float) and -math.inf < value <= 1e-3


def _token_ids(choice: Mapping[str, Any]) -> list[int] | None:
    """The tokens of the completion, where the server gives them, as vLLM does when it is asked."""
    ids = choice.get("token_ids")
    return ids if isinstance(ids, list) and all(type(one) is int and one >= 0 for one in ids) else None


def _cards(response: httpx.Response, url: str) -> dict[str, dict[str, Any]]:
    """Name -> card of each model that a server lists. Raises UserError where it lists none in OpenAI's form."""
    try:
        return {str(card["id"]): dict(card) for card in response.json()["data"]}
    except (ValueError, LookupError, TypeError, RecursionError):
        raise UserError(f"{url}/models: found {short(response.text)}, expected a list of models as OpenAI's protocol "
                        "has it; give the URL of the API, as in http://HOST:PORT/v1") from None


def _tokens(answer: Mapping[str, Any]) -> int | None:
    """Tokens of the completion, where the server counts them."""
    usage = answer.get("usage")
    tokens = usage.get("completion_tokens") if isinstance(usage, dict) else None
    return tokens if type(tokens) is int and 0 <= tokens < 2**31 else None


def _text(choice: Mapping[str, Any]) -> str:
    text = choice["text"] if "text" in choice else choice["message"]["content"] or ""
    if not isinstance(text, str):
        raise TypeError
    return text.encode("utf-8", "replace").decode()  # half a surrogate pair is in no file


def _incomplete(answer: Any) -> str | None:
    """What is wrong with an answer of state 200; None: nothing."""
    try:
        choice = answer["choices"][0]
        _text(choice)
        reason = choice["finish_reason"]
    except (LookupError, TypeError):
        return f"an answer without a completion: {str(answer)[:200]}"
    if not isinstance(reason, str) or reason not in ENDED:
        return f"a completion that ended with {reason!r}"
    return None


def _said(response: httpx.Response) -> str:
    """The server's message, on one line."""
    try:
        error = response.json()
        error = error.get("error", error)
        message = error.get("message", error) if isinstance(error, dict) else error
    except (ValueError, AttributeError):
        message = response.text
    return " ".join(str(message).split())[:300]


def _seconds(header: str | None) -> float:
    try:
        seconds = float(header or 0.0)
    except ValueError:  # a date
        return 0.0
    return min(seconds, 300.0) if seconds > 0 else 0.0  # not NaN
