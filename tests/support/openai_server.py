"""A small server that speaks OpenAI's protocol, on demand an unreliable one: it fails, stalls, lies and reorders."""

from __future__ import annotations

import json
import math
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOP = (0.6, 0.2, 0.1, 0.05)
"""Probabilities of the most likely tokens at every position."""


class Server(ThreadingHTTPServer):
    """Answers "1" with the probability that the prompt names (`p=0.3`), as a function of prompt and seed alone."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *, faults: float = 0.0, stall: float = 0.0, models: tuple[str, ...] = ("served",),
                 owner: str = "vllm", key: str | None = None, raw: bool = True, refuses_logprobs: bool = False,
                 listed: bytes | None = None, lie: dict[str, Any] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.faults, self.stall, self.models, self.owner = faults, stall, models, owner
        self.key, self.raw, self.refuses_logprobs = key, raw, refuses_logprobs
        self.listed, self.lie = listed, lie or {}
        """What is answered to GET /models; what else is in every choice."""
        self.rng = random.Random(0)
        self.answered: Counter[tuple[str, int]] = Counter()
        """(prompt, seed) -> how often it was answered with 200 and a whole completion."""
        self.bodies: list[dict[str, Any]] = []
        self.trouble: Counter[str] = Counter()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class Handler(BaseHTTPRequestHandler):
    server: Any
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        if self._allowed() and self.server.listed is not None:
            self._send(200, self.server.listed)
        elif self._allowed():
            self._send(200, {"data": [{"id": name, "owned_by": self.server.owner} for name in self.server.models]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self._allowed():
            return
        server = self.server
        server.bodies.append(body)
        draw = server.rng.random()
        time.sleep(server.rng.random() * 0.005 * (server.faults > 0))
        if draw < server.faults:
            return self._fail(server.rng.choice(["500", "429", "cut", "nonsense", "empty", "stall"]))
        wanted = body.get("top_logprobs" if "messages" in body else "logprobs")
        if wanted and server.refuses_logprobs:
            return self._send(400, {"error": {"message": "logprobs are not supported"}})
        chat = "messages" in body
        prompt = body["messages"][-1]["content"] if chat else str(body["prompt"])
        text, reason = completion(prompt, body["seed"], body["max_tokens"])
        choice: dict[str, Any] = {"index": 0, "finish_reason": reason}
        choice |= {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
        if wanted:
            choice["logprobs"] = self._logprobs(wanted, body, chat)
        server.answered[prompt, body["seed"]] += 1
        answer = {"choices": [choice | {key: value for key, value in server.lie.items() if key != "usage"}]}
        self._send(200, answer | {"usage": server.lie.get("usage", {"completion_tokens": 2})})

    def _allowed(self) -> bool:
        if self.server.key is None or self.headers.get("Authorization") == f"Bearer {self.server.key}":
            return True
        self._send(401, {"error": {"message": "no"}})
        return False

    def _logprobs(self, wanted: int, body: dict[str, Any], chat: bool) -> dict[str, Any]:
        scale = 1.0 if self.server.raw else 1 / (body["temperature"] or 1.0)
        top = {f"token_id:{i}": math.log(p) * scale for i, p in enumerate(TOP[:wanted])}
        if chat:
            return {"content": [{"token": "a", "top_logprobs": [{"token": t, "logprob": v} for t, v in top.items()]}]}
        return {"top_logprobs": [top | {"token_id:99": -9.0}, top]}  # the drawn token is none of the most likely

    def _fail(self, how: str) -> None:
        self.server.trouble[how] += 1
        if how == "cut":
            self.close_connection = True
        elif how == "stall":
            time.sleep(self.server.stall)
            self._send(200, {"choices": []})  # should a client still be there
        elif how == "nonsense":
            self._send(200, b"<html>busy</html>")
        elif how == "empty":
            self._send(200, {"choices": [{"text": "", "finish_reason": None}]})
        else:
            self._send(int(how), {"error": {"message": "busy"}})

    def _send(self, code: int, answer: Any) -> None:
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def completion(prompt: str, seed: int, limit: int) -> tuple[str, str]:
    """(text, finish_reason)"""
    rng = random.Random(f"{prompt}/{seed}")
    p = float(prompt.partition("p=")[2] or 0.5)
    text = "1" if rng.random() < p else str(rng.randint(2, 4))
    return text, "length" if limit > 1 and rng.random() < 0.1 else "stop"


@contextmanager
def serving(**settings: Any) -> Iterator[Server]:
    """A server for the length of the block."""
    server = Server(**settings)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
