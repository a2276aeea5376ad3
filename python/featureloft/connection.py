"""Speaks HTTP with one gateway: proof before the token, kept-alive connections, named time-outs, one kind of error."""

from __future__ import annotations

import contextlib
import http.client
import json
import select
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import IO, Any
from urllib.parse import quote, urlencode, urlsplit

from .discovery import CHALLENGE_HEADER, PROOF_HEADER, Address, describe, is_proven, new_challenge
from .errors import LoftError

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 30.0
# Uploads, loads of datasets, training sets, verify: bounded by the data, not by the network.
LONG_SECONDS = 1800.0
# A gateway closes a connection that idled for a minute; one that idled for longer than this is not used again.
IDLE_SECONDS = 20.0
MAX_IDLE = 8
JSON = "application/json"
PARQUET = "application/vnd.apache.parquet"

Body = bytes | IO[bytes] | None


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body's value; integers are exact, whatever their size."""
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise LoftError("bad_answer", f"The gateway's answer is not JSON ({error}).", status=self.status) from None


class Connection:
    """A pool of kept-alive connections to one gateway; may be used by several threads.

    `relocate` finds the gateway again after it moved to another port; without it a moved gateway is an error. With
    `proven` no proof is asked for: the gateway itself handed over this address, with a token that only it knows.
    """

    def __init__(
        self, address: Address, relocate: Callable[[], Address] | None = None, *, proven: bool = False
    ) -> None:
        self._address = address
        self._relocate = relocate
        self._lock = threading.Lock()
        self._idle: list[tuple[float, http.client.HTTPConnection]] = []
        self._closed = False
        if not proven:
            _prove(address)

    @property
    def address(self) -> Address:
        return self._address

    def close(self) -> None:
        with self._lock:
            idle, self._idle, self._closed = self._idle, [], True
        for _, connection in idle:
            connection.close()

    def get(self, path: str, query: Mapping[str, Any] | None = None, **options: Any) -> Answer:
        return self.request("GET", path, query=query, repeatable=True, **options)

    def post(self, path: str, value: Any, **options: Any) -> Answer:
        headers = {"Content-Type": JSON, **options.pop("headers", {})}
        return self.request("POST", path, body=encode_json(value), headers=headers, **options)

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Body = None,
        headers: Mapping[str, str] | None = None,
        seconds: float = ANSWER_SECONDS,
        repeatable: bool = False,
    ) -> Answer:
        """Sends one request and reads its answer whole. `seconds` bounds each wait for bytes of the answer.

        A connection that breaks is tried once more when nothing was sent, or when the request may be `repeatable`.
        Raises LoftError: the gateway's own refusal, or `gateway_unreachable`, `gateway_timeout`, `gateway_lost`.
        """
        given = {name: value for name, value in (query or {}).items() if value is not None}
        target = f"{path}?{urlencode(given)}" if given else path
        for attempt in (1, 2):
            try:
                answer = self._once(method, target, body, headers or {}, seconds)
                break
            except _NotSent as error:
                if attempt == 2 or self._relocate is None or not _rewind(body):
                    raise _unreachable(self._address, error.cause) from None
                self._move(self._relocate())
            except TimeoutError:
                words = (
                    f"{method} {path} was not answered within {seconds:g} s. The gateway's log says what it is doing."
                )
                raise LoftError("gateway_timeout", words) from None
            except (http.client.HTTPException, OSError) as error:
                if attempt == 2 or not repeatable or not _rewind(body):
                    words = f"The connection broke before {method} {path} was answered ({describe(error)})."
                    raise LoftError("gateway_lost", f"{words} Whether it was done is not known.") from None
        if answer.status >= 400:
            raise _refusal(answer)
        return answer

    def _once(self, method: str, target: str, body: Body, headers: Mapping[str, str], seconds: float) -> Answer:
        connection = self._take()
        kept = False
        try:
            if connection.sock is None:
                try:
                    connection.connect()
                except OSError as error:
                    raise _NotSent(error) from None
            connection.sock.settimeout(seconds)
            sent = {"Authorization": f"Bearer {self._address.token}", "Accept": JSON, **headers}
            # A gateway that refuses before it has read the whole body closes its side: the refusal is still there to
            # read.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, target, body=body, headers=sent)
            with connection.getresponse() as response:
                answer = Answer(response.status, _lowered(response.headers.items()), response.read())
                kept = not response.will_close
            return answer
        finally:
            if kept:
                self._give_back(connection)
            else:
                connection.close()

    def _take(self) -> http.client.HTTPConnection:
        with self._lock:
            if self._closed:
                raise LoftError("store_closed", "This store was closed. Connect again.")
            while self._idle:
                since, connection = self._idle.pop()
                if time.monotonic() - since <= IDLE_SECONDS and not _was_ended(connection):
                    return connection
                connection.close()
            return _open(self._address.url)

    def _give_back(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            if not self._closed and len(self._idle) < MAX_IDLE:
                self._idle.append((time.monotonic(), connection))
                return
        connection.close()

    def _move(self, address: Address) -> None:
        _prove(address)
        with self._lock:
            idle, self._idle, self._address = self._idle, [], address
        for _, connection in idle:
            connection.close()


def _prove(address: Address) -> None:
    """Asks for the proof, without the token, so that another program on a stale port learns nothing."""
    challenge = new_challenge()
    connection = _open(address.url)
    try:
        connection.connect()
        connection.request("GET", "/v1/health", headers={CHALLENGE_HEADER: challenge, "Accept": JSON})
        with connection.getresponse() as response:
            proof = response.headers.get(PROOF_HEADER)
            response.read(65_536)
    except (http.client.HTTPException, OSError) as error:
        raise _unreachable(address, error) from None
    finally:
        connection.close()
    if not is_proven(address.token, challenge, proof):
        raise LoftError(
            "gateway_unproven",
            f"What listens at {address.url} did not prove that it is the gateway of this token, so the token was not "
            "sent. It is another program or another gateway: start yours, or check url and token.",
        )


class _NotSent(Exception):
    """No byte of the request left this process."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(str(cause))
        self.cause = cause


def _unreachable(address: Address, error: Exception) -> LoftError:
    words = f"No gateway answers at {address.url} ({describe(error)})."
    return LoftError("gateway_unreachable", f"{words} Start it with `featureloft serve`.")


def encode_json(value: Any) -> bytes:
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise LoftError("bad_value", f"This can't be sent as JSON: {error}.") from None
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        found = text[max(error.start - 20, 0) : error.start]
        raise LoftError(
            "bad_value", f"Text after {found!r} holds half a surrogate pair, which is no character."
        ) from None


def path_of(*parts: str | int) -> str:
    """`/v1/` and the parts, each quoted, so that a name can't reach another route."""
    return "/v1/" + "/".join(quote(str(part), safe="@:") for part in parts)


def _open(url: str) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https":
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(host, parts.port, timeout=CONNECT_SECONDS, context=context)
    return http.client.HTTPConnection(host, parts.port, timeout=CONNECT_SECONDS)


def _was_ended(connection: http.client.HTTPConnection) -> bool:
    """An idle connection with something to read was closed by the other side."""
    if connection.sock is None:
        return True
    try:
        readable, _, _ = select.select([connection.sock], [], [], 0)
    except (OSError, ValueError):
        return True
    return bool(readable)


def _rewind(body: Body) -> bool:
    if body is None or isinstance(body, bytes):
        return True
    with contextlib.suppress(OSError, ValueError):
        body.seek(0)
        return True
    return False


def _lowered(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers}


def _refusal(answer: Answer) -> LoftError:
    retry_after = answer.headers.get("retry-after", "")
    seconds = float(retry_after) if retry_after.isdigit() else None
    try:
        document = json.loads(answer.body)
        return LoftError.of_document(answer.status, document, seconds)
    except (ValueError, KeyError, TypeError, AttributeError):
        words = f"The gateway answered {answer.status} without saying why. Its log may."
        return LoftError("bad_answer", words, status=answer.status, retry_after=seconds)
