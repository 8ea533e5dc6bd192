"""The engine `openai`: same counts whatever the server does, promises that are tested, and no key in any file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from rlvr.config.probes import EndpointSpec
from rlvr.interfaces import AsyncSampler, SampleRequest
from rlvr.lab.model import build_tokenizer
from rlvr.models import endpoint
from rlvr.models.endpoint import EndpointSampler
from rlvr.models.prompts import prompt_ids
from rlvr.probes.engine import ProbeResult, run_probe
from rlvr.runs.samples import Journal, read_samples
from rlvr.statistics.entropy_bounds import entropy_bounds
from rlvr.statistics.plan import SamplingPlan
from rlvr.types import Decoding, EndpointError, Problem, Reason, UserError, Verdict
from tests.support.openai_server import TOP, Server, serving

PLAN = SamplingPlan((4, 8, 16), (3, 1))
PROBLEMS = [Problem(id=f"p{i}", prompt=f"p={i / 11}", gold="1", verifier="") for i in range(12)]
DECODING = Decoding(temperature=0.7, top_p=0.9, max_new_tokens=32)


class OneIsRight:
    def judge(self, problems: Sequence[Problem], texts: Sequence[str]) -> list[Verdict]:
        return [Verdict(True, Reason.IDENTICAL, text) if text == "1" else Verdict(False, Reason.WRONG_ANSWER, text)
                for text in texts]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    real = endpoint.asyncio.sleep
    monkeypatch.setattr(endpoint.asyncio, "sleep", lambda seconds: real(min(seconds, 0.01)))


def sampler(*servers: Server, tokenizer: Any = None, model: str = "served", **spec: Any) -> EndpointSampler:
    settings: dict[str, Any] = {"base_url": tuple(server.url for server in servers), "retries": 12, "top_logprobs": 4}
    made = EndpointSampler(model, EndpointSpec(**(settings | spec)), tokenizer)
    try:
        made.examined(PROBLEMS[0])
    except BaseException:
        made.close()
        raise
    return made


def probe(*servers: Server, journal: Journal | None = None, **spec: Any) -> ProbeResult:
    made = sampler(*servers, **spec)
    try:
        return run_probe(PROBLEMS, PLAN, DECODING, made, OneIsRight(), seed=0, stream="s", batch_size=16,
                         journal=journal)
    finally:
        made.close()


def rows(result: ProbeResult) -> list[dict[str, Any]]:
    return [each.row() for each in result.problems]


def test_a_server_that_fails_stalls_and_reorders_changes_no_count(tmp_path: Path) -> None:
    with serving() as good, serving(faults=0.2, stall=0.8) as bad, serving(faults=0.2, stall=0.8) as worse:
        expected = probe(good, journal=Journal(tmp_path / "good.gz", {}))
        result = probe(bad, worse, journal=Journal(tmp_path / "bad.gz", {}), timeout=0.4)
        assert rows(result) == rows(expected)
        trouble = bad.trouble + worse.trouble
        assert sum(trouble.values()) > 15 and len(trouble) >= 4
        assert min(sum(bad.answered.values()), sum(worse.answered.values())) > 20  # both did their share
        drawn = [(row["problem_id"], row["sample"], row["text"]) for row in read_samples(tmp_path / "bad.gz")]
        assert sorted(drawn) == sorted((row["problem_id"], row["sample"], row["text"])
                                       for row in read_samples(tmp_path / "good.gz"))
        assert len(drawn) == len(set(drawn)) == result.samples
        assert len(good.answered) == expected.samples + 1 and set(good.answered.values()) <= {1, 2}
    assert 0 < sum(each.truncated for each in result.problems) == sum(
        each.reasons[Reason.TRUNCATED] for each in result.problems)
    assert result.tokens == 2 * result.samples


def test_a_dead_endpoint_ends_the_probe_and_what_was_drawn_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "samples.gz"
    with serving() as server:
        made = sampler(server, retries=1)

        class Dying(OneIsRight):
            judged = 0

            def judge(self, problems: Sequence[Problem], texts: Sequence[str]) -> list[Verdict]:
                server.faults = 1.0 if self.judged >= 4 else 0.0  # answers may come to be judged one by one
                self.judged += len(texts)
                return super().judge(problems, texts)

        with pytest.raises(EndpointError, match=r"2 tries failed, the last with: .*go on with --resume"):
            run_probe(PROBLEMS, PLAN, DECODING, made, Dying(), seed=0, stream="s", batch_size=4,
                      journal=Journal(path, {"id": 1}))
        made.close()
        kept = len(list(read_samples(path)))
        assert kept >= 4
    with serving() as server:  # another one, as the first may still answer what it was asked
        result = probe(server, journal=Journal(path, {"id": 1}))
        assert sum(server.answered.values()) == result.samples - kept + 2  # two to examine the server
        assert rows(result) == rows(probe(server))


def test_what_is_sent_and_what_is_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "secret")
    with serving(key="secret") as server:
        made = sampler(server, key_env="MY_KEY")
        assert isinstance(made, AsyncSampler)
        first, again = (made.sample([SampleRequest(PROBLEMS[5], i) for i in (0, 7)], DECODING, seed=1, stream="s")
                        for _ in range(2))
        made.close()
        assert first == again and [c.sample for c in first] == [0, 7]
        body = next(each for each in server.bodies if each["temperature"] == 0.7)
        assert {key: value for key, value in body.items() if key != "seed"} == {
            "model": "served", "prompt": PROBLEMS[5].prompt, "max_tokens": 32, "temperature": 0.7, "top_p": 0.9, "n": 1,
            "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, "return_tokens_as_token_ids": True, "logprobs": 4}
        assert "secret" not in repr(made.promises) + repr(made.identity())
        assert made.promises is not None and made.promises.entropy == "bounds from the 4 most likely tokens"
        assert (made.promises.seeds, made.promises.api) == ("every request", "completions of text")
        low, high = entropy_bounds([math.log(p) for p in TOP], 0.7, endpoint.LARGEST_VOCABULARY)
        assert (first[0].entropy, first[0].entropy_error) == pytest.approx(((low + high) / 2, (high - low) / 2))
        assert math.isnan(first[1].entropy)  # of the first samples alone
        with pytest.raises(UserError, match=r"401, not allowed; put the key into the environment variable NO_KEY"):
            sampler(server, key_env="NO_KEY")
    with serving(models=("a", "b")) as server, pytest.raises(UserError, match="no model 'served' there; found a, b"):
        sampler(server)
    with pytest.raises(UserError, match=r"127.0.0.1:9/v1: 1 tries failed, the last with: ConnectError"):
        EndpointSampler("m", EndpointSpec(base_url=("http://127.0.0.1:9/v1",), retries=0)).examined(PROBLEMS[0])


@pytest.mark.parametrize(
    ("settings", "entropy", "logprobs", "seeds"),
    [({"owner": "me"}, "bounds from the 4 most likely tokens", 4, "sent"),
     ({"raw": False}, "unknown", 4, "every request"),
     ({"refuses_logprobs": True}, "unknown", 0, "every request")],
)
def test_what_a_server_does_not_say_is_unknown(settings: Any, entropy: str, logprobs: int, seeds: str) -> None:
    with serving(**settings) as server:
        made = sampler(server)
        (drawn,) = made.sample([SampleRequest(PROBLEMS[3], 0)], DECODING, seed=0, stream="s")
        made.close()
    assert made.promises is not None
    assert (made.promises.entropy, made.promises.logprobs, made.promises.seeds) == (entropy, logprobs, seeds)
    assert math.isnan(drawn.entropy) == (entropy == "unknown")


def test_chat_prompts_go_as_messages_and_with_a_tokenizer_as_ids() -> None:
    chat = Problem(id="c", prompt=({"role": "user", "content": "p=0.5"},), gold="1", verifier="")
    tokenizer = build_tokenizer()
    plain = Problem(id="t", prompt="3 4 5 = 12", gold="1", verifier="")
    with serving() as server:
        made = EndpointSampler("served", EndpointSpec(base_url=(server.url,), top_logprobs=4))
        assert made.examined(chat).api == "chat"
        (drawn,) = made.sample([SampleRequest(chat, 0)], DECODING, seed=0, stream="s")
        made.close()
        assert drawn.entropy_error > 0 and server.bodies[-1]["messages"] == [{"role": "user", "content": "p=0.5"}]
        assert server.bodies[-1]["top_logprobs"] == 4 and server.bodies[-1]["logprobs"] is True
        made = EndpointSampler("served", EndpointSpec(base_url=(server.url,)), tokenizer)
        assert made.examined(plain).api == "completions of token ids"
        made.close()
        assert server.bodies[-1]["prompt"] == prompt_ids(tokenizer, plain)


# ---------------------------------------------------------------- servers that lie


@pytest.mark.parametrize("listed", [b"<html>Welcome</html>", b"[]", b'{"data": null}', b'{"data": ["a"]}', b"",
                                    b'{"data": 3}', b"[" * 100_000])
def test_a_server_that_lists_its_models_in_another_form_is_one_line(listed: bytes) -> None:
    """Bug: a web page at the URL was a JSONDecodeError."""
    with serving(listed=listed) as server, pytest.raises(UserError, match=r"^http://[^\n]*/v1/models: found [^\n]*, "
                                                         r"expected a list of models [^\n]* http://HOST:PORT/v1$"):
        sampler(server)


@pytest.mark.parametrize("logprobs", [
    "many", {"top_logprobs": [[1, 2, 3, 4]] * 2}, {"top_logprobs": [{str(i): math.nan for i in range(4)}] * 2},
    {"top_logprobs": [{str(i): None for i in range(4)}] * 2}, {"top_logprobs": 7},
    {"top_logprobs": [{str(i): 3.0 for i in range(4)}] * 2}, {"content": [{"token": "a"}]},
])
def test_log_probabilities_that_are_none_are_unknown(logprobs: Any) -> None:
    """Bug: `null` among them was a TypeError, NaN an entropy."""
    with serving(lie={"logprobs": logprobs}) as server:
        made = sampler(server)
        (drawn,) = made.sample([SampleRequest(PROBLEMS[3], 0)], DECODING, seed=0, stream="s")
        made.close()
    assert made.promises is not None and made.promises.entropy == "unknown" and made.promises.logprobs == 0
    assert math.isnan(drawn.entropy) and drawn.entropy_error == 0.0 and drawn.text in "1234"


def test_odd_answers_are_read_or_sent_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [SampleRequest(PROBLEMS[3], 0)]
    with serving() as server:
        made = sampler(server, retries=1)

        def drawn(**lie: Any) -> tuple[str, int | None, bool]:
            server.lie = lie
            (one,) = made.sample(asked, DECODING, seed=0, stream="s")
            return one.text, one.num_tokens, one.truncated

        assert drawn(text="a\ud800b", finish_reason="eos_token") == ("a?b", 2, False)  # half a pair is in no file
        assert drawn(finish_reason="length", text="", usage={"completion_tokens": -3}) == ("", None, True)
        assert drawn(text="3", finish_reason="stop", usage={"completion_tokens": True}) == ("3", None, False)
        for lie, what in (({"finish_reason": ["stop"]}, r"ended with \['stop'\]"),
                          ({"text": 3}, "without a completion"),
                          ({"finish_reason": "abort"}, "ended with 'abort'")):
            with pytest.raises(EndpointError, match=f"2 tries failed, the last with: .*{what}"):
                drawn(**lie)
        monkeypatch.setattr(endpoint, "LARGEST_ANSWER", 2**20)
        with pytest.raises(EndpointError, match="the last with: ValueError an answer of more than 1 MiB"):
            drawn(text="x" * 2**21)
        made.close()
    assert [endpoint._seconds(text) for text in ("nan", "-5", "inf", "2.5", "Mon, 30 Nov", None)] == [
        0.0, 0.0, 300.0, 2.5, 0.0, 0.0]


def test_with_a_tokenizer_the_tokens_are_decoded_here() -> None:
    """Bug: vLLM's server decodes the lab's "6 - 5 = 1" as "6-5=1"."""
    tokenizer = build_tokenizer()
    ids = tokenizer("6 - 5 = 1")["input_ids"]
    with serving(lie={"token_ids": [*ids, tokenizer.eos_token_id], "text": "6-5=1", "finish_reason": "stop"}) as server:
        drawn = []
        plain = Problem(id="t", prompt="3 4 5 = 12", gold="1", verifier="")
        for known in (tokenizer, None):
            made = EndpointSampler("served", EndpointSpec(base_url=(server.url,)), known)
            made.examined(plain)
            drawn += made.sample([SampleRequest(plain, 0)], DECODING, seed=0, stream="s")
            made.close()
            assert ("return_token_ids" in server.bodies[-1]) == (known is not None)
        assert [(one.text, one.num_tokens) for one in drawn] == [("6 - 5 = 1", len(ids) + 1), ("6-5=1", 2)]
