"""Finds the gateway that runs for a data folder, and proves that it is the one before any token is sent to it."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from .errors import LoftError

DISCOVERY_FILE = "gateway.json"
TOKEN_FILE = "token"
CHALLENGE_HEADER = "X-Loft-Challenge"
PROOF_HEADER = "X-Loft-Proof"
TOKEN_PATTERN = re.compile(r"[0-9a-f]{64}")
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True)
class Address:
    """Where a gateway listens and the token that it takes. `data` is its data folder, where it was found by that."""

    url: str
    token: str
    data: Path | None = None

    def __repr__(self) -> str:  # a token must not end up in a notebook's output
        return f"Address(url={self.url!r}, data={self.data!r})"


def default_data_folder() -> Path:
    """FEATURELOFT_DATA, else the platform's folder for a user's application data."""
    asked = os.environ.get("FEATURELOFT_DATA")
    if asked:
        return Path(asked).expanduser()
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return Path(local) / "featureloft" if local else Path.home() / "AppData" / "Local" / "featureloft"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "featureloft"
    shared = os.environ.get("XDG_DATA_HOME")
    return Path(shared) / "featureloft" if shared else Path.home() / ".local" / "share" / "featureloft"


def find_gateway(data: Path) -> Address:
    """What the gateway of this data folder wrote about itself. Whether it is there is shown by its proof.

    Raises LoftError `no_gateway` when none has written, or what is written makes no sense or may be known to others.
    """
    file = data / DISCOVERY_FILE
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        url, token_file = str(found["url"]), data / str(found["tokenFile"])
    except FileNotFoundError:
        raise no_gateway(f"No gateway runs for the data folder {data}.") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise no_gateway(f"{file} can't be read as a gateway's address ({describe(error)}).") from None
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or (parts.scheme == "http" and parts.hostname not in LOOPBACK):
        raise no_gateway(f"{file} names {url}, expected https, or http on this machine.")
    return Address(url, read_token(token_file), data)


def read_token(file: Path) -> str:
    try:
        found = file.stat()
        text = file.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise no_gateway(f"The token file {file} can't be read ({describe(error)}).") from None
    if os.name == "posix" and (found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077):
        raise no_gateway(
            f"The token file {file} can be read by other accounts. Delete it, then start the gateway anew."
        )
    if not TOKEN_PATTERN.fullmatch(text):
        raise no_gateway(f"{file} does not hold 64 hex digits. Delete it, then start the gateway anew.")
    return text


def new_challenge() -> str:
    return secrets.token_hex(32)


def is_proven(token: str, challenge: str, proof: str | None) -> bool:
    """True when `proof` is the lower-case hex HMAC-SHA256 of the challenge under the token."""
    expected = hmac.new(token.encode("ascii"), challenge.encode("ascii"), hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), (proof or "").encode())


def no_gateway(detail: str) -> LoftError:
    return LoftError("no_gateway", f"{detail} Start one with `featureloft serve`, or name it: connect(url=, token=).")


def describe(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{type(error).__name__}: {error}"
