"""`rlvr probe --engine`: a served model becomes a run directory, and what cannot work is refused in one line."""

from __future__ import annotations

import json
import math
from html import unescape
from importlib.util import find_spec
from pathlib import Path

import pytest

from rlvr.cli.main import main
from rlvr.models.endpoint import LARGEST_VOCABULARY
from rlvr.report.load import load_run
from rlvr.report.words import engine_words
from rlvr.runs.run_dir import RunDir
from rlvr.runs.samples import read_samples
from rlvr.statistics.entropy_bounds import entropy_bounds
from tests.cli.test_bad_input import failure
from tests.support.openai_server import TOP, serving


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("RLVR_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "asked.jsonl"
    asked = [{"problem": f"p={i / 3}", "answer": "1", "id": f"q{i}"} for i in range(4)]
    file.write_text("".join(json.dumps(row) + "\n" for row in asked))
    return ["--data", str(file), "--verifier", "tests.support.verifiers_for_tests:Obedient", "--plan", "cheap",
            "data.probe.id=id", "probes.max_new_tokens=8", "judge.workers=1", "probes.batch_size=64",
            "probes.endpoint.top_logprobs=4"]


def test_served_models_become_a_run_and_the_key_is_in_no_file(
    tmp_path: Path, data: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    out = tmp_path / "out"
    with serving(models=("plain", "tuned-step-40"), key="sk-very-secret") as server:
        words = ["probe", "plain", "tuned-step-40", *data, "-o", str(out)]
        assert main([*words, "--engine", "openai", "--base-url", server.url]) == 0
    printed = capsys.readouterr().out
    rows = RunDir(out).read_jsonl(RunDir(out).boundary)
    assert [row["step"] for row in rows] == [0, 40]
    within = rows[1]["sampled"].pop("entropy_within")
    low, high = entropy_bounds([math.log(p) for p in TOP], 0.6, LARGEST_VOCABULARY)
    assert within == pytest.approx((high - low) / 2, abs=1e-5)
    assert rows[1]["estimates"]["boundary/entropy"]["value"] == pytest.approx((low + high) / 2, abs=1e-5)
    assert rows[1]["sampled"] == {
        "engine": "openai", "api": "completions of text", "seeds": "every request", "logprobs": 4,
        "entropy": "bounds from the 4 most likely tokens", "stops": "as the server reads the model's generation config"}
    words_of_it = engine_words(load_run(out))
    assert words_of_it == ("Drawn by openai (completions of text): every request had a seed of its own; entropies are "
                           f"bounds from the 4 most likely tokens (within {within:.2g} nats); completions "
                           "end as the server reads the model's generation config.")
    assert words_of_it in " ".join(printed.split()) and words_of_it in unescape((out / "report.html").read_text())
    samples = [(row["problem_id"], row["sample"]) for row in read_samples(RunDir(out).samples(40))]
    assert len(samples) == len(set(samples)) == rows[1]["samples"]
    assert not (tmp_path / "cache").exists()  # a name is no hash: no other run takes this for its base
    for path in out.rglob("*"):
        assert not path.is_file() or b"very-secret" not in path.read_bytes(), path
    # Another server with the same models: the finished steps stay, and nothing is drawn again.
    with serving(models=("plain", "tuned-step-40")) as server:
        assert main([*words, "--base-url", server.url, "--resume"]) == 0
        assert server.bodies == []


@pytest.mark.parametrize(
    ("words", "message"),
    [(["--engine", "openai"], "probes.endpoint.base_url: found [] (list), expected the URL of the server for "
      "probes.engine=openai, as in http://localhost:8000/v1; give it (--base-url)"),
     (["--base-url", "localhost:8000/v1"], "probes.endpoint.base_url: found 'localhost:8000/v1' (text), expected "
      "http://HOST:PORT/v1 or https://HOST/v1; write the whole URL"),
     (["--base-url", "http://host/v1", "--engine", "vllm"], "--base-url: found beside --engine vllm, which asks no "
      "server; remove one, or choose --engine openai"),
     (["--base-url", "http://host:99999/v1"], "found 'http://host:99999/v1' (text), expected http://HOST:PORT/v1"),
     (["--base-url", "http://[::1/v1"], "found 'http://[::1/v1' (text), expected http://HOST:PORT/v1"),
     (["--base-url", "http://me:hidden@host:99999/v1"], "probes.endpoint.base_url: found a name or password in it"),
     (["--base-url", "http://me:hidden@host/v1"], "probes.endpoint.base_url: found a name or password in it, which "
      "would be stored with the run; put the key into the environment variable OPENAI_API_KEY")],
)
def test_a_mistake_is_one_line(
    words: list[str], message: str, tmp_path: Path, data: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    line = failure(capsys, "probe", "m", *data, "-o", str(tmp_path / "out"), *words)
    assert message in line and "hidden" not in line


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vllm is installed")
def test_without_vllm_its_engine_is_refused_before_anything_is_drawn(
    tmp_path: Path, data: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    line = failure(capsys, "probe", "lab", *data, "-o", str(tmp_path / "out"), "--engine", "vllm")
    assert "probes.engine: vllm is not installed; pip install 'rlvr[vllm]'" in line
    assert not (tmp_path / "out").exists()


def test_in_a_training_the_live_model_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = failure(capsys, "check", "recipes/quickstart/lab_grpo.yaml", "probes.engine=vllm")
    assert "probes.engine: found 'vllm' (text), expected transformers in a training" in line
