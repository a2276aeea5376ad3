"""What the client does when the network, or what is at its other end, does not do as it should."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

import featureloft as fl
from fake_gateway import TOKEN, FakeGateway, Seen, answer, fake_gateway
from featureloft.connection import Connection, path_of
from featureloft.discovery import Address


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    with fake_gateway() as found:
        yield found


@pytest.fixture
def connection(gateway: FakeGateway) -> Iterator[Connection]:
    connection = Connection(Address(gateway.url, TOKEN))
    yield connection
    connection.close()


def test_connections_are_kept_and_used_again(gateway: FakeGateway, connection: Connection) -> None:
    for number in range(5):
        assert connection.get("/v1/x", {"n": number, "none": None}).json() == {"path": f"/v1/x?n={number}"}
    assert len({one.client for one in gateway.asked}) == 1


def test_threads_have_connections_of_their_own(gateway: FakeGateway, connection: Connection) -> None:
    def act(handler: Any, seen: Seen) -> None:
        time.sleep(0.05)
        answer(handler, 200, {"path": seen.path})

    gateway.act = act
    found: list[Any] = []
    threads = [threading.Thread(target=lambda n=n: found.append(connection.get(f"/v1/{n}").json())) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one["path"] for one in found) == [f"/v1/{n}" for n in range(4)]


def test_a_problem_document_becomes_an_error_with_its_problems(gateway: FakeGateway, connection: Connection) -> None:
    problems = [
        {"row": n, "field": "temp", "code": "bad_value", "found": '"x"', "expected": "a float64"} for n in range(12)
    ]
    document = {
        "type": "about:blank",
        "title": "t",
        "status": 422,
        "code": "bad_rows",
        "detail": "12 rows are bad.",
        "plan": {"a": 1},
    }
    gateway.act = lambda handler, _: answer(handler, 422, {**document, "problems": problems}, Retry_After="7")
    with pytest.raises(fl.LoftError) as caught:
        connection.post("/v1/x", {})
    error = caught.value
    assert (error.status, error.code, error.detail) == (422, "bad_rows", "12 rows are bad.")
    assert (len(error.problems), error.problems[3].row, error.extra, error.retry_after) == (
        12,
        3,
        {"plan": {"a": 1}},
        7,
    )
    lines = str(error).splitlines()
    assert lines[0] == "12 rows are bad. (bad_rows)"
    assert lines[1] == '  - row 0, temp: found "x", expected a float64'
    assert lines[-1] == "  - and 2 more in .problems"


@pytest.mark.parametrize("value", [[], "text", {"detail": "no code"}, {"code": "x", "problems": 7}])
def test_a_refusal_of_another_form_is_still_an_error(gateway: FakeGateway, connection: Connection, value: Any) -> None:
    gateway.act = lambda handler, _: answer(handler, 500, value)
    with pytest.raises(fl.LoftError) as caught:
        connection.get("/v1/x")
    assert (caught.value.code, caught.value.status) == ("bad_answer", 500)


def test_an_answer_that_is_no_json_is_told(gateway: FakeGateway, connection: Connection) -> None:
    def act(handler: Any, _: Seen) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>")

    gateway.act = act
    with pytest.raises(fl.LoftError, match="is not JSON"):
        connection.get("/v1/x").json()


def test_a_kept_connection_that_was_closed_is_replaced(gateway: FakeGateway, connection: Connection) -> None:
    def act(handler: Any, seen: Seen) -> None:
        answer(handler, 200, {"path": seen.path})
        handler.close_connection = True  # closes without having said so

    gateway.act = act
    for _ in range(3):
        connection.post("/v1/x", {})
        time.sleep(0.05)
    assert len(gateway.asked) == 3


def break_first(gateway: FakeGateway) -> None:
    def act(handler: Any, seen: Seen) -> None:
        if len(gateway.asked) == 1:
            handler.close_connection = True
            handler.connection.close()
        else:
            answer(handler, 200, {"written": 1, "superseded": 0, "rejected": 0, "warned": 0})

    gateway.act = act


def test_a_read_that_broke_is_repeated_and_a_write_is_not(gateway: FakeGateway, connection: Connection) -> None:
    break_first(gateway)
    connection.get("/v1/x")
    assert len(gateway.asked) == 2
    gateway.seen.clear()
    with pytest.raises(fl.LoftError, match="Whether it was done is not known") as caught:
        connection.post("/v1/x", {})
    assert (caught.value.code, len(gateway.asked)) == ("gateway_lost", 1)


def test_a_push_that_broke_is_repeated_with_the_same_key(gateway: FakeGateway, connection: Connection) -> None:
    break_first(gateway)
    result = fl.Store(connection).push("weather", [{"origin": "JFK"}])
    assert result.written == 1
    keys = {one.headers["idempotency-key"] for one in gateway.asked}
    assert (len(gateway.asked), len(keys)) == (2, 1)
    assert len({one.body for one in gateway.asked}) == 1


def test_a_silent_gateway_is_given_up(gateway: FakeGateway, connection: Connection) -> None:
    stop = threading.Event()
    gateway.act = lambda *_: (stop.wait(5), None)[1]
    began = time.monotonic()
    with pytest.raises(fl.LoftError, match=r"not answered within 0\.2 s"):
        connection.get("/v1/x", seconds=0.2)
    stop.set()
    assert time.monotonic() - began < 2


def test_a_closed_store_says_so(gateway: FakeGateway) -> None:
    store = fl.connect(gateway.url, TOKEN)
    store.close()
    with pytest.raises(fl.LoftError, match="was closed"):
        store.health()


def test_a_name_can_not_reach_another_route() -> None:
    assert path_of("views", "../tokens?x#y", "rows") == "/v1/views/..%2Ftokens%3Fx%23y/rows"
    assert path_of("features", "weather@v2:temp") == "/v1/features/weather@v2:temp"
