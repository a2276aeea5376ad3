"""A real gateway for the tests that need one: from dist/, with its own Postgres and lake in a folder of its own."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import featureloft as fl

ROOT = Path(__file__).parents[2]
START_SECONDS = 120.0
STOP_SECONDS = 30.0


@dataclass(frozen=True)
class Gateway:
    data: Path
    url: str
    token: str


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Started once for all tests; each takes names of its own. Without a build it fails: nothing is skipped."""
    script = ROOT / "dist" / "gateway.js"
    if not script.exists():
        pytest.fail(f"{script} is not there: run `npm run build` first.")
    data = tmp_path_factory.mktemp("loft")
    data.chmod(0o700)
    log = data.with_name("gateway.log").open("wb")
    process = subprocess.Popen(
        ["node", str(script), "serve", "--data", str(data)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=log,
        env={**os.environ, "FEATURELOFT_PYTHON": sys.executable},
    )
    try:
        line = first_line(process)
        if not line:
            pytest.fail(f"The gateway did not start:\n{data.with_name('gateway.log').read_text()}")
        served = json.loads(line)
        yield Gateway(data, served["url"], Path(served["tokenFile"]).read_text().strip())
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()
        if process.stdout is not None:
            process.stdout.close()


def first_line(process: subprocess.Popen[bytes]) -> bytes:
    """The one line that tells where it listens, or nothing when it ended or START_SECONDS have passed."""
    lines: queue.Queue[bytes] = queue.Queue()
    assert process.stdout is not None
    reader = threading.Thread(target=lambda out=process.stdout: lines.put(out.readline()), daemon=True)
    reader.start()
    try:
        return lines.get(timeout=START_SECONDS)
    except queue.Empty:
        return b""


@pytest.fixture(scope="session")
def store(gateway: Gateway) -> Iterator[fl.Store]:
    with fl.connect(data=gateway.data) as store:
        yield store
