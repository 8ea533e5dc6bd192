"""A Hugging Face Hub on this machine that takes pushes: repositories are created, and commits are kept by file."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


@dataclass
class Hub:
    """What has been sent."""

    address: str = ""
    created: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    """`model/me/name/README.md` -> content."""
    checked: list[str] = field(default_factory=list)
    """Cards whose header was to be checked."""


@contextmanager
def hub_stub() -> Iterator[Hub]:
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            parts = self.path.split("?")[0].split("/")
            if self.path == "/api/repos/create":
                hub.created.append(json.loads(body))
                name = f"{hub.created[-1]['organization']}/{hub.created[-1]['name']}"
                return self._answer({"url": f"{hub.address}/{name}"})
            if self.path == "/api/validate-yaml":
                hub.checked.append(json.loads(body)["content"])
                return self._answer({"errors": [], "warnings": []})
            if len(parts) < 6 or parts[3] == "taken":
                return self._answer({"error": "You do not have permission"}, 403)
            kind, repo = parts[2].removesuffix("s"), "/".join(parts[3:5])
            if parts[5] == "preupload":
                files = [{"path": each["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None}
                         for each in json.loads(body)["files"]]
                return self._answer({"files": files})
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    content = base64.b64decode(line["value"]["content"])
                    hub.files[f"{kind}/{repo}/{line['value']['path']}"] = content
            return self._answer({"success": True, "commitOid": "0" * 40, "hookOutput": "",
                                 "commitUrl": f"{hub.address}/{repo}/commit/{'0' * 40}"})

        def _answer(self, tree: dict[str, Any], code: int = 200) -> None:
            data = json.dumps(tree).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
