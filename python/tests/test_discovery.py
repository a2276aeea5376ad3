"""The gateway of a data folder is found, proves itself before it gets the token, and is not taken for another."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

import featureloft as fl
from fake_gateway import TOKEN, fake_gateway
from featureloft.discovery import default_data_folder, is_proven


def data_folder(folder: Path, url: str, token: str = TOKEN) -> Path:
    folder.mkdir(mode=0o700, exist_ok=True)
    token_file = folder / "token"
    token_file.write_text(token + "\n")
    token_file.chmod(0o600)
    discovery = {
        "url": url,
        "pid": 1,
        "version": "0.1.0",
        "tokenFile": str(token_file),
        "startedAt": "2026-01-01T00:00:00Z",
    }
    (folder / "gateway.json").write_text(json.dumps(discovery))
    (folder / "gateway.json").chmod(0o600)
    return folder


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def test_the_token_is_sent_only_after_the_proof(tmp_path: Path) -> None:
    with fake_gateway() as gateway, fl.connect(data=data_folder(tmp_path / "loft", gateway.url)) as store:
        assert store.health() == {"path": "/v1/health"}
        assert [one.authorization for one in gateway.seen] == [None, f"Bearer {TOKEN}"]


def test_a_program_that_can_not_prove_itself_learns_no_token(tmp_path: Path) -> None:
    with fake_gateway() as gateway:
        gateway.proof_key = "b2" * 32
        with pytest.raises(fl.LoftError, match="did not prove") as caught:
            fl.connect(data=data_folder(tmp_path / "loft", gateway.url))
        with pytest.raises(fl.LoftError, match="did not prove"):
            fl.connect(gateway.url, TOKEN)
        assert caught.value.code == "gateway_unproven"
        assert {one.authorization for one in gateway.seen} == {None}
        assert all(TOKEN not in str(one.headers) for one in gateway.seen)


def test_each_challenge_is_new_and_a_proof_is_for_one_token() -> None:
    with fake_gateway() as gateway:
        for _ in range(2):
            fl.connect(gateway.url, TOKEN).close()
        assert len({one.headers["x-loft-challenge"] for one in gateway.seen}) == 2
    for proof in (None, "", "0" * 64, "é"):
        assert not is_proven(TOKEN, "n", proof)


def test_no_gateway_is_told_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(fl.LoftError, match=r"No gateway runs for the data folder .*featureloft serve"):
        fl.connect(data=tmp_path)


def test_a_gateway_that_has_gone_is_told(tmp_path: Path) -> None:
    folder = data_folder(tmp_path / "loft", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(fl.LoftError, match="No gateway answers at http://127") as caught:
        fl.connect(data=folder)
    assert caught.value.code == "gateway_unreachable"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"url": 1}',
        '{"url": "http://evil.example:80", "tokenFile": "token"}',
        '{"url": "file:///x", "tokenFile": "t"}',
    ],
)
def test_a_discovery_file_that_makes_no_sense_is_told(tmp_path: Path, text: str) -> None:
    folder = data_folder(tmp_path / "loft", "http://127.0.0.1:1")
    (folder / "gateway.json").write_text(text)
    with pytest.raises(fl.LoftError) as caught:
        fl.connect(data=folder)
    assert caught.value.code == "no_gateway"


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_a_token_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    folder = data_folder(tmp_path / "loft", "http://127.0.0.1:1")
    (folder / "token").chmod(0o644)
    with pytest.raises(fl.LoftError, match="can be read by other accounts"):
        fl.connect(data=folder)


@pytest.mark.parametrize("token", ["", "short", "G" * 64, "é" * 64])
def test_a_damaged_token_file_is_told(tmp_path: Path, token: str) -> None:
    folder = data_folder(tmp_path / "loft", "http://127.0.0.1:1", token)
    with pytest.raises(fl.LoftError) as caught:
        fl.connect(data=folder)
    assert caught.value.code == "no_gateway"


def test_a_moved_gateway_is_found_again(tmp_path: Path) -> None:
    folder = tmp_path / "loft"
    with fake_gateway() as first:
        store = fl.connect(data=data_folder(folder, first.url))
        store.health()
    with fake_gateway() as second:
        data_folder(folder, second.url)
        assert store.health() == {"path": "/v1/health"}
        assert store.url == second.url
        assert [one.authorization for one in second.seen] == [None, f"Bearer {TOKEN}"]
    store.close()


@pytest.mark.parametrize(
    ("url", "token", "code"),
    [
        ("http://127.0.0.1:1", None, "no_token"),
        ("http://127.0.0.1:1", "two words", "no_token"),
        ("http://127.0.0.1:1", "line\r\nX: 1", "no_token"),
        (None, TOKEN, "no_url"),
        ("127.0.0.1:4711", TOKEN, "bad_url"),
    ],
)
def test_half_an_address_is_refused(url: str | None, token: str | None, code: str) -> None:
    with pytest.raises(fl.LoftError) as caught:
        fl.connect(url, token)
    assert caught.value.code == code


def test_the_default_data_folder_is_the_platforms(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FEATURELOFT_DATA", str(tmp_path / "asked"))
    assert default_data_folder() == tmp_path / "asked"
    monkeypatch.delenv("FEATURELOFT_DATA")
    for platform, variable, expected in (
        ("linux", "XDG_DATA_HOME", tmp_path / "featureloft"),
        ("win32", "LOCALAPPDATA", tmp_path / "featureloft"),
    ):
        monkeypatch.setattr("sys.platform", platform)
        monkeypatch.setenv(variable, str(tmp_path))
        assert default_data_folder() == expected
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "darwin")
    assert default_data_folder() == tmp_path / "Library" / "Application Support" / "featureloft"


def test_a_token_shows_in_no_representation(tmp_path: Path) -> None:
    with fake_gateway() as gateway, fl.connect(gateway.url, TOKEN) as store:
        assert TOKEN not in repr(store) + repr(store._connection.address)
