"""A small HTTP server that fails on purpose: in ways that a real gateway can't be made to fail."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "a1" * 32


@dataclass
class Seen:
    method: str
    path: str
    authorization: str | None
    headers: dict[str, str]
    body: bytes
    client: tuple[str, int]


@dataclass
class FakeGateway:
    """What it saw, and what it does with the next request. `act` answers by the handler's own means."""

    url: str
    seen: list[Seen] = field(default_factory=list)
    proof_key: str = TOKEN
    act: Callable[[Any, Seen], None] | None = None

    @property
    def asked(self) -> list[Seen]:
        """All but the questions for proof."""
        return [one for one in self.seen if one.path != "/v1/health" or one.authorization]


def answer(handler: BaseHTTPRequestHandler, status: int, value: Any, **headers: str) -> None:
    body = json.dumps(value).encode()
    handler.send_response(status)
    for name, text in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name.replace("_", "-"), text)
    handler.end_headers()
    handler.wfile.write(body)


@contextmanager
def fake_gateway(port: int = 0) -> Iterator[FakeGateway]:
    state = FakeGateway("")
    open_connections: list[socket.socket] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            open_connections.append(self.connection)

        def handle_any(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            seen = Seen(
                self.command,
                self.path,
                self.headers.get("Authorization"),
                headers,
                self.rfile.read(length),
                self.client_address,
            )
            state.seen.append(seen)
            challenge = self.headers.get("X-Loft-Challenge")
            if challenge is not None:
                proof = hmac.new(state.proof_key.encode(), challenge.encode(), hashlib.sha256).hexdigest()
                answer(self, 200, {"status": "ok"}, X_Loft_Proof=proof)
            elif state.act is not None:
                state.act(self, seen)
            else:
                answer(self, 200, {"path": self.path})

        do_GET = do_POST = do_DELETE = handle_any

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        for connection in open_connections:  # a gateway that ends leaves none open
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        thread.join()
