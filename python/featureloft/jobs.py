"""Training runs as the gateway's jobs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .connection import Connection, path_of
from .errors import LoftError
from .stored import StoredFile

FIRST_POLL_SECONDS = 0.1
POLL_SECONDS = 1.0
ENDED = frozenset({"succeeded", "failed", "cancelled"})


class Job:
    """A training run. Its properties are as of the last `refresh`; `wait` refreshes until it has ended."""

    def __init__(self, info: Mapping[str, Any], connection: Connection) -> None:
        self.info = info
        self._connection = connection

    @property
    def id(self) -> str:
        return str(self.info["id"])

    @property
    def state(self) -> str:
        """`queued`, `running`, `succeeded`, `failed` or `cancelled`."""
        return str(self.info["state"])

    @property
    def progress(self) -> float:
        """From 0 to 1."""
        return float(self.info["progress"])

    @property
    def message(self) -> str:
        return str(self.info["message"])

    @property
    def metrics(self) -> dict[str, Any]:
        """What the trainer measured: `metric`, `score`, `baseline`, and more. Empty until it has succeeded."""
        return dict(self.info.get("metrics") or {})

    @property
    def error(self) -> str | None:
        return self.info.get("error")

    @property
    def files(self) -> tuple[StoredFile, ...]:
        return tuple(StoredFile(one["file"], one["sha256"], one["bytes"]) for one in self.info["files"])

    def path(self, name: str) -> Path:
        """Where a file of the job, such as `model.joblib`, lies. Only for a gateway found by its data folder.

        A joblib file runs code when it is loaded: load none that you don't trust.
        """
        data = self._connection.address.data
        file = next((one.file for one in self.files if one.file.rpartition("/")[2] == name), None)
        if data is None or file is None:
            words = (
                "the gateway's data folder is not known"
                if data is None
                else f"it has {[one.file for one in self.files]}"
            )
            raise LoftError("no_such_file", f"Job {self.id} has no file {name} here: {words}.")
        return data / file

    def refresh(self) -> Job:
        self.info = self._connection.get(path_of("jobs", self.id)).json()
        return self

    def wait(self, seconds: float = 3600.0, on_progress: Callable[[Job], None] | None = None) -> Job:
        """Waits until it has ended, and returns it when it succeeded.

        Raises LoftError `job_failed` with the trainer's own words, `job_cancelled`, or `job_timeout` after `seconds`
        (the job goes on). `on_progress` is called whenever something changed.
        """
        end, pause, told = time.monotonic() + seconds, FIRST_POLL_SECONDS, None
        while True:
            if on_progress is not None and told != (self.state, self.progress, self.message):
                told = (self.state, self.progress, self.message)
                on_progress(self)
            if self.state in ENDED:
                break
            if time.monotonic() > end:
                raise LoftError("job_timeout", f"Job {self.id} is {self.state} after {seconds:g} s: {self.message}")
            time.sleep(pause)
            pause = min(pause * 1.5, POLL_SECONDS)
            self.refresh()
        if self.state != "succeeded":
            raise LoftError(f"job_{self.state}", f"Job {self.id} {self.state}: {self.error or self.message}")
        return self

    def cancel(self) -> Job:
        self.info = self._connection.request("DELETE", path_of("jobs", self.id), repeatable=True).json()
        return self

    def __repr__(self) -> str:
        return f"<Job {self.id} {self.state} {self.progress:.0%}: {self.message}>"
